"""A fleet plays a file to a real node: good texts become readings, faulty ones are refused by name."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.api.running import BUY_METER, MTU_START, SELL_METER, Onboarded

from gridledger.app.fleet_run import run_fleet
from gridledger.app.gateway import FleetFileRefused
from gridledger.cli.operations import FleetRequest
from gridledger.metering.signed_reading import key_from_seed
from gridledger.store.database import Database

MTUS = 12
METERS = (SELL_METER, BUY_METER)
FAULTS = ("drop=0.1", "corrupt=0.2", "duplicate=0.2", "delay=0.1", "skew=0.1", "reset=0.1", "reorder=0.1")


def silent(done: int, total: int, what: str) -> None:
    """Progress is for people."""


def request(folder: Path, url: str, faults: tuple[str, ...] = ()) -> FleetRequest:
    """Two meters, whose keys the node's registry knows, and twelve intervals of each."""
    (folder / "fleet.csv").write_text(
        "meter_id,meter,key\n" + "".join(f"load {meter},{meter},{meter}.pem\n" for meter in METERS)
    )
    rows = ["meter_id,interval_start,interval_seconds,import_wh,export_wh"]
    for meter in METERS:
        key = key_from_seed(meter.to_bytes(32))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{meter}.pem").write_bytes(pem)
        for index in range(MTUS):
            start = datetime.fromtimestamp(MTU_START + 900 * index, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            rows.append(f"load {meter},{start},900,{10 * index},{meter}")
    (folder / "readings.csv").write_text("\n".join(rows) + "\n")
    return FleetRequest(
        readings=folder / "readings.csv", fleet=folder / "fleet.csv", url=url, speed=0, faults=list(faults), seed=5
    )


def test_a_fleet_s_texts_become_readings_once_and_its_faults_are_named(tmp_path: Path, onboarded: Onboarded) -> None:
    with onboarded.served(tmp_path / "data") as node:
        node.advance(MTU_START + (MTUS + 1) * 900)
        url = str(node.http.base_url)
        good = run_fleet(request(tmp_path, url), silent)
        assert good == {"meters": 2, "texts": 26, "faults": {}, "outcomes": {"accepted": 26}}
        faulty = run_fleet(request(tmp_path, url, FAULTS), silent)
        assert set(faulty["faults"]) == {"drop", "corrupt", "duplicate", "delay", "skew", "reset", "reorder"}
        assert sum(faulty["outcomes"].values()) == faulty["texts"]
        assert "accepted" not in faulty["outcomes"]
        assert {"duplicate", "registers-differ", "unaligned-mtu"} <= set(faulty["outcomes"])
        with Database(node.folder.database).read() as tx:
            assert tx.readings.count() == 2 * MTUS
            values = {
                stored.reading.meter: (stored.reading.import_wh, stored.reading.export_wh)
                for stored in tx.readings.at(1, MTU_START + 3 * 900)
            }
        assert values == {meter: (30, meter) for meter in METERS}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("meter_id,key\nload 1,1.pem\n", 1, "no column meter"),
        ("meter_id,meter,key\nload 1,one,1.pem\n", 2, "no number, or a meter twice"),
        ("meter_id,meter,key\nload 1,1,1.pem\nload 1,2,2.pem\n", 3, "no number, or a meter twice"),
        ("meter_id,meter,key\nload 1,1,nowhere.pem\n", 2, "nowhere.pem holds no P-256 private key"),
        ("meter_id,meter,key\nload 1\n", 2, "no number, or a meter twice"),
    ],
)
def test_a_bad_fleet_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    asked = request(tmp_path, "http://127.0.0.1:9")
    asked.fleet.write_text(text)
    with pytest.raises(FleetFileRefused) as refused:
        run_fleet(asked, silent)
    assert (refused.value.line, refused.value.problem) == (line, problem)
