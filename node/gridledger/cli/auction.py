"""The pure auction over a file of orders: reading it, and showing what came out.

The file is `{"orders": [...]}` in JSON, list position is receipt order. A bid has a product, an offer a source; a
product on an offer and a source on a bid mean nothing. A file with anything wrong in it is refused as a whole.
"""

import gc
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from gridledger.errors import InvalidInput
from gridledger.market.auction import (
    HIGHEST_ORDER_COUNT,
    HIGHEST_PRICE_CENTS_PER_MWH,
    HIGHEST_QUANTITY_WH,
    AuctionOrder,
    AuctionResult,
    BookPrice,
    BookTooLarge,
    clear,
)
from gridledger.market.model import Side
from gridledger.units import eur_text, kwh_text

__all__ = [
    "OrderFileInvalid",
    "OrderFileNotJson",
    "OrderFileTooLarge",
    "OrderFileUnreadable",
    "auction_json",
    "clear_file",
    "print_auction",
]

HIGHEST_FILE_BYTES = 2**29
MAX_SHOWN_CHARACTERS = 200


@dataclass(kw_only=True, eq=False)
class OrderFileUnreadable(InvalidInput):
    """The file of orders cannot be read."""

    path: str
    problem: str


@dataclass(kw_only=True, eq=False)
class OrderFileTooLarge(InvalidInput):
    """The file of orders is too large."""

    path: str
    highest_bytes: int


@dataclass(kw_only=True, eq=False)
class OrderFileNotJson(InvalidInput):
    """The file of orders is not JSON."""

    path: str
    problem: str


@dataclass(kw_only=True, eq=False)
class OrderFileInvalid(InvalidInput):
    """The file of orders has something wrong in it.

    `place` is the first such place; list positions count from 0.
    """

    path: str
    place: str
    problem: str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Row(_Strict):
    uid: str
    quantity_wh: Annotated[int, Field(ge=1, le=HIGHEST_QUANTITY_WH)]
    limit_cents_per_mwh: Annotated[int, Field(ge=-HIGHEST_PRICE_CENTS_PER_MWH, le=HIGHEST_PRICE_CENTS_PER_MWH)]


class _Bid(_Row):
    side: Literal["buy"]
    product: Literal["any", "low_carbon"]
    source: Literal["low_carbon", "other"] | None = None

    def to_order(self) -> AuctionOrder:
        return AuctionOrder(
            uid=self.uid,
            side=Side.BUY,
            low_carbon=self.product == "low_carbon",
            quantity_wh=self.quantity_wh,
            limit_cents_per_mwh=self.limit_cents_per_mwh,
        )


class _Offer(_Row):
    side: Literal["sell"]
    product: Literal["any", "low_carbon"] | None = None
    source: Literal["low_carbon", "other"]

    def to_order(self) -> AuctionOrder:
        return AuctionOrder(
            uid=self.uid,
            side=Side.SELL,
            low_carbon=self.source == "low_carbon",
            quantity_wh=self.quantity_wh,
            limit_cents_per_mwh=self.limit_cents_per_mwh,
        )


def _not_too_many(orders: object) -> object:
    if isinstance(orders, list) and len(orders) > HIGHEST_ORDER_COUNT:
        raise BookTooLarge(order_count=len(orders), highest_order_count=HIGHEST_ORDER_COUNT)
    return orders


class _OrderFile(_Strict):
    orders: Annotated[
        list[Annotated[_Bid | _Offer, Field(discriminator="side")]], FailFast(), BeforeValidator(_not_too_many)
    ]


_ORDER_FILE = TypeAdapter(_OrderFile)


def clear_file(path: Path) -> AuctionResult:
    """Clear the orders of a file; the only price bounds are the auction's own.

    Raises OrderFileUnreadable, OrderFileTooLarge, OrderFileNotJson, OrderFileInvalid, BookTooLarge,
    DuplicateOrder.
    """
    with _collector_paused():
        return clear(
            _read_orders(path),
            floor_cents_per_mwh=-HIGHEST_PRICE_CENTS_PER_MWH,
            cap_cents_per_mwh=HIGHEST_PRICE_CENTS_PER_MWH,
        )


def auction_json(result: AuctionResult) -> dict[str, Any]:
    """The result as it is written: prices in cents per MWh (null without volume), fills in Wh, welfare microcents."""
    return {
        "prices": {"any": _price(result.any), "low_carbon": _price(result.low_carbon)},
        "fills": result.fills_wh,
        "welfare_microcents": result.welfare_microcents,
    }


def print_auction(console: Console, result: AuctionResult) -> None:
    """Print prices and volumes for people."""
    table = Table("book", "price, cents/MWh", "volume", box=None, padding=(0, 2))
    books = {"any, low_carbon": result.any} if result.merged else {"any": result.any, "low_carbon": result.low_carbon}
    for name, book in books.items():
        price = _price(book)
        table.add_row(name, "-" if price is None else f"{price:,}", kwh_text(book.volume_wh))
    console.print(table)
    console.print(f"{len(result.fills_wh):,} orders filled, welfare {eur_text(result.welfare_microcents)}")


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A large book is millions of small objects without cycles; the collector would walk them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _price(book: BookPrice) -> int | None:
    return book.price_cents_per_mwh if book.volume_wh else None


def _read_orders(path: Path) -> list[AuctionOrder]:
    try:
        with path.open("rb") as source:
            text = source.read(HIGHEST_FILE_BYTES + 1)
    except OSError as problem:
        raise OrderFileUnreadable(path=str(path), problem=str(problem)) from problem
    if len(text) > HIGHEST_FILE_BYTES:
        raise OrderFileTooLarge(path=str(path), highest_bytes=HIGHEST_FILE_BYTES)
    try:
        found = _ORDER_FILE.validate_python(_parse_json(path, text))
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise OrderFileInvalid(
            path=str(path), place=place[:MAX_SHOWN_CHARACTERS], problem=first["msg"][:MAX_SHOWN_CHARACTERS]
        ) from None
    return [row.to_order() for row in found.orders]


def _parse_json(path: Path, text: bytes) -> object:
    """JSON as RFC 8259 has it: no NaN, and no name twice in one object."""
    try:
        return json.loads(text, object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:  # also undecodable bytes and numbers of thousands of digits
        raise OrderFileNotJson(path=str(path), problem=str(problem)[:MAX_SHOWN_CHARACTERS]) from None


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return values


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")
