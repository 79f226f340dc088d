"""Signed readings from every edge: one count per outcome, one form of answer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry

from gridledger.api.problems import problem_document
from gridledger.errors import GridLedgerError
from gridledger.metering.model import ReadingOutcome
from gridledger.metering.ports import ReadingAcceptor

__all__ = ["ReadingIntake"]


class ReadingIntake:
    """Takes readings from every edge; callable from any thread."""

    def __init__(
        self,
        *,
        acceptor: ReadingAcceptor,
        registry: CollectorRegistry,
    ) -> None:
        """Outcomes are counted in `registry`."""
        self._acceptor = acceptor
        self._counted = prometheus_client.Counter(
            "gridledger_reading_outcomes_total",
            "What became of readings that were sent: a status, or why one was not accepted",
            ["outcome"],
            registry=registry,
        )
        self._noted = prometheus_client.Counter(
            "gridledger_reading_notes_total",
            "What is odd about readings that were accepted",
            ["note"],
            registry=registry,
        )

    def accept(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Accept or refuse each signed text on its own, at most 500; one result per text, in their order.

        What is accepted is on disk on return. Raises the errors of `ReadingAcceptor.accept`, with nothing kept.
        """
        outcomes = self._acceptor.accept(texts)
        names = Counter(outcome.status if outcome.error is None else outcome.error.code() for outcome in outcomes)
        for name, times in names.items():
            self._counted.labels(name).inc(times)
        for note in (note for outcome in outcomes for note in outcome.notes):
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
