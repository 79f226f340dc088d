"""A valid clearing with a deal, a price or an energy changed is refused with its own error and changes nothing.

The scene is scenes.MergedScene; prices in cents per MWh, energy in Wh.
"""

from typing import Any

import pytest
from tests.contracts.harness import BUY, FIRST_MTU, NO_ORDER, SELL, ClearingData, Market, Meter, Pair
from tests.contracts.scenes import MergedScene, Spoils

Expected = tuple[object, ...]
bad = Spoils()


@pytest.mark.parametrize("name", bad)
def test_refused_is(market: Market, name: str) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    clearing = scene.clearing(market)
    error, *values = bad[name](scene, clearing, market)
    with market.refuses(str(error), *values):
        market.clear(clearing)


# --- direct deals -----------------------------------------------------------------------------------------------------


@bad
def an_acceptance_filled_in_part(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "guest", fill_wh=149)
    return "AcceptanceInvalid", scene.uid("guest")


@bad
def an_acceptance_on_the_selling_side(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "guest", side=1)
    return "AcceptanceInvalid", scene.uid("guest")


@bad
def an_acceptance_whose_offer_is_not_named(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["acceptedOffers"] = []
    return "AcceptanceInvalid", scene.uid("guest")


@bad
def an_acceptance_of_an_offer_it_does_not_name(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["acceptedOffers"] = [scene.at(clearing, "solar")]
    return "AcceptanceInvalid", scene.uid("guest")


@bad
def an_acceptance_of_an_offer_not_presented(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["acceptedOffers"] = [len(clearing["orders"])]
    return "AcceptanceInvalid", scene.uid("guest")


@bad
def an_accepted_offer_more_than_there_are_acceptances(
    scene: MergedScene, clearing: ClearingData, market: Market
) -> Expected:
    clearing["acceptedOffers"].append(scene.at(clearing, "roof"))
    return "AcceptanceInvalid", bytes(32)


@bad
def an_offer_filled_less_than_was_accepted(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "roof", fill_wh=149)
    return "OrderOverfilled", scene.uid("roof"), 149, 150


@bad
def dealt_energy_sold_once_more_in_the_auction(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "roof", fill_wh=401)
    return "OrderOverfilled", scene.uid("roof"), 400, 401


# --- prices -----------------------------------------------------------------------------------------------------------


@bad
def a_price_one_above_the_midpoint(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyPrice"] = clearing["lowCarbonPrice"] = 13_001
    return "PriceNotMidpoint", 13_001, 12_000, 14_000


@bad
def a_price_one_below_the_midpoint(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyPrice"] = clearing["lowCarbonPrice"] = 12_999
    return "PriceNotMidpoint", 12_999, 12_000, 14_000


@bad
def a_dearer_low_carbon_price_in_a_merged_book(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["lowCarbonPrice"] = 13_001
    return "PricesDiffer", 13_000, 13_001


@bad
def a_floor_as_lower_end_with_the_old_price(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyEnds"]["lower"] = NO_ORDER
    return "PriceNotMidpoint", 13_000, 8_000, 14_000


@bad
def a_cap_as_upper_end_with_the_old_price(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyEnds"]["upper"] = NO_ORDER
    return "PriceNotMidpoint", 13_000, 12_000, 32_000


@bad
def a_lower_end_that_was_not_presented(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyEnds"]["lower"] = len(clearing["orders"])
    return "EndInvalid", len(clearing["orders"])


@bad
def an_upper_end_just_below_the_number_for_none(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyEnds"]["upper"] = NO_ORDER - 1
    return "EndInvalid", NO_ORDER - 1


@bad
def an_acceptance_as_an_end(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyEnds"]["upper"] = scene.at(clearing, "guest")
    return "EndInvalid", scene.at(clearing, "guest")


@bad
def a_wholly_filled_bid_as_lower_end(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyEnds"]["lower"] = scene.at(clearing, "green")
    return "EndInvalid", scene.at(clearing, "green")


@bad
def a_wholly_filled_offer_as_upper_end(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["anyEnds"]["upper"] = scene.at(clearing, "solar")
    return "EndInvalid", scene.at(clearing, "solar")


@bad
def a_dealt_but_not_auctioned_offer_as_lower_end(
    scene: MergedScene, clearing: ClearingData, market: Market
) -> Expected:
    clearing["anyEnds"]["lower"] = scene.at(clearing, "roof")
    return "EndInvalid", scene.at(clearing, "roof")


@bad
def an_unfilled_offer_as_lower_end(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing.update(scene.clearing(market, ends=(scene.place("dear"), scene.place("roof"))))
    return "EndInvalid", scene.at(clearing, "dear")


@bad
def an_interval_with_its_ends_crossed(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "solar", fill_wh=599)
    clearing["anyEnds"]["upper"] = scene.at(clearing, "solar")
    return "EndsCrossed", 12_000, 10_000


@bad
def ends_of_the_wrong_book(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["merged"] = False
    return "EndInvalid", scene.at(clearing, "roof")


@bad
def an_end_of_a_meter_that_goes_on_in_another_chunk(
    scene: MergedScene, clearing: ClearingData, market: Market
) -> Expected:
    clearing["last"] = False
    clearing["continuedMeters"] = [scene.meter("gas")]
    return "EndInvalid", scene.at(clearing, "gas")


@bad
def a_price_below_an_offer_s_limit(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing.update(scene.clearing(market, price=11_000, ends=(None, scene.place("roof"))))
    return "LimitViolated", scene.uid("gas"), 12_000, 11_000


@bad
def a_price_above_a_bid_s_limit(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing.update(scene.clearing(market, price=22_000, ends=(scene.place("gas"), None)))
    return "LimitViolated", scene.uid("large"), 20_000, 22_000


# --- energy -----------------------------------------------------------------------------------------------------------


@bad
def one_watt_hour_sold_and_not_bought(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "large", fill_wh=499)
    return "EnergyNotBalanced", 0, 1


@bad
def one_watt_hour_bought_and_not_sold(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "solar", fill_wh=599)
    return "EnergyNotBalanced", 1, 0


@bad
def low_carbon_energy_that_nobody_has_made(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "solar", fill_wh=299)
    return "EnergyNotBalanced", 1, 0


@bad
def a_meter_that_goes_on_after_the_last_chunk(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["continuedMeters"] = [scene.meter("solar")]
    return "MeterNotContinued", scene.meter("solar")


@bad
def a_meter_that_goes_on_without_having_begun(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["last"] = False
    clearing["continuedMeters"] = [scene.meter("low")]
    return "MeterNotContinued", scene.meter("low")


@bad
def a_meter_that_goes_on_twice(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["last"] = False
    clearing["continuedMeters"] = [scene.meter("solar")] * 2
    return "MeterNotContinued", scene.meter("solar")


@pytest.mark.parametrize("caller", ["outsider", "deployer", "relayer", "regulator", "grid_operator", "oracle", "bank"])
def test_nobody_but_the_market_operator_clears(market: Market, caller: str) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    one: Any = getattr(market, caller)
    with market.refuses("AccessManagedUnauthorized", one.address):
        market.send(one, "EnergyTrading", "clear", scene.clearing(market))


# --- ends that could not trade ------------------------------------------------------------------------------------


def with_an_open_end(market: Market, meter: Meter, side: int, quantity_wh: int) -> ClearingData:
    """A pair trades 600 Wh; an unfilled bid at 12,000 is the lower end, or an unfilled offer at 18,000 the upper."""
    pair = Pair.of(market)
    limit, price, ends = (12_000, 16_000, (2, 1)) if side == BUY else (18_000, 14_000, (0, 2))
    book = [*pair.book, market.order(meter, side, quantity_wh, limit)]
    market.close_gate()
    market.commit_book(book)
    return market.present(book, {0: 600, 1: 600}, price=price, ends=ends)


@pytest.mark.parametrize("short_by", [0, 1])
@pytest.mark.parametrize(("side", "needed"), [(BUY, 100 * (12_000 + 2_000)), (SELL, 100 * (32_500 - 18_000))])
def test_an_open_end_must_be_funded_to_the_microcent(market: Market, side: int, needed: int, short_by: int) -> None:
    meter = market.producer("third", import_w=40_000, eur=0)
    market.deposit(meter.owner, needed - short_by)
    clearing = with_an_open_end(market, meter, side, 100)
    if short_by:
        with market.refuses("InsufficientFunds", meter.owner.address, needed, needed - 1):
            market.clear(clearing)
    else:
        market.clear(clearing)


@pytest.mark.parametrize("after_the_gate", [-1, 0])
def test_what_was_asked_back_before_the_gate_funds_no_open_end(market: Market, after_the_gate: int) -> None:
    meter = market.consumer("third", eur=0)
    needed = 100 * (12_000 + 2_000)
    market.deposit(meter.owner, needed)
    market.move_to(FIRST_MTU - market.policy.gate_closure_s + after_the_gate)
    market.request_withdrawal(meter.owner, 1)
    clearing = with_an_open_end(market, meter, BUY, 100)
    if after_the_gate < 0:
        with market.refuses("InsufficientFunds", meter.owner.address, needed, needed - 1):
            market.clear(clearing)
    else:
        market.clear(clearing)


@pytest.mark.parametrize("over_wh", [0, 1])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_an_open_end_must_fit_its_meter(market: Market, side: int, over_wh: int) -> None:
    meter = market.producer("third", import_w=4_000, export_w=4_000)  # 1,000 Wh
    clearing = with_an_open_end(market, meter, side, 1_000 + over_wh)
    if over_wh:
        with market.refuses("CapacityExceeded", meter.number, 1_001, 1_000):
            market.clear(clearing)
    else:
        market.clear(clearing)


def test_a_partly_filled_order_is_an_end_only_if_all_of_it_could_trade(market: Market) -> None:
    seller, buyer = market.producer("seller"), market.consumer("buyer", eur=0)
    needed = 600 * (20_000 + 2_000)
    market.deposit(buyer.owner, needed - 1)
    book = [market.order(seller, SELL, 100, 10_000), market.order(buyer, BUY, 600, 20_000)]
    market.close_gate()
    market.commit_book(book)
    with market.refuses("InsufficientFunds", buyer.owner.address, needed, needed - 1):
        market.clear(market.present(book, {0: 100, 1: 100}, price=26_000, ends=(1, None)))
