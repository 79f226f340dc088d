"""The market's tasks after the gate: close the gate, match, settle. Orders come in through `market.desk`.

A task never commits; its caller does.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from gridledger.clock import Clock
from gridledger.market.auction import clear
from gridledger.market.book import (
    Standing,
    auction_orders,
    book_hash,
    list_orders,
    listed_deals,
    ordered_net_wh,
    undealt_orders,
)
from gridledger.market.chunks import ClearingTooLarge, propose_chunks
from gridledger.market.exclusion import needs_record, records_to_ask
from gridledger.market.locking import Proposal
from gridledger.market.model import (
    BookEntry,
    Ineligibility,
    MeterFacts,
    MtuPhase,
    OrderState,
    Recording,
    SignedAcceptance,
    SignedOrder,
)
from gridledger.market.notices import NoticeDetails, NoticeKind, Notices
from gridledger.market.ports import (
    AcceptedDeal,
    AcceptedOrder,
    ApplyCaps,
    CommitBook,
    KeptPosition,
    Ledger,
    MarketDirectory,
    MarketMtus,
    MtuRecord,
    OrderStore,
    PublishPrice,
    RecordIneligible,
    Schedules,
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
        schedules: Schedules,
    ) -> None:
        self._mtu_length_s = mtu_length_s
        self._clock = clock
        self._directory = directory
        self._orders = orders
        self._mtus = mtus
        self._ledger = ledger
        self._notices = notices
        self._schedules = schedules

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
            meters=self._directory.meters([_meter(signed) for _, signed in receipted]),
            mtu_length_s=self._mtu_length_s,
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
        """Clear the committed book and propose the result to the contract, once the bond knows who cannot trade."""
        policy = self._directory.policy_at(mtu_start)
        if self._clock.now() > policy.clearing_deadline(mtu_start):
            self._mtus.move(zone, mtu_start, "deadline_passed", "the clearing's deadline passed")
            self._close_book(zone, mtu_start, {}, failure="the clearing's deadline passed")
            return
        if self._ask_record(zone, mtu_start):
            return
        try:
            book, proposals = self._proposals(zone, mtu_start)
        except ClearingTooLarge as error:
            self.lapse(zone, mtu_start, "clearing_refused", str(error), error.title())
            return
        suppliers = {meter: facts.supplier for meter, facts in self._meters(book).items()}
        self._mtus.keep_positions(zone, mtu_start, proposals, suppliers)
        self._mtus.set_chunks(zone, mtu_start, chunk_count=len(proposals), cleared_chunks=0)
        self._mtus.move(zone, mtu_start, "clearing_submitted")
        self._close_book(zone, mtu_start, _filled_wh(proposals))
        self._propose(zone, mtu_start, book, proposals, 0)

    def go_on(self, zone: int, mtu_start: int, chunk: int) -> None:
        """Propose the next chunk of a clearing, or stop it after its deadline."""
        if self._clock.now() > self._directory.policy_at(mtu_start).clearing_deadline(mtu_start):
            self.stop(zone, mtu_start, chunk, "the clearing's deadline passed", "the clearing's deadline passed")
            return
        self._propose(zone, mtu_start, *self._proposals(zone, mtu_start), chunk)

    def stop(self, zone: int, mtu_start: int, chunk: int, failure: str, reason: str) -> None:
        """Give up a clearing of which earlier chunks are locked: what is locked will be refunded, the rest lapses."""
        _, proposals = self._proposals(zone, mtu_start)
        matched = _filled_wh(proposals)
        self._mtus.forget_positions(zone, mtu_start, chunk)
        self._mtus.unlock_fills(zone, mtu_start)
        self._mtus.move(zone, mtu_start, "clearing_stopped", failure)
        locked = {kept.position.meter for kept in self._mtus.positions(zone, mtu_start)}
        for entry in self._mtus.book(zone, mtu_start):
            if entry.uid not in matched:
                continue
            if entry.meter not in locked:
                self._orders.close(entry.uid, mtu_start, OrderState.UNMATCHED, None)
            self._tell(NoticeKind.FAILED, entry, zone, mtu_start=mtu_start, reason=reason)

    def exclude(self, zone: int, mtu_start: int, uids: Collection[str], reason: Ineligibility) -> None:
        """Take back a clearing the contract refused because of these orders: they become ineligible, the rest stays.

        The MTU is matched again without them, so that nobody can stop the others by moving money after the gate. An
        acceptance falls with its offer.
        """
        self._mtus.forget_positions(zone, mtu_start)
        book = self._mtus.book(zone, mtu_start)
        orphans = [deal.acceptance_uid for deal in listed_deals(book) if deal.offer_uid in uids]
        self._mtus.mark_ineligible(zone, mtu_start, orphans, Ineligibility.OFFER)
        self._mtus.mark_ineligible(zone, mtu_start, uids, reason)
        self._mtus.mark_recording(zone, mtu_start, [*orphans, *uids], Recording.NONE)
        self._mtus.move(zone, mtu_start, "member_excluded")

    def record_refused(self, zone: int, mtu_start: int) -> None:
        """The bond will not record who cannot trade: the market goes on without that defence."""
        asked = [entry.uid for entry in self._mtus.book(zone, mtu_start) if entry.recording is Recording.ASKED]
        self._mtus.mark_recording(zone, mtu_start, asked, Recording.FAILED)

    def lapse(self, zone: int, mtu_start: int, event: str, failure: str, reason: str) -> None:
        """Give up an MTU whose book or clearing was refused; owners are told the reason, the failure stays here."""
        self._mtus.forget_positions(zone, mtu_start)
        self._mtus.keep_fills(zone, mtu_start, {})
        self._mtus.move(zone, mtu_start, event, failure)
        self._close_book(zone, mtu_start, {}, failure=reason)

    def settle(self, zone: int, mtu_start: int, metered_wh: Mapping[int, int]) -> bool:
        """Settle the positions whose meters (meter -> export minus import, Wh) are read and not settled on just that.

        So a reading that comes late takes the place of a substitute, and a corrected one makes the next version.
        Returns whether a settlement was submitted; so do the two below. After the policy's deadline for corrections
        the contract takes no readings any more.
        """
        policy = self._directory.policy_at(mtu_start)
        if self._clock.now() > mtu_start + self._mtu_length_s + policy.correction_s:
            return False

        def is_due(kept: KeptPosition) -> bool:
            reading = metered_wh.get(kept.position.meter)
            return reading is not None and not (kept.position.read and kept.position.metered_wh == reading)

        return self._submit(SettlementKind.READINGS, zone, mtu_start, is_due, metered_wh)

    def substitute(self, zone: int, mtu_start: int, held: Collection[int]) -> bool:
        """Settle what nobody has read by the policy's deadline on substitute values.

        Meters whose readings are `held` and only wait for their anchor are not unread while readings still count.
        """
        policy, mtu_end = self._directory.policy_at(mtu_start), mtu_start + self._mtu_length_s
        if self._clock.now() < mtu_end + policy.substitute_after_s:
            return False
        if self._clock.now() > mtu_end + policy.correction_s:
            held = ()

        def is_due(kept: KeptPosition) -> bool:
            return not kept.position.settled and kept.position.meter not in held

        return self._submit(SettlementKind.SUBSTITUTES, zone, mtu_start, is_due)

    def refund(self, zone: int, mtu_start: int) -> bool:
        """Release the locks of a void dispatch, or of a clearing that was stopped."""
        return self._submit(SettlementKind.REFUND, zone, mtu_start, lambda kept: not kept.position.settled)

    def apply_caps(self, zone: int, mtu_start: int, chunk: int, caps_wh: Mapping[int, int]) -> None:
        """Have the grid operator's caps applied to a chunk's positions."""
        positions = tuple(kept.position for kept in self._mtus.positions(zone, mtu_start) if kept.chunk == chunk)
        self._ledger.submit(
            ApplyCaps(
                zone=zone,
                mtu_start=mtu_start,
                chunk=chunk,
                positions=positions,
                deals=self._mtus.deals(zone, mtu_start, chunk),
                caps_wh=caps_wh,
            )
        )

    def _submit(
        self,
        kind: SettlementKind,
        zone: int,
        mtu_start: int,
        is_due: Callable[[KeptPosition], bool],
        metered_wh: Mapping[int, int] | None = None,
    ) -> bool:
        """One command for each chunk with positions that are due."""
        submitted = False
        for chunk, group in groupby(self._mtus.positions(zone, mtu_start), key=lambda kept: kept.chunk):
            positions = tuple(group)
            due = [kept for kept in positions if not (kept.pending or kept.refunded) and is_due(kept)]
            if not due:
                continue
            indexes = tuple(kept.index for kept in due)
            self._mtus.mark_settling(zone, mtu_start, chunk, indexes)
            self._ledger.submit(
                SettlePositions(
                    zone=zone,
                    mtu_start=mtu_start,
                    chunk=chunk,
                    kind=kind,
                    positions=tuple(kept.position for kept in positions),
                    deals=self._mtus.deals(zone, mtu_start, chunk),
                    indexes=indexes,
                    metered_wh=tuple(metered_wh[kept.position.meter] for kept in due) if metered_wh else (),
                )
            )
            submitted = True
        return submitted

    def _proposals(self, zone: int, mtu_start: int) -> tuple[tuple[BookEntry, ...], tuple[Proposal, ...]]:
        """The committed book and its clearing in chunks, always the same for the same book. Raises ClearingTooLarge."""
        policy, prices = self._directory.policy_at(mtu_start), self._directory.prices_at(mtu_start)
        book = self._mtus.book(zone, mtu_start)
        deals, meters = listed_deals(book), self._meters(book)
        supply_wh, demand_wh = self._published(zone, mtu_start)
        result = clear(
            auction_orders(book, deals, meters, reference_price(prices, supply_wh, demand_wh)),
            floor_cents_per_mwh=prices.floor,
            cap_cents_per_mwh=prices.cap,
        )
        return book, propose_chunks(result, deals, book, meters, policy, prices)

    def _propose(
        self, zone: int, mtu_start: int, book: tuple[BookEntry, ...], proposals: Sequence[Proposal], chunk: int
    ) -> None:
        self._mtus.keep_fills(zone, mtu_start, _filled_wh(proposals[: chunk + 1]))
        contracted_wh: Counter[int] = Counter()
        for position in (position for proposal in proposals for position in proposal.positions):
            contracted_wh[position.meter] += position.contracted_wh
        root = self._schedules.commit(zone, mtu_start, contracted_wh, ordered_net_wh(book))
        self._ledger.submit(
            SubmitClearing(zone=zone, mtu_start=mtu_start, book=book, proposal=proposals[chunk], setpoints_root=root)
        )

    def _ask_record(self, zone: int, mtu_start: int) -> bool:
        """Have the bond record who cannot trade; returns whether the clearing must wait for that.

        What was asked for and is not recorded, the contract found able to trade.
        """
        book = self._mtus.book(zone, mtu_start)
        cleared = [entry.uid for entry in book if entry.recording is Recording.ASKED]
        if cleared:
            self._mtus.mark_ineligible(zone, mtu_start, cleared, None)
            self._mtus.mark_recording(zone, mtu_start, cleared, Recording.NONE)
            book = self._mtus.book(zone, mtu_start)
        records = records_to_ask(book)
        for owners in records:
            asked = [entry.uid for lines in owners for entry in lines if needs_record(entry)]
            self._mtus.mark_recording(zone, mtu_start, asked, Recording.ASKED)
            self._ledger.submit(RecordIneligible(zone=zone, mtu_start=mtu_start, book=book, owners=owners))
        return bool(records)

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


def _meter(signed: SignedOrder | SignedAcceptance) -> int:
    return signed.order.meter if isinstance(signed, SignedOrder) else signed.acceptance.meter


def _filled_wh(proposals: Sequence[Proposal]) -> Counter[str]:
    """What some chunks fill of each order together, Wh by uid."""
    filled_wh: Counter[str] = Counter()
    for item in (item for proposal in proposals for item in proposal.orders):
        filled_wh[item.entry.uid] += item.fill_wh
    return filled_wh


def _running_number(item: AcceptedOrder | AcceptedDeal) -> int:
    return item.receipt.running_number


def _owner(signed: SignedOrder | SignedAcceptance) -> str:
    return signed.order.owner if isinstance(signed, SignedOrder) else signed.acceptance.owner
