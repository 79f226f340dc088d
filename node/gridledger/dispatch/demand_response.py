"""Words of demand response: the grid operator's signed event, who takes part, and what a gateway is told. Pure.

An event asks the meters of a zone to take less from the grid (or more) during some MTUs. The grid operator signs it
(EIP-712 struct `DemandResponse`), so anybody can check who asked for what; its id is the digest that was signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import sha3
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from gridledger.dispatch.baseline import CivilCalendar, EventWindow, Measurement, MeasuringPlan, MeasuringTerms
from gridledger.dispatch.demand_errors import DemandFieldRefused, DemandSignatureMalformed
from gridledger.dispatch.model import DispatchDomain
from gridledger.units import UINT32_MAX, check_range, require_aligned

__all__ = [
    "CLOSED_AFTER_S",
    "LARGEST_DEMAND_WH",
    "LARGEST_REASON",
    "LONGEST_EVENT_S",
    "MEASURED_AFTER_S",
    "Consent",
    "DemandDirection",
    "DemandResponse",
    "DemandSignal",
    "MeterMeasurement",
    "Participation",
    "StoredDemand",
    "demand_id",
    "demand_signal",
    "demand_signer",
    "demand_typed_data",
    "energy_of_power",
    "measuring_plan",
    "signer_of",
    "terms_signer",
    "terms_typed_data",
]

DOMAIN_NAME, DOMAIN_VERSION = "gridledger-dispatch", "1"
MEASURED_AFTER_S = 3 * 3_600  # when missing readings are estimated elsewhere; here they are left out
CLOSED_AFTER_S = 8 * 86_400  # readings are taken for seven days, and anchored soon after
LARGEST_DEMAND_WH = 2**40
LARGEST_REASON = 6
LONGEST_EVENT_S = 86_400
SECONDS_PER_HOUR = 3_600
_SALT_BYTES = 32
_HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # EIP-2
_FIELDS = (
    ("zone", "uint32"),
    ("firstMtuStart", "uint64"),
    ("mtuCount", "uint32"),
    ("direction", "uint8"),
    ("energyWh", "uint64"),
    ("reason", "uint16"),
    ("salt", "bytes32"),
)
_TERMS_FIELDS = (
    ("eventId", "bytes32"),
    ("number", "uint64"),
    ("workingHighest", "uint16"),
    ("workingDays", "uint16"),
    ("otherHighest", "uint16"),
    ("otherDays", "uint16"),
    ("lookBackDays", "uint16"),
    ("adjustmentBp", "uint16"),
    ("civilTime", "string"),
    ("holidays", "string"),
    ("receivedAt", "uint64"),
)


class DemandDirection(IntEnum):
    """What is wanted of net import; the numbers are those of the signed event."""

    REDUCE = 1
    INCREASE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class DemandResponse:
    """What the grid operator asks of a zone. It cannot exist outside these ranges: OutOfRange, DemandFieldRefused.

    zone 1..2**32-1; first_mtu_start in Unix seconds up to 2**32-1; mtu_count from 1; energy_wh 1..2**40, for the whole
    zone in each MTU; reason 0..6 (none, overload, voltage, maintenance, emergency, security of supply, other); salt of
    32 bytes.
    """

    zone: int
    first_mtu_start: int
    mtu_count: int
    direction: DemandDirection
    energy_wh: int
    reason: int
    salt: bytes

    def __post_init__(self) -> None:
        check_range("zone", self.zone, 1, UINT32_MAX)
        check_range("first_mtu_start", self.first_mtu_start, 1, UINT32_MAX)
        check_range("mtu_count", self.mtu_count, 1, LONGEST_EVENT_S)
        check_range("energy_wh", self.energy_wh, 1, LARGEST_DEMAND_WH)
        check_range("reason", self.reason, 0, LARGEST_REASON)
        if len(self.salt) != _SALT_BYTES:
            raise DemandFieldRefused(field="salt", expected="32 bytes")

    def window(self, mtu_length_s: int) -> EventWindow:
        """Its MTUs, at most a day of them. Raises UnalignedMtu, OutOfRange."""
        require_aligned(self.first_mtu_start, mtu_length_s)
        check_range("mtu_count", self.mtu_count, 1, LONGEST_EVENT_S // mtu_length_s)
        return EventWindow(first_mtu_start=self.first_mtu_start, mtu_count=self.mtu_count, mtu_length_s=mtu_length_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredDemand:
    """An accepted event: its id (0x hex), both signatures of 65 bytes; number from 1, received_at in Unix seconds.

    `terms_signature` is the market operator's, over the event's id, number, terms and time.
    """

    number: int
    event_id: str
    event: DemandResponse
    signature: bytes
    terms: MeasuringTerms
    terms_signature: bytes
    received_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Participation:
    """That a meter takes part in an event, since when (Unix seconds), and whether by a standing consent."""

    meter: int
    owner: str
    standing: bool
    joined_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterMeasurement:
    """A measurement of a meter under its number, from 1 for each event, and what it rests on (`MeterEvidence`)."""

    meter: int
    number: int
    anchors: int
    proofs: int
    measured_at: int
    measurement: Measurement


@dataclass(frozen=True, kw_only=True, slots=True)
class Consent:
    """An owner's standing consent to take part in every event of the meter's zone; since when, Unix seconds."""

    meter: int
    owner: str
    given_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DemandSignal:
    """What an event says in the words of an OpenADR event: one interval per MTU, each of the same values.

    `relative_power_w` is for DISPATCH_SETPOINT_RELATIVE: change of net import of the whole zone, W, negative for a
    reduction. `simple_level` is for SIMPLE: 1 moderate, 2 high (overload, voltage, security of supply), 3 special (an
    emergency); an increase has no level of its own, so it is 0, normal operation. Starts and lengths in seconds.
    """

    event_id: str
    zone: int
    start: int
    interval_s: int
    interval_count: int
    relative_power_w: int
    relative_energy_wh: int
    simple_level: int
    reason: int
    created_at: int
    meters: tuple[int, ...]


_SIMPLE_LEVELS = {1: 2, 2: 2, 4: 3, 5: 2}


def demand_signal(stored: StoredDemand, mtu_length_s: int, meters: Sequence[int]) -> DemandSignal:
    """The event as it is told to the gateways of these meters."""
    event = stored.event
    reduces = event.direction is DemandDirection.REDUCE
    signed_wh = -event.energy_wh if reduces else event.energy_wh
    return DemandSignal(
        event_id=stored.event_id,
        zone=event.zone,
        start=event.first_mtu_start,
        interval_s=mtu_length_s,
        interval_count=event.mtu_count,
        relative_power_w=signed_wh * (SECONDS_PER_HOUR // mtu_length_s),
        relative_energy_wh=signed_wh,
        simple_level=_SIMPLE_LEVELS.get(event.reason, 1) if reduces else 0,
        reason=event.reason,
        created_at=stored.received_at,
        meters=tuple(sorted(meters)),
    )


def measuring_plan(
    event: DemandResponse, terms: MeasuringTerms, calendar: CivilCalendar, mtu_length_s: int
) -> MeasuringPlan:
    """What an event is measured against, by the calendar that its terms name. Raises UnalignedMtu, OutOfRange."""
    return MeasuringPlan(
        window=event.window(mtu_length_s),
        rule=terms.rule,
        calendar=calendar,
        increases=event.direction is DemandDirection.INCREASE,
    )


def energy_of_power(power_w: int, mtu_length_s: int) -> int:
    """Energy of a power held for one MTU, Wh, rounded down."""
    return power_w * mtu_length_s // SECONDS_PER_HOUR


def demand_typed_data(domain: DispatchDomain, event: DemandResponse) -> dict[str, Any]:
    """The EIP-712 document the grid operator signs (struct `DemandResponse`)."""
    values = (
        event.zone,
        event.first_mtu_start,
        event.mtu_count,
        int(event.direction),
        event.energy_wh,
        event.reason,
        event.salt,
    )
    return _typed_data(domain, "DemandResponse", _FIELDS, values)


def demand_id(domain: DispatchDomain, event: DemandResponse) -> str:
    """The event's id: the EIP-712 digest that is signed, 0x hex."""
    document = encode_typed_data(full_message=demand_typed_data(domain, event))
    digest: str = sha3.keccak_256(b"\x19" + document.version + document.header + document.body).hexdigest()
    return "0x" + digest


def demand_signer(domain: DispatchDomain, event: DemandResponse, signature: bytes) -> str:
    """Checksum address that signed the event with 65 bytes r, s, v. Raises DemandSignatureMalformed."""
    return signer_of(demand_typed_data(domain, event), signature)


def terms_typed_data(domain: DispatchDomain, stored: StoredDemand) -> dict[str, Any]:
    """What the market operator signs when it takes an event (EIP-712 struct `DemandTerms`): how it is measured."""
    terms, rule = stored.terms, stored.terms.rule
    values = (
        stored.event_id,
        stored.number,
        rule.working_highest,
        rule.working_days,
        rule.other_highest,
        rule.other_days,
        rule.look_back_days,
        rule.adjustment_bp,
        terms.civil_time,
        " ".join(day.isoformat() for day in terms.holidays),
        stored.received_at,
    )
    return _typed_data(domain, "DemandTerms", _TERMS_FIELDS, values)


def terms_signer(domain: DispatchDomain, stored: StoredDemand) -> str:
    """Checksum address that signed the terms. Raises DemandSignatureMalformed."""
    return signer_of(terms_typed_data(domain, stored), stored.terms_signature)


def signer_of(document: dict[str, Any], signature: bytes) -> str:
    """Checksum address that signed an EIP-712 document with 65 bytes r, s, v. Raises DemandSignatureMalformed."""
    if len(signature) != 65 or signature[64] not in (27, 28) or int.from_bytes(signature[32:64]) > _HIGHEST_S:
        raise DemandSignatureMalformed(struct=document["primaryType"])
    try:
        return str(Account.recover_message(encode_typed_data(full_message=document), signature=signature))
    except (BadSignature, ValidationError, ValueError):
        raise DemandSignatureMalformed(struct=document["primaryType"]) from None


def _typed_data(
    domain: DispatchDomain, struct: str, fields: Sequence[tuple[str, str]], values: Sequence[Any]
) -> dict[str, Any]:
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            struct: [{"name": name, "type": kind} for name, kind in fields],
        },
        "primaryType": struct,
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.dispatching_contract,
        },
        "message": {name: value for (name, _), value in zip(fields, values, strict=True)},
    }
