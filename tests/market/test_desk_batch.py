"""Orders accepted together: each on its own and in order, and each counts for those after it."""

from dataclasses import replace

from tests.market.fakes import BUYER, DOMAIN, EUR, MEMBERS, MTU_START, OUTSIDER, SELLER, World, a_world, an_order

from gridledger.errors import GridLedgerError
from gridledger.market.errors import (
    CapacityExceeded,
    ClientIdReused,
    FundsExceeded,
    MeterUnknown,
    NotAdmitted,
    OtherSideTaken,
    QuantityRefused,
)
from gridledger.market.model import CashAccount, Order, Side
from gridledger.market.notices import NoticeKind
from gridledger.market.ports import AcceptedOrder
from gridledger.market.submission import Submission

WORST = 22_000  # cents per MWh that a bid at 20,000 may lock


def submission(order: Order, client_id: str | None = None) -> Submission:
    return Submission.checked(DOMAIN, order, MEMBERS[order.owner].sign(order), client_id)


def accept(world: World, *orders: Order | tuple[Order, str]) -> list[AcceptedOrder | type[GridLedgerError]]:
    """Accept a batch; what was refused is told by its kind."""
    items = [order if isinstance(order, tuple) else (order, None) for order in orders]
    outcomes = world.desk.accept_all([submission(*item) for item in items])
    return [type(outcome) if isinstance(outcome, GridLedgerError) else outcome for outcome in outcomes]


def numbers(outcomes: list[AcceptedOrder | type[GridLedgerError]]) -> list[int | None]:
    return [one.receipt.running_number if isinstance(one, AcceptedOrder) else None for one in outcomes]


def test_a_batch_is_the_same_as_its_orders_one_by_one() -> None:
    orders = [an_order(quantity_wh=1, salt=1), an_order(Side.SELL, salt=2), an_order(quantity_wh=0), an_order(meter=99)]
    together, alone = a_world(), a_world()
    outcomes = accept(together, *orders)
    for order, outcome in zip(orders, outcomes, strict=True):
        if isinstance(outcome, AcceptedOrder):
            assert outcome == alone.accept(order)
    assert together.orders.kept == alone.orders.kept
    assert together.notices.added == alone.notices.added
    assert (outcomes[2], outcomes[3]) == (QuantityRefused, MeterUnknown)


def test_an_empty_batch_changes_nothing() -> None:
    world = a_world()
    assert world.desk.accept_all(()) == ()
    assert (world.orders.kept, world.notices.added) == ({}, [])


def test_running_numbers_have_no_gaps_after_refusals() -> None:
    world = a_world()
    good = [an_order(quantity_wh=1, salt=salt) for salt in range(4)]
    bad = an_order(quantity_wh=10**6)
    assert numbers(accept(world, bad, good[0], bad, bad, good[1], bad)) == [None, 1, None, None, 2, None]
    assert numbers(accept(world, bad, good[2])) == [None, 3]
    assert world.accept(good[3]).receipt.running_number == 4


def test_a_refused_order_leaves_no_trace() -> None:
    world = a_world()
    refused = an_order(quantity_wh=1_001)
    assert accept(world, (refused, "mine"), an_order(owner=OUTSIDER.address)) == [CapacityExceeded, NotAdmitted]
    assert (world.orders.kept, world.notices.added) == ({}, [])
    assert len(accept(world, (an_order(), "mine"))) == len(world.orders.kept) == len(world.notices.added) == 1


def test_the_same_order_twice_in_a_batch_gets_one_receipt() -> None:
    world = a_world()
    order, other = an_order(quantity_wh=1), an_order(quantity_wh=1, salt=2)
    first, again, next_one, last = accept(world, (order, "mine"), order, other, (order, "another"))
    assert first == again == last
    assert numbers([first, next_one]) == [1, 2]
    assert len(world.orders.kept) == 2
    assert [told.kind for told in world.notices.added] == [NoticeKind.ACCEPTED] * 2
    assert accept(world, other, order) == [next_one, first]


def test_a_client_id_names_one_order_within_a_batch_too() -> None:
    world = a_world()
    outcomes = accept(
        world,
        (an_order(quantity_wh=1), "mine"),
        (an_order(quantity_wh=1, salt=2), "mine"),
        (an_order(Side.SELL), "mine"),
        (an_order(quantity_wh=1, salt=3), "other"),
        (an_order(quantity_wh=1, salt=4), "other"),
    )
    assert numbers(outcomes) == [1, None, 2, 3, None]
    assert (outcomes[1], outcomes[4]) == (ClientIdReused, ClientIdReused)


def test_a_batch_cannot_sell_more_than_the_meter_can_deliver() -> None:
    world = a_world()
    offers = [an_order(Side.SELL, quantity_wh=800, salt=salt) for salt in range(3)]
    rest, one_more = an_order(Side.SELL, quantity_wh=400, salt=8), an_order(Side.SELL, quantity_wh=1, salt=9)
    outcomes = accept(world, *offers, rest, one_more)
    assert numbers(outcomes) == [1, 2, None, 3, None]
    assert (outcomes[2], outcomes[4]) == (CapacityExceeded, CapacityExceeded)
    later = replace(one_more, first_mtu_start=MTU_START + 900, last_mtu_start=MTU_START + 900, expiry=MTU_START + 900)
    assert numbers(accept(world, one_more, later)) == [None, 4]


def test_a_batch_cannot_promise_more_money_than_the_owner_has() -> None:
    world = a_world()
    world.directory.money[BUYER.address] = CashAccount(free_microcents=300 * WORST, credit_microcents=0)
    bids = [an_order(quantity_wh=100, salt=salt) for salt in range(4)]
    outcomes = accept(world, *bids[:2], an_order(quantity_wh=101, salt=7), *bids[2:])
    assert numbers(outcomes) == [1, 2, None, 3, None]
    assert (outcomes[2], outcomes[4]) == (FundsExceeded, FundsExceeded)


def test_funds_and_capacity_count_orders_of_earlier_batches_and_of_other_owners_not() -> None:
    world = a_world()
    world.directory.money[BUYER.address] = CashAccount(free_microcents=10 * WORST, credit_microcents=0)
    world.directory.money[SELLER.address] = CashAccount(free_microcents=10 * EUR, credit_microcents=0)
    assert numbers(accept(world, an_order(quantity_wh=4), an_order(Side.SELL, quantity_wh=2_000))) == [1, 2]
    assert numbers(accept(world, an_order(quantity_wh=6, salt=2), an_order(quantity_wh=1, salt=3))) == [3, None]


def test_an_owner_cannot_take_both_sides_within_a_batch() -> None:
    world = a_world()
    both = (an_order(quantity_wh=1), replace(an_order(quantity_wh=1), side=Side.SELL))
    assert accept(world, *both)[1] is OtherSideTaken
    world = a_world()
    assert numbers(accept(world, *reversed(both))) == [1, None]


def test_one_moment_decides_for_the_whole_batch() -> None:
    world = a_world()
    accepted = accept(world, *(an_order(quantity_wh=1, salt=salt) for salt in range(3)))
    assert {one.receipt.received_at for one in accepted if isinstance(one, AcceptedOrder)} == {world.clock.now()}


def test_a_bid_of_a_batch_counts_for_a_later_deal() -> None:
    world = a_world()
    offer, bid = accept(world, an_order(Side.SELL), an_order(quantity_wh=900))
    assert isinstance(offer, AcceptedOrder)
    assert isinstance(bid, AcceptedOrder)
    assert world.deal(offer.signed.uid, quantity_wh=100).receipt.running_number == 3
    assert accept(world, an_order(quantity_wh=1, salt=5)) == [CapacityExceeded]
