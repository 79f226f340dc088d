"""Meter events: what breaks the count of a meter's registers, stated and signed by the grid operator. Pure.

Registers only count up. Where they start anew - a reset, a rollover, another device in the same place - the grid
operator of the meter's zone says what they showed last and what they showed first, and signs it (EIP-712), so that an
auditor can follow the energy across. A reading at or after the event's moment belongs to the new count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from gridledger.metering.errors import FieldRefused, MeterEventMalformed, StatementSignatureMalformed
from gridledger.metering.model import MAX_METER_ID_CHARACTERS, MAX_MTU_START
from gridledger.units import UINT32_MAX, check_range

__all__ = [
    "MAX_REGISTER_WH",
    "REGISTERS",
    "MeterEvent",
    "MeterEventKind",
    "MeteringDomain",
    "StoredMeterEvent",
    "event_signer",
    "event_typed_data",
    "events_within",
]

MAX_REGISTER_WH = 10**12 - 1  # 12 digits, as the largest registers show
REGISTERS = ("import", "export")
DOMAIN_NAME, DOMAIN_VERSION = "gridledger-metering", "1"
_CAPACITIES_WH = frozenset(10**digits for digits in range(6, 13))
_HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # EIP-2
_FIELDS = (
    ("meter", "uint32"),
    ("kind", "uint8"),
    ("happenedAt", "uint64"),
    ("closingSerial", "string"),
    ("openingSerial", "string"),
    ("closingImportWh", "uint64"),
    ("closingExportWh", "uint64"),
    ("openingImportWh", "uint64"),
    ("openingExportWh", "uint64"),
)


class MeterEventKind(IntEnum):
    """What happened to the count; the numbers are those of the signed statement."""

    RESET = 1
    ROLLOVER = 2
    REPLACEMENT = 3

    @property
    def restarts_counter(self) -> bool:
        """Whether the device's own numbering may begin again."""
        return self is not MeterEventKind.ROLLOVER


@dataclass(frozen=True, kw_only=True)
class MeteringDomain:
    """Where a statement about a meter is valid: one chain, one meter ledger (checksum address)."""

    chain_id: int
    meter_ledger: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterEvent:
    """Last registers of the old count, first of the new, Wh. Raises OutOfRange, FieldRefused, MeterEventMalformed.

    `happened_at` in Unix seconds. A reset and a rollover keep the serial, a replacement changes it. In a rollover a
    register closes at its capacity (a power of ten of 7 to 13 digits) and opens at 0, or goes on: opens as it closed.
    """

    meter: int
    kind: MeterEventKind
    happened_at: int
    closing_serial: str
    opening_serial: str
    closing_import_wh: int
    closing_export_wh: int
    opening_import_wh: int
    opening_export_wh: int

    def __post_init__(self) -> None:
        check_range("meter", self.meter, 1, UINT32_MAX)
        check_range("happened_at", self.happened_at, 1, MAX_MTU_START)
        for register in REGISTERS:
            check_range(f"closing_{register}_wh", self.closing_wh(register), 0, MAX_REGISTER_WH + 1)
            check_range(f"opening_{register}_wh", self.opening_wh(register), 0, MAX_REGISTER_WH)
        for field, serial in (("closing_serial", self.closing_serial), ("opening_serial", self.opening_serial)):
            if not 0 < len(serial) <= MAX_METER_ID_CHARACTERS or serial != serial.strip() or not serial.isprintable():
                raise FieldRefused(field=field, expected="1 to 64 printable characters without blanks around them")
        if problem := self._problem():
            raise MeterEventMalformed(kind=self.kind.name.lower(), problem=problem)

    def closing_wh(self, register: str) -> int:
        """What a register of `REGISTERS` showed last, Wh."""
        value: int = getattr(self, f"closing_{register}_wh")
        return value

    def opening_wh(self, register: str) -> int:
        """What a register of `REGISTERS` showed first, Wh."""
        value: int = getattr(self, f"opening_{register}_wh")
        return value

    def _problem(self) -> str | None:
        same_serial = self.closing_serial == self.opening_serial
        if self.kind is MeterEventKind.REPLACEMENT:
            return "another serial opens" if same_serial else None
        if not same_serial:
            return "the same serial opens"
        going_on = [self.closing_wh(register) == self.opening_wh(register) for register in REGISTERS]
        if all(going_on):
            return "a register starts anew"
        if self.kind is MeterEventKind.ROLLOVER and not all(
            on or (self.opening_wh(register) == 0 and self.closing_wh(register) in _CAPACITIES_WH)
            for on, register in zip(going_on, REGISTERS, strict=True)
        ):
            return "a register closes at its capacity, a power of ten from 10^6 to 10^12 Wh, and opens at 0"
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredMeterEvent:
    """An accepted event with its statement's signature (65 bytes); received_at in Unix seconds."""

    event: MeterEvent
    signature: bytes
    received_at: int


def events_within(events: Sequence[MeterEvent], start: int, end: int) -> tuple[MeterEvent, ...]:
    """Those between a reading taken at `start` and one at `end` (Unix seconds), in their order."""
    return tuple(sorted((event for event in events if start < event.happened_at <= end), key=_moment))


def event_typed_data(domain: MeteringDomain, event: MeterEvent) -> dict[str, Any]:
    """The EIP-712 document the grid operator signs (struct `MeterEvent`)."""
    values = (
        event.meter,
        int(event.kind),
        event.happened_at,
        event.closing_serial,
        event.opening_serial,
        event.closing_import_wh,
        event.closing_export_wh,
        event.opening_import_wh,
        event.opening_export_wh,
    )
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "MeterEvent": [{"name": name, "type": kind} for name, kind in _FIELDS],
        },
        "primaryType": "MeterEvent",
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.meter_ledger,
        },
        "message": {name: value for (name, _), value in zip(_FIELDS, values, strict=True)},
    }


def event_signer(domain: MeteringDomain, event: MeterEvent, signature: bytes) -> str:
    """Checksum address that signed the statement with 65 bytes r, s, v. Raises StatementSignatureMalformed."""
    if len(signature) != 65 or signature[64] not in (27, 28) or int.from_bytes(signature[32:64]) > _HIGHEST_S:
        raise StatementSignatureMalformed(meter=event.meter)
    try:
        document = encode_typed_data(full_message=event_typed_data(domain, event))
        return str(Account.recover_message(document, signature=signature))
    except (BadSignature, ValidationError, ValueError):
        raise StatementSignatureMalformed(meter=event.meter) from None


def _moment(event: MeterEvent) -> int:
    return event.happened_at
