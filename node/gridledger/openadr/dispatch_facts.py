"""A dispatch as OpenADR tells it: what the node's dispatch events say of one zone and MTU, put together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from gridledger.dispatch.limits import MeterLimit

__all__ = ["DispatchFacts", "DispatchNews", "DispatchState", "MeterPlan", "Record", "StopFacts", "facts_of"]


class DispatchState(StrEnum):
    """Where a dispatch stands; the words are those of the dispatch events."""

    SCHEDULED = "scheduled"
    ACKNOWLEDGED = "acknowledged"
    CURTAILED = "curtailed"
    STOPPED = "stopped"
    DEFAULTED = "defaulted"


@dataclass(frozen=True, kw_only=True)
class MeterPlan:
    """What one meter is to do in an MTU, Wh, export positive.

    `residual_wh` is what it is expected to do beyond its contract. A limit is the most net energy one way, None where
    there is none.
    """

    meter: int
    contracted_wh: int = 0
    residual_wh: int = 0
    export_limit_wh: int | None = None
    import_limit_wh: int | None = None

    @property
    def setpoint_wh(self) -> int:
        """Contract and residual together."""
        return self.contracted_wh + self.residual_wh


@dataclass(frozen=True, kw_only=True)
class DispatchFacts:
    """One zone's dispatch of one MTU.

    `transaction_hash` and `block_number` are those of the schedule, `answer_hash` that of the newest answer. The newest
    curtailment's are `direction` (`export` or `import`) and `emergency`, None without one. What was stopped before it
    was scheduled has no schedule. `plans` are by meter.
    """

    zone: int
    mtu_start: int
    state: DispatchState
    plans: Mapping[int, MeterPlan] = field(default_factory=dict)
    traded_wh: int = 0
    reason: int = 0
    direction: str | None = None
    emergency: bool | None = None
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

    def with_meters(self, residuals_wh: Mapping[int, int], limits: Mapping[int, MeterLimit]) -> "DispatchFacts":
        """With what is told of single meters to those it concerns; both by meter."""
        plans = {}
        for meter in self.plans.keys() | residuals_wh.keys() | limits.keys():
            limit = limits.get(meter)
            plans[meter] = replace(
                self.plan(meter),
                residual_wh=residuals_wh.get(meter, 0),
                export_limit_wh=None if limit is None else limit.export_wh,
                import_limit_wh=None if limit is None else limit.import_wh,
            )
        return replace(self, plans=plans)


@dataclass(frozen=True, kw_only=True)
class StopFacts:
    """An emergency stop of a zone: from the first of these MTUs to the last no meter may export or import."""

    zone: int
    first_mtu_start: int
    last_mtu_start: int
    reason: int
    transaction_hash: str
    block_number: int


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
    plans = {
        entry["meter"]: MeterPlan(meter=entry["meter"], contracted_wh=entry["contracted_wh"])
        for entry in payload["setpoints"]
    }
    return replace(
        before,
        plans=plans,
        traded_wh=payload["traded_wh"],
        schedule_hash=payload["schedule_hash"],
        answer_deadline=payload["answer_deadline"],
        transaction_hash=payload.get("transaction_hash"),
        block_number=payload.get("block_number"),
    )


def _answered(before: DispatchFacts, news: DispatchNews) -> DispatchFacts:
    state, payload = DispatchState(news.kind), news.payload
    if before.state is DispatchState.STOPPED:
        state = DispatchState.STOPPED  # nothing that follows takes an emergency back
    return replace(
        before,
        state=state,
        reason=payload.get("reason", before.reason),
        direction=payload.get("direction", before.direction),
        emergency=payload.get("emergency", before.emergency),
        answer_hash=payload.get("transaction_hash", before.answer_hash),
    )
