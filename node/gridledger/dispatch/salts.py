"""Salts of setpoints: a revealed setpoint must not help to guess those of its neighbours in the tree."""

import hmac
import secrets
from hashlib import sha256

from gridledger.merkle import HASH_BYTES

__all__ = ["RandomSetpointSalts", "SeededSetpointSalts"]

_LABEL = b"gridledger setpoint salt"


class RandomSetpointSalts:
    """Salts from the system's random source: to be kept, for they cannot be made again."""

    def salt_for(self, zone: int, mtu_start: int, meter: int) -> bytes:  # noqa: ARG002 - the port's signature
        """32 random bytes, whatever is asked."""
        return secrets.token_bytes(HASH_BYTES)


class SeededSetpointSalts:
    """Salts that follow from a seed (HMAC-SHA256): for replays, whose schedules must come out the same.

    Whoever knows the seed can open every commitment.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed

    def salt_for(self, zone: int, mtu_start: int, meter: int) -> bytes:
        """32 bytes; zone and meter uint32, `mtu_start` in Unix seconds."""
        message = _LABEL + zone.to_bytes(4) + mtu_start.to_bytes(8) + meter.to_bytes(4)
        return hmac.digest(self._seed, message, sha256)
