"""Commands become the calls they mean: right contract, right key, and bytes that say the same thing again."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chain.deployed import addresses, artifacts, key
from tests.market.fakes import (
    BUYER,
    MTU_START,
    POLICY,
    PRICES,
    SELLER,
    ZONE,
    Member,
    an_acceptance,
    an_order,
    signed,
    signed_acceptance,
)
from tests.market.test_locking import METERS

from gridledger.chain.client import ChainClient
from gridledger.chain.codec import ContractCodec
from gridledger.chain.commands import (
    NO_ORDER,
    Call,
    Command,
    CommandEncoder,
    compact_signature,
)
from gridledger.chain.roles import Role
from gridledger.dispatch.model import Answer
from gridledger.dispatch.ports import RelayAnswer
from gridledger.market.auction import clear
from gridledger.market.book import auction_orders, listed_deals
from gridledger.market.locking import propose
from gridledger.market.model import BookEntry, Order, Product, Side, Trade
from gridledger.market.packing import (
    acceptance_from_words,
    fill_of,
    is_acceptance,
    order_from_words,
    position_from_words,
    trade_from_word,
)
from gridledger.market.ports import CommitBook, PublishPrice, SettlementKind, SettlePositions, SubmitClearing
from gridledger.metering.anchoring import AnchorReadings

NOWHERE = "http://127.0.0.1:1"
SIGNERS = {role: key(role.name.lower()).address for role in (Role.MARKET_OPERATOR, Role.RELAYER)}


def encoded(command: Command) -> Call:
    return CommandEncoder(ChainClient(NOWHERE, artifacts(), addresses()), SIGNERS).encode(command)


def read(call: Call, contract: str) -> tuple[str, tuple[object, ...]]:
    return ContractCodec(artifacts().contract(contract)).arguments(call.data)


@pytest.mark.parametrize(
    ("command", "contract", "role", "expected"),
    [
        (
            CommitBook(zone=ZONE, mtu_start=MTU_START, book_hash="0x" + "ab" * 32, order_count=3),
            "EnergyTrading",
            Role.MARKET_OPERATOR,
            ("commitBook", (ZONE, MTU_START, b"\xab" * 32, 3)),
        ),
        (
            PublishPrice(zone=ZONE, mtu_start=MTU_START, supply_wh=2**40, demand_wh=0),
            "EnergyPricing",
            Role.MARKET_OPERATOR,
            ("publish", (ZONE, MTU_START, 2**40, 0)),
        ),
        (
            AnchorReadings(sequence=2, root="0x" + "cd" * 32, reading_count=9),
            "MeterLedger",
            Role.RELAYER,
            ("anchor", (2, b"\xcd" * 32, 9)),
        ),
        (
            RelayAnswer(
                zone=ZONE,
                mtu_start=MTU_START,
                answer=Answer.ACKNOWLEDGED,
                reason=65_535,
                signature=b"\x01" * 32 + b"\x02" * 32 + b"\x1c",
            ),
            "EnergyDispatching",
            Role.RELAYER,
            ("answer", (ZONE, MTU_START, 1, 65_535, b"\x01" * 32, b"\x82" + b"\x02" * 31)),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_command_is_the_call_it_means(
    command: Command, contract: str, role: Role, expected: tuple[str, tuple[object, ...]]
) -> None:
    call = encoded(command)
    assert (call.kind, call.signer, call.to_address) == (type(command).__name__, SIGNERS[role], addresses()[contract])
    anchors = isinstance(command, AnchorReadings)  # of many zones and MTUs
    assert (call.zone, call.mtu_start) == ((None, None) if anchors else (ZONE, MTU_START))
    assert read(call, contract) == expected


def entries(orders: list[tuple[Order, Member]]) -> list[BookEntry]:
    return [
        BookEntry(running_number=number, signed=signed(order, signer))
        for number, (order, signer) in enumerate(orders, start=1)
    ]


def submitted(book: list[BookEntry]) -> SubmitClearing:
    deals = listed_deals(book)
    result = clear(
        auction_orders(book, deals, METERS, 14_000),
        floor_cents_per_mwh=PRICES.floor,
        cap_cents_per_mwh=PRICES.cap,
    )
    proposal = propose(result, deals, book, METERS, POLICY, PRICES)
    return SubmitClearing(
        zone=ZONE, mtu_start=MTU_START, book=tuple(book), proposal=proposal, setpoints_root="0x" + "5e" * 32
    )


def test_a_clearing_says_every_order_with_its_signature_the_whole_book_and_the_ends() -> None:
    book = entries(
        [
            (an_order(Side.SELL, meter=1, quantity_wh=400), SELLER),
            (an_order(meter=3, quantity_wh=600), BUYER),
            (an_order(meter=3, limit_cents_per_mwh=9_000, quantity_wh=5, salt=2), BUYER),
        ]
    )
    command = submitted(book)
    name, (clearing,) = read(encoded(command), "EnergyTrading")
    assert name == "clear"
    assert isinstance(clearing, dict)
    assert (clearing["zone"], clearing["mtuStart"]) == (ZONE, MTU_START)
    assert (clearing["chunk"], clearing["last"], clearing["merged"]) == (0, True, True)
    assert (clearing["anyPrice"], clearing["lowCarbonPrice"]) == (20_000, 20_000)
    assert tuple(clearing["anyEnds"].values()) == tuple(clearing["lowCarbonEnds"].values()) == (1, 1)
    assert clearing["bookNumbers"] == b"".join(number.to_bytes(8) for number in (1, 2, 3))
    assert clearing["otherUids"] == (bytes.fromhex(book[2].uid[2:]),)
    assert clearing["setpointsRoot"] == b"\x5e" * 32
    assert (clearing["ends"], clearing["acceptedOffers"], clearing["continuedMeters"]) == ((), (), ())
    for shown, item in zip(clearing["orders"], command.proposal.orders, strict=True):
        order = item.entry.order
        assert order_from_words(shown["terms"], shown["guard"], order.owner) == order
        assert fill_of(shown["terms"]) == (item.book_index, 400)
        assert (shown["r"], shown["vs"]) == compact_signature(item.entry.signed.signature)


def test_an_acceptance_is_presented_among_the_orders_and_names_its_offer() -> None:
    offer = signed(an_order(Side.SELL, meter=1), SELLER)
    acceptance = an_acceptance(offer.uid, meter=3)
    book = [
        BookEntry(running_number=1, signed=offer),
        BookEntry(running_number=2, signed=signed_acceptance(acceptance, BUYER)),
    ]
    _, (clearing,) = read(encoded(submitted(book)), "EnergyTrading")
    assert isinstance(clearing, dict)
    first, second = clearing["orders"]
    assert (is_acceptance(first["terms"]), is_acceptance(second["terms"])) == (False, True)
    assert acceptance_from_words(second["terms"], second["guard"], BUYER.address) == acceptance
    assert (fill_of(first["terms"]), fill_of(second["terms"])) == ((0, 200), (1, 200))
    assert (second["r"], second["vs"]) == compact_signature(BUYER.sign_acceptance(acceptance))
    assert clearing["acceptedOffers"] == (0,)


def test_separate_books_say_two_prices_and_their_own_ends() -> None:
    book = entries(
        [
            (an_order(Side.SELL, meter=1, quantity_wh=100, limit_cents_per_mwh=9_000), SELLER),
            (an_order(Side.SELL, meter=2, quantity_wh=500, limit_cents_per_mwh=9_000, salt=2), SELLER),
            (an_order(meter=3, product=Product.LOW_CARBON, limit_cents_per_mwh=30_000, quantity_wh=300), BUYER),
            (an_order(meter=3, quantity_wh=200, salt=2), BUYER),
        ]
    )
    _, (clearing,) = read(encoded(submitted(book)), "EnergyTrading")
    assert isinstance(clearing, dict)
    assert (clearing["merged"], clearing["anyPrice"], clearing["lowCarbonPrice"]) == (False, 9_000, 30_000)
    assert (tuple(clearing["anyEnds"].values()), tuple(clearing["lowCarbonEnds"].values())) == ((1, 1), (2, 2))


def test_floor_and_cap_are_named_by_no_order() -> None:
    _, (clearing,) = read(encoded(submitted([])), "EnergyTrading")
    assert isinstance(clearing, dict)
    assert tuple(clearing["anyEnds"].values()) == tuple(clearing["lowCarbonEnds"].values()) == (NO_ORDER, NO_ORDER)
    assert (clearing["orders"], clearing["ends"], clearing["otherUids"]) == ((), (), ())


@pytest.mark.parametrize(
    ("kind", "function", "metered"),
    [
        (SettlementKind.READINGS, "settle", ((-7,),)),
        (SettlementKind.SUBSTITUTES, "settleSubstitutes", ()),
        (SettlementKind.REFUND, "refund", ()),
    ],
)
def test_a_settlement_presents_what_the_contract_keeps_and_what_was_metered(
    kind: SettlementKind, function: str, metered: tuple[tuple[int, ...], ...]
) -> None:
    book = entries([(an_order(Side.SELL, meter=1), SELLER), (an_order(meter=3), BUYER)])
    proposal = submitted(book).proposal
    positions = (proposal.positions[0], replace(proposal.positions[1], settled=True, metered_wh=-580))
    deals = (Trade(sell=0, buy=1, energy_wh=5, price_cents_per_mwh=-9_000),)
    command = SettlePositions(
        zone=ZONE,
        mtu_start=MTU_START,
        chunk=3,
        kind=kind,
        positions=positions,
        deals=deals,
        indexes=(0,),
        metered_wh=(-7,) if metered else (),
    )
    call = encoded(command)
    assert (call.signer, call.to_address) == (SIGNERS[Role.MARKET_OPERATOR], addresses()["EnergySettlement"])
    name, (zone, mtu_start, chunk, words, deal_words, indexes, *rest) = read(call, "EnergySettlement")
    assert (name, zone, mtu_start, chunk, indexes) == (function, ZONE, MTU_START, 3, (0,))
    assert isinstance(words, tuple)
    assert isinstance(deal_words, tuple)
    assert position_from_words(words) == tuple(replace(one, owner=one.owner.lower()) for one in positions)
    assert tuple(trade_from_word(word) for word in deal_words) == deals
    assert tuple(rest) == metered


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**255 - 1), st.sampled_from((27, 28)))
def test_the_compact_signature_is_eip_2098_and_loses_nothing(r: bytes, s: int, v: int) -> None:
    compact_r, vs = compact_signature(r + s.to_bytes(32) + bytes((v,)))
    number = int.from_bytes(vs)
    assert (compact_r, number % 2**255, 27 + (number >> 255)) == (r, s, v)
