"""The repositories keep their ports' promises: the market's tasks run over the real store as over the fakes."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError
from tests.market.fakes import (
    BUY_METER,
    BUYER,
    DOMAIN,
    GATE,
    GATE_CLOSURE_S,
    MTU_START,
    SELL_METER,
    SELLER,
    ZONE,
    an_acceptance,
    an_order,
)
from tests.store.builders import (
    Chain,
    Room,
    Undone,
    book_committed,
    cleared_events,
    founding_events,
    kept_positions,
    progressed,
    settled_event,
)

from gridledger.errors import GridLedgerError
from gridledger.market.errors import (
    ClientIdReused,
    FundsExceeded,
    MtuUnknown,
    OrderHasDeals,
    OtherSideTaken,
    SaltCancelled,
    WrongTransition,
)
from gridledger.market.model import Ineligibility, MtuPhase, Order, OrderState, Side, Trade
from gridledger.market.order_hash import cancel_digest
from gridledger.market.packing import LARGEST_TIME_S
from gridledger.market.submission import Submission
from gridledger.metering.model import Reading, StoredReading
from gridledger.store.database import Database
from gridledger.store.schema import bulk_cancellation
from gridledger.store.transaction import Transaction
from gridledger.units import UINT64_MAX

SALT = bytes(range(32))


@pytest.fixture
def tx(database: Database) -> Iterator[Transaction]:
    """A founded market in one open transaction."""
    with database.write() as opened:
        Chain().index(opened, *founding_events())
        yield opened


def stored(meter: int, mtu_start: int = MTU_START, import_wh: int = 0, export_wh: int = 0) -> StoredReading:
    reading = Reading(
        meter=meter,
        meter_id=f"load {meter}",
        mtu_start=mtu_start,
        interval_s=900,
        import_wh=import_wh,
        export_wh=export_wh,
        counter=1,
    )
    return StoredReading(reading=reading, zone=ZONE, text=f"text {meter}", salt=SALT, received_at=mtu_start + 900)


# ---- orders


def test_an_order_comes_back_as_it_was_accepted_extreme_numbers_included(tx: Transaction) -> None:
    room = Room(tx)
    order = an_order(quantity_wh=1, salt=UINT64_MAX, expiry=LARGEST_TIME_S)
    uid = room.accept(order, client_id="mine")
    accepted = tx.orders.find(uid)
    assert accepted is not None
    assert (accepted.signed.order, accepted.client_id, accepted.state) == (order, "mine", OrderState.OPEN)
    assert accepted.signed.signature == BUYER.sign(order)
    assert accepted.receipt.block_hash == tx.directory.latest_block_hash()
    names = {(BUYER.address, "mine"), (BUYER.address, "other"), (SELLER.address, "mine")}
    assert tx.orders.find_client_ids(names) == {(BUYER.address, "mine"): uid}
    assert tx.orders.find_client_ids(()) == {}
    assert tx.orders.find("0x" + "00" * 32) is None
    assert tx.orders.all_rows() == (accepted,)


def test_the_node_s_own_memory_refuses_what_the_fakes_refuse(tx: Transaction) -> None:
    room = Room(tx)
    room.accept(an_order(), client_id="mine")
    with pytest.raises(ClientIdReused):
        room.accept(an_order(salt=2), client_id="mine")
    with pytest.raises(OtherSideTaken):
        room.accept(an_order(Side.SELL, owner=BUYER.address, meter=BUY_METER), BUYER)
    tx.directory.change_free({BUYER.address: -tx.directory.account(BUYER.address).free_microcents})
    with pytest.raises(FundsExceeded):
        room.accept(an_order(quantity_wh=1, salt=3))
    assert tx.orders.count() == 1


def test_client_ids_of_any_characters_are_found_again(tx: Transaction) -> None:
    room = Room(tx)
    client_ids = ["mine", "Mine", " ", "'\"\\", "%_", "[0]", "\n\u2028", "\N{SNOWMAN}\N{MUSICAL SYMBOL G CLEF}"]
    uids = [
        room.accept(an_order(quantity_wh=1, salt=salt), client_id=client_id)
        for salt, client_id in enumerate(client_ids)
    ]
    names = [(BUYER.address, client_id) for client_id in client_ids]
    assert tx.orders.find_client_ids(names) == dict(zip(names, uids, strict=True))
    assert [tx.orders.find_client_ids((name,)) for name in names] == [
        {name: uid} for name, uid in zip(names, uids, strict=True)
    ]


def test_a_batch_counts_on_what_is_kept_and_on_itself(database: Database) -> None:
    def submission(order: Order, client_id: str | None = None) -> Submission:
        owner = SELLER if order.side is Side.SELL else BUYER
        return Submission.checked(DOMAIN, order, owner.sign(order), client_id)

    def accept(*submissions: Submission) -> list[int | str]:
        with database.write() as tx:
            outcomes = Room(tx).desk.accept_all(submissions)
        return [one.code() if isinstance(one, GridLedgerError) else one.receipt.running_number for one in outcomes]

    with database.write() as tx:
        Chain().index(tx, *founding_events())
    bids = [submission(an_order(quantity_wh=300, salt=salt), f"bid {salt}") for salt in range(4)]
    offer, large = submission(an_order(Side.SELL)), submission(an_order(quantity_wh=101, salt=9))
    assert accept(bids[0], large, bids[0], offer) == [1, 2, 1, 3]
    assert accept(bids[1], bids[0], bids[2], bids[3], large) == [4, 1, "capacity-exceeded", "capacity-exceeded", 2]
    renamed = submission(an_order(quantity_wh=1, salt=8), "bid 1")
    assert accept(renamed, submission(an_order(quantity_wh=1, salt=7), "bid 2")) == ["client-id-reused", 5]
    with database.read() as tx:
        kept = tx.orders.all_rows()
        assert [one.receipt.running_number for one in kept] == [1, 2, 3, 4, 5]
        assert [told.details.running_number for told in tx.notices.after(BUYER.address, 0, 10)] == [1, 2, 4, 5]
        assert tx.orders.find_all([one.signed.uid for one in kept] + ["0x"]) == {one.signed.uid: one for one in kept}
        assert tx.orders.committed_microcents(BUYER.address) == 702 * 22_000


def test_what_an_order_is_checked_against_is_found_by_indexes_of_its_own_keys(tx: Transaction) -> None:
    uid = Room(tx).accept(an_order())
    statements: list[tuple[str, Any]] = []
    event.listen(tx.connection, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
    tx.orders.commitments((BUYER.address,), MTU_START, MTU_START)
    tx.orders.find_all((uid,))
    tx.orders.find_client_ids(((BUYER.address, "mine"),))
    tx.directory.members((BUYER.address,))
    tx.directory.meters((BUY_METER,))
    asked = list(statements)
    plans = [
        row[3] for text, values in asked for row in tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
    ]
    tables = [step for step in plans if step.startswith(("SCAN", "SEARCH")) and " VIRTUAL TABLE " not in step]
    assert len(asked) == 6
    assert [step for step in tables if not step.startswith("SEARCH") or "by_state" in step] == []


def test_committed_money_and_open_energy_follow_every_change_within_one_transaction(tx: Transaction) -> None:
    room = Room(tx)
    worst = 22_000
    uids = [room.accept(an_order(quantity_wh=quantity, salt=quantity)) for quantity in (100, 200)]
    room.accept(an_order(Side.SELL, quantity_wh=50))
    orders, here, next_mtu = tx.orders, (MTU_START, MTU_START), (MTU_START + 900, MTU_START + 900)
    assert orders.committed_microcents(BUYER.address) == 300 * worst
    promised = orders.commitments((BUYER.address,), MTU_START, MTU_START + 900)
    assert (promised.open_wh(BUY_METER, *here, Side.BUY), promised.open_wh(BUY_METER, *here, Side.SELL)) == (300, 0)
    assert promised.open_wh(BUY_METER, *next_mtu, Side.BUY) == 0
    assert promised.has_open(BUYER.address, ZONE, *here, Side.BUY)
    assert not promised.has_open(BUYER.address, ZONE, *next_mtu, Side.BUY)
    assert not promised.has_open(BUYER.address, ZONE, *here, Side.SELL)
    assert not promised.has_open(BUYER.address, 2, *here, Side.BUY)
    room.desk.cancel(uids[1], BUYER.sign_cancel(uids[1]))
    assert orders.committed_microcents(BUYER.address) == 100 * worst
    orders.close(uids[0], MTU_START, OrderState.MATCHED, None)
    assert orders.committed_microcents(BUYER.address) == 100 * worst
    promised = orders.commitments((BUYER.address,), MTU_START, MTU_START + 900)
    assert promised.open_wh(BUY_METER, *here, Side.BUY) == 0
    assert not promised.has_open(BUYER.address, ZONE, *here, Side.BUY)
    orders.move_meter(BUY_METER, MTU_START, OrderState.MATCHED, OrderState.LOCKED)
    assert orders.committed_microcents(BUYER.address) == 0
    assert orders.committed_microcents(SELLER.address) == 50 * 22_500


SPANS = st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(1, 100))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(SPANS, max_size=5), st.lists(SPANS, max_size=2), st.integers(0, 6), st.integers(0, 4))
def test_open_energy_over_a_range_is_that_of_its_fullest_mtu(
    database: Database,
    spans: list[tuple[int, int, int]],
    deals: list[tuple[int, int, int]],
    first: int,
    length: int,
) -> None:
    """Bids over several MTUs and direct deals of one meter, against counting MTU by MTU."""

    def place(mtu: int) -> int:
        return MTU_START + 900 * mtu

    used = [0] * 16

    def play(tx: Transaction) -> None:
        Chain().index(tx, *founding_events())
        tx.directory.change_free(dict.fromkeys((BUYER.address, SELLER.address), 10**12))
        room, last = Room(tx), place(9)
        offer = room.accept(
            an_order(Side.SELL, last_mtu_start=last, expiry=last, limit_cents_per_mwh=8_000, quantity_wh=2_000)
        )
        for salt, (begin, more, quantity_wh) in enumerate(spans):
            bid = an_order(quantity_wh=quantity_wh, salt=salt, expiry=last)
            room.accept(replace(bid, first_mtu_start=place(begin), last_mtu_start=place(begin + more)))
            for mtu in range(begin, begin + more + 1):
                used[mtu] += quantity_wh
        for salt, (begin, _, quantity_wh) in enumerate(deals):
            room.deal(offer, mtu_start=place(begin), quantity_wh=quantity_wh, salt=salt)
            used[begin] += quantity_wh
        fullest = max(used[first : first + length + 1])
        asked = (place(first), place(first + length))
        promised = tx.orders.commitments((BUYER.address, SELLER.address), *asked)
        assert promised.open_wh(BUY_METER, *asked, Side.BUY) == fullest
        assert promised.has_open(BUYER.address, ZONE, *asked, Side.BUY) == (fullest > 0)
        assert promised.open_wh(BUY_METER, *asked, Side.SELL) == 0
        assert promised.open_wh(SELL_METER, *asked, Side.SELL) == 2_000
        raise Undone

    def played() -> None:
        with database.write() as tx:
            play(tx)

    with pytest.raises(Undone):
        played()


def test_a_cancellation_is_kept_with_its_signature_and_moment_once(tx: Transaction) -> None:
    room = Room(tx)
    uid = room.accept(an_order())
    signature = BUYER.sign_cancel(uid)
    receipt = room.desk.cancel(uid, signature).receipt
    assert (receipt.running_number, receipt.order_uid) == (2, "0x" + cancel_digest(DOMAIN, uid).hex())
    assert room.desk.cancel(uid, signature).receipt == receipt
    assert tx.orders.cancellations() == {uid: ("0x" + signature.hex(), room.clock.now())}
    with pytest.raises(IntegrityError):
        tx.orders.cancel(uid, "0x", receipt)


def test_a_bulk_cancellation_is_kept_once_and_takes_salts_by_value_and_not_as_text(tx: Transaction) -> None:
    room = Room(tx)
    uids = {salt: room.accept(an_order(quantity_wh=1, salt=salt)) for salt in (9, 10, 100, UINT64_MAX)}
    signature = BUYER.sign_cancel_up_to(99)
    assert room.desk.cancel_up_to(BUYER.address, 99, signature)[0] == (uids[9], uids[10])
    assert room.desk.cancel_up_to(BUYER.address, 99, signature)[0] == ()
    assert tx.orders.cancelled_salts([BUYER.address]) == {BUYER.address: 99}
    with pytest.raises(SaltCancelled):
        room.accept(an_order(quantity_wh=1, salt=98))
    rows = tx.connection.execute(select(bulk_cancellation)).all()
    assert [(row.owner, row.salt, row.signature) for row in rows] == [(BUYER.address, 99, "0x" + signature.hex())]
    assert [one.state for one in tx.orders.all_rows()] == [OrderState.CANCELLED] * 2 + [OrderState.OPEN] * 2
    assert tx.orders.committed_microcents(BUYER.address) == 2 * 22_000


# ---- direct deals


def test_a_deal_comes_back_as_it_was_accepted_in_one_sequence_with_orders(tx: Transaction) -> None:
    room = Room(tx)
    offer = room.accept(an_order(Side.SELL))
    uid = room.deal(offer, salt=LARGEST_TIME_S)
    room.accept(an_order(quantity_wh=1))
    deal = tx.orders.find_deal(uid)
    assert deal is not None
    acceptance = an_acceptance(offer, salt=LARGEST_TIME_S)
    assert (deal.signed.acceptance, deal.zone, deal.state) == (acceptance, ZONE, OrderState.OPEN)
    assert deal.signed.signature == BUYER.sign_acceptance(acceptance)
    assert deal.receipt.block_hash == tx.directory.latest_block_hash()
    numbers = [one.receipt.running_number for one in tx.orders.all_rows()]
    assert (numbers, deal.receipt.running_number) == ([1, 3], 2)
    assert tx.orders.find_deal(offer) is None
    assert tx.orders.find(uid) is None


def test_running_numbers_of_deals_go_on_after_a_restart_too(database: Database) -> None:
    with database.write() as tx:
        Chain().index(tx, *founding_events())
        room = Room(tx)
        room.deal(room.accept(an_order(Side.SELL)))
    with database.write() as tx:
        assert tx.orders.next_running_number() == 3


def test_what_is_dealt_is_known_by_offer_and_mtu_and_committed_by_the_buyer(tx: Transaction) -> None:
    room = Room(tx)
    later = MTU_START + 900
    offer = room.accept(an_order(Side.SELL, last_mtu_start=later, expiry=later))
    room.deal(offer, quantity_wh=150)
    room.deal(offer, quantity_wh=50, salt=2)
    room.deal(offer, quantity_wh=7, mtu_start=later)
    assert [tx.orders.dealt_wh(offer, mtu_start) for mtu_start in (MTU_START, later, later + 900)] == [200, 7, 0]
    assert tx.orders.last_dealt_mtu(offer) == later
    assert tx.orders.committed_microcents(BUYER.address) == 207 * 12_000
    with pytest.raises(OrderHasDeals):
        room.desk.cancel(offer, SELLER.sign_cancel(offer))


def test_a_deal_is_listed_filled_and_closed_with_its_offer_whose_rest_is_auctioned(tx: Transaction) -> None:
    room, chain = Room(tx), Chain()
    chain.number = 0
    offer = room.accept(an_order(Side.SELL))
    deal = room.deal(offer, quantity_wh=200)
    room.match(chain)
    book = tx.mtus.book(ZONE, MTU_START)
    assert [(entry.uid, entry.is_order) for entry in book] == [(offer, True), (deal, False)]
    assert tx.mtus.fills(ZONE, MTU_START) == {offer: 200, deal: 200}
    told = tx.orders.find_deal(deal)
    assert told is not None
    assert told.state is OrderState.MATCHED
    positions = kept_positions(tx)
    assert [(one.dealt_wh, one.deal_microcents) for one in positions] == [(200, 2_000_000), (200, -2_000_000)]
    deal_at_its_price = Trade(sell=0, buy=1, energy_wh=200, price_cents_per_mwh=10_000)
    assert tx.mtus.deals(ZONE, MTU_START, 0) == (deal_at_its_price,)
    chain.index(tx, *cleared_events(tx))
    assert [tx.orders.find(offer).state, tx.orders.find_deal(deal).state] == [OrderState.LOCKED] * 2  # type: ignore[union-attr]
    assert tx.mtus.trade_totals() == (1, 200)
    chain.index(tx, settled_event(BUY_METER, -200, 0), progressed(1))
    assert tx.orders.find_deal(deal).state is OrderState.SETTLED  # type: ignore[union-attr]


def test_an_mtu_with_nothing_but_an_orphaned_deal_is_still_due(tx: Transaction) -> None:
    """Its offer was cancelled on chain before the gate; the acceptance was receipted and must be listed."""
    room, chain = Room(tx), Chain()
    chain.number = 0
    offer = room.accept(an_order(Side.SELL))
    deal = room.deal(offer)
    chain.index(tx, ("OrderCancelled", {"owner": SELLER.address, "orderUid": offer}))
    assert tx.orders.unlisted_mtus(GATE, GATE_CLOSURE_S) == ((ZONE, MTU_START),)
    room.match(chain)
    told = tx.orders.find_deal(deal)
    assert told is not None
    assert (told.state, told.state_reason) == (OrderState.INELIGIBLE, "offer not eligible")
    assert tx.orders.committed_microcents(BUYER.address) == 0
    assert tx.orders.unlisted_mtus(GATE, GATE_CLOSURE_S) == ()


# ---- standing orders


def test_a_standing_order_is_due_in_each_of_its_mtus_in_turn_with_its_fills_kept(tx: Transaction) -> None:
    room, chain = Room(tx), Chain()
    chain.number = 0
    later = MTU_START + 900
    standing = room.accept(an_order(last_mtu_start=later, expiry=later))
    room.accept(an_order(Side.SELL, quantity_wh=100))
    assert tx.orders.unlisted_mtus(later, 0) == ((ZONE, MTU_START),)
    room.match(chain, MTU_START)
    assert tx.orders.unlisted_mtus(later, 0) == ((ZONE, later),)
    assert tx.orders.find(standing).state is OrderState.OPEN  # type: ignore[union-attr]
    room.accept(an_order(Side.SELL, first_mtu_start=later, last_mtu_start=later, expiry=later, quantity_wh=70))
    room.match(chain, later)
    accepted = tx.orders.find(standing)
    assert accepted is not None
    assert (accepted.state, accepted.filled_wh) == (OrderState.MATCHED, 170)
    assert tx.orders.fills(standing) == ((MTU_START, 100, None), (later, 70, None))
    assert tx.orders.all_rows()[0] == accepted
    assert tx.orders.unlisted_mtus(later + 9_000, 0) == ()


def test_an_order_in_its_last_book_is_in_no_later_one_however_long_the_match_takes(tx: Transaction) -> None:
    room = Room(tx)
    room.accept(an_order())
    room.clock.move_to(GATE)
    room.market.close_gate(ZONE, MTU_START)
    later = MTU_START + 900
    assert tx.orders.unlisted_mtus(later, 0) == ()
    assert tx.orders.open_orders(ZONE, later) == ()
    accepted = tx.orders.all_rows()[0]
    assert (accepted.state, accepted.is_listed_for_good) == (OrderState.OPEN, True)
    assert tx.orders.committed_microcents(BUYER.address) == 600 * 22_000


def test_a_rematch_after_an_exclusion_replaces_every_fill_and_position(tx: Transaction) -> None:
    room, chain = Room(tx), Chain()
    chain.number = 0
    offer = room.accept(an_order(Side.SELL))
    best = room.accept(an_order(quantity_wh=500, limit_cents_per_mwh=25_000))
    second = room.accept(an_order(quantity_wh=300, salt=2))
    room.match(chain)
    assert tx.mtus.fills(ZONE, MTU_START) == {offer: 600, best: 500, second: 100}
    room.market.exclude(ZONE, MTU_START, [best], Ineligibility.UNFUNDED)
    room.rematch()
    assert tx.mtus.fills(ZONE, MTU_START) == {offer: 300, best: 0, second: 300}
    assert [one.quantity_wh for one in kept_positions(tx)] == [300, 300]
    told = tx.orders.find(best)
    assert told is not None
    assert (told.state, told.state_reason, told.filled_wh) == (OrderState.INELIGIBLE, "not funded", 0)
    assert tx.orders.fills(best) == ((MTU_START, 0, "not funded"),)


# ---- the rest


def test_running_numbers_go_on_after_a_restart(database: Database) -> None:
    with database.write() as tx:
        Chain().index(tx, *founding_events())
        Room(tx).accept(an_order(quantity_wh=1, salt=1))
    with database.write() as tx:
        assert tx.orders.next_running_number() == 2
        Room(tx).accept(an_order(quantity_wh=1, salt=2))
        assert tx.orders.next_running_number() == 3


def test_mtus_whose_gate_has_closed_are_due_once_and_only_with_open_orders(tx: Transaction) -> None:
    room = Room(tx)
    later = MTU_START + 900
    room.accept(an_order())
    cancelled = room.accept(an_order(Side.SELL))
    room.accept(an_order(salt=2, first_mtu_start=later, last_mtu_start=later, expiry=later))
    room.desk.cancel(cancelled, SELLER.sign_cancel(cancelled))
    due = tx.orders.unlisted_mtus
    assert due(GATE - 1, GATE_CLOSURE_S) == ()
    assert due(GATE, GATE_CLOSURE_S) == ((ZONE, MTU_START),)
    assert due(GATE + 900, GATE_CLOSURE_S) == ((ZONE, MTU_START), (ZONE, later))
    room.clock.move_to(GATE)
    room.market.close_gate(ZONE, MTU_START)
    assert due(GATE + 900, GATE_CLOSURE_S) == ((ZONE, later),)


def test_a_book_comes_back_in_receipt_order_with_its_reasons(tx: Transaction) -> None:
    room, chain = Room(tx), Chain()
    chain.number = 0
    sell = room.accept(an_order(Side.SELL))
    buy = room.accept(an_order())
    chain.index(tx, ("ParticipantSuspended", {"account": SELLER.address, "suspended": True}))
    room.clock.move_to(GATE)
    room.market.close_gate(ZONE, MTU_START)
    book = tx.mtus.book(ZONE, MTU_START)
    assert [(entry.running_number, entry.signed.uid, entry.ineligible) for entry in book] == [
        (1, sell, "suspended"),
        (2, buy, None),
    ]
    assert tx.mtus.in_phase(MtuPhase.CLOSING)[0].mtu_start == MTU_START
    chain.index(tx, book_committed())
    room.rematch()
    states = {one.signed.uid: (one.state, one.state_reason) for one in tx.orders.all_rows()}
    assert states == {sell: (OrderState.INELIGIBLE, "suspended"), buy: (OrderState.UNMATCHED, None)}
    assert tx.mtus.phase_counts() == {"matched": 1}


def test_the_store_moves_phases_by_the_table_and_keeps_why_one_failed(tx: Transaction) -> None:
    room = Room(tx)
    room.clock.move_to(GATE)
    room.market.close_gate(ZONE, MTU_START)
    with pytest.raises(WrongTransition):
        tx.mtus.move(ZONE, MTU_START, "market_cleared")
    tx.mtus.move(ZONE, MTU_START, "deadline_passed", "too late")
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert (record.phase, record.failure) == (MtuPhase.LAPSED, "too late")
    assert tx.mtus.find(ZONE, MTU_START + 900) is None
    assert [one.mtu_start for one in tx.mtus.between(ZONE, MTU_START, MTU_START + 1, 5)] == [MTU_START]
    assert tx.mtus.between(ZONE, MTU_START + 1, MTU_START + 900, 5) == ()
    assert tx.mtus.between(2, 0, MTU_START + 1, 5) == ()


def test_an_mtu_whose_book_was_lost_is_named(tx: Transaction) -> None:
    with pytest.raises(MtuUnknown) as refused:
        tx.mtus.move(ZONE, MTU_START, "book_committed")
    assert refused.value.values() == {"zone": ZONE, "mtu_start": MTU_START}


def test_an_mtu_has_one_book(tx: Transaction) -> None:
    room = Room(tx)
    room.clock.move_to(GATE)
    room.market.close_gate(ZONE, MTU_START)
    with pytest.raises(IntegrityError):
        room.market.close_gate(ZONE, MTU_START)


# ---- readings


def test_a_reading_comes_back_as_it_was_kept(tx: Transaction) -> None:
    kept = stored(SELL_METER, import_wh=2**40, export_wh=1)
    tx.readings.add_all([kept])
    assert tx.readings.find(SELL_METER, MTU_START) == kept
    assert tx.readings.find(BUY_METER, MTU_START) is None
    assert list(tx.readings.all_rows()) == [kept]
    assert tx.readings.count() == 1


def test_one_meter_and_mtu_counts_once(tx: Transaction) -> None:
    tx.readings.add_all([stored(SELL_METER)])
    with pytest.raises(IntegrityError):
        tx.readings.add_all([replace(stored(SELL_METER, import_wh=5), text="another")])


def test_anchors_are_numbered_without_gaps_and_take_each_reading_once(tx: Transaction) -> None:
    tx.readings.add_all([stored(BUY_METER, import_wh=580)])
    assert tx.readings.missing_count(ZONE, MTU_START) == 1
    assert tx.readings.unanchored_mtus() == ((ZONE, MTU_START),)
    assert tx.readings.next_anchor_sequence() == 0
    tx.readings.mark_anchored(0, [(BUY_METER, MTU_START)])
    assert (tx.readings.unanchored_mtus(), tx.readings.next_anchor_sequence()) == ((), 1)
    tx.readings.add_all([stored(SELL_METER, export_wh=700)])
    assert [one.reading.meter for one in tx.readings.unanchored(ZONE, MTU_START)] == [SELL_METER]
    assert [one.anchor_sequence for one in tx.readings.at(ZONE, MTU_START)] == [None, 0]
    assert tx.readings.missing_count(ZONE, MTU_START) == 0


def test_only_readings_whose_anchor_the_chain_has_recorded_are_settled_and_proven(tx: Transaction) -> None:
    chain = Chain()
    chain.number = 0
    tx.readings.add_all([stored(BUY_METER, import_wh=580)])
    tx.readings.mark_anchored(0, [(BUY_METER, MTU_START)])
    tx.readings.add_all([stored(SELL_METER, export_wh=700, import_wh=50)])
    tx.readings.mark_anchored(1, [(SELL_METER, MTU_START)])
    assert tx.readings.anchored_net_wh(ZONE, MTU_START) == {}
    assert not tx.readings.anchor_is_recorded(0)
    key = {"root": "0x" + "00" * 32, "readingCount": 1}
    chain.index(tx, ("ReadingsAnchored", {**key, "sequence": 1}))
    assert tx.readings.anchored_net_wh(ZONE, MTU_START) == {SELL_METER: 650}
    assert [tx.readings.anchor_is_recorded(sequence) for sequence in (0, 1, 2)] == [False, True, False]
    chain.index(tx, ("ReadingsAnchored", {**key, "sequence": 0}))
    assert tx.readings.anchored_net_wh(ZONE, MTU_START) == {SELL_METER: 650, BUY_METER: -580}
    assert tx.readings.anchored_net_wh(ZONE, MTU_START + 900) == {}


def test_an_anchor_takes_what_is_due_up_to_its_limit_ascending_by_meter_then_mtu(tx: Transaction) -> None:
    later = MTU_START + 900
    tx.readings.add_all([stored(SELL_METER, at) for at in (later, MTU_START)])
    tx.readings.add_all([stored(BUY_METER, at) for at in (later, MTU_START)])
    everything = [(meter, at) for meter in sorted((SELL_METER, BUY_METER)) for at in (MTU_START, later)]
    slots = [(ZONE, MTU_START), (ZONE, later)]
    found = tx.readings.unanchored_of(slots, 10)
    assert [(one.reading.meter, one.reading.mtu_start) for one in found] == everything
    assert tx.readings.unanchored_of(slots, 3) == found[:3]
    tx.readings.mark_anchored(0, everything[:3])
    assert tx.readings.in_anchor(0) == tuple(replace(one, anchor_sequence=0) for one in found[:3])
    assert tx.readings.unanchored_of(slots, 10) == found[3:]
    assert tx.readings.unanchored_of(slots[:1], 10) == tuple(
        one for one in found[3:] if one.reading.mtu_start == MTU_START
    )
    assert set(tx.readings.anchored_slots(0)) == set(slots)


def test_what_is_proven_on_chain_stands_above_the_reading(tx: Transaction) -> None:
    chain = Chain()
    chain.number = 0
    tx.readings.add_all([stored(SELL_METER, export_wh=700)])
    tx.readings.mark_anchored(0, [(SELL_METER, MTU_START)])
    chain.index(tx, ("ReadingsAnchored", {"sequence": 0, "root": "0x" + "00" * 32, "readingCount": 1}))
    for meter, net_wh in ((SELL_METER, 690), (BUY_METER, -40)):
        arguments = {"meter": meter, "mtuStart": MTU_START, "zone": ZONE, "netWh": net_wh}
        chain.index(tx, ("ReadingProven", arguments))
    assert tx.readings.anchored_net_wh(ZONE, MTU_START) == {SELL_METER: 690, BUY_METER: -40}
    assert tx.readings.anchored_net_wh(ZONE, MTU_START + 900) == {}


# ---- blocks


def test_the_tip_is_the_newest_block_and_a_block_is_kept_once(tx: Transaction) -> None:
    chain = Chain()
    chain.number = 0
    block = chain.index(tx)
    assert tx.chain_log.tip() == block
    chain.number = 0
    with pytest.raises(IntegrityError):
        chain.index(tx)


def test_the_transformer_s_meter_is_in_no_sum_of_its_zone(tx: Transaction) -> None:
    chain = Chain()
    chain.number = 0
    tx.readings.add_all([stored(BUY_METER, import_wh=580), stored(SELL_METER, export_wh=700)])

    def told() -> tuple[int, list[tuple[int, int, int]]]:
        sums = tx.reading_views.zone_sums(ZONE, MTU_START, MTU_START + 900, 10)
        return tx.reading_views.group_size(ZONE), [(one.import_wh, one.export_wh, one.meters) for one in sums]

    import_wh, export_wh = stored(SELL_METER, export_wh=700).reading.import_wh, 700
    before = told()
    assert before == (2, [(580 + import_wh, export_wh + stored(BUY_METER, import_wh=580).reading.export_wh, 2)])
    chain.index(tx, ("TransformerSet", {"zone": ZONE, "meter": BUY_METER, "lossToleranceBp": 300}))
    assert told() == (1, [(import_wh, export_wh, 1)])
