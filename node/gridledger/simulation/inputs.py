"""The one door to input files: readings, meters, prices, grid factors, where they lie and which bytes they are.

What a file may hold and why a row is refused is said at each `load_` function; errors are typed, and after one nothing
is imported. `ReadingsFile.refused`, `MetersFile.refused` and `HourlySeries.refused` are the row-by-row report.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from gridledger.metering.imports.tables import (
    DuplicateColumns,
    MissingColumns,
    NoUsableRows,
    ReasonCode,
    RefusedRow,
    UnknownColumns,
)
from gridledger.simulation.input_meters import (
    DEFAULT_SUPPLIER,
    DEFAULT_ZONE,
    MeterNotInFile,
    MeterRow,
    MetersFile,
    MeterSpec,
    OwnerWithTwoSuppliers,
    load_meters,
    meter_specs,
    power_rounded_up_to_kw,
)
from gridledger.simulation.input_readings import (
    MAX_ENERGY_WH,
    EmptyWindow,
    MeterExtremes,
    MeterReading,
    ReadingsFile,
    UnsupportedMtuLength,
    load_readings,
)
from gridledger.simulation.input_series import (
    HourlySeries,
    SeriesNotCovering,
    SeriesStartsBlank,
    SeriesValue,
    ValueOrigin,
    load_carbon,
    load_prices,
)
from gridledger.text_files import UnreadableFile

__all__ = [
    "DEFAULT_SUPPLIER",
    "DEFAULT_ZONE",
    "MAX_ENERGY_WH",
    "SIMBENCH_DAY_METERS",
    "SIMBENCH_DAY_READINGS",
    "DuplicateColumns",
    "EmptyWindow",
    "HourlySeries",
    "MeterExtremes",
    "MeterNotInFile",
    "MeterReading",
    "MeterRow",
    "MeterSpec",
    "MetersFile",
    "MissingColumns",
    "NoUsableRows",
    "OwnerWithTwoSuppliers",
    "ReadingsFile",
    "ReasonCode",
    "RefusedRow",
    "SeriesNotCovering",
    "SeriesStartsBlank",
    "SeriesValue",
    "UnknownColumns",
    "UnreadableFile",
    "UnsupportedMtuLength",
    "ValueOrigin",
    "data_folder",
    "file_sha256",
    "inputs_fingerprint",
    "load_carbon",
    "load_meters",
    "load_prices",
    "load_readings",
    "meter_specs",
    "power_rounded_up_to_kw",
]

PACKAGE_DATA = Path(__file__).resolve().parent / "data"
SIMBENCH_DAY_READINGS = PACKAGE_DATA / "simbench_rural2_2016-06-13_15min.csv.gz"
SIMBENCH_DAY_METERS = PACKAGE_DATA / "simbench_rural2_2016-06-13_meters.csv"

CHECKOUT = Path(__file__).resolve().parents[3]


def data_folder(environment: Mapping[str, str], checkout: Path = CHECKOUT) -> Path | None:
    """Folder of the outside data sets: `GRIDLEDGER_DATA`, by default `<checkout>/../shared/data`; None if absent."""
    named = environment.get("GRIDLEDGER_DATA")
    folder = Path(named) if named else checkout.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as they lie on disk, in hex. Raises UnreadableFile."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise UnreadableFile(path=str(path), problem=str(problem)) from problem


def inputs_fingerprint(files: Mapping[str, Path | None]) -> str:
    """SHA-256, in hex, over the role and the bytes of each input file; names and places of the files do not count.

    It is the hash of the text made of one line `role sha256` per file, by role ascending, `role -` where there is no
    file, so that `sha256sum` can recompute it. Raises UnreadableFile.
    """
    lines = (f"{role} {'-' if path is None else file_sha256(path)}\n" for role, path in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
