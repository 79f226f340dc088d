"""The metering room's tasks: accept signed readings. A task never commits; its caller does."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import ParamSpec, TypeVar

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    BatchTooLarge,
    ReadingDiffers,
    RegistersDiffer,
    UnknownMeter,
)
from gridledger.metering.merkle import leaf
from gridledger.metering.model import MeterFacts, Reading, ReadingOutcome, ReadingStatus, StoredReading
from gridledger.metering.ocmf import is_ocmf, peek_registry_number, verify_registers
from gridledger.metering.ports import MeterDirectory, ReadingStore, Salts
from gridledger.metering.registers import StoredRegisters, check_order, interval_reading
from gridledger.metering.signed_reading import peek_meter, verify
from gridledger.metering.texts import joined
from gridledger.metering.validation import check_moment, check_reading, same_values

__all__ = ["MAX_BATCH_READINGS", "MeteringService", "commitment"]

MAX_BATCH_READINGS = 500
_P = ParamSpec("_P")
_T = TypeVar("_T")


class MeteringService:
    """Tasks of the metering room over its ports."""

    def __init__(
        self, *, directory: MeterDirectory, store: ReadingStore, clock: Clock, salts: Salts, mtu_length_s: int
    ) -> None:
        self._directory = directory
        self._store = store
        self._clock = clock
        self._salts = salts
        self._mtu_length_s = mtu_length_s

    def accept(self, texts: Sequence[str]) -> tuple[ReadingOutcome, ...]:
        """Check and keep signed readings, each on its own; one outcome per text, in their order.

        A text is a JWS of an interval, or OCMF of a moment: two of these, an MTU apart, make the reading between them.
        A refused reading never stops the others; values accepted before are a duplicate, however often and however
        late they come and whatever signature they carry. Raises BatchTooLarge above 500 texts, with nothing kept.
        """
        if len(texts) > MAX_BATCH_READINGS:
            raise BatchTooLarge(count=len(texts), highest=MAX_BATCH_READINGS)
        now = self._clock.now()
        results: list[ReadingStatus | GridLedgerError] = []
        for of_moments, run in groupby(texts, is_ocmf):
            accept = self._accept_moments if of_moments else self._accept_intervals
            results += accept(tuple(run), now)
        return tuple(
            self._outcome(index, text, result, now)
            for index, (text, result) in enumerate(zip(texts, results, strict=True))
        )

    def _outcome(self, index: int, text: str, result: ReadingStatus | GridLedgerError, now: int) -> ReadingOutcome:
        if isinstance(result, ReadingStatus):
            return ReadingOutcome(index=index, status=result)
        if isinstance(result, ReadingDiffers | RegistersDiffer):
            self._store.add_dispute(result.meter, result.moment, text, now)
            return ReadingOutcome(index=index, status=ReadingStatus.DISPUTED, error=result)
        return ReadingOutcome(index=index, status=ReadingStatus.REFUSED, error=result)

    def _accept_moments(self, texts: Sequence[str], now: int) -> list[ReadingStatus | GridLedgerError]:
        """Keep register readings one by one: each may stand between two others."""
        return [_attempt(self._accept_registers, text, now) for text in texts]

    def _accept_registers(self, text: str, now: int) -> ReadingStatus:
        """Keep a register reading, and the readings of the intervals whose other end is known."""
        meter = peek_registry_number(text)
        facts = _known(meter, self._directory.facts_of({meter}))
        registers, kept_text = verify_registers(text, facts.device_key)
        check_moment(registers.taken_at, now=now, mtu_length_s=self._mtu_length_s)
        if (known := self._store.registers_at(meter, registers.taken_at)) is not None:
            if known.registers != registers:
                raise RegistersDiffer(meter=meter, taken_at=registers.taken_at)
            return ReadingStatus.DUPLICATE
        stored = StoredRegisters(registers=registers, text=kept_text, received_at=now)
        before, after = self._store.registers_around(meter, registers.taken_at)
        pairs = [(one, other) for one, other in ((before, stored), (stored, after)) if one and other]
        for earlier, later in pairs:
            check_order(earlier.registers, later.registers)
        readings = [
            (interval_reading(earlier.registers, later.registers), joined(earlier.text, later.text))
            for earlier, later in pairs
            if later.registers.taken_at - earlier.registers.taken_at == self._mtu_length_s
        ]
        for reading, _ in readings:
            check_reading(reading, facts, now=now, mtu_length_s=self._mtu_length_s)
            if self._store.find(meter, reading.mtu_start) is not None:
                raise ReadingDiffers(meter=meter, mtu_start=reading.mtu_start)
        self._store.add_registers(stored)
        self._store.add_all([self._stored(reading, facts, pair_text, now) for reading, pair_text in readings])
        return ReadingStatus.ACCEPTED

    def _accept_intervals(self, texts: Sequence[str], now: int) -> list[ReadingStatus | GridLedgerError]:
        """Keep interval readings; meters and earlier readings are looked up, and new ones written, all at once."""
        meters = [_attempt(peek_meter, text) for text in texts]
        facts = self._directory.facts_of({meter for meter in meters if isinstance(meter, int)})
        genuine = [
            meter if isinstance(meter, GridLedgerError) else _attempt(_genuine, text, meter, facts)
            for meter, text in zip(meters, texts, strict=True)
        ]
        keys = {(reading.meter, reading.mtu_start) for reading in genuine if isinstance(reading, Reading)}
        known = {key: stored.reading for key, stored in self._store.find_each(keys).items()}
        results: list[ReadingStatus | GridLedgerError] = []
        added: list[StoredReading] = []
        for text, reading in zip(texts, genuine, strict=True):
            if not isinstance(reading, Reading):
                results.append(reading)
                continue
            key = (reading.meter, reading.mtu_start)
            result = _attempt(self._interval_status, reading, facts[reading.meter], known.get(key), now)
            if result is ReadingStatus.ACCEPTED:
                added.append(self._stored(reading, facts[reading.meter], text, now))
                known[key] = reading
            results.append(result)
        self._store.add_all(added)
        return results

    def _interval_status(self, reading: Reading, facts: MeterFacts, earlier: Reading | None, now: int) -> ReadingStatus:
        if earlier is not None and same_values(earlier, reading):
            return ReadingStatus.DUPLICATE
        check_reading(reading, facts, now=now, mtu_length_s=self._mtu_length_s)
        if earlier is not None:
            raise ReadingDiffers(meter=reading.meter, mtu_start=reading.mtu_start)
        return ReadingStatus.ACCEPTED

    def _stored(self, reading: Reading, facts: MeterFacts, text: str, now: int) -> StoredReading:
        salt = self._salts.salt_for(reading.meter, reading.mtu_start)
        return StoredReading(reading=reading, zone=facts.zone, text=text, salt=salt, received_at=now)


def _known(meter: int, facts: Mapping[int, MeterFacts]) -> MeterFacts:
    if meter not in facts:
        raise UnknownMeter(meter=meter)
    return facts[meter]


def _genuine(text: str, meter: int, facts: Mapping[int, MeterFacts]) -> Reading:
    return verify(text, _known(meter, facts).device_key)


def _attempt(task: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | GridLedgerError:
    """What a task returns, or why it refuses."""
    try:
        return task(*args, **kwargs)
    except GridLedgerError as error:
        return error


def commitment(stored: StoredReading) -> bytes:
    """The Merkle leaf of an accepted reading, 32 bytes."""
    reading = stored.reading
    return leaf(reading.meter, reading.mtu_start, reading.import_wh, reading.export_wh, stored.salt)
