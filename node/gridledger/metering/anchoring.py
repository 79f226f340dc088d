"""Anchoring tasks: commit accepted readings on chain, and prove that one of them is there."""

from dataclasses import dataclass
from typing import Protocol

from gridledger.metering.errors import ReadingNotAnchored
from gridledger.metering.merkle import MerkleTree
from gridledger.metering.ports import ReadingStore
from gridledger.metering.service import MeteringService, commitment

__all__ = ["AnchorLedger", "AnchorReadings", "AnchoringService", "ReadingProof"]


@dataclass(frozen=True, kw_only=True)
class AnchorReadings:
    """Anchor a batch of readings of one zone and MTU on chain; `sequence` counts its batches from 0."""

    zone: int
    mtu_start: int
    sequence: int
    root: str
    reading_count: int


@dataclass(frozen=True, kw_only=True)
class ReadingProof:
    """Merkle path from a reading's leaf to an anchored root."""

    zone: int
    sequence: int
    leaf: bytes
    root: bytes
    path: tuple[bytes, ...]


class AnchorLedger(Protocol):
    """The way to the meter ledger."""

    def submit(self, command: AnchorReadings) -> None:
        """Keep the command for sending."""


class AnchoringService:
    """Anchors over the metering room's ports. A task never commits; its caller does."""

    def __init__(self, *, metering: MeteringService, store: ReadingStore, ledger: AnchorLedger) -> None:
        self._metering = metering
        self._store = store
        self._ledger = ledger

    def anchor(self, zone: int, mtu_start: int) -> None:
        """Commit the readings of a zone and MTU that are in no anchor yet. Raises NothingToAnchor."""
        readings = self._store.unanchored(zone, mtu_start)
        batch = self._metering.build_anchor(readings)
        sequence = self._store.next_anchor_sequence(zone, mtu_start)
        self._store.mark_anchored(zone, mtu_start, sequence, [stored.reading.meter for stored in readings])
        self._ledger.submit(
            AnchorReadings(
                zone=zone,
                mtu_start=mtu_start,
                sequence=sequence,
                root="0x" + batch.root.hex(),
                reading_count=batch.count,
            )
        )

    def proof(self, meter: int, mtu_start: int) -> ReadingProof:
        """Proof that a reading is anchored, once the chain has recorded its anchor. Raises ReadingNotAnchored."""
        stored = self._store.find(meter, mtu_start)
        if (
            stored is None
            or stored.anchor_sequence is None
            or not self._store.anchor_is_recorded(stored.zone, mtu_start, stored.anchor_sequence)
        ):
            raise ReadingNotAnchored(meter=meter, mtu_start=mtu_start)
        batch = [
            other for other in self._store.at(stored.zone, mtu_start) if other.anchor_sequence == stored.anchor_sequence
        ]
        gone = self._store.erased_leaves(stored.zone, mtu_start, stored.anchor_sequence)
        tree = MerkleTree([*map(commitment, batch), *gone])
        leaf = commitment(stored)
        return ReadingProof(
            zone=stored.zone, sequence=stored.anchor_sequence, leaf=leaf, root=tree.root, path=tree.proof(leaf)
        )
