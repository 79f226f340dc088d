"""The hash by which the trading contract keeps a clearing: keccak256(abi.encode(Position[], Trade[]))."""

from collections.abc import Sequence

from gridledger.audit.hashing import keccak256
from gridledger.market.model import Position, Trade

__all__ = ["state_hash"]

_WORD = 32
_POSITION_WORDS = 9


def state_hash(positions: Sequence[Position], trades: Sequence[Trade]) -> str:
    """The contract's hash of all positions and trades of a clearing, 0x and 64 hex digits."""
    trades_offset = (3 + _POSITION_WORDS * len(positions)) * _WORD  # two offsets, a length, the positions
    parts = [_word(2 * _WORD), _word(trades_offset), _word(len(positions))]
    parts += [_position(position) for position in positions]
    parts.append(_word(len(trades)))
    parts += [_trade(trade) for trade in trades]
    return "0x" + keccak256(b"".join(parts)).hex()


def _position(position: Position) -> bytes:
    return b"".join(
        (
            _word(position.meter),
            _word(position.source),
            _word(position.settled),
            _word(int(position.owner, 16)),
            _word(int(position.supplier, 16)),
            _word(position.contracted_wh),
            _word(position.metered_wh),
            _word(position.locked_microcents),
            _word(position.fee_microcents),
        )
    )


def _trade(trade: Trade) -> bytes:
    values = (trade.sell, trade.buy, trade.energy_wh, trade.rewarded_wh, trade.rewarded)
    return b"".join(_word(value) for value in values)


def _word(value: int) -> bytes:
    return value.to_bytes(_WORD, signed=value < 0)
