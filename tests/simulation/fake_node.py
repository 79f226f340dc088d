"""A small community, and a node as far as a run sees it: in memory, over a mock transport, killable at any post."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from tests.simulation.shown import RESULT_HASH, challenge, committed_hash, setpoint

from gridledger.api.schemas import OrderIn
from gridledger.chain.codec import keccak256
from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.chain.keys import ACCOUNT_NAMES, account_from_seed
from gridledger.chain.plan import contract_addresses
from gridledger.errors import Unavailable
from gridledger.market.model import Side
from gridledger.market.order_hash import OrderDomain, order_uid
from gridledger.simulation.inputs import MeterSpec, load_readings, meter_specs
from gridledger.simulation.player import ReplayPlan
from gridledger.units import format_utc, parse_utc

CHAIN_ID, MTU_LENGTH_S, GATE_CLOSURE_S, SEED = 31_337, 900, 300, 7
FIRST_MTU = parse_utc("start", "2024-05-01T10:00:00Z")
_MEMBERS_POSTS = ("/orders/batch", "/readings", "/transactions")
HEADER = "meter_id,interval_start,interval_seconds,import_wh,export_wh"


@cache
def artifacts() -> Artifacts:
    """The project's contracts."""
    return load_artifacts()


@cache
def role_keys() -> Mapping[str, LocalAccount]:
    """Key of every role."""
    return {name: account_from_seed(SEED, name) for name in ACCOUNT_NAMES}


def a_spec(meter_id: str, **changes: Any) -> MeterSpec:
    """A meter of 4 kW import and 8 kW export in zone 1, owned by `owner-of-...`."""
    values: dict[str, Any] = {
        "meter_id": meter_id,
        "zone": 1,
        "owner": f"owner-of-{meter_id}",
        "supplier": "supplier-1",
        "source": "none",
        "import_capacity_w": 4_000,
        "export_capacity_w": 8_000,
    }
    return MeterSpec(**(values | changes))


def a_plan(folder: Path, mtu_count: int = 6, **changes: Any) -> ReplayPlan:
    """Two consumers and a producer, consumption rising by 1 Wh per MTU; one reading is missing."""
    rows = [
        f"{meter},{format_utc(FIRST_MTU + place * MTU_LENGTH_S)},900,{import_wh and import_wh + place},{export_wh}"
        for place in range(mtu_count)
        for meter, import_wh, export_wh in (("c1", 300, 0), ("c2", 200, 0), ("p1", 0, 700))
        if (meter, place) != ("c2", 2)
    ]
    path = folder / "readings.csv"
    path.write_text("\n".join((HEADER, *rows)) + "\n")
    readings = load_readings(path)
    values: dict[str, Any] = {
        "readings": readings,
        "meters": meter_specs(readings, None),
        "prices": None,
        "carbon": None,
        "seed": SEED,
        "limit_kw": None,
        "gate_closure_s": GATE_CLOSURE_S,
    }
    return ReplayPlan(**(values | changes))


@dataclass(kw_only=True, eq=False)
class NodeGone(Unavailable):
    """The fake node is dead."""


@dataclass
class FakeNode:
    """Implements NodeHandle and answers requests. `deaths`: numbers of the posts after which it is killed, unanswered.

    `refuse_meter`: orders of this meter number are refused.
    """

    now: int
    deaths: set[int] = field(default_factory=set)
    refuse_meter: int = 0
    base_url: str = "http://node.test"
    alive: bool = True
    starts: int = 0
    posts: int = 0
    journal: list[str] = field(default_factory=list)
    orders: dict[str, OrderIn] = field(default_factory=dict)
    order_times: dict[str, int] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    transactions: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    setpoints: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    limits_wh: dict[tuple[int, int], int] = field(default_factory=dict)
    limits_asked: list[tuple[int, int]] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    ended_sessions: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self.contracts = contract_addresses(role_keys()["deployer"].address)

    @property
    def transport(self) -> httpx.MockTransport:
        """Where the API is reached."""
        return httpx.MockTransport(self._handle)

    # --- NodeHandle -----------------------------------------------------------------------------------------------

    def ensure_running(self) -> None:
        with self._lock:
            self.starts += not self.alive
            self.alive = True

    def advance(self, moment: int) -> int:
        with self._lock:
            if not self.alive:
                raise NodeGone
            if moment > self.now:
                self.now = moment
                self.journal.append(f"advance {moment - FIRST_MTU}")
            for transaction in self.transactions.values():
                transaction["state"] = "mined"
            self._close_gates()
            return self.now

    def _close_gates(self) -> None:
        for mtu_start in sorted({parse_utc("m", order.first_mtu_start) for order in self.orders.values()}):
            scheduled = {event["mtu_start"] for event in self.events}
            if mtu_start - GATE_CLOSURE_S <= self.now and mtu_start not in scheduled:
                self._schedule(mtu_start)

    def _schedule(self, mtu_start: int) -> None:
        placed = [item.to_order() for item in self.orders.values()]
        placed = [order for order in placed if order.first_mtu_start == mtu_start]
        setpoints = [
            setpoint(order.meter, order.quantity_wh * (1 if order.side is Side.SELL else -1))
            for order in sorted(placed, key=lambda order: order.meter)
        ]
        self.setpoints[mtu_start] = setpoints
        payload = {
            "schedule_hash": committed_hash(setpoints),
            "traded_wh": sum(abs(item["contracted_wh"]) for item in setpoints) // 2,
            "answer_deadline": mtu_start - 60,
            "setpoints": setpoints,
        }
        identity = len(self.events) + 1
        self.events.append({"id": identity, "zone": 1, "mtu_start": mtu_start, "kind": "scheduled", "payload": payload})

    # --- the API --------------------------------------------------------------------------------------------------

    def _handle(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            if not self.alive:
                raise httpx.ConnectError("nobody listens", request=request)
            response = self._answer(request)
            if request.method == "POST" and request.url.path.endswith(_MEMBERS_POSTS):
                self.posts += 1
                if self.posts in self.deaths:
                    self.alive = False
                    raise httpx.ReadError("connection reset", request=request)
            return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1")
        body = json.loads(request.content) if request.content else {}
        if request.method == "POST":
            takers: dict[str, Callable[[], httpx.Response]] = {
                "/dispatch/answers": lambda: self._take_answer(body),
                "/dispatch/curtailments": lambda: self._take_curtailment(body),
                "/sessions/nonce": lambda: httpx.Response(200, json=challenge(CHAIN_ID)),
                "/sessions": lambda: self._begin_session(body),
                "/orders/batch": lambda: _results(self._take_order(item) for item in body["orders"]),
                "/readings": lambda: _results(self._take_reading(text) for text in body["readings"]),
                "/transactions": lambda: self._take_transaction(body["raw_transaction"]),
            }
            return takers[path]()
        if path in ("/dispatch/setpoints", "/dispatch/limits"):
            return self._show(path, request)
        if path == "/dispatch/events":
            return self._stream(int(request.headers["last-event-id"]))
        if path.startswith("/transactions/"):
            return self._transaction(path.rpartition("/")[2])
        if path.startswith("/market/prices/"):
            return httpx.Response(200, json={"floor_cents_per_mwh": 8_000, "cap_cents_per_mwh": 32_000})
        documents: dict[str, Callable[[], dict[str, Any]]] = {
            "/market": self._market,
            "/market/summary": lambda: {"orders": len(self.orders)},
            "/dispatch/schedules": lambda: {"schedules": list(self._pending())},
        }
        return httpx.Response(200, json=documents[path]())

    def _market(self) -> dict[str, Any]:
        keys = role_keys()
        return {
            "chain_id": CHAIN_ID,
            "mtu_length_s": MTU_LENGTH_S,
            "now": self.now,
            "accounts": {name: key.address for name, key in keys.items()},
            "contracts": self.contracts,
            "zones": [{"zone": 1, "grid_operator": keys["grid_operator"].address}],
        }

    def _pending(self) -> Iterator[dict[str, int]]:
        for event in self.events:
            if (event["zone"], event["mtu_start"]) not in self.answers:
                yield {"zone": event["zone"], "mtu_start": event["mtu_start"]}

    def _stream(self, after: int) -> httpx.Response:
        text = "".join(
            f"id: {event['id']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
            for event in self.events
            if event["id"] > after
        )
        return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})

    def _take_answer(self, body: dict[str, Any]) -> httpx.Response:
        key = (body["zone"], parse_utc("m", body["mtu_start"]))
        if key in self.answers:
            problem = {"type": "urn:gridledger:problem:already-answered", "detail": "twice"}
            return httpx.Response(409, json=problem)
        self.answers[key] = body
        self.journal.append(f"answer {key[1] - FIRST_MTU}")
        return httpx.Response(202, json={})

    def _take_curtailment(self, body: dict[str, Any]) -> httpx.Response:
        taken = self._take_answer(body)
        for cap in body["caps"] if taken.is_success else ():
            self.limits_wh[cap["meter"], parse_utc("m", body["mtu_start"])] = cap["cap_wh"]
        return taken

    def _begin_session(self, body: dict[str, Any]) -> httpx.Response:
        signer = str(Account.recover_message(encode_defunct(text=body["message"]), signature=body["signature"]))
        self.sessions.append(signer)
        return httpx.Response(201, json={"token": str(len(self.sessions) - 1)})

    def _show(self, path: str, request: httpx.Request) -> httpx.Response:
        """What single meters are scheduled for and may do, to whoever has a session that has not ended."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token or int(token) < self.ended_sessions:
            return httpx.Response(401, json={"type": "urn:gridledger:problem:session-required"})
        asked = {name: int(value) for name, value in request.url.params.items()}
        if path == "/dispatch/setpoints":
            return httpx.Response(
                200, json={"result_hash": RESULT_HASH, "setpoints": self.setpoints[asked["mtu_start"]]}
            )
        slot = asked["meter"], asked["first_mtu_start"]
        self.limits_asked.append(slot)
        return httpx.Response(200, json={"limits": [{"export_wh": self.limits_wh.get(slot)}]})

    def _take_order(self, item: dict[str, Any]) -> dict[str, Any]:
        order = OrderIn(**item)
        if order.meter == self.refuse_meter:
            return {"status": 422, "problem": {"type": "urn:gridledger:problem:funds-exceeded"}}
        domain = OrderDomain(chain_id=CHAIN_ID, trading_contract=self.contracts["EnergyTrading"])
        uid = order_uid(domain, order.to_order())
        if uid not in self.orders:
            self.orders[uid], self.order_times[uid] = order, self.now
            self.journal.append(f"order {order.meter}")
        return {"status": 201}

    def _take_reading(self, text: str) -> dict[str, Any]:
        if text in self.readings:
            return {"status": "duplicate"}
        self.readings[text] = self.now
        self.journal.append("reading")
        return {"status": "accepted"}

    def _take_transaction(self, raw: str) -> httpx.Response:
        if len(raw) < 100:
            return httpx.Response(422, json={"type": "urn:gridledger:problem:transaction-unreadable"})
        transaction_hash = "0x" + keccak256(bytes.fromhex(raw[2:])).hex()
        if transaction_hash not in self.transactions:
            sender = str(Account.recover_transaction(raw))
            nonce = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["nonce"]
            kept = [entry["nonce"] for entry in self.transactions.values() if entry["sender"] == sender]
            assert nonce == len(kept), "a nonce is left out or used twice"
            self.transactions[transaction_hash] = {"sender": sender, "nonce": nonce, "state": "signed"}
            self.journal.append("transaction")
        return self._transaction(transaction_hash, 202)

    def _transaction(self, transaction_hash: str, status: int = 200) -> httpx.Response:
        entry = self.transactions.get(transaction_hash)
        if entry is None:
            return httpx.Response(404, json={"type": "urn:gridledger:problem:transaction-unknown"})
        document = {"transaction_hash": transaction_hash, "state": entry["state"], "error": entry.get("error")}
        return httpx.Response(status, json=document)


def _results(results: Iterable[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(200, json={"results": list(results)})
