"""The metering room's task with meter events: take the grid operator's signed statements. It never commits."""

from typing import Protocol

from gridledger.clock import Clock
from gridledger.metering.errors import (
    MeterEventDiffers,
    MeterEventInFuture,
    MeterEventTooLate,
    NotTheMetersGridOperator,
    UnknownMeter,
)
from gridledger.metering.events import MeterEvent, MeteringDomain, StoredMeterEvent, event_signer
from gridledger.metering.model import MAX_MTU_START, ReadingStatus
from gridledger.metering.ports import EventStore, MeterDirectory, ReadingStore
from gridledger.metering.registers import RegisterReading, check_order

__all__ = ["GridOperators", "MeterEventService"]


class GridOperators(Protocol):
    """Who answers for a zone."""

    def grid_operator_of(self, zone: int) -> str:
        """The zone's grid operator, checksum address."""


class MeterEventService:
    """Accepts statements of what broke the count of a meter's registers."""

    def __init__(
        self,
        *,
        domain: MeteringDomain,
        directory: MeterDirectory,
        operators: GridOperators,
        registers: ReadingStore,
        store: EventStore,
        clock: Clock,
        mtu_length_s: int,
    ) -> None:
        self._domain = domain
        self._directory = directory
        self._operators = operators
        self._registers = registers
        self._store = store
        self._clock = clock
        self._mtu_length_s = mtu_length_s

    def accept(self, event: MeterEvent, signature: bytes) -> ReadingStatus:
        """Keep an event signed by the grid operator of its meter's zone; the same event again is a duplicate.

        It has to come before a reading across its moment is made, and fit the readings and events around it. Device
        texts of the new count that were refused before may then be sent again.
        Raises UnknownMeter, NotTheMetersGridOperator, StatementSignatureMalformed, MeterEventInFuture,
        MeterEventDiffers, MeterEventTooLate, SerialChanged, CounterReplayed, RegisterBackwards.
        """
        facts = self._directory.facts_of({event.meter}).get(event.meter)
        if facts is None:
            raise UnknownMeter(meter=event.meter)
        signer, operator = event_signer(self._domain, event, signature), self._operators.grid_operator_of(facts.zone)
        if signer != operator:
            raise NotTheMetersGridOperator(meter=event.meter, signer=signer, grid_operator=operator)
        if event.happened_at > (now := self._clock.now()):
            raise MeterEventInFuture(happened_at=event.happened_at, now=now)
        if (known := self._store.event_at(event.meter, event.happened_at)) is not None:
            if known.event != event:
                raise MeterEventDiffers(meter=event.meter, happened_at=event.happened_at)
            return ReadingStatus.DUPLICATE
        self._require_fit(event)
        self._store.add_event(StoredMeterEvent(event=event, signature=signature, received_at=now))
        return ReadingStatus.ACCEPTED

    def _require_fit(self, event: MeterEvent) -> None:
        before, after = self._neighbours(event)
        start = 0 if before is None else before.taken_at
        end = MAX_MTU_START if after is None else after.taken_at
        if before is not None and after is not None and end - start == self._mtu_length_s:
            raise MeterEventTooLate(meter=event.meter, happened_at=event.happened_at, read_until=end)
        others = self._store.events_between(event.meter, start, end)
        check_order(before, after, sorted((*others, event), key=lambda one: one.happened_at))

    def _neighbours(self, event: MeterEvent) -> tuple[RegisterReading | None, RegisterReading | None]:
        """Registers before the event, and those at its moment or after it."""
        before, after = self._registers.registers_around(event.meter, event.happened_at)
        after = self._registers.registers_at(event.meter, event.happened_at) or after
        return (None if before is None else before.registers, None if after is None else after.registers)
