"""Everything a run draws by chance, drawn from its seed: the same seed gives the same keys, salts and choices."""

import hashlib

__all__ = ["DRAW_LIMIT", "draw", "secret"]

DRAW_LIMIT = 2**64


def draw(seed: int, purpose: str, name: str, moment: int) -> int:
    """A number in 0..2**64-1, uniform and independent for each (seed, purpose, name, moment)."""
    return int.from_bytes(hashlib.sha256(f"gridledger {purpose}\n{seed}\n{name}\n{moment}".encode()).digest()[:8])


def secret(seed: int, purpose: str, name: str) -> bytes:
    """32 bytes for a key of the named thing."""
    return hashlib.sha256(f"gridledger {purpose} key\n{seed}\n{name}".encode()).digest()
