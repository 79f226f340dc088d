"""When what happens in a run: a plain list of steps in ascending time. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Step", "StepKind", "consecutive_chunks", "genesis_time_s", "must_repeat", "timeline"]

HOUR_S = 3600
ORDER_LEAD_S = 60  # orders are posted this long before the gate closes
FORECAST_LEAD_S = 600  # the oracle posts this long before the first gate of the MTUs it speaks of
LONGEST_ORACLE_POST = 96  # MTUs; about 5 million gas
REPEATED_MTUS = 2


class StepKind(IntEnum):
    """What happens; the number is the order within the same second: a gate closes before anything is posted."""

    ORACLE_POSTS = 0
    GATE_CLOSES = 1
    READINGS_POSTED = 2
    ORDERS_POSTED = 3


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step at a moment (Unix seconds), for the MTU that starts at `mtu_start`; the oracle's: for several."""

    time_s: int
    kind: StepKind
    mtu_start: int
    mtu_count: int = 1


def genesis_time_s(first_mtu_start: int, gate_closure_s: int) -> int:
    """Chain start of a run, Unix seconds: an hour before the first gate, rounded down to the full hour."""
    return (first_mtu_start - gate_closure_s - HOUR_S) // HOUR_S * HOUR_S


def timeline(
    mtu_starts: Sequence[int], *, mtu_length_s: int, gate_closure_s: int, with_oracle: bool = False
) -> tuple[Step, ...]:
    """All steps of the MTUs (starts ascending), in ascending time; lengths in seconds."""
    steps: list[Step] = []
    for start in mtu_starts:
        gate_s = start - gate_closure_s
        steps += (
            Step(time_s=gate_s - ORDER_LEAD_S, kind=StepKind.ORDERS_POSTED, mtu_start=start),
            Step(time_s=gate_s, kind=StepKind.GATE_CLOSES, mtu_start=start),
            Step(time_s=start + mtu_length_s, kind=StepKind.READINGS_POSTED, mtu_start=start),
        )
    if with_oracle:
        for first, count in consecutive_chunks(mtu_starts, mtu_length_s, LONGEST_ORACLE_POST):
            time_s = first - gate_closure_s - FORECAST_LEAD_S
            steps.append(Step(time_s=time_s, kind=StepKind.ORACLE_POSTS, mtu_start=first, mtu_count=count))
    return tuple(sorted(steps, key=lambda step: (step.time_s, step.kind, step.mtu_start)))


def consecutive_chunks(mtu_starts: Iterable[int], mtu_length_s: int, longest: int) -> tuple[tuple[int, int], ...]:
    """Split ascending starts into runs without a gap of at most `longest` MTUs: (first start, count)."""
    chunks: list[tuple[int, int]] = []
    for start in mtu_starts:
        if chunks:
            first, count = chunks[-1]
            if count < longest and start == first + count * mtu_length_s:
                chunks[-1] = (first, count + 1)
                continue
        chunks.append((start, 1))
    return tuple(chunks)


def must_repeat(step: Step, now: int, mtu_length_s: int) -> bool:
    """Whether a step must be played (again) by a player who finds the node's clock at `now`.

    The clock moves past a step only after all its posts were answered, so two MTUs before now are more than enough.
    """
    return step.time_s >= now - REPEATED_MTUS * mtu_length_s
