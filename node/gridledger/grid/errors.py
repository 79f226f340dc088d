"""What can be wrong with a feeder's files and with a power flow over it."""

from dataclasses import dataclass

from gridledger.errors import InvalidInput, Unavailable

__all__ = ["FeederFileRefused", "FeederTooLarge", "PowerFlowDiverged", "PowerFlowNotInstalled"]


@dataclass(kw_only=True, eq=False)
class FeederFileRefused(InvalidInput):
    """A row of a feeder's file cannot be read; a network is taken whole or not at all. The header is line 1."""

    path: str
    line_number: int
    column: str
    problem: str


@dataclass(kw_only=True, eq=False)
class FeederTooLarge(InvalidInput):
    """A feeder's file has more rows than a feeder may have."""

    path: str
    highest: int


@dataclass(kw_only=True, eq=False)
class PowerFlowNotInstalled(Unavailable):
    """The power flow needs the extra `grid`: install `gridledger[grid]`."""

    problem: str


@dataclass(kw_only=True, eq=False)
class PowerFlowDiverged(InvalidInput):
    """The power flow found no voltages that would carry these setpoints."""

    problem: str
