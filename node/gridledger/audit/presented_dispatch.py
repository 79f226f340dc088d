"""What transactions presented about a dispatch, read from their call data: answers, caps, and caps applied."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gridledger.market.model import Position, Trade
from gridledger.market.packing import position_from_words, trade_from_word

__all__ = [
    "AnswerCall",
    "CapsCall",
    "CurtailCall",
    "RevealedSetpoint",
    "StopCall",
    "answer_call",
    "caps_call",
    "curtail_call",
    "stop_call",
]


@dataclass(frozen=True, kw_only=True)
class AnswerCall:
    """An acknowledgement as it was presented, with its 65-byte signature."""

    zone: int
    mtu_start: int
    answer: int
    reason: int
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class RevealedSetpoint:
    """A capped meter's setpoint without its proof; Wh, export positive."""

    contracted_wh: int
    residual_wh: int
    salt: bytes


@dataclass(frozen=True, kw_only=True)
class CurtailCall:
    """A curtailment as it was presented; caps as (meter, Wh), hashes as 0x hex. An emergency may reveal no setpoint."""

    zone: int
    mtu_start: int
    schedule_hash: str
    direction: int
    reason: int
    emergency: bool
    sequence: int
    caps: tuple[tuple[int, int], ...]
    result_hash: str
    setpoints_root: str
    setpoints: tuple[RevealedSetpoint, ...]
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class StopCall:
    """An emergency stop as it was presented."""

    zone: int
    first_mtu_start: int
    mtu_count: int
    reason: int
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class CapsCall:
    """Caps applied to a chunk as they were presented."""

    zone: int
    mtu_start: int
    chunk: int
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
    caps: tuple[tuple[int, int], ...]


def answer_call(arguments: Sequence[Any]) -> AnswerCall:
    """Read the arguments of EnergyDispatching.answer."""
    zone, mtu_start, answer, reason, r, vs = arguments
    return AnswerCall(zone=zone, mtu_start=mtu_start, answer=answer, reason=reason, signature=_signature(r, vs))


def curtail_call(arguments: Sequence[Any]) -> CurtailCall:
    """Read the arguments of EnergyDispatching.curtail."""
    curtailment, result_hash, setpoints_root, setpoints, r, vs = arguments
    return CurtailCall(
        zone=curtailment["zone"],
        mtu_start=curtailment["mtuStart"],
        schedule_hash="0x" + curtailment["scheduleHash"].hex(),
        direction=curtailment["direction"],
        reason=curtailment["reason"],
        emergency=curtailment["emergency"],
        sequence=curtailment["sequence"],
        caps=_caps(curtailment["caps"]),
        result_hash="0x" + result_hash.hex(),
        setpoints_root="0x" + setpoints_root.hex(),
        setpoints=tuple(
            RevealedSetpoint(contracted_wh=one["contractedWh"], residual_wh=one["residualWh"], salt=one["salt"])
            for one in setpoints
        ),
        signature=_signature(r, vs),
    )


def stop_call(arguments: Sequence[Any]) -> StopCall:
    """Read the arguments of EnergyDispatching.stop."""
    zone, first_mtu_start, mtu_count, reason, r, vs = arguments
    return StopCall(
        zone=zone, first_mtu_start=first_mtu_start, mtu_count=mtu_count, reason=reason, signature=_signature(r, vs)
    )


def caps_call(arguments: Sequence[Any]) -> CapsCall:
    """Read the arguments of EnergyCurtailment.applyCaps."""
    zone, mtu_start, chunk, positions, deals, caps = arguments
    return CapsCall(
        zone=zone,
        mtu_start=mtu_start,
        chunk=chunk,
        positions=position_from_words(positions),
        deals=tuple(trade_from_word(word) for word in deals),
        caps=_caps(caps),
    )


def _caps(caps: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    return tuple((cap["meter"], cap["capWh"]) for cap in caps)


def _signature(r: bytes, vs: bytes) -> bytes:
    """The 65-byte form of a compact signature (EIP-2098)."""
    word = int.from_bytes(vs)
    return r + (word & (1 << 255) - 1).to_bytes(32) + bytes((27 + (word >> 255),))
