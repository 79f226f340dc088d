"""Signed orders accepted per second through the HTTP API, against recovering the same signatures in one thread.

Each accepted order has its receipt, signed and on disk, before the answer. Batches have 100 orders, as those of an
aggregator might.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gridledger.app.bench_node import FIRST_MTU_START, GENESIS_S, MEMBERS, MTU_LENGTH_S, SEED, bench_node, post_all_s
from gridledger.market.model import SignedOrder
from gridledger.market.order_hash import OrderDomain, recover_address
from gridledger.simulation.agents import MemberAgent, OrderWindow, order_body
from gridledger.simulation.community import Community
from gridledger.simulation.inputs import MeterReading

__all__ = ["IntakeRates", "measure_intake"]

MTUS, BATCH = 10, 100
WARM_UP_MTUS = 1  # their orders are not counted: a node prepares its routes and statements when they are first used
ENERGY_WH = 500


@dataclass(frozen=True, kw_only=True)
class IntakeRates:
    """Orders per second: accepted by the node with durable receipts, and recovered only."""

    accepted_per_s: float
    recovered_per_s: float


def measure_intake() -> IntakeRates:
    """Post each of 200 owners' orders for ten MTUs to a warm node of its own. Raises BenchFailed."""
    with bench_node(FIRST_MTU_START + (WARM_UP_MTUS + MTUS) * MTU_LENGTH_S) as node:
        orders = _orders(node.community, node.facts.order_domain)
        warm_up, orders = orders[: MEMBERS * WARM_UP_MTUS], orders[MEMBERS * WARM_UP_MTUS :]
        _post_s(node.base_url, warm_up)
        recover_s = _recover_s(orders)
        post_s = _post_s(node.base_url, orders)
        recover_s = (recover_s + _recover_s(orders)) / 2  # before and after, as other work slows machines down
        return IntakeRates(accepted_per_s=len(orders) / post_s, recovered_per_s=len(orders) / recover_s)


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
    return post_all_s(base_url, "/v1/orders/batch", batches, lambda result: result["status"] == 201)


def _recover_s(orders: Sequence[SignedOrder]) -> float:
    digests = [(bytes.fromhex(order.uid[2:]), order.signature) for order in orders]
    started = time.perf_counter()
    for digest, signature in digests:
        recover_address(digest, signature)
    return time.perf_counter() - started
