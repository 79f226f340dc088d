"""The hashes by which the trading contract keeps a clearing: positions of each chunk, and the whole result."""

from collections.abc import Sequence

from gridledger.audit.hashing import keccak256
from gridledger.market.model import Position, Trade
from gridledger.market.packing import position_words, trade_word

__all__ = ["Interval", "fills_hash", "intervals_hash", "result_hash", "state_hash"]

_WORD = 32
Interval = tuple[int, int]


def state_hash(positions: Sequence[Position], deals: Sequence[Trade]) -> str:
    """keccak256(abi.encode(uint256[] positions, uint256[] deals)) of a chunk, 0x hex. Raises OutOfRange."""
    words, deal_words = position_words(positions), [trade_word(deal) for deal in deals]
    encoded = (2 * _WORD, (3 + len(words)) * _WORD, len(words), *words, len(deal_words), *deal_words)
    return _hash(encoded)


def intervals_hash(merged: bool, any_interval: Interval, low_carbon_interval: Interval) -> str:  # noqa: FBT001 - as encoded
    """Head of a result's hash chain: keccak256(abi.encode(merged, any, lowCarbon)), limits in cents per MWh."""
    return _hash((int(merged), *any_interval, *low_carbon_interval))


def fills_hash(terms: Sequence[int]) -> str:
    """Hash of the terms of all orders of a chunk with energy, fills and places in the book included."""
    return _hash(terms)


def result_hash(before: str, fills: str, state: str) -> str:
    """A result's hash after one more chunk."""
    return "0x" + keccak256(b"".join(bytes.fromhex(part[2:]) for part in (before, fills, state))).hex()


def _hash(words: Sequence[int]) -> str:
    return "0x" + keccak256(b"".join((word & 2**256 - 1).to_bytes(_WORD) for word in words)).hex()
