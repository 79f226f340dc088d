"""What is kept about trades and their meters, for receipts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, FromClause, Select, and_, or_, select

from gridledger.market.model import Acceptance, Order, Receipt
from gridledger.store.deals import signed_acceptance
from gridledger.store.orders import signed_order
from gridledger.store.receipts import receipt_of
from gridledger.store.schema import (
    book_entry,
    carbon_reward,
    chain_event,
    contract_position,
    contract_trade,
    erased_reading,
    market_acceptance,
    market_order,
    proven_reading,
)

__all__ = ["FilledRow", "RewardRow", "TradeFacts", "TradeRow"]


@dataclass(frozen=True, kw_only=True)
class TradeRow:
    """A trade with the meters and owners of both positions; `source` is the seller's, `curtailed_wh` caps took off."""

    chunk: int
    position: int
    kind: str
    seller: int
    seller_account: str
    buyer: int
    buyer_account: str
    energy_wh: int
    price_cents_per_mwh: int
    source: int
    curtailed_wh: int


@dataclass(frozen=True, kw_only=True)
class FilledRow:
    """A filled order or acceptance of a meter, as signed and receipted, and its line in the book."""

    meter: int
    position: int
    filled_wh: int
    uid: str
    signed: Order | Acceptance
    signature: str
    receipt: Receipt


@dataclass(frozen=True, kw_only=True)
class RewardRow:
    """Tokens granted to a holder or taken back by one event."""

    block_number: int
    log_index: int
    transaction_hash: str
    name: str
    holder: str
    amount_ugco2: int


class TradeFacts:
    """Trades of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def trades_of(self, zone: int, mtu_start: int, meter: int, after: int, limit: int) -> tuple[TradeRow, ...]:
        """Trades of a meter by chunk and place, without the first `after` of them."""
        sell, buy = contract_position.alias("sell"), contract_position.alias("buy")
        trades = contract_trade.c
        query = (
            select(
                trades.chunk,
                trades.position,
                trades.kind,
                sell.c.meter.label("seller"),
                sell.c.owner.label("seller_account"),
                buy.c.meter.label("buyer"),
                buy.c.owner.label("buyer_account"),
                trades.energy_wh,
                trades.price_cents_per_mwh,
                sell.c.source,
                trades.curtailed_wh,
            )
            .join(sell, _position_of_trade(sell, trades.sell_position))
            .join(buy, _position_of_trade(buy, trades.buy_position))
            .where(trades.zone == zone, trades.mtu_start == mtu_start, or_(sell.c.meter == meter, buy.c.meter == meter))
            .order_by(trades.chunk, trades.position)
            .offset(after)
            .limit(limit)
        )
        return tuple(TradeRow(**row._asdict()) for row in self._connection.execute(query))

    def curtailed_places(self, zone: int, mtu_start: int, chunk: int) -> tuple[int, ...]:
        """Places of a chunk's trades that caps took energy off, ascending."""
        trades = contract_trade.c
        query = select(trades.position).where(
            trades.zone == zone, trades.mtu_start == mtu_start, trades.chunk == chunk, trades.curtailed_wh > 0
        )
        return tuple(self._connection.execute(query.order_by(trades.position)).scalars())

    def meter_of(self, zone: int, mtu_start: int, uid: str) -> int | None:
        """The meter of an order or acceptance that was filled in a zone and MTU."""
        for table in (market_order, market_acceptance):
            row = self._connection.execute(_filled(table, zone, mtu_start).where(table.c.uid == uid)).first()
            if row is not None:
                return int(row.meter)
        return None

    def filled_of(self, zone: int, mtu_start: int, meters: Collection[int]) -> Mapping[int, tuple[FilledRow, ...]]:
        """Filled orders and acceptances by meter, in the order of the book."""
        found: dict[int, list[FilledRow]] = {meter: [] for meter in meters}
        for table in (market_order, market_acceptance):
            query = _filled(table, zone, mtu_start).where(table.c.meter.in_(sorted(meters)))
            for row in self._connection.execute(query):
                found[row.meter].append(_filled_row(row, is_order=table is market_order))
        return {meter: tuple(sorted(rows, key=lambda row: row.position)) for meter, rows in found.items()}

    def rewards(self, mtu_start: int, holders: Collection[str]) -> tuple[RewardRow, ...]:
        """Tokens granted to these holders for an MTU, whatever the zone, or taken back; in chain order."""
        rewards, events = carbon_reward.c, chain_event.c
        query = (
            select(
                rewards.block_number,
                rewards.log_index,
                events.transaction_hash,
                events.name,
                rewards.holder,
                rewards.amount_ugco2,
            )
            .join(
                chain_event,
                and_(events.block_number == rewards.block_number, events.log_index == rewards.log_index),
            )
            .where(rewards.mtu_start == mtu_start, rewards.holder.in_(sorted(holders)))
            .order_by(rewards.block_number, rewards.log_index)
        )
        return tuple(RewardRow(**row._asdict()) for row in self._connection.execute(query))

    def proven_net_wh(self, meter: int, mtu_start: int) -> int | None:
        """What a meter's device has provably measured, export minus import."""
        query = select(proven_reading.c.net_wh).where(
            proven_reading.c.meter == meter, proven_reading.c.mtu_start == mtu_start
        )
        return self._connection.execute(query).scalar()

    def is_erased(self, meter: int, mtu_start: int) -> bool:
        """Whether the reading of a meter and MTU has been erased."""
        query = select(erased_reading.c.meter).where(
            erased_reading.c.meter == meter, erased_reading.c.mtu_start == mtu_start
        )
        return self._connection.execute(query).first() is not None


def _position_of_trade(position: FromClause, number: Any) -> Any:
    trades = contract_trade.c
    return and_(
        position.c.zone == trades.zone,
        position.c.mtu_start == trades.mtu_start,
        position.c.chunk == trades.chunk,
        position.c.position == number,
    )


def _filled(table: Any, zone: int, mtu_start: int) -> Select[Any]:
    lines = book_entry.c
    return (
        select(table, lines.position, lines.filled_wh)
        .join(book_entry, lines.order_uid == table.c.uid)
        .where(lines.zone == zone, lines.mtu_start == mtu_start, lines.filled_wh > 0)
    )


def _filled_row(row: Any, *, is_order: bool) -> FilledRow:
    signed = signed_order(row).order if is_order else signed_acceptance(row).acceptance
    return FilledRow(
        meter=row.meter,
        position=row.position,
        filled_wh=row.filled_wh,
        uid=row.uid,
        signed=signed,
        signature=row.signature,
        receipt=receipt_of(row, row.uid),
    )
