"""Dispatch tasks: check and relay the grid operator's own answers. The node can neither make nor alter one."""

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from gridledger.clock import Clock
from gridledger.dispatch.errors import (
    AlreadyAnswered,
    AnswerTooLate,
    AnswerUnknown,
    NotTheGridOperator,
    ScheduleUnknown,
)
from gridledger.dispatch.model import ANSWERING, Answer, DispatchDomain, Schedule, ScheduleState, answer_typed_data
from gridledger.dispatch.ports import DispatchLedger, RelayAnswer, ScheduleStore
from gridledger.units import check_range

__all__ = ["DispatchService"]

_LARGEST_REASON = 2**16 - 1
_HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # EIP-2


class DispatchService:
    """Tasks of the dispatch room over its ports."""

    def __init__(
        self, *, domain: DispatchDomain, clock: Clock, schedules: ScheduleStore, ledger: DispatchLedger
    ) -> None:
        self._domain = domain
        self._clock = clock
        self._schedules = schedules
        self._ledger = ledger

    def answer(self, zone: int, mtu_start: int, answer: Answer, reason: int, signature: bytes) -> Schedule:
        """Relay a signed answer to a pending schedule.

        Raises ScheduleUnknown, AlreadyAnswered, AnswerTooLate, NotTheGridOperator, AnswerUnknown.
        """
        check_range("reason", reason, 0, _LARGEST_REASON)
        schedule = self._schedules.find(zone, mtu_start)
        if schedule is None:
            raise ScheduleUnknown(zone=zone, mtu_start=mtu_start)
        state = ANSWERING if self._schedules.answer_is_pending(zone, mtu_start) else schedule.state
        if state != ScheduleState.PENDING:
            raise AlreadyAnswered(zone=zone, mtu_start=mtu_start, state=state)
        if self._clock.now() > schedule.answer_deadline:
            raise AnswerTooLate(
                zone=zone, mtu_start=mtu_start, answer_deadline=schedule.answer_deadline, now=self._clock.now()
            )
        self._require_signer(schedule, answer, reason, signature)
        self._schedules.mark_answered(zone, mtu_start)
        self._ledger.submit(
            RelayAnswer(zone=zone, mtu_start=mtu_start, answer=answer, reason=reason, signature=signature)
        )
        return schedule

    def _require_signer(self, schedule: Schedule, answer: Answer, reason: int, signature: bytes) -> None:
        if len(signature) != 65 or signature[64] not in (27, 28) or int.from_bytes(signature[32:64]) > _HIGHEST_S:
            raise AnswerUnknown(field="signature")  # the contract takes no other form of it
        document = encode_typed_data(full_message=answer_typed_data(self._domain, schedule, answer, reason))
        try:
            signer = str(Account.recover_message(document, signature=signature))
        except (BadSignature, ValidationError, ValueError):
            raise AnswerUnknown(field="signature") from None
        grid_operator = self._schedules.grid_operator_of(schedule.zone)
        if signer != grid_operator:
            raise NotTheGridOperator(zone=schedule.zone, signer=signer, grid_operator=grid_operator)
