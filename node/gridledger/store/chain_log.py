"""Indexed blocks and decoded events."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select

from gridledger.relay import ChainEvent, IndexedBlock
from gridledger.store.schema import chain_block, chain_event

__all__ = ["ChainLog"]


class ChainLog:
    """Blocks and events of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tip(self) -> IndexedBlock | None:
        """The newest indexed block."""
        row = self._connection.execute(select(chain_block).order_by(chain_block.c.number.desc()).limit(1)).first()
        return None if row is None else IndexedBlock(**row._asdict())

    def block_hash(self, number: int) -> str:
        """Hash of an indexed block."""
        query = select(chain_block.c.block_hash).where(chain_block.c.number == number)
        return str(self._connection.execute(query).scalar_one())

    def add(self, block: IndexedBlock, events: Sequence[ChainEvent]) -> None:
        """Keep a block and its events."""
        self._connection.execute(
            insert(chain_block).values(
                number=block.number, block_hash=block.block_hash, parent_hash=block.parent_hash, time_s=block.time_s
            )
        )
        rows = [
            {
                "block_number": event.block_number,
                "log_index": event.log_index,
                "transaction_hash": event.transaction_hash,
                "contract": event.contract,
                "name": event.name,
                "arguments": {name: _portable(value) for name, value in event.arguments.items()},
            }
            for event in events
        ]
        if rows:
            self._connection.execute(insert(chain_event), rows)

    def events(self, name: str) -> Iterator[ChainEvent]:
        """All events of a name in chain order."""
        query = (
            select(chain_event)
            .where(chain_event.c.name == name)
            .order_by(chain_event.c.block_number, chain_event.c.log_index)
        )
        for row in self._connection.execute(query):
            yield ChainEvent(**row._asdict())

    def event_count(self, name: str) -> int:
        """How many events of a name were indexed."""
        query = select(func.count()).select_from(chain_event).where(chain_event.c.name == name)
        return self._connection.execute(query).scalar_one()


def _portable(value: Any) -> Any:
    """Whole numbers beyond 53 bits as text, so that every JSON reader keeps them exact."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return value if abs(value) < 2**53 else str(value)
