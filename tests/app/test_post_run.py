"""A gateway signs a file of intervals, or of P1 telegrams, and a real node takes it; a second time all is known."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.api.running import BUY_METER, MTU_START, SELL_METER, Onboarded
from tests.metering.imports.telegrams import REGISTERS, SERIAL, telegram
from typer.testing import CliRunner

from gridledger.app.gateway import FleetFileRefused, Outbound, read_fleet
from gridledger.app.main import _operations
from gridledger.app.post_run import run_post, run_telegrams
from gridledger.cli.application import create_cli
from gridledger.cli.operations import PostRequest, TelegramRequest
from gridledger.metering.ocmf import verify_registers
from gridledger.metering.signed_reading import key_from_seed, public_key
from gridledger.store.database import Database
from gridledger.units import format_utc

METERS = (SELL_METER, BUY_METER)
MTUS = 300
HEADER = "meter_id,interval_start,interval_seconds,import_wh,export_wh"


def silent(done: int, total: int, what: str) -> None:
    """Progress is for people."""


def write_key(folder: Path, meter: int) -> Path:
    path = folder / f"{meter}.pem"
    path.write_bytes(key_from_seed(meter.to_bytes(32)).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def post_request(folder: Path, url: str) -> PostRequest:
    """300 intervals of two meters whose keys the registry knows, and five rows that are never sent."""
    for meter in METERS:
        write_key(folder, meter)
    fleet = "".join(f"load {meter},{meter},{meter}.pem\n" for meter in METERS)
    (folder / "fleet.csv").write_text(f"meter_id,meter,key\n{fleet}")
    good = [
        f"load {meter},{format_utc(MTU_START + 900 * index)},900,{index},{meter}"
        for index in range(MTUS)
        for meter in METERS
    ]
    start = format_utc(MTU_START)
    bad = [good[0], f"load 9,{start},900,1,0", f"load 1,{start},900,x,0", f"load 1,{start},1800,1,0", "load 1"]
    (folder / "readings.csv").write_text("\n".join([HEADER, *good[:10], *bad, *good[10:]]) + "\n")
    return PostRequest(
        readings=folder / "readings.csv", fleet=folder / "fleet.csv", url=url, report=folder / "report.jsonl"
    )


def test_a_file_is_signed_and_posted_row_by_row_and_again_without_effect(tmp_path: Path, onboarded: Onboarded) -> None:
    never_sent = {
        "duplicate-interval": 1,
        "energy-not-integer": 1,
        "no-device": 1,
        "too-few-fields": 1,
        "wrong-length": 1,
    }
    with onboarded.served(tmp_path / "data") as node:
        node.advance(MTU_START + MTUS * 900)
        request = post_request(tmp_path, str(node.http.base_url))
        first = run_post(request, silent)
        assert first == {"texts": 600, "outcomes": {"accepted": 600} | never_sent}
        told = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
        assert [row["line"] for row in told] == list(range(2, 607))
        assert [row["outcome"] for row in told[8:17]] == [
            "accepted",
            "accepted",
            "duplicate-interval",
            "no-device",
            "energy-not-integer",
            "wrong-length",
            "too-few-fields",
            "accepted",
            "accepted",
        ]
        assert run_post(request, silent) == {"texts": 600, "outcomes": {"duplicate": 600} | never_sent}
        with Database(node.folder.database).read() as tx:
            assert tx.readings.count() == 600
            kept = [stored.reading for stored in tx.readings.at(1, MTU_START + 299 * 900)]
        assert [(reading.meter_id, reading.import_wh, reading.export_wh) for reading in kept] == [
            ("load 1", 299, 1),
            ("load 2", 299, 2),
        ]


def local(moment: int) -> str:
    there = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo("Europe/Amsterdam"))
    return there.strftime("%y%m%d%H%M%S") + ("S" if there.dst() else "W")


def p1_file(folder: Path) -> Path:
    """Five moments where MTUs meet, telegrams between them, and three that cannot be used."""
    texts = []
    for index in range(5):
        moment = MTU_START + 900 * index
        registers = dict.fromkeys(REGISTERS, f"{100 * index // 1000:06d}.{100 * index % 1000:03d}*kWh")
        texts += [telegram(local(moment), registers), telegram(local(moment + 10), registers)]
    damaged = telegram(local(MTU_START + 900)).replace("100.500", "100.501")
    foreign = telegram(local(MTU_START), serial="E1")
    path = folder / "p1.txt"
    path.write_bytes("".join([*texts, damaged, foreign, texts[0][:100], "\xff\r\n"]).encode("latin-1"))
    return path


def p1_request(folder: Path) -> TelegramRequest:
    return TelegramRequest(
        telegrams=p1_file(folder),
        meter=SELL_METER,
        key=key_from_seed(SELL_METER.to_bytes(32)),
        serial=SERIAL,
        mtu_length_s=900,
        url=None,
        out=folder / "texts.ocmf",
        report=folder / "report.jsonl",
    )


REFUSED = {"p1-serial-foreign": 1, "telegram-checksum-wrong": 1, "telegram-unreadable": 1}


def test_telegrams_become_ocmf_texts_in_a_file(tmp_path: Path) -> None:
    result = run_telegrams(p1_request(tmp_path), silent)
    assert result == {"telegrams": 13, "between": 5, "texts": 5, "outcomes": {"written": 5} | REFUSED}
    key = public_key(key_from_seed(SELL_METER.to_bytes(32)))
    registers = [verify_registers(text, key)[0] for text in (tmp_path / "texts.ocmf").read_text().splitlines()]
    assert [(one.taken_at, one.import_register_wh, one.export_register_wh) for one in registers] == [
        (MTU_START + 900 * index, 200 * index, 200 * index) for index in range(5)
    ]
    told = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert [row["outcome"] for row in told] == ["written"] * 5 + [
        "telegram-checksum-wrong",
        "p1-serial-foreign",
        "telegram-unreadable",
    ]


def test_telegrams_posted_to_a_node_become_readings_once(tmp_path: Path, onboarded: Onboarded) -> None:
    with onboarded.served(tmp_path / "data") as node:
        node.advance(MTU_START + 5 * 900)
        request = replace(p1_request(tmp_path), url=str(node.http.base_url), out=None)
        expected = {"telegrams": 13, "between": 5, "texts": 5}
        assert run_telegrams(request, silent) == expected | {"outcomes": {"accepted": 5} | REFUSED}
        assert run_telegrams(request, silent) == expected | {"outcomes": {"duplicate": 5} | REFUSED}
        with Database(node.folder.database).read() as tx:
            (reading,) = (stored.reading for stored in tx.readings.at(1, MTU_START + 900))
            assert (tx.readings.count(), reading.import_wh, reading.export_wh) == (4, 200, 200)


def test_the_command_says_by_its_exit_status_whether_all_was_taken(tmp_path: Path) -> None:
    source, out, key = tmp_path / "p1.txt", tmp_path / "out.txt", write_key(tmp_path, SELL_METER)
    command = ["meter", "p1", str(source), "--meter", "1", "--key", str(key), "--serial", SERIAL]
    cli = create_cli(_operations())
    source.write_bytes(telegram(local(MTU_START)).encode())
    assert CliRunner().invoke(cli, [*command, "--out", str(out)]).exit_code == 0
    source.write_bytes(telegram(local(MTU_START)).encode().replace(b"100.5", b"100.6"))
    assert CliRunner().invoke(cli, [*command, "--out", str(out)]).exit_code == 1
    assert type(CliRunner().invoke(cli, command).exception).__name__ == "OneWayOut"


def test_batches_hold_500_texts_and_outcomes_come_in_the_order_of_rows() -> None:
    batches: list[int] = []

    def send(texts: object) -> list[str]:
        assert isinstance(texts, list)
        batches.append(len(texts))
        return [f"sent {text}" for text in texts]

    outbound = Outbound(send=send, report=None)
    for number in range(1_201):
        outbound.add({}, str(number))
        outbound.refuse({}, "refused")
    outbound.flush()
    assert (batches, outbound.sent) == ([500, 500, 201], 1_201)
    assert list(outbound.outcomes)[:4] == ["sent 0", "refused", "sent 1", "sent 2"]
    assert outbound.outcomes["refused"] == 1_201


@pytest.mark.parametrize("rows", [b"\xff\xfe", b"load 1,0,1.pem\n", b"a," + b"9" * 5000])
def test_a_bad_fleet_is_a_typed_error(tmp_path: Path, rows: bytes) -> None:
    (tmp_path / "fleet.csv").write_bytes(b"meter_id,meter,key\n" + rows)
    with pytest.raises(FleetFileRefused):
        read_fleet(tmp_path / "fleet.csv")
