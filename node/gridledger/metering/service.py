"""The metering room's tasks: accept signed readings, make their anchors. A task never commits; its caller does."""

from collections.abc import Sequence

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.metering.errors import (
    AnchorMixed,
    BatchTooLarge,
    NothingToAnchor,
    ReadingDiffers,
    RegistersDiffer,
    UnknownMeter,
)
from gridledger.metering.merkle import MerkleTree, leaf
from gridledger.metering.model import AnchorBatch, MeterFacts, Reading, ReadingOutcome, ReadingStatus, StoredReading
from gridledger.metering.ocmf import is_ocmf, peek_registry_number, verify_registers
from gridledger.metering.ports import MeterDirectory, ReadingStore, Salts
from gridledger.metering.registers import StoredRegisters, check_order, interval_reading
from gridledger.metering.signed_reading import peek_meter, verify
from gridledger.metering.texts import joined
from gridledger.metering.validation import check_moment, check_reading, same_values

__all__ = ["MAX_BATCH_READINGS", "MeteringService", "commitment"]

MAX_BATCH_READINGS = 500


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
        return tuple(self._outcome(index, text, now) for index, text in enumerate(texts))

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

    def _outcome(self, index: int, text: str, now: int) -> ReadingOutcome:
        try:
            return ReadingOutcome(index=index, status=self._accept_one(text, now))
        except (ReadingDiffers, RegistersDiffer) as error:
            self._store.add_dispute(error.meter, error.moment, text, now)
            return ReadingOutcome(index=index, status=ReadingStatus.DISPUTED, error=error)
        except GridLedgerError as error:
            return ReadingOutcome(index=index, status=ReadingStatus.REFUSED, error=error)

    def _accept_one(self, text: str, now: int) -> ReadingStatus:
        return self._accept_registers(text, now) if is_ocmf(text) else self._accept_interval(text, now)

    def _accept_registers(self, text: str, now: int) -> ReadingStatus:
        """Keep a register reading, and the readings of the intervals whose other end is known."""
        meter = peek_registry_number(text)
        if (facts := self._directory.facts(meter)) is None:
            raise UnknownMeter(meter=meter)
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
        for reading, pair_text in readings:
            self._keep(reading, facts, pair_text, now)
        return ReadingStatus.ACCEPTED

    def _accept_interval(self, text: str, now: int) -> ReadingStatus:
        meter = peek_meter(text)
        if (facts := self._directory.facts(meter)) is None:
            raise UnknownMeter(meter=meter)
        reading = verify(text, facts.device_key)
        earlier = self._store.find(meter, reading.mtu_start)
        if earlier is not None and same_values(earlier.reading, reading):
            return ReadingStatus.DUPLICATE
        check_reading(reading, facts, now=now, mtu_length_s=self._mtu_length_s)
        if earlier is not None:
            raise ReadingDiffers(meter=meter, mtu_start=reading.mtu_start)
        self._keep(reading, facts, text, now)
        return ReadingStatus.ACCEPTED

    def _keep(self, reading: Reading, facts: MeterFacts, text: str, now: int) -> None:
        salt = self._salts.salt_for(reading.meter, reading.mtu_start)
        self._store.add(StoredReading(reading=reading, zone=facts.zone, text=text, salt=salt, received_at=now))


def commitment(stored: StoredReading) -> bytes:
    """The Merkle leaf of an accepted reading, 32 bytes."""
    reading = stored.reading
    return leaf(reading.meter, reading.mtu_start, reading.import_wh, reading.export_wh, stored.salt)
