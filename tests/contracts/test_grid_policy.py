"""The regulator's rules hold from a future MTU on, once, inside fixed bounds; only a halt acts at once."""

from dataclasses import replace
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
    "an answer deadline at the gate": ({"answer_lead_s": 300}, "PolicyRefused"),
    "a gate that never closes": ({"gate_closure_s": 0, "answer_lead_s": 0}, "PolicyRefused"),
    "substitutes after the last correction": ({"substitute_after_s": 60 * DAY + 1}, "PolicyRefused"),
    "corrections for ever": ({"correction_s": 1_000 * DAY + 1}, "PolicyRefused"),
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


# Each of these is the last one allowed on its side of a bound above.
ALLOWED_POLICIES: dict[str, dict[str, Any]] = {
    "a gate two days ahead": {"gate_closure_s": 2 * DAY},
    "an answer one second after the gate": {"answer_lead_s": 299},
    "an answer when the MTU starts": {"answer_lead_s": 0},
    "a gate one second before the MTU": {"gate_closure_s": 1, "answer_lead_s": 0},
    "substitutes with the last correction": {"substitute_after_s": 60 * DAY},
    "substitutes at once and no corrections": {"substitute_after_s": 0, "correction_s": 0},
    "corrections for a thousand days": {"correction_s": 1_000 * DAY},
    "the whole reward to the seller": {"seller_reward_share_bp": 10_000},
    "the highest grid factor": {"default_grid_factor_mgco2_per_kwh": 5_000_000},
    "the whole fee relieved": {"low_carbon_relief_cents_per_mwh": 2_000},
    "a surplus price at the floor": {"surplus_offset_cents_per_mwh": 0},
    "a cap at the shortage price": {"cap_offset_cents_per_mwh": 500},
    "a floor at the cap": {"floor_offset_cents_per_mwh": 24_000},
    "the highest tariff": {"feed_in_cents_per_mwh": PRICE_LIMIT - 24_000, "retail_cents_per_mwh": PRICE_LIMIT},
}


@pytest.mark.parametrize("name", ALLOWED_POLICIES)
def test_a_policy_at_its_bounds_is_taken_and_shown_as_it_is(market: Market, name: str) -> None:
    effective = earliest_mtu(market)
    schedule(market, effective, **ALLOWED_POLICIES[name])
    shown, version = market.view("GridPolicy", "policyAt", effective)
    assert (tuple(shown.values()), version) == (policy_tuple(market.policy, **ALLOWED_POLICIES[name]), 1)


def test_a_clearing_reads_all_its_rules_in_one_answer() -> None:
    policy = PolicyParameters(gate_closure_s=301, answer_lead_s=60, cap_offset_cents_per_mwh=-7)
    market = Market(policy=policy, zones=(ZONE, ZONE + 1))
    # Half of the 241 seconds between gate and answer belong to the operator, rounded for the grid operator's sake.
    expected = {
        "gateClosure": FIRST_MTU - 301,
        "clearingDeadline": FIRST_MTU - 180,
        "floor": 8_000,
        "cap": 31_993,
        "shortage": 32_500,
        "gridFeeCentsPerMwh": 2_000,
        "lowCarbonReliefCentsPerMwh": 1_000,
    }
    assert market.view("GridPolicy", "clearingRulesAt", ZONE, FIRST_MTU) == expected
    assert market.view("GridPolicy", "clearingDeadlineAt", FIRST_MTU) == FIRST_MTU - 180
    market.send(market.oracle, "GridPolicy", "postFeedIn", FIRST_MTU, [-1_000])
    posted = market.view("GridPolicy", "clearingRulesAt", ZONE, FIRST_MTU)
    assert posted == expected | {"floor": -1_000, "cap": 22_993, "shortage": 23_500}
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, True)
    with market.refuses("ZoneHalted", ZONE):
        market.view("GridPolicy", "clearingRulesAt", ZONE, FIRST_MTU)
    assert market.view("GridPolicy", "clearingRulesAt", ZONE + 1, FIRST_MTU) == posted
    assert market.view("GridPolicy", "clearingDeadlineAt", FIRST_MTU) == FIRST_MTU - 180
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    with market.refuses("ZoneHalted", ZONE + 1):
        market.view("GridPolicy", "clearingRulesAt", ZONE + 1, FIRST_MTU)


def test_the_clearing_deadline_moves_with_the_rules_of_its_mtu(market: Market) -> None:
    effective = earliest_mtu(market)
    schedule(market, effective, gate_closure_s=3_600, answer_lead_s=1_800)
    assert market.view("GridPolicy", "clearingDeadlineAt", effective - 900) == effective - 900 - 180
    assert market.view("GridPolicy", "clearingDeadlineAt", effective) == effective - 2_700
    assert market.view("GridPolicy", "clearingRulesAt", ZONE, effective)["clearingDeadline"] == effective - 2_700


def test_an_mtu_beyond_32_bits_is_no_mtu(market: Market) -> None:
    beyond = -(-(2**32) // 900) * 900
    for call in (
        (market.oracle, "GridPolicy", "postFeedIn", beyond, [1]),
        (market.regulator, "GridPolicy", "schedulePolicy", policy_tuple(market.policy), beyond),
    ):
        with market.refuses("MtuUnaligned", beyond, MTU_LENGTH_S):
            market.send(*call)
    with market.refuses("MtuUnaligned", beyond, MTU_LENGTH_S):
        market.view("GridPolicy", "requireGateClosed", beyond)
    with market.refuses("MtuUnaligned", 0, MTU_LENGTH_S):
        market.view("GridPolicy", "requireGateClosed", 0)


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
    # What the market knows of the rules beforehand is the node's; here the contract's own reading of them counts.
    assert market.view("GridPolicy", "clearingRulesAt", ZONE, earliest - MTU_LENGTH_S)["gridFeeCentsPerMwh"] == 2_000
    rules = market.view("GridPolicy", "clearingRulesAt", ZONE, earliest)
    assert (rules["gridFeeCentsPerMwh"], rules["lowCarbonReliefCentsPerMwh"]) == (5_000, 0)
    market.policy = replace(market.policy, grid_fee_cents_per_mwh=5_000, low_carbon_relief_cents_per_mwh=0)
    pair = Pair.of(market, mtu_start=earliest)
    assert pair.cleared(market).position_of(pair.buyer).fee_microcents == 600 * 5_000


def test_a_halt_acts_at_once_and_is_lifted_at_once(market: Market) -> None:
    receipt = market.send(market.regulator, "GridPolicy", "setHalted", ZONE, True)
    assert receipt.one("MarketHalted") == {"zone": ZONE, "halted": True}
    with market.refuses("ZoneHalted", ZONE):
        market.view("GridPolicy", "requireOpen", ZONE)
    market.view("GridPolicy", "requireOpen", ZONE + 1)
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, False)
    market.view("GridPolicy", "requireOpen", ZONE)
