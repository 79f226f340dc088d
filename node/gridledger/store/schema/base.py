"""What all tables share: their metadata, wide integers and the columns of a receipt."""

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, MetaData, String
from sqlalchemy.types import TypeDecorator

__all__ = ["WideInteger", "metadata", "receipt_columns"]


class WideInteger(TypeDecorator[int]):
    """An integer of up to 256 bits, stored as decimal text."""

    impl = String(80)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Integer to text."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Text to integer."""
        return None if value is None else int(value)


metadata = MetaData()


def receipt_columns() -> tuple[Column[Any], ...]:
    """Where a receipt's number, time, block and signature are kept; the digest it signs is the table's own."""
    return (
        Column("running_number", BigInteger, nullable=False, unique=True),
        Column("received_at", BigInteger, nullable=False),
        Column("receipt_block_hash", String(66), nullable=False),
        Column("receipt_signature", String(132), nullable=False),
    )
