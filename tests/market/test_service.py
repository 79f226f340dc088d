"""The market's tasks over fakes: accept, cancel, close the gate, match, settle."""

from dataclasses import replace

import pytest
from tests.market.fakes import (
    BLOCK_HASH,
    BUYER,
    DOMAIN,
    EUR,
    GATE,
    MTU_START,
    NOW,
    OUTSIDER,
    POLICY,
    SELLER,
    ZONE,
    World,
    a_world,
    an_order,
    meter_facts,
)

from gridledger.errors import GridLedgerError
from gridledger.market.book import book_bytes, book_hash
from gridledger.market.errors import (
    ClientIdReused,
    FundsExceeded,
    GateClosed,
    MeterNotOwned,
    MeterUnknown,
    OrderNotCancellable,
    OrderUnknown,
    OtherSideTaken,
    SignatureMalformed,
    SignerNotOwner,
    WrongTransition,
)
from gridledger.market.model import CashAccount, MtuPhase, Order, OrderState, Side
from gridledger.market.order_hash import OrderDomain, order_uid
from gridledger.market.ports import CommitBook, PublishPrice, SettlePositions, SubmitClearing


def states(world: World) -> list[tuple[OrderState, str | None, int]]:
    return [(one.state, one.state_reason, one.filled_wh) for one in world.orders.kept.values()]


def matched(*orders: Order) -> World:
    """A world in which these orders, or one pair, went through gate and matching."""
    world = a_world()
    for order in orders or (an_order(Side.SELL), an_order()):
        world.accept(order)
    world.listed()
    world.service.match(ZONE, MTU_START)
    return world


# ---- accept


def test_an_accepted_order_is_kept_open_with_a_receipt_over_number_moment_and_block() -> None:
    world = a_world()
    accepted = world.accept(an_order(), "mine")
    assert accepted == world.orders.kept[accepted.signed.uid]
    assert (accepted.state, accepted.filled_wh, accepted.zone, accepted.client_id) == (OrderState.OPEN, 0, ZONE, "mine")
    assert accepted.worst_case_microcents == 600 * (20_000 + 2_000)
    receipt = accepted.receipt
    assert (receipt.order_uid, receipt.running_number) == (accepted.signed.uid, 1)
    assert (receipt.received_at, receipt.block_hash) == (NOW, BLOCK_HASH)
    assert receipt.signature == f"{accepted.signed.uid} 1 {NOW} {BLOCK_HASH}"


def test_running_numbers_count_up_without_gaps() -> None:
    world = a_world()
    numbers = [world.accept(an_order(quantity_wh=10, salt=salt)).receipt.running_number for salt in range(4)]
    assert numbers == [1, 2, 3, 4]


def test_the_same_order_again_gets_the_same_receipt_however_late() -> None:
    world = a_world()
    first = world.accept(an_order(), "mine")
    world.clock.move_to(MTU_START + 10_000)
    assert world.accept(an_order(), "mine") == first
    assert world.accept(an_order(), "another") == first
    assert len(world.orders.kept) == 1


def test_a_known_order_is_told_to_nobody_without_its_owner_s_signature() -> None:
    world = a_world()
    order = an_order()
    accepted = world.accept(order)
    with pytest.raises(SignerNotOwner):
        world.service.accept(order, OUTSIDER.sign(order))
    with pytest.raises(SignatureMalformed):
        world.service.accept(order, bytes(65))
    assert world.orders.kept == {accepted.signed.uid: accepted}


def test_a_client_id_names_one_order_of_its_owner_for_ever() -> None:
    world = a_world()
    first = world.accept(an_order(), "mine")
    with pytest.raises(ClientIdReused) as refused:
        world.accept(an_order(quantity_wh=601), "mine")
    assert refused.value.values() == {
        "owner": BUYER.address,
        "client_id": "mine",
        "order_uid": first.signed.uid,
    }
    assert len(world.orders.kept) == 1
    world.accept(an_order(Side.SELL), "mine")
    assert len(world.orders.kept) == 2


def test_a_client_id_of_a_cancelled_order_stays_taken() -> None:
    world = a_world()
    first = world.accept(an_order(), "mine")
    world.service.cancel(first.signed.uid, BUYER.sign_cancel(first.signed.uid))
    with pytest.raises(ClientIdReused):
        world.accept(an_order(salt=9), "mine")


def test_orders_without_a_client_id_do_not_collide() -> None:
    world = a_world()
    world.accept(an_order(quantity_wh=10, salt=1))
    world.accept(an_order(quantity_wh=10, salt=2))
    assert len(world.orders.kept) == 2


def test_somebody_else_s_signature_is_refused_with_both_names() -> None:
    world = a_world()
    order = an_order()
    with pytest.raises(SignerNotOwner) as refused:
        world.service.accept(order, OUTSIDER.sign(order))
    assert refused.value.values() == {
        "owner": BUYER.address,
        "signer": OUTSIDER.address.lower(),
        "chain_id": DOMAIN.chain_id,
        "contract": DOMAIN.trading_contract,
    }
    assert world.orders.kept == {}


@pytest.mark.parametrize(
    "domain",
    [replace(DOMAIN, chain_id=1), replace(DOMAIN, trading_contract="0x" + "44" * 20)],
    ids=["chain", "contract"],
)
def test_a_signature_for_another_chain_or_contract_is_not_the_owner_s(domain: OrderDomain) -> None:
    world = a_world()
    order = an_order()
    with pytest.raises(SignerNotOwner) as refused:
        world.service.accept(order, BUYER.sign(order, domain))
    assert refused.value.signer != BUYER.address.lower()
    assert world.orders.kept == {}


def test_a_malformed_signature_is_said_before_anything_is_looked_up() -> None:
    world = a_world()
    with pytest.raises(SignatureMalformed):
        world.service.accept(an_order(meter=99), bytes(64))


def test_an_unknown_meter_is_named() -> None:
    world = a_world()
    with pytest.raises(MeterUnknown) as refused:
        world.accept(an_order(meter=99))
    assert refused.value.values() == {"meter": 99}


def test_an_order_for_a_neighbour_s_meter_is_refused() -> None:
    world = a_world()
    with pytest.raises(MeterNotOwned) as refused:
        world.accept(an_order(meter=1))
    assert refused.value.values() == {"meter": 1, "owner": BUYER.address}


def test_an_order_is_accepted_one_second_before_the_gate_and_refused_at_it() -> None:
    world = a_world(now=GATE - 1)
    world.accept(an_order())
    world.clock.move_to(GATE)
    with pytest.raises(GateClosed):
        world.accept(an_order(salt=2))
    assert len(world.orders.kept) == 1


def test_open_orders_are_committed_against_the_owner_s_money_and_a_cancelled_one_is_not() -> None:
    world = a_world()
    worst = 600 * (20_000 + 2_000)
    world.directory.money[BUYER.address] = CashAccount(free_microcents=worst, credit_microcents=0)
    first = world.accept(an_order())
    with pytest.raises(FundsExceeded) as refused:
        world.accept(an_order(salt=2, quantity_wh=1))
    assert refused.value.committed_microcents == worst
    world.service.cancel(first.signed.uid, BUYER.sign_cancel(first.signed.uid))
    world.accept(an_order(salt=2))


def test_an_owner_with_two_meters_cannot_trade_with_itself() -> None:
    world = a_world()
    world.directory.meter_facts[3] = meter_facts(3, BUYER.address)
    world.accept(an_order())
    with pytest.raises(OtherSideTaken):
        world.accept(an_order(Side.SELL, owner=BUYER.address, meter=3))
    world.accept(
        an_order(
            Side.SELL,
            owner=BUYER.address,
            meter=3,
            first_mtu_start=MTU_START + 900,
            last_mtu_start=MTU_START + 900,
            expiry=MTU_START + 900,
        )
    )


# ---- cancel


def test_an_open_order_is_cancelled_by_its_owner_s_signature_and_again_without_effect() -> None:
    world = a_world()
    uid = world.accept(an_order()).signed.uid
    signature = BUYER.sign_cancel(uid)
    cancelled = world.service.cancel(uid, signature)
    assert cancelled.state is OrderState.CANCELLED
    world.clock.move_to(MTU_START)
    assert world.service.cancel(uid, signature) == cancelled
    assert world.orders.cancellations == {uid: ("0x" + signature.hex(), NOW)}


def test_nobody_else_cancels_an_order() -> None:
    world = a_world()
    uid = world.accept(an_order()).signed.uid
    for signature in (SELLER.sign_cancel(uid), BUYER.sign_cancel("0x" + "ab" * 32), BUYER.sign(an_order())):
        with pytest.raises(SignerNotOwner):
            world.service.cancel(uid, signature)
    assert states(world) == [(OrderState.OPEN, None, 0)]


def test_an_unknown_order_cannot_be_cancelled() -> None:
    with pytest.raises(OrderUnknown) as refused:
        a_world().service.cancel("0x" + "ab" * 32, bytes(65))
    assert refused.value.values() == {"order_uid": "0x" + "ab" * 32}


def test_an_order_is_cancelled_one_second_before_the_gate_and_not_at_it() -> None:
    world = a_world()
    early, late = (world.accept(an_order(quantity_wh=10, salt=salt)).signed.uid for salt in (1, 2))
    world.clock.move_to(GATE - 1)
    world.service.cancel(early, BUYER.sign_cancel(early))
    world.clock.move_to(GATE)
    with pytest.raises(GateClosed) as refused:
        world.service.cancel(late, BUYER.sign_cancel(late))
    assert refused.value.values() == {"mtu_start": MTU_START, "gate_closure": GATE, "now": GATE}
    assert [state for state, _, _ in states(world)] == [OrderState.CANCELLED, OrderState.OPEN]


def test_a_matched_order_cannot_be_cancelled() -> None:
    world = matched()
    uid = next(iter(world.orders.kept))
    with pytest.raises(OrderNotCancellable) as refused:
        world.service.cancel(uid, SELLER.sign_cancel(uid))
    assert refused.value.values() == {"order_uid": uid, "state": "matched"}


# ---- close the gate


def test_closing_the_gate_commits_the_open_orders_and_publishes_supply_and_demand() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL, quantity_wh=500))
    cancelled = world.accept(an_order(quantity_wh=100, salt=7)).signed.uid
    world.service.cancel(cancelled, BUYER.sign_cancel(cancelled))
    world.accept(an_order(quantity_wh=600))
    record = world.listed()
    book = world.mtus.books[ZONE, MTU_START]
    assert [entry.running_number for entry in book] == [1, 3]
    assert (record.order_count, record.book_hash) == (2, book_hash(book))
    assert (record.supply_wh, record.demand_wh) == (500, 600)
    assert world.ledger.submitted == [
        CommitBook(zone=ZONE, mtu_start=MTU_START, book_hash=record.book_hash, order_count=2),
        PublishPrice(zone=ZONE, mtu_start=MTU_START, supply_wh=500, demand_wh=600),
    ]


def test_ineligible_orders_are_committed_and_count_for_no_supply() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    world.accept(an_order())
    world.directory.suspended.add(SELLER.address)
    record = world.listed()
    assert (record.order_count, record.supply_wh, record.demand_wh) == (2, 0, 600)


def test_money_spent_after_the_order_makes_it_ineligible_at_the_gate() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    world.accept(an_order())
    world.directory.money[BUYER.address] = CashAccount(free_microcents=EUR // 1_000, credit_microcents=0)
    world.listed()
    world.service.match(ZONE, MTU_START)
    assert states(world) == [(OrderState.UNMATCHED, None, 0), (OrderState.INELIGIBLE, "not funded", 0)]


# ---- match


def test_matching_submits_the_clearing_and_moves_every_order() -> None:
    world = matched(
        an_order(Side.SELL, quantity_wh=400), an_order(), an_order(salt=2, limit_cents_per_mwh=9_000, quantity_wh=5)
    )
    command = world.ledger.submitted[-1]
    assert isinstance(command, SubmitClearing)
    assert command.book == book_bytes(world.mtus.books[ZONE, MTU_START])
    assert command.proposal == world.mtus.proposals[ZONE, MTU_START]
    assert command.proposal.price_cents_per_mwh == 20_000
    assert states(world) == [
        (OrderState.MATCHED, None, 400),
        (OrderState.MATCHED, None, 400),
        (OrderState.UNMATCHED, None, 0),
    ]
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED


def test_a_book_without_a_match_is_cleared_with_zero_volume() -> None:
    world = matched(an_order())
    command = world.ledger.submitted[-1]
    assert isinstance(command, SubmitClearing)
    assert (command.proposal.trades, command.proposal.positions) == ((), ())
    assert states(world) == [(OrderState.UNMATCHED, None, 0)]
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED


def test_matching_in_the_last_second_of_the_operator_s_half_still_clears() -> None:
    world = a_world()
    world.accept(an_order())
    world.listed()
    world.clock.move_to(MTU_START - (POLICY.gate_closure_s + POLICY.answer_lead_s) // 2)
    world.service.match(ZONE, MTU_START)
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED


def test_an_mtu_not_cleared_by_its_deadline_lapses_and_trades_nothing() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    world.accept(an_order())
    world.listed()
    submitted = len(world.ledger.submitted)
    world.clock.move_to(MTU_START - (POLICY.gate_closure_s + POLICY.answer_lead_s) // 2 + 1)
    world.service.match(ZONE, MTU_START)
    record = world.mtus.records[ZONE, MTU_START]
    assert (record.phase, record.failure) == (MtuPhase.LAPSED, "the clearing's deadline passed")
    assert states(world) == [(OrderState.UNMATCHED, None, 0)] * 2
    assert len(world.ledger.submitted) == submitted


def test_an_excluded_order_becomes_ineligible_and_the_rest_is_matched_again() -> None:
    world = a_world()
    world.accept(an_order(Side.SELL))
    excluded = world.accept(an_order())
    world.listed()
    world.service.match(ZONE, MTU_START)
    world.service.exclude(ZONE, MTU_START, [excluded.signed.uid], "not funded")
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.LISTED
    world.service.match(ZONE, MTU_START)
    assert world.mtus.records[ZONE, MTU_START].phase is MtuPhase.MATCHED
    assert states(world) == [(OrderState.UNMATCHED, None, 0), (OrderState.INELIGIBLE, "not funded", 0)]
    last = world.ledger.submitted[-1]
    assert isinstance(last, SubmitClearing)
    assert last.proposal.matches == ()


def test_an_mtu_is_matched_once() -> None:
    world = matched()
    with pytest.raises(WrongTransition):
        world.service.match(ZONE, MTU_START)


# ---- settle


def test_only_positions_whose_meters_are_read_are_settled_and_each_once() -> None:
    world = matched()
    world.mtus.move(ZONE, MTU_START, "market_cleared")
    assert world.service.settle(ZONE, MTU_START, {2: -580, 77: 5})
    command = world.ledger.submitted[-1]
    assert isinstance(command, SettlePositions)
    assert (command.indexes, command.metered_wh) == ((1,), (-580,))
    assert command.positions == world.mtus.proposals[ZONE, MTU_START].positions
    assert command.trades == world.mtus.proposals[ZONE, MTU_START].trades
    assert not world.service.settle(ZONE, MTU_START, {2: -580})
    assert world.service.settle(ZONE, MTU_START, {1: 600, 2: -580})
    last = world.ledger.submitted[-1]
    assert isinstance(last, SettlePositions)
    assert (last.indexes, last.metered_wh) == ((0,), (600,))


def test_without_any_reading_nothing_is_settled() -> None:
    world = matched()
    submitted = list(world.ledger.submitted)
    assert not world.service.settle(ZONE, MTU_START, {})
    assert (world.ledger.submitted, world.mtus.settling) == (submitted, set())


def test_a_void_dispatch_refunds_every_position_without_readings() -> None:
    world = matched()
    assert world.service.settle(ZONE, MTU_START, None)
    command = world.ledger.submitted[-1]
    assert isinstance(command, SettlePositions)
    assert (command.indexes, command.metered_wh) == ((0, 1), (0, 0))


def test_the_uid_names_the_order_everywhere() -> None:
    world = a_world()
    order = an_order()
    accepted = world.accept(order)
    assert accepted.signed.uid == order_uid(DOMAIN, order)
    assert world.service.order(accepted.signed.uid) == accepted
    with pytest.raises(OrderUnknown):
        world.service.order("0x" + "00" * 32)


def test_a_refused_order_leaves_no_trace_and_uses_no_running_number() -> None:
    world = a_world()
    for bad in (an_order(meter=99), an_order(quantity_wh=0), an_order(limit_cents_per_mwh=1)):
        with pytest.raises(GridLedgerError):
            world.accept(bad)
    assert world.orders.kept == {}
    assert world.ledger.submitted == []
    assert world.accept(an_order()).receipt.running_number == 1
