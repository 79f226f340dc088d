"""Who may see what of readings. Pure: who somebody is, is an argument.

| reader | sees |
|---|---|
| owner of the meter | values, status, signed text, salt |
| supplier of the owner | values and status |
| regulator, with a stated reason | as the owner; the access is logged and shown to the owner |
| grid operator of the zone | sums over the zone per MTU, of groups that are large enough and final |
| everybody else | nothing |
"""

from dataclasses import dataclass
from enum import StrEnum

from gridledger.errors import Forbidden

__all__ = [
    "LONGEST_REASON",
    "SHORTEST_REASON",
    "GroupTooSmall",
    "MeterParties",
    "ReaderOfMeter",
    "ReadingsForbidden",
    "ReasonRequired",
    "SignedTextsForbidden",
    "Withheld",
    "ZoneForbidden",
    "check_group",
    "check_reason",
    "reader_of",
    "why_withheld",
]

SHORTEST_REASON, LONGEST_REASON = 10, 300


@dataclass(kw_only=True, eq=False)
class ReadingsForbidden(Forbidden):
    """Readings are shown to the meter's owner, to the owner's supplier and to the regulator."""

    meter: int


@dataclass(kw_only=True, eq=False)
class SignedTextsForbidden(Forbidden):
    """Signed texts and salts are shown to the meter's owner and to the regulator; a supplier sees interval energies."""

    meter: int


@dataclass(kw_only=True, eq=False)
class ReasonRequired(Forbidden):
    """The regulator reads a meter with a stated reason only, which is logged and shown to the owner."""

    shortest: int = SHORTEST_REASON
    longest: int = LONGEST_REASON


@dataclass(kw_only=True, eq=False)
class ZoneForbidden(Forbidden):
    """Sums over a zone are shown to its grid operator."""

    zone: int


@dataclass(kw_only=True, eq=False)
class GroupTooSmall(Forbidden):
    """The zone has too few meters for a sum that tells nothing of a single one."""

    zone: int
    meters: int
    smallest: int


class ReaderOfMeter(StrEnum):
    """As whom somebody reads a meter."""

    OWNER = "owner"
    SUPPLIER = "supplier"
    REGULATOR = "regulator"


class Withheld(StrEnum):
    """Why the sum of one MTU is not told."""

    GROUP_TOO_SMALL = "group-too-small"
    NOT_FINAL = "not-final"
    ERASED = "erased"


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterParties:
    """Whose readings they are: the meter's owner and the owner's supplier."""

    meter: int
    owner: str
    supplier: str | None


def reader_of(
    reader: str, parties: MeterParties, *, regulates: bool, reason: str | None, signed_texts: bool
) -> ReaderOfMeter:
    """As whom an account may read a meter; whoever is several of them needs no reason as owner or supplier.

    Raises ReadingsForbidden, SignedTextsForbidden, ReasonRequired.
    """
    if reader == parties.owner:
        return ReaderOfMeter.OWNER
    if reader == parties.supplier and not (regulates and signed_texts):
        if signed_texts:
            raise SignedTextsForbidden(meter=parties.meter)
        return ReaderOfMeter.SUPPLIER
    if not regulates:
        raise ReadingsForbidden(meter=parties.meter)
    check_reason(reason)
    return ReaderOfMeter.REGULATOR


def check_reason(reason: str | None) -> None:
    """Raises ReasonRequired where a regulator states no reason, or none that can be shown to an owner."""
    if reason is None or not SHORTEST_REASON <= len(reason.strip()) <= LONGEST_REASON or not reason.isprintable():
        raise ReasonRequired


def check_group(zone: int, meters: int, *, smallest: int) -> None:
    """Raises GroupTooSmall where the zone's registered meters are fewer than the smallest group."""
    if meters < smallest:
        raise GroupTooSmall(zone=zone, meters=meters, smallest=smallest)


def why_withheld(*, meters: int, smallest: int, final: bool, erased: bool) -> Withheld | None:
    """Why the sum over one MTU's readings is not told, None where it is.

    Two sums over one MTU that differ by one reading tell that reading: so a sum is told once no reading can join it,
    and no more once one has been erased from it.
    """
    if erased:
        return Withheld.ERASED
    if not final:
        return Withheld.NOT_FINAL
    return Withheld.GROUP_TOO_SMALL if meters < smallest else None
