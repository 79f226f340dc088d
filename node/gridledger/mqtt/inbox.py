"""What the node makes of messages from the broker: outcomes, for the same readings the same as the API's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from sqlalchemy.exc import OperationalError

from gridledger.errors import GridLedgerError, Unavailable
from gridledger.metering.topics import meter_of_topic
from gridledger.metering.verification import MAX_BATCH_READINGS, claimed_meter
from gridledger.mqtt.errors import ReadingsNotKept, TopicMeterMismatch
from gridledger.mqtt.payload import texts_of

__all__ = ["Answer", "Arrival", "Inbox", "ReadingTaker"]

_PASSING = (OperationalError, OSError, MemoryError, Unavailable)
_log = structlog.get_logger(__name__)


class ReadingTaker(Protocol):
    """Where readings go; results and problems are JSON documents as the API's."""

    def accept(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """One result per text, at most 500, kept for good on return."""

    def refuse(self, error: GridLedgerError) -> dict[str, Any]:
        """The problem of what is refused before; counted."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A message as it came."""

    topic: str
    payload: bytes


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one message: results of its texts, or the problem of the whole; without a meter nobody to tell."""

    meter: int | None
    document: Mapping[str, Any]
    refused: bool


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A readable message: its texts, in place of some of them why they are refused."""

    meter: int
    parts: tuple[str | GridLedgerError, ...]


class Inbox:
    """Takes messages; when it raises, nothing of them is lost if they are given again."""

    def __init__(self, readings: ReadingTaker) -> None:
        self._readings = readings

    def take(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        """One answer per message, in their order; what is accepted is kept for good on return.

        Raises what passes (the database cannot be written), never what a text brought about.
        """
        opened = [_opened(arrival) for arrival in arrivals]
        letters = [letter for letter in opened if isinstance(letter, _Opened)]
        texts = [part for letter in letters for part in letter.parts if isinstance(part, str)]
        chunks = range(0, len(texts), MAX_BATCH_READINGS)
        results = [result for at in chunks for result in self._results(texts[at : at + MAX_BATCH_READINGS])]
        coming = iter(results)
        return [self._answer(one, coming) for one in opened]

    def _answer(self, one: "_Opened | _Refused", results: Iterator[Mapping[str, Any]]) -> Answer:
        if isinstance(one, _Refused):
            return Answer(meter=one.meter, document=self._readings.refuse(one.error), refused=True)
        parts = [next(results) if isinstance(part, str) else self._refusal(part) for part in one.parts]
        return Answer(meter=one.meter, document={"results": parts}, refused=False)

    def _refusal(self, error: GridLedgerError) -> dict[str, Any]:
        return {"status": "refused", "problem": self._readings.refuse(error)}

    def _results(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Results of texts; one that the node itself fails over is found by halving and refused, the others stand."""
        try:
            return self._readings.accept(texts)
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001 - a text must not be able to stop the texts behind it
            if len(texts) > 1:
                half = len(texts) // 2
                return self._results(texts[:half]) + self._results(texts[half:])
            reason = type(error).__name__
            _log.error("mqtt_text_failed", reason=reason)
            return [self._refusal(ReadingsNotKept(reason=reason))]


@dataclass(frozen=True, kw_only=True)
class _Refused:
    """A message that is refused as a whole."""

    meter: int | None
    error: GridLedgerError


def _opened(arrival: Arrival) -> _Opened | _Refused:
    meter = None
    try:
        meter = meter_of_topic(arrival.topic)
        texts = texts_of(arrival.payload)
    except GridLedgerError as error:
        return _Refused(meter=meter, error=error)
    return _Opened(meter=meter, parts=tuple(_checked(text, meter) for text in texts))


def _checked(text: str, topic_meter: int) -> str | GridLedgerError:
    """The text, unless it names another meter; one that names none goes on, to be refused where all are."""
    try:
        meter = claimed_meter(text)
    except GridLedgerError:
        return text
    return text if meter == topic_meter else TopicMeterMismatch(topic_meter=topic_meter, meter=meter)
