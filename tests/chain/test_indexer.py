"""The database follows the chain block by block: once each, all of a block or nothing, and never a foreign history."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.chain.deployed import (
    GENESIS_TIME_S,
    MTU_START,
    ZONE,
    Deployed,
    addresses,
    deployed,
    key,
    plan,
    signed_raw,
)

from gridledger.chain.indexer import ChainForked, Indexer
from gridledger.errors import GridLedgerError
from gridledger.relay import IndexedBlock, OutboxRow, OutboxState
from gridledger.store.database import Database
from gridledger.store.transaction import Transaction


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Deployed]:
    """A deployed market, nothing indexed yet."""
    with deployed(tmp_path) as running:
        yield running


def feed_in(market: Deployed, mtu_start: int, price: int, nonce: int) -> str:
    data = market.client.codecs["GridPolicy"].call_data("postFeedIn", mtu_start, [price])
    return signed_raw("oracle", addresses()["GridPolicy"], data, nonce=nonce)


def tip(market: Deployed) -> IndexedBlock | None:
    with market.database.read() as tx:
        return tx.chain_log.tip()


def facts(database: Database) -> tuple[object, ...]:
    with database.read() as tx:
        return (
            tx.chain_log.tip(),
            tx.directory.zones(),
            tx.directory.prices_at(MTU_START),
            tx.directory.accounts(),
            tx.chain_log.event_count("FeedInPosted"),
            tx.chain_log.event_count("RoleGranted"),
        )


def test_every_block_is_indexed_from_the_first_on(market: Deployed) -> None:
    assert market.indexer().catch_up() == 2
    block = tip(market)
    assert block is not None
    assert (block.number, block.block_hash) == (1, market.client.block(1).block.block_hash)
    with market.database.read() as tx:
        assert tx.directory.zones() == {ZONE: key("grid_operator").address}
        assert tx.directory.is_supplier(key("supplier").address)
        assert tx.directory.policy_at(MTU_START).gate_closure_s == 300


def test_indexing_again_changes_nothing(market: Deployed) -> None:
    market.chain.mine(GENESIS_TIME_S + 2, [feed_in(market, MTU_START, 5_000, 0)])
    assert market.indexer().catch_up() == 3
    before = facts(market.database)
    assert market.indexer().catch_up() == 0
    assert market.indexer().catch_up() == 0
    assert facts(market.database) == before


def test_only_new_blocks_are_read(market: Deployed) -> None:
    indexer = market.indexer()
    indexer.catch_up()
    for index in range(3):
        market.chain.mine(GENESIS_TIME_S + 2 + index, [feed_in(market, MTU_START + 900 * index, index, index)])
    assert indexer.catch_up() == 3
    with market.database.read() as tx:
        assert [tx.directory.prices_at(MTU_START + 900 * index).feed_in for index in range(3)] == [0, 1, 2]


def test_block_by_block_or_all_at_once_gives_the_same_database(market: Deployed, tmp_path: Path) -> None:
    other = Database(tmp_path / "other.db")
    follower = Indexer[Transaction](market.client, other, market.note_refusal)
    follower.catch_up()
    for index in range(3):
        market.chain.mine(GENESIS_TIME_S + 2 + index, [feed_in(market, MTU_START + 900 * index, index, index)])
        follower.catch_up()
    market.indexer().catch_up()
    assert facts(other) == facts(market.database)
    other.close()


def test_a_block_is_indexed_whole_or_not_at_all(market: Deployed) -> None:
    def refuse(tx: Transaction, row: OutboxRow, error: GridLedgerError) -> None:
        raise RuntimeError(str(error))

    market.indexer().catch_up()
    with market.database.write() as tx:
        for index, price in enumerate((1, 2)):
            raw = bytes.fromhex(feed_in(market, MTU_START, price, index)[2:])
            tx.outbox.add_signed(
                kind="x",
                signer=key("oracle").address,
                to_address=addresses()["GridPolicy"],
                data=market.client.codecs["GridPolicy"].call_data("postFeedIn", MTU_START, [price]),
                nonce=index,
                raw=raw,
                transaction_hash=f"0x{index:064x}",
                created_at=1,
            )
    mined = market.chain.mine(GENESIS_TIME_S + 2, [feed_in(market, MTU_START, price, price - 1) for price in (1, 2)])
    with market.database.write() as tx:
        for row in tx.outbox.in_state(OutboxState.SIGNED, 9):
            assert row.nonce is not None
            tx.outbox.mark_signed(
                row.id, nonce=row.nonce, raw=row.raw or b"", transaction_hash=mined.transaction_hashes[row.nonce]
            )
    with pytest.raises(RuntimeError, match="FeedInAlreadyPosted"):
        Indexer(market.client, market.database, refuse).catch_up()
    block = tip(market)
    assert block is not None
    assert block.number == 1
    with market.database.read() as tx:
        assert len(tx.outbox.in_state(OutboxState.SIGNED, 9)) == 2
        assert tx.chain_log.event_count("FeedInPosted") == 0
    assert market.indexer().catch_up() == 1
    with market.database.read() as tx:
        assert [row.nonce for row in tx.outbox.in_state(OutboxState.REVERTED, 9)] == [1]


def test_a_foreign_transaction_is_indexed_without_an_outbox_row(market: Deployed) -> None:
    market.indexer().catch_up()
    bad = [feed_in(market, MTU_START, 1, 0), feed_in(market, MTU_START, 2, 1)]
    market.chain.mine(GENESIS_TIME_S + 2, bad)
    market.indexer().catch_up()
    assert market.refused == []
    with market.database.read() as tx:
        assert (tx.outbox.open_count(), list(tx.outbox.failed(9))) == (0, [])
        assert tx.directory.prices_at(MTU_START).feed_in == 1


def test_a_longer_chain_of_another_history_is_refused_at_the_block_where_it_parts(
    market: Deployed, tmp_path: Path
) -> None:
    market.chain.mine(GENESIS_TIME_S + 2, [feed_in(market, MTU_START, 1, 0)])
    market.indexer().catch_up()
    before = facts(market.database)
    indexed = market.client.block(2).block.block_hash
    with deployed(tmp_path / "other") as other:
        for index in range(2):
            other.chain.mine(GENESIS_TIME_S + 2 + index, [feed_in(other, MTU_START, 2, index)])
        found = other.client.block(2).block.block_hash
        with pytest.raises(ChainForked) as refused:
            Indexer(other.client, market.database, market.note_refusal).catch_up()
    assert refused.value.values() == {"block_number": 3, "indexed_parent": indexed, "found_parent": found}
    assert facts(market.database) == before


def test_a_chain_of_another_deployment_is_refused_at_its_first_new_block(market: Deployed, tmp_path: Path) -> None:
    market.indexer().catch_up()
    before = facts(market.database)
    with deployed(tmp_path / "other") as other:
        other.chain.mine(GENESIS_TIME_S + 50)
        same = other.client.block(1).block
        assert same.block_hash == market.client.block(1).block.block_hash
    with deployed(tmp_path / "third", chain_id=5) as third:
        third.chain.mine(GENESIS_TIME_S + 50)
        with pytest.raises(ChainForked) as refused:
            Indexer(third.client, market.database, market.note_refusal).catch_up()
        assert refused.value.block_number == 2
    assert facts(market.database) == before


def test_the_time_of_a_block_is_the_chain_s(market: Deployed) -> None:
    market.chain.mine(GENESIS_TIME_S + 777)
    market.indexer().catch_up()
    block = tip(market)
    assert block is not None
    assert block == replace(block, number=2, time_s=GENESIS_TIME_S + 777)
    assert len(plan()) == len(market.client.block(1).outcomes)
