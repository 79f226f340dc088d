"""A node of its own with 200 members, each with one meter, for the benchmarks of what comes in over HTTP."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from eth_account.signers.local import LocalAccount

from gridledger.app.bench_chain import BenchFailed
from gridledger.app.market_folder import create_market
from gridledger.app.node_process import NodeProcess
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.keys import ACCOUNT_NAMES, account_from_seed
from gridledger.simulation.community import Community, form_community
from gridledger.simulation.inputs import MeterSpec
from gridledger.simulation.node_client import MarketFacts, NodeClient
from gridledger.simulation.onboarding import Parties, join
from gridledger.simulation.transactions import ContractCalls

__all__ = ["FIRST_MTU_START", "GENESIS_S", "MEMBERS", "MTU_LENGTH_S", "SEED", "BenchNode", "bench_node", "post_all_s"]

MEMBERS = 200
MTU_LENGTH_S, ZONE, SEED = 900, 1, 7
GENESIS_S, FIRST_MTU_START = 1_800_000_000, 1_800_009_000
SENDERS = 2  # one alone leaves the node waiting while it writes and reads its own JSON


@dataclass(frozen=True, kw_only=True)
class BenchNode:
    """A running node, its members and what it says of its market."""

    client: NodeClient
    base_url: str
    community: Community
    facts: MarketFacts


@contextlib.contextmanager
def bench_node(deadline_s: int) -> Iterator[BenchNode]:
    """Start a node and let everybody join; `deadline_s`: Unix second until which the members' permits hold."""
    with tempfile.TemporaryDirectory(prefix="gridledger-") as folder:
        data = Path(folder)
        create_market(data, mtu_length_s=MTU_LENGTH_S, genesis_time_s=GENESIS_S, seed=SEED)
        community = form_community(_specs(), SEED)
        with NodeProcess(data) as node:
            client = NodeClient(node)
            facts = client.market()
            keys: dict[str, LocalAccount] = {name: account_from_seed(SEED, name) for name in ACCOUNT_NAMES}
            parties = Parties(grid_operator=keys["grid_operator"], bank=keys["bank"], supplier=keys["supplier"])
            join(client, community, parties, ContractCalls(load_artifacts(), facts.contracts), facts, deadline_s)
            yield BenchNode(client=client, base_url=node.base_url, community=community, facts=facts)


def post_all_s(
    base_url: str,
    path: str,
    batches: Sequence[Mapping[str, object]],
    accepted: Callable[[Mapping[str, object]], bool],
) -> float:
    """Seconds until two senders have had every batch answered. Raises BenchFailed when a result is not `accepted`."""
    headers = {"Content-Type": "application/json"}
    bodies = [json.dumps(batch).encode() for batch in batches]
    with httpx.Client(base_url=base_url, timeout=60, trust_env=False) as http, ThreadPoolExecutor(SENDERS) as senders:

        def post(body: bytes) -> None:
            answer = http.post(path, content=body, headers=headers).raise_for_status()
            if not all(accepted(result) for result in answer.json()["results"]):
                raise BenchFailed(step=f"POST {path}")

        started = time.perf_counter()
        for _ in senders.map(post, bodies):
            pass
        return time.perf_counter() - started


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
        for number in range(MEMBERS)
    )
