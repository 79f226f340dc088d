"""Every bad reading over HTTP: its exact outcome, its own counter in the metrics, nothing kept, the others unharmed."""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.running import (
    BUYER,
    NEIGHBOUR,
    OUTSIDER,
    SELLER,
    ZONE,
    RunningNode,
    assert_problem,
    key,
    make_folder,
    served,
)
from tests.metering.bad_texts import BAD_TEXTS, HISTORY, as_expected
from tests.metering.fakes import MTU_START, NOW, Device, a_reading, a_register_reading, with_other_half
from tests.metering.test_bad_readings import BAD_READINGS

from gridledger.api.problems import problem_document
from gridledger.errors import GridLedgerError
from gridledger.metering.errors import ReadingUnreadable
from gridledger.metering.model import ReadingStatus

TABLES = (
    "meter_reading",
    "register_reading",
    "partial_reading",
    "reading_dispute",
    "meter_event",
    "substitute_reading",
)
OUTCOME = re.compile(r'gridledger_reading_outcomes_total\{outcome="([^"]+)"\} ([0-9.]+)')
NOTE = re.compile(r'gridledger_reading_notes_total\{note="([^"]+)"\} ([0-9.]+)')


@dataclass(frozen=True, kw_only=True)
class Case:
    """A bad text with its outcome."""

    name: str
    text: str
    status: ReadingStatus
    error: GridLedgerError


CASES = [
    *(Case(name=one.name, text=one.text, status=one.status, error=one.error) for one in BAD_TEXTS),
    *(
        Case(name=f"JWS, {one.name}", text=one.text, status=ReadingStatus.REFUSED, error=one.error)
        for one in BAD_READINGS
    ),
]
EXPRESSIBLE = [case for case in CASES if not any("\ud800" <= character <= "\udfff" for character in case.text)]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[RunningNode]:
    """Four members with 1 kW in and 500 W out, an hour after midnight, with the history of meters 2 and 3."""
    with served(make_folder(tmp_path_factory.mktemp("bad readings") / "data", keys)) as running:
        owners = [account.address for account in (SELLER, BUYER, OUTSIDER, NEIGHBOUR)]
        devices = [Device(number).key for number in range(1, 5)]
        meters = [(owner, ZONE, 1_000, 500, 0, one.x, one.y) for owner, one in zip(owners, devices, strict=True)]
        operator = key("grid_operator")
        running.send(operator, "ParticipantRegistry", "admitParticipants", owners, key("supplier").address)
        running.send(operator, "ParticipantRegistry", "registerMeters", meters)
        running.advance(NOW)
        assert {result["status"] for result in post(running, *HISTORY)} == {"accepted"}
        yield running


def post(market: RunningNode, *texts: str) -> list[dict[str, Any]]:
    answer = market.post("/v1/readings", {"readings": list(texts)})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def counted(market: RunningNode, pattern: re.Pattern[str] = OUTCOME) -> dict[str, float]:
    """Counters of the metrics by label."""
    return {label: float(value) for label, value in pattern.findall(market.http.get("/metrics").text)}


def moved(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {label: after[label] - before.get(label, 0) for label in after if after[label] != before.get(label, 0)}


def rows(market: RunningNode) -> dict[str, int]:
    with closing(sqlite3.connect(market.folder.database)) as connection:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


@pytest.mark.parametrize("case", EXPRESSIBLE, ids=lambda case: case.name)
def test_a_bad_reading_has_its_named_outcome_and_counter(market: RunningNode, case: Case) -> None:
    kept, counters = rows(market), counted(market)
    (result,) = post(market, case.text)
    assert result["status"] == case.status
    expected = json.loads(json.dumps(problem_document(case.error)))
    if isinstance(case.error, ReadingUnreadable):
        found = ReadingUnreadable(problem=result["problem"]["problem"])
        assert as_expected(found, case.error), result
        expected |= {"problem": found.problem, "detail": str(found)}
    assert result == {"status": case.status, "problem": expected}
    assert moved(counters, counted(market)) == {case.error.code(): 1}
    disputed = {"reading_dispute": kept["reading_dispute"] + 1} if case.status is ReadingStatus.DISPUTED else {}
    assert rows(market) == kept | disputed
    assert post(market, case.text)[0] == result
    assert rows(market) == kept | disputed


def test_there_are_more_than_160_bad_readings_and_each_error_of_metering_that_a_text_can_cause() -> None:
    assert len(EXPRESSIBLE) == len({case.name for case in EXPRESSIBLE}) >= 160
    assert {case.error.code() for case in EXPRESSIBLE} == {
        "above-capacity",
        "clock-not-synchronised",
        "counter-replayed",
        "field-refused",
        "fields-refused",
        "header-refused",
        "interval-length-refused",
        "meter-fault",
        "meter-mismatch",
        "out-of-range",
        "reading-differs",
        "reading-in-future",
        "reading-too-old",
        "reading-unreadable",
        "register-backwards",
        "registers-differ",
        "serial-changed",
        "signature-invalid",
        "unaligned-mtu",
        "unknown-meter",
    }


def test_good_and_bad_readings_of_one_batch_stand_alone(market: RunningNode) -> None:
    kept, counters = rows(market), counted(market)
    bad = EXPRESSIBLE[:150:10]
    good = [Device(4).sign(a_reading(meter=4, mtu_start=MTU_START - 900 * index)) for index in range(len(bad))]
    mixed = [text for pair in zip(good, (case.text for case in bad), strict=True) for text in pair]
    results = post(market, *mixed)
    assert [result["status"] for result in results[::2]] == ["accepted"] * len(good)
    assert [result["problem"]["type"] for result in results[1::2]] == [
        f"urn:gridledger:problem:{case.error.code()}" for case in bad
    ]
    assert rows(market)["meter_reading"] == kept["meter_reading"] + len(good)
    assert moved(counters, counted(market))["accepted"] == len(good)
    counters = counted(market)
    assert {result["status"] for result in post(market, *good)} == {"duplicate"}
    assert moved(counters, counted(market)) == {"duplicate": len(good)}


def test_the_other_half_of_a_signature_is_the_same_reading(market: RunningNode) -> None:
    text = Device(1).sign(a_reading(mtu_start=MTU_START + 900))
    assert [result["status"] for result in post(market, with_other_half(text), text)] == ["accepted", "duplicate"]


def test_what_is_odd_but_accepted_is_noted_and_counted(market: RunningNode) -> None:
    notes = counted(market, NOTE)
    device = Device(1)
    start = MTU_START - 7_200
    results = post(
        market,
        device.sign(a_reading(mtu_start=start, interval_s=1_800, counter=10)),
        device.sign(a_reading(mtu_start=start + 1_800, counter=13)),
        device.sign(a_reading(mtu_start=start + 2_700, counter=14, interval_s=300, import_wh=1, export_wh=0)),
    )
    assert [result["status"] for result in results] == ["accepted"] * 3
    assert [result.get("notes") for result in results] == [
        [{"name": "interval-split", "count": 2}],
        [{"name": "counter-skipped", "count": 2}],
        [{"name": "parts-missing", "count": 600}],
    ]
    assert moved(notes, counted(market, NOTE)) == {"interval-split": 1, "counter-skipped": 1, "parts-missing": 1}


def test_the_same_moment_in_local_time_is_the_same_reading(market: RunningNode) -> None:
    text = Device(4).sign_registers(a_register_reading(meter=4, taken_at=MTU_START + 1_800))
    assert post(market, text)[0]["status"] == "accepted"
    payload = json.loads(text.split("|")[1])
    for entry in payload["RD"]:
        entry["TM"] = "2016-06-13T02:30:00,000+0200 S"
    assert post(market, Device(4).sign_ocmf(payload)) == [{"status": "duplicate"}]


BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 422, "request-malformed"),
    "no JSON": (b"OCMF|", 422, "request-malformed"),
    "not UTF-8": (b'{"readings":["\xff"]}', 400, "about:blank"),
    "a list": (b"[]", 422, "request-malformed"),
    "no readings": (b"{}", 422, "request-malformed"),
    "readings that are no list": (b'{"readings":"OCMF|"}', 422, "request-malformed"),
    "a reading that is no text": (b'{"readings":[1]}', 422, "request-malformed"),
    "a reading that is nothing": (b'{"readings":[null]}', 422, "request-malformed"),
    "a field nobody knows": (b'{"readings":["OCMF|"],"more":1}', 422, "request-malformed"),
    "nested deeply": (b'{"readings":' + b"[" * 100_000, 400, "about:blank"),
    "beyond two megabytes": (b'{"readings":["' + b"A" * 2**21 + b'"]}', 413, "about:blank"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(market: RunningNode, name: str) -> None:
    content, status, code = BODIES[name]
    kept, counters = rows(market), counted(market)
    answer = market.http.post("/v1/readings", content=content, headers={"Content-Type": "application/json"})
    assert_problem(answer, status, code)
    assert (rows(market), counted(market)) == (kept, counters)


def test_half_a_character_is_refused_and_the_others_are_not(market: RunningNode) -> None:
    good = Device(4).sign(a_reading(meter=4, mtu_start=MTU_START + 900))
    texts = ["\ud800", "OCMF|{}|\ud800", good]
    headers, content = {"Content-Type": "application/json"}, json.dumps({"readings": texts}).encode()
    answer = market.http.post("/v1/readings", content=content, headers=headers)
    assert [result["status"] for result in answer.json()["results"]] == ["refused", "refused", "accepted"]


def test_a_batch_of_501_is_refused_as_a_whole(market: RunningNode) -> None:
    good = Device(4).sign(a_reading(meter=4, mtu_start=MTU_START - 900 * 60, counter=1))
    kept, counters = rows(market), counted(market)
    answer: httpx.Response = market.post("/v1/readings", {"readings": [good] * 501})
    assert answer.status_code == 422, answer.text
    assert (rows(market), counted(market)) == (kept, counters)


def test_labels_of_metrics_are_names_of_outcomes_and_nothing_that_a_text_says(market: RunningNode) -> None:
    named = {case.error.code() for case in EXPRESSIBLE}
    assert set(counted(market)) <= named | {"accepted", "duplicate"}
