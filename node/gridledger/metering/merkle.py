"""Merkle trees of reading commitments, as OpenZeppelin's `StandardMerkleTree` and `MerkleProof` understand them.

A leaf is `keccak(keccak(abi.encode(uint32 meter, uint64 mtuStart, uint64 importWh, uint64 exportWh, bytes32 salt)))`:
hashed twice so that no inner node can pass for a leaf, salted so that nobody can guess the energies behind it. The tree
is one array of 2n-1 nodes: the children of node i are 2i+1 and 2i+2, the leaves stand at its end, the first one last, a
parent is the hash of its children in ascending order.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise

import sha3

from gridledger.metering.errors import LeafTwice, LeafUnknown, NothingToAnchor
from gridledger.units import UINT32_MAX, UINT64_MAX, check_range

__all__ = ["MerkleTree", "leaf", "verify"]

HASH_BYTES = 32
_LEAF_WORDS = struct.Struct(">24xQ24xQ24xQ24xQ32s")  # abi.encode of static types: one 32-byte word each


def leaf(meter: int, mtu_start: int, import_wh: int, export_wh: int, salt: bytes) -> bytes:
    """Commitment to a reading, 32 bytes; meter uint32, time in Unix seconds and energies in Wh uint64, salt 32 bytes.

    Raises OutOfRange.
    """
    check_range("meter", meter, 0, UINT32_MAX)
    check_range("salt_bytes", len(salt), HASH_BYTES, HASH_BYTES)
    for field, value in (("mtu_start", mtu_start), ("import_wh", import_wh), ("export_wh", export_wh)):
        check_range(field, value, 0, UINT64_MAX)
    return _keccak(_keccak(_LEAF_WORDS.pack(meter, mtu_start, import_wh, export_wh, salt)))


class MerkleTree:
    """A tree over leaves in the order given. Raises NothingToAnchor without leaves, LeafTwice."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        ordered = list(leaves)[::-1]
        if not ordered:
            raise NothingToAnchor
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

    def proof(self, leaf_hash: bytes) -> tuple[bytes, ...]:
        """The siblings from a leaf up to the root. Raises LeafUnknown."""
        position = self._positions.get(leaf_hash)
        if position is None:
            raise LeafUnknown(leaf="0x" + leaf_hash.hex())
        siblings = []
        while position > 0:
            siblings.append(self._nodes[position + 1 if position % 2 else position - 1])
            position = (position - 1) // 2
        return tuple(siblings)


def verify(root: bytes, leaf_hash: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the siblings lead from a leaf to the root, as `MerkleProof.verify` decides on chain."""
    node = leaf_hash
    for sibling in proof:
        node = _parent(node, sibling)
    return node == root


def _parent(one: bytes, other: bytes) -> bytes:
    return _keccak(one + other if one < other else other + one)


def _keccak(data: bytes) -> bytes:
    digest: bytes = sha3.keccak_256(data).digest()
    return digest
