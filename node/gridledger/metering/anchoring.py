"""Anchoring tasks: commit accepted readings on chain, and prove that one of them is there."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from gridledger.merkle import MerkleTree
from gridledger.metering.errors import NothingToAnchor, ReadingNotAnchored
from gridledger.metering.ports import ReadingStore
from gridledger.metering.service import commitment

__all__ = [
    "MAX_ANCHORED_MTUS",
    "MAX_ANCHORED_READINGS",
    "AnchorLedger",
    "AnchorReadings",
    "AnchoringService",
    "ReadingProof",
]

MAX_ANCHORED_READINGS = 50_000
MAX_ANCHORED_MTUS = 1_000


@dataclass(frozen=True, kw_only=True)
class AnchorReadings:
    """Anchor a batch of readings on chain; `sequence` counts all batches from 0."""

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

    def __init__(self, *, store: ReadingStore, ledger: AnchorLedger) -> None:
        self._store = store
        self._ledger = ledger

    def anchor(self, slots: Collection[tuple[int, int]]) -> None:
        """Commit the readings of these zones and MTUs that are in no anchor yet, 50,000 at most, in one batch.

        Its leaves ascend by meter, then MTU. Raises NothingToAnchor.
        """
        readings = self._store.unanchored_of(slots, MAX_ANCHORED_READINGS)
        if not readings:
            raise NothingToAnchor
        tree = MerkleTree(commitment(stored) for stored in readings)
        sequence = self._store.next_anchor_sequence()
        self._store.mark_anchored(sequence, [(stored.reading.meter, stored.reading.mtu_start) for stored in readings])
        self._ledger.submit(AnchorReadings(sequence=sequence, root="0x" + tree.root.hex(), reading_count=len(readings)))

    def proof(self, meter: int, mtu_start: int) -> ReadingProof:
        """Proof that a reading is anchored, once the chain has recorded its anchor. Raises ReadingNotAnchored."""
        found = self.proofs([meter], mtu_start).get(meter)
        if found is None:
            raise ReadingNotAnchored(meter=meter, mtu_start=mtu_start)
        return found

    def proofs(self, meters: Collection[int], mtu_start: int) -> Mapping[int, ReadingProof]:
        """Proofs by meter, of those whose anchor the chain has recorded; each anchor's tree is made once."""
        trees: dict[int, MerkleTree] = {}
        proofs: dict[int, ReadingProof] = {}
        for meter in meters:
            stored = self._store.find(meter, mtu_start)
            sequence = None if stored is None else stored.anchor_sequence
            if stored is None or sequence is None or not self._store.anchor_is_recorded(sequence):
                continue
            if sequence not in trees:
                trees[sequence] = self._tree(sequence)
            tree, leaf = trees[sequence], commitment(stored)
            proofs[meter] = ReadingProof(
                zone=stored.zone, sequence=sequence, leaf=leaf, root=tree.root, path=tree.proof(leaf)
            )
        return proofs

    def _tree(self, sequence: int) -> MerkleTree:
        leaves = {
            (one.reading.meter, one.reading.mtu_start): commitment(one) for one in self._store.in_anchor(sequence)
        }
        gone = self._store.erased_leaves(sequence)
        return MerkleTree(found for _, found in sorted({**leaves, **gone}.items()))
