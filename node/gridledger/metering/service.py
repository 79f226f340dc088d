"""The metering room's tasks: accept signed readings, make their anchors. A task never commits; its caller does."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.metering.errors import AnchorMixed, NothingToAnchor, ReadingDiffers, RegistersDiffer
from gridledger.metering.merkle import MerkleTree, leaf
from gridledger.metering.model import AnchorBatch, MeterFacts, Reading, ReadingOutcome, ReadingStatus, StoredReading
from gridledger.metering.ports import MeterDirectory, ReadingStore, Salts
from gridledger.metering.registers import StoredRegisters, check_order, interval_reading
from gridledger.metering.texts import joined
from gridledger.metering.validation import check_moment, check_reading, same_values
from gridledger.metering.verification import (
    MAX_BATCH_READINGS,
    CheckedText,
    GenuineReading,
    GenuineRegisters,
    attempt,
    check_again,
    check_texts,
    claimed_meters,
    keys_of,
)

__all__ = ["MAX_BATCH_READINGS", "MeteringService", "commitment"]


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
        return self.keep(check_texts(texts, keys_of(self._directory.facts_of(claimed_meters(texts)))))

    def keep(self, checked: Sequence[CheckedText]) -> tuple[ReadingOutcome, ...]:
        """The second step of `accept`, for what `check_texts` made of texts with the keys of some earlier moment."""
        now = self._clock.now()
        facts = self._directory.facts_of({one.meter for one in checked if not isinstance(one, GridLedgerError)})
        keys = keys_of(facts)
        present = [check_again(one, keys) for one in checked]
        results: list[ReadingStatus | GridLedgerError] = []
        for of_moments, run in groupby(present, lambda one: isinstance(one, GenuineRegisters)):
            accept = self._accept_moments if of_moments else self._accept_intervals
            results += accept(tuple(run), facts, now)
        return tuple(
            self._outcome(index, one, result, now)
            for index, (one, result) in enumerate(zip(present, results, strict=True))
        )

    def build_anchor(self, readings: Sequence[StoredReading]) -> AnchorBatch:
        """Root and count of the commitments of readings of one zone and MTU; their order does not matter.

        Raises NothingToAnchor, AnchorMixed.
        """
        tree = self.anchor_tree(readings)
        return AnchorBatch(root=tree.root, count=len(readings))

    def anchor_tree(self, readings: Sequence[StoredReading]) -> MerkleTree:
        """The whole tree behind an anchor, for the proof of one reading. Raises as `build_anchor`."""
        if not readings:
            raise NothingToAnchor
        zones = {stored.zone for stored in readings}
        mtu_starts = {stored.reading.mtu_start for stored in readings}
        if len(zones) > 1 or len(mtu_starts) > 1:
            raise AnchorMixed(zones=tuple(sorted(zones)), mtu_starts=tuple(sorted(mtu_starts)))
        return MerkleTree(commitment(stored) for stored in readings)

    def _outcome(
        self, index: int, checked: CheckedText, result: ReadingStatus | GridLedgerError, now: int
    ) -> ReadingOutcome:
        if isinstance(result, ReadingStatus):
            return ReadingOutcome(index=index, status=result)
        if isinstance(result, ReadingDiffers | RegistersDiffer) and not isinstance(checked, GridLedgerError):
            self._store.add_dispute(result.meter, result.moment, checked.text, now)
            return ReadingOutcome(index=index, status=ReadingStatus.DISPUTED, error=result)
        return ReadingOutcome(index=index, status=ReadingStatus.REFUSED, error=result)

    def _accept_moments(
        self, run: Sequence[CheckedText], facts: Mapping[int, MeterFacts], now: int
    ) -> list[ReadingStatus | GridLedgerError]:
        """Keep register readings one by one: each may stand between two others."""
        return [
            attempt(self._accept_registers, one, facts[one.meter], now)
            for one in run
            if isinstance(one, GenuineRegisters)
        ]

    def _accept_registers(self, genuine: GenuineRegisters, facts: MeterFacts, now: int) -> ReadingStatus:
        """Keep a register reading, and the readings of the intervals whose other end is known."""
        registers, meter = genuine.registers, genuine.meter
        check_moment(registers.taken_at, now=now, mtu_length_s=self._mtu_length_s)
        if (known := self._store.registers_at(meter, registers.taken_at)) is not None:
            if known.registers != registers:
                raise RegistersDiffer(meter=meter, taken_at=registers.taken_at)
            return ReadingStatus.DUPLICATE
        stored = StoredRegisters(registers=registers, text=genuine.kept_text, received_at=now)
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

    def _accept_intervals(
        self, run: Sequence[CheckedText], facts: Mapping[int, MeterFacts], now: int
    ) -> list[ReadingStatus | GridLedgerError]:
        """Keep interval readings; earlier ones are looked up, and new ones written, all at once."""
        keys = {(one.meter, one.reading.mtu_start) for one in run if isinstance(one, GenuineReading)}
        known = {key: stored.reading for key, stored in self._store.find_each(keys).items()}
        results: list[ReadingStatus | GridLedgerError] = []
        added: list[StoredReading] = []
        for one in run:
            if isinstance(one, GridLedgerError):
                results.append(one)
            elif isinstance(one, GenuineReading):
                reading, key = one.reading, (one.meter, one.reading.mtu_start)
                result = attempt(self._interval_status, reading, facts[one.meter], known.get(key), now)
                if result is ReadingStatus.ACCEPTED:
                    added.append(self._stored(reading, facts[one.meter], one.text, now))
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


def commitment(stored: StoredReading) -> bytes:
    """The Merkle leaf of an accepted reading, 32 bytes."""
    reading = stored.reading
    return leaf(reading.meter, reading.mtu_start, reading.import_wh, reading.export_wh, stored.salt)
