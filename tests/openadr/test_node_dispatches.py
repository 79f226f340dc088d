"""Over a real node: what the grid operator does on chain, OpenADR clients read as the standard's events."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.running import (
    BUY_METER,
    BUYER,
    GATE_CLOSURE_S,
    MTU_LENGTH_S,
    MTU_START,
    SELL_METER,
    ZONE,
    Onboarded,
    RunningNode,
    key,
    make_onboarded,
    served,
)
from tests.dispatch.demands import DAY_S, a_demand, demand_body
from tests.mqtt.broker import wait_until

from gridledger.app.node import NodeFolder
from gridledger.app.openadr_clients import add_openadr_client
from gridledger.app.settings import NodeSettings
from gridledger.dispatch.demand_response import DemandDirection, demand_id
from gridledger.dispatch.setpoints import Direction
from gridledger.openadr.application import BASE_PATH

LOGIC, OPERATOR, SELLERS, BUYERS = "logic", "operator", "gateway1", "gateway2"
TARGETS = {OPERATOR: f"grid-operator-zone-{ZONE}", SELLERS: f"meter-{SELL_METER}", BUYERS: f"meter-{BUY_METER}"}
GRID, METERS, DEMANDS = "grid-dispatch-zone-1", "meter-dispatch-zone-1", "demand-response-zone-1"
LIMIT_W = 6_000
Document = dict[str, Any]


@dataclass
class Vtn:
    """A market and its OpenADR clients."""

    node: RunningNode
    secrets: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)

    def ask(self, client: str, method: str, path: str, **more: Any) -> Any:
        """A good answer's content."""
        if client not in self.tokens:
            form = {"grant_type": "client_credentials", "client_id": client, "client_secret": self.secrets[client]}
            self.tokens[client] = self.node.http.post(BASE_PATH + "/auth/token", data=form).json()["access_token"]
        headers = {"Authorization": f"Bearer {self.tokens[client]}"}
        answer: httpx.Response = self.node.http.request(method, BASE_PATH + path, headers=headers, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def events(self, client: str, program: str) -> list[Document]:
        """The program's events as a client sees them, the oldest first."""
        programs = {one["programName"]: one["id"] for one in self.ask(client, "GET", "/programs")}
        found: list[Document] = self.ask(client, "GET", "/events", params={"programID": programs.get(program, "none")})
        return found

    def state(self) -> str | None:
        """What the newest event of the zone's program says."""
        told = self.events(OPERATOR, GRID)
        return str(values(told[-1])["GRIDLEDGER_STATE"]) if told else None

    def told(self, state: str) -> None:
        """Wait until a dispatch is told as being in a state."""
        wait_until(lambda: self.state() == state)

    def own(self, client: str) -> Document:
        """What a gateway's only own event says."""
        (event,) = [one for one in self.events(client, METERS) if one.get("targets")]
        assert event["targets"] == [TARGETS[client]]
        return values(event)


def values(event: Document, interval: int = 0) -> Document:
    """Payloads of one interval, by type."""
    (found,) = [one for one in event["intervals"] if one["id"] == interval]
    return {payload["type"]: payload["values"][0] for payload in found["payloads"]}


@pytest.fixture(scope="module")
def onboarded(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Onboarded:
    """A stopped market with two members."""
    return make_onboarded(tmp_path_factory.mktemp("onboarded") / "data", keys)


@contextmanager
def serving(path: Path, onboarded: Onboarded, settings: NodeSettings) -> Iterator[Vtn]:
    shutil.copytree(onboarded.folder.path, path)
    roles = {LOGIC: "bl"} | dict.fromkeys(TARGETS, "ven")
    secrets = {client: add_openadr_client(path, client, role)["client_secret"] for client, role in roles.items()}
    with served(NodeFolder(path), settings=settings) as node:
        node.nonces = dict(onboarded.nonces)
        vtn = Vtn(node, secrets)
        for client, target in TARGETS.items():
            ven = {"objectType": "BL_VEN_REQUEST", "venName": client, "clientID": client, "targets": [target]}
            vtn.ask(LOGIC, "POST", "/vens", json=ven)
        yield vtn


@pytest.fixture
def vtn(tmp_path: Path, onboarded: Onboarded) -> Iterator[Vtn]:
    """A zone whose transformer carries 6 kW."""
    with serving(tmp_path / "data", onboarded, NodeSettings(zone_limits_w={ZONE: LIMIT_W})) as running:
        yield running


def test_setpoints_envelopes_and_caps_of_the_chain_are_told_in_kw_to_whom_they_concern(vtn: Vtn) -> None:
    """A day before the seller exported 700 Wh, so 100 Wh are expected beyond the 600 Wh it has sold."""
    node = vtn.node
    assert node.read({SELL_METER: 700, BUY_METER: -600}, MTU_START - DAY_S) == [{"status": "accepted"}] * 2
    node.pair()
    vtn.told("scheduled")
    public, operators = vtn.events(OPERATOR, GRID)
    assert values(public, SELL_METER) == {"DISPATCH_SETPOINT": -2.4}
    assert values(operators, SELL_METER)["DISPATCH_SETPOINT"] == -2.8
    # The limit of 1,500 Wh and 180 of the buyer's 600 Wh, less the 700 Wh, leave 490 Wh to each meter of equal capacity
    assert values(operators, SELL_METER)["EXPORT_CAPACITY_LIMIT"] == 4.76
    assert (vtn.own(SELLERS)["DISPATCH_SETPOINT"], vtn.own(SELLERS)["EXPORT_CAPACITY_LIMIT"]) == (-2.8, 4.76)
    assert (vtn.own(BUYERS)["DISPATCH_SETPOINT"], vtn.own(BUYERS)["EXPORT_CAPACITY_LIMIT"]) == (2.4, 1.96)
    assert [one.get("targets") for one in vtn.events(SELLERS, GRID)] == [None]

    node.curtail({SELL_METER: 250})
    vtn.told("curtailed")
    assert values(vtn.events(OPERATOR, GRID)[1], SELL_METER)["EXPORT_CAPACITY_LIMIT"] == 1
    assert vtn.own(SELLERS)["EXPORT_CAPACITY_LIMIT"] == 1
    assert vtn.own(BUYERS)["EXPORT_CAPACITY_LIMIT"] == 0
    assert "IMPORT_CAPACITY_LIMIT" not in vtn.own(BUYERS)
    node.curtail({BUY_METER: 150}, direction=Direction.IMPORT, emergency=True, sequence=1, reason=4)
    wait_until(lambda: vtn.own(BUYERS).get("IMPORT_CAPACITY_LIMIT") == 0.6)
    zone = values(vtn.events(BUYERS, GRID)[0])
    assert (zone["GRIDLEDGER_DIRECTION"], zone["GRIDLEDGER_EMERGENCY"], zone["GRIDLEDGER_REASON"]) == (
        "import",
        True,
        4,
    )
    mined = node.rpc("eth_getTransactionReceipt", zone["GRIDLEDGER_ANSWER_TRANSACTION_HASH"])
    assert mined["status"] == "0x1"


def test_a_stop_of_the_chain_is_an_alert_over_all_its_mtus(vtn: Vtn) -> None:
    node = vtn.node
    node.pair()
    vtn.told("scheduled")
    body = node.stop_body(MTU_START, 4, count=3)
    assert node.post("/v1/dispatch/stops", body).status_code == 202
    node.work()
    vtn.told("stopped")
    told = vtn.own(BUYERS)
    assert (told["EXPORT_CAPACITY_LIMIT"], told["IMPORT_CAPACITY_LIMIT"]) == (0, 0)
    assert "ALERT_GRID_EMERGENCY" in told
    (alert,) = [one for one in vtn.events(SELLERS, METERS) if "targets" not in one]
    assert alert["intervalPeriod"] == {"start": "2016-06-13T00:00:00Z", "duration": "PT45M"}
    assert (alert["priority"], values(alert)["EXPORT_CAPACITY_LIMIT"]) == (0, 0)
    mined = node.rpc("eth_getTransactionReceipt", values(alert)["GRIDLEDGER_ANSWER_TRANSACTION_HASH"])
    assert int(mined["blockNumber"], 16) == values(alert)["GRIDLEDGER_BLOCK_NUMBER"]
    node.pair(MTU_START + MTU_LENGTH_S)
    wait_until(lambda: len([one for one in vtn.events(BUYERS, METERS) if one.get("targets")]) == 2)
    later = vtn.events(BUYERS, METERS)[-1]
    assert (later["targets"], values(later)["IMPORT_CAPACITY_LIMIT"]) == ([TARGETS[BUYERS]], 0)


def test_demand_response_reaches_everybody_and_the_gateway_that_takes_part(vtn: Vtn) -> None:
    node = vtn.node
    demand = a_demand(first_mtu_start=MTU_START, mtu_count=2, energy_wh=500, direction=DemandDirection.REDUCE, reason=4)
    node.advance(MTU_START - GATE_CLOSURE_S - 600)
    answer = node.post("/v1/demand-response/events", demand_body(node.dispatch_domain, demand, key("grid_operator")))
    assert answer.status_code == 201, answer.text
    wait_until(lambda: len(vtn.events(SELLERS, DEMANDS)) == 1)
    (event,) = vtn.events(SELLERS, DEMANDS)
    for interval in (0, 1):
        told = values(event, interval)
        assert (told["DISPATCH_SETPOINT_RELATIVE"], told["SIMPLE"]) == (-2, 3)
        assert told["GRIDLEDGER_DEMAND_ID"] == demand_id(node.dispatch_domain, demand)
    path = f"/v1/demand-response/events/{answer.json()['id']}/participations"
    session = node.sign_in(BUYER)
    assert node.http.post(path, json={"meters": [BUY_METER]}, headers=session).status_code == 201
    wait_until(lambda: len(vtn.events(BUYERS, METERS)) == 1)
    assert vtn.own(BUYERS)["SIMPLE"] == 3
    assert vtn.events(SELLERS, METERS) == []
    assert node.http.delete(f"{path}/{BUY_METER}", headers=session).status_code == 204
    wait_until(lambda: vtn.events(BUYERS, METERS) == [])
