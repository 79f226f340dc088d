"""Books and clearings of the machine, and whether a clearing keeps to what was signed; see machine_calls."""

from collections import Counter
from collections.abc import Collection, Iterable
from random import Random
from typing import Any

from tests.contracts.machine_calls import Mtu
from tests.contracts.machine_chunks import Auctioned, Part, in_one, in_two
from tests.contracts.machine_orders import OrderMarket
from tests.contracts.words import (
    MTU_LENGTH_S,
    ZONE,
    AnySigned,
    Receipt,
)

from gridledger.chain.codec import keccak256
from gridledger.market.auction import clear
from gridledger.market.book import Standing, auction_orders, book_bytes, list_orders, listed_deals
from gridledger.market.model import (
    BookEntry,
    CashAccount,
    Ineligibility,
    Position,
    Pricing,
    Product,
    Side,
    SignedAcceptance,
)
from gridledger.market.pricing import reference_price
from gridledger.market.settlement import worst_case_microcents

__all__ = ["ClearedMarket"]


class ClearedMarket(OrderMarket):
    """A market whose operator commits books and clears them."""

    def close_gate(self, rng: Random, mtu: Mtu) -> None:
        """The gate closes, the book is committed, mostly the reference price too."""
        if self.now < mtu.gate:
            self.refused(self.market.market_operator, *self._commitment(mtu), by=["GateStillOpen"])
        self.wait_until(mtu.gate)
        orders = [signed for _, signed in mtu.receipted]
        if orders and rng.random() < 0.15:
            signed = rng.choice(orders)
            mtu.twice.add(signed.uid)
            mtu.receipted.append((self.next_number(), signed))
        self.do(self.market.market_operator, *self._commitment(mtu))
        mtu.listed = True
        if rng.random() < 0.9:
            supply, demand = rng.randint(0, 3_000), rng.randint(0, 3_000)
            arguments = ("EnergyPricing", "publish", ZONE, mtu.start, supply, demand)
            late = ["PriceTooLate"] if self.now > mtu.deadline else []
            if self.expect(late, self.market.market_operator, *arguments):
                mtu.reference = reference_price(mtu.prices, supply, demand)

    def _commitment(self, mtu: Mtu) -> tuple[Any, ...]:
        book = tuple(BookEntry(running_number=number, signed=signed) for number, signed in mtu.receipted)
        return "EnergyTrading", "commitBook", ZONE, mtu.start, keccak256(book_bytes(book)), len(book)

    def obstacle(self, mtu: Mtu, signed: AnySigned) -> str | None:
        """Why an order may not be filled in an MTU, money aside."""
        owner = signed.acceptance.owner if isinstance(signed, SignedAcceptance) else signed.order.owner
        reasons = {"listed twice": signed.uid in mtu.twice, "suspended": owner in self.suspended}
        if not isinstance(signed, SignedAcceptance):
            order = signed.order
            bulk = [first for moment, first in self.first_good.get(owner, []) if moment < mtu.gate]
            reasons |= {
                "outside": not order.first_mtu_start <= mtu.start <= order.last_mtu_start,
                "expired": order.expiry < mtu.gate,
                "cancelled": self.cancelled_at.get(signed.uid, mtu.gate) < mtu.gate
                or (bool(bulk) and order.salt < bulk[-1]),
                "limit outside bounds": not mtu.prices.floor <= order.limit_cents_per_mwh <= mtu.prices.cap,
                "no reference price": order.pricing is Pricing.PEGGED and mtu.reference is None,
            }
        return next((reason for reason, holds in reasons.items() if holds), None)

    def auctioned(self, mtu: Mtu, *, overlook: Collection[str] = (), rich: bool = False) -> Auctioned:
        """The node's auction over the eligible orders; a byzantine operator overlooks obstacles, or empty accounts."""
        obstacles = {number: self.obstacle(mtu, signed) for number, signed in mtu.receipted}
        live = [one for one in mtu.receipted if obstacles[one[0]] is None or obstacles[one[0]] in overlook]
        standing = Standing(
            gate_closure=mtu.gate,
            accounts={
                one: CashAccount(free_microcents=10**18, credit_microcents=0) if rich else self.money(one)
                for one in self.ledger.free
            },
            suspended=frozenset(),
            policy=mtu.rules.policy,
            prices=mtu.prices,
            meters=self.facts,
            mtu_length_s=MTU_LENGTH_S,
        )
        listed = {entry.running_number: entry for entry in list_orders(live, standing)}
        book = tuple(
            listed.get(number) or BookEntry(running_number=number, signed=signed, ineligible=Ineligibility.CANCELLED)
            for number, signed in mtu.receipted
        )
        deals = listed_deals(book)
        orders = auction_orders(book, deals, self.facts, mtu.reference or 0)
        prices = mtu.prices
        return Auctioned(
            zone=ZONE,
            mtu_start=mtu.start,
            result=clear(orders, floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap),
            deals=deals,
            book=book,
            meters=self.facts,
            policy=mtu.rules.policy,
            prices=prices,
        )

    def clear(self, rng: Random, mtu: Mtu, *, chunked: bool) -> None:
        """The honest clearing, in one transaction or its first of two."""
        auctioned = self.auctioned(mtu)
        part, second = in_two(auctioned, rng) if chunked else (in_one(auctioned), None)
        if self._present(mtu, part):
            mtu.second = second
            mtu.cleared = second is None

    def finish(self, mtu: Mtu) -> None:
        """The second chunk, which may have become impossible."""
        assert mtu.second is not None
        if self._present(mtu, mtu.second):
            mtu.second, mtu.cleared = None, True

    def reasons_against(self, mtu: Mtu, part: Part) -> set[str]:
        """Errors that may refuse a clearing that is honest otherwise."""
        reasons = {"ZoneHalted"} if self.halted & {0, ZONE} else set()
        if self.now > mtu.deadline:
            reasons.add("ClearingTooLate")
        presented = [item.entry for item in (*part.proposal.orders, *part.proposal.ends)]
        if any(entry.owner in self.suspended for entry in presented):
            reasons.add("AccountSuspended")
        short = self.short(part.kept.positions, mtu.gate) or self.short_of_an_end(part, mtu)
        return reasons | ({"InsufficientFunds"} if short else set())

    def short(self, positions: Iterable[Position], gate: int) -> bool:
        """Whether somebody cannot lock what its positions need, for that gate."""
        needed: Counter[str] = Counter()
        for one in positions:
            needed[one.owner] += one.locked_microcents
        return any(self.available(owner, gate) < amount for owner, amount in needed.items())

    def short_of_an_end(self, part: Part, mtu: Mtu) -> bool:
        """Whether somebody cannot pay for all of an order that is an end by what it has left."""
        fee, shortage = mtu.rules.policy.grid_fee_cents_per_mwh, mtu.prices.shortage
        presented = (*part.proposal.orders, *part.proposal.ends)
        for side, places in zip(
            (Side.BUY, Side.SELL), zip(part.proposal.any_ends, part.proposal.low_carbon_ends, strict=True), strict=True
        ):
            for order in (presented[place].entry.order for place in places if place is not None):
                worst = worst_case_microcents(side, order.quantity_wh, order.limit_cents_per_mwh, fee, shortage)
                if order.side is side and worst > self.available(order.owner, mtu.gate):
                    return True
        return False

    def _present(self, mtu: Mtu, part: Part) -> bool:
        operator = self.market.market_operator
        if reasons := self.reasons_against(mtu, part):
            self.refused(operator, "EnergyTrading", "clear", part.clearing, by=reasons)
            return False
        receipt = self.do(operator, "EnergyTrading", "clear", part.clearing)
        self.ledger.lock(part.kept.positions)
        mtu.chunks.append(part.kept)
        mtu.setpoints = part.setpoints
        mtu.prices_cleared = (
            part.proposal.any_price_cents_per_mwh,
            part.proposal.low_carbon_price_cents_per_mwh,
        )
        mtu.bounds.append(self._bounds(part))
        self._check_energy(mtu, part, receipt)
        if part.clearing["last"] and mtu.fills_wh:
            # The schedule is of the whole clearing: every Wh is filled twice, once on each side.
            assert 2 * receipt.one("DispatchScheduled")["tradedWh"] == mtu.fills_wh.total()
        kind = "one chunk" if part.clearing["last"] and not part.kept.chunk else f"chunk {part.kept.chunk}"
        self.counts[f"cleared, {kind}, {'with' if part.kept.positions else 'without'} energy"] += 1
        self.counts["cleared in separate books"] += not part.proposal.merged and bool(part.kept.positions)
        self.counts["cleared with deals"] += bool(part.kept.deals)
        self.counts["cleared, meters going on"] += any(one.prior_wh for one in part.kept.positions)
        return True

    def _check_energy(self, mtu: Mtu, part: Part, receipt: Receipt) -> None:
        """Bought = sold, signed limits and quantities hold, and nobody who had left was filled."""
        trades = receipt.named("EnergyTraded")
        bought, sold = Counter[int](), Counter[int]()
        for event in trades:
            sold[event.arguments["sellMeter"]] += event.arguments["energyWh"]
            bought[event.arguments["buyMeter"]] += event.arguments["energyWh"]
        filled = Counter[int]()
        any_price, low_carbon_price = mtu.prices_cleared
        for item in part.proposal.orders:
            signed = item.entry.signed
            assert self.obstacle(mtu, signed) is None
            filled[item.entry.meter] += item.fill_wh
            mtu.fills_wh[signed.uid] += item.fill_wh
            if isinstance(signed, SignedAcceptance):
                assert mtu.fills_wh[signed.uid] <= signed.acceptance.quantity_wh
                continue
            order = signed.order
            assert mtu.fills_wh[signed.uid] <= order.quantity_wh
            if order.side is Side.SELL:
                price = low_carbon_price if self.facts[order.meter].source else any_price
                auctioned = item.fill_wh > mtu.dealt_wh[signed.uid]
                assert price >= order.limit_cents_per_mwh or not auctioned
            else:
                price = low_carbon_price if order.product is Product.LOW_CARBON else any_price
                assert price <= order.limit_cents_per_mwh
        assert bought + sold == filled
        assert not bought.keys() & sold.keys()
        assert bought.total() == sold.total() == receipt.one("MarketCleared")["tradedWh"]

    def _bounds(self, part: Part) -> tuple[int, ...]:
        """The least cash of each position that its owner's signatures allow."""
        least: Counter[int] = Counter()
        limits = {
            entry.uid: entry.order.limit_cents_per_mwh
            for entry in (i.entry for i in part.proposal.orders)
            if entry.is_order
        }
        for item in part.proposal.orders:
            signed = item.entry.signed
            if isinstance(signed, SignedAcceptance):
                least[item.entry.meter] -= item.fill_wh * limits[signed.acceptance.offer_uid]
            else:
                sign = 1 if signed.order.side is Side.SELL else -1
                least[item.entry.meter] += sign * item.fill_wh * signed.order.limit_cents_per_mwh
        return tuple(least[one.meter] for one in part.kept.positions)
