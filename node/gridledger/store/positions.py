"""Positions and trades of clearings in the database, by zone, MTU and chunk; a part of `store.mtus`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, select, update

from gridledger.market.curtailment import Shrunk
from gridledger.market.locking import Proposal
from gridledger.market.model import MtuPhase, Position, Trade
from gridledger.market.ports import KeptPosition
from gridledger.store.schema import contract_position, contract_trade, market_mtu

__all__ = ["ContractPositions", "SettledValues", "position_of"]

# Statements that run once per position or trade, built once.
_OF_POSITION = (
    contract_position.c.zone == bindparam("key_zone"),
    contract_position.c.mtu_start == bindparam("key_mtu_start"),
    contract_position.c.chunk == bindparam("key_chunk"),
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
    "prior_wh",
    "continued",
    "curtailed",
    "fee_microcents",
    "locked_microcents",
    "deal_microcents",
    "settled",
    "substitute",
    "version",
    "metered_wh",
)


_SHRUNK_FIELDS = (
    "curtailed",
    "auction_wh",
    "low_carbon_wh",
    "dealt_wh",
    "prior_wh",
    "fee_microcents",
    "locked_microcents",
    "deal_microcents",
)
_TRADE_KEY = ("zone", "mtu_start", "chunk", "position")


@dataclass(frozen=True, kw_only=True)
class SettledValues:
    """What a settlement event says of a position; Wh and microcents, the imbalance summed over all versions."""

    substitute: bool
    version: int
    metered_wh: int
    trade_microcents: int
    imbalance_microcents: int


class ContractPositions:
    """What the contract keeps by hash, of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._opened: dict[tuple[int, int, int], dict[int, Row[Any]]] = {}

    def keep_positions(
        self, zone: int, mtu_start: int, proposals: Sequence[Proposal], suppliers: Mapping[int, str]
    ) -> None:
        """Keep what the contract will keep by hash if it accepts all chunks; `suppliers` by meter."""
        for proposal in proposals:
            key = {"zone": zone, "mtu_start": mtu_start, "chunk": proposal.part.chunk}
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
                    "is_kept": index < len(proposal.deals),
                }
                for index, (trade, price) in enumerate(zip(proposal.trades, proposal.trade_prices, strict=True))
            ]
            if positions:
                self._connection.execute(insert(contract_position), positions)
                self._connection.execute(insert(contract_trade), trades)

    def forget_positions(self, zone: int, mtu_start: int, from_chunk: int = 0) -> None:
        """Drop what a refused proposal would have left with the contract, from a chunk on."""
        for table in (contract_position, contract_trade):
            self._connection.execute(
                delete(table).where(table.c.zone == zone, table.c.mtu_start == mtu_start, table.c.chunk >= from_chunk)
            )

    def positions(self, zone: int, mtu_start: int) -> tuple[KeptPosition, ...]:
        """Positions as the contract keeps them, by chunk and index."""
        query = (
            select(contract_position)
            .where(contract_position.c.zone == zone, contract_position.c.mtu_start == mtu_start)
            .order_by(contract_position.c.chunk, contract_position.c.position)
        )
        return tuple(
            KeptPosition(
                chunk=row.chunk,
                index=row.position,
                position=position_of(row),
                refunded=row.refunded,
                pending=row.settlement_pending,
            )
            for row in self._connection.execute(query)
        )

    def deals(self, zone: int, mtu_start: int, chunk: int) -> tuple[Trade, ...]:
        """Trades between positions of a chunk as the contract keeps them: direct deals, after caps all of them."""
        query = (
            select(contract_trade)
            .where(
                contract_trade.c.zone == zone,
                contract_trade.c.mtu_start == mtu_start,
                contract_trade.c.chunk == chunk,
                contract_trade.c.is_kept,
            )
            .order_by(contract_trade.c.position)
        )
        return tuple(
            Trade(
                sell=row.sell_position,
                buy=row.buy_position,
                energy_wh=row.energy_wh - row.curtailed_wh,
                price_cents_per_mwh=row.price_cents_per_mwh,
            )
            for row in self._connection.execute(query)
        )

    def is_settling(self, zone: int, mtu_start: int) -> bool:
        """Whether a settlement of the MTU is under way."""
        query = select(contract_position.c.position).where(
            contract_position.c.zone == zone,
            contract_position.c.mtu_start == mtu_start,
            contract_position.c.settlement_pending.is_(True),
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def mark_settling(self, zone: int, mtu_start: int, chunk: int, indexes: Sequence[int]) -> None:
        """Remember that a settlement of these positions is under way."""
        self._connection.execute(
            update(contract_position)
            .where(
                contract_position.c.zone == zone,
                contract_position.c.mtu_start == mtu_start,
                contract_position.c.chunk == chunk,
                contract_position.c.position.in_(indexes),
            )
            .values(settlement_pending=True)
        )

    def release_settling(self, zone: int, mtu_start: int) -> None:
        """No settlement of the MTU is under way any more."""
        where = (contract_position.c.zone == zone, contract_position.c.mtu_start == mtu_start)
        self._connection.execute(update(contract_position).where(*where).values(settlement_pending=False))

    def opened_positions(self, zone: int, mtu_start: int, chunk: int) -> dict[int, Row[Any]]:
        """What each meter of a chunk contracted and locked; read once per transaction, for only caps change it."""
        key = (zone, mtu_start, chunk)
        if key not in self._opened:
            query = select(contract_position).where(
                contract_position.c.zone == zone,
                contract_position.c.mtu_start == mtu_start,
                contract_position.c.chunk == chunk,
            )
            self._opened[key] = {row.meter: row for row in self._connection.execute(query)}
        return self._opened[key]

    def settled_position(self, zone: int, mtu_start: int, chunk: int, meter: int) -> Row[Any]:
        """A meter's position of a chunk as last settled."""
        query = select(contract_position).where(
            contract_position.c.zone == zone,
            contract_position.c.mtu_start == mtu_start,
            contract_position.c.chunk == chunk,
            contract_position.c.meter == meter,
        )
        return self._connection.execute(query).one()

    def has_open_position(self, zone: int, mtu_start: int, meter: int) -> bool:
        """Whether a meter has a position in some chunk that is neither settled nor refunded."""
        query = select(contract_position.c.position).where(
            contract_position.c.zone == zone,
            contract_position.c.mtu_start == mtu_start,
            contract_position.c.meter == meter,
            contract_position.c.settled.is_(False),
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def keep_settled(self, row: Row[Any], values: SettledValues) -> None:
        """Keep a position as the contract has settled it."""
        changes = {
            "is_substitute": values.substitute,
            "new_version": values.version,
            "new_metered_wh": values.metered_wh,
            "new_trade_microcents": values.trade_microcents,
            "new_imbalance_microcents": values.imbalance_microcents,
        }
        self._connection.execute(_SETTLE, {**_key(row), **changes})

    def keep_curtailed(self, zone: int, mtu_start: int, chunk: int, shrunk: Shrunk) -> tuple[Row[Any], ...]:
        """Keep what caps have left of a chunk's positions and trades; returns the positions' new rows."""
        key = {"key_zone": zone, "key_mtu_start": mtu_start, "key_chunk": chunk}
        names = _SHRUNK_FIELDS
        self._connection.execute(
            update(contract_position).where(*_OF_POSITION).values({name: bindparam(f"new_{name}") for name in names}),
            [
                {**key, "key_position": index, **{f"new_{name}": getattr(one, name) for name in names}}
                for index, one in enumerate(shrunk.positions)
            ],
        )
        self._connection.execute(
            update(contract_trade)
            .where(*(contract_trade.c[name] == bindparam(f"key_{name}") for name in _TRADE_KEY))
            .values(curtailed_wh=bindparam("new_curtailed_wh"), is_kept=True),
            [
                {**key, "key_position": index, "new_curtailed_wh": curtailed_wh}
                for index, curtailed_wh in enumerate(shrunk.curtailed_wh)
            ],
        )
        self._opened.pop((zone, mtu_start, chunk), None)
        rows = self.opened_positions(zone, mtu_start, chunk).values()
        return tuple(sorted(rows, key=lambda row: int(row.position)))

    def keep_refunded(self, row: Row[Any]) -> None:
        """Keep a position as the contract has refunded it."""
        self._connection.execute(_REFUND, _key(row))

    def curtailed_totals(self) -> tuple[int, int]:
        """Energy that caps took off trades, and the part of it from low-carbon sources, Wh."""
        of_seller = (
            (contract_position.c.zone == contract_trade.c.zone)
            & (contract_position.c.mtu_start == contract_trade.c.mtu_start)
            & (contract_position.c.chunk == contract_trade.c.chunk)
            & (contract_position.c.position == contract_trade.c.sell_position)
        )
        low_carbon = case((contract_position.c.source != 0, contract_trade.c.curtailed_wh), else_=0)
        query = (
            select(func.coalesce(func.sum(contract_trade.c.curtailed_wh), 0), func.coalesce(func.sum(low_carbon), 0))
            .select_from(contract_trade)
            .join(contract_position, of_seller)
            .where(contract_trade.c.curtailed_wh > 0)
        )
        total, low_carbon_wh = self._connection.execute(query).one()
        return int(total), int(low_carbon_wh)

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


def _key(row: Row[Any]) -> dict[str, int]:
    return {
        "key_zone": row.zone,
        "key_mtu_start": row.mtu_start,
        "key_chunk": row.chunk,
        "key_position": row.position,
    }


def position_of(row: Row[Any]) -> Position:
    """The position of a `contract_position` row."""
    return Position(**{name: getattr(row, name) for name in _POSITION_FIELDS})
