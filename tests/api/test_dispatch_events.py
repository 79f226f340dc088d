"""The dispatch stream: every schedule and answer once, in order, resumable without a gap, waking who waits."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse
from tests.api.running import BUY_METER, MTU_START, SELL_METER, Onboarded, RunningNode, assert_problem, served

NEXT = MTU_START + 900
EVENTS = "/v1/dispatch/events"


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A market of two members."""
    with onboarded.served(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """Two MTUs: the first acknowledged, the second stopped. Four events."""
    with onboarded.served(tmp_path_factory.mktemp("events") / "data") as running:
        running.pair(MTU_START)
        running.answer(MTU_START)
        running.pair(NEXT)
        running.stop(NEXT, 7)
        yield running


def take(market: RunningNode, count: int, **request: Any) -> list[ServerSentEvent]:
    """The first events of a new connection."""
    with connect_sse(market.http, "GET", EVENTS, **request) as source:
        assert source.response.headers["content-type"].startswith("text/event-stream")
        stream = source.iter_sse()
        return [next(stream) for _ in range(count)]


def test_a_schedule_says_who_must_deliver_what_by_when(market: RunningNode) -> None:
    market.pair()
    (event,) = take(market, 1)
    told = event.json()
    assert (event.event, event.id, told["id"], told["kind"]) == ("scheduled", "1", 1, "scheduled")
    assert (told["zone"], told["mtu_start"]) == (1, MTU_START)
    payload = told["payload"]
    assert payload["setpoints"] == [
        {"meter": SELL_METER, "contracted_wh": 600},
        {"meter": BUY_METER, "contracted_wh": -600},
    ]
    assert (payload["traded_wh"], payload["answer_deadline"]) == (600, MTU_START - 60)
    (schedule_hash,) = market.view("EnergyDispatching", "scheduleHashOf", 1, MTU_START)
    assert payload["schedule_hash"] == "0x" + schedule_hash.hex()
    (open_schedule,) = market.get("/v1/dispatch/schedules")["schedules"]
    assert open_schedule["schedule_hash"] == payload["schedule_hash"]


def test_schedules_and_answers_name_the_block_and_the_transaction_that_recorded_them(played: RunningNode) -> None:
    for event in take(played, 4):
        told = event.json()["payload"]
        receipt = played.rpc("eth_getTransactionReceipt", told["transaction_hash"])
        assert told["block_hash"] == receipt["blockHash"]
        assert told["block_number"] == int(receipt["blockNumber"], 16)
        assert played.facts["contracts"]["EnergyDispatching"].lower() in {log["address"] for log in receipt["logs"]}


def test_schedules_and_answers_come_once_each_in_order(played: RunningNode) -> None:
    events = take(played, 4)
    assert [(event.event, event.id) for event in events] == [
        ("scheduled", "1"),
        ("acknowledged", "2"),
        ("scheduled", "3"),
        ("stopped", "4"),
    ]
    assert events[3].json()["payload"]["reason"] == 7
    assert [event.json()["mtu_start"] for event in events] == [MTU_START, MTU_START, NEXT, NEXT]
    assert played.get("/v1/dispatch/schedules") == {"schedules": []}


@pytest.mark.parametrize("last", [0, 1, 2, 3])
def test_a_client_resumes_after_the_last_event_it_has_seen(played: RunningNode, last: int) -> None:
    by_header = take(played, 4 - last, headers={"Last-Event-ID": str(last)})
    by_query = take(played, 4 - last, params={"after": last})
    assert [event.id for event in by_header] == [event.id for event in by_query] == ["1", "2", "3", "4"][last:]


def test_the_header_of_a_reconnection_counts_more_than_the_query_of_the_first_connection(played: RunningNode) -> None:
    (event,) = take(played, 1, params={"after": 0}, headers={"Last-Event-ID": "3"})
    assert event.id == "4"


def test_whoever_waits_is_woken_by_the_next_schedule(market: RunningNode) -> None:
    received: list[str] = []
    connected = threading.Event()

    def listen() -> None:
        with (
            httpx.Client(base_url=market.http.base_url, trust_env=False, timeout=30) as client,
            connect_sse(client, "GET", EVENTS) as source,
        ):
            connected.set()
            received.append(next(source.iter_sse()).event)

    listener = threading.Thread(target=listen)
    listener.start()
    assert connected.wait(10)
    market.pair()
    listener.join(4)  # well under the five seconds after which the stream looks by itself
    assert received == ["scheduled"]


@pytest.mark.parametrize("last", ["yesterday", "-1", "1.5", str(2**63)])
def test_an_event_id_that_no_event_can_have_is_a_problem(played: RunningNode, last: str) -> None:
    answer = played.http.get(EVENTS, headers={"Last-Event-ID": last})
    assert_problem(answer, 422, "request-malformed")


def test_events_survive_a_restart_with_their_numbers(played: RunningNode) -> None:
    before = [event.json() for event in take(played, 4)]
    played.http.close()
    played.node.close()
    with served(played.folder) as again:
        assert [event.json() for event in take(again, 4)] == before
