"""The order desk: accept orders and direct deals, cancel them, and receipt what is accepted.

A task never commits; its caller does.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from gridledger.clock import Clock
from gridledger.errors import GridLedgerError
from gridledger.market.commitments import OpenSpan
from gridledger.market.errors import (
    ClientIdReused,
    GateClosed,
    NotAdmitted,
    OfferNotAcceptable,
    OrderHasDeals,
    OrderNotCancellable,
    OrderUnknown,
)
from gridledger.market.intake import (
    acceptance_worst_case_microcents,
    check_acceptance,
    check_order,
    order_worst_case_microcents,
)
from gridledger.market.intake_facts import IntakeFacts
from gridledger.market.model import Acceptance, Order, OrderState, Receipt, Side, SignedAcceptance, SignedOrder
from gridledger.market.notices import NoticeDetails, NoticeKind, Notices
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_uid,
    cancel_digest,
    cancel_up_to_digest,
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
from gridledger.market.submission import Submission, require_signer

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
        (outcome,) = self.accept_all((Submission.checked(self._settings.domain, order, signature, client_id),))
        if isinstance(outcome, GridLedgerError):
            raise outcome
        return outcome

    def accept_all(self, submissions: Sequence[Submission]) -> tuple[AcceptedOrder | GridLedgerError, ...]:
        """Check, keep and receipt orders one after the other; each is accepted or refused on its own.

        An order counts for those after it. A refused one leaves nothing behind, not even a gap in the numbers.
        """
        batch = self._batch(submissions)
        outcomes = tuple(self._outcome(submission, batch) for submission in submissions)
        self._orders.add_all(batch.accepted)
        return outcomes

    def accept_deal(self, acceptance: Acceptance, signature: bytes) -> AcceptedDeal:
        """Check, keep and receipt a buyer's acceptance of a posted offer; the same again gets the same receipt."""
        uid = acceptance_uid(self._settings.domain, acceptance)
        self._require_signer(bytes.fromhex(uid[2:]), signature, acceptance.owner)
        if (known := self._orders.find_deal(uid)) is not None:
            return known
        offer = self.order(acceptance.offer_uid)
        mtu_start = acceptance.mtu_start
        facts = self._facts((acceptance.owner,), (acceptance.meter,), mtu_start, mtu_start)
        context = facts.context(acceptance.owner, acceptance.meter, Side.BUY, mtu_start, mtu_start)
        if offer.state is not OrderState.OPEN:
            raise OfferNotAcceptable(offer_uid=offer.signed.uid, reason=f"it is {offer.state}")
        if offer.zone != context.meter.zone:
            raise OfferNotAcceptable(offer_uid=offer.signed.uid, reason=f"it is in zone {offer.zone}")
        unsold_wh = offer.signed.order.quantity_wh - self._orders.dealt_wh(offer.signed.uid, mtu_start)
        check_acceptance(acceptance, offer.signed.order, unsold_wh, context)
        accepted = AcceptedDeal(
            signed=SignedAcceptance(acceptance=acceptance, uid=uid, signature=signature),
            zone=offer.zone,
            receipt=self._next_receipt(uid),
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
        meter = self._directory.meters((order.meter,)).get(order.meter)
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
            receipt=self._next_receipt(posted.uid),
            worst_case_microcents=order_worst_case_microcents(order, policy, prices),
            state=OrderState.OPEN,
            state_reason=None,
            filled_wh=0,
            next_mtu_start=mtu_start,
            final_mtu_start=order.last_mtu_start,
        )
        self._orders.add_all([accepted])
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
        receipt = self._next_receipt("0x" + digest.hex())
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
            receipt = self._next_receipt("0x" + digest.hex())
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

    def _facts(self, owners: Collection[str], meters: Collection[int], first: int, last: int) -> IntakeFacts:
        return IntakeFacts(
            now=self._clock.now(),
            mtu_length_s=self._settings.mtu_length_s,
            directory=self._directory,
            orders=self._orders,
            owners=owners,
            meters=meters,
            first_mtu_start=first,
            last_mtu_start=last,
        )

    def _batch(self, submissions: Sequence[Submission]) -> "_Batch":
        orders = [one.signed.order for one in submissions]
        names = {(one.signed.order.owner, one.client_id) for one in submissions if one.client_id is not None}
        return _Batch(
            facts=self._facts(
                {one.owner for one in orders},
                {one.meter for one in orders},
                min((one.first_mtu_start for one in orders), default=0),
                max((one.last_mtu_start for one in orders), default=0),
            ),
            known=self._orders.find_all([one.signed.uid for one in submissions]),
            named=self._orders.find_client_ids(names),
            next_number=self._orders.next_running_number(),
        )

    def _outcome(self, submission: Submission, batch: "_Batch") -> AcceptedOrder | GridLedgerError:
        if (known := batch.known.get(submission.signed.uid)) is not None:
            return known
        try:
            accepted = self._accepted(submission, batch)
        except GridLedgerError as refusal:
            return refusal
        batch.add(accepted)
        self._tell(
            NoticeKind.ACCEPTED,
            accepted,
            running_number=accepted.receipt.running_number,
            price_cents_per_mwh=accepted.signed.order.limit_cents_per_mwh,
        )
        return accepted

    def _accepted(self, submission: Submission, batch: "_Batch") -> AcceptedOrder:
        signed, client_id, facts = submission.signed, submission.client_id, batch.facts
        order = signed.order
        if client_id is not None and (earlier := batch.named.get((order.owner, client_id))) is not None:
            raise ClientIdReused(owner=order.owner, client_id=client_id, order_uid=earlier)
        context = facts.context(order.owner, order.meter, order.side, order.first_mtu_start, order.last_mtu_start)
        check_order(order, context)
        return AcceptedOrder(
            signed=signed,
            zone=context.meter.zone,
            client_id=client_id,
            receipt=self._receipt(signed.uid, batch.next_number, facts.now),
            worst_case_microcents=order_worst_case_microcents(order, context.policy, context.prices),
            state=OrderState.OPEN,
            state_reason=None,
            filled_wh=0,
            next_mtu_start=order.first_mtu_start,
            final_mtu_start=order.last_mtu_start,
        )

    def _next_receipt(self, uid: str) -> Receipt:
        return self._receipt(uid, self._orders.next_running_number(), self._clock.now())

    def _receipt(self, uid: str, number: int, now: int) -> Receipt:
        block_hash = self._directory.latest_block_hash()
        return Receipt(
            order_uid=uid,
            running_number=number,
            received_at=now,
            block_hash=block_hash,
            signature=self._receipts.sign(uid, number, now, block_hash),
        )

    def _require_signer(self, digest: bytes, signature: bytes, owner: str) -> None:
        require_signer(self._settings.domain, digest, signature, owner)


@dataclass(kw_only=True)
class _Batch:
    """Orders on their way in: what they are checked against, and those of them that passed."""

    facts: IntakeFacts
    known: dict[str, AcceptedOrder]  # by uid
    named: dict[tuple[str, str], str]  # uid by owner and client id
    next_number: int
    accepted: list[AcceptedOrder] = field(default_factory=list)

    def add(self, accepted: AcceptedOrder) -> None:
        """Let an accepted order count for those after it."""
        order = accepted.signed.order
        self.accepted.append(accepted)
        self.next_number += 1
        self.known[accepted.signed.uid] = accepted
        if accepted.client_id is not None:
            self.named[order.owner, accepted.client_id] = accepted.signed.uid
        self.facts.commitments.add(
            OpenSpan(
                owner=order.owner,
                meter=order.meter,
                zone=accepted.zone,
                sells=order.side is Side.SELL,
                first_mtu_start=accepted.next_mtu_start,
                last_mtu_start=accepted.final_mtu_start,
                quantity_wh=order.quantity_wh,
            ),
            accepted.worst_case_microcents,
        )
