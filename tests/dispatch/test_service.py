"""Only the zone's grid operator answers a schedule, once, in time; the node can neither make nor alter an answer."""

from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.constants import SECPK1_N

from gridledger.clock import ManualClock
from gridledger.dispatch.errors import (
    AlreadyAnswered,
    AnswerTooLate,
    AnswerUnknown,
    NotTheGridOperator,
    ScheduleUnknown,
)
from gridledger.dispatch.model import Answer, DispatchDomain, Schedule, ScheduleState, answer_typed_data
from gridledger.dispatch.ports import RelayAnswer
from gridledger.dispatch.service import DispatchService
from gridledger.errors import GridLedgerError
from gridledger.units import OutOfRange

DOMAIN = DispatchDomain(chain_id=31_337, dispatching_contract="0x" + "11" * 20)
MTU_START = 1_465_776_000
DEADLINE = MTU_START - 60
ZONE = 1
OPERATOR, OTHER = Account.from_key((7).to_bytes(32)), Account.from_key((8).to_bytes(32))
SCHEDULE = Schedule(
    zone=ZONE,
    mtu_start=MTU_START,
    schedule_hash="0x" + "ab" * 32,
    traded_wh=600,
    answer_deadline=DEADLINE,
    state=ScheduleState.PENDING,
    reason=0,
)


class FakeSchedules:
    """Schedules by zone and MTU."""

    def __init__(self, *schedules: Schedule) -> None:
        self._kept = {(schedule.zone, schedule.mtu_start): schedule for schedule in schedules}
        self.answered: set[tuple[int, int]] = set()

    def find(self, zone: int, mtu_start: int) -> Schedule | None:
        return self._kept.get((zone, mtu_start))

    def answer_is_pending(self, zone: int, mtu_start: int) -> bool:
        return (zone, mtu_start) in self.answered

    def mark_answered(self, zone: int, mtu_start: int) -> None:
        self.answered.add((zone, mtu_start))

    def grid_operator_of(self, zone: int) -> str:
        return str(OPERATOR.address)


class FakeLedger:
    """Answers in the order they were relayed."""

    def __init__(self) -> None:
        self.submitted: list[RelayAnswer] = []

    def submit(self, command: RelayAnswer) -> None:
        self.submitted.append(command)


class World:
    """A dispatch room over fakes, a minute before the deadline."""

    def __init__(self, schedule: Schedule = SCHEDULE) -> None:
        self.clock = ManualClock(DEADLINE - 60)
        self.schedules, self.ledger = FakeSchedules(schedule), FakeLedger()
        self.service = DispatchService(domain=DOMAIN, clock=self.clock, schedules=self.schedules, ledger=self.ledger)

    def answer(self, signature: bytes, answer: Answer = Answer.ACKNOWLEDGED, reason: int = 0) -> Schedule:
        return self.service.answer(ZONE, MTU_START, answer, reason, signature)

    def refusal(self, signature: bytes, **changes: Answer | int) -> GridLedgerError:
        answered = set(self.schedules.answered)
        with pytest.raises(GridLedgerError) as refused:
            self.answer(signature, **changes)  # type: ignore[arg-type]
        assert self.schedules.answered == answered
        assert self.ledger.submitted == []
        return refused.value


def signed(
    answer: Answer = Answer.ACKNOWLEDGED,
    reason: int = 0,
    *,
    schedule: Schedule = SCHEDULE,
    domain: DispatchDomain = DOMAIN,
    key: bytes = bytes(OPERATOR.key),
) -> bytes:
    document = encode_typed_data(full_message=answer_typed_data(domain, schedule, answer, reason))
    return bytes(Account.sign_message(document, key).signature)


@pytest.mark.parametrize(
    ("answer", "reason"), [(Answer.ACKNOWLEDGED, 0), (Answer.CURTAILED, 1), (Answer.CURTAILED, 65_535)]
)
def test_the_grid_operator_s_answer_is_relayed_as_it_was_signed(answer: Answer, reason: int) -> None:
    world = World()
    signature = signed(answer, reason)
    assert world.answer(signature, answer, reason) == SCHEDULE
    assert world.ledger.submitted == [
        RelayAnswer(zone=ZONE, mtu_start=MTU_START, answer=answer, reason=reason, signature=signature)
    ]
    assert world.schedules.answered == {(ZONE, MTU_START)}


def test_nothing_can_be_answered_that_was_not_scheduled() -> None:
    world = World(replace(SCHEDULE, zone=2))
    error = world.refusal(signed())
    assert (type(error), error.values()) == (ScheduleUnknown, {"zone": ZONE, "mtu_start": MTU_START})


@pytest.mark.parametrize("state", [ScheduleState.ACKNOWLEDGED, ScheduleState.CURTAILED])
def test_an_answer_on_chain_is_final(state: ScheduleState) -> None:
    error = World(replace(SCHEDULE, state=state)).refusal(signed(Answer.CURTAILED), answer=Answer.CURTAILED)
    assert (type(error), error.values()) == (
        AlreadyAnswered,
        {"zone": ZONE, "mtu_start": MTU_START, "state": state},
    )


def test_a_second_answer_waits_for_the_first_to_fail() -> None:
    world = World()
    world.schedules.mark_answered(ZONE, MTU_START)
    error = world.refusal(signed())
    assert (type(error), error.values()) == (
        AlreadyAnswered,
        {"zone": ZONE, "mtu_start": MTU_START, "state": "answering"},
    )


def test_an_answer_is_taken_at_the_deadline_and_not_a_second_later() -> None:
    world = World()
    world.clock.move_to(DEADLINE + 1)
    error = world.refusal(signed())
    assert (type(error), error.values()) == (
        AnswerTooLate,
        {"zone": ZONE, "mtu_start": MTU_START, "answer_deadline": DEADLINE, "now": DEADLINE + 1},
    )
    in_time = World()
    in_time.clock.move_to(DEADLINE)
    in_time.answer(signed())


def test_another_operator_s_answer_is_refused_by_name() -> None:
    error = World().refusal(signed(key=bytes(OTHER.key)))
    assert (type(error), error.values()) == (
        NotTheGridOperator,
        {"zone": ZONE, "signer": OTHER.address, "grid_operator": OPERATOR.address},
    )


@pytest.mark.parametrize(
    "signature",
    [
        signed(domain=replace(DOMAIN, chain_id=1)),
        signed(domain=replace(DOMAIN, dispatching_contract="0x" + "12" * 20)),
        signed(schedule=replace(SCHEDULE, schedule_hash="0x" + "cd" * 32)),
        signed(schedule=replace(SCHEDULE, zone=2)),
        signed(schedule=replace(SCHEDULE, mtu_start=MTU_START + 900)),
        signed(Answer.CURTAILED),
        signed(reason=1),
    ],
    ids=["chain", "contract", "schedule", "zone", "MTU", "answer", "reason"],
)
def test_a_signature_over_anything_else_is_not_the_operator_s_answer(signature: bytes) -> None:
    assert type(World().refusal(signature)) is NotTheGridOperator


@pytest.mark.parametrize("signature", [bytes(64), bytes(65), bytes(66), b"\xff" * 65, signed()[:64]])
def test_bytes_that_are_no_signature_are_refused(signature: bytes) -> None:
    error = World().refusal(signature)
    assert (type(error), error.values()) == (AnswerUnknown, {"field": "signature"})


def test_only_the_form_of_a_signature_that_the_contract_takes_is_relayed() -> None:
    """The recovery byte as 0 or 1 or beyond, and the twin with the other s, recover the operator but fail on chain."""
    good = signed()
    other_s = SECPK1_N - int.from_bytes(good[32:64])
    forms = [good[:64] + bytes((good[64] + shift,)) for shift in (-27, 8)]
    forms.append(good[:32] + other_s.to_bytes(32) + bytes((55 - good[64],)))
    for form in forms:
        error = World().refusal(form)
        assert (type(error), error.values()) == (AnswerUnknown, {"field": "signature"})


@pytest.mark.parametrize("reason", [-1, 65_536])
def test_a_reason_the_contract_cannot_hold_is_refused(reason: int) -> None:
    error = World().refusal(signed(), reason=reason)
    assert (type(error), error.values()) == (
        OutOfRange,
        {"field": "reason", "value": reason, "lowest": 0, "highest": 65_535},
    )
