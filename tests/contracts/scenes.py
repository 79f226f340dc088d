"""Books that show everything a clearing can hold, for the tests that accept them and those that spoil them.

Prices in cents per MWh, energy in Wh.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.contracts.harness import (
    BUY,
    FIRST_MTU,
    SELL,
    ZONE,
    AnySigned,
    ClearingData,
    Kept,
    Market,
    Meter,
    terms_part,
    uid_bytes,
    with_terms,
)

from gridledger.market.model import Product

__all__ = ["ChunkScene", "MergedScene", "SeparateScene", "Spoils"]

LOW_CARBON = Product.LOW_CARBON


class Spoils(dict[str, Callable[..., Any]]):
    """Ways to spoil something valid, by the names of the functions; used as a decorator of each."""

    def __call__(self, spoil: Callable[..., Any]) -> Callable[..., Any]:
        """Add one."""
        name = spoil.__name__.replace("_", " ")
        assert name not in self
        self[name] = spoil
        return spoil


@dataclass
class _Scene:
    """Members and their orders by name; the book in receipt order is not the order of the meters."""

    meters: dict[str, Meter]
    orders: dict[str, AnySigned]
    line_up: list[str]
    zone: int = ZONE
    mtu_start: int = FIRST_MTU

    @property
    def book(self) -> list[AnySigned]:
        """The orders in receipt order."""
        return [self.orders[name] for name in self.line_up]

    def place(self, name: str) -> int:
        """Where the order stands in the book."""
        return self.line_up.index(name)

    def uid(self, name: str) -> bytes:
        """Uid of the order as the contract shows it."""
        return uid_bytes(self.orders[name])

    def meter(self, name: str) -> int:
        """Number of the member's meter."""
        return self.meters[name].number

    def owner(self, name: str) -> str:
        """Address of the member."""
        return self.meters[name].owner.address

    def at(self, clearing: ClearingData, name: str) -> int:
        """Index of the order among the presented ones, filled orders first."""
        presented = [*clearing["orders"], *clearing["ends"]]
        return [terms_part(one["terms"], "book_index") for one in presented].index(self.place(name))

    def shown(self, clearing: ClearingData, name: str) -> dict[str, Any]:
        """The order as it is presented."""
        return dict([*clearing["orders"], *clearing["ends"]][self.at(clearing, name)])

    def set_terms(self, clearing: ClearingData, name: str, **parts: int) -> None:
        """Present parts of an order otherwise than it was signed, listed or filled."""
        index, filled = self.at(clearing, name), len(clearing["orders"])
        order = clearing["orders"][index] if index < filled else clearing["ends"][index - filled]
        order["terms"] = with_terms(order["terms"], **parts)

    def commit(self, market: Market) -> None:
        """Close the gate and commit the book."""
        market.close_gate(self.mtu_start)
        market.commit_book(self.book, self.mtu_start, self.zone)

    def kept(self, market: Market) -> Kept:
        """Commit the book and clear it as the node would."""
        return market.clear_book(self.book, mtu_start=self.mtu_start, zone=self.zone)


class MergedScene(_Scene):
    """One book for both products, with a direct deal and a member who has two orders.

    Offers: solar 600 at 10,000, gas 400 at 12,000, roof 400 at 14,000 of which `guest` accepted 150. Bids: large 500 at
    20,000 and 200 at 19,000, green 300 low-carbon at 18,000. Solar and gas serve them all, so the interval ends at gas'
    12,000 and at the open 14,000 of roof: the price is 13,000. A bid at 9,000 and an offer at 25,000 lie outside.
    """

    price = 13_000

    @classmethod
    def of(cls, market: Market, zone: int = ZONE) -> "MergedScene":
        """Eight funded members."""
        names = {"solar": 1, "gas": 0, "roof": 1, "dear": 1}
        meters = {name: market.producer(name, source=source, zone=zone) for name, source in names.items()}
        meters |= {name: market.consumer(name, zone=zone) for name in ("large", "green", "low", "guest")}
        orders: dict[str, AnySigned] = {
            "solar": market.order(meters["solar"], SELL, 600, 10_000),
            "gas": market.order(meters["gas"], SELL, 400, 12_000),
            "roof": market.order(meters["roof"], SELL, 400, 14_000),
            "dear": market.order(meters["dear"], SELL, 500, 25_000),
            "large": market.order(meters["large"], BUY, 500, 20_000),
            "large too": market.order(meters["large"], BUY, 200, 19_000),
            "green": market.order(meters["green"], BUY, 300, 18_000, product=LOW_CARBON),
            "low": market.order(meters["low"], BUY, 500, 9_000),
        }
        orders["guest"] = market.acceptance(meters["guest"], orders["roof"], 150)
        line_up = ["large", "low", "solar", "roof", "dear", "gas", "guest", "green", "large too"]
        return cls(meters, orders, line_up, zone)

    def fills(self, **changes: int) -> dict[int, int]:
        """The right fills by place in the book, deals included."""
        right = {"solar": 600, "gas": 400, "roof": 150, "large": 500, "large too": 200, "green": 300, "guest": 150}
        return {self.place(name): wh for name, wh in (right | changes).items() if wh}

    def clearing(self, market: Market, **options: Any) -> ClearingData:
        """The right clearing, made by hand."""
        ends = (self.place("gas"), self.place("roof"))
        given: dict[str, Any] = {"price": self.price, "ends": ends, "zone": self.zone} | options
        return market.present(self.book, given.pop("fills", self.fills()), **given)


class SeparateScene(_Scene):
    """Low-carbon energy is scarce, so the products are separate auctions.

    Solar 300 at 10,000 meets the low-carbon bid of 500 at 20,000, which stays open: 20,000. Gas 1,000 at 12,000, of
    which 600 stay open, meets the other bid of 400 at 18,000: 12,000.
    """

    any_price, low_carbon_price = 12_000, 20_000

    @classmethod
    def of(cls, market: Market) -> "SeparateScene":
        """Four funded members."""
        meters = {"solar": market.producer("solar"), "gas": market.producer("gas", source=0)}
        meters |= {name: market.consumer(name) for name in ("green", "plain")}
        orders: dict[str, AnySigned] = {
            "solar": market.order(meters["solar"], SELL, 300, 10_000),
            "gas": market.order(meters["gas"], SELL, 1_000, 12_000),
            "green": market.order(meters["green"], BUY, 500, 20_000, product=LOW_CARBON),
            "plain": market.order(meters["plain"], BUY, 400, 18_000),
        }
        return cls(meters, orders, ["plain", "green", "gas", "solar"])

    def fills(self, **changes: int) -> dict[int, int]:
        """The right fills by place in the book."""
        right = {"solar": 300, "gas": 400, "green": 300, "plain": 400}
        return {self.place(name): wh for name, wh in (right | changes).items() if wh}

    def clearing(self, market: Market, **options: Any) -> ClearingData:
        """The right clearing, made by hand."""
        given: dict[str, Any] = {
            "price": (self.any_price, self.low_carbon_price),
            "ends": (self.place("gas"), self.place("gas")),
            "low_carbon_ends": (self.place("green"), self.place("green")),
        } | options
        return market.present(self.book, given.pop("fills", self.fills()), **given)


class ChunkScene(_Scene):
    """Enough orders for a clearing of several chunks; everything trades at 15,000.

    Offers: first 600 at 10,000, second 400 at 12,000, third 300 at 11,000. Bids: large 800 at 20,000, small 500 at
    18,000. An offer of 100 at 25,000 stays open. Chunk 0 must hold second and small, which set the price.
    """

    price = 15_000

    @classmethod
    def of(cls, market: Market, *, first_wh: int = 600, large_wh: int = 800) -> "ChunkScene":
        """Six funded members; `second` has no low-carbon source."""
        sources = {"first": 1, "second": 0, "third": 1, "dear": 1}
        meters = {name: market.producer(name, source=source) for name, source in sources.items()}
        meters |= {name: market.consumer(name, eur=100) for name in ("large", "small")}
        orders: dict[str, AnySigned] = {
            "first": market.order(meters["first"], SELL, first_wh, 10_000),
            "second": market.order(meters["second"], SELL, 400, 12_000),
            "third": market.order(meters["third"], SELL, 300, 11_000),
            "dear": market.order(meters["dear"], SELL, 100, 25_000),
            "large": market.order(meters["large"], BUY, large_wh, 20_000),
            "small": market.order(meters["small"], BUY, 500, 18_000),
        }
        return cls(meters, orders, ["large", "second", "first", "dear", "small", "third"])

    def add(self, name: str, member: str, signed: AnySigned) -> None:
        """One more order of a member, listed last."""
        self.meters.setdefault(name, self.meters[member])
        self.orders[name] = signed
        self.line_up.append(name)

    def part(self, market: Market, number: int, fills_wh: dict[str, int], **options: Any) -> tuple[ClearingData, Kept]:
        """A chunk with those fills; `continued` and `prior_wh` by name, `last` unless told otherwise."""
        continued = [self.meter(name) for name in options.pop("continued", ())]
        prior_wh = {self.meter(name): wh for name, wh in options.pop("prior_wh", {}).items()}
        given: dict[str, Any] = {"price": self.price, "last": True} | options
        if number == 0:
            given.setdefault("ends", (self.place("second"), self.place("small")))
        fills = {self.place(name): wh for name, wh in fills_wh.items()}
        return market.chunk(self.book, fills, number=number, continued=continued, prior_wh=prior_wh, **given)

    def accepted(self, market: Market, *parts: tuple[dict[str, int], tuple[str, ...]]) -> list[Kept]:
        """Commit the book and clear it in these parts: fills, and who goes on in the next part."""
        self.commit(market)
        kept: list[Kept] = []
        contracted: dict[str, int] = {}
        for number, (fills_wh, continued) in enumerate(parts):
            last = number == len(parts) - 1
            prior = {name: wh for name, wh in contracted.items() if name in fills_wh}
            clearing, after = self.part(market, number, fills_wh, continued=continued, prior_wh=prior, last=last)
            market.accept(clearing, after)
            contracted |= {name: prior.get(name, 0) + fills_wh[name] for name in continued}
            kept.append(after)
        return kept
