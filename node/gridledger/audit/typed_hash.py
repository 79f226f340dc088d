"""EIP-712 digests of receipts, packed; a test holds them against eth-account's encoder."""

from functools import lru_cache

import sha3

from gridledger.market.order_hash import OrderDomain

__all__ = ["keccak256", "receipt_digest"]

_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_RECEIPT_TYPE = b"Receipt(bytes32 orderUid,uint64 runningNumber,uint64 receivedAt,bytes32 blockHash)"


def keccak256(data: bytes) -> bytes:
    """Keccak-256, 32 bytes."""
    digest: bytes = sha3.keccak_256(data).digest()
    return digest


def receipt_digest(
    domain: OrderDomain, order_uid: str, running_number: int, received_at: int, block_hash: str
) -> bytes:
    """The 32 bytes the market operator signs for an order; time in Unix seconds, hashes as 0x and 64 digits."""
    struct_hash = keccak256(
        _RECEIPT_TYPEHASH
        + bytes.fromhex(order_uid[2:])
        + running_number.to_bytes(32)
        + received_at.to_bytes(32)
        + bytes.fromhex(block_hash[2:])
    )
    return keccak256(b"\x19\x01" + _domain_separator(domain) + struct_hash)


@lru_cache(maxsize=4)
def _domain_separator(domain: OrderDomain) -> bytes:
    return keccak256(
        keccak256(_DOMAIN_TYPE)
        + keccak256(b"gridledger")
        + keccak256(b"1")
        + domain.chain_id.to_bytes(32)
        + bytes.fromhex(domain.trading_contract[2:]).rjust(32, b"\0")
    )


_RECEIPT_TYPEHASH = keccak256(_RECEIPT_TYPE)
