"""What a refused command means: the one at fault is left out, the rest goes on; nothing is left half done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.market.fakes import BUYER, GATE, MTU_START, SELLER, ZONE, an_order
from tests.store.builders import Chain, Room, book_committed, cleared_events, founding_events

from gridledger.api.context import Services
from gridledger.app.refusals import Refusals
from gridledger.chain.codec import ContractReverted
from gridledger.dispatch.model import ScheduleState
from gridledger.errors import GridLedgerError
from gridledger.market.model import (
    MtuPhase,
    OrderState,
    Side,
)
from gridledger.market.ports import MtuRecord, SubmitClearing
from gridledger.relay import OutboxRow, OutboxState
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

OTHER_ERROR = ContractReverted(name="ZoneHalted", arguments=(ZONE,))


class World:
    """One pair in a real store, and the handler of refusals."""

    def __init__(self, tx: Transaction) -> None:
        self.tx, self.chain = tx, Chain()
        self.chain.index(tx, *founding_events())
        self.room = Room(tx)
        self.refusals = Refusals(self.services, self.room.clock)

    def services(self, tx: Transaction) -> Services:
        """Only the market is asked for."""
        market: Any = self.room.market
        nothing: Any = None
        return Services(
            desk=self.room.desk,
            market=market,
            defender=nothing,
            metering=nothing,
            meter_events=nothing,
            estimation=nothing,
            anchoring=nothing,
            dispatch=nothing,
            demand=nothing,
            measurement=nothing,
        )

    def pair(self) -> tuple[str, str]:
        """A matched pair; returns the uids of offer and bid."""
        self.room.match_pair(self.chain)
        first, second = self.tx.orders.all_rows()
        return first.signed.uid, second.signed.uid

    def refuse(self, kind: str, error: GridLedgerError, zone: int | None = ZONE) -> None:
        """The chain has refused a command of this kind."""
        self.refusals(self.tx, a_row(kind, zone), error)

    def record(self) -> MtuRecord:
        """The MTU's record."""
        record = self.tx.mtus.find(ZONE, MTU_START)
        assert record is not None
        return record

    def orders(self) -> list[tuple[OrderState, str | None]]:
        """State and reason of both orders."""
        return [(one.state, one.state_reason) for one in self.tx.orders.all_rows()]


def a_row(kind: str, zone: int | None) -> OutboxRow:
    return OutboxRow(
        id=1,
        kind=kind,
        signer="0x" + "12" * 20,
        to_address="0x" + "13" * 20,
        data=b"",
        zone=zone,
        mtu_start=None if zone is None else MTU_START,
        nonce=None,
        raw=None,
        transaction_hash=None,
        state=OutboxState.REJECTED,
        error="no",
        block_number=None,
        gas_used=None,
        created_at=1,
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A founded market in one open transaction."""
    database = Database(tmp_path / "node.db")
    with database.write() as tx:
        yield World(tx)
    database.close()


@pytest.mark.parametrize(("name", "reason"), [("InsufficientFunds", "not funded"), ("AccountSuspended", "suspended")])
def test_a_member_whose_account_the_contract_names_is_left_out_and_the_rest_matched_again(
    world: World, name: str, reason: str
) -> None:
    world.pair()
    world.refuse("SubmitClearing", ContractReverted(name=name, arguments=(BUYER.address.lower(), 1, 0)))
    assert world.record().phase is MtuPhase.LISTED
    assert world.tx.mtus.positions(ZONE, MTU_START) == ()
    assert world.tx.mtus.deals(ZONE, MTU_START, 0) == ()
    assert world.tx.mtus.trade_totals() == (0, 0)
    world.room.rematch()
    assert world.orders() == [(OrderState.UNMATCHED, None), (OrderState.INELIGIBLE, reason)]
    command = world.room.ledger.submitted[-1]
    assert isinstance(command, SubmitClearing)
    assert command.proposal.trades == ()
    world.chain.index(world.tx, *cleared_events(world.tx, price=21_000))
    assert world.record().phase is MtuPhase.SETTLED


def test_an_order_the_contract_names_is_left_out_alone(world: World) -> None:
    _, buy = world.pair()
    world.refuse("SubmitClearing", ContractReverted(name="OrderIsCancelled", arguments=(bytes.fromhex(buy[2:]),)))
    world.room.rematch()
    assert world.orders() == [(OrderState.UNMATCHED, None), (OrderState.INELIGIBLE, "cancelled on chain")]


def test_a_member_left_out_loses_its_deals_and_its_offers_deals_too(world: World) -> None:
    offer = world.room.accept(an_order(Side.SELL))
    deal = world.room.deal(offer)
    world.room.match(world.chain)
    error = ContractReverted(name="AccountSuspended", arguments=(SELLER.address.lower(),))
    world.refuse("SubmitClearing", error)
    world.room.rematch()
    assert world.orders() == [(OrderState.INELIGIBLE, "suspended")]
    told = world.tx.orders.find_deal(deal)
    assert told is not None
    assert (told.state, told.state_reason) == (OrderState.INELIGIBLE, "offer not eligible")
    assert world.tx.mtus.fills(ZONE, MTU_START) == {offer: 0, deal: 0}


def test_a_standing_order_left_out_of_one_mtu_stays_for_the_next(world: World) -> None:
    later = MTU_START + 900
    standing = world.room.accept(an_order(last_mtu_start=later, expiry=later))
    world.room.accept(an_order(Side.SELL))
    world.room.match(world.chain)
    world.refuse("SubmitClearing", ContractReverted(name="InsufficientFunds", arguments=(BUYER.address.lower(), 1, 0)))
    world.room.rematch()
    assert world.tx.orders.fills(standing) == ((MTU_START, 0, "not funded"),)
    assert world.tx.orders.unlisted_mtus(later, 0) == ((ZONE, later),)
    assert world.orders()[0] == (OrderState.OPEN, None)


def test_leaving_everybody_out_one_by_one_ends(world: World) -> None:
    world.pair()
    for member in (BUYER, SELLER):
        world.refuse("SubmitClearing", ContractReverted(name="AccountSuspended", arguments=(member.address.lower(),)))
        world.room.rematch()
    assert world.orders() == [(OrderState.INELIGIBLE, "suspended")] * 2
    world.refuse("SubmitClearing", ContractReverted(name="AccountSuspended", arguments=(BUYER.address.lower(),)))
    assert world.record().phase is MtuPhase.LAPSED


@pytest.mark.parametrize(
    "error",
    [
        OTHER_ERROR,
        ContractReverted(name="InsufficientFunds", arguments=("0x" + "99" * 20, 1, 0)),
        ContractReverted(name="OrderIsCancelled", arguments=(b"\x01" * 32,)),
        ContractReverted(name="AccountSuspended", arguments=()),
    ],
    ids=["another error", "a stranger", "an unknown order", "nobody"],
)
def test_a_clearing_refused_for_another_reason_lapses_with_it(world: World, error: ContractReverted) -> None:
    world.pair()
    world.refuse("SubmitClearing", error)
    assert (world.record().phase, world.record().failure) == (MtuPhase.LAPSED, str(error))
    assert world.orders() == [(OrderState.UNMATCHED, None)] * 2
    assert set(world.tx.mtus.fills(ZONE, MTU_START).values()) == {0}
    assert world.tx.mtus.positions(ZONE, MTU_START) == ()
    assert world.tx.orders.committed_microcents(BUYER.address) == 0


def test_a_book_the_contract_refuses_lapses_and_frees_its_orders(world: World) -> None:
    world.room.accept(an_order(Side.SELL))
    world.room.clock.move_to(GATE)
    world.room.market.close_gate(ZONE, MTU_START)
    world.refuse("CommitBook", OTHER_ERROR)
    assert (world.record().phase, world.record().failure) == (MtuPhase.LAPSED, str(OTHER_ERROR))
    assert world.orders() == [(OrderState.UNMATCHED, None)]


def test_a_refused_settlement_is_noted_and_tried_again_a_minute_later(world: World) -> None:
    world.pair()
    world.chain.index(world.tx, *cleared_events(world.tx))
    world.tx.mtus.mark_settling(ZONE, MTU_START, 0, [0, 1])
    world.refuse("SettlePositions", OTHER_ERROR)
    record = world.record()
    assert (record.phase, record.failure) == (MtuPhase.CLEARED, str(OTHER_ERROR))
    assert record.retry_at == world.room.clock.now() + 60
    assert not world.tx.mtus.is_settling(ZONE, MTU_START)
    told = len(world.tx.notices.after(BUYER.address, 0, 100))
    world.refuse("SettlePositions", OTHER_ERROR)
    assert len(world.tx.notices.after(BUYER.address, 0, 100)) == told


def test_a_refused_answer_opens_the_schedule_for_another(world: World) -> None:
    world.pair()
    world.chain.index(world.tx, *cleared_events(world.tx))
    world.tx.dispatches.mark_answered(ZONE, MTU_START)
    world.refuse("RelayAnswer", OTHER_ERROR)
    assert not world.tx.dispatches.answer_is_pending(ZONE, MTU_START)
    schedule = world.tx.dispatches.find(ZONE, MTU_START)
    assert schedule is not None
    assert schedule.state is ScheduleState.PENDING


@pytest.mark.parametrize(("kind", "zone"), [("RelayedTransaction", None), ("PublishPrice", ZONE)])
def test_other_refused_transactions_change_nothing(world: World, kind: str, zone: int | None) -> None:
    world.room.accept(an_order(Side.SELL))
    world.room.clock.move_to(GATE)
    world.room.market.close_gate(ZONE, MTU_START)
    world.chain.index(world.tx, book_committed())
    before = (world.record(), world.orders())
    world.refuse(kind, OTHER_ERROR, zone)
    assert (world.record(), world.orders()) == before
