"""Words of dispatch: schedules, the operator's answers, and what it signs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from gridledger.dispatch.setpoints import Direction
from gridledger.typed_data import TypedDomain, typed_document

__all__ = [
    "ANSWERING",
    "LARGEST_REASON",
    "MOST_STOPPED_MTUS",
    "Answer",
    "Curtailment",
    "DispatchDomain",
    "EmergencyStop",
    "Schedule",
    "ScheduleState",
    "answer_typed_data",
    "curtailment_typed_data",
    "stop_typed_data",
]

DOMAIN_NAME, DOMAIN_VERSION = "gridledger-dispatch", "1"
ANSWERING = "answering"  # pending on chain, with an answer on its way there
LARGEST_REASON = 15
MOST_STOPPED_MTUS = 96


class Answer(IntEnum):
    """What a grid operator can answer; the numbers are the contract's."""

    ACKNOWLEDGED = 1
    CURTAILED = 2
    STOPPED = 3


class ScheduleState(StrEnum):
    """Life of a schedule."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    CURTAILED = "curtailed"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class DispatchDomain:
    """Where an answer is valid: one chain, one dispatching contract (checksum address)."""

    chain_id: int
    dispatching_contract: str

    @property
    def typed(self) -> TypedDomain:
        """The EIP-712 domain."""
        return TypedDomain(
            name=DOMAIN_NAME, version=DOMAIN_VERSION, chain_id=self.chain_id, contract=self.dispatching_contract
        )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule as recorded on chain; deadline in Unix seconds, energy in Wh.

    `schedule_hash` covers `result_hash` (positions and trades) and `setpoints_root`. `curtailments` were recorded so
    far; caps hold for `direction`, None without any.
    """

    zone: int
    mtu_start: int
    schedule_hash: str
    traded_wh: int
    answer_deadline: int
    state: ScheduleState
    reason: int
    result_hash: str
    setpoints_root: str
    curtailments: int = 0
    direction: Direction | None = None
    applied_chunks: int = 0


@dataclass(frozen=True, kw_only=True)
class Curtailment:
    """What the operator signs to curtail: the highest net energy of named meters in one direction, Wh by meter.

    `sequence` is how many curtailments of the schedule were recorded before. An emergency is obeyed in any order.
    """

    zone: int
    mtu_start: int
    schedule_hash: str
    direction: Direction
    reason: int
    emergency: bool
    sequence: int
    caps_wh: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class EmergencyStop:
    """What the operator signs to stop a zone for consecutive MTUs."""

    zone: int
    first_mtu_start: int
    mtu_count: int
    reason: int


def answer_typed_data(
    domain: DispatchDomain, zone: int, mtu_start: int, schedule_hash: str, reason: int
) -> dict[str, Any]:
    """The EIP-712 document of an acknowledgement (struct `DispatchAnswer`)."""
    fields = (
        ("zone", "uint32"),
        ("mtuStart", "uint64"),
        ("scheduleHash", "bytes32"),
        ("answer", "uint8"),
        ("reason", "uint16"),
    )
    message = {
        "zone": zone,
        "mtuStart": mtu_start,
        "scheduleHash": schedule_hash,
        "answer": int(Answer.ACKNOWLEDGED),
        "reason": reason,
    }
    return typed_document(domain.typed, "DispatchAnswer", {"DispatchAnswer": fields}, message)


def curtailment_typed_data(domain: DispatchDomain, curtailment: Curtailment) -> dict[str, Any]:
    """The EIP-712 document of a curtailment (struct `Curtailment`), caps ascending by meter."""
    structs = {
        "Cap": (("meter", "uint32"), ("capWh", "uint64")),
        "Curtailment": (
            ("zone", "uint32"),
            ("mtuStart", "uint64"),
            ("scheduleHash", "bytes32"),
            ("direction", "uint8"),
            ("reason", "uint16"),
            ("emergency", "bool"),
            ("sequence", "uint32"),
            ("caps", "Cap[]"),
        ),
    }
    message = {
        "zone": curtailment.zone,
        "mtuStart": curtailment.mtu_start,
        "scheduleHash": curtailment.schedule_hash,
        "direction": int(curtailment.direction),
        "reason": curtailment.reason,
        "emergency": curtailment.emergency,
        "sequence": curtailment.sequence,
        "caps": [{"meter": meter, "capWh": cap_wh} for meter, cap_wh in sorted(curtailment.caps_wh.items())],
    }
    return typed_document(domain.typed, "Curtailment", structs, message)


def stop_typed_data(domain: DispatchDomain, stop: EmergencyStop) -> dict[str, Any]:
    """The EIP-712 document of an emergency stop (struct `EmergencyStop`)."""
    fields = (("zone", "uint32"), ("firstMtuStart", "uint64"), ("mtuCount", "uint32"), ("reason", "uint16"))
    message = {
        "zone": stop.zone,
        "firstMtuStart": stop.first_mtu_start,
        "mtuCount": stop.mtu_count,
        "reason": stop.reason,
    }
    return typed_document(domain.typed, "EmergencyStop", {"EmergencyStop": fields}, message)
