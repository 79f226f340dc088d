"""What makes the operator's omissions provable and its clearings whole: posted orders, records, chunks, late readings.

Every market here is exported at its end and audited.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    BUY_METER,
    BUYER,
    EUR,
    MTU_START,
    NEIGHBOUR,
    OUTSIDER,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    admit,
    key,
    make_folder,
    served,
)

from gridledger.app import export
from gridledger.app.audit_run import audit
from gridledger.chain.commands import compact_signature
from gridledger.chain.plan import PolicyParameters
from gridledger.market import service
from gridledger.market.book import book_bytes
from gridledger.market.chunks import propose_chunks
from gridledger.market.model import Order, Side
from gridledger.market.omission import Proof
from gridledger.market.order_hash import order_typed_data, order_uid
from gridledger.market.packing import order_words
from gridledger.store.database import Database
from gridledger.store.orders import Orders
from gridledger.store.outbox import Outbox

GATE, MTU_END = MTU_START - 300, MTU_START + 900
CLEARING_DEADLINE = MTU_START - 180
PEOPLE: dict[str, LocalAccount] = {account.address: account for account in (SELLER, BUYER, NEIGHBOUR, OUTSIDER)}

Start = Callable[..., RunningNode]


@pytest.fixture
def start(tmp_path: Path, keys: Path, onboarded: Onboarded) -> Iterator[Start]:
    """Starts a node with two members."""
    with ExitStack() as closing:

        def begin(**changes: Any) -> RunningNode:
            if not changes:
                return closing.enter_context(onboarded.served(tmp_path / "data"))
            node = closing.enter_context(served(make_folder(tmp_path / "data", keys, **changes)))
            node.onboard()
            return node

        yield begin


def check(market: RunningNode, tmp_path: Path) -> None:
    """Export the running market and audit it."""
    target = tmp_path / "export"
    export.export_run(market.folder.path, target, lambda *_: None)
    report = audit(target, None, lambda *_: None)
    assert report.ok, report.mismatches


def post_on_chain(market: RunningNode, order: Order) -> str:
    """The owner sends its order to the bond instead of the node; returns its uid."""
    owner = PEOPLE[order.owner]
    terms, guard = order_words(order, book_index=0, fill_wh=0)
    document = encode_typed_data(full_message=order_typed_data(market.order_domain, order))
    signature = bytes(owner.sign_message(document).signature)
    market.send(owner, "MarketBond", "post", terms, guard, *compact_signature(signature))
    market.work()
    return order_uid(market.order_domain, order)


def recorded(market: RunningNode, place: int) -> bool:
    (answer,) = market.view("MarketBond", "isIneligible", 1, MTU_START, place)
    return bool(answer)


def told(market: RunningNode, uid: str) -> tuple[str, str | None]:
    answer = market.get(f"/v1/orders/{uid}")
    return answer["state"], answer["state_reason"]


# ---- orders posted on chain


def test_an_order_posted_on_chain_is_receipted_listed_and_filled(start: Start, tmp_path: Path) -> None:
    market = start()
    market.accept(market.order(Side.SELL))
    uid = post_on_chain(market, market.order(Side.BUY))
    answer = market.get(f"/v1/orders/{uid}")
    assert (answer["state"], answer["receipt"]["running_number"]) == ("open", 2)
    market.advance(GATE)
    assert (market.mtu()["orders"], market.mtu()["traded_wh"]) == (2, 600)
    check(market, tmp_path)


def test_what_the_node_would_refuse_is_listed_and_recorded_as_ineligible_when_posted(
    start: Start, tmp_path: Path
) -> None:
    market = start()
    mine = market.accept(market.order(Side.BUY))["uid"]
    market.accept(market.order(Side.SELL))
    other_side = post_on_chain(market, market.order(Side.SELL, owner=BUYER.address, meter=BUY_METER))
    too_much = post_on_chain(market, market.order(Side.BUY, quantity_wh=401))
    too_dear = post_on_chain(market, market.order(Side.BUY, quantity_wh=1, limit_cents_per_mwh=99_999))
    market.advance(GATE)
    assert told(market, mine) == ("locked", None)
    assert told(market, other_side) == ("ineligible", "other side taken")
    assert told(market, too_much) == ("ineligible", "over capacity")
    assert told(market, too_dear) == ("ineligible", "limit outside bounds")
    assert [recorded(market, place) for place in range(5)] == [False, False, True, True, False]
    check(market, tmp_path)


def test_an_order_both_posted_and_sent_is_one_order(start: Start, tmp_path: Path) -> None:
    market = start()
    order = market.order(Side.BUY)
    sent = market.accept(order)
    assert post_on_chain(market, order) == sent["uid"]
    assert market.get(f"/v1/orders/{sent['uid']}")["receipt"] == sent["receipt"]
    market.advance(GATE)
    assert market.mtu()["orders"] == 1
    check(market, tmp_path)


# ---- the bond's record


def test_a_suspended_owner_s_orders_are_recorded_before_the_clearing(start: Start, tmp_path: Path) -> None:
    market = start()
    gone = market.accept(market.order(Side.BUY))["uid"]
    market.accept(market.order(Side.SELL))
    market.send(key("regulator"), "EnergyTrading", "setSuspended", BUYER.address, True)
    market.work()
    market.advance(GATE)
    assert (market.mtu()["phase"], told(market, gone)) == ("settled", ("ineligible", "suspended"))
    assert [recorded(market, place) for place in range(2)] == [True, False]
    check(market, tmp_path)


# ---- challenges

STAKE = 10**8
NO_ORDER = (0, 0, bytes(32), bytes(32))
NO_RESULT: tuple[object, ...] = (False, (0, 0), (0, 0), [], [])


def challenge_missing(market: RunningNode, order: Order, receipt: dict[str, Any]) -> None:
    """The owner claims that its receipted order is missing from the committed book."""
    owner = PEOPLE[order.owner]
    market.send(key("bank"), "SettlementToken", "issue", [owner.address], [STAKE])
    market.send(owner, "SettlementToken", "approve", market.facts["contracts"]["MarketBond"], STAKE)
    document = encode_typed_data(full_message=order_typed_data(market.order_domain, order))
    signature = compact_signature(bytes(owner.sign_message(document).signature))
    promised = (
        receipt["running_number"],
        receipt["received_at"],
        bytes.fromhex(receipt["block_hash"][2:]),
        *compact_signature(bytes.fromhex(receipt["signature"][2:])),
    )
    with Database(market.folder.database).read() as tx:
        book = book_bytes(tx.mtus.book(1, MTU_START))
    words = order_words(order, book_index=0, fill_wh=0)
    claim = (1, MTU_START, (*words, *signature), NO_ORDER, promised, book, NO_RESULT)
    market.send(owner, "MarketBond", "challenge", int(Proof.MISSING), claim)
    market.work()


def funded(market: RunningNode) -> None:
    """The operator's account has money, and the node puts it into the bond."""
    market.send(key("bank"), "SettlementToken", "issue", [key("market_operator").address], [500 * EUR])
    for moment in (1, 2, 3):
        market.advance(market.node.now + moment)
    assert market.view("MarketBond", "bond") == (500 * EUR, 0)


def test_a_challenge_of_a_cancelled_order_is_defeated_by_its_cancellation(start: Start, tmp_path: Path) -> None:
    market = start()
    funded(market)
    order = market.order(Side.BUY)
    receipt = market.accept(order)["receipt"]
    assert market.cancel(order_uid(market.order_domain, order), BUYER).status_code == 200
    market.accept(market.order(Side.SELL))
    market.advance(GATE)
    challenge_missing(market, order, receipt)
    assert market.view("MarketBond", "challengeOf", BUYER.address, 1, MTU_START)[0]["status"] == 0
    assert market.view("MarketBond", "bond") == (500 * EUR + STAKE, 0)
    check(market, tmp_path)


def test_a_challenge_of_an_order_cancelled_in_bulk_is_defeated_too(start: Start, tmp_path: Path) -> None:
    market = start()
    funded(market)
    order = market.order(Side.BUY)
    receipt = market.accept(order)["receipt"]
    body = market.cancel_up_to_body(BUYER, order.salt)
    assert market.post("/v1/orders/cancellations", body).status_code == 200
    market.accept(market.order(Side.SELL))
    market.advance(GATE)
    challenge_missing(market, order, receipt)
    assert market.view("MarketBond", "bond") == (500 * EUR + STAKE, 0)
    check(market, tmp_path)


def test_an_order_left_out_of_its_book_is_paid_by_the_bond(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    market = start()
    funded(market)
    order = market.order(Side.BUY)
    receipt = market.accept(order)["receipt"]
    market.accept(market.order(Side.SELL))
    open_orders = Orders.open_orders
    monkeypatch.setattr(
        Orders,
        "open_orders",
        lambda orders, *slot: tuple(one for one in open_orders(orders, *slot) if one.signed.order.side is Side.SELL),
    )
    market.advance(GATE)
    challenge_missing(market, order, receipt)
    market.advance(GATE + 2 * 86_400)
    market.send(SELLER, "MarketBond", "resolve", BUYER.address, 1, MTU_START)
    market.work()
    owed = EUR + 600 * abs(20_000 - market.mtu()["price_cents_per_mwh"])
    assert market.view("MarketBond", "bond") == (500 * EUR - owed, 0)
    assert market.view("SettlementToken", "balanceOf", BUYER.address) == (STAKE + owed,)


# ---- chunks


def two_pairs(market: RunningNode) -> None:
    """Meters 3 (sells) and 4 (buys) set the price; 1 and 2 are well inside."""
    admit(market, ((NEIGHBOUR, 1), (OUTSIDER, 0)))
    for account in (NEIGHBOUR, OUTSIDER):
        market.fund(account, 10 * EUR)
    market.work()
    market.accept(market.order(Side.SELL, limit_cents_per_mwh=9_000))
    market.accept(market.order(Side.BUY, limit_cents_per_mwh=25_000))
    market.accept(market.order(Side.SELL, owner=NEIGHBOUR.address, meter=3))
    market.accept(market.order(Side.BUY, owner=OUTSIDER.address, meter=4))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk may have more than two orders."""
    monkeypatch.setattr(service, "propose_chunks", partial(propose_chunks, most_orders=2))


@pytest.mark.usefixtures("small_chunks")
def test_a_clearing_in_two_chunks_is_dispatched_settled_and_audited(start: Start, tmp_path: Path) -> None:
    market = start()
    two_pairs(market)
    market.advance(GATE)
    (cleared,) = market.view("EnergyTrading", "clearingOf", 1, MTU_START)
    assert (cleared["chunkCount"], market.mtu()["traded_wh"], market.mtu()["phase"]) == (2, 1_200, "cleared")
    market.answer()
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    assert market.mtu()["phase"] == "cleared"
    market.advance(MTU_END + 40 * 86_400)
    assert market.mtu()["phase"] == "settled"
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)
    check(market, tmp_path)


@pytest.mark.usefixtures("small_chunks")
def test_a_clearing_that_stops_half_way_gives_everything_back(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = start()
    two_pairs(market)
    before = [market.free(one) for one in PEOPLE.values()]
    has_open = Outbox.has_open
    monkeypatch.setattr(
        Outbox, "has_open", lambda box, kind, *key: kind == "SubmitClearing" or has_open(box, kind, *key)
    )
    market.advance(GATE)
    assert market.mtu()["phase"] == "matched"
    check(market, tmp_path / "half way")
    market.advance(CLEARING_DEADLINE + 1)
    monkeypatch.undo()
    market.advance(CLEARING_DEADLINE + 2)
    assert (market.mtu()["phase"], market.mtu()["failure"]) == ("lapsed", "the clearing's deadline passed")
    assert [market.free(one) for one in PEOPLE.values()] == before
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)
    assert {one["state"] for one in map(market.get, orders_of(market))} == {"refunded", "unmatched"}
    check(market, tmp_path / "end")


def orders_of(market: RunningNode) -> list[str]:
    """The paths of all orders."""
    return [f"/v1/orders/{row[0]}" for row in market.memory()["market_order"]]


# ---- late readings


def test_a_reading_after_its_substitute_is_settled_as_a_correction(start: Start, tmp_path: Path) -> None:
    after = 2 * 86_400
    market = start(policy=PolicyParameters(substitute_after_s=after))
    market.pair()
    market.answer()
    market.advance(MTU_END)
    market.read({SELL_METER: 600})
    market.advance(MTU_END + after)
    assert (market.mtu()["phase"], market.free(BUYER)) == ("settled", 10 * EUR - 600 * 16_000)
    market.read({BUY_METER: -580})
    market.advance(MTU_END + after + 200)
    assert market.free(BUYER) == 10 * EUR - 600 * 16_000 + 20 * 7_500
    assert market.get("/v1/market/summary")["tokens_minted_ugco2"] == 580 * (363_000 - 41_000)
    check(market, tmp_path)
