"""What the chain says becomes what the node knows: members, rules, money. No event makes or loses a microcent."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from tests.market.fakes import (
    BUY_METER,
    BUYER,
    EUR,
    GATE,
    MTU_START,
    OUTSIDER,
    PRICES,
    SELL_METER,
    SELLER,
    SUPPLIER,
    ZONE,
    an_order,
)
from tests.store.builders import (
    GRID_OPERATOR,
    KEY,
    Chain,
    Room,
    Undone,
    acknowledged,
    book_committed,
    cleared_events,
    founding_events,
    kept_positions,
    meter_event,
    policy_struct,
    progressed,
    refunded_event,
    resettled_event,
    settled_event,
    substituted_event,
    unsettled,
)

from gridledger.dispatch.model import ScheduleState
from gridledger.market.model import CashAccount, MemberFacts, MtuPhase, OrderState, Position, Product, Side
from gridledger.market.notices import NoticeKind
from gridledger.market.settlement import position_cash
from gridledger.store.database import Database
from gridledger.store.schema import carbon_reward, contract_position
from gridledger.store.transaction import Transaction

ACCOUNTS = (SELLER.address, BUYER.address, SUPPLIER, GRID_OPERATOR)


@pytest.fixture
def tx(database: Database) -> Iterator[Transaction]:
    """A founded market in one open transaction."""
    with database.write() as opened:
        yield opened


@pytest.fixture
def chain(tx: Transaction) -> Chain:
    """The chain behind it, with the founding block indexed."""
    founded = Chain()
    founded.index(tx, *founding_events())
    return founded


def free(tx: Transaction, account: str) -> int:
    return tx.directory.account(account).free_microcents


def total(tx: Transaction) -> int:
    """Free money, credit behind which the supplier's money stands, and the escrow.

    The escrow holds the locks of open positions, less what settled ones have received and paid for their trades.
    """
    accounts = tx.directory.accounts().values()
    record = tx.mtus.find(ZONE, MTU_START)
    cleared = record is not None and record.phase in (MtuPhase.CLEARED, MtuPhase.SETTLED)
    rows = tx.connection.execute(select(contract_position)).all() if cleared else []
    escrow = sum(-(row.trade_microcents or 0) if row.settled else row.locked_microcents for row in rows)
    return sum(one.free_microcents + one.credit_microcents for one in accounts) + escrow


def order_states(tx: Transaction) -> list[OrderState]:
    return [one.state for one in tx.orders.all_rows()]


def cleared(tx: Transaction, chain: Chain) -> None:
    """One pair of 600 Wh locked at 15,000 cents per MWh."""
    Room(tx).match_pair(chain)
    chain.index(tx, *cleared_events(tx))


# ---- members and rules


def test_members_meters_zones_and_suppliers_are_known_as_the_chain_states_them(tx: Transaction, chain: Chain) -> None:
    directory = tx.directory
    assert directory.zones() == {ZONE: GRID_OPERATOR}
    assert (directory.is_supplier(SUPPLIER), directory.is_supplier(SELLER.address)) == (True, False)
    assert (directory.supplier_of(BUYER.address), directory.supplier_of(OUTSIDER.address)) == (SUPPLIER, None)
    assert (directory.is_admitted(BUYER.address), directory.is_admitted(SUPPLIER)) == (True, False)
    assert directory.members((BUYER.address, SUPPLIER, OUTSIDER.address)) == {
        BUYER.address: MemberFacts(suspended=False, account=directory.account(BUYER.address))
    }
    facts = directory.meters((SELL_METER,))[SELL_METER]
    assert (facts.owner, facts.supplier, facts.zone, facts.source) == (SELLER.address, SUPPLIER, ZONE, 1)
    assert (facts.import_capacity_w, facts.export_capacity_w) == (4_000, 8_000)
    assert set(directory.meters([SELL_METER, BUY_METER, 99])) == {SELL_METER, BUY_METER}
    assert directory.meters_of(SELLER.address) == (SELL_METER,)
    assert (directory.meter_count(), directory.meter_count(ZONE), directory.meter_count(2)) == (2, 2, 0)


def test_a_replaced_device_key_is_the_one_that_counts(tx: Transaction, chain: Chain) -> None:
    before = tx.readings.facts_of({SELL_METER})[SELL_METER]
    assert "0x" + before.device_key.x.hex() == KEY[0]
    new = ("0x" + "ab" * 32, "0x" + "cd" * 32)
    chain.index(tx, ("DeviceKeyReplaced", {"meter": SELL_METER, "deviceKeyX": new[0], "deviceKeyY": new[1]}))
    facts = tx.readings.facts_of({SELL_METER, BUY_METER})
    after, other = facts[SELL_METER], facts[BUY_METER]
    assert ("0x" + after.device_key.x.hex(), "0x" + after.device_key.y.hex()) == new
    assert "0x" + other.device_key.x.hex() == KEY[0]


def test_suspending_and_readmitting_changes_nothing_else(tx: Transaction, chain: Chain) -> None:
    suspend, readmit = (
        ("ParticipantSuspended", {"account": BUYER.address, "suspended": suspended}) for suspended in (True, False)
    )
    chain.index(tx, suspend)
    chain.index(tx, suspend)
    assert [tx.directory.is_suspended(one.address) for one in (BUYER, SELLER)] == [True, False]
    assert tx.directory.is_admitted(BUYER.address)
    chain.index(tx, readmit)
    assert not tx.directory.is_suspended(BUYER.address)


@pytest.mark.parametrize(("zone", "halted_zones"), [(ZONE, [ZONE]), (2, [2]), (0, [ZONE, 2])])
def test_a_zone_or_the_whole_market_is_halted_and_resumed(
    tx: Transaction, chain: Chain, zone: int, halted_zones: list[int]
) -> None:
    chain.index(tx, ("MarketHalted", {"zone": zone, "halted": True}))
    assert [number for number in (ZONE, 2) if tx.directory.is_halted(number)] == halted_zones
    assert tx.directory.zones() == {ZONE: GRID_OPERATOR}
    chain.index(tx, ("MarketHalted", {"zone": zone, "halted": False}))
    assert not any(tx.directory.is_halted(number) for number in (ZONE, 2))


def test_each_mtu_has_the_policy_in_force_at_its_start(tx: Transaction, chain: Chain) -> None:
    later = policy_struct(gateClosureS=600, gridFeeCentsPerMwh=1)
    chain.index(tx, ("PolicyScheduled", {"version": 1, "effectiveMtuStart": MTU_START, "policy": later}))
    gates = [tx.directory.policy_at(start).gate_closure_s for start in (MTU_START - 900, MTU_START, MTU_START + 900)]
    assert gates == [300, 600, 600]
    assert tx.directory.policy_at(MTU_START).grid_fee_cents_per_mwh == 1
    assert tx.directory.longest_gate_closure_s() == 600


def test_of_two_versions_for_the_same_mtu_the_later_one_counts(tx: Transaction, chain: Chain) -> None:
    for version, gate in ((1, 600), (2, 900)):
        policy = policy_struct(gateClosureS=gate)
        chain.index(tx, ("PolicyScheduled", {"version": version, "effectiveMtuStart": MTU_START, "policy": policy}))
    assert tx.directory.policy_at(MTU_START).gate_closure_s == 900


def test_a_posted_feed_in_price_moves_every_price_of_its_mtu_and_of_no_other(tx: Transaction, chain: Chain) -> None:
    assert tx.directory.prices_at(MTU_START) == PRICES
    chain.index(tx, ("FeedInPosted", {"mtuStart": MTU_START, "feedInCentsPerMwh": -30_000}))
    moved = tx.directory.prices_at(MTU_START)
    assert (moved.feed_in, moved.retail) == (-30_000, -6_000)
    assert (moved.surplus, moved.floor, moved.cap, moved.shortage) == (-30_500, -30_000, -6_000, -5_500)
    assert tx.directory.prices_at(MTU_START + 900) == PRICES


def test_an_event_without_a_projection_is_kept_and_changes_nothing(tx: Transaction, chain: Chain) -> None:
    before = tx.directory.accounts()
    chain.index(tx, ("Transfer", {"from": SELLER.address, "to": BUYER.address, "value": 2**200}))
    assert tx.directory.accounts() == before
    (kept,) = tx.chain_log.events("Transfer")
    assert kept.arguments["value"] == str(2**200)
    assert tx.chain_log.event_count("Transfer") == 1


# ---- money


def test_deposits_and_withdrawals_change_one_account(tx: Transaction, chain: Chain) -> None:
    chain.index(tx, ("Deposited", {"account": BUYER.address, "amountMicrocents": 7}))
    chain.index(tx, ("Withdrawn", {"account": BUYER.address, "amountMicrocents": 5}))
    assert free(tx, BUYER.address) == 10 * EUR + 2
    assert free(tx, SELLER.address) == 10 * EUR
    assert tx.directory.account(OUTSIDER.address) == CashAccount(free_microcents=0, credit_microcents=0)


def test_requests_are_kept_with_their_time_until_they_are_carried_out(tx: Transaction, chain: Chain) -> None:
    asked = {"account": BUYER.address, "amountMicrocents": 7, "availableAt": 0}
    cut = {"account": BUYER.address, "supplier": SUPPLIER, "creditMicrocents": 20, "availableAt": 0}
    chain.index(tx, ("CreditSet", {"account": BUYER.address, "supplier": SUPPLIER, "creditMicrocents": 50}))
    before = tx.directory.account(BUYER.address)
    chain.index(tx, ("WithdrawalRequested", asked), ("CreditCutRequested", cut))
    money = tx.directory.account(BUYER.address)
    assert (money.withdrawal_microcents, money.cut_microcents) == (7, 20)
    assert money.withdrawal_at == money.cut_at > 0
    assert money.available_microcents(money.cut_at) == before.available_microcents(money.cut_at)
    assert money.available_microcents(money.cut_at + 1) == before.available_microcents(money.cut_at) - 7 - 30
    chain.index(tx, ("WithdrawalRequested", {**asked, "amountMicrocents": 0}))
    assert tx.directory.account(BUYER.address) == replace(money, withdrawal_microcents=0, withdrawal_at=0)
    chain.index(tx, ("WithdrawalRequested", asked), ("Withdrawn", {"account": BUYER.address, "amountMicrocents": 6}))
    chain.index(tx, ("CreditSet", {"account": BUYER.address, "supplier": SUPPLIER, "creditMicrocents": 20}))
    assert tx.directory.account(BUYER.address) == replace(
        before, free_microcents=before.free_microcents - 6, credit_microcents=20
    )


def test_credit_is_taken_from_the_supplier_s_own_money_and_given_back(tx: Transaction, chain: Chain) -> None:
    chain.index(tx, ("Deposited", {"account": SUPPLIER, "amountMicrocents": EUR}))
    before = total(tx)
    for credit in (300, 1_000, 200, 0):
        event = {"account": BUYER.address, "supplier": SUPPLIER, "creditMicrocents": credit}
        chain.index(tx, ("CreditSet", event))
        assert tx.directory.account(BUYER.address).credit_microcents == credit
        assert free(tx, SUPPLIER) == EUR - credit
        assert total(tx) == before


def test_several_movements_of_one_account_in_one_block_add_up(tx: Transaction, chain: Chain) -> None:
    chain.index(
        tx,
        ("Deposited", {"account": SUPPLIER, "amountMicrocents": 500}),
        ("CreditSet", {"account": BUYER.address, "supplier": SUPPLIER, "creditMicrocents": 100}),
        ("CreditSet", {"account": SELLER.address, "supplier": SUPPLIER, "creditMicrocents": 50}),
        ("CreditSet", {"account": BUYER.address, "supplier": SUPPLIER, "creditMicrocents": 30}),
        ("Withdrawn", {"account": SUPPLIER, "amountMicrocents": 20}),
    )
    assert free(tx, SUPPLIER) == 500 - 30 - 50 - 20
    assert [tx.directory.account(one.address).credit_microcents for one in (BUYER, SELLER)] == [30, 50]


def test_a_recorded_debt_is_what_the_imbalance_could_not_collect(tx: Transaction, chain: Chain) -> None:
    cleared(tx, chain)
    before = {account: free(tx, account) for account in ACCOUNTS}
    debt = {"debtor": BUYER.address, "creditor": SUPPLIER, "amountMicrocents": 400}
    chain.index(tx, ("DebtRecorded", debt), settled_event(BUY_METER, -700, -3_250_000), progressed(1))
    locked = 600 * 16_000
    assert free(tx, BUYER.address) - before[BUYER.address] == locked - 9_000_000 - 600_000 - (3_250_000 - 400)
    assert free(tx, SUPPLIER) - before[SUPPLIER] == 3_250_000 - 400
    assert tx.directory.debts_of(BUYER.address) == {SUPPLIER: 400}


def test_debts_add_up_per_creditor_and_are_paid_down(tx: Transaction, chain: Chain) -> None:
    before = total(tx)
    for amount in (400, 100):
        record = {"debtor": BUYER.address, "creditor": SUPPLIER, "amountMicrocents": amount}
        chain.index(tx, ("DebtRecorded", record))
    chain.index(tx, ("DebtPaid", {"debtor": BUYER.address, "creditor": SUPPLIER, "amountMicrocents": 450}))
    assert tx.directory.debts_of(BUYER.address) == {SUPPLIER: 50}
    assert tx.directory.debts_of(SELLER.address) == {}
    assert total(tx) == before + 450  # it is paid from the debtor's wallet


# ---- one MTU


def test_a_book_on_chain_is_listed_and_a_clearing_locks_money_and_orders(tx: Transaction, chain: Chain) -> None:
    before = total(tx)
    cleared(tx, chain)
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert (record.phase, record.price_cents_per_mwh, record.traded_wh) == (MtuPhase.CLEARED, 15_000, 600)
    assert order_states(tx) == [OrderState.LOCKED, OrderState.LOCKED]
    assert free(tx, SELLER.address) == 10 * EUR - 600 * 17_500
    assert free(tx, BUYER.address) == 10 * EUR - 600 * 16_000
    assert total(tx) == before
    assert tx.mtus.trade_totals() == (1, 600)


def test_the_reference_price_is_kept_beside_the_clearing_price(tx: Transaction, chain: Chain) -> None:
    cleared(tx, chain)
    published = {"zone": ZONE, "mtuStart": MTU_START, "priceCentsPerMwh": -12}
    chain.index(tx, ("ReferencePricePublished", published))
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert (record.reference_price_cents_per_mwh, record.price_cents_per_mwh) == (-12, 15_000)


def test_a_clearing_without_trades_is_settled_at_once(tx: Transaction, chain: Chain) -> None:
    Room(tx).match(chain)
    chain.index(tx, *cleared_events(tx, price=20_000))
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert (record.phase, record.traded_wh) == (MtuPhase.SETTLED, 0)
    assert tx.dispatches.find(ZONE, MTU_START) is None


def test_a_settled_position_is_paid_released_and_charged_to_the_microcent(tx: Transaction, chain: Chain) -> None:
    before = total(tx)
    cleared(tx, chain)
    chain.index(tx, settled_event(SELL_METER, 700, 100 * 7_500), progressed(1))
    assert free(tx, SELLER.address) == 10 * EUR + 9_000_000 + 750_000
    assert free(tx, SUPPLIER) == -750_000
    assert order_states(tx) == [OrderState.SETTLED, OrderState.LOCKED]
    assert total(tx) == before
    chain.index(tx, settled_event(BUY_METER, -580, 20 * 7_500), progressed(0))
    assert free(tx, BUYER.address) == 10 * EUR - 9_000_000 - 600_000 + 150_000
    assert free(tx, GRID_OPERATOR) == 600_000
    assert order_states(tx) == [OrderState.SETTLED, OrderState.SETTLED]
    assert total(tx) == before
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert record.phase is MtuPhase.SETTLED
    assert [(one.settled, one.metered_wh) for one in kept_positions(tx)] == [(True, 700), (True, -580)]


def test_a_refunded_position_gets_its_whole_lock_back_and_counts_as_unread(tx: Transaction, chain: Chain) -> None:
    cleared(tx, chain)
    refunds = [refunded_event(one.meter, one.locked_microcents) for one in kept_positions(tx)]
    chain.index(tx, *refunds, progressed(0))
    assert [free(tx, one.address) for one in (SELLER, BUYER)] == [10 * EUR, 10 * EUR]
    assert order_states(tx) == [OrderState.REFUNDED, OrderState.REFUNDED]
    assert [(one.settled, one.read) for one in kept_positions(tx)] == [(True, False)] * 2
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert record.phase is MtuPhase.SETTLED


def test_a_substitute_closes_the_mtu_and_a_late_reading_moves_only_the_difference(
    tx: Transaction, chain: Chain
) -> None:
    before = total(tx)
    cleared(tx, chain)
    chain.index(tx, settled_event(SELL_METER, 600, 0), progressed(1))
    chain.index(tx, substituted_event(BUY_METER, -600), progressed(0))
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert record.phase is MtuPhase.SETTLED
    assert order_states(tx) == [OrderState.SETTLED, OrderState.SETTLED]
    buyer = kept_positions(tx)[1]
    assert (buyer.settled, buyer.substitute, buyer.metered_wh, buyer.version) == (True, True, -600, 0)
    assert free(tx, BUYER.address) == 10 * EUR - 9_000_000 - 600_000
    delta = 20 * 7_500
    chain.index(tx, resettled_event(BUY_METER, 1, -580, delta), progressed(0))
    buyer = kept_positions(tx)[1]
    assert (buyer.substitute, buyer.metered_wh, buyer.version) == (False, -580, 1)
    assert free(tx, BUYER.address) == 10 * EUR - 9_000_000 - 600_000 + delta
    assert free(tx, SUPPLIER) == -delta
    assert total(tx) == before


def test_deals_and_two_prices_are_paid_each_at_its_own(tx: Transaction, chain: Chain) -> None:
    """The seller's solar meter dealt 200 Wh at 10,000 and sold 400 at the low-carbon price."""
    room, before = Room(tx), total(tx)
    offer = room.accept(an_order(Side.SELL))
    room.deal(offer, quantity_wh=200)
    room.accept(an_order(quantity_wh=400, product=Product.LOW_CARBON))
    room.match(chain)
    chain.index(tx, *cleared_events(tx, price=12_000, low_carbon_price=20_000))
    record = tx.mtus.find(ZONE, MTU_START)
    assert record is not None
    assert (record.price_cents_per_mwh, record.low_carbon_price_cents_per_mwh) == (12_000, 20_000)
    chain.index(tx, settled_event(SELL_METER, 600, 0), settled_event(BUY_METER, -600, 0), progressed(0))
    paid = 200 * 10_000 + 400 * 20_000
    assert free(tx, SELLER.address) == 10 * EUR + paid
    assert free(tx, BUYER.address) == 10 * EUR - paid - 600 * 1_000
    assert total(tx) == before


def test_a_settlement_under_way_is_remembered_until_the_chain_has_it(tx: Transaction, chain: Chain) -> None:
    cleared(tx, chain)
    assert unsettled(tx) == {0: SELL_METER, 1: BUY_METER}
    tx.mtus.mark_settling(ZONE, MTU_START, 0, [0])
    assert (unsettled(tx), tx.mtus.is_settling(ZONE, MTU_START)) == ({1: BUY_METER}, True)
    chain.index(tx, settled_event(SELL_METER, 600, 0), progressed(1))
    assert (unsettled(tx), tx.mtus.is_settling(ZONE, MTU_START)) == ({1: BUY_METER}, False)


def test_minted_tokens_add_up_and_are_kept_for_their_mtu_and_holder(tx: Transaction, chain: Chain) -> None:
    assert tx.minted_ugco2() == 0
    nobody = "0x" + "00" * 20
    for mtu_start in (MTU_START, MTU_START + 900):
        tx.settled_mtu_start = mtu_start
        chain.index(
            tx,
            ("Transfer", {"from": nobody, "to": SELLER.address, "value": 2**70}),
            ("Transfer", {"from": nobody, "to": BUYER.address, "value": 3}),
            ("Transfer", {"from": SELLER.address, "to": BUYER.address, "value": 5}),
            contract="LowCarbonToken",
        )
    chain.index(tx, ("Transfer", {"from": nobody, "to": BUYER.address, "value": 7}), contract="SettlementToken")
    assert tx.minted_ugco2() == 2 * 2**70 + 6
    rows = tx.connection.execute(select(carbon_reward)).all()
    assert {(row.mtu_start, row.holder) for row in rows} == {
        (mtu_start, holder.address) for mtu_start in (MTU_START, MTU_START + 900) for holder in (SELLER, BUYER)
    }


def test_what_a_correction_takes_back_or_leaves_owed_is_kept_and_what_a_debt_collects_is_not_counted_again(
    tx: Transaction, chain: Chain
) -> None:
    tx.settled_mtu_start = MTU_START
    holder = SELLER.address
    chain.index(
        tx,
        ("Transfer", {"from": "0x" + "00" * 20, "to": holder, "value": 100}),
        ("Invalidated", {"holder": holder, "amountUgco2": 30, "reason": "correction"}),
        ("TokensOwed", {"holder": holder, "mtuStart": MTU_START, "amountUgco2": 5}),
        ("Invalidated", {"holder": holder, "amountUgco2": 5, "reason": "debt"}),
        contract="LowCarbonToken",
    )
    amounts = tx.connection.execute(select(carbon_reward.c.amount_ugco2)).scalars()
    assert sorted(amounts) == [-30, -5, 100]
    assert tx.minted_ugco2() == 100


# ---- cancellations on chain


def cancelled(uid: str, owner: str = BUYER.address) -> tuple[str, dict[str, Any]]:
    return "OrderCancelled", {"owner": owner, "orderUid": uid}


def cancelled_up_to(salt: int, owner: str = BUYER.address) -> tuple[str, dict[str, Any]]:
    return "OrdersCancelled", {"owner": owner, "upToSalt": salt}


def test_a_cancellation_on_chain_ends_an_order_one_second_before_its_gate_and_not_at_it(
    tx: Transaction, chain: Chain
) -> None:
    room = Room(tx)
    early, late = (room.accept(an_order(quantity_wh=10, salt=salt)) for salt in (1, 2))
    chain.index(tx, cancelled(early), time_s=GATE - 1)
    chain.index(tx, cancelled(late), time_s=GATE)
    assert [(one.state, one.state_reason) for one in tx.orders.all_rows()] == [
        (OrderState.CANCELLED, "on chain"),
        (OrderState.OPEN, None),
    ]
    room.match(chain)
    assert [entry.uid for entry in tx.mtus.book(ZONE, MTU_START)] == [late]


def test_a_standing_order_cancelled_on_chain_after_a_gate_keeps_that_mtu_and_loses_the_later_ones(
    tx: Transaction, chain: Chain
) -> None:
    room = Room(tx)
    uid = room.accept(an_order(last_mtu_start=MTU_START + 2_700, expiry=MTU_START + 2_700))
    room.accept(an_order(Side.SELL))
    chain.index(tx, cancelled(uid), time_s=GATE)
    later = (MTU_START + 900, MTU_START + 2_700)
    assert tx.orders.commitments((BUYER.address,), *later).open_wh(BUY_METER, *later, Side.BUY) == 0
    room.match(chain)
    chain.index(tx, *cleared_events(tx))
    assert order_states(tx) == [OrderState.LOCKED, OrderState.LOCKED]
    assert tx.orders.unlisted_mtus(MTU_START + 9_000, 0) == ()
    chain.index(tx, settled_event(BUY_METER, -600, 0), progressed(1))
    assert order_states(tx) == [OrderState.SETTLED, OrderState.LOCKED]


def test_a_standing_order_cancelled_on_chain_between_gates_ends_with_the_mtus_it_was_listed_in(
    tx: Transaction, chain: Chain
) -> None:
    room = Room(tx)
    uid = room.accept(an_order(last_mtu_start=MTU_START + 2_700, expiry=MTU_START + 2_700))
    room.match(chain)
    chain.index(tx, cancelled(uid), time_s=GATE + 10)
    assert [(one.state, one.state_reason) for one in tx.orders.all_rows()] == [(OrderState.CANCELLED, "on chain")]
    assert tx.orders.fills(uid) == ((MTU_START, 0, None),)
    assert tx.orders.unlisted_mtus(MTU_START + 9_000, 0) == ()


def test_an_order_in_its_last_book_is_bound_however_it_is_cancelled_on_chain(tx: Transaction, chain: Chain) -> None:
    room = Room(tx)
    uid = room.accept(an_order())
    room.accept(an_order(Side.SELL))
    room.clock.move_to(GATE)
    room.market.close_gate(ZONE, MTU_START)
    chain.index(tx, cancelled(uid), cancelled_up_to(99), book_committed(), time_s=GATE)
    assert order_states(tx) == [OrderState.OPEN, OrderState.OPEN]
    assert tx.orders.open_orders(ZONE, MTU_START + 900) == ()
    room.rematch()
    chain.index(tx, *cleared_events(tx))
    assert order_states(tx) == [OrderState.LOCKED, OrderState.LOCKED]


def test_a_bulk_cancellation_on_chain_takes_its_owner_s_salts_by_value(tx: Transaction, chain: Chain) -> None:
    room = Room(tx)
    for salt in (9, 10, 100):
        room.accept(an_order(quantity_wh=1, salt=salt))
    room.accept(an_order(Side.SELL, salt=1))
    chain.index(tx, cancelled_up_to(10), time_s=GATE - 1)
    assert order_states(tx) == [OrderState.CANCELLED] * 2 + [OrderState.OPEN] * 2
    chain.index(tx, cancelled_up_to(2**64 - 1), time_s=GATE)
    assert order_states(tx) == [OrderState.CANCELLED] * 2 + [OrderState.OPEN] * 2


def test_nobody_cancels_another_s_order_on_chain_and_an_unknown_one_is_ignored(tx: Transaction, chain: Chain) -> None:
    uid = Room(tx).accept(an_order())
    chain.index(tx, cancelled(uid, SELLER.address), cancelled("0x" + "ab" * 32), cancelled_up_to(99, SELLER.address))
    assert order_states(tx) == [OrderState.OPEN]


def test_an_owner_is_told_of_a_cancellation_on_chain_that_counts_and_of_no_other(tx: Transaction, chain: Chain) -> None:
    room = Room(tx)
    early, late = (room.accept(an_order(quantity_wh=10, salt=salt)) for salt in (1, 2))
    chain.index(tx, cancelled(early), time_s=GATE - 1)
    chain.index(tx, cancelled(late), time_s=GATE)
    told = [one for one in tx.notices.after(BUYER.address, 0, 100) if one.kind is NoticeKind.CANCELLED]
    assert [(one.order_uid, one.details.reason, one.created_at) for one in told] == [(early, "on chain", GATE - 1)]


# ---- dispatch


def test_a_schedule_is_announced_with_its_setpoints_and_its_answer_follows(tx: Transaction, chain: Chain) -> None:
    cleared(tx, chain)
    schedule = tx.dispatches.find(ZONE, MTU_START)
    assert schedule is not None
    assert (schedule.state, schedule.traded_wh, schedule.answer_deadline) == (
        ScheduleState.PENDING,
        600,
        MTU_START - 60,
    )
    chain.index(tx, acknowledged(reason=9))
    first, second = tx.dispatches.events_after(0, 10)
    assert (first["kind"], first["payload"]["setpoints"]) == (
        "scheduled",
        [{"meter": SELL_METER, "contracted_wh": 600}, {"meter": BUY_METER, "contracted_wh": -600}],
    )
    assert (second["kind"], second["payload"]["reason"]) == ("acknowledged", 9)
    assert tx.dispatches.events_after(first["id"], 10) == [second]
    assert tx.dispatches.events_after(0, 1) == [first]
    answered = tx.dispatches.find(ZONE, MTU_START)
    assert answered is not None
    assert (answered.state, answered.reason) == (ScheduleState.ACKNOWLEDGED, 9)
    assert tx.dispatches.state_counts() == {"acknowledged": 1}


def test_an_answer_on_its_way_closes_the_schedule_until_it_fails(tx: Transaction, chain: Chain) -> None:
    cleared(tx, chain)
    assert [one.zone for one in tx.dispatches.pending(MTU_START - 60)] == [ZONE]
    assert tx.dispatches.pending(MTU_START - 59) == ()
    tx.dispatches.mark_answered(ZONE, MTU_START)
    assert tx.dispatches.answer_is_pending(ZONE, MTU_START)
    assert tx.dispatches.pending(0) == ()
    tx.dispatches.mark_unanswered(ZONE, MTU_START)
    assert not tx.dispatches.answer_is_pending(ZONE, MTU_START)
    assert len(tx.dispatches.pending(0)) == 1


def test_failing_late_does_not_reopen_an_answered_schedule(tx: Transaction, chain: Chain) -> None:
    cleared(tx, chain)
    chain.index(tx, acknowledged())
    tx.dispatches.mark_unanswered(ZONE, MTU_START)
    schedule = tx.dispatches.find(ZONE, MTU_START)
    assert schedule is not None
    assert schedule.state is ScheduleState.ACKNOWLEDGED


def test_meters_of_two_zones_are_counted_apart(tx: Transaction, chain: Chain) -> None:
    chain.index(tx, ("ZoneRegistered", {"zone": 2, "gridOperator": GRID_OPERATOR}))
    chain.index(tx, meter_event(3, BUYER.address, zone=2))
    assert (tx.directory.meter_count(ZONE), tx.directory.meter_count(2)) == (2, 1)
    assert tx.directory.meters_of(BUYER.address) == (BUY_METER, 3)


# ---- conservation, whatever happens

amounts = st.integers(1, 10 * EUR)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("Deposited"), st.sampled_from(ACCOUNTS), amounts),
        st.tuples(st.just("Withdrawn"), st.sampled_from(ACCOUNTS), amounts),
        st.tuples(st.just("CreditSet"), st.sampled_from((SELLER.address, BUYER.address)), amounts),
        st.tuples(st.just("DebtRecorded"), st.sampled_from((SELLER.address, BUYER.address)), amounts),
        st.tuples(st.just("DebtPaid"), st.sampled_from((SELLER.address, BUYER.address)), amounts),
    ),
    max_size=12,
)


def money_event(name: str, account: str, amount: int) -> tuple[str, dict[str, Any]]:
    if name == "CreditSet":
        return name, {"account": account, "supplier": SUPPLIER, "creditMicrocents": amount}
    if name.startswith("Debt"):
        return name, {"debtor": account, "creditor": SUPPLIER, "amountMicrocents": amount}
    return name, {"account": account, "amountMicrocents": amount}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(-2_000, 2_000), st.integers(-2_000, 2_000), st.integers(1, 1_000), st.booleans())
def test_no_sequence_of_events_makes_or_loses_a_microcent(
    database: Database,
    moves: list[tuple[str, str, int]],
    seller_wh: int,
    buyer_wh: int,
    quantity_wh: int,
    refunds: bool,
) -> None:
    def play(tx: Transaction) -> None:
        chain = Chain()
        chain.index(tx, *founding_events())
        expected = total(tx)
        Room(tx).match_pair(chain, quantity_wh)
        chain.index(tx, *cleared_events(tx))
        assert total(tx) == expected
        for name, account, amount in moves:
            chain.index(tx, money_event(name, account, amount))
            expected += {"Deposited": amount, "DebtPaid": amount, "Withdrawn": -amount}.get(name, 0)
            assert total(tx) == expected
        for closed, one in enumerate(reversed(kept_positions(tx))):
            chain.index(tx, closing(one, {SELL_METER: seller_wh, BUY_METER: buyer_wh}), progressed(1 - closed))
            assert total(tx) == expected
        raise Undone

    def closing(one: Position, metered: dict[int, int]) -> tuple[str, dict[str, Any]]:
        if refunds:
            return refunded_event(one.meter, one.locked_microcents)
        read = replace(one, metered_wh=metered[one.meter])
        cash = position_cash(read, 15_000, 15_000, PRICES.surplus, PRICES.shortage)
        return settled_event(one.meter, read.metered_wh, cash.imbalance_microcents)

    def played() -> None:
        with database.write() as tx:
            play(tx)

    with pytest.raises(Undone):
        played()
