"""A gateway's side of the API: the devices it holds keys of, and batches of signed texts with their outcomes."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from gridledger.cli.key_files import DeviceKeyUnreadable, load_key
from gridledger.errors import InvalidInput, Unavailable
from gridledger.simulation.fleet import FleetMeter
from gridledger.units import UINT32_MAX

__all__ = [
    "MOST_TEXTS",
    "FleetFileRefused",
    "NodeRefusesReadings",
    "NodeUnreachable",
    "Outbound",
    "Send",
    "node_sender",
    "read_fleet",
]

MOST_TEXTS = 500
_COLUMNS = ("meter_id", "meter", "key")
_LONGEST_WAIT_S = 60
_MOST_METER_DIGITS = len(str(UINT32_MAX))

Send = Callable[[Sequence[str]], list[str]]


@dataclass(kw_only=True, eq=False)
class FleetFileRefused(InvalidInput):
    """The fleet's file has a row per meter: meter_id, meter (the registry's number), key (a PEM file beside it)."""

    line: int
    problem: str


@dataclass(kw_only=True, eq=False)
class NodeRefusesReadings(Unavailable):
    """The node does not take the batch as a whole."""

    status: int


@dataclass(kw_only=True, eq=False)
class NodeUnreachable(Unavailable):
    """The node does not answer; what it had answered before is kept there."""

    url: str
    problem: str


@contextmanager
def node_sender(url: str) -> Iterator[Send]:
    """Posts texts until the node has answered, a minute at most; it knows what it has had already.

    Gives for each text the status, or the code of the problem. Raises NodeRefusesReadings, NodeUnreachable.
    """
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as node:

        def send(texts: Sequence[str]) -> list[str]:
            try:
                return _post(node, texts)
            except httpx.TransportError as problem:
                raise NodeUnreachable(url=url, problem=str(problem)) from problem

        yield send


@dataclass(kw_only=True)
class Outbound:
    """Texts on their way out in batches of 500, and what became of each, told in the order they came.

    A report has a JSON line per row: what the caller says of it, and `outcome`.
    """

    send: Send
    report: TextIO | None
    outcomes: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    _waiting: list[tuple[Mapping[str, object], str | None]] = field(default_factory=list)
    _texts: int = 0

    def add(self, row: Mapping[str, object], text: str) -> None:
        """Take a text along; a full batch goes out at once."""
        self._waiting.append((row, text))
        self._texts += 1
        if self._texts == MOST_TEXTS:
            self.flush()

    def refuse(self, row: Mapping[str, object], outcome: str) -> None:
        """Tell of a row that no text comes from."""
        self._waiting.append(({**row, "outcome": outcome}, None))
        if len(self._waiting) >= 2 * MOST_TEXTS:
            self.flush()

    def flush(self) -> None:
        """Send what is waiting, and tell what became of it."""
        texts = [text for _, text in self._waiting if text is not None]
        answers = iter(self.send(texts) if texts else ())
        for row, text in self._waiting:
            outcome = str(row["outcome"]) if text is None else next(answers)
            self.outcomes[outcome] += 1
            if self.report is not None:
                self.report.write(json.dumps({**row, "outcome": outcome}) + "\n")
        self.sent += len(texts)
        self._waiting, self._texts = [], 0


def read_fleet(path: Path) -> dict[str, FleetMeter]:
    """Devices by meter id, from a CSV file of meter_id, meter, key and optionally serial. Raises FleetFileRefused."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return _fleet(path.parent, csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise FleetFileRefused(line=1, problem=f"not a CSV file in UTF-8: {problem}") from problem


def _fleet(folder: Path, rows: "csv.DictReader[str]") -> dict[str, FleetMeter]:
    if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
        raise FleetFileRefused(line=1, problem=f"no column {', '.join(missing)}")
    meters: dict[str, FleetMeter] = {}
    for line, row in enumerate(rows, start=2):
        number = row["meter"] if len(row["meter"]) <= _MOST_METER_DIGITS and row["meter"].isdecimal() else "0"
        if not 0 < int(number) <= UINT32_MAX or row["meter_id"] in meters:
            raise FleetFileRefused(line=line, problem="no number, or a meter twice")
        serial = row.get("serial") or row["meter_id"]
        meters[row["meter_id"]] = FleetMeter(number=int(number), serial=serial, key=_key(folder / row["key"], line))
    return meters


def _post(node: httpx.Client, texts: Sequence[str]) -> list[str]:
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


def _key(path: Path, line: int) -> EllipticCurvePrivateKey:
    try:
        return load_key(path)
    except DeviceKeyUnreadable:
        raise FleetFileRefused(line=line, problem=f"{path.name} holds no P-256 private key") from None
