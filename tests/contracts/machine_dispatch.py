"""The grid operator of the random machine: answers, curtailments in order and out of it, stops; see machine_calls."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from tests.contracts.curtailing import EXPORT, IMPORT, apply_arguments, cap_rows, left_of
from tests.contracts.machine_calls import SOURCE_FACTOR, Mtu
from tests.contracts.machine_clearings import ClearedMarket
from tests.contracts.words import (
    ACKNOWLEDGED,
    BROKEN_ORDER,
    CURTAILED,
    KEPT_ORDER,
    SOLAR,
    STOPPED,
    UNCHECKED,
    ZONE,
)

from gridledger.chain.commands import compact_signature
from gridledger.dispatch.curtailment import Basis, allocate_caps, check_order, emission_rank
from gridledger.dispatch.errors import CapAboveSchedule, CurtailmentOrderBroken, NothingCurtailed
from gridledger.dispatch.setpoints import Direction, basis_wh
from gridledger.market.curtailment import Caps, CurtailmentTerms, Shrunk, apply_caps, bearer_of
from gridledger.units import cost_microcents

__all__ = ["DispatchedMarket"]

LAST_REASON = 15
ORDER_ERRORS = {
    CapAboveSchedule: "CapAboveSchedule",
    CurtailmentOrderBroken: "OrderOfCurtailmentBroken",
    NothingCurtailed: "NothingCurtailed",
}


class DispatchedMarket(ClearedMarket):
    """A market whose grid operator answers its schedules, and whose trades shrink to caps."""

    def answer(self, rng: Random, mtu: Mtu) -> None:
        """The grid operator answers once and in time, curtails, or stops; all else is refused."""
        kind = rng.random()
        if kind < 0.15:
            self.stop(mtu)
        elif kind < 0.5:
            self.curtail(rng, mtu)
        else:
            self._acknowledge(mtu)

    def _acknowledge(self, mtu: Mtu) -> None:
        schedule_hash = self._schedule_hash(mtu)
        digest = self.words("EnergyDispatching", "answerDigest", ZONE, mtu.start, schedule_hash, ACKNOWLEDGED, 3)
        arguments = (ZONE, mtu.start, ACKNOWLEDGED, 3, *self._signed(digest))
        reasons = self._unscheduled(mtu) or self._answered(mtu)
        if self.expect(reasons, self.market.outsider, "EnergyDispatching", "answer", *arguments):
            mtu.answered = ACKNOWLEDGED

    def stop(self, mtu: Mtu) -> None:
        """The grid operator stops the zone before the MTU is over."""
        digest = self.words("EnergyDispatching", "stopDigest", ZONE, mtu.start, 1, 4)
        reasons = set()
        if self.now >= mtu.end:
            reasons = {"AnswerTooLate"}
        elif mtu.answered == STOPPED:
            reasons = {"AlreadyAnswered"}
        arguments = (ZONE, mtu.start, 1, 4, *self._signed(digest))
        if self.expect(reasons, self.market.outsider, "EnergyDispatching", "stop", *arguments):
            mtu.answered = STOPPED

    def _schedule_hash(self, mtu: Mtu) -> bytes:
        return self.words("EnergyDispatching", "scheduleHashOf", ZONE, mtu.start)[0].to_bytes(32)

    def _signed(self, digest: Sequence[int]) -> tuple[bytes, bytes]:
        return compact_signature(bytes(self.market.grid_operator.sign_hash(digest[0].to_bytes(32))))

    def _unscheduled(self, mtu: Mtu) -> set[str]:
        return {"NotScheduledYet"} if mtu.outcome(self.now) == "none" else set()

    def _answered(self, mtu: Mtu) -> set[str]:
        if mtu.answered is not None:
            return {"AlreadyAnswered"}
        return {"AnswerTooLate"} if self.now > mtu.answer_deadline else set()

    # ---- caps

    def curtail(self, rng: Random, mtu: Mtu) -> None:
        """Caps of some meters: ordinary ones mostly in order, emergency ones anyhow, with setpoints or without."""
        emergency = rng.random() < 0.4
        direction = rng.choice([EXPORT, IMPORT])
        rows = {row.meter: row for row in mtu.setpoints.rows}
        named = sorted(rng.sample(sorted(rows), rng.randint(1, len(rows)))) if rows else [1]
        bases = [self._basis(meter, basis_wh(rows[meter], direction), direction) for meter in named if meter in rows]
        caps_wh = dict(zip(named, self._caps_wh(rng, bases, emergency=emergency), strict=True))
        checked = bool(rows) and (not emergency or rng.random() < 0.5)
        message = {
            "zone": ZONE,
            "mtuStart": mtu.start,
            "scheduleHash": self._schedule_hash(mtu),
            "direction": int(direction),
            "reason": rng.randint(0, LAST_REASON),
            "emergency": emergency,
            "sequence": mtu.curtailments if rng.random() < 0.9 else rng.randint(0, 3),
            "caps": cap_rows(caps_wh),
        }
        order = _order_error(bases, list(caps_wh.values())) if bases else None
        reasons = self._against(mtu, message) or ({order} if order and not emergency else set())
        if checked and emergency and order == "NothingCurtailed":
            order = _order_error(bases, list(caps_wh.values()), nothing_too=True)
        expected = UNCHECKED if not checked else BROKEN_ORDER if order else KEPT_ORDER
        self._relay(mtu, message, caps_wh if checked else {}, reasons, expected)

    def _relay(
        self, mtu: Mtu, message: Mapping[str, Any], opened: Mapping[int, int], reasons: set[str], expected: int
    ) -> None:
        result_hash = self.words("EnergyTrading", "clearingOf", ZONE, mtu.start)[1].to_bytes(32)
        digest = self.words_of("EnergyDispatching", "curtailmentDigest", message)
        setpoints = mtu.setpoints.opened(opened)
        arguments = (message, result_hash, mtu.setpoints.root, setpoints, *self._signed(digest))
        outsider = self.market.outsider
        if reasons:
            self.refused(outsider, "EnergyDispatching", "curtail", *arguments, by=reasons)
            return
        event = self.do(outsider, "EnergyDispatching", "curtail", *arguments).one("DispatchCurtailed")
        assert event["orderCheck"] == expected
        self.counts[f"curtailed, {('unchecked', 'in order', 'out of order')[expected]}"] += 1
        self.counts["curtailed in an emergency"] += message["emergency"]
        mtu.answered, mtu.curtailments = CURTAILED, mtu.curtailments + 1
        mtu.caps = {cap["meter"]: cap["capWh"] for cap in message["caps"]}
        mtu.direction, mtu.reason = Direction(message["direction"]), message["reason"]

    def _basis(self, meter: int, energy_wh: int, direction: Direction) -> Basis:
        solar = SOURCE_FACTOR if self.facts[meter].source == SOLAR else None
        rank = emission_rank(self.facts[meter].source, solar) if direction is EXPORT else 0
        return Basis(meter=meter, basis_wh=energy_wh, rank=rank)

    @staticmethod
    def _caps_wh(rng: Random, bases: Sequence[Basis], *, emergency: bool) -> list[int]:
        """Caps in order for a random sum; or, in an emergency or now and then, anything."""
        sum_wh = sum(one.basis_wh for one in bases)
        if not bases:
            return [0]
        if not sum_wh or (emergency and rng.random() < 0.6):
            return [rng.randint(0, one.basis_wh + rng.choice([0, 50])) for one in bases]
        caps_wh = list(allocate_caps(bases, rng.choice([0, rng.randint(0, sum_wh - 1)])))
        if rng.random() < 0.2:
            at = rng.randrange(len(caps_wh))
            caps_wh[at] = max(0, caps_wh[at] + rng.choice([-1, 1]))
        return caps_wh

    def _against(self, mtu: Mtu, message: Mapping[str, Any]) -> set[str]:
        if reasons := self._unscheduled(mtu):
            return reasons
        if message["sequence"] != mtu.curtailments:
            return {"SequenceDiffers"}
        if not message["emergency"]:
            return self._answered(mtu)
        if mtu.answered == STOPPED:
            return {"AlreadyAnswered"}
        void = mtu.outcome(self.now) == "void"
        return {"AnswerTooLate"} if void or self.now >= mtu.end else set()

    # ---- what caps leave

    def apply_caps(self, rng: Random, mtu: Mtu, chunk: int) -> None:
        """Anybody applies the caps to a chunk, at its time or not, now and then other caps."""
        kept = mtu.chunks[chunk]
        caps_wh = dict(mtu.caps)
        if mtu.outcome(self.now) != "curtailed":
            reasons = {"DispatchNotCurtailed"}
        elif self.now < mtu.end:
            reasons = {"CurtailmentTooEarly"}
        else:
            reasons = set()
            if rng.random() < 0.1:
                meter = rng.choice(sorted(caps_wh))
                caps_wh[meter] += 1
                reasons = {"CapsDiffer"}
            elif chunk < mtu.applied:
                reasons = {"CapsAlreadyApplied"}
            elif chunk > mtu.applied:
                reasons = {"ChunksOutOfSequence"}
        arguments = apply_arguments(kept, caps_wh)
        if not self.expect(reasons, self.market.outsider, "EnergyCurtailment", "applyCaps", *arguments):
            return
        shrunk = apply_caps(
            kept.positions,
            kept.deals,
            Caps(exports=mtu.direction is EXPORT, wh=mtu.caps),
            self._terms(mtu),
            left_of(mtu.chunks[:chunk]),
        )
        self.ledger.curtail(kept.positions, shrunk, self.market.grid_operator.address)
        mtu.chunks[chunk] = replace(kept, positions=shrunk.positions, deals=shrunk.trades)
        mtu.bounds[chunk] = _lowered(mtu.bounds[chunk], shrunk)
        mtu.applied += 1
        self._check_caps(mtu, chunk)
        self.counts["caps applied"] += 1
        self.counts["caps that shrank trades"] += any(shrunk.curtailed_wh)
        self.counts["caps paid for by the operator"] += any(shrunk.compensated_microcents)

    def _terms(self, mtu: Mtu) -> CurtailmentTerms:
        any_price, low_carbon_price = mtu.prices_cleared
        rules = mtu.rules.policy
        return CurtailmentTerms(
            any_price=any_price,
            low_carbon_price=low_carbon_price,
            shortage=mtu.prices.shortage,
            fee=rules.grid_fee_cents_per_mwh,
            relief=rules.low_carbon_relief_cents_per_mwh,
            bearer=bearer_of(rules.replacement_bearers, mtu.reason),
        )

    def _check_caps(self, mtu: Mtu, chunk: int) -> None:
        """No capped meter has contracted more than its cap in that direction, over all chunks so far."""
        left: dict[int, int] = {}
        for kept in mtu.chunks[: chunk + 1]:
            for one in kept.positions:
                assert one.curtailed
                if one.sells == (mtu.direction is EXPORT):
                    left[one.meter] = left.get(one.meter, 0) + one.quantity_wh
        for meter, wh in left.items():
            assert wh <= mtu.caps.get(meter, wh)


def _order_error(bases: Sequence[Basis], caps_wh: Sequence[int], *, nothing_too: bool = False) -> str | None:
    """Why an ordinary curtailment with these caps would be refused, None if it would not."""
    try:
        check_order(bases, caps_wh)
    except (CapAboveSchedule, CurtailmentOrderBroken, NothingCurtailed) as refusal:
        if nothing_too and isinstance(refusal, NothingCurtailed):
            return None
        return ORDER_ERRORS[type(refusal)]
    return None


def _lowered(bounds: Sequence[int], shrunk: Shrunk) -> tuple[int, ...]:
    """The least cash of each position without what was curtailed at its price."""
    made = list(bounds)
    for trade, wh in zip(shrunk.trades, shrunk.curtailed_wh, strict=True):
        cash = cost_microcents(wh, trade.price_cents_per_mwh)
        made[trade.sell] -= cash
        made[trade.buy] += cash
    return tuple(made)
