"""Money of locking and settling: nothing divides, the lock covers everything the escrow pays, sums are zero."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridledger.market.errors import NothingToCorrect, VersionsUsedUp
from gridledger.market.model import Position, Side, Trade
from gridledger.market.pairing import derive_trades
from gridledger.market.settlement import (
    LAST_VERSION,
    RewardedTrade,
    buyer_lock_microcents,
    fulfilled_wh,
    grid_fee_microcents,
    imbalance_microcents,
    position_cash,
    refund_positions,
    rewarded_trades,
    seller_lock_microcents,
    served_wh,
    settle_positions,
    substitute_positions,
    substitute_wh,
    trade_microcents,
    worst_case_microcents,
)

prices = st.integers(-(2**24), 2**24)
energies = st.integers(0, 2**24)
offsets = st.integers(0, 2**20)


def position(contracted_wh: int, metered_wh: int = 0, *, settled: bool = False, **changes: object) -> Position:
    """A low-carbon position that sells (contracted above zero) or buys everything in the auction."""
    opened = Position(
        meter=1,
        owner="0x" + "aa" * 20,
        supplier_number=1,
        source=1,
        sells=contracted_wh > 0,
        capacity_w=8_000,
        auction_wh=abs(contracted_wh),
        settled=settled,
        metered_wh=metered_wh,
    )
    return replace(opened, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("price", "expected"), [(15_000, 9_000_000), (0, 0), (-15_000, 0)])
def test_a_buyer_locks_the_price_and_never_less_than_nothing(price: int, expected: int) -> None:
    assert buyer_lock_microcents(600, price) == expected


@pytest.mark.parametrize(
    ("price", "shortage", "expected"),
    [
        (15_000, 32_500, 600 * 17_500),
        (32_500, 32_500, 0),
        (40_000, 32_500, 0),
        (-5_000, 32_500, 600 * (5_000 + 37_500)),
        (-5_000, -6_000, 600 * 5_000),
        (0, 0, 0),
    ],
)
def test_a_seller_locks_a_negative_price_and_the_way_up_to_the_shortage_price(
    price: int, shortage: int, expected: int
) -> None:
    assert seller_lock_microcents(600, price, shortage) == expected


def test_low_carbon_energy_pays_the_fee_less_its_relief() -> None:
    assert grid_fee_microcents(600, 2_000, 1_500, low_carbon=True) == 600 * 500
    assert grid_fee_microcents(600, 2_000, 1_500, low_carbon=False) == 600 * 2_000


@settings(deadline=None)
@given(energies, prices, prices, offsets, offsets)
def test_no_price_an_order_s_limit_allows_locks_more_than_its_worst_case(
    energy_wh: int, limit: int, price: int, fee: int, above_cap: int
) -> None:
    shortage = max(limit, price) + above_cap
    bid = worst_case_microcents(Side.BUY, energy_wh, limit, fee, shortage)
    offer = worst_case_microcents(Side.SELL, energy_wh, limit, fee, shortage)
    if price <= limit:
        assert buyer_lock_microcents(energy_wh, price) + energy_wh * fee <= bid
    if price >= limit:
        assert seller_lock_microcents(energy_wh, price, shortage) <= offer


@settings(deadline=None)
@given(energies, prices, offsets, st.integers(0, 2**12))
def test_the_lock_covers_every_payment_out_of_the_escrow(
    energy_wh: int, price: int, above: int, fee_per_mwh: int
) -> None:
    """What is released after trade and fee is never negative, whatever the price."""
    fee = energy_wh * fee_per_mwh
    buyer_released = buyer_lock_microcents(energy_wh, price) + fee - energy_wh * price - fee
    seller_released = seller_lock_microcents(energy_wh, price, price + above) + energy_wh * price
    assert buyer_released >= 0
    assert seller_released >= 0


@settings(deadline=None)
@given(energies, prices, offsets)
def test_a_seller_who_delivers_nothing_pays_its_shortage_out_of_its_own_lock(
    energy_wh: int, price: int, above: int
) -> None:
    shortage = price + above
    cash = position_cash(position(energy_wh, sells=True), price, price, price - above, shortage)
    lock = seller_lock_microcents(energy_wh, price, shortage)
    assert lock + cash.trade_microcents + cash.imbalance_microcents >= 0


@pytest.mark.parametrize(
    ("metered", "contracted", "expected"),
    [
        (600, 600, 0),
        (700, 600, 100 * 7_500),
        (500, 600, -100 * 32_500),
        (-700, -600, -100 * 32_500),
        (-500, -600, 100 * 7_500),
        (50, -600, 650 * 7_500),
        (-50, 600, -650 * 32_500),
    ],
)
def test_a_surplus_is_sold_at_the_surplus_price_and_a_shortage_bought_at_the_shortage_price(
    metered: int, contracted: int, expected: int
) -> None:
    assert imbalance_microcents(position(contracted), metered, 7_500, 32_500) == expected


@settings(deadline=None)
@given(st.integers(-(2**24), 2**24), st.integers(-(2**24), 2**24), prices, offsets)
def test_a_wider_spread_of_imbalance_prices_never_pays_a_participant(
    metered: int, contracted: int, surplus: int, spread: int
) -> None:
    narrow = imbalance_microcents(position(contracted), metered, surplus, surplus)
    assert imbalance_microcents(position(contracted), metered, surplus, surplus + spread) <= narrow


def test_cash_of_a_position_is_its_trade_and_its_imbalance() -> None:
    sold = position_cash(position(600, 500), 15_000, 15_000, 7_500, 32_500)
    assert (sold.trade_microcents, sold.imbalance_microcents) == (600 * 15_000, -100 * 32_500)
    bought = position_cash(position(-600, -650), 15_000, 15_000, 7_500, 32_500)
    assert (bought.trade_microcents, bought.imbalance_microcents) == (-600 * 15_000, -50 * 32_500)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"source": 1}, 600 * 20_000),
        ({"source": 0}, 600 * 15_000),
        ({"source": 1, "dealt_wh": 100, "deal_microcents": 100 * 11_000}, 600 * 20_000 + 100 * 11_000),
    ],
)
def test_a_seller_is_paid_the_price_of_its_source_and_what_it_dealt(changes: dict[str, Any], expected: int) -> None:
    assert trade_microcents(position(600, **changes), 15_000, 20_000) == expected


def test_a_buyer_pays_each_part_at_its_product_s_price() -> None:
    mixed = position(-600, low_carbon_wh=50, dealt_wh=10, deal_microcents=-10 * 11_000)
    assert trade_microcents(mixed, 15_000, 20_000) == -(600 * 15_000 + 50 * 20_000 + 10 * 11_000)


def test_dealt_and_auctioned_energy_are_one_contract_for_the_imbalance() -> None:
    mixed = position(-600, low_carbon_wh=50, dealt_wh=10)
    assert imbalance_microcents(mixed, -660, 7_500, 32_500) == 0
    assert imbalance_microcents(mixed, -661, 7_500, 32_500) == -32_500


def test_a_meter_s_energy_fills_earlier_chunks_first_and_only_the_last_one_bears_the_rest() -> None:
    first = position(600, continued=True)
    last = position(300, prior_wh=600)
    for metered in (-100, 0, 500, 600, 700, 900, 1_000):
        together = position(900)
        parts = sum(imbalance_microcents(one, metered, 7_500, 32_500) for one in (first, last))
        assert parts == imbalance_microcents(together, metered, 7_500, 32_500)
    assert imbalance_microcents(first, 10_000, 7_500, 32_500) == 0


# ---- whole clearings


@st.composite
def clearings(draw: st.DrawFn) -> list[Position]:
    """Sellers and buyers whose energy is in balance, some settled and some of these on substitutes."""
    sellers, buyers = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pairs = st.tuples(st.integers(0, sellers - 1), st.integers(sellers, sellers + buyers - 1), st.integers(1, 1_000))
    energy_wh: dict[int, int] = defaultdict(int)
    for sell, buy, wh in draw(st.lists(pairs, max_size=6)):
        energy_wh[sell] += wh
        energy_wh[buy] += wh
    return [
        position(
            0,
            draw(st.integers(-3_000, 3_000)),
            settled=draw(st.booleans()),
            substitute=draw(st.booleans()),
            sells=index < sellers,
            auction_wh=energy_wh[index],
            owner=f"0x{index + 1:040x}",
            meter=index + 1,
            source=draw(st.integers(0, 1)),
        )
        for index in range(sellers + buyers)
    ]


@settings(max_examples=200, deadline=None)
@given(clearings(), prices)
def test_the_trade_cash_of_all_positions_sums_to_zero(positions: Sequence[Position], price: int) -> None:
    assert sum(position_cash(one, price, price, price, price).trade_microcents for one in positions) == 0


@settings(max_examples=300, deadline=None)
@given(clearings())
def test_served_energy_exceeds_neither_the_trade_nor_what_either_side_fulfilled(
    positions: Sequence[Position],
) -> None:
    trades = derive_trades(positions)
    served = served_wh(positions, trades)
    assert all(0 <= wh <= trade.energy_wh for wh, trade in zip(served, trades, strict=True))
    for index, one in enumerate(positions):
        total = sum(wh for wh, trade in zip(served, trades, strict=True) if index in (trade.sell, trade.buy))
        moved = max(0, one.metered_wh if one.sells else -one.metered_wh)
        assert total <= min(one.quantity_wh, moved if one.read else 0)


def test_fulfilled_energy_serves_a_position_s_trades_in_their_order() -> None:
    positions = [
        position(900, 500, settled=True),
        position(-600, -600, settled=True),
        position(-300, -300, settled=True),
    ]
    trades = [Trade(sell=0, buy=1, energy_wh=600), Trade(sell=0, buy=2, energy_wh=300)]
    assert served_wh(positions, trades) == (500, 0)


def test_what_the_buyer_did_not_consume_is_not_served_and_not_passed_on() -> None:
    positions = [
        position(900, 900, settled=True),
        position(-600, -200, settled=True),
        position(-300, -300, settled=True),
    ]
    trades = [Trade(sell=0, buy=1, energy_wh=600), Trade(sell=0, buy=2, energy_wh=300)]
    assert served_wh(positions, trades) == (200, 300)


def test_energy_against_the_contract_s_direction_serves_nobody() -> None:
    positions = [position(600, -600, settled=True), position(-600, 600, settled=True)]
    assert served_wh(positions, [Trade(sell=0, buy=1, energy_wh=600)]) == (0,)


def test_settling_some_positions_leaves_the_others_untouched() -> None:
    positions = [position(600), position(-600)]
    after = settle_positions(positions, {1: -580})
    assert (after[0], after[1].settled, after[1].metered_wh) == (positions[0], True, -580)
    assert positions[1].settled is False


def test_each_correction_is_a_new_version_and_the_first_settlement_is_none() -> None:
    versions: list[tuple[int, int, bool]] = []
    positions: tuple[Position, ...] = (position(600),)
    for metered_wh in (500, 510, 520):
        positions = settle_positions(positions, {0: metered_wh})
        versions.append((positions[0].version, positions[0].metered_wh, positions[0].read))
    assert versions == [(0, 500, True), (1, 510, True), (2, 520, True)]


def test_a_reading_that_says_the_same_again_corrects_nothing() -> None:
    positions = settle_positions([position(600)], {0: 500})
    with pytest.raises(NothingToCorrect) as refused:
        settle_positions(positions, {0: 500})
    assert refused.value.meter == positions[0].meter
    (substituted,) = substitute_positions([position(600)], [0])
    assert settle_positions([substituted], {0: 600})[0].version == 1


def test_the_last_version_is_never_corrected() -> None:
    last = replace(position(600), settled=True, version=LAST_VERSION - 1)
    (after,) = settle_positions([last], {0: 1})
    assert after.version == LAST_VERSION == 254
    with pytest.raises(VersionsUsedUp):
        settle_positions([after], {0: 2})


# ---- substitutes and refunds


@pytest.mark.parametrize(
    ("unread", "expected"),
    [(position(600), 600), (position(-600), -600), (position(300, prior_wh=600), 900)],
)
def test_an_unread_position_is_taken_as_delivered_and_consumed_as_contracted(unread: Position, expected: int) -> None:
    assert substitute_wh(unread) == expected
    (settled,) = substitute_positions([unread], [0])
    assert (settled.settled, settled.substitute, settled.read, settled.metered_wh) == (True, True, False, expected)
    assert imbalance_microcents(settled, settled.metered_wh, 7_500, 32_500) == 0


def test_a_substitute_is_marked_fulfils_nothing_and_gives_way_to_a_reading() -> None:
    (substituted,) = substitute_positions([position(600)], [0])
    assert fulfilled_wh(substituted) == 0
    (read,) = settle_positions([substituted], {0: 550})
    assert (read.substitute, read.version, read.metered_wh, fulfilled_wh(read)) == (False, 1, 550, 550)


def test_substituting_or_refunding_some_leaves_the_others_untouched() -> None:
    positions = [position(600), position(-600)]
    assert substitute_positions(positions, [1])[0] == refund_positions(positions, [1])[0] == positions[0]
    refunded = refund_positions(positions, [1])[1]
    assert (refunded.settled, refunded.read, refunded.metered_wh) == (True, False, 0)


# ---- rewards


def test_a_reward_is_due_when_the_second_side_is_read_and_never_again() -> None:
    half = settle_positions([position(600, meter=1), position(-600, meter=2, owner="0x" + "bb" * 20)], {0: 550})
    assert rewarded_trades(half, half, ()) == ()
    whole = settle_positions(half, {1: -580})
    assert rewarded_trades(half, whole, ()) == (RewardedTrade(sell=0, buy=1, energy_wh=550),)
    assert rewarded_trades(whole, whole, ()) == ()


def test_a_correction_is_rewarded_with_the_difference_to_what_was_rewarded_before() -> None:
    pair = [position(600, meter=1), position(-600, meter=2, owner="0x" + "bb" * 20)]
    first = settle_positions(pair, {0: 550, 1: -580})
    less = settle_positions(first, {0: 500})
    assert rewarded_trades(first, less, ()) == (RewardedTrade(sell=0, buy=1, energy_wh=500, rewarded_wh=550),)
    unchanged = settle_positions(first, {1: -570})  # the seller's 550 Wh are still the smaller side
    assert rewarded_trades(first, unchanged, ()) == ()
    nothing = settle_positions(first, {0: -10})
    assert rewarded_trades(first, nothing, ()) == (RewardedTrade(sell=0, buy=1, energy_wh=0, rewarded_wh=550),)


def test_a_substitute_earns_nothing_until_its_meter_is_read() -> None:
    pair = [position(600, meter=1), position(-600, meter=2, owner="0x" + "bb" * 20)]
    waiting = substitute_positions(settle_positions(pair, {0: 550}), [1])
    assert rewarded_trades(pair, waiting, ()) == ()
    read = settle_positions(waiting, {1: -500})
    assert rewarded_trades(waiting, read, ()) == (RewardedTrade(sell=0, buy=1, energy_wh=500),)


def test_energy_without_a_low_carbon_source_earns_nothing() -> None:
    pair = [position(600, meter=1, source=0), position(-600, meter=2, owner="0x" + "bb" * 20)]
    assert rewarded_trades(pair, settle_positions(pair, {0: 600, 1: -600}), ()) == ()


def test_a_deal_is_served_and_rewarded_before_the_auction_s_trades() -> None:
    pair = [
        position(400, meter=1, dealt_wh=200),
        position(0, meter=2, dealt_wh=200, owner="0x" + "bb" * 20),
        position(-400, meter=3, owner="0x" + "cc" * 20),
    ]
    deals = (Trade(sell=0, buy=1, energy_wh=200),)
    read = settle_positions(pair, {0: 300, 1: -200, 2: -400})
    assert rewarded_trades(pair, read, deals) == (
        RewardedTrade(sell=0, buy=1, energy_wh=200),
        RewardedTrade(sell=0, buy=2, energy_wh=100),
    )
