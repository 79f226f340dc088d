"""A small but complete market run through the node's HTTP API, with everything an audit can meet.

Eight quarter-hours in zone 1: one fully matched, one without a match, one stopped, one that ends in a debt, one
unanswered, one with a late reading and an order that can no longer be funded, one with two products, a direct deal and
a pegged order, one with a dead meter. Along the way: cancelled orders, single and in bulk, on chain and not, standing
orders, a debt that is partly paid, a withdrawal, a posted feed-in price, a published grid factor, a new device key,
a retired token. Zone 2 has one meter and is halted once.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import uvicorn
from tests.audit.market_desk import BAKERY, ENGINE, HOUSEHOLD, LENGTH_S, OFFICE, PRODUCER, WORKSHOP, Day

from gridledger.app.market_folder import create_market
from gridledger.app.node import Node, NodeFolder
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.keys import account_from_seed
from gridledger.chain.plan import PolicyParameters
from gridledger.dispatch.setpoints import Direction
from gridledger.market.model import Pricing, Product, Side
from gridledger.simulation.community import form_community
from gridledger.simulation.input_meters import MeterSpec
from gridledger.simulation.node_client import NodeClient
from gridledger.simulation.onboarding import Parties, join
from gridledger.simulation.transactions import ContractCalls
from gridledger.units import MICROCENTS_PER_EUR

__all__ = ["FIRST", "LENGTH_S", "play"]

SEED = 11
FIRST = 1465776000  # 2016-06-13T00:00:00Z
GENESIS = FIRST - 25 * 3600  # time enough for what is requested at the beginning
GATE_S = 300
FULL, UNMATCHED, STOPPED, INDEBTED, UNANSWERED, LATE = (FIRST + index * LENGTH_S for index in range(6))
PRODUCTS, DEAD = FIRST + 8 * LENGTH_S, FIRST + 9 * LENGTH_S
CAPPED = PRODUCTS + 24 * 3600
POLICY = PolicyParameters(substitute_after_s=1_800, correction_s=86_400)
BAKERY_KEEPS_MICROCENTS = 50_000_000  # what it asks to have paid out is all the rest of its money


def play(folder: Path) -> None:
    """Play the day in a new data folder; the node is stopped afterwards."""
    create_market(folder, mtu_length_s=LENGTH_S, zones=(1, 2), genesis_time_s=GENESIS, policy=POLICY, seed=SEED)
    with _running(folder) as day:
        for part in (_first_hour, _stopped, _indebted, _unanswered, _late, _products, _dead, _afterwards, _capped):
            part(day)


def _first_hour(day: Day) -> None:
    """One MTU fully matched, with a cancelled order; one without a match. The bakery's money is asked back."""
    bakery = day.member(BAKERY).account
    free = int(day.http.get(f"/v1/participants/{bakery.address}").raise_for_status().json()["free_microcents"])
    day.transact(bakery, 1, "EnergyTrading", "requestWithdrawal", free - BAKERY_KEEPS_MICROCENTS)
    day.transact(day.keys["supplier"], 3, "EnergyTrading", "setCredit", [bakery.address], [0])
    day.advance(FULL - 1800)
    day.transact(day.keys["oracle"], 0, "CarbonLedger", "publishGridFactors", FULL, [412_000], b"\x07" * 32)
    day.order(PRODUCER, Side.SELL, 500, 10_000, FULL)
    day.order(PRODUCER, Side.SELL, 200, 12_000, FULL)
    day.order(HOUSEHOLD, Side.BUY, 300, 25_000, FULL)
    withdrawn = day.order(HOUSEHOLD, Side.BUY, 100, 22_000, FULL)
    day.order(BAKERY, Side.BUY, 350, 20_000, FULL)
    day.order(WORKSHOP, Side.SELL, 90, 30_000, FULL)
    day.cancel(HOUSEHOLD, withdrawn)
    day.advance(FULL - GATE_S)
    day.acknowledge(FULL)
    day.order(PRODUCER, Side.SELL, 400, 30_000, UNMATCHED)
    day.order(HOUSEHOLD, Side.BUY, 400, 9_000, UNMATCHED)
    day.advance(UNMATCHED - GATE_S)
    day.order(PRODUCER, Side.SELL, 250, 9_999, STOPPED)
    day.order(BAKERY, Side.BUY, 240, 31_000, STOPPED)
    day.advance(FULL + LENGTH_S)
    day.read(FULL, {PRODUCER: 640, HOUSEHOLD: -310, BAKERY: -200, WORKSHOP: 5})


def _stopped(day: Day) -> None:
    """A stopped MTU; meanwhile the household's meter is exchanged and the bakery takes money out."""
    new_key = day.device(HOUSEHOLD, exchanged=True).public_key
    day.transact(
        day.keys["grid_operator"], 2, "ParticipantRegistry", "replaceDeviceKey", HOUSEHOLD, new_key.x, new_key.y
    )
    day.advance(STOPPED - GATE_S)
    day.stop(STOPPED, 3)
    day.advance(STOPPED)
    day.read(UNMATCHED, {PRODUCER: 380, HOUSEHOLD: -90, BAKERY: -100, WORKSHOP: 0}, exchanged=True)
    bakery = day.member(BAKERY).account
    day.transact(bakery, 2, "EnergyTrading", "withdraw")
    day.transact(bakery, 3, "EnergyTrading", "applyCreditCut", bakery.address)
    day.transact(day.keys["oracle"], 1, "GridPolicy", "postFeedIn", INDEBTED, [6_000])


def _indebted(day: Day) -> None:
    """The bakery draws far more than it bought and cannot pay; its next order is accepted before that shows."""
    day.order(BAKERY, Side.BUY, 150, 20_000, INDEBTED)
    day.order(PRODUCER, Side.SELL, 170, 7_000, INDEBTED)
    day.order(BAKERY, Side.BUY, 200, 20_000, LATE)
    day.advance(INDEBTED - GATE_S)
    day.acknowledge(INDEBTED)
    day.advance(INDEBTED)
    day.read(STOPPED, {PRODUCER: 260, HOUSEHOLD: -120, BAKERY: -230, WORKSHOP: 0}, exchanged=True)
    day.order(PRODUCER, Side.SELL, 300, 11_000, UNANSWERED)
    day.order(HOUSEHOLD, Side.BUY, 280, 26_000, UNANSWERED)
    withdrawn = day.order(HOUSEHOLD, Side.BUY, 50, 27_000, UNANSWERED)
    day.transact(day.member(HOUSEHOLD).account, 1, "EnergyTrading", "cancel", bytes.fromhex(withdrawn.uid[2:]))
    day.order(WORKSHOP, Side.SELL, 60, 20_000, UNANSWERED)
    day.transact(day.keys["regulator"], 0, "GridPolicy", "setHalted", 2, True)
    day.advance(UNANSWERED - GATE_S)
    day.transact(day.keys["regulator"], 0, "GridPolicy", "setHalted", 2, False)


def _unanswered(day: Day) -> None:
    """Nobody answers a schedule, so it proceeds by the regulator's default."""
    day.advance(UNANSWERED)
    day.read(INDEBTED, {PRODUCER: 165, HOUSEHOLD: -75, BAKERY: -20_000, WORKSHOP: 0}, exchanged=True)
    day.advance(UNANSWERED + 1)
    day.order(PRODUCER, Side.SELL, 320, 10_500, LATE)
    day.order(HOUSEHOLD, Side.BUY, 310, 24_000, LATE)
    day.advance(LATE - GATE_S)
    day.acknowledge(LATE)
    day.advance(LATE)
    day.read(UNANSWERED, {PRODUCER: 290, HOUSEHOLD: -281, BAKERY: -10, WORKSHOP: 12}, exchanged=True)


def _late(day: Day) -> None:
    """One reading comes after the others have been anchored and settled."""
    day.advance(LATE + LENGTH_S)
    day.read(LATE, {PRODUCER: 333, BAKERY: -15, WORKSHOP: 1})
    day.advance(LATE + LENGTH_S + 300)
    day.read(LATE, {HOUSEHOLD: -317}, exchanged=True)
    day.advance(LATE + LENGTH_S + 301)


def _products(day: Day) -> None:
    """Low-carbon bids exceed low-carbon offers; part of an offer is dealt directly; standing orders are withdrawn."""
    day.advance(PRODUCTS - 1_500)
    on_chain = day.order(HOUSEHOLD, Side.BUY, 70, 12_000, PRODUCTS, last_mtu_start=DEAD)
    day.transact(day.member(HOUSEHOLD).account, 1, "EnergyTrading", "cancelUpTo", on_chain.order.salt)
    offer = day.order(ENGINE, Side.SELL, 400, 9_000, PRODUCTS)
    day.accept(OFFICE, offer, 100, PRODUCTS)
    day.order(PRODUCER, Side.SELL, 200, 8_500, PRODUCTS, pricing=Pricing.PEGGED)
    day.order(HOUSEHOLD, Side.BUY, 260, 26_000, PRODUCTS, product=Product.LOW_CARBON)
    standing = day.order(OFFICE, Side.BUY, 120, 21_000, PRODUCTS, last_mtu_start=DEAD + 4 * LENGTH_S)
    extra = day.order(OFFICE, Side.BUY, 15, 14_000, PRODUCTS, last_mtu_start=DEAD)
    day.advance(PRODUCTS - 400)
    day.cancel(OFFICE, extra)
    day.advance(PRODUCTS - GATE_S)
    day.acknowledge(PRODUCTS)
    day.advance(DEAD - 600)
    day.order(PRODUCER, Side.SELL, 110, 10_000, DEAD)
    day.order(HOUSEHOLD, Side.BUY, 40, 22_000, DEAD)
    day.advance(DEAD - GATE_S)
    day.acknowledge(DEAD)
    day.advance(DEAD - GATE_S + 100)
    day.cancel_up_to(OFFICE, standing.order.salt)


def _dead(day: Day) -> None:
    """The household's meter stays silent, so its position settles on a substitute."""
    day.advance(DEAD)
    metered = {PRODUCER: 195, HOUSEHOLD: -240, BAKERY: -1, WORKSHOP: 3, ENGINE: 380, OFFICE: -222}
    day.read(PRODUCTS, metered, exchanged=True)
    day.advance(DEAD + LENGTH_S)
    day.read(DEAD, {PRODUCER: 120, BAKERY: -1, WORKSHOP: 3, ENGINE: 1, OFFICE: -70}, exchanged=True)
    day.advance(DEAD + LENGTH_S + 300)
    day.advance(DEAD + LENGTH_S + 1_800)


def _afterwards(day: Day) -> None:
    """Part of the debt is paid, a token is retired, and nothing is left to do."""
    bakery, trading = day.member(BAKERY).account, day.calls.addresses["EnergyTrading"]
    day.transact(day.keys["bank"], 1, "SettlementToken", "issue", [bakery.address], [MICROCENTS_PER_EUR])
    day.transact(bakery, 2, "SettlementToken", "approve", trading, MICROCENTS_PER_EUR)
    day.transact(bakery, 3, "EnergyTrading", "payDebt", day.keys["supplier"].address, MICROCENTS_PER_EUR // 2)
    producer = day.member(PRODUCER).account
    day.transact(producer, 1, "LowCarbonToken", "retire", 1_000, "the producer", "2016 report")
    day.advance(DEAD + 6 * LENGTH_S)


def _capped(day: Day) -> None:
    """One day later the turbine is switched off and the roof capped; what is forecast is what was beyond contracts."""
    day.advance(CAPPED - 1_500)
    offer = day.order(ENGINE, Side.SELL, 400, 9_000, CAPPED)
    day.accept(OFFICE, offer, 100, CAPPED)
    day.order(PRODUCER, Side.SELL, 200, 10_500, CAPPED)
    day.order(HOUSEHOLD, Side.BUY, 160, 26_000, CAPPED, product=Product.LOW_CARBON)
    day.order(OFFICE, Side.BUY, 120, 21_000, CAPPED)
    day.advance(CAPPED - GATE_S)
    day.curtail(CAPPED, Direction.EXPORT, {PRODUCER: 90, ENGINE: 0})
    day.advance(CAPPED + LENGTH_S)
    metered = {PRODUCER: 88, HOUSEHOLD: -170, BAKERY: -1, WORKSHOP: 3, ENGINE: 1, OFFICE: -201}
    day.read(CAPPED, metered, exchanged=True)
    for waited_s in (300, 301, 302, 6 * LENGTH_S):
        day.advance(CAPPED + LENGTH_S + waited_s)


@contextmanager
def _running(folder: Path) -> Iterator[Day]:
    """A node behind HTTP with its members joined."""
    with ExitStack() as stack:
        node = Node(NodeFolder(folder), simulated=True)
        node.start()
        stack.callback(node.close)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        handle = _Handle(node, f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(node.application, log_level="warning", lifespan="off", ws="none", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http")
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, server, "should_exit", True)
        client = stack.enter_context(closing(NodeClient(handle)))
        http = stack.enter_context(httpx.Client(base_url=handle.base_url, timeout=60, trust_env=False))
        yield _joined(node, client, http)


def _joined(node: Node, client: NodeClient, http: httpx.Client) -> Day:
    facts = client.market()
    calls = ContractCalls(load_artifacts(), facts.contracts)
    keys = {name: account_from_seed(SEED, name) for name in facts.accounts}
    community = form_community(_METERS, SEED)
    parties = Parties(grid_operator=keys["grid_operator"], bank=keys["bank"], supplier=keys["supplier"])
    join(client, community, parties, calls, facts, deadline_s=DEAD)
    return Day(node=node, client=client, http=http, facts=facts, calls=calls, community=community, keys=keys)


@dataclass(frozen=True)
class _Handle:
    node: Node
    base_url: str

    def advance(self, moment: int) -> int:
        return self.node.advance(moment)

    def ensure_running(self) -> None:
        """The node lives in this process."""


def _meter(meter_id: str, owner: str, zone: int, source: Literal["solar", "none"]) -> MeterSpec:
    return MeterSpec(
        meter_id=meter_id,
        zone=zone,
        owner=owner,
        supplier="supplier",
        source=source,
        import_capacity_w=100_000,
        export_capacity_w=10_000,
    )


_METERS = (
    _meter("1 solar roof", "producer", 1, "solar"),
    _meter("2 flat", "household", 1, "none"),
    _meter("3 oven, big", "bakery", 1, "none"),
    _meter("4 lathe", "workshop", 2, "solar"),
    _meter("5 turbine", "engine", 1, "none"),
    _meter("6 office", "office", 1, "none"),
)
