"""Indexed blocks and decoded events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, func, insert, select

from gridledger.relay import ChainEvent, IndexedBlock
from gridledger.store.schema import chain_block, chain_event

__all__ = ["ChainLog"]

_IN_ORDER = select(*(chain_event.c[field.name] for field in fields(ChainEvent))).order_by(
    chain_event.c.block_number, chain_event.c.log_index
)


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
                **_slot(event.arguments),
            }
            for event in events
        ]
        if rows:
            self._connection.execute(insert(chain_event), rows)

    def events(self, name: str) -> Iterator[ChainEvent]:
        """All events of a name in chain order."""
        for row in self._connection.execute(_IN_ORDER.where(chain_event.c.name == name)):
            yield ChainEvent(**row._asdict())

    def events_about(self, zone: int, mtu_start: int) -> tuple[ChainEvent, ...]:
        """All events whose arguments name this zone and MTU, in chain order."""
        query = _IN_ORDER.where(chain_event.c.zone == zone, chain_event.c.mtu_start == mtu_start)
        return tuple(ChainEvent(**row._asdict()) for row in self._connection.execute(query))

    def events_beside(self, event: ChainEvent) -> tuple[ChainEvent, ...]:
        """All events of the transaction that made an event, in chain order."""
        query = _IN_ORDER.where(
            chain_event.c.block_number == event.block_number, chain_event.c.transaction_hash == event.transaction_hash
        )
        return tuple(ChainEvent(**row._asdict()) for row in self._connection.execute(query))

    def stops_over(self, zone: int, mtu_start: int) -> tuple[ChainEvent, ...]:
        """The events that stopped a zone for an MTU among others, in chain order."""
        values = chain_event.c.arguments
        query = _IN_ORDER.where(
            chain_event.c.name == "ZoneStopped",
            values["zone"].as_integer() == zone,
            values["firstMtuStart"].as_integer() <= mtu_start,
            values["lastMtuStart"].as_integer() >= mtu_start,
        )
        return tuple(ChainEvent(**row._asdict()) for row in self._connection.execute(query))

    def anchoring(self, sequence: int) -> ChainEvent | None:
        """The event that anchored the batch of readings with this number."""
        query = _IN_ORDER.where(
            chain_event.c.name == "ReadingsAnchored", chain_event.c.arguments["sequence"].as_integer() == sequence
        )
        row = self._connection.execute(query).first()
        return None if row is None else ChainEvent(**row._asdict())

    def event_count(self, name: str) -> int:
        """How many events of a name were indexed."""
        query = select(func.count()).select_from(chain_event).where(chain_event.c.name == name)
        return self._connection.execute(query).scalar_one()


def _slot(arguments: Mapping[str, Any]) -> dict[str, int | None]:
    """Columns of the zone and MTU that an event is about."""
    slot = arguments.get("zone"), arguments.get("mtuStart")
    zone, mtu_start = (None, None) if None in slot else slot
    return {"zone": zone, "mtu_start": mtu_start}


def _portable(value: Any) -> Any:
    """Whole numbers beyond 53 bits as text, so that every JSON reader keeps them exact."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return value if abs(value) < 2**53 else str(value)
