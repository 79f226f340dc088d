"""What settling, substituting, correcting and refunding pay, and what they reward.

Every accepted settlement is compared with the node's rules by the harness: state hash, every account, debts, escrow.
The pair trades 600 Wh at 15,000 cents per MWh; surplus 7,500, shortage 32,500, fee 1,000 for low-carbon energy.
"""

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    EUR,
    FIRST_MTU,
    PROCEEDS,
    VOID,
    ZONE,
    Market,
    Pair,
    actor,
    settle_arguments,
)
from tests.contracts.scenes import MergedScene, SeparateScene

from gridledger.chain.plan import PolicyParameters

SURPLUS, SHORTAGE, FEE = 7_500, 32_500, 1_000
AVOIDED_PER_WH = 363_000 - 41_000
END = FIRST_MTU + 900
DAY = 86_400


def test_contracted_energy_is_paid_at_its_price_and_the_fee_goes_to_the_grid_operator(market: Market) -> None:
    pair = Pair.of(market)
    kept, receipt = market.settle(pair.delivered(market), {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == 10 * EUR + 600 * 15_000
    assert market.free(pair.buyer.owner) == 10 * EUR - 600 * 16_000
    assert market.free(market.grid_operator) == 600 * FEE
    assert market.escrow() == 0
    settled = [event.arguments for event in receipt.named("PositionSettled")]
    assert [(one["meter"], one["meteredWh"], one["imbalanceMicrocents"]) for one in settled] == [
        (pair.seller.number, 600, 0),
        (pair.buyer.number, -600, 0),
    ]
    assert receipt.one("SettlementProgressed")["openPositions"] == 0
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["openPositions"] == 0
    assert [one.version for one in kept.positions] == [0, 0]


@pytest.mark.parametrize(
    ("index", "metered", "imbalance"),
    [
        (0, 700, 100 * SURPLUS),
        (0, 500, -100 * SHORTAGE),
        (0, 0, -600 * SHORTAGE),
        (0, -50, -650 * SHORTAGE),
        (1, -700, -100 * SHORTAGE),
        (1, -500, 100 * SURPLUS),
        (1, 0, 600 * SURPLUS),
        (1, 40, 640 * SURPLUS),
    ],
)
def test_what_was_not_contracted_is_settled_with_the_supplier(
    market: Market, index: int, metered: int, imbalance: int
) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept = pair.delivered(market)
    _, receipt = market.settle(kept, {index: metered})
    assert receipt.one("PositionSettled")["imbalanceMicrocents"] == imbalance
    assert market.free(market.supplier) == EUR - imbalance
    assert market.debt(pair.seller.owner, market.supplier) == 0


def test_the_lock_covers_the_whole_shortage_of_an_idle_seller(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.withdraw(pair.seller.owner, market.free(pair.seller.owner))
    market.deliver()
    market.settle(kept, {0: 0})
    assert market.free(pair.seller.owner) == 0
    assert market.debt(pair.seller.owner, market.supplier) == 0


def test_what_cannot_be_collected_becomes_a_debt_that_can_be_paid(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    buyer = pair.buyer.owner
    market.withdraw(buyer, market.free(buyer) - 5)
    market.deliver()
    market.settle(kept, {1: -1_000})
    assert market.free(buyer) == 0
    assert market.debt(buyer, market.supplier) == 400 * SHORTAGE - 5
    market.fund(buyer, EUR)
    market.send(buyer, "EnergyTrading", "payDebt", market.supplier.address, 400 * SHORTAGE - 5)
    assert market.debt(buyer, market.supplier) == 0
    assert market.free(market.supplier) == 400 * SHORTAGE


def test_a_supplier_without_money_owes_its_customers(market: Market) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 1_600})
    assert market.debt(market.supplier, pair.seller.owner) == 1_000 * SURPLUS
    assert market.free(pair.seller.owner) == 10 * EUR + 600 * 15_000


def test_members_of_two_suppliers_settle_each_with_its_own(market: Market) -> None:
    pair = Pair.of(market)
    other = market.consumer("customer", supplier=market.other_supplier)
    bid = market.order(other, 0, 100, 20_000)
    offer = market.order(market.producer("roof"), 1, 100, 9_000)
    for supplier in (market.supplier, market.other_supplier):
        market.deposit(supplier, EUR)
    kept = market.clear_book([*pair.book, offer, bid])
    market.deliver()
    market.settle(kept, {index: one.contracted_wh + 10 for index, one in enumerate(kept.positions)})
    assert market.free(market.supplier) == EUR - 30 * SURPLUS
    assert market.free(market.other_supplier) == EUR - 10 * SURPLUS


def test_a_dead_meter_waits_alone(market: Market) -> None:
    scene = MergedScene.of(market)
    kept = scene.kept(market)
    market.deliver()
    dead = kept.index_of(scene.meters["green"])
    alive = {index: one.contracted_wh for index, one in enumerate(kept.positions) if index != dead}
    kept, receipt = market.settle(kept, alive)
    assert receipt.one("SettlementProgressed")["openPositions"] == 1
    # Its price has gone to the sellers; what waits is its fee.
    assert market.escrow() == kept.positions[dead].fee_microcents == 300 * FEE
    assert market.free(scene.meters["solar"].owner) == 10 * EUR + 600 * 13_000
    market.move_to(END + 30 * DAY)
    kept, _ = market.settle(kept, {dead: -300})
    assert market.escrow() == 0


def test_positions_settle_in_any_order_and_number(market: Market) -> None:
    scene = SeparateScene.of(market)
    kept = scene.kept(market)
    market.deliver()
    for index in (3, 0, 2, 1):
        kept, _ = market.settle(kept, {index: kept.positions[index].contracted_wh})
    assert market.escrow() == 0


# --- rewards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivered", "consumed", "served"),
    [(600, 600, 600), (450, 600, 450), (600, 200, 200), (900, 900, 600), (0, 600, 0), (-5, 600, 0), (600, -5, 0)],
)
def test_low_carbon_energy_is_rewarded_as_far_as_delivered_and_consumed(
    market: Market, delivered: int, consumed: int, served: int
) -> None:
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: delivered, 1: -consumed})
    total = served * AVOIDED_PER_WH
    assert (market.tokens(pair.seller.owner), market.tokens(pair.buyer.owner)) == (total // 2, total - total // 2)


def test_a_trade_is_rewarded_once_when_its_second_side_is_read(market: Market) -> None:
    pair = Pair.of(market)
    kept, receipt = market.settle(pair.delivered(market), {1: -600})
    assert receipt.named("RewardsGranted") == ()
    kept, receipt = market.settle(kept, {0: 500})
    assert receipt.one("RewardsGranted")["energyWh"] == 500
    _, receipt = market.settle(kept, {1: -580})  # the seller's 500 Wh are still the smaller side
    assert receipt.named("RewardsGranted") == receipt.named("RewardsCorrected") == ()
    assert market.view("LowCarbonToken", "totalSupply") == 500 * AVOIDED_PER_WH


def test_corrections_change_the_reward_to_what_the_last_reading_is_worth(market: Market) -> None:
    pair = Pair.of(market)
    kept, _ = market.settle(pair.delivered(market), {0: 500, 1: -600})
    for seller_wh, served_wh, before_wh in ((555, 555, 500), (601, 600, 555), (-3, 0, 600), (77, 77, 0)):
        kept, receipt = market.settle(kept, {0: seller_wh})
        corrected = receipt.one("RewardsCorrected")
        assert (corrected["energyWh"], corrected["totalUgco2"]) == (
            served_wh - before_wh,
            (served_wh - before_wh) * AVOIDED_PER_WH,
        )
        total = served_wh * AVOIDED_PER_WH
        seller, buyer = (market.view("LowCarbonToken", "balanceOf", one.owner) for one in kept.positions)
        assert (seller, buyer) == (total // 2, total - total // 2)


def test_tokens_a_holder_has_passed_on_are_owed_and_collected_when_there_are_some_again(market: Market) -> None:
    pair = Pair.of(market)
    kept, _ = market.settle(pair.delivered(market), {0: 600, 1: -600})
    seller, share = kept.positions[0].owner, 300 * AVOIDED_PER_WH
    market.send(seller, "LowCarbonToken", "transfer", market.outsider.address, share - 10)
    kept, receipt = market.settle(kept, {0: 0})
    debt = receipt.one("TokensOwed")
    assert (debt["holder"], debt["mtuStart"], debt["amountUgco2"]) == (seller, FIRST_MTU, share - 10)
    assert market.view("LowCarbonToken", "balanceOf", seller) == 0
    with market.refuses("NothingToCollect", seller, share - 10):
        market.send(market.outsider, "CarbonLedger", "collectOwed", seller)
    market.send(market.outsider, "LowCarbonToken", "transfer", seller, 7)
    market.send(market.outsider, "CarbonLedger", "collectOwed", seller)
    assert market.view("CarbonLedger", "owedUgco2Of", seller) == share - 17
    market.send(market.outsider, "LowCarbonToken", "transfer", seller, share - 17)
    market.send(market.outsider, "CarbonLedger", "collectOwed", seller)
    assert market.view("CarbonLedger", "owedUgco2Of", seller) == 0
    assert market.view("LowCarbonToken", "totalSupply") == 0


def test_a_substitute_earns_nothing_until_it_is_read(market: Market) -> None:
    pair = Pair.of(market)
    kept, _ = market.settle(pair.delivered(market), {0: 600})
    market.move_to(END + market.policy.substitute_after_s)
    kept, receipt = market.substitute(kept, [1])
    assert receipt.named("RewardsGranted") == ()
    _, receipt = market.settle(kept, {1: -250})
    assert receipt.one("RewardsGranted")["energyWh"] == 250


def test_other_sources_earn_nothing(market: Market) -> None:
    pair = Pair.of(market, source=0)
    _, receipt = market.settle(pair.delivered(market), {0: 600, 1: -600})
    assert receipt.named("RewardsGranted") == ()
    assert market.free(market.grid_operator) == 600 * 2_000


# --- substitutes ------------------------------------------------------------------------------------------------------


def test_an_unread_position_settles_on_its_contract_after_the_policy_s_time(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    earliest = END + market.policy.substitute_after_s
    market.move_to(earliest - 1)
    with market.refuses("SubstituteTooEarly", FIRST_MTU, earliest, earliest - 1):
        market.send(market.outsider, "EnergySettlement", "settleSubstitutes", *kept.arguments([0, 1]))
    market.move_to(earliest)
    kept, receipt = market.substitute(kept, [0, 1])
    shown = [event.arguments for event in receipt.named("PositionSubstituted")]
    assert [(one["substituteWh"], one["imbalanceMicrocents"]) for one in shown] == [(600, 0), (-600, 0)]
    assert market.free(pair.seller.owner) == 10 * EUR + 600 * 15_000
    assert market.escrow() == 0
    assert all(one.substitute for one in kept.positions)


def test_substitutes_need_no_anchored_reading(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.answer(ACKNOWLEDGED)
    market.move_to(END + market.policy.substitute_after_s)
    assert market.view("MeterLedger", "anchors")[1] == 0
    market.substitute(kept, [0, 1])
    assert market.escrow() == 0


def test_a_reading_replaces_a_substitute_by_its_difference(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept = pair.delivered(market)
    market.move_to(END + market.policy.substitute_after_s)
    kept, _ = market.substitute(kept, [0, 1])
    kept, receipt = market.settle(kept, {0: 550})
    event = receipt.one("PositionResettled")
    assert (event["version"], event["meteredWh"], event["deltaMicrocents"]) == (1, 550, -50 * SHORTAGE)
    assert not kept.positions[0].substitute
    assert market.free(pair.seller.owner) == 10 * EUR + 600 * 15_000 - 50 * SHORTAGE
    assert market.free(market.grid_operator) == 600 * FEE


def test_substitutes_are_possible_long_after_the_last_correction(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.move_to(END + market.policy.correction_s + 1_000 * DAY)
    market.substitute(kept, [0, 1])
    assert market.escrow() == 0


# --- corrections ------------------------------------------------------------------------------------------------------


def test_a_correction_is_a_numbered_version_and_pays_the_difference_only(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept, _ = market.settle(pair.delivered(market), {0: 600, 1: -600})
    before = market.free(pair.seller.owner)
    for version, (metered, delta) in enumerate(
        [(500, -100 * SHORTAGE), (650, 100 * SHORTAGE + 50 * SURPLUS), (600, -50 * SURPLUS)], start=1
    ):
        kept, receipt = market.settle(kept, {0: metered})
        event = receipt.one("PositionResettled")
        assert (event["meter"], event["version"], event["deltaMicrocents"]) == (pair.seller.number, version, delta)
        assert kept.positions[0].version == version
    assert market.free(pair.seller.owner) == before
    assert market.free(market.supplier) == EUR
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["openPositions"] == 0


def test_first_settlements_and_corrections_go_together(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept, _ = market.settle(pair.delivered(market), {0: 600})
    _, receipt = market.settle(kept, {0: 580, 1: -640})
    assert [event.name for event in receipt.events[:2]] == ["PositionResettled", "PositionSettled"]
    assert market.escrow() == 0


def test_readings_are_taken_until_corrections_end(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept, _ = market.settle(pair.delivered(market), {0: 600})
    deadline = END + market.policy.correction_s
    market.move_to(deadline)
    kept, _ = market.settle(kept, {0: 599})
    market.move_to(deadline + 1)
    for index, value in ((0, 598), (1, -600)):
        with market.refuses("CorrectionsEnded", FIRST_MTU, deadline, deadline + 1):
            market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [index], [value]))
    market.substitute(kept, [1])
    assert market.escrow() == 0


def test_the_last_version_is_never_corrected_so_that_no_settlement_can_be_repeated(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept, seen = pair.delivered(market), set[bytes]()
    for step in range(255):
        arguments = settle_arguments(kept, [0], [600 - step % 2])
        market.send(market.market_operator, "EnergySettlement", "settle", *arguments)
        kept = kept.settled({0: 600 - step % 2})
        assert market.view("EnergyTrading", "stateHashOf", ZONE, FIRST_MTU, 0) == kept.state_hash()
        seen.add(kept.state_hash())
    assert (kept.positions[0].version, kept.positions[0].capacity_w) == (254, 40_000)
    assert len(seen) == 255
    for value in (599, 601):
        with market.refuses("VersionsUsedUp", pair.seller.number):
            market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [0], [value]))
    market.settle(kept, {1: -600})


def test_a_reading_that_says_the_same_again_corrects_nothing(market: Market) -> None:
    pair = Pair.of(market)
    market.deposit(market.supplier, EUR)
    kept, _ = market.settle(pair.delivered(market), {0: 600})
    with market.refuses("NothingToCorrect", pair.seller.number):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [1, 0], [-600, 600]))
    with market.refuses("NothingToCorrect", pair.buyer.number):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [1, 1], [-6, -6]))


def test_a_reading_that_says_what_the_substitute_said_replaces_it(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.move_to(END + market.policy.substitute_after_s)
    kept, _ = market.substitute(kept, [0, 1])
    kept, _ = market.settle(kept, {0: 600, 1: -600})
    assert [(one.version, one.substitute) for one in kept.positions] == [(1, False), (1, False)]


# --- void dispatch and halts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "unanswered where that means void"])
def test_anybody_releases_the_locks_of_a_void_schedule(how: str) -> None:
    market = Market(policy=PolicyParameters(proceed_without_answer=False))
    pair = Pair.of(market)
    kept = pair.cleared(market)
    if how == "stopped":
        market.stop(reason=3)
    else:
        market.move_to(FIRST_MTU - 59)
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == VOID
    kept, receipt = market.refund(kept, [0])
    event = receipt.one("PositionRefunded")
    assert (event["meter"], event["lockedMicrocents"]) == (pair.seller.number, 600 * 17_500)
    assert market.free(pair.seller.owner) == 10 * EUR
    market.refund(kept, [1])
    assert market.free(pair.buyer.owner) == 10 * EUR
    assert market.escrow() == market.free(market.grid_operator) == 0


def test_an_unanswered_schedule_proceeds_where_the_policy_says_so(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    market.pass_mtu()
    market.anchor()
    assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == PROCEEDS
    market.settle(kept, {0: 600, 1: -600})


@pytest.mark.parametrize("zone", [0, ZONE])
def test_a_halt_traps_nobody_s_money(market: Market, zone: int) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    later = FIRST_MTU + 900 * 4
    other = Pair(
        seller=pair.seller,
        buyer=pair.buyer,
        offer=market.order(pair.seller, 1, 100, 10_000, mtu_start=later),
        bid=market.order(pair.buyer, 0, 100, 20_000, mtu_start=later),
        mtu_start=later,
    )
    void = other.cleared(market)
    market.stop(later)
    market.send(market.regulator, "GridPolicy", "setHalted", zone, True)
    market.suspend(pair.buyer.owner)
    market.settle(kept, {0: 600, 1: -600})
    market.refund(void, [0, 1])
    assert market.escrow() == 0
    for meter in (pair.seller, pair.buyer):
        market.withdraw(meter.owner, market.free(meter.owner))
        assert market.free(meter.owner) == 0


def test_a_halt_does_not_stop_substitutes(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.delivered(market)
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    market.move_to(END + market.policy.substitute_after_s)
    market.substitute(kept, [0, 1])
    assert market.escrow() == 0


def test_credit_used_by_a_lock_is_repaid_by_the_settlement(market: Market) -> None:
    pair = Pair.of(market, eur=0)
    market.deposit(market.supplier, EUR)
    for meter in (pair.seller, pair.buyer):
        market.set_credit(meter.owner, 20_000_000)
    market.settle(pair.delivered(market), {0: 600, 1: -600})
    assert market.free(pair.seller.owner) == 600 * 15_000
    assert market.free(pair.buyer.owner) == -600 * 16_000


def test_many_positions_settle_at_once(market: Market) -> None:
    sellers = market.register_many([actor(f"seller {number}") for number in range(60)], 4_000, 40_000, 1)
    buyers = market.register_many([actor(f"buyer {number}") for number in range(60)])
    for meter in (*sellers, *buyers):
        market.deposit(meter.owner, EUR)
    market.deposit(market.supplier, 10 * EUR)
    book = [market.order(meter, 1, 300 + 7 * number, 9_000 + 97 * number) for number, meter in enumerate(sellers)]
    book += [market.order(meter, 0, 900 - 5 * number, 31_000 - 89 * number) for number, meter in enumerate(buyers)]
    kept = market.clear_book(book)
    market.deliver()
    metered = {index: one.contracted_wh + 37 * (index % 5 - 2) for index, one in enumerate(kept.positions)}
    assert len(metered) > 90
    market.settle(kept, metered)
    assert market.escrow() == 0
