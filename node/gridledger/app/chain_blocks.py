"""Makes blocks on the embedded chain for the sender."""

from collections.abc import Sequence

import structlog

from gridledger.chain.embedded import EmbeddedChain

__all__ = ["ChainBlocks"]

_log = structlog.get_logger(__name__)


class ChainBlocks:
    """Block maker over the embedded chain."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain

    def make_block(self, time_s: int, raw_transactions: Sequence[str]) -> None:
        """One block of these transactions, at the time asked for or one second after the head."""
        head = self._chain.head()
        mined = self._chain.mine(max(time_s, head.time_s + 1 if head else time_s), raw_transactions)
        for refused in mined.refused:
            _log.warning("transaction_left_out", block=mined.number, index=refused.index, message=refused.message)
