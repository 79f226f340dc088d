"""The one way of signed readings into the node: one transaction, one count per outcome, one form of answer."""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from gridledger.api.problems import problem_document
from gridledger.errors import GridLedgerError
from gridledger.metering.model import ReadingOutcome
from gridledger.metering.service import MeteringService
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

__all__ = ["ReadingIntake"]


class ReadingIntake:
    """Takes readings from every edge; callable from any thread."""

    def __init__(
        self,
        *,
        database: Database,
        metering: Callable[[Transaction], MeteringService],
        wake: Callable[[], None],
        registry: CollectorRegistry,
    ) -> None:
        """`wake` says that there is something to do; outcomes are counted in `registry`."""
        self._database = database
        self._metering = metering
        self._wake = wake
        self._counted = Counter(
            "gridledger_reading_outcomes_total",
            "What became of readings that were sent: a status, or why one was not accepted",
            ["outcome"],
            registry=registry,
        )
        self._noted = Counter(
            "gridledger_reading_notes_total",
            "What is odd about readings that were accepted",
            ["note"],
            registry=registry,
        )

    def accept(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Accept or refuse each signed text on its own, at most 500; one result per text, in their order.

        On return the transaction is committed. Raises BatchTooLarge, with nothing kept.
        """
        with self._database.write() as tx:
            outcomes = self._metering(tx).accept(texts)
        self._wake()
        for outcome in outcomes:
            self._counted.labels(outcome.status if outcome.error is None else outcome.error.code()).inc()
            for note in outcome.notes:
                self._noted.labels(note.name).inc()
        return [_result(outcome) for outcome in outcomes]

    def refuse(self, error: GridLedgerError) -> dict[str, Any]:
        """The problem of what an edge refuses by itself; counted as an outcome."""
        self._counted.labels(error.code()).inc()
        return problem_document(error)


def _result(outcome: ReadingOutcome) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": outcome.status}
    if outcome.error is not None:
        answer["problem"] = problem_document(outcome.error)
    if outcome.notes:
        answer["notes"] = [{"name": note.name, "count": note.count} for note in outcome.notes]
    return answer
