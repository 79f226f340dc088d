"""The run's way to the node: its public API over HTTP and, for the clock alone, the handle of whoever runs it.

Every request may be repeated, so a node that was killed is started again and asked again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import httpx
from eth_account.signers.local import LocalAccount
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_exponential

from gridledger.dispatch.model import DispatchDomain
from gridledger.errors import Conflict, Unavailable
from gridledger.market.order_hash import OrderDomain
from gridledger.simulation.session import signed_in

__all__ = [
    "MarketFacts",
    "NodeClient",
    "NodeFailing",
    "NodeHandle",
    "NotANode",
    "RequestRefused",
    "SessionsRefused",
    "TransactionStatus",
    "market_facts",
    "problem_code",
    "read_market",
    "require_success",
]

LONGEST_ANSWER_S = 120.0
_SIGN_INS = 2  # a session ends after some hours
MOST_STARTS = 5
PROBLEM_PREFIX = "urn:gridledger:problem:"
Answer = TypeVar("Answer")


@dataclass(kw_only=True, eq=False)
class NodeFailing(Unavailable):
    """The node answers, but cannot do what it is asked."""

    request: str
    status: int
    problem: str


@dataclass(kw_only=True, eq=False)
class RequestRefused(Conflict):
    """The node refused a request."""

    request: str
    status: int
    problem: str
    explanation: str


@dataclass(kw_only=True, eq=False)
class SessionsRefused(Conflict):
    """The node takes none of the sessions it has opened."""

    account: str


@dataclass(kw_only=True, eq=False)
class NotANode(Unavailable):
    """What answers there is no node of this market's kind."""

    url: str


class NodeHandle(Protocol):
    """A node with a simulated clock, as whoever runs it hands it to a player."""

    @property
    def base_url(self) -> str:
        """Where the API listens, without a final slash; it may change when the node is started again."""

    def advance(self, moment: int) -> int:
        """Move the clock to a Unix second, never back; the node does all that is due. Returns the present time."""

    def ensure_running(self) -> None:
        """Start the node again if it has died."""


@dataclass(frozen=True, kw_only=True)
class MarketFacts:
    """What `GET /v1/market` says, as far as a run needs it; `accounts` and `contracts` are addresses by name."""

    chain_id: int
    mtu_length_s: int
    now: int
    accounts: Mapping[str, str]
    contracts: Mapping[str, str]
    grid_operators: Mapping[int, str]

    @property
    def order_domain(self) -> OrderDomain:
        """Where orders are valid."""
        return OrderDomain(chain_id=self.chain_id, trading_contract=self.contracts["EnergyTrading"])

    @property
    def dispatch_domain(self) -> DispatchDomain:
        """Where answers to schedules are valid."""
        return DispatchDomain(chain_id=self.chain_id, dispatching_contract=self.contracts["EnergyDispatching"])


@dataclass(frozen=True, kw_only=True)
class TransactionStatus:
    """Where a relayed transaction stands: `state` is signed, mined, reverted or rejected."""

    transaction_hash: str
    state: str
    error: str | None


class NodeClient:
    """Typed requests to one node. `turn` is held while the clock moves, so that others can wait for their turn."""

    def __init__(
        self,
        node: NodeHandle,
        *,
        transport: httpx.BaseTransport | None = None,
        patience_s: float = 90.0,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        self._node = node
        self._http = httpx.Client(timeout=LONGEST_ANSWER_S, trust_env=False, transport=transport)
        self._patience_s = patience_s
        self._turn = nullcontext() if turn is None else turn
        self._sessions: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def advance(self, moment: int) -> int:
        """Move the node's clock to a Unix second; returns its present time. Raises Unavailable when patience ends."""
        with self._turn:
            return self._persistently(lambda: self._node.advance(moment))

    def market(self) -> MarketFacts:
        """The market's facts and the node's present time."""
        return market_facts(self._request("GET", "/v1/market"))

    def price_bounds(self, mtu_start: int) -> tuple[int, int]:
        """Floor and cap of an MTU, cents per MWh."""
        prices = self._request("GET", f"/v1/market/prices/{mtu_start}")
        return prices["floor_cents_per_mwh"], prices["cap_cents_per_mwh"]

    def accepted_order_count(self) -> int:
        """How many orders the node has accepted since its first block."""
        return int(self._request("GET", "/v1/market/summary")["orders"])

    def post_orders(self, orders: Sequence[Mapping[str, str | int]]) -> tuple[str | None, ...]:
        """Post a batch; the code of the problem of each order that was refused, None for an accepted one."""
        results = self._request("POST", "/v1/orders/batch", {"orders": list(orders)})["results"]
        return tuple(problem_code(result.get("problem")) for result in results)

    def post_readings(self, texts: Sequence[str]) -> tuple[str | None, ...]:
        """Post signed readings; the code of the problem of each that was refused, None for an accepted one."""
        results = self._request("POST", "/v1/readings", {"readings": list(texts)})["results"]
        return tuple(problem_code(result.get("problem")) for result in results)

    def post_transaction(self, raw: str) -> TransactionStatus:
        """Have a signed transaction (0x hex) relayed; the same bytes again change nothing. Raises RequestRefused."""
        return _status(self._request("POST", "/v1/transactions", {"raw_transaction": raw}))

    def transaction(self, transaction_hash: str) -> TransactionStatus | None:
        """Where a transaction stands, None if the node does not know it."""
        try:
            return _status(self._request("GET", f"/v1/transactions/{transaction_hash}"))
        except RequestRefused as refused:
            if refused.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def pending_schedules(self) -> tuple[tuple[int, int], ...]:
        """(zone, mtu_start) of the schedules that wait for the grid operator's answer."""
        schedules = self._request("GET", "/v1/dispatch/schedules")["schedules"]
        return tuple((schedule["zone"], schedule["mtu_start"]) for schedule in schedules)

    def export_limit_wh(self, account: LocalAccount, meter: int, mtu_start: int) -> int | None:
        """The most net export of one of the account's meters in an MTU, Wh; None: not limited."""
        path = f"/v1/dispatch/limits?meter={meter}&first_mtu_start={mtu_start}"
        address = str(account.address)
        for _ in range(_SIGN_INS):
            if address not in self._sessions:
                self._sessions[address] = signed_in(
                    lambda to, body: self._request("POST", to, body), account, "Read how far my meters may go."
                )
            try:
                limits = self._request("GET", path, headers=self._sessions[address])["limits"]
                return limits[0]["export_wh"]  # type: ignore[no-any-return]
            except RequestRefused as refused:
                if refused.status != httpx.codes.UNAUTHORIZED:
                    raise
                del self._sessions[address]
        raise SessionsRefused(account=address)

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        def ask() -> Any:
            response = self._http.request(method, self._node.base_url + path, json=body, headers=headers)
            return require_success(response).json()

        return self._persistently(ask)

    def _persistently(self, action: Callable[[], Answer]) -> Answer:
        """Repeat an action while the node is away, and start the node if it died. Raises the last failure."""
        retrying = Retrying(
            retry=retry_if_exception_type((httpx.TransportError, Unavailable)),
            stop=stop_after_delay(self._patience_s),
            wait=wait_exponential(multiplier=0.05, max=2),
            before_sleep=lambda _: self._revive(),
            reraise=True,
        )
        return retrying(action)

    def _revive(self) -> None:
        """Start the node if it died; it may be killed while it starts, too."""
        starts = Retrying(
            retry=retry_if_exception_type(Unavailable), stop=stop_after_attempt(MOST_STARTS), reraise=True
        )
        starts(self._node.ensure_running)


def require_success(response: httpx.Response) -> httpx.Response:
    """The response if its status is a success. Raises NodeFailing (5xx), RequestRefused."""
    if response.is_success:
        return response
    try:
        document = response.json()
    except ValueError:
        document = {}
    request = f"{response.request.method} {response.request.url.path}"
    problem = problem_code(document) or "about:blank"
    if response.is_server_error:
        raise NodeFailing(request=request, status=response.status_code, problem=problem)
    explanation = str(document.get("detail", response.reason_phrase))
    raise RequestRefused(request=request, status=response.status_code, problem=problem, explanation=explanation)


def problem_code(document: Mapping[str, Any] | None) -> str | None:
    """Stable name of a problem document, e.g. gate-closed; None without a problem."""
    return str(document.get("type", "")).removeprefix(PROBLEM_PREFIX) if document else None


def market_facts(document: Mapping[str, Any]) -> MarketFacts:
    """Read the answer of `GET /v1/market`."""
    return MarketFacts(
        chain_id=document["chain_id"],
        mtu_length_s=document["mtu_length_s"],
        now=document["now"],
        accounts=document["accounts"],
        contracts=document["contracts"],
        grid_operators={entry["zone"]: entry["grid_operator"] for entry in document["zones"]},
    )


def read_market(client: httpx.Client) -> MarketFacts:
    """The market of the node that a client's base URL names. Raises NotANode, NodeFailing, RequestRefused."""
    response = require_success(client.get("/v1/market"))
    try:
        return market_facts(response.json())
    except (ValueError, KeyError, TypeError):
        raise NotANode(url=str(client.base_url)) from None


def _status(document: Mapping[str, Any]) -> TransactionStatus:
    return TransactionStatus(
        transaction_hash=document["transaction_hash"], state=document["state"], error=document["error"]
    )
