"""Checks money and tokens: what the movements add up to is what the contracts hold, and nothing was made or lost."""

from collections import defaultdict

from gridledger.audit.evidence import Evidence
from gridledger.audit.model import Rule
from gridledger.audit.ports import StateUnavailable
from gridledger.audit.presented import EntryKind
from gridledger.market.settlement import trade_microcents

__all__ = ["cash_sum_microcents", "check_accounts", "check_low_carbon_tokens", "check_settlement_tokens"]


def check_accounts(evidence: Evidence) -> int:
    """Every account, the escrow and their sum; returns the sum that must be zero, microcents."""
    cash, findings, chain = evidence.history.cash, evidence.findings, evidence.chain
    held = 0
    for address in sorted(_accounts(evidence)):
        try:
            found = chain.account(address)
        except StateUnavailable as error:
            findings.report(Rule.CASH, f"account {address}", "free money and credit", error)
            continue
        expected = (cash.free[address], cash.credit[address])
        findings.compare(Rule.CASH, f"account {address}, free money and credit", expected, found)
        held += sum(found)
    try:
        escrow = chain.escrow_microcents()
    except StateUnavailable as error:
        findings.report(Rule.CASH, "escrow", cash.escrow_microcents, error)
        return cash_sum_microcents(evidence)
    findings.compare(Rule.CASH, "escrow", cash.escrow_microcents, escrow)
    paid_in = cash.paid_in_microcents
    findings.compare(Rule.CASH, "free money + credit + escrow = tokens paid in - withdrawals", paid_in, held + escrow)
    _check_escrow(evidence)
    _check_debts(evidence)
    return held + escrow - paid_in


def cash_sum_microcents(evidence: Evidence) -> int:
    """Money in the replayed accounts beyond what was paid in, microcents."""
    cash = evidence.history.cash
    held = sum(cash.free.values()) + sum(cash.credit.values()) + cash.escrow_microcents
    return held - cash.paid_in_microcents


def _check_escrow(evidence: Evidence) -> None:
    """The escrow holds exactly the locks of open positions and the trade cash not yet passed on."""
    remaining = 0
    for chunk in (chunk for market in evidence.history.markets.values() for chunk in market.chunks):
        refunded = chunk.closed(EntryKind.REFUNDED)
        for position in chunk.positions:
            if not position.settled:
                remaining += position.locked_microcents
            elif position.meter not in refunded:
                remaining -= trade_microcents(position, chunk.cleared.any_price, chunk.cleared.low_carbon_price)
    found = evidence.history.cash.escrow_microcents
    evidence.findings.compare(Rule.CASH, "escrow = locks of open positions", remaining, found)


def _check_debts(evidence: Evidence) -> None:
    """What could not be collected, and has not been paid since, is owed."""
    for (debtor, creditor), debt in sorted(evidence.history.cash.debts.items()):
        record = f"debt of {debtor} to {creditor}"
        try:
            found = evidence.chain.debt_microcents(debtor, creditor)
        except StateUnavailable as error:
            evidence.findings.report(Rule.CASH, record, debt, error)
            continue
        evidence.findings.compare(Rule.CASH, record, debt, found)


def _accounts(evidence: Evidence) -> frozenset[str]:
    members = evidence.history.members
    named = (*members.supplier_of, *members.suppliers, *members.grid_operators.values())
    return frozenset(address for address in (*evidence.history.cash.accounts(), *named) if address)


def check_settlement_tokens(evidence: Evidence) -> None:
    """The trading contract holds at least what was paid in; supply and balance follow from the transfers."""
    name, trading = "SettlementToken", evidence.facts.addresses["EnergyTrading"]
    book, cash, findings = evidence.history.tokens[name], evidence.history.cash, evidence.findings
    try:
        supply, balance = evidence.chain.token_supply(name), evidence.chain.token_balance(name, trading)
    except StateUnavailable as error:
        findings.report(Rule.SETTLEMENT_TOKEN, "supply and balance", "an answer", error)
        return
    findings.compare(Rule.SETTLEMENT_TOKEN, "total supply", book.supply, supply)
    findings.compare(Rule.SETTLEMENT_TOKEN, "balance of the trading contract", book.balances[trading], balance)
    paid_in = cash.paid_in_microcents
    if balance < paid_in:  # anybody may send it tokens, so it may hold more
        findings.report(Rule.SETTLEMENT_TOKEN, "balance of the trading contract", f"{paid_in} or more", balance)
    findings.count(Rule.SETTLEMENT_TOKEN)
    findings.compare(Rule.SETTLEMENT_TOKEN, "redeemed tokens = burned tokens", book.burned, book.used_up)


def check_low_carbon_tokens(evidence: Evidence) -> None:
    """Every token was minted by a granted reward; supply and balances follow from the transfers."""
    name, findings = "LowCarbonToken", evidence.findings
    book, earned = evidence.history.tokens[name], defaultdict[str, int](int)
    chunks = (chunk for market in evidence.history.markets.values() for chunk in market.chunks)
    for holder, amount in (mint for chunk in chunks for step in chunk.steps for mint in step.minted):
        earned[holder] += amount
    for address in sorted(earned.keys() | book.minted_to.keys()):
        expected, found = earned.get(address, 0), book.minted_to.get(address, 0)
        findings.compare(Rule.LOW_CARBON_TOKEN, f"minted to {address}", expected, found)
    findings.compare(Rule.LOW_CARBON_TOKEN, "retired and invalidated = burned tokens", book.burned, book.used_up)
    try:
        findings.compare(Rule.LOW_CARBON_TOKEN, "total supply", book.supply, evidence.chain.token_supply(name))
        for address in sorted(book.balances):
            balance = evidence.chain.token_balance(name, address)
            findings.compare(Rule.LOW_CARBON_TOKEN, f"balance of {address}", book.balances[address], balance)
    except StateUnavailable as error:
        findings.report(Rule.LOW_CARBON_TOKEN, "supply and balances", "an answer", error)
