"""Transactions on their way to the chain. A nonce exists only as a column of a signed row."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from gridledger.relay import OutboxRow, OutboxState
from gridledger.store.schema import outbox

__all__ = ["Outbox"]


class Outbox:
    """Outbox rows of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self,
        *,
        kind: str,
        signer: str,
        to_address: str,
        data: bytes,
        zone: int | None,
        mtu_start: int | None,
        created_at: int,
    ) -> int:
        """Keep a command for signing; returns its number."""
        result = self._connection.execute(
            insert(outbox).values(
                kind=kind,
                signer=signer,
                to_address=to_address,
                data=data,
                zone=zone,
                mtu_start=mtu_start,
                state=OutboxState.READY,
                created_at=created_at,
            )
        )
        key = result.inserted_primary_key
        assert key is not None
        return int(key[0])

    def add_signed(
        self,
        *,
        kind: str,
        signer: str,
        to_address: str,
        data: bytes,
        nonce: int,
        raw: bytes,
        transaction_hash: str,
        created_at: int,
    ) -> None:
        """Keep a transaction its sender has signed."""
        self._connection.execute(
            insert(outbox).values(
                kind=kind,
                signer=signer,
                to_address=to_address,
                data=data,
                nonce=nonce,
                raw=raw,
                transaction_hash=transaction_hash,
                state=OutboxState.SIGNED,
                created_at=created_at,
            )
        )

    def in_state(self, state: OutboxState, limit: int) -> tuple[OutboxRow, ...]:
        """Rows in a state in the order they were added."""
        query = select(outbox).where(outbox.c.state == state).order_by(outbox.c.id).limit(limit)
        return tuple(_row(row) for row in self._connection.execute(query))

    def find(self, transaction_hash: str) -> OutboxRow | None:
        """The row with this transaction hash."""
        row = self._connection.execute(select(outbox).where(outbox.c.transaction_hash == transaction_hash)).first()
        return None if row is None else _row(row)

    def highest_nonce(self, signer: str) -> int | None:
        """The highest nonce of any signed row of an account."""
        return self._connection.execute(select(func.max(outbox.c.nonce)).where(outbox.c.signer == signer)).scalar()

    def mark_signed(self, row_id: int, *, nonce: int, raw: bytes, transaction_hash: str) -> None:
        """Keep the signed bytes before they leave the process."""
        self._set(row_id, state=OutboxState.SIGNED, nonce=nonce, raw=raw, transaction_hash=transaction_hash)

    def mark_rejected(self, row_id: int, error: str) -> None:
        """The command cannot be carried out; its nonce, if it had one, is free again or used by another."""
        self._set(row_id, state=OutboxState.REJECTED, nonce=None, error=error)

    def mark_outcome(
        self, row_id: int, *, succeeded: bool, block_number: int, gas_used: int, error: str | None
    ) -> None:
        """Keep what the chain's receipt says."""
        state = OutboxState.MINED if succeeded else OutboxState.REVERTED
        self._set(row_id, state=state, block_number=block_number, gas_used=gas_used, error=error)

    def gas_total(self) -> int:
        """Gas of all mined and reverted transactions."""
        return int(self._connection.execute(select(func.coalesce(func.sum(outbox.c.gas_used), 0))).scalar_one())

    def open_count(self) -> int:
        """Rows whose outcome is not known yet."""
        query = (
            select(func.count()).select_from(outbox).where(outbox.c.state.in_((OutboxState.READY, OutboxState.SIGNED)))
        )
        return self._connection.execute(query).scalar_one()

    def has_open(self, kind: str, zone: int | None, mtu_start: int | None) -> bool:
        """Whether a command of that kind, for the zone and MTU if it is for one, has no outcome yet."""
        query = select(outbox.c.id).where(
            outbox.c.state.in_((OutboxState.READY, OutboxState.SIGNED)),
            outbox.c.kind == kind,
            outbox.c.zone.is_not_distinct_from(zone),
            outbox.c.mtu_start.is_not_distinct_from(mtu_start),
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def oldest_open_at(self) -> int | None:
        """When the oldest row without an outcome was added, Unix seconds."""
        query = select(func.min(outbox.c.created_at)).where(outbox.c.state.in_((OutboxState.READY, OutboxState.SIGNED)))
        return self._connection.execute(query).scalar()

    def failed(self, limit: int) -> Sequence[OutboxRow]:
        """Rows the chain or the simulation refused, newest first."""
        query = (
            select(outbox)
            .where(outbox.c.state.in_((OutboxState.REVERTED, OutboxState.REJECTED)))
            .order_by(outbox.c.id.desc())
            .limit(limit)
        )
        return [_row(row) for row in self._connection.execute(query)]

    def _set(self, row_id: int, **values: Any) -> None:
        self._connection.execute(update(outbox).where(outbox.c.id == row_id).values(**values))


def _row(row: Row[Any]) -> OutboxRow:
    return OutboxRow(**{**row._asdict(), "state": OutboxState(row.state)})
