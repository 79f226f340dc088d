"""Checks settlements and rewards: metered energy, cash, once only, and nothing left behind."""

from dataclasses import replace

from gridledger.audit.evidence import Evidence
from gridledger.audit.history import Market, Reward, Settled, Step
from gridledger.audit.model import Rule, Slot, meter_name, slot_name
from gridledger.carbon.reward import split_reward
from gridledger.market.locking import Proposal
from gridledger.market.model import Position, Trade
from gridledger.market.settlement import position_cash, reward_trades

__all__ = ["check_settlements"]


def check_settlements(evidence: Evidence, proposals: dict[Slot, Proposal]) -> None:
    """Replay each clearing's settlement step by step and compare every step with the rules."""
    for slot, proposal in proposals.items():
        market = evidence.history.markets[slot]
        _Replay(evidence, slot, market, proposal).run()


class _Replay:
    """The settlement of one zone and MTU."""

    def __init__(self, evidence: Evidence, slot: Slot, market: Market, proposal: Proposal) -> None:
        self._evidence, self._slot, self._market = evidence, slot, market
        self._positions: dict[int, Position] = {position.meter: position for position in proposal.positions}
        self._trades: tuple[Trade, ...] = proposal.trades
        self._findings = evidence.findings
        self._policy = evidence.history.rules.policy_at(slot.mtu_start)
        self._prices = evidence.history.rules.prices_at(slot.mtu_start)

    def run(self) -> None:
        for step in self._market.steps:
            self._check_outcome(step)
            for settled in step.settled:
                self._check_settled(step, settled)
            for meter, locked_microcents in step.refunded:
                self._check_refunded(meter, locked_microcents)
            still_open = sum(not position.settled for position in self._positions.values())
            record = f"{slot_name(self._slot)}, open positions after block {step.block_number}"
            self._findings.compare(Rule.SETTLEMENT, record, still_open, step.open_positions)
            self._check_rewards(step)
        self._check_complete()

    def _check_outcome(self, step: Step) -> None:
        """Positions are settled where the dispatch proceeds and refunded where it is void."""
        void = self._market.void_at(step.time_s, proceed_without_answer=self._policy.proceed_without_answer)
        expected = {True: "refunds", False: "settlements", None: "an answer first"}[void]
        found = "refunds" if step.refunded and not step.settled else "settlements"
        self._findings.compare(Rule.SETTLEMENT, f"{slot_name(self._slot)}, block {step.block_number}", expected, found)

    def _check_settled(self, step: Step, settled: Settled) -> None:
        record, position = self._record(settled.meter), self._take(settled.meter)
        if position is None or self._market.cleared is None:
            return
        self._check_metered(step, settled, record)
        position = replace(position, settled=True, metered_wh=settled.metered_wh)
        self._positions[settled.meter] = position
        cash = position_cash(
            position, self._market.cleared.price_cents_per_mwh, self._prices.surplus, self._prices.shortage
        )
        found = (settled.trade_microcents, settled.imbalance_microcents)
        expected = (cash.trade_microcents, cash.imbalance_microcents)
        self._findings.compare(Rule.SETTLEMENT, f"{record}, trade and imbalance", expected, found)

    def _check_metered(self, step: Step, settled: Settled, record: str) -> None:
        """The energy is that of an anchored reading."""
        reading = self._evidence.readings.get((settled.meter, self._slot.mtu_start))
        if reading is None:
            self._findings.report(Rule.SETTLEMENT, record, "a reading in readings.csv", None)
            return
        net_wh = reading.export_wh - reading.import_wh
        self._findings.compare(Rule.SETTLEMENT, f"{record}, metered Wh", net_wh, settled.metered_wh)
        anchored = any(
            anchor.sequence == reading.anchor_sequence and anchor.block_number <= step.block_number
            for anchor in self._market.anchors
        )
        found = "anchored" if anchored else "not anchored"
        self._findings.compare(Rule.SETTLEMENT, f"{record}, reading before settlement", "anchored", found)

    def _check_refunded(self, meter: int, locked_microcents: int) -> None:
        position = self._take(meter)
        if position is not None:
            self._positions[meter] = replace(position, settled=True)
            record = f"{self._record(meter)}, refund"
            self._findings.compare(Rule.SETTLEMENT, record, position.locked_microcents, locked_microcents)

    def _take(self, meter: int) -> Position | None:
        """A position that is still open; anything else is a mismatch."""
        position = self._positions.get(meter)
        found = "no position" if position is None else "settled before" if position.settled else "an open position"
        self._findings.compare(Rule.SETTLEMENT, self._record(meter), "an open position", found)
        return None if position is None or position.settled else position

    def _check_rewards(self, step: Step) -> None:
        if step.refunded and not step.settled:
            self._findings.compare(
                Rule.REWARD, f"{slot_name(self._slot)}, rewards of a void dispatch", [], step.rewards
            )
            return
        positions = tuple(self._positions.values())
        decided = reward_trades(positions, self._trades)
        expected = [
            reward
            for before, after in zip(self._trades, decided, strict=True)
            if after.rewarded and not before.rewarded and after.rewarded_wh
            for reward in self._reward(step, positions, after)
        ]
        self._trades = decided
        record = f"{slot_name(self._slot)}, reward"
        if step.rewards and not step.grid_factor_published:
            self._findings.report(Rule.REWARD, f"{record} of block {step.block_number}", "a fixed grid factor", None)
        for index in range(max(len(expected), len(step.rewards))):
            self._findings.compare(
                Rule.REWARD,
                f"{record} {index} of block {step.block_number}",
                expected[index] if index < len(expected) else None,
                step.rewards[index] if index < len(step.rewards) else None,
            )

    def _reward(self, step: Step, positions: tuple[Position, ...], trade: Trade) -> list[Reward]:
        seller, buyer = positions[trade.sell], positions[trade.buy]
        source_factor, _ = self._evidence.history.rules.source_factors.get(seller.source, (None, ""))
        grid_factor = step.grid_factor_mgco2_per_kwh
        if source_factor is None or grid_factor <= source_factor:
            return []  # a source without a factor, or nothing avoided: nothing is granted
        reward = split_reward(trade.rewarded_wh, grid_factor, source_factor, self._policy.seller_reward_share_bp)
        return [
            Reward(
                mtu_start=self._slot.mtu_start,
                seller=seller.owner,
                buyer=buyer.owner,
                energy_wh=trade.rewarded_wh,
                seller_ugco2=reward.seller_ugco2,
                buyer_ugco2=reward.buyer_ugco2,
            )
        ]

    def _check_complete(self) -> None:
        """Nothing that could have been settled or refunded is left open."""
        evidence, head = self._evidence, self._evidence.history.head
        void = self._market.void_at(head.time_s, proceed_without_answer=self._policy.proceed_without_answer)
        anchors = {anchor.sequence: anchor for anchor in self._market.anchors}
        for meter, position in self._positions.items():
            reading = evidence.readings.get((meter, self._slot.mtu_start))
            sequence = None if reading is None else reading.anchor_sequence
            anchor = None if sequence is None else anchors.get(sequence)
            due_at = self._slot.mtu_start if void else None if anchor is None or void is None else anchor.time_s
            overdue = not position.settled and due_at is not None and evidence.is_late(due_at)
            found = "still open" if overdue else "closed or not due"
            self._findings.compare(Rule.COMPLETENESS, self._record(meter), "closed or not due", found)

    def _record(self, meter: int) -> str:
        return meter_name(meter, self._slot.mtu_start)
