"""The surface is what the Alliance's own OpenAPI description says, by a test program that nobody here wrote.

Schemathesis reads what `standard.py` makes of that file and sends what it makes up of it: examples, the edges of every
schema, random valid and invalid requests, and chains of requests, as each role. GRIDLEDGER_PROFILE=long sends many
times more.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.openadr.running import OPERATOR, OWN_CALLBACK, VEN, Surface, surface
from tests.openadr.standard import PUBLISHED, conformable, published

LONG = os.environ.get("GRIDLEDGER_PROFILE") == "long"
EXAMPLES = "40" if LONG else "2"
TIMEOUT_S = 1_800 if LONG else 300
pytestmark = pytest.mark.timeout(TIMEOUT_S + 60)
_CLI = "from schemathesis.cli import schemathesis; schemathesis()"


def schemathesis(
    vtn: Surface, who: str, folder: Path, document: dict[str, Any], *options: str
) -> tuple[int, str, dict[str, Any]]:
    """Exit status, what it printed, and its report."""
    schema, report = folder / "openadr3.json", folder / "report.json"
    schema.write_text(json.dumps(document))
    command = [
        *(sys.executable, "-c", _CLI, "run", str(schema), "--url", vtn.url, "--no-color", "--warnings", "off"),
        *("-H", f"Authorization: Bearer {vtn.token(who)}", "--report", "json", "--report-json-path", str(report)),
        *("--workers", "2", "--seed", "1", "--continue-on-failure", "--generation-database", "none", *options),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    found = json.loads(report.read_text()) if report.exists() else {}
    return done.returncode, done.stdout + done.stderr, found


def test_the_published_file_is_unchanged() -> None:
    expected = "0a85f28a91565b3e2c7488d2a7a7a9afb11ce3ef6b35afddb328484720077006"
    assert hashlib.sha256(PUBLISHED.read_bytes()).hexdigest() == expected
    assert published()["info"]["license"]["name"] == "Apache 2.0"


def check(vtn: Surface, who: str, folder: Path, document: dict[str, Any], least_cases: int, *options: str) -> None:
    """Every operation was tested, by many cases, and no check failed."""
    status, printed, report = schemathesis(vtn, who, folder, document, *options)
    assert status == 0, printed
    assert report["operations"]["tested"] == report["operations"]["total"] == 45
    assert report["test_cases"]["generated"] >= least_cases


@pytest.mark.parametrize(
    ("who", "phases", "least_cases"),
    [
        (OPERATOR, "examples,coverage,fuzzing,stateful", 3_500),
        (VEN, f"examples,{'coverage,' if LONG else ''}fuzzing,stateful", 100),
    ],
    ids=["operator", "ven"],
)
def test_no_request_finds_a_deviation(vtn: Surface, tmp_path: Path, who: str, phases: str, least_cases: int) -> None:
    options = ("--phases", phases, "--max-examples", EXAMPLES)
    check(vtn, who, tmp_path, conformable(callback_url=OWN_CALLBACK), least_cases, *options)


@pytest.mark.parametrize("who", [OPERATOR, VEN] if LONG else [OPERATOR])
def test_answers_keep_to_the_file_without_our_liberties(keys: Path, tmp_path: Path, who: str) -> None:
    document = conformable(liberties=False, callback_url=OWN_CALLBACK)
    options = ("--mode", "positive", "--phases", "examples,fuzzing", "--max-examples", EXAMPLES)
    with surface(tmp_path / "data", keys) as unused:
        check(unused, who, tmp_path, document, 50, *options)
