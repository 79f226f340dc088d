"""The grid operator's client: what it answers, that its signature is its own, and that it never loses an event."""

import json
import threading
from collections.abc import Callable
from typing import Any, Self

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from tests.simulation.fake_node import CHAIN_ID, FIRST_MTU, MTU_LENGTH_S, role_keys

from gridledger.dispatch.model import Answer, DispatchDomain, Schedule, ScheduleState, answer_typed_data
from gridledger.simulation.operator import REASON_OVERLOAD, DispatchListener, decide
from gridledger.units import format_utc, parse_utc

CONTRACT = "0x" + "Cd" * 20
PATIENCE_S = 10.0


def an_event(identity: int, *, zone: int = 1, kind: str = "scheduled", deadline: int | None = None) -> dict[str, Any]:
    mtu_start = FIRST_MTU + identity * MTU_LENGTH_S
    payload = {
        "schedule_hash": "0x" + f"{identity:064x}",
        "traded_wh": 1_000,
        "answer_deadline": mtu_start - 60 if deadline is None else deadline,
        "setpoints": [{"meter": 1, "contracted_wh": 1_000}, {"meter": 2, "contracted_wh": -1_000}],
    }
    return {"id": identity, "zone": zone, "mtu_start": mtu_start, "kind": kind, "payload": payload}


class EventServer:
    """Serves events after Last-Event-ID and takes answers; `before_answer` may fail a request."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = list(events)
        self.resumed_after: list[int] = []
        self.answers: list[dict[str, Any]] = []
        self.before_answer: Callable[[int], httpx.Response | None] = lambda _: None
        self._attempts = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/market":
            return httpx.Response(200, json=self._market())
        if request.url.path == "/v1/dispatch/events":
            after = int(request.headers["last-event-id"])
            self.resumed_after.append(after)
            text = "".join(
                f"id: {event['id']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
                for event in self.events
                if event["id"] > after
            )
            return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})
        self._attempts += 1
        if (failure := self.before_answer(self._attempts)) is not None:
            return failure
        self.answers.append(json.loads(request.content))
        return httpx.Response(202, json={})

    def _market(self) -> dict[str, Any]:
        operator = role_keys()["grid_operator"].address
        return {
            "chain_id": CHAIN_ID,
            "mtu_length_s": MTU_LENGTH_S,
            "now": FIRST_MTU,
            "accounts": {},
            "contracts": {"EnergyDispatching": CONTRACT},
            "zones": [{"zone": 1, "grid_operator": operator}, {"zone": 2, "grid_operator": "0x" + "99" * 20}],
        }


class Operator:
    """A listener at work in a thread."""

    def __init__(self, server: EventServer, **options: Any) -> None:
        self.said: list[str] = []
        self.listener = DispatchListener(
            "http://node.test",
            key=role_keys()["grid_operator"],
            on_event=self.said.append,
            transport=httpx.MockTransport(server),
            **options,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.listener.run, args=(self._stop,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def answers(self, *identities: int) -> bool:
        wanted = [(1, FIRST_MTU + identity * MTU_LENGTH_S) for identity in identities]
        return self.listener.wait_until_answered(wanted, PATIENCE_S)


@pytest.mark.parametrize(
    ("limit_kw", "answer", "reason"),
    [(None, Answer.ACKNOWLEDGED, 0), (8, Answer.ACKNOWLEDGED, 0), (7, Answer.CURTAILED, REASON_OVERLOAD)],
)
def test_feed_in_above_the_limit_is_curtailed_and_a_limit_just_reached_is_not(
    limit_kw: int | None, answer: Answer, reason: int
) -> None:
    assert decide([1_500, -4_000, 500], 900, limit_kw) == (answer, reason)


def test_one_watt_hour_too_much_is_too_much() -> None:
    assert decide([2_000], 900, 8)[0] is Answer.ACKNOWLEDGED
    assert decide([2_001], 900, 8)[0] is Answer.CURTAILED
    assert decide([-9_000], 900, 0)[0] is Answer.ACKNOWLEDGED


def test_a_schedule_is_answered_with_the_operators_own_signature() -> None:
    server = EventServer(an_event(1))
    with Operator(server) as operator:
        assert operator.answers(1)
    (body,) = server.answers
    assert (body["zone"], body["mtu_start"]) == (1, format_utc(FIRST_MTU + MTU_LENGTH_S))
    assert (body["answer"], body["reason"]) == ("acknowledged", 0)
    schedule = Schedule(
        zone=1,
        mtu_start=parse_utc("m", body["mtu_start"]),
        schedule_hash="0x" + f"{1:064x}",
        traded_wh=0,
        answer_deadline=0,
        state=ScheduleState.PENDING,
        reason=0,
    )
    domain = DispatchDomain(chain_id=CHAIN_ID, dispatching_contract=CONTRACT)
    document = encode_typed_data(full_message=answer_typed_data(domain, schedule, Answer.ACKNOWLEDGED, 0))
    assert Account.recover_message(document, signature=body["signature"]) == role_keys()["grid_operator"].address


def test_an_overload_is_answered_with_its_reason() -> None:
    server = EventServer(an_event(1))
    with Operator(server, limit_kw=3) as operator:
        assert operator.answers(1)
    assert (server.answers[0]["answer"], server.answers[0]["reason"]) == ("curtailed", REASON_OVERLOAD)


def test_foreign_zones_past_deadlines_and_other_events_are_left_alone() -> None:
    foreign, late = an_event(1, zone=2), an_event(2, deadline=FIRST_MTU - 1)
    server = EventServer(foreign, late, an_event(3, kind="acknowledged"), an_event(4))
    with Operator(server) as operator:
        assert operator.answers(4)
        assert not operator.listener.wait_until_answered([(2, foreign["mtu_start"])], 0)
    assert len(server.answers) == 1


def test_zones_named_by_the_caller_are_answered_whoever_the_registry_names() -> None:
    server = EventServer(an_event(1), an_event(2, zone=2))
    with Operator(server, zones=[2]) as operator:
        assert operator.listener.wait_until_answered([(2, FIRST_MTU + 2 * MTU_LENGTH_S)], PATIENCE_S)
    assert [body["zone"] for body in server.answers] == [2]


def test_it_resumes_after_the_last_event_dealt_with_and_answers_each_once() -> None:
    server = EventServer(an_event(1))
    with Operator(server) as operator:
        assert operator.answers(1)
        server.events += [an_event(2), an_event(3)]
        assert operator.answers(2, 3)
    assert server.resumed_after[0] == 0
    assert set(server.resumed_after[1:]) <= {1, 3}
    assert [parse_utc("m", body["mtu_start"]) for body in server.answers] == [
        FIRST_MTU + identity * MTU_LENGTH_S for identity in (1, 2, 3)
    ]


def test_an_answer_lost_with_the_node_is_given_again() -> None:
    def die_once(attempt: int) -> httpx.Response | None:
        if attempt == 1:
            raise httpx.ReadError("connection reset")
        return httpx.Response(503, json={}) if attempt == 2 else None

    server = EventServer(an_event(1))
    server.before_answer = die_once
    with Operator(server) as operator:
        assert operator.answers(1)
    assert len(server.answers) == 1
    assert any("trying again" in line for line in operator.said)


def test_a_schedule_answered_before_is_done_with() -> None:
    problem = {"type": "urn:gridledger:problem:already-answered", "detail": "The dispatch has been answered"}
    server = EventServer(an_event(1), an_event(2))
    server.before_answer = lambda attempt: httpx.Response(409, json=problem) if attempt == 1 else None
    with Operator(server) as operator:
        assert operator.answers(1, 2)
    assert operator.said[0].endswith("answered before")
    assert len(server.answers) == 1
