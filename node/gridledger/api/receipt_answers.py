"""The grid operator's answers in a trade receipt, as the chain's events state them; signatures stand in call data."""

from collections.abc import Collection

from gridledger.api.receipt_events import ReceiptEvents
from gridledger.audit.dispatch_digests import caps_hash
from gridledger.audit.trade_receipt import Answer, Cap, Curtailment, Stop
from gridledger.dispatch.setpoints import Direction
from gridledger.relay import ChainEvent

__all__ = ["receipt_answers"]

_KINDS = {"DispatchAnswered": "acknowledged", "DispatchCurtailed": "curtailed", "ZoneStopped": "stopped"}
_ORDER_CHECKS = ("unchecked", "kept", "broken")
_METER_BITS = 32


def receipt_answers(events: ReceiptEvents, meters: Collection[int]) -> tuple[Answer, ...]:
    """All answers in chain order without their signatures; of caps those of these meters."""
    return tuple(
        Answer(
            kind=_KINDS[event.name],
            reason=event.arguments["reason"],
            grid_operator=event.arguments["gridOperator"],
            curtailment=_curtailment(event, meters),
            stop=_stop(event),
            signature=None,
            recorded=events.recorded(event),
        )
        for event in events.answers()
    )


def _curtailment(event: ChainEvent, meters: Collection[int]) -> Curtailment | None:
    if event.name != "DispatchCurtailed":
        return None
    values = event.arguments
    caps = [(word & (1 << _METER_BITS) - 1, word >> _METER_BITS) for word in values["caps"]]
    return Curtailment(
        direction=Direction(values["direction"]).name.lower(),
        emergency=values["emergency"],
        sequence=values["sequence"],
        order_check=_ORDER_CHECKS[values["orderCheck"]],
        caps_hash="0x" + caps_hash(caps).hex(),
        caps=tuple(Cap(meter=meter, cap_wh=cap_wh) for meter, cap_wh in caps if meter in meters),
    )


def _stop(event: ChainEvent) -> Stop | None:
    if event.name != "ZoneStopped":
        return None
    values = event.arguments
    return Stop(first_mtu_start=values["firstMtuStart"], last_mtu_start=values["lastMtuStart"])
