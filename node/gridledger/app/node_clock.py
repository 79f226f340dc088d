"""The node's clock: the machine's, or for replays one that a player moves and the database remembers."""

from dataclasses import dataclass

from gridledger.clock import ManualClock, SystemClock
from gridledger.errors import Conflict
from gridledger.store.database import Database

__all__ = ["ClockNotSimulated", "NodeClock", "moment_of"]

_FACT = "simulated_now"


@dataclass(kw_only=True, eq=False)
class ClockNotSimulated(Conflict):
    """Only a simulated clock can be moved."""

    now: int


def moment_of(database: Database) -> int:
    """The time of a node that may be stopped: where its simulated clock stands, or the machine's, Unix seconds."""
    with database.read() as tx:
        remembered = tx.directory.fact(_FACT)
    return SystemClock().now() if remembered is None else int(remembered)


class NodeClock:
    """Clock of one node. A simulated one continues where it stood when the node was stopped or killed."""

    def __init__(self, database: Database, genesis_time_s: int, *, simulated: bool) -> None:
        self._database = database
        self._manual: ManualClock | None = None
        if simulated:
            with database.read() as tx:
                remembered = tx.directory.fact(_FACT)
            self._manual = ManualClock(genesis_time_s if remembered is None else remembered)

    def now(self) -> int:
        """Unix seconds, UTC."""
        return SystemClock().now() if self._manual is None else self._manual.now()

    def move_to(self, moment: int) -> None:
        """Move a simulated clock forward and remember it; an earlier moment changes nothing.

        Raises ClockNotSimulated.
        """
        if self._manual is None:
            raise ClockNotSimulated(now=self.now())
        if moment <= self._manual.now():
            return
        with self._database.write() as tx:
            tx.directory.set_fact(_FACT, moment)
        self._manual.move_to(moment)
