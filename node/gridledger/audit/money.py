"""Money and tokens replayed from the chain's events; microcents and micrograms."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gridledger.audit.ports import Event
from gridledger.audit.requests import Request, Requests
from gridledger.market.model import CashAccount

__all__ = ["Cash", "TokenBook"]

ZERO_ADDRESS = "0x" + "0" * 40


class Cash:
    """Free money, credit, escrow and debts; every account's money and requests at every block."""

    def __init__(self, odd: list[tuple[str, str]], supplier_of: Mapping[str, str]) -> None:
        self.free: defaultdict[str, int] = defaultdict(int)
        self.credit: defaultdict[str, int] = defaultdict(int)
        self.debts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.escrow_microcents = 0
        self.deposited_microcents = 0
        self.withdrawn_microcents = 0
        self.paid_debts_microcents = 0
        self._requests = Requests(odd)
        self._supplier_of = supplier_of
        self._history: defaultdict[str, list[tuple[int, CashAccount]]] = defaultdict(list)
        self._block_number = 0

    @property
    def paid_in_microcents(self) -> int:
        """Settlement tokens that came in less those that went out."""
        return self.deposited_microcents + self.paid_debts_microcents - self.withdrawn_microcents

    def apply(self, event: Event, time_s: int) -> None:
        """Apply a movement or request that one event states completely; others change nothing."""
        values = event.arguments
        self.begin(event.block_number)
        amount = values.get("amountMicrocents", 0)
        match event.name:
            case "Deposited":
                self.deposited_microcents += amount
                self.change(values["account"], amount)
            case "WithdrawalRequested":
                self._requests.withdrawal_requested(event, time_s, self.free[values["account"]])
                self._note(values["account"])
            case "Withdrawn":
                self._requests.withdrawn(event, time_s, self.free[values["account"]])
                self.withdrawn_microcents += amount
                self.change(values["account"], -amount)
            case "CreditCutRequested":
                account = values["account"]
                self._requests.cut_requested(event, time_s, self.credit[account], self._supplier_of.get(account))
                self._note(account)
            case "CreditSet":
                self._requests.credit_set(event, time_s, self.credit[values["account"]])
                self._set_credit(values["account"], values["supplier"], values["creditMicrocents"])
            case "DebtPaid":
                self.debts[values["debtor"], values["creditor"]] -= amount
                self.paid_debts_microcents += amount
                self.change(values["creditor"], amount)

    def begin(self, block_number: int) -> None:
        """Movements from here on belong to this block."""
        self._block_number = block_number

    def available_microcents(self, account: str) -> int:
        """What an account can pay now: free money and unused credit."""
        return self.free[account] + self.credit[account]

    def collect(self, payer: str, payee: str, owed_microcents: int) -> int:
        """Move what is owed as far as the payer's funds and credit reach; returns the debt that is left."""
        paid = min(owed_microcents, max(0, self.available_microcents(payer)))
        self.change(payer, -paid)
        self.change(payee, paid)
        if paid < owed_microcents:
            self.debts[payer, payee] += owed_microcents - paid
        return owed_microcents - paid

    def lock(self, owner: str, amount_microcents: int) -> None:
        """Move money from an account into the escrow; a negative amount moves it back."""
        self.escrow_microcents += amount_microcents
        self.change(owner, -amount_microcents)

    def change(self, account: str, amount_microcents: int) -> None:
        """Add a signed amount to an account's free money."""
        self.free[account] += amount_microcents
        self._note(account)

    def account_at(self, account: str, block_number: int) -> CashAccount:
        """An account's money, and what of it had been asked back, after a block."""
        history = self._history.get(account, [])
        index = bisect_right(history, block_number, key=lambda entry: entry[0])
        return history[index - 1][1] if index else CashAccount(free_microcents=0, credit_microcents=0)

    def lowest_available_microcents(self, account: str, first: int, last: int, gate_closure: int) -> int:
        """The least an account could lock for a gate after any of these blocks."""
        later = [money for number, money in self._history.get(account, []) if first < number <= last]
        return min(money.available_microcents(gate_closure) for money in (self.account_at(account, first), *later))

    def accounts(self) -> frozenset[str]:
        """Every account that ever had money, credit or debt."""
        return frozenset((*self.free, *self.credit))

    def _set_credit(self, account: str, supplier: str, credit_microcents: int) -> None:
        self.change(supplier, self.credit[account] - credit_microcents)
        self.credit[account] = credit_microcents
        self._note(account)

    def _note(self, account: str) -> None:
        history = self._history[account]
        if history and history[-1][0] == self._block_number:
            history.pop()
        withdrawal = self._requests.withdrawals.get(account, Request())
        cut = self._requests.cuts.get(account, Request())
        money = CashAccount(
            free_microcents=self.free[account],
            credit_microcents=self.credit[account],
            withdrawal_microcents=withdrawal.microcents,
            withdrawal_at=withdrawal.requested_at,
            cut_microcents=cut.microcents,
            cut_at=cut.requested_at,
        )
        history.append((self._block_number, money))


@dataclass
class TokenBook:
    """Balances of one ERC-20 token from its Transfer events; `used_up` is what its other events say was burned."""

    balances: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    minted_to: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    minted: int = 0
    burned: int = 0
    used_up: int = 0

    def apply(self, event: Event) -> None:
        """Apply one event of the token."""
        if event.name in ("Retired", "Invalidated"):
            self.used_up += event.arguments["amountUgco2"]
        elif event.name == "Redeemed":
            self.used_up += event.arguments["amountMicrocents"]
        elif event.name == "Transfer":
            self._transfer(event)

    def _transfer(self, event: Event) -> None:
        sender, receiver, value = (event.arguments[name] for name in ("from", "to", "value"))
        if sender == ZERO_ADDRESS:
            self.minted += value
            self.minted_to[receiver] += value
        else:
            self.balances[sender] -= value
        if receiver == ZERO_ADDRESS:
            self.burned += value
        else:
            self.balances[receiver] += value

    @property
    def supply(self) -> int:
        """Minted minus burned."""
        return self.minted - self.burned
