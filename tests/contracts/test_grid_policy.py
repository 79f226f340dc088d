"""The regulator's rules hold from a future MTU on, once, inside fixed bounds; only halt and suspension act at once."""

from typing import Any

import pytest
from tests.contracts.harness import EUR, FIRST_MTU, MTU_LENGTH_S, ZONE, Market, Pair, policy_tuple

from gridledger.chain.codec import ContractReverted
from gridledger.chain.plan import PolicyParameters

DAY = 86_400
PRICE_LIMIT = 10_000_000

REFUSED_POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "a feed-in tariff above every bound": ({"feed_in_cents_per_mwh": PRICE_LIMIT + 1}, "PriceOutOfBounds"),
    "a retail tariff below every bound": ({"retail_cents_per_mwh": -PRICE_LIMIT - 1}, "PriceOutOfBounds"),
    "an adder beyond every bound": ({"retail_adder_cents_per_mwh": PRICE_LIMIT + 1}, "PriceOutOfBounds"),
    "a floor beyond every bound": ({"floor_offset_cents_per_mwh": -PRICE_LIMIT - 1}, "PriceOutOfBounds"),
    "a surplus price beyond every bound": ({"surplus_offset_cents_per_mwh": -PRICE_LIMIT - 1}, "PriceOutOfBounds"),
    "a cap beyond every bound": ({"cap_offset_cents_per_mwh": 2**63 - 1}, "PriceOutOfBounds"),
    "a shortage price beyond every bound": ({"shortage_offset_cents_per_mwh": 2**62}, "PriceOutOfBounds"),
    "a grid fee beyond every bound": ({"grid_fee_cents_per_mwh": PRICE_LIMIT + 1}, "PolicyRefused"),
    "a gate that closes three days ahead": ({"gate_closure_s": 2 * DAY + 1}, "PolicyRefused"),
    "an answer deadline before the gate": ({"answer_lead_s": 301}, "PolicyRefused"),
    "a reward share above one": ({"seller_reward_share_bp": 10_001}, "PolicyRefused"),
    "a grid factor beyond every bound": ({"default_grid_factor_mgco2_per_kwh": 5_000_001}, "PolicyRefused"),
    "a relief above the fee": ({"low_carbon_relief_cents_per_mwh": 2_001}, "PolicyRefused"),
    "a surplus price above the floor": ({"surplus_offset_cents_per_mwh": 1}, "PolicyRefused"),
    "a cap above the shortage price": ({"cap_offset_cents_per_mwh": 501}, "PolicyRefused"),
    "a floor above the cap of the fixed tariffs": ({"floor_offset_cents_per_mwh": 24_001}, "PolicyRefused"),
    "a floor above the cap of posted tariffs": (
        {"retail_adder_cents_per_mwh": 100, "floor_offset_cents_per_mwh": 101},
        "PolicyRefused",
    ),
}


def schedule(market: Market, effective: int, **changes: Any) -> None:
    """Schedule a changed policy."""
    market.send(market.regulator, "GridPolicy", "schedulePolicy", policy_tuple(market.policy, **changes), effective)


def earliest_mtu(market: Market) -> int:
    """First MTU a policy scheduled now can hold for."""
    return -(-(market.now + DAY + 2 * DAY) // MTU_LENGTH_S) * MTU_LENGTH_S


@pytest.mark.parametrize("name", REFUSED_POLICIES)
def test_a_policy_out_of_bounds_is_refused_at_deployment_and_later(market: Market, name: str) -> None:
    changes, error = REFUSED_POLICIES[name]
    with pytest.raises(ContractReverted) as caught:
        Market(policy=PolicyParameters(**changes))
    assert caught.value.name == error
    with market.refuses(error):
        schedule(market, earliest_mtu(market), **changes)


@pytest.mark.parametrize("length_s", [0, 1, 299, 600, 901, 7200])
def test_only_the_four_lengths_of_an_mtu_are_deployed(length_s: int) -> None:
    with pytest.raises(ContractReverted) as caught:
        Market(mtu_length_s=length_s)
    assert (caught.value.name, caught.value.arguments) == ("MtuLengthRefused", (length_s,))


@pytest.mark.parametrize("length_s", [300, 900, 1800, 3600])
def test_capacity_and_end_of_an_mtu_follow_its_length(length_s: int) -> None:
    market = Market(mtu_length_s=length_s)
    mtu_start = -(-FIRST_MTU // 3600) * 3600
    pair = Pair.of(market, mtu_start=mtu_start)
    kept = pair.delivered(market)
    market.settle(kept, {0: 600, 1: -600})
    assert market.view("GridPolicy", "mtuLengthS") == length_s
    assert market.free(pair.seller.owner) == 10 * EUR + 9_000_000


def test_prices_follow_the_fixed_tariffs_or_the_posted_one(market: Market) -> None:
    fixed = {"feedIn": 8_000, "retail": 32_000, "floor": 8_000, "cap": 32_000, "surplus": 7_500, "shortage": 32_500}
    assert market.view("GridPolicy", "pricesAt", FIRST_MTU) == fixed
    receipt = market.send(market.oracle, "GridPolicy", "postFeedIn", FIRST_MTU, [-1_000, 5_000])
    assert [event.arguments["mtuStart"] for event in receipt.named("FeedInPosted")] == [FIRST_MTU, FIRST_MTU + 900]
    posted = market.view("GridPolicy", "pricesAt", FIRST_MTU)
    assert posted == {
        "feedIn": -1_000,
        "retail": 23_000,
        "floor": -1_000,
        "cap": 23_000,
        "surplus": -1_500,
        "shortage": 23_500,
    }
    assert market.view("GridPolicy", "pricesAt", FIRST_MTU + 900)["feedIn"] == 5_000
    assert market.view("GridPolicy", "pricesAt", FIRST_MTU + 1_800) == fixed


def test_a_tariff_is_posted_once_before_the_gate_inside_the_bounds(market: Market) -> None:
    post = (market.oracle, "GridPolicy", "postFeedIn")
    market.send(*post, FIRST_MTU, [PRICE_LIMIT])
    with market.refuses("FeedInAlreadyPosted", FIRST_MTU):
        market.send(*post, FIRST_MTU - 900, [1, 2])
    with market.refuses("PriceOutOfBounds", PRICE_LIMIT + 1):
        market.send(*post, FIRST_MTU + 900, [PRICE_LIMIT + 1])
    with market.refuses("PriceOutOfBounds", -PRICE_LIMIT - 1):
        market.send(*post, FIRST_MTU + 900, [-PRICE_LIMIT - 1])
    with market.refuses("MtuUnaligned", FIRST_MTU + 1, MTU_LENGTH_S):
        market.send(*post, FIRST_MTU + 1, [1])
    market.move_to(FIRST_MTU + 600)
    with market.refuses("GateAlreadyClosed", FIRST_MTU + 900, FIRST_MTU + 600, FIRST_MTU + 600):
        market.send(*post, FIRST_MTU + 900, [1])
    market.move_to(FIRST_MTU + 599)
    market.send(*post, FIRST_MTU + 900, [-PRICE_LIMIT])


def test_a_change_waits_for_the_delay_and_the_longest_gate(market: Market) -> None:
    earliest = earliest_mtu(market)
    with market.refuses("PolicyTooEarly", earliest - MTU_LENGTH_S, market.now + 3 * DAY):
        schedule(market, earliest - MTU_LENGTH_S, feed_in_cents_per_mwh=9_000)
    with market.refuses("MtuUnaligned"):
        schedule(market, earliest + 1, feed_in_cents_per_mwh=9_000)
    schedule(market, earliest, feed_in_cents_per_mwh=9_000, gate_closure_s=600)
    before, version = market.view("GridPolicy", "policyAt", earliest - MTU_LENGTH_S)
    assert (before["feedInCentsPerMwh"], version) == (8_000, 0)
    after, version = market.view("GridPolicy", "policyAt", earliest)
    assert (after["feedInCentsPerMwh"], version) == (9_000, 1)
    assert market.view("GridPolicy", "gateClosureAt", earliest - 900) == earliest - 1_200
    assert market.view("GridPolicy", "gateClosureAt", earliest) == earliest - 600


def test_a_change_never_reaches_an_mtu_already_traded(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    schedule(market, earliest_mtu(market), shortage_offset_cents_per_mwh=9_000, surplus_offset_cents_per_mwh=-9_000)
    market.pass_mtu()
    market.anchor()
    market.settle(kept, {0: 500, 1: -600})
    assert market.free(pair.seller.owner) == 10 * EUR + 9_000_000 - 100 * 32_500


def test_history_is_not_rewritten_by_scheduling_backwards(market: Market) -> None:
    earliest = earliest_mtu(market)
    schedule(market, earliest + 900, feed_in_cents_per_mwh=9_000)
    with market.refuses("CheckpointUnorderedInsertion"):
        schedule(market, earliest, feed_in_cents_per_mwh=9_100)
    schedule(market, earliest + 900, feed_in_cents_per_mwh=9_200)
    assert market.view("GridPolicy", "policyAt", earliest + 900)[0]["feedInCentsPerMwh"] == 9_200


def test_the_market_moves_to_the_new_rules_at_the_mtu_they_hold_from(market: Market) -> None:
    earliest = earliest_mtu(market)
    schedule(market, earliest, grid_fee_cents_per_mwh=5_000, low_carbon_relief_cents_per_mwh=0)
    pair = Pair.of(market, mtu_start=earliest)
    assert pair.cleared(market).positions[1]["feeMicrocents"] == 600 * 5_000


def test_halt_and_suspension_act_at_once_and_are_lifted_at_once(market: Market) -> None:
    receipt = market.send(market.regulator, "GridPolicy", "setHalted", ZONE, True)
    assert receipt.one("MarketHalted") == {"zone": ZONE, "halted": True}
    with market.refuses("ZoneHalted", ZONE):
        market.view("GridPolicy", "requireOpen", ZONE)
    market.view("GridPolicy", "requireOpen", ZONE + 1)
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, False)
    market.view("GridPolicy", "requireOpen", ZONE)
    member = market.outsider.address
    for suspended in (True, False):
        market.send(market.regulator, "GridPolicy", "setSuspended", member, suspended)
        assert market.view("GridPolicy", "isSuspended", member) is suspended
