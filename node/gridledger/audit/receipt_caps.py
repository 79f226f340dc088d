"""Checks what caps did to the trades of a receipt: every chunk is shrunk once more by the contract's own rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gridledger.audit.presented_dispatch import CapsCall, caps_call
from gridledger.audit.receipt_links import CurtailmentPrices, LinkReport, Links, MinedCall, ReceiptChain, event_at
from gridledger.audit.trade_receipt import Chunk, TradeCurtailment, TradeEntry, TradeReceipt
from gridledger.market.curtailment import Bearer, Caps, CurtailmentTerms, Shrunk, apply_caps, bearer_of
from gridledger.market.settlement import buyer_lock_microcents, grid_fee_microcents, seller_lock_microcents

__all__ = ["CapsLinks"]

_EXPORTS = 1  # IEnergyDispatching.Direction
_SUMS = {
    "curtailed_wh": "curtailedWh",
    "low_carbon_wh": "lowCarbonWh",
    "refunded_microcents": "refundedMicrocents",
    "compensated_microcents": "compensatedMicrocents",
}


@dataclass(frozen=True)
class _Shrinking:
    """A chunk's transaction, and what the rules make of what it presented; None where another contract called."""

    mined: MinedCall
    shrunk: Shrunk | None


class CapsLinks:
    """What caps did to the trades of one receipt."""

    def __init__(self, receipt: TradeReceipt, chain: ReceiptChain, links: Links) -> None:
        self._receipt = receipt
        self._chain = chain
        self._links = links
        self._shrinkings: dict[int, _Shrinking] = {}
        self._left_wh: dict[int, int] = {}

    def check_chunks(self) -> None:
        """Caps were applied to each chunk as stated, or to none that is stated as untouched."""
        slot = (self._receipt.zone, self._receipt.mtu_start)
        applied = self._chain.applied_chunks(*slot)
        for chunk in self._receipt.clearing.chunks:
            if chunk.caps is None and chunk.chunk >= applied:
                continue
            report = self._links.begin(f"caps of chunk {chunk.chunk}")
            if report.compare("caps applied", chunk.chunk < applied, chunk.caps is not None):
                self._check_chunk(report, chunk)

    def check_trade(self, trade: TradeEntry) -> None:
        """What was taken off a trade, what is left of it, and what both sides got back."""
        shrinking = self._shrinkings.get(trade.chunk)
        if shrinking is None and trade.curtailment is None:
            return
        report = self._links.begin(f"curtailment of trade {trade.chunk}-{trade.place}")
        if shrinking is None or shrinking.shrunk is None:
            report.why = "its transaction does not show to which trades the caps were applied"
            report.compare("caps applied to the chunk", shrinking is not None, trade.curtailment is not None)
            return
        shrunk = shrinking.shrunk
        lost_wh = shrunk.curtailed_wh[trade.place]
        if trade.curtailment is None:
            report.compare("curtailed_wh", lost_wh, 0)
            return
        earlier = [lost for lost in shrunk.curtailed_wh[: trade.place] if lost]
        self._check_event(report, trade, trade.curtailment, len(earlier), shrinking.mined)
        left_wh = shrunk.trades[trade.place].energy_wh
        report.compare("curtailed_wh", lost_wh, trade.curtailment.curtailed_wh)
        report.compare("left_wh", left_wh, trade.curtailment.left_wh)
        report.compare("energy before it", lost_wh + left_wh, trade.energy_wh)
        self._check_money(report, trade, trade.curtailment)

    def _check_chunk(self, report: LinkReport, chunk: Chunk) -> None:
        stated = chunk.caps
        assert stated is not None
        found = event_at(report, self._chain, stated.recorded, "EnergyCurtailment", "CapsApplied")
        if found is None:
            return
        mined, event = found
        place = {"zone": self._receipt.zone, "mtuStart": self._receipt.mtu_start, "chunk": chunk.chunk}
        sums = {name: getattr(stated, field) for field, name in _SUMS.items()}
        report.compare_values({name: event.arguments[name] for name in (*place, *sums)}, {**place, **sums})
        shrunk = self._shrunk(chunk, mined)
        self._shrinkings[chunk.chunk] = _Shrinking(mined, shrunk)
        if shrunk is not None:
            report.compare("energy the rules take off", sum(shrunk.curtailed_wh), stated.curtailed_wh)
            report.compare("refunds by the rules", sum(shrunk.released_microcents), stated.refunded_microcents)

    def _shrunk(self, chunk: Chunk, mined: MinedCall) -> Shrunk | None:
        """The chunk as the rules shrink what the transaction presented, which the contract holds against its hash."""
        if (mined.contract, mined.function) != ("EnergyCurtailment", "applyCaps"):
            return None
        call: CapsCall = caps_call(mined.arguments)
        _, direction = self._chain.recorded_caps(self._receipt.zone, self._receipt.mtu_start)
        caps = Caps(exports=direction == _EXPORTS, wh=dict(call.caps))
        terms = CurtailmentTerms(
            any_price=chunk.any_price_cents_per_mwh,
            low_carbon_price=chunk.low_carbon_price_cents_per_mwh,
            shortage=self._prices.shortage,
            fee=self._prices.fee,
            relief=self._prices.relief,
            bearer=self._bearer,
        )
        shrunk = apply_caps(call.positions, call.deals, caps, terms, self._left_wh)
        self._left_wh |= {one.meter: one.prior_wh + one.quantity_wh for one in shrunk.positions if one.continued}
        return shrunk

    def _check_event(
        self, report: LinkReport, trade: TradeEntry, stated: TradeCurtailment, place: int, mined: MinedCall
    ) -> None:
        found = event_at(report, self._chain, stated.recorded, "EnergyCurtailment", "TradeCurtailed")
        if found is None:
            return
        values = {"sellMeter": trade.seller, "buyMeter": trade.buyer, "energyWh": stated.curtailed_wh}
        report.compare_values(dict(found[1].arguments), values)
        report.compare("transaction of the caps", mined.transaction_hash, found[0].transaction_hash)
        places: Sequence[int] = [one.log_index for one in found[0].events if one.name == "TradeCurtailed"]
        report.compare("place among the curtailed trades", place, places.index(stated.recorded.log_index))

    def _check_money(self, report: LinkReport, trade: TradeEntry, stated: TradeCurtailment) -> None:
        lost_wh, price, prices = stated.curtailed_wh, trade.price_cents_per_mwh, self._prices
        low_carbon = self._chain.meter(trade.seller)[1] != 0
        fee = grid_fee_microcents(lost_wh, prices.fee, prices.relief, low_carbon=low_carbon)
        cost = lost_wh * max(0, prices.shortage - price)
        expected = {
            "seller_refund_microcents": seller_lock_microcents(lost_wh, price, prices.shortage),
            "buyer_refund_microcents": buyer_lock_microcents(lost_wh, price) + fee,
            "compensation_microcents": 0 if self._bearer is Bearer.BUYER else cost,
            "borne_by": self._bearer.name.lower(),
        }
        report.compare_values(expected, {name: getattr(stated, name) for name in expected})

    @cached_property
    def _prices(self) -> CurtailmentPrices:
        return self._chain.curtailment_prices(self._receipt.mtu_start)

    @cached_property
    def _bearer(self) -> Bearer:
        """Who bears replacement for the reason of the caps that hold: the newest."""
        reasons = [answer.reason for answer in self._receipt.answers.answers if answer.curtailment is not None]
        return bearer_of(self._prices.replacement_bearers, reasons[-1])
