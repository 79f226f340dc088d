"""The grid operator of a market in an in-process EVM: it acknowledges, curtails and stops; anybody applies caps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.audit.evm_desk import signed
from tests.audit.evm_node import EvmNode
from tests.contracts.words import ACKNOWLEDGED

from gridledger.audit.model import Slot
from gridledger.audit.rows import SetpointRow
from gridledger.chain.commands import clearing_tuple, compact_signature
from gridledger.dispatch.curtailment import Basis, allocate_caps, emission_rank
from gridledger.dispatch.setpoints import Direction, basis_wh, setpoint_leaf, setpoint_tree
from gridledger.dispatch.setpoints import SetpointRow as Setpoint
from gridledger.market.curtailment import Caps, CurtailmentTerms, apply_caps, bearer_of
from gridledger.market.locking import Proposal
from gridledger.market.packing import position_words, trade_word

__all__ = ["EvmGrid", "opened"]

FACTORS_MGCO2_PER_KWH = {1: 41_000}
REASON = 3


def opened(row: SetpointRow) -> tuple[Setpoint, bytes]:
    """A setpoint that was not erased, and its salt."""
    assert row.residual_wh is not None
    assert row.salt is not None
    return Setpoint(meter=row.meter, contracted_wh=row.contracted_wh, residual_wh=row.residual_wh), row.salt


class EvmGrid(EvmNode):
    """A node whose grid operator answers."""

    def clear(self, mtu_start: int, *, answered: bool = True, zones: tuple[int, ...] = (1,)) -> None:
        """Close the gate, clear, and acknowledge."""
        for zone in zones:
            self.close(zone, mtu_start)
        for zone in zones:
            proposal = self.match(zone, mtu_start)
            if answered and proposal.positions:
                self.acknowledge(zone, mtu_start)

    def clear_in_two(self, slot: Slot, parts: Sequence[tuple[tuple[int, ...], int]]) -> None:
        """Clear a merged book in two chunks: the orders of these meters with this energy each.

        The meter that stands in both goes on; the lower end is the first meter's order.
        """
        whole = self.proposal(slot)
        root = self.commit_setpoints(slot, whole.positions)
        (first, prior_wh), (second, _) = parts
        going_on = sorted(set(first) & set(second))
        for chunk, (meters, fill_wh) in enumerate(parts):
            part = _part(whole, meters, fill_wh, lower=None if chunk else first[0])
            continued = [] if chunk else going_on
            zone, mtu_start, _, _, *rest = clearing_tuple(*slot, self.books[slot], part, root)
            clearing = (zone, mtu_start, chunk, not continued, *rest[:-2], continued, root)
            self.market.send(self.market.market_operator, "EnergyTrading", "clear", clearing)
            self.keep_chunk(slot, part, prior_wh=prior_wh * chunk, continued=frozenset(continued))

    def acknowledge(self, zone: int, mtu_start: int) -> None:
        schedule_hash = self.market.view("EnergyDispatching", "scheduleHashOf", zone, mtu_start)
        values = (zone, mtu_start, ACKNOWLEDGED, REASON)
        digest = self.market.view(
            "EnergyDispatching", "answerDigest", zone, mtu_start, schedule_hash, ACKNOWLEDGED, REASON
        )
        self._relay("answer", *values, *self._signature(digest))

    def stop(self, zone: int, first_mtu_start: int, mtu_count: int, reason: int) -> None:
        values = (zone, first_mtu_start, mtu_count, reason)
        digest = self.market.view("EnergyDispatching", "stopDigest", *values)
        self._relay("stop", *values, *self._signature(digest))

    def fair_caps(self, slot: Slot, direction: Direction, meters: tuple[int, ...], total_wh: int) -> dict[int, int]:
        """The caps that the order of curtailment gives these meters."""
        rows = {row.meter: row for row in self.setpoints[slot]}
        bases = []
        for meter in meters:
            source = self.meters[meter].source
            rank = emission_rank(source, FACTORS_MGCO2_PER_KWH.get(source)) if direction is Direction.EXPORT else 0
            bases.append(Basis(meter=meter, basis_wh=basis_wh(opened(rows[meter])[0], direction), rank=rank))
        return dict(zip(meters, allocate_caps(bases, total_wh), strict=True))

    def curtail(
        self,
        slot: Slot,
        direction: Direction,
        caps_wh: Mapping[int, int],
        reason: int,
        *,
        emergency: bool = False,
        reveal: bool = True,
    ) -> None:
        """Record caps; `reveal` presents the setpoints of the capped meters."""
        made = {row.meter: opened(row) for row in self.setpoints[slot]}
        tree = setpoint_tree([one for one, _ in made.values()], {meter: salt for meter, (_, salt) in made.items()})
        curtailment = {
            "zone": slot.zone,
            "mtuStart": slot.mtu_start,
            "scheduleHash": self.market.view("EnergyDispatching", "scheduleHashOf", *slot),
            "direction": int(direction),
            "reason": reason,
            "emergency": emergency,
            "sequence": self.curtailments.get(slot, 0),
            "caps": [{"meter": meter, "capWh": cap_wh} for meter, cap_wh in caps_wh.items()],
        }
        setpoints: list[Any] = [
            (one.contracted_wh, one.residual_wh, salt, list(tree.proof(setpoint_leaf(one, salt))))
            for one, salt in (made[meter] for meter in (caps_wh if reveal else ()))
        ]
        digest = self.market.view("EnergyDispatching", "curtailmentDigest", curtailment)
        result_hash = self.market.view("EnergyTrading", "clearingOf", *slot)["resultHash"]
        self._relay("curtail", curtailment, result_hash, tree.root, setpoints, *self._signature(digest))
        self.curtailments[slot] = self.curtailments.get(slot, 0) + 1
        self.caps[slot] = (direction, dict(caps_wh), reason)

    def apply_caps(self, slot: Slot) -> None:
        """Apply the caps that hold to every chunk, by somebody without any role."""
        direction, caps_wh, reason = self.caps[slot]
        policy, left_wh = self.policy(), dict[int, int]()
        for chunk, kept in enumerate(self.kept[slot]):
            words, deals = position_words(kept.positions), [trade_word(deal) for deal in kept.deals]
            caps = [{"meter": meter, "capWh": cap_wh} for meter, cap_wh in caps_wh.items()]
            self.market.send(self.market.outsider, "EnergyCurtailment", "applyCaps", *slot, chunk, words, deals, caps)
            terms = CurtailmentTerms(
                any_price=kept.any_price,
                low_carbon_price=kept.low_carbon_price,
                shortage=self.prices(slot.mtu_start).shortage,
                fee=policy.grid_fee_cents_per_mwh,
                relief=policy.low_carbon_relief_cents_per_mwh,
                bearer=bearer_of(policy.replacement_bearers, reason),
            )
            limits = Caps(exports=direction is Direction.EXPORT, wh=caps_wh)
            shrunk = apply_caps(kept.positions, kept.deals, limits, terms, left_wh)
            kept.positions, kept.deals, kept.curtailed_wh = shrunk.positions, shrunk.trades, shrunk.curtailed_wh
            left_wh |= {one.meter: one.prior_wh + one.quantity_wh for one in shrunk.positions if one.continued}

    def _relay(self, function: str, *arguments: object) -> None:
        self.market.send(self.market.outsider, "EnergyDispatching", function, *arguments)

    def _signature(self, digest: bytes) -> tuple[bytes, bytes]:
        return compact_signature(signed(self.market.grid_operator, digest))


def _part(whole: Proposal, meters: tuple[int, ...], fill_wh: int, lower: int | None) -> Proposal:
    """The orders of these meters alone; prices are checked with the first chunk, the one with a lower end."""
    orders = tuple(
        replace(item, fill_wh=fill_wh) for meter in meters for item in whole.orders if item.entry.meter == meter
    )
    part = replace(whole, orders=orders, deals=(), trades=())
    if lower is None:
        return replace(part, ends=(), any_ends=(None, None), low_carbon_ends=(None, None))
    index = next(index for index, item in enumerate(orders) if item.entry.meter == lower)
    return replace(part, any_ends=(index, len(orders)), low_carbon_ends=(index, len(orders)))
