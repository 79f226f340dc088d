"""Signed orders accepted per second through the HTTP API, against recovering the same signatures in one thread.

Each accepted order has its receipt, signed and on disk, before the answer. Batches have 100 orders, as those of an
aggregator might. Two senders post them: one alone leaves the node waiting while it writes and reads its own JSON.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from eth_account.signers.local import LocalAccount

from gridledger.app.bench_gas import BenchFailed
from gridledger.app.market_folder import create_market
from gridledger.app.node_process import NodeProcess
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.keys import ACCOUNT_NAMES, account_from_seed
from gridledger.market.model import SignedOrder
from gridledger.market.order_hash import OrderDomain, recover_address
from gridledger.simulation.agents import MemberAgent, OrderWindow, order_body
from gridledger.simulation.community import Community, form_community
from gridledger.simulation.inputs import MeterReading, MeterSpec
from gridledger.simulation.node_client import NodeClient
from gridledger.simulation.onboarding import Parties, join
from gridledger.simulation.transactions import ContractCalls

__all__ = ["IntakeRates", "measure_intake"]

OWNERS, MTUS, BATCH, SENDERS = 200, 10, 100, 2
WARM_UP_MTUS = 1  # their orders are not counted: a node prepares its routes and statements when they are first used
MTU_LENGTH_S, ZONE, SEED = 900, 1, 7
GENESIS_S, FIRST_MTU_START = 1_800_000_000, 1_800_009_000
ENERGY_WH = 500


@dataclass(frozen=True, kw_only=True)
class IntakeRates:
    """Orders per second: accepted by the node with durable receipts, and recovered only."""

    accepted_per_s: float
    recovered_per_s: float


def measure_intake() -> IntakeRates:
    """Post each of 200 owners' orders for ten MTUs to a warm node of its own. Raises BenchFailed."""
    with tempfile.TemporaryDirectory(prefix="gridledger-") as folder:
        data = Path(folder)
        create_market(data, mtu_length_s=MTU_LENGTH_S, genesis_time_s=GENESIS_S, seed=SEED)
        community = form_community(_specs(), SEED)
        with NodeProcess(data) as node:
            client = NodeClient(node)
            facts = client.market()
            keys: dict[str, LocalAccount] = {name: account_from_seed(SEED, name) for name in ACCOUNT_NAMES}
            parties = Parties(grid_operator=keys["grid_operator"], bank=keys["bank"], supplier=keys["supplier"])
            calls = ContractCalls(load_artifacts(), facts.contracts)
            join(client, community, parties, calls, facts, FIRST_MTU_START + (WARM_UP_MTUS + MTUS) * MTU_LENGTH_S)
            orders = _orders(community, facts.order_domain)
            warm_up, orders = orders[: OWNERS * WARM_UP_MTUS], orders[OWNERS * WARM_UP_MTUS :]
            _post_s(node.base_url, warm_up)
            recover_s = _recover_s(orders)
            post_s = _post_s(node.base_url, orders)
            recover_s = (recover_s + _recover_s(orders)) / 2  # before and after, as other work slows machines down
            return IntakeRates(accepted_per_s=len(orders) / post_s, recovered_per_s=len(orders) / recover_s)


def _specs() -> tuple[MeterSpec, ...]:
    return tuple(
        MeterSpec(
            meter_id=f"bench {number:04}",
            zone=ZONE,
            owner=f"owner {number:04}",
            supplier="supplier",
            source="solar" if number % 2 else "none",
            import_capacity_w=9_000,
            export_capacity_w=9_000,
        )
        for number in range(OWNERS)
    )


def _orders(community: Community, domain: OrderDomain) -> list[SignedOrder]:
    agents = [MemberAgent(member, seed=SEED, domain=domain, mtu_length_s=MTU_LENGTH_S) for member in community.members]
    for number, (agent, member) in enumerate(zip(agents, community.members, strict=True)):
        exports = number % 2 == 1
        reading = MeterReading(
            meter_id=member.meters[0].spec.meter_id,
            mtu_start=GENESIS_S,
            import_wh=0 if exports else ENERGY_WH,
            export_wh=ENERGY_WH if exports else 0,
            consumption_wh=None,
            generation_wh=None,
        )
        agent.learn(member.meters[0].number, reading)
    windows = [
        OrderWindow(
            mtu_start=FIRST_MTU_START + index * MTU_LENGTH_S, floor_cents_per_mwh=8_000, cap_cents_per_mwh=32_000
        )
        for index in range(WARM_UP_MTUS + MTUS)
    ]
    return [order for window in windows for agent in agents for order in agent.orders(window)]


def _post_s(base_url: str, orders: Sequence[SignedOrder]) -> float:
    bodies = [order_body(order) for order in orders]
    batches = [{"orders": bodies[begin : begin + BATCH]} for begin in range(0, len(bodies), BATCH)]
    with httpx.Client(base_url=base_url, timeout=60, trust_env=False) as http, ThreadPoolExecutor(SENDERS) as senders:

        def post(batch: Mapping[str, object]) -> None:
            answer = http.post("/v1/orders/batch", json=batch).raise_for_status()
            if any(result["status"] != 201 for result in answer.json()["results"]):
                raise BenchFailed(step="order intake")

        started = time.perf_counter()
        for _ in senders.map(post, batches):
            pass
        return time.perf_counter() - started


def _recover_s(orders: Sequence[SignedOrder]) -> float:
    digests = [(bytes.fromhex(order.uid[2:]), order.signature) for order in orders]
    started = time.perf_counter()
    for digest, signature in digests:
        recover_address(digest, signature)
    return time.perf_counter() - started
