"""Checks what came of a trade: schedule, deliveries, settlements and tokens of a trade receipt."""

from collections.abc import Sequence

from eth_abi.abi import encode

from gridledger.audit.hashing import keccak256
from gridledger.audit.ports import Event
from gridledger.audit.presented import EntryKind
from gridledger.audit.receipt_links import LinkReport, Links, MinedCall, ReceiptChain, event_at
from gridledger.audit.trade_receipt import (
    AnchoredReading,
    Closing,
    Delivery,
    Grant,
    Side,
    State,
    TradeReceipt,
)
from gridledger.merkle import verify
from gridledger.metering.merkle import leaf

__all__ = ["OutcomeLinks"]

_NOTHING = "0x" + "00" * 32
_CLOSINGS = {
    "settled": (EntryKind.READ, "meteredWh", "imbalanceMicrocents"),
    "substituted": (EntryKind.SUBSTITUTED, "substituteWh", "imbalanceMicrocents"),
    "resettled": (EntryKind.CORRECTED, "meteredWh", "deltaMicrocents"),
    "refunded": (EntryKind.REFUNDED, None, "lockedMicrocents"),
}
_GRANTS = {
    "minted": ("LowCarbonToken", "Transfer", "to", "value"),
    "invalidated": ("LowCarbonToken", "Invalidated", "holder", "amountUgco2"),
    "owed": ("CarbonLedger", "TokensOwed", "holder", "amountUgco2"),
}


class OutcomeLinks:
    """What came of the trades of one receipt."""

    def __init__(self, receipt: TradeReceipt, chain: ReceiptChain, links: Links) -> None:
        self._receipt = receipt
        self._chain = chain
        self._links = links
        self._slot = {"zone": receipt.zone, "mtuStart": receipt.mtu_start}

    def check_schedule(self) -> None:
        """The dispatching contract has the schedule, handed over with the clearing's last chunk; or it has none."""
        schedule, slot = self._receipt.schedule, (self._receipt.zone, self._receipt.mtu_start)
        report = self._links.begin("schedule", open_because=None if schedule.recorded else schedule.why)
        report.compare("schedule_hash", self._chain.schedule_hash(*slot), schedule.schedule_hash or _NOTHING)
        if schedule.recorded is None:
            return
        found = event_at(report, self._chain, schedule.recorded, "EnergyDispatching", "DispatchScheduled")
        if found is None:
            return
        stated = {
            **self._slot,
            "scheduleHash": schedule.schedule_hash,
            "tradedWh": schedule.traded_wh,
            "answerDeadline": schedule.answer_deadline,
        }
        report.compare_values({name: found[1].arguments[name] for name in stated}, stated)
        last = self._receipt.clearing.chunks[-1:]
        cleared_by = [chunk.recorded.transaction_hash for chunk in last]
        report.compare("transaction of the last chunk", cleared_by, [found[0].transaction_hash])
        if schedule.setpoints_root is not None:
            result = bytes.fromhex(self._chain.result_hash(*slot)[2:])
            committed = encode(["bytes32", "bytes32"], [result, bytes.fromhex(schedule.setpoints_root[2:])])
            report.compare("hash of result and setpoints", "0x" + keccak256(committed).hex(), schedule.schedule_hash)

    def check_side(self, side: Side) -> None:
        """The meter's owner, deliveries, settlements and tokens."""
        report = self._links.begin(f"meter {side.meter}")
        report.compare("owner", self._chain.meter(side.meter)[0], side.owner)
        self._check_delivery(side)
        if not side.settlement.versions:
            self._links.begin(f"settlement of meter {side.meter}", open_because=side.settlement.why)
        for place, closing in enumerate(side.settlement.versions):
            self._check_closing(side, side.settlement.versions[:place], closing)
        if not side.tokens.grants:
            self._links.begin(f"tokens of meter {side.meter}", open_because=side.tokens.why)
        for number, grant in enumerate(side.tokens.grants, start=1):
            self._check_grant(side, number, grant)

    def _check_delivery(self, side: Side) -> None:
        delivery, closings = side.delivery, side.settlement.versions
        shows = delivery.reading is not None or delivery.proven is not None or delivery.delivered_wh is not None
        report = self._links.begin(f"delivery of meter {side.meter}", open_because=None if shows else delivery.why)
        energies = [closing.energy_wh for closing in closings if closing.energy_wh is not None]
        report.compare("delivered_wh", energies[-1] if energies else None, delivery.delivered_wh)
        if delivery.reading is not None:
            self._check_reading(report, side.meter, delivery.reading)
        if delivery.proven is not None:
            found = event_at(report, self._chain, delivery.proven.recorded, "MeterLedger", "ReadingProven")
            if found is not None:
                stated = {**self._slot, "meter": side.meter, "netWh": delivery.proven.net_wh}
                report.compare_values({name: found[1].arguments[name] for name in stated}, stated)
        _check_settled_on(report, delivery, closings)

    def _check_reading(self, report: LinkReport, meter: int, reading: AnchoredReading) -> None:
        salt = bytes.fromhex(reading.salt[2:])
        node = leaf(meter, self._receipt.mtu_start, reading.import_wh, reading.export_wh, salt)
        report.compare("leaf of values and salt", "0x" + node.hex(), reading.leaf)
        path = [bytes.fromhex(step[2:]) for step in reading.path]
        leads = verify(bytes.fromhex(reading.root[2:]), bytes.fromhex(reading.leaf[2:]), path)
        report.compare("path from leaf to root", expected=True, found=leads)
        found = event_at(report, self._chain, reading.recorded, "MeterLedger", "ReadingsAnchored")
        if found is not None:
            values = found[1].arguments
            anchored = (values["sequence"], values["root"])
            report.compare("number and root of the anchor", anchored, (reading.sequence, reading.root))

    def _check_closing(self, side: Side, before: Sequence[Closing], closing: Closing) -> None:
        report = self._links.begin(f"settlement of meter {side.meter}, version {closing.version}")
        corrected = [one for one in before if one.chunk == closing.chunk]
        report.compare("versions before it", closing.version, len(corrected))
        if closing.kind not in _CLOSINGS:
            report.compare("kind", " or ".join(_CLOSINGS), closing.kind)
            return
        kind, energy, money = _CLOSINGS[closing.kind]
        found = event_at(report, self._chain, closing.recorded, "EnergySettlement", kind)
        if found is None:
            return
        values = found[1].arguments
        stated = {"mtuStart": self._receipt.mtu_start, "meter": side.meter, money: closing.amount_microcents}
        if "version" in values:
            stated["version"] = closing.version
        report.compare_values({name: values[name] for name in stated}, stated)
        report.compare("energy_wh", None if energy is None else values[energy], closing.energy_wh)
        follows = _progress_after(found[0], found[1])
        place = {**self._slot, "chunk": closing.chunk}
        report.compare_values(place, {} if follows is None else dict(follows.arguments))

    def _check_grant(self, side: Side, number: int, grant: Grant) -> None:
        report = self._links.begin(f"tokens of meter {side.meter}, {number}")
        if grant.kind not in _GRANTS:
            report.compare("kind", " or ".join(_GRANTS), grant.kind)
            return
        contract, name, holder, amount = _GRANTS[grant.kind]
        found = event_at(report, self._chain, grant.recorded, contract, name)
        if found is None:
            return
        values = found[1].arguments
        report.compare("holder and amount", (values[holder], values[amount]), (side.owner, grant.amount_ugco2))
        if grant.kind == "minted":
            report.compare("minted and not passed on", 0, int(values["from"], 16))
        settled = [
            (one.arguments["zone"], one.arguments["mtuStart"])
            for one in found[0].events
            if one.name == "SettlementProgressed"
        ]
        report.compare("settled in the same transaction", settled, [tuple(self._slot.values())])


def _check_settled_on(report: LinkReport, delivery: Delivery, closings: Sequence[Closing]) -> None:
    """What was settled last is what was read, or what the device has provably signed."""
    if delivery.state is State.VOID or not closings or closings[-1].kind not in ("settled", "resettled"):
        return
    if delivery.proven is not None:
        report.compare("settled on what was proven", delivery.proven.net_wh, delivery.delivered_wh)
    elif delivery.reading is not None:
        net_wh = delivery.reading.export_wh - delivery.reading.import_wh
        report.compare("settled on the reading", net_wh, delivery.delivered_wh)


def _progress_after(mined: MinedCall, closed: Event) -> Event | None:
    """The event that follows the positions of a settlement and says where they belong."""
    return next(
        (one for one in mined.events if one.name == "SettlementProgressed" and one.log_index > closed.log_index), None
    )
