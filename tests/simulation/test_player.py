"""A whole run against a node in memory: order of things in time, what a kill changes (nothing), what a resume skips."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.simulation.fake_node import (
    FIRST_MTU,
    GATE_CLOSURE_S,
    MTU_LENGTH_S,
    SEED,
    FakeNode,
    a_plan,
    artifacts,
    role_keys,
)

from gridledger.simulation.node_client import NodeClient, NodeFailing, RequestRefused
from gridledger.simulation.player import REFUSED_EARLIER, MarketUnsuitable, Played, Player, ReplayPlan, genesis_time_s
from gridledger.simulation.transactions import SignedTransaction, TransactionFailed, include

MTU_COUNT = 6
GENESIS_S = genesis_time_s(FIRST_MTU, GATE_CLOSURE_S)


def a_node(**options: Any) -> FakeNode:
    return FakeNode(now=GENESIS_S, **options)


def play(plan: ReplayPlan, node: FakeNode, on_progress: Callable[[int, int, str], None] = lambda *_: None) -> Played:
    player = Player(plan, node, role_keys(), on_progress, transport=node.transport, artifacts=artifacts())
    return player.play()


def traces(node: FakeNode) -> tuple[object, ...]:
    """What a run leaves behind in a node, in the order it came in."""
    return list(node.orders.items()), list(node.readings), sorted(node.answers.items()), list(node.transactions)


def test_a_run_orders_closes_reads_and_settles_every_mtu(tmp_path: Path) -> None:
    node = a_node()
    played = play(a_plan(tmp_path), node)
    assert played.mtus == MTU_COUNT
    assert played.readings_made == len(node.readings) == 3 * MTU_COUNT - 1
    assert played.orders_made == len(node.orders) == 3 * (MTU_COUNT - 2)  # the first two MTUs have no known reading
    assert (played.orders_refused, played.readings_refused) == ({}, {})
    assert [mtu_start for _, mtu_start in node.answers] == [
        FIRST_MTU + place * MTU_LENGTH_S for place in range(2, MTU_COUNT)
    ]
    assert node.now == FIRST_MTU + MTU_COUNT * MTU_LENGTH_S + 200


def test_orders_arrive_before_their_gate_ascending_by_meter_and_readings_after_their_mtu(tmp_path: Path) -> None:
    node = a_node()
    play(a_plan(tmp_path), node)
    for uid, order in node.orders.items():
        assert node.order_times[uid] == order.to_order().first_mtu_start - GATE_CLOSURE_S - 60
    numbers = [order.meter for order in node.orders.values()]
    assert numbers == [1, 2, 3] * (MTU_COUNT - 2)
    assert min(node.readings.values()) == FIRST_MTU + MTU_LENGTH_S
    assert node.journal.index("reading") > node.journal.index(f"advance {MTU_LENGTH_S}")


def test_a_meter_that_missed_a_reading_is_forecast_from_the_one_before(tmp_path: Path) -> None:
    node = a_node()
    play(a_plan(tmp_path), node)
    quantities = {
        (order.to_order().first_mtu_start - FIRST_MTU) // MTU_LENGTH_S: order.quantity_kwh
        for order in node.orders.values()
        if order.meter == 2
    }
    assert quantities == {2: "0.200", 3: "0.201", 4: "0.201", 5: "0.203"}


def test_the_same_plan_leaves_the_same_traces_and_another_seed_other_ones(tmp_path: Path) -> None:
    plan, nodes = a_plan(tmp_path, 4), [a_node(), a_node(), a_node()]
    for node, seed in zip(nodes, (SEED, SEED, SEED + 1), strict=True):
        play(replace(plan, seed=seed), node)
    assert traces(nodes[0]) == traces(nodes[1])
    assert nodes[0].journal == nodes[1].journal
    assert traces(nodes[0]) != traces(nodes[2])


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_node_killed_after_any_post_makes_no_difference(tmp_path: Path, every: int) -> None:
    plan, undisturbed = a_plan(tmp_path), a_node()
    disturbed = a_node(deaths=set(range(every, 200, every * 2 + 1)))
    expected = play(plan, undisturbed)
    assert play(plan, disturbed) == expected
    assert disturbed.starts >= 2
    assert traces(disturbed) == traces(undisturbed)


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


@pytest.mark.parametrize("last_mtu", [1, 3, 5])
def test_a_run_continued_by_another_player_ends_as_the_undisturbed_one(tmp_path: Path, last_mtu: int) -> None:
    plan, undisturbed, node = a_plan(tmp_path), a_node(), a_node()

    def interrupt(done: int, _total: int, _text: str) -> None:
        if done == last_mtu:
            raise Interrupted

    expected = play(plan, undisturbed)
    with pytest.raises(Interrupted):
        play(plan, node, interrupt)
    posts = node.posts
    assert play(plan, node) == expected
    assert traces(node) == traces(undisturbed)
    assert node.posts - posts < undisturbed.posts - 5  # the members do not join again


def test_a_finished_run_is_recognised_and_hardly_anything_is_posted_again(tmp_path: Path) -> None:
    plan, node = a_plan(tmp_path, 20), a_node()
    expected = play(plan, node)
    before, posts = traces(node), node.posts
    assert play(plan, node) == expected
    assert traces(node) == before
    assert node.posts - posts <= 4


def test_refused_orders_are_counted_by_reason_and_stop_nothing(tmp_path: Path) -> None:
    plan, node = a_plan(tmp_path), a_node(refuse_meter=3)
    assert play(plan, node).orders_refused == {"funds-exceeded": MTU_COUNT - 2}
    again = play(plan, node).orders_refused
    assert sum(again.values()) == MTU_COUNT - 2
    assert REFUSED_EARLIER in again


def test_a_limit_curtails_what_exceeds_it_and_gateways_ask_how_far_their_meters_may_go(tmp_path: Path) -> None:
    node = a_node()
    play(a_plan(tmp_path, 4, limit_kw=1), node)
    assert {(body["direction"], body["reason"]) for body in node.answers.values()} == {("export", 1)}
    producer = 3
    assert node.limits_asked == [(producer, FIRST_MTU + place * MTU_LENGTH_S) for place in range(4)]
    assert set(node.limits_wh) == {(producer, mtu_start) for _, mtu_start in node.answers}


def test_what_keeps_the_limit_is_acknowledged(tmp_path: Path) -> None:
    node = a_node()
    play(a_plan(tmp_path, 4, limit_kw=1_000), node)
    assert {body["answer"] for body in node.answers.values()} == {"acknowledged"}


def test_progress_counts_the_mtus_and_says_where_it_is(tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    play(a_plan(tmp_path, 3), a_node(), lambda *call: calls.append(call))
    assert calls[0] == (0, 3, "3 members join")
    assert [(done, total) for done, total, _ in calls[1:]] == [(1, 3), (2, 3), (3, 3)]
    assert calls[-1][2] == "2024-05-01T10:30:00Z"


def test_a_node_of_another_market_is_refused_before_anything_is_posted(tmp_path: Path) -> None:
    node = a_node()
    with pytest.raises(MarketUnsuitable) as caught:
        play(a_plan(tmp_path, meters=tuple(replace(spec, zone=9) for spec in a_plan(tmp_path).meters)), node)
    assert caught.value.field == "grid operator of zone 9"
    assert node.posts == 0


def test_a_reverted_transaction_is_named() -> None:
    node = a_node()
    client = NodeClient(node, transport=node.transport)
    raw = role_keys()["bank"].sign_transaction(
        {"chainId": 1, "nonce": 0, "gas": 1, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "value": 0, "to": b"\1" * 20}
    )
    transaction = SignedTransaction(
        title="a deposit", raw="0x" + bytes(raw.raw_transaction).hex(), transaction_hash="0x" + bytes(raw.hash).hex()
    )
    include(client, [transaction], GENESIS_S)
    node.transactions[transaction.transaction_hash] |= {"state": "reverted", "error": "AmountIsZero()"}
    with pytest.raises(TransactionFailed) as caught:
        include(client, [transaction], GENESIS_S)
    assert (caught.value.transaction, caught.value.state, caught.value.reason) == (
        "a deposit",
        "reverted",
        "AmountIsZero()",
    )


def test_a_node_that_cannot_be_revived_ends_the_run_with_its_own_error() -> None:
    class Corpse(FakeNode):
        def ensure_running(self) -> None:
            raise NodeFailing(request="start", status=503, problem="port-in-use")

    node = Corpse(now=GENESIS_S, alive=False)
    with pytest.raises(NodeFailing) as caught:
        NodeClient(node, transport=node.transport).market()
    assert caught.value.problem == "port-in-use"


def test_a_node_killed_while_it_starts_is_started_again() -> None:
    class Sickly(FakeNode):
        failed_starts = 0

        def ensure_running(self) -> None:
            if self.failed_starts < 2:
                self.failed_starts += 1
                raise NodeFailing(request="start", status=503, problem="killed")
            super().ensure_running()

    node = Sickly(now=GENESIS_S, alive=False)
    assert NodeClient(node, transport=node.transport).market().now == GENESIS_S


def test_a_refusal_carries_the_problem_of_the_node() -> None:
    node = a_node()
    client = NodeClient(node, transport=node.transport)
    assert client.transaction("0x" + "00" * 32) is None
    with pytest.raises(RequestRefused) as caught:
        client.post_transaction("0x02")
    assert (caught.value.status, caught.value.problem) == (422, "transaction-unreadable")
