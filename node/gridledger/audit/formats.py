"""Files of an export: their names, columns and rows. The writer and the audit read the same table."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gridledger.audit import kinds
from gridledger.audit.demand_rows import (
    DemandEventRow,
    DemandMeasurementRow,
    DemandParticipationRow,
    DemandShiftRow,
)
from gridledger.audit.kinds import Kind
from gridledger.audit.rows import (
    AcceptanceRow,
    BookRow,
    BulkCancellationRow,
    CancellationRow,
    MeterEventRow,
    MeterRow,
    OrderRow,
    PositionRow,
    ReadingRow,
    SetpointRow,
    TradeRow,
)

__all__ = [
    "ACCEPTANCES",
    "BLOCKS",
    "BOOKS",
    "BULK_CANCELLATIONS",
    "CANCELLATIONS",
    "DEMAND_EVENTS",
    "DEMAND_MEASUREMENTS",
    "DEMAND_PARTICIPATIONS",
    "DEMAND_SHIFTS",
    "DEPLOYMENT",
    "EXPORT_FORMAT",
    "FORMAT_VERSION",
    "MANIFEST",
    "MARKET",
    "METERS",
    "METER_EVENTS",
    "ORDERS",
    "POSITIONS",
    "READINGS",
    "ROW_FILES",
    "SETPOINTS",
    "TOMBSTONES",
    "TRADES",
    "RowFile",
    "csv_line",
    "csv_values",
]

EXPORT_FORMAT, FORMAT_VERSION = "gridledger-export", 5
MANIFEST, MARKET, DEPLOYMENT, BLOCKS = "manifest.json", "market.json", "deployment.json", "blocks.jsonl"
TOMBSTONES = "tombstones.jsonl"
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class RowFile(Generic[R_co]):
    """A CSV file: its name, and for each column how its values are written."""

    name: str
    make: Callable[[Iterable[Any]], R_co]
    columns: dict[str, Kind]

    @property
    def header(self) -> str:
        """The first line."""
        return csv_line(list(self.columns))


def csv_line(values: Sequence[str]) -> str:
    """One line with its end, quoted where needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def csv_values(line: str) -> list[str]:
    """Values of one line without its end. Raises csv.Error."""
    if '"' not in line:
        return line.split(",")
    return next(csv.reader([line], strict=True))


_SLOT = {"zone": kinds.WHOLE, "mtu_start": kinds.WHOLE}
_CHUNK = {**_SLOT, "chunk": kinds.WHOLE, "position": kinds.WHOLE}
_RECEIPT = {
    "salt": kinds.WHOLE,
    "signature": kinds.SIGNATURE,
    "received_at": kinds.WHOLE,
    "receipt_block_hash": kinds.HASH,
    "receipt_signature": kinds.SIGNATURE,
}

ORDERS = RowFile(
    name="orders.csv",
    make=OrderRow._make,
    columns={
        "running_number": kinds.WHOLE,
        "uid": kinds.HASH,
        "owner": kinds.ADDRESS,
        "meter": kinds.WHOLE,
        "zone": kinds.WHOLE,
        "side": kinds.SIDE,
        "product": kinds.PRODUCT,
        "pricing": kinds.PRICING,
        "first_mtu_start": kinds.WHOLE,
        "last_mtu_start": kinds.WHOLE,
        "quantity_wh": kinds.WHOLE,
        "limit_cents_per_mwh": kinds.INTEGER,
        "expiry": kinds.WHOLE,
        **_RECEIPT,
    },
)
ACCEPTANCES = RowFile(
    name="acceptances.csv",
    make=AcceptanceRow._make,
    columns={
        "running_number": kinds.WHOLE,
        "uid": kinds.HASH,
        "owner": kinds.ADDRESS,
        "meter": kinds.WHOLE,
        "zone": kinds.WHOLE,
        "offer_uid": kinds.HASH,
        "mtu_start": kinds.WHOLE,
        "quantity_wh": kinds.WHOLE,
        **_RECEIPT,
    },
)
CANCELLATIONS = RowFile(
    name="cancellations.csv",
    make=CancellationRow._make,
    columns={
        "running_number": kinds.WHOLE,
        "uid": kinds.HASH,
        "signature": kinds.SIGNATURE,
        "received_at": kinds.WHOLE,
        "receipt_block_hash": kinds.HASH,
        "receipt_signature": kinds.SIGNATURE,
    },
)
BULK_CANCELLATIONS = RowFile(
    name="bulk_cancellations.csv",
    make=BulkCancellationRow._make,
    columns={
        "running_number": kinds.WHOLE,
        "owner": kinds.ADDRESS,
        **_RECEIPT,
    },
)
BOOKS = RowFile(
    name="books.csv",
    make=BookRow._make,
    columns={
        **_SLOT,
        "position": kinds.WHOLE,
        "running_number": kinds.WHOLE,
        "uid": kinds.HASH,
        "ineligible": kinds.OPTIONAL_TEXT,
        "filled_wh": kinds.WHOLE,
    },
)
TRADES = RowFile(
    name="trades.csv",
    make=TradeRow._make,
    columns={
        **_CHUNK,
        "kind": kinds.TRADE_KIND,
        "sell_meter": kinds.WHOLE,
        "buy_meter": kinds.WHOLE,
        "energy_wh": kinds.WHOLE,
        "price_cents_per_mwh": kinds.INTEGER,
        "curtailed_wh": kinds.WHOLE,
    },
)
POSITIONS = RowFile(
    name="positions.csv",
    make=PositionRow._make,
    columns={
        **_CHUNK,
        "meter": kinds.WHOLE,
        "owner": kinds.ADDRESS,
        "supplier": kinds.ADDRESS,
        "source": kinds.WHOLE,
        "side": kinds.SIDE,
        "auction_wh": kinds.WHOLE,
        "low_carbon_wh": kinds.WHOLE,
        "dealt_wh": kinds.WHOLE,
        "prior_wh": kinds.WHOLE,
        "continued": kinds.FLAG,
        "curtailed": kinds.FLAG,
        "locked_microcents": kinds.WHOLE,
        "fee_microcents": kinds.WHOLE,
        "deal_microcents": kinds.INTEGER,
        "settled": kinds.FLAG,
        "refunded": kinds.FLAG,
        "substitute": kinds.FLAG,
        "version": kinds.WHOLE,
        "metered_wh": kinds.INTEGER,
        "trade_microcents": kinds.OPTIONAL_INTEGER,
        "imbalance_microcents": kinds.OPTIONAL_INTEGER,
    },
)
SETPOINTS = RowFile(
    name="setpoints.csv",
    make=SetpointRow._make,
    columns={
        **_SLOT,
        "meter": kinds.WHOLE,
        "contracted_wh": kinds.INTEGER,
        "residual_wh": kinds.OPTIONAL_INTEGER,
        "salt": kinds.OPTIONAL_BYTES32,
        "leaf": kinds.OPTIONAL_BYTES32,
    },
)
READINGS = RowFile(
    name="readings.csv",
    make=ReadingRow._make,
    columns={
        "meter": kinds.WHOLE,
        "meter_id": kinds.TEXT,
        "interval_start": kinds.MOMENT,
        "interval_seconds": kinds.WHOLE,
        "import_wh": kinds.WHOLE,
        "export_wh": kinds.WHOLE,
        "counter": kinds.WHOLE,
        "anchor_sequence": kinds.OPTIONAL_WHOLE,
        "salt": kinds.BYTES32,
        "text": kinds.TEXT,
    },
)
METER_EVENTS = RowFile(
    name="meter_events.csv",
    make=MeterEventRow._make,
    columns={
        "meter": kinds.WHOLE,
        "happened_at": kinds.MOMENT,
        "kind": kinds.METER_EVENT,
        "closing_serial": kinds.TEXT,
        "opening_serial": kinds.TEXT,
        "closing_import_wh": kinds.WHOLE,
        "closing_export_wh": kinds.WHOLE,
        "opening_import_wh": kinds.WHOLE,
        "opening_export_wh": kinds.WHOLE,
        "signature": kinds.SIGNATURE,
    },
)
DEMAND_EVENTS = RowFile(
    name="demand_events.csv",
    make=DemandEventRow._make,
    columns={
        "number": kinds.WHOLE,
        "event_id": kinds.HASH,
        "zone": kinds.WHOLE,
        "first_mtu_start": kinds.WHOLE,
        "mtu_count": kinds.WHOLE,
        "direction": kinds.DEMAND_DIRECTION,
        "energy_wh": kinds.WHOLE,
        "reason": kinds.WHOLE,
        "salt": kinds.BYTES32,
        "signature": kinds.SIGNATURE,
        "working_highest": kinds.WHOLE,
        "working_days": kinds.WHOLE,
        "other_highest": kinds.WHOLE,
        "other_days": kinds.WHOLE,
        "look_back_days": kinds.WHOLE,
        "adjustment_bp": kinds.WHOLE,
        "civil_time": kinds.TEXT,
        "holidays": kinds.DATES,
        "received_at": kinds.WHOLE,
        "terms_signature": kinds.SIGNATURE,
    },
)
DEMAND_PARTICIPATIONS = RowFile(
    name="demand_participations.csv",
    make=DemandParticipationRow._make,
    columns={
        "event_id": kinds.HASH,
        "meter": kinds.WHOLE,
        "account": kinds.ADDRESS,
    },
)
_MEASURED = {"event_id": kinds.HASH, "meter": kinds.WHOLE, "number": kinds.WHOLE}
DEMAND_MEASUREMENTS = RowFile(
    name="demand_measurements.csv",
    make=DemandMeasurementRow._make,
    columns={
        **_MEASURED,
        "days": kinds.WHOLE_NUMBERS,
        "adjustment_bp": kinds.WHOLE,
        "anchors": kinds.WHOLE,
        "proofs": kinds.WHOLE,
    },
)
DEMAND_SHIFTS = RowFile(
    name="demand_shifts.csv",
    make=DemandShiftRow._make,
    columns={
        **_MEASURED,
        "mtu_start": kinds.WHOLE,
        "baseline_import_wh": kinds.OPTIONAL_INTEGER,
        "net_import_wh": kinds.OPTIONAL_INTEGER,
        "energy_wh": kinds.WHOLE,
    },
)
METERS = RowFile(
    name="meters.csv",
    make=MeterRow._make,
    columns={
        "meter": kinds.WHOLE,
        "owner": kinds.ADDRESS,
        "supplier": kinds.ADDRESS,
        "zone": kinds.WHOLE,
        "import_capacity_w": kinds.WHOLE,
        "export_capacity_w": kinds.WHOLE,
        "source": kinds.WHOLE,
        "device_key_x": kinds.BYTES32,
        "device_key_y": kinds.BYTES32,
    },
)
ROW_FILES: tuple[RowFile[tuple[Any, ...]], ...] = (
    ORDERS,
    ACCEPTANCES,
    CANCELLATIONS,
    BULK_CANCELLATIONS,
    BOOKS,
    TRADES,
    POSITIONS,
    SETPOINTS,
    READINGS,
    METER_EVENTS,
    METERS,
    DEMAND_EVENTS,
    DEMAND_PARTICIPATIONS,
    DEMAND_MEASUREMENTS,
    DEMAND_SHIFTS,
)
