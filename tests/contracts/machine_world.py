"""The whole market of the random machine, from a deposit to a corrected reading; see machine_calls."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from tests.contracts.fast_abi import arguments_encoder
from tests.contracts.machine_calls import METER_WH, SOURCE_FACTOR, Mtu
from tests.contracts.machine_dispatch import DispatchedMarket
from tests.contracts.words import (
    Kept,
    settle_arguments,
)

from gridledger.chain.codec import DecodedEvent, keccak256
from gridledger.market.errors import NothingToCorrect, VersionsUsedUp
from gridledger.market.model import (
    Position,
)
from gridledger.market.settlement import rewarded_trades, settle_positions, substitute_wh, trade_microcents

__all__ = ["World", "state_hash"]


class World(DispatchedMarket):
    """A market whose positions are settled."""

    def anchor(self, mtu: Mtu) -> None:
        """A batch of readings is anchored; it counts for the MTU if that is over."""
        _, sequence, _ = self.market.view("MeterLedger", "anchors")
        arguments = (sequence, keccak256(b"readings"), 1)
        if self.expect([], self.market.relayer, "MeterLedger", "anchor", *arguments):
            self.anchored_at = self.now

    def settle_reasons(self, mtu: Mtu, chunk: int) -> set[str]:
        """Why readings of a chunk may not be settled now."""
        outcome = mtu.outcome(self.now)
        if outcome in ("none", "pending"):
            return {"DispatchUnanswered"}
        if outcome == "void":
            return {"DispatchIsVoid"}
        if outcome == "curtailed" and chunk >= mtu.applied:
            return {"CapsNotApplied"}
        if self.anchored_at < mtu.end:
            return {"ReadingsNotAnchored"}
        return {"CorrectionsEnded"} if self.now > mtu.end + mtu.rules.policy.correction_s else set()

    def settle(self, rng: Random, mtu: Mtu, chunk: int) -> None:
        """Readings settle or correct some positions, perhaps one of them twice in one call."""
        kept = mtu.chunks[chunk]
        still_open = [index for index, one in enumerate(kept.positions) if not one.settled]
        choice = still_open if still_open and rng.random() < 0.8 else range(len(kept.positions))
        indexes = rng.choices(choice, k=rng.randint(1, 1 + len(kept.positions)))
        metered = [self._metered(rng, kept.positions[index]) for index in indexes]
        arguments = settle_arguments(kept, indexes, metered)
        reasons = self.settle_reasons(mtu, chunk) or _correction_reasons(kept, indexes, metered)
        if reasons:
            self.refused(self.market.market_operator, "EnergySettlement", "settle", *arguments, by=reasons)
            return
        receipt = self.do(self.market.market_operator, "EnergySettlement", "settle", *arguments)
        positions = kept.positions
        expected: list[tuple[str, int, int, int]] = []
        for index, energy in zip(indexes, metered, strict=True):
            before = positions[index]
            self._pay(mtu, chunk, index, before, energy)
            positions = settle_positions(positions, {index: energy})
            name = "PositionResettled" if before.settled else "PositionSettled"
            expected.append((name, before.meter, energy, positions[index].version))
            self.counts["settled" if not before.settled else "corrected"] += 1
        assert [
            _shown(event) for event in receipt.events if event.name in ("PositionSettled", "PositionResettled")
        ] == expected
        mtu.chunks[chunk] = replace(kept, positions=positions)
        self._reward(mtu, positions, kept)

    @staticmethod
    def _metered(rng: Random, position: Position) -> int:
        """Mostly near the contract, sometimes anything the connection carries."""
        error = rng.randint(-100, 100) if rng.random() < 0.7 else rng.randint(-2 * METER_WH, 2 * METER_WH)
        return max(-METER_WH, min(METER_WH, position.contracted_wh + error))

    def _pay(self, mtu: Mtu, chunk: int, index: int, before: Position, metered_wh: int) -> None:
        if not before.settled:
            assert trade_microcents(before, *mtu.prices_cleared) >= mtu.bounds[chunk][index]
        supplier = self.suppliers[before.supplier_number - 1].address
        operator = self.market.grid_operator.address
        self.ledger.settle(before, metered_wh, supplier, operator, mtu.prices_cleared, mtu.prices)

    def _reward(self, mtu: Mtu, positions: Sequence[Position], kept: Kept) -> None:
        avoided = max(0, mtu.grid_factor - SOURCE_FACTOR)
        share = mtu.rules.policy.seller_reward_share_bp
        for trade in rewarded_trades(kept.positions, positions, kept.deals):
            due, paid = trade.energy_wh * avoided, trade.rewarded_wh * avoided
            seller = due * share // 10_000 - paid * share // 10_000
            self._change_tokens(positions[trade.sell].owner, seller)
            self._change_tokens(positions[trade.buy].owner, due - paid - seller)
            self.counts["rewards corrected" if trade.rewarded_wh else "rewarded"] += 1

    def _change_tokens(self, holder: str, change: int) -> None:
        """What a holder no longer has is owed."""
        taken = min(-change, self.tokens[holder])
        self.tokens[holder] += change if change >= 0 else -taken
        self.owed[holder] += 0 if change >= 0 else -change - taken

    def substitute(self, rng: Random, mtu: Mtu, chunk: int) -> None:
        """Anybody settles unread positions on substitute values, late enough."""
        self._close_some(rng, mtu, chunk, "settleSubstitutes", self._substitute_reasons(mtu, chunk))

    def _substitute_reasons(self, mtu: Mtu, chunk: int) -> set[str]:
        outcome = mtu.outcome(self.now)
        if outcome == "curtailed" and chunk >= mtu.applied:
            return {"CapsNotApplied"}
        if outcome not in ("proceeds", "curtailed"):
            return {"DispatchIsVoid" if outcome == "void" else "DispatchUnanswered"}
        early = self.now < mtu.end + mtu.rules.policy.substitute_after_s
        return {"SubstituteTooEarly"} if early else set()

    def refund(self, rng: Random, mtu: Mtu, chunk: int) -> None:
        """Anybody releases the locks of a void dispatch, or of a clearing that was never finished."""
        if not mtu.cleared:
            reasons = {"ClearingUnfinished"} if self.now <= mtu.deadline else set()
        else:
            outcome = mtu.outcome(self.now)
            proceeds = {"DispatchProceeds"}
            reasons = {"proceeds": proceeds, "curtailed": proceeds, "void": set()}.get(outcome, {"DispatchUnanswered"})
        self._close_some(rng, mtu, chunk, "refund", reasons)

    def _close_some(self, rng: Random, mtu: Mtu, chunk: int, function: str, reasons: Collection[str]) -> None:
        kept = mtu.chunks[chunk]
        everywhere = range(len(kept.positions))
        indexes = rng.sample(everywhere, rng.randint(1, len(kept.positions)))
        if rng.random() < 0.8:
            indexes = [one for one in indexes if not kept.positions[one].settled] or indexes
        if not reasons and any(kept.positions[one].settled for one in indexes):
            reasons = {"PositionAlreadySettled"}
        caller = self.market.outsider
        if not self.expect(reasons, caller, "EnergySettlement", function, *kept.arguments(indexes)):
            return
        for index in indexes:
            before = kept.positions[index]
            if function == "refund":
                self.ledger.refund([before])
            else:
                self._pay(mtu, chunk, index, before, substitute_wh(before))
        self.counts["refunded" if function == "refund" else "substituted"] += len(indexes)
        mtu.chunks[chunk] = kept.refunded(indexes) if function == "refund" else kept.substituted(indexes)


def _correction_reasons(kept: Kept, indexes: Sequence[int], metered_wh: Sequence[int]) -> set[str]:
    """Why the node's rules would not correct a position, one reading after the other."""
    positions = kept.positions
    try:
        for index, energy in zip(indexes, metered_wh, strict=True):
            positions = settle_positions(positions, {index: energy})
    except (NothingToCorrect, VersionsUsedUp) as refusal:
        return {type(refusal).__name__}
    return set()


def _shown(event: DecodedEvent) -> tuple[str, int, int, int]:
    arguments: Mapping[str, Any] = event.arguments
    return event.name, arguments["meter"], arguments["meteredWh"], arguments.get("version", 0)


_two_lists = arguments_encoder([{"type": "uint256[]"}, {"type": "uint256[]"}])


def state_hash(kept: Kept) -> int:
    """What the trading contract keeps of a chunk."""
    return int.from_bytes(keccak256(_two_lists([kept.words(), kept.deal_words()])))
