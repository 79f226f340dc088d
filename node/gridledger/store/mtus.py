"""Books, clearings and positions in the database; implements `market.ports.MarketMtus`."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from gridledger.market.errors import MtuUnknown
from gridledger.market.locking import Proposal
from gridledger.market.model import BookEntry, MtuPhase, Position, Trade, advance_phase
from gridledger.market.ports import MtuRecord
from gridledger.store.orders import signed_order
from gridledger.store.schema import book_entry, contract_position, contract_trade, market_mtu, market_order

__all__ = ["Mtus"]

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
        metered_wh=bindparam("metered_wh"),
        trade_microcents=bindparam("trade_microcents"),
        imbalance_microcents=bindparam("imbalance_microcents"),
    )
)
_REFUND = update(contract_position).where(*_OF_POSITION).values(settled=True, settlement_pending=False, refunded=True)
_REWARD = (
    update(contract_trade)
    .where(
        contract_trade.c.zone == bindparam("key_zone"),
        contract_trade.c.mtu_start == bindparam("key_mtu_start"),
        contract_trade.c.position == bindparam("key_position"),
    )
    .values(rewarded=bindparam("rewarded"), rewarded_wh=bindparam("rewarded_wh"))
)


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
                "order_uid": entry.signed.uid,
                "ineligible": entry.ineligible,
            }
            for position, entry in enumerate(book)
        ]
        if rows:
            self._connection.execute(insert(book_entry), rows)

    def book(self, zone: int, mtu_start: int) -> tuple[BookEntry, ...]:
        """The closed book in receipt order."""
        query = (
            select(book_entry.c.running_number, book_entry.c.ineligible, market_order)
            .join(market_order, market_order.c.uid == book_entry.c.order_uid)
            .where(book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
            .order_by(book_entry.c.position)
        )
        return tuple(
            BookEntry(running_number=row.running_number, signed=signed_order(row), ineligible=row.ineligible)
            for row in self._connection.execute(query)
        )

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

    def keep_positions(self, zone: int, mtu_start: int, proposal: Proposal) -> None:
        """Keep what the contract will keep by hash if it accepts the proposal."""
        key = {"zone": zone, "mtu_start": mtu_start}
        positions = [
            {
                **key,
                "position": index,
                "meter": position.meter,
                "source": position.source,
                "settled": position.settled,
                "owner": position.owner,
                "supplier": position.supplier,
                "contracted_wh": position.contracted_wh,
                "metered_wh": position.metered_wh,
                "locked_microcents": position.locked_microcents,
                "fee_microcents": position.fee_microcents,
                "settlement_pending": False,
                "refunded": False,
            }
            for index, position in enumerate(proposal.positions)
        ]
        trades = [
            {
                **key,
                "position": index,
                "sell_uid": proposal.orders[match.sell].entry.signed.uid,
                "buy_uid": proposal.orders[match.buy].entry.signed.uid,
                "sell_position": trade.sell,
                "buy_position": trade.buy,
                "energy_wh": trade.energy_wh,
                "rewarded_wh": 0,
                "rewarded": False,
            }
            for index, (match, trade) in enumerate(zip(proposal.matches, proposal.trades, strict=True))
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
        return tuple(_position(row) for row in self._connection.execute(query))

    def trades(self, zone: int, mtu_start: int) -> tuple[Trade, ...]:
        """Trades as the contract keeps them."""
        return tuple(
            Trade(
                sell=row.sell_position,
                buy=row.buy_position,
                energy_wh=row.energy_wh,
                rewarded_wh=row.rewarded_wh,
                rewarded=row.rewarded,
            )
            for row in self.trade_rows(zone, mtu_start)
        )

    def trade_rows(self, zone: int, mtu_start: int) -> Sequence[Row[Any]]:
        """Trades with the uids of their orders."""
        query = (
            select(contract_trade)
            .where(contract_trade.c.zone == zone, contract_trade.c.mtu_start == mtu_start)
            .order_by(contract_trade.c.position)
        )
        return self._connection.execute(query).all()

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

    def keep_settled(
        self,
        zone: int,
        mtu_start: int,
        index: int,
        *,
        metered_wh: int,
        trade_microcents: int,
        imbalance_microcents: int,
    ) -> None:
        """Keep a position as the contract has settled it."""
        values = {
            "metered_wh": metered_wh,
            "trade_microcents": trade_microcents,
            "imbalance_microcents": imbalance_microcents,
        }
        self._connection.execute(_SETTLE, {**_key(zone, mtu_start, index), **values})

    def keep_refunded(self, zone: int, mtu_start: int, index: int) -> None:
        """Keep a position as the contract has refunded it."""
        self._connection.execute(_REFUND, _key(zone, mtu_start, index))

    def keep_rewards(self, zone: int, mtu_start: int, trades: Sequence[Trade]) -> None:
        """Keep the trades' rewards as the contract keeps them."""
        rows = [
            {**_key(zone, mtu_start, index), "rewarded": trade.rewarded, "rewarded_wh": trade.rewarded_wh}
            for index, trade in enumerate(trades)
        ]
        if rows:
            self._connection.execute(_REWARD, rows)

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
        traded_wh=row.traded_wh,
        failure=row.failure,
    )


def _position(row: Row[Any]) -> Position:
    return Position(
        meter=row.meter,
        source=row.source,
        settled=row.settled,
        owner=row.owner,
        supplier=row.supplier,
        contracted_wh=row.contracted_wh,
        metered_wh=row.metered_wh,
        locked_microcents=row.locked_microcents,
        fee_microcents=row.fee_microcents,
    )
