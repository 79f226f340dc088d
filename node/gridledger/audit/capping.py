"""What a grid operator's caps leave of a chunk, recomputed from chain data alone: events say what happened."""

from gridledger.audit.dispatches import Curtailed
from gridledger.audit.markets import CapsStep, CapsSums, Chunk, Debt, Market
from gridledger.audit.members import Members, Rules
from gridledger.audit.model import Slot
from gridledger.audit.money import Cash
from gridledger.audit.ports import Event
from gridledger.audit.presented_dispatch import CapsCall
from gridledger.errors import GridLedgerError
from gridledger.market.curtailment import Bearer, Caps, CurtailmentTerms, Shrunk, apply_caps, bearer_of

__all__ = ["EXPORTS", "Capping"]

EXPORTS = 1  # IEnergyDispatching.Direction


class Capping:
    """Applies recorded caps as EnergyCurtailment does, and carries out the payments as the trading contract does."""

    def __init__(self, members: Members, rules: Rules, cash: Cash) -> None:
        self._members, self._rules, self._cash = members, rules, cash

    def apply(
        self,
        event: Event,
        time_s: int,
        market: Market,
        chunk: Chunk,
        stated: tuple[list[tuple[int, int, int]], list[Debt]],
        call: CapsCall | None,
    ) -> None:
        """Shrink a chunk; `stated` is what TradeCurtailed and DebtRecorded state in the same transaction."""
        slot = Slot(event.arguments["zone"], event.arguments["mtuStart"])
        curtailments = market.dispatch.curtailments
        curtailed = curtailments[-1] if curtailments else None
        before, deals = chunk.positions, chunk.deals
        shrunk, terms = None, None
        if curtailed is not None and not any(one.settled or one.curtailed for one in before):
            terms = self._terms(slot, chunk, curtailed)
            shrunk = _shrunk(market, chunk, curtailed, terms)
        debts: list[Debt] = []
        if shrunk is not None:
            chunk.positions, chunk.deals = shrunk.positions, shrunk.trades
            kept = {one.meter: one.prior_wh + one.quantity_wh for one in shrunk.positions if one.continued}
            market.left_wh.update(kept)
            debts = self._pay(slot, shrunk)
        traded, stated_debts = stated
        chunk.caps.append(
            CapsStep(
                block_number=event.block_number,
                time_s=time_s,
                curtailed=curtailed,
                before=before,
                deals=deals,
                shrunk=shrunk,
                traded=traded,
                expected_traded=() if shrunk is None else _trades(shrunk),
                stated=_sums(event),
                expected=None if shrunk is None or terms is None else _expected(shrunk, terms),
                debts=stated_debts,
                expected_debts=debts,
                call=call,
            )
        )

    def _terms(self, slot: Slot, chunk: Chunk, curtailed: Curtailed) -> CurtailmentTerms:
        policy = self._rules.policy_at(slot.mtu_start)
        return CurtailmentTerms(
            any_price=chunk.cleared.any_price,
            low_carbon_price=chunk.cleared.low_carbon_price,
            shortage=self._rules.prices_at(slot.mtu_start).shortage,
            fee=policy.grid_fee_cents_per_mwh,
            relief=policy.low_carbon_relief_cents_per_mwh,
            bearer=bearer_of(policy.replacement_bearers, curtailed.reason),
        )

    def _pay(self, slot: Slot, shrunk: Shrunk) -> list[Debt]:
        """Releases to the owners, and compensations by the grid operator; returns the debts that are left."""
        payer, debts = self._members.grid_operators.get(slot.zone, ""), []
        payments = zip(shrunk.positions, shrunk.released_microcents, shrunk.compensated_microcents, strict=True)
        for position, released, compensated in payments:
            self._cash.lock(position.owner, -released)
            if compensated and (debt := self._cash.collect(payer, position.owner, compensated)):
                debts.append((payer, position.owner, debt))
        return debts


def _shrunk(market: Market, chunk: Chunk, curtailed: Curtailed, terms: CurtailmentTerms) -> Shrunk | None:
    caps = Caps(exports=curtailed.direction == EXPORTS, wh=curtailed.caps_wh)
    try:
        return apply_caps(chunk.positions, chunk.deals, caps, terms, market.left_wh)
    except GridLedgerError:
        return None  # positions out of balance, named by the clearing rule


def _trades(shrunk: Shrunk) -> list[tuple[int, int, int]]:
    """Each trade that lost energy as selling meter, buying meter and that energy, Wh."""
    return [
        (shrunk.positions[trade.sell].meter, shrunk.positions[trade.buy].meter, lost_wh)
        for trade, lost_wh in zip(shrunk.trades, shrunk.curtailed_wh, strict=True)
        if lost_wh
    ]


def _sums(event: Event) -> CapsSums:
    values = event.arguments
    return CapsSums(
        curtailed_wh=values["curtailedWh"],
        low_carbon_wh=values["lowCarbonWh"],
        refunded_microcents=values["refundedMicrocents"],
        compensated_microcents=values["compensatedMicrocents"],
    )


def _expected(shrunk: Shrunk, terms: CurtailmentTerms) -> CapsSums:
    lost = list(zip(shrunk.trades, shrunk.curtailed_wh, strict=True))
    costs = (lost_wh * max(0, terms.shortage - trade.price_cents_per_mwh) for trade, lost_wh in lost)
    return CapsSums(
        curtailed_wh=sum(shrunk.curtailed_wh),
        low_carbon_wh=sum(lost_wh for trade, lost_wh in lost if shrunk.positions[trade.sell].source),
        refunded_microcents=sum(shrunk.released_microcents),
        compensated_microcents=0 if terms.bearer is Bearer.BUYER else sum(costs),
    )
