"""Reading a chain: blocks with decoded events, outcomes, views, simulations at a given time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chain.deployed import (
    CHAIN_ID,
    GENESIS_TIME_S,
    MTU_START,
    ZONE,
    Deployed,
    addresses,
    deployed,
    key,
    plan,
    signed_raw,
)

from gridledger.chain.codec import ContractReverted
from gridledger.chain.rpc import RpcFailed

EMPTY_CODE = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Deployed]:
    """A freshly deployed market; block 1 is the deployment."""
    with deployed(tmp_path) as running:
        yield running


def post_feed_in(market: Deployed, price: int = 5_000, **changes: object) -> str:
    data = market.client.codecs["GridPolicy"].call_data("postFeedIn", MTU_START, [price])
    return signed_raw("oracle", addresses()["GridPolicy"], data, **changes)


def test_the_chain_says_what_it_is(market: Deployed) -> None:
    client = market.client
    assert (client.chain_id(), client.head_number()) == (CHAIN_ID, 1)
    assert client.genesis_hash() == market.chain.genesis_hash
    assert (client.nonce(key("deployer").address), client.nonce(key("oracle").address)) == (len(plan()), 0)
    assert client.address("EnergyTrading") == addresses()["EnergyTrading"]


def test_code_is_told_by_its_hash_and_no_code_by_the_hash_of_nothing(market: Deployed) -> None:
    hashes = {name: market.client.code_hash(address) for name, address in addresses().items()}
    assert len(set(hashes.values())) == len(hashes)
    assert market.client.code_hash(key("oracle").address) == EMPTY_CODE


def test_the_genesis_block_is_empty_and_the_first_block_follows_it(market: Deployed) -> None:
    genesis, first = market.client.block(0), market.client.block(1)
    assert (genesis.block.number, genesis.events, genesis.outcomes) == (0, (), ())
    assert first.block.parent_hash == genesis.block.block_hash == market.chain.genesis_hash
    assert first.block.time_s == GENESIS_TIME_S + 1
    assert len(first.outcomes) == len(plan())
    names = {event.name for event in first.events}
    assert {"ZoneRegistered", "SupplierRegistered", "PolicyScheduled", "RoleGranted"} <= names


def test_events_carry_their_place_and_json_friendly_arguments(market: Deployed) -> None:
    zone = next(event for event in market.client.block(1).events if event.name == "ZoneRegistered")
    assert (zone.block_number, zone.contract) == (1, "ParticipantRegistry")
    assert zone.arguments == {"zone": ZONE, "gridOperator": key("grid_operator").address}
    policy = next(event for event in market.client.block(1).events if event.name == "PolicyScheduled")
    assert policy.arguments["policy"]["gateClosureS"] == 300
    assert zone.transaction_hash in {outcome.transaction_hash for outcome in market.client.block(1).outcomes}
    indexes = [event.log_index for event in market.client.block(1).events]
    assert indexes == sorted(set(indexes))


def test_a_reverted_transaction_has_an_outcome_with_gas_and_no_events(market: Deployed) -> None:
    mined = market.chain.mine(GENESIS_TIME_S + 2, [post_feed_in(market), post_feed_in(market, nonce=1)])
    contents = market.client.block(2)
    assert [outcome.succeeded for outcome in contents.outcomes] == [True, False]
    assert tuple(outcome.transaction_hash for outcome in contents.outcomes) == mined.transaction_hashes
    assert all(outcome.gas_used > 21_000 and outcome.block_number == 2 for outcome in contents.outcomes)
    assert [event.name for event in contents.events] == ["FeedInPosted"]
    assert contents.events[0].arguments == {"mtuStart": MTU_START, "feedInCentsPerMwh": 5_000}


def test_a_transaction_is_told_by_its_hash(market: Deployed) -> None:
    mined = market.chain.mine(GENESIS_TIME_S + 2, [post_feed_in(market)])
    told = market.client.raw_transaction(mined.transaction_hashes[0])
    assert (told["hash"], int(told["nonce"], 16)) == (mined.transaction_hashes[0], 0)
    assert told["from"].lower() == key("oracle").address.lower()


def test_one_return_value_comes_bare_and_several_as_a_tuple(market: Deployed) -> None:
    assert market.client.view("GridPolicy", "mtuLengthS") == 900
    assert market.client.view("EnergyTrading", "accountOf", key("bank").address) == (0, 0)
    assert market.client.view("GridPolicy", "pricesAt", MTU_START)["retail"] == 32_000


def test_a_view_that_reverts_says_which_error_with_its_values(market: Deployed) -> None:
    with pytest.raises(ContractReverted) as refused:
        market.client.view("ParticipantRegistry", "gridOperatorOf", 77)
    assert (refused.value.name, refused.value.arguments) == ("ZoneUnknown", (77,))


def test_a_simulation_says_the_error_or_nothing_and_changes_nothing(market: Deployed) -> None:
    codec, to = market.client.codecs["GridPolicy"], addresses()["GridPolicy"]
    data, now = codec.call_data("postFeedIn", MTU_START, [5_000]), GENESIS_TIME_S + 2
    assert market.client.simulate(key("oracle").address, to, data, now) is None
    assert market.client.simulate(key("oracle").address, to, data, now) is None
    stranger = market.client.simulate(key("supplier").address, to, data, now)
    assert isinstance(stranger, ContractReverted)
    assert (stranger.name, stranger.arguments) == ("AccessManagedUnauthorized", (key("supplier").address.lower(),))
    assert (market.client.head_number(), market.client.nonce(key("oracle").address)) == (1, 0)


def test_a_simulation_runs_at_the_time_of_the_block_to_come(market: Deployed) -> None:
    """What depends on the hour, such as a gate, must be judged at the block's own time."""
    codec, to = market.client.codecs["EnergyTrading"], addresses()["EnergyTrading"]
    data, gate = codec.call_data("commitBook", ZONE, MTU_START, b"\1" * 32, 2), MTU_START - 300
    operator = key("market_operator").address
    early = market.client.simulate(operator, to, data, gate - 1)
    assert isinstance(early, ContractReverted)
    assert (early.name, early.arguments) == ("GateStillOpen", (MTU_START, gate, gate - 1))
    assert market.client.simulate(operator, to, data, gate) is None


def test_an_error_that_is_no_revert_is_said_with_its_method(market: Deployed) -> None:
    with pytest.raises(RpcFailed) as refused:
        market.client.raw_transaction("0x12")
    assert refused.value.method == "eth_getTransactionByHash"


def test_logs_of_contracts_outside_the_market_are_left_out(market: Deployed) -> None:
    """A log of another address, here the topmost eight bytes of nothing, is not of this market."""
    code = bytes.fromhex("60ff60005260206000a0")  # mstore(0, 0xff); log0(0, 32)
    creation = signed_raw("supplier", None, code, gas=200_000)
    market.chain.mine(GENESIS_TIME_S + 2, [creation])
    contents = market.client.block(2)
    assert [outcome.succeeded for outcome in contents.outcomes] == [True]
    assert contents.events == ()
