"""What can be wrong with an import as a whole."""

from dataclasses import dataclass

from gridledger.errors import InvalidInput

__all__ = [
    "EmissionFactorsRefused",
    "ImportOptionMissing",
    "ImportOptionRefused",
    "P1RegistersMissing",
    "P1SerialForeign",
    "P1TimeRefused",
    "TelegramChecksumWrong",
    "TelegramUnreadable",
    "UnknownTimeZone",
]


@dataclass(kw_only=True, eq=False)
class UnknownTimeZone(InvalidInput):
    """There is no time zone of this name."""

    name: str


@dataclass(kw_only=True, eq=False)
class ImportOptionMissing(InvalidInput):
    """The format does not say this of itself, so the caller must."""

    format: str
    option: str


@dataclass(kw_only=True, eq=False)
class ImportOptionRefused(InvalidInput):
    """The option has no such value, or none at all with this format."""

    option: str
    value: str
    expected: str


@dataclass(kw_only=True, eq=False)
class EmissionFactorsRefused(InvalidInput):
    """The file of emission factors has a row per source, with a number of g CO2e per kWh or nothing."""

    path: str
    problem: str


@dataclass(kw_only=True, eq=False)
class TelegramUnreadable(InvalidInput):
    """The text is not a P1 telegram of DSMR 4 or 5."""

    problem: str


@dataclass(kw_only=True, eq=False)
class TelegramChecksumWrong(InvalidInput):
    """The telegram's CRC is not that of its text."""


@dataclass(kw_only=True, eq=False)
class P1SerialForeign(InvalidInput):
    """The telegram comes from another device."""

    expected: str
    found: str


@dataclass(kw_only=True, eq=False)
class P1TimeRefused(InvalidInput):
    """The telegram does not say its moment, as a local time with its season."""

    problem: str


@dataclass(kw_only=True, eq=False)
class P1RegistersMissing(InvalidInput):
    """The telegram lacks a register of one of the two tariffs."""

    missing: tuple[str, ...]
