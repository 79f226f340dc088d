"""Telegrams of a DSMR P1 port, versions 4 and 5, as register readings. Parsed, and their CRC checked, by dsmr-parser.

A telegram counts where MTUs meet: its own timestamp (local time with S for summer or W for winter) is then the moment
of the registers. Both tariffs are summed: 1-0:1.8.1 and 1-0:1.8.2 are import, 1-0:2.8.1 and 1-0:2.8.2 export. A P1 port
does not sign, so whoever reads it does, with the key registered for the meter.
Source: DSMR P1 companion standard 5.0.2.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from dsmr_parser.exceptions import InvalidChecksumError, ParseError
from dsmr_parser.objects import Telegram
from dsmr_parser.parsers import TelegramParser
from dsmr_parser.telegram_specifications import V5

from gridledger.metering.imports.errors import (
    P1RegistersMissing,
    P1SerialForeign,
    P1TimeRefused,
    TelegramChecksumWrong,
    TelegramUnreadable,
)
from gridledger.metering.registers import RegisterReading

__all__ = ["MAX_TELEGRAM_CHARACTERS", "P1Telegram", "read_telegram", "split_telegrams"]

MAX_TELEGRAM_CHARACTERS = 16_384
_IMPORTS = ("ELECTRICITY_USED_TARIFF_1", "ELECTRICITY_USED_TARIFF_2")
_EXPORTS = ("ELECTRICITY_DELIVERED_TARIFF_1", "ELECTRICITY_DELIVERED_TARIFF_2")
_TIME, _SERIAL = "P1_MESSAGE_TIMESTAMP", "EQUIPMENT_IDENTIFIER"
_ZONE = ZoneInfo("Europe/Amsterdam")
_OBJECTS = [entry for entry in V5["objects"] if entry["value_name"] in {_TIME, _SERIAL, *_IMPORTS, *_EXPORTS}]
_PARSER = TelegramParser({"checksum_support": True, "objects": _OBJECTS})

logging.getLogger("dsmr_parser").setLevel(logging.CRITICAL)  # what it would log is raised as a typed error here


@dataclass(frozen=True, kw_only=True, slots=True)
class P1Telegram:
    """A telegram as it stands in a file, with the line it begins at; what is cut off has no end or no beginning."""

    line_number: int
    text: str


def split_telegrams(lines: Iterable[str]) -> Iterator[P1Telegram]:
    """The telegrams of a file, whose lines keep their own ends: from a line with / to one with !, whole or not.

    What stands between two is a telegram cut off, blank lines apart. No text is longer than 16,385 characters.
    """
    collected, begun_at = "", 0
    for line_number, line in enumerate(lines, start=1):
        if line.startswith("/") and collected.strip():
            yield P1Telegram(line_number=begun_at, text=collected)
            collected = ""
        if not collected.strip():
            collected, begun_at = "", line_number
        collected = (collected + line)[: MAX_TELEGRAM_CHARACTERS + 1]
        if line.startswith("!"):
            yield P1Telegram(line_number=begun_at, text=collected)
            collected = ""
    if collected.strip():
        yield P1Telegram(line_number=begun_at, text=collected)


def read_telegram(text: str, *, meter: int, serial: str, mtu_length_s: int) -> RegisterReading | None:
    """The registers of a telegram, or None between two MTUs; the counter is the number of the MTU since 1970.

    `meter` is the registry's number, `serial` that of the device, as the telegram says it (hex decoded).
    Raises TelegramUnreadable, TelegramChecksumWrong, P1SerialForeign, P1TimeRefused, P1RegistersMissing, OutOfRange,
    FieldRefused.
    """
    telegram = _parsed(text)
    found = _serial(telegram)
    if found != serial:
        raise P1SerialForeign(expected=serial, found=found[:64])
    taken_at = _taken_at(telegram, text)
    if taken_at % mtu_length_s:
        return None
    if missing := tuple(name for name in _IMPORTS + _EXPORTS if not hasattr(telegram, name)):
        raise P1RegistersMissing(missing=missing)
    return RegisterReading(
        meter=meter,
        meter_id=serial,
        taken_at=taken_at,
        import_register_wh=sum(_register_wh(telegram, name) for name in _IMPORTS),
        export_register_wh=sum(_register_wh(telegram, name) for name in _EXPORTS),
        counter=taken_at // mtu_length_s,
    )


def _parsed(text: str) -> Telegram:
    if len(text) > MAX_TELEGRAM_CHARACTERS:
        raise TelegramUnreadable(problem=f"longer than {MAX_TELEGRAM_CHARACTERS} characters")
    if not text.startswith("/"):
        raise TelegramUnreadable(problem="no beginning")
    try:
        return _PARSER.parse(text, throw_ex=True)
    except InvalidChecksumError:
        raise TelegramChecksumWrong from None
    except (ParseError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as problem:
        raise TelegramUnreadable(problem=str(problem)[:120] or type(problem).__name__) from None


def _serial(telegram: Telegram) -> str:
    """The device's serial; most telegrams write its characters in hex."""
    value = str(telegram.EQUIPMENT_IDENTIFIER.value or "") if hasattr(telegram, _SERIAL) else ""
    try:
        decoded = bytes.fromhex(value).decode("ascii")
    except ValueError:
        return value
    return decoded if decoded.isprintable() else value


def _taken_at(telegram: Telegram, text: str) -> int:
    moment = telegram.P1_MESSAGE_TIMESTAMP.value if hasattr(telegram, _TIME) else None
    if not isinstance(moment, datetime):
        raise P1TimeRefused(problem="no timestamp")
    local = moment.astimezone(_ZONE)
    written = local.strftime("%y%m%d%H%M%S") + ("S" if local.dst() else "W")
    if f"0-0:1.0.0({written})" not in text:
        raise P1TimeRefused(problem=f"clocks of {_ZONE.key} never show it, or show it in the other season")
    return int(moment.timestamp())


def _register_wh(telegram: Telegram, name: str) -> int:
    entry = getattr(telegram, name)
    value = entry.value
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0 or entry.unit != "kWh":
        raise TelegramUnreadable(problem=f"{name} is no energy in kWh")
    energy_wh = value.scaleb(3)
    if energy_wh != energy_wh.to_integral_value():
        raise TelegramUnreadable(problem=f"{name} has more than three decimals")
    return int(energy_wh)
