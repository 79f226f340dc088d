"""Everything an audit judges: the exported rows, what the market's files claim, and the chain's own history."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from gridledger.audit import formats
from gridledger.audit.demand_rows import (
    DemandEventRow,
    DemandMeasurementRow,
    DemandParticipationRow,
    DemandShiftRow,
)
from gridledger.audit.findings import Findings
from gridledger.audit.history import BlockFacts, History
from gridledger.audit.model import Slot, order_name
from gridledger.audit.ports import Chain, ExportFiles
from gridledger.audit.records import Head, Reader
from gridledger.audit.rows import (
    AcceptanceRow,
    BlockRow,
    BookRow,
    BulkCancellationRow,
    CancellationRow,
    ErasedRow,
    MeterEventRow,
    MeterRow,
    OrderRow,
    PositionRow,
    ReadingRow,
    SetpointRow,
    TombstoneRow,
    TradeRow,
)
from gridledger.dispatch.model import DispatchDomain
from gridledger.market.model import BookEntry
from gridledger.market.order_hash import OrderDomain
from gridledger.metering.events import MeteringDomain

__all__ = ["ContractCode", "Evidence", "ExportedRun", "MarketFacts", "by_slot", "read_export"]

T = TypeVar("T", BookRow, TradeRow, PositionRow, SetpointRow)


@dataclass(frozen=True, kw_only=True)
class ExportedRun:
    """All readable rows of an export. `head` is None where the manifest cannot be read."""

    head: Head | None
    market: Mapping[str, Any]
    deployment: Mapping[str, Any]
    blocks: Sequence[BlockRow]
    orders: Sequence[OrderRow]
    acceptances: Sequence[AcceptanceRow]
    cancellations: Sequence[CancellationRow]
    bulk_cancellations: Sequence[BulkCancellationRow]
    books: Sequence[BookRow]
    trades: Sequence[TradeRow]
    positions: Sequence[PositionRow]
    setpoints: Sequence[SetpointRow]
    readings: Sequence[ReadingRow]
    meter_events: Sequence[MeterEventRow]
    meters: Sequence[MeterRow]
    tombstones: Sequence[TombstoneRow]
    demand_events: Sequence[DemandEventRow]
    demand_participations: Sequence[DemandParticipationRow]
    demand_measurements: Sequence[DemandMeasurementRow]
    demand_shifts: Sequence[DemandShiftRow]

    def row_count(self) -> int:
        """Rows of all files but the blocks."""
        lists: tuple[Sequence[object], ...] = (self.orders, self.acceptances, self.cancellations, self.books)
        more: tuple[Sequence[object], ...] = (
            self.trades,
            self.positions,
            self.setpoints,
            self.readings,
            self.meter_events,
            self.meters,
        )
        demand: tuple[Sequence[object], ...] = (
            self.demand_events,
            self.demand_participations,
            self.demand_measurements,
            self.demand_shifts,
        )
        return sum(map(len, (*lists, self.bulk_cancellations, *more, *demand)))


@dataclass(frozen=True, kw_only=True)
class ContractCode:
    """A freshly compiled contract: deployed code with zeros where the constructor fills in (start, length)."""

    deployed: bytes
    filled_in: tuple[tuple[int, int], ...]

    def without_constants(self, code: bytes) -> bytes:
        """Code with zeros where the constructor filled in."""
        blank = bytearray(code)
        for start, length in self.filled_in:
            blank[start : start + length] = bytes(len(blank[start : start + length]))
        return bytes(blank)


@dataclass(frozen=True, kw_only=True)
class MarketFacts:
    """What market.json and deployment.json claim, and what the contracts' sources compile to.

    `roles` maps each role's number to its members and their delays in seconds, `function_roles` (contract address,
    4-byte selector as 0x hex) to the role that may call it; `policy` holds the values in the contract's order.
    `claims` are further pairs of what a file should say and what it says, by field.
    """

    chain_id: int
    genesis_time_s: int
    genesis_hash: str
    deployer: str
    deployment_block: int
    mtu_length_s: int
    policy: tuple[object, ...]
    grid_operators: Mapping[int, str]
    suppliers: tuple[str, ...]
    source_factors: Mapping[int, tuple[int, str]]
    market_operator: str
    addresses: Mapping[str, str]
    recorded_code_hashes: Mapping[str, str]
    code: Mapping[str, ContractCode]
    roles: Mapping[int, Mapping[str, int]]
    function_roles: Mapping[tuple[str, str], int]
    claims: Mapping[str, tuple[object, object]]

    @property
    def order_domain(self) -> OrderDomain:
        """Where orders of this market are valid."""
        return OrderDomain(chain_id=self.chain_id, trading_contract=self.addresses["EnergyTrading"])

    @property
    def dispatch_domain(self) -> DispatchDomain:
        """Where demand response events of this market are valid."""
        return DispatchDomain(chain_id=self.chain_id, dispatching_contract=self.addresses["EnergyDispatching"])

    @property
    def metering_domain(self) -> MeteringDomain:
        """Where statements about meters of this market are valid."""
        return MeteringDomain(chain_id=self.chain_id, meter_ledger=self.addresses["MeterLedger"])


@dataclass(kw_only=True)
class Evidence:
    """One audit's material.

    `listed_books` are the books whose orders and hash were found right, as they were when they were committed;
    `auction_books` the same without the orders that were excluded between commitment and clearing. `erased` has what a
    sound tombstone leaves of readings, by meter and MTU; a settlement on such a one cannot be verified any more.
    `erased_until` has the moment (Unix seconds) up to which sound tombstones erased a meter's setpoints.
    """

    run: ExportedRun
    facts: MarketFacts
    chain: Chain
    history: History
    findings: Findings
    listed_books: dict[Slot, tuple[BookEntry, ...]]
    auction_books: dict[Slot, tuple[BookEntry, ...]]
    unsound_orders: set[str]
    erased: dict[tuple[int, int], ErasedRow]
    erased_until: dict[int, int]
    unverifiable_settlements: int = 0
    unverifiable_setpoints: int = 0
    emergencies_out_of_order: int = 0

    def lost_setpoint(self, meter: int, mtu_start: int) -> bool:
        """Whether a sound tombstone covers a meter's setpoint of an MTU."""
        return mtu_start + self.facts.mtu_length_s <= self.erased_until.get(meter, 0)

    @cached_property
    def orders(self) -> dict[str, OrderRow]:
        """Orders by uid."""
        return {row.uid: row for row in self.run.orders}

    @cached_property
    def acceptances(self) -> dict[str, AcceptanceRow]:
        """Acceptances by uid."""
        return {row.uid: row for row in self.run.acceptances}

    @cached_property
    def receipted(self) -> list[OrderRow | AcceptanceRow]:
        """Orders and acceptances in receipt order."""
        return sorted([*self.run.orders, *self.run.acceptances], key=lambda row: row.running_number)

    @cached_property
    def block_by_hash(self) -> dict[str, BlockFacts]:
        """The chain's blocks by hash."""
        return {block.block_hash: block for block in self.history.blocks}

    @cached_property
    def cancelled(self) -> dict[str, CancellationRow]:
        """Cancellations by order uid."""
        return {row.uid: row for row in self.run.cancellations}

    @cached_property
    def readings(self) -> dict[tuple[int, int], ReadingRow]:
        """Readings by meter and MTU."""
        return {(row.meter, row.interval_start): row for row in self.run.readings}

    @cached_property
    def books(self) -> dict[Slot, list[BookRow]]:
        """Book lines by zone and MTU."""
        return by_slot(self.run.books)

    @cached_property
    def trades(self) -> dict[Slot, list[TradeRow]]:
        """Trades by zone and MTU."""
        return by_slot(self.run.trades)

    @cached_property
    def positions(self) -> dict[Slot, list[PositionRow]]:
        """Positions by zone and MTU."""
        return by_slot(self.run.positions)

    @cached_property
    def setpoints(self) -> dict[Slot, list[SetpointRow]]:
        """Setpoints by zone and MTU."""
        return by_slot(self.run.setpoints)

    def zone_of(self, row: OrderRow | AcceptanceRow) -> int:
        """The zone an order's meter is registered in; that of the row where the meter is unknown."""
        zone = self.history.members.zone_of(row.meter)
        return row.zone if zone is None else zone

    def line_name(self, uid: str) -> str:
        """An order or acceptance for people."""
        row = self.orders.get(uid) or self.acceptances.get(uid)
        return f"order {uid}" if row is None else order_name(uid, row.running_number)

    def is_late(self, moment: int) -> bool:
        """Whether something that was due at a moment had time to happen before the export."""
        return self.history.head.time_s > moment + GRACE_S


GRACE_S = 600  # what is due may still be on its way to the chain when a running node is exported


def by_slot(rows: Iterable[T]) -> dict[Slot, list[T]]:
    """Rows by zone and MTU, in the order of the file."""
    slots: defaultdict[Slot, list[T]] = defaultdict(list)
    for row in rows:
        slots[Slot(row.zone, row.mtu_start)].append(row)
    return dict(slots)


def read_export(files: ExportFiles, findings: Findings) -> ExportedRun:
    """Read every file of an export; what cannot be read becomes a mismatch."""
    reader = Reader(files, findings)
    head = reader.manifest()
    return ExportedRun(
        head=head,
        market=reader.document(formats.MARKET),
        deployment=reader.document(formats.DEPLOYMENT),
        blocks=reader.blocks(),
        orders=reader.rows(formats.ORDERS),
        acceptances=reader.rows(formats.ACCEPTANCES),
        cancellations=reader.rows(formats.CANCELLATIONS),
        bulk_cancellations=reader.rows(formats.BULK_CANCELLATIONS),
        books=reader.rows(formats.BOOKS),
        trades=reader.rows(formats.TRADES),
        positions=reader.rows(formats.POSITIONS),
        setpoints=reader.rows(formats.SETPOINTS),
        readings=reader.rows(formats.READINGS),
        meter_events=reader.rows(formats.METER_EVENTS),
        meters=reader.rows(formats.METERS),
        tombstones=reader.tombstones(),
        demand_events=reader.rows(formats.DEMAND_EVENTS),
        demand_participations=reader.rows(formats.DEMAND_PARTICIPATIONS),
        demand_measurements=reader.rows(formats.DEMAND_MEASUREMENTS),
        demand_shifts=reader.rows(formats.DEMAND_SHIFTS),
    )
