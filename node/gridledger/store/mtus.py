"""Books, clearings and positions in the database; implements `market.ports.MarketMtus`."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Table, bindparam, func, insert, select, update

from gridledger.market.errors import MtuUnknown
from gridledger.market.model import (
    BookEntry,
    Ineligibility,
    MtuPhase,
    Recording,
    SignedAcceptance,
    SignedOrder,
    advance_phase,
)
from gridledger.market.ports import MtuRecord
from gridledger.store.deals import signed_acceptance
from gridledger.store.orders import signed_order
from gridledger.store.positions import ContractPositions
from gridledger.store.schema import (
    book_entry,
    market_acceptance,
    market_mtu,
    market_order,
)

__all__ = ["Mtus"]


class Mtus(ContractPositions):
    """Zones and MTUs of one transaction."""

    def find(self, zone: int, mtu_start: int) -> MtuRecord | None:
        """The record of a zone and MTU."""
        query = select(market_mtu).where(market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start)
        row = self._connection.execute(query).first()
        return None if row is None else _record(row)

    def record(self, zone: int, mtu_start: int) -> MtuRecord:
        """The record of a zone and MTU that has a book. Raises MtuUnknown."""
        if (found := self.find(zone, mtu_start)) is None:
            raise MtuUnknown(zone=zone, mtu_start=mtu_start)
        return found

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
                "recording": entry.recording,
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
            BookEntry(
                running_number=row.running_number,
                signed=signed[row.order_uid],
                ineligible=None if row.ineligible is None else Ineligibility(row.ineligible),
                recording=Recording(row.recording),
            )
            for row in self._connection.execute(query)
        )

    def keep_fills(self, zone: int, mtu_start: int, filled_wh: Mapping[str, int]) -> None:
        """Keep what each listed order is filled with in the chunks proposed so far; all others with nothing."""
        where = (book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        self._connection.execute(update(book_entry).where(*where).values(filled_wh=0))
        if filled_wh:
            one = update(book_entry).where(*where, book_entry.c.order_uid == bindparam("of_uid"))
            rows = [{"of_uid": uid, "fill": energy_wh} for uid, energy_wh in filled_wh.items()]
            self._connection.execute(one.values(filled_wh=bindparam("fill")), rows)

    def lock_fills(self, zone: int, mtu_start: int) -> None:
        """The chain has every chunk proposed so far."""
        of_book = (book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        self._connection.execute(update(book_entry).where(*of_book).values(locked_wh=book_entry.c.filled_wh))

    def unlock_fills(self, zone: int, mtu_start: int) -> None:
        """Forget what was proposed beyond what the chain has."""
        of_book = (book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        self._connection.execute(update(book_entry).where(*of_book).values(filled_wh=book_entry.c.locked_wh))

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

    def retry_settling(self, zone: int, mtu_start: int, failure: str, retry_at: int) -> None:
        """Keep why the contracts refused a settlement; it is tried again from a moment on, with what is kept then."""
        self.release_settling(zone, mtu_start)
        settled = (
            self._connection.execute(
                select(market_mtu.c.phase).where(market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start)
            ).scalar_one()
            == MtuPhase.SETTLED
        )
        self._set(zone, mtu_start, failure=failure, retry_at=retry_at, to_correct=settled)

    def set_to_correct(self, zone: int, mtu_start: int, *, to_correct: bool) -> None:
        """Whether readings came that a settled MTU has not been settled on."""
        self._set(zone, mtu_start, to_correct=to_correct)

    def to_correct(self) -> tuple[MtuRecord, ...]:
        """Settled MTUs with readings they have not been settled on, oldest first."""
        query = select(market_mtu).where(market_mtu.c.to_correct.is_(True)).order_by(market_mtu.c.mtu_start)
        return tuple(_record(row) for row in self._connection.execute(query))

    def set_chunks(self, zone: int, mtu_start: int, *, chunk_count: int, cleared_chunks: int) -> None:
        """How many chunks a clearing has, and how many of them the chain has."""
        self._set(zone, mtu_start, chunk_count=chunk_count, cleared_chunks=cleared_chunks)

    def set_prices(self, zone: int, mtu_start: int, **values: int) -> None:
        """Keep what the chain says of a zone and MTU: reference price, price, traded energy."""
        self._set(zone, mtu_start, **values)

    def mark_ineligible(self, zone: int, mtu_start: int, uids: Collection[str], reason: Ineligibility | None) -> None:
        """Mark listed orders as ineligible, or as eligible again."""
        self._set_lines(zone, mtu_start, uids, ineligible=reason)

    def mark_recording(self, zone: int, mtu_start: int, uids: Collection[str], recording: Recording) -> None:
        """Remember how far the contract's record of listed orders has come."""
        self._set_lines(zone, mtu_start, uids, recording=recording)

    def _set(self, zone: int, mtu_start: int, **values: Any) -> None:
        self._connection.execute(
            update(market_mtu).where(market_mtu.c.zone == zone, market_mtu.c.mtu_start == mtu_start).values(**values)
        )

    def _set_lines(self, zone: int, mtu_start: int, uids: Collection[str], **values: Any) -> None:
        of_book = (book_entry.c.zone == zone, book_entry.c.mtu_start == mtu_start)
        self._connection.execute(
            update(book_entry).where(*of_book, book_entry.c.order_uid.in_(list(uids))).values(**values)
        )


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
        chunk_count=row.chunk_count,
        cleared_chunks=row.cleared_chunks,
        retry_at=row.retry_at,
    )
