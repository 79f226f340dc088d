"""The grid operator caps, stops and looks by hand at a real node, with its own key; what is wrong is named."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.api.running import BUY_METER, MTU_START, SELL_METER, SELLER, ZONE, Onboarded, RunningNode
from tests.app.curtailing import DEADLINE, MTU_END, events
from typer.testing import CliRunner, Result

from gridledger.app.gateway import NodeUnreachable
from gridledger.app.main import _operations
from gridledger.app.node_calls import NodeUrlRefused
from gridledger.app.settings import NodeSettings
from gridledger.chain.keys import KeyMissing, Keystore, KeyUnreadable
from gridledger.cli.application import create_cli
from gridledger.cli.operator import CapUnreadable, OneCapping, TooManyMeters
from gridledger.dispatch.errors import NothingCurtailed, SetpointUnknown
from gridledger.errors import GridLedgerError
from gridledger.market.model import Side
from gridledger.simulation.node_client import NotANode, RequestRefused
from gridledger.units import NotUtc, format_utc

MTU = format_utc(MTU_START)
EXPORT, IMPORT = ("--direction", "export"), ("--direction", "import")


def gridledger(*arguments: object, **environment: str) -> Result:
    command = ["dispatch", *(str(one) for one in arguments)]
    return CliRunner().invoke(create_cli(_operations()), command, env=environment)


class Operator:
    """The grid operator at its command line."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.where = ("--url", node.http.base_url, "--keys", node.folder.keys, "--zone", ZONE)

    def curtail(self, *arguments: object) -> Result:
        return gridledger("curtail", *self.where, "--mtu", MTU, *arguments)

    def stop(self, *arguments: object) -> Result:
        return gridledger("stop", *self.where, "--first", MTU, *arguments)

    def show(self, *arguments: object) -> Result:
        return gridledger("show", *self.where, "--mtu", MTU, *arguments)

    def recorded(self) -> list[dict[str, Any]]:
        """Caps and stops that the chain has by now."""
        self.node.work()
        return [one["payload"] for one in events(self.node) if one["kind"] in ("curtailed", "stopped")]


@pytest.fixture
def operator(tmp_path: Path, onboarded: Onboarded) -> Iterator[Operator]:
    """600 Wh are scheduled from the seller to the buyer."""
    with onboarded.served(tmp_path / "data") as node:
        node.pair()
        yield Operator(node)


def good(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, (result.output, result.exception)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(result: Result, kind: type[GridLedgerError], **values: object) -> None:
    assert isinstance(result.exception, kind), (result.output, result.exception)
    assert {name: getattr(result.exception, name) for name in values} == values


@pytest.mark.parametrize(
    ("arguments", "direction", "caps_wh"),
    [
        ((*EXPORT, "--cap", f"{SELL_METER}=400"), "export", {SELL_METER: 400}),
        ((*EXPORT, "--total-wh", 250), "export", {SELL_METER: 250}),
        ((*EXPORT, "--total-w", 1_003), "export", {SELL_METER: 250}),
        ((*IMPORT, "--total-wh", 0), "import", {BUY_METER: 0}),
        ((*IMPORT, "--total-wh", 100, "--meter", BUY_METER), "import", {BUY_METER: 100}),
        ((*EXPORT, "--total-wh", 5, "--meter", BUY_METER, "--meter", SELL_METER), "export", {1: 5, 2: 0}),
    ],
)
def test_caps_are_signed_posted_and_recorded(
    operator: Operator, arguments: tuple[object, ...], direction: str, caps_wh: dict[int, int]
) -> None:
    caps = [{"meter": meter, "cap_wh": cap_wh} for meter, cap_wh in caps_wh.items()]
    answer = good(operator.curtail(*arguments, "--reason", 2))
    expected = {"answer": "curtailed", "direction": direction, "reason": 2, "sequence": 0, "caps": caps}
    assert {name: answer[name] for name in expected} == expected
    (recorded,) = operator.recorded()
    assert (recorded["direction"], recorded["reason"], recorded["caps"]) == (direction, 2, caps)


def test_an_emergency_follows_what_was_recorded_before(operator: Operator) -> None:
    good(operator.curtail(*EXPORT, "--total-wh", 400))
    operator.node.work()
    operator.node.advance(DEADLINE + 1)
    refused(operator.curtail(*EXPORT, "--total-wh", 100), RequestRefused, problem="already-answered")
    stale = operator.curtail(*EXPORT, "--total-wh", 100, "--emergency", "--sequence", 0)
    refused(stale, RequestRefused, problem="sequence-differs")
    answer = good(operator.curtail(*EXPORT, "--total-wh", 100, "--emergency", "--reason", 4))
    assert (answer["emergency"], answer["sequence"]) == (True, 1)
    assert [one["caps"][0]["cap_wh"] for one in operator.recorded()] == [400, 100]


def test_a_stop_is_signed_posted_and_recorded(operator: Operator) -> None:
    answer = good(operator.stop("--count", 2, "--reason", 4))
    assert (answer["first_mtu_start"], answer["mtu_count"], answer["relayed"]) == (MTU_START, 2, True)
    assert [(one["reason"], one["last_mtu_start"]) for one in operator.recorded()] == [(4, MTU_END)]
    assert operator.node.mtu()["phase"] == "settled"
    refused(operator.stop("--count", 1, "--reason", 4), RequestRefused, problem="already-answered")


def test_a_schedule_is_shown_with_setpoints_deadline_and_caps(operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    shown = operator.show("--json", path)
    assert shown.exit_code == 0, (shown.output, shown.exception)
    assert f"zone 1, {MTU}: pending, curtailments recorded: 0" in shown.stdout
    assert f"{format_utc(DEADLINE)} (4 min 0 s left)" in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert [str(SELL_METER), "600", "0", "600", "1", "41,000"] in rows
    assert rows.index(["2", "-600", "0", "-600", "0", "-"]) < rows.index(["1", "600", "0", "600", "1", "41,000"])
    assert "knows no limit" in shown.stdout
    assert json.loads(path.read_text())["answer_deadline"] == DEADLINE
    good(operator.curtail(*EXPORT, "--total-wh", 1))
    operator.node.work()
    operator.node.advance(DEADLINE + 1)
    assert f"{MTU}: curtailed, curtailments recorded: 1" in (again := operator.show()).stdout
    assert "(over)" in again.stdout


def test_limits_that_setpoints_exceed_are_shown(tmp_path: Path, onboarded: Onboarded) -> None:
    with onboarded.served(tmp_path / "data", NodeSettings(zone_limits_w={ZONE: 1_000})) as node:
        node.accept(node.order(Side.SELL, quantity_wh=1_000))
        node.accept(node.order(Side.BUY))
        node.advance(MTU_START - 300)
        shown = Operator(node).show().stdout
    assert "limit of the zone 250 Wh" in shown
    assert "exceeded: transformer, 1,600 W of export, limit 1,000 W" in shown


@pytest.mark.parametrize(
    ("arguments", "kind", "values"),
    [
        ((), OneCapping, {}),
        (("--total-wh", 1, "--total-w", 1), OneCapping, {}),
        (("--cap", "1=1", "--total-wh", 1), OneCapping, {}),
        (("--cap", "1=1", "--meter", 1), OneCapping, {}),
        (("--cap", "1"), CapUnreadable, {"text": "1"}),
        (("--cap", "1=2=3"), CapUnreadable, {"text": "1=2=3"}),
        (("--cap", "1=-2"), CapUnreadable, {"text": "1=-2"}),
        (("--cap", "0=2"), CapUnreadable, {"text": "0=2"}),
        (("--cap", "1=4294967296"), CapUnreadable, {"text": "1=4294967296"}),
        (("--cap", "1=2", "--cap", "1=3"), CapUnreadable, {"text": "1=3"}),
        (tuple(word for meter in range(1, 514) for word in ("--cap", f"{meter}=1")), TooManyMeters, {"count": 513}),
        (("--total-wh", 1, "--meter", 77), SetpointUnknown, {"meter": 77}),
        (("--total-wh", 600), NothingCurtailed, {"basis_wh": 600, "cap_wh": 600}),
        (("--cap", "1=601"), RequestRefused, {"problem": "cap-above-schedule"}),
        (("--cap", "77=1"), RequestRefused, {"problem": "meter-not-in-zone"}),
        (("--cap", "1=1", "--sequence", 3), RequestRefused, {"problem": "sequence-differs"}),
    ],
)
def test_a_bad_curtailment_is_named_and_nothing_is_recorded(
    quiet: Operator, arguments: tuple[object, ...], kind: type[GridLedgerError], values: dict[str, object]
) -> None:
    refused(quiet.curtail(*EXPORT, *arguments), kind, **values)
    assert quiet.recorded() == []


def test_a_time_that_is_none_and_a_schedule_that_is_none_are_named(quiet: Operator) -> None:
    refused(gridledger("show", *quiet.where, "--mtu", "tomorrow"), NotUtc, field="mtu")
    refused(gridledger("show", *quiet.where, "--mtu", format_utc(MTU_END)), RequestRefused, problem="schedule-unknown")
    between = ("--first", format_utc(MTU_START + 1), "--count", 1, "--reason", 4)
    refused(gridledger("stop", *quiet.where, *between), RequestRefused, problem="stop-refused")


def test_who_is_not_the_zone_s_grid_operator_is_refused(quiet: Operator, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    stranger = ("--url", quiet.node.http.base_url, "--keys", keys, "--zone", ZONE)
    stop = ("stop", *stranger, "--first", MTU, "--count", 1, "--reason", 4)
    refused(gridledger(*stop), KeyMissing, name="grid_operator")
    Keystore(keys, {}).create({"grid_operator": SELLER})
    refused(gridledger(*stop), RequestRefused, problem="not-the-grid-operator")
    refused(gridledger("show", *stranger, "--mtu", MTU), RequestRefused, problem="setpoints-forbidden")
    refused(gridledger(*stop, GRIDLEDGER_KEYSTORE_PASSWORD="wrong"), KeyUnreadable, name="grid_operator")


def test_a_node_that_is_away_or_none_is_named(quiet: Operator) -> None:
    keys = ("--keys", quiet.node.folder.keys, "--zone", ZONE, "--mtu", MTU)
    refused(gridledger("show", "--url", "http://127.0.0.1:9", *keys), NodeUnreachable)
    for url in ("127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://[::"):
        refused(gridledger("show", "--url", url, *keys), NodeUrlRefused, url=url)
        refused(gridledger("listen", "--url", url, *keys[:2]), NodeUrlRefused, url=url)
    with HTTPServer(("127.0.0.1", 0), SomePage) as page:
        thread = threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        refused(gridledger("show", "--url", f"http://127.0.0.1:{page.server_port}", *keys), NotANode)
        page.shutdown()
        thread.join(10)


class SomePage(BaseHTTPRequestHandler):
    """A server that is no node."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        """Tests are silent."""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[Operator]:
    """The same, for what changes nothing."""
    with onboarded.served(tmp_path_factory.mktemp("operator") / "data") as node:
        node.pair()
        yield Operator(node)
