"""Dispatch tasks: check and relay the grid operator's own answers. The node can neither make nor alter one."""

from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from gridledger.clock import Clock
from gridledger.dispatch.curtailment import MOST_CAPS, Basis, check_order, emission_rank
from gridledger.dispatch.errors import (
    AlreadyAnswered,
    AnswerTooLate,
    AnswerUnknown,
    CapCountOutOfRange,
    MeterNotInZone,
    NotTheGridOperator,
    ScheduleDiffers,
    ScheduleUnknown,
    SequenceDiffers,
    SetpointUnknown,
    StopRefused,
)
from gridledger.dispatch.model import (
    ANSWERING,
    LARGEST_REASON,
    MOST_STOPPED_MTUS,
    Answer,
    Curtailment,
    DispatchDomain,
    EmergencyStop,
    Schedule,
    ScheduleState,
    answer_typed_data,
    curtailment_typed_data,
    stop_typed_data,
)
from gridledger.dispatch.ports import (
    CommittedSetpoint,
    DispatchLedger,
    RelayAnswer,
    RelayCurtailment,
    RelayStop,
    ScheduleStore,
)
from gridledger.dispatch.setpoints import Direction, basis_wh, setpoint_leaf, setpoint_tree
from gridledger.errors import GridLedgerError
from gridledger.units import UINT64_MAX, check_range

__all__ = ["DispatchService"]

_HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # EIP-2


class DispatchService:
    """Tasks of the dispatch room over its ports."""

    def __init__(
        self,
        *,
        domain: DispatchDomain,
        mtu_length_s: int,
        clock: Clock,
        schedules: ScheduleStore,
        ledger: DispatchLedger,
    ) -> None:
        self._domain = domain
        self._mtu_length_s = mtu_length_s
        self._clock = clock
        self._schedules = schedules
        self._ledger = ledger

    def acknowledge(self, zone: int, mtu_start: int, reason: int, signature: bytes) -> Schedule:
        """Relay a signed acknowledgement of a pending schedule.

        Raises ScheduleUnknown, AlreadyAnswered, AnswerTooLate, NotTheGridOperator, AnswerUnknown, OutOfRange.
        """
        check_range("reason", reason, 0, LARGEST_REASON)
        schedule = self._require_schedule(zone, mtu_start)
        self._require_open(schedule)
        document = answer_typed_data(self._domain, zone, mtu_start, schedule.schedule_hash, reason)
        self._require_signer(zone, document, signature)
        self._schedules.mark_answered(zone, mtu_start)
        self._ledger.submit(
            RelayAnswer(zone=zone, mtu_start=mtu_start, answer=Answer.ACKNOWLEDGED, reason=reason, signature=signature)
        )
        return schedule

    def curtail(self, curtailment: Curtailment, signature: bytes) -> Schedule:
        """Relay a signed curtailment: an ordinary one of a pending schedule, in order; an emergency until the MTU ends.

        Raises what `acknowledge` does, ScheduleDiffers, SequenceDiffers, MeterNotInZone, SetpointUnknown,
        CapCountOutOfRange, CapAboveSchedule, NothingCurtailed, CurtailmentOrderBroken.
        """
        check_range("reason", curtailment.reason, 0, LARGEST_REASON)
        if not 0 < len(curtailment.caps_wh) <= MOST_CAPS:
            raise CapCountOutOfRange(count=len(curtailment.caps_wh), most=MOST_CAPS)
        for cap_wh in curtailment.caps_wh.values():
            check_range("cap_wh", cap_wh, 0, UINT64_MAX)
        schedule = self._require_schedule(curtailment.zone, curtailment.mtu_start)
        if curtailment.schedule_hash != schedule.schedule_hash:
            raise ScheduleDiffers(expected=schedule.schedule_hash, found=curtailment.schedule_hash)
        if curtailment.emergency:
            self._require_running(schedule)
        else:
            self._require_open(schedule)
        if curtailment.sequence != schedule.curtailments:
            raise SequenceDiffers(expected=schedule.curtailments, found=curtailment.sequence)
        self._require_signer(curtailment.zone, curtailment_typed_data(self._domain, curtailment), signature)
        setpoints = self._setpoints_of(curtailment)
        self._relay(curtailment, schedule, setpoints, signature)
        return schedule

    def stop(self, stop: EmergencyStop, signature: bytes) -> None:
        """Relay a signed emergency stop of a zone. Raises StopRefused, AlreadyAnswered, AnswerTooLate,
        NotTheGridOperator, AnswerUnknown, OutOfRange.
        """
        check_range("reason", stop.reason, 0, LARGEST_REASON)
        if not 0 < stop.mtu_count <= MOST_STOPPED_MTUS or stop.first_mtu_start % self._mtu_length_s:
            raise StopRefused(first_mtu_start=stop.first_mtu_start, mtu_count=stop.mtu_count, most=MOST_STOPPED_MTUS)
        self._require_before_end(stop.zone, stop.first_mtu_start)
        starts = [stop.first_mtu_start + index * self._mtu_length_s for index in range(stop.mtu_count)]
        if all(self._schedules.is_stopped(stop.zone, mtu_start) for mtu_start in starts):
            raise AlreadyAnswered(zone=stop.zone, mtu_start=stop.first_mtu_start, state=ScheduleState.STOPPED)
        self._require_signer(stop.zone, stop_typed_data(self._domain, stop), signature)
        self._ledger.submit(RelayStop(stop=stop, signature=signature))

    def _require_schedule(self, zone: int, mtu_start: int) -> Schedule:
        schedule = self._schedules.find(zone, mtu_start)
        if schedule is None:
            raise ScheduleUnknown(zone=zone, mtu_start=mtu_start)
        return schedule

    def _require_open(self, schedule: Schedule) -> None:
        """Nothing has been answered, and the deadline has not passed."""
        state = ANSWERING if self._is_answering(schedule) else schedule.state
        if state != ScheduleState.PENDING:
            raise AlreadyAnswered(zone=schedule.zone, mtu_start=schedule.mtu_start, state=state)
        if self._clock.now() > schedule.answer_deadline:
            raise AnswerTooLate(
                zone=schedule.zone,
                mtu_start=schedule.mtu_start,
                answer_deadline=schedule.answer_deadline,
                now=self._clock.now(),
            )

    def _require_running(self, schedule: Schedule) -> None:
        """It is not void, no answer is on its way, and the MTU has not ended."""
        state = ANSWERING if self._is_answering(schedule) else schedule.state
        if state in (ANSWERING, ScheduleState.STOPPED):
            raise AlreadyAnswered(zone=schedule.zone, mtu_start=schedule.mtu_start, state=state)
        if state == ScheduleState.PENDING and not self._schedules.proceeds_unanswered(schedule.mtu_start):
            self._require_open(schedule)
        self._require_before_end(schedule.zone, schedule.mtu_start)

    def _require_before_end(self, zone: int, mtu_start: int) -> None:
        last = mtu_start + self._mtu_length_s - 1
        if self._clock.now() > last:
            raise AnswerTooLate(zone=zone, mtu_start=mtu_start, answer_deadline=last, now=self._clock.now())

    def _is_answering(self, schedule: Schedule) -> bool:
        return self._schedules.answer_is_pending(schedule.zone, schedule.mtu_start)

    def _setpoints_of(self, curtailment: Curtailment) -> tuple[CommittedSetpoint, ...]:
        """The named meters' setpoints, once the caps are known to keep the order; none for an emergency beyond them."""
        places = self._schedules.places(curtailment.caps_wh)
        for meter in curtailment.caps_wh:
            place = places.get(meter)
            if place is None or place.zone != curtailment.zone:
                raise MeterNotInZone(meter=meter, zone=curtailment.zone)
        kept = {one.row.meter: one for one in self._schedules.setpoints(curtailment.zone, curtailment.mtu_start)}
        meters = sorted(curtailment.caps_wh)
        unknown = [meter for meter in meters if meter not in kept]
        if unknown:
            if curtailment.emergency:
                return ()
            raise SetpointUnknown(meter=unknown[0], zone=curtailment.zone, mtu_start=curtailment.mtu_start)
        bases = [
            Basis(
                meter=meter,
                basis_wh=basis_wh(kept[meter].row, curtailment.direction),
                rank=0
                if curtailment.direction is Direction.IMPORT
                else emission_rank(places[meter].source, places[meter].factor_mgco2_per_kwh),
            )
            for meter in meters
        ]
        try:
            check_order(bases, [curtailment.caps_wh[meter] for meter in meters])
        except GridLedgerError:
            if not curtailment.emergency:
                raise
        return tuple(kept[meter] for meter in meters)

    def _relay(
        self,
        curtailment: Curtailment,
        schedule: Schedule,
        setpoints: tuple[CommittedSetpoint, ...],
        signature: bytes,
    ) -> None:
        committed = self._schedules.setpoints(curtailment.zone, curtailment.mtu_start)
        tree = setpoint_tree([one.row for one in committed], {one.row.meter: one.salt for one in committed})
        if not curtailment.emergency:
            self._schedules.mark_answered(curtailment.zone, curtailment.mtu_start)
        self._ledger.submit(
            RelayCurtailment(
                curtailment=curtailment,
                signature=signature,
                result_hash=schedule.result_hash,
                setpoints_root=schedule.setpoints_root,
                setpoints=setpoints,
                proofs=tuple(tree.proof(setpoint_leaf(one.row, one.salt)) for one in setpoints),
            )
        )

    def _require_signer(self, zone: int, document: dict[str, Any], signature: bytes) -> None:
        if len(signature) != 65 or signature[64] not in (27, 28) or int.from_bytes(signature[32:64]) > _HIGHEST_S:
            raise AnswerUnknown(field="signature")  # the contract takes no other form of it
        try:
            signer = str(Account.recover_message(encode_typed_data(full_message=document), signature=signature))
        except (BadSignature, ValidationError, ValueError):
            raise AnswerUnknown(field="signature") from None
        grid_operator = self._schedules.grid_operator_of(zone)
        if signer != grid_operator:
            raise NotTheGridOperator(zone=zone, signer=signer, grid_operator=grid_operator or "nobody")
