"""Devices that tell their registers as OCMF are settled and audited like those that tell intervals."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.running import BUY_METER, BUYER, EUR, MTU_START, SELL_METER, SELLER, Onboarded, RunningNode
from tests.metering.fakes import Device, a_register_reading

from gridledger.app import export
from gridledger.app.audit_run import audit

MTU_END = MTU_START + 900


def text(meter: int, taken_at: int, imported: int, exported: int) -> str:
    """An OCMF text of a meter's device."""
    reading = a_register_reading(
        meter=meter,
        meter_id=f"load {meter}",
        taken_at=taken_at,
        import_register_wh=imported,
        export_register_wh=exported,
        counter=taken_at // 900,
    )
    return Device(meter).sign_registers(reading)


def post(market: RunningNode, *texts: str) -> list[dict[str, object]]:
    answer = market.post("/v1/readings", {"readings": list(texts)})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, object]] = answer.json()["results"]
    return results


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    with onboarded.served(tmp_path / "data") as running:
        running.pair()
        running.answer()
        running.advance(MTU_END)
        yield running


def test_an_mtu_is_settled_on_the_registers_at_its_ends(market: RunningNode, tmp_path: Path) -> None:
    accepted = {"status": "accepted"}
    starts = [text(SELL_METER, MTU_START, 5, 1_000), text(BUY_METER, MTU_START, 70_000, 0)]
    ends = [text(SELL_METER, MTU_END, 5, 1_580), text(BUY_METER, MTU_END, 70_600, 0)]
    assert post(market, *starts) == [accepted, accepted]
    market.work()
    assert market.mtu()["phase"] == "cleared"
    assert post(market, *ends, ends[0]) == [accepted, accepted, {"status": "duplicate"}]
    market.work()
    assert market.mtu()["phase"] == "settled"
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000 - 20 * 32_500
    assert market.free(BUYER) == 10 * EUR - 600 * 16_000
    export.export_run(market.folder.path, tmp_path / "export", lambda *_: None)
    report = audit(tmp_path / "export", None, lambda *_: None)
    assert report.ok, report.mismatches


def test_a_flipped_digit_is_refused_and_keeps_nothing(market: RunningNode) -> None:
    flipped = text(SELL_METER, MTU_START, 5, 1_000).replace('"RV":1.0', '"RV":1.1')
    (result,) = post(market, flipped)
    assert result["status"] == "refused"
    problem = result["problem"]
    assert isinstance(problem, dict)
    assert problem["type"].endswith("signature-invalid")
    assert market.memory()["register_reading"] == []
