"""A dispatch room over fakes: one pending schedule of four meters, and what its grid operator signs."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.clock import ManualClock
from gridledger.dispatch.model import (
    Curtailment,
    DispatchDomain,
    EmergencyStop,
    Schedule,
    ScheduleState,
    answer_typed_data,
    curtailment_typed_data,
    stop_typed_data,
)
from gridledger.dispatch.ports import CommittedSetpoint, DispatchCommand, MeterPlace
from gridledger.dispatch.service import DispatchService
from gridledger.dispatch.setpoints import Direction, SetpointRow, schedule_hash, setpoint_leaf, setpoint_tree
from gridledger.errors import GridLedgerError

DOMAIN = DispatchDomain(chain_id=31_337, dispatching_contract="0x" + "11" * 20)
MTU_LENGTH_S = 900
MTU_START = 1_465_776_000
MTU_END = MTU_START + MTU_LENGTH_S
DEADLINE = MTU_START - 60
ZONE, OTHER_ZONE = 1, 2
OPERATOR, OTHER = Account.from_key((7).to_bytes(32)), Account.from_key((8).to_bytes(32))
COAL, SUN_A, SUN_B, LOAD, IDLE, FOREIGN, UNKNOWN = 1, 2, 3, 4, 5, 6, 99
ROWS = tuple(
    SetpointRow(meter=meter, contracted_wh=contracted_wh, residual_wh=residual_wh)
    for meter, contracted_wh, residual_wh in ((COAL, 300, 0), (SUN_A, 200, 100), (SUN_B, 100, 0), (LOAD, -500, -40))
)
SETPOINTS = tuple(CommittedSetpoint(row=row, salt=bytes((row.meter,)) * 32) for row in ROWS)
TREE = setpoint_tree(ROWS, {one.row.meter: one.salt for one in SETPOINTS})
PLACES = {
    COAL: MeterPlace(zone=ZONE, source=0, factor_mgco2_per_kwh=None),
    SUN_A: MeterPlace(zone=ZONE, source=1, factor_mgco2_per_kwh=41_000),
    SUN_B: MeterPlace(zone=ZONE, source=1, factor_mgco2_per_kwh=41_000),
    LOAD: MeterPlace(zone=ZONE, source=0, factor_mgco2_per_kwh=None),
    IDLE: MeterPlace(zone=ZONE, source=1, factor_mgco2_per_kwh=41_000),
    FOREIGN: MeterPlace(zone=OTHER_ZONE, source=1, factor_mgco2_per_kwh=41_000),
}
RESULT_HASH = "0x" + "ab" * 32
SCHEDULE = Schedule(
    zone=ZONE,
    mtu_start=MTU_START,
    schedule_hash=schedule_hash(RESULT_HASH, TREE.root),
    traded_wh=600,
    answer_deadline=DEADLINE,
    state=ScheduleState.PENDING,
    reason=0,
    result_hash=RESULT_HASH,
    setpoints_root="0x" + TREE.root.hex(),
)
CURTAILMENT = Curtailment(
    zone=ZONE,
    mtu_start=MTU_START,
    schedule_hash=SCHEDULE.schedule_hash,
    direction=Direction.EXPORT,
    reason=1,
    emergency=False,
    sequence=0,
    caps_wh={COAL: 0, SUN_A: 300, SUN_B: 100},
)
STOP = EmergencyStop(zone=ZONE, first_mtu_start=MTU_START, mtu_count=1, reason=4)


class FakeSchedules:
    """Schedules by zone and MTU, and the meters of ZONE and OTHER_ZONE."""

    def __init__(self, *schedules: Schedule) -> None:
        self._kept = {(schedule.zone, schedule.mtu_start): schedule for schedule in schedules}
        self.answered: set[tuple[int, int]] = set()
        self.stopped: set[tuple[int, int]] = set()
        self.silence_proceeds = True

    def find(self, zone: int, mtu_start: int) -> Schedule | None:
        return self._kept.get((zone, mtu_start))

    def answer_is_pending(self, zone: int, mtu_start: int) -> bool:
        return (zone, mtu_start) in self.answered

    def mark_answered(self, zone: int, mtu_start: int) -> None:
        self.answered.add((zone, mtu_start))

    def grid_operator_of(self, zone: int) -> str | None:
        return str(OPERATOR.address) if zone in (ZONE, OTHER_ZONE) else None

    def proceeds_unanswered(self, mtu_start: int) -> bool:
        assert mtu_start == MTU_START
        return self.silence_proceeds

    def is_stopped(self, zone: int, mtu_start: int) -> bool:
        return (zone, mtu_start) in self.stopped

    def places(self, meters: Collection[int]) -> Mapping[int, MeterPlace]:
        return {meter: place for meter, place in PLACES.items() if meter in meters}

    def setpoints(self, zone: int, mtu_start: int) -> tuple[CommittedSetpoint, ...]:
        return SETPOINTS if (zone, mtu_start) in self._kept else ()


class FakeLedger:
    """Commands in the order they were submitted."""

    def __init__(self) -> None:
        self.submitted: list[DispatchCommand] = []

    def submit(self, command: DispatchCommand) -> None:
        self.submitted.append(command)


class World:
    """The room, a minute before the deadline."""

    def __init__(self, **changes: Any) -> None:
        self.clock = ManualClock(DEADLINE - 60)
        self.schedules, self.ledger = FakeSchedules(replace(SCHEDULE, **changes)), FakeLedger()
        self.service = DispatchService(
            domain=DOMAIN,
            mtu_length_s=MTU_LENGTH_S,
            clock=self.clock,
            schedules=self.schedules,
            ledger=self.ledger,
        )

    def refused(self, action: Callable[[], object]) -> GridLedgerError:
        """The error of an action that must leave nothing marked and nothing submitted."""
        answered = set(self.schedules.answered)
        with pytest.raises(GridLedgerError) as refusal:
            action()
        assert self.schedules.answered == answered
        assert self.ledger.submitted == []
        return refusal.value


def signed_answer(
    reason: int = 0,
    *,
    schedule: Schedule = SCHEDULE,
    domain: DispatchDomain = DOMAIN,
    signer: LocalAccount = OPERATOR,
) -> bytes:
    """The acknowledgement, signed."""
    document = answer_typed_data(domain, schedule.zone, schedule.mtu_start, schedule.schedule_hash, reason)
    return sign(document, signer)


def signed_curtailment(curtailment: Curtailment, signer: LocalAccount = OPERATOR) -> bytes:
    """A curtailment, signed."""
    return sign(curtailment_typed_data(DOMAIN, curtailment), signer)


def signed_stop(stop: EmergencyStop, signer: LocalAccount = OPERATOR) -> bytes:
    """A stop, signed."""
    return sign(stop_typed_data(DOMAIN, stop), signer)


def sign(document: dict[str, Any], signer: LocalAccount) -> bytes:
    """65 bytes r, s, v over an EIP-712 document."""
    return bytes(Account.sign_message(encode_typed_data(full_message=document), signer.key).signature)


def leaf_of(meter: int) -> bytes:
    """The leaf of a meter's setpoint."""
    return next(setpoint_leaf(one.row, one.salt) for one in SETPOINTS if one.row.meter == meter)


# ---- what may be done in a world

Act = Callable[[World], object]


def acknowledge(signature: bytes | None = None, reason: int = 0, **key: int) -> Act:
    """Acknowledge, with the operator's signature unless another is given."""
    return lambda world: world.service.acknowledge(
        key.get("zone", ZONE),
        key.get("mtu_start", MTU_START),
        reason,
        signed_answer(reason) if signature is None else signature,
    )


def curtail(signature: bytes | None = None, **changes: Any) -> Act:
    """Curtail, signed by the operator as changed unless another signature is given."""
    changed: Curtailment = replace(CURTAILMENT, **changes)
    return lambda world: world.service.curtail(changed, signature or signed_curtailment(changed))


def stop(signature: bytes | None = None, **changes: Any) -> Act:
    """Stop, signed by the operator as changed unless another signature is given."""
    changed: EmergencyStop = replace(STOP, **changes)
    return lambda world: world.service.stop(changed, signature or signed_stop(changed))


def at(moment: int, act: Act) -> Act:
    """The same at another time."""

    def later(world: World) -> object:
        world.clock.move_to(moment)
        return act(world)

    return later


def while_stopped(act: Act, *mtu_starts: int) -> Act:
    """The same in a zone that is stopped for these MTUs."""

    def behind(world: World) -> object:
        world.schedules.stopped |= {(ZONE, mtu_start) for mtu_start in mtu_starts}
        return act(world)

    return behind
