"""Only the zone's grid operator answers; every bad answer has its own error and leaves nothing marked or sent."""

from dataclasses import replace

import pytest
from eth_keys.constants import SECPK1_N
from tests.dispatch.room import (
    COAL,
    CURTAILMENT,
    DEADLINE,
    DOMAIN,
    FOREIGN,
    IDLE,
    LOAD,
    MTU_END,
    MTU_LENGTH_S,
    MTU_START,
    OPERATOR,
    OTHER,
    OTHER_ZONE,
    SCHEDULE,
    STOP,
    SUN_A,
    SUN_B,
    UNKNOWN,
    ZONE,
    Act,
    World,
    acknowledge,
    at,
    curtail,
    signed_answer,
    signed_curtailment,
    signed_stop,
    stop,
    while_stopped,
)

from gridledger.dispatch.curtailment import MOST_CAPS
from gridledger.dispatch.errors import (
    AlreadyAnswered,
    AnswerTooLate,
    AnswerUnknown,
    CapAboveSchedule,
    CapCountOutOfRange,
    CurtailmentOrderBroken,
    MeterNotInZone,
    NothingCurtailed,
    NotTheGridOperator,
    ScheduleDiffers,
    ScheduleUnknown,
    SequenceDiffers,
    SetpointUnknown,
    StopRefused,
)
from gridledger.dispatch.model import ScheduleState
from gridledger.dispatch.setpoints import Direction
from gridledger.errors import GridLedgerError
from gridledger.units import OutOfRange

Refusal = tuple[Act, type[GridLedgerError], dict[str, object]]
KEY = {"zone": ZONE, "mtu_start": MTU_START}
ANOTHER_HASH = "0x" + "cd" * 32
SIGNER = {"zone": ZONE, "signer": OTHER.address, "grid_operator": OPERATOR.address}


def other_s(signature: bytes) -> bytes:
    """The signature's twin of the other s, which recovers the same signer."""
    twin = SECPK1_N - int.from_bytes(signature[32:64])
    return signature[:32] + twin.to_bytes(32) + bytes((55 - signature[64],))


ACKNOWLEDGEMENTS: dict[str, Refusal] = {
    "of nothing scheduled": (
        acknowledge(mtu_start=MTU_START + MTU_LENGTH_S),
        ScheduleUnknown,
        {"zone": ZONE, "mtu_start": MTU_START + MTU_LENGTH_S},
    ),
    "of another zone": (acknowledge(zone=OTHER_ZONE), ScheduleUnknown, {**KEY, "zone": OTHER_ZONE}),
    "a second after the deadline": (
        at(DEADLINE + 1, acknowledge()),
        AnswerTooLate,
        {**KEY, "answer_deadline": DEADLINE, "now": DEADLINE + 1},
    ),
    "by another operator": (acknowledge(signed_answer(signer=OTHER)), NotTheGridOperator, SIGNER),
    "for another chain": (acknowledge(signed_answer(domain=replace(DOMAIN, chain_id=1))), NotTheGridOperator, {}),
    "for another contract": (
        acknowledge(signed_answer(domain=replace(DOMAIN, dispatching_contract="0x" + "12" * 20))),
        NotTheGridOperator,
        {},
    ),
    "of another schedule": (
        acknowledge(signed_answer(schedule=replace(SCHEDULE, schedule_hash=ANOTHER_HASH))),
        NotTheGridOperator,
        {},
    ),
    "signed for another zone": (
        acknowledge(signed_answer(schedule=replace(SCHEDULE, zone=OTHER_ZONE))),
        NotTheGridOperator,
        {},
    ),
    "signed for another MTU": (
        acknowledge(signed_answer(schedule=replace(SCHEDULE, mtu_start=MTU_END))),
        NotTheGridOperator,
        {},
    ),
    "signed with another reason": (acknowledge(signed_answer(1)), NotTheGridOperator, {}),
    "that is a curtailment's signature": (acknowledge(signed_curtailment(CURTAILMENT)), NotTheGridOperator, {}),
    "with a reason below 0": (
        acknowledge(signed_answer(), reason=-1),
        OutOfRange,
        {"field": "reason", "value": -1, "lowest": 0, "highest": 15},
    ),
    "with a reason above 15": (acknowledge(signed_answer(), reason=16), OutOfRange, {"field": "reason", "value": 16}),
    "with 64 bytes of a signature": (acknowledge(signed_answer()[:64]), AnswerUnknown, {"field": "signature"}),
    "with 66 bytes": (acknowledge(signed_answer() + b"\0"), AnswerUnknown, {"field": "signature"}),
    "with no bytes": (acknowledge(b""), AnswerUnknown, {"field": "signature"}),
    "with zeros": (acknowledge(bytes(65)), AnswerUnknown, {"field": "signature"}),
    "with zeros and a recovery byte": (acknowledge(bytes(64) + b"\x1b"), AnswerUnknown, {"field": "signature"}),
    "with ones": (acknowledge(b"\xff" * 65), AnswerUnknown, {"field": "signature"}),
    "with the recovery byte 0 or 1": (
        acknowledge(signed_answer()[:64] + bytes((signed_answer()[64] - 27,))),
        AnswerUnknown,
        {"field": "signature"},
    ),
    "with a chain's recovery byte": (
        acknowledge(signed_answer()[:64] + bytes((signed_answer()[64] + 8,))),
        AnswerUnknown,
        {"field": "signature"},
    ),
    "with the higher s": (acknowledge(other_s(signed_answer())), AnswerUnknown, {"field": "signature"}),
}

CURTAILMENTS: dict[str, Refusal] = {
    "of nothing scheduled": (curtail(mtu_start=MTU_END), ScheduleUnknown, {"zone": ZONE, "mtu_start": MTU_END}),
    "of another schedule": (
        curtail(schedule_hash=ANOTHER_HASH),
        ScheduleDiffers,
        {"expected": SCHEDULE.schedule_hash, "found": ANOTHER_HASH},
    ),
    "an emergency of another schedule": (curtail(emergency=True, schedule_hash=ANOTHER_HASH), ScheduleDiffers, {}),
    "after the deadline": (
        at(DEADLINE + 1, curtail()),
        AnswerTooLate,
        {**KEY, "answer_deadline": DEADLINE, "now": DEADLINE + 1},
    ),
    "an emergency after the MTU": (
        at(MTU_END, curtail(emergency=True)),
        AnswerTooLate,
        {**KEY, "answer_deadline": MTU_END - 1, "now": MTU_END},
    ),
    "a sequence ahead": (curtail(sequence=1), SequenceDiffers, {"expected": 0, "found": 1}),
    "by another operator": (curtail(signed_curtailment(CURTAILMENT, OTHER)), NotTheGridOperator, SIGNER),
    "signed with other caps": (
        curtail(signed_curtailment(CURTAILMENT), caps_wh={COAL: 0, SUN_A: 300, SUN_B: 99}),
        NotTheGridOperator,
        {},
    ),
    "signed with another reason": (curtail(signed_curtailment(CURTAILMENT), reason=2), NotTheGridOperator, {}),
    "signed as an emergency": (
        curtail(signed_curtailment(replace(CURTAILMENT, emergency=True))),
        NotTheGridOperator,
        {},
    ),
    "signed for the other direction": (
        curtail(signed_curtailment(replace(CURTAILMENT, direction=Direction.IMPORT))),
        NotTheGridOperator,
        {},
    ),
    "with 64 bytes of a signature": (
        curtail(signed_curtailment(CURTAILMENT)[:64]),
        AnswerUnknown,
        {"field": "signature"},
    ),
    "with the higher s": (
        curtail(other_s(signed_curtailment(CURTAILMENT))),
        AnswerUnknown,
        {"field": "signature"},
    ),
    "a meter nobody has registered": (
        curtail(caps_wh={SUN_A: 0, UNKNOWN: 0}),
        MeterNotInZone,
        {"meter": UNKNOWN, "zone": ZONE},
    ),
    "another zone's meter": (curtail(caps_wh={FOREIGN: 0}), MeterNotInZone, {"meter": FOREIGN, "zone": ZONE}),
    "an emergency of another zone's meter": (
        curtail(emergency=True, caps_wh={FOREIGN: 0}),
        MeterNotInZone,
        {"meter": FOREIGN, "zone": ZONE},
    ),
    "a meter without a setpoint": (
        curtail(caps_wh={SUN_A: 0, IDLE: 0}),
        SetpointUnknown,
        {"meter": IDLE, "zone": ZONE, "mtu_start": MTU_START},
    ),
    "a cap above the schedule": (
        curtail(caps_wh={COAL: 0, SUN_A: 301, SUN_B: 99}),
        CapAboveSchedule,
        {"meter": SUN_A, "basis_wh": 300, "cap_wh": 301},
    ),
    "an export cap for who imports": (
        curtail(caps_wh={COAL: 0, LOAD: 1}),
        CapAboveSchedule,
        {"meter": LOAD, "basis_wh": 0, "cap_wh": 1},
    ),
    "caps that curtail nothing": (
        curtail(caps_wh={COAL: 300, SUN_A: 300, SUN_B: 100}),
        NothingCurtailed,
        {"basis_wh": 700, "cap_wh": 700},
    ),
    "low-carbon before all else": (
        curtail(caps_wh={COAL: 300, SUN_A: 0, SUN_B: 0}),
        CurtailmentOrderBroken,
        {"meter": COAL, "expected_wh": 0, "found_wh": 300},
    ),
    "not pro rata": (
        curtail(caps_wh={COAL: 0, SUN_A: 300, SUN_B: 0}),
        CurtailmentOrderBroken,
        {"meter": SUN_A, "expected_wh": 225, "found_wh": 300},
    ),
    "rounded to the wrong meter": (
        curtail(caps_wh={COAL: 0, SUN_A: 1, SUN_B: 1}),
        CurtailmentOrderBroken,
        {"meter": SUN_A, "expected_wh": 2, "found_wh": 1},
    ),
    "no caps": (curtail(caps_wh={}), CapCountOutOfRange, {"count": 0, "most": MOST_CAPS}),
    "an emergency of nobody": (curtail(emergency=True, caps_wh={}), CapCountOutOfRange, {"count": 0}),
    "too many caps": (
        curtail(b"\0" * 65, caps_wh=dict.fromkeys(range(MOST_CAPS + 1), 0)),
        CapCountOutOfRange,
        {"count": 513, "most": 512},
    ),
    "too many caps in an emergency": (
        curtail(b"\0" * 65, emergency=True, caps_wh=dict.fromkeys(range(MOST_CAPS + 1), 0)),
        CapCountOutOfRange,
        {"count": 513, "most": 512},
    ),
    "a cap below 0": (
        curtail(b"\0" * 65, caps_wh={SUN_A: -1}),
        OutOfRange,
        {"field": "cap_wh", "value": -1, "lowest": 0},
    ),
    "a cap beyond 64 bits": (
        curtail(b"\0" * 65, caps_wh={SUN_A: 2**64}),
        OutOfRange,
        {"field": "cap_wh", "value": 2**64},
    ),
    "with a reason above 15": (curtail(b"\0" * 65, reason=16), OutOfRange, {"field": "reason", "value": 16}),
}

STOPS: dict[str, Refusal] = {
    "of no MTU": (
        stop(b"\0" * 65, mtu_count=0),
        StopRefused,
        {"first_mtu_start": MTU_START, "mtu_count": 0, "most": 96},
    ),
    "of 97 MTUs": (stop(mtu_count=97), StopRefused, {"mtu_count": 97}),
    "of less than none": (stop(b"\0" * 65, mtu_count=-1), StopRefused, {"mtu_count": -1}),
    "from within an MTU": (
        stop(first_mtu_start=MTU_START + 1),
        StopRefused,
        {"first_mtu_start": MTU_START + 1, "mtu_count": 1},
    ),
    "of an MTU that has ended": (
        at(MTU_END, stop()),
        AnswerTooLate,
        {**KEY, "answer_deadline": MTU_END - 1, "now": MTU_END},
    ),
    "of what is stopped": (while_stopped(stop(), MTU_START), AlreadyAnswered, {**KEY, "state": "stopped"}),
    "of MTUs that are all stopped": (
        while_stopped(stop(mtu_count=2), MTU_START, MTU_END),
        AlreadyAnswered,
        {**KEY, "state": "stopped"},
    ),
    "by another operator": (stop(signed_stop(STOP, OTHER)), NotTheGridOperator, SIGNER),
    "of a zone without an operator": (
        stop(zone=3),
        NotTheGridOperator,
        {"zone": 3, "signer": OPERATOR.address, "grid_operator": "nobody"},
    ),
    "signed for fewer MTUs": (stop(signed_stop(STOP), mtu_count=2), NotTheGridOperator, {}),
    "signed for another zone": (stop(signed_stop(replace(STOP, zone=OTHER_ZONE))), NotTheGridOperator, {}),
    "with a reason above 15": (stop(b"\0" * 65, reason=16), OutOfRange, {"field": "reason", "value": 16}),
    "with 64 bytes of a signature": (stop(signed_stop(STOP)[:64]), AnswerUnknown, {"field": "signature"}),
    "with the higher s": (stop(other_s(signed_stop(STOP))), AnswerUnknown, {"field": "signature"}),
}


def assert_refused(case: Refusal, world: World) -> None:
    act, error, values = case
    refusal = world.refused(lambda: act(world))
    assert type(refusal) is error
    assert {name: refusal.values()[name] for name in values} == values


@pytest.mark.parametrize("case", ACKNOWLEDGEMENTS)
def test_a_bad_acknowledgement_is_refused_by_name(case: str) -> None:
    assert_refused(ACKNOWLEDGEMENTS[case], World())


@pytest.mark.parametrize("case", CURTAILMENTS)
def test_a_bad_curtailment_is_refused_by_name(case: str) -> None:
    assert_refused(CURTAILMENTS[case], World())


@pytest.mark.parametrize("case", STOPS)
def test_a_bad_stop_is_refused_by_name(case: str) -> None:
    assert_refused(STOPS[case], World())


@pytest.mark.parametrize(
    "act",
    [acknowledge(), curtail(), curtail(emergency=True)],
    ids=["an acknowledgement", "a curtailment", "an emergency"],
)
def test_an_answer_waits_for_the_one_on_its_way_to_fail(act: Act) -> None:
    world = World()
    world.schedules.mark_answered(ZONE, MTU_START)
    assert_refused((act, AlreadyAnswered, {**KEY, "state": "answering"}), world)


@pytest.mark.parametrize("state", [ScheduleState.ACKNOWLEDGED, ScheduleState.CURTAILED, ScheduleState.STOPPED], ids=str)
@pytest.mark.parametrize("act", [acknowledge(), curtail()], ids=["acknowledge", "curtail"])
def test_an_answer_on_chain_is_final_but_for_emergencies(act: Act, state: ScheduleState) -> None:
    assert_refused((act, AlreadyAnswered, {**KEY, "state": state}), World(state=state))


def test_nothing_of_a_stopped_mtu_is_capped_not_even_in_an_emergency() -> None:
    world = World(state=ScheduleState.STOPPED)
    assert_refused((curtail(emergency=True), AlreadyAnswered, {**KEY, "state": "stopped"}), world)


def test_what_silence_has_voided_is_not_capped_either() -> None:
    world = World()
    world.schedules.silence_proceeds = False
    late = at(DEADLINE + 1, curtail(emergency=True))
    assert_refused((late, AnswerTooLate, {**KEY, "answer_deadline": DEADLINE, "now": DEADLINE + 1}), world)


def test_a_curtailment_is_recorded_once() -> None:
    """What was recorded with a sequence cannot be relayed again, by whomever."""
    world = World(state=ScheduleState.CURTAILED, curtailments=1)
    assert_refused((curtail(emergency=True), SequenceDiffers, {"expected": 1, "found": 0}), world)
