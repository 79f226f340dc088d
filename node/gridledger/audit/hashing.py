"""Keccak-256, as the chain hashes."""

import sha3

__all__ = ["keccak256"]


def keccak256(data: bytes) -> bytes:
    """Keccak-256 of `data`, 32 bytes."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest
