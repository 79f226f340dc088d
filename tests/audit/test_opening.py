"""What the audit makes of a clearing's call data is what the node proposed: two tellings of one rule."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from tests.contracts.words import CLEARING_FIELDS

from gridledger.audit.opening import Opened, open_chunk
from gridledger.audit.presented import ClearingCall, PresentedWords, clearing_call
from gridledger.audit.state_hash import state_hash
from gridledger.chain.commands import clearing_tuple
from gridledger.market.auction import clear
from gridledger.market.book import auction_orders, listed_deals
from gridledger.market.locking import Proposal, propose
from gridledger.market.model import (
    Acceptance,
    BookEntry,
    MeterFacts,
    MtuPrices,
    Order,
    Policy,
    Pricing,
    Product,
    Side,
    SignedAcceptance,
    SignedOrder,
)

MTU = 1_700_000_100
PRICES = MtuPrices(feed_in=8_000, retail=32_000, floor=-2_000, cap=32_000, surplus=-3_000, shortage=32_500)
POLICY = Policy(
    gate_closure_s=300,
    answer_lead_s=60,
    proceed_without_answer=True,
    substitute_after_s=1_800,
    correction_s=86_400,
    seller_reward_share_bp=5_000,
    default_grid_factor_mgco2_per_kwh=363_000,
    grid_fee_cents_per_mwh=2_000,
    low_carbon_relief_cents_per_mwh=1_000,
    replacement_bearers=0x20AA,
)
SELLERS, BUYERS = range(1, 5), range(5, 9)
METERS = {
    meter: MeterFacts(
        meter=meter,
        owner=f"0x{meter:040x}",
        supplier="0x" + "9" * 40,
        supplier_number=1 + meter % 2,
        zone=1,
        import_capacity_w=meter * 1_000,
        export_capacity_w=5_000,
        source=meter % 2 if meter in SELLERS else 0,
    )
    for meter in (*SELLERS, *BUYERS)
}


def _order(number: int, meter: int, quantity_wh: int, limit: int, flag: bool) -> BookEntry:
    side = Side.SELL if meter in SELLERS else Side.BUY
    order = Order(
        owner=METERS[meter].owner,
        meter=meter,
        side=side,
        product=Product.LOW_CARBON if flag and side is Side.BUY else Product.ANY,
        pricing=Pricing.PEGGED if flag and side is Side.SELL else Pricing.LIMIT,
        first_mtu_start=MTU,
        last_mtu_start=MTU,
        quantity_wh=quantity_wh,
        limit_cents_per_mwh=limit,
        expiry=MTU,
        salt=number,
    )
    signed = SignedOrder(order=order, uid=f"0x{number:064x}", signature=bytes(64) + b"\x1b")
    return BookEntry(running_number=number, signed=signed)


def _acceptance(number: int, meter: int, offer: BookEntry, quantity_wh: int) -> BookEntry:
    acceptance = Acceptance(
        owner=METERS[meter].owner,
        meter=meter,
        offer_uid=offer.uid,
        mtu_start=MTU,
        quantity_wh=quantity_wh,
        salt=number,
    )
    signed = SignedAcceptance(acceptance=acceptance, uid=f"0x{number:064x}", signature=bytes(64) + b"\x1c")
    return BookEntry(running_number=number, signed=signed)


@st.composite
def books(draw: st.DrawFn) -> list[BookEntry]:
    """Orders of all meters, some with two products and ways of pricing, and acceptances of some offers."""
    orders = [
        _order(number, *drawn)
        for number, drawn in enumerate(
            draw(
                st.lists(
                    st.tuples(st.integers(1, 8), st.integers(1, 900), st.integers(-2_000, 32_000), st.booleans()),
                    max_size=14,
                )
            ),
            1,
        )
    ]
    offers = [entry for entry in orders if entry.meter in SELLERS and entry.order.pricing is Pricing.LIMIT]
    number = len(orders)
    accepted: list[BookEntry] = []
    for offer in offers[: draw(st.integers(0, 3))]:
        number += 1
        energy_wh = draw(st.integers(1, offer.order.quantity_wh))
        accepted.append(_acceptance(number, draw(st.sampled_from(BUYERS)), offer, energy_wh))
    return orders + accepted


def _proposal(book: Sequence[BookEntry]) -> Proposal:
    deals = listed_deals(book)
    orders = auction_orders(book, deals, METERS, 15_000)
    result = clear(orders, floor_cents_per_mwh=PRICES.floor, cap_cents_per_mwh=PRICES.cap)
    return propose(result, deals, book, METERS, POLICY, PRICES)


def _call(book: Sequence[BookEntry], proposal: Proposal) -> ClearingCall:
    values = dict(zip(CLEARING_FIELDS, clearing_tuple(1, MTU, book, proposal, bytes(32)), strict=True))
    for name in ("orders", "ends"):
        presented: object = values[name]
        assert isinstance(presented, list)
        values[name] = [PresentedWords(*words)._asdict() for words in presented]
    for name in ("anyEnds", "lowCarbonEnds"):
        ends: object = values[name]
        assert isinstance(ends, tuple)
        values[name] = {"lower": ends[0], "upper": ends[1]}
    return clearing_call((values,))


def _opened(book: Sequence[BookEntry], proposal: Proposal) -> Opened:
    return open_chunk(_call(book, proposal), METERS, POLICY, PRICES, {})


@given(books())
def test_positions_deals_trades_and_hash_are_those_the_node_proposed(book: list[BookEntry]) -> None:
    proposal = _proposal(book)
    opened = _opened(book, proposal)
    assert opened.positions == proposal.positions
    assert (opened.deals, opened.trades) == (proposal.deals, proposal.trades)
    assert opened.prices_cents_per_mwh == proposal.trade_prices
    assert opened.state_hash == state_hash(proposal.positions, proposal.deals)


@given(books())
def test_sold_energy_is_bought_energy_is_traded_energy(book: list[BookEntry]) -> None:
    opened = _opened(book, _proposal(book))
    sold = sum(position.quantity_wh for position in opened.positions if position.sells)
    bought = sum(position.quantity_wh for position in opened.positions if not position.sells)
    assert sold == bought == sum(trade.energy_wh for trade in opened.trades)


@given(books())
def test_presented_words_say_what_was_signed(book: list[BookEntry]) -> None:
    proposal = _proposal(book)
    call = _call(book, proposal)
    for item, words in zip((*proposal.orders, *proposal.ends), call.presented, strict=True):
        owner = METERS[words.meter].owner
        signed = item.entry.signed
        if isinstance(signed, SignedOrder):
            assert words.order(owner) == signed.order
        else:
            assert words.acceptance(owner) == signed.acceptance
        assert (words.book_index, words.fill_wh) == (item.book_index, item.fill_wh)
        assert words.signature == signed.signature
