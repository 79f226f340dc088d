"""Files of an export: their names, columns and rows. The writer and the audit read the same table."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from gridledger.audit import kinds
from gridledger.audit.kinds import Kind
from gridledger.market.model import Order, OrderState, Pricing, Product, Side

__all__ = [
    "BLOCKS",
    "BOOKS",
    "CANCELLATIONS",
    "DEPLOYMENT",
    "EXPORT_FORMAT",
    "FORMAT_VERSION",
    "MANIFEST",
    "MARKET",
    "METERS",
    "ORDERS",
    "POSITIONS",
    "READINGS",
    "ROW_FILES",
    "TRADES",
    "BlockRow",
    "BookRow",
    "CancellationRow",
    "MeterRow",
    "OrderRow",
    "PositionRow",
    "ReadingRow",
    "RowFile",
    "TradeRow",
    "csv_line",
    "csv_values",
]

EXPORT_FORMAT, FORMAT_VERSION = "gridledger-export", 1
MANIFEST, MARKET, DEPLOYMENT, BLOCKS = "manifest.json", "market.json", "deployment.json", "blocks.jsonl"
R_co = TypeVar("R_co", covariant=True)


class OrderRow(NamedTuple):
    """A receipted order; times in Unix seconds."""

    running_number: int
    uid: str
    owner: str
    meter: int
    zone: int
    side: Side
    product: Product
    pricing: Pricing
    first_mtu_start: int
    last_mtu_start: int
    quantity_wh: int
    limit_cents_per_mwh: int
    expiry: int
    salt: int
    signature: bytes
    received_at: int
    receipt_block_hash: str
    receipt_signature: bytes
    state: OrderState
    state_reason: str | None
    filled_wh: int

    def order(self) -> Order:
        """The order as its owner signed it."""
        return Order(
            owner=self.owner,
            meter=self.meter,
            side=self.side,
            product=self.product,
            pricing=self.pricing,
            first_mtu_start=self.first_mtu_start,
            last_mtu_start=self.last_mtu_start,
            quantity_wh=self.quantity_wh,
            limit_cents_per_mwh=self.limit_cents_per_mwh,
            expiry=self.expiry,
            salt=self.salt,
        )


class CancellationRow(NamedTuple):
    """A cancellation by the order's owner; time in Unix seconds."""

    uid: str
    signature: bytes
    received_at: int


class BookRow(NamedTuple):
    """One line of a closed book."""

    zone: int
    mtu_start: int
    position: int
    running_number: int
    order_uid: str
    ineligible: str | None


class TradeRow(NamedTuple):
    """One trade of a cleared MTU."""

    zone: int
    mtu_start: int
    position: int
    sell_uid: str
    buy_uid: str
    energy_wh: int


class PositionRow(NamedTuple):
    """One meter's contract of a cleared MTU; cash is empty until settled."""

    zone: int
    mtu_start: int
    position: int
    meter: int
    source: int
    owner: str
    supplier: str
    contracted_wh: int
    locked_microcents: int
    fee_microcents: int
    settled: bool
    refunded: bool
    metered_wh: int
    trade_microcents: int | None
    imbalance_microcents: int | None


class ReadingRow(NamedTuple):
    """An accepted reading with its signed text and the salt of its commitment."""

    meter: int
    meter_id: str
    interval_start: int
    interval_seconds: int
    import_wh: int
    export_wh: int
    counter: int
    anchor_sequence: int | None
    salt: bytes
    text: str


class MeterRow(NamedTuple):
    """A registered meter."""

    meter: int
    owner: str
    supplier: str
    zone: int
    import_capacity_w: int
    export_capacity_w: int
    source: int
    device_key_x: bytes
    device_key_y: bytes


class BlockRow(NamedTuple):
    """A journalled block of the embedded chain."""

    number: int
    time_s: int
    block_hash: str
    state_root: str
    raw_transactions: tuple[str, ...]


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


_SLOT = {"zone": kinds.WHOLE, "mtu_start": kinds.WHOLE, "position": kinds.WHOLE}

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
        "salt": kinds.WHOLE,
        "signature": kinds.SIGNATURE,
        "received_at": kinds.WHOLE,
        "receipt_block_hash": kinds.HASH,
        "receipt_signature": kinds.SIGNATURE,
        "state": kinds.STATE,
        "state_reason": kinds.OPTIONAL_TEXT,
        "filled_wh": kinds.WHOLE,
    },
)
CANCELLATIONS = RowFile(
    name="cancellations.csv",
    make=CancellationRow._make,
    columns={"uid": kinds.HASH, "signature": kinds.SIGNATURE, "received_at": kinds.WHOLE},
)
BOOKS = RowFile(
    name="books.csv",
    make=BookRow._make,
    columns={**_SLOT, "running_number": kinds.WHOLE, "order_uid": kinds.HASH, "ineligible": kinds.OPTIONAL_TEXT},
)
TRADES = RowFile(
    name="trades.csv",
    make=TradeRow._make,
    columns={**_SLOT, "sell_uid": kinds.HASH, "buy_uid": kinds.HASH, "energy_wh": kinds.WHOLE},
)
POSITIONS = RowFile(
    name="positions.csv",
    make=PositionRow._make,
    columns={
        **_SLOT,
        "meter": kinds.WHOLE,
        "source": kinds.WHOLE,
        "owner": kinds.ADDRESS,
        "supplier": kinds.ADDRESS,
        "contracted_wh": kinds.INTEGER,
        "locked_microcents": kinds.WHOLE,
        "fee_microcents": kinds.WHOLE,
        "settled": kinds.FLAG,
        "refunded": kinds.FLAG,
        "metered_wh": kinds.INTEGER,
        "trade_microcents": kinds.OPTIONAL_INTEGER,
        "imbalance_microcents": kinds.OPTIONAL_INTEGER,
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
    CANCELLATIONS,
    BOOKS,
    TRADES,
    POSITIONS,
    READINGS,
    METERS,
)
