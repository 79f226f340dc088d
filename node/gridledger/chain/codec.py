"""ABI encoding and decoding: calls, results, events and custom errors of the compiled contracts.

Custom errors arrive from a chain as raw bytes; they are decoded here, once, for everybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sha3
from eth_abi.abi import decode, encode
from eth_utils.abi import collapse_if_tuple

from gridledger.chain.compiler import Artifacts, Contract
from gridledger.chain.packed_events import unpacked
from gridledger.errors import Conflict, InvalidInput

__all__ = ["ContractCodec", "ContractReverted", "DecodedEvent", "UndecodableLog", "decode_revert", "keccak256"]


@dataclass(kw_only=True, eq=False)
class ContractReverted(Conflict):
    """A contract refused the transaction."""

    name: str
    arguments: tuple[object, ...]


@dataclass(kw_only=True, eq=False)
class UndecodableLog(InvalidInput):
    """The log belongs to no known event of the contract."""

    contract: str
    topic: str


@dataclass(frozen=True, kw_only=True)
class DecodedEvent:
    """One event with its arguments by name, in the contract's own names; structs are dictionaries.

    What the contract packs into one word arrives as the values in it.
    """

    contract: str
    name: str
    arguments: Mapping[str, Any]


def keccak256(data: bytes) -> bytes:
    """Keccak-256 of `data`, 32 bytes."""
    return bytes(sha3.keccak_256(data).digest())


class ContractCodec:
    """Encodes calls to and decodes answers of one contract."""

    def __init__(self, contract: Contract) -> None:
        self.name = contract.name
        self._creation_bytecode = contract.creation_bytecode
        entries: list[Any] = list(contract.abi)
        self._functions = {entry["name"]: entry for entry in entries if entry["type"] == "function"}
        self._constructor: Any = next((entry for entry in entries if entry["type"] == "constructor"), {"inputs": []})
        self._events = {_topic(entry): entry for entry in entries if entry["type"] == "event"}
        self._event_inputs = {topic: _split_indexed(entry["inputs"]) for topic, entry in self._events.items()}
        self.errors = {_selector(entry): entry for entry in entries if entry["type"] == "error"}

    def selector(self, function: str) -> bytes:
        """First four bytes of the call data of `function`."""
        return _selector(self._functions[function])

    def call_data(self, function: str, *arguments: object) -> bytes:
        """Selector and encoded arguments; structs as tuples or dictionaries by field name."""
        entry = self._functions[function]
        return _selector(entry) + _encode(entry["inputs"], arguments)

    def creation_data(self, *arguments: object) -> bytes:
        """Creation bytecode and encoded constructor arguments."""
        return self._creation_bytecode + _encode(self._constructor["inputs"], arguments)

    def result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Decoded return values; structs are dictionaries by field name."""
        return _decode(self._functions[function]["outputs"], data)

    def arguments(self, data: bytes) -> tuple[str, tuple[Any, ...]]:
        """Function name and decoded arguments of call data. Raises KeyError for an unknown selector."""
        entry = self._by_selector[data[:4]]
        return entry["name"], _decode(entry["inputs"], data[4:])

    def event(self, topics: Sequence[bytes], data: bytes) -> DecodedEvent:
        """Decode one log. Raises UndecodableLog."""
        entry = self._events.get(topics[0]) if topics else None
        if entry is None:
            raise UndecodableLog(contract=self.name, topic=topics[0].hex() if topics else "")
        plain, indexed = self._event_inputs[topics[0]]
        values = dict(zip((item["name"] for item in plain), _decode(plain, data), strict=True))
        # Indexed arguments here are all value types: each topic is one word.
        values |= zip((item["name"] for item in indexed), _decode(indexed, b"".join(topics[1:])), strict=True)
        ordered = {item["name"]: values[item["name"]] for item in entry["inputs"]}
        arguments = unpacked(entry["name"], next(iter(ordered.values()), 0)) or ordered
        return DecodedEvent(contract=self.name, name=entry["name"], arguments=arguments)

    @cached_property
    def _by_selector(self) -> dict[bytes, Any]:
        return {_selector(entry): entry for entry in self._functions.values()}


def decode_revert(artifacts: Artifacts, data: bytes) -> ContractReverted:
    """The typed form of revert bytes, whichever contract raised them; unknown bytes keep their hex as name."""
    entry = _errors_of(artifacts).get(data[:4])
    if entry is None:
        return ContractReverted(name="0x" + data.hex(), arguments=())
    return ContractReverted(name=entry["name"], arguments=_decode(entry["inputs"], data[4:]))


_BUILT_IN_ERRORS = (
    {"name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
    {"name": "ECDSAInvalidSignature", "inputs": []},
    {"name": "ECDSAInvalidSignatureS", "inputs": [{"name": "s", "type": "bytes32"}]},
)
_error_tables: dict[str, dict[bytes, Any]] = {}


def _errors_of(artifacts: Artifacts) -> dict[bytes, Any]:
    if artifacts.input_sha256 not in _error_tables:
        table: dict[bytes, Any] = {_selector(entry): entry for entry in _BUILT_IN_ERRORS}
        for contract in artifacts.contracts.values():
            table.update(ContractCodec(contract).errors)
        _error_tables[artifacts.input_sha256] = table
    return _error_tables[artifacts.input_sha256]


def _split_indexed(inputs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    return [item for item in inputs if not item["indexed"]], [item for item in inputs if item["indexed"]]


def _signature(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(collapse_if_tuple(item) for item in entry['inputs'])})"


def _selector(entry: Mapping[str, Any]) -> bytes:
    return keccak256(_signature(entry).encode())[:4]


def _topic(entry: Mapping[str, Any]) -> bytes:
    return keccak256(_signature(entry).encode())


def _encode(inputs: Sequence[Any], arguments: Sequence[object]) -> bytes:
    if len(inputs) != len(arguments):
        raise TypeError(f"expected {len(inputs)} arguments, got {len(arguments)}")
    values = [_to_abi(item, value) for item, value in zip(inputs, arguments, strict=True)]
    return bytes(encode([collapse_if_tuple(item) for item in inputs], values))


def _decode(outputs: Sequence[Any], data: bytes) -> tuple[Any, ...]:
    values = decode([collapse_if_tuple(item) for item in outputs], data)
    return tuple(_from_abi(item, value) for item, value in zip(outputs, values, strict=True))


def _to_abi(item: Any, value: Any) -> Any:
    kind: str = item["type"]
    if not kind.startswith("tuple"):
        return value
    if kind.endswith("]"):
        return [_to_abi({**item, "type": kind[: kind.rindex("[")]}, entry) for entry in value]
    if isinstance(value, Mapping):
        value = [value[part["name"]] for part in item["components"]]
    return tuple(_to_abi(part, entry) for part, entry in zip(item["components"], value, strict=True))


def _from_abi(item: Any, value: Any) -> Any:
    kind: str = item["type"]
    if kind.startswith("tuple"):
        if kind.endswith("]"):
            return tuple(_from_abi({**item, "type": kind[: kind.rindex("[")]}, entry) for entry in value)
        return {part["name"]: _from_abi(part, entry) for part, entry in zip(item["components"], value, strict=True)}
    return value
