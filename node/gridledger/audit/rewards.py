"""Checks low-carbon rewards: each trade once, for the energy delivered and consumed, minted to its two sides."""

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Chunk, Granted, Step
from gridledger.audit.model import Rule, Slot, chunk_name
from gridledger.carbon.reward import Reward, split_reward
from gridledger.errors import GridLedgerError
from gridledger.market.settlement import RewardedTrade, rewarded_trades

__all__ = ["check_rewards"]


def check_rewards(evidence: Evidence, slot: Slot, chunk: Chunk, step: Step) -> None:
    """Recompute what a settling step grants and mints."""
    if chunk.opened is None:
        return
    findings, name = evidence.findings, f"{chunk_name(slot, chunk.number)}, rewards of block {step.block_number}"
    try:
        trades = rewarded_trades(step.after, chunk.opened.deals, step.newly_read)
    except GridLedgerError as error:
        findings.report(Rule.REWARD, name, "positions in balance", error)
        return
    if not trades:
        findings.compare(Rule.REWARD, name, ([], []), (step.granted, step.minted))
        return
    factor = evidence.history.rules.grid_factor(slot.mtu_start)
    rewards = [(trade, _reward(evidence, slot, step, trade, factor)) for trade in trades]
    paid = [(trade, reward) for trade, reward in rewards if reward.seller_ugco2 + reward.buyer_ugco2]
    expected = Granted(
        mtu_start=slot.mtu_start,
        grid_factor_mgco2_per_kwh=factor,
        energy_wh=sum(trade.energy_wh for trade, _ in paid),
        total_ugco2=sum(reward.seller_ugco2 + reward.buyer_ugco2 for _, reward in paid),
        factor_known=True,
    )
    findings.compare(Rule.REWARD, name, [expected], step.granted)
    minted = _mints(step, paid)
    for index in range(max(len(minted), len(step.minted))):
        mint = minted[index] if index < len(minted) else None
        found = step.minted[index] if index < len(step.minted) else None
        findings.compare(Rule.REWARD, f"{name}, mint {index}", mint, found)


def _reward(evidence: Evidence, slot: Slot, step: Step, trade: RewardedTrade, grid_factor: int) -> Reward:
    rules = evidence.history.rules
    source_factor, _ = rules.source_factors.get(step.after[trade.sell].source, (None, ""))
    if source_factor is None:  # a source without a factor earns nothing
        return Reward(seller_ugco2=0, buyer_ugco2=0)
    share = rules.policy_at(slot.mtu_start).seller_reward_share_bp
    return split_reward(trade.energy_wh, grid_factor, source_factor, share)


def _mints(step: Step, paid: list[tuple[RewardedTrade, Reward]]) -> list[tuple[str, int]]:
    """Who is minted how much; a holder among the last two is minted to once, as the carbon ledger does it."""
    mints: list[tuple[str, int]] = []
    for trade, reward in paid:
        shares = ((trade.sell, reward.seller_ugco2), (trade.buy, reward.buyer_ugco2))
        for index, amount in shares:
            holder = step.after[index].owner
            for back in (1, 2):
                if back <= len(mints) and mints[-back][0] == holder:
                    mints[-back] = (holder, mints[-back][1] + amount)
                    break
            else:
                mints.append((holder, amount))
    return [(holder, amount) for holder, amount in mints if amount]
