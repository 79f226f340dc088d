"""Notices: written with the change they tell, each to its owner alone, numbered once and for ever."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from tests.market.fakes import BUY_METER, BUYER, GATE, MTU_START, SELL_METER, SELLER, ZONE, an_order
from tests.store.builders import (
    GENESIS,
    Chain,
    Room,
    acknowledged,
    book_committed,
    cleared_events,
    founding_events,
    kept_positions,
    progressed,
    refunded_event,
    resettled_event,
    settled_event,
    stopped,
    substituted_event,
)

from gridledger.api.context import Services
from gridledger.app.refusals import Refusals
from gridledger.chain.codec import ContractReverted
from gridledger.clock import ManualClock
from gridledger.market.model import OrderState, Side
from gridledger.market.notices import Notice, NoticeDetails, NoticeKind, notice_document
from gridledger.relay import OutboxRow, OutboxState
from gridledger.store import migrations
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

PRICE, ENERGY_WH = 15_000, 600


class Market:
    """A founded market in one open transaction."""

    def __init__(self, tx: Transaction) -> None:
        self.tx, self.chain = tx, Chain()
        self.chain.index(tx, *founding_events())
        self.room = Room(tx)
        self.seen: dict[str, int] = {SELLER.address: 0, BUYER.address: 0}

    def told(self, owner: str) -> list[Notice]:
        """What the owner was told since last asked."""
        notices = list(self.tx.notices.after(owner, self.seen[owner], 100))
        self.seen[owner] = notices[-1].id if notices else self.seen[owner]
        return notices

    def kinds(self, owner: str) -> list[str]:
        return [str(notice.kind) for notice in self.told(owner)]

    def only(self, owner: str) -> Notice:
        (notice,) = self.told(owner)
        return notice

    def locked(self) -> None:
        """One pair, matched and accepted by the contract."""
        self.room.match_pair(self.chain)
        self.chain.index(self.tx, *cleared_events(self.tx, PRICE))
        for owner in self.seen:
            self.told(owner)

    def refuse(self, kind: str, name: str) -> None:
        """The contract has refused a command of this kind."""

        def services(_tx: Transaction) -> Services:
            nothing: Any = None
            others = (
                "defender",
                "metering",
                "meter_events",
                "estimation",
                "anchoring",
                "dispatch",
                "demand",
                "measurement",
            )
            rooms = dict.fromkeys(others, nothing)
            return Services(desk=self.room.desk, market=self.room.market, **rooms)

        row = OutboxRow(
            id=1,
            kind=kind,
            signer="0x" + "12" * 20,
            to_address="0x" + "13" * 20,
            data=b"",
            zone=ZONE,
            mtu_start=MTU_START,
            nonce=None,
            raw=None,
            transaction_hash=None,
            state=OutboxState.REJECTED,
            error="no",
            block_number=None,
            gas_used=None,
            created_at=1,
        )
        Refusals(services, ManualClock(GATE))(self.tx, row, ContractReverted(name=name, arguments=("0x" + "ab" * 20,)))


@pytest.fixture
def market(database: Database) -> Iterator[Market]:
    with database.write() as tx:
        yield Market(tx)


def test_an_accepted_order_is_told_to_its_owner_with_its_number_and_terms(market: Market) -> None:
    uid = market.room.accept(an_order())
    notice = market.only(BUYER.address)
    assert (notice.kind, notice.order_uid, notice.zone) == (NoticeKind.ACCEPTED, uid, ZONE)
    assert (notice.mtu_start, notice.meter, notice.owner) == (MTU_START, BUY_METER, BUYER.address)
    assert notice.created_at == market.room.clock.now()
    assert notice.details.given() == {"running_number": 1, "energy_wh": 600, "price_cents_per_mwh": 20_000}
    assert market.told(SELLER.address) == []


def test_the_same_order_again_and_the_same_cancellation_again_tell_nothing(market: Market) -> None:
    uid = market.room.accept(an_order())
    market.room.accept(an_order())
    for _ in range(2):
        market.room.desk.cancel(uid, BUYER.sign_cancel(uid))
    assert market.kinds(BUYER.address) == ["accepted", "cancelled"]


def test_a_bulk_cancellation_is_told_for_each_order_it_took(market: Market) -> None:
    uids = [market.room.accept(an_order(quantity_wh=1, salt=salt)) for salt in (1, 2, 3)]
    market.told(BUYER.address)
    market.room.desk.cancel_up_to(BUYER.address, 2, BUYER.sign_cancel_up_to(2))
    assert [(one.kind, one.order_uid) for one in market.told(BUYER.address)] == [
        (NoticeKind.CANCELLED, uid) for uid in uids[:2]
    ]


def test_a_direct_deal_is_told_to_both_sides_each_by_their_own_order(market: Market) -> None:
    offer = market.room.accept(an_order(Side.SELL))
    market.told(SELLER.address)
    deal = market.room.deal(offer)
    sold, bought = market.only(SELLER.address), market.only(BUYER.address)
    assert [(one.kind, one.order_uid) for one in (sold, bought)] == [
        (NoticeKind.ACCEPTED, offer),
        (NoticeKind.ACCEPTED, deal),
    ]
    expected = {"running_number": 2, "energy_wh": 200, "price_cents_per_mwh": 10_000, "reason": "direct deal"}
    assert sold.details.given() == bought.details.given() == expected


def test_a_deal_is_told_of_its_lock_and_settlement_as_an_order_is(market: Market) -> None:
    deal = market.room.deal(market.room.accept(an_order(Side.SELL)))
    market.room.match(market.chain)
    market.chain.index(market.tx, *cleared_events(market.tx, PRICE))
    market.chain.index(market.tx, settled_event(BUY_METER, -200, 0), progressed(1))
    told = market.told(BUYER.address)
    assert [(str(one.kind), one.order_uid) for one in told] == [
        (kind, deal) for kind in ("accepted", "matched", "locked", "settled")
    ]
    assert (told[-1].details.energy_wh, told[-1].details.trade_microcents) == (200, -200 * 10_000)


def test_a_standing_order_is_told_of_each_mtu_and_of_its_expiry(market: Market) -> None:
    last = MTU_START + 1_800
    market.room.accept(an_order(last_mtu_start=last, expiry=GATE + 900))
    for mtu_start in (MTU_START, MTU_START + 900, last):
        market.room.match(market.chain, mtu_start)
    told = [(str(one.kind), one.mtu_start) for one in market.told(BUYER.address)]
    assert told == [
        ("accepted", MTU_START),
        ("unmatched", MTU_START),
        ("unmatched", MTU_START + 900),
        ("expired", last),
    ]


def test_a_closed_book_tells_each_owner_what_became_of_the_order(market: Market) -> None:
    market.room.match_pair(market.chain)
    for owner, meter in ((SELLER.address, SELL_METER), (BUYER.address, BUY_METER)):
        accepted, matched = market.told(owner)
        assert (accepted.kind, matched.kind) == (NoticeKind.ACCEPTED, NoticeKind.MATCHED)
        assert matched.details.given() == {"energy_wh": ENERGY_WH}
        assert (matched.order_uid, matched.meter) == (accepted.order_uid, meter)


def test_an_order_without_a_counterpart_is_told_so(market: Market) -> None:
    market.room.accept(an_order())
    market.room.clock.move_to(GATE)
    market.room.market.close_gate(ZONE, MTU_START)
    market.chain.index(market.tx, book_committed())
    market.room.rematch()
    assert market.kinds(BUYER.address) == ["accepted", "unmatched"]


def test_an_order_that_cannot_be_funded_is_told_why_and_nobody_else_is(market: Market) -> None:
    market.room.accept(an_order())
    market.room.accept(an_order(Side.SELL))
    market.chain.index(market.tx, ("Withdrawn", {"account": BUYER.address, "amountMicrocents": 10 * 10**8}))
    market.room.clock.move_to(GATE)
    market.room.market.close_gate(ZONE, MTU_START)
    market.chain.index(market.tx, book_committed())
    market.room.rematch()
    _, ineligible = market.told(BUYER.address)
    assert (ineligible.kind, ineligible.details.reason) == (NoticeKind.INELIGIBLE, "not funded")
    assert market.kinds(SELLER.address) == ["accepted", "unmatched"]


def test_a_clearing_that_came_too_late_is_told_with_its_reason(market: Market) -> None:
    market.room.accept(an_order())
    market.room.clock.move_to(GATE)
    market.room.market.close_gate(ZONE, MTU_START)
    market.chain.index(market.tx, book_committed())
    market.room.clock.move_to(MTU_START)
    market.room.rematch()
    _, failed = market.told(BUYER.address)
    assert (failed.kind, failed.details.reason) == (NoticeKind.FAILED, "the clearing's deadline passed")


@pytest.mark.parametrize(
    ("kind", "state"), [("SubmitClearing", OrderState.MATCHED), ("SettlePositions", OrderState.LOCKED)]
)
def test_a_refusal_is_told_by_its_name_without_anybody_elses_values(
    market: Market, kind: str, state: OrderState
) -> None:
    market.room.match_pair(market.chain)
    if state is OrderState.LOCKED:
        market.chain.index(market.tx, *cleared_events(market.tx, PRICE))
    for owner in market.seen:
        market.told(owner)
    market.refuse(kind, "ZoneHalted")
    for owner in market.seen:
        notice = market.only(owner)
        assert (notice.kind, notice.details.given()) == (NoticeKind.FAILED, {"reason": "ZoneHalted"})


def test_a_refused_book_is_told_to_everybody_in_it(market: Market) -> None:
    market.room.accept(an_order())
    market.room.clock.move_to(GATE)
    market.room.market.close_gate(ZONE, MTU_START)
    market.refuse("CommitBook", "BookTooLate")
    assert market.kinds(BUYER.address) == ["accepted", "failed"]


def test_what_the_contract_has_locked_is_told_with_the_price_and_the_money(market: Market) -> None:
    market.room.match_pair(market.chain)
    positions = {one.owner: one for one in kept_positions(market.tx)}
    block = market.chain.index(market.tx, *cleared_events(market.tx, PRICE))
    for owner, position in positions.items():
        notice = market.told(owner)[-1]
        assert (notice.kind, notice.created_at) == (NoticeKind.LOCKED, block.time_s)
        assert notice.details == NoticeDetails(
            energy_wh=ENERGY_WH,
            price_cents_per_mwh=PRICE,
            locked_microcents=position.locked_microcents,
            fee_microcents=position.fee_microcents,
            transaction_hash=f"0x{block.number:064x}",
        )


def test_a_stop_is_told_with_the_operators_reason_and_an_acknowledgement_is_not(market: Market) -> None:
    market.locked()
    market.chain.index(market.tx, acknowledged())
    assert market.told(SELLER.address) == []
    market.chain.index(market.tx, stopped(reason=7))
    notice = market.only(SELLER.address)
    assert (notice.kind, notice.details.reason_code) == (NoticeKind.CURTAILED, 7)
    assert market.kinds(BUYER.address) == ["curtailed"]


def test_a_settlement_is_told_with_metered_energy_and_every_payment(market: Market) -> None:
    market.locked()
    market.chain.index(
        market.tx, settled_event(SELL_METER, 500, -100), settled_event(BUY_METER, -600, 0), progressed(0)
    )
    notice = market.only(SELLER.address)
    details = notice.details
    assert (notice.kind, notice.meter, details.metered_wh) == (NoticeKind.SETTLED, SELL_METER, 500)
    assert (details.trade_microcents, details.imbalance_microcents, details.energy_wh) == (9_000_000, -100, ENERGY_WH)
    assert market.only(BUYER.address).details.fee_microcents == 600_000


def test_a_refund_is_told_with_the_money_given_back(market: Market) -> None:
    market.locked()
    market.chain.index(market.tx, refunded_event(BUY_METER, 5), progressed(1))
    notice = market.only(BUYER.address)
    assert (notice.kind, notice.details.refunded_microcents) == (NoticeKind.REFUNDED, 5)
    assert market.told(SELLER.address) == []


def test_a_substitute_is_told_as_such_and_its_correction_with_version_and_difference(market: Market) -> None:
    market.locked()
    market.chain.index(market.tx, substituted_event(BUY_METER, -600), progressed(1))
    notice = market.only(BUYER.address)
    assert (notice.kind, notice.details.reason, notice.details.metered_wh) == (
        NoticeKind.SETTLED,
        "substitute value",
        -600,
    )
    market.chain.index(market.tx, resettled_event(BUY_METER, 1, -580, 150_000), progressed(1))
    details = market.only(BUYER.address).details
    assert (details.sequence, details.metered_wh, details.imbalance_microcents) == (1, -580, 150_000)


def test_a_reward_is_told_to_each_holder_with_its_own_share(market: Market) -> None:
    market.locked()
    nobody = "0x" + "00" * 20
    market.tx.settled_mtu_start = MTU_START
    market.chain.index(
        market.tx,
        ("Transfer", {"from": nobody, "to": SELLER.address, "value": 2**60}),
        ("Transfer", {"from": nobody, "to": BUYER.address, "value": 3}),
        contract="LowCarbonToken",
    )
    sold, bought = market.only(SELLER.address), market.only(BUYER.address)
    assert {sold.kind, bought.kind} == {NoticeKind.REWARDED}
    assert (sold.mtu_start, sold.zone, sold.meter, sold.details.reward_ugco2) == (MTU_START, ZONE, SELL_METER, 2**60)
    assert (bought.meter, bought.details.reward_ugco2) == (BUY_METER, 3)
    assert None not in {sold.order_uid, bought.order_uid}
    assert sold.order_uid != bought.order_uid
    assert notice_document(sold)["details"] == {
        "reward_ugco2": str(2**60),
        "transaction_hash": sold.details.transaction_hash,
    }


def test_a_reward_for_one_of_several_orders_or_of_an_unknown_mtu_is_told_without_an_order(market: Market) -> None:
    market.room.accept(an_order(quantity_wh=200))
    market.room.accept(an_order(quantity_wh=400, salt=2))
    market.room.accept(an_order(Side.SELL))
    market.room.match(market.chain)
    market.chain.index(market.tx, *cleared_events(market.tx, PRICE))
    for mtu_start in (MTU_START, MTU_START + 900):
        market.told(BUYER.address)
        minted = {"from": "0x" + "00" * 20, "to": BUYER.address, "value": 3}
        market.tx.settled_mtu_start = mtu_start
        market.chain.index(market.tx, ("Transfer", minted), contract="LowCarbonToken")
        notice = market.only(BUYER.address)
        assert (notice.mtu_start, notice.order_uid, notice.zone, notice.meter) == (mtu_start, None, None, None)


def test_tokens_that_change_hands_are_no_reward(market: Market) -> None:
    market.locked()
    moved = {"from": SELLER.address, "to": BUYER.address, "value": 5}
    market.chain.index(market.tx, ("Transfer", moved), contract="LowCarbonToken")
    assert market.told(BUYER.address) == []


def test_every_order_of_a_meter_is_told_of_with_its_own_energy(market: Market) -> None:
    market.room.accept(an_order(quantity_wh=200))
    market.room.accept(an_order(quantity_wh=400, salt=2))
    market.room.accept(an_order(Side.SELL))
    market.room.clock.move_to(GATE)
    market.room.market.close_gate(ZONE, MTU_START)
    market.chain.index(market.tx, book_committed())
    market.room.rematch()
    market.chain.index(market.tx, *cleared_events(market.tx, PRICE))
    market.told(BUYER.address)
    market.chain.index(market.tx, settled_event(BUY_METER, -600, 0), progressed(0))
    first, second = market.told(BUYER.address)
    assert {first.details.energy_wh, second.details.energy_wh} == {200, 400}
    assert first.order_uid != second.order_uid
    assert {first.details.trade_microcents, second.details.trade_microcents} == {-9_000_000}


def test_what_later_contracts_will_tell_has_its_words(market: Market) -> None:
    market.locked()
    position = market.tx.mtus.opened_positions(ZONE, MTU_START, 0)[SELL_METER]
    details = NoticeDetails(sequence=1, trade_microcents=-5)
    market.tx.notices.tell_resettled(ZONE, MTU_START, position, details, GENESIS)
    market.tx.notices.tell_challenged(ZONE, MTU_START, "OrderOmitted", "0x" + "aa" * 32, GENESIS)
    resettled, challenged = market.told(SELLER.address)
    assert (resettled.kind, resettled.details.sequence) == (NoticeKind.RESETTLED, 1)
    assert (challenged.kind, challenged.details.reason) == (NoticeKind.CHALLENGED, "OrderOmitted")
    assert market.kinds(BUYER.address) == ["challenged"]


# ---- the log itself


def keep(tx: Transaction, owner: str, count: int) -> None:
    """Some notices of one owner."""
    for number in range(count):
        tx.notices.add(
            NoticeKind.FAILED,
            owner=owner,
            order_uid=None,
            zone=None,
            mtu_start=MTU_START,
            meter=None,
            created_at=number,
            details=NoticeDetails(reason="x"),
        )


def test_a_transaction_that_fails_tells_nothing(database: Database) -> None:
    class Interrupted(Exception):
        pass

    def interrupted() -> None:
        with database.write() as tx:
            keep(tx, SELLER.address, 3)
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupted()
    with database.read() as tx:
        assert tx.notices.after(SELLER.address, 0, 10) == ()


def test_an_id_is_never_used_again_even_if_its_notice_is_erased(database: Database) -> None:
    with database.write() as tx:
        keep(tx, SELLER.address, 3)
    with database.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM notice")
    with database.write() as tx:
        keep(tx, SELLER.address, 1)
    with database.read() as tx:
        assert [notice.id for notice in tx.notices.after(SELLER.address, 0, 10)] == [4]
        assert (tx.notices.last_id(SELLER.address), tx.notices.last_id(BUYER.address)) == (4, 0)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=8), st.integers(1, 5))
def test_each_owner_reads_all_of_their_own_in_order_however_they_page(
    database: Database, groups: list[tuple[bool, int]], limit: int
) -> None:
    before = {}
    with database.read() as tx:
        before = {owner: tx.notices.last_id(owner) for owner in (SELLER.address, BUYER.address)}
    for sells, count in groups:
        with database.write() as tx:
            keep(tx, SELLER.address if sells else BUYER.address, count)
    with database.read() as tx:
        for owner, wanted in ((SELLER.address, True), (BUYER.address, False)):
            found: list[Notice] = []
            after = before[owner]
            while page := tx.notices.after(owner, after, limit):
                found += page
                after = page[-1].id
            assert {notice.owner for notice in found} <= {owner}
            assert len(found) == sum(count for sells, count in groups if sells is wanted)
            assert [notice.id for notice in found] == sorted({notice.id for notice in found})


def test_a_database_from_before_notices_is_brought_forward_with_all_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0201")
        connection.exec_driver_sql("INSERT INTO node_fact VALUES ('mark', '7')")
        connection.commit()
    engine.dispose()
    database = Database(path)
    with database.write() as tx:
        assert tx.directory.fact("mark") == 7
        keep(tx, SELLER.address, 1)
        assert tx.notices.last_id(SELLER.address) == 1
    database.close()
