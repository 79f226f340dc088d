"""Events whose values the contract writes into one word, because a clearing or settlement has hundreds of them."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["unpacked"]


class _Field(NamedTuple):
    """A part of a word; an empty name is not used by the event."""

    name: str
    bits: int
    signed: bool = False


def _closing(energy: str, money: str, *, version: str = "") -> tuple[_Field, ...]:
    """The layout of the contracts' library Closings."""
    return (
        _Field("mtuStart", 40),
        _Field("meter", 32),
        _Field(version, 8),
        _Field(energy, 64, signed=True),
        _Field(money, 112, signed=True),
    )


_FIELDS: Mapping[str, tuple[_Field, ...]] = {
    "EnergyTraded": (_Field("sellMeter", 32), _Field("buyMeter", 32), _Field("energyWh", 192)),
    "TradeCurtailed": (_Field("sellMeter", 32), _Field("buyMeter", 32), _Field("energyWh", 192)),
    "PositionSettled": _closing("meteredWh", "imbalanceMicrocents"),
    "PositionSubstituted": _closing("substituteWh", "imbalanceMicrocents"),
    "PositionResettled": _closing("meteredWh", "deltaMicrocents", version="version"),
    "PositionRefunded": _closing("", "lockedMicrocents"),
}


def unpacked(event: str, word: int) -> dict[str, int] | None:
    """The values by name, from the lowest bits up; None if the event is not packed."""
    fields = _FIELDS.get(event)
    if fields is None:
        return None
    values: dict[str, int] = {}
    for field in fields:
        value, word = word & ((1 << field.bits) - 1), word >> field.bits
        if field.name:
            values[field.name] = value - (1 << field.bits) if field.signed and value >> (field.bits - 1) else value
    return values
