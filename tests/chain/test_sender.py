"""Signed once, kept before it leaves, sent until the chain shows its outcome; whatever dies on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account
from tests.chain.deployed import MTU_START, Blocks, Deployed, Killed, addresses, deployed, key, kill, signed_raw

from gridledger.chain.codec import keccak256
from gridledger.chain.keys import KeyMissing
from gridledger.chain.sender import NeverIncluded, NonceOvertaken
from gridledger.relay import OutboxState
from gridledger.store.database import Database


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Deployed]:
    """A deployed and indexed market with an empty outbox."""
    with deployed(tmp_path) as running:
        running.indexer().catch_up()
        yield running


def reopened(market: Deployed, folder: Path) -> Deployed:
    """The same market after its node was killed: only chain and database are left."""
    market.database.close()
    return Deployed(market.chain, Database(folder / "node.db"))


def oracle_nonce(market: Deployed) -> int:
    return market.client.nonce(key("oracle").address)


def test_a_command_is_signed_mined_and_indexed_in_one_step(market: Deployed) -> None:
    number = market.post_feed_in()
    sender = market.sender()
    assert sender.step()
    row = market.row(number)
    assert (row.state, row.nonce, row.block_number, row.error) == (OutboxState.MINED, 0, 2, None)
    assert row.gas_used is not None
    assert row.gas_used > 21_000
    assert market.blocks.given == [("0x" + (row.raw or b"").hex(),)]
    with market.database.read() as tx:
        assert tx.directory.prices_at(MTU_START).feed_in == 5_000
        assert tx.outbox.open_count() == 0
    assert not sender.step()
    assert len(market.blocks.given) == 1


def test_without_commands_no_block_is_made(market: Deployed) -> None:
    assert not market.sender().step()
    assert market.client.head_number() == 1


def test_the_bytes_that_were_kept_are_the_bytes_of_the_transaction(market: Deployed) -> None:
    number = market.post_feed_in()
    market.sender().step()
    row = market.row(number)
    assert row.raw is not None
    assert Account.recover_transaction(row.raw) == row.signer == key("oracle").address
    told = market.client.raw_transaction(row.transaction_hash or "")
    assert bytes.fromhex(told["input"][2:]) == row.data
    assert (int(told["gas"], 16), int(told["maxFeePerGas"], 16)) == (2**24, 0)


def test_commands_of_one_key_get_consecutive_nonces_in_their_order_and_keys_count_apart(market: Deployed) -> None:
    numbers = [market.post_feed_in(MTU_START + 900 * index) for index in range(3)]
    other = market.command("regulator", "GridPolicy", "setHalted", 1, True)
    market.sender().step()
    assert [market.row(number).nonce for number in numbers] == [0, 1, 2]
    assert market.row(other).nonce == 0
    assert len(market.blocks.given) == 1


def test_nonces_go_on_where_the_chain_stands(market: Deployed) -> None:
    for round_number in range(3):
        number = market.post_feed_in(MTU_START + 900 * round_number)
        market.sender().step()
        assert market.row(number).nonce == round_number


def test_a_command_the_contract_would_refuse_uses_no_nonce_and_no_block(market: Deployed) -> None:
    number = market.command("supplier", "GridPolicy", "postFeedIn", MTU_START, [1])
    assert market.sender().step()
    row = market.row(number)
    assert (row.state, row.nonce, row.raw) == (OutboxState.REJECTED, None, None)
    assert row.error is not None
    assert "AccessManagedUnauthorized" in row.error
    assert market.refused == [(number, row.error)]
    assert (market.client.head_number(), market.blocks.given) == (1, [])
    assert market.client.nonce(key("supplier").address) == 0


def test_a_refused_command_does_not_hold_up_the_next(market: Deployed) -> None:
    numbers = [
        market.post_feed_in(),
        market.command("oracle", "GridPolicy", "setHalted", 1, True),
        market.post_feed_in(MTU_START + 900),
    ]
    market.sender().step()
    rows = [market.row(number) for number in numbers]
    assert [row.state for row in rows] == [OutboxState.MINED, OutboxState.REJECTED, OutboxState.MINED]
    assert [row.nonce for row in rows] == [0, None, 1]


def test_a_transaction_that_reverts_in_its_block_is_recorded_with_the_contract_s_reason(market: Deployed) -> None:
    """Both pass on the state before the block; the first makes the second impossible."""
    first, second = market.post_feed_in(price=1), market.post_feed_in(price=2)
    market.sender().step()
    row = market.row(second)
    assert market.row(first).state is OutboxState.MINED
    assert (row.state, row.nonce, row.block_number) == (OutboxState.REVERTED, 1, 2)
    assert row.error is not None
    assert "FeedInAlreadyPosted" in row.error
    assert str(MTU_START) in row.error
    assert market.refused == [(second, row.error)]
    with market.database.read() as tx:
        assert tx.directory.prices_at(MTU_START).feed_in == 1
        assert tx.outbox.gas_total() == sum(market.row(number).gas_used or 0 for number in (first, second))


def test_the_signed_bytes_are_kept_before_they_leave_the_process(market: Deployed) -> None:
    number = market.post_feed_in()
    seen: list[OutboxState] = []
    market.blocks.before_mining = lambda: seen.append(market.row(number).state)
    market.sender().step()
    assert seen == [OutboxState.SIGNED]


def test_killed_between_signing_and_sending_the_same_bytes_are_sent_again(market: Deployed, tmp_path: Path) -> None:
    number = market.post_feed_in()
    market.blocks.before_mining = kill
    with pytest.raises(Killed):
        market.sender().step()
    kept = market.row(number)
    assert (kept.state, kept.nonce, market.client.head_number()) == (OutboxState.SIGNED, 0, 1)
    after = reopened(market, tmp_path)
    assert after.sender().step()
    row = after.row(number)
    assert (row.state, row.raw, row.transaction_hash) == (OutboxState.MINED, kept.raw, kept.transaction_hash)
    assert after.blocks.given == market.blocks.given == [("0x" + (kept.raw or b"").hex(),)]
    after.database.close()


def test_a_command_that_comes_while_another_waits_gets_the_nonce_after_it(market: Deployed, tmp_path: Path) -> None:
    first = market.post_feed_in()
    market.blocks.before_mining = kill
    with pytest.raises(Killed):
        market.sender().step()
    after = reopened(market, tmp_path)
    second = after.post_feed_in(MTU_START + 900)
    assert after.sender().step()
    assert [(after.row(one).state, after.row(one).nonce) for one in (first, second)] == [
        (OutboxState.MINED, 0),
        (OutboxState.MINED, 1),
    ]
    after.database.close()


def test_what_a_full_block_leaves_out_waits_for_the_next(market: Deployed) -> None:
    """Each posts 530 prices, about 15 million gas; four of them leave no room for a fifth."""
    numbers = [
        market.command("oracle", "GridPolicy", "postFeedIn", MTU_START + 900 * 530 * index, [5_000] * 530)
        for index in range(5)
    ]
    sender = market.sender()
    sender.step()
    assert [market.row(number).state for number in numbers] == [OutboxState.MINED] * 4 + [OutboxState.SIGNED]
    sender.step()
    assert (market.row(numbers[4]).state, market.row(numbers[4]).block_number) == (OutboxState.MINED, 3)
    assert market.refused == []


def test_killed_between_mining_and_indexing_it_is_not_done_twice(market: Deployed, tmp_path: Path) -> None:
    number = market.post_feed_in()
    market.blocks.after_mining = kill
    with pytest.raises(Killed):
        market.sender().step()
    assert (market.row(number).state, market.client.head_number()) == (OutboxState.SIGNED, 2)
    after = reopened(market, tmp_path)
    after.indexer().catch_up()
    assert (after.row(number).state, after.row(number).block_number) == (OutboxState.MINED, 2)
    assert not after.sender().step()
    assert (oracle_nonce(after), after.client.head_number()) == (1, 2)
    after.database.close()


def test_sending_again_what_was_mined_already_finds_its_outcome(market: Deployed, tmp_path: Path) -> None:
    number = market.post_feed_in()
    market.blocks.after_mining = kill
    with pytest.raises(Killed):
        market.sender().step()
    after = reopened(market, tmp_path)
    assert after.sender().step()
    assert (after.row(number).state, after.row(number).block_number) == (OutboxState.MINED, 2)
    assert oracle_nonce(after) == 1
    after.database.close()


def test_a_nonce_a_foreign_transaction_has_used_is_given_up_and_said(market: Deployed, tmp_path: Path) -> None:
    number = market.post_feed_in(price=1)
    market.blocks.before_mining = kill
    with pytest.raises(Killed):
        market.sender().step()
    foreign = market.client.codecs["GridPolicy"].call_data("postFeedIn", MTU_START + 900, [9])
    market.chain.mine(market.clock.now() + 1, [signed_raw("oracle", addresses()["GridPolicy"], foreign)])
    after = reopened(market, tmp_path)
    assert after.sender().step()
    row = after.row(number)
    overtaken = NonceOvertaken(signer=key("oracle").address, nonce=0)
    assert (row.state, row.error) == (OutboxState.REJECTED, str(overtaken))
    assert after.refused == [(number, row.error)]
    again = after.post_feed_in(price=1)
    after.sender().step()
    assert (after.row(again).state, after.row(again).nonce) == (OutboxState.MINED, 1)
    after.database.close()


def test_a_command_that_needs_more_gas_than_a_transaction_may_have_uses_no_nonce(market: Deployed) -> None:
    number = market.command("oracle", "GridPolicy", "postFeedIn", MTU_START, [5] * 1_000)
    market.sender().step()
    row = market.row(number)
    assert (row.state, row.nonce) == (OutboxState.REJECTED, None)
    assert market.refused == [(number, row.error)]
    after = market.post_feed_in()
    market.sender().step()
    assert (market.row(after).state, market.row(after).nonce) == (OutboxState.MINED, 0)


def test_what_the_chain_never_includes_is_given_up_and_its_nonce_is_free_again(market: Deployed) -> None:
    """More of it than one block is offered, so that it stands before the command that comes after."""
    data = market.client.codecs["GridPolicy"].call_data("postFeedIn", MTU_START, [5_000])
    with market.database.write() as tx:
        for nonce in range(65):
            raw = bytes.fromhex(signed_raw("oracle", addresses()["GridPolicy"], data, gas=21_000, nonce=nonce)[2:])
            tx.outbox.add_signed(
                kind="RelayedTransaction",
                signer=key("oracle").address,
                to_address=addresses()["GridPolicy"],
                data=data,
                nonce=nonce,
                raw=raw,
                transaction_hash="0x" + keccak256(raw).hex(),
                created_at=1,
            )
    sender = market.sender()
    while sender.step():
        pass
    assert oracle_nonce(market) == 0
    with market.database.read() as tx:
        given_up = tx.outbox.in_state(OutboxState.REJECTED, 100)
    assert {row.nonce for row in given_up} == {None}
    errors = {str(NeverIncluded(signer=key("oracle").address, nonce=nonce)) for nonce in range(65)}
    assert {row.error for row in given_up} == {error for _, error in market.refused} == errors
    number = market.post_feed_in()
    sender.step()
    assert (market.row(number).state, market.row(number).nonce) == (OutboxState.MINED, 0)


def test_a_foreign_transaction_before_signing_only_moves_the_nonce_on(market: Deployed) -> None:
    foreign = market.client.codecs["GridPolicy"].call_data("postFeedIn", MTU_START + 900, [9])
    market.chain.mine(market.clock.now() + 1, [signed_raw("oracle", addresses()["GridPolicy"], foreign)])
    number = market.post_feed_in()
    market.sender().step()
    assert (market.row(number).state, market.row(number).nonce) == (OutboxState.MINED, 1)


def test_a_block_is_made_at_the_clock_s_time_and_never_before_the_last(market: Deployed) -> None:
    market.post_feed_in()
    market.sender().step()
    assert market.client.block(2).block.time_s == market.clock.now()
    market.post_feed_in(MTU_START + 900)
    market.sender().step()
    assert market.client.block(3).block.time_s == market.clock.now() + 1


def test_commands_are_judged_at_the_time_of_their_block(market: Deployed) -> None:
    """A price published at the gate's very second must not be refused because the last block was earlier."""
    market.clock.move_to(MTU_START - 301)
    early = market.command("market_operator", "EnergyPricing", "publish", 1, MTU_START, 5, 5)
    market.sender().step()
    assert "GateStillOpen" in (market.row(early).error or "")
    market.clock.move_to(MTU_START - 300)
    number = market.command("market_operator", "EnergyPricing", "publish", 1, MTU_START, 5, 5)
    market.sender().step()
    assert market.row(number).state is OutboxState.MINED


def test_more_commands_than_a_block_takes_are_sent_in_several(market: Deployed) -> None:
    numbers = [market.post_feed_in(MTU_START + 900 * index) for index in range(70)]
    sender = market.sender()
    while sender.step():
        pass
    assert {market.row(number).state for number in numbers} == {OutboxState.MINED}
    assert [market.row(number).nonce for number in numbers] == list(range(70))
    assert len(market.blocks.given) > 1


def test_a_key_that_is_not_there_is_named_and_nothing_is_signed(market: Deployed) -> None:
    stranger = Account.from_key((99).to_bytes(32)).address
    with market.database.write() as tx:
        tx.outbox.add(
            kind="x",
            signer=stranger,
            to_address=addresses()["GridPolicy"],
            data=market.client.codecs["GridPolicy"].call_data("mtuLengthS"),
            zone=1,
            mtu_start=MTU_START,
            created_at=1,
        )
    with pytest.raises(KeyMissing) as refused:
        market.sender().step()
    assert refused.value.name == stranger
    assert market.client.head_number() == 1


def test_a_chain_that_loses_a_block_maker_loses_no_command(market: Deployed, tmp_path: Path) -> None:
    """Killed again and again, each time a little later; the commands are carried out once each, in order."""
    numbers = [market.post_feed_in(MTU_START + 900 * index) for index in range(3)]
    current = market
    for moment in ("before_mining", "before_mining", "after_mining"):
        setattr(current.blocks, moment, kill)
        with pytest.raises(Killed):
            current.sender().step()
        current = reopened(current, tmp_path)
        assert isinstance(current.blocks, Blocks)
    current.sender().step()
    assert [current.row(number).state for number in numbers] == [OutboxState.MINED] * 3
    assert oracle_nonce(current) == 3
    with current.database.read() as tx:
        assert tx.chain_log.event_count("FeedInPosted") == 3
    current.database.close()
