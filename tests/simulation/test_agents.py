"""Market agents: what they order, at which price, and that their signatures and texts are exact."""

from collections.abc import Sequence

from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulation.fake_node import CHAIN_ID, FIRST_MTU, MTU_LENGTH_S, SEED, a_spec

from gridledger.api.schemas import OrderIn
from gridledger.market.model import Side, SignedOrder
from gridledger.market.order_hash import OrderDomain, order_typed_data, order_uid, recover_address
from gridledger.simulation.agents import MemberAgent, OrderWindow, limit_price, order_body
from gridledger.simulation.community import Member, form_community
from gridledger.simulation.inputs import MeterReading, MeterSpec
from gridledger.simulation.seeded import DRAW_LIMIT

DOMAIN = OrderDomain(chain_id=CHAIN_ID, trading_contract="0x" + "Ab" * 20)
WINDOW = OrderWindow(mtu_start=FIRST_MTU, floor_cents_per_mwh=8_000, cap_cents_per_mwh=32_000)


def member_with(*specs: MeterSpec, seed: int = SEED) -> Member:
    return form_community(specs, seed).members[0]


def agent_of(member: Member, *, seed: int = SEED) -> MemberAgent:
    return MemberAgent(member, seed=seed, domain=DOMAIN, mtu_length_s=MTU_LENGTH_S)


def a_reading(meter_id: str, import_wh: int = 0, export_wh: int = 0) -> MeterReading:
    return MeterReading(
        meter_id=meter_id,
        mtu_start=FIRST_MTU - 1800,
        import_wh=import_wh,
        export_wh=export_wh,
        consumption_wh=None,
        generation_wh=None,
    )


def orders_after(*readings: MeterReading, specs: Sequence[MeterSpec] = (), seed: int = SEED) -> tuple[SignedOrder, ...]:
    member = member_with(*(specs or [a_spec(reading.meter_id) for reading in readings]), seed=seed)
    agent, number_of = agent_of(member, seed=seed), {meter.spec.meter_id: meter.number for meter in member.meters}
    for reading in readings:
        agent.learn(number_of[reading.meter_id], reading)
    orders = agent.orders(WINDOW)
    assert agent.order_count() == len(orders)
    return orders


def test_an_agent_without_a_reading_or_without_net_energy_orders_nothing() -> None:
    assert agent_of(member_with(a_spec("m"))).orders(WINDOW) == ()
    assert orders_after(a_reading("m", 120, 120)) == ()


def test_net_import_becomes_a_bid_and_net_export_an_offer_for_the_mtu() -> None:
    (bid,) = orders_after(a_reading("m", import_wh=300, export_wh=20))
    (offer,) = orders_after(a_reading("m", import_wh=20, export_wh=300))
    assert (bid.order.side, bid.order.quantity_wh) == (Side.BUY, 280)
    assert (offer.order.side, offer.order.quantity_wh) == (Side.SELL, 280)
    assert bid.order.first_mtu_start == bid.order.last_mtu_start == bid.order.expiry == FIRST_MTU


def test_the_last_reading_alone_is_the_forecast() -> None:
    (order,) = orders_after(a_reading("m", 300), a_reading("m", 50), specs=[a_spec("m")])
    assert order.order.quantity_wh == 50


def test_a_quantity_never_exceeds_the_connection_rounded_down() -> None:
    spec = a_spec("m", import_capacity_w=1_001, export_capacity_w=0)
    (bid,) = orders_after(a_reading("m", import_wh=400), specs=[spec])
    assert bid.order.quantity_wh == 1_001 * 900 // 3600
    assert orders_after(a_reading("m", export_wh=400), specs=[spec]) == ()


def test_one_owner_never_bids_and_offers_in_one_zone_and_the_larger_side_is_traded() -> None:
    specs = [a_spec("a", owner="o"), a_spec("b", owner="o"), a_spec("c", owner="o", zone=2)]
    readings = a_reading("a", import_wh=300), a_reading("b", export_wh=500), a_reading("c", import_wh=10)
    orders = orders_after(*readings, specs=specs)
    assert [(item.order.meter, item.order.side) for item in orders] == [(2, Side.SELL), (3, Side.BUY)]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones() -> None:
    readings = [a_reading("m", import_wh=300)]
    assert orders_after(*readings) == orders_after(*readings)
    (one,), (other,) = orders_after(*readings), orders_after(*readings, seed=SEED + 1)
    assert one.order.owner != other.order.owner
    assert one.order.salt != other.order.salt
    assert one.signature != other.signature


def test_a_signature_is_the_very_one_eth_account_makes() -> None:
    member = member_with(a_spec("m"))
    (signed,) = orders_after(a_reading("m", import_wh=300))
    document = encode_typed_data(full_message=order_typed_data(DOMAIN, signed.order))
    assert bytes(Account.sign_message(document, member.account.key).signature) == signed.signature
    assert signed.uid == order_uid(DOMAIN, signed.order)
    assert recover_address(bytes.fromhex(signed.uid[2:]), signed.signature) == member.account.address.lower()


@settings(deadline=None)
@given(
    floor=st.integers(-50_000, 100_000),
    spread=st.integers(0, 100_000),
    drawn=st.integers(0, DRAW_LIMIT - 1),
    side=st.sampled_from(Side),
)
def test_a_limit_lies_between_floor_and_cap_and_bids_reach_the_cap_and_offers_the_floor(
    floor: int, spread: int, drawn: int, side: Side
) -> None:
    window = OrderWindow(mtu_start=FIRST_MTU, floor_cents_per_mwh=floor, cap_cents_per_mwh=floor + spread)
    assert floor <= limit_price(side, window, drawn) <= floor + spread
    assert limit_price(Side.SELL, window, 0) == floor
    assert limit_price(Side.BUY, window, DRAW_LIMIT - 1) == floor + spread
    assert limit_price(Side.SELL, window, drawn) <= limit_price(Side.BUY, window, drawn)


@settings(deadline=None)
@given(
    floor=st.integers(-1_000_000, 1_000_000),
    energy_wh=st.integers(1, 1_000),
    side_is_bid=st.booleans(),
    seed=st.integers(0, 50),
)
def test_the_texts_posted_stand_for_exactly_the_integers_signed(
    floor: int, energy_wh: int, side_is_bid: bool, seed: int
) -> None:
    agent = agent_of(member_with(a_spec("m"), seed=seed), seed=seed)
    agent.learn(1, a_reading("m", energy_wh, 0) if side_is_bid else a_reading("m", 0, energy_wh))
    window = OrderWindow(mtu_start=FIRST_MTU, floor_cents_per_mwh=floor, cap_cents_per_mwh=floor + 3)
    (signed,) = agent.orders(window)
    posted = OrderIn.model_validate(order_body(signed))
    assert posted.to_order() == signed.order
    assert posted.signature_bytes() == signed.signature
