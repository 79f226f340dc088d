"""Gateways keep net export within what they are told, and nothing else changes; they stay signed in."""

from pathlib import Path

import pytest
from tests.simulation.fake_node import FIRST_MTU, SEED, FakeNode, a_plan, a_spec

from gridledger.simulation.community import Community, form_community
from gridledger.simulation.gateways import limited_readings, obeyed
from gridledger.simulation.inputs import MeterReading
from gridledger.simulation.node_client import NodeClient, SessionsRefused

CONSUMER, PRODUCER, SECOND = 1, 2, 3


def a_reading(meter_id: str, import_wh: int, export_wh: int) -> MeterReading:
    return MeterReading(
        meter_id=meter_id,
        mtu_start=FIRST_MTU,
        import_wh=import_wh,
        export_wh=export_wh,
        consumption_wh=None,
        generation_wh=None,
    )


@pytest.fixture
def community() -> Community:
    """A consumer, and one member with two producing meters."""
    return form_community(
        [
            a_spec("a consumer", export_capacity_w=0),
            a_spec("b producer", owner="the producer"),
            a_spec("c producer", owner="the producer"),
        ],
        SEED,
    )


@pytest.mark.parametrize(
    ("import_wh", "export_wh", "limit_wh", "left_wh"),
    [
        (0, 700, None, 700),
        (0, 700, 700, 700),
        (0, 700, 699, 699),
        (0, 700, 0, 0),
        (100, 700, 500, 600),
        (100, 700, 0, 100),
        (700, 100, 0, 100),
        (0, 0, 0, 0),
    ],
)
def test_net_export_is_cut_to_the_limit_and_the_load_is_left(
    import_wh: int, export_wh: int, limit_wh: int | None, left_wh: int
) -> None:
    assert obeyed(a_reading("m", import_wh, export_wh), limit_wh) == a_reading("m", import_wh, left_wh)


def test_each_producing_meter_keeps_its_own_limit_and_a_consumer_asks_for_none(community: Community) -> None:
    node = FakeNode(now=FIRST_MTU, limits_wh={(PRODUCER, FIRST_MTU): 200, (CONSUMER, FIRST_MTU): 0})
    client = NodeClient(node, transport=node.transport)
    readings = [a_reading("a consumer", 50, 300), a_reading("b producer", 100, 900), a_reading("c producer", 0, 900)]
    assert limited_readings(client, community, FIRST_MTU, readings) == (
        a_reading("a consumer", 50, 300),
        a_reading("b producer", 100, 300),
        a_reading("c producer", 0, 900),
    )
    assert node.limits_asked == [(PRODUCER, FIRST_MTU), (SECOND, FIRST_MTU)]


def test_a_member_signs_in_once_with_its_own_key_and_again_when_its_session_has_ended(community: Community) -> None:
    node = FakeNode(now=FIRST_MTU)
    client = NodeClient(node, transport=node.transport)
    for _ in range(2):
        limited_readings(client, community, FIRST_MTU, [])
    (producer,) = (member for member in community.members if member.owner == "the producer")
    assert node.sessions == [producer.account.address]
    node.ended_sessions = 1
    limited_readings(client, community, FIRST_MTU, [])
    assert node.sessions == [producer.account.address] * 2


def test_a_node_that_takes_none_of_its_own_sessions_is_named(community: Community) -> None:
    node = FakeNode(now=FIRST_MTU, ended_sessions=10)
    with pytest.raises(SessionsRefused) as refused:
        limited_readings(NodeClient(node, transport=node.transport), community, FIRST_MTU, [])
    assert refused.value.account == node.sessions[0]
    assert len(node.sessions) == 2


def test_a_run_s_readings_are_those_of_its_file_where_nothing_is_limited(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, 2)
    node = FakeNode(now=FIRST_MTU)
    readings = plan.readings.at(FIRST_MTU)
    community = form_community(plan.meters, SEED)
    client = NodeClient(node, transport=node.transport)
    assert limited_readings(client, community, FIRST_MTU, readings) == tuple(readings)
