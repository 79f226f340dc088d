"""What can be wrong with an answer to a dispatch."""

from dataclasses import dataclass

from gridledger.errors import Conflict, Forbidden, InvalidInput, NotFound

__all__ = [
    "AlreadyAnswered",
    "AnswerTooLate",
    "AnswerUnknown",
    "BusUnknown",
    "CapAboveSchedule",
    "CapCountOutOfRange",
    "CapsIncomplete",
    "CurtailmentOrderBroken",
    "ElementTwice",
    "GridOperatorRequired",
    "LimitsForbidden",
    "MeterNotFed",
    "MeterNotInZone",
    "MeterOutsideFeeder",
    "MetersNotAscending",
    "NetworkMeshed",
    "NetworkNotConnected",
    "NotTheGridOperator",
    "NothingCurtailed",
    "ScheduleDiffers",
    "ScheduleUnknown",
    "SequenceDiffers",
    "SetpointUnknown",
    "SetpointsForbidden",
    "StopRefused",
]


@dataclass(kw_only=True, eq=False)
class ScheduleUnknown(NotFound):
    """Nothing was dispatched for the zone and MTU."""

    zone: int
    mtu_start: int


@dataclass(kw_only=True, eq=False)
class AlreadyAnswered(Conflict):
    """The dispatch has been answered.

    `state` is the answer, or `answering` while it is on its way to the chain.
    """

    zone: int
    mtu_start: int
    state: str


@dataclass(kw_only=True, eq=False)
class AnswerTooLate(Conflict):
    """The deadline for an answer has passed."""

    zone: int
    mtu_start: int
    answer_deadline: int
    now: int


@dataclass(kw_only=True, eq=False)
class NotTheGridOperator(Forbidden):
    """The answer is not signed by the zone's grid operator for this chain and contract."""

    zone: int
    signer: str
    grid_operator: str


@dataclass(kw_only=True, eq=False)
class GridOperatorRequired(Forbidden):
    """Dispatch events are delivered to accounts that the registry names as grid operator of a zone."""

    account: str


@dataclass(kw_only=True, eq=False)
class AnswerUnknown(InvalidInput):
    """An answer is acknowledged, curtailed or stopped, with a signature of 65 bytes."""

    field: str


@dataclass(kw_only=True, eq=False)
class SetpointsForbidden(Forbidden):
    """Setpoints of single meters are shown to the zone's grid operator and to the regulator."""

    zone: int


@dataclass(kw_only=True, eq=False)
class LimitsForbidden(Forbidden):
    """A meter's limits are shown to its owner, to the zone's grid operator and to the regulator."""

    meter: int


@dataclass(kw_only=True, eq=False)
class ScheduleDiffers(Conflict):
    """The answer is about another schedule than the one recorded."""

    expected: str
    found: str


@dataclass(kw_only=True, eq=False)
class SequenceDiffers(Conflict):
    """The curtailment does not follow the ones recorded before: it was relayed already, or signed for a later place."""

    expected: int
    found: int


@dataclass(kw_only=True, eq=False)
class MeterNotInZone(InvalidInput):
    """A named meter is not one of the zone's."""

    meter: int
    zone: int


@dataclass(kw_only=True, eq=False)
class SetpointUnknown(InvalidInput):
    """A named meter is not scheduled to deliver or take anything."""

    meter: int
    zone: int
    mtu_start: int


@dataclass(kw_only=True, eq=False)
class StopRefused(InvalidInput):
    """A stop begins with an MTU and covers at least one and at most some."""

    first_mtu_start: int
    mtu_count: int
    most: int


@dataclass(kw_only=True, eq=False)
class CapCountOutOfRange(InvalidInput):
    """A curtailment names no meter or too many."""

    count: int
    most: int


@dataclass(kw_only=True, eq=False)
class CapsIncomplete(InvalidInput):
    """Each named meter has one cap."""

    meter_count: int
    cap_count: int


@dataclass(kw_only=True, eq=False)
class MetersNotAscending(InvalidInput):
    """The meters are not in ascending order, each once."""

    meter: int


@dataclass(kw_only=True, eq=False)
class CapAboveSchedule(InvalidInput):
    """The cap is above what the meter was scheduled to do."""

    meter: int
    basis_wh: int
    cap_wh: int


@dataclass(kw_only=True, eq=False)
class NothingCurtailed(InvalidInput):
    """The caps leave everybody what they were scheduled to do."""

    basis_wh: int
    cap_wh: int


@dataclass(kw_only=True, eq=False)
class CurtailmentOrderBroken(InvalidInput):
    """The caps do not follow the order: highest emission factor first, then pro rata with the largest remainder."""

    meter: int
    expected_wh: int
    found_wh: int


@dataclass(kw_only=True, eq=False)
class ElementTwice(InvalidInput):
    """Two buses, or two of a network's transformer and lines, have the same name."""

    element: str


@dataclass(kw_only=True, eq=False)
class BusUnknown(InvalidInput):
    """An element of the network ends at a bus that is not described."""

    element: str
    bus: int


@dataclass(kw_only=True, eq=False)
class NetworkNotConnected(InvalidInput):
    """A bus is not fed by the transformer, over lines on its low-voltage side."""

    bus: int


@dataclass(kw_only=True, eq=False)
class MeterNotFed(InvalidInput):
    """A meter is connected to no bus on the low-voltage side."""

    meter: str
    bus: int


@dataclass(kw_only=True, eq=False)
class NetworkMeshed(InvalidInput):
    """The network has a loop, which this element closes: sums do not tell its flows, a power flow does."""

    element: str


@dataclass(kw_only=True, eq=False)
class MeterOutsideFeeder(InvalidInput):
    """A setpoint is of a meter the feeder's file does not name."""

    meter: str
