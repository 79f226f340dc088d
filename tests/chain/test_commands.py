"""Commands become the calls they mean: right contract, right key, and bytes that say the same thing again."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chain.deployed import addresses, artifacts, key
from tests.market.fakes import BUYER, MTU_START, POLICY, PRICES, SELLER, ZONE, Member, an_order, signed
from tests.market.test_locking import METERS

from gridledger.chain.client import ChainClient
from gridledger.chain.codec import ContractCodec
from gridledger.chain.commands import (
    NO_ORDER,
    Call,
    Command,
    CommandEncoder,
    compact_signature,
    position_tuple,
    trade_tuple,
)
from gridledger.chain.roles import Role
from gridledger.dispatch.model import Answer
from gridledger.dispatch.ports import RelayAnswer
from gridledger.market.book import auction_orders, book_bytes
from gridledger.market.clearing import clear
from gridledger.market.locking import propose
from gridledger.market.model import BookEntry, Order, Side
from gridledger.market.ports import CommitBook, PublishPrice, SettlePositions, SubmitClearing
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
            AnchorReadings(zone=ZONE, mtu_start=MTU_START, sequence=2, root="0x" + "cd" * 32, reading_count=9),
            "MeterLedger",
            Role.RELAYER,
            ("anchor", (ZONE, MTU_START, 2, b"\xcd" * 32, 9)),
        ),
        (
            RelayAnswer(
                zone=ZONE,
                mtu_start=MTU_START,
                answer=Answer.CURTAILED,
                reason=65_535,
                signature=b"\x01" * 32 + b"\x02" * 32 + b"\x1c",
            ),
            "EnergyDispatching",
            Role.RELAYER,
            ("answer", (ZONE, MTU_START, 2, 65_535, b"\x01" * 32, b"\x82" + b"\x02" * 31)),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_command_is_the_call_it_means(
    command: Command, contract: str, role: Role, expected: tuple[str, tuple[object, ...]]
) -> None:
    call = encoded(command)
    assert (call.kind, call.signer, call.to_address) == (type(command).__name__, SIGNERS[role], addresses()[contract])
    assert (call.zone, call.mtu_start) == (ZONE, MTU_START)
    assert read(call, contract) == expected


def entries(orders: list[tuple[Order, Member]]) -> list[BookEntry]:
    return [
        BookEntry(running_number=number, signed=signed(order, signer))
        for number, (order, signer) in enumerate(orders, start=1)
    ]


def submitted(book: list[BookEntry]) -> SubmitClearing:
    clearing = clear(auction_orders(book), floor_cents_per_mwh=PRICES.floor, cap_cents_per_mwh=PRICES.cap)
    proposal = propose(clearing, book, METERS, POLICY, PRICES)
    return SubmitClearing(zone=ZONE, mtu_start=MTU_START, book=book_bytes(book), proposal=proposal)


def test_a_clearing_says_every_order_with_its_signature_every_match_and_the_ends() -> None:
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
    assert (clearing["zone"], clearing["mtuStart"], clearing["book"]) == (ZONE, MTU_START, command.book)
    assert clearing["priceCentsPerMwh"] == command.proposal.price_cents_per_mwh == 20_000
    assert (clearing["lowerEnd"], clearing["upperEnd"]) == (1, 1)
    assert [tuple(match.values()) for match in clearing["matches"]] == [(0, 1, 400)]
    for shown, item in zip(clearing["orders"], command.proposal.orders, strict=True):
        order = item.entry.signed.order
        assert (shown["meter"], shown["side"], shown["quantityWh"]) == (order.meter, order.side, order.quantity_wh)
        assert (shown["limitCentsPerMwh"], shown["salt"]) == (order.limit_cents_per_mwh, order.salt)
        assert (shown["firstMtuStart"], shown["expiry"]) == (order.first_mtu_start, order.expiry)
        assert shown["bookIndex"] == item.book_index
        assert (shown["r"], shown["vs"]) == compact_signature(item.entry.signed.signature)


def test_floor_and_cap_are_named_by_no_order() -> None:
    _, (clearing,) = read(encoded(submitted([])), "EnergyTrading")
    assert isinstance(clearing, dict)
    assert (clearing["lowerEnd"], clearing["upperEnd"]) == (NO_ORDER, NO_ORDER)
    assert (clearing["orders"], clearing["ends"], clearing["matches"]) == ((), (), ())


def test_a_settlement_presents_what_the_contract_keeps_and_what_was_metered() -> None:
    book = entries([(an_order(Side.SELL, meter=1), SELLER), (an_order(meter=3), BUYER)])
    proposal = submitted(book).proposal
    positions = (proposal.positions[0], replace(proposal.positions[1], settled=True, metered_wh=-580))
    trades = (proposal.trades[0].with_reward(5),)
    command = SettlePositions(
        zone=ZONE, mtu_start=MTU_START, positions=positions, trades=trades, indexes=(0,), metered_wh=(-7,)
    )
    call = encoded(command)
    assert call.signer == SIGNERS[Role.MARKET_OPERATOR]
    name, (zone, mtu_start, shown_positions, shown_trades, indexes, metered) = read(call, "EnergyTrading")
    assert (name, zone, mtu_start) == ("settle", ZONE, MTU_START)
    assert isinstance(shown_positions, tuple)
    assert isinstance(shown_trades, tuple)
    lowered = [
        tuple(value.lower() if isinstance(value, str) else value for value in position_tuple(one)) for one in positions
    ]
    assert [tuple(one.values()) for one in shown_positions] == lowered
    assert [tuple(one.values()) for one in shown_trades] == [trade_tuple(one) for one in trades]
    assert (indexes, metered) == ((0,), (-7,))


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**255 - 1), st.sampled_from((27, 28)))
def test_the_compact_signature_is_eip_2098_and_loses_nothing(r: bytes, s: int, v: int) -> None:
    compact_r, vs = compact_signature(r + s.to_bytes(32) + bytes((v,)))
    number = int.from_bytes(vs)
    assert (compact_r, number % 2**255, 27 + (number >> 255)) == (r, s, v)
