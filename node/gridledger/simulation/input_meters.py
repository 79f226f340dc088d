"""Meters from a file, and what each meter with readings is to the market: zone, owner, supplier, source, capacities."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Literal

from gridledger.errors import InvalidInput
from gridledger.metering.imports.tables import NoUsableRows, RefusedRow, RowRefused, checked_name, shown
from gridledger.simulation.input_readings import ReadingsFile
from gridledger.simulation.input_rows import open_table
from gridledger.units import UINT32_MAX

__all__ = [
    "DEFAULT_SUPPLIER",
    "DEFAULT_ZONE",
    "MeterNotInFile",
    "MeterRow",
    "MeterSpec",
    "MetersFile",
    "OwnerWithTwoSuppliers",
    "load_meters",
    "meter_specs",
    "power_rounded_up_to_kw",
]

DEFAULT_ZONE = 1
DEFAULT_SUPPLIER = "supplier-1"
WATTS_PER_KW, WATT_DECIMALS = 1000, 3
MAX_CAPACITY_KW = 10**6
PLAIN_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,15})?")

Source = Literal["solar", "none"]


@dataclass(kw_only=True, eq=False)
class MeterNotInFile(InvalidInput):
    """Meters with readings are absent from the meters file, or their row was refused."""

    path: str
    meter_ids: tuple[str, ...]


@dataclass(kw_only=True, eq=False)
class OwnerWithTwoSuppliers(InvalidInput):
    """One owner's meters name different suppliers, but every participant has one."""

    owner: str
    suppliers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterRow:
    """One row of a meters file; None where the cell or its column is missing. Powers in W, rounded up from kW."""

    meter_id: str
    zone: int | None
    owner: str | None
    supplier: str | None
    pv_w: int | None
    load_max_w: int | None


@dataclass(frozen=True, kw_only=True)
class MetersFile:
    """The meters of a file by meter_id, with what was refused."""

    path: Path
    meters: Mapping[str, MeterRow]
    refused: tuple[RefusedRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeterSpec:
    """What a meter is registered as: `source` is "solar" (low-carbon) or "none"; capacities in W."""

    meter_id: str
    zone: int
    owner: str
    supplier: str
    source: Source
    import_capacity_w: int
    export_capacity_w: int


def load_meters(path: Path) -> MetersFile:
    """Read a meters file; only `meter_id` is required, columns other than those of MeterRow are ignored.

    A row is refused for: number of fields, quotes, a name (meter_id, owner, supplier) that is not 1 to 64 printable
    characters, a zone outside 1..2**32-1, a power that is no plain number of 0..1,000,000 kW, a meter already read:
    the first row counts. A blank optional cell is missing.
    Raises UnreadableFile, MissingColumns, DuplicateColumns, NoUsableRows.
    """
    meters: dict[str, MeterRow] = {}
    with open_table(path, required=("meter_id",), optional=None) as table:
        columns = table.columns

        def take(_line_number: int, fields: list[str]) -> None:
            row = _parsed_row(columns, fields)
            if row.meter_id in meters:
                same = meters[row.meter_id] == row
                raise RowRefused(
                    "duplicate-identical" if same else "duplicate-different",
                    f"{row.meter_id} was read before with {'the same' if same else 'other'} values",
                )
            meters[row.meter_id] = row

        refused = table.for_each(take)
    if not meters:
        raise NoUsableRows(path=str(path), refused_count=len(refused), first_refused=refused[0] if refused else None)
    return MetersFile(path=path, meters=dict(sorted(meters.items())), refused=refused)


def _parsed_row(columns: Mapping[str, int], fields: list[str]) -> MeterRow:
    cells = {name: fields[position] for name, position in columns.items() if fields[position].strip()}
    owner, supplier = cells.get("owner"), cells.get("supplier")
    return MeterRow(
        meter_id=checked_name("meter_id", cells.get("meter_id", "")),
        zone=_parsed_zone(cells["zone"]) if "zone" in cells else None,
        owner=None if owner is None else checked_name("owner", owner),
        supplier=None if supplier is None else checked_name("supplier", supplier),
        pv_w=_watts("pv_kwp", cells["pv_kwp"]) if "pv_kwp" in cells else None,
        load_max_w=_watts("load_max_kw", cells["load_max_kw"]) if "load_max_kw" in cells else None,
    )


def _parsed_zone(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise RowRefused("bad-number", f"zone {shown(text)} is not a positive integer")
    if len(text) > len(str(UINT32_MAX)) or not 1 <= int(text) <= UINT32_MAX:
        raise RowRefused("number-out-of-range", f"zone {shown(text)} is not within 1..{UINT32_MAX}")
    return int(text)


def _watts(field: str, text: str) -> int:
    """Power in W, rounded up, of a decimal text in kW."""
    if not PLAIN_NUMBER.fullmatch(text):
        raise RowRefused("bad-number", f"{field} {shown(text)} is not a plain number of kW")
    watts = int(Decimal(text).scaleb(WATT_DECIMALS).to_integral_value(ROUND_CEILING))
    if watts > MAX_CAPACITY_KW * WATTS_PER_KW:
        raise RowRefused("number-out-of-range", f"{field} {shown(text)} is above {MAX_CAPACITY_KW} kW")
    return watts


def power_rounded_up_to_kw(energy_wh: int, mtu_length_s: int) -> int:
    """Mean power of an energy over one MTU, in W, rounded up to a whole kW."""
    return -(-energy_wh * 3600 // (mtu_length_s * WATTS_PER_KW)) * WATTS_PER_KW


def meter_specs(readings: ReadingsFile, meters: MetersFile | None) -> tuple[MeterSpec, ...]:
    """What each meter with readings is registered as, ascending by meter_id.

    Missing: zone 1, an owner per meter, one supplier. Source is "solar" where `pv_kwp` > 0 or, where that is missing,
    any `generation_wh` > 0. A capacity is `load_max_kw` (import) or `pv_kwp` (export) as it stands; where missing or
    exceeded anywhere in the readings file, the file's maximum mean power rounded up to 1 kW.
    Raises MeterNotInFile if a meters file is given and lacks any, OwnerWithTwoSuppliers.
    """
    rows = {} if meters is None else meters.meters
    missing = tuple(meter_id for meter_id in readings.meter_ids if meter_id not in rows)
    if meters is not None and missing:
        raise MeterNotInFile(path=str(meters.path), meter_ids=missing)
    specs = tuple(_spec(readings, meter_id, rows.get(meter_id)) for meter_id in readings.meter_ids)
    _check_one_supplier_each(specs)
    return specs


def _spec(readings: ReadingsFile, meter_id: str, row: MeterRow | None) -> MeterSpec:
    pv_w = None if row is None else row.pv_w
    load_max_w = None if row is None else row.load_max_w
    solar = readings.has_generation(meter_id) if pv_w is None else pv_w > 0
    return MeterSpec(
        meter_id=meter_id,
        zone=DEFAULT_ZONE if row is None or row.zone is None else row.zone,
        owner=f"owner-of-{meter_id}" if row is None or row.owner is None else row.owner,
        supplier=DEFAULT_SUPPLIER if row is None or row.supplier is None else row.supplier,
        source="solar" if solar else "none",
        import_capacity_w=_capacity_w(load_max_w, readings.max_import_wh(meter_id), readings.mtu_length_s),
        export_capacity_w=_capacity_w(pv_w, readings.max_export_wh(meter_id), readings.mtu_length_s),
    )


def _capacity_w(stated_w: int | None, max_energy_wh: int, mtu_length_s: int) -> int:
    if stated_w is not None and max_energy_wh * 3600 <= stated_w * mtu_length_s:
        return stated_w
    return power_rounded_up_to_kw(max_energy_wh, mtu_length_s)


def _check_one_supplier_each(specs: tuple[MeterSpec, ...]) -> None:
    supplier_of: dict[str, str] = {}
    for spec in specs:
        first = supplier_of.setdefault(spec.owner, spec.supplier)
        if first != spec.supplier:
            raise OwnerWithTwoSuppliers(owner=spec.owner, suppliers=(first, spec.supplier))
