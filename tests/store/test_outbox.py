"""The life of a transaction on its way to the chain."""

import pytest
from sqlalchemy.exc import IntegrityError

from gridledger.relay import OutboxRow, OutboxState
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction

SIGNER, OTHER = "0x" + "12" * 20, "0x" + "13" * 20
CONTRACT = "0x" + "14" * 20


def add(tx: Transaction, kind: str = "CommitBook", signer: str = SIGNER, created_at: int = 100) -> int:
    return tx.outbox.add(
        kind=kind, signer=signer, to_address=CONTRACT, data=b"\x01\x02", zone=1, mtu_start=900, created_at=created_at
    )


def add_signed(tx: Transaction, nonce: int, signer: str = OTHER) -> str:
    transaction_hash = f"0x{signer[2:4]}{nonce:062x}"
    tx.outbox.add_signed(
        kind="RelayedTransaction",
        signer=signer,
        to_address=CONTRACT,
        data=b"",
        nonce=nonce,
        raw=bytes((nonce,)),
        transaction_hash=transaction_hash,
        created_at=200,
    )
    return transaction_hash


def rows(tx: Transaction, state: OutboxState) -> tuple[OutboxRow, ...]:
    return tx.outbox.in_state(state, 100)


def test_a_command_is_kept_ready_without_nonce_bytes_or_hash(database: Database) -> None:
    with database.write() as tx:
        number = add(tx)
    with database.read() as tx:
        (row,) = rows(tx, OutboxState.READY)
    assert row == OutboxRow(
        id=number,
        kind="CommitBook",
        signer=SIGNER,
        to_address=CONTRACT,
        data=b"\x01\x02",
        zone=1,
        mtu_start=900,
        nonce=None,
        raw=None,
        transaction_hash=None,
        state=OutboxState.READY,
        error=None,
        block_number=None,
        gas_used=None,
        created_at=100,
    )


def test_signing_keeps_nonce_bytes_and_hash_and_the_outcome_keeps_block_and_gas(database: Database) -> None:
    with database.write() as tx:
        number = add(tx)
        tx.outbox.mark_signed(number, nonce=7, raw=b"signed", transaction_hash="0xaa")
        (row,) = rows(tx, OutboxState.SIGNED)
        assert (row.nonce, row.raw, row.transaction_hash) == (7, b"signed", "0xaa")
        tx.outbox.mark_outcome(number, succeeded=True, block_number=3, gas_used=21_000, error=None)
        (row,) = rows(tx, OutboxState.MINED)
        assert (row.block_number, row.gas_used, row.error, row.raw) == (3, 21_000, None, b"signed")
        assert tx.outbox.find("0xaa") == row


def test_a_reverted_transaction_keeps_its_reason_and_its_gas(database: Database) -> None:
    with database.write() as tx:
        number = add(tx)
        tx.outbox.mark_signed(number, nonce=0, raw=b"x", transaction_hash="0xaa")
        tx.outbox.mark_outcome(number, succeeded=False, block_number=3, gas_used=50, error="ZoneHalted(1)")
        (row,) = rows(tx, OutboxState.REVERTED)
        assert (row.error, row.gas_used) == ("ZoneHalted(1)", 50)
        assert tx.outbox.gas_total() == 50


def test_a_rejected_command_never_had_a_nonce(database: Database) -> None:
    with database.write() as tx:
        tx.outbox.mark_rejected(add(tx), "no")
        (row,) = rows(tx, OutboxState.REJECTED)
        assert (row.error, row.nonce) == ("no", None)
        assert tx.outbox.highest_nonce(SIGNER) is None


def test_rows_come_in_the_order_they_were_added_and_as_many_as_asked(database: Database) -> None:
    with database.write() as tx:
        numbers = [add(tx, kind=f"kind {index}") for index in range(5)]
        assert [row.id for row in rows(tx, OutboxState.READY)] == numbers
        assert [row.kind for row in tx.outbox.in_state(OutboxState.READY, 2)] == ["kind 0", "kind 1"]


def test_the_highest_nonce_is_each_signer_s_own(database: Database) -> None:
    with database.write() as tx:
        assert tx.outbox.highest_nonce(SIGNER) is None
        for nonce in (4, 5, 3):
            add_signed(tx, nonce)
        add_signed(tx, 9, SIGNER)
        assert (tx.outbox.highest_nonce(OTHER), tx.outbox.highest_nonce(SIGNER)) == (5, 9)


def test_a_nonce_is_used_once_per_signer(database: Database) -> None:
    with database.write() as tx:
        add_signed(tx, 1)
        add_signed(tx, 1, SIGNER)
        number = add(tx)
        with pytest.raises(IntegrityError):
            tx.outbox.mark_signed(number, nonce=1, raw=b"x", transaction_hash="0xbb")


def test_a_relayed_transaction_starts_signed_and_belongs_to_no_mtu(database: Database) -> None:
    with database.write() as tx:
        transaction_hash = add_signed(tx, 3)
        row = tx.outbox.find(transaction_hash)
        assert row is not None
        assert (row.state, row.zone, row.mtu_start, row.raw) == (OutboxState.SIGNED, None, None, b"\x03")
        assert tx.outbox.find("0x" + "00" * 32) is None


def test_open_rows_are_the_ready_and_the_signed_ones(database: Database) -> None:
    with database.write() as tx:
        assert (tx.outbox.open_count(), tx.outbox.oldest_open_at(), tx.outbox.gas_total()) == (0, None, 0)
        first, second = add(tx, created_at=50), add(tx, created_at=60)
        add_signed(tx, 0)
        assert (tx.outbox.open_count(), tx.outbox.oldest_open_at()) == (3, 50)
        tx.outbox.mark_rejected(first, "no")
        assert (tx.outbox.open_count(), tx.outbox.oldest_open_at()) == (2, 60)
        tx.outbox.mark_outcome(second, succeeded=True, block_number=1, gas_used=5, error=None)
        assert (tx.outbox.open_count(), tx.outbox.oldest_open_at()) == (1, 200)


def test_the_newest_failures_come_first(database: Database) -> None:
    with database.write() as tx:
        numbers = [add(tx) for _ in range(4)]
        tx.outbox.mark_rejected(numbers[0], "first")
        tx.outbox.mark_outcome(numbers[1], succeeded=True, block_number=1, gas_used=5, error=None)
        tx.outbox.mark_outcome(numbers[2], succeeded=False, block_number=1, gas_used=5, error="second")
        tx.outbox.mark_rejected(numbers[3], "third")
        assert [row.error for row in tx.outbox.failed(2)] == ["third", "second"]
        assert [row.error for row in tx.outbox.failed(9)] == ["third", "second", "first"]
