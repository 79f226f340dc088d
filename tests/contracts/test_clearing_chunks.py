"""A clearing too large for one transaction comes in chunks: meters go on, nothing is filled twice, nothing is trapped.

The scene is scenes.ChunkScene: everything trades at 15,000. Prices in cents per MWh, energy in Wh.
"""

from typing import Any

import pytest
from tests.contracts.harness import (
    BUY,
    CLEARED,
    EUR,
    FIRST_MTU,
    NOT_SCHEDULED,
    PARTIAL,
    SELL,
    ZONE,
    ClearingData,
    Kept,
    Market,
    settle_arguments,
)
from tests.contracts.scenes import ChunkScene, Spoils
from tests.contracts.setpoints import schedule_hash

from gridledger.market.model import Product

WHOLE = {"first": 600, "second": 400, "third": 300, "large": 800, "small": 500}
SELLER_GOES_ON = (
    ({"second": 400, "first": 100, "small": 500}, ("first",)),
    ({"first": 500, "third": 300, "large": 800}, ()),
)
BUYER_GOES_ON = (
    ({"second": 400, "first": 600, "small": 500, "large": 500}, ("large",)),
    ({"third": 300, "large": 300}, ()),
)
BOTH_GO_ON_TWICE = (
    ({"second": 400, "first": 200, "small": 500, "large": 100}, ("first", "large")),
    ({"first": 150, "large": 150}, ("first", "large")),
    ({"first": 250, "third": 300, "large": 550}, ()),
)
CUTS = {"a seller goes on": SELLER_GOES_ON, "a buyer goes on": BUYER_GOES_ON, "both go on twice": BOTH_GO_ON_TWICE}


@pytest.mark.parametrize("cut", CUTS)
def test_the_last_chunk_completes_the_clearing_in_which(market: Market, cut: str) -> None:
    scene = ChunkScene.of(market)
    scene.commit(market)
    prior: dict[str, int] = {}
    parts = CUTS[cut]
    for number, (fills, continued) in enumerate(parts):
        last = number == len(parts) - 1
        before = {name: wh for name, wh in prior.items() if name in fills}
        clearing, kept = scene.part(market, number, fills, continued=continued, prior_wh=before, last=last)
        receipt = market.accept(clearing, kept)
        prior |= {name: before.get(name, 0) + fills[name] for name in continued}
        state = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)
        assert (state["status"], state["chunkCount"]) == (CLEARED if last else PARTIAL, number + 1)
        if not last:
            assert market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU) == NOT_SCHEDULED
            continue
        scheduled = receipt.one("DispatchScheduled")
        assert (scheduled["tradedWh"], scheduled["scheduleHash"]) == (
            1_300,
            schedule_hash(state["resultHash"], clearing["setpointsRoot"]),
        )
        assert state["openPositions"] == sum(len(fills) for fills, _ in parts)


def settle_all(market: Market, chunks: list[Kept], metered_wh: dict[int, int]) -> None:
    """Settle every chunk on the readings of the meters."""
    market.deliver()
    for kept in chunks:
        market.settle(kept, {index: metered_wh[one.meter] for index, one in enumerate(kept.positions)})
    assert market.escrow() == 0


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("beyond_wh", [-5_000, -800, -350, -1, 0, 1, 700, 5_000])
def test_a_meter_over_several_chunks_is_paid_as_if_there_had_been_one(market: Market, cut: str, beyond_wh: int) -> None:
    scene = ChunkScene.of(market)
    for supplier in (market.supplier, market.other_supplier):
        market.deposit(supplier, 10 * EUR)
    bought = {"large", "small"}
    metered = {scene.meter(name): -wh + beyond_wh if name in bought else wh + beyond_wh for name, wh in WHOLE.items()}
    paid = []
    for parts in (((WHOLE, ()),), CUTS[cut]):
        with market.undone():
            settle_all(market, scene.accepted(market, *parts), metered)
            accounts = market.accounts()
            # Fees differ by who serves whom: with pairing chunk by chunk other sellers serve the buyers.
            fees = market.free(market.grid_operator)
            paid.append({name: accounts.free[scene.owner(name)] for name in WHOLE if name not in bought})
            total = sum(accounts.free[scene.owner(name)] for name in bought)
            paid[-1] |= {"buyers and fees": total + fees, "supplier": accounts.free[market.supplier.address]}
    assert paid[0] == paid[1]


def test_a_continued_position_bears_no_imbalance_of_its_own(market: Market) -> None:
    scene = ChunkScene.of(market)
    first, second = scene.accepted(market, *SELLER_GOES_ON)
    market.deliver()
    index = first.index_of(scene.meters["first"])
    _, receipt = market.settle(first, {index: 450})
    assert receipt.one("PositionSettled")["imbalanceMicrocents"] == 0
    _, receipt = market.settle(second, {second.index_of(scene.meters["first"]): 450})
    # 450 read, 100 of them serve chunk 0; 350 of the 500 of chunk 1 remain: 150 short at 32,500.
    assert receipt.one("PositionSettled")["imbalanceMicrocents"] == -150 * 32_500


def test_the_substitutes_of_a_meter_in_two_chunks_are_both_without_imbalance(market: Market) -> None:
    scene = ChunkScene.of(market)
    chunks = scene.accepted(market, *SELLER_GOES_ON)
    market.deliver()
    market.move_to(FIRST_MTU + 900 + market.policy.substitute_after_s)
    for kept in chunks:
        _, receipt = market.substitute(kept, range(len(kept.positions)))
        assert {one.arguments["imbalanceMicrocents"] for one in receipt.named("PositionSubstituted")} == {0}
    assert market.escrow() == 0


# --- an unfinished clearing -------------------------------------------------------------------------------------------


def test_an_unfinished_clearing_is_refunded_by_anybody_after_its_deadline(market: Market) -> None:
    scene = ChunkScene.of(market)
    before = market.accounts().free
    scene.commit(market)
    clearing, kept = scene.part(market, 0, SELLER_GOES_ON[0][0], continued=("first",), last=False)
    market.accept(clearing, kept)
    indexes = range(len(kept.positions))
    market.move_to(FIRST_MTU - 180)
    with market.refuses("ClearingUnfinished", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergySettlement", "refund", *kept.arguments(indexes))
    market.move_to(FIRST_MTU - 179)
    second, _ = scene.part(market, 1, SELLER_GOES_ON[1][0], prior_wh={"first": 100})
    with market.refuses("ClearingTooLate", FIRST_MTU, FIRST_MTU - 180, FIRST_MTU - 179):
        market.clear(second)
    market.refund(kept, indexes)
    assert market.accounts().free == before
    assert market.escrow() == 0


def test_an_unfinished_clearing_is_never_settled(market: Market) -> None:
    scene = ChunkScene.of(market)
    scene.commit(market)
    clearing, kept = scene.part(market, 0, SELLER_GOES_ON[0][0], continued=("first",), last=False)
    market.accept(clearing, kept)
    market.pass_mtu()
    market.anchor()
    with market.refuses("DispatchUnanswered", ZONE, FIRST_MTU):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [0], [100]))
    market.move_to(FIRST_MTU + 900 + market.policy.substitute_after_s)
    with market.refuses("DispatchUnanswered", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergySettlement", "settleSubstitutes", *kept.arguments([0]))
    market.refund(kept, range(len(kept.positions)))


# --- bad second chunks ------------------------------------------------------------------------------------------------

Expected = tuple[object, ...]
bad = Spoils()


@pytest.mark.parametrize("name", bad)
def test_refused_as_second_chunk_is(market: Market, name: str) -> None:
    scene = ChunkScene.of(market)
    scene.add("first too", "first", market.order(scene.meters["first"], SELL, 500, 10_000))
    scene.add("first twin", "first", scene.orders["first"])
    scene.add("first buys", "first", market.order(scene.meters["first"], BUY, 500, 20_000))
    scene.commit(market)
    ends = (scene.place("second"), scene.place("small"))
    clearing, kept = scene.part(market, 0, SELLER_GOES_ON[0][0], continued=("first",), last=False, ends=ends)
    market.accept(clearing, kept)
    second, (error, *values) = bad[name](scene, market)
    with market.refuses(str(error), *values):
        market.clear(second)
    market.accept(*right(scene, market))


def right(scene: ChunkScene, market: Market, fills: dict[str, int] | None = None, **options: Any) -> Any:
    """The second chunk as it should be, or with other fills."""
    return scene.part(market, 1, fills or SELLER_GOES_ON[1][0], prior_wh={"first": 100}, **options)


def spoiled(scene: ChunkScene, market: Market, **fills: int) -> ClearingData:
    """The second chunk with some fills changed, made by hand."""
    wanted = {name: wh for name, wh in (SELLER_GOES_ON[1][0] | fills).items() if wh}
    return market.present(
        scene.book, {scene.place(name): wh for name, wh in wanted.items()}, price=scene.price, chunk=1
    )


@bad
def chunk_0_once_more(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return right(scene, market)[0] | {"chunk": 0}, ("ChunkOutOfSequence", 1, 0)


@bad
def chunk_2_before_chunk_1(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return right(scene, market)[0] | {"chunk": 2}, ("ChunkOutOfSequence", 1, 2)


@bad
def a_chunk_at_another_price(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return right(scene, market, price=15_001)[0], ("ChunkDiffers", ZONE, FIRST_MTU)


@bad
def a_chunk_of_separate_books_after_one_of_a_merged_book(
    scene: ChunkScene, market: Market
) -> tuple[ClearingData, Expected]:
    return right(scene, market)[0] | {"merged": False}, ("ChunkDiffers", ZONE, FIRST_MTU)


@bad
def a_chunk_at_another_low_carbon_price(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return right(scene, market, price=(15_000, 15_001))[0], ("ChunkDiffers", ZONE, FIRST_MTU)


@bad
def a_finished_meter_again(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return spoiled(scene, market, second=100, third=200), ("MeterPresentedTwice", scene.meter("second"))


@bad
def an_order_filled_in_the_first_chunk_again(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return spoiled(scene, market, small=10, large=790), ("MeterPresentedTwice", scene.meter("small"))


@bad
def a_continued_order_filled_beyond_what_is_left(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return spoiled(scene, market, first=501, third=299), ("OrderOverfilled", scene.uid("first"), 500, 501)


@bad
def another_order_of_the_continued_meter(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    chunk = spoiled(scene, market, first=0) | {}
    other = market.present(
        scene.book,
        {scene.place("first too"): 500, scene.place("third"): 300, scene.place("large"): 800},
        price=scene.price,
        chunk=1,
    )
    assert chunk["orders"] != other["orders"]
    return other, ("MeterPresentedTwice", scene.meter("first"))


@bad
def the_twin_line_of_the_continued_order(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    fills = {scene.place("first twin"): 600, scene.place("third"): 200, scene.place("large"): 800}
    return market.present(scene.book, fills, price=scene.price, chunk=1), (
        "MeterPresentedTwice",
        scene.meter("first"),
    )


@bad
def a_second_order_behind_the_continued_one(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    fills = {"first": 400, "first too": 100, "third": 300, "large": 800}
    places = {scene.place(name): wh for name, wh in fills.items()}
    return market.present(scene.book, places, price=scene.price, chunk=1), (
        "MeterPresentedTwice",
        scene.meter("first"),
    )


@bad
def the_continued_meter_on_the_other_side(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    fills = {scene.place("first buys"): 300, scene.place("third"): 300}
    return market.present(scene.book, fills, price=scene.price, chunk=1), (
        "MeterPresentedTwice",
        scene.meter("first"),
    )


@bad
def a_last_chunk_without_the_continued_meter(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return spoiled(scene, market, first=0, large=300), ("MeterNotContinued", 0)


@bad
def a_chunk_without_balance(scene: ChunkScene, market: Market) -> tuple[ClearingData, Expected]:
    return spoiled(scene, market, first=499), ("EnergyNotBalanced", 1, 0)


def test_a_meter_named_as_an_open_end_does_not_trade_in_a_later_chunk(market: Market) -> None:
    scene = ChunkScene.of(market)
    scene.add("small too", "small", market.order(scene.meters["small"], BUY, 50, 19_000))
    scene.add("late", "large", market.order(scene.meters["large"], BUY, 100, 14_000))
    scene.commit(market)
    first = {"second": 400, "first": 100, "small": 500}
    # The open bid of `large` at 14,000 is named as the lower end; the price is then 16,000.
    ends = (scene.place("late"), scene.place("small"))
    clearing, kept = scene.part(market, 0, first, continued=("first",), last=False, ends=ends, price=16_000)
    market.accept(clearing, kept)
    second, _ = scene.part(market, 1, {"first": 500, "third": 300, "large": 800}, price=16_000)
    with market.refuses("MeterPresentedTwice", scene.meter("large")):
        market.clear(second)


def test_the_capacity_holds_over_all_chunks(market: Market) -> None:
    scene = ChunkScene.of(market, first_wh=10_100, large_wh=10_000)
    scene.commit(market)
    clearing, kept = scene.part(market, 0, SELLER_GOES_ON[0][0], continued=("first",), last=False)
    market.accept(clearing, kept)
    over = market.present(
        scene.book, {scene.place("first"): 9_901, scene.place("large"): 9_901}, price=scene.price, chunk=1
    )
    with market.refuses("CapacityExceeded", scene.meter("first"), 10_001, 10_000):
        market.clear(over)
    full, after = scene.part(market, 1, {"first": 9_900, "large": 9_900}, prior_wh={"first": 100})
    market.accept(full, after)


def test_after_the_last_chunk_nothing_more_is_cleared(market: Market) -> None:
    scene = ChunkScene.of(market)
    scene.accepted(market, *SELLER_GOES_ON)
    more = market.present(scene.book, {scene.place("dear"): 1, scene.place("large"): 1}, price=15_000, chunk=2)
    with market.refuses("AlreadyCleared", ZONE, FIRST_MTU):
        market.clear(more)


def test_a_second_chunk_cannot_sell_low_carbon_energy_below_its_price(market: Market) -> None:
    solar, gas, roof = market.producer("solar"), market.producer("gas", source=0), market.producer("roof")
    green, plain, thief = market.consumer("green"), market.consumer("plain"), market.consumer("thief")
    book = [
        market.order(solar, SELL, 300, 10_000),
        market.order(gas, SELL, 1_000, 12_000),
        market.order(green, BUY, 500, 20_000, product=Product.LOW_CARBON),
        market.order(plain, BUY, 400, 18_000),
        market.order(roof, SELL, 200, 10_000),
        market.order(thief, BUY, 200, 18_000),
    ]
    market.close_gate()
    market.commit_book(book)
    separate: dict[str, Any] = {"price": (12_000, 20_000), "ends": (1, 1), "low_carbon_ends": (2, 2)}
    clearing, kept = market.chunk(book, {0: 300, 1: 400, 2: 300, 3: 400}, number=0, last=False, **separate)
    market.accept(clearing, kept)
    # Roof would be paid 20,000 while the thief pays 12,000: the difference would come out of other members' locks.
    theft = market.present(book, {4: 200, 5: 200}, price=(12_000, 20_000), chunk=1, merged=False)
    with market.refuses("LowCarbonNotBalanced", 0, 200):
        market.clear(theft)
