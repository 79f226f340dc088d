"""The one way of signed readings into the node, whoever brings them: checked first, then kept in one transaction."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gridledger.app.reading_workers import ReadingWorkers
from gridledger.errors import Unavailable
from gridledger.metering.model import ReadingOutcome
from gridledger.metering.service import MeteringService
from gridledger.metering.verification import claimed_meters, keys_of
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

__all__ = ["NodeReadingIntake", "ReadingIntakeBusy", "ReadingIntakeStopped"]

_MOST_BATCHES = 64


@dataclass(kw_only=True, eq=False)
class ReadingIntakeBusy(Unavailable):
    """As many batches of readings as the node takes at once are being worked on; nothing of this one is kept."""

    most_batches: int


@dataclass(kw_only=True, eq=False)
class ReadingIntakeStopped(Unavailable):
    """The node is closing; nothing of this batch of readings is kept."""


class NodeReadingIntake:
    """Implements the metering room's `ReadingAcceptor` over the node's database."""

    def __init__(
        self,
        *,
        database: Database,
        metering: Callable[[Transaction], MeteringService],
        workers: ReadingWorkers,
        on_kept: Callable[[], None],
        most_batches: int = _MOST_BATCHES,
    ) -> None:
        """`on_kept` is called after each batch; `most_batches` are worked on or wait at a time."""
        self._database = database
        self._metering = metering
        self._workers = workers
        self._on_kept = on_kept
        self._most_batches = most_batches
        self._places = threading.BoundedSemaphore(most_batches)
        self._stopped = False

    def accept(self, texts: Sequence[str]) -> tuple[ReadingOutcome, ...]:
        """Accept or refuse each text on its own, in order; what is accepted is on disk when this returns.

        Raises BatchTooLarge, ReadingIntakeBusy, ReadingIntakeStopped, ReadingCheckFailed, with nothing kept.
        """
        with self._place():
            meters = claimed_meters(texts)
            with self._database.read() as tx:
                keys = keys_of(tx.readings.facts_of(meters))
            checked = self._workers.check_texts(texts, keys)
            with self._database.write() as tx:
                outcomes = self._metering(tx).keep(checked)
        self._on_kept()
        return outcomes

    def close(self) -> None:
        """Take no further batch, finish those begun, and end the workers."""
        if self._stopped:
            return
        self._stopped = True
        for _ in range(self._most_batches):
            self._places.acquire()
        self._workers.close()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            if self._stopped:
                raise ReadingIntakeStopped
            raise ReadingIntakeBusy(most_batches=self._most_batches)
        try:
            if self._stopped:
                raise ReadingIntakeStopped
            yield
        finally:
            self._places.release()
