"""Signs the market's ordinary transactions: EIP-1559, zero fees, no value, explicit gas."""

from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount

__all__ = ["HIGHEST_GAS", "SignedCall", "sign_call"]

HIGHEST_GAS = 2**24  # EIP-7825: no transaction may ask for more


@dataclass(frozen=True, kw_only=True)
class SignedCall:
    """Signed bytes and their hash (0x hex)."""

    raw: bytes
    transaction_hash: str

    @property
    def raw_text(self) -> str:
        """The signed bytes as 0x hex."""
        return "0x" + self.raw.hex()


def sign_call(
    account: LocalAccount, *, chain_id: int, nonce: int, to_address: str | None, data: bytes, gas: int = HIGHEST_GAS
) -> SignedCall:
    """Sign a call, or without `to_address` a creation."""
    transaction: dict[str, Any] = {
        "chainId": chain_id,
        "nonce": nonce,
        "gas": min(gas, HIGHEST_GAS),
        "maxFeePerGas": 0,
        "maxPriorityFeePerGas": 0,
        "value": 0,
        "data": "0x" + data.hex(),
    }
    if to_address is not None:
        transaction["to"] = to_address
    signed = account.sign_transaction(transaction)
    return SignedCall(raw=bytes(signed.raw_transaction), transaction_hash="0x" + bytes(signed.hash).hex())
