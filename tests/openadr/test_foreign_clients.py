"""Clients nobody here wrote get a dispatch from the chain, with no code of their own for it, and report on it."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx_sse import connect_sse
from tests.api.running import (
    GATE_CLOSURE_S,
    MTU_LENGTH_S,
    MTU_START,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
    make_onboarded,
    served,
)
from tests.mqtt.broker import HOST, anonymous_broker, wait_until
from tests.openadr.foreign.environments import (
    ELAAD_CLIENT,
    PYTHON_OA3_CLIENT,
    Foreign,
    client_python,
    running_client,
    seconds_since,
)

from gridledger.app.node import NodeFolder
from gridledger.app.openadr_clients import add_openadr_client
from gridledger.app.settings import NodeSettings
from gridledger.mqtt.broker import OpenAdrBroker
from gridledger.mqtt.settings import MqttSettings
from gridledger.openadr.application import BASE_PATH
from gridledger.webhooks.targets import AllowList

PROGRAM, CLIENT = "grid-dispatch-zone-1", "dso"
LONGEST_S = 5.0


@dataclass
class Vtn:
    """A market with an anonymous broker beside it, and a ven's id and secret."""

    node: RunningNode
    secret: str
    broker_log: Path

    @property
    def url(self) -> str:
        return str(self.node.http.base_url).rstrip("/") + BASE_PATH

    def subscribed(self, count: int) -> bool:
        """Whether the broker has granted so many subscriptions."""
        return self.broker_log.read_text().count("Sending SUBACK") >= count


@pytest.fixture(scope="module")
def onboarded(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Onboarded:
    """A stopped market with two members."""
    return make_onboarded(tmp_path_factory.mktemp("onboarded") / "data", keys)


@contextmanager
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[Vtn]:
    folder = NodeFolder(tmp_path / "data")
    shutil.copytree(onboarded.folder.path, folder.path)
    secret = add_openadr_client(folder.path, CLIENT, "ven")["client_secret"]
    listener = socket.create_server((HOST, 0))
    with anonymous_broker(tmp_path) as (port, log):
        broker = MqttSettings(host=HOST, port=port, tls=None)
        settings = NodeSettings(
            public_url=f"http://{HOST}:{listener.getsockname()[1]}",
            webhook_allow=AllowList.parse(HOST),
            openadr_broker=OpenAdrBroker(settings=broker, client_url=broker.url),
        )
        with served(folder, settings=settings, listener=listener) as node:
            node.nonces = dict(onboarded.nonces)
            wait_until(lambda: node.http.get("/readyz").status_code == 200)
            yield Vtn(node, secret, log)


def dispatch(vtn: Vtn) -> float:
    """An offer and a bid that meet; the moment before the node made any block of it."""
    vtn.node.posted_pair()
    began = time.time()
    vtn.node.advance(MTU_START - GATE_CLOSURE_S)
    return began


def scheduled_by(node: RunningNode) -> dict[str, Any]:
    """What the node's own stream says of the schedule."""
    with connect_sse(node.http, "GET", "/v1/dispatch/events") as source:
        told = next(source.iter_sse()).json()
    payload: dict[str, Any] = told["payload"]
    return payload


def check_event(told: dict[str, Any], scheduled: dict[str, Any]) -> None:
    """The window and the setpoints of the dispatch, and the chain's word for it."""
    assert told["window"] == [MTU_START, MTU_START + MTU_LENGTH_S]
    assert (told["payloads"]["1"], told["payloads"]["2"]) == ({"DISPATCH_SETPOINT": -2.4}, {"DISPATCH_SETPOINT": 2.4})
    zone = told["payloads"]["0"]
    assert zone["GRIDLEDGER_TRANSACTION_HASH"] == scheduled["transaction_hash"]
    assert zone["GRIDLEDGER_SCHEDULE_HASH"] == scheduled["schedule_hash"]
    assert zone["GRIDLEDGER_CHAIN_ID"] == 31_337


@pytest.mark.parametrize(
    ("client", "ways"),
    [(PYTHON_OA3_CLIENT, ("webhook", "mqtt")), (ELAAD_CLIENT, ("mqtt",))],
    ids=["python-oa3-client", "openadr3-client"],
)
def test_a_foreign_client_gets_a_dispatch_of_the_chain_within_five_seconds_and_reports_on_it(
    client: Foreign,
    ways: tuple[str, ...],
    onboarded: Onboarded,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    python = client_python(client)
    with (
        market(tmp_path, onboarded) as vtn,
        running_client(client, python, tmp_path, vtn.url, CLIENT, vtn.secret, PROGRAM) as ven,
    ):
        ready = ven.step("ready")
        wait_until(lambda: vtn.subscribed(len(ready["topics"])))
        began = dispatch(vtn)
        created = ven.step("CREATE")
        arrivals = {way: seconds_since(began, created[way]) for way in ways}
        with capsys.disabled():
            print(f"\n{client.name}: seconds from before the block to arrival: {arrivals}")  # noqa: T201
        first = scheduled_by(vtn.node)
        for way in ways:
            assert arrivals[way] < LONGEST_S
            check_event(created[way], first)
        vtn.node.answer()
        updated = ven.step("UPDATE")
        for way in ways:
            assert updated[way]["event_id"] == created[way]["event_id"]
            assert updated[way]["payloads"]["0"]["GRIDLEDGER_STATE"] == "acknowledged"
        event_id = created["mqtt"]["event_id"]
        assert ven.step("polled")["event_ids"] == [event_id]
        reported = ven.step("reported")
        ven.end()
        check_report(vtn.node, reported["report_id"], event_id, first)


def check_report(node: RunningNode, report_id: str, event_id: str, scheduled: dict[str, Any]) -> None:
    """The report is linked to the dispatch on the chain, for the grid operator's eyes and the regulator's."""
    path = "/v1/dispatch/reports"
    for reader in ("grid_operator", "regulator"):
        answer = node.http.get(path, params={"zone": 1}, headers=node.sign_in(key(reader)))
        assert answer.status_code == 200, answer.text
        (told,) = answer.json()["reports"]
        assert (told["report_id"], told["event_id"], told["client_id"]) == (report_id, event_id, CLIENT)
        assert (told["zone"], told["mtu_start"], told["meter"]) == (1, MTU_START, None)
        assert told["transaction_hash"] == scheduled["transaction_hash"]
        assert told["schedule_hash"] == scheduled["schedule_hash"]
        (resource,) = told["resources"]
        assert {"type": "OPERATING_STATE", "values": ["NORMAL"]} in resource["intervals"][0]["payloads"]
    refused = node.http.get(path, params={"zone": 1}, headers=node.sign_in(SELLER))
    assert_problem(refused, 403, "dispatch-reports-forbidden", zone=1)
    assert node.http.get(path, params={"zone": 1}).status_code == 401
