"""Replays dispatches: schedules, the grid operators' answers and stops, each beside the call that made it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from gridledger.audit.dispatches import Acknowledged, Answered, Curtailed, Scheduled, Stopped
from gridledger.audit.markets import Market
from gridledger.audit.model import Slot, slot_name
from gridledger.audit.ports import ChainCall, Event
from gridledger.audit.presented_dispatch import (
    AnswerCall,
    CapsCall,
    CurtailCall,
    StopCall,
    answer_call,
    caps_call,
    curtail_call,
    stop_call,
)

__all__ = ["MOST_STOPPED_MTUS", "DispatchReplay", "stopped_slots"]

MOST_STOPPED_MTUS = 96  # EnergyDispatching.MOST_STOPPED_MTUS
C = TypeVar("C", AnswerCall, CurtailCall, StopCall, CapsCall)
_READERS: Mapping[str, Callable[[Sequence[Any]], AnswerCall | CurtailCall | StopCall | CapsCall]] = {
    "answer": answer_call,
    "curtail": curtail_call,
    "stop": stop_call,
    "applyCaps": caps_call,
}


class DispatchReplay:
    """Dispatches by zone and MTU. `stops` has every stop once; `odd` what no honest contract does."""

    def __init__(self, markets: Mapping[Slot, Market], mtu_length_s: int, odd: list[tuple[str, str]]) -> None:
        self.stops: list[Stopped] = []
        self._markets, self._mtu_length_s, self._odd = markets, mtu_length_s, odd
        self._calls: dict[str, ChainCall] = {}

    def begin(self, calls: Iterable[ChainCall]) -> None:
        """Start a block with these calls."""
        self._calls = {call.transaction_hash: call for call in calls if call.function in _READERS}

    def finish(self) -> None:
        """End a block: every call has had its event."""
        for call in self._calls.values():
            self._odd.append((f"transaction {call.transaction_hash}", f"{call.function} without its event"))
        self._calls = {}

    def apply(self, event: Event, time_s: int) -> None:
        """Apply one event of the dispatching contract; others change nothing."""
        match event.name:
            case "DispatchScheduled":
                self._schedule(event)
            case "DispatchAnswered":
                self._acknowledge(event, time_s)
            case "DispatchCurtailed":
                self._curtail(event, time_s)
            case "ZoneStopped":
                self._stop(event, time_s)

    def call_of(self, event: Event, kind: type[C], *key: int) -> C | None:
        """What the event's transaction presented about this zone, MTU and chunk; None where another contract did."""
        call = self._calls.get(event.transaction_hash)
        if call is None:
            return None
        read = _READERS[call.function](call.arguments)
        if not isinstance(read, kind) or _key(read) != key:
            return None
        del self._calls[event.transaction_hash]
        return read

    def _schedule(self, event: Event) -> None:
        values, slot = event.arguments, _slot(event)
        dispatch = self._markets[slot].dispatch
        if dispatch.schedule is not None:
            self._odd.append((f"{event.name} in block {event.block_number}", f"{slot_name(slot)} once more"))
        dispatch.schedule = Scheduled(
            schedule_hash=values["scheduleHash"],
            result_hash=values["resultHash"],
            setpoints_root=values["setpointsRoot"],
            traded_wh=values["tradedWh"],
            answer_deadline=values["answerDeadline"],
            block_number=event.block_number,
        )

    def _acknowledge(self, event: Event, time_s: int) -> None:
        slot = _slot(event)
        call = self.call_of(event, AnswerCall, *slot)
        answer = Acknowledged(**_answered(event, time_s), answer=event.arguments["answer"], call=call)
        self._add(slot, answer)

    def _curtail(self, event: Event, time_s: int) -> None:
        values, slot = event.arguments, _slot(event)
        curtailed = Curtailed(
            **_answered(event, time_s),
            direction=values["direction"],
            emergency=values["emergency"],
            sequence=values["sequence"],
            order_check=values["orderCheck"],
            caps=tuple((word & (1 << 32) - 1, word >> 32) for word in values["caps"]),
            call=self.call_of(event, CurtailCall, *slot),
        )
        self._add(slot, curtailed)

    def _stop(self, event: Event, time_s: int) -> None:
        values = event.arguments
        zone, first, last = values["zone"], values["firstMtuStart"], values["lastMtuStart"]
        stopped = Stopped(
            **_answered(event, time_s),
            zone=zone,
            first_mtu_start=first,
            last_mtu_start=last,
            call=self.call_of(event, StopCall, zone, first),
        )
        self.stops.append(stopped)
        for slot in stopped_slots(stopped, self._mtu_length_s):
            self._add(slot, stopped)

    def _add(self, slot: Slot, answer: Answered) -> None:
        self._markets[slot].dispatch.answers.append(answer)


def stopped_slots(stopped: Stopped, mtu_length_s: int) -> list[Slot]:
    """What a stop is about, as far as the contract would take it."""
    starts = range(stopped.first_mtu_start, stopped.last_mtu_start + 1, mtu_length_s)
    return [Slot(stopped.zone, mtu_start) for mtu_start in starts[:MOST_STOPPED_MTUS]]


def _slot(event: Event) -> Slot:
    return Slot(event.arguments["zone"], event.arguments["mtuStart"])


def _answered(event: Event, time_s: int) -> dict[str, Any]:
    return {
        "grid_operator": event.arguments["gridOperator"],
        "reason": event.arguments["reason"],
        "block_number": event.block_number,
        "time_s": time_s,
    }


def _key(call: AnswerCall | CurtailCall | StopCall | CapsCall) -> tuple[int, ...]:
    match call:
        case StopCall():
            return call.zone, call.first_mtu_start
        case CapsCall():
            return call.zone, call.mtu_start, call.chunk
    return call.zone, call.mtu_start
