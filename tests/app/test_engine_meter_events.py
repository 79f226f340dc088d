"""A meter that starts anew within an MTU is settled on what it counted, and the audit follows the statement."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    BUY_METER,
    BUYER,
    EUR,
    MTU_START,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
    kwh,
    signature_text,
)
from tests.metering.fakes import Device, a_register_reading, an_event

from gridledger.app import export
from gridledger.app.audit_run import audit
from gridledger.audit.model import Rule
from gridledger.metering.events import MeterEvent, MeterEventKind, MeteringDomain, event_typed_data
from gridledger.units import format_utc

MTU_END = MTU_START + 900
REPLACED = an_event(
    meter=SELL_METER,
    kind=MeterEventKind.REPLACEMENT,
    happened_at=MTU_START + 300,
    closing_serial="old",
    opening_serial="new",
    closing_import_wh=5,
    closing_export_wh=1_200,
    opening_import_wh=70,
    opening_export_wh=9,
)


def text(device: Device, taken_at: int, imported: int, exported: int, serial: str, counter: int) -> str:
    """An OCMF text of a meter's device."""
    reading = a_register_reading(
        meter=device.meter,
        meter_id=serial,
        taken_at=taken_at,
        import_register_wh=imported,
        export_register_wh=exported,
        counter=counter,
    )
    return device.sign_registers(reading)


def event_body(market: RunningNode, event: MeterEvent, signer: LocalAccount | None = None) -> dict[str, Any]:
    """The statement as it is posted, signed in the domain the node names."""
    named = market.facts["metering_domain"]
    domain = MeteringDomain(chain_id=named["chainId"], meter_ledger=named["verifyingContract"])
    document = encode_typed_data(full_message=event_typed_data(domain, event))
    return {
        "kind": event.kind.name.lower(),
        "happened_at": format_utc(event.happened_at),
        "closing_serial": event.closing_serial,
        "opening_serial": event.opening_serial,
        "closing_import_kwh": kwh(event.closing_import_wh),
        "closing_export_kwh": kwh(event.closing_export_wh),
        "opening_import_kwh": kwh(event.opening_import_wh),
        "opening_export_kwh": kwh(event.opening_export_wh),
        "signature": signature_text(signer or key("grid_operator"), document),
    }


def post(market: RunningNode, *texts: str) -> list[str]:
    answer = market.post("/v1/readings", {"readings": list(texts)})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    return [
        result["problem"]["type"].rpartition(":")[2] if "problem" in result else result["status"] for result in results
    ]


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    with onboarded.served(tmp_path / "data") as running:
        running.pair()
        running.answer()
        running.advance(MTU_END)
        yield running


def test_a_replacement_with_a_new_key_is_settled_and_audited(market: RunningNode, tmp_path: Path) -> None:
    old, new, buyer = Device(SELL_METER), Device(SELL_METER, seed=99), Device(BUY_METER)
    starts = [text(old, MTU_START, 5, 1_000, "old", 7), text(buyer, MTU_START, 70_000, 0, "b", 1)]
    assert post(market, *starts) == ["accepted", "accepted"]
    end = text(new, MTU_END, 70, 389, "new", 1)
    assert post(market, end) == ["signature-invalid"]
    market.send(key("grid_operator"), "ParticipantRegistry", "replaceDeviceKey", SELL_METER, new.key.x, new.key.y)
    market.work()
    assert post(market, end) == ["serial-changed"]
    path = f"/v1/meters/{SELL_METER}/events"
    assert_problem(market.post(path, event_body(market, REPLACED, SELLER)), 403, "not-the-meters-grid-operator")
    answers = [market.post(path, event_body(market, REPLACED)) for _ in range(2)]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
        (200, "accepted"),
        (200, "duplicate"),
    ]
    assert post(market, end, text(buyer, MTU_END, 70_600, 0, "b", 2)) == ["accepted", "accepted"]
    market.work()
    assert market.mtu()["phase"] == "settled"
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000 - 20 * 32_500  # 200 Wh before, 380 Wh after
    assert market.free(BUYER) == 10 * EUR - 600 * 16_000
    export.export_run(market.folder.path, tmp_path / "export", lambda *_: None)
    report = audit(tmp_path / "export", None, lambda *_: None)
    assert report.ok, report.mismatches
    events = tmp_path / "export" / "meter_events.csv"
    events.write_text(events.read_text().replace(",1200,", ",1201,"))
    found = {mismatch.rule for mismatch in audit(tmp_path / "export", None, lambda *_: None).mismatches}
    assert found >= {Rule.METER_EVENT, Rule.READING_COLUMN}


def test_a_statement_that_does_not_hold_leaves_no_trace(market: RunningNode) -> None:
    path = f"/v1/meters/{SELL_METER}/events"
    good = event_body(market, REPLACED)
    for changes, status, code in (
        ({"closing_export_kwh": "1.201"}, 403, "not-the-meters-grid-operator"),
        ({"closing_export_kwh": "1.2001"}, 422, "not-exact"),
        ({"opening_serial": "old"}, 422, "meter-event-malformed"),
        ({"happened_at": "2016-06-13T02:05:00+02:00"}, 422, "not-utc"),
        ({"kind": "theft"}, 422, "request-malformed"),
        ({"signature": good["signature"][:-2] + "00"}, 422, "statement-signature-malformed"),
        ({"closing_serial": " old"}, 422, "field-refused"),
    ):
        assert_problem(market.post(path, good | changes), status, code)
    assert_problem(market.post("/v1/meters/77/events", good), 404, "unknown-meter", meter=77)
    assert market.memory()["meter_event"] == []


def test_hours_and_parts_settle_like_quarters(market: RunningNode, tmp_path: Path) -> None:
    market.advance(MTU_START + 3_600)
    hour = market.reading(SELL_METER, 2_323, interval_s=3_600)
    parts = [market.reading(BUY_METER, -200, MTU_START + 300 * i, interval_s=300, counter=i) for i in range(3)]
    assert post(market, hour, *parts) == ["accepted"] * 4
    market.work()
    assert market.mtu()["phase"] == "settled"
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000 - 20 * 32_500  # 580 Wh of the hour's 2,323
    assert market.free(BUYER) == 10 * EUR - 600 * 16_000
    export.export_run(market.folder.path, tmp_path / "export", lambda *_: None)
    report = audit(tmp_path / "export", None, lambda *_: None)
    assert report.ok, report.mismatches
    rows = tmp_path / "export" / "readings.csv"
    rows.write_text(rows.read_text().replace(",0,581,", ",0,582,", 1))
    found = {mismatch.rule for mismatch in audit(tmp_path / "export", None, lambda *_: None).mismatches}
    assert found >= {Rule.READING_COLUMN, Rule.ANCHOR}
