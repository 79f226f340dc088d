"""Time of the pure auction on columns, beside numpy's sort of the same limit prices.

The books have fewer low-carbon offers than low_carbon bids want, so that the merged book is cleared and then both
products: the most there is to do. Of several runs the fastest counts; the others measure what else the machine does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gridledger.errors import Unavailable
from gridledger.market.auction import AuctionColumns, ColumnResult, clear_columns

__all__ = ["AuctionNotSeparate", "AuctionSeconds", "measure_auction"]

SEED = 42
PRICE_BOUND_CENTS_PER_MWH = 500_000
HIGHEST_QUANTITY_WH = 10_000


@dataclass(kw_only=True, eq=False)
class AuctionNotSeparate(Unavailable):
    """The book that was to be measured did not need two auctions."""

    order_count: int


@dataclass(frozen=True, kw_only=True)
class AuctionSeconds:
    """Seconds of an auction of 10,000 orders, of sorting the limits of the same orders, of one of 1,000,000 orders."""

    auction_10k_s: float
    sort_10k_s: float
    auction_1m_s: float


def measure_auction() -> AuctionSeconds:
    """Measure both sizes. Raises AuctionNotSeparate."""
    small, large = _random_book(10_000), _random_book(1_000_000)
    return AuctionSeconds(
        auction_10k_s=_fastest_s(lambda: _clear(small), runs=200),
        sort_10k_s=_fastest_s(lambda: np.sort(small.limit_cents_per_mwh), runs=200),
        auction_1m_s=_fastest_s(lambda: _clear(large), runs=5),
    )


def _random_book(order_count: int) -> AuctionColumns:
    """Half bids and half offers; 70 % of the bids, half of the offers low-carbon. Raises AuctionNotSeparate."""
    random = np.random.default_rng(SEED)
    is_sell = random.random(order_count) < 0.5
    book = AuctionColumns(
        is_sell=is_sell,
        low_carbon=random.random(order_count) < np.where(is_sell, 0.5, 0.7),
        quantity_wh=random.integers(1, HIGHEST_QUANTITY_WH + 1, order_count, dtype=np.int64),
        limit_cents_per_mwh=random.integers(
            -PRICE_BOUND_CENTS_PER_MWH, PRICE_BOUND_CENTS_PER_MWH + 1, order_count, dtype=np.int64
        ),
    )
    if _clear(book).merged:
        raise AuctionNotSeparate(order_count=order_count)
    return book


def _clear(book: AuctionColumns) -> ColumnResult:
    return clear_columns(
        book, floor_cents_per_mwh=-PRICE_BOUND_CENTS_PER_MWH, cap_cents_per_mwh=PRICE_BOUND_CENTS_PER_MWH
    )


def _fastest_s(work: Callable[[], object], *, runs: int) -> float:
    fastest_s = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        work()
        fastest_s = min(fastest_s, time.perf_counter() - started)
    return fastest_s
