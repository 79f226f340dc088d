"""The order desk: accept orders and direct deals, cancel them, and receipt what is accepted.

A task never commits; its caller does.
"""

from dataclasses import dataclass
from typing import Any

from gridledger.clock import Clock
from gridledger.market.errors import (
    ClientIdReused,
    GateClosed,
    MeterUnknown,
    NotAdmitted,
    OfferNotAcceptable,
    OrderHasDeals,
    OrderNotCancellable,
    OrderUnknown,
    SignerNotOwner,
)
from gridledger.market.intake import (
    IntakeContext,
    acceptance_worst_case_microcents,
    check_acceptance,
    check_order,
    order_worst_case_microcents,
)
from gridledger.market.model import Acceptance, Order, OrderState, Receipt, Side, SignedAcceptance, SignedOrder
from gridledger.market.notices import NoticeDetails, NoticeKind, Notices
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_uid,
    cancel_digest,
    cancel_up_to_digest,
    order_uid,
    recover_address,
)
from gridledger.market.ports import (
    AcceptedDeal,
    AcceptedOrder,
    Cancelled,
    MarketDirectory,
    OrderStore,
    PostedOrder,
    ReceiptSigner,
)

__all__ = ["DeskSettings", "OrderDesk"]


@dataclass(frozen=True, kw_only=True)
class DeskSettings:
    """What is fixed for the life of a market."""

    domain: OrderDomain
    mtu_length_s: int


class OrderDesk:
    """Takes orders, acceptances and cancellations of one transaction."""

    def __init__(
        self,
        *,
        settings: DeskSettings,
        clock: Clock,
        directory: MarketDirectory,
        orders: OrderStore,
        receipts: ReceiptSigner,
        notices: Notices,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._directory = directory
        self._orders = orders
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
        context = self._context(order.owner, order.meter, order.side, order.first_mtu_start, order.last_mtu_start)
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
            next_mtu_start=order.first_mtu_start,
            final_mtu_start=order.last_mtu_start,
        )
        self._orders.add(accepted)
        self._tell(
            NoticeKind.ACCEPTED,
            accepted,
            running_number=accepted.receipt.running_number,
            price_cents_per_mwh=order.limit_cents_per_mwh,
        )
        return accepted

    def accept_deal(self, acceptance: Acceptance, signature: bytes) -> AcceptedDeal:
        """Check, keep and receipt a buyer's acceptance of a posted offer; the same again gets the same receipt."""
        uid = acceptance_uid(self._settings.domain, acceptance)
        self._require_signer(bytes.fromhex(uid[2:]), signature, acceptance.owner)
        if (known := self._orders.find_deal(uid)) is not None:
            return known
        offer = self.order(acceptance.offer_uid)
        mtu_start = acceptance.mtu_start
        context = self._context(acceptance.owner, acceptance.meter, Side.BUY, mtu_start, mtu_start)
        if offer.state is not OrderState.OPEN:
            raise OfferNotAcceptable(offer_uid=offer.signed.uid, reason=f"it is {offer.state}")
        if offer.zone != context.meter.zone:
            raise OfferNotAcceptable(offer_uid=offer.signed.uid, reason=f"it is in zone {offer.zone}")
        unsold_wh = offer.signed.order.quantity_wh - self._orders.dealt_wh(offer.signed.uid, mtu_start)
        check_acceptance(acceptance, offer.signed.order, unsold_wh, context)
        accepted = AcceptedDeal(
            signed=SignedAcceptance(acceptance=acceptance, uid=uid, signature=signature),
            zone=offer.zone,
            receipt=self._receipt(uid),
            worst_case_microcents=acceptance_worst_case_microcents(acceptance, offer.signed.order, context.policy),
            state=OrderState.OPEN,
            state_reason=None,
        )
        price_cents_per_mwh = offer.signed.order.limit_cents_per_mwh
        self._orders.add_deal(accepted)
        self._tell_deal(accepted, accepted.signed.acceptance.owner, price_cents_per_mwh)
        self._tell_deal(accepted, offer.signed.order.owner, price_cents_per_mwh)
        return accepted

    def accept_posted(self, posted: PostedOrder) -> None:
        """Receipt an order its owner posted on chain. It cannot be refused: whether it may trade, its books will say.

        It is listed from the first MTU on whose gate closed after the posting. One with no such MTU stays out.
        """
        order = posted.order
        self._orders.mark_taken(posted.uid)
        meter = self._directory.meter(order.meter)
        if self._orders.find(posted.uid) is not None or meter is None:
            return
        mtu_start = self._first_open_mtu(posted, meter.zone)
        if mtu_start is None:
            return
        policy, prices = self._directory.policy_at(mtu_start), self._directory.prices_at(mtu_start)
        accepted = AcceptedOrder(
            signed=SignedOrder(order=order, uid=posted.uid, signature=posted.signature),
            zone=meter.zone,
            client_id=None,
            receipt=self._receipt(posted.uid),
            worst_case_microcents=order_worst_case_microcents(order, policy, prices),
            state=OrderState.OPEN,
            state_reason=None,
            filled_wh=0,
            next_mtu_start=mtu_start,
            final_mtu_start=order.last_mtu_start,
        )
        self._orders.add(accepted)
        self._tell(NoticeKind.ACCEPTED, accepted, running_number=accepted.receipt.running_number, reason="on chain")

    def cancel(self, uid: str, signature: bytes) -> Cancelled:
        """Cancel an open order before its next gate closes, by its owner's EIP-712 signature.

        The same again gets the same receipt.
        """
        accepted = self.order(uid)
        digest = cancel_digest(self._settings.domain, uid)
        self._require_signer(digest, signature, accepted.signed.order.owner)
        if (known := self._orders.cancel_receipt(uid)) is not None:
            return Cancelled(order=accepted, receipt=known)
        if accepted.state not in (OrderState.OPEN, OrderState.CANCELLED):
            raise OrderNotCancellable(order_uid=uid, state=accepted.state)
        self._require_cancellable(accepted)
        if accepted.state is OrderState.OPEN:
            self._tell(NoticeKind.CANCELLED, accepted)
        receipt = self._receipt("0x" + digest.hex())
        self._orders.cancel(uid, "0x" + signature.hex(), receipt)
        return Cancelled(order=self.order(uid), receipt=receipt)

    def cancel_up_to(self, owner: str, salt: int, signature: bytes) -> tuple[tuple[str, ...], Receipt]:
        """Cancel all of an owner's open orders with a salt up to this one whose next gate is open, and all later ones.

        Returns their uids and the receipt; the same again gets the same receipt. Orders that were accepted directly for
        an MTU still to come, or whose gate has just closed, stay.
        """
        digest = cancel_up_to_digest(self._settings.domain, owner, salt)
        self._require_signer(digest, signature, owner)
        if not self._directory.is_admitted(owner):
            raise NotAdmitted(owner=owner)
        receipt = self._orders.cancel_up_to_receipt(owner, salt)
        if receipt is None:
            receipt = self._receipt("0x" + digest.hex())
            self._orders.cancel_up_to(owner, salt, "0x" + signature.hex(), receipt)
        cancelled: list[str] = []
        for accepted in self._orders.open_with_salt_up_to(owner, salt):
            try:
                self._require_cancellable(accepted)
            except (GateClosed, OrderHasDeals):
                continue
            self._orders.end(accepted.signed.uid, OrderState.CANCELLED)
            self._tell(NoticeKind.CANCELLED, accepted)
            cancelled.append(accepted.signed.uid)
        return tuple(cancelled), receipt

    def order(self, uid: str) -> AcceptedOrder:
        """The order with this uid. Raises OrderUnknown."""
        if (accepted := self._orders.find(uid)) is None:
            raise OrderUnknown(order_uid=uid[:66])
        return accepted

    def deal(self, uid: str) -> AcceptedDeal:
        """The acceptance with this uid. Raises OrderUnknown."""
        if (accepted := self._orders.find_deal(uid)) is None:
            raise OrderUnknown(order_uid=uid[:66])
        return accepted

    def _tell(self, kind: NoticeKind, accepted: AcceptedOrder, **details: Any) -> None:
        """A notice to an order's owner; `details` are fields of NoticeDetails."""
        order = accepted.signed.order
        self._notices.add(
            kind,
            owner=order.owner,
            order_uid=accepted.signed.uid,
            zone=accepted.zone,
            mtu_start=accepted.next_mtu_start,
            meter=order.meter,
            created_at=self._clock.now(),
            details=NoticeDetails(energy_wh=order.quantity_wh, **details),
        )

    def _tell_deal(self, deal: AcceptedDeal, owner: str, price_cents_per_mwh: int) -> None:
        """Buyer and seller of a direct deal are both told."""
        acceptance = deal.signed.acceptance
        self._notices.add(
            NoticeKind.ACCEPTED,
            owner=owner,
            order_uid=deal.signed.uid if owner == acceptance.owner else acceptance.offer_uid,
            zone=deal.zone,
            mtu_start=acceptance.mtu_start,
            meter=acceptance.meter if owner == acceptance.owner else None,
            created_at=self._clock.now(),
            details=NoticeDetails(
                running_number=deal.receipt.running_number,
                energy_wh=acceptance.quantity_wh,
                price_cents_per_mwh=price_cents_per_mwh,
                reason="direct deal",
            ),
        )

    def _require_cancellable(self, accepted: AcceptedOrder) -> None:
        mtu_start = min(accepted.next_mtu_start, accepted.final_mtu_start)
        gate_closure = mtu_start - self._directory.policy_at(mtu_start).gate_closure_s
        if self._clock.now() >= gate_closure:
            raise GateClosed(mtu_start=mtu_start, gate_closure=gate_closure, now=self._clock.now())
        dealt = self._orders.last_dealt_mtu(accepted.signed.uid)
        if dealt is not None:
            raise OrderHasDeals(order_uid=accepted.signed.uid, mtu_start=dealt)

    def _first_open_mtu(self, posted: PostedOrder, zone: int) -> int | None:
        """The first MTU of a posted order whose gate closed after the posting, and whose book is not closed yet."""
        order, length_s = posted.order, self._settings.mtu_length_s
        since = posted.posted_at - posted.posted_at % length_s
        for mtu_start in range(max(order.first_mtu_start, since), order.last_mtu_start + 1, length_s):
            gate_closure = mtu_start - self._directory.policy_at(mtu_start).gate_closure_s
            if posted.posted_at < gate_closure and not self._orders.has_book(zone, mtu_start):
                return mtu_start
        return None

    def _context(self, owner: str, meter_number: int, side: Side, first: int, last: int) -> IntakeContext:
        meter = self._directory.meter(meter_number)
        if meter is None:
            raise MeterUnknown(meter=meter_number)
        other_side = Side.SELL if side is Side.BUY else Side.BUY
        return IntakeContext(
            now=self._clock.now(),
            mtu_length_s=self._settings.mtu_length_s,
            policy=self._directory.policy_at(first),
            prices=self._directory.prices_at(first),
            meter=meter,
            admitted=self._directory.is_admitted(owner),
            suspended=self._directory.is_suspended(owner),
            halted=self._directory.is_halted(meter.zone),
            account=self._directory.account(owner),
            committed_microcents=self._orders.committed_microcents(owner),
            open_wh=self._orders.open_wh(meter_number, first, last, side),
            other_side_open=self._orders.has_open_order(owner, meter.zone, first, last, other_side),
            cancelled_salt=self._orders.cancelled_salt(owner),
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
