"""Dispatch events reach a grid operator whole and in order, by stream and webhook, however long it was away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from httpx_sse import connect_sse
from standardwebhooks import Webhook
from tests.api.running import (
    BUYER,
    EUR,
    GATE_CLOSURE_S,
    HIGHEST_GAS,
    MTU_LENGTH_S,
    MTU_START,
    OUTSIDER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
    make_folder,
    served,
)
from tests.metering.fakes import Device
from tests.webhooks.receiving import Received, Receiver, receiver

from gridledger.app.settings import NodeSettings
from gridledger.market.model import Side
from gridledger.webhooks.targets import AllowList

NEXT = MTU_START + MTU_LENGTH_S
ZONES, DISPATCHES = 50, 100
DISPATCH, REWIND = "/v1/webhooks/dispatch", "/v1/webhooks/dispatch/rewind"
SETTINGS = NodeSettings(webhook_allow=AllowList.parse("127.0.0.1"))
OPERATOR = key("grid_operator")


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A market of two members that may call back on this machine."""
    with onboarded.served(tmp_path / "data", SETTINGS) as running:
        yield running


def set_webhook(market: RunningNode, session: dict[str, str], url: str, **more: Any) -> dict[str, Any]:
    answer = market.http.put(DISPATCH, json={"url": url, **more}, headers=session)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def webhook(market: RunningNode, session: dict[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = market.http.get(DISPATCH, headers=session).json()
    return told


def verified(secret: str, received: list[Received]) -> list[dict[str, Any]]:
    documents = [Webhook(secret).verify(one.body, one.headers) for one in received]
    assert [one.headers["webhook-id"] for one in received] == [str(document["data"]["id"]) for document in documents]
    return documents


def once_each(secret: str, server: Receiver, count: int) -> list[dict[str, Any]]:
    """The data of the next `count` different events, which come in order; each may come again."""
    found: dict[int, dict[str, Any]] = {}
    while len(found) < count:
        (document,) = verified(secret, server.take(1))
        event = document["data"]
        assert found.setdefault(event["id"], event) == event
    return list(found.values())


def stream(market: RunningNode, count: int) -> list[dict[str, Any]]:
    """The first events by server-sent events, read by connections that break and resume by Last-Event-ID."""
    events: list[dict[str, Any]] = []
    while len(events) < count:
        headers = {"Last-Event-ID": str(events[-1]["id"])} if events else {}
        with connect_sse(market.http, "GET", "/v1/dispatch/events", headers=headers) as source:
            for _, event in zip(range(min(30, count - len(events))), source.iter_sse(), strict=False):
                events.append(event.json())
                assert (event.id, event.event) == (str(events[-1]["id"]), events[-1]["kind"])
    return events


def settle_in(market: RunningNode) -> None:
    """The two members with a pair of meters in each zone, the seller's odd and the buyer's even."""
    market.send(
        OPERATOR,
        "ParticipantRegistry",
        "admitParticipants",
        [SELLER.address, BUYER.address],
        key("supplier").address,
    )
    devices = [Device(number).key for number in range(1, 2 * ZONES + 1)]
    meters = [
        ((BUYER if place % 2 else SELLER).address, place // 2 + 1, 4_000, 8_000, 1 - place % 2, device.x, device.y)
        for place, device in enumerate(devices)
    ]
    market.send(OPERATOR, "ParticipantRegistry", "registerMeters", meters, gas=HIGHEST_GAS)
    market.work()
    for account in (SELLER, BUYER):
        market.fund(account, EUR)
    market.work()


def order_everywhere(market: RunningNode) -> None:
    """An offer and a bid of 10 Wh that meet in each zone and each of the first two MTUs."""
    orders = [
        market.order(side, meter=2 * zone - side, quantity_wh=10, last_mtu_start=NEXT, expiry=NEXT)
        for zone in range(1, ZONES + 1)
        for side in (Side.BUY, Side.SELL)
    ]
    answer = market.post("/v1/orders/batch", {"orders": [market.order_body(order) for order in orders]})
    assert {result["status"] for result in answer.json()["results"]} == {201}


def test_a_listener_that_was_away_for_100_dispatches_and_a_restart_gets_each_once_by_its_id(
    tmp_path: Path, keys: Path
) -> None:
    folder = make_folder(tmp_path / "data", keys, zones=tuple(range(1, ZONES + 1)))
    with served(folder, settings=SETTINGS) as market, receiver([503]) as away:
        settle_in(market)
        secret = set_webhook(market, market.sign_in(OPERATOR), away.url)["secret"]
        order_everywhere(market)
        market.advance(MTU_START - GATE_CLOSURE_S)
        verified(secret, away.take(1))  # it was tried
    with served(folder, settings=SETTINGS) as again:
        again.advance(NEXT - GATE_CLOSURE_S)
        session = again.sign_in(OPERATOR)
        told = webhook(again, session)
        assert (told["state"], told["delivered_through"], told["newest"]) == ("retrying", 0, DISPATCHES)
        with receiver(port=away.port) as back:
            assert again.http.post(REWIND, json={}, headers=session).status_code == 200  # it need not wait
            pushed = once_each(secret, back, DISPATCHES)
        streamed = stream(again, DISPATCHES)
    assert pushed == streamed
    assert [event["id"] for event in pushed] == list(range(1, DISPATCHES + 1))
    assert {(event["mtu_start"], event["zone"]) for event in pushed} == {
        (mtu_start, zone) for mtu_start in (MTU_START, NEXT) for zone in range(1, ZONES + 1)
    }
    assert {(event["kind"], event["payload"]["traded_wh"]) for event in pushed} == {("scheduled", 10)}


def test_a_webhook_gets_schedules_and_answers_as_the_stream_tells_them(market: RunningNode) -> None:
    session = market.sign_in(OPERATOR)
    with receiver() as server:
        secret = set_webhook(market, session, server.url)["secret"]
        market.pair(MTU_START)
        market.answer(MTU_START)
        market.pair(NEXT)
        market.stop(NEXT, 7)
        documents = verified(secret, server.take(4))
    assert [document["data"] for document in documents] == stream(market, 4)
    assert [document["type"] for document in documents] == [
        f"dispatch.{kind}" for kind in ("scheduled", "acknowledged", "scheduled", "stopped")
    ]
    assert documents[0]["timestamp"].startswith("2016-06-12T23:")
    for event in (document["data"] for document in documents):
        assert event.keys() == {"id", "kind", "zone", "mtu_start", "created_at", "payload"}
        assert event["payload"].keys() >= {"block_number", "block_hash", "transaction_hash"}


def test_a_grid_operator_gets_events_of_its_own_zones_only(market: RunningNode) -> None:
    market.send(key("regulator"), "ParticipantRegistry", "registerZone", 2, OUTSIDER.address)
    market.work()
    neighbour, operator = market.sign_in(OUTSIDER), market.sign_in(OPERATOR)
    with receiver() as server, receiver() as other:
        secret = set_webhook(market, operator, server.url)["secret"]
        set_webhook(market, neighbour, other.url)
        market.pair()
        (event,) = verified(secret, server.take(1))
        assert other.received.empty()
    assert event["data"]["zone"] == 1
    assert (webhook(market, neighbour)["newest"], webhook(market, operator)["newest"]) == (0, 1)


@pytest.mark.parametrize(
    "account", [SELLER, key("supplier"), key("regulator")], ids=["member", "supplier", "regulator"]
)
def test_who_is_no_grid_operator_gets_no_dispatch_webhook(market: RunningNode, account: LocalAccount) -> None:
    session, http = market.sign_in(account), market.http
    for answer in (
        http.put(DISPATCH, json={"url": "https://example.org/"}, headers=session),
        http.get(DISPATCH, headers=session),
        http.post(REWIND, json={}, headers=session),
    ):
        assert_problem(answer, 403, "grid-operator-required", account=account.address)


def test_without_a_session_a_url_or_a_webhook_there_is_a_problem(market: RunningNode) -> None:
    http, session = market.http, market.sign_in(OPERATOR)
    assert_problem(http.put(DISPATCH, json={"url": "https://example.org/"}), 401, "session-required")
    assert_problem(http.post(REWIND, json={}), 401, "session-required")
    for answer in (
        http.get(DISPATCH, headers=session),
        http.delete(DISPATCH, headers=session),
        http.post(REWIND, json={}, headers=session),
    ):
        assert_problem(answer, 404, "webhook-unset", owner=OPERATOR.address, feed="dispatch")
    for url in ("http://127.0.0.2/", "https://169.254.169.254/", "https://[::1]/", "https://10.0.0.1/"):
        assert_problem(http.put(DISPATCH, json={"url": url}, headers=session), 422, "webhook-url-refused")
    assert_problem(http.get("/v1/webhooks/readings", headers=session), 422, "request-malformed")
    for body in ({"after": -1}, {"after": "1"}, {"after": 2**63}, {"before": 1}):
        assert_problem(http.post(REWIND, json=body, headers=session), 422, "request-malformed")


def test_a_grid_operator_rewinds_to_an_id_and_gets_everything_after_it_again(market: RunningNode) -> None:
    session = market.sign_in(OPERATOR)
    with receiver() as server:
        secret = set_webhook(market, session, server.url)["secret"]
        market.pair()
        market.answer()
        first = verified(secret, server.take(2))
        told = market.http.post(REWIND, json={"after": 1}, headers=session).json()
        assert (told["delivered_through"], told["newest"], "secret" in told) == (1, 2, False)
        assert verified(secret, server.take(1)) == first[1:]
        assert market.http.post(REWIND, json={"after": 99}, headers=session).json()["delivered_through"] == 2


def test_a_dead_receiver_is_paused_loses_nothing_and_goes_on_when_it_is_told_to(market: RunningNode) -> None:
    session = market.sign_in(OPERATOR)
    with receiver([410, 204]) as server:
        secret = set_webhook(market, session, server.url)["secret"]
        market.pair()
        server.take(1)
        market.answer()
        while (told := webhook(market, session))["state"] != "paused":
            assert told["state"] in ("delivering", "retrying")
        assert (told["delivered_through"], told["newest"], told["last_error"]) == (0, 2, "status 410")
        assert told["disabled_at"]
        assert market.http.post(REWIND, json={}, headers=session).json()["state"] == "delivering"
        assert [document["data"]["id"] for document in verified(secret, server.take(2))] == [1, 2]


def test_an_account_s_two_feeds_do_not_touch_each_other(market: RunningNode) -> None:
    session = market.sign_in(OPERATOR)
    with receiver() as server, receiver() as other:
        dispatch = set_webhook(market, session, server.url)
        notices = market.http.put("/v1/webhooks", json={"url": other.url}, headers=session).json()
        assert (dispatch["feed"], notices["feed"]) == ("dispatch", "notices")
        assert market.http.get("/v1/webhooks/notices", headers=session).json()["url"] == other.url
        assert market.http.delete("/v1/webhooks", headers=session).status_code == 204
        market.pair()
        verified(dispatch["secret"], server.take(1))
        assert other.received.empty()
        assert market.http.delete(DISPATCH, headers=session).status_code == 204
    assert_problem(market.http.get(DISPATCH, headers=session), 404, "webhook-unset")
