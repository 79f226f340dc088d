"""What can be wrong with an import as a whole."""

from dataclasses import dataclass

from gridledger.errors import InvalidInput

__all__ = ["EmissionFactorsRefused", "ImportOptionMissing", "ImportOptionRefused", "UnknownTimeZone"]


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
