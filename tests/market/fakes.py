"""A directory, stores and members for the market tests; small, and honest about their ports."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.clock import ManualClock
from gridledger.market.commitments import Commitments, OpenSpan
from gridledger.market.desk import DeskSettings, OrderDesk
from gridledger.market.locking import Proposal
from gridledger.market.model import (
    Acceptance,
    BookEntry,
    CashAccount,
    Ineligibility,
    MemberFacts,
    MeterFacts,
    MtuPhase,
    MtuPrices,
    Order,
    OrderState,
    Policy,
    Position,
    Pricing,
    Product,
    Receipt,
    Recording,
    Side,
    SignedAcceptance,
    SignedOrder,
    Trade,
    advance_phase,
)
from gridledger.market.notices import Notice, NoticeDetails, NoticeKind
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_typed_data,
    acceptance_uid,
    cancel_typed_data,
    cancel_up_to_typed_data,
    order_typed_data,
    order_uid,
)
from gridledger.market.ports import AcceptedDeal, AcceptedOrder, KeptPosition, LedgerCommand, MtuRecord, PostedOrder
from gridledger.market.service import MarketService

DOMAIN = OrderDomain(chain_id=31_337, trading_contract="0x" + "11" * 20)
MTU_LENGTH_S = 900
MTU_START = 1_465_776_000  # 2016-06-13T00:00:00Z
GATE_CLOSURE_S = 300
GATE = MTU_START - GATE_CLOSURE_S
NOW = GATE - 1_000
ZONE = 1
SUPPLIER = "0x" + "22" * 20
BLOCK_HASH = "0x" + "33" * 32
EUR = 10**8
ENDED = (OrderState.CANCELLED, OrderState.EXPIRED)

POLICY = Policy(
    gate_closure_s=GATE_CLOSURE_S,
    answer_lead_s=60,
    proceed_without_answer=True,
    substitute_after_s=5 * 86_400,
    correction_s=60 * 86_400,
    seller_reward_share_bp=5_000,
    default_grid_factor_mgco2_per_kwh=363_000,
    grid_fee_cents_per_mwh=2_000,
    low_carbon_relief_cents_per_mwh=1_000,
    replacement_bearers=0x20AA,
)
PRICES = MtuPrices(feed_in=8_000, retail=32_000, floor=8_000, cap=32_000, surplus=7_500, shortage=32_500)


class Member:
    """Somebody with a secp256k1 key; the same number has the same key in every test."""

    def __init__(self, number: int) -> None:
        self._account: LocalAccount = Account.from_key(number.to_bytes(32))

    @property
    def address(self) -> str:
        return str(self._account.address)

    def sign(self, order: Order, domain: OrderDomain = DOMAIN) -> bytes:
        return self._signature(encode_typed_data(full_message=order_typed_data(domain, order)))

    def sign_acceptance(self, acceptance: Acceptance, domain: OrderDomain = DOMAIN) -> bytes:
        return self._signature(encode_typed_data(full_message=acceptance_typed_data(domain, acceptance)))

    def sign_cancel(self, uid: str, domain: OrderDomain = DOMAIN) -> bytes:
        return self._signature(encode_typed_data(full_message=cancel_typed_data(domain, uid)))

    def sign_cancel_up_to(self, salt: int, owner: str | None = None, domain: OrderDomain = DOMAIN) -> bytes:
        document = cancel_up_to_typed_data(domain, owner or self.address, salt)
        return self._signature(encode_typed_data(full_message=document))

    def _signature(self, document: object) -> bytes:
        return bytes(self._account.sign_message(document).signature)  # type: ignore[arg-type]


SELLER, BUYER, OUTSIDER, NEIGHBOUR = Member(1), Member(2), Member(3), Member(4)
MEMBERS = {member.address: member for member in (SELLER, BUYER, OUTSIDER, NEIGHBOUR)}
SELL_METER, BUY_METER, NEIGHBOUR_METER = 1, 2, 4


def an_order(side: Side = Side.BUY, **changes: object) -> Order:
    """An unremarkable order of the buyer (meter 2) or the seller (meter 1) with some fields changed."""
    sells = side is Side.SELL
    order = Order(
        owner=(SELLER if sells else BUYER).address,
        meter=SELL_METER if sells else BUY_METER,
        side=side,
        product=Product.ANY,
        pricing=Pricing.LIMIT,
        first_mtu_start=MTU_START,
        last_mtu_start=MTU_START,
        quantity_wh=600,
        limit_cents_per_mwh=10_000 if sells else 20_000,
        expiry=MTU_START,
        salt=1,
    )
    return replace(order, **changes)  # type: ignore[arg-type]


def an_acceptance(offer_uid: str, **changes: object) -> Acceptance:
    """The buyer's acceptance of 200 Wh of an offer for the first MTU with some fields changed."""
    acceptance = Acceptance(
        owner=BUYER.address, meter=BUY_METER, offer_uid=offer_uid, mtu_start=MTU_START, quantity_wh=200, salt=1
    )
    return replace(acceptance, **changes)  # type: ignore[arg-type]


def meter_facts(meter: int, owner: str, **changes: object) -> MeterFacts:
    """A meter of 4 kW in and 8 kW out in zone 1, without generation."""
    facts = MeterFacts(
        meter=meter,
        owner=owner,
        supplier=SUPPLIER,
        supplier_number=1,
        zone=ZONE,
        import_capacity_w=4_000,
        export_capacity_w=8_000,
        source=0,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def signed(order: Order, signer: Member | None = None) -> SignedOrder:
    """An order as the book keeps it; without a signer the signature is 65 bytes of nothing."""
    signature = bytes(65) if signer is None else signer.sign(order)
    return SignedOrder(order=order, uid=order_uid(DOMAIN, order), signature=signature)


def signed_acceptance(acceptance: Acceptance, signer: Member | None = None) -> SignedAcceptance:
    """An acceptance as the book keeps it; without a signer the signature is 65 bytes of nothing."""
    signature = bytes(65) if signer is None else signer.sign_acceptance(acceptance)
    return SignedAcceptance(acceptance=acceptance, uid=acceptance_uid(DOMAIN, acceptance), signature=signature)


class FakeDirectory:
    """What the chain says, in plain fields."""

    def __init__(self) -> None:
        self.meter_facts = {
            SELL_METER: meter_facts(SELL_METER, SELLER.address, source=1),
            BUY_METER: meter_facts(BUY_METER, BUYER.address),
            NEIGHBOUR_METER: meter_facts(NEIGHBOUR_METER, NEIGHBOUR.address),
        }
        self.admitted = {SELLER.address, BUYER.address, NEIGHBOUR.address}
        self.suspended: set[str] = set()
        self.halted: set[int] = set()
        rich = CashAccount(free_microcents=10 * EUR, credit_microcents=0)
        self.money = dict.fromkeys(self.admitted, rich)
        self.policy, self.prices = POLICY, PRICES

    def meters(self, meters: Collection[int]) -> dict[int, MeterFacts]:
        return {meter: self.meter_facts[meter] for meter in meters if meter in self.meter_facts}

    def members(self, accounts: Collection[str]) -> dict[str, MemberFacts]:
        return {
            account: MemberFacts(suspended=self.is_suspended(account), account=self.account(account))
            for account in accounts
            if self.is_admitted(account)
        }

    def is_admitted(self, account: str) -> bool:
        return account in self.admitted

    def is_suspended(self, account: str) -> bool:
        return account in self.suspended

    def is_halted(self, zone: int) -> bool:
        return bool(self.halted & {0, zone})

    def account(self, account: str) -> CashAccount:
        return self.money.get(account, CashAccount(free_microcents=0, credit_microcents=0))

    def policy_at(self, mtu_start: int) -> Policy:
        return self.policy

    def prices_at(self, mtu_start: int) -> MtuPrices:
        return self.prices

    def latest_block_hash(self) -> str:
        return BLOCK_HASH


class FakeOrders:
    """Accepted orders and acceptances by uid."""

    def __init__(self) -> None:
        self.kept: dict[str, AcceptedOrder] = {}
        self.deals: dict[str, AcceptedDeal] = {}
        self.cancellations: dict[str, tuple[str, Receipt]] = {}
        self.bulk_cancellations: dict[tuple[str, int], tuple[str, Receipt]] = {}
        self.posted_orders: list[PostedOrder] = []
        self.taken: set[str] = set()
        self.listed: set[tuple[int, int]] = set()

    def find(self, uid: str) -> AcceptedOrder | None:
        return self.kept.get(uid)

    def find_all(self, uids: Collection[str]) -> dict[str, AcceptedOrder]:
        return {uid: self.kept[uid] for uid in uids if uid in self.kept}

    def find_client_ids(self, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        kept = {(one.signed.order.owner, one.client_id or ""): uid for uid, one in self.kept.items()}
        return {name: kept[name] for name in names if name in kept}

    def find_deal(self, uid: str) -> AcceptedDeal | None:
        return self.deals.get(uid)

    def next_running_number(self) -> int:
        return len(self.kept) + len(self.deals) + len(self.cancellations) + len(self.bulk_cancellations) + 1

    def commitments(self, owners: Collection[str], first_mtu_start: int, last_mtu_start: int) -> Commitments:
        accepted: list[AcceptedOrder | AcceptedDeal] = [*self.kept.values(), *self.deals.values()]
        microcents = dict.fromkeys(owners, 0)
        spans = [_span(one) for one in accepted if one.state is OrderState.OPEN]
        for one in accepted:
            if one.state in (OrderState.OPEN, OrderState.MATCHED) and _span(one).owner in owners:
                microcents[_span(one).owner] += one.worst_case_microcents
        asked = range(first_mtu_start, last_mtu_start + 1, MTU_LENGTH_S)
        return Commitments(
            microcents,
            [span for span in spans if any(span.first_mtu_start <= at <= span.last_mtu_start for at in asked)],
        )

    def dealt_wh(self, offer_uid: str, mtu_start: int) -> int:
        acceptances = [one.signed.acceptance for one in self.deals.values()]
        return sum(one.quantity_wh for one in acceptances if (one.offer_uid, one.mtu_start) == (offer_uid, mtu_start))

    def last_dealt_mtu(self, offer_uid: str) -> int | None:
        acceptances = [one.signed.acceptance for one in self.deals.values() if one.state is OrderState.OPEN]
        return max((one.mtu_start for one in acceptances if one.offer_uid == offer_uid), default=None)

    def add_all(self, orders: Sequence[AcceptedOrder]) -> None:
        for order in orders:
            assert order.signed.uid not in self.kept
            self.kept[order.signed.uid] = order

    def add_deal(self, deal: AcceptedDeal) -> None:
        assert deal.signed.uid not in self.deals
        self.deals[deal.signed.uid] = deal

    def cancel(self, uid: str, signature: str, receipt: Receipt) -> None:
        assert uid not in self.cancellations
        self.cancellations[uid] = (signature, receipt)
        self.end(uid, OrderState.CANCELLED)

    def cancel_receipt(self, uid: str) -> Receipt | None:
        return self.cancellations[uid][1] if uid in self.cancellations else None

    def cancel_up_to(self, owner: str, salt: int, signature: str, receipt: Receipt) -> None:
        assert (owner, salt) not in self.bulk_cancellations
        self.bulk_cancellations[owner, salt] = (signature, receipt)

    def cancel_up_to_receipt(self, owner: str, salt: int) -> Receipt | None:
        known = self.bulk_cancellations.get((owner, salt))
        return None if known is None else known[1]

    def cancelled_salts(self, owners: Collection[str]) -> dict[str, int]:
        return {owner: salt for owner, salt in sorted(self.bulk_cancellations) if owner in owners}

    def posted(self) -> tuple[PostedOrder, ...]:
        return tuple(one for one in self.posted_orders if one.uid not in self.taken)

    def mark_taken(self, uid: str) -> None:
        self.taken.add(uid)

    def has_book(self, zone: int, mtu_start: int) -> bool:
        return (zone, mtu_start) in self.listed

    def open_with_salt_up_to(self, owner: str, salt: int) -> tuple[AcceptedOrder, ...]:
        return tuple(one for one in self._of(owner) if one.state is OrderState.OPEN and one.signed.order.salt <= salt)

    def open_orders(self, zone: int, mtu_start: int) -> tuple[AcceptedOrder, ...]:
        return tuple(
            one
            for one in self.kept.values()
            if one.state is OrderState.OPEN
            and not one.is_listed_for_good
            and (one.zone, one.next_mtu_start) == (zone, mtu_start)
        )

    def open_deals(self, zone: int, mtu_start: int) -> tuple[AcceptedDeal, ...]:
        return tuple(
            one
            for one in self.deals.values()
            if one.state is OrderState.OPEN and (one.zone, one.signed.acceptance.mtu_start) == (zone, mtu_start)
        )

    def unlisted_mtus(self, latest_gate: int, gate_closure_s: int) -> tuple[tuple[int, int], ...]:
        orders = [
            (one.zone, one.next_mtu_start)
            for one in self.kept.values()
            if one.state is OrderState.OPEN and not one.is_listed_for_good
        ]
        deals = [
            (one.zone, one.signed.acceptance.mtu_start) for one in self.deals.values() if one.state is OrderState.OPEN
        ]
        due = {place for place in (*orders, *deals) if place[1] - gate_closure_s <= latest_gate}
        return tuple(sorted(due - self.listed, key=lambda place: (place[1], place[0])))

    def pass_listed(self, uids: Sequence[str], mtu_length_s: int) -> None:
        for uid in uids:
            self.kept[uid] = replace(self.kept[uid], next_mtu_start=self.kept[uid].next_mtu_start + mtu_length_s)

    def close(self, uid: str, mtu_start: int, state: OrderState, reason: str | None) -> None:
        if uid in self.deals:
            self.deals[uid] = replace(self.deals[uid], state=state, state_reason=reason)
        elif self.kept[uid].final_mtu_start == mtu_start and self.kept[uid].state not in ENDED:
            self.kept[uid] = replace(self.kept[uid], state=state, state_reason=reason)

    def end(self, uid: str, state: OrderState, reason: str | None = None) -> None:
        self.kept[uid] = replace(self.kept[uid], state=state, state_reason=reason)

    def _of(self, owner: str) -> list[AcceptedOrder]:
        return [one for one in self.kept.values() if one.signed.order.owner == owner]


def _span(kept: AcceptedOrder | AcceptedDeal) -> OpenSpan:
    order = kept.signed.order if isinstance(kept, AcceptedOrder) else kept.signed.acceptance
    return OpenSpan(
        owner=order.owner,
        meter=order.meter,
        zone=kept.zone,
        sells=isinstance(order, Order) and order.side is Side.SELL,
        first_mtu_start=kept.next_mtu_start if isinstance(kept, AcceptedOrder) else kept.signed.acceptance.mtu_start,
        last_mtu_start=kept.final_mtu_start if isinstance(kept, AcceptedOrder) else kept.signed.acceptance.mtu_start,
        quantity_wh=order.quantity_wh,
    )


class FakeMtus:
    """Books, clearings and positions of zones and MTUs."""

    def __init__(self) -> None:
        self.records: dict[tuple[int, int], MtuRecord] = {}
        self.books: dict[tuple[int, int], tuple[BookEntry, ...]] = {}
        self.proposals: dict[tuple[int, int], tuple[Proposal, ...]] = {}
        self.filled_wh: dict[tuple[int, int], dict[str, int]] = {}
        self.settling: set[tuple[int, int, int, int]] = set()
        self.settled: dict[tuple[int, int, int, int], Position] = {}

    def find(self, zone: int, mtu_start: int) -> MtuRecord | None:
        return self.records.get((zone, mtu_start))

    def in_phase(self, phase: MtuPhase) -> tuple[MtuRecord, ...]:
        return tuple(record for record in self.records.values() if record.phase is phase)

    def add_book(self, record: MtuRecord, book: Sequence[BookEntry]) -> None:
        key = (record.zone, record.mtu_start)
        assert key not in self.records
        self.records[key], self.books[key] = record, tuple(book)

    def book(self, zone: int, mtu_start: int) -> tuple[BookEntry, ...]:
        return self.books[zone, mtu_start]

    def move(self, zone: int, mtu_start: int, event: str, failure: str | None = None) -> None:
        record = self.records[zone, mtu_start]
        self.records[zone, mtu_start] = replace(record, phase=advance_phase(record.phase, event), failure=failure)

    def set_chunks(self, zone: int, mtu_start: int, *, chunk_count: int, cleared_chunks: int) -> None:
        record = self.records[zone, mtu_start]
        self.records[zone, mtu_start] = replace(record, chunk_count=chunk_count, cleared_chunks=cleared_chunks)

    def keep_positions(
        self, zone: int, mtu_start: int, proposals: Sequence[Proposal], suppliers: Mapping[int, str]
    ) -> None:
        assert {one.meter for proposal in proposals for one in proposal.positions} <= set(suppliers)
        self.proposals[zone, mtu_start] = tuple(proposals)

    def forget_positions(self, zone: int, mtu_start: int, from_chunk: int = 0) -> None:
        self.proposals[zone, mtu_start] = self.proposals.get((zone, mtu_start), ())[:from_chunk]

    def mark_ineligible(self, zone: int, mtu_start: int, uids: Collection[str], reason: Ineligibility | None) -> None:
        self._change(zone, mtu_start, uids, ineligible=reason)

    def mark_recording(self, zone: int, mtu_start: int, uids: Collection[str], recording: Recording) -> None:
        self._change(zone, mtu_start, uids, recording=recording)

    def _change(self, zone: int, mtu_start: int, uids: Collection[str], **values: Any) -> None:
        self.books[zone, mtu_start] = tuple(
            replace(entry, **values) if entry.uid in uids else entry for entry in self.books[zone, mtu_start]
        )

    def keep_fills(self, zone: int, mtu_start: int, filled_wh: Mapping[str, int]) -> None:
        self.filled_wh[zone, mtu_start] = dict(filled_wh)

    def unlock_fills(self, zone: int, mtu_start: int) -> None:
        self.filled_wh[zone, mtu_start] = {}
        for proposal in self.proposals[zone, mtu_start]:
            for item in proposal.orders:
                self.filled_wh[zone, mtu_start][item.entry.uid] = item.fill_wh

    def fills(self, zone: int, mtu_start: int) -> dict[str, int]:
        return self.filled_wh.get((zone, mtu_start), {})

    def positions(self, zone: int, mtu_start: int) -> tuple[KeptPosition, ...]:
        return tuple(
            KeptPosition(
                chunk=chunk,
                index=index,
                position=self.settled.get((zone, mtu_start, chunk, index), position),
                refunded=False,
                pending=(zone, mtu_start, chunk, index) in self.settling,
            )
            for chunk, proposal in enumerate(self.proposals.get((zone, mtu_start), ()))
            for index, position in enumerate(proposal.positions)
        )

    def deals(self, zone: int, mtu_start: int, chunk: int) -> tuple[Trade, ...]:
        return self.proposals[zone, mtu_start][chunk].deals

    def mark_settling(self, zone: int, mtu_start: int, chunk: int, indexes: Sequence[int]) -> None:
        self.settling |= {(zone, mtu_start, chunk, index) for index in indexes}


class FakeLedger:
    """Commands in the order they were submitted."""

    def __init__(self) -> None:
        self.submitted: list[LedgerCommand] = []

    def submit(self, command: LedgerCommand) -> None:
        self.submitted.append(command)


class FakeReceipts:
    """Signs by saying what it signs."""

    def sign(self, order_uid: str, running_number: int, received_at: int, block_hash: str) -> str:
        return f"{order_uid} {running_number} {received_at} {block_hash}"


class FakeNotices:
    """Notices in the order they were added."""

    def __init__(self) -> None:
        self.added: list[Notice] = []

    def add(
        self,
        kind: NoticeKind,
        *,
        owner: str,
        order_uid: str | None,
        zone: int | None,
        mtu_start: int,
        meter: int | None,
        created_at: int,
        details: NoticeDetails,
    ) -> None:
        self.added.append(
            Notice(
                id=len(self.added) + 1,
                owner=owner,
                kind=kind,
                order_uid=order_uid,
                zone=zone,
                mtu_start=mtu_start,
                meter=meter,
                details=details,
                created_at=created_at,
            )
        )


@dataclass(frozen=True, kw_only=True)
class World:
    """A market room over fakes."""

    desk: OrderDesk
    market: MarketService
    clock: ManualClock
    directory: FakeDirectory
    orders: FakeOrders
    mtus: FakeMtus
    ledger: FakeLedger
    notices: FakeNotices

    def accept(self, order: Order, client_id: str | None = None) -> AcceptedOrder:
        """Sign by the order's owner and accept."""
        return self.desk.accept(order, MEMBERS[order.owner].sign(order), client_id)

    def deal(self, offer_uid: str, **changes: object) -> AcceptedDeal:
        """Sign an acceptance by its owner and accept it."""
        acceptance = an_acceptance(offer_uid, **changes)
        return self.desk.accept_deal(acceptance, MEMBERS[acceptance.owner].sign_acceptance(acceptance))

    def listed(self, mtu_start: int = MTU_START) -> MtuRecord:
        """Close the gate and let the chain commit the book."""
        self.clock.move_to(mtu_start - GATE_CLOSURE_S)
        self.market.close_gate(ZONE, mtu_start)
        self.orders.listed.add((ZONE, mtu_start))
        self.mtus.move(ZONE, mtu_start, "book_committed")
        return self.mtus.records[ZONE, mtu_start]

    def matched(self, mtu_start: int = MTU_START) -> Proposal:
        """Close the gate and match; returns what was proposed."""
        self.listed(mtu_start)
        self.match(mtu_start)
        return self.mtus.proposals[ZONE, mtu_start][0]

    def match(self, mtu_start: int = MTU_START) -> None:
        """Match; where the bond is asked to record who cannot trade, it records all of it, and matching goes on."""
        self.market.match(ZONE, mtu_start)
        asked = [entry.uid for entry in self.mtus.books[ZONE, mtu_start] if entry.recording is Recording.ASKED]
        if asked:
            self.mtus.mark_recording(ZONE, mtu_start, asked, Recording.RECORDED)
            self.market.match(ZONE, mtu_start)

    def fills(self, mtu_start: int = MTU_START) -> dict[str, int]:
        """What the orders of a book were filled with, Wh by uid."""
        return self.mtus.fills(ZONE, mtu_start)


class FakeSetpoints:
    """Keeps the contracts that setpoints are made of; the root says how often."""

    def __init__(self) -> None:
        self.contracted_wh: list[Mapping[int, int]] = []
        self.ordered_wh: list[Mapping[int, int]] = []

    def commit(
        self,
        zone: int,
        mtu_start: int,
        contracted_wh: Mapping[int, int],
        ordered_wh: Mapping[int, int],
    ) -> str:
        self.contracted_wh.append(contracted_wh)
        self.ordered_wh.append(ordered_wh)
        return f"0x{len(self.contracted_wh):064x}"


def a_world(now: int = NOW) -> World:
    """A fresh market: the seller with meter 1, the buyer with meter 2, a neighbour with meter 4, 10 EUR each."""
    clock, directory, orders = ManualClock(now), FakeDirectory(), FakeOrders()
    mtus, ledger, notices = FakeMtus(), FakeLedger(), FakeNotices()
    desk = OrderDesk(
        settings=DeskSettings(domain=DOMAIN, mtu_length_s=MTU_LENGTH_S),
        clock=clock,
        directory=directory,
        orders=orders,
        receipts=FakeReceipts(),
        notices=notices,
    )
    market = MarketService(
        mtu_length_s=MTU_LENGTH_S,
        clock=clock,
        directory=directory,
        orders=orders,
        mtus=mtus,
        ledger=ledger,
        notices=notices,
        schedules=FakeSetpoints(),
    )
    return World(
        desk=desk,
        market=market,
        clock=clock,
        directory=directory,
        orders=orders,
        mtus=mtus,
        ledger=ledger,
        notices=notices,
    )
