"""Words of dispatch: schedules, their setpoints, the operator's answers."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

__all__ = ["ANSWERING", "Answer", "DispatchDomain", "Schedule", "ScheduleState", "Setpoint", "answer_typed_data"]

DOMAIN_NAME, DOMAIN_VERSION = "gridledger-dispatch", "1"
ANSWERING = "answering"  # pending on chain, with an answer on its way there


class Answer(IntEnum):
    """What a grid operator can answer; the numbers are the contract's."""

    ACKNOWLEDGED = 1
    CURTAILED = 2


class ScheduleState(StrEnum):
    """Life of a schedule."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    CURTAILED = "curtailed"


@dataclass(frozen=True, kw_only=True)
class DispatchDomain:
    """Where an answer is valid: one chain, one dispatching contract (checksum address)."""

    chain_id: int
    dispatching_contract: str


@dataclass(frozen=True, kw_only=True)
class Setpoint:
    """Contracted net energy of one meter in an MTU, Wh, export positive."""

    meter: int
    contracted_wh: int


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule as recorded on chain; deadline in Unix seconds, energy in Wh."""

    zone: int
    mtu_start: int
    schedule_hash: str
    traded_wh: int
    answer_deadline: int
    state: ScheduleState
    reason: int


def answer_typed_data(domain: DispatchDomain, schedule: Schedule, answer: Answer, reason: int) -> dict[str, Any]:
    """The EIP-712 document the grid operator signs (struct `DispatchAnswer`)."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "DispatchAnswer": [
                {"name": "zone", "type": "uint32"},
                {"name": "mtuStart", "type": "uint64"},
                {"name": "scheduleHash", "type": "bytes32"},
                {"name": "answer", "type": "uint8"},
                {"name": "reason", "type": "uint16"},
            ],
        },
        "primaryType": "DispatchAnswer",
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.dispatching_contract,
        },
        "message": {
            "zone": schedule.zone,
            "mtuStart": schedule.mtu_start,
            "scheduleHash": schedule.schedule_hash,
            "answer": int(answer),
            "reason": reason,
        },
    }
