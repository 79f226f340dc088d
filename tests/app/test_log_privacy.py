"""Nothing that a meter said, and no salt, is in a node's log or metrics, whatever goes well or wrong."""

import base64
import json
import re
import shutil
from dataclasses import dataclass

import httpx
import pytest
from tests.api.running import BUY_METER, MTU_LENGTH_S, MTU_START, SELL_METER, Onboarded, RunningNode
from tests.metering.fakes import Device, a_reading, a_register_reading

from gridledger.app.node import NodeFolder
from gridledger.app.node_process import NodeProcess

MTU_END = MTU_START + MTU_LENGTH_S
SERIAL = "EMH-7731-ALPHA"
IMPORT_REGISTER_WH, EXPORT_REGISTER_WH, IMPORT_WH, EXPORT_WH = 412_345_678_901, 398_765_432_107, 731, 1_357
WINDOW = 16


def registers(taken_at: int, imported: int, exported: int, **changes: object) -> str:
    """An OCMF text of the seller's device."""
    values = {"meter_id": SERIAL, "counter": taken_at // MTU_LENGTH_S} | changes
    reading = a_register_reading(
        meter=SELL_METER, taken_at=taken_at, import_register_wh=imported, export_register_wh=exported, **values
    )
    return Device(SELL_METER).sign_registers(reading)


def interval(**changes: object) -> str:
    """A JWS of the buyer's device."""
    values: dict[str, object] = {"meter_id": SERIAL, "import_wh": IMPORT_WH, "export_wh": EXPORT_WH} | changes
    return Device(BUY_METER).sign(a_reading(meter=BUY_METER, **values))  # type: ignore[arg-type]


START, END = (
    registers(MTU_START, IMPORT_REGISTER_WH, EXPORT_REGISTER_WH),
    registers(MTU_END, IMPORT_REGISTER_WH + IMPORT_WH, EXPORT_REGISTER_WH + EXPORT_WH),
)
BACKWARDS = registers(MTU_END + MTU_LENGTH_S, IMPORT_REGISTER_WH - 1, EXPORT_REGISTER_WH)
GOOD = [START, END, interval()]
BAD = [
    registers(MTU_END, IMPORT_REGISTER_WH + 1, EXPORT_REGISTER_WH),
    BACKWARDS,
    interval(export_wh=EXPORT_WH + 1),
    interval(mtu_start=MTU_END, export_wh=1_999_999),
    interval(mtu_start=MTU_END)[:-4] + "AAAA",
    START.replace("G", "X", 1),
    "OCMF|{" + SERIAL,
]
LATER = interval(mtu_start=MTU_END)


@dataclass
class Run:
    """What a node printed, and what must not be in it."""

    log: str
    metrics: str
    secrets: set[str]


def windows(text: str) -> set[str]:
    """Everything of this length inside a text."""
    return {text[at : at + WINDOW] for at in range(max(1, len(text) - WINDOW + 1))}


def payload(text: str) -> str:
    """What a JWS holds, in clear."""
    segment = text.split(".")[1]
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode()


def found_in(text: str, secrets: set[str]) -> set[str]:
    """Secrets that stand in a text; hex in either case counts."""
    seen = windows(text) | windows(text.lower())
    numbers = set(re.findall(r"\d+(?:\.\d+)?", text))
    return {one for one in secrets if one in seen or one in numbers or (len(one) < WINDOW and one in text)}


def secrets_of(salts: list[bytes]) -> set[str]:
    """Windows of texts, payloads and salts; serial and energies as they stand."""
    texts = [*GOOD, LATER, *BAD[:4]]
    long = [*texts, *(payload(text) for text in texts if not text.startswith("OCMF")), *(salt.hex() for salt in salts)]
    values = (IMPORT_REGISTER_WH, EXPORT_REGISTER_WH, IMPORT_REGISTER_WH + IMPORT_WH, EXPORT_REGISTER_WH + EXPORT_WH)
    kwh = [f"{value // 1_000}.{value % 1_000:03d}" for value in values]
    return {window for text in long for window in windows(text)} | {SERIAL, *map(str, values), *kwh}


@pytest.fixture(scope="module")
def run(onboarded: Onboarded, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A node process that takes good and bad readings, anchors them, and then fails to write one."""
    folder = NodeFolder(tmp_path_factory.mktemp("log") / "data")
    shutil.copytree(onboarded.folder.path, folder.path)
    with NodeProcess(folder.path) as node:
        node.advance(MTU_END + MTU_LENGTH_S)
        statuses = [one["status"] for one in _post(node.base_url, [*GOOD, *BAD]).json()["results"]]
        assert statuses == ["accepted"] * 3 + ["disputed", "refused", "disputed"] + ["refused"] * 4
        node.advance(MTU_END + 2 * MTU_LENGTH_S)
        RunningNode.execute(
            folder, "CREATE TRIGGER full BEFORE INSERT ON meter_reading BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
        assert _post(node.base_url, [LATER]).status_code == 500
        metrics = httpx.get(f"{node.base_url}/metrics", trust_env=False).text
    salts = [row[9] for row in RunningNode.memory_of(folder)["meter_reading"]]
    assert len(salts) == 2
    kept = [salt for salt in salts if isinstance(salt, bytes)]
    return Run(log=folder.log.read_text(), metrics=metrics, secrets=secrets_of(kept))


def _post(url: str, texts: list[str]) -> httpx.Response:
    return httpx.post(f"{url}/v1/readings", json={"readings": texts}, trust_env=False, timeout=30)


def test_the_log_tells_of_the_failure_and_nothing_of_the_reading(run: Run) -> None:
    events = [json.loads(line)["event"] for line in run.log.splitlines() if line.startswith("{")]
    assert "unexpected_error" in events
    assert "disk full" in run.log
    assert found_in(run.log, run.secrets) == set()


def test_metrics_count_outcomes_and_tell_no_value(run: Run) -> None:
    assert 'outcome="registers-differ"' in run.metrics
    assert found_in(run.metrics, run.secrets) == set()


@pytest.mark.parametrize(
    "planted",
    [
        START[200:230],
        END,
        f"backwards from {IMPORT_REGISTER_WH}",
        "412345678.901 kWh",
        f"serial {SERIAL} unknown",
        payload(LATER)[10:40],
    ],
    ids=["part of a text", "a text", "a register", "a register in kWh", "a serial", "part of a payload"],
)
def test_the_search_finds_what_is_planted(planted: str, run: Run) -> None:
    assert found_in(run.log + planted + "\n", run.secrets)


def test_the_search_finds_a_planted_salt(run: Run) -> None:
    salt = next(one for one in sorted(run.secrets) if len(one) == WINDOW and re.fullmatch("[0-9a-f]{16}", one))
    assert found_in(run.log + f"salt=0x{salt.upper()}", run.secrets)
