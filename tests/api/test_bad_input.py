"""Every bad input has its own problem with the failing values, and leaves no trace.

One market: the first MTU went unanswered and is settled by default, the second is acknowledged and settled, the third
is scheduled and waits for its answer. After each refusal everything the node remembers is compared, row by row.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
from eth_account import Account
from tests.api.running import (
    BUY_METER,
    BUYER,
    GATE_CLOSURE_S,
    HIGHEST_GAS,
    MTU_LENGTH_S,
    MTU_START,
    OUTSIDER,
    PROBLEM_TYPE,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
)

from gridledger.market.model import Pricing, Product, Side

FIRST, SECOND, THIRD, NEXT, OFFERED = (MTU_START + MTU_LENGTH_S * count for count in (0, 1, 3, 5, 7))
NOW = THIRD - GATE_CLOSURE_S

# Offers for the last MTU, by client id; 50 Wh of the first are accepted.
OPEN_OFFERS: dict[str, dict[str, Any]] = {
    "offered": {"quantity_wh": 500},
    "pegged": {"quantity_wh": 100, "pricing": Pricing.PEGGED},
    "cancelled": {"quantity_wh": 100},
    "large": {"quantity_wh": 1_000, "limit_cents_per_mwh": 8_000},
}

Post = Callable[[RunningNode], httpx.Response]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """The market of the module's docstring; nothing in this module may change it."""
    with onboarded.served(tmp_path_factory.mktemp("bad") / "data") as running:
        running.accept(running.order(Side.SELL, mtu_start=FIRST, quantity_wh=100), client_id="settled")
        running.accept(running.order(Side.BUY, mtu_start=FIRST, quantity_wh=100))
        running.advance(FIRST - GATE_CLOSURE_S)
        running.pair(SECOND, quantity_wh=100)
        running.answer(SECOND)
        running.deliver({SELL_METER: 100, BUY_METER: -100}, FIRST)
        running.deliver({SELL_METER: 100, BUY_METER: -100}, SECOND)
        running.accept(
            running.order(
                Side.SELL, mtu_start=THIRD, last_mtu_start=THIRD + 900, quantity_wh=1, limit_cents_per_mwh=30_000
            ),
            client_id="late",
        )
        running.pair(THIRD, quantity_wh=100)
        running.accept(running.order(Side.BUY, mtu_start=NEXT, quantity_wh=100), client_id="taken")
        for client_id, changes in OPEN_OFFERS.items():
            uid = running.accept(running.order(Side.SELL, mtu_start=OFFERED, **changes), client_id=client_id)["uid"]
            if client_id == "cancelled":
                assert running.cancel(uid, SELLER).status_code == 200
            if client_id == "offered":
                running.deal(uid, mtu_start=OFFERED, quantity_wh=50, salt=1)
        assert running.node.now == NOW
        assert [running.mtu(start)["phase"] for start in (FIRST, SECOND, THIRD)] == ["settled", "settled", "cleared"]
        yield running


def refused(market: RunningNode, post: Post) -> httpx.Response:
    """Post, let the node work on whatever it may have kept, and compare all it remembers."""
    before, summary = market.memory(), market.get("/v1/market/summary")
    answer = post(market)
    market.work()
    assert market.get("/v1/market/summary") == summary
    assert market.memory() == before
    return answer


# ---- orders


def order(**changes: Any) -> Callable[[RunningNode], dict[str, Any]]:
    """A good bid for the next MTU but for these changes."""
    named = {name: changes.pop(name) for name in ("signer", "client_id", "domain") if name in changes}

    def body(market: RunningNode) -> dict[str, Any]:
        values = {"mtu_start": NEXT, "quantity_wh": 100} | changes
        side = values.pop("side", Side.BUY)
        domain = named.get("domain")
        given = {**named, "domain": replace(market.order_domain, **domain)} if isinstance(domain, dict) else named
        return market.order_body(market.order(side, **values), **given)

    return body


def text(field: str, value: object) -> Callable[[RunningNode], dict[str, Any]]:
    """A good bid with one field of the posted JSON replaced after signing."""
    return lambda market: order()(market) | {field: value}


ORDERS: dict[str, tuple[Callable[[RunningNode], dict[str, Any]], int, str, dict[str, object]]] = {
    "unknown meter": (order(meter=99), 404, "meter-unknown", {"meter": 99}),
    "somebody else's meter": (order(meter=SELL_METER), 403, "meter-not-owned", {"meter": 1, "owner": BUYER.address}),
    "wrong signature": (order(signer=SELLER), 403, "signer-not-owner", {"signer": SELLER.address.lower()}),
    "wrong chain in the domain": (order(domain={"chain_id": 1}), 403, "signer-not-owner", {"chain_id": 31_337}),
    "wrong contract in the domain": (
        order(domain={"trading_contract": "0x" + "11" * 20}),
        403,
        "signer-not-owner",
        {"owner": BUYER.address},
    ),
    "changed after signing": (text("quantity_kwh", "0.101"), 403, "signer-not-owner", {"owner": BUYER.address}),
    "malformed signature": (text("signature", "0x" + "00" * 65), 422, "signature-malformed", {"reason": "v = 0"}),
    "not admitted": (order(owner=OUTSIDER.address), 403, "not-admitted", {"owner": OUTSIDER.address}),
    "after gate closure": (
        order(mtu_start=NOW // 900 * 900),
        409,
        "gate-closed",
        {"mtu_start": NOW // 900 * 900, "gate_closure": NOW // 900 * 900 - 300, "now": NOW},
    ),
    "at gate closure": (order(mtu_start=THIRD), 409, "gate-closed", {"gate_closure": NOW, "now": NOW}),
    "over capacity": (
        order(quantity_wh=901),
        409,
        "capacity-exceeded",
        {"meter": BUY_METER, "requested_wh": 901, "open_wh": 100, "capacity_wh": 1_000},
    ),
    "on both sides": (
        order(side=Side.SELL, owner=BUYER.address, meter=BUY_METER),
        409,
        "other-side-taken",
        {"owner": BUYER.address, "zone": 1, "mtu_start": NEXT},
    ),
    "duplicate client id with another body": (
        order(client_id="taken"),
        409,
        "client-id-reused",
        {"owner": BUYER.address, "client_id": "taken"},
    ),
    "unaligned MTU": (
        order(mtu_start=NEXT + 1),
        422,
        "unaligned-mtu",
        {"mtu_start": NEXT + 1, "mtu_length_s": 900},
    ),
    "below the floor": (order(limit_cents_per_mwh=7_999), 422, "limit-outside-bounds", {"floor_cents_per_mwh": 8_000}),
    "above the cap": (order(limit_cents_per_mwh=32_001), 422, "limit-outside-bounds", {"cap_cents_per_mwh": 32_000}),
    "expiring before the gate": (order(expiry=NEXT - 301), 422, "order-expired", {"gate_closure": NEXT - 300}),
    "without energy": (order(quantity_wh=0), 422, "quantity-refused", {"quantity_wh": 0}),
    "a range that runs backwards": (
        order(last_mtu_start=NEXT - 900),
        422,
        "range-refused",
        {"first_mtu_start": NEXT, "last_mtu_start": NEXT - 900},
    ),
    "a range of more than a year's MTUs": (
        order(last_mtu_start=NEXT + 900 * 366 * 24 * 12),
        422,
        "range-refused",
        {"first_mtu_start": NEXT},
    ),
    "a standing order off the grid": (
        order(last_mtu_start=NEXT + 901),
        422,
        "unaligned-mtu",
        {"mtu_start": NEXT + 901},
    ),
    "over capacity in a later MTU only": (
        order(mtu_start=NEXT - 900, last_mtu_start=NEXT + 900, quantity_wh=901),
        409,
        "capacity-exceeded",
        {"requested_wh": 901, "open_wh": 100, "capacity_wh": 1_000},
    ),
    "on both sides in a later MTU only": (
        order(side=Side.SELL, owner=BUYER.address, meter=BUY_METER, mtu_start=NEXT - 900, last_mtu_start=NEXT),
        409,
        "other-side-taken",
        {"owner": BUYER.address},
    ),
    "an offer of low-carbon energy": (
        order(side=Side.SELL, product=Product.LOW_CARBON),
        422,
        "order-unsupported",
        {"field": "product", "value": "low_carbon"},
    ),
    "an unknown product": (text("product", "green"), 422, "request-malformed", {}),
    "an unknown pricing": (text("pricing", "market"), 422, "request-malformed", {}),
    "a price finer than 0.001 cent": (
        text("price_cents_per_kwh", "20.0001"),
        422,
        "not-exact",
        {"field": "price_cents_per_kwh", "text": "20.0001"},
    ),
    "an energy finer than a watt-hour": (
        text("quantity_kwh", "0.0001"),
        422,
        "not-exact",
        {"field": "quantity_kwh", "text": "0.0001"},
    ),
    "a local time": (
        text("first_mtu_start", "2016-06-13T01:00:00+02:00"),
        422,
        "not-utc",
        {"field": "first_mtu_start"},
    ),
    "a negative energy": (text("quantity_kwh", "-1"), 422, "out-of-range", {"field": "quantity_kwh", "value": -1_000}),
    "a salt beyond 64 bits": (text("salt", str(2**64)), 422, "out-of-range", {"field": "salt"}),
    "a price beyond 64 bits": (
        text("price_cents_per_kwh", "999999999999999999"),
        422,
        "out-of-range",
        {"field": "price_cents_per_kwh"},
    ),
    "a float": (text("quantity_kwh", 0.1), 422, "request-malformed", {}),
    "an exponent": (text("quantity_kwh", "1e3"), 422, "request-malformed", {}),
    "digits of another script": (text("quantity_kwh", "\N{FULLWIDTH DIGIT ONE}"), 422, "request-malformed", {}),
    "an unknown side": (text("side", "hold"), 422, "request-malformed", {}),
    "an unknown field": (text("colour", "green"), 422, "request-malformed", {}),
    "a meter in quotes": (text("meter", "2"), 422, "request-malformed", {}),
    "a short signature": (text("signature", "0x" + "00" * 64), 422, "request-malformed", {}),
    "an empty client id": (text("client_id", ""), 422, "request-malformed", {}),
    "a client id with a NUL": (text("client_id", "a\0b"), 422, "request-malformed", {}),
}


@pytest.mark.parametrize("case", ORDERS)
def test_a_bad_order_is_refused_by_name_and_leaves_no_trace(market: RunningNode, case: str) -> None:
    body, status, code, values = ORDERS[case]
    answer = refused(market, lambda running: running.post("/v1/orders", body(running)))
    assert_problem(answer, status, code, **values)


def test_an_order_over_its_owner_s_funds_is_refused_to_the_microcent(market: RunningNode) -> None:
    """Offers over many MTUs, each locking the most it can, until the seller's money is spoken for."""
    free, worst = market.free(SELLER), 2_000 * (32_500 - 8_000)
    before = int(market.participant(SELLER)["committed_microcents"])

    def offer(index: int) -> dict[str, Any]:
        mtu_start = OFFERED + MTU_LENGTH_S * (1 + index)
        wanted = market.order(Side.SELL, mtu_start=mtu_start, quantity_wh=2_000, limit_cents_per_mwh=8_000)
        return market.order_body(wanted)

    covered = (free - before) // worst
    answers = [market.post("/v1/orders", offer(index)) for index in range(covered)]
    assert [answer.status_code for answer in answers] == [201] * covered
    one_more = offer(covered)
    assert_problem(
        refused(market, lambda running: running.post("/v1/orders", one_more)),
        409,
        "funds-exceeded",
        owner=SELLER.address,
        required_microcents=worst,
        committed_microcents=before + worst * covered,
        available_microcents=free,
    )
    for answer in answers:
        assert market.cancel(answer.json()["uid"], SELLER).status_code == 200
    assert market.participant(SELLER)["committed_microcents"] == str(before)


def test_the_same_body_again_is_no_error_and_changes_nothing(market: RunningNode) -> None:
    body = market.order_body(market.order(Side.BUY, mtu_start=NEXT, quantity_wh=1))
    first = market.post("/v1/orders", body)
    assert first.status_code == 201
    again = refused(market, lambda running: running.post("/v1/orders", body))
    assert (again.status_code, again.json()) == (201, first.json())


def test_a_known_order_with_another_s_signature_is_refused(market: RunningNode) -> None:
    known = market.order(Side.BUY, mtu_start=NEXT, quantity_wh=1)
    market.accept(known)
    forged = market.order_body(known, signer=SELLER)
    answer = refused(market, lambda running: running.post("/v1/orders", forged))
    assert_problem(answer, 403, "signer-not-owner", owner=BUYER.address, signer=SELLER.address.lower())


def test_bad_orders_in_a_batch_stop_none_of_the_good_ones(market: RunningNode) -> None:
    good = [order(quantity_wh=1)(market) for _ in range(2)]
    bad = [order(meter=99)(market), order(signer=SELLER)(market)]
    answer = market.post("/v1/orders/batch", {"orders": [bad[0], good[0], bad[1], good[1]]})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [404, 201, 403, 201]
    assert results[0]["problem"]["type"] == PROBLEM_TYPE + "meter-unknown"
    assert results[2]["problem"]["type"] == PROBLEM_TYPE + "signer-not-owner"
    numbers = [results[index]["order"]["receipt"]["running_number"] for index in (1, 3)]
    assert numbers[1] == numbers[0] + 1


def test_each_order_of_a_mixed_batch_is_answered_in_its_place_and_only_good_ones_are_kept(
    market: RunningNode,
) -> None:
    good = [order(quantity_wh=1)(market) for _ in range(3)]
    bad = [
        order(meter=99)(market),
        text("quantity_kwh", "0.0001")(market),
        order(signer=SELLER)(market),
        order(quantity_wh=1_000)(market),
        order(client_id="taken", quantity_wh=1)(market),
    ]
    kept = len(market.memory()["market_order"])
    bodies = [bad[0], good[0], bad[1], good[1], good[0], bad[2], bad[3], good[2], bad[4], good[1]]
    results = market.post("/v1/orders/batch", {"orders": bodies}).json()["results"]
    assert [result["status"] for result in results] == [404, 201, 422, 201, 201, 403, 409, 201, 409, 201]
    kinds = [result["problem"]["type"].removeprefix(PROBLEM_TYPE) for result in results if "problem" in result]
    assert kinds == ["meter-unknown", "not-exact", "signer-not-owner", "capacity-exceeded", "client-id-reused"]
    assert (results[4], results[9]) == (results[1], results[3])
    numbers = [results[index]["order"]["receipt"]["running_number"] for index in (1, 3, 7)]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert len(market.memory()["market_order"]) == kept + 3
    for index in (1, 3, 7):
        uid = results[index]["order"]["uid"]
        assert market.get(f"/v1/orders/{uid}")["receipt"] == results[index]["order"]["receipt"]
        assert market.cancel(uid, BUYER).status_code == 200


def test_a_batch_of_forged_orders_alone_is_answered_and_changes_nothing(market: RunningNode) -> None:
    forged = [order(signer=SELLER)(market), text("signature", "0x" + "00" * 65)(market)]
    answer = refused(market, lambda running: running.post("/v1/orders/batch", {"orders": forged}))
    assert [result["status"] for result in answer.json()["results"]] == [403, 422]


@pytest.mark.parametrize("count", [0, 501])
def test_a_batch_has_one_to_500_orders(market: RunningNode, count: int) -> None:
    body = {"orders": [order()(market)] * count}
    assert_problem(refused(market, lambda running: running.post("/v1/orders/batch", body)), 422, "request-malformed")


# ---- direct deals


def deal(offer: str = "offered", **changes: Any) -> Callable[[RunningNode], dict[str, Any]]:
    """A good acceptance of the open offer, or of the order with that client id, but for these changes."""
    signer = changes.pop("signer", None)
    replaced = changes.pop("replaced", {})

    def body(market: RunningNode) -> dict[str, Any]:
        acceptance = market.acceptance(uid_of(market, offer), **({"mtu_start": OFFERED} | changes))
        posted: dict[str, Any] = market.deal_body(acceptance, signer=signer) | replaced
        return posted

    return body


def uid_of(market: RunningNode, client_id: str) -> str:
    """Uid of the order with a client id."""
    uids = [row[0] for row in market.memory()["market_order"] if client_id in row]
    return str(uids[0]) if uids else "0x" + "cd" * 32


DEALS: dict[str, tuple[Callable[[RunningNode], dict[str, Any]], int, str, dict[str, object]]] = {
    "an unknown offer": (deal("nobody's"), 404, "order-unknown", {"order_uid": "0x" + "cd" * 32}),
    "a bid": (deal("taken", owner=SELLER.address, meter=SELL_METER, mtu_start=NEXT), 409, "offer-not-acceptable", {}),
    "a pegged offer": (deal("pegged"), 409, "offer-not-acceptable", {"reason": "not a limit offer"}),
    "a cancelled offer": (deal("cancelled"), 409, "offer-not-acceptable", {"reason": "it is cancelled"}),
    "a settled offer": (deal("settled"), 409, "offer-not-acceptable", {"reason": "it is settled"}),
    "another MTU": (deal(mtu_start=NEXT), 409, "offer-not-acceptable", {"reason": "not for this MTU"}),
    "its own offer": (deal(owner=SELLER.address, meter=SELL_METER), 409, "own-offer", {"owner": SELLER.address}),
    "more than is left": (
        deal(quantity_wh=451),
        409,
        "offer-used-up",
        {"requested_wh": 451, "unsold_wh": 450},
    ),
    "over capacity": (
        deal("large", quantity_wh=951),
        409,
        "capacity-exceeded",
        {"meter": BUY_METER, "requested_wh": 951, "open_wh": 50, "capacity_wh": 1_000},
    ),
    "after gate closure": (
        deal("late", mtu_start=THIRD),
        409,
        "gate-closed",
        {"mtu_start": THIRD, "gate_closure": NOW, "now": NOW},
    ),
    "an unknown meter": (deal(meter=99), 404, "meter-unknown", {"meter": 99}),
    "somebody else's meter": (deal(meter=SELL_METER), 403, "meter-not-owned", {"meter": SELL_METER}),
    "not admitted": (deal(owner=OUTSIDER.address), 403, "not-admitted", {"owner": OUTSIDER.address}),
    "wrong signature": (deal(signer=SELLER), 403, "signer-not-owner", {"signer": SELLER.address.lower()}),
    "changed after signing": (deal(replaced={"quantity_kwh": "0.101"}), 403, "signer-not-owner", {}),
    "without energy": (deal(quantity_wh=0), 422, "out-of-range", {"field": "quantity_wh", "value": 0}),
    "unaligned MTU": (deal(mtu_start=OFFERED + 1), 422, "unaligned-mtu", {"mtu_start": OFFERED + 1}),
    "a salt beyond 40 bits": (deal(salt=2**40), 422, "out-of-range", {"field": "salt"}),
    "a local time": (deal(replaced={"mtu_start": "2016-06-13T01:00:00+02:00"}), 422, "not-utc", {}),
    "an energy finer than a watt-hour": (deal(replaced={"quantity_kwh": "0.0001"}), 422, "not-exact", {}),
    "an uid in capitals": (deal(replaced={"offer_uid": "0x" + "AB" * 32}), 422, "request-malformed", {}),
    "an unknown field": (deal(replaced={"price_cents_per_kwh": "1"}), 422, "request-malformed", {}),
}


@pytest.mark.parametrize("case", DEALS)
def test_a_bad_deal_is_refused_by_name_and_leaves_no_trace(market: RunningNode, case: str) -> None:
    body, status, code, values = DEALS[case]
    answer = refused(market, lambda running: running.post("/v1/deals", body(running)))
    assert_problem(answer, status, code, **values)


def test_the_same_deal_again_is_no_error_and_changes_nothing(market: RunningNode) -> None:
    uid = next(str(row[0]) for row in market.memory()["market_acceptance"])
    told = market.get(f"/v1/deals/{uid}")
    same = market.deal_body(market.acceptance(told["offer_uid"], mtu_start=OFFERED, quantity_wh=50, salt=1))
    again = refused(market, lambda running: running.post("/v1/deals", same))
    assert (again.status_code, again.json()) == (201, told)


def test_a_deal_nobody_made_is_not_shown(market: RunningNode) -> None:
    uid = "0x" + "ab" * 32
    assert_problem(market.http.get(f"/v1/deals/{uid}"), 404, "order-unknown", order_uid=uid)


# ---- cancellations


def test_an_accepted_offer_cannot_be_cancelled(market: RunningNode) -> None:
    uid = uid_of(market, "offered")
    answer = refused(market, lambda running: running.cancel(uid, SELLER))
    assert_problem(answer, 409, "order-has-deals", order_uid=uid, mtu_start=OFFERED)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"signer": SELLER}, 403, "signer-not-owner"),
        ({"owner": OUTSIDER, "signer": OUTSIDER}, 403, "not-admitted"),
        ({"replaced": {"salt": "6"}}, 403, "signer-not-owner"),
        ({"replaced": {"salt": str(2**64)}}, 422, "out-of-range"),
        ({"replaced": {"salt": "-1"}}, 422, "request-malformed"),
        ({"replaced": {"signature": "0x" + "00" * 65}}, 422, "signature-malformed"),
        ({"replaced": {"colour": "green"}}, 422, "request-malformed"),
    ],
)
def test_a_bad_bulk_cancellation_is_refused_by_name_and_leaves_no_trace(
    market: RunningNode, changes: dict[str, Any], status: int, code: str
) -> None:
    body = market.cancel_up_to_body(changes.get("owner", BUYER), 5, signer=changes.get("signer"))
    posted = body | changes.get("replaced", {})
    answer = refused(market, lambda running: running.post("/v1/orders/cancellations", posted))
    assert_problem(answer, status, code)


def test_only_the_owner_cancels_and_only_what_is_open(market: RunningNode) -> None:
    uid = market.accept(market.order(Side.BUY, mtu_start=NEXT, quantity_wh=1))["uid"]
    stranger = refused(market, lambda running: running.cancel(uid, SELLER))
    assert_problem(stranger, 403, "signer-not-owner", owner=BUYER.address, signer=SELLER.address.lower())
    assert market.get(f"/v1/orders/{uid}")["state"] == "open"
    answer = market.cancel(uid, BUYER)
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    again = refused(market, lambda running: running.cancel(uid, BUYER))
    assert (again.status_code, again.json()) == (200, answer.json())


def test_a_settled_order_cannot_be_cancelled(market: RunningNode) -> None:
    uid = next(row[0] for row in market.memory()["market_order"] if row[20] == "settled" and row[2] == BUYER.address)
    answer = refused(market, lambda running: running.cancel(str(uid), BUYER))
    assert_problem(answer, 409, "order-not-cancellable", order_uid=uid, state="settled")


def test_an_order_nobody_knows_is_neither_shown_nor_cancelled(market: RunningNode) -> None:
    uid = "0x" + "ab" * 32
    assert_problem(refused(market, lambda running: running.cancel(uid, BUYER)), 404, "order-unknown", order_uid=uid)
    assert_problem(market.http.get(f"/v1/orders/{uid}"), 404, "order-unknown", order_uid=uid)


def test_a_cancellation_without_a_signature_is_refused(market: RunningNode) -> None:
    answer = refused(market, lambda running: running.http.delete("/v1/orders/0x" + "ab" * 32))
    assert_problem(answer, 422, "request-malformed")


# ---- readings


READINGS: dict[str, tuple[Callable[[RunningNode], str], str, dict[str, object]]] = {
    "a reading for the future": (
        lambda market: market.reading(SELL_METER, 1, THIRD),
        "reading-in-future",
        {"interval_end": THIRD + 900, "now": NOW},
    ),
    "a reading that ends a second from now": (
        lambda market: market.reading(SELL_METER, 1, NOW - 600),
        "reading-in-future",
        {"interval_end": NOW + 300, "now": NOW},
    ),
    "an unaligned MTU": (
        lambda market: market.reading(SELL_METER, 1, FIRST + 1),
        "unaligned-mtu",
        {"mtu_start": FIRST + 1, "mtu_length_s": 900},
    ),
    "an unknown meter": (lambda market: market.reading(99, 1), "unknown-meter", {"meter": 99}),
    "another meter's key": (
        lambda market: market.reading(BUY_METER, -1, signer=SELL_METER),
        "signature-invalid",
        {"meter": BUY_METER},
    ),
    "more than the connection carries": (
        lambda market: market.reading(BUY_METER, -1_001, FIRST - 900),
        "above-capacity",
        {"meter": BUY_METER, "energy_wh": 1_001, "capacity_wh": 1_000},
    ),
    "another length": (
        lambda market: market.reading(SELL_METER, 1, FIRST, interval_s=1_200),
        "interval-length-refused",
        {"interval_s": 1_200, "mtu_length_s": 900},
    ),
    "a reading older than a week": (
        lambda market: market.reading(SELL_METER, 1, FIRST - 8 * 86_400),
        "reading-too-old",
        {"now": NOW},
    ),
    "no reading at all": (lambda market: "nonsense", "reading-unreadable", {}),
}


@pytest.mark.parametrize("case", READINGS)
def test_a_bad_reading_is_refused_by_name_and_leaves_no_trace(market: RunningNode, case: str) -> None:
    sign, code, values = READINGS[case]
    answer = refused(market, lambda running: running.post("/v1/readings", {"readings": [sign(running)]}))
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert (result["status"], result["problem"]["type"]) == ("refused", PROBLEM_TYPE + code)
    assert {name: result["problem"][name] for name in values} == values


def test_a_reading_that_contradicts_an_accepted_one_is_kept_beside_it_and_counted(market: RunningNode) -> None:
    text = market.reading(SELL_METER, 101, FIRST)
    before = market.memory()
    for _ in range(2):
        (result,) = market.post("/v1/readings", {"readings": [text]}).json()["results"]
        assert (result["status"], result["problem"]["type"]) == ("disputed", PROBLEM_TYPE + "reading-differs")
    after = market.memory()
    ((meter, moment, number, kept, _),) = after.pop("reading_dispute")
    assert (meter, moment, number, kept) == (SELL_METER, FIRST, 0, text)
    assert after == {name: rows for name, rows in before.items() if name != "reading_dispute"}
    assert 'gridledger_reading_outcomes_total{outcome="reading-differs"} 2.0' in market.http.get("/metrics").text


def test_a_reading_with_a_broken_signature_is_refused(market: RunningNode) -> None:
    good = market.reading(SELL_METER, 5, FIRST - 900)
    broken = good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")
    answer = refused(market, lambda running: running.post("/v1/readings", {"readings": [broken]}))
    assert answer.json()["results"][0]["problem"]["type"] == PROBLEM_TYPE + "signature-invalid"


def test_the_same_reading_twice_counts_once(market: RunningNode) -> None:
    same = market.reading(SELL_METER, 100, FIRST)
    answer = refused(market, lambda running: running.post("/v1/readings", {"readings": [same, same]}))
    assert answer.json() == {"results": [{"status": "duplicate"}, {"status": "duplicate"}]}


@pytest.mark.parametrize("readings", [[], ["x"] * 501, "x", [1]])
def test_a_batch_of_readings_has_one_to_500_texts(market: RunningNode, readings: object) -> None:
    answer = refused(market, lambda running: running.post("/v1/readings", {"readings": readings}))
    assert_problem(answer, 422, "request-malformed")


def test_what_is_not_anchored_has_no_proof(market: RunningNode) -> None:
    for path in (f"99/{FIRST}", f"{SELL_METER}/{THIRD}"):
        assert_problem(market.http.get(f"/v1/proofs/readings/{path}"), 404, "reading-not-anchored")


# ---- transactions


def transaction(signer: Any = SELLER, **changes: Any) -> Callable[[RunningNode], str]:
    """A good deposit but for these changes."""
    return lambda market: market.raw(signer, "EnergyTrading", "deposit", 1, **changes)


TRANSACTIONS: dict[str, tuple[Callable[[RunningNode], str], int, str, dict[str, object]]] = {
    "another chain": (transaction(chainId=1), 422, "wrong-chain", {"expected": 31_337, "found": 1}),
    "a fee": (transaction(maxFeePerGas=1), 422, "transaction-refused", {"field": "maxFeePerGas", "value": 1}),
    "a value": (transaction(value=1), 422, "transaction-refused", {"field": "value", "value": 1}),
    "too much gas": (transaction(gas=HIGHEST_GAS + 1), 422, "transaction-refused", {"field": "gas"}),
    "too little gas": (transaction(gas=21_000), 422, "transaction-refused", {"field": "gas", "value": 21_000}),
    "a foreign contract": (
        transaction(to=OUTSIDER.address),
        422,
        "foreign-contract",
        {"to_address": OUTSIDER.address.lower()},
    ),
    "a nonce ahead": (
        transaction(nonce=3),
        409,
        "nonce-mismatch",
        {"sender": SELLER.address, "expected": 2, "found": 3},
    ),
    "a nonce used": (transaction(nonce=1, gas=99_999), 409, "nonce-mismatch", {"expected": 2, "found": 1}),
    "an outsider": (transaction(OUTSIDER), 403, "sender-unknown", {"sender": OUTSIDER.address}),
    "no transaction": (lambda market: "0x02c0ffee", 422, "transaction-unreadable", {}),
    "no hex": (lambda market: "0xnothex", 422, "request-malformed", {}),
}


@pytest.mark.parametrize("case", TRANSACTIONS)
def test_a_bad_transaction_is_refused_by_name_and_leaves_no_trace(market: RunningNode, case: str) -> None:
    sign, status, code, values = TRANSACTIONS[case]
    answer = refused(market, lambda running: running.post("/v1/transactions", {"raw_transaction": sign(running)}))
    assert_problem(answer, status, code, **values)


def test_the_same_transaction_again_is_told_its_outcome_and_sent_once(market: RunningNode) -> None:
    rows = [row for row in market.memory()["outbox"] if row[1] == "RelayedTransaction"]
    for row in rows:
        raw = "0x" + bytes(row[8]).hex()  # type: ignore[call-overload]
        again = refused(market, partial(RunningNode.post, path="/v1/transactions", body={"raw_transaction": raw}))
        assert (again.status_code, again.json()["state"]) == (202, "mined")
    assert len(rows) == 11


def test_a_transaction_nobody_sent_is_not_found(market: RunningNode) -> None:
    unknown = "0x" + "ab" * 32
    answer = market.http.get(f"/v1/transactions/{unknown}")
    assert_problem(answer, 404, "transaction-unknown", transaction_hash=unknown)


# ---- answers


def other_form(body: dict[str, Any]) -> dict[str, Any]:
    """The answer with the recovery byte of its signature written as 0 or 1."""
    signature = bytes.fromhex(body["signature"][2:])
    return body | {"signature": "0x" + (signature[:64] + bytes((signature[64] - 27,))).hex()}


ANSWERS: dict[str, tuple[Callable[[RunningNode], dict[str, Any]], int, str, dict[str, object]]] = {
    "another operator": (
        lambda market: market.answer_body(THIRD, signer=SELLER),
        403,
        "not-the-grid-operator",
        {"signer": SELLER.address, "grid_operator": key("grid_operator").address},
    ),
    "the node's own operator": (
        lambda market: market.answer_body(THIRD, signer=key("market_operator")),
        403,
        "not-the-grid-operator",
        {"signer": key("market_operator").address},
    ),
    "too late": (
        lambda market: market.answer_body(FIRST),
        409,
        "answer-too-late",
        {"answer_deadline": FIRST - 60, "now": NOW},
    ),
    "twice": (lambda market: market.answer_body(SECOND), 409, "already-answered", {"state": "acknowledged"}),
    "twice with another reason": (
        lambda market: market.answer_body(SECOND, 1),
        409,
        "already-answered",
        {"mtu_start": SECOND},
    ),
    "nothing scheduled": (
        lambda market: market.answer_body(NEXT),
        404,
        "schedule-unknown",
        {"zone": 1, "mtu_start": NEXT},
    ),
    "changed after signing": (
        lambda market: market.answer_body(THIRD) | {"reason": 1},
        403,
        "not-the-grid-operator",
        {},
    ),
    "a curtailment without caps": (
        lambda market: market.answer_body(THIRD) | {"answer": "curtailed"},
        422,
        "request-malformed",
        {},
    ),
    "another zone": (lambda market: market.answer_body(THIRD) | {"zone": 2}, 404, "schedule-unknown", {"zone": 2}),
    "no signature": (
        lambda market: market.answer_body(THIRD) | {"signature": "0x" + "00" * 65},
        422,
        "answer-unknown",
        {"field": "signature"},
    ),
    "another form of the signature": (
        lambda market: other_form(market.answer_body(THIRD)),
        422,
        "answer-unknown",
        {"field": "signature"},
    ),
    "an unheard-of answer": (
        lambda market: market.answer_body(THIRD) | {"answer": "maybe"},
        422,
        "request-malformed",
        {},
    ),
    "a reason there is none of": (
        lambda market: market.answer_body(THIRD) | {"reason": 16},
        422,
        "request-malformed",
        {},
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_bad_answer_is_refused_by_name_and_leaves_no_trace(market: RunningNode, case: str) -> None:
    body, status, code, values = ANSWERS[case]
    answer = refused(market, lambda running: running.post("/v1/dispatch/answers", body(running)))
    assert_problem(answer, status, code, **values)


def test_the_open_schedule_is_still_open_after_all_that(market: RunningNode) -> None:
    (schedule,) = market.get("/v1/dispatch/schedules")["schedules"]
    assert (schedule["mtu_start"], schedule["state"], schedule["traded_wh"]) == (THIRD, "pending", 100)


# ---- questions


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v1/participants/{OUTSIDER.address}", 403, "not-admitted"),
        ("/v1/participants/0x12", 422, "request-malformed"),
        (f"/v1/market/prices/{FIRST + 1}", 422, "unaligned-mtu"),
        (f"/v1/market/prices/{2**32}", 422, "request-malformed"),
        ("/v1/market/prices/soon", 422, "request-malformed"),
        ("/v1/market/mtus", 422, "request-malformed"),
        ("/v1/market/mtus?zone=0", 422, "request-malformed"),
        ("/v1/market/mtus?zone=1&limit=1001", 422, "request-malformed"),
        ("/v1/orders/0x12", 422, "request-malformed"),
        ("/v1/proofs/readings/0/900", 422, "request-malformed"),
        ("/v1/dispatch/events?after=-1", 422, "request-malformed"),
        (f"/v1/dispatch/events?after={2**63}", 422, "request-malformed"),
    ],
)
def test_a_bad_question_has_a_problem_too(market: RunningNode, path: str, status: int, code: str) -> None:
    assert_problem(refused(market, lambda running: running.http.get(path)), status, code)


def test_an_account_is_found_however_it_is_written(market: RunningNode) -> None:
    for spelling in (SELLER.address, SELLER.address.lower(), "0x" + SELLER.address[2:].upper()):
        assert market.participant(spelling)["address"] == SELLER.address


def test_a_key_of_nobody_signs_nothing(market: RunningNode) -> None:
    stranger = Account.from_key((77).to_bytes(32))
    body = order(owner=stranger.address, signer=stranger)(market)
    answer = refused(market, lambda running: running.post("/v1/orders", body))
    assert_problem(answer, 403, "not-admitted", owner=stranger.address)
