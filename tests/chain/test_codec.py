"""Our ABI coding is web3's own, and every custom error of every contract comes back by name with its values."""

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import pytest
from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chain.deployed import artifacts
from web3 import Web3
from web3.contract import Contract as Web3Contract

from gridledger.chain.codec import ContractCodec, UndecodableLog, decode_revert, keccak256
from gridledger.chain.packed_events import unpacked
from gridledger.chain.plan import CONTRACTS

OWNER, OTHER = "0x" + "12" * 20, "0x" + "34" * 20
WEB3 = Web3()

uint32, uint64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
int64, word = st.integers(-(2**63), 2**63 - 1), st.binary(min_size=32, max_size=32)
uint16, uint256 = st.integers(0, 2**16 - 1), st.integers(0, 2**256 - 1)
orders = st.tuples(uint256, uint256, word, word)
ends = st.tuples(uint16, uint16)
clearings = st.tuples(
    uint32,
    uint64,
    uint16,
    st.booleans(),
    st.booleans(),
    int64,
    int64,
    ends,
    ends,
    st.binary(max_size=90),
    st.lists(word, max_size=3),
    st.lists(orders, max_size=3),
    st.lists(orders, max_size=2),
    st.lists(uint16, max_size=3),
    st.lists(uint32, max_size=3),
    word,
)


def codec(name: str) -> ContractCodec:
    return ContractCodec(artifacts().contract(name))


@cache
def web3_contract(name: str) -> Web3Contract:
    return WEB3.eth.contract(address=to_checksum_address(OTHER), abi=artifacts().contract(name).abi)


def sample(kind: str, components: list[Any] | None = None) -> Any:
    """An unremarkable value of an ABI type."""
    if kind.endswith("]"):
        return [sample(kind[: kind.rindex("[")], components)] * 2
    if kind == "tuple":
        return tuple(sample(part["type"], part.get("components")) for part in components or [])
    if kind.startswith("uint"):
        return 1
    if kind.startswith("int"):
        return -1
    if kind.startswith("bytes") and kind != "bytes":
        return b"\x07" * int(kind[5:])
    return {"address": OWNER, "bool": True, "string": "why", "bytes": b"\x01\x02"}[kind]


def entries(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in CONTRACTS:
        for entry in artifacts().contract(name).abi:
            if entry["type"] == kind:
                yield name, cast(dict[str, Any], entry)


def ids(value: object) -> str:
    return value["name"] if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("contract", "entry"), entries("function"), ids=ids)
def test_every_call_is_encoded_as_web3_encodes_it_and_read_back(contract: str, entry: dict[str, Any]) -> None:
    arguments = [sample(item["type"], item.get("components")) for item in entry["inputs"]]
    data = codec(contract).call_data(entry["name"], *arguments)
    signature = f"{entry['name']}({','.join(collapse_if_tuple(item) for item in entry['inputs'])})"
    assert "0x" + data.hex() == web3_contract(contract).encode_abi(signature, arguments)
    assert data[:4] == codec(contract).selector(entry["name"])
    name, decoded = codec(contract).arguments(data)
    assert name == entry["name"]
    assert codec(contract).call_data(name, *decoded) == data


@settings(max_examples=100, deadline=None)
@given(clearings)
def test_a_whole_clearing_is_encoded_as_web3_encodes_it_and_read_back(clearing: tuple[Any, ...]) -> None:
    trading = codec("EnergyTrading")
    data = trading.call_data("clear", clearing)
    assert "0x" + data.hex() == web3_contract("EnergyTrading").encode_abi("clear", [clearing])
    name, (decoded,) = trading.arguments(data)
    assert (name, decoded["zone"], decoded["bookNumbers"]) == ("clear", clearing[0], clearing[9])
    assert tuple(decoded["anyEnds"].values()) == clearing[7]
    assert [tuple(order.values()) for order in decoded["orders"]] == clearing[11]
    assert list(decoded["acceptedOffers"]) == clearing[13]
    assert trading.call_data("clear", decoded) == data


@pytest.mark.parametrize(("contract", "entry"), entries("event"), ids=ids)
def test_every_event_is_read_as_web3_reads_it(contract: str, entry: dict[str, Any]) -> None:
    values = [sample(item["type"], item.get("components")) for item in entry["inputs"]]
    kinds = [collapse_if_tuple(item) for item in entry["inputs"]]
    topics = [keccak256(f"{entry['name']}({','.join(kinds)})".encode())]
    topics += [
        encode([kind], [value])
        for kind, value, item in zip(kinds, values, entry["inputs"], strict=True)
        if item["indexed"]
    ]
    plain = [
        (kind, value) for kind, value, item in zip(kinds, values, entry["inputs"], strict=True) if not item["indexed"]
    ]
    data = encode([kind for kind, _ in plain], [value for _, value in plain])
    decoded = codec(contract).event(topics, data)
    assert (decoded.contract, decoded.name) == (contract, entry["name"])
    packed = unpacked(entry["name"], values[0]) if values else None
    if packed is not None:
        assert (len(values), decoded.arguments) == (1, packed)
        return
    assert list(decoded.arguments) == [item["name"] for item in entry["inputs"]]
    log = {"topics": topics, "data": data, "address": OTHER, "logIndex": 0, "transactionIndex": 0, "blockNumber": 0}
    log |= {"transactionHash": bytes(32), "blockHash": bytes(32)}
    theirs = web3_contract(contract).events[entry["name"]]().process_log(cast(Any, log))
    for item in entry["inputs"]:
        own, other = decoded.arguments[item["name"]], theirs["args"][item["name"]]
        if item["type"] == "tuple":
            assert {name: own[name] for name in own} == dict(other)
        else:
            shown = tuple(other) if isinstance(other, list) else other
            assert str(own).lower() == str(shown).lower() or own == shown


@pytest.mark.parametrize(("contract", "entry"), entries("error"), ids=ids)
def test_every_custom_error_is_read_by_name_with_its_values(contract: str, entry: dict[str, Any]) -> None:
    kinds = [collapse_if_tuple(item) for item in entry["inputs"]]
    values = [sample(item["type"], item.get("components")) for item in entry["inputs"]]
    selector = keccak256(f"{entry['name']}({','.join(kinds)})".encode())[:4]
    error = decode_revert(artifacts(), selector + encode(kinds, values))
    assert (error.name, error.arguments) == (entry["name"], tuple(values))
    assert entry["name"] in str(error)


@pytest.mark.parametrize(
    ("data", "name", "arguments"),
    [
        (keccak256(b"Error(string)")[:4] + encode(["string"], ["no"]), "Error", ("no",)),
        (keccak256(b"Panic(uint256)")[:4] + encode(["uint256"], [0x11]), "Panic", (0x11,)),
        (keccak256(b"ECDSAInvalidSignature()")[:4], "ECDSAInvalidSignature", ()),
        (b"", "0x", ()),
        (bytes.fromhex("deadbeef01"), "0xdeadbeef01", ()),
    ],
)
def test_the_compiler_s_own_errors_and_unknown_bytes_are_said_too(
    data: bytes, name: str, arguments: tuple[object, ...]
) -> None:
    error = decode_revert(artifacts(), data)
    assert (error.name, error.arguments) == (name, arguments)


def test_the_selectors_are_the_compiler_s() -> None:
    for name in CONTRACTS:
        contract = artifacts().contract(name)
        for signature, selector in contract.selectors.items():
            assert keccak256(signature.encode())[:4] == selector
            assert codec(name).selector(signature.partition("(")[0]) == selector


def test_a_log_of_an_unknown_event_is_not_guessed_at() -> None:
    with pytest.raises(UndecodableLog) as refused:
        codec("EnergyTrading").event([b"\x01" * 32], b"")
    assert refused.value.values() == {"contract": "EnergyTrading", "topic": "01" * 32}
    with pytest.raises(UndecodableLog):
        codec("EnergyTrading").event([], b"")


def test_call_data_of_no_known_function_is_not_guessed_at() -> None:
    with pytest.raises(KeyError):
        codec("EnergyTrading").arguments(bytes(4))


def test_truncated_call_data_is_not_guessed_at() -> None:
    data = codec("EnergyTrading").call_data("commitBook", 1, 900, bytes(32), 2)
    with pytest.raises(DecodingError):
        codec("EnergyTrading").arguments(data[:-1])


def test_a_wrong_number_of_arguments_is_refused() -> None:
    with pytest.raises(TypeError, match="expected 4 arguments, got 3"):
        codec("EnergyTrading").call_data("commitBook", 1, 900, bytes(32))


def test_results_come_back_as_tuples_and_structs_by_name() -> None:
    trading, policy = codec("EnergyTrading"), codec("GridPolicy")
    data = encode(["int128", "uint128"], [-5, 2])
    assert trading.result("accountOf", data) == (-5, 2)
    (prices,) = policy.result("pricesAt", encode(["int64"] * 6, [1, 2, 3, 4, 5, 6]))
    assert prices == {"feedIn": 1, "retail": 2, "floor": 3, "cap": 4, "surplus": 5, "shortage": 6}


def test_creation_data_is_the_bytecode_and_the_constructor_s_arguments() -> None:
    data = codec("SettlementToken").creation_data(OWNER)
    assert data == artifacts().contract("SettlementToken").creation_bytecode + encode(["address"], [OWNER])
