"""Plays a run: brings the community in, then moves the node's clock from step to step, posting as time passes.

Everything goes through the public API; only the clock is moved by the node's handle. All posts are idempotent and
follow from the plan alone, so a player continues where an earlier one, or a killed node, has stopped.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import httpx
from eth_account.signers.local import LocalAccount

from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.errors import Conflict, Unavailable
from gridledger.simulation.agents import MemberAgent, OrderWindow, order_body
from gridledger.simulation.community import Community, form_community
from gridledger.simulation.devices import MeterDevice
from gridledger.simulation.gateways import limited_readings
from gridledger.simulation.inputs import HourlySeries, MeterSpec, ReadingsFile
from gridledger.simulation.node_client import MarketFacts, NodeClient, NodeHandle
from gridledger.simulation.onboarding import Parties, join
from gridledger.simulation.operator import DispatchListener
from gridledger.simulation.oracle import Oracle, origin_counts
from gridledger.simulation.timeline import Step, StepKind, genesis_time_s, must_repeat, timeline
from gridledger.simulation.transactions import ContractCalls, include
from gridledger.units import format_utc

__all__ = [
    "AnswerMissing",
    "MarketUnsuitable",
    "NodeHandle",
    "OnProgress",
    "Played",
    "Player",
    "ReplayPlan",
    "genesis_time_s",
]

ITEMS_PER_POST = 250
READINGS_SETTLE_S = 10  # after readings were posted, so that they are anchored and settled
ANSWERS_SETTLE_S = 20  # after the gate, so that dispatch answers are recorded before the MTU begins
LAST_SETTLE_S = 200  # after the last MTU; longer than the node waits for meters that stay silent
LONGEST_ANSWER_WAIT_S = 60.0
ANSWER_POLL_S = 1.0
LISTENER_READ_TIMEOUT_S = 1.0
REFUSED_EARLIER = "refused-before-this-run-was-continued"

OnProgress = Callable[[int, int, str], None]
Item = TypeVar("Item")


@dataclass(kw_only=True, eq=False)
class MarketUnsuitable(Conflict):
    """The node's market is not the one this run is for."""

    field: str
    expected: str
    found: str


@dataclass(kw_only=True, eq=False)
class AnswerMissing(Unavailable):
    """The grid operator's answer to a schedule did not reach the node."""

    zone: int
    mtu_start: int
    waited_s: float


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """What is played: readings of a period, the meters they belong to, prices and grid factors where files are given.

    `limit_kw`: what each zone's transformer carries, above which the grid operator curtails; `gate_closure_s`: the
    policy's.
    """

    readings: ReadingsFile
    meters: tuple[MeterSpec, ...]
    prices: HourlySeries | None
    carbon: HourlySeries | None
    seed: int
    limit_kw: int | None
    gate_closure_s: int


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a run did. Refusals by problem code; origins say how many MTUs took their value from where in the file."""

    mtus: int
    orders_made: int
    orders_refused: Mapping[str, int]
    readings_made: int
    readings_refused: Mapping[str, int]
    price_origins: Mapping[str, int]
    carbon_origins: Mapping[str, int]


class Player:
    """Plays one plan on one node. `keys` holds at least grid_operator, bank, supplier and oracle."""

    def __init__(
        self,
        plan: ReplayPlan,
        node: NodeHandle,
        keys: Mapping[str, LocalAccount],
        on_progress: OnProgress,
        *,
        transport: httpx.BaseTransport | None = None,
        artifacts: Artifacts | None = None,
    ) -> None:
        self._plan = plan
        self._handle = node
        self._keys = keys
        self._on_progress = on_progress
        self._transport = transport
        self._artifacts = artifacts
        self._turn = threading.Lock()
        self._node = NodeClient(node, transport=transport, turn=self._turn)
        self._mtus_done = 0
        self._orders_made = self._readings_made = 0
        self._orders_refused: Counter[str] = Counter()
        self._readings_refused: Counter[str] = Counter()

    def play(self) -> Played:
        """Play from wherever the node stands to the end; returns totals of the whole run.

        Raises SeriesNotCovering, CapacityTooLarge, MarketUnsuitable, RequestRefused, TransactionFailed,
        TransactionsStuck, AnswerMissing; whatever the handle raises when the node cannot be started again.
        """
        plan, mtu_starts = self._plan, self._plan.readings.mtu_starts
        price_origins = origin_counts(plan.prices, mtu_starts)
        carbon_origins = origin_counts(plan.carbon, mtu_starts)
        try:
            self._join()
            with self._listening() as listener:
                self._play_steps(listener)
            if mtu_starts:
                self._node.advance(mtu_starts[-1] + plan.readings.mtu_length_s + LAST_SETTLE_S)
            self._count_earlier_refusals()
        finally:
            self._node.close()
        return Played(
            mtus=len(mtu_starts),
            orders_made=self._orders_made,
            orders_refused=dict(sorted(self._orders_refused.items())),
            readings_made=self._readings_made,
            readings_refused=dict(sorted(self._readings_refused.items())),
            price_origins=price_origins,
            carbon_origins=carbon_origins,
        )

    @cached_property
    def _facts(self) -> MarketFacts:
        facts = self._node.market()
        _require("mtu_length_s", self._plan.readings.mtu_length_s, facts.mtu_length_s)
        for role in ("grid_operator", "bank", "supplier", "oracle"):
            _require(role, self._keys[role].address, facts.accounts.get(role))
        for zone in sorted({spec.zone for spec in self._plan.meters}):
            _require(
                f"grid operator of zone {zone}", self._keys["grid_operator"].address, facts.grid_operators.get(zone)
            )
        return facts

    @cached_property
    def _calls(self) -> ContractCalls:
        return ContractCalls(self._artifacts or load_artifacts(), self._facts.contracts)

    @cached_property
    def _community(self) -> Community:
        return form_community(self._plan.meters, self._plan.seed)

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return timeline(
            self._plan.readings.mtu_starts,
            mtu_length_s=self._plan.readings.mtu_length_s,
            gate_closure_s=self._plan.gate_closure_s,
            with_oracle=self._plan.prices is not None or self._plan.carbon is not None,
        )

    @cached_property
    def _devices(self) -> Mapping[str, MeterDevice]:
        length_s = self._plan.readings.mtu_length_s
        return {meter.spec.meter_id: MeterDevice(meter, length_s) for meter in self._community.meters}

    @cached_property
    def _agents(self) -> tuple[MemberAgent, ...]:
        return tuple(
            MemberAgent(
                member,
                seed=self._plan.seed,
                domain=self._facts.order_domain,
                mtu_length_s=self._plan.readings.mtu_length_s,
            )
            for member in self._community.members
        )

    @cached_property
    def _agent_of(self) -> Mapping[str, tuple[int, MemberAgent]]:
        """Number and agent of each meter, by meter_id."""
        return {
            meter.spec.meter_id: (meter.number, agent)
            for member, agent in zip(self._community.members, self._agents, strict=True)
            for meter in member.meters
        }

    @cached_property
    def _oracle(self) -> Oracle:
        return Oracle(
            prices=self._plan.prices,
            carbon=self._plan.carbon,
            mtu_length_s=self._plan.readings.mtu_length_s,
            account=self._keys["oracle"],
            calls=self._calls,
            chain_id=self._facts.chain_id,
            steps=self._steps,
        )

    def _join(self) -> None:
        if not self._community.members:
            return
        self._report(f"{len(self._community.members)} members join")
        parties = Parties(
            grid_operator=self._keys["grid_operator"], bank=self._keys["bank"], supplier=self._keys["supplier"]
        )
        first_gate_s = self._plan.readings.mtu_starts[0] - self._plan.gate_closure_s
        join(self._node, self._community, parties, self._calls, self._facts, first_gate_s)

    @contextmanager
    def _listening(self) -> Iterator[DispatchListener]:
        """The grid operator at work in a thread of its own."""
        listener = DispatchListener(
            self._handle.base_url,
            key=self._keys["grid_operator"],
            limit_kw=self._plan.limit_kw,
            on_event=lambda _: None,
            turn=self._turn,
            transport=self._transport,
            read_timeout_s=LISTENER_READ_TIMEOUT_S,
        )
        stop_event = threading.Event()
        thread = threading.Thread(target=listener.run, args=(stop_event,), name="grid operator", daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            stop_event.set()
            thread.join(timeout=5 * LISTENER_READ_TIMEOUT_S)

    def _play_steps(self, listener: DispatchListener) -> None:
        now = self._facts.now
        for step in self._steps:
            repeat = must_repeat(step, now, self._plan.readings.mtu_length_s)
            match step.kind:
                case StepKind.ORACLE_POSTS:
                    if repeat:
                        self._node.advance(step.time_s)
                        include(self._node, self._oracle.transactions(step), step.time_s)
                case StepKind.ORDERS_POSTED:
                    self._post_orders(step, repeat=repeat)
                case StepKind.GATE_CLOSES:
                    if repeat:
                        self._close_gate(step, listener)
                case StepKind.READINGS_POSTED:
                    self._post_readings(step, repeat=repeat)

    def _post_orders(self, step: Step, *, repeat: bool) -> None:
        if not repeat:
            self._orders_made += sum(agent.order_count() for agent in self._agents)
            return
        self._node.advance(step.time_s)
        floor, cap = self._node.price_bounds(step.mtu_start)
        window = OrderWindow(mtu_start=step.mtu_start, floor_cents_per_mwh=floor, cap_cents_per_mwh=cap)
        signed = sorted(
            (order for agent in self._agents for order in agent.orders(window)), key=lambda item: item.order.meter
        )
        for chunk in _chunks([order_body(item) for item in signed]):
            self._orders_refused.update(code for code in self._node.post_orders(chunk) if code is not None)
        self._orders_made += len(signed)

    def _close_gate(self, step: Step, listener: DispatchListener) -> None:
        """Let the node close the gate and clear, wait for the operator's answers, let the node record them."""
        self._node.advance(step.time_s)
        started = time.monotonic()
        while pending := self._node.pending_schedules():
            waited_s = time.monotonic() - started
            if waited_s > LONGEST_ANSWER_WAIT_S:
                raise AnswerMissing(zone=pending[0][0], mtu_start=pending[0][1], waited_s=round(waited_s, 1))
            listener.wait_until_answered(pending, ANSWER_POLL_S)
        self._node.advance(step.time_s + ANSWERS_SETTLE_S)

    def _post_readings(self, step: Step, *, repeat: bool) -> None:
        readings = self._plan.readings.at(step.mtu_start)
        if repeat:
            self._node.advance(step.time_s)
            measured = readings
            if self._plan.limit_kw is not None:
                measured = limited_readings(self._node, self._community, step.mtu_start, readings)
            for chunk in _chunks(measured):
                texts = [self._devices[reading.meter_id].sign(reading) for reading in chunk]
                self._readings_refused.update(code for code in self._node.post_readings(texts) if code is not None)
            self._node.advance(step.time_s + READINGS_SETTLE_S)
        for reading in readings:
            number, agent = self._agent_of[reading.meter_id]
            agent.learn(number, reading)
        self._readings_made += len(readings)
        self._mtus_done += 1
        self._report(format_utc(step.mtu_start))

    def _count_earlier_refusals(self) -> None:
        """Orders an earlier player made and the node refused: known by number only."""
        refused = self._orders_made - self._node.accepted_order_count()
        if refused > (noted := self._orders_refused.total()):
            self._orders_refused[REFUSED_EARLIER] = refused - noted

    def _report(self, text: str) -> None:
        self._on_progress(self._mtus_done, len(self._plan.readings.mtu_starts), text)


def _require(field: str, expected: object, found: object) -> None:
    if expected != found:
        raise MarketUnsuitable(field=field, expected=str(expected), found=str(found))


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for begin in range(0, len(items), ITEMS_PER_POST):
        yield items[begin : begin + ITEMS_PER_POST]
