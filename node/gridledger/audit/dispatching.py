"""Checks dispatches: what was scheduled, who answered, when, in which sequence, and with whose signature."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

from gridledger.audit.dispatch_digests import (
    DispatchContract,
    answer_digest,
    curtailment_digest,
    schedule_hash,
    stop_digest,
)
from gridledger.audit.dispatch_replay import MOST_STOPPED_MTUS, stopped_slots
from gridledger.audit.dispatches import Acknowledged, Answered, Curtailed, Dispatch, OrderCheck, Scheduled, Stopped
from gridledger.audit.evidence import Evidence
from gridledger.audit.limits import intervals_of
from gridledger.audit.markets import Market
from gridledger.audit.model import Rule, Slot, slot_name
from gridledger.audit.presented_dispatch import AnswerCall, CurtailCall, RevealedSetpoint, StopCall
from gridledger.audit.rows import SetpointRow
from gridledger.audit.state_hash import fills_hash, intervals_hash, result_hash
from gridledger.dispatch.setpoints import SetpointRow as Setpoint
from gridledger.dispatch.setpoints import setpoint_leaf
from gridledger.errors import GridLedgerError
from gridledger.market.errors import SignatureMalformed
from gridledger.market.order_hash import recover_address

__all__ = ["check_dispatch"]

ACKNOWLEDGED = 1  # IEnergyDispatching.Answer
DIRECTIONS = (1, 2)  # IEnergyDispatching.Direction without None
LAST_REASON = 15  # EnergyDispatching.LAST_REASON


def check_dispatch(evidence: Evidence) -> None:
    """Schedules are hashes of the recomputed results; only the zone's grid operator has answered, and in time."""
    for slot, market in sorted(evidence.history.markets.items()):
        if all(chunk.opened is not None for chunk in market.chunks):  # others are named by the clearing rule
            _check_schedule(evidence, slot, market)
        _Answers(evidence, slot, market.dispatch).check()
    _check_stops(evidence)


def _check_schedule(evidence: Evidence, slot: Slot, market: Market) -> None:
    stated = market.dispatch.schedule
    found = None if stated is None else (stated.result_hash, stated.traded_wh, stated.answer_deadline)
    record = f"{slot_name(slot)}, result hash, Wh, deadline"
    evidence.findings.compare(Rule.DISPATCH, record, _schedule(evidence, slot, market), found)
    if stated is None:
        return
    committed = schedule_hash(stated.result_hash, stated.setpoints_root)
    evidence.findings.compare(Rule.DISPATCH, f"{slot_name(slot)}, schedule hash", committed, stated.schedule_hash)
    call = market.chunks[-1].call if market.chunks else None
    presented = None if call is None else call.setpoints_root
    record = f"{slot_name(slot)}, presented root of the setpoints"
    evidence.findings.compare(Rule.DISPATCH, record, presented, stated.setpoints_root)


def _schedule(evidence: Evidence, slot: Slot, market: Market) -> tuple[str, int, int] | None:
    """What must be scheduled: nothing without positions, and nothing before the last chunk."""
    if market.cleared is None or not any(chunk.positions for chunk in market.chunks):
        return None
    result = ""
    for chunk in market.chunks:
        assert chunk.call is not None  # opened chunks have been presented
        assert chunk.opened is not None
        if chunk.number == 0:
            try:
                intervals = intervals_of(evidence, slot, market, chunk.call)
            except LookupError:
                return None  # named by the limit rule
            result = intervals_hash(chunk.call.merged, *intervals)
        result = result_hash(result, fills_hash([item.terms for item in chunk.call.orders]), chunk.opened.state_hash)
    traded_wh = sum(chunk.cleared.traded_wh for chunk in market.chunks)
    return result, traded_wh, slot.mtu_start - evidence.history.rules.policy_at(slot.mtu_start).answer_lead_s


@dataclass(frozen=True)
class _Answers:
    """The answers to one schedule, judged in their order."""

    evidence: Evidence
    slot: Slot
    dispatch: Dispatch

    def check(self) -> None:
        for index, answer in enumerate(self.dispatch.answers):
            if isinstance(answer, Stopped):
                continue  # judged once for all MTUs it names
            earlier = self.dispatch.answers[:index]
            self._check_moment(answer, earlier)
            if isinstance(answer, Acknowledged):
                self._check_acknowledged(answer)
            elif isinstance(answer, Curtailed):
                self._check_curtailed(answer, earlier)

    def _compare(self, answer: Answered, what: str, expected: object, found: object) -> None:
        record = f"{slot_name(self.slot)}, answer of block {answer.block_number}, {what}"
        self.evidence.findings.compare(Rule.DISPATCH, record, expected, found)

    def _check_moment(self, answer: Answered, earlier: list[Answered]) -> None:
        """An emergency counts until the MTU is over, stopped or void, everything else once and by the deadline."""
        schedule, slot = self.dispatch.schedule, self.slot
        operator = self.evidence.history.members.grid_operators.get(slot.zone)
        self._compare(answer, "signed by", operator, answer.grid_operator)
        scheduled = schedule is not None and schedule.block_number <= answer.block_number
        self._compare(answer, "answers", "a schedule", "a schedule" if scheduled else "no schedule")
        proceeds = self.evidence.history.rules.policy_at(slot.mtu_start).proceed_without_answer
        if isinstance(answer, Curtailed) and answer.emergency and (earlier or proceeds):
            latest = slot.mtu_start + self.evidence.facts.mtu_length_s - 1
            before = sum(isinstance(one, Stopped) for one in earlier)
        else:
            latest, before = (0 if schedule is None else schedule.answer_deadline), len(earlier)
        moment = "in time" if answer.time_s <= latest else answer.time_s
        self._compare(answer, f"by {latest}", "in time", moment)
        self._compare(answer, "answers before it", 0, before)

    def _check_acknowledged(self, answer: Acknowledged) -> None:
        self._compare(answer, "says", ACKNOWLEDGED, answer.answer)
        call, schedule = answer.call, self.dispatch.schedule
        if call is None or schedule is None:
            return
        stated = (*self.slot, answer.answer, answer.reason)
        self._compare(answer, "call data", stated, (call.zone, call.mtu_start, call.answer, call.reason))
        self._check_signature(answer, call, lambda contract: answer_digest(contract, call, schedule.schedule_hash))

    def _check_curtailed(self, answer: Curtailed, earlier: list[Answered]) -> None:
        self._compare(answer, "sequence", sum(isinstance(one, Curtailed) for one in earlier), answer.sequence)
        self._compare(answer, "direction", "export or import", _direction(answer.direction))
        _check_reason(self.evidence, f"{slot_name(self.slot)}, curtailment of block {answer.block_number}", answer)
        meters = [meter for meter, _ in answer.caps]
        foreign = [meter for meter in meters if self.evidence.history.members.zone_of(meter) != self.slot.zone]
        self._compare(answer, "meters of other zones", [], foreign)
        ascending = bool(meters) and meters == sorted(set(meters))
        self._compare(answer, "meters", "ascending", "ascending" if ascending else meters)
        if answer.call is not None and self.dispatch.schedule is not None:
            self._check_curtail_call(answer, answer.call, self.dispatch.schedule)

    def _check_curtail_call(self, answer: Curtailed, call: CurtailCall, schedule: Scheduled) -> None:
        stated = (*self.slot, answer.direction, answer.reason, answer.emergency, answer.sequence, answer.caps)
        found = (call.zone, call.mtu_start, call.direction, call.reason, call.emergency, call.sequence, call.caps)
        self._compare(answer, "call data", stated, found)
        self._compare(answer, "schedule", schedule.schedule_hash, call.schedule_hash)
        self._check_signature(answer, call, lambda contract: curtailment_digest(contract, call))
        is_checked = bool(call.setpoints) or not call.emergency
        self._compare(answer, "order checked", is_checked, answer.order_check != OrderCheck.UNCHECKED)
        if not is_checked:
            return
        presented = (call.result_hash, call.setpoints_root)
        self._compare(answer, "result and root", (schedule.result_hash, schedule.setpoints_root), presented)
        rows = {row.meter: row for row in self.evidence.setpoints.get(self.slot, [])}
        kept = [rows.get(meter) for meter, _ in call.caps]
        expected = [None if row is None else _committed(row) for row in kept]
        revealed = [_revealed(row, one) for row, one in zip_longest(kept, call.setpoints)]
        self._compare(answer, "setpoints", expected, revealed)

    def _check_signature(
        self, answer: Answered, call: AnswerCall | CurtailCall, digest: Callable[[DispatchContract], bytes]
    ) -> None:
        self._compare(answer, "signature", answer.grid_operator, _signer(self.evidence, digest, call.signature))


def _committed(row: SetpointRow) -> object:
    """What a call must reveal of a setpoint; its leaf where no more is left."""
    return (row.contracted_wh, row.residual_wh, row.salt) if row.leaf is None else row.leaf


def _revealed(row: SetpointRow | None, one: RevealedSetpoint | None) -> object:
    """What a call reveals of a setpoint, as `_committed` has it."""
    if one is None:
        return "nothing"
    if row is not None and row.leaf is not None:
        try:
            made = Setpoint(meter=row.meter, contracted_wh=one.contracted_wh, residual_wh=one.residual_wh)
            return setpoint_leaf(made, one.salt)
        except GridLedgerError as error:
            return str(error)
    return (one.contracted_wh, one.residual_wh, one.salt)


def _check_stops(evidence: Evidence) -> None:
    """Stops name whole MTUs that are not over, at least one of which was not stopped before."""
    findings, length_s = evidence.findings, evidence.facts.mtu_length_s
    stopped: set[Slot] = set()
    for stop in evidence.history.stops:
        record = f"zone {stop.zone}, stop of block {stop.block_number}"
        operator = evidence.history.members.grid_operators.get(stop.zone)
        findings.compare(Rule.DISPATCH, f"{record}, signed by", operator, stop.grid_operator)
        stated = (stop.first_mtu_start, stop.last_mtu_start)
        sound = not any(moment % length_s for moment in stated) and 0 < _mtu_count(stop, length_s) <= MOST_STOPPED_MTUS
        findings.compare(Rule.DISPATCH, f"{record}, MTUs", "whole MTUs", "whole MTUs" if sound else stated)
        latest = stop.first_mtu_start + length_s - 1
        moment = "in time" if stop.time_s <= latest else stop.time_s
        findings.compare(Rule.DISPATCH, f"{record}, by {latest}", "in time", moment)
        _check_reason(evidence, record, stop)
        named = set(stopped_slots(stop, length_s))
        new = "something new" if named - stopped else "nothing new"
        findings.compare(Rule.DISPATCH, f"{record}, stops", "something new", new)
        stopped |= named
        _check_stop_call(evidence, record, stop)


def _check_stop_call(evidence: Evidence, record: str, stop: Stopped) -> None:
    call = stop.call
    if call is None:
        return
    stated = (stop.zone, stop.first_mtu_start, _mtu_count(stop, evidence.facts.mtu_length_s), stop.reason)
    found = (call.zone, call.first_mtu_start, call.mtu_count, call.reason)
    evidence.findings.compare(Rule.DISPATCH, f"{record}, call data", stated, found)
    signer = _signer(evidence, lambda contract: _stop_digest(contract, call), call.signature)
    evidence.findings.compare(Rule.DISPATCH, f"{record}, signature", stop.grid_operator, signer)


def _mtu_count(stop: Stopped, mtu_length_s: int) -> int:
    return (stop.last_mtu_start - stop.first_mtu_start) // mtu_length_s + 1


def _stop_digest(contract: DispatchContract, call: StopCall) -> bytes:
    return stop_digest(contract, call)


def _check_reason(evidence: Evidence, record: str, answer: Answered) -> None:
    known = "known" if answer.reason <= LAST_REASON else answer.reason
    evidence.findings.compare(Rule.DISPATCH, f"{record}, reason", "known", known)


def _direction(direction: int) -> object:
    return "export or import" if direction in DIRECTIONS else direction


def _signer(evidence: Evidence, digest: Callable[[DispatchContract], bytes], signature: bytes) -> str:
    contract = DispatchContract(chain_id=evidence.facts.chain_id, address=evidence.facts.addresses["EnergyDispatching"])
    try:
        signer = recover_address(digest(contract), signature)
    except (SignatureMalformed, OverflowError, ValueError) as error:
        return str(error)
    named = (one for one in evidence.history.members.grid_operators.values() if one.lower() == signer)
    return next(named, signer)
