"""What can be wrong with a demand response event, or with taking part in one."""

from dataclasses import dataclass

from gridledger.errors import Conflict, Forbidden, InvalidInput, NotFound

__all__ = [
    "DemandAmountUnclear",
    "DemandBegun",
    "DemandFieldRefused",
    "DemandMetersRefused",
    "DemandOverlaps",
    "DemandReasonRequired",
    "DemandResultsForbidden",
    "DemandSignatureMalformed",
    "DemandSumForbidden",
    "DemandTooFarAhead",
    "DemandUnknown",
    "DemandZoneUnknown",
    "MeterOfAnotherOwner",
    "MeterOutsideDemand",
    "NotTakingPart",
    "NotTheDemandOperator",
    "TooManyDemands",
]


@dataclass(kw_only=True, eq=False)
class DemandFieldRefused(InvalidInput):
    """A field of the demand response event is not what the format says."""

    field: str
    expected: str


@dataclass(kw_only=True, eq=False)
class DemandSignatureMalformed(InvalidInput):
    """What is signed about demand response carries 65 bytes: r, a low s, and v of 27 or 28."""

    struct: str


@dataclass(kw_only=True, eq=False)
class NotTheDemandOperator(Forbidden):
    """The demand response event is not signed by the zone's grid operator for this chain and contract."""

    zone: int
    signer: str
    grid_operator: str


@dataclass(kw_only=True, eq=False)
class DemandZoneUnknown(NotFound):
    """No such zone is registered."""

    zone: int


@dataclass(kw_only=True, eq=False)
class DemandUnknown(NotFound):
    """No such demand response event is known."""

    event_id: str


@dataclass(kw_only=True, eq=False)
class DemandBegun(Conflict):
    """The first MTU of the demand response event has begun, or would have before anybody heard of it."""

    first_mtu_start: int
    now: int


@dataclass(kw_only=True, eq=False)
class DemandTooFarAhead(InvalidInput):
    """The demand response event lies too far in the future."""

    first_mtu_start: int
    latest: int


@dataclass(kw_only=True, eq=False)
class DemandOverlaps(Conflict):
    """The zone has another demand response event in one of these MTUs."""

    zone: int
    other_id: str


@dataclass(kw_only=True, eq=False)
class TooManyDemands(Conflict):
    """The zone has as many demand response events still to come as it may have."""

    zone: int
    highest: int


@dataclass(kw_only=True, eq=False)
class MeterOfAnotherOwner(Forbidden):
    """Only the owner of a meter decides whether it takes part."""

    meter: int


@dataclass(kw_only=True, eq=False)
class MeterOutsideDemand(Conflict):
    """The demand response event is of another zone than the meter's, or it measures the transformer itself."""

    meter: int
    zone: int


@dataclass(kw_only=True, eq=False)
class DemandMetersRefused(InvalidInput):
    """A list of meters has each of them once."""

    meter: int


@dataclass(kw_only=True, eq=False)
class NotTakingPart(NotFound):
    """The meter does not take part, and has no standing consent that could be withdrawn."""

    meter: int


@dataclass(kw_only=True, eq=False)
class DemandResultsForbidden(Forbidden):
    """Results are shown to participants, each their own, and to the regulator."""

    event_id: str


@dataclass(kw_only=True, eq=False)
class DemandSumForbidden(Forbidden):
    """The sum of a demand response event is shown to the grid operator of its zone."""

    zone: int


@dataclass(kw_only=True, eq=False)
class DemandReasonRequired(Forbidden):
    """The regulator sees measurements with a stated reason only, which is logged and shown to the owners."""

    shortest: int
    longest: int


@dataclass(kw_only=True, eq=False)
class DemandAmountUnclear(InvalidInput):
    """What is wanted of each MTU is an energy or a power: one of the two."""
