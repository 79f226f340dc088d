"""What can be wrong with an answer to a dispatch."""

from dataclasses import dataclass

from gridledger.errors import Conflict, Forbidden, InvalidInput, NotFound

__all__ = [
    "AlreadyAnswered",
    "AnswerTooLate",
    "AnswerUnknown",
    "GridOperatorRequired",
    "NotTheGridOperator",
    "ScheduleUnknown",
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
    """An answer is either acknowledged or curtailed, with a signature of 65 bytes."""

    field: str
