"""A dispatch as OpenADR tells it: what the node's dispatch events say of one zone and MTU, put together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any

__all__ = ["DispatchFacts", "DispatchNews", "DispatchState", "Limit", "MeterPlan", "Record", "facts_of"]


class DispatchState(StrEnum):
    """Where a dispatch stands; the words are those of the dispatch events."""

    SCHEDULED = "scheduled"
    ACKNOWLEDGED = "acknowledged"
    CURTAILED = "curtailed"
    STOPPED = "stopped"
    DEFAULTED = "defaulted"


class Limit(IntEnum):
    """Which way a limit holds; the numbers are the contract's."""

    EXPORT = 1
    IMPORT = 2


@dataclass(frozen=True, kw_only=True)
class MeterPlan:
    """What one meter is to do in an MTU, Wh, export positive.

    `residual_wh` is what it is expected to do beyond its contract. A limit bounds the net energy one way: a cap is what
    a curtailment has left, an envelope what the feeder bears; None where there is none.
    """

    meter: int
    contracted_wh: int = 0
    residual_wh: int = 0
    export_cap_wh: int | None = None
    import_cap_wh: int | None = None
    export_envelope_wh: int | None = None
    import_envelope_wh: int | None = None

    @property
    def setpoint_wh(self) -> int:
        """Contract and residual together."""
        return self.contracted_wh + self.residual_wh

    def limit_wh(self, way: Limit) -> int | None:
        """The tighter of cap and envelope."""
        both = (
            (self.export_cap_wh, self.export_envelope_wh)
            if way is Limit.EXPORT
            else (self.import_cap_wh, self.import_envelope_wh)
        )
        return min((one for one in both if one is not None), default=None)

    def capped(self, way: Limit, cap_wh: int) -> "MeterPlan":
        """With one more cap; the lowest of all holds."""
        if way is Limit.EXPORT:
            return replace(self, export_cap_wh=_lower(self.export_cap_wh, cap_wh))
        return replace(self, import_cap_wh=_lower(self.import_cap_wh, cap_wh))


@dataclass(frozen=True, kw_only=True)
class DispatchFacts:
    """One zone's dispatch of one MTU.

    `transaction_hash` and `block_number` are those of the schedule, `answer_hash` that of the newest answer. What was
    stopped before it was scheduled has no schedule. `plans` are by meter.
    """

    zone: int
    mtu_start: int
    state: DispatchState
    plans: Mapping[int, MeterPlan] = field(default_factory=dict)
    traded_wh: int = 0
    reason: int = 0
    schedule_hash: str | None = None
    answer_deadline: int | None = None
    transaction_hash: str | None = None
    block_number: int | None = None
    answer_hash: str | None = None

    @property
    def is_partly_private(self) -> bool:
        """Whether there is more to it than the chain shows to everybody."""
        return any(
            plan != MeterPlan(meter=meter, contracted_wh=plan.contracted_wh) for meter, plan in self.plans.items()
        )

    def plan(self, meter: int) -> MeterPlan:
        """The meter's plan; nothing is expected of a meter without one."""
        return self.plans.get(meter, MeterPlan(meter=meter))


@dataclass(frozen=True, kw_only=True)
class DispatchNews:
    """One of the node's dispatch events; `payload` as in the stream of them."""

    kind: str
    payload: Mapping[str, Any]


Record = Mapping[str, Any]


def facts_of(zone: int, mtu_start: int, news: Iterable[DispatchNews]) -> DispatchFacts | None:
    """Everything told of a slot, in its order, as one; None while nothing was."""
    facts: DispatchFacts | None = None
    for one in news:
        before = facts or DispatchFacts(zone=zone, mtu_start=mtu_start, state=DispatchState.SCHEDULED)
        facts = _scheduled(before, one.payload) if one.kind == DispatchState.SCHEDULED else _answered(before, one)
    return facts


def _scheduled(before: DispatchFacts, payload: Record) -> DispatchFacts:
    """A schedule that comes after a stop is stopped."""
    plans = {entry["meter"]: _plan(entry) for entry in payload["setpoints"]}
    return replace(
        before,
        plans=plans,
        traded_wh=payload["traded_wh"],
        schedule_hash=payload["schedule_hash"],
        answer_deadline=payload["answer_deadline"],
        transaction_hash=payload.get("transaction_hash"),
        block_number=payload.get("block_number"),
    )


def _plan(entry: Record) -> MeterPlan:
    return MeterPlan(
        meter=entry["meter"],
        contracted_wh=entry["contracted_wh"],
        residual_wh=entry.get("residual_wh", 0),
        export_envelope_wh=entry.get("export_envelope_wh"),
        import_envelope_wh=entry.get("import_envelope_wh"),
    )


def _answered(before: DispatchFacts, news: DispatchNews) -> DispatchFacts:
    state, payload = DispatchState(news.kind), news.payload
    if before.state is DispatchState.STOPPED:
        state = DispatchState.STOPPED  # nothing that follows takes an emergency back
    plans = dict(before.plans)
    for cap in payload.get("caps", ()):
        plan = plans.get(cap["meter"], MeterPlan(meter=cap["meter"]))
        plans[cap["meter"]] = plan.capped(Limit(payload["direction"]), cap["cap_wh"])
    return replace(
        before,
        state=state,
        plans=plans,
        reason=payload.get("reason", before.reason),
        answer_hash=payload.get("transaction_hash", before.answer_hash),
    )


def _lower(before: int | None, cap_wh: int) -> int:
    return cap_wh if before is None else min(before, cap_wh)
