"""The market's tasks after the gate: close the gate, match, settle. Orders come in through `market.desk`.

A task never commits; its caller does.
"""

from collections.abc import Collection, Mapping
from typing import Any

from gridledger.clock import Clock
from gridledger.market.auction import clear
from gridledger.market.book import Standing, auction_orders, book_hash, list_orders, listed_deals, undealt_orders
from gridledger.market.locking import propose
from gridledger.market.model import BookEntry, MeterFacts, MtuPhase, OrderState, SignedAcceptance, SignedOrder
from gridledger.market.notices import NoticeDetails, NoticeKind, Notices
from gridledger.market.ports import (
    AcceptedDeal,
    AcceptedOrder,
    CommitBook,
    Ledger,
    MarketDirectory,
    MarketMtus,
    MtuRecord,
    OrderStore,
    PublishPrice,
    SettlementKind,
    SettlePositions,
    SubmitClearing,
)
from gridledger.market.pricing import reference_price, supply_and_demand

__all__ = ["MarketService"]


class MarketService:
    """Tasks of the market room over its ports."""

    def __init__(
        self,
        *,
        mtu_length_s: int,
        clock: Clock,
        directory: MarketDirectory,
        orders: OrderStore,
        mtus: MarketMtus,
        ledger: Ledger,
        notices: Notices,
    ) -> None:
        self._mtu_length_s = mtu_length_s
        self._clock = clock
        self._directory = directory
        self._orders = orders
        self._mtus = mtus
        self._ledger = ledger
        self._notices = notices

    def close_gate(self, zone: int, mtu_start: int) -> None:
        """List the receipted orders, commit the book and publish the reference price."""
        policy, prices = self._directory.policy_at(mtu_start), self._directory.prices_at(mtu_start)
        receipted = self._receipted(zone, mtu_start, mtu_start - policy.gate_closure_s)
        owners = {_owner(signed) for _, signed in receipted}
        standing = Standing(
            gate_closure=mtu_start - policy.gate_closure_s,
            accounts={owner: self._directory.account(owner) for owner in owners},
            suspended=frozenset(owner for owner in owners if self._directory.is_suspended(owner)),
            policy=policy,
            prices=prices,
        )
        book = list_orders(receipted, standing)
        supply_wh, demand_wh = supply_and_demand(undealt_orders(book, listed_deals(book)), prices)
        record = MtuRecord(
            zone=zone,
            mtu_start=mtu_start,
            phase=MtuPhase.CLOSING,
            book_hash=book_hash(book),
            order_count=len(book),
            supply_wh=supply_wh,
            demand_wh=demand_wh,
            reference_price_cents_per_mwh=None,
            price_cents_per_mwh=None,
            low_carbon_price_cents_per_mwh=None,
            traded_wh=None,
            failure=None,
        )
        self._mtus.add_book(record, book)
        self._orders.pass_listed([entry.uid for entry in book if entry.is_order], self._mtu_length_s)
        self._ledger.submit(
            CommitBook(zone=zone, mtu_start=mtu_start, book_hash=record.book_hash, order_count=len(book))
        )
        if self._clock.now() <= policy.clearing_deadline(mtu_start):  # no price is taken after it
            self._ledger.submit(PublishPrice(zone=zone, mtu_start=mtu_start, supply_wh=supply_wh, demand_wh=demand_wh))

    def match(self, zone: int, mtu_start: int) -> None:
        """Clear the committed book and propose the result to the contract."""
        policy, prices = self._directory.policy_at(mtu_start), self._directory.prices_at(mtu_start)
        if self._clock.now() > policy.clearing_deadline(mtu_start):
            self._mtus.move(zone, mtu_start, "deadline_passed", "the clearing's deadline passed")
            self._close_book(zone, mtu_start, {}, failure="the clearing's deadline passed")
            return
        book, deals = self._mtus.book(zone, mtu_start), listed_deals(self._mtus.book(zone, mtu_start))
        meters = self._meters(book)
        supply_wh, demand_wh = self._published(zone, mtu_start)
        result = clear(
            auction_orders(book, deals, meters, reference_price(prices, supply_wh, demand_wh)),
            floor_cents_per_mwh=prices.floor,
            cap_cents_per_mwh=prices.cap,
        )
        proposal = propose(result, deals, book, meters, policy, prices)
        self._mtus.keep_positions(zone, mtu_start, proposal, {meter: facts.supplier for meter, facts in meters.items()})
        self._mtus.move(zone, mtu_start, "clearing_submitted")
        filled_wh = {item.entry.uid: item.fill_wh for item in proposal.orders}
        self._close_book(zone, mtu_start, filled_wh)
        self._ledger.submit(SubmitClearing(zone=zone, mtu_start=mtu_start, book=book, proposal=proposal))

    def exclude(self, zone: int, mtu_start: int, uids: Collection[str], reason: str) -> None:
        """Take back a clearing the contract refused because of these orders: they become ineligible, the rest stays.

        The MTU is matched again without them, so that nobody can stop the others by moving money after the gate. An
        acceptance falls with its offer.
        """
        self._mtus.forget_positions(zone, mtu_start)
        book = self._mtus.book(zone, mtu_start)
        orphans = [deal.acceptance_uid for deal in listed_deals(book) if deal.offer_uid in uids]
        self._mtus.mark_ineligible(zone, mtu_start, orphans, "offer not eligible")
        self._mtus.mark_ineligible(zone, mtu_start, uids, reason)
        self._mtus.move(zone, mtu_start, "member_excluded")

    def lapse(self, zone: int, mtu_start: int, event: str, failure: str, reason: str) -> None:
        """Give up an MTU whose book or clearing was refused; owners are told the reason, the failure stays here."""
        self._mtus.forget_positions(zone, mtu_start)
        self._mtus.move(zone, mtu_start, event, failure)
        self._close_book(zone, mtu_start, {}, failure=reason)

    def settle(self, zone: int, mtu_start: int, metered_wh: Mapping[int, int]) -> bool:
        """Settle the open positions whose meters (meter -> export minus import, Wh) are read.

        Returns whether a settlement was submitted; so do the two below. After the policy's deadline for corrections
        the contract takes no readings any more.
        """
        policy = self._directory.policy_at(mtu_start)
        if self._clock.now() > mtu_start + self._mtu_length_s + policy.correction_s:
            return False
        unsettled = self._mtus.unsettled(zone, mtu_start)
        indexes = tuple(index for index, meter in sorted(unsettled.items()) if meter in metered_wh)
        metered = tuple(metered_wh[unsettled[index]] for index in indexes)
        return self._submit(SettlementKind.READINGS, zone, mtu_start, indexes, metered)

    def substitute(self, zone: int, mtu_start: int) -> bool:
        """Settle what nobody has read by the policy's deadline on substitute values."""
        policy = self._directory.policy_at(mtu_start)
        if self._clock.now() < mtu_start + self._mtu_length_s + policy.substitute_after_s:
            return False
        indexes = tuple(sorted(self._mtus.unsettled(zone, mtu_start)))
        return self._submit(SettlementKind.SUBSTITUTES, zone, mtu_start, indexes, ())

    def refund(self, zone: int, mtu_start: int) -> bool:
        """Release the locks of a void dispatch."""
        indexes = tuple(sorted(self._mtus.unsettled(zone, mtu_start)))
        return self._submit(SettlementKind.REFUND, zone, mtu_start, indexes, ())

    def _submit(
        self, kind: SettlementKind, zone: int, mtu_start: int, indexes: tuple[int, ...], metered: tuple[int, ...]
    ) -> bool:
        if not indexes:
            return False
        self._mtus.mark_settling(zone, mtu_start, indexes)
        self._ledger.submit(
            SettlePositions(
                zone=zone,
                mtu_start=mtu_start,
                chunk=0,
                kind=kind,
                positions=self._mtus.positions(zone, mtu_start),
                deals=self._mtus.deals(zone, mtu_start),
                indexes=indexes,
                metered_wh=metered,
            )
        )
        return True

    def _receipted(
        self, zone: int, mtu_start: int, gate_closure: int
    ) -> list[tuple[int, SignedOrder | SignedAcceptance]]:
        """Orders and acceptances for the MTU in receipt order; an order that has expired by the gate is closed."""
        receipted: list[AcceptedOrder | AcceptedDeal] = []
        for order in self._orders.open_orders(zone, mtu_start):
            if order.signed.order.expiry < gate_closure:
                self._orders.end(order.signed.uid, OrderState.EXPIRED)
                entry = BookEntry(running_number=order.receipt.running_number, signed=order.signed)
                self._tell(NoticeKind.EXPIRED, entry, zone, mtu_start=mtu_start)
            else:
                receipted.append(order)
        receipted.extend(self._orders.open_deals(zone, mtu_start))
        return [(item.receipt.running_number, item.signed) for item in sorted(receipted, key=_running_number)]

    def _published(self, zone: int, mtu_start: int) -> tuple[int, int]:
        """Supply and demand as they were published with the book."""
        record = self._mtus.find(zone, mtu_start)
        assert record is not None  # a listed MTU has a record
        return record.supply_wh, record.demand_wh

    def tell_failed(self, zone: int, mtu_start: int, reason: str) -> None:
        """Tell the owners of the filled orders that what the node tried for them failed, and why."""
        fills = self._mtus.fills(zone, mtu_start)
        for entry in self._mtus.book(zone, mtu_start):
            if fills.get(entry.uid):
                self._tell(NoticeKind.FAILED, entry, zone, mtu_start=mtu_start, reason=reason)

    def _close_book(self, zone: int, mtu_start: int, filled_wh: Mapping[str, int], failure: str | None = None) -> None:
        without_match = NoticeKind.UNMATCHED if failure is None else NoticeKind.FAILED
        self._mtus.keep_fills(zone, mtu_start, filled_wh)
        for entry in self._mtus.book(zone, mtu_start):
            if entry.ineligible is not None:
                self._orders.close(entry.uid, mtu_start, OrderState.INELIGIBLE, entry.ineligible)
                self._tell(NoticeKind.INELIGIBLE, entry, zone, mtu_start=mtu_start, reason=entry.ineligible)
            elif entry.uid not in filled_wh:
                self._orders.close(entry.uid, mtu_start, OrderState.UNMATCHED, None)
                self._tell(without_match, entry, zone, mtu_start=mtu_start, reason=failure)
            else:
                self._orders.close(entry.uid, mtu_start, OrderState.MATCHED, None)
                energy_wh = filled_wh[entry.uid]
                self._tell(NoticeKind.MATCHED, entry, zone, mtu_start=mtu_start, energy_wh=energy_wh)

    def _tell(self, kind: NoticeKind, entry: BookEntry, zone: int, *, mtu_start: int, **details: Any) -> None:
        """A notice to an order's owner; `details` are fields of NoticeDetails."""
        self._notices.add(
            kind,
            owner=entry.owner,
            order_uid=entry.uid,
            zone=zone,
            mtu_start=mtu_start,
            meter=entry.meter,
            created_at=self._clock.now(),
            details=NoticeDetails(**details),
        )

    def _meters(self, book: tuple[BookEntry, ...]) -> dict[int, MeterFacts]:
        return self._directory.meters([entry.meter for entry in book])


def _running_number(item: AcceptedOrder | AcceptedDeal) -> int:
    return item.receipt.running_number


def _owner(signed: SignedOrder | SignedAcceptance) -> str:
    return signed.order.owner if isinstance(signed, SignedOrder) else signed.acceptance.owner
