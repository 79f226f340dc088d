"""What the dispatch room needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gridledger.dispatch.model import Answer, Curtailment, EmergencyStop, Schedule
from gridledger.dispatch.setpoints import SetpointRow

__all__ = [
    "CommittedSetpoint",
    "DispatchCommand",
    "DispatchLedger",
    "ErasedSetpoint",
    "MeterPlace",
    "RelayAnswer",
    "RelayCurtailment",
    "RelayStop",
    "ScheduleStore",
    "SetpointSalts",
    "SetpointStore",
]


@dataclass(frozen=True, kw_only=True)
class CommittedSetpoint:
    """A setpoint with the salt that hides it behind the schedule's root."""

    row: SetpointRow
    salt: bytes


@dataclass(frozen=True, kw_only=True)
class ErasedSetpoint:
    """What is left of an erased person's setpoint: the contract (Wh, export positive), and the leaf of 32 bytes."""

    meter: int
    contracted_wh: int
    leaf: bytes


@dataclass(frozen=True, kw_only=True)
class MeterPlace:
    """Where a meter is, and the emission factor of its source, mg CO2 per kWh; None if it has none."""

    zone: int
    source: int
    factor_mgco2_per_kwh: int | None


@dataclass(frozen=True, kw_only=True)
class RelayAnswer:
    """Relay an answer the grid operator has signed; the signature is 65 bytes r, s, v."""

    zone: int
    mtu_start: int
    answer: Answer
    reason: int
    signature: bytes


@dataclass(frozen=True, kw_only=True)
class RelayCurtailment:
    """Relay a signed curtailment with the setpoints of its meters and their proofs, in the order of the meters."""

    curtailment: Curtailment
    signature: bytes
    result_hash: str
    setpoints_root: str
    setpoints: tuple[CommittedSetpoint, ...]
    proofs: tuple[tuple[bytes, ...], ...]

    @property
    def zone(self) -> int:
        """The zone it is about."""
        return self.curtailment.zone

    @property
    def mtu_start(self) -> int:
        """The MTU it is about."""
        return self.curtailment.mtu_start


@dataclass(frozen=True, kw_only=True)
class RelayStop:
    """Relay a signed emergency stop."""

    stop: EmergencyStop
    signature: bytes

    @property
    def zone(self) -> int:
        """The zone it is about."""
        return self.stop.zone

    @property
    def mtu_start(self) -> int:
        """The first MTU it is about."""
        return self.stop.first_mtu_start


DispatchCommand = RelayAnswer | RelayCurtailment | RelayStop


class DispatchLedger(Protocol):
    """The way to the dispatching contract."""

    def submit(self, command: DispatchCommand) -> None:
        """Keep the command for sending."""


class ScheduleStore(Protocol):
    """Schedules as the chain records them."""

    def find(self, zone: int, mtu_start: int) -> Schedule | None:
        """The schedule of a zone and MTU."""

    def answer_is_pending(self, zone: int, mtu_start: int) -> bool:
        """Whether an answer of any kind is already on its way to the chain."""

    def mark_answered(self, zone: int, mtu_start: int) -> None:
        """Remember that an ordinary answer is on its way to the chain."""

    def grid_operator_of(self, zone: int) -> str | None:
        """The account that answers for the zone; None for an unknown one."""

    def proceeds_unanswered(self, mtu_start: int) -> bool:
        """Whether a schedule of the MTU proceeds if nobody answers it, or is void."""

    def is_stopped(self, zone: int, mtu_start: int) -> bool:
        """Whether the zone is stopped for the MTU."""

    def places(self, meters: Collection[int]) -> Mapping[int, MeterPlace]:
        """Where meters are; unknown ones are left out."""

    def setpoints(self, zone: int, mtu_start: int) -> tuple[CommittedSetpoint, ...]:
        """The setpoints the clearing committed to, ascending by meter, without those that were erased."""


class SetpointStore(Protocol):
    """What setpoints are made from, and where they are kept."""

    def persisted_wh(self, zone: int, mtu_start: int) -> Mapping[int, int]:
        """Meter to what it did one day before, net Wh, export positive."""

    def keep_setpoints(self, zone: int, mtu_start: int, setpoints: Sequence[CommittedSetpoint]) -> None:
        """Keep the setpoints of a zone and MTU in place of any before."""


class SetpointSalts(Protocol):
    """Where the salts of setpoints come from."""

    def salt_for(self, zone: int, mtu_start: int, meter: int) -> bytes:
        """32 bytes; zone and meter uint32, `mtu_start` in Unix seconds."""
