"""The metering room's tasks: accept signed readings. A task never commits; its caller does."""

from collections.abc import Sequence
from itertools import groupby

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.metering.attempts import attempt
from gridledger.metering.errors import (
    BatchTooLarge,
    ReadingDiffers,
    RegistersDiffer,
)
from gridledger.metering.intervals import IntervalIntake
from gridledger.metering.keeping import ReadingKeeper, Taken
from gridledger.metering.merkle import leaf
from gridledger.metering.model import ReadingOutcome, ReadingStatus, StoredReading
from gridledger.metering.moments import MomentIntake
from gridledger.metering.ocmf import is_ocmf
from gridledger.metering.ports import EventStore, MeterDirectory, PartStore, ReadingStore, Salts

__all__ = ["MAX_BATCH_READINGS", "MeteringService", "commitment"]

MAX_BATCH_READINGS = 500


class MeteringService:
    """Tasks of the metering room over its ports."""

    def __init__(
        self,
        *,
        directory: MeterDirectory,
        store: ReadingStore,
        parts: PartStore,
        events: EventStore,
        clock: Clock,
        salts: Salts,
        mtu_length_s: int,
    ) -> None:
        self._store = store
        self._clock = clock
        keeper = ReadingKeeper(store=store, salts=salts)
        self._moments = MomentIntake(
            directory=directory, store=store, events=events, keeper=keeper, mtu_length_s=mtu_length_s
        )
        self._intervals = IntervalIntake(
            directory=directory, store=store, parts=parts, events=events, keeper=keeper, mtu_length_s=mtu_length_s
        )

    def accept(self, texts: Sequence[str]) -> tuple[ReadingOutcome, ...]:
        """Check and keep signed readings, each on its own; one outcome per text, in their order.

        A text is a JWS of an interval, or OCMF of a moment: two of these, an MTU apart, make the reading between them.
        Longer intervals that divide evenly are split, shorter ones kept until they add up to an MTU.
        A refused reading never stops the others; values accepted before are a duplicate, however often and however
        late they come and whatever signature they carry. Raises BatchTooLarge above 500 texts, with nothing kept.
        """
        if len(texts) > MAX_BATCH_READINGS:
            raise BatchTooLarge(count=len(texts), highest=MAX_BATCH_READINGS)
        now = self._clock.now()
        results: list[Taken | GridLedgerError] = []
        for of_moments, run in groupby(texts, is_ocmf):
            accept = self._accept_moments if of_moments else self._intervals.accept
            results += accept(tuple(run), now)
        return tuple(
            self._outcome(index, text, result, now)
            for index, (text, result) in enumerate(zip(texts, results, strict=True))
        )

    def _outcome(self, index: int, text: str, result: Taken | GridLedgerError, now: int) -> ReadingOutcome:
        if isinstance(result, Taken):
            return ReadingOutcome(index=index, status=result.status, notes=result.notes)
        if isinstance(result, ReadingDiffers | RegistersDiffer):
            self._store.add_dispute(result.meter, result.moment, text, now)
            return ReadingOutcome(index=index, status=ReadingStatus.DISPUTED, error=result)
        return ReadingOutcome(index=index, status=ReadingStatus.REFUSED, error=result)

    def _accept_moments(self, texts: Sequence[str], now: int) -> list[Taken | GridLedgerError]:
        """Keep register readings one by one: each may stand between two others."""
        return [attempt(self._moments.accept, text, now) for text in texts]


def commitment(stored: StoredReading) -> bytes:
    """The Merkle leaf of an accepted reading, 32 bytes."""
    reading = stored.reading
    return leaf(reading.meter, reading.mtu_start, reading.import_wh, reading.export_wh, stored.salt)
