"""How values are written in exported files: one text per value, so that no changed byte reads as the same value."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any

from gridledger.audit.model import TradeKind
from gridledger.dispatch.demand_response import DemandDirection
from gridledger.market.model import Pricing, Product, Side
from gridledger.metering.events import MeterEventKind
from gridledger.units import NotUtc, format_utc, parse_utc

__all__ = [
    "ADDRESS",
    "BYTES32",
    "DATES",
    "DEMAND_DIRECTION",
    "FLAG",
    "HASH",
    "INTEGER",
    "METER_EVENT",
    "MOMENT",
    "OPTIONAL_BYTES32",
    "OPTIONAL_INTEGER",
    "OPTIONAL_TEXT",
    "OPTIONAL_WHOLE",
    "PRICING",
    "PRODUCT",
    "SIDE",
    "SIGNATURE",
    "TEXT",
    "TRADE_KIND",
    "WHOLE",
    "WHOLE_NUMBERS",
    "Kind",
]

_WHOLE = re.compile(r"0|[1-9][0-9]{0,38}")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,38}")
_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SIGNATURE = re.compile(r"0x[0-9a-f]{130}")


@dataclass(frozen=True)
class Kind:
    """One kind of value: `read` raises ValueError for any text that `write` would not have written."""

    name: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str


def _matching(pattern: re.Pattern[str], convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return convert(text)

    return read


def _hex_bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _write_bytes(value: bytes) -> str:
    return "0x" + value.hex()


def _optional(kind: Kind) -> Kind:
    return Kind(
        f"{kind.name} or empty",
        lambda text: None if text == "" else kind.read(text),
        lambda value: "" if value is None else kind.write(value),
    )


def _several(kind: Kind) -> Kind:
    """Values with one blank between them; none are an empty text."""
    return Kind(
        f"{kind.name}, several with a blank between them",
        lambda text: tuple(kind.read(one) for one in text.split(" ")) if text else (),
        lambda values: " ".join(kind.write(value) for value in values),
    )


def _date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(text)
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


@lru_cache(maxsize=4096)
def _moment(text: str) -> int:
    try:
        moment = parse_utc("moment", text)
    except (NotUtc, OverflowError):
        raise ValueError(text) from None
    if format_utc(moment) != text:
        raise ValueError(text)
    return moment


def _named(kind: type[IntEnum]) -> Kind:
    by_name = {member.name.lower(): member for member in kind}

    def read(text: str) -> IntEnum:
        if text not in by_name:
            raise ValueError(text)
        return by_name[text]

    return Kind(" or ".join(by_name), read, lambda value: kind(value).name.lower())


def _word(kind: type[StrEnum]) -> Kind:
    return Kind(" or ".join(kind), kind, str)


WHOLE = Kind("whole number", _matching(_WHOLE, int))
INTEGER = Kind("integer", _matching(_INTEGER, int))
OPTIONAL_WHOLE = _optional(WHOLE)
OPTIONAL_INTEGER = _optional(INTEGER)
HASH = Kind("32 bytes as 0x hex", _matching(_HASH, str))
BYTES32 = Kind("32 bytes as 0x hex", _matching(_HASH, _hex_bytes), _write_bytes)
OPTIONAL_BYTES32 = _optional(BYTES32)
ADDRESS = Kind("address", _matching(_ADDRESS, str))
SIGNATURE = Kind("65 bytes as 0x hex", _matching(_SIGNATURE, _hex_bytes), _write_bytes)
TEXT = Kind("text", _text)
OPTIONAL_TEXT = _optional(TEXT)
FLAG = Kind("true or false", _flag, lambda value: "true" if value else "false")
MOMENT = Kind("UTC moment such as 2016-06-13T00:00:00Z", _moment, format_utc)
SIDE, PRODUCT, PRICING = _named(Side), _named(Product), _named(Pricing)
TRADE_KIND, METER_EVENT = _word(TradeKind), _named(MeterEventKind)
DEMAND_DIRECTION = _named(DemandDirection)
DATES = _several(Kind("date", _date))
WHOLE_NUMBERS = _several(WHOLE)
