"""Only zero-fee calls of this market's contracts, for this chain, with the account's next nonce, are carried."""

from collections.abc import Iterator
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_keys.constants import SECPK1_N
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chain.deployed import (
    CHAIN_ID,
    GENESIS_TIME_S,
    HIGHEST_GAS,
    MTU_START,
    Deployed,
    addresses,
    deployed,
    key,
    signed_raw,
)

from gridledger.chain.codec import keccak256
from gridledger.chain.raw_relay import (
    ForeignContract,
    NonceMismatch,
    RawRelay,
    TransactionRefused,
    TransactionUnreadable,
    WrongChain,
)
from gridledger.errors import GridLedgerError

POLICY = addresses()["GridPolicy"]
DATA = b"\x01\x02\x03\x04"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A deployed market."""
    with deployed(tmp_path_factory.mktemp("relay")) as running:
        yield running


@pytest.fixture(scope="module")
def relay(market: Deployed) -> RawRelay:
    """Its relay."""
    return RawRelay(market.client, addresses())


def refusal(relay: RawRelay, raw: str) -> GridLedgerError:
    with pytest.raises(GridLedgerError) as refused:
        relay.parse(raw)
    return refused.value


@pytest.mark.parametrize("contract", addresses())
def test_a_call_of_any_of_the_market_s_contracts_is_read(relay: RawRelay, contract: str) -> None:
    raw = signed_raw("bank", addresses()[contract], DATA, nonce=7, gas=100_000)
    parsed = relay.parse(raw)
    assert (parsed.sender, parsed.to_address) == (key("bank").address, addresses()[contract])
    assert (parsed.nonce, parsed.data) == (7, DATA)
    assert parsed.raw == bytes.fromhex(raw[2:])
    assert parsed.transaction_hash == "0x" + keccak256(parsed.raw).hex()


def test_the_hash_is_the_one_the_chain_gives(market: Deployed, relay: RawRelay) -> None:
    data = market.client.codecs["GridPolicy"].call_data("postFeedIn", MTU_START, [5_000])
    raw = signed_raw("oracle", POLICY, data)
    mined = market.chain.mine(GENESIS_TIME_S + 10, [raw])
    assert mined.transaction_hashes == (relay.parse(raw).transaction_hash,)


def test_another_chain_is_named(relay: RawRelay) -> None:
    error = refusal(relay, signed_raw("bank", POLICY, DATA, chainId=1))
    assert (type(error), error.values()) == (WrongChain, {"expected": CHAIN_ID, "found": 1})


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"maxFeePerGas": 1}, "maxFeePerGas", 1),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}, "maxFeePerGas", 1),
        ({"value": 1}, "value", 1),
        ({"gas": HIGHEST_GAS + 1}, "gas", HIGHEST_GAS + 1),
        ({"gas": 21_000}, "gas", 21_000),
        ({"accessList": [{"address": POLICY, "storageKeys": []}]}, "accessList", 1),
    ],
)
def test_a_fee_a_value_an_access_list_or_gas_no_block_takes_is_refused(
    relay: RawRelay, changes: dict[str, Any], field: str, value: int
) -> None:
    error = refusal(relay, signed_raw("bank", POLICY, DATA, **changes))
    assert (type(error), error.values()) == (TransactionRefused, {"field": field, "value": value})


def test_the_largest_gas_passes(relay: RawRelay) -> None:
    assert relay.parse(signed_raw("bank", POLICY, DATA, gas=HIGHEST_GAS)).nonce == 0


def test_an_address_outside_the_market_is_refused(relay: RawRelay) -> None:
    foreign = key("bank").address
    error = refusal(relay, signed_raw("bank", foreign, DATA))
    assert (type(error), error.values()) == (ForeignContract, {"to_address": foreign.lower()})


def test_creating_a_contract_is_refused(relay: RawRelay) -> None:
    assert type(refusal(relay, signed_raw("bank", None, DATA))) is ForeignContract


def test_older_kinds_of_transactions_are_refused(relay: RawRelay) -> None:
    legacy: dict[str, Any] = {
        "chainId": CHAIN_ID,
        "nonce": 0,
        "gas": 50_000,
        "gasPrice": 0,
        "value": 0,
        "to": POLICY,
        "data": "0x",
    }
    raw = "0x" + bytes(key("bank").sign_transaction(legacy).raw_transaction).hex()
    assert type(refusal(relay, raw)) is TransactionUnreadable
    typed = key("bank").sign_transaction({**legacy, "accessList": [], "type": 1})
    error = refusal(relay, "0x" + bytes(typed.raw_transaction).hex())
    assert error.values() == {"reason": "type 1"}


@pytest.mark.parametrize("raw", ["", "0x", "0x02", "0xzz", "0x02c0", "0xff", "02" * 100, "0x" + "ab" * 131_073])
def test_bytes_that_are_no_transaction_are_refused(relay: RawRelay, raw: str) -> None:
    assert type(refusal(relay, raw)) is TransactionUnreadable


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_whatever_raise_anything_but_a_typed_error(relay: RawRelay, data: bytes, typed: bool) -> None:
    with pytest.raises(GridLedgerError):
        relay.parse("0x" + ("02" if typed else "") + data.hex())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_refused_or_names_another_sender_or_call(relay: RawRelay, data: st.DataObject) -> None:
    raw = bytearray.fromhex(signed_raw("bank", POLICY, DATA, gas=100_000)[2:])
    place = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[place // 8] ^= 1 << place % 8
    try:
        parsed = relay.parse("0x" + raw.hex())
    except GridLedgerError:
        return
    assert parsed.sender != key("bank").address


@pytest.mark.parametrize(("y_parity", "r", "s"), [(0, 0, 1), (0, 1, 0), (0, 2**256 - 1, 1), (1, 1, 2**256 - 1)])
def test_an_impossible_signature_is_refused(relay: RawRelay, y_parity: int, r: int, s: int) -> None:
    to = bytes.fromhex(POLICY[2:])
    fields = [CHAIN_ID, 0, 0, 0, 100_000, to, 0, DATA, [], y_parity, r, s]
    raw = "0x02" + rlp.encode(fields).hex()
    assert type(refusal(relay, raw)) is TransactionUnreadable


def test_the_least_gas_that_passes_is_the_least_a_block_takes(market: Deployed, relay: RawRelay) -> None:
    """Of two calls a unit of gas apart the relay takes the one that the chain includes."""
    data = bytes(10) + b"\1" * 10
    least = 21_000 + 10 * (10 + 4 * 10)
    below, enough = (signed_raw("regulator", POLICY, data, gas=gas) for gas in (least - 1, least))
    assert refusal(relay, below).values() == {"field": "gas", "value": least - 1}
    transaction_hash = relay.parse(enough).transaction_hash
    assert market.chain.mine(GENESIS_TIME_S + 20, [below]).transaction_hashes == ()
    assert market.chain.mine(GENESIS_TIME_S + 21, [enough]).transaction_hashes == (transaction_hash,)


def test_a_signature_s_twin_is_refused(relay: RawRelay) -> None:
    """No chain includes a transaction with s in the upper half (EIP-2)."""
    fields = rlp.decode(bytes.fromhex(signed_raw("bank", POLICY, DATA)[4:]))
    y_parity, s = int.from_bytes(fields[-3]), int.from_bytes(fields[-1])
    raw = "0x02" + rlp.encode([*fields[:-3], 1 - y_parity, fields[-2], SECPK1_N - s]).hex()
    assert type(refusal(relay, raw)) is TransactionUnreadable


def test_the_next_nonce_follows_the_chain_and_every_kept_transaction(market: Deployed, relay: RawRelay) -> None:
    fresh = Account.from_key((5).to_bytes(32)).address
    assert relay.next_nonce(fresh, None) == 0
    assert relay.next_nonce(fresh, 4) == 5
    deployer = key("deployer").address
    mined = market.client.nonce(deployer)
    assert relay.next_nonce(deployer, None) == relay.next_nonce(deployer, mined - 1) == mined
    assert relay.next_nonce(deployer, mined + 2) == mined + 3


@pytest.mark.parametrize(("nonce", "highest_kept", "expected"), [(1, None, 0), (0, 0, 1), (2, 0, 1)])
def test_a_nonce_used_or_ahead_is_refused_with_the_one_expected(
    relay: RawRelay, nonce: int, highest_kept: int | None, expected: int
) -> None:
    parsed = relay.parse(signed_raw("bank", POLICY, DATA, nonce=nonce))
    with pytest.raises(NonceMismatch) as refused:
        relay.require_next_nonce(parsed, highest_kept)
    assert refused.value.values() == {"sender": key("bank").address, "expected": expected, "found": nonce}
    relay.require_next_nonce(relay.parse(signed_raw("bank", POLICY, DATA, nonce=expected)), highest_kept)
