"""The grid operator's dispatch client: listens to schedules and answers each with the operator's own signature."""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx
from eth_account.signers.local import LocalAccount
from httpx_sse import SSEError, connect_sse

from gridledger.dispatch.model import Curtailment
from gridledger.simulation.node_client import (
    MarketFacts,
    NodeFailing,
    NotANode,
    RequestRefused,
    read_market,
    require_success,
)
from gridledger.simulation.operator_answers import (
    REASON_OVERLOAD,
    Caps,
    SetpointsForged,
    acknowledgement_body,
    committed_meters,
    curtailment_body,
    decide,
)
from gridledger.simulation.session import signed_in

__all__ = ["DispatchListener"]

RECONNECT_S, LONGEST_PAUSE_S = 0.2, 5.0
CONNECT_TIMEOUT_S = 10.0
ALREADY_ANSWERED = "already-answered"


@dataclass(frozen=True, kw_only=True)
class _Scheduled:
    zone: int
    mtu_start: int
    schedule_hash: str
    traded_wh: int
    answer_deadline: int


class DispatchListener:
    """Answers the schedules of the operator's zones: acknowledged inside its limit, curtailed above it.

    It resumes after the last event it has dealt with, however often the connection or the node is lost; a schedule
    somebody has answered already is done with. `zones` None: those whose registered grid operator is `key`.
    `turn` is held while an answer is posted; `read_timeout_s` bounds how long `run` overlooks its stop event.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: LocalAccount,
        limit_kw: int | None = None,
        on_event: Callable[[str], None],
        zones: Collection[int] | None = None,
        turn: AbstractContextManager[object] | None = None,
        transport: httpx.BaseTransport | None = None,
        read_timeout_s: float = 30.0,
    ) -> None:
        self._base_url = base_url
        self._key = key
        self._limit_kw = limit_kw
        self._on_event = on_event
        self._zones = None if zones is None else frozenset(zones)
        self._turn = nullcontext() if turn is None else turn
        self._transport = transport
        self._timeout = httpx.Timeout(CONNECT_TIMEOUT_S, read=read_timeout_s)
        self._last_event_id = 0
        self._answered: set[tuple[int, int]] = set()
        self._news = threading.Condition()
        self._trouble: str | None = None
        self._session: dict[str, str] | None = None
        self._said_zones: list[int] | None = None

    def run(self, stop_event: threading.Event) -> None:
        """Listen and answer until the event is set; lost connections are made again, what is refused asked again."""
        with httpx.Client(
            base_url=self._base_url, timeout=self._timeout, trust_env=False, transport=self._transport
        ) as client:
            pause_s = RECONNECT_S
            while not stop_event.is_set():
                try:
                    self._listen(client, stop_event)
                    pause_s = RECONNECT_S
                except httpx.ReadTimeout:  # nothing has happened for a while
                    continue
                except (httpx.TransportError, SSEError, NodeFailing) as error:
                    self._note(f"no connection to {self._base_url} ({type(error).__name__}), trying again")
                except (RequestRefused, SetpointsForged, NotANode) as error:
                    self._note(f"no answer given, trying again: {error}")
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                stop_event.wait(pause_s)

    def wait_until_answered(self, schedules: Iterable[tuple[int, int]], timeout_s: float) -> bool:
        """Wait until this listener has answered all (zone, mtu_start); False if it has not in time."""
        wanted = set(schedules)
        with self._news:
            return self._news.wait_for(lambda: wanted <= self._answered, timeout_s)

    def _listen(self, client: httpx.Client, stop_event: threading.Event) -> None:
        facts = read_market(client)
        self._say_whose(facts)
        headers = {"Last-Event-ID": str(self._last_event_id)}
        with connect_sse(client, "GET", "/v1/dispatch/events", headers=headers) as source:
            for event in source.iter_sse():
                if stop_event.is_set():
                    return
                if event.event == "scheduled":
                    self._take(client, facts, _scheduled(json.loads(event.data)))
                if event.id:
                    self._last_event_id = int(event.id)
                self._trouble = None

    def _take(self, client: httpx.Client, facts: MarketFacts, scheduled: _Scheduled) -> None:
        if not self._is_ours(facts, scheduled.zone) or scheduled.answer_deadline < facts.now:
            return
        if self._limit_kw is not None:
            self._session = self._session or self._signed_in(client)
        path, body, outcome = self._answer_to(client, facts, scheduled)
        try:
            with self._turn:
                require_success(client.post(path, json=body))
        except RequestRefused as refused:
            outcome = f"{refused.problem}: {refused.explanation}"
            if refused.problem == ALREADY_ANSWERED:
                outcome = "answered before"
        self._on_event(f"zone {scheduled.zone}, {body['mtu_start']}, {scheduled.traded_wh:,} Wh traded: {outcome}")
        with self._news:
            self._answered.add((scheduled.zone, scheduled.mtu_start))
            self._news.notify_all()

    def _answer_to(
        self, client: httpx.Client, facts: MarketFacts, scheduled: _Scheduled
    ) -> tuple[str, dict[str, Any], str]:
        """Where to post what, and what to say of it."""
        caps = None if self._limit_kw is None else self._caps(client, facts, scheduled)
        if caps is None:
            body = acknowledgement_body(
                self._key,
                facts.dispatch_domain,
                zone=scheduled.zone,
                mtu_start=scheduled.mtu_start,
                schedule_hash=scheduled.schedule_hash,
            )
            return "/v1/dispatch/answers", body, "acknowledged"
        curtailment = Curtailment(
            zone=scheduled.zone,
            mtu_start=scheduled.mtu_start,
            schedule_hash=scheduled.schedule_hash,
            direction=caps.direction,
            reason=REASON_OVERLOAD,
            emergency=False,
            sequence=0,
            caps_wh=caps.wh,
        )
        said = f"{caps.direction.name.lower()} capped at {sum(caps.wh.values()):,} Wh, meters: {len(caps.wh)}"
        body = curtailment_body(self._key, facts.dispatch_domain, curtailment)
        return "/v1/dispatch/curtailments", body, said

    def _caps(self, client: httpx.Client, facts: MarketFacts, scheduled: _Scheduled) -> Caps | None:
        """The caps the schedule needs by the operator's limit, from the setpoints it commits to."""
        parameters = {"zone": scheduled.zone, "mtu_start": scheduled.mtu_start}
        answer = client.get("/v1/dispatch/setpoints", params=parameters, headers=self._session)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # the session has ended
            self._session = self._signed_in(client)
            answer = client.get("/v1/dispatch/setpoints", params=parameters, headers=self._session)
        document = require_success(answer).json()
        meters = committed_meters(
            document, zone=scheduled.zone, mtu_start=scheduled.mtu_start, committed_hash=scheduled.schedule_hash
        )
        return decide(meters, facts.mtu_length_s, self._limit_kw)

    def _signed_in(self, client: httpx.Client) -> dict[str, str]:
        def post(path: str, body: Mapping[str, object] | None) -> Any:
            return require_success(client.post(path, json=body)).json()

        return signed_in(post, self._key, "Read what is to be dispatched.")

    def _is_ours(self, facts: MarketFacts, zone: int) -> bool:
        if self._zones is not None:
            return zone in self._zones
        return facts.grid_operators.get(zone) == self._key.address

    def _say_whose(self, facts: MarketFacts) -> None:
        """Which zones are answered for, once and whenever they change: none is most often a mistake."""
        zones = sorted(zone for zone in facts.grid_operators if self._is_ours(facts, zone))
        if zones == self._said_zones:
            return
        self._said_zones = zones
        whose = f"zone {', '.join(map(str, zones))}" if zones else "no zone: its key is the grid operator's of none"
        self._on_event(f"connected to {self._base_url}; {self._key.address} answers for {whose}")

    def _note(self, trouble: str) -> None:
        """Say it once, until an event has been dealt with."""
        if trouble != self._trouble:
            self._on_event(trouble)
        self._trouble = trouble


def _scheduled(event: Mapping[str, Any]) -> _Scheduled:
    payload = event["payload"]
    return _Scheduled(
        zone=event["zone"],
        mtu_start=event["mtu_start"],
        schedule_hash=payload["schedule_hash"],
        traded_wh=payload["traded_wh"],
        answer_deadline=payload["answer_deadline"],
    )
