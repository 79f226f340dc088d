"""What dispatch changes in the node's projections: schedules, answers, caps. A part of `store.projections`."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gridledger.dispatch.model import Answer, Schedule, ScheduleState
from gridledger.dispatch.setpoints import Direction
from gridledger.market.curtailment import Caps, CurtailmentTerms, Shrunk, apply_caps, bearer_of
from gridledger.market.notices import NoticeDetails
from gridledger.relay import ChainEvent
from gridledger.store.closings import change_free

if TYPE_CHECKING:
    from gridledger.store.transaction import Transaction

__all__ = ["DISPATCH_HANDLERS"]

_METER_BITS = 32


def _dispatch_scheduled(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    key = (arguments["zone"], arguments["mtuStart"])
    stopped = tx.dispatches.is_stopped(*key)
    schedule = Schedule(
        zone=arguments["zone"],
        mtu_start=arguments["mtuStart"],
        schedule_hash=arguments["scheduleHash"],
        traded_wh=arguments["tradedWh"],
        answer_deadline=arguments["answerDeadline"],
        state=ScheduleState.STOPPED if stopped else ScheduleState.PENDING,
        reason=0,
        result_hash=arguments["resultHash"],
        setpoints_root=arguments["setpointsRoot"],
    )
    contracted_wh: Counter[int] = Counter()
    for kept in tx.mtus.positions(*key):
        contracted_wh[kept.position.meter] += kept.position.contracted_wh
    payload = {
        "schedule_hash": schedule.schedule_hash,
        "result_hash": schedule.result_hash,
        "setpoints_root": schedule.setpoints_root,
        "traded_wh": schedule.traded_wh,
        "answer_deadline": schedule.answer_deadline,
        "setpoints": [{"meter": meter, "contracted_wh": energy_wh} for meter, energy_wh in contracted_wh.items()],
        **_recorded_in(tx, event),
    }
    tx.dispatches.add(schedule, payload, time)


def _dispatch_answered(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    assert arguments["answer"] == Answer.ACKNOWLEDGED  # the contract takes no other this way
    tx.dispatches.keep_answer(
        arguments["zone"],
        arguments["mtuStart"],
        ScheduleState.ACKNOWLEDGED,
        arguments["reason"],
        {"reason": arguments["reason"], **_recorded_in(tx, event)},
        time,
    )


def _dispatch_curtailed(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    direction = Direction(arguments["direction"])
    caps_wh = {word & (1 << _METER_BITS) - 1: word >> _METER_BITS for word in arguments["caps"]}
    payload = {
        "reason": arguments["reason"],
        "direction": direction.name.lower(),
        "emergency": arguments["emergency"],
        "sequence": arguments["sequence"],
        "order_check": ("unchecked", "kept", "broken")[arguments["orderCheck"]],
        "caps": [{"meter": meter, "cap_wh": cap_wh} for meter, cap_wh in caps_wh.items()],
        **_recorded_in(tx, event),
    }
    key = (arguments["zone"], arguments["mtuStart"])
    tx.dispatches.keep_caps(*key, direction, arguments["reason"], caps_wh, payload, time)


def _zone_stopped(tx: "Transaction", event: ChainEvent, time: int) -> None:
    arguments = event.arguments
    zone, first, last = arguments["zone"], arguments["firstMtuStart"], arguments["lastMtuStart"]
    payload = {"reason": arguments["reason"], "last_mtu_start": last, **_recorded_in(tx, event)}
    for mtu_start in tx.dispatches.keep_stop(zone, first, last, arguments["reason"], payload, time):
        tx.notices.tell_curtailed(zone, mtu_start, arguments["reason"], event.transaction_hash, time)


def _caps_applied(tx: "Transaction", event: ChainEvent, time: int) -> None:
    """The contract has shrunk a chunk; the same rules say to what, and whose money it moves."""
    arguments = event.arguments
    key, chunk = (arguments["zone"], arguments["mtuStart"]), arguments["chunk"]
    kept = tx.mtus.positions(*key)
    positions = [one.position for one in kept if one.chunk == chunk]
    left_wh: Counter[int] = Counter()
    for one in kept:
        if one.chunk < chunk:
            left_wh[one.position.meter] += one.position.quantity_wh
    caps, terms = _caps_and_terms(tx, *key)
    shrunk = apply_caps(positions, tx.mtus.deals(*key, chunk), caps, terms, left_wh)
    rows = tx.mtus.keep_curtailed(*key, chunk, shrunk)
    tx.dispatches.count_applied(*key)
    _move_money(tx, arguments["zone"], positions, shrunk)
    lost_wh = _lost_wh(shrunk)
    schedule = tx.dispatches.find(*key)
    for index, row in enumerate(rows):
        if lost_wh[index]:
            details = NoticeDetails(
                curtailed_wh=lost_wh[index],
                refunded_microcents=shrunk.released_microcents[index],
                compensated_microcents=shrunk.compensated_microcents[index] or None,
                reason_code=None if schedule is None else schedule.reason,
                transaction_hash=event.transaction_hash,
            )
            tx.notices.tell_shrunk(*key, row, details, time)


def _caps_and_terms(tx: "Transaction", zone: int, mtu_start: int) -> tuple[Caps, CurtailmentTerms]:
    schedule, record = tx.dispatches.find(zone, mtu_start), tx.mtus.record(zone, mtu_start)
    assert schedule is not None  # caps are of a schedule
    assert record.price_cents_per_mwh is not None  # it was cleared
    assert record.low_carbon_price_cents_per_mwh is not None
    policy = tx.directory.policy_at(mtu_start)
    terms = CurtailmentTerms(
        any_price=record.price_cents_per_mwh,
        low_carbon_price=record.low_carbon_price_cents_per_mwh,
        shortage=tx.directory.prices_at(mtu_start).shortage,
        fee=policy.grid_fee_cents_per_mwh,
        relief=policy.low_carbon_relief_cents_per_mwh,
        bearer=bearer_of(policy.replacement_bearers, schedule.reason),
    )
    caps = Caps(exports=schedule.direction is Direction.EXPORT, wh=tx.dispatches.caps_wh(zone, mtu_start))
    return caps, terms


def _move_money(tx: "Transaction", zone: int, positions: list[Any], shrunk: Shrunk) -> None:
    grid_operator = tx.directory.grid_operator_of(zone)
    for position, released, compensated in zip(
        positions, shrunk.released_microcents, shrunk.compensated_microcents, strict=True
    ):
        change_free(tx, position.owner, released + compensated)
        change_free(tx, grid_operator, -compensated)


def _lost_wh(shrunk: Shrunk) -> list[int]:
    """Energy that caps took from each position, Wh."""
    lost_wh = [0] * len(shrunk.positions)
    for trade, curtailed_wh in zip(shrunk.trades, shrunk.curtailed_wh, strict=True):
        lost_wh[trade.sell] += curtailed_wh
        lost_wh[trade.buy] += curtailed_wh
    return lost_wh


def _recorded_in(tx: "Transaction", event: ChainEvent) -> dict[str, int | str]:
    """The transaction that recorded an event, and its block, which is the one being indexed."""
    return {
        "block_number": event.block_number,
        "block_hash": tx.chain_log.block_hash(event.block_number),
        "transaction_hash": event.transaction_hash,
    }


DISPATCH_HANDLERS: dict[str, Callable[["Transaction", ChainEvent, int], None]] = {
    "DispatchScheduled": _dispatch_scheduled,
    "DispatchAnswered": _dispatch_answered,
    "DispatchCurtailed": _dispatch_curtailed,
    "ZoneStopped": _zone_stopped,
    "CapsApplied": _caps_applied,
}
