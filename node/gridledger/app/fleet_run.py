"""`gridledger meter simulate`: send what a fleet of meters signs to a node, in recorded or accelerated time."""

import csv
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from gridledger.cli.operations import FleetRequest
from gridledger.cli.output import OnProgress
from gridledger.errors import InvalidInput, Unavailable
from gridledger.simulation.fleet import Fleet, FleetMeter, parse_faults
from gridledger.simulation.inputs import load_readings

__all__ = ["FleetFileRefused", "NodeRefusesReadings", "run_fleet"]

_COLUMNS = ("meter_id", "meter", "key")
_MOST_TEXTS = 500
_LONGEST_WAIT_S = 60


@dataclass(kw_only=True, eq=False)
class FleetFileRefused(InvalidInput):
    """The fleet's file has a row per meter: meter_id, meter (the registry's number), key (a PEM file beside it)."""

    line: int
    problem: str


@dataclass(kw_only=True, eq=False)
class NodeRefusesReadings(Unavailable):
    """The node does not take the batch as a whole."""

    status: int


def run_fleet(request: FleetRequest, on_progress: OnProgress) -> dict[str, Any]:
    """Play the file to the node; returns what was sent, which faults happened, and what became of the texts."""
    readings = load_readings(request.readings)
    fleet = Fleet(meters=_meters(request.fleet), faults=parse_faults(request.faults), seed=request.seed)
    faults, outcomes, sent = Counter[str](), Counter[str](), 0
    started, first, done = time.monotonic(), readings.mtu_starts[0], 0
    with httpx.Client(base_url=request.url, timeout=30, trust_env=False) as node:
        for batch in fleet.play(readings):
            if request.speed:
                time.sleep(max(0.0, started + (batch.moment - first) / request.speed - time.monotonic()))
            for begin in range(0, len(batch.texts), _MOST_TEXTS):
                outcomes.update(_post(node, batch.texts[begin : begin + _MOST_TEXTS]))
            faults.update(batch.faults)
            sent, done = sent + len(batch.texts), min(done + 1, len(readings.mtu_starts))
            on_progress(done, len(readings.mtu_starts), "moments played")
    return {
        "meters": len(fleet.meters),
        "texts": sent,
        "faults": dict(sorted(faults.items())),
        "outcomes": dict(sorted(outcomes.items())),
    }


def _post(node: httpx.Client, texts: tuple[str, ...]) -> list[str]:
    """Post until the node has answered; it knows what it has had already. Returns a status or a problem for each."""
    retrying = Retrying(
        retry=retry_if_exception_type(httpx.TransportError),
        wait=wait_exponential(max=5),
        stop=stop_after_delay(_LONGEST_WAIT_S),
        reraise=True,
    )
    answer = retrying(node.post, "/v1/readings", json={"readings": list(texts)})
    if answer.status_code != httpx.codes.OK:
        raise NodeRefusesReadings(status=answer.status_code)
    results: list[dict[str, Any]] = answer.json()["results"]
    return [_outcome(result) for result in results]


def _outcome(result: dict[str, Any]) -> str:
    problem = result.get("problem")
    return str(result["status"] if problem is None else problem["type"].rpartition(":")[2])


def _meters(path: Path) -> dict[str, FleetMeter]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, restval="")
        if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
            raise FleetFileRefused(line=1, problem=f"no column {', '.join(missing)}")
        meters: dict[str, FleetMeter] = {}
        for line, row in enumerate(rows, start=2):
            if not row["meter"].isdecimal() or row["meter_id"] in meters:
                raise FleetFileRefused(line=line, problem="no number, or a meter twice")
            serial = row.get("serial") or row["meter_id"]
            key = _key(path.parent / row["key"], line)
            meters[row["meter_id"]] = FleetMeter(number=int(row["meter"]), serial=serial, key=key)
        return meters


def _key(path: Path, line: int) -> EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise FleetFileRefused(line=line, problem=f"{path.name} holds no P-256 private key")
    return key
