"""What caps leave of a clearing: trades shrink at their prices, locks go back to the microcent, the rest settles.

Every accepted call is compared with gridledger.market.curtailment: kept hash, accounts, debts, escrow and events.
"""

from typing import Any

import pytest
from tests.contracts.curtailing import IMPORT, Curtailer, applied, apply_arguments
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CAPPED,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    SELL,
    ZONE,
    Kept,
    Market,
    settle_arguments,
)
from tests.contracts.scenes import ChunkScene, MergedScene, Spoils
from tests.contracts.streets import Street

from gridledger.chain.plan import PolicyParameters
from gridledger.market.model import Trade
from gridledger.market.settlement import rewarded_trades

END = FIRST_MTU + MTU_LENGTH_S
EXPORTERS = ("solar", "roof", "gas")
PRICE, SHORTAGE, FEE, RELIEF = 15_000, 32_500, 2_000, 1_000
BUYER, SELLER, OPERATOR = range(3)  # IGridPolicy.Bearer
# Reasons 1, 2 and 3 stand for the three bearers.
BEARERS = PolicyParameters(replacement_bearers=BUYER << 2 | SELLER << 4 | OPERATOR << 6)
REASON_OF = {BUYER: 1, SELLER: 2, OPERATOR: 3}


def over(street: Street, **caps: int) -> dict[int, int]:
    """Curtailed in an emergency, and the MTU is over; returns the caps by meter."""
    return curtailed(street, street.caps(**caps))


def curtailed(street: Street, caps: dict[int, int], **changes: Any) -> dict[int, int]:
    """As `over`, of caps by meter."""
    street.operator.curtail(caps, **({"emergency": True} | changes))
    street.market.pass_mtu()
    return caps


@pytest.fixture
def street(market: Market) -> Street:
    """The street, cleared and waiting for an answer."""
    return Street.of(market)


# ---- money and energy


def test_what_is_curtailed_is_refunded_to_the_microcent(street: Street) -> None:
    """Gas keeps 200 of its 500 Wh, which the last pairs lose; its buyers get price and full fee back."""
    market = street.market
    free = {name: market.free(meter.owner) for name, meter in street.meters.items()}
    escrow = market.escrow()
    kept, shrunk, receipt = applied(market, street.kept, over(street, gas=200))
    gained = {name: market.free(meter.owner) - free[name] for name, meter in street.meters.items()}
    assert {name for name, money in gained.items() if money} == {"gas", "small"}
    assert gained["gas"] == 300 * (SHORTAGE - PRICE)
    # The operator has nothing yet: what it bears is its debt.
    assert gained["small"] == 300 * (PRICE + FEE)
    assert market.debt(market.grid_operator, street.meters["small"].owner) == 300 * (SHORTAGE - PRICE)
    assert escrow - market.escrow() == 300 * (SHORTAGE - PRICE + PRICE + FEE)
    assert shrunk.curtailed_wh == tuple(
        300 if kept.positions[trade.sell].meter == street.number("gas") else 0 for trade in shrunk.trades
    )
    assert receipt.one("CapsApplied")["lowCarbonWh"] == 0


def test_the_fee_of_low_carbon_energy_goes_back_with_its_relief(street: Street) -> None:
    market = street.market
    before = market.free(street.meters["large"].owner)
    _, _, receipt = applied(market, street.kept, over(street, solar=500))
    assert receipt.one("CapsApplied")["lowCarbonWh"] == 100
    assert market.free(street.meters["large"].owner) - before == 100 * (PRICE + FEE - RELIEF)


def test_a_cap_above_the_contract_changes_nothing_but_that_deals_stand_for_themselves(street: Street) -> None:
    market = street.market
    accounts = market.accounts()
    kept, shrunk, receipt = applied(market, street.kept, over(street, solar=10_000, large=0))
    assert accounts.differences(market.accounts(), {}) == []
    assert receipt.named("TradeCurtailed") == ()
    assert sum(trade.energy_wh for trade in kept.deals) == 1_501
    assert not any(shrunk.curtailed_wh)
    market.anchor()
    kept, _ = market.settle(kept, {index: one.contracted_wh for index, one in enumerate(kept.positions)})
    assert market.escrow() == 0


def test_an_import_cap_shrinks_what_a_consumer_bought(street: Street) -> None:
    market = street.market
    caps = curtailed(street, street.fair(("large", "small"), 1_000, IMPORT), emergency=False, direction=int(IMPORT))
    kept, shrunk, _ = applied(market, street.kept, caps, direction=IMPORT)
    assert {one.meter: one.quantity_wh for one in kept.positions if not one.sells} == caps
    assert sum(shrunk.curtailed_wh) == 501


def test_everything_may_be_curtailed(street: Street) -> None:
    market = street.market
    kept, _, _ = applied(market, street.kept, over(street, solar=0, roof=0, gas=0))
    assert market.escrow() == 0
    assert all(meter_free == 10 * EUR for meter_free in (market.free(one.owner) for one in street.meters.values()))
    assert [one.quantity_wh for one in kept.positions] == [0] * 5
    market.anchor()
    kept, _ = market.settle(kept, dict.fromkeys(range(5), 0))
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["openPositions"] == 0


@pytest.mark.parametrize("bearer", [BUYER, SELLER, OPERATOR])
@pytest.mark.parametrize("rich", [True, False], ids=["a rich operator", "an operator without money"])
def test_the_policy_says_who_bears_the_replacement(bearer: int, *, rich: bool) -> None:
    market = Market(policy=BEARERS)
    street = Street.of(market)
    operator = market.grid_operator
    if rich:
        market.deposit(operator, EUR)
    else:
        market.deposit(operator, 1_000)
    money = market.free(operator)
    free = {name: market.free(meter.owner) for name, meter in street.meters.items()}
    caps = curtailed(street, street.caps(gas=0), reason=REASON_OF[bearer])
    _, _, receipt = applied(market, street.kept, caps, reason=REASON_OF[bearer])
    gained = {name: market.free(meter.owner) - free[name] for name, meter in street.meters.items()}
    cost, back = 500 * (SHORTAGE - PRICE), 500 * (PRICE + FEE)
    assert receipt.one("CapsApplied")["compensatedMicrocents"] == (0 if bearer == BUYER else cost)
    assert gained["gas"] == (0 if bearer == SELLER else cost)
    paid = 0 if bearer == BUYER else cost if bearer == SELLER or rich else 1_000
    assert gained["small"] == back + paid
    assert money - market.free(operator) == (paid if bearer == OPERATOR else 0)
    debt = cost - paid if bearer == OPERATOR else 0
    assert market.debt(operator, street.meters["small"].owner) == debt
    if debt:
        market.fund(operator, debt)
        market.send(operator, "EnergyTrading", "payDebt", street.meters["small"].owner.address, debt)
        assert market.debt(operator, street.meters["small"].owner) == 0


@pytest.mark.parametrize("bearer", [BUYER, SELLER, OPERATOR])
def test_at_negative_prices_the_seller_s_payment_goes_back_too(bearer: int) -> None:
    market = Market(
        policy=PolicyParameters(
            feed_in_cents_per_mwh=-20_000,
            retail_cents_per_mwh=-2_000,
            replacement_bearers=BEARERS.replacement_bearers,
        )
    )
    seller, buyer = market.producer("producer"), market.consumer("consumer")
    book = [market.order(seller, SELL, 600, -16_000), market.order(buyer, BUY, 600, -10_000)]
    kept = market.clear_book(book)
    curtailer = Curtailer.of(market, [kept], [seller, buyer])
    curtailer.curtail({seller.number: 100}, reason=REASON_OF[bearer])
    market.pass_mtu()
    before = market.free(seller.owner)
    kept, _, _ = applied(market, kept, {seller.number: 100}, reason=REASON_OF[bearer])
    shortage = market.prices().shortage
    lock = 500 * (13_000 + shortage + 13_000)
    assert market.free(seller.owner) - before == lock - (500 * (shortage + 13_000) if bearer == SELLER else 0)
    market.anchor()
    market.settle(kept, {0: 100, 1: -600})
    assert market.escrow() == 0


def test_deals_shrink_at_their_own_prices_before_the_auction_s_pairs(market: Market) -> None:
    """Roof sold 150 Wh to guest at 14,000; its cap of 120 leaves the deal 120 Wh at that price."""
    scene = MergedScene.of(market)
    kept = scene.kept(market)
    curtailer = Curtailer.of(market, [kept], list(scene.meters.values()))
    caps = {scene.meter("roof"): 120}
    curtailer.curtail(caps, emergency=True, reason=4)
    market.pass_mtu()
    guest = market.free(scene.meters["guest"].owner)
    kept, shrunk, _ = applied(market, kept, caps, reason=4)
    assert (shrunk.trades[0].price_cents_per_mwh, shrunk.trades[0].energy_wh) == (14_000, 120)
    assert market.free(scene.meters["guest"].owner) - guest == 30 * (14_000 + FEE - RELIEF)
    assert kept.position_of(scene.meters["roof"]).deal_microcents == 120 * 14_000
    market.anchor()
    market.settle(kept, {index: one.contracted_wh for index, one in enumerate(kept.positions)})
    assert market.escrow() == 0


# ---- what comes after


def test_curtailed_positions_settle_correct_substitute_and_are_rewarded_as_the_rules_say(street: Street) -> None:
    market = street.market
    caps = curtailed(street, street.fair(EXPORTERS, 800), emergency=False)
    kept, _, _ = applied(market, street.kept, caps)
    market.anchor()
    solar, roof, gas, large, small = range(5)
    tokens = {one.owner: 0 for one in kept.positions}
    for metered in ({solar: 470, large: -900}, {roof: 300, small: -100}, {solar: 480, small: -601}):
        before = kept.positions
        kept, _ = market.settle(kept, metered)
        for trade in rewarded_trades(before, kept.positions, kept.deals):
            due, paid = trade.energy_wh * 322_000, trade.rewarded_wh * 322_000
            tokens[kept.positions[trade.sell].owner] += due // 2 - paid // 2
            tokens[kept.positions[trade.buy].owner] += (due - due // 2) - (paid - paid // 2)
        assert tokens == {owner: market.view("LowCarbonToken", "balanceOf", owner) for owner in tokens}
    assert sum(tokens.values()) == 322_000 * (480 + 300)
    market.move_to(END + market.policy.substitute_after_s)
    kept, _ = market.substitute(kept, [gas])
    assert kept.positions[gas].metered_wh == 0
    assert market.escrow() == 0


def test_a_seller_who_obeys_its_cap_owes_its_supplier_nothing(street: Street) -> None:
    market = street.market
    kept, _, _ = applied(market, street.kept, over(street, solar=250))
    market.anchor()
    free = market.free(street.meters["solar"].owner)
    lock = kept.position_of(street.meters["solar"]).locked_microcents
    assert lock == 250 * (SHORTAGE - PRICE)
    market.settle(kept, {kept.index_of(street.meters["solar"]): 250})
    assert market.free(street.meters["solar"].owner) - free == lock + 250 * PRICE


# ---- chunks

CUT: tuple[tuple[dict[str, int], tuple[str, ...]], ...] = (
    ({"second": 400, "first": 100, "small": 500}, ("first",)),
    ({"first": 500, "third": 300, "large": 800}, ()),
)


@pytest.mark.parametrize(("cap_wh", "left_wh"), [(0, (0, 0)), (60, (60, 0)), (100, (100, 0)), (350, (100, 250))])
def test_a_meter_that_goes_on_keeps_its_cap_over_all_its_chunks(
    market: Market, cap_wh: int, left_wh: tuple[int, int]
) -> None:
    scene = ChunkScene.of(market)
    chunks = scene.accepted(market, *CUT)
    curtailer = Curtailer.of(market, chunks, list(scene.meters.values()))
    caps = {scene.meter("first"): cap_wh}
    curtailer.curtail(caps, emergency=True)
    market.pass_mtu()
    first, _, _ = applied(market, chunks[0], caps)
    second, _, _ = applied(market, chunks[1], caps, before=[first])
    meter = scene.meters["first"]
    assert (first.position_of(meter).quantity_wh, second.position_of(meter).quantity_wh) == left_wh
    assert second.position_of(meter).prior_wh == left_wh[0]
    market.anchor()
    readings = {"first": cap_wh + 7, "second": 400, "third": 290, "large": -800, "small": -510}
    by_meter = {scene.meter(name): wh for name, wh in readings.items()}
    for kept in (first, second):
        market.settle(kept, {index: by_meter[one.meter] for index, one in enumerate(kept.positions)})
    assert market.escrow() == 0


def test_a_consumer_that_goes_on_keeps_its_import_cap_too(market: Market) -> None:
    scene = ChunkScene.of(market)
    chunks = scene.accepted(
        market,
        ({"first": 600, "second": 400, "small": 500, "large": 500}, ("large",)),
        ({"third": 300, "large": 300}, ()),
    )
    curtailer = Curtailer.of(market, chunks, list(scene.meters.values()))
    caps = {scene.meter("large"): 550}
    curtailer.curtail(caps, emergency=True, direction=int(IMPORT))
    market.pass_mtu()
    first, _, _ = applied(market, chunks[0], caps, direction=IMPORT)
    second, _, _ = applied(market, chunks[1], caps, direction=IMPORT, before=[first])
    large = scene.meters["large"]
    assert (first.position_of(large).quantity_wh, second.position_of(large).quantity_wh) == (500, 50)


def test_chunks_go_in_their_order_each_once(market: Market) -> None:
    scene = ChunkScene.of(market)
    chunks = scene.accepted(market, *CUT)
    curtailer = Curtailer.of(market, chunks, list(scene.meters.values()))
    caps = {scene.meter("first"): 50}
    curtailer.curtail(caps, emergency=True)
    market.pass_mtu()
    with market.refuses("ChunksOutOfSequence", 0, 1):
        apply(market, chunks[1], caps)
    first, _, _ = applied(market, chunks[0], caps)
    for again in (chunks[0], first):
        with market.refuses("CapsAlreadyApplied", ZONE, FIRST_MTU, 0):
            apply(market, again, caps)
    market.anchor()
    with market.refuses("CapsNotApplied", ZONE, FIRST_MTU):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(chunks[1], [0], [0]))
    market.settle(first, {0: 1})
    second, _, _ = applied(market, chunks[1], caps, before=[first])
    with market.refuses("NotCleared", ZONE, FIRST_MTU):
        market.send(
            market.outsider,
            "EnergyCurtailment",
            "applyCaps",
            ZONE,
            FIRST_MTU,
            2,
            *apply_arguments(second, caps)[3:],
        )


# ---- what is refused

bad = Spoils()
Refused = tuple[list[Any], tuple[Any, ...]]


def apply(market: Market, kept: Kept, caps: dict[int, int]) -> None:
    """Somebody tries."""
    market.send(market.outsider, "EnergyCurtailment", "applyCaps", *apply_arguments(kept, caps))


@bad
def before_any_answer(street: Street) -> Refused:
    street.market.pass_mtu()
    return apply_arguments(street.kept, street.caps(gas=0)), ("DispatchNotCurtailed", ZONE, FIRST_MTU)


@bad
def of_an_acknowledged_schedule(street: Street) -> Refused:
    street.market.answer(ACKNOWLEDGED)
    street.market.pass_mtu()
    return apply_arguments(street.kept, street.caps(gas=0)), ("DispatchNotCurtailed", ZONE, FIRST_MTU)


@bad
def of_a_stopped_schedule(street: Street) -> Refused:
    street.operator.curtail(street.caps(gas=0))
    street.market.stop()
    street.market.pass_mtu()
    return apply_arguments(street.kept, street.caps(gas=0)), ("DispatchNotCurtailed", ZONE, FIRST_MTU)


@bad
def of_an_mtu_nothing_was_scheduled_for(street: Street) -> Refused:
    later = FIRST_MTU + MTU_LENGTH_S
    arguments = apply_arguments(street.kept, over(street, gas=0))
    arguments[1] = later
    return arguments, ("DispatchNotCurtailed", ZONE, later)


@bad
def before_the_mtu_is_over(street: Street) -> Refused:
    caps = over(street, gas=0)
    street.market.move_to(END - 1)
    return apply_arguments(street.kept, caps), ("CurtailmentTooEarly", FIRST_MTU, END, END - 1)


@bad
def twice(street: Street) -> Refused:
    caps = over(street, gas=0)
    applied(street.market, street.kept, caps)
    return apply_arguments(street.kept, caps), ("CapsAlreadyApplied", ZONE, FIRST_MTU, 0)


@bad
def of_a_chunk_there_is_not(street: Street) -> Refused:
    arguments = apply_arguments(street.kept, over(street, gas=0))
    arguments[2] = 1
    return arguments, ("ChunksOutOfSequence", 0, 1)


def _other_caps(street: Street, presented: list[dict[str, int]]) -> Refused:
    caps = over(street, gas=10)
    arguments = apply_arguments(street.kept, caps)
    right, wrong = (street.market.view("EnergyDispatching", "hashCaps", one) for one in (arguments[5], presented))
    arguments[5] = presented
    return arguments, ("CapsDiffer", right, wrong)


@bad
def with_a_lower_cap(street: Street) -> Refused:
    return _other_caps(street, [{"meter": street.number("gas"), "capWh": 9}])


@bad
def with_another_meter_s_cap(street: Street) -> Refused:
    return _other_caps(street, [{"meter": street.number("solar"), "capWh": 10}])


@bad
def with_a_cap_more(street: Street) -> Refused:
    rows = [{"meter": street.number("roof"), "capWh": 0}, {"meter": street.number("gas"), "capWh": 10}]
    return _other_caps(street, rows)


@bad
def without_caps(street: Street) -> Refused:
    return _other_caps(street, [])


@bad
def with_the_caps_of_an_earlier_curtailment(street: Street) -> Refused:
    first = street.caps(gas=0)
    street.operator.curtail(first)
    street.operator.curtail(street.caps(gas=5), emergency=True, sequence=1)
    street.market.pass_mtu()
    hashes = [
        street.market.view("EnergyDispatching", "hashCaps", [{"meter": street.number("gas"), "capWh": wh}])
        for wh in (5, 0)
    ]
    return apply_arguments(street.kept, first), ("CapsDiffer", *hashes)


def _forged(street: Street, kept: Kept) -> Refused:
    arguments = apply_arguments(kept, over(street, gas=10))
    return arguments, ("StateMismatch", street.kept.state_hash(), kept.state_hash())


@bad
def of_positions_in_another_order(street: Street) -> Refused:
    kept = street.kept
    return _forged(street, Kept(zone=ZONE, mtu_start=FIRST_MTU, positions=kept.positions[::-1]))


@bad
def of_positions_without_the_last(street: Street) -> Refused:
    kept = street.kept
    return _forged(street, Kept(zone=ZONE, mtu_start=FIRST_MTU, positions=kept.positions[:-1]))


@bad
def of_a_deal_nobody_made(street: Street) -> Refused:
    deal = Trade(sell=0, buy=3, energy_wh=1, price_cents_per_mwh=PRICE)
    return _forged(street, Kept(zone=ZONE, mtu_start=FIRST_MTU, positions=street.kept.positions, deals=(deal,)))


@pytest.mark.parametrize("name", bad)
def test_caps_are_not_applied(street: Street, name: str) -> None:
    arguments, (error, *values) = bad[name](street)
    with street.market.refuses(error, *values):
        street.market.send(street.market.outsider, "EnergyCurtailment", "applyCaps", *arguments)


@pytest.mark.parametrize("function", ["settle", "settleSubstitutes", "refund"])
def test_nothing_settles_before_caps_are_applied(street: Street, function: str) -> None:
    market, kept = street.market, street.kept
    over(street, gas=10)
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == CAPPED
    market.anchor()
    market.move_to(END + market.policy.substitute_after_s)
    arguments = settle_arguments(kept, [0], [600]) if function == "settle" else kept.arguments([0])
    error = "DispatchProceeds" if function == "refund" else "CapsNotApplied"
    with market.refuses(error, ZONE, FIRST_MTU):
        market.send(market.market_operator, "EnergySettlement", function, *arguments)
    after, _, _ = applied(market, kept, street.caps(gas=10))
    with market.refuses("DispatchProceeds", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergySettlement", "refund", *after.arguments([0]))


def test_a_suspended_member_and_a_halted_zone_get_their_refunds(street: Street) -> None:
    market = street.market
    caps = over(street, gas=0)
    market.suspend(street.meters["small"].owner)
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, True)
    before = market.free(street.meters["small"].owner)
    applied(market, street.kept, caps)
    assert market.free(street.meters["small"].owner) - before == 500 * (PRICE + FEE)
