"""`gridledger meter simulate`: send what a fleet of meters signs to a node, in recorded or accelerated time."""

import time
from collections import Counter
from typing import Any

from gridledger.app.gateway import MOST_TEXTS, node_sender, read_fleet
from gridledger.cli.operations import FleetRequest
from gridledger.cli.output import OnProgress
from gridledger.simulation.fleet import Fleet, parse_faults
from gridledger.simulation.inputs import load_readings

__all__ = ["run_fleet"]


def run_fleet(request: FleetRequest, on_progress: OnProgress) -> dict[str, Any]:
    """Play the file to the node; returns what was sent, which faults happened, and what became of the texts."""
    readings = load_readings(request.readings)
    fleet = Fleet(meters=read_fleet(request.fleet), faults=parse_faults(request.faults), seed=request.seed)
    faults, outcomes, sent = Counter[str](), Counter[str](), 0
    started, first, done = time.monotonic(), readings.mtu_starts[0], 0
    with node_sender(request.url) as send:
        for batch in fleet.play(readings):
            if request.speed:
                time.sleep(max(0.0, started + (batch.moment - first) / request.speed - time.monotonic()))
            for begin in range(0, len(batch.texts), MOST_TEXTS):
                outcomes.update(send(batch.texts[begin : begin + MOST_TEXTS]))
            faults.update(batch.faults)
            sent, done = sent + len(batch.texts), min(done + 1, len(readings.mtu_starts))
            on_progress(done, len(readings.mtu_starts), "moments played")
    return {
        "meters": len(fleet.meters),
        "texts": sent,
        "faults": dict(sorted(faults.items())),
        "outcomes": dict(sorted(outcomes.items())),
    }
