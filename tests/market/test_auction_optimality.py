"""No allocation has more welfare than the auction's, and none of those more volume: a linear program is the judge.

The program knows nothing of books or prices. Each order may be filled between 0 and its quantity, what is bought is
sold, and low_carbon bids get no more than low-carbon offers give. First its welfare is maximised; then, with the
welfare kept, its volume. All numbers are small, so that the solver's floats are exact after rounding.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import linprog
from tests.market.plain_auction import plain_welfare

from gridledger.market.auction import AuctionOrder, AuctionResult, clear
from gridledger.market.model import Side

HIGHEST_PRICE = 2_000
BOOKS_PER_CASE = 60
SOLVER_TOLERANCE = 1e-3

Floats = npt.NDArray[np.float64]
Shape = Callable[[Random], list[AuctionOrder]]


def best_of(book: Sequence[AuctionOrder]) -> tuple[int, int]:
    """The greatest welfare, microcents, and the greatest volume with it, Wh."""
    signs = np.array([1.0 if one.side is Side.BUY else -1.0 for one in book])
    green = np.array([float(one.low_carbon) for one in book])
    worth = signs * np.array([one.limit_cents_per_mwh for one in book])
    quantities = np.array([one.quantity_wh for one in book])
    welfare, _ = maximum(worth, signs, [(signs * green, 0)], quantities)
    volume, fills = maximum((signs > 0) * 1.0, signs, [(signs * green, 0), (-worth, -welfare)], quantities)
    assert round(float(worth @ fills)) == welfare
    return welfare, volume


def maximum(
    objective: Floats, balance: Floats, at_most: Sequence[tuple[Floats, int]], quantities: npt.NDArray[np.int64]
) -> tuple[int, Floats]:
    """The greatest value of an objective, which is a whole number, and an allocation that reaches it."""
    found = linprog(
        -objective,
        A_ub=np.array([row for row, _ in at_most]),
        b_ub=np.array([bound for _, bound in at_most]),
        A_eq=np.array([balance]),
        b_eq=np.array([0]),
        bounds=np.column_stack((np.zeros(len(quantities)), quantities)),
        method="highs",
    )
    assert found.status == 0, found.message
    assert abs(found.fun - round(found.fun)) < SOLVER_TOLERANCE
    return -round(found.fun), found.x


def cleared(book: Sequence[AuctionOrder]) -> AuctionResult:
    return clear(book, floor_cents_per_mwh=-HIGHEST_PRICE, cap_cents_per_mwh=HIGHEST_PRICE)


def random_book(
    random: Random,
    *,
    orders: tuple[int, int] = (1, 16),
    limits: tuple[int, int] = (-9, 9),
    most_wh: int = 30,
    bids: float = 0.5,
    green_bids: float = 0.5,
    green_offers: float = 0.5,
) -> list[AuctionOrder]:
    book = []
    for index in range(random.randint(*orders)):
        side = Side.BUY if random.random() < bids else Side.SELL
        book.append(
            AuctionOrder(
                uid=f"{index}",
                side=side,
                low_carbon=random.random() < (green_bids if side is Side.BUY else green_offers),
                quantity_wh=random.randint(1, most_wh),
                limit_cents_per_mwh=random.randint(*limits),
            )
        )
    return book


SHAPES: dict[str, Shape] = {
    "a bit of everything": random_book,
    "more orders": lambda random: random_book(random, orders=(20, 60)),
    "wide prices": lambda random: random_book(random, limits=(-HIGHEST_PRICE, HIGHEST_PRICE), most_wh=1_000),
    "few prices, many ties": lambda random: random_book(random, orders=(4, 30), limits=(-1, 1), most_wh=3),
    "one price only": lambda random: random_book(random, limits=(4, 4)),
    "a price of zero": lambda random: random_book(random, limits=(0, 0), most_wh=4),
    "negative prices": lambda random: random_book(random, limits=(-50, -1)),
    "unit quantities": lambda random: random_book(random, orders=(1, 40), limits=(-3, 3), most_wh=1),
    "scarce low-carbon energy": lambda random: random_book(random, green_bids=0.8, green_offers=0.2),
    "ample low-carbon energy": lambda random: random_book(random, green_bids=0.2, green_offers=0.8),
    "no low-carbon energy": lambda random: random_book(random, green_offers=0.0),
    "only low-carbon energy": lambda random: random_book(random, green_bids=1.0, green_offers=1.0),
    "the product not asked for": lambda random: random_book(random, green_bids=0.0),
    "scarce, with ties": lambda random: random_book(
        random, orders=(4, 30), limits=(-2, 2), green_bids=0.7, green_offers=0.3
    ),
    "few offers": lambda random: random_book(random, orders=(4, 30), bids=0.85),
    "few bids": lambda random: random_book(random, orders=(4, 30), bids=0.15),
    "bids only": lambda random: random_book(random, bids=1.0),
    "offers only": lambda random: random_book(random, bids=0.0),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_auction_has_the_greatest_welfare_and_the_greatest_volume_with_it(shape: Shape) -> None:
    assert len(SHAPES) * BOOKS_PER_CASE >= 1_000
    random = Random(2016)
    for _ in range(BOOKS_PER_CASE):
        book = shape(random)
        result = cleared(book)
        volume_wh = sum(result.fills_wh.get(one.uid, 0) for one in book if one.side is Side.BUY)
        assert result.welfare_microcents == plain_welfare(book, result.fills_wh)
        assert (result.welfare_microcents, volume_wh) == best_of(book), book


def test_an_empty_book_has_neither_welfare_nor_volume() -> None:
    assert (cleared([]).welfare_microcents, cleared([]).fills_wh) == (0, {})


def test_the_random_books_try_one_book_and_two_with_and_without_trade() -> None:
    seen: Counter[tuple[bool, bool, bool]] = Counter()
    for shape in SHAPES.values():
        random = Random(2016)
        for _ in range(BOOKS_PER_CASE):
            result = cleared(shape(random))
            seen[result.merged, result.any.volume_wh > 0, result.low_carbon.volume_wh > 0] += 1
    both_or_neither = {(True, False, False), (True, True, True)}
    parted = {(False, any_trades, green_trades) for any_trades in (False, True) for green_trades in (False, True)}
    assert set(seen) == both_or_neither | parted
    assert min(seen.values()) >= 20, seen


def test_the_judge_finds_a_better_allocation_where_there_is_one() -> None:
    book = [
        AuctionOrder(uid="s", side=Side.SELL, low_carbon=False, quantity_wh=5, limit_cents_per_mwh=1),
        AuctionOrder(uid="g", side=Side.SELL, low_carbon=True, quantity_wh=3, limit_cents_per_mwh=2),
        AuctionOrder(uid="b", side=Side.BUY, low_carbon=True, quantity_wh=9, limit_cents_per_mwh=7),
        AuctionOrder(uid="t", side=Side.BUY, low_carbon=False, quantity_wh=2, limit_cents_per_mwh=1),
    ]
    assert best_of(book) == (3 * (7 - 2), 3 + 2)
