"""The order desk over fakes: orders and direct deals are accepted once, receipted in one sequence, and cancelled."""

from dataclasses import replace

import pytest
from tests.market.fakes import (
    BLOCK_HASH,
    BUY_METER,
    BUYER,
    DOMAIN,
    EUR,
    GATE,
    MTU_START,
    NEIGHBOUR,
    NEIGHBOUR_METER,
    NOW,
    OUTSIDER,
    SELLER,
    ZONE,
    World,
    a_world,
    an_acceptance,
    an_order,
    meter_facts,
)

from gridledger.errors import GridLedgerError
from gridledger.market.errors import (
    CapacityExceeded,
    ClientIdReused,
    FundsExceeded,
    GateClosed,
    MeterNotOwned,
    MeterUnknown,
    NotAdmitted,
    OfferNotAcceptable,
    OfferUsedUp,
    OrderExpired,
    OrderHasDeals,
    OrderNotCancellable,
    OrderUnknown,
    OtherSideTaken,
    OwnOffer,
    SignatureMalformed,
    SignerNotOwner,
)
from gridledger.market.model import CashAccount, Order, OrderState, Pricing, Side
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_uid,
    cancel_digest,
    cancel_up_to_digest,
    order_uid,
)
from gridledger.market.ports import AcceptedOrder

LAST = MTU_START + 3 * 900  # of a standing order over four MTUs


def states(world: World) -> list[OrderState]:
    return [one.state for one in world.orders.kept.values()]


def standing(side: Side = Side.BUY, **changes: object) -> Order:
    """An order over four MTUs."""
    return an_order(side, **({"last_mtu_start": LAST, "expiry": LAST} | changes))


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
        world.desk.accept(order, OUTSIDER.sign(order))
    with pytest.raises(SignatureMalformed):
        world.desk.accept(order, bytes(65))
    assert world.orders.kept == {accepted.signed.uid: accepted}


def test_a_known_deal_is_told_to_nobody_without_its_buyer_s_signature() -> None:
    world = a_world()
    acceptance = world.deal(offered(world).signed.uid).signed.acceptance
    with pytest.raises(SignerNotOwner):
        world.desk.accept_deal(acceptance, SELLER.sign_acceptance(acceptance))
    assert len(world.orders.deals) == 1


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
    world.desk.cancel(first.signed.uid, BUYER.sign_cancel(first.signed.uid))
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
        world.desk.accept(order, OUTSIDER.sign(order))
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
        world.desk.accept(order, BUYER.sign(order, domain))
    assert refused.value.signer != BUYER.address.lower()
    assert world.orders.kept == {}


def test_a_malformed_signature_is_said_before_anything_is_looked_up() -> None:
    world = a_world()
    with pytest.raises(SignatureMalformed):
        world.desk.accept(an_order(meter=99), bytes(64))


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
    world.desk.cancel(first.signed.uid, BUYER.sign_cancel(first.signed.uid))
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
    cancelled = world.desk.cancel(uid, signature)
    assert cancelled.order.state is OrderState.CANCELLED
    world.clock.move_to(MTU_START)
    assert world.desk.cancel(uid, signature) == cancelled
    assert world.orders.cancellations == {uid: ("0x" + signature.hex(), cancelled.receipt)}
    assert (cancelled.receipt.running_number, cancelled.receipt.received_at) == (2, NOW)
    assert cancelled.receipt.order_uid == "0x" + cancel_digest(DOMAIN, uid).hex()


def test_nobody_else_cancels_an_order() -> None:
    world = a_world()
    uid = world.accept(an_order()).signed.uid
    for signature in (SELLER.sign_cancel(uid), BUYER.sign_cancel("0x" + "ab" * 32), BUYER.sign(an_order())):
        with pytest.raises(SignerNotOwner):
            world.desk.cancel(uid, signature)
    assert states(world) == [OrderState.OPEN]


def test_an_unknown_order_cannot_be_cancelled() -> None:
    with pytest.raises(OrderUnknown) as refused:
        a_world().desk.cancel("0x" + "ab" * 32, bytes(65))
    assert refused.value.values() == {"order_uid": "0x" + "ab" * 32}


def test_an_order_is_cancelled_one_second_before_the_gate_and_not_at_it() -> None:
    world = a_world()
    early, late = (world.accept(an_order(quantity_wh=10, salt=salt)).signed.uid for salt in (1, 2))
    world.clock.move_to(GATE - 1)
    world.desk.cancel(early, BUYER.sign_cancel(early))
    world.clock.move_to(GATE)
    with pytest.raises(GateClosed) as refused:
        world.desk.cancel(late, BUYER.sign_cancel(late))
    assert refused.value.values() == {"mtu_start": MTU_START, "gate_closure": GATE, "now": GATE}
    assert states(world) == [OrderState.CANCELLED, OrderState.OPEN]


def test_a_matched_order_cannot_be_cancelled() -> None:
    world = a_world()
    uid = world.accept(an_order(Side.SELL)).signed.uid
    world.accept(an_order())
    world.matched()
    with pytest.raises(OrderNotCancellable) as refused:
        world.desk.cancel(uid, SELLER.sign_cancel(uid))
    assert refused.value.values() == {"order_uid": uid, "state": "matched"}


def test_the_uid_names_the_order_everywhere() -> None:
    world = a_world()
    order = an_order()
    accepted = world.accept(order)
    assert accepted.signed.uid == order_uid(DOMAIN, order)
    assert world.desk.order(accepted.signed.uid) == accepted
    with pytest.raises(OrderUnknown):
        world.desk.order("0x" + "00" * 32)


def test_a_refused_order_leaves_no_trace_and_uses_no_running_number() -> None:
    world = a_world()
    for bad in (an_order(meter=99), an_order(quantity_wh=0), an_order(limit_cents_per_mwh=1)):
        with pytest.raises(GridLedgerError):
            world.accept(bad)
    assert world.orders.kept == {}
    assert world.ledger.submitted == []
    assert world.accept(an_order()).receipt.running_number == 1


# ---- standing orders


def test_a_standing_order_waits_for_its_first_mtu_and_is_receipted_once() -> None:
    accepted = a_world().accept(standing())
    assert (accepted.next_mtu_start, accepted.final_mtu_start) == (MTU_START, LAST)
    assert accepted.worst_case_microcents == 600 * (20_000 + 2_000)
    assert not accepted.is_listed_for_good


@pytest.mark.parametrize(
    ("first", "last", "room_wh"),
    [(0, 0, 400), (1, 1, 100), (2, 2, 400), (3, 3, 700), (4, 4, 1_000), (0, 4, 100), (2, 3, 400), (3, 9, 700)],
)
def test_standing_orders_share_a_meter_s_capacity_in_the_fullest_mtu_and_not_in_sum(
    first: int, last: int, room_wh: int
) -> None:
    """600 Wh in MTUs 0..2 and 300 Wh in MTUs 1 and 3: 600, 900, 600, 300 and nothing from the fifth on."""
    world = a_world()
    world.accept(standing(last_mtu_start=MTU_START + 2 * 900, quantity_wh=600))
    for mtu in (1, 3):
        start = MTU_START + mtu * 900
        world.accept(an_order(first_mtu_start=start, last_mtu_start=start, expiry=start, quantity_wh=300, salt=mtu))
    world.directory.money[BUYER.address] = CashAccount(free_microcents=1_000 * EUR, credit_microcents=0)
    wanted = an_order(
        first_mtu_start=MTU_START + first * 900,
        last_mtu_start=MTU_START + last * 900,
        expiry=LAST + 9_000,
        quantity_wh=room_wh + 1,
        salt=9,
    )
    with pytest.raises(CapacityExceeded) as refused:
        world.accept(wanted)
    assert refused.value.values() == {
        "meter": BUY_METER,
        "requested_wh": room_wh + 1,
        "open_wh": 1_000 - room_wh,
        "capacity_wh": 1_000,
    }
    world.accept(replace(wanted, quantity_wh=room_wh))


def test_a_standing_order_takes_its_side_of_the_zone_in_all_its_mtus_and_no_other() -> None:
    world = a_world()
    world.directory.meter_facts[3] = meter_facts(3, BUYER.address)
    world.accept(standing())
    for start in (MTU_START, LAST):
        with pytest.raises(OtherSideTaken) as refused:
            world.accept(other_side(start))
        assert refused.value.values() == {"owner": BUYER.address, "zone": 1, "mtu_start": start}
    world.accept(other_side(LAST + 900))


def other_side(start: int) -> Order:
    """An offer of the buyer's third meter."""
    order = an_order(Side.SELL, owner=BUYER.address, meter=3, salt=start)
    return replace(order, first_mtu_start=start, last_mtu_start=start, expiry=start)


def test_a_standing_order_is_refused_where_any_of_its_mtus_has_the_other_side() -> None:
    world = a_world()
    world.directory.meter_facts[3] = meter_facts(3, BUYER.address)
    world.accept(other_side(LAST))
    with pytest.raises(OtherSideTaken):
        world.accept(standing())
    world.accept(standing(last_mtu_start=LAST - 900))


def test_a_standing_order_is_cancelled_between_two_gates_for_the_mtus_still_to_come() -> None:
    world = a_world()
    accepted = world.accept(standing())
    uid = accepted.signed.uid
    world.listed()
    world.clock.move_to(GATE + 899)
    cancelled = world.desk.cancel(uid, BUYER.sign_cancel(uid))
    assert (cancelled.order.state, cancelled.order.next_mtu_start) == (OrderState.CANCELLED, MTU_START + 900)
    world.market.match(1, MTU_START)
    assert world.desk.order(uid).state is OrderState.CANCELLED


def test_a_standing_order_is_not_cancelled_while_its_next_gate_has_closed_and_is_not_listed() -> None:
    world = a_world()
    uid = world.accept(standing()).signed.uid
    world.listed()
    world.clock.move_to(GATE + 900)
    with pytest.raises(GateClosed) as refused:
        world.desk.cancel(uid, BUYER.sign_cancel(uid))
    assert refused.value.values() == {"mtu_start": MTU_START + 900, "gate_closure": GATE + 900, "now": GATE + 900}


def test_an_order_in_the_book_of_its_last_mtu_cannot_be_cancelled_before_it_is_matched() -> None:
    world = a_world()
    single, long = world.accept(an_order(quantity_wh=10)), world.accept(standing(quantity_wh=10))
    world.listed()
    assert world.desk.order(single.signed.uid).is_listed_for_good
    with pytest.raises(GateClosed) as refused:
        world.desk.cancel(single.signed.uid, BUYER.sign_cancel(single.signed.uid))
    assert refused.value.values() == {"mtu_start": MTU_START, "gate_closure": GATE, "now": GATE}
    world.desk.cancel(long.signed.uid, BUYER.sign_cancel(long.signed.uid))


# ---- cancel in bulk


def test_a_bulk_cancellation_takes_all_open_orders_up_to_its_salt_and_no_others() -> None:
    world = a_world()
    orders = [world.accept(an_order(quantity_wh=10, salt=salt)) for salt in (1, 5, 6, 2**64 - 1)]
    world.accept(an_order(Side.SELL, salt=1))
    signature = BUYER.sign_cancel_up_to(5)
    assert world.desk.cancel_up_to(BUYER.address, 5, signature)[0] == (orders[0].signed.uid, orders[1].signed.uid)
    assert states(world) == [OrderState.CANCELLED] * 2 + [OrderState.OPEN] * 3
    (kept,) = world.orders.bulk_cancellations.items()
    assert (kept[0], kept[1][0], kept[1][1].received_at) == ((BUYER.address, 5), "0x" + signature.hex(), NOW)
    assert kept[1][1].order_uid == "0x" + cancel_up_to_digest(DOMAIN, BUYER.address, 5).hex()


def test_repeating_a_bulk_cancellation_is_no_error_and_keeps_its_first_moment() -> None:
    world = a_world()
    world.accept(an_order(salt=1))
    signature = BUYER.sign_cancel_up_to(5)
    assert len(world.desk.cancel_up_to(BUYER.address, 5, signature)[0]) == 1
    world.clock.move_to(NOW + 10)
    assert world.desk.cancel_up_to(BUYER.address, 5, signature)[0] == ()
    assert world.orders.bulk_cancellations[BUYER.address, 5][1].received_at == NOW


def test_a_bulk_cancellation_leaves_closed_gates_and_accepted_offers_alone() -> None:
    world = a_world()
    dealt = world.accept(standing(Side.SELL, salt=1))
    free = world.accept(an_order(Side.SELL, salt=2, quantity_wh=10))
    later = {"first_mtu_start": LAST, "last_mtu_start": LAST, "expiry": LAST}
    late = world.accept(an_order(Side.SELL, salt=3, quantity_wh=10, **later))
    world.deal(dealt.signed.uid, mtu_start=LAST)
    world.clock.move_to(GATE)
    assert world.desk.cancel_up_to(SELLER.address, 9, SELLER.sign_cancel_up_to(9))[0] == (late.signed.uid,)
    assert world.desk.order(free.signed.uid).state is OrderState.OPEN
    assert world.desk.order(dealt.signed.uid).state is OrderState.OPEN


def test_an_order_in_its_last_book_is_not_cancelled_in_bulk_either() -> None:
    world = a_world()
    world.accept(an_order())
    world.listed()
    assert world.desk.cancel_up_to(BUYER.address, 9, BUYER.sign_cancel_up_to(9))[0] == ()
    assert states(world) == [OrderState.OPEN]


def test_nobody_else_cancels_in_bulk_and_another_salt_is_another_signature() -> None:
    world = a_world()
    world.accept(an_order())
    for signature in (SELLER.sign_cancel_up_to(5, BUYER.address), BUYER.sign_cancel_up_to(4)):
        with pytest.raises(SignerNotOwner):
            world.desk.cancel_up_to(BUYER.address, 5, signature)
    assert (states(world), world.orders.bulk_cancellations) == ([OrderState.OPEN], {})


def test_a_stranger_s_bulk_cancellation_is_not_kept() -> None:
    world = a_world()
    with pytest.raises(NotAdmitted):
        world.desk.cancel_up_to(OUTSIDER.address, 5, OUTSIDER.sign_cancel_up_to(5))
    assert world.orders.bulk_cancellations == {}


# ---- direct deals


def offered(world: World, **changes: object) -> AcceptedOrder:
    """A posted offer of 600 Wh."""
    return world.accept(an_order(Side.SELL, **changes))


def test_an_accepted_deal_is_kept_open_with_a_receipt_of_the_same_sequence_as_orders() -> None:
    world = a_world()
    offer = offered(world)
    deal = world.deal(offer.signed.uid)
    last = world.accept(an_order(quantity_wh=10))
    assert [one.receipt.running_number for one in (offer, deal, last)] == [1, 2, 3]
    assert deal == world.desk.deal(deal.signed.uid)
    assert (deal.state, deal.zone, deal.worst_case_microcents) == (OrderState.OPEN, 1, 200 * 12_000)
    assert deal.signed.uid == acceptance_uid(DOMAIN, deal.signed.acceptance)
    assert deal.receipt.signature == f"{deal.signed.uid} 2 {NOW} {BLOCK_HASH}"


def test_the_same_acceptance_again_gets_the_same_receipt_however_late() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    first = world.deal(uid)
    world.clock.move_to(MTU_START + 10_000)
    assert world.deal(uid) == first
    assert len(world.orders.deals) == 1


def test_an_offer_is_used_up_by_its_acceptances_to_the_last_watt_hour() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    world.deal(uid, quantity_wh=200)
    world.deal(uid, quantity_wh=300, owner=NEIGHBOUR.address, meter=NEIGHBOUR_METER)
    with pytest.raises(OfferUsedUp) as refused:
        world.deal(uid, quantity_wh=101, salt=2)
    assert refused.value.values() == {"offer_uid": uid, "requested_wh": 101, "unsold_wh": 100}
    world.deal(uid, quantity_wh=100, salt=2)
    with pytest.raises(OfferUsedUp):
        world.deal(uid, quantity_wh=1, salt=3)


def test_a_standing_offer_is_sold_anew_in_each_of_its_mtus() -> None:
    world = a_world()
    uid = world.accept(standing(Side.SELL)).signed.uid
    for mtu_start in (MTU_START, LAST):
        world.deal(uid, quantity_wh=600, mtu_start=mtu_start)
    with pytest.raises(OfferUsedUp):
        world.deal(uid, quantity_wh=1, mtu_start=LAST, salt=2)
    with pytest.raises(OfferNotAcceptable) as refused:
        world.deal(uid, mtu_start=LAST + 900)
    assert refused.value.reason == "not for this MTU"


def test_an_unknown_offer_is_named() -> None:
    with pytest.raises(OrderUnknown) as refused:
        a_world().deal("0x" + "ab" * 32)
    assert refused.value.values() == {"order_uid": "0x" + "ab" * 32}


def test_an_acceptance_cannot_itself_be_accepted() -> None:
    world = a_world()
    uid = world.deal(offered(world).signed.uid).signed.uid
    with pytest.raises(OrderUnknown):
        world.deal(uid, owner=NEIGHBOUR.address, meter=NEIGHBOUR_METER)


@pytest.mark.parametrize("state", [state for state in OrderState if state is not OrderState.OPEN])
def test_an_offer_that_is_no_longer_open_is_not_acceptable(state: OrderState) -> None:
    world = a_world()
    uid = offered(world).signed.uid
    world.orders.end(uid, state)
    with pytest.raises(OfferNotAcceptable) as refused:
        world.deal(uid)
    assert refused.value.values() == {"offer_uid": uid, "reason": f"it is {state}"}


def test_an_offer_of_another_zone_is_not_acceptable() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    world.directory.meter_facts[BUY_METER] = meter_facts(BUY_METER, BUYER.address, zone=2)
    with pytest.raises(OfferNotAcceptable) as refused:
        world.deal(uid)
    assert refused.value.values() == {"offer_uid": uid, "reason": "it is in zone 1"}


def test_neither_a_bid_nor_a_pegged_offer_is_acceptable() -> None:
    world = a_world()
    pegged = offered(world, pricing=Pricing.PEGGED, quantity_wh=10).signed.uid
    bid = world.accept(an_order(owner=NEIGHBOUR.address, meter=NEIGHBOUR_METER)).signed.uid
    for uid in (pegged, bid):
        with pytest.raises(OfferNotAcceptable) as refused:
            world.deal(uid)
        assert refused.value.values() == {"offer_uid": uid, "reason": "not a limit offer"}


def test_a_standing_offer_that_expires_first_is_not_acceptable_for_later_mtus() -> None:
    world = a_world()
    uid = world.accept(standing(Side.SELL, expiry=GATE + 900)).signed.uid
    world.deal(uid, mtu_start=MTU_START + 900)
    with pytest.raises(OrderExpired):
        world.deal(uid, mtu_start=MTU_START + 2 * 900)


def test_nobody_accepts_its_own_offer_with_another_meter() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    world.directory.meter_facts[3] = meter_facts(3, SELLER.address)
    with pytest.raises(OwnOffer) as refused:
        world.deal(uid, owner=SELLER.address, meter=3)
    assert refused.value.values() == {"owner": SELLER.address}


def test_a_seller_of_the_zone_cannot_buy_by_a_deal_and_a_buyer_by_deal_cannot_sell() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    mine = world.accept(an_order(Side.SELL, owner=BUYER.address, meter=BUY_METER)).signed.uid
    with pytest.raises(OtherSideTaken):
        world.deal(uid)
    world.desk.cancel(mine, BUYER.sign_cancel(mine))
    world.deal(uid)
    with pytest.raises(OtherSideTaken):
        world.accept(an_order(Side.SELL, owner=BUYER.address, meter=BUY_METER, salt=2))
    world.accept(
        an_order(
            Side.SELL,
            owner=BUYER.address,
            meter=BUY_METER,
            salt=2,
            first_mtu_start=LAST,
            last_mtu_start=LAST,
            expiry=LAST,
        )
    )


def test_deals_and_bids_share_a_meter_s_capacity_in_each_mtu() -> None:
    world = a_world()
    uid = world.accept(standing(Side.SELL, quantity_wh=2_000)).signed.uid
    world.accept(standing(quantity_wh=600))
    world.deal(uid, quantity_wh=400)
    with pytest.raises(CapacityExceeded) as refused:
        world.deal(uid, quantity_wh=1, salt=2)
    assert (refused.value.open_wh, refused.value.capacity_wh) == (1_000, 1_000)
    with pytest.raises(CapacityExceeded) as refused:
        world.accept(standing(quantity_wh=1, salt=2))
    assert refused.value.open_wh == 1_000
    world.deal(uid, quantity_wh=400, mtu_start=LAST)


def test_a_deal_is_committed_against_the_buyer_s_money_beside_its_bids() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    worst = 200 * 12_000
    world.directory.money[BUYER.address] = CashAccount(free_microcents=worst, credit_microcents=0)
    world.deal(uid)
    for act in (lambda: world.deal(uid, quantity_wh=1, salt=2), lambda: world.accept(an_order(quantity_wh=1))):
        with pytest.raises(FundsExceeded) as refused:
            act()
        assert (refused.value.committed_microcents, refused.value.available_microcents) == (worst, worst)


def test_a_deal_is_made_one_second_before_the_gate_and_refused_at_it_by_the_node_s_clock() -> None:
    world = a_world(now=GATE - 1)
    uid = offered(world).signed.uid
    world.deal(uid)
    world.clock.move_to(GATE)
    with pytest.raises(GateClosed) as refused:
        world.deal(uid, salt=2)
    assert refused.value.values() == {"mtu_start": MTU_START, "gate_closure": GATE, "now": GATE}
    assert len(world.orders.deals) == 1


def test_an_accepted_offer_cannot_be_cancelled() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    world.deal(uid)
    with pytest.raises(OrderHasDeals) as refused:
        world.desk.cancel(uid, SELLER.sign_cancel(uid))
    assert refused.value.values() == {"order_uid": uid, "mtu_start": MTU_START}
    assert world.desk.order(uid).state is OrderState.OPEN


def test_a_standing_offer_can_be_cancelled_again_once_its_accepted_mtu_is_matched() -> None:
    world = a_world()
    uid = world.accept(standing(Side.SELL)).signed.uid
    world.deal(uid)
    world.matched()
    assert world.desk.cancel(uid, SELLER.sign_cancel(uid)).order.state is OrderState.CANCELLED


def test_an_acceptance_is_binding() -> None:
    world = a_world()
    uid = world.deal(offered(world).signed.uid).signed.uid
    with pytest.raises(OrderUnknown):
        world.desk.cancel(uid, BUYER.sign_cancel(uid))
    assert world.desk.cancel_up_to(BUYER.address, 2**64 - 1, BUYER.sign_cancel_up_to(2**64 - 1))[0] == ()
    assert world.desk.deal(uid).state is OrderState.OPEN


def test_only_the_buyer_signs_its_acceptance_for_this_chain_and_contract() -> None:
    world = a_world()
    acceptance = an_acceptance(offered(world).signed.uid)
    for signature in (
        SELLER.sign_acceptance(acceptance),
        BUYER.sign_acceptance(replace(acceptance, quantity_wh=201)),
        BUYER.sign_acceptance(acceptance, replace(DOMAIN, chain_id=1)),
        BUYER.sign(an_order()),
    ):
        with pytest.raises(SignerNotOwner):
            world.desk.accept_deal(acceptance, signature)
    assert world.orders.deals == {}


def test_a_refused_deal_leaves_no_trace_and_uses_no_running_number() -> None:
    world = a_world()
    uid = offered(world).signed.uid
    for bad in ({"meter": 99}, {"meter": NEIGHBOUR_METER}, {"quantity_wh": 601}, {"mtu_start": LAST}, {"salt": 2**40}):
        with pytest.raises(GridLedgerError):
            world.deal(uid, **bad)
    assert world.orders.deals == {}
    assert world.deal(uid).receipt.running_number == 2


def test_a_deal_nobody_made_is_unknown() -> None:
    with pytest.raises(OrderUnknown):
        a_world().desk.deal("0x" + "ab" * 32)
