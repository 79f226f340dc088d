"""Demand response through the API: an event is told, joined, measured, measured anew, and shown to whom it concerns."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from eth_account import Account
from eth_account.messages import encode_typed_data
from tests.api.running import (
    BUY_METER,
    BUYER,
    OUTSIDER,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
)
from tests.dispatch.demands import DAY_S, LENGTH_S, a_demand, demand_body
from typer.testing import CliRunner

from gridledger.app.audit_run import audit
from gridledger.app.demand_response_run import run_demand_response
from gridledger.app.export import export_run
from gridledger.app.gateway import NodeUnreachable
from gridledger.app.settings import NodeSettings
from gridledger.audit.model import Rule
from gridledger.cli.demand_response import OneAmount, add_demand_command
from gridledger.dispatch.baseline import BaselineRule
from gridledger.dispatch.demand_response import MEASURED_AFTER_S, DemandResponse, demand_id
from gridledger.dispatch.model import DispatchDomain
from gridledger.simulation.node_client import RequestRefused
from gridledger.units import OutOfRange

EVENTS, CONSENTS = "/v1/demand-response/events", "/v1/demand-response/consents"
RULE = BaselineRule(working_highest=2, working_days=3, look_back_days=7)
DEMAND = a_demand()
FIRST, END = DEMAND.first_mtu_start, DEMAND.first_mtu_start + 4 * LENGTH_S
LEAD = range(FIRST - 4 * 3_600, FIRST - 2 * 3_600, LENGTH_S)
REASON = "complaint 17 about the bill of June"
USUAL = {0: -400, 1: -300, 2: -500, 3: -200}  # export less import of the buyer's meter per MTU, by day of the week
TAMPERED = (
    ("demand_shifts.csv", ",440,250,190", ",441,250,191"),
    ("demand_measurements.csv", ",11000,", ",11001,"),
    ("demand_events.csv", ",2,3,3,5,7,", ",1,3,3,5,7,"),  # highest 1 of 3 instead of 2 of 3
    ("demand_events.csv", ",reduce,2000,", ",reduce,2001,"),
    ("demand_participations.csv", f",{BUY_METER},", f",{SELL_METER},"),
)


@dataclass
class Market:
    """A node with two meters and readings of Monday to Thursday, on Friday noon."""

    node: RunningNode

    @property
    def domain(self) -> DispatchDomain:
        named = self.node.facts["dispatch_domain"]
        return DispatchDomain(chain_id=named["chainId"], dispatching_contract=named["verifyingContract"])

    def body(self, event: DemandResponse = DEMAND, signer: Any = None) -> dict[str, Any]:
        return demand_body(self.domain, event, signer or key("grid_operator"))

    def issue(self, event: DemandResponse = DEMAND) -> str:
        answer = self.node.post(EVENTS, self.body(event))
        assert answer.status_code == 201, answer.text
        event_id: str = answer.json()["id"]
        assert event_id == demand_id(self.domain, event)
        return event_id

    def ask(self, account: Any, path: str, **params: Any) -> Any:
        answer = self.node.http.get(path, params=params, headers=self.node.sign_in(account))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def join(self, account: Any, event_id: str, *meters: int) -> Any:
        path = f"{EVENTS}/{event_id}/participations"
        return self.node.http.post(path, json={"meters": meters}, headers=self.node.sign_in(account))

    def read(self, starts: Any, net_wh: dict[int, int]) -> None:
        for start in starts:
            results = self.node.read(net_wh, start)
            assert [one["status"] for one in results] == ["accepted"] * len(net_wh)

    def results(self, account: Any, event_id: str, **params: Any) -> Any:
        return self.ask(account, f"{EVENTS}/{event_id}/results", **params)["results"]

    def consent(self, account: Any, meter: int) -> None:
        answer = self.node.http.put(f"{CONSENTS}/{meter}", headers=self.node.sign_in(account))
        assert answer.status_code == 204, answer.text

    def days_as_usual(self) -> None:
        for day, net_wh in USUAL.items():
            shift = (4 - day) * DAY_S
            self.node.advance(END - shift)
            self.read([start - shift for start in LEAD], {SELL_METER: 0, BUY_METER: net_wh})
            self.read(range(FIRST - shift, END - shift, LENGTH_S), {SELL_METER: 100, BUY_METER: net_wh})
            self.node.work()


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[Market]:
    settings = NodeSettings(smallest_group=2, baseline=RULE)
    with onboarded.served(tmp_path / "data", settings=settings) as running:
        yield Market(running)


def test_an_event_is_told_joined_measured_and_measured_anew(market: Market, tmp_path: Path) -> None:
    node = market.node
    market.days_as_usual()
    market.consent(BUYER, BUY_METER)
    event_id = market.issue()
    again = node.post(EVENTS, market.body())
    assert (again.status_code, again.json()["id"]) == (200, event_id)
    (notice,) = [one for one in market.ask(SELLER, "/v1/notices")["notices"] if one["kind"] == "demand"]
    assert (notice["meter"], notice["zone"], notice["mtu_start"]) == (SELL_METER, 1, FIRST)
    expected = {"event_id": event_id, "direction": "reduce", "energy_wh": 2_000, "mtu_count": 4, "reason_code": 1}
    assert notice["details"] == expected
    assert market.join(SELLER, event_id, SELL_METER).status_code == 201
    participations = market.ask(BUYER, f"{EVENTS}/{event_id}/participations")["participations"]
    assert participations == [{"meter": BUY_METER, "standing": True, "joined_at": node.node.now}]

    node.advance(END)
    market.read(LEAD, {SELL_METER: 0, BUY_METER: -440})
    market.read(range(FIRST, END - LENGTH_S, LENGTH_S), {SELL_METER: 100, BUY_METER: -250})
    market.read([END - LENGTH_S], {SELL_METER: 90})
    node.advance(END + 120)  # when an incomplete zone's readings are anchored
    sums = f"{EVENTS}/{event_id}/sums"
    assert market.results(BUYER, event_id) == []  # the last quarter-hour is missing
    (sold,) = market.results(SELLER, event_id)
    assert [mtu["energy_wh"] for mtu in sold["mtus"]] == [0, 0, 0, 0]
    node.advance(END + MEASURED_AFTER_S)
    (bought,) = market.results(BUYER, event_id)
    # Of Tuesday to Thursday the two highest are 500 and 300 Wh: 400 on average; before the event 440 of 400: + 10 %
    assert bought["baseline_days"] == [FIRST - 2 * DAY_S, FIRST - 3 * DAY_S]
    assert (bought["number"], bought["adjustment_bp"], bought["energy_wh"]) == (1, 11_000, 3 * 190)
    last = bought["mtus"][-1]
    assert last == {"mtu_start": END - LENGTH_S, "baseline_import_wh": 440, "net_import_wh": None, "energy_wh": 0}
    assert market.ask(key("grid_operator"), sums)["withheld"] == "not-final"

    market.read([END - LENGTH_S], {BUY_METER: -500})
    node.work()
    node.advance(node.node.now + 120)  # when readings that come alone are anchored
    (bought,) = market.results(BUYER, event_id)
    assert (bought["number"], bought["energy_wh"]) == (2, 3 * 190)
    assert bought["mtus"][-1]["net_import_wh"] == 500
    told = market.ask(key("grid_operator"), sums)
    assert (told["participants"], told["wanted_wh"], told["withheld"]) == (2, 2_000, None)
    assert [one["energy_wh"] for one in told["sums"]] == [190, 190, 190, 0]
    measured = [one for one in market.ask(BUYER, "/v1/notices")["notices"] if one["kind"] == "measured"]
    assert [(one["details"]["sequence"], one["details"]["energy_wh"]) for one in measured] == [(1, 570), (2, 570)]
    with node.node._database.read() as tx:
        shifts = tx.demand_measurements.peak_shifts(event_id)
    assert [(one.meter, one.mtu_start, one.energy_wh, one.number) for one in shifts] == [
        (BUY_METER, start, 190, 2) for start in range(FIRST, END - LENGTH_S, LENGTH_S)
    ]
    rows = {name: rows for name, rows in node.memory().items() if name.startswith("demand")}
    node.advance(node.node.now + DAY_S)
    assert {name: rows for name, rows in node.memory().items() if name in ("demand_measurement", "demand_shift")} == {
        name: rows[name] for name in ("demand_measurement", "demand_shift")
    }
    export_run(node.folder.path, tmp_path / "export", lambda *_: None)
    report = audit(tmp_path / "export", None, lambda *_: None)
    assert report.ok, report.mismatches
    assert report.checked["demand-response"] > 10
    for file, old, new in TAMPERED:
        honest = (tmp_path / "export" / file).read_text()
        assert honest.count(old) >= 1, (file, old)
        (tmp_path / "export" / file).write_text(honest.replace(old, new, 1))
        found = {mismatch.rule for mismatch in audit(tmp_path / "export", None, lambda *_: None).mismatches}
        assert Rule.DEMAND_RESPONSE in found, (file, old)
        (tmp_path / "export" / file).write_text(honest)


def test_results_are_shown_to_whom_they_concern(market: Market) -> None:
    node = market.node
    node.advance(FIRST - 3_600)
    event_id = market.issue()
    assert market.join(BUYER, event_id, BUY_METER).status_code == 201
    node.advance(END + MEASURED_AFTER_S)
    path = f"{EVENTS}/{event_id}"
    assert market.ask(BUYER, f"{path}/results")["results"][0]["baseline_days"] == []
    regulator, operator = node.sign_in(key("regulator")), node.sign_in(key("grid_operator"))
    for headers, suffix, params, status, code in (
        ({}, "results", {}, 401, "session-required"),
        ({}, "sums", {}, 401, "session-required"),
        (node.sign_in(SELLER), "results", {}, 403, "demand-results-forbidden"),
        (operator, "results", {}, 403, "demand-results-forbidden"),
        (regulator, "results", {}, 403, "demand-reason-required"),
        (regulator, "results", {"reason": "short"}, 403, "demand-reason-required"),
        (regulator, "sums", {}, 403, "demand-sum-forbidden"),
        (node.sign_in(BUYER), "sums", {}, 403, "demand-sum-forbidden"),
    ):
        assert_problem(node.http.get(f"{path}/{suffix}", params=params, headers=headers), status, code)
    assert market.ask(BUYER, "/v1/readings/accesses")["accesses"] == []
    found = market.results(key("regulator"), event_id, reason=REASON)
    assert [one["meter"] for one in found] == [BUY_METER]
    (access,) = market.ask(BUYER, "/v1/readings/accesses")["accesses"]
    assert (access["meter"], access["from"], access["to"], access["reason"]) == (BUY_METER, FIRST, END, REASON)
    told = market.ask(key("grid_operator"), f"{path}/sums")
    assert (told["withheld"], told["sums"]) == ("not-final", [])


def test_an_event_and_its_document_are_public(market: Market) -> None:
    market.node.advance(FIRST - 3_600)
    event_id = market.issue()
    shown = market.node.get(f"{EVENTS}/{event_id}")
    document = encode_typed_data(full_message=shown["signed_document"])
    signer = Account.recover_message(document, signature=bytes.fromhex(shown["signature"][2:]))
    assert signer == key("grid_operator").address
    assert shown["baseline"]["working_days"] == {"highest": 2, "of": 3}
    listed = market.node.get(EVENTS, zone=1)
    assert [one["id"] for one in listed["events"]] == [event_id]
    assert market.node.get(EVENTS, after=listed["last"])["events"] == []
    assert market.node.get(EVENTS, zone=2)["events"] == []


def test_members_join_leave_and_consent_until_the_event_begins(market: Market) -> None:
    node = market.node
    node.advance(FIRST - 3_600)
    event_id = market.issue()
    path = f"{EVENTS}/{event_id}/participations"
    seller = node.sign_in(SELLER)
    for account, meters, status, code in (
        (SELLER, [BUY_METER], 403, "meter-of-another-owner"),
        (SELLER, [99], 403, "meter-of-another-owner"),
        (SELLER, [SELL_METER, SELL_METER], 422, "demand-meters-refused"),
        (SELLER, [], 422, "request-malformed"),
        (SELLER, [0], 422, "request-malformed"),
    ):
        assert_problem(market.join(account, event_id, *meters), status, code)
    assert_problem(market.join(SELLER, "0x" + "ab" * 32, SELL_METER), 404, "demand-unknown")
    assert_problem(node.http.post(path, json={"meters": [SELL_METER]}), 401, "session-required")
    assert [market.join(SELLER, event_id, SELL_METER).status_code for _ in range(2)] == [201, 201]
    assert len(node.memory()["demand_participation"]) == 1
    assert node.http.delete(f"{path}/{SELL_METER}", headers=seller).status_code == 204
    assert_problem(node.http.delete(f"{path}/{SELL_METER}", headers=seller), 404, "not-taking-part", meter=SELL_METER)
    assert market.ask(SELLER, path)["participations"] == []
    market.consent(SELLER, SELL_METER)
    market.consent(SELLER, SELL_METER)
    assert len(market.ask(SELLER, CONSENTS)["consents"]) == 1
    assert_problem(node.http.put(f"{CONSENTS}/{BUY_METER}", headers=seller), 403, "meter-of-another-owner")
    assert node.http.delete(f"{CONSENTS}/{SELL_METER}", headers=seller).status_code == 204
    assert_problem(node.http.delete(f"{CONSENTS}/{SELL_METER}", headers=seller), 404, "not-taking-part")
    later = market.issue(a_demand(first_mtu_start=END, salt=bytes(32)))
    assert market.ask(SELLER, f"{EVENTS}/{later}/participations")["participations"] == []
    node.advance(FIRST)
    assert_problem(market.join(SELLER, event_id, SELL_METER), 409, "demand-begun", now=FIRST)
    assert_problem(node.http.delete(f"{path}/{SELL_METER}", headers=seller), 409, "demand-begun")


def test_an_event_that_does_not_hold_leaves_no_trace(market: Market) -> None:
    node = market.node
    node.advance(FIRST - 3_600)
    now, good = node.node.now, market.body()
    far = a_demand(first_mtu_start=now - now % LENGTH_S + 7 * DAY_S + LENGTH_S)
    for body, status, code in (
        (good | {"energy_wh": 2_001}, 403, "not-the-demand-operator"),
        (good | {"reason": 2}, 403, "not-the-demand-operator"),
        (good | {"direction": "increase"}, 403, "not-the-demand-operator"),
        (good | {"salt": "0x" + "11" * 32}, 403, "not-the-demand-operator"),
        (market.body(signer=SELLER), 403, "not-the-demand-operator"),
        (market.body(signer=OUTSIDER), 403, "not-the-demand-operator"),
        (
            demand_body(
                DispatchDomain(chain_id=1, dispatching_contract=market.domain.dispatching_contract),
                DEMAND,
                key("grid_operator"),
            ),
            403,
            "not-the-demand-operator",
        ),
        (good | {"signature": good["signature"][:-2] + "00"}, 422, "demand-signature-malformed"),
        (good | {"signature": "0x" + "ff" * 64 + "1b"}, 422, "demand-signature-malformed"),
        (good | {"signature": "0x" + "00" * 64 + "1b"}, 422, "demand-signature-malformed"),
        (good | {"signature": good["signature"][:-2]}, 422, "request-malformed"),
        (market.body(a_demand(zone=9)), 404, "demand-zone-unknown"),
        (good | {"zone": 0}, 422, "request-malformed"),
        (good | {"reason": 7}, 422, "request-malformed"),
        (good | {"reason": True}, 422, "request-malformed"),
        (good | {"mtu_count": 0}, 422, "request-malformed"),
        (market.body(a_demand(mtu_count=97)), 422, "out-of-range"),
        (good | {"energy_wh": 0}, 422, "request-malformed"),
        (good | {"energy_wh": -5}, 422, "request-malformed"),
        (good | {"energy_wh": 2**40 + 1}, 422, "request-malformed"),
        (good | {"energy_wh": 1.5}, 422, "request-malformed"),
        (good | {"energy_wh": None}, 422, "demand-amount-unclear"),
        (good | {"power_w": 8_000}, 422, "demand-amount-unclear"),
        (good | {"energy_wh": None, "power_w": 3}, 422, "out-of-range"),
        (good | {"direction": "hold"}, 422, "request-malformed"),
        (good | {"first_mtu_start": "2016-06-17T18:00:00+02:00"}, 422, "not-utc"),
        (good | {"first_mtu_start": "next Friday, 18:00 h"}, 422, "not-utc"),
        (market.body(a_demand(first_mtu_start=FIRST + 1)), 422, "unaligned-mtu"),
        (market.body(a_demand(first_mtu_start=now - now % LENGTH_S)), 409, "demand-begun"),
        (market.body(far), 422, "demand-too-far-ahead"),
        (good | {"salt": "0x07"}, 422, "request-malformed"),
        (good | {"colour": "red"}, 422, "request-malformed"),
    ):
        assert_problem(node.post(EVENTS, body), status, code)
    assert node.memory()["demand_event"] == []
    assert [one for one in market.ask(SELLER, "/v1/notices")["notices"] if one["kind"] == "demand"] == []
    market.issue()
    for overlapping in (
        a_demand(first_mtu_start=FIRST - LENGTH_S, mtu_count=2, salt=bytes(32)),
        a_demand(first_mtu_start=END - LENGTH_S, salt=bytes(32)),
        a_demand(energy_wh=1),
    ):
        assert_problem(node.post(EVENTS, market.body(overlapping)), 409, "demand-overlaps", zone=1)
    assert_problem(node.http.get(f"{EVENTS}/0x{'ab' * 32}"), 404, "demand-unknown")
    market.issue(a_demand(first_mtu_start=END, salt=bytes(32)))


def test_power_counts_as_energy_of_each_mtu(market: Market) -> None:
    market.node.advance(FIRST - 3_600)
    body = market.body() | {"power_w": 8_003}
    del body["energy_wh"]
    answer = market.node.post(EVENTS, body)
    assert (answer.status_code, answer.json()["energy_wh"]) == (201, 2_000)


def test_the_grid_operator_signs_and_posts_at_the_command_line(market: Market) -> None:
    node = market.node
    node.advance(FIRST - 3_600)
    cli = typer.Typer()
    cli.callback()(lambda: None)
    operations: Any = SimpleNamespace(issue_demand=run_demand_response)
    add_demand_command(cli, operations, node.folder.keys)
    where = ["--url", str(node.http.base_url), "--zone", "1", "--first", "2016-06-17T18:00:00Z", "--count", "4"]
    result = CliRunner().invoke(cli, ["demand-response", *where, "--increase-w", "8000", "--reason", "5"])
    assert result.exit_code == 0, (result.output, result.exception)
    answer = json.loads(result.output)
    expected = {"zone": 1, "direction": "increase", "energy_wh": 2_000, "first_mtu_start": FIRST, "reason": 5}
    assert {name: answer[name] for name in expected} == expected
    assert node.get(f"{EVENTS}/{answer['id']}")["signature"] == answer["signature"]
    for more, refusal in (
        ([], OneAmount),
        (["--reduce-wh", "1", "--increase-wh", "1"], OneAmount),
        (["--reduce-wh", "10"], RequestRefused),  # the zone has an event then
        (["--reduce-w", "3"], OutOfRange),
    ):
        failed = CliRunner().invoke(cli, ["demand-response", *where, *more])
        assert isinstance(failed.exception, refusal), failed.output
    away = ["--url", "http://127.0.0.1:9", *where[2:], "--reduce-wh", "1"]
    assert isinstance(CliRunner().invoke(cli, ["demand-response", *away]).exception, NodeUnreachable)
