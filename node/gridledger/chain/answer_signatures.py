"""The grid operator's signatures, as they came to the chain in the call data of relayed answers."""

from gridledger.chain.client import ChainClient

__all__ = ["AnswerSignatures"]

_WORD_BYTES = 32


class AnswerSignatures:
    """Reads signatures from transactions to the dispatching contract."""

    def __init__(self, client: ChainClient) -> None:
        self._client = client

    def find(self, transaction_hash: str) -> str | None:
        """The signature r, s, v (0x hex) that a transaction presented last among its arguments (EIP-2098).

        None if it does not call the dispatching contract itself, or presents none.
        """
        mined = self._client.transaction(transaction_hash)
        call = None if mined is None else self._client.call(mined)
        if call is None or call[0] != "EnergyDispatching":
            return None
        last = call[2][-2:]
        if len(last) != 2 or not all(isinstance(word, bytes) and len(word) == _WORD_BYTES for word in last):
            return None
        r, vs = (int.from_bytes(word) for word in last)
        s, parity = vs & (1 << 255) - 1, vs >> 255
        return f"0x{r:064x}{s:064x}{27 + parity:02x}"
