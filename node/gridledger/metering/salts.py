"""Salts hide the energies behind a commitment: whoever does not know the salt cannot try all values."""

import hmac
import secrets
from hashlib import sha256

__all__ = ["RandomSalts", "SeededSalts"]

SALT_BYTES = 32
_LABEL = b"gridledger reading salt"


class RandomSalts:
    """Salts from the system's random source: for real meters."""

    def salt_for(self, meter: int, mtu_start: int) -> bytes:  # noqa: ARG002 - the port's signature
        """32 random bytes, whatever is asked."""
        return secrets.token_bytes(SALT_BYTES)


class SeededSalts:
    """Salts that follow from a seed (HMAC-SHA256): for replays, whose anchors must come out the same.

    Whoever knows the seed can open every commitment.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed

    def salt_for(self, meter: int, mtu_start: int) -> bytes:
        """32 bytes; meter uint32, `mtu_start` in Unix seconds."""
        message = _LABEL + meter.to_bytes(4) + mtu_start.to_bytes(8)
        return hmac.digest(self._seed, message, sha256)
