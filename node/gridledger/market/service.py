"""The market's tasks: accept and cancel orders, close the gate, match, settle.

A task never commits; its caller does.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from gridledger.clock import Clock
from gridledger.market.book import auction_orders, book_bytes, book_hash, list_orders
from gridledger.market.clearing import clear
from gridledger.market.errors import (
    ClientIdReused,
    GateClosed,
    MeterUnknown,
    OrderNotCancellable,
    OrderUnknown,
    SignerNotOwner,
)
from gridledger.market.intake import IntakeContext, check_order, order_worst_case_microcents
from gridledger.market.locking import propose
from gridledger.market.model import BookEntry, MeterFacts, MtuPhase, Order, OrderState, Receipt, Side, SignedOrder
from gridledger.market.notices import NoticeDetails, NoticeKind, Notices
from gridledger.market.order_hash import OrderDomain, cancel_digest, order_uid, recover_address
from gridledger.market.ports import (
    AcceptedOrder,
    CommitBook,
    Ledger,
    MarketDirectory,
    MarketMtus,
    MtuRecord,
    OrderStore,
    PublishPrice,
    ReceiptSigner,
    SettlePositions,
    SubmitClearing,
)
from gridledger.market.pricing import supply_and_demand

__all__ = ["MarketService", "MarketSettings"]


@dataclass(frozen=True, kw_only=True)
class MarketSettings:
    """What is fixed for the life of a market."""

    domain: OrderDomain
    mtu_length_s: int


class MarketService:
    """Tasks of the market room over its ports."""

    def __init__(
        self,
        *,
        settings: MarketSettings,
        clock: Clock,
        directory: MarketDirectory,
        orders: OrderStore,
        mtus: MarketMtus,
        ledger: Ledger,
        receipts: ReceiptSigner,
        notices: Notices,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._directory = directory
        self._orders = orders
        self._mtus = mtus
        self._ledger = ledger
        self._receipts = receipts
        self._notices = notices

    def accept(self, order: Order, signature: bytes, client_id: str | None = None) -> AcceptedOrder:
        """Check, keep and receipt an order; the same order again gets the same receipt.

        Raises the typed errors of `market.errors`.
        """
        uid = order_uid(self._settings.domain, order)
        self._require_signer(bytes.fromhex(uid[2:]), signature, order.owner)
        if (known := self._orders.find(uid)) is not None:
            return known
        if client_id is not None:
            earlier = self._orders.find_by_client_id(order.owner, client_id)
            if earlier is not None:
                raise ClientIdReused(owner=order.owner, client_id=client_id, order_uid=earlier.signed.uid)
        context = self._context(order)
        check_order(order, context)
        accepted = AcceptedOrder(
            signed=SignedOrder(order=order, uid=uid, signature=signature),
            zone=context.meter.zone,
            client_id=client_id,
            receipt=self._receipt(uid),
            worst_case_microcents=order_worst_case_microcents(order, context.policy, context.prices),
            state=OrderState.OPEN,
            state_reason=None,
            filled_wh=0,
        )
        self._orders.add(accepted)
        self._tell(
            NoticeKind.ACCEPTED,
            accepted.signed,
            accepted.zone,
            mtu_start=order.first_mtu_start,
            running_number=accepted.receipt.running_number,
            energy_wh=order.quantity_wh,
            price_cents_per_mwh=order.limit_cents_per_mwh,
        )
        return accepted

    def cancel(self, uid: str, signature: bytes) -> AcceptedOrder:
        """Cancel an open order before its gate closes, by its owner's EIP-712 signature. Idempotent."""
        accepted = self.order(uid)
        self._require_signer(cancel_digest(self._settings.domain, uid), signature, accepted.signed.order.owner)
        if accepted.state is OrderState.CANCELLED:
            return accepted
        if accepted.state is not OrderState.OPEN:
            raise OrderNotCancellable(order_uid=uid, state=accepted.state)
        mtu_start = accepted.signed.order.first_mtu_start
        gate_closure = mtu_start - self._directory.policy_at(mtu_start).gate_closure_s
        if self._clock.now() >= gate_closure:
            raise GateClosed(mtu_start=mtu_start, gate_closure=gate_closure, now=self._clock.now())
        self._orders.cancel(uid, "0x" + signature.hex(), self._clock.now())
        energy_wh = accepted.signed.order.quantity_wh
        self._tell(NoticeKind.CANCELLED, accepted.signed, accepted.zone, mtu_start=mtu_start, energy_wh=energy_wh)
        return self.order(uid)

    def order(self, uid: str) -> AcceptedOrder:
        """The order with this uid. Raises OrderUnknown."""
        if (accepted := self._orders.find(uid)) is None:
            raise OrderUnknown(order_uid=uid[:66])
        return accepted

    def close_gate(self, zone: int, mtu_start: int) -> None:
        """List the receipted orders, commit the book and publish the reference price."""
        policy, prices = self._directory.policy_at(mtu_start), self._directory.prices_at(mtu_start)
        open_orders = self._orders.open_orders(zone, mtu_start)
        owners = {accepted.signed.order.owner for accepted in open_orders}
        book = list_orders(
            [(accepted.receipt.running_number, accepted.signed) for accepted in open_orders],
            {owner: self._directory.account(owner) for owner in owners},
            frozenset(owner for owner in owners if self._directory.is_suspended(owner)),
            policy,
            prices,
        )
        supply_wh, demand_wh = supply_and_demand(
            (entry.signed.order for entry in book if entry.ineligible is None), prices
        )
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
            traded_wh=None,
            failure=None,
        )
        self._mtus.add_book(record, book)
        self._ledger.submit(
            CommitBook(zone=zone, mtu_start=mtu_start, book_hash=record.book_hash, order_count=len(book))
        )
        self._ledger.submit(PublishPrice(zone=zone, mtu_start=mtu_start, supply_wh=supply_wh, demand_wh=demand_wh))

    def match(self, zone: int, mtu_start: int) -> None:
        """Clear the committed book and propose the result to the contract."""
        policy, prices = self._directory.policy_at(mtu_start), self._directory.prices_at(mtu_start)
        if self._clock.now() > policy.clearing_deadline(mtu_start):
            self._mtus.move(zone, mtu_start, "deadline_passed", "the clearing's deadline passed")
            self._close_book(zone, mtu_start, {}, failure="the clearing's deadline passed")
            return
        book = self._mtus.book(zone, mtu_start)
        clearing = clear(auction_orders(book), floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap)
        proposal = propose(clearing, book, self._meters(book), policy, prices)
        self._mtus.keep_positions(zone, mtu_start, proposal)
        self._mtus.move(zone, mtu_start, "clearing_submitted")
        filled_wh: dict[str, int] = {}
        for match in clearing.matches:
            for uid in (match.sell_uid, match.buy_uid):
                filled_wh[uid] = filled_wh.get(uid, 0) + match.energy_wh
        self._close_book(zone, mtu_start, filled_wh, clearing.price_cents_per_mwh)
        self._ledger.submit(SubmitClearing(zone=zone, mtu_start=mtu_start, book=book_bytes(book), proposal=proposal))

    def exclude(self, zone: int, mtu_start: int, uids: Collection[str], reason: str) -> None:
        """Take back a clearing the contract refused because of these orders: they become ineligible, the rest stays.

        The MTU is matched again without them, so that nobody can stop the others by moving money after the gate.
        """
        self._mtus.forget_positions(zone, mtu_start)
        self._mtus.mark_ineligible(zone, mtu_start, uids, reason)
        self._mtus.move(zone, mtu_start, "member_excluded")

    def settle(self, zone: int, mtu_start: int, metered_wh: Mapping[int, int] | None) -> bool:
        """Settle the open positions whose meters (meter -> export minus import, Wh) are read; None refunds all.

        Returns whether a settlement was submitted.
        """
        unsettled = self._mtus.unsettled(zone, mtu_start)
        indexes = tuple(
            index for index, meter in sorted(unsettled.items()) if metered_wh is None or meter in metered_wh
        )
        if not indexes:
            return False
        metered = tuple(0 if metered_wh is None else metered_wh[unsettled[index]] for index in indexes)
        self._mtus.mark_settling(zone, mtu_start, indexes)
        self._ledger.submit(
            SettlePositions(
                zone=zone,
                mtu_start=mtu_start,
                positions=self._mtus.positions(zone, mtu_start),
                trades=self._mtus.trades(zone, mtu_start),
                indexes=indexes,
                metered_wh=metered,
            )
        )
        return True

    def tell_failed(self, zone: int, mtu_start: int, state: OrderState, reason: str) -> None:
        """Tell the owners of listed orders in this state that what the node tried for them failed, and why."""
        for entry in self._mtus.book(zone, mtu_start):
            accepted = self._orders.find(entry.signed.uid)
            if accepted is not None and accepted.state is state:
                self._tell(NoticeKind.FAILED, entry.signed, zone, mtu_start=mtu_start, reason=reason)

    def _close_book(
        self,
        zone: int,
        mtu_start: int,
        filled_wh: Mapping[str, int],
        price_cents_per_mwh: int | None = None,
        failure: str | None = None,
    ) -> None:
        without_match = NoticeKind.UNMATCHED if failure is None else NoticeKind.FAILED
        for entry in self._mtus.book(zone, mtu_start):
            signed, uid = entry.signed, entry.signed.uid
            if entry.ineligible is not None:
                self._orders.close(uid, OrderState.INELIGIBLE, entry.ineligible, 0)
                self._tell(NoticeKind.INELIGIBLE, signed, zone, mtu_start=mtu_start, reason=entry.ineligible)
            elif uid not in filled_wh:
                self._orders.close(uid, OrderState.UNMATCHED, None, 0)
                self._tell(without_match, signed, zone, mtu_start=mtu_start, reason=failure)
            else:
                energy_wh, price = filled_wh[uid], price_cents_per_mwh
                self._orders.close(uid, OrderState.MATCHED, None, energy_wh)
                self._tell(
                    NoticeKind.MATCHED,
                    signed,
                    zone,
                    mtu_start=mtu_start,
                    energy_wh=energy_wh,
                    price_cents_per_mwh=price,
                )

    def _tell(self, kind: NoticeKind, signed: SignedOrder, zone: int, *, mtu_start: int, **details: Any) -> None:
        """A notice to an order's owner; `details` are fields of NoticeDetails."""
        self._notices.add(
            kind,
            owner=signed.order.owner,
            order_uid=signed.uid,
            zone=zone,
            mtu_start=mtu_start,
            meter=signed.order.meter,
            created_at=self._clock.now(),
            details=NoticeDetails(**details),
        )

    def _meters(self, book: tuple[BookEntry, ...]) -> dict[int, MeterFacts]:
        return self._directory.meters([entry.signed.order.meter for entry in book])

    def _context(self, order: Order) -> IntakeContext:
        meter = self._directory.meter(order.meter)
        if meter is None:
            raise MeterUnknown(meter=order.meter)
        mtu_start = order.first_mtu_start
        other_side = Side.SELL if order.side is Side.BUY else Side.BUY
        return IntakeContext(
            now=self._clock.now(),
            mtu_length_s=self._settings.mtu_length_s,
            policy=self._directory.policy_at(mtu_start),
            prices=self._directory.prices_at(mtu_start),
            meter=meter,
            admitted=self._directory.is_admitted(order.owner),
            suspended=self._directory.is_suspended(order.owner),
            halted=self._directory.is_halted(meter.zone),
            account=self._directory.account(order.owner),
            committed_microcents=self._orders.committed_microcents(order.owner),
            open_wh=self._orders.open_wh(order.meter, mtu_start, order.side),
            other_side_open=self._orders.has_open_order(order.owner, meter.zone, mtu_start, other_side),
        )

    def _receipt(self, uid: str) -> Receipt:
        number, now = self._orders.next_running_number(), self._clock.now()
        block_hash = self._directory.latest_block_hash()
        return Receipt(
            order_uid=uid,
            running_number=number,
            received_at=now,
            block_hash=block_hash,
            signature=self._receipts.sign(uid, number, now, block_hash),
        )

    def _require_signer(self, digest: bytes, signature: bytes, owner: str) -> None:
        signer = recover_address(digest, signature)
        if signer != owner.lower():
            domain = self._settings.domain
            raise SignerNotOwner(owner=owner, signer=signer, chain_id=domain.chain_id, contract=domain.trading_contract)
