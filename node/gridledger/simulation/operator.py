"""The grid operator's dispatch client: listens to schedules and answers each with the operator's own signature."""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from httpx_sse import SSEError, connect_sse

from gridledger.dispatch.model import Answer, Schedule, ScheduleState, answer_typed_data
from gridledger.simulation.node_client import MarketFacts, NodeFailing, RequestRefused, market_facts, require_success
from gridledger.units import format_utc, kwh_text

__all__ = ["REASON_OVERLOAD", "DispatchListener", "decide", "sign_answer"]

REASON_OVERLOAD = 1
RECONNECT_S = 0.2
CONNECT_TIMEOUT_S = 10.0
ALREADY_ANSWERED = "already-answered"
WATTS_PER_KW, SECONDS_PER_HOUR = 1000, 3600


@dataclass(frozen=True, kw_only=True)
class _Scheduled:
    schedule: Schedule
    contracted_wh: tuple[int, ...]


class DispatchListener:
    """Answers the schedules of the operator's zones: acknowledged, or curtailed where they feed in too much.

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
        self._connected = True

    def run(self, stop_event: threading.Event) -> None:
        """Listen and answer until the event is set; lost connections are made again."""
        with httpx.Client(
            base_url=self._base_url, timeout=self._timeout, trust_env=False, transport=self._transport
        ) as client:
            while not stop_event.is_set():
                try:
                    self._listen(client, stop_event)
                except httpx.ReadTimeout:  # nothing has happened for a while
                    continue
                except (httpx.TransportError, SSEError, NodeFailing) as error:
                    self._note_lost(error)
                stop_event.wait(RECONNECT_S)

    def wait_until_answered(self, schedules: Iterable[tuple[int, int]], timeout_s: float) -> bool:
        """Wait until this listener has answered all (zone, mtu_start); False if it has not in time."""
        wanted = set(schedules)
        with self._news:
            return self._news.wait_for(lambda: wanted <= self._answered, timeout_s)

    def _listen(self, client: httpx.Client, stop_event: threading.Event) -> None:
        facts = market_facts(require_success(client.get("/v1/market")).json())
        headers = {"Last-Event-ID": str(self._last_event_id)}
        with connect_sse(client, "GET", "/v1/dispatch/events", headers=headers) as source:
            for event in source.iter_sse():
                self._connected = True
                if stop_event.is_set():
                    return
                if event.event == "scheduled":
                    self._take(client, facts, _scheduled(json.loads(event.data)))
                if event.id:
                    self._last_event_id = int(event.id)

    def _take(self, client: httpx.Client, facts: MarketFacts, scheduled: _Scheduled) -> None:
        schedule = scheduled.schedule
        if not self._is_ours(facts, schedule.zone) or schedule.answer_deadline < facts.now:
            return
        answer, reason = decide(scheduled.contracted_wh, facts.mtu_length_s, self._limit_kw)
        body = {
            "zone": schedule.zone,
            "mtu_start": format_utc(schedule.mtu_start),
            "answer": answer.name.lower(),
            "reason": reason,
            "signature": "0x" + sign_answer(self._key, facts, schedule, answer, reason).hex(),
        }
        outcome = answer.name.lower()
        try:
            with self._turn:
                require_success(client.post("/v1/dispatch/answers", json=body))
        except RequestRefused as refused:
            outcome = f"{refused.problem}: {refused.explanation}"
            if refused.problem == ALREADY_ANSWERED:
                outcome = "answered before"
        self._on_event(
            f"zone {schedule.zone}, {body['mtu_start']}, {kwh_text(schedule.traded_wh)} traded: {outcome}",
        )
        with self._news:
            self._answered.add((schedule.zone, schedule.mtu_start))
            self._news.notify_all()

    def _is_ours(self, facts: MarketFacts, zone: int) -> bool:
        if self._zones is not None:
            return zone in self._zones
        return facts.grid_operators.get(zone) == self._key.address

    def _note_lost(self, error: Exception) -> None:
        if self._connected:
            self._on_event(f"connection lost ({type(error).__name__}), trying again")
        self._connected = False


def decide(contracted_wh: Iterable[int], mtu_length_s: int, limit_kw: int | None) -> tuple[Answer, int]:
    """Answer and reason for a schedule's setpoints (Wh, export positive): curtailed if their feed-in exceeds the limit.

    Feed-in is the sum of the positive setpoints, as mean power over the MTU.
    """
    exported_wh = sum(energy_wh for energy_wh in contracted_wh if energy_wh > 0)
    if limit_kw is not None and exported_wh * SECONDS_PER_HOUR > limit_kw * WATTS_PER_KW * mtu_length_s:
        return Answer.CURTAILED, REASON_OVERLOAD
    return Answer.ACKNOWLEDGED, 0


def sign_answer(key: LocalAccount, facts: MarketFacts, schedule: Schedule, answer: Answer, reason: int) -> bytes:
    """The operator's 65-byte signature (EIP-712 struct `DispatchAnswer`)."""
    document = answer_typed_data(facts.dispatch_domain, schedule, answer, reason)
    return bytes(key.sign_message(encode_typed_data(full_message=document)).signature)


def _scheduled(event: Mapping[str, Any]) -> _Scheduled:
    payload = event["payload"]
    return _Scheduled(
        schedule=Schedule(
            zone=event["zone"],
            mtu_start=event["mtu_start"],
            schedule_hash=payload["schedule_hash"],
            traded_wh=payload["traded_wh"],
            answer_deadline=payload["answer_deadline"],
            state=ScheduleState.PENDING,
            reason=0,
        ),
        contracted_wh=tuple(setpoint["contracted_wh"] for setpoint in payload["setpoints"]),
    )
