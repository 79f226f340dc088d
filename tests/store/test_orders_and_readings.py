"""The repositories keep their ports' promises: the market's tasks run over the real store as over the fakes."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError
from tests.market.fakes import (
    BUY_METER,
    BUYER,
    GATE,
    GATE_CLOSURE_S,
    MTU_START,
    SELL_METER,
    SELLER,
    ZONE,
    an_order,
)
from tests.store.builders import Chain, Room, book_committed, founding_events

from gridledger.market.errors import ClientIdReused, FundsExceeded, MtuUnknown, OtherSideTaken, WrongTransition
from gridledger.market.model import MtuPhase, OrderState, Side
from gridledger.metering.model import Reading, StoredReading
from gridledger.store.database import Database
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
    order = an_order(quantity_wh=1, salt=UINT64_MAX, expiry=UINT64_MAX)
    uid = room.accept(order, client_id="mine")
    accepted = tx.orders.find(uid)
    assert accepted is not None
    assert (accepted.signed.order, accepted.client_id, accepted.state) == (order, "mine", OrderState.OPEN)
    assert accepted.signed.signature == BUYER.sign(order)
    assert accepted.receipt.block_hash == tx.directory.latest_block_hash()
    assert tx.orders.find_by_client_id(BUYER.address, "mine") == accepted
    assert tx.orders.find_by_client_id(SELLER.address, "mine") is None
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


def test_committed_money_and_open_energy_follow_every_change_within_one_transaction(tx: Transaction) -> None:
    room = Room(tx)
    worst = 22_000
    uids = [room.accept(an_order(quantity_wh=quantity, salt=quantity)) for quantity in (100, 200)]
    room.accept(an_order(Side.SELL, quantity_wh=50))
    orders = tx.orders
    assert orders.committed_microcents(BUYER.address) == 300 * worst
    assert (orders.open_wh(BUY_METER, MTU_START, Side.BUY), orders.open_wh(BUY_METER, MTU_START, Side.SELL)) == (300, 0)
    assert orders.open_wh(BUY_METER, MTU_START + 900, Side.BUY) == 0
    assert orders.has_open_order(BUYER.address, ZONE, MTU_START, Side.BUY)
    assert not orders.has_open_order(BUYER.address, ZONE, MTU_START, Side.SELL)
    assert not orders.has_open_order(BUYER.address, 2, MTU_START, Side.BUY)
    room.market.cancel(uids[1], BUYER.sign_cancel(uids[1]))
    assert orders.committed_microcents(BUYER.address) == 100 * worst
    orders.close(uids[0], OrderState.MATCHED, None, 100)
    assert orders.committed_microcents(BUYER.address) == 100 * worst
    assert orders.open_wh(BUY_METER, MTU_START, Side.BUY) == 0
    assert not orders.has_open_order(BUYER.address, ZONE, MTU_START, Side.BUY)
    orders.move_meter(BUY_METER, MTU_START, OrderState.MATCHED, OrderState.LOCKED)
    assert orders.committed_microcents(BUYER.address) == 0
    assert orders.committed_microcents(SELLER.address) == 50 * 22_500


def test_a_cancellation_is_kept_with_its_signature_and_moment_once(tx: Transaction) -> None:
    room = Room(tx)
    uid = room.accept(an_order())
    signature = BUYER.sign_cancel(uid)
    room.market.cancel(uid, signature)
    assert tx.orders.cancellations() == {uid: ("0x" + signature.hex(), room.clock.now())}
    with pytest.raises(IntegrityError):
        tx.orders.cancel(uid, "0x", 1)


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
    room.market.cancel(cancelled, SELLER.sign_cancel(cancelled))
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
    room.market.match(ZONE, MTU_START)
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
    tx.readings.add(kept)
    assert tx.readings.find(SELL_METER, MTU_START) == kept
    assert tx.readings.find(BUY_METER, MTU_START) is None
    assert list(tx.readings.all_rows()) == [kept]
    assert tx.readings.count() == 1


def test_one_meter_and_mtu_counts_once(tx: Transaction) -> None:
    tx.readings.add(stored(SELL_METER))
    with pytest.raises(IntegrityError):
        tx.readings.add(replace(stored(SELL_METER, import_wh=5), text="another"))


def test_anchors_are_numbered_without_gaps_and_take_each_reading_once(tx: Transaction) -> None:
    tx.readings.add(stored(BUY_METER, import_wh=580))
    assert tx.readings.missing_count(ZONE, MTU_START) == 1
    assert tx.readings.unanchored_mtus() == ((ZONE, MTU_START),)
    assert tx.readings.next_anchor_sequence(ZONE, MTU_START) == 0
    tx.readings.mark_anchored(ZONE, MTU_START, 0, [BUY_METER])
    assert (tx.readings.unanchored_mtus(), tx.readings.next_anchor_sequence(ZONE, MTU_START)) == ((), 1)
    tx.readings.add(stored(SELL_METER, export_wh=700))
    assert [one.reading.meter for one in tx.readings.unanchored(ZONE, MTU_START)] == [SELL_METER]
    assert [one.anchor_sequence for one in tx.readings.at(ZONE, MTU_START)] == [None, 0]
    assert tx.readings.missing_count(ZONE, MTU_START) == 0


def test_only_readings_whose_anchor_the_chain_has_recorded_are_settled_and_proven(tx: Transaction) -> None:
    chain = Chain()
    chain.number = 0
    tx.readings.add(stored(BUY_METER, import_wh=580))
    tx.readings.mark_anchored(ZONE, MTU_START, 0, [BUY_METER])
    tx.readings.add(stored(SELL_METER, export_wh=700, import_wh=50))
    tx.readings.mark_anchored(ZONE, MTU_START, 1, [SELL_METER])
    assert tx.readings.anchored_net_wh(ZONE, MTU_START) == {}
    assert not tx.readings.anchor_is_recorded(ZONE, MTU_START, 0)
    key = {"zone": ZONE, "mtuStart": MTU_START, "root": "0x" + "00" * 32, "readingCount": 1}
    chain.index(tx, ("ReadingsAnchored", {**key, "sequence": 1}))
    assert tx.readings.anchored_net_wh(ZONE, MTU_START) == {SELL_METER: 650}
    assert [tx.readings.anchor_is_recorded(ZONE, MTU_START, sequence) for sequence in (0, 1, 2)] == [False, True, False]
    chain.index(tx, ("ReadingsAnchored", {**key, "sequence": 0}))
    assert tx.readings.anchored_net_wh(ZONE, MTU_START) == {SELL_METER: 650, BUY_METER: -580}
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
