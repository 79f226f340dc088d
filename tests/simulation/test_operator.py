"""The grid operator's client: what it answers, that its signature is its own, and that it never loses an event."""

import threading
from typing import Any, Self

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from tests.simulation.event_server import (
    CONTRACT,
    METERS,
    SCHEDULE_HASH,
    EventServer,
    an_event,
    mtu_of,
    problem,
    the_setpoints,
)
from tests.simulation.fake_node import CHAIN_ID, FIRST_MTU, role_keys

from gridledger.dispatch.model import (
    Curtailment,
    DispatchDomain,
    answer_typed_data,
    curtailment_typed_data,
)
from gridledger.dispatch.setpoints import Direction
from gridledger.simulation.operator import DispatchListener
from gridledger.units import format_utc, parse_utc

DOMAIN = DispatchDomain(chain_id=CHAIN_ID, dispatching_contract=CONTRACT)
PATIENCE_S = 10.0


class Operator:
    """A listener at work in a thread."""

    def __init__(self, server: EventServer, **options: Any) -> None:
        self.said: list[str] = []
        self.listener = DispatchListener(
            "http://node.test",
            on_event=self._say,
            transport=httpx.MockTransport(server),
            **{"key": role_keys()["grid_operator"]} | options,
        )
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.listener.run, args=(self._stop,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread.is_alive(), "the listener has given up"
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def answers(self, *identities: int) -> bool:
        return self.listener.wait_until_answered([(1, mtu_of(identity)) for identity in identities], PATIENCE_S)

    def says(self, text: str) -> bool:
        """Whether it says something with this text in time."""
        with self._news:
            return self._news.wait_for(lambda: any(text in line for line in self.said), PATIENCE_S)

    def _say(self, line: str) -> None:
        with self._news:
            self.said.append(line)
            self._news.notify_all()


def signer_of(body: dict[str, Any], document: dict[str, Any]) -> str:
    return str(Account.recover_message(encode_typed_data(full_message=document), signature=body["signature"]))


# ---- what it answers


def test_without_a_limit_a_schedule_is_acknowledged_with_the_operators_own_signature() -> None:
    server = EventServer(an_event(1))
    with Operator(server) as operator:
        assert operator.answers(1)
    (body,) = server.answers
    assert (body["zone"], body["mtu_start"]) == (1, format_utc(mtu_of(1)))
    assert (body["answer"], body["reason"]) == ("acknowledged", 0)
    document = answer_typed_data(DOMAIN, 1, mtu_of(1), SCHEDULE_HASH, 0)
    assert signer_of(body, document) == role_keys()["grid_operator"].address
    assert (server.sign_ins, server.setpoints_asked) == ([], 0)


@pytest.mark.parametrize("limit_kw", [6, 100])
def test_inside_the_limit_a_schedule_is_acknowledged(limit_kw: int) -> None:
    """2,000 Wh to export and 600 of firm imports: 1,400 Wh are 5.6 kW for a quarter of an hour."""
    server = EventServer(an_event(1))
    with Operator(server, limit_kw=limit_kw) as operator:
        assert operator.answers(1)
    assert (len(server.answers), server.curtailments) == (1, [])


def test_above_the_limit_exports_are_capped_low_carbon_last_with_the_operators_own_signature() -> None:
    server = EventServer(an_event(1))
    with Operator(server, limit_kw=1) as operator:
        assert operator.answers(1)
    assert server.answers == []
    (body,) = server.curtailments
    caps_wh = {cap["meter"]: cap["cap_wh"] for cap in body["caps"]}
    assert caps_wh == {1: 0, 2: 567, 3: 283}  # 250 Wh and 600 of firm imports, 2 to 1; 4 imports
    curtailment = Curtailment(
        zone=1,
        mtu_start=mtu_of(1),
        schedule_hash=SCHEDULE_HASH,
        direction=Direction.EXPORT,
        reason=1,
        emergency=False,
        sequence=0,
        caps_wh=caps_wh,
    )
    assert signer_of(body, curtailment_typed_data(DOMAIN, curtailment)) == role_keys()["grid_operator"].address
    assert {name: body[name] for name in ("direction", "reason", "emergency", "sequence", "schedule_hash")} == {
        "direction": "export",
        "reason": 1,
        "emergency": False,
        "sequence": 0,
        "schedule_hash": SCHEDULE_HASH,
    }
    assert "1,400 Wh traded: export capped at 850 Wh, meters: 3" in operator.said[1]


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
        assert operator.listener.wait_until_answered([(2, mtu_of(2))], PATIENCE_S)
    assert [body["zone"] for body in server.answers] == [2]


# ---- what it does not believe

FORGERIES: dict[str, list[dict[str, Any]]] = {
    "less to export": the_setpoints({**METERS, 2: (1_000, -900, 1, 41_000)}),
    "a meter left out": the_setpoints({meter: METERS[meter] for meter in (2, 3, 4)}),
    "a meter more": the_setpoints({**METERS, 5: (0, -2_000, 0, None)}),
    "another contract, the same sum": the_setpoints({**METERS, 2: (900, 100, 1, 41_000)}),
    "no meters": [],
    "another salt": [{**one, "salt": "0x" + "00" * 32} for one in the_setpoints()],
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("limit_kw", [1, 100])
def test_setpoints_the_schedule_does_not_commit_to_are_never_answered(forgery: str, limit_kw: int) -> None:
    server = EventServer(an_event(1))
    server.setpoints = FORGERIES[forgery]
    with Operator(server, limit_kw=limit_kw) as operator:
        assert operator.says("does not commit to")
        assert (server.answers, server.curtailments) == ([], [])
        server.setpoints = the_setpoints()
        assert operator.answers(1)
    assert len(server.answers) + len(server.curtailments) == 1


# ---- sessions


def test_it_signs_in_with_its_own_key_once_for_many_schedules() -> None:
    server = EventServer(an_event(1), an_event(2), an_event(3))
    with Operator(server, limit_kw=100) as operator:
        assert operator.answers(1, 2, 3)
    (signed,) = server.sign_ins
    signer = Account.recover_message(encode_defunct(text=signed["message"]), signature=signed["signature"])
    assert signer == role_keys()["grid_operator"].address


def test_it_signs_in_again_when_its_session_has_ended() -> None:
    server = EventServer(an_event(1), an_event(2), an_event(3))
    server.session_uses = 2
    with Operator(server, limit_kw=100) as operator:
        assert operator.answers(1, 2, 3)
    assert (len(server.sign_ins), len(server.answers)) == (2, 3)


def test_a_refusal_to_show_setpoints_is_said_and_asked_again() -> None:
    server = EventServer(an_event(1), an_event(2))
    server.before_setpoints = lambda attempt: problem(403, "setpoints-forbidden") if attempt < 3 else None
    with Operator(server, limit_kw=100) as operator:
        assert operator.says("setpoints-forbidden")
        assert operator.answers(1, 2)
    assert len(server.answers) == 2


# ---- connections


def test_it_resumes_after_the_last_event_dealt_with_and_answers_each_once() -> None:
    server = EventServer(an_event(1))
    with Operator(server) as operator:
        assert operator.answers(1)
        server.events += [an_event(2), an_event(3)]
        assert operator.answers(2, 3)
    assert server.resumed_after[0] == 0
    assert set(server.resumed_after[1:]) <= {1, 3}
    assert [parse_utc("m", body["mtu_start"]) for body in server.answers] == [mtu_of(each) for each in (1, 2, 3)]


@pytest.mark.parametrize("limit_kw", [None, 100, 1], ids=["no limit", "inside", "above"])
def test_an_answer_lost_with_the_node_is_given_again(limit_kw: int | None) -> None:
    def die_once(attempt: int) -> httpx.Response | None:
        if attempt == 1:
            raise httpx.ReadError("connection reset")
        return httpx.Response(503, json={}) if attempt == 2 else None

    server = EventServer(an_event(1))
    server.before_answer = die_once
    with Operator(server, limit_kw=limit_kw) as operator:
        assert operator.answers(1)
    assert len(server.answers) + len(server.curtailments) == 1
    assert any("trying again" in line for line in operator.said)


def test_a_schedule_answered_before_is_done_with() -> None:
    server = EventServer(an_event(1), an_event(2))
    server.before_answer = lambda attempt: problem(409, "already-answered") if attempt == 1 else None
    with Operator(server) as operator:
        assert operator.answers(1, 2)
    assert operator.said[1].endswith("answered before")
    assert len(server.answers) == 1


def test_an_answer_the_node_refuses_is_said_with_the_node_s_reason() -> None:
    server = EventServer(an_event(1), an_event(2))
    server.before_answer = lambda attempt: problem(409, "answer-too-late") if attempt == 1 else None
    with Operator(server) as operator:
        assert operator.answers(1, 2)
    assert "answer-too-late" in operator.said[1]


def test_it_says_once_which_zones_it_answers_for() -> None:
    server = EventServer(an_event(1))
    server.before_answer = lambda attempt: problem(500, "internal") if attempt == 1 else None
    with Operator(server) as operator:
        assert operator.answers(1)
    assert server.resumed_after[:2] == [0, 0]
    assert [line.endswith("answers for zone 1") for line in operator.said].count(True) == 1


def test_a_key_of_no_zone_is_said() -> None:
    with Operator(EventServer(an_event(1)), key=role_keys()["supplier"]) as operator:
        assert operator.says("answers for no zone")
