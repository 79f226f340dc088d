"""Money, credit and debts of the machine's members, and what the regulator does; see machine_calls."""

from collections import Counter
from dataclasses import replace
from random import Random

from tests.contracts.machine_calls import POLICY, CalledMarket, Rules
from tests.contracts.words import (
    EUR,
    MTU_LENGTH_S,
    Actor,
    policy_tuple,
)

__all__ = ["MemberMarket"]

TWO_DAYS_S = 2 * 86_400


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

    def withdraw(self, owner: Actor, amount: int) -> None:
        """Only free money goes out."""
        short = self.ledger.free[owner.address] < amount
        if self.expect(["InsufficientFunds"] if short else [], owner, "EnergyTrading", "withdraw", amount):
            self.ledger.free[owner.address] -= amount
            self.held -= amount

    def set_credit(self, owner: str, supplier: Actor, amount: int) -> None:
        """A supplier sets a customer's credit, up or down, against its own money."""
        rise = amount - self.ledger.credit[owner]
        reasons = []
        if supplier.address != self.supplier_of(owner):
            reasons = ["NotTheSupplier"]
        elif self.ledger.free[owner] < -amount:
            reasons = ["CreditInUse"]
        elif rise > self.available(supplier.address):
            reasons = ["InsufficientFunds"]
        if self.expect(reasons, supplier, "EnergyTrading", "setCredit", [owner], [amount]):
            self.ledger.credit[owner] = amount
            self.ledger.free[supplier.address] -= rise

    def pay_debt(self, rng: Random) -> None:
        """A recorded debt is paid in part or whole, where there is money; never more than it is."""
        owed = sorted(key for key, debt in self.ledger.debts.items() if debt)
        if not owed:
            return
        debtor, creditor = rng.choice(owed)
        payer = next(one for one in self.people if one.address == debtor)
        amount = rng.randint(1, self.ledger.debts[debtor, creditor] + 1)
        reasons = []
        if amount > self.ledger.debts[debtor, creditor]:
            reasons = ["DebtExceeded"]
        elif amount > self.available(debtor):
            reasons = ["InsufficientFunds"]
        if self.expect(reasons, payer, "EnergyTrading", "payDebt", creditor, amount):
            self.ledger.debts[debtor, creditor] -= amount
            self.ledger.free[debtor] -= amount
            self.ledger.free[creditor] += amount

    def available(self, account: str) -> int:
        """Free money and unused credit."""
        return self.ledger.free[account] + self.ledger.credit[account]

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
