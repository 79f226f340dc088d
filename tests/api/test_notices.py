"""Notices reach their owner, whole and in order, by list, stream and webhook; nobody else sees them."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse
from standardwebhooks import Webhook
from tests.api.running import (
    BUY_METER,
    BUYER,
    MTU_START,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
    served,
)
from tests.webhooks.receiving import Received, receiver

from gridledger.app.settings import NodeSettings
from gridledger.market.model import Side
from gridledger.webhooks.targets import AllowList

NEXT = MTU_START + 1_800
NOTICES, EVENTS, WEBHOOKS = "/v1/notices", "/v1/notices/events", "/v1/webhooks"
LIFE = ["accepted", "matched", "locked", "settled", "rewarded"]
STOPPED_LIFE = ["accepted", "matched", "locked", "curtailed", "refunded"]
SETTINGS = NodeSettings(webhook_allow=AllowList.parse("127.0.0.1"))


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A market of two members that may be called back on this machine."""
    with onboarded.served(tmp_path / "data", SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """Two MTUs: the first settled and rewarded, the second stopped and refunded. Ten notices for each member."""
    with onboarded.served(tmp_path_factory.mktemp("notices") / "data") as running:
        play(running)
        yield running


def play(market: RunningNode) -> None:
    market.pair(MTU_START)
    market.answer(MTU_START)
    market.deliver({SELL_METER: 600, BUY_METER: -600}, MTU_START)
    market.pair(NEXT)
    market.stop(NEXT, 7)
    market.work()


def listed(market: RunningNode, session: dict[str, str], **params: int) -> list[dict[str, Any]]:
    answer = market.http.get(NOTICES, headers=session, params=params)
    assert answer.status_code == 200, answer.text
    notices: list[dict[str, Any]] = answer.json()["notices"]
    return notices


def take(market: RunningNode, count: int, session: dict[str, str], **request: Any) -> list[ServerSentEvent]:
    """The first events of a new connection."""
    headers = session | request.pop("headers", {})
    with connect_sse(market.http, "GET", EVENTS, headers=headers, **request) as source:
        assert source.response.headers["content-type"].startswith("text/event-stream")
        stream = source.iter_sse()
        return [next(stream) for _ in range(count)]


# ---- the list


@pytest.mark.parametrize(("account", "meter"), [(SELLER, SELL_METER), (BUYER, BUY_METER)], ids=["seller", "buyer"])
def test_every_change_of_an_orders_life_is_told_to_its_owner(played: RunningNode, account: Any, meter: int) -> None:
    notices = listed(played, played.sign_in(account))
    assert [notice["kind"] for notice in notices] == LIFE + STOPPED_LIFE
    first, second = notices[:5], notices[5:]
    for group, mtu_start in ((first, MTU_START), (second, NEXT)):
        assert len({notice["order_uid"] for notice in group}) == 1
        assert {(notice["zone"], notice["mtu_start"], notice["meter"]) for notice in group} == {(1, mtu_start, meter)}
        assert [notice["id"] for notice in group] == sorted(notice["id"] for notice in group)
    uid = first[0]["order_uid"]
    assert played.get(f"/v1/orders/{uid}")["owner"] == account.address
    settled, refunded = first[3]["details"], second[4]["details"]
    assert abs(int(settled["trade_microcents"])) == 600 * 15_000
    assert abs(settled["metered_wh"]) == 600
    assert isinstance(settled["trade_microcents"], str)
    assert int(refunded["refunded_microcents"]) > 0
    assert second[3]["details"]["reason_code"] == 7
    assert int(first[4]["details"]["reward_ugco2"]) > 0


def test_members_see_only_their_own(played: RunningNode) -> None:
    sells, buys = (listed(played, played.sign_in(account)) for account in (SELLER, BUYER))
    assert {one["id"] for one in sells} & {one["id"] for one in buys} == set()
    orders = [{one["order_uid"] for one in notices} for notices in (sells, buys)]
    assert orders[0] & orders[1] == set()
    assert listed(played, played.sign_in(key("regulator"))) == []


@pytest.mark.parametrize("limit", [1, 3, 10, 1_000])
def test_a_list_is_read_page_by_page_without_gap_or_repetition(played: RunningNode, limit: int) -> None:
    session = played.sign_in(SELLER)
    whole, paged, after = listed(played, session), [], 0
    while True:
        page = played.http.get(NOTICES, headers=session, params={"after": after, "limit": limit}).json()
        if not page["notices"]:
            break
        paged += page["notices"]
        after = page["last"]
    assert paged == whole
    assert page["last"] == after


@pytest.mark.parametrize(
    "params", [{"limit": 0}, {"limit": 1_001}, {"after": -1}, {"after": 2**63}, {"after": "x"}, {"limit": "x"}]
)
def test_a_list_is_bounded(played: RunningNode, params: dict[str, Any]) -> None:
    answer = played.http.get(NOTICES, headers=played.sign_in(SELLER), params=params)
    assert_problem(answer, 422, "request-malformed")


def test_a_cancelled_order_is_told_at_once(market: RunningNode) -> None:
    session = market.sign_in(SELLER)
    uid = market.accept(market.order(Side.SELL))["uid"]
    assert market.cancel(uid, SELLER).status_code == 200
    assert [notice["kind"] for notice in listed(market, session)] == ["accepted", "cancelled"]


# ---- the stream


@pytest.mark.parametrize("seen", [0, 1, 5, 9])
def test_a_stream_resumes_after_the_last_notice_that_was_seen(played: RunningNode, seen: int) -> None:
    session = played.sign_in(SELLER)
    whole = listed(played, session)
    last = 0 if seen == 0 else whole[seen - 1]["id"]
    by_header = take(played, 10 - seen, session, headers={"Last-Event-ID": str(last)})
    by_query = take(played, 10 - seen, session, params={"after": last})
    assert [event.json() for event in by_header] == [event.json() for event in by_query] == whole[seen:]
    assert [event.event for event in by_header] == (LIFE + STOPPED_LIFE)[seen:]
    assert [event.id for event in by_header] == [str(notice["id"]) for notice in whole[seen:]]


def test_a_stream_carries_nothing_of_another_owner(played: RunningNode) -> None:
    mine = {notice["id"] for notice in listed(played, played.sign_in(BUYER))}
    assert {int(event.id) for event in take(played, 10, played.sign_in(BUYER))} == mine


def test_whoever_listens_is_told_of_the_next_order_at_once(market: RunningNode) -> None:
    session, received, connected = market.sign_in(SELLER), list[str](), threading.Event()

    def listen() -> None:
        with (
            httpx.Client(base_url=market.http.base_url, trust_env=False, timeout=30) as client,
            connect_sse(client, "GET", EVENTS, headers=session) as source,
        ):
            connected.set()
            received.append(next(source.iter_sse()).event)

    listener = threading.Thread(target=listen)
    listener.start()
    assert connected.wait(10)
    market.accept(market.order(Side.SELL))
    listener.join(4)  # under the five seconds after which the stream looks by itself
    assert received == ["accepted"]


def test_a_stream_ends_with_its_session(market: RunningNode) -> None:
    session = market.sign_in(SELLER)
    market.accept(market.order(Side.SELL))
    with connect_sse(market.http, "GET", EVENTS, headers=session) as source:
        stream = source.iter_sse()
        assert next(stream).event == "accepted"
        with httpx.Client(base_url=market.http.base_url, trust_env=False) as other:
            assert other.delete("/v1/sessions", headers=session).status_code == 204
        market.node.advance(market.node.now)  # rings
        assert list(stream) == []


def test_notices_survive_a_restart_with_their_numbers(market: RunningNode) -> None:
    market.accept(market.order(Side.SELL))
    before = listed(market, market.sign_in(SELLER))
    market.http.close()
    market.node.close()
    with served(market.folder) as again:
        again.salt = market.salt
        session = again.sign_in(SELLER)
        assert listed(again, session) == before
        again.accept(again.order(Side.SELL))
        assert listed(again, session)[-1]["id"] > before[-1]["id"]


# ---- webhooks


def set_webhook(market: RunningNode, session: dict[str, str], url: str, **more: Any) -> dict[str, Any]:
    answer = market.http.put(WEBHOOKS, json={"url": url, **more}, headers=session)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def verified(secret: str, received: list[Received]) -> list[dict[str, Any]]:
    return [Webhook(secret).verify(one.body, one.headers) for one in received]


def test_a_webhook_gets_every_notice_once_in_order_and_signed(market: RunningNode) -> None:
    session = market.sign_in(SELLER)
    with receiver() as server:
        secret = set_webhook(market, session, server.url)["secret"]
        play(market)
        received = server.take(10)
        documents = verified(secret, received)
    whole = listed(market, session)
    assert [document["data"] for document in documents] == whole
    assert [document["type"] for document in documents] == [f"order.{kind}" for kind in LIFE + STOPPED_LIFE]
    assert documents[0]["timestamp"].startswith("2016-06-12T")
    assert [one.headers["webhook-id"] for one in received] == [str(notice["id"]) for notice in whole]


def test_a_webhook_continues_after_a_restart_of_the_node(market: RunningNode) -> None:
    session = market.sign_in(SELLER)
    with receiver() as server:
        secret = set_webhook(market, session, server.url)["secret"]
        market.accept(market.order(Side.SELL, quantity_wh=1))
        (first,) = verified(secret, server.take(1))
        market.http.close()
        market.node.close()
        with served(market.folder, settings=SETTINGS) as again:
            again.salt = market.salt
            again.accept(again.order(Side.SELL, quantity_wh=2))
            last = first
            while last["data"]["id"] == first["data"]["id"]:  # it may come again, if the node ended too early
                (last,) = verified(secret, server.take(1))
    assert last["data"]["details"]["energy_wh"] == 2
    assert last["data"]["id"] > first["data"]["id"]


def test_a_secret_is_told_once_and_lies_sealed(market: RunningNode) -> None:
    session = market.sign_in(SELLER)
    with receiver() as server:
        told = set_webhook(market, session, server.url)
        again = set_webhook(market, session, server.url)
    assert told["secret"].startswith("whsec_")
    assert again["secret"] != told["secret"]
    shown = market.http.get(WEBHOOKS, headers=session).json()
    assert "secret" not in shown
    assert (shown["url"], shown["delivered_through"], shown["failures"]) == (server.url, 0, 0)
    assert (shown["disabled_at"], shown["last_error"]) == (None, None)
    assert again["secret"].removeprefix("whsec_") not in repr(market.memory())
    assert (market.folder.webhook_key.stat().st_mode & 0o777) == 0o600


def test_an_owner_chooses_where_deliveries_begin(market: RunningNode) -> None:
    session = market.sign_in(SELLER)
    for number in (1, 2, 3):
        market.accept(market.order(Side.SELL, quantity_wh=number))
    ids = [notice["id"] for notice in listed(market, session)]
    with receiver() as server:
        assert set_webhook(market, session, server.url)["delivered_through"] == ids[-1]
        assert set_webhook(market, session, server.url, after=ids[0])["delivered_through"] == ids[0]
        assert [one.headers["webhook-id"] for one in server.take(2)] == [str(ids[1]), str(ids[2])]


def test_owners_have_a_webhook_each_and_a_removed_one_is_gone(market: RunningNode) -> None:
    seller, buyer = market.sign_in(SELLER), market.sign_in(BUYER)
    with receiver() as server:
        set_webhook(market, seller, server.url)
        assert_problem(market.http.get(WEBHOOKS, headers=buyer), 404, "webhook-unset", owner=BUYER.address)
        assert_problem(market.http.delete(WEBHOOKS, headers=buyer), 404, "webhook-unset", owner=BUYER.address)
        assert market.http.delete(WEBHOOKS, headers=seller).status_code == 204
        assert_problem(market.http.get(WEBHOOKS, headers=seller), 404, "webhook-unset")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2/", "https://169.254.169.254/latest", "https://localhost.invalid/", "https://[::1]/", "x"]
)
def test_a_url_the_node_must_not_call_is_refused(market: RunningNode, url: str) -> None:
    answer = market.http.put(WEBHOOKS, json={"url": url}, headers=market.sign_in(SELLER))
    assert_problem(answer, 422, "webhook-url-refused")


@pytest.mark.parametrize("body", [{}, {"url": ""}, {"url": "x" * 2_049}, {"url": 1}, {"url": "https://a", "after": -1}])
def test_what_is_posted_for_a_webhook_is_bounded(market: RunningNode, body: dict[str, Any]) -> None:
    answer = market.http.put(WEBHOOKS, json=body, headers=market.sign_in(SELLER))
    assert_problem(answer, 422, "request-malformed")


def test_the_routes_are_documented_with_the_token_they_need(played: RunningNode) -> None:
    document = played.get("/openapi.json")
    paths = document["paths"]
    for method, path in (
        ("get", NOTICES),
        ("get", EVENTS),
        ("put", WEBHOOKS),
        ("get", WEBHOOKS),
        ("delete", WEBHOOKS),
        ("put", f"{WEBHOOKS}/{{feed}}"),
        ("post", f"{WEBHOOKS}/{{feed}}/rewind"),
        ("delete", "/v1/sessions"),
    ):
        assert paths[path][method]["security"] == [{"HTTPBearer": []}]
    for path in ("/v1/sessions", "/v1/sessions/nonce"):
        assert "security" not in paths[path]["post"]
