"""The metering room's tasks: accept signed readings, make their anchors. A task never commits; its caller does."""

from collections.abc import Sequence

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.metering.errors import AnchorMixed, BatchTooLarge, NothingToAnchor, ReadingDiffers, UnknownMeter
from gridledger.metering.merkle import MerkleTree, leaf
from gridledger.metering.model import AnchorBatch, ReadingOutcome, ReadingStatus, StoredReading
from gridledger.metering.ports import MeterDirectory, ReadingStore, Salts
from gridledger.metering.signed_reading import peek_meter, verify
from gridledger.metering.validation import check_reading, same_values

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
        """Check and keep signed readings (JWS compact), each on its own; one outcome per text, in their order.

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
        except GridLedgerError as error:
            return ReadingOutcome(index=index, status=ReadingStatus.REFUSED, error=error)

    def _accept_one(self, text: str, now: int) -> ReadingStatus:
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
        salt = self._salts.salt_for(meter, reading.mtu_start)
        self._store.add(StoredReading(reading=reading, zone=facts.zone, text=text, salt=salt, received_at=now))
        return ReadingStatus.ACCEPTED


def commitment(stored: StoredReading) -> bytes:
    """The Merkle leaf of an accepted reading, 32 bytes."""
    reading = stored.reading
    return leaf(reading.meter, reading.mtu_start, reading.import_wh, reading.export_wh, stored.salt)
