"""What a limit did to a run: how much generation was given up, and where the limit was exceeded all the same."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridledger.dispatch.shares import capped_wh
from gridledger.simulation.inputs import MeterSpec, ReadingsFile
from gridledger.units import format_utc, parse_utc

__all__ = ["limit_report"]

WATTS_PER_KW = 1000


def limit_report(
    readings: ReadingsFile, meters: tuple[MeterSpec, ...], measured: Path, limit_kw: int | None
) -> dict[str, Any]:
    """Figures of a run with a limit for each zone, kW, from what was there and what was measured (readings.csv).

    Zones and MTUs beyond the limit are named one by one with their net energy, Wh, export positive.
    """
    if limit_kw is None:
        return {}
    zones = {spec.meter_id: spec.zone for spec in meters}
    given_up_wh, net_wh = 0, Counter[tuple[int, int]]()
    exports_wh = {
        (reading.meter_id, mtu_start): reading.export_wh
        for mtu_start in readings.mtu_starts
        for reading in readings.at(mtu_start)
    }
    with measured.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            meter_id, mtu_start = row["meter_id"], parse_utc("interval_start", row["interval_start"])
            import_wh, export_wh = int(row["import_wh"]), int(row["export_wh"])
            net_wh[mtu_start, zones[meter_id]] += export_wh - import_wh
            given_up_wh += exports_wh[meter_id, mtu_start] - export_wh
    limit_wh = capped_wh(limit_kw * WATTS_PER_KW, readings.mtu_length_s)
    broken = {key: energy_wh for key, energy_wh in sorted(net_wh.items()) if abs(energy_wh) > limit_wh}
    return {
        "generation_given_up_wh": given_up_wh,
        "export_limit_exceeded": _named(broken, 1),
        "import_limit_exceeded": _named(broken, -1),
    }


def _named(broken: Mapping[tuple[int, int], int], sign: int) -> list[dict[str, Any]]:
    return [
        {"zone": zone, "mtu_start": format_utc(mtu_start), "net_wh": energy_wh}
        for (mtu_start, zone), energy_wh in broken.items()
        if energy_wh * sign > 0
    ]
