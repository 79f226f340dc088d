"""Money, credit and debts of the machine's members, and what the regulator does; see machine_calls."""

from collections import Counter
from dataclasses import replace
from random import Random

from tests.contracts.machine_calls import POLICY, CalledMarket, Rules
from tests.contracts.members import WITHDRAWAL_DELAY_S
from tests.contracts.words import (
    EUR,
    MTU_LENGTH_S,
    Actor,
    policy_tuple,
)

from gridledger.market.model import CashAccount

__all__ = ["MemberMarket"]

TWO_DAYS_S = 2 * 86_400
FOR_EVER = 2**64 - 1


class MemberMarket(CalledMarket):
    """A market whose members move money under a regulator."""

    def __init__(self, counts: Counter[str]) -> None:
        super().__init__(counts)
        # Some have little, so that funds do end.
        for place, one in enumerate(self.people):
            self.deposit(one, EUR // 4 if place % 3 == 0 else 2 * EUR)

    def deposit(self, owner: Actor, amount: int) -> None:
        """Tokens approved before become free money."""
        self.do(owner, "EnergyTrading", "deposit", amount)
        self.ledger.free[owner.address] += amount
        self.held += amount

    def request_withdrawal(self, owner: Actor, amount: int) -> None:
        """Only free money can be asked for; zero takes the request back."""
        short = 0 < amount > self.ledger.free[owner.address]
        if self.expect(["InsufficientFunds"] if short else [], owner, "EnergyTrading", "requestWithdrawal", amount):
            self.withdrawals.pop(owner.address, None)
            if amount:
                self.withdrawals[owner.address] = (amount, self.now)

    def withdraw(self, owner: Actor) -> None:
        """What was asked for long enough ago goes out, as far as it is still there."""
        wanted, requested_at = self.withdrawals.get(owner.address, (0, 0))
        amount = min(wanted, max(0, self.ledger.free[owner.address]))
        reasons = self._not_due(requested_at) or ([] if amount else ["InsufficientFunds"])
        if self.expect(reasons, owner, "EnergyTrading", "withdraw"):
            del self.withdrawals[owner.address]
            self.ledger.free[owner.address] -= amount
            self.held -= amount

    def _not_due(self, requested_at: int) -> list[str]:
        if not requested_at:
            return ["NothingRequested"]
        return ["RequestNotDue"] if self.now < requested_at + WITHDRAWAL_DELAY_S else []

    def set_credit(self, owner: str, supplier: Actor, amount: int) -> None:
        """A supplier raises a customer's credit against its own money, or asks for less."""
        rise = amount - self.ledger.credit[owner]
        reasons = []
        if supplier.address != self.supplier_of(owner):
            reasons = ["NotTheSupplier"]
        elif rise >= 0 and rise > self.available(supplier.address):
            reasons = ["InsufficientFunds"]
        if not self.expect(reasons, supplier, "EnergyTrading", "setCredit", [owner], [amount]):
            return
        if rise < 0:
            self.cuts[owner] = (amount, self.now)
            return
        self.cuts.pop(owner, None)
        self.ledger.credit[owner] = amount
        self.ledger.free[supplier.address] -= rise

    def apply_credit_cut(self, owner: str) -> None:
        """Somebody carries out what a supplier asked for long enough ago, unless more is in use."""
        lower, requested_at = self.cuts.get(owner, (0, 0))
        reasons = self._not_due(requested_at) or (["CreditInUse"] if self.ledger.free[owner] < -lower else [])
        if self.expect(reasons, self.market.outsider, "EnergyTrading", "applyCreditCut", owner):
            del self.cuts[owner]
            self.ledger.free[self.supplier_of(owner)] += self.ledger.credit[owner] - lower
            self.ledger.credit[owner] = lower

    def pay_debt(self, rng: Random) -> None:
        """A recorded debt is paid in part or whole from the wallet; never more than it is."""
        owed = sorted(key for key, debt in self.ledger.debts.items() if debt)
        if not owed:
            return
        debtor, creditor = rng.choice(owed)
        payer = next(one for one in (*self.people, self.market.grid_operator) if one.address == debtor)
        amount = rng.randint(1, self.ledger.debts[debtor, creditor] + 1)
        reasons = ["DebtExceeded"] if amount > self.ledger.debts[debtor, creditor] else []
        if self.expect(reasons, payer, "EnergyTrading", "payDebt", creditor, amount):
            self.ledger.debts[debtor, creditor] -= amount
            self.ledger.free[creditor] += amount
            self.held += amount

    def money(self, account: str) -> CashAccount:
        """An account as the node knows it."""
        withdrawal, withdrawal_at = self.withdrawals.get(account, (0, 0))
        cut, cut_at = self.cuts.get(account, (0, 0))
        return CashAccount(
            free_microcents=self.ledger.free[account],
            credit_microcents=self.ledger.credit[account],
            withdrawal_microcents=withdrawal,
            withdrawal_at=withdrawal_at,
            cut_microcents=cut,
            cut_at=cut_at,
        )

    def available(self, account: str, gate: int = FOR_EVER) -> int:
        """What can be locked for a gate; without one, whatever is requested counts."""
        return self.money(account).available_microcents(gate)

    def supplier_of(self, owner: str) -> str:
        """The supplier that serves a member."""
        return next(one.supplier for one in self.facts.values() if one.owner == owner)

    def suspend(self, owner: str, *, suspended: bool) -> None:
        """Suspension acts at once; suspending again does not move its time."""
        self.do(self.market.regulator, "EnergyTrading", "setSuspended", owner, suspended)
        if suspended:
            self.suspended.setdefault(owner, self.now)
        else:
            self.suspended.pop(owner, None)

    def halt(self, zone: int, *, halted: bool) -> None:
        """Halt or resume a zone, or with 0 the whole market."""
        self.do(self.market.regulator, "GridPolicy", "setHalted", zone, halted)
        (self.halted.add if halted else self.halted.discard)(zone)

    def change_policy(self, rng: Random) -> int:
        """Schedule other rules from the earliest MTU on; returns that MTU."""
        start = -(-(self.now + TWO_DAYS_S) // MTU_LENGTH_S) * MTU_LENGTH_S
        fee = rng.choice([0, 1_000, 3_000])
        changed = replace(
            POLICY,
            gate_closure_s=rng.choice([300, 600, 1_200]),
            answer_lead_s=rng.choice([0, 60, 120]),
            proceed_without_answer=rng.random() < 0.5,
            seller_reward_share_bp=rng.choice([0, 3_333, 10_000]),
            floor_offset_cents_per_mwh=rng.choice([0, 1_001]),
            surplus_offset_cents_per_mwh=rng.choice([-2_000, 0]),
            shortage_offset_cents_per_mwh=rng.choice([0, 2_000]),
            grid_fee_cents_per_mwh=fee,
            low_carbon_relief_cents_per_mwh=rng.choice([0, fee]),
            replacement_bearers=sum(rng.randint(0, 2) << 2 * reason for reason in range(16)),
        )
        self.refused(
            self.market.regulator,
            "GridPolicy",
            "schedulePolicy",
            policy_tuple(changed),
            start - MTU_LENGTH_S,
            by=["PolicyTooEarly"],
        )
        self.do(self.market.regulator, "GridPolicy", "schedulePolicy", policy_tuple(changed), start)
        if self.versions[-1][0] == start:
            self.versions.pop()
        self.versions.append((start, Rules.of(changed)))
        return start

    def rules_at(self, start: int) -> Rules:
        """The rules of an MTU."""
        return next(rules for effective, rules in reversed(self.versions) if effective <= start)
