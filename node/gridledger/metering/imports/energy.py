"""Decimal texts of power and energy as whole Wh; the one rounding is named."""

import re
from fractions import Fraction

from gridledger.metering.imports.standard import MAX_ENERGY_WH
from gridledger.metering.imports.tables import RowRefused, shown

__all__ = ["energy_of_power_wh_rounded_half_even", "parsed_number", "wh_rounded_half_even"]

WH_PER_KWH = 1000
SECONDS_PER_HOUR = 3600
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,2})?")


def parsed_number(field: str, text: str) -> Fraction:
    """The exact value of a decimal text, with an exponent of two digits at most. Raises RowRefused (bad-number)."""
    if not _NUMBER.fullmatch(text):
        raise RowRefused("bad-number", f"{field} {shown(text)} is not a number", text)
    return Fraction(text)


def energy_of_power_wh_rounded_half_even(field: str, text: str, interval_s: int) -> int:
    """The energy of an average power in kW over an interval: kW x s / 3.6 is Wh, rounded once, a half to the even.

    Raises RowRefused: bad-number, energy-negative, energy-too-large (above 2**32 Wh).
    """
    return wh_rounded_half_even(field, text, Fraction(WH_PER_KWH * interval_s, SECONDS_PER_HOUR))


def wh_rounded_half_even(field: str, text: str, wh_per_unit: Fraction) -> int:
    """A decimal text in a unit of `wh_per_unit` as whole Wh, rounded once, a half to the even. Raises as above."""
    number = parsed_number(field, text)
    if number < 0:
        raise RowRefused("energy-negative", f"{field} {shown(text)} is negative", text)
    energy_wh = round(number * wh_per_unit)
    if energy_wh > MAX_ENERGY_WH:
        raise RowRefused("energy-too-large", f"{field} {shown(text)} is above {MAX_ENERGY_WH} Wh", text)
    return energy_wh
