"""Exact quantities as the numbers of OpenADR payloads: kW, EUR/kWh, g/kWh.

JSON has one kind of number, which its readers take for a float. A decimal of up to fifteen digits comes out of it as it
went in; longer ones are refused.
"""

from decimal import Decimal

from gridledger.units import NotExact

__all__ = ["euros_per_kwh", "grams_per_kwh", "kilowatts"]

_WATTS_OF_KW_DECIMALS = 3
_CENTS_PER_MWH_DECIMALS = 5
_MILLIGRAM_DECIMALS = 3
_SECONDS_PER_HOUR = 3_600

Number = int | float


def kilowatts(energy_wh: int, mtu_length_s: int) -> Number:
    """The constant power that makes so many Wh in an MTU; exact, as every MTU length divides an hour.

    Raises NotExact for a power beyond fifteen digits.
    """
    return _number("kilowatts", energy_wh * (_SECONDS_PER_HOUR // mtu_length_s), _WATTS_OF_KW_DECIMALS)


def euros_per_kwh(price_cents_per_mwh: int) -> Number:
    """A price in EUR/kWh. Raises NotExact."""
    return _number("euros_per_kwh", price_cents_per_mwh, _CENTS_PER_MWH_DECIMALS)


def grams_per_kwh(factor_mgco2_per_kwh: int) -> Number:
    """An emission factor in g/kWh. Raises NotExact."""
    return _number("grams_per_kwh", factor_mgco2_per_kwh, _MILLIGRAM_DECIMALS)


def _number(field: str, units: int, decimals: int) -> Number:
    scale: int = 10**decimals
    if units % scale == 0:
        return units // scale
    exact = Decimal(units).scaleb(-decimals)
    number = float(exact)
    if Decimal(repr(number)) != exact:
        raise NotExact(field=field, text=str(exact))
    return number
