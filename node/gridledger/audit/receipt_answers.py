"""Checks the grid operator's answers in a trade receipt: what each says, whose signature it has, which caps hold."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gridledger.audit.dispatch_digests import (
    DispatchContract,
    answer_digest,
    caps_hash,
    curtailment_digest,
    stop_digest,
)
from gridledger.audit.dispatches import OrderCheck
from gridledger.audit.ports import Event
from gridledger.audit.presented_dispatch import (
    AnswerCall,
    CurtailCall,
    StopCall,
    answer_call,
    curtail_call,
    stop_call,
)
from gridledger.audit.receipt_links import LinkReport, Links, MinedCall, ReceiptChain, event_at
from gridledger.audit.trade_receipt import Answer, TradeReceipt
from gridledger.market.order_hash import recover_address

__all__ = ["AnswerLinks"]

Presented = AnswerCall | CurtailCall | StopCall
_EVENTS = {"acknowledged": "DispatchAnswered", "curtailed": "DispatchCurtailed", "stopped": "ZoneStopped"}
_CALLS: Mapping[str, tuple[str, Callable[[Sequence[Any]], Presented]]] = {
    "acknowledged": ("answer", answer_call),
    "curtailed": ("curtail", curtail_call),
    "stopped": ("stop", stop_call),
}
_DIRECTIONS = {1: "export", 2: "import"}
_ACKNOWLEDGED = 1
_METER_BITS = 32
_NOTHING = "0x" + "00" * 32


class AnswerLinks:
    """The answers of one receipt."""

    def __init__(self, receipt: TradeReceipt, chain: ReceiptChain, links: Links) -> None:
        self._receipt = receipt
        self._chain = chain
        self._links = links
        self._slot = {"zone": receipt.zone, "mtuStart": receipt.mtu_start}
        self._contract = DispatchContract(
            chain_id=receipt.chain.chain_id, address=receipt.chain.contracts["EnergyDispatching"]
        )

    def check_answers(self) -> None:
        """Every answer is on chain, and signed by the zone's grid operator where its transaction shows it."""
        answers = self._receipt.answers
        if not answers.answers:
            self._links.begin("answer", open_because=answers.why)
        for number, answer in enumerate(answers.answers, start=1):
            report = self._links.begin(f"answer {number}")
            self._check_kind(report, answer)
            if answer.kind in _EVENTS:
                self._check_answer(report, answer, number)
        curtailed = any(answer.kind == "curtailed" for answer in answers.answers)
        recorded, _ = self._chain.recorded_caps(self._receipt.zone, self._receipt.mtu_start)
        if recorded != _NOTHING and not curtailed:
            self._links.begin("curtailment").compare("caps that hold", recorded, "no curtailment")

    def _check_kind(self, report: LinkReport, answer: Answer) -> None:
        report.compare("kind", expected=True, found=answer.kind in _EVENTS)
        report.compare("caps, where curtailed", answer.kind == "curtailed", answer.curtailment is not None)
        report.compare("MTUs, where stopped", answer.kind == "stopped", answer.stop is not None)

    def _check_answer(self, report: LinkReport, answer: Answer, number: int) -> None:
        found = event_at(report, self._chain, answer.recorded, "EnergyDispatching", _EVENTS[answer.kind])
        operator = self._chain.grid_operator(self._receipt.zone)
        report.compare("grid operator of the zone", operator, answer.grid_operator)
        if found is None:
            return
        mined, event = found
        stated = {"zone": self._receipt.zone, "reason": answer.reason, "gridOperator": answer.grid_operator}
        report.compare_values({name: event.arguments[name] for name in stated}, stated)
        digest = self._digest(report, answer, number, event, _presented(mined, answer.kind))
        signature = _presented_signature(mined, answer.kind)
        report.compare("signature in the call data", signature, answer.signature)
        if answer.signature is not None and digest is not None:
            signer = recover_address(digest, bytes.fromhex(answer.signature[2:]))
            report.compare("signer of the answer", operator.lower(), signer)

    def _digest(
        self,
        report: LinkReport,
        answer: Answer,
        number: int,
        event: Event,
        presented: Presented | None,
    ) -> bytes | None:
        """What the operator signed, as the receipt and the event say it; None where they do not show all of it."""
        signature = bytes.fromhex((answer.signature or "0x")[2:])
        scheduled = self._receipt.schedule.schedule_hash or _NOTHING
        if answer.kind == "curtailed":
            return self._curtailed_digest(report, answer, number, event)
        if answer.kind == "stopped":
            return self._stopped_digest(report, answer, event, presented)
        values = {**self._slot, "answer": _ACKNOWLEDGED}
        report.compare_values({name: event.arguments[name] for name in values}, values)
        call = AnswerCall(
            zone=self._receipt.zone,
            mtu_start=self._receipt.mtu_start,
            answer=_ACKNOWLEDGED,
            reason=answer.reason,
            signature=signature,
        )
        return answer_digest(self._contract, call, scheduled)

    def _curtailed_digest(self, report: LinkReport, answer: Answer, number: int, event: Event) -> bytes | None:
        stated = answer.curtailment
        if stated is None:
            return None
        values = event.arguments
        report.compare("mtuStart", values["mtuStart"], self._receipt.mtu_start)
        report.compare("direction", _DIRECTIONS.get(values["direction"]), stated.direction)
        report.compare("emergency", values["emergency"], stated.emergency)
        report.compare("sequence", values["sequence"], stated.sequence)
        report.compare("order_check", OrderCheck(values["orderCheck"]).name.lower(), stated.order_check)
        caps = tuple((word & (1 << _METER_BITS) - 1, word >> _METER_BITS) for word in values["caps"])
        report.compare("caps_hash", "0x" + caps_hash(caps).hex(), stated.caps_hash)
        meters = {side.meter for side in self._receipt.sides}
        own = [(meter, cap_wh) for meter, cap_wh in caps if meter in meters]
        report.compare("caps of these meters", own, [(cap.meter, cap.cap_wh) for cap in stated.caps])
        self._check_place(report, answer, number, values["direction"])
        call = CurtailCall(
            zone=self._receipt.zone,
            mtu_start=self._receipt.mtu_start,
            schedule_hash=self._receipt.schedule.schedule_hash or _NOTHING,
            direction=values["direction"],
            reason=answer.reason,
            emergency=stated.emergency,
            sequence=stated.sequence,
            caps=caps,
            result_hash=_NOTHING,
            setpoints_root=_NOTHING,
            setpoints=(),
            signature=b"",
        )
        return curtailment_digest(self._contract, call)

    def _check_place(self, report: LinkReport, answer: Answer, number: int, direction: int) -> None:
        """Curtailments are counted, and the last one's caps are those the contract keeps."""
        curtailed = [one for one in self._receipt.answers.answers if one.curtailment is not None]
        stated = answer.curtailment
        assert stated is not None
        before = [one for one in self._receipt.answers.answers[: number - 1] if one.curtailment is not None]
        report.compare("curtailments before it", stated.sequence, len(before))
        if answer is curtailed[-1]:
            recorded = self._chain.recorded_caps(self._receipt.zone, self._receipt.mtu_start)
            report.compare("caps that hold", recorded, (stated.caps_hash, direction))

    def _stopped_digest(
        self, report: LinkReport, answer: Answer, event: Event, presented: Presented | None
    ) -> bytes | None:
        stated = answer.stop
        if stated is None:
            return None
        values = event.arguments
        first, last = values["firstMtuStart"], values["lastMtuStart"]
        report.compare("MTUs", (first, last), (stated.first_mtu_start, stated.last_mtu_start))
        report.compare("MTUs cover the trade's", expected=True, found=first <= self._receipt.mtu_start <= last)
        if not isinstance(presented, StopCall):
            return None
        call = StopCall(
            zone=self._receipt.zone,
            first_mtu_start=stated.first_mtu_start,
            mtu_count=presented.mtu_count,
            reason=answer.reason,
            signature=b"",
        )
        return stop_digest(self._contract, call)


def _presented(mined: MinedCall, kind: str) -> Presented | None:
    """The answer that a transaction relayed itself; None where another contract did."""
    function, read = _CALLS[kind]
    if (mined.contract, mined.function) != ("EnergyDispatching", function):
        return None
    return read(mined.arguments)


def _presented_signature(mined: MinedCall, kind: str) -> str | None:
    presented = _presented(mined, kind)
    return None if presented is None else "0x" + presented.signature.hex()
