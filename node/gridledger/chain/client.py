"""Reading a chain and its contracts: blocks with decoded events, receipts, simulations and views."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from requests import RequestException
from web3 import HTTPProvider, Web3
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import RPCEndpoint

from gridledger.chain.codec import ContractCodec, ContractReverted, decode_revert, keccak256
from gridledger.chain.compiler import Artifacts
from gridledger.chain.plan import CONTRACTS
from gridledger.chain.rpc import RpcFailed, RpcUnreachable
from gridledger.chain.signing import HIGHEST_GAS
from gridledger.errors import GridLedgerError
from gridledger.relay import ChainEvent, IndexedBlock

__all__ = ["BlockContents", "ChainClient", "MinedTransaction", "TransactionOutcome"]

_TIMEOUT_S = 60
WITHOUT_TRANSACTIONS = False
_REVERTED_CODE = 3


@dataclass(frozen=True, kw_only=True)
class TransactionOutcome:
    """What a receipt says of a transaction."""

    transaction_hash: str
    succeeded: bool
    block_number: int
    gas_used: int


@dataclass(frozen=True, kw_only=True)
class BlockContents:
    """A block with the decoded events of the market's contracts and the outcome of every transaction."""

    block: IndexedBlock
    events: tuple[ChainEvent, ...]
    outcomes: tuple[TransactionOutcome, ...]


@dataclass(frozen=True, kw_only=True)
class MinedTransaction:
    """A transaction in the chain: where it stands, what it called and the market's events it made."""

    transaction_hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    to_address: str | None
    data: bytes
    events: tuple[ChainEvent, ...]


class ChainClient:
    """One JSON-RPC endpoint with the market's contracts at known addresses."""

    def __init__(self, url: str, artifacts: Artifacts, addresses: Mapping[str, str]) -> None:
        self._url = url
        self._web3 = Web3(HTTPProvider(url, request_kwargs={"timeout": _TIMEOUT_S}))
        self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        self._artifacts = artifacts
        self._addresses = dict(addresses)
        self.codecs = {name: ContractCodec(artifacts.contract(name)) for name in CONTRACTS}
        self._codec_at = {address.lower(): self.codecs[name] for name, address in addresses.items()}

    def address(self, contract: str) -> str:
        """Checksum address of a contract of the market."""
        return self._addresses[contract]

    def chain_id(self) -> int:
        """The endpoint's chain id."""
        return int(self._request("eth_chainId"), 16)

    def head_number(self) -> int:
        """Number of the latest block."""
        return int(self._request("eth_blockNumber"), 16)

    def genesis_hash(self) -> str:
        """Hash of block 0."""
        return str(self._request("eth_getBlockByNumber", "0x0", WITHOUT_TRANSACTIONS)["hash"])

    def block_hash(self, number: int) -> str | None:
        """Hash of a block, None beyond the head."""
        header = self._request("eth_getBlockByNumber", hex(number), WITHOUT_TRANSACTIONS)
        return None if header is None else str(header["hash"])

    def nonce(self, account: str) -> int:
        """Transactions the account has had mined."""
        return int(self._request("eth_getTransactionCount", account, "latest"), 16)

    def code_hash(self, address: str) -> str:
        """Keccak-256 of the deployed code, 0x hex."""
        return "0x" + keccak256(bytes.fromhex(self._request("eth_getCode", address, "latest")[2:])).hex()

    def view(self, contract: str, function: str, *arguments: object) -> Any:
        """Call a view; a single return value comes bare. Raises ContractReverted."""
        codec = self.codecs[contract]
        data = self._eth_call({"to": self._addresses[contract], "data": codec.call_data(function, *arguments)})
        values = codec.result(function, data)
        return values[0] if len(values) == 1 else values

    def simulate(self, sender: str, to: str, data: bytes, time_s: int) -> GridLedgerError | None:
        """Run a transaction on the latest state, in a block at `time_s` and with all the gas one may have.

        Nothing is kept. Returns the contract's error, or the endpoint's (such as running out of gas), or None if the
        transaction would pass.
        """
        try:
            self._eth_call({"from": sender, "to": to, "data": data, "gas": hex(HIGHEST_GAS)}, time_s)
        except (ContractReverted, RpcFailed) as error:
            return error
        return None

    def block(self, number: int) -> BlockContents:
        """A block with its events and outcomes."""
        header = self._request("eth_getBlockByNumber", hex(number), WITHOUT_TRANSACTIONS)
        receipts = self._request("eth_getBlockReceipts", hex(number))
        block = IndexedBlock(
            number=number,
            block_hash=header["hash"],
            parent_hash=header["parentHash"],
            time_s=int(header["timestamp"], 16),
        )
        logs = [log for receipt in receipts for log in receipt["logs"]]
        events = [self._event(log) for log in logs if log["address"] in self._codec_at]
        return BlockContents(
            block=block, events=tuple(events), outcomes=tuple(_outcome(receipt) for receipt in receipts)
        )

    def raw_transaction(self, transaction_hash: str) -> Mapping[str, Any]:
        """A mined transaction as the endpoint states it."""
        return cast(Mapping[str, Any], self._request("eth_getTransactionByHash", transaction_hash))

    def transaction(self, transaction_hash: str) -> MinedTransaction | None:
        """A mined transaction with its decoded events, None where the chain has no such transaction."""
        receipt = self._request("eth_getTransactionReceipt", transaction_hash)
        if receipt is None:
            return None
        stated = self.raw_transaction(transaction_hash)
        return MinedTransaction(
            transaction_hash=receipt["transactionHash"],
            block_number=int(receipt["blockNumber"], 16),
            block_hash=receipt["blockHash"],
            succeeded=receipt["status"] == "0x1",
            to_address=receipt["to"],
            data=bytes.fromhex(stated["input"][2:]),
            events=tuple(self._event(log) for log in receipt["logs"] if log["address"] in self._codec_at),
        )

    def call(self, mined: MinedTransaction) -> tuple[str, str, tuple[Any, ...]] | None:
        """Contract, function and arguments that a transaction called; None if it calls no contract of the market."""
        codec = self._codec_at.get((mined.to_address or "").lower())
        if codec is None:
            return None
        try:
            return codec.name, *codec.arguments(mined.data)
        except (KeyError, DecodingError):
            return None

    def _event(self, log: Mapping[str, Any]) -> ChainEvent:
        codec = self._codec_at[log["address"]]
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        decoded = codec.event(topics, bytes.fromhex(log["data"][2:]))
        return ChainEvent(
            block_number=int(log["blockNumber"], 16),
            log_index=int(log["logIndex"], 16),
            transaction_hash=log["transactionHash"],
            contract=decoded.contract,
            name=decoded.name,
            arguments={name: _plain(value) for name, value in decoded.arguments.items()},
        )

    def _eth_call(self, transaction: Mapping[str, Any], time_s: int | None = None) -> bytes:
        request = {**transaction, "data": "0x" + transaction["data"].hex(), "gasPrice": "0x0"}
        overrides: tuple[object, ...] = () if time_s is None else ({}, {"time": hex(time_s)})
        try:
            return bytes.fromhex(self._request("eth_call", request, "latest", *overrides)[2:])
        except RpcFailed as error:
            if error.rpc_code == _REVERTED_CODE and isinstance(error.data, str):
                raise decode_revert(self._artifacts, bytes.fromhex(error.data[2:])) from None
            raise

    def _request(self, method: str, *params: object) -> Any:
        try:
            answer = self._web3.provider.make_request(RPCEndpoint(method), list(params))
        except RequestException as failure:
            raise RpcUnreachable(url=self._url, reason=f"{type(failure).__name__}: {failure}") from None
        if "error" in answer:
            error = cast(Mapping[str, Any], answer["error"])
            raise RpcFailed(
                method=method, rpc_code=error.get("code", 0), message=error.get("message", ""), data=error.get("data")
            )
        return answer["result"]


def _outcome(receipt: Mapping[str, Any]) -> TransactionOutcome:
    return TransactionOutcome(
        transaction_hash=receipt["transactionHash"],
        succeeded=receipt["status"] == "0x1",
        block_number=int(receipt["blockNumber"], 16),
        gas_used=int(receipt["gasUsed"], 16),
    )


@lru_cache(maxsize=10_000)
def _checksum(address: str) -> str:
    return str(to_checksum_address(address))


def _plain(value: Any) -> Any:
    """JSON-friendly form of a decoded value: bytes as 0x hex, addresses with checksum."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, str) and len(value) == 42 and value.startswith("0x"):
        return _checksum(value)
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value
