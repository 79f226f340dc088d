"""Event streams are counted: the one too many is refused, and an ended one makes room, however it ended."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from httpx_sse import EventSource, connect_sse
from tests.api.running import BUYER, SELLER, Onboarded, RunningNode, assert_problem

from gridledger.api import dispatch, notices

LONGEST_WAIT_S = 20


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningNode]:
    """A market that allows three dispatch streams, and two notice streams of an account."""
    monkeypatch.setattr(dispatch, "MOST_STREAMS", 3)
    monkeypatch.setattr(notices, "MOST_STREAMS_OF_ACCOUNT", 2)
    monkeypatch.setattr(notices, "MOST_STREAMS", 3)
    with onboarded.served(tmp_path / "data") as running:
        yield running


def opened(stack: ExitStack, market: RunningNode, path: str, headers: dict[str, str] | None = None) -> EventSource:
    source = stack.enter_context(connect_sse(market.http, "GET", path, headers=headers or {}))
    assert source.response.status_code == 200
    return source


def answers(market: RunningNode, path: str, status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    """The first answer of that status; a stream that has ended is forgotten in a moment."""
    ends = time.monotonic() + LONGEST_WAIT_S
    while True:
        with market.http.stream("GET", path, headers=headers or {}) as answer:
            if answer.status_code != 200:
                answer.read()
            if answer.status_code == status or time.monotonic() > ends:
                assert answer.status_code == status
                return answer
        time.sleep(0.1)


def test_the_dispatch_stream_too_many_is_refused_until_another_ends(market: RunningNode) -> None:
    path = "/v1/dispatch/events"
    with ExitStack() as stack:
        for _ in range(3):
            opened(stack, market, path)
        refused = market.http.get(path)
        assert_problem(refused, 503, "too-many-streams")
        assert market.http.get("/v1/dispatch/schedules").status_code == 200
    answers(market, path, 200)


def test_one_account_cannot_take_the_streams_of_the_others(market: RunningNode) -> None:
    path = "/v1/notices/events"
    seller, buyer = market.sign_in(SELLER), market.sign_in(BUYER)
    with ExitStack() as stack:
        opened(stack, market, path, seller)
        with ExitStack() as second:
            opened(second, market, path, seller)
            assert_problem(market.http.get(path, headers=seller), 503, "too-many-streams")
            opened(stack, market, path, buyer)
            assert_problem(market.http.get(path, headers=buyer), 503, "too-many-streams")  # three of three are open
            assert market.http.get("/v1/notices", headers=seller).status_code == 200
        answers(market, path, 200, seller)


def test_no_stream_is_left_when_all_have_ended(market: RunningNode) -> None:
    path = "/v1/dispatch/events"
    for _ in range(4):  # more, one after the other, than may be open at once
        answers(market, path, 200)
