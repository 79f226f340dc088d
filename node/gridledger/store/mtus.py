"""Books, clearings and positions in the database; implements `market.ports.MarketMtus`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, delete, func, insert, select, update

from gridledger.market.errors import MtuUnknown
from gridledger.market.locking import Proposal
from gridledger.market.model import BookEntry, MtuPhase, Position, SignedAcceptance, SignedOrder, Trade, advance_phase
from gridledger.market.ports import MtuRecord
from gridledger.store.orders import signed_acceptance, signed_order
from gridledger.store.schema import (
    book_entry,
    contract_position,
    contract_trade,
    market_acceptance,
    market_mtu,
    market_order,
)

__all__ = ["Mtus", "SettledValues", "position_of"]

# Statements that run once per position or trade, built once.
_OF_POSITION = (
    contract_position.c.zone == bindparam("key_zone"),
    contract_position.c.mtu_start == bindparam("key_mtu_start"),
    contract_position.c.position == bindparam("key_position"),
)
_SETTLE = (
    update(contract_position)
    .where(*_OF_POSITION)
    .values(
        settled=True,
        settlement_pending=False,
        substitute=bindparam("is_substitute"),
        version=bindparam("new_version"),
        metered_wh=bindparam("new_metered_wh"),
        trade_microcents=bindparam("new_trade_microcents"),
        imbalance_microcents=bindparam("new_imbalance_microcents"),
    )
)
_REFUND = (
    update(contract_position)
    .where(*_OF_POSITION)
    .values(settled=True, substitute=True, settlement_pending=False, refunded=True)
)
# Columns of `contract_position` that are fields of a Position by the same name.
_POSITION_FIELDS = (
    "meter",
    "owner",
    "supplier_number",
    "source",
    "sells",
    "capacity_w",
    "auction_wh",
    "low_carbon_wh",
    "dealt_wh",
    "fee_microcents",
    "locked_microcents",
    "deal_microcents",
    "settled",
    "substitute",
    "version",
    "metered_wh",
)


@dataclass(frozen=True, kw_only=True)
class SettledValues:
    """What a settlement event says of a position; Wh and microcents, the imbalance summed over all versions."""

    substitute: bool
    version: int
    metered_wh: int
    trade_microcents: int
    imbalance_microcents: int


class Mtus:
    """Zones and MTUs of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._opened: dict[tuple[int, int], dict[int, Row[Any]]] = {}

    def find(self, zone: int, mtu_start: int) -> MtuRecord | None:
        """The record of a zone and MTU."""
        query = select(market_mtu).where(market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start)
        row = self._connection.execute(query).first()
        return None if row is None else _record(row)

    def in_phase(self, phase: MtuPhase) -> tuple[MtuRecord, ...]:
        """All records in a phase, oldest first."""
        query = (
            select(market_mtu).where(market_mtu.c.phase == phase).order_by(market_mtu.c.mtu_start, market_mtu.c.zone)
        )
        return tuple(_record(row) for row in self._connection.execute(query))

    def between(self, zone: int, from_s: int, to_s: int, limit: int) -> tuple[MtuRecord, ...]:
        """Records of a zone with from <= MTU start < to, oldest first."""
        query = (
            select(market_mtu)
            .where(market_mtu.c.zone == zone, market_mtu.c.mtu_start >= from_s, market_mtu.c.mtu_start < to_s)
            .order_by(market_mtu.c.mtu_start)
            .limit(limit)
        )
        return tuple(_record(row) for row in self._connection.execute(query))

    def phase_counts(self) -> dict[str, int]:
        """How many MTUs are in each phase."""
        query = select(market_mtu.c.phase, func.count()).group_by(market_mtu.c.phase)
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def add_book(self, record: MtuRecord, book: Sequence[BookEntry]) -> None:
        """Keep a closed book."""
        self._connection.execute(
            insert(market_mtu).values(
                zone=record.zone,
                mtu_start=record.mtu_start,
                phase=record.phase,
                book_hash=record.book_hash,
                order_count=record.order_count,
                supply_wh=record.supply_wh,
                demand_wh=record.demand_wh,
            )
        )
        rows = [
            {
                "zone": record.zone,
                "mtu_start": record.mtu_start,
                "position": position,
                "running_number": entry.running_number,
                "order_uid": entry.uid,
                "ineligible": entry.ineligible,
                "filled_wh": 0,
            }
            for position, entry in enumerate(book)
        ]
        if rows:
            self._connection.execute(insert(book_entry), rows)

    def book(self, zone: int, mtu_start: int) -> tuple[BookEntry, ...]:
        """The closed book in receipt order."""
        signed: dict[str, SignedOrder | SignedAcceptance] = {
            **{row.uid: signed_order(row) for row in self._listed(market_order, zone, mtu_start)},
            **{row.uid: signed_acceptance(row) for row in self._listed(market_acceptance, zone, mtu_start)},
        }
        query = (
            select(book_entry)
            .where(book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
            .order_by(book_entry.c.position)
        )
        return tuple(
            BookEntry(running_number=row.running_number, signed=signed[row.order_uid], ineligible=row.ineligible)
            for row in self._connection.execute(query)
        )

    def keep_fills(self, zone: int, mtu_start: int, filled_wh: Mapping[str, int]) -> None:
        """Keep what each listed order was filled with; all others with nothing."""
        where = (book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        self._connection.execute(update(book_entry).where(*where).values(filled_wh=0))
        if filled_wh:
            one = update(book_entry).where(*where, book_entry.c.order_uid == bindparam("of_uid"))
            rows = [{"of_uid": uid, "fill": energy_wh} for uid, energy_wh in filled_wh.items()]
            self._connection.execute(one.values(filled_wh=bindparam("fill")), rows)

    def fills(self, zone: int, mtu_start: int) -> dict[str, int]:
        """What each listed order was filled with, Wh by uid."""
        query = select(book_entry.c.order_uid, book_entry.c.filled_wh).where(
            book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start
        )
        return {row.order_uid: row.filled_wh for row in self._connection.execute(query)}

    def _listed(self, table: Table, zone: int, mtu_start: int) -> Sequence[Row[Any]]:
        listed = (book_entry.c.order_uid == table.c.uid, book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        return self._connection.execute(select(table).where(*listed)).all()

    def move(self, zone: int, mtu_start: int, event: str, failure: str | None = None) -> None:
        """Advance the phase by an event. Raises WrongTransition, MtuUnknown."""
        where = (market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start)
        phase = self._connection.execute(select(market_mtu.c.phase).where(*where)).scalar()
        if phase is None:
            raise MtuUnknown(zone=zone, mtu_start=mtu_start)
        values: dict[str, Any] = {"phase": advance_phase(MtuPhase(phase), event)}
        if failure is not None:
            values["failure"] = failure
        self._connection.execute(update(market_mtu).where(*where).values(**values))

    def note_failure(self, zone: int, mtu_start: int, failure: str) -> None:
        """Keep why the contracts refused the last step; positions on their way stay so and stop further tries."""
        self._connection.execute(
            update(market_mtu)
            .where(market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start)
            .values(failure=failure)
        )

    def set_prices(self, zone: int, mtu_start: int, **values: int) -> None:
        """Keep what the chain says of a zone and MTU: reference price, price, traded energy."""
        self._connection.execute(
            update(market_mtu).where(market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start).values(**values)
        )

    def keep_positions(self, zone: int, mtu_start: int, proposal: Proposal, suppliers: Mapping[int, str]) -> None:
        """Keep what the contract will keep by hash if it accepts the proposal; `suppliers` by meter."""
        key = {"zone": zone, "mtu_start": mtu_start}
        positions = [
            {
                **key,
                "position": index,
                **{name: getattr(position, name) for name in _POSITION_FIELDS},
                "supplier": suppliers[position.meter],
                "settlement_pending": False,
                "refunded": False,
            }
            for index, position in enumerate(proposal.positions)
        ]
        trades = [
            {
                **key,
                "position": index,
                "kind": "deal" if index < len(proposal.deals) else "auction",
                "sell_position": trade.sell,
                "buy_position": trade.buy,
                "energy_wh": trade.energy_wh,
                "price_cents_per_mwh": price,
            }
            for index, (trade, price) in enumerate(zip(proposal.trades, proposal.trade_prices, strict=True))
        ]
        if positions:
            self._connection.execute(insert(contract_position), positions)
            self._connection.execute(insert(contract_trade), trades)

    def forget_positions(self, zone: int, mtu_start: int) -> None:
        """Drop what a refused proposal would have left with the contract."""
        for table in (contract_position, contract_trade):
            self._connection.execute(delete(table).where(table.c.zone == zone, table.c.mtu_start == mtu_start))

    def mark_ineligible(self, zone: int, mtu_start: int, uids: Collection[str], reason: str) -> None:
        """Mark listed orders as ineligible."""
        self._connection.execute(
            update(book_entry)
            .where(
                book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start, book_entry.c.order_uid.in_(list(uids))
            )
            .values(ineligible=reason)
        )

    def positions(self, zone: int, mtu_start: int) -> tuple[Position, ...]:
        """Positions as the contract keeps them."""
        query = (
            select(contract_position)
            .where(contract_position.c.zone == zone, contract_position.c.mtu_start == mtu_start)
            .order_by(contract_position.c.position)
        )
        return tuple(position_of(row) for row in self._connection.execute(query))

    def deals(self, zone: int, mtu_start: int) -> tuple[Trade, ...]:
        """Direct deals between positions as the contract keeps them."""
        query = (
            select(contract_trade)
            .where(
                contract_trade.c.zone == zone, contract_trade.c.mtu_start == mtu_start, contract_trade.c.kind == "deal"
            )
            .order_by(contract_trade.c.position)
        )
        return tuple(
            Trade(sell=row.sell_position, buy=row.buy_position, energy_wh=row.energy_wh)
            for row in self._connection.execute(query)
        )

    def unsettled(self, zone: int, mtu_start: int) -> dict[int, int]:
        """Index to meter of positions that are neither settled nor being settled."""
        query = select(contract_position.c.position, contract_position.c.meter).where(
            contract_position.c.zone == zone,
            contract_position.c.mtu_start == mtu_start,
            contract_position.c.settled.is_(False),
            contract_position.c.settlement_pending.is_(False),
        )
        return {row.position: row.meter for row in self._connection.execute(query)}

    def is_settling(self, zone: int, mtu_start: int) -> bool:
        """Whether a settlement of the MTU is under way."""
        query = select(contract_position.c.position).where(
            contract_position.c.zone == zone,
            contract_position.c.mtu_start == mtu_start,
            contract_position.c.settlement_pending.is_(True),
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def mark_settling(self, zone: int, mtu_start: int, indexes: Sequence[int]) -> None:
        """Remember that a settlement of these positions is under way."""
        self._update_positions(zone, mtu_start, indexes, settlement_pending=True)

    def opened_positions(self, zone: int, mtu_start: int) -> dict[int, Row[Any]]:
        """What each meter of a clearing contracted and locked; read once per transaction, for it never changes."""
        key = (zone, mtu_start)
        if key not in self._opened:
            query = select(contract_position).where(
                contract_position.c.zone == zone, contract_position.c.mtu_start == mtu_start
            )
            self._opened[key] = {row.meter: row for row in self._connection.execute(query)}
        return self._opened[key]

    def settled_position(self, zone: int, mtu_start: int, meter: int) -> Row[Any]:
        """A meter's position as last settled."""
        query = select(contract_position).where(
            contract_position.c.zone == zone,
            contract_position.c.mtu_start == mtu_start,
            contract_position.c.meter == meter,
        )
        return self._connection.execute(query).one()

    def keep_settled(self, zone: int, mtu_start: int, index: int, values: SettledValues) -> None:
        """Keep a position as the contract has settled it."""
        row = {
            "is_substitute": values.substitute,
            "new_version": values.version,
            "new_metered_wh": values.metered_wh,
            "new_trade_microcents": values.trade_microcents,
            "new_imbalance_microcents": values.imbalance_microcents,
        }
        self._connection.execute(_SETTLE, {**_key(zone, mtu_start, index), **row})

    def keep_refunded(self, zone: int, mtu_start: int, index: int) -> None:
        """Keep a position as the contract has refunded it."""
        self._connection.execute(_REFUND, _key(zone, mtu_start, index))

    def trade_totals(self) -> tuple[int, int]:
        """Number of locked trades and their energy, Wh, over all cleared MTUs."""
        cleared = market_mtu.c.phase.in_((MtuPhase.CLEARED, MtuPhase.SETTLED))
        query = (
            select(func.count(), func.coalesce(func.sum(contract_trade.c.energy_wh), 0))
            .select_from(contract_trade)
            .join(
                market_mtu,
                (market_mtu.c.zone == contract_trade.c.zone) & (market_mtu.c.mtu_start == contract_trade.c.mtu_start),
            )
            .where(cleared)
        )
        count, energy_wh = self._connection.execute(query).one()
        return int(count), int(energy_wh)

    def _update_positions(self, zone: int, mtu_start: int, indexes: Sequence[int], **values: Any) -> None:
        self._connection.execute(
            update(contract_position)
            .where(
                contract_position.c.zone == zone,
                contract_position.c.mtu_start == mtu_start,
                contract_position.c.position.in_(indexes),
            )
            .values(**values)
        )


def _key(zone: int, mtu_start: int, index: int) -> dict[str, int]:
    return {"key_zone": zone, "key_mtu_start": mtu_start, "key_position": index}


def _record(row: Row[Any]) -> MtuRecord:
    return MtuRecord(
        zone=row.zone,
        mtu_start=row.mtu_start,
        phase=MtuPhase(row.phase),
        book_hash=row.book_hash,
        order_count=row.order_count,
        supply_wh=row.supply_wh,
        demand_wh=row.demand_wh,
        reference_price_cents_per_mwh=row.reference_price_cents_per_mwh,
        price_cents_per_mwh=row.price_cents_per_mwh,
        low_carbon_price_cents_per_mwh=row.low_carbon_price_cents_per_mwh,
        traded_wh=row.traded_wh,
        failure=row.failure,
    )


def position_of(row: Row[Any]) -> Position:
    """The position of a `contract_position` row."""
    return Position(**{name: getattr(row, name) for name in _POSITION_FIELDS})
