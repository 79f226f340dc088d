"""Words shared by the two adapters: transactions on their way to the chain, and what comes back from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["ChainEvent", "IndexedBlock", "OutboxRow", "OutboxState"]


class OutboxState(StrEnum):
    """Life of a transaction: kept, signed, and its outcome."""

    READY = "ready"
    SIGNED = "signed"
    MINED = "mined"
    REVERTED = "reverted"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """One transaction: ready to be signed, signed and being sent, or with its outcome."""

    id: int
    kind: str
    signer: str
    to_address: str
    data: bytes
    zone: int | None
    mtu_start: int | None
    nonce: int | None
    raw: bytes | None
    transaction_hash: str | None
    state: OutboxState
    error: str | None
    block_number: int | None
    gas_used: int | None
    created_at: int


@dataclass(frozen=True, kw_only=True)
class IndexedBlock:
    """A block the node has indexed; time in Unix seconds."""

    number: int
    block_hash: str
    parent_hash: str
    time_s: int


@dataclass(frozen=True, kw_only=True)
class ChainEvent:
    """A contract's event; arguments by the contract's names, bytes as 0x hex, whole numbers as int."""

    block_number: int
    log_index: int
    transaction_hash: str
    contract: str
    name: str
    arguments: Mapping[str, Any]
