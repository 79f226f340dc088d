"""Block maker over the embedded chain."""

from collections.abc import Sequence

import structlog

from gridledger.chain.embedded import EmbeddedChain

__all__ = ["ChainBlocks"]

_log = structlog.get_logger(__name__)


class ChainBlocks:
    """Makes blocks of what the sender has signed."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain

    def make_block(self, time_s: int, raw_transactions: Sequence[str]) -> None:
        """Mine a block with these transactions, at least a second after the one before; `time_s` in Unix seconds."""
        head = self._chain.head()
        mined = self._chain.mine(max(time_s, head.time_s + 1 if head else time_s), raw_transactions)
        for refused in mined.refused:
            _log.warning("transaction_left_out", block=mined.number, index=refused.index, message=refused.message)
