"""Commitments to readings: the leaves of the anchors' Merkle trees.

A leaf is `keccak(keccak(abi.encode(uint32 meter, uint64 mtuStart, uint64 importWh, uint64 exportWh, bytes32 salt)))`:
salted so that nobody can guess the energies behind it.
"""

import struct

from gridledger.merkle import HASH_BYTES, leaf_hash
from gridledger.units import UINT32_MAX, UINT64_MAX, check_range

__all__ = ["leaf"]

_LEAF_WORDS = struct.Struct(">24xQ24xQ24xQ24xQ32s")  # abi.encode of static types: one 32-byte word each


def leaf(meter: int, mtu_start: int, import_wh: int, export_wh: int, salt: bytes) -> bytes:
    """Commitment to a reading, 32 bytes; meter uint32, time in Unix seconds and energies in Wh uint64, salt 32 bytes.

    Raises OutOfRange.
    """
    check_range("meter", meter, 0, UINT32_MAX)
    check_range("salt_bytes", len(salt), HASH_BYTES, HASH_BYTES)
    for field, value in (("mtu_start", mtu_start), ("import_wh", import_wh), ("export_wh", export_wh)):
        check_range(field, value, 0, UINT64_MAX)
    return leaf_hash(_LEAF_WORDS.pack(meter, mtu_start, import_wh, export_wh, salt))
