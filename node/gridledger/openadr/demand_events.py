"""Programs and events of OpenADR 3.1.0 that tell of demand response.

| program | events, one per demand response event | who may read them |
|---|---|---|
| `demand-response-zone-N` | what is asked of the zone: change of its consumption and level | everybody |
| `meter-dispatch-zone-N` | that a meter takes part: the level | target `meter-M` |

One interval per MTU. `DISPATCH_SETPOINT_RELATIVE` is the change of consumption, in kW, of all that take part together:
negative for a reduction. `SIMPLE` is what each gateway can act on by itself: 1 moderate, 2 high, 3 special; it has no
level for an increase, which is 0, normal operation, with `GRIDLEDGER_DIRECTION` beside it.
Source: OpenADR 3.1.0 Definition, enumerations of events.
"""

from typing import Any

from gridledger.dispatch.demand_response import DemandSignal
from gridledger.openadr.dispatch_events import meter_target
from gridledger.openadr.quantities import kilowatts
from gridledger.units import format_utc

__all__ = ["DemandEvents", "demand_program", "demand_program_name"]

RELATIVE, SIMPLE = "DISPATCH_SETPOINT_RELATIVE", "SIMPLE"
_SPECIAL_LEVEL = 3
_URGENT, _ORDINARY = 1, 2

Document = dict[str, Any]


def demand_program_name(zone: int) -> str:
    """Where demand response in a zone is told."""
    return f"demand-response-zone-{zone}"


def demand_program(zone: int) -> Document:
    """The program of a zone's demand response."""
    return {"programName": demand_program_name(zone), "payloadDescriptors": _descriptors()}


class DemandEvents:
    """The OpenADR events of one demand response event."""

    def __init__(self, signal: DemandSignal, *, chain_id: int) -> None:
        self._signal = signal
        self._chain_id = chain_id

    def of_zone(self, program_id: str) -> Document:
        """What is asked of the zone. Raises NotExact."""
        signal = self._signal
        change_kw = kilowatts(signal.relative_energy_wh, signal.interval_s)
        return self._event(program_id, "", {RELATIVE: change_kw, SIMPLE: signal.simple_level})

    def of_meter(self, program_id: str, meter: int) -> Document:
        """What a meter that takes part is asked for."""
        event = self._event(program_id, f" meter {meter}", {SIMPLE: self._signal.simple_level})
        return event | {"targets": [meter_target(meter)]}

    def _event(self, program_id: str, whose: str, values: dict[str, Any]) -> Document:
        signal = self._signal
        start = format_utc(signal.start)
        payloads = [_payload(name, value) for name, value in (values | self._evidence()).items()]
        return {
            "programID": program_id,
            "eventName": f"demand response zone {signal.zone} {start}{whose}",
            "priority": _URGENT if signal.simple_level == _SPECIAL_LEVEL else _ORDINARY,
            "intervalPeriod": {"start": start, "duration": f"PT{signal.interval_s // 60}M"},
            "payloadDescriptors": _descriptors(),
            "reportDescriptors": [
                {"payloadType": "OPERATING_STATE"},
                {"payloadType": "USAGE", "readingType": "DIRECT_READ", "units": "KWH"},
            ],
            "intervals": [{"id": number, "payloads": payloads} for number in range(signal.interval_count)],
        }

    def _evidence(self) -> dict[str, Any]:
        """What links the events to the one that the grid operator signed: its id is the digest of the signature."""
        signal = self._signal
        return {
            "GRIDLEDGER_CHAIN_ID": self._chain_id,
            "GRIDLEDGER_ZONE": signal.zone,
            "GRIDLEDGER_DEMAND_ID": signal.event_id,
            "GRIDLEDGER_DIRECTION": "reduce" if signal.relative_energy_wh < 0 else "increase",
            "GRIDLEDGER_REASON": signal.reason,
        }


def _payload(payload_type: str, value: str | float) -> Document:
    return {"type": payload_type, "values": [value]}


def _descriptors() -> list[Document]:
    return [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": RELATIVE, "units": "KW"},
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": SIMPLE},
    ]
