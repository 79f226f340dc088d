"""Writes what the regulator may see of a run to open files, from a data folder whose node may be running or stopped.

Everything is read only and from one moment: the database in one transaction, the block journal up to the newest block
that transaction has indexed. The files appear all at once, or not at all.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, case, create_engine, func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from gridledger.app.node import NodeFolder
from gridledger.audit import formats
from gridledger.audit.formats import RowFile, csv_line
from gridledger.audit.ports import OnProgress
from gridledger.chain.journal import read_journal
from gridledger.errors import Conflict, NotFound, Unavailable
from gridledger.market.model import Pricing, Product, Side
from gridledger.store.schema import (
    book_entry,
    bulk_cancellation,
    chain_block,
    contract_position,
    contract_trade,
    demand_event,
    demand_measurement,
    demand_participation,
    demand_shift,
    dispatch_schedule,
    dispatch_setpoint,
    erased_reading,
    market_acceptance,
    market_mtu,
    market_order,
    meter,
    meter_event,
    meter_reading,
    order_cancellation,
    participant,
    reading_anchor,
    tombstone,
)

__all__ = ["ExportSummary", "ExportUnreadable", "NothingToExport", "TargetNotEmpty", "export_run"]

_ROWS_PER_FETCH = 1000


@dataclass(kw_only=True, eq=False)
class TargetNotEmpty(Conflict):
    """An export goes into a new or an empty folder."""

    target: str


@dataclass(kw_only=True, eq=False)
class NothingToExport(NotFound):
    """The folder holds no market that has begun."""

    folder: str
    missing: str


@dataclass(kw_only=True, eq=False)
class ExportUnreadable(Unavailable):
    """The node's database cannot be read by this version."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written: rows by file, and the block the export ends with."""

    target: str
    head_block: int
    head_hash: str
    rows: Mapping[str, int]


@dataclass(frozen=True)
class _Written:
    rows: int
    sha256: str


def export_run(folder: Path, target: Path, on_progress: OnProgress) -> ExportSummary:
    """Export the data folder of a node to a new or empty folder; progress counts rows.

    Secrets stay behind: no keys, no seed. Readings come with their salts: the export is for the regulator only.
    Raises NothingToExport, TargetNotEmpty, ExportUnreadable, JournalCorrupt; the target is untouched then.
    """
    source = NodeFolder(folder)
    for path in (source.market, source.deployment, source.database):
        if not path.exists():
            raise NothingToExport(folder=folder.name, missing=path.name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TargetNotEmpty(target=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        summary = _write_all(source, partial, target, on_progress)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


def _write_all(source: NodeFolder, partial: Path, target: Path, on_progress: OnProgress) -> ExportSummary:
    try:
        with _read_transaction(source.database) as connection:
            head = connection.execute(select(chain_block).order_by(chain_block.c.number.desc()).limit(1)).first()
            if head is None:
                raise NothingToExport(folder=source.path.name, missing="blocks")
            counter = _Counter(_total(connection) + head.number, on_progress)
            written = _write_tables(connection, partial, counter)
            written[formats.TOMBSTONES] = _write_tombstones(connection, partial)
    except DatabaseError as error:
        raise ExportUnreadable(path=source.database.name, reason=str(error.orig)) from None
    written[formats.BLOCKS] = _write_blocks(source, partial, head.number, counter)
    written[formats.MARKET] = _write_document(partial / formats.MARKET, _market(source.market))
    written[formats.DEPLOYMENT] = _write_document(partial / formats.DEPLOYMENT, source.deployment.read_bytes())
    manifest = {
        "format": formats.EXPORT_FORMAT,
        "format_version": formats.FORMAT_VERSION,
        "head": {"number": head.number, "block_hash": head.block_hash},
        "files": {name: {"rows": entry.rows, "sha256": entry.sha256} for name, entry in sorted(written.items())},
    }
    _write_document(partial / formats.MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n")
    return ExportSummary(
        target=str(target),
        head_block=head.number,
        head_hash=head.block_hash,
        rows={name: entry.rows for name, entry in sorted(written.items())},
    )


@contextmanager
def _read_transaction(path: Path) -> Iterator[Connection]:
    """A consistent snapshot through a connection that cannot write."""

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=30)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
    finally:
        engine.dispose()


def _queries() -> Iterator[tuple[RowFile[Any], Select[Any]]]:
    readings, books = meter_reading.c, book_entry.c
    by_mtu = _readings().order_by(readings.zone, readings.mtu_start, readings.meter)
    with_supplier = select(meter, participant.c.supplier).join(participant, participant.c.account == meter.c.owner)
    bulk = bulk_cancellation.c
    yield formats.ORDERS, select(market_order).order_by(market_order.c.running_number)
    yield formats.ACCEPTANCES, select(market_acceptance).order_by(market_acceptance.c.running_number)
    yield formats.CANCELLATIONS, select(order_cancellation).order_by(order_cancellation.c.running_number)
    yield formats.BULK_CANCELLATIONS, select(bulk_cancellation).order_by(bulk.running_number)
    yield formats.BOOKS, _books().order_by(books.zone, books.mtu_start, books.position)
    yield formats.TRADES, _trades()
    yield formats.POSITIONS, _positions()
    yield formats.SETPOINTS, _setpoints()
    yield formats.READINGS, by_mtu
    yield formats.METER_EVENTS, select(meter_event).order_by(meter_event.c.meter, meter_event.c.happened_at)
    yield formats.METERS, with_supplier.order_by(meter.c.meter)
    yield from _demand_queries()


def _demand_queries() -> Iterator[tuple[RowFile[Any], Select[Any]]]:
    notes, made, shifts = demand_participation.c, demand_measurement.c, demand_shift.c
    newest = select(func.max(notes.id)).group_by(notes.event_id, notes.meter)
    takes_part = notes.id.in_(newest) & notes.joined.is_(True) & notes.meter.is_not(None)
    yield formats.DEMAND_EVENTS, select(demand_event).order_by(demand_event.c.number)
    participants = select(demand_participation).where(takes_part).order_by(notes.event_id, notes.meter)
    yield formats.DEMAND_PARTICIPATIONS, participants
    by_number = (made.event_id, made.meter, made.number)
    yield formats.DEMAND_MEASUREMENTS, select(demand_measurement).order_by(*by_number)
    by_mtu = (shifts.event_id, shifts.meter, shifts.number, shifts.mtu_start)
    yield formats.DEMAND_SHIFTS, select(demand_shift).order_by(*by_mtu)


def _cleared(zone: ColumnElement[int], mtu_start: ColumnElement[int], chunk: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a chunk of the clearing of a zone and MTU has been mined."""
    query = select(market_mtu.c.zone).where(
        market_mtu.c.cleared_chunks > chunk, market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start
    )
    return query.exists()


def _books() -> Select[Any]:
    """Listed lines; fills as far as the chain has them."""
    others = [column for column in book_entry.c if column.name not in ("filled_wh", "order_uid")]
    return select(*others, book_entry.c.order_uid.label("uid"), book_entry.c.locked_wh.label("filled_wh"))


def _trades() -> Select[Any]:
    trades, seller, buyer = contract_trade.c, contract_position.alias("seller"), contract_position.alias("buyer")

    def of(position: Any, index: Any) -> Any:
        same_mtu = (position.c.zone == trades.zone) & (position.c.mtu_start == trades.mtu_start)
        return same_mtu & (position.c.chunk == trades.chunk) & (position.c.position == index)

    meters = (seller.c.meter.label("sell_meter"), buyer.c.meter.label("buy_meter"))
    return (
        select(contract_trade, *meters)
        .join(seller, of(seller, trades.sell_position))
        .join(buyer, of(buyer, trades.buy_position))
        .where(_cleared(trades.zone, trades.mtu_start, trades.chunk))
        .order_by(trades.zone, trades.mtu_start, trades.chunk, trades.position)
    )


def _positions() -> Select[Any]:
    positions = contract_position.c
    side = case((positions.sells.is_(True), int(Side.SELL)), else_=int(Side.BUY)).label("side")
    return (
        select(contract_position, side)
        .where(_cleared(positions.zone, positions.mtu_start, positions.chunk))
        .order_by(positions.zone, positions.mtu_start, positions.chunk, positions.position)
    )


def _setpoints() -> Select[Any]:
    """Setpoints of what the chain has scheduled; those of a clearing on its way there commit to nothing yet."""
    setpoints, schedules = dispatch_setpoint.c, dispatch_schedule.c
    scheduled = (schedules.zone == setpoints.zone) & (schedules.mtu_start == setpoints.mtu_start)
    query = select(dispatch_setpoint).join(dispatch_schedule, scheduled)
    return query.order_by(setpoints.zone, setpoints.mtu_start, setpoints.meter)


def _readings() -> Select[Any]:
    """Readings; the number of their batch only once the chain has it."""
    anchors, readings = reading_anchor.c, meter_reading.c
    others = [column for column in readings if column.name != "anchor_sequence"]
    confirmed = (anchors.sequence == readings.anchor_sequence) & anchors.anchored.is_(True)
    return select(*others, anchors.sequence.label("anchor_sequence")).outerjoin(reading_anchor, confirmed)


def _total(connection: Connection) -> int:
    tables = (
        market_order,
        market_acceptance,
        order_cancellation,
        bulk_cancellation,
        book_entry,
        contract_trade,
        contract_position,
        meter_reading,
        meter_event,
        meter,
        demand_event,
        demand_participation,
        demand_measurement,
        demand_shift,
    )
    sources = (*tables, _setpoints().subquery())
    return sum(connection.execute(select(func.count()).select_from(source)).scalar_one() for source in sources)


def _write_tables(connection: Connection, folder: Path, counter: "_Counter") -> dict[str, _Written]:
    written: dict[str, _Written] = {}
    for file, query in _queries():
        rows = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(query).mappings()
        with (folder / file.name).open("wb") as stream:
            writer = _Writer(stream)
            writer.write(file.header.encode())
            for row in rows:
                writer.write(csv_line(_texts(file, row)).encode())
                counter.step(file.name)
            written[file.name] = writer.finish(writer.lines - 1)
    return written


def _texts(file: RowFile[Any], row: RowMapping) -> list[str]:
    values = _values(row)
    return [kind.write(values[column]) for column, kind in file.columns.items()]


def _values(row: RowMapping) -> Mapping[str, Any]:
    """A table's row in the words of the export."""
    values = {str(name): value for name, value in row.items()}
    for column, kind in (("side", Side), ("product", Product), ("pricing", Pricing)):
        if column in values:
            values[column] = kind(values[column])
    for column in ("signature", "receipt_signature", "terms_signature", "device_key_x", "device_key_y"):
        if column in values:
            values[column] = bytes.fromhex(values[column][2:])
    for column in ("salt", "leaf"):
        if isinstance(values.get(column), str):
            values[column] = bytes.fromhex(values[column][2:])
    if "interval_s" in values:
        values["interval_start"], values["interval_seconds"] = values["mtu_start"], values["interval_s"]
    return values


def _write_blocks(source: NodeFolder, folder: Path, head: int, counter: "_Counter") -> _Written:
    with (folder / formats.BLOCKS).open("wb") as stream:
        writer = _Writer(stream)
        for block in read_journal(source.chain):
            if block.number > head:
                break
            values = {
                "number": block.number,
                "time_s": block.time_s,
                "block_hash": block.block_hash,
                "state_root": block.state_root,
                "raw_transactions": block.raw_transactions,
            }
            writer.write(json.dumps(values, separators=(",", ":")).encode() + b"\n")
            counter.step(formats.BLOCKS)
        return writer.finish(writer.lines)


def _write_tombstones(connection: Connection, folder: Path) -> _Written:
    """One line per erased person: what the regulator signed, and what is left of each reading."""
    gone = erased_reading.c
    columns = (gone.meter, gone.mtu_start, gone.anchor_sequence, gone.leaf)
    with (folder / formats.TOMBSTONES).open("wb") as stream:
        writer = _Writer(stream)
        for row in connection.execute(select(tombstone).order_by(tombstone.c.id)).all():
            left = select(*columns).where(gone.tombstone == row.id).order_by(gone.meter, gone.mtu_start)
            readings = [[*values, "0x" + leaf.hex()] for *values, leaf in connection.execute(left)]
            values = {"erasure": row.erasure, "signature": row.signature, "readings": readings}
            writer.write(json.dumps(values, separators=(",", ":")).encode() + b"\n")
        return writer.finish(writer.lines)


def _market(path: Path) -> bytes:
    """The market's file without the seed, from which a replay's keys follow."""
    values: dict[str, Any] = json.loads(path.read_bytes())
    return json.dumps({**values, "seed": None}, indent=1).encode() + b"\n"


def _write_document(path: Path, content: bytes) -> _Written:
    with path.open("wb") as stream:
        writer = _Writer(stream)
        writer.write(content)
        return writer.finish(1)


class _Writer:
    """Writes lines, hashing them on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.lines = 0

    def write(self, line: bytes) -> None:
        self._stream.write(line)
        self._hash.update(line)
        self.lines += 1

    def finish(self, rows: int) -> _Written:
        """Bring the file to disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return _Written(rows, self._hash.hexdigest())


class _Counter:
    """Counts rows for the progress display, telling it once per thousand."""

    def __init__(self, total: int, on_progress: OnProgress) -> None:
        self._done, self._total, self._on_progress = 0, total, on_progress

    def step(self, text: str) -> None:
        self._done += 1
        if self._done % _ROWS_PER_FETCH == 0 or self._done == self._total:
            self._on_progress(min(self._done, self._total), self._total, text)
