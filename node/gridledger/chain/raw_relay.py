"""Relays transactions that members and role holders have signed themselves; the node only carries them.

Zero-fee, to one of the market's contracts, with the account's next nonce: anything else is refused before it is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes

from gridledger.chain.client import ChainClient
from gridledger.chain.codec import keccak256
from gridledger.chain.signing import HIGHEST_GAS
from gridledger.errors import Conflict, Forbidden, InvalidInput, NotFound

__all__ = [
    "ForeignContract",
    "NonceMismatch",
    "ParsedTransaction",
    "RawRelay",
    "SenderUnknown",
    "TransactionRefused",
    "TransactionUnknown",
    "TransactionUnreadable",
    "WrongChain",
]

_MOST_BYTES = 128 * 1024
_HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # EIP-2


@dataclass(kw_only=True, eq=False)
class TransactionUnreadable(InvalidInput):
    """The bytes are not a signed EIP-1559 transaction."""

    reason: str


@dataclass(kw_only=True, eq=False)
class TransactionRefused(InvalidInput):
    """The transaction pays a fee, carries value or an access list, or asks for too much or too little gas."""

    field: str
    value: int


@dataclass(kw_only=True, eq=False)
class WrongChain(InvalidInput):
    """The transaction is signed for another chain."""

    expected: int
    found: int


@dataclass(kw_only=True, eq=False)
class ForeignContract(InvalidInput):
    """The transaction does not call a contract of this market."""

    to_address: str


@dataclass(kw_only=True, eq=False)
class SenderUnknown(Forbidden):
    """Only members and role holders may use the relay."""

    sender: str


@dataclass(kw_only=True, eq=False)
class NonceMismatch(Conflict):
    """The transaction does not carry the account's next nonce."""

    sender: str
    expected: int
    found: int


@dataclass(kw_only=True, eq=False)
class TransactionUnknown(NotFound):
    """No such transaction was relayed or sent by this node."""

    transaction_hash: str


@dataclass(frozen=True, kw_only=True)
class ParsedTransaction:
    """A relayed transaction, read and recovered."""

    sender: str
    to_address: str
    nonce: int
    data: bytes
    raw: bytes
    transaction_hash: str


class RawRelay:
    """Reads and checks raw transactions for one deployment."""

    def __init__(self, client: ChainClient, addresses: Mapping[str, str]) -> None:
        self._client = client
        self._chain_id = client.chain_id()
        self._contracts = frozenset(address.lower() for address in addresses.values())

    def parse(self, raw_text: str) -> ParsedTransaction:
        """Read and check the bytes. Raises the typed errors of this module."""
        raw, fields = _decode(raw_text)
        if fields["chainId"] != self._chain_id:
            raise WrongChain(expected=self._chain_id, found=fields["chainId"])
        for field in ("maxFeePerGas", "maxPriorityFeePerGas", "value"):
            if fields[field] != 0:
                raise TransactionRefused(field=field, value=fields[field])
        if fields.get("accessList"):
            raise TransactionRefused(field="accessList", value=len(fields["accessList"]))
        if not _intrinsic_gas(bytes(fields["data"])) <= fields["gas"] <= HIGHEST_GAS:
            raise TransactionRefused(field="gas", value=fields["gas"])
        if fields["s"] > _HIGHEST_S:
            raise TransactionUnreadable(reason="s in the upper half")
        to_address = "0x" + bytes(fields.get("to") or b"").hex()
        if to_address not in self._contracts:
            raise ForeignContract(to_address=to_address)
        return ParsedTransaction(
            sender=_sender(raw),
            to_address=str(to_checksum_address(to_address)),
            nonce=fields["nonce"],
            data=bytes(fields["data"]),
            raw=raw,
            transaction_hash="0x" + keccak256(raw).hex(),
        )

    def require_next_nonce(self, parsed: ParsedTransaction, highest_kept: int | None) -> None:
        """The nonce must follow the chain's and every kept transaction's. Raises NonceMismatch."""
        expected = self.next_nonce(parsed.sender, highest_kept)
        if parsed.nonce != expected:
            raise NonceMismatch(sender=parsed.sender, expected=expected, found=parsed.nonce)

    def next_nonce(self, account: str, highest_kept: int | None) -> int:
        """The nonce of the account's next transaction, after the chain's and every kept one."""
        return max(self._client.nonce(account), 0 if highest_kept is None else highest_kept + 1)


def _intrinsic_gas(data: bytes) -> int:
    """Gas below which no chain includes a call with this data (EIP-7623); such bytes would wait for ever."""
    tokens = data.count(0) + 4 * (len(data) - data.count(0))
    return 21_000 + 10 * tokens


def _decode(raw_text: str) -> tuple[bytes, dict[str, Any]]:
    if len(raw_text) > 2 * _MOST_BYTES:
        raise TransactionUnreadable(reason="too long")
    try:
        raw = bytes.fromhex(raw_text.removeprefix("0x"))
        transaction = TypedTransaction.from_bytes(HexBytes(raw))
        fields: dict[str, Any] = transaction.as_dict()
        canonical = bytes(transaction.encode())
    except Exception as error:  # noqa: BLE001 - the decoder raises many kinds for malformed bytes
        raise TransactionUnreadable(reason=type(error).__name__) from None
    if canonical != raw:  # other bytes for the same fields would have another hash than the chain's
        raise TransactionUnreadable(reason="not the canonical encoding")
    if fields.get("type") != 2:
        raise TransactionUnreadable(reason=f"type {fields.get('type')}")
    return raw, fields


def _sender(raw: bytes) -> str:
    try:
        return str(Account.recover_transaction(HexBytes(raw)))
    except Exception as error:  # noqa: BLE001 - an impossible signature raises many kinds
        raise TransactionUnreadable(reason=type(error).__name__) from None
