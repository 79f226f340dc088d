"""Units, exact conversions and the one place where signed divisions are written.

Energy is integer Wh, prices integer cents per MWh (signed), money integer microcents, carbon integer micrograms CO2.
Wh x cents/MWh = microcents and Wh x mg/kWh = ug, both exactly. Divisions floor toward minus infinity, as the
contracts' `IntegerMath` library does; the EVM's own signed division truncates toward zero.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache

from gridledger.errors import InvalidInput

__all__ = [
    "BASIS_POINTS",
    "MICROCENTS_PER_EUR",
    "UGCO2_PER_TOKEN",
    "NotExact",
    "NotUtc",
    "OutOfRange",
    "UnalignedMtu",
    "avoided_ugco2",
    "check_range",
    "cost_microcents",
    "eur_text",
    "floor_midpoint",
    "format_utc",
    "kg_text",
    "kwh_text",
    "parse_decimal",
    "parse_utc",
    "require_aligned",
    "share_rounded_down",
]

MICROCENTS_PER_EUR = 10**8
UGCO2_PER_TOKEN = 10**9
BASIS_POINTS = 10_000
MTU_LENGTHS_S = (300, 900, 1800, 3600)
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
UINT32_MAX, UINT64_MAX = 2**32 - 1, 2**64 - 1
_LARGEST_EXPONENT = 60
_WIDE = Context(prec=100)  # wider than any accepted text, so that scaling never rounds


@dataclass(kw_only=True, eq=False)
class NotExact(InvalidInput):
    """The decimal text is not an exact number of the smallest unit."""

    field: str
    text: str


@dataclass(kw_only=True, eq=False)
class OutOfRange(InvalidInput):
    """The number lies outside its range."""

    field: str
    value: int
    lowest: int
    highest: int


@dataclass(kw_only=True, eq=False)
class UnalignedMtu(InvalidInput):
    """The MTU start is not a multiple of the MTU length."""

    mtu_start: int
    mtu_length_s: int


@dataclass(kw_only=True, eq=False)
class NotUtc(InvalidInput):
    """The time is not an ISO-8601 moment in UTC."""

    field: str
    text: str


def check_range(field: str, value: int, lowest: int, highest: int) -> int:
    """Return `value` if lowest <= value <= highest. Raises OutOfRange."""
    if not lowest <= value <= highest:
        raise OutOfRange(field=field, value=value, lowest=lowest, highest=highest)
    return value


def parse_decimal(field: str, text: str, decimals: int) -> int:
    """Exact integer of a decimal text in units of 10**-decimals, e.g. ("12.345", 3) -> 12345. Raises NotExact."""
    try:
        number = Decimal(text) if len(text) <= 40 else Decimal("NaN")
        if not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT:
            raise NotExact(field=field, text=text[:40])
        scaled = number.scaleb(decimals, _WIDE)
        if scaled != scaled.to_integral_value(context=_WIDE):
            raise NotExact(field=field, text=text[:40])
    except InvalidOperation:
        raise NotExact(field=field, text=text[:40]) from None
    return check_range(field, int(scaled), -(2**127), 2**127 - 1)


def cost_microcents(energy_wh: int, price_cents_per_mwh: int) -> int:
    """Money for an energy at a price: Wh x cents/MWh is microcents exactly."""
    return energy_wh * price_cents_per_mwh


def avoided_ugco2(energy_wh: int, grid_mgco2_per_kwh: int, source_mgco2_per_kwh: int) -> int:
    """Carbon avoided by an energy; never below zero. Wh x mg/kWh is ug exactly."""
    return energy_wh * max(0, grid_mgco2_per_kwh - source_mgco2_per_kwh)


def floor_midpoint(lower: int, upper: int) -> int:
    """Midpoint of two prices, rounded toward minus infinity."""
    return (lower + upper) // 2


def share_rounded_down(amount: int, share_basis_points: int) -> int:
    """`amount` x share, rounded toward minus infinity; share in 0..10000 basis points."""
    return amount * share_basis_points // BASIS_POINTS


def require_aligned(mtu_start: int, mtu_length_s: int) -> int:
    """Return `mtu_start` if it is a positive multiple of the MTU length. Raises UnalignedMtu."""
    if mtu_start <= 0 or mtu_start % mtu_length_s:
        raise UnalignedMtu(mtu_start=mtu_start, mtu_length_s=mtu_length_s)
    return mtu_start


@lru_cache(maxsize=4096)  # the orders of a batch name the same few moments
def parse_utc(field: str, text: str) -> int:
    """Unix seconds of an ISO-8601 text that ends in Z or +00:00, whole seconds. Raises NotUtc."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NotUtc(field=field, text=text[:40]) from None
    offset = moment.utcoffset()
    if offset is None or offset.total_seconds() != 0 or moment.microsecond:
        raise NotUtc(field=field, text=text[:40])
    return int(moment.timestamp())


def format_utc(moment: int) -> str:
    """ISO-8601 text of Unix seconds, e.g. 2016-06-13T00:00:00Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def eur_text(amount_microcents: int) -> str:
    """Money for people, in EUR with cents, e.g. 12.34 EUR (display only)."""
    return f"{Decimal(amount_microcents) / MICROCENTS_PER_EUR:,.2f} EUR"


def kwh_text(energy_wh: int) -> str:
    """Energy for people, in kWh, e.g. 1,234.5 kWh (display only)."""
    return f"{Decimal(energy_wh) / 1000:,.1f} kWh"


def kg_text(mass_ugco2: int) -> str:
    """Carbon for people, in kg CO2e, e.g. 12.3 kg CO2e (display only)."""
    return f"{Decimal(mass_ugco2) / UGCO2_PER_TOKEN:,.1f} kg CO2e"
