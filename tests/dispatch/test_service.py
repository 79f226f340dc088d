"""The grid operator's answers are relayed as they were signed: once each, in time, emergencies until the last."""

from dataclasses import replace

import pytest
from tests.dispatch.room import (
    COAL,
    CURTAILMENT,
    DEADLINE,
    IDLE,
    LOAD,
    MTU_END,
    MTU_LENGTH_S,
    MTU_START,
    SCHEDULE,
    SETPOINTS,
    STOP,
    SUN_A,
    SUN_B,
    TREE,
    ZONE,
    World,
    acknowledge,
    at,
    curtail,
    leaf_of,
    signed_answer,
    signed_curtailment,
    signed_stop,
    stop,
    while_stopped,
)

from gridledger.dispatch.model import Answer, ScheduleState
from gridledger.dispatch.ports import RelayAnswer, RelayCurtailment, RelayStop
from gridledger.dispatch.setpoints import Direction
from gridledger.merkle import verify


@pytest.mark.parametrize("reason", [0, 1, 15])
def test_an_acknowledgement_is_relayed_as_it_was_signed(reason: int) -> None:
    world, signature = World(), signed_answer(reason)
    assert world.service.acknowledge(ZONE, MTU_START, reason, signature) == SCHEDULE
    assert world.ledger.submitted == [
        RelayAnswer(zone=ZONE, mtu_start=MTU_START, answer=Answer.ACKNOWLEDGED, reason=reason, signature=signature)
    ]
    assert world.schedules.answered == {(ZONE, MTU_START)}


def test_a_curtailment_is_relayed_with_the_setpoints_of_its_meters_and_proofs_that_open_the_root() -> None:
    world, signature = World(), signed_curtailment(CURTAILMENT)
    assert world.service.curtail(CURTAILMENT, signature) == SCHEDULE
    (command,) = world.ledger.submitted
    assert isinstance(command, RelayCurtailment)
    assert (command.curtailment, command.signature) == (CURTAILMENT, signature)
    assert (command.zone, command.mtu_start) == (ZONE, MTU_START)
    assert (command.result_hash, command.setpoints_root) == (SCHEDULE.result_hash, SCHEDULE.setpoints_root)
    assert [one.row.meter for one in command.setpoints] == [COAL, SUN_A, SUN_B]
    for one, proof in zip(command.setpoints, command.proofs, strict=True):
        assert verify(TREE.root, leaf_of(one.row.meter), proof)
    assert world.schedules.answered == {(ZONE, MTU_START)}


def test_setpoints_of_meters_nobody_curtails_stay_here() -> None:
    world = World()
    curtail(caps_wh={SUN_B: 99})(world)
    (command,) = world.ledger.submitted
    assert isinstance(command, RelayCurtailment)
    assert [one.row.meter for one in command.setpoints] == [SUN_B]
    assert LOAD in {one.row.meter for one in SETPOINTS}


def test_imports_are_curtailed_in_one_line_whatever_the_meters_sources_are() -> None:
    world = World()
    curtail(direction=Direction.IMPORT, caps_wh={LOAD: 539})(world)
    assert len(world.ledger.submitted) == 1


@pytest.mark.parametrize("state", [ScheduleState.PENDING, ScheduleState.ACKNOWLEDGED, ScheduleState.CURTAILED], ids=str)
@pytest.mark.parametrize("moment", [DEADLINE, DEADLINE + 1, MTU_START, MTU_END - 1])
def test_an_emergency_is_obeyed_until_the_mtu_s_last_second_whatever_was_answered(
    state: ScheduleState, moment: int
) -> None:
    world = World(state=state, curtailments=3)
    at(moment, curtail(emergency=True, sequence=3))(world)
    assert len(world.ledger.submitted) == 1
    assert world.schedules.answered == set()  # an acknowledgement on its way is another thing


@pytest.mark.parametrize(
    ("caps_wh", "shown"),
    [
        ({COAL: 300, SUN_A: 0, SUN_B: 0}, [COAL, SUN_A, SUN_B]),
        ({SUN_A: 301}, [SUN_A]),
        ({SUN_A: 300}, [SUN_A]),
        ({IDLE: 10, SUN_A: 0}, []),
    ],
    ids=["against the order", "above the schedule", "nothing curtailed", "a meter without a setpoint"],
)
def test_an_emergency_s_caps_are_relayed_in_any_order_and_beyond_the_schedule(
    caps_wh: dict[int, int], shown: list[int]
) -> None:
    world = World()
    curtail(emergency=True, caps_wh=caps_wh)(world)
    (command,) = world.ledger.submitted
    assert isinstance(command, RelayCurtailment)
    assert command.curtailment.caps_wh == caps_wh
    assert [one.row.meter for one in command.setpoints] == shown
    assert len(command.proofs) == len(shown)


@pytest.mark.parametrize("count", [1, 96])
def test_a_stop_is_relayed_before_anything_is_scheduled_and_until_its_first_mtu_ends(count: int) -> None:
    world, later = World(), MTU_START + 96 * MTU_LENGTH_S
    for first, moment in ((later, DEADLINE), (MTU_START, MTU_END - 1)):
        changed = replace(STOP, first_mtu_start=first, mtu_count=count)
        world.clock.move_to(moment)
        world.service.stop(changed, signed_stop(changed))
        assert world.ledger.submitted.pop() == RelayStop(stop=changed, signature=signed_stop(changed))
    assert world.schedules.answered == set()


def test_a_stop_of_some_mtus_that_were_stopped_before_is_relayed_for_the_others() -> None:
    world = World()
    while_stopped(stop(mtu_count=2), MTU_START)(world)
    assert len(world.ledger.submitted) == 1


def test_an_answer_is_taken_at_the_deadline() -> None:
    for act in (acknowledge(), curtail()):
        world = World()
        at(DEADLINE, act)(world)
        assert len(world.ledger.submitted) == 1
