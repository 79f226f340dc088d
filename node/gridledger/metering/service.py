"""The metering room's tasks: accept signed readings. A task never commits; its caller does."""

from collections.abc import Sequence
from itertools import groupby

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.metering.attempts import attempt
from gridledger.metering.errors import ReadingDiffers, RegistersDiffer
from gridledger.metering.intervals import IntervalIntake
from gridledger.metering.keeping import ReadingKeeper, Taken
from gridledger.metering.merkle import leaf
from gridledger.metering.model import ReadingOutcome, ReadingStatus, StoredReading
from gridledger.metering.moments import MomentIntake
from gridledger.metering.ports import EventStore, MeterDirectory, PartStore, ReadingStore, Salts
from gridledger.metering.verification import (
    MAX_BATCH_READINGS,
    CheckedText,
    GenuineRegisters,
    check_again,
    check_texts,
    claimed_meters,
    keys_of,
)

__all__ = ["MAX_BATCH_READINGS", "MeteringService", "commitment"]


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
        self._directory = directory
        self._store = store
        self._clock = clock
        keeper = ReadingKeeper(store=store, salts=salts)
        self._moments = MomentIntake(store=store, events=events, keeper=keeper, mtu_length_s=mtu_length_s)
        self._intervals = IntervalIntake(
            store=store, parts=parts, events=events, keeper=keeper, mtu_length_s=mtu_length_s
        )

    def accept(self, texts: Sequence[str]) -> tuple[ReadingOutcome, ...]:
        """Check and keep signed readings, each on its own; one outcome per text, in their order.

        A text is a JWS of an interval, or OCMF of a moment: two of these, an MTU apart, make the reading between them.
        Longer intervals that divide evenly are split, shorter ones kept until they add up to an MTU.
        A refused reading never stops the others; values accepted before are a duplicate, however often and however
        late they come and whatever signature they carry. Raises BatchTooLarge above 500 texts, with nothing kept.
        """
        return self.keep(check_texts(texts, keys_of(self._directory.facts_of(claimed_meters(texts)))))

    def keep(self, checked: Sequence[CheckedText]) -> tuple[ReadingOutcome, ...]:
        """The second step of `accept`, for what `check_texts` made of texts with the keys of some earlier moment."""
        now = self._clock.now()
        facts = self._directory.facts_of({one.meter for one in checked if not isinstance(one, GridLedgerError)})
        keys = keys_of(facts)
        present = [check_again(one, keys) for one in checked]
        results: list[Taken | GridLedgerError] = []
        for of_moments, run in groupby(present, lambda one: isinstance(one, GenuineRegisters)):
            if of_moments:  # one by one: each may stand between two others
                results += [
                    attempt(self._moments.accept, one, facts[one.meter], now)
                    for one in run
                    if isinstance(one, GenuineRegisters)
                ]
            else:
                results += self._intervals.accept(tuple(run), facts, now)
        return tuple(
            self._outcome(index, one, result, now)
            for index, (one, result) in enumerate(zip(present, results, strict=True))
        )

    def _outcome(self, index: int, checked: CheckedText, result: Taken | GridLedgerError, now: int) -> ReadingOutcome:
        if isinstance(result, Taken):
            return ReadingOutcome(index=index, status=result.status, notes=result.notes)
        if isinstance(result, ReadingDiffers | RegistersDiffer) and not isinstance(checked, GridLedgerError):
            self._store.add_dispute(result.meter, result.moment, checked.text, now)
            return ReadingOutcome(index=index, status=ReadingStatus.DISPUTED, error=result)
        return ReadingOutcome(index=index, status=ReadingStatus.REFUSED, error=result)


def commitment(stored: StoredReading) -> bytes:
    """The Merkle leaf of an accepted reading, 32 bytes."""
    reading = stored.reading
    return leaf(reading.meter, reading.mtu_start, reading.import_wh, reading.export_wh, stored.salt)
