"""A node as far as the grid operator's listener sees it: events, sessions, setpoints, and a taker of answers."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from tests.simulation.fake_node import CHAIN_ID, FIRST_MTU, MTU_LENGTH_S, role_keys
from tests.simulation.shown import OTHER_SOURCE, RESULT_HASH, SUN, challenge, committed_hash, setpoint

CONTRACT = "0x" + "Cd" * 20
# Meter to contract and residual, Wh, source and factor: 2,000 Wh to export, of which 500 are not low-carbon.
METERS: Mapping[int, tuple[int, int, int, int | None]] = {
    1: (400, 100, *OTHER_SOURCE),
    2: (1_000, 0, *SUN),
    3: (0, 500, *SUN),
    4: (-1_400, -600, *OTHER_SOURCE),
}


def the_setpoints(meters: Mapping[int, tuple[int, int, int, int | None]] = METERS) -> list[dict[str, Any]]:
    """Setpoints as the node shows them."""
    return [setpoint(meter, *values) for meter, values in meters.items()]


SCHEDULE_HASH = committed_hash(the_setpoints())


def mtu_of(identity: int) -> int:
    """The MTU that the event with this id is about."""
    return FIRST_MTU + identity * MTU_LENGTH_S


def an_event(identity: int, *, zone: int = 1, kind: str = "scheduled", deadline: int | None = None) -> dict[str, Any]:
    """An event as the stream tells it."""
    mtu_start = mtu_of(identity)
    payload = {
        "schedule_hash": SCHEDULE_HASH,
        "traded_wh": 1_400,
        "answer_deadline": mtu_start - 60 if deadline is None else deadline,
        "setpoints": [{"meter": 1, "contracted_wh": 400}],
    }
    return {"id": identity, "zone": zone, "mtu_start": mtu_start, "kind": kind, "payload": payload}


def problem(status: int, code: str) -> httpx.Response:
    """A refusal."""
    return httpx.Response(status, json={"type": f"urn:gridledger:problem:{code}", "detail": code})


class EventServer:
    """Serves events after Last-Event-ID and takes answers.

    `before_answer` and `before_setpoints` may fail a request, given its number; `setpoints` are what it shows, and a
    session is good for `session_uses` of them.
    """

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = list(events)
        self.resumed_after: list[int] = []
        self.answers: list[dict[str, Any]] = []
        self.curtailments: list[dict[str, Any]] = []
        self.before_answer: Callable[[int], httpx.Response | None] = lambda _: None
        self.before_setpoints: Callable[[int], httpx.Response | None] = lambda _: None
        self.setpoints = the_setpoints()
        self.session_uses = 1_000
        self.sign_ins: list[dict[str, Any]] = []
        self.setpoints_asked = 0
        self._uses_left = 0
        self._answers_tried = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        takers: dict[str, Callable[[httpx.Request], httpx.Response]] = {
            "/v1/market": self._market,
            "/v1/dispatch/events": self._events,
            "/v1/dispatch/setpoints": self._setpoints,
            "/v1/sessions/nonce": self._nonce,
            "/v1/sessions": self._session,
            "/v1/dispatch/answers": lambda asked: self._take(asked, self.answers),
            "/v1/dispatch/curtailments": lambda asked: self._take(asked, self.curtailments),
        }
        return takers[request.url.path](request)

    def _market(self, _: httpx.Request) -> httpx.Response:
        operator = role_keys()["grid_operator"].address
        facts = {
            "chain_id": CHAIN_ID,
            "mtu_length_s": MTU_LENGTH_S,
            "now": FIRST_MTU,
            "accounts": {},
            "contracts": {"EnergyDispatching": CONTRACT},
            "zones": [{"zone": 1, "grid_operator": operator}, {"zone": 2, "grid_operator": "0x" + "99" * 20}],
        }
        return httpx.Response(200, json=facts)

    def _events(self, request: httpx.Request) -> httpx.Response:
        after = int(request.headers["last-event-id"])
        self.resumed_after.append(after)
        text = "".join(
            f"id: {event['id']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
            for event in self.events
            if event["id"] > after
        )
        return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})

    def _nonce(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=challenge(CHAIN_ID))

    def _session(self, request: httpx.Request) -> httpx.Response:
        self.sign_ins.append(json.loads(request.content))
        self._uses_left = self.session_uses
        return httpx.Response(201, json={"token": f"token {len(self.sign_ins)}"})

    def _setpoints(self, request: httpx.Request) -> httpx.Response:
        self.setpoints_asked += 1
        if (failure := self.before_setpoints(self.setpoints_asked)) is not None:
            return failure
        if request.headers.get("authorization") != f"Bearer token {len(self.sign_ins)}" or not self._uses_left:
            return problem(401, "session-required")
        self._uses_left -= 1
        return httpx.Response(200, json={"result_hash": RESULT_HASH, "setpoints": self.setpoints})

    def _take(self, request: httpx.Request, taken: list[dict[str, Any]]) -> httpx.Response:
        self._answers_tried += 1
        if (failure := self.before_answer(self._answers_tried)) is not None:
            return failure
        taken.append(json.loads(request.content))
        return httpx.Response(202, json={})
