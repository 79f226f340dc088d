"""`gridledger meter` makes keys and OCMF texts that pyocmf's own command line verifies."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gridledger.cli.meters import add_meter_commands

TIMEOUT_S = 60
ROWS = """meter_id,interval_start,interval_seconds,import_wh,export_wh
a,2016-06-13T00:00:00Z,900,120,0
b,2016-06-13T00:00:00Z,900,7,0
a,2016-06-13T00:15:00Z,900,0,30
a,2016-06-13T01:00:00Z,900,5,5
"""


@pytest.fixture
def cli() -> typer.Typer:
    nothing: Any = None
    made = typer.Typer()
    add_meter_commands(made, nothing)
    return made


def run(cli: typer.Typer, *arguments: object) -> list[str]:
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output.splitlines()


def der(lines: list[str]) -> str:
    return next(line.split()[1] for line in lines if line.startswith("der"))


def pyocmf_accepts(text: str, public_key: str) -> bool:
    """What pyocmf's own command line says."""
    command = [sys.executable, "-c", "from pyocmf.cli import main; main()", text, "--public-key", public_key]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False).returncode == 0


def test_a_signed_reading_verifies_in_pyocmf_and_with_a_flipped_digit_it_does_not(
    cli: typer.Typer, tmp_path: Path
) -> None:
    key = tmp_path / "device.pem"
    public = der(run(cli, "keygen", "--out", key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert der(run(cli, "public", "--key", key)) == public
    at = ("--at", "2016-06-13T00:15:00Z")
    registers = ("--import-kwh", "123.456", "--export-kwh", "3.25", "--counter", 7)
    (text,) = run(cli, "sign", "--key", key, "--meter", 17, "--serial", "load 17", *at, *registers)
    assert pyocmf_accepts(text, public)
    assert not pyocmf_accepts(text.replace("123.456", "123.457"), public)


def test_a_key_is_never_overwritten(cli: typer.Typer, tmp_path: Path) -> None:
    key = tmp_path / "device.pem"
    run(cli, "keygen", "--out", key)
    before = key.read_bytes()
    result = CliRunner().invoke(cli, ["keygen", "--out", str(key)])
    assert (type(result.exception).__name__, key.read_bytes()) == ("KeyExists", before)


def test_a_file_of_intervals_becomes_the_registers_they_add_up_to(cli: typer.Typer, tmp_path: Path) -> None:
    key, readings = tmp_path / "device.pem", tmp_path / "readings.csv"
    readings.write_text(ROWS)
    run(cli, "keygen", "--out", key)
    texts = run(cli, "sign-file", "--key", key, "--meter", 3, "--serial", "a", "--readings", readings)
    values = [tuple(part.split(",")[0] for part in text.split('"RV":')[1:]) for text in texts]
    assert values == [("0.0", "0.0"), ("0.12", "0.0"), ("0.12", "0.03"), ("0.12", "0.03"), ("0.125", "0.035")]


def test_a_meter_without_rows_is_named(cli: typer.Typer, tmp_path: Path) -> None:
    key, readings = tmp_path / "device.pem", tmp_path / "readings.csv"
    readings.write_text(ROWS)
    run(cli, "keygen", "--out", key)
    command = ["sign-file", "--key", str(key), "--meter", "3", "--serial", "c", "--readings", str(readings)]
    assert type(CliRunner().invoke(cli, command).exception).__name__ == "NoRowsOfMeter"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (ROWS + "a,2016-06-13T01:15:00Z,900,x,0\n", "RowNotSigned"),
        (ROWS.replace("import_wh", "import"), "MissingColumns"),
        ("\x1f\x8bnot gzip", "UnreadableFile"),
    ],
)
def test_a_file_with_anything_unusable_is_a_typed_error(
    cli: typer.Typer, tmp_path: Path, content: str, error: str
) -> None:
    key, readings = tmp_path / "device.pem", tmp_path / "readings.csv"
    readings.write_bytes(content.encode("latin-1"))
    run(cli, "keygen", "--out", key)
    command = ["sign-file", "--key", str(key), "--meter", "3", "--serial", "a", "--readings", str(readings)]
    assert type(CliRunner().invoke(cli, command).exception).__name__ == error


def test_what_is_no_p_256_key_is_refused(cli: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    result = CliRunner().invoke(cli, ["public", "--key", str(tmp_path / "key.pem")])
    assert type(result.exception).__name__ == "DeviceKeyUnreadable"


def test_the_evidence_of_texts_is_what_the_contract_s_struct_holds(cli: typer.Typer, tmp_path: Path) -> None:
    key, texts = tmp_path / "device.pem", tmp_path / "texts"
    run(cli, "keygen", "--out", key)
    (tmp_path / "rows.csv").write_text(ROWS)
    rows = ("--readings", tmp_path / "rows.csv", "--meter-id", "a")
    signed = run(cli, "sign-file", "--key", key, "--meter", 17, "--serial", "load 17", *rows)
    texts.write_text("\n".join([*signed, ""]))
    documents = [json.loads(line) for line in run(cli, "evidence", texts)]
    assert len(documents) == len(signed)
    assert len({document["template_hash"] for document in documents}) == 1
    for document, text in zip(documents, signed, strict=True):
        payload, spans, decimals, r, s = document["signed_text"].strip("()").split(",")
        assert bytes.fromhex(payload[2:]).decode() == text.split("|")[1]
        found = [int(spans) >> 32 * index for index in range(5)]
        values = [bytes.fromhex(payload[2:])[span & 0xFFFF :][: span >> 16 & 0xFFFF].decode() for span in found]
        assert values[1] == values[3]
        assert text.count(f'"RV":{values[2]},"RI":"1-0:1.8.0"') == text.count(f'"RV":{values[4]},"RI":"1-0:2.8.0"') == 1
        assert (decimals, len(r), len(s)) == ("3", 66, 66)


def test_a_text_the_contract_could_not_read_is_refused_by_name(cli: typer.Typer, tmp_path: Path) -> None:
    for name, text in (("garbage", "OCMF|{}|{}"), ("jws", "a.b.c")):
        (tmp_path / name).write_text(text + "\n")
        error = CliRunner().invoke(cli, ["evidence", str(tmp_path / name)]).exception
        assert type(error).__name__ == "ReadingUnreadable"
