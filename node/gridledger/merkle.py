"""Merkle trees as OpenZeppelin's `StandardMerkleTree` and `MerkleProof` understand them.

Leaves are hashed twice, so that no inner node can pass for one. The tree is one array of 2n-1 nodes: the children of
node i are 2i+1 and 2i+2, the leaves stand at its end, the first one last, a parent is the hash of its children in
ascending order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sha3

from gridledger.errors import Conflict, InvalidInput, NotFound

__all__ = ["HASH_BYTES", "LeafTwice", "LeafUnknown", "MerkleTree", "NoLeaves", "keccak", "leaf_hash", "verify"]

HASH_BYTES = 32


@dataclass(kw_only=True, eq=False)
class NoLeaves(InvalidInput):
    """A tree has at least one leaf."""


@dataclass(kw_only=True, eq=False)
class LeafTwice(Conflict):
    """The same commitment stands in the tree already."""

    leaf: str


@dataclass(kw_only=True, eq=False)
class LeafUnknown(NotFound):
    """The tree has no such commitment."""

    leaf: str


def leaf_hash(encoded: bytes) -> bytes:
    """The leaf of values as `abi.encode` writes them, 32 bytes."""
    return keccak(keccak(encoded))


class MerkleTree:
    """A tree over leaves in the order given. Raises NoLeaves, LeafTwice."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        ordered = list(leaves)[::-1]
        if not ordered:
            raise NoLeaves
        inner_count = len(ordered) - 1
        self._positions = {value: inner_count + rank for rank, value in enumerate(ordered)}
        if len(self._positions) != len(ordered):
            twice = next(value for value, after in pairwise(sorted(ordered)) if value == after)
            raise LeafTwice(leaf="0x" + twice.hex())
        self._nodes: list[bytes] = [b""] * inner_count + ordered
        for position in range(inner_count - 1, -1, -1):
            self._nodes[position] = _parent(self._nodes[2 * position + 1], self._nodes[2 * position + 2])

    @property
    def root(self) -> bytes:
        """The root, 32 bytes; of a tree with one leaf that leaf."""
        return self._nodes[0]

    @property
    def nodes(self) -> tuple[bytes, ...]:
        """All 2n-1 nodes from the root on, in OpenZeppelin's order."""
        return tuple(self._nodes)

    def proof(self, leaf: bytes) -> tuple[bytes, ...]:
        """The siblings from a leaf up to the root. Raises LeafUnknown."""
        position = self._positions.get(leaf)
        if position is None:
            raise LeafUnknown(leaf="0x" + leaf.hex())
        siblings = []
        while position > 0:
            siblings.append(self._nodes[position + 1 if position % 2 else position - 1])
            position = (position - 1) // 2
        return tuple(siblings)


def verify(root: bytes, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the siblings lead from a leaf to the root, as `MerkleProof.verify` decides on chain."""
    node = leaf
    for sibling in proof:
        node = _parent(node, sibling)
    return node == root


def _parent(one: bytes, other: bytes) -> bytes:
    return keccak(one + other if one < other else other + one)


def keccak(data: bytes) -> bytes:
    """Keccak-256, as the chain hashes."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest
