"""Programs and events of OpenADR 3.1.0 that tell of a dispatch.

| program | events, one per MTU | who may read them |
|---|---|---|
| `grid-dispatch-zone-N` | the zone's, with the contracted setpoint of each meter | everybody: it is on the chain |
| `grid-dispatch-zone-N` | the operator's: with residuals and each meter's limits | target `grid-operator-zone-N` |
| `meter-dispatch-zone-N` | a meter's own setpoint and limits | target `meter-M` |
| both | an emergency stop, one event from its first MTU to its last | everybody |

Interval 0 is the zone's and says what stands behind the event; in the program of the zone, interval M is meter M's.
Setpoints are net consumption in kW over the MTU, as the standard defines `DISPATCH_SETPOINT`: what is exported is
negative. Limits are kW, never negative. Types that begin with `GRIDLEDGER_` are the standard's private strings.
Source: OpenADR 3.1.0 Definition, enumerations of events.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gridledger.openadr.dispatch_facts import DispatchFacts, DispatchState, MeterPlan, StopFacts
from gridledger.openadr.quantities import kilowatts
from gridledger.units import format_utc

__all__ = [
    "ZONE_INTERVAL",
    "DispatchEvents",
    "dispatch_program",
    "dispatch_program_name",
    "meter_program",
    "meter_program_name",
    "meter_target",
    "operator_target",
    "stop_event",
]

ZONE_INTERVAL = 0
SETPOINT, EXPORT_LIMIT, IMPORT_LIMIT = "DISPATCH_SETPOINT", "EXPORT_CAPACITY_LIMIT", "IMPORT_CAPACITY_LIMIT"
EMERGENCY = "ALERT_GRID_EMERGENCY"
_IN_KILOWATTS = (SETPOINT, EXPORT_LIMIT, IMPORT_LIMIT)
_URGENCY = {DispatchState.STOPPED: 0, DispatchState.CURTAILED: 1}
_LEAST_URGENT = 2
_REASONS = (
    "no reason given",
    "overload",
    "voltage",
    "maintenance",
    "emergency",
    "security of supply",
    "another reason",
)

Document = dict[str, Any]


def dispatch_program_name(zone: int) -> str:
    """Where a zone's dispatch is told."""
    return f"grid-dispatch-zone-{zone}"


def meter_program_name(zone: int) -> str:
    """Where the gateways of a zone's meters are told what concerns them."""
    return f"meter-dispatch-zone-{zone}"


def operator_target(zone: int) -> str:
    """What a zone's grid operator is granted."""
    return f"grid-operator-zone-{zone}"


def meter_target(meter: int) -> str:
    """What a meter's gateway is granted."""
    return f"meter-{meter}"


def dispatch_program(zone: int) -> Document:
    """The program of a zone's dispatch."""
    return {"programName": dispatch_program_name(zone), "payloadDescriptors": _descriptors()}


def meter_program(zone: int) -> Document:
    """The program of the zone's gateways."""
    return {"programName": meter_program_name(zone), "payloadDescriptors": _descriptors()}


class DispatchEvents:
    """The events of one dispatch, as they are asked of the VTN."""

    def __init__(self, facts: DispatchFacts, *, mtu_length_s: int, chain_id: int) -> None:
        self._facts = facts
        self._mtu_length_s = mtu_length_s
        self._chain_id = chain_id

    def of_zone(self, program_id: str) -> Document:
        """What the chain shows to everybody. Raises NotExact."""
        known = (MeterPlan(meter=plan.meter, contracted_wh=plan.contracted_wh) for plan in self._plans())
        plans = [plan for plan in known if plan.contracted_wh]
        meters = [self._interval(plan.meter, [self._setpoint(plan.setpoint_wh)]) for plan in plans]
        total_wh = sum(plan.setpoint_wh for plan in plans)
        return self._event(program_id, "zone", [self._zone_interval(total_wh), *meters])

    def of_operator(self, program_id: str) -> Document:
        """What the zone's grid operator sees besides: residuals and limits. Raises NotExact."""
        meters = [self._interval(plan.meter, list(self._orders(plan))) for plan in self._plans()]
        total_wh = sum(plan.setpoint_wh for plan in self._plans())
        intervals = [self._zone_interval(total_wh), *meters]
        targets = [operator_target(self._facts.zone)]
        return self._event(program_id, "operator", intervals) | {"targets": targets}

    def of_meter(self, program_id: str, meter: int) -> Document:
        """What one meter's gateway is to do. Raises NotExact."""
        payloads = [*self._orders(self._facts.plan(meter)), *self._evidence()]
        event = self._event(program_id, f"meter {meter}", [self._interval(ZONE_INTERVAL, payloads)])
        return event | {"targets": [meter_target(meter)]}

    def _plans(self) -> list[MeterPlan]:
        return [self._facts.plans[meter] for meter in sorted(self._facts.plans)]

    def _event(self, program_id: str, whose: str, intervals: list[Document]) -> Document:
        facts = self._facts
        return {
            "programID": program_id,
            "eventName": f"dispatch zone {facts.zone} {format_utc(facts.mtu_start)} {whose}",
            "priority": _URGENCY.get(facts.state, _LEAST_URGENT),
            "intervalPeriod": self._period(),
            "payloadDescriptors": _descriptors(),
            "reportDescriptors": [
                {"payloadType": "OPERATING_STATE"},
                {"payloadType": "USAGE", "readingType": "DIRECT_READ", "units": "KWH"},
            ],
            "intervals": intervals,
        }

    def _period(self) -> Document:
        return {"start": format_utc(self._facts.mtu_start), "duration": f"PT{self._mtu_length_s // 60}M"}

    def _interval(self, number: int, payloads: list[Document]) -> Document:
        """All intervals are of the same MTU; without a period of their own they would follow each other."""
        return {"id": number, "intervalPeriod": self._period(), "payloads": payloads}

    def _zone_interval(self, total_wh: int) -> Document:
        return self._interval(ZONE_INTERVAL, [self._setpoint(total_wh), *self._alert(), *self._evidence()])

    def _orders(self, plan: MeterPlan) -> Iterator[Document]:
        """Setpoint, limits and alert of one meter."""
        yield self._setpoint(plan.setpoint_wh)
        for payload_type, bound_wh in ((EXPORT_LIMIT, plan.export_limit_wh), (IMPORT_LIMIT, plan.import_limit_wh)):
            limit_wh = 0 if self._facts.state is DispatchState.STOPPED else bound_wh
            if limit_wh is not None:
                yield _payload(payload_type, kilowatts(limit_wh, self._mtu_length_s))
        yield from self._alert()

    def _setpoint(self, setpoint_wh: int) -> Document:
        return _payload(SETPOINT, kilowatts(-setpoint_wh, self._mtu_length_s))

    def _alert(self) -> Iterator[Document]:
        if self._facts.state is DispatchState.STOPPED:
            yield _payload(EMERGENCY, _alert_text(self._facts.zone, self._facts.reason))

    def _evidence(self) -> Iterator[Document]:
        """What links the event to the chain."""
        facts = self._facts
        values: Mapping[str, Any] = {
            "CHAIN_ID": self._chain_id,
            "ZONE": facts.zone,
            "STATE": facts.state.value,
            "REASON": facts.reason or None,
            "DIRECTION": facts.direction,
            "EMERGENCY": facts.emergency,
            "SCHEDULE_HASH": facts.schedule_hash,
            "TRANSACTION_HASH": facts.transaction_hash,
            "BLOCK_NUMBER": facts.block_number,
            "ANSWER_TRANSACTION_HASH": facts.answer_hash,
            "ANSWER_DEADLINE": None if facts.answer_deadline is None else format_utc(facts.answer_deadline),
        }
        yield from _evidence(values)


def stop_event(program_id: str, stop: StopFacts, *, mtu_length_s: int, chain_id: int) -> Document:
    """The alert of an emergency stop over all its MTUs, whether anything is scheduled in them or not."""
    minutes = (stop.last_mtu_start + mtu_length_s - stop.first_mtu_start) // 60
    evidence: Mapping[str, Any] = {
        "CHAIN_ID": chain_id,
        "ZONE": stop.zone,
        "STATE": DispatchState.STOPPED.value,
        "REASON": stop.reason or None,
        "ANSWER_TRANSACTION_HASH": stop.transaction_hash,
        "BLOCK_NUMBER": stop.block_number,
    }
    payloads = [
        _payload(EMERGENCY, _alert_text(stop.zone, stop.reason)),
        _payload(EXPORT_LIMIT, 0),
        _payload(IMPORT_LIMIT, 0),
        *_evidence(evidence),
    ]
    return {
        "programID": program_id,
        "eventName": f"stop zone {stop.zone} {format_utc(stop.first_mtu_start)}",
        "priority": _URGENCY[DispatchState.STOPPED],
        "intervalPeriod": {"start": format_utc(stop.first_mtu_start), "duration": f"PT{minutes}M"},
        "payloadDescriptors": _descriptors(),
        "reportDescriptors": [{"payloadType": "OPERATING_STATE"}],
        "intervals": [{"id": ZONE_INTERVAL, "payloads": payloads}],
    }


def _evidence(values: Mapping[str, Any]) -> Iterator[Document]:
    """Private strings of what is known."""
    for name, value in values.items():
        if value is not None:
            yield _payload(f"GRIDLEDGER_{name}", value)


def _alert_text(zone: int, reason: int) -> str:
    return f"zone {zone} is stopped: all meters at 0 kW ({_reason(reason)})"


def _payload(payload_type: str, value: str | float) -> Document:
    return {"type": payload_type, "values": [value]}


def _descriptors() -> list[Document]:
    return [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": payload_type, "units": "KW"}
        for payload_type in _IN_KILOWATTS
    ]


def _reason(code: int) -> str:
    return _REASONS[code] if code < len(_REASONS) else f"reason {code}"
