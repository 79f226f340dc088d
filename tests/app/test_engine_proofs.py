"""On a real chain: what a device has signed is proven with the P-256 precompile and settled; a zone that misses its
transformer waits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.running import BUY_METER, EUR, MTU_START, SELL_METER, SELLER, ZONE, Onboarded, RunningNode, key
from tests.metering.fakes import Device, a_register_reading

from gridledger.app import export
from gridledger.app.audit_run import audit
from gridledger.app.engine import Engine
from gridledger.audit.model import Rule
from gridledger.chain.codec import ContractCodec, decode_revert
from gridledger.chain.compiler import load_artifacts
from gridledger.metering.evidence import SignedEvidence, signed_evidence

MTU_END = MTU_START + 900
TRANSFORMER_METER = 3


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    with onboarded.served(tmp_path / "data") as running:
        running.pair()
        running.answer()
        running.advance(MTU_END)
        yield running


def evidence(taken_at: int, exported: int) -> SignedEvidence:
    """A text of the seller's device."""
    reading = a_register_reading(
        meter=SELL_METER, taken_at=taken_at, import_register_wh=7, export_register_wh=exported, counter=taken_at // 900
    )
    return signed_evidence(Device(SELL_METER).sign_registers(reading))


def words(text: SignedEvidence, payload: bytes | None = None) -> tuple[object, ...]:
    return (payload or text.payload, text.spans, text.decimals, text.r, text.s)


def refusal(market: RunningNode, *arguments: object) -> str | None:
    """The error a dispute is refused with, None if it would pass."""
    artifacts = load_artifacts()
    data = ContractCodec(artifacts.contract("MeterLedger")).call_data("dispute", *arguments)
    call = {"to": market.facts["contracts"]["MeterLedger"], "data": "0x" + data.hex()}
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}
    answer: dict[str, Any] = httpx.post(market.node.chain_url, json=body, trust_env=False).json()
    if "error" not in answer:
        return None
    return decode_revert(artifacts, bytes.fromhex(answer["error"]["data"][2:])).name


def audited(market: RunningNode, folder: Path) -> None:
    export.export_run(market.folder.path, folder, lambda *_: None)
    report = audit(folder, None, lambda *_: None)
    assert report.ok, report.mismatches


def test_a_settled_value_that_differs_from_what_the_device_signed_is_disputed_and_corrected(
    market: RunningNode, tmp_path: Path
) -> None:
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    assert (market.mtu()["phase"], market.free(SELLER)) == ("settled", 10 * EUR + 600 * 15_000)
    first, last = evidence(MTU_START, 1_000), evidence(MTU_END, 1_580)
    market.send(key("grid_operator"), "MeterLedger", "registerTemplates", [SELL_METER], [first.template_hash])
    market.work()
    flipped = last.payload.replace(b'"RV":1.58', b'"RV":1.68')
    assert flipped != last.payload
    assert refusal(market, SELL_METER, MTU_START, words(first), words(last, flipped)) == "TextNotSigned"
    assert refusal(market, SELL_METER, MTU_START, words(first), words(last)) is None
    market.send(SELLER, "MeterLedger", "dispute", SELL_METER, MTU_START, words(first), words(last))
    market.work()
    assert market.view("MeterLedger", "provenOf", SELL_METER, MTU_START)[0]["netWh"] == 580
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000 - 20 * 32_500
    assert market.view("LowCarbonToken", "totalSupply") == (580 * (363_000 - 41_000),)
    audited(market, tmp_path / "export")


def transformer(market: RunningNode, tolerance_bp: int) -> None:
    """Register the meter at the transformer, of the grid operator, and name it."""
    operator, device = key("grid_operator"), Device(TRANSFORMER_METER).key
    supplier = key("supplier").address
    if market.view("ParticipantRegistry", "supplierOf", operator.address) == ("0x" + "00" * 20,):
        market.send(operator, "ParticipantRegistry", "admitParticipants", [operator.address], supplier)
        meter = (operator.address, ZONE, 250_000, 250_000, 0, device.x, device.y)
        market.send(operator, "ParticipantRegistry", "registerMeters", [meter])
    market.send(key("regulator"), "MeterLedger", "setTransformer", ZONE, TRANSFORMER_METER, tolerance_bp)
    market.work()


def test_a_zone_that_misses_its_transformer_waits_until_the_regulator_has_looked(
    market: RunningNode, tmp_path: Path
) -> None:
    transformer(market, 300)
    market.read({SELL_METER: 600, BUY_METER: -600, TRANSFORMER_METER: -200})
    market.work()
    record = market.mtu()
    assert (record["phase"], record["failure"]) == (
        "cleared",
        "transformer supplied 200 Wh, meters took 0 Wh, tolerance 39 Wh",
    )
    market.advance(MTU_END + 600)
    assert market.mtu()["phase"] == "cleared"
    transformer(market, 2_000)
    market.advance(MTU_END + 700)
    assert (market.mtu()["phase"], market.free(SELLER)) == ("settled", 10 * EUR + 600 * 15_000)
    audited(market, tmp_path / "export")


def test_a_zone_within_the_loss_tolerated_is_settled(market: RunningNode, tmp_path: Path) -> None:
    transformer(market, 300)
    market.read({SELL_METER: 600, BUY_METER: -600, TRANSFORMER_METER: -39})
    market.work()
    assert market.mtu()["phase"] == "settled"
    audited(market, tmp_path / "export")


def test_an_operator_that_settles_a_zone_in_spite_of_its_transformer_is_found_out(
    market: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformer(market, 300)
    market.read({SELL_METER: 600, BUY_METER: -600, TRANSFORMER_METER: -200})
    market.work()
    assert market.mtu()["phase"] == "cleared"
    monkeypatch.setattr(Engine, "_is_plausible", lambda *_: True)
    market.advance(MTU_END + 600)
    assert market.mtu()["phase"] == "settled"
    export.export_run(market.folder.path, tmp_path / "export", lambda *_: None)
    report = audit(tmp_path / "export", None, lambda *_: None)
    assert {(one.rule, "meters against transformer" in one.record) for one in report.mismatches} == {
        (Rule.SETTLEMENT, True)
    }
