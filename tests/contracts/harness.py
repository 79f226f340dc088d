"""The market of the contract tests: builders from a registered meter to a settled position.

Orders, books, clearings and settlements are made by the node's own pure rules, so that every accepted transaction also
compares the contracts with them: the kept hash, every account and the escrow. Energy in Wh, prices in cents per MWh,
money in microcents, carbon in micrograms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.contracts.accounts import PlainAccounts
from tests.contracts.evm import compiled, revert_bytes
from tests.contracts.members import Members
from tests.contracts.setpoints import Setpoints
from tests.contracts.words import (
    ACCEPTANCE_FIELDS,
    ACKNOWLEDGED,
    BUY,
    CAPPED,
    CHAIN_ID,
    CLEARED,
    CLEARING_FIELDS,
    CURTAILED,
    EUR,
    FIRST_MTU,
    GAS_LIMIT,
    MTU_LENGTH_S,
    NO_ORDER,
    NOT_SCHEDULED,
    OPEN,
    ORDER_FIELDS,
    PARTIAL,
    PENDING,
    PROCEEDS,
    SELL,
    SOLAR,
    SPEC_ID,
    STOPPED,
    TESTS_ROOT,
    VOID,
    ZONE,
    Actor,
    AnySigned,
    ClearingData,
    Kept,
    Meter,
    Receipt,
    Signed,
    actor,
    compact,
    device_key,
    floor_midpoint,
    policy_tuple,
    settle_arguments,
    sign,
    sign_acceptance,
    sign_order,
    terms_part,
    uid_bytes,
    with_terms,
)

from gridledger.chain.codec import keccak256
from gridledger.chain.commands import clearing_tuple
from gridledger.market.auction import AuctionResult, BookPrice, clear
from gridledger.market.book import auction_orders, book_bytes, listed_deals, undealt_orders
from gridledger.market.locking import WHOLE, PresentedOrder, Proposal, dealt_energy, propose
from gridledger.market.model import (
    Acceptance,
    BookEntry,
    Order,
    Pricing,
    Product,
    Side,
    SignedAcceptance,
    SignedOrder,
)
from gridledger.market.pricing import supply_and_demand

__all__ = [
    "ACCEPTANCE_FIELDS",
    "ACKNOWLEDGED",
    "BUY",
    "CAPPED",
    "CHAIN_ID",
    "CLEARED",
    "CURTAILED",
    "EUR",
    "FIRST_MTU",
    "GAS_LIMIT",
    "MTU_LENGTH_S",
    "NOT_SCHEDULED",
    "NO_ORDER",
    "OPEN",
    "ORDER_FIELDS",
    "PARTIAL",
    "PENDING",
    "PROCEEDS",
    "SELL",
    "SOLAR",
    "SPEC_ID",
    "STOPPED",
    "TESTS_ROOT",
    "VOID",
    "ZONE",
    "Actor",
    "AnySigned",
    "ClearingData",
    "Kept",
    "Market",
    "Meter",
    "Pair",
    "Receipt",
    "Signed",
    "actor",
    "compact",
    "compiled",
    "device_key",
    "floor_midpoint",
    "policy_tuple",
    "revert_bytes",
    "settle_arguments",
    "sign",
    "terms_part",
    "uid_bytes",
    "with_terms",
]

FIRST_RUNNING_NUMBER = 7


class Market(Members):
    """A deployed market with everything its parties do."""

    # --- orders, books, clearings ---------------------------------------------------------------------------------

    def order(self, meter: Meter, side: int, quantity_wh: int, limit: int, **changes: Any) -> SignedOrder:
        """A limit order for the first MTU signed by the meter's owner.

        `mtu_start`, `signer`, `domain` (chain id or contract) and any field of Order can be changed.
        """
        signer: Actor = changes.pop("signer", meter.owner)
        mtu_start = changes.pop("mtu_start", FIRST_MTU)
        domain = replace(self.order_domain, **changes.pop("domain", {}))
        self._salt += 1
        made = Order(
            owner=meter.owner.address,
            meter=meter.number,
            side=Side(side),
            product=Product.ANY,
            pricing=Pricing.LIMIT,
            first_mtu_start=mtu_start,
            last_mtu_start=mtu_start,
            quantity_wh=quantity_wh,
            limit_cents_per_mwh=limit,
            expiry=mtu_start,
            salt=self._salt,
        )
        return sign_order(signer, domain, replace(made, **changes))

    def acceptance(self, meter: Meter, offer: AnySigned, quantity_wh: int, **changes: Any) -> SignedAcceptance:
        """A buyer's acceptance of an offer for the first MTU; `signer`, `domain` and any field can be changed."""
        signer: Actor = changes.pop("signer", meter.owner)
        domain = replace(self.order_domain, **changes.pop("domain", {}))
        self._salt += 1
        made = Acceptance(
            owner=meter.owner.address,
            meter=meter.number,
            offer_uid=offer.uid,
            mtu_start=FIRST_MTU,
            quantity_wh=quantity_wh,
            salt=self._salt,
        )
        return sign_acceptance(signer, domain, replace(made, **changes))

    @staticmethod
    def book(signed: Sequence[AnySigned | BookEntry]) -> tuple[BookEntry, ...]:
        """The list in receipt order; entries that come as such may be ineligible."""
        return tuple(
            replace(one, running_number=FIRST_RUNNING_NUMBER + place)
            if isinstance(one, BookEntry)
            else BookEntry(running_number=FIRST_RUNNING_NUMBER + place, signed=one)
            for place, one in enumerate(signed)
        )

    def commit_book(
        self, signed: Sequence[AnySigned | BookEntry], mtu_start: int = FIRST_MTU, zone: int = ZONE
    ) -> Receipt:
        """Commit the book; the gate must be closed."""
        book = self.book(signed)
        arguments = (zone, mtu_start, keccak256(book_bytes(book)), len(book))
        receipt = self.send(self.market_operator, "EnergyTrading", "commitBook", *arguments)
        self.watched_mtus.append((zone, mtu_start))
        return receipt

    def publish_price(
        self, signed: Sequence[AnySigned | BookEntry], mtu_start: int = FIRST_MTU, zone: int = ZONE
    ) -> int:
        """Publish the reference price that follows from the book; returns it."""
        book = self.book(signed)
        totals = supply_and_demand(undealt_orders(book, listed_deals(book)), self.prices(mtu_start))
        self.send(self.market_operator, "EnergyPricing", "publish", zone, mtu_start, *totals)
        return int(self.view("EnergyPricing", "referencePrice", zone, mtu_start))

    def auction(
        self, signed: Sequence[AnySigned | BookEntry], mtu_start: int = FIRST_MTU, reference_price: int = 0
    ) -> AuctionResult:
        """The node's auction over the book."""
        book, prices = self.book(signed), self.prices(mtu_start)
        facts = {entry.meter: self.facts(entry.meter) for entry in book}
        orders = auction_orders(book, listed_deals(book), facts, reference_price)
        return clear(orders, floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap)

    def proposal(
        self,
        signed: Sequence[AnySigned | BookEntry],
        *,
        result: AuctionResult | None = None,
        mtu_start: int = FIRST_MTU,
        reference_price: int = 0,
    ) -> Proposal:
        """What the node proposes for the book; `result` replaces the auction's."""
        book = self.book(signed)
        return propose(
            result or self.auction(signed, mtu_start, reference_price),
            listed_deals(book),
            book,
            {entry.meter: self.facts(entry.meter) for entry in book},
            self.rules(),
            self.prices(mtu_start),
        )

    def clearing(
        self,
        signed: Sequence[AnySigned | BookEntry],
        proposal: Proposal | None = None,
        *,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
        setpoints_root: bytes | None = None,
    ) -> ClearingData:
        """The contract's Clearing of a proposal, by default the node's, open to changes.

        Without another root the setpoints are what the proposal's positions contract.
        """
        made = proposal or self.proposal(signed, mtu_start=mtu_start)
        root = Setpoints.of(made.positions).root if setpoints_root is None else setpoints_root
        words = clearing_tuple(zone, mtu_start, self.book(signed), made, root)
        data: ClearingData = dict(zip(CLEARING_FIELDS, words, strict=True))
        for name in ("anyEnds", "lowCarbonEnds"):
            data[name] = dict(zip(("lower", "upper"), data[name], strict=True))
        for name in ("orders", "ends"):
            data[name] = [dict(zip(("terms", "guard", "r", "vs"), one, strict=True)) for one in data[name]]
        return data

    def present(
        self,
        signed: Sequence[AnySigned | BookEntry],
        fills_wh: Mapping[int, int],
        *,
        price: int | tuple[int, int],
        ends: tuple[int | None, int | None] = (None, None),
        low_carbon_ends: tuple[int | None, int | None] | None = None,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
        **top: Any,
    ) -> ClearingData:
        """A clearing made by hand, right or wrong: fills and ends by place in the book, deals included.

        One price stands for both products; named low-carbon ends make separate books. `top` changes any other field.
        """
        book = self.book(signed)
        any_price, low_carbon_price = price if isinstance(price, tuple) else (price, price)
        named = {place for place in (*ends, *(low_carbon_ends or ())) if place is not None} - fills_wh.keys()
        orders = [PresentedOrder(entry=book[at], book_index=at, fill_wh=wh) for at, wh in fills_wh.items()]
        orders.sort(key=lambda one: (one.entry.meter, one.book_index))
        unfilled = [PresentedOrder(entry=book[at], book_index=at, fill_wh=0) for at in sorted(named)]
        index_of = {item.book_index: index for index, item in enumerate((*orders, *unfilled))}
        at_uid = {item.entry.uid: index for index, item in enumerate(orders)}
        made = Proposal(
            part=WHOLE,
            merged=low_carbon_ends is None,
            any_price_cents_per_mwh=any_price,
            low_carbon_price_cents_per_mwh=low_carbon_price,
            any_ends=_indexes(ends, index_of),
            low_carbon_ends=_indexes(ends if low_carbon_ends is None else low_carbon_ends, index_of),
            orders=tuple(orders),
            ends=tuple(unfilled),
            accepted_offers=tuple(
                at_uid.get(item.entry.signed.acceptance.offer_uid, 0)
                for item in orders
                if isinstance(item.entry.signed, SignedAcceptance)
            ),
            positions=(),
            deals=(),
            trades=(),
        )
        return self.clearing(signed, made, mtu_start=mtu_start, zone=zone) | top

    def chunk(
        self,
        signed: Sequence[AnySigned | BookEntry],
        fills_wh: Mapping[int, int],
        *,
        number: int,
        last: bool,
        continued: Sequence[int] = (),
        prior_wh: Mapping[int, int] | None = None,
        **options: Any,
    ) -> tuple[ClearingData, Kept]:
        """One chunk of a clearing and what is kept of it; `continued` and `prior_wh` are by meter number."""
        top: dict[str, Any] = {"chunk": number, "last": last, "continuedMeters": sorted(continued)}
        data = self.present(signed, fills_wh, **options, **top)
        book = self.book(signed)
        listed = {book[at].uid: wh for at, wh in fills_wh.items()}
        deals = [deal for deal in listed_deals(book) if deal.acceptance_uid in listed]
        dealt = dealt_energy(deals) | {deal.acceptance_uid: deal.energy_wh for deal in deals}
        auction_wh = {uid: wh - dealt.get(uid, 0) for uid, wh in listed.items()}
        price: dict[str, Any] = {"lower_end_uid": None, "upper_end_uid": None, "volume_wh": 0}
        result = AuctionResult(
            merged=data["merged"],
            any=BookPrice(price_cents_per_mwh=data["anyPrice"], **price),
            low_carbon=BookPrice(price_cents_per_mwh=data["lowCarbonPrice"], **price),
            fills_wh={uid: wh for uid, wh in auction_wh.items() if wh},
            welfare_microcents=0,
        )
        facts = {entry.meter: self.facts(entry.meter) for entry in book}
        made = propose(result, deals, book, facts, self.rules(), self.prices(data["mtuStart"]))
        positions = tuple(
            replace(one, prior_wh=(prior_wh or {}).get(one.meter, 0), continued=one.meter in continued)
            for one in made.positions
        )
        kept = Kept(zone=data["zone"], mtu_start=data["mtuStart"], chunk=number, positions=positions, deals=made.deals)
        return data, kept

    def clear(self, clearing: ClearingData) -> Receipt:
        """Propose a clearing as it is."""
        return self.send(self.market_operator, "EnergyTrading", "clear", clearing)

    def accept(self, clearing: ClearingData, kept: Kept) -> Receipt:
        """Propose a clearing that is accepted; state hash, locks and escrow are as the node's rules say."""
        expected = self.accounts()
        expected.lock(kept.positions)
        receipt = self.clear(clearing)
        assert self.view("EnergyTrading", "stateHashOf", kept.zone, kept.mtu_start, kept.chunk) == kept.state_hash()
        assert expected.differences(self.accounts(), {}) == []
        self.assert_solvent()
        return receipt

    def clear_book(
        self,
        signed: Sequence[AnySigned | BookEntry],
        *,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
        publish: bool = False,
    ) -> Kept:
        """Close the gate, commit the book, publish the reference price where asked, and clear."""
        self.close_gate(mtu_start)
        self.commit_book(signed, mtu_start, zone)
        reference = self.publish_price(signed, mtu_start, zone) if publish else 0
        proposal = self.proposal(signed, mtu_start=mtu_start, reference_price=reference)
        kept = Kept.of(proposal, zone=zone, mtu_start=mtu_start)
        self.accept(self.clearing(signed, proposal, mtu_start=mtu_start, zone=zone), kept)
        return kept

    # --- settlement ----------------------------------------------------------------------------------------------

    def settle(self, kept: Kept, metered_wh: Mapping[int, int]) -> tuple[Kept, Receipt]:
        """Settle or correct the positions at those indexes; state hash and every account are as the rules say."""
        arguments = settle_arguments(kept, list(metered_wh), list(metered_wh.values()))
        return self._settled(kept, kept.settled(metered_wh), list(metered_wh), "settle", arguments)

    def substitute(self, kept: Kept, indexes: Sequence[int]) -> tuple[Kept, Receipt]:
        """Somebody settles positions nobody has read in time on substitute values."""
        after = kept.substituted(indexes)
        return self._settled(kept, after, indexes, "settleSubstitutes", kept.arguments(indexes))

    def refund(self, kept: Kept, indexes: Sequence[int]) -> tuple[Kept, Receipt]:
        """Somebody releases the locks of a void dispatch."""
        expected = self.accounts()
        expected.refund(kept.positions[index] for index in indexes)
        receipt = self.send(self.outsider, "EnergySettlement", "refund", *kept.arguments(indexes))
        return self._checked(kept.refunded(indexes), expected, {}), receipt

    def _settled(
        self, kept: Kept, after: Kept, indexes: Sequence[int], function: str, arguments: tuple[object, ...]
    ) -> tuple[Kept, Receipt]:
        expected, suppliers = self.accounts(), [one.lower() for one in self.parameters.suppliers]
        cleared = self.view("EnergyTrading", "clearingOf", kept.zone, kept.mtu_start)
        debts = self._debts(kept, suppliers)
        expected.debts.update(debts)
        for index in indexes:
            expected.settle(
                kept.positions[index],
                after.positions[index].metered_wh,
                suppliers[kept.positions[index].supplier_number - 1],
                self.grid_operator.address,
                (cleared["anyPrice"], cleared["lowCarbonPrice"]),
                self.prices(kept.mtu_start),
            )
        caller = self.market_operator if function == "settle" else self.outsider
        receipt = self.send(caller, "EnergySettlement", function, *arguments)
        return self._checked(after, expected, self._debts(kept, suppliers)), receipt

    def _checked(self, after: Kept, expected: PlainAccounts, debts: Mapping[tuple[str, str], int]) -> Kept:
        assert self.view("EnergyTrading", "stateHashOf", after.zone, after.mtu_start, after.chunk) == after.state_hash()
        assert expected.differences(self.accounts(), debts) == []
        self.assert_solvent()
        return after

    def _debts(self, kept: Kept, suppliers: Sequence[str]) -> dict[tuple[str, str], int]:
        pairs = [(position.owner, one) for position in kept.positions for one in suppliers]
        pairs += [(one, owner) for owner, one in pairs]
        return {pair: int(self.view("EnergyTrading", "debtOf", *pair)) for pair in pairs}


def _indexes(ends: tuple[int | None, int | None], index_of: Mapping[int, int]) -> tuple[int | None, int | None]:
    lower, upper = ends
    return None if lower is None else index_of[lower], None if upper is None else index_of[upper]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A solar producer and a consumer who agree on 600 Wh at 15,000 cents per MWh."""

    seller: Meter
    buyer: Meter
    offer: SignedOrder
    bid: SignedOrder
    mtu_start: int = FIRST_MTU

    @classmethod
    def of(cls, market: Market, **changes: Any) -> "Pair":
        """Register both, sign both orders; `offer_limit`, `bid_limit`, `quantity_wh`, `source`, `zone`, `mtu_start`."""
        zone, quantity_wh = changes.get("zone", ZONE), changes.get("quantity_wh", 600)
        mtu_start = changes.get("mtu_start", FIRST_MTU)
        seller = market.producer("producer", source=changes.get("source", SOLAR), zone=zone, eur=changes.get("eur", 10))
        buyer = market.consumer("consumer", zone=zone, eur=changes.get("eur", 10))
        return cls(
            mtu_start=mtu_start,
            seller=seller,
            buyer=buyer,
            offer=market.order(seller, SELL, quantity_wh, changes.get("offer_limit", 10_000), mtu_start=mtu_start),
            bid=market.order(buyer, BUY, quantity_wh, changes.get("bid_limit", 20_000), mtu_start=mtu_start),
        )

    @property
    def book(self) -> list[AnySigned]:
        """Both orders, the offer first."""
        return [self.offer, self.bid]

    def clearing(self, market: Market) -> ClearingData:
        """The clearing that trades everything at the midpoint of both limits."""
        return market.clearing(self.book, mtu_start=self.mtu_start, zone=self.seller.zone)

    def cleared(self, market: Market) -> Kept:
        """Close the gate, commit the book and clear."""
        return market.clear_book(self.book, mtu_start=self.mtu_start, zone=self.seller.zone)

    def delivered(self, market: Market) -> Kept:
        """Cleared, acknowledged, over and anchored: ready to settle."""
        kept = self.cleared(market)
        market.deliver(kept.mtu_start, kept.zone)
        return kept
