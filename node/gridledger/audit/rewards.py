"""Checks low-carbon rewards: each trade for the energy delivered and consumed, to its two sides, corrected with it."""

from collections import Counter

from gridledger.audit.evidence import Evidence
from gridledger.audit.markets import Chunk, Granted, Step
from gridledger.audit.model import Rule, Slot, chunk_name
from gridledger.carbon.reward import Reward, split_reward
from gridledger.errors import GridLedgerError
from gridledger.market.settlement import RewardedTrade, rewarded_trades

__all__ = ["check_rewards"]


def check_rewards(evidence: Evidence, slot: Slot, chunk: Chunk, step: Step) -> None:
    """Recompute what a settling step grants, mints and takes back."""
    if chunk.opened is None:
        return
    findings, name = evidence.findings, f"{chunk_name(slot, chunk.number)}, rewards of block {step.block_number}"
    try:
        trades = rewarded_trades(step.before, step.after, step.deals)
    except GridLedgerError as error:
        findings.report(Rule.REWARD, name, "positions in balance", error)
        return
    findings.compare(Rule.REWARD, name, _granted(evidence, slot, step, trades), step.granted)
    rewards = [(trade, _change(evidence, slot, step, trade)) for trade in trades]
    if step.corrects:
        _check_corrected(evidence, name, slot, step, rewards)
        return
    findings.compare(Rule.REWARD, f"{name}, taken back", [], step.taken_back)
    minted = _mints(step, rewards)
    for index in range(max(len(minted), len(step.minted))):
        mint = minted[index] if index < len(minted) else None
        found = step.minted[index] if index < len(step.minted) else None
        findings.compare(Rule.REWARD, f"{name}, mint {index}", mint, found)


def _granted(evidence: Evidence, slot: Slot, step: Step, trades: tuple[RewardedTrade, ...]) -> list[Granted]:
    """What the carbon ledger states of these trades; nothing where there is none."""
    if not trades:
        return []
    paid = [(trade, _change(evidence, slot, step, trade)) for trade in trades if _saves(evidence, slot, step, trade)]
    return [
        Granted(
            mtu_start=slot.mtu_start,
            grid_factor_mgco2_per_kwh=evidence.history.rules.grid_factor(slot.mtu_start),
            energy_wh=sum(trade.energy_wh - trade.rewarded_wh for trade, _ in paid),
            total_ugco2=sum(change.seller_ugco2 + change.buyer_ugco2 for _, change in paid),
            factor_known=True,
            corrects=step.corrects,
        )
    ]


def _saves(evidence: Evidence, slot: Slot, step: Step, trade: RewardedTrade) -> bool:
    """Whether the trade's source has a factor, below the grid's."""
    one_wh = RewardedTrade(sell=trade.sell, buy=trade.buy, energy_wh=1)
    change = _change(evidence, slot, step, one_wh)
    return change.seller_ugco2 + change.buyer_ugco2 > 0


def _change(evidence: Evidence, slot: Slot, step: Step, trade: RewardedTrade) -> Reward:
    """The reward of the trade's energy less what it was rewarded with before, each share rounded for itself."""
    rules = evidence.history.rules
    source_factor, _ = rules.source_factors.get(step.after[trade.sell].source, (None, ""))
    if source_factor is None:  # a source without a factor earns nothing
        return Reward(seller_ugco2=0, buyer_ugco2=0)
    share, factor = rules.policy_at(slot.mtu_start).seller_reward_share_bp, rules.grid_factor(slot.mtu_start)
    due = split_reward(trade.energy_wh, factor, source_factor, share)
    paid = split_reward(trade.rewarded_wh, factor, source_factor, share)
    return Reward(seller_ugco2=due.seller_ugco2 - paid.seller_ugco2, buyer_ugco2=due.buyer_ugco2 - paid.buyer_ugco2)


def _check_corrected(
    evidence: Evidence, name: str, slot: Slot, step: Step, rewards: list[tuple[RewardedTrade, Reward]]
) -> None:
    """Minted, less taken back, less owed is what the correction changes, for each holder; owed only without tokens."""
    expected: Counter[str] = Counter()
    for trade, change in rewards:
        expected[step.after[trade.sell].owner] += change.seller_ugco2
        expected[step.after[trade.buy].owner] += change.buyer_ugco2
    found: Counter[str] = Counter()
    for holder, amount in step.minted:
        found[holder] += amount
    for holder, amount in step.taken_back:
        found[holder] -= amount
    for debt in step.owed:
        found[debt.holder] -= debt.amount_ugco2
        taken = any(one == (debt.holder, debt.balance_ugco2) for one in step.taken_back)
        left = 0 if taken or debt.balance_ugco2 == 0 else debt.balance_ugco2
        expected_debt, found_debt = (slot.mtu_start, 0), (debt.mtu_start, left)
        evidence.findings.compare(Rule.REWARD, f"{name}, left to {debt.holder}, who owes", expected_debt, found_debt)
    for holder in sorted(expected.keys() | found.keys()):
        evidence.findings.compare(Rule.REWARD, f"{name}, change of {holder}", expected[holder], found[holder])


def _mints(step: Step, rewards: list[tuple[RewardedTrade, Reward]]) -> list[tuple[str, int]]:
    """Who is minted how much; a holder among the last two is minted to once, as the carbon ledger does it."""
    mints: list[tuple[str, int]] = []
    for trade, reward in rewards:
        if not reward.seller_ugco2 + reward.buyer_ugco2:
            continue
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
