"""Money and tokens replayed from the chain's events; microcents and micrograms."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field

from gridledger.audit.ports import Event
from gridledger.market.model import CashAccount

__all__ = ["Cash", "TokenBook"]

ZERO_ADDRESS = "0x" + "0" * 40


class Cash:
    """Free money, credit, escrow and debts; every account's balance at every block."""

    def __init__(self) -> None:
        self.free: defaultdict[str, int] = defaultdict(int)
        self.credit: defaultdict[str, int] = defaultdict(int)
        self.debts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.escrow_microcents = 0
        self.deposited_microcents = 0
        self.withdrawn_microcents = 0
        self._history: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._block_number = 0

    def apply(self, event: Event) -> None:
        """Apply a movement that one event states completely; others change nothing."""
        values = event.arguments
        self.begin(event.block_number)
        amount = values.get("amountMicrocents", 0)
        match event.name:
            case "Deposited":
                self.deposited_microcents += amount
                self.change(values["account"], amount)
            case "Withdrawn":
                self.withdrawn_microcents += amount
                self.change(values["account"], -amount)
            case "CreditSet":
                self._set_credit(values["account"], values["supplier"], values["creditMicrocents"])
            case "DebtPaid":
                self.debts[values["debtor"], values["creditor"]] -= amount
                self.change(values["debtor"], -amount)
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

    def available_at(self, account: str, block_number: int) -> CashAccount:
        """What an account could lock after a block; credit is counted into the free money."""
        history = self._history.get(account, [])
        index = bisect_right(history, block_number, key=lambda entry: entry[0])
        return CashAccount(free_microcents=history[index - 1][1] if index else 0, credit_microcents=0)

    def lowest_available_microcents(self, account: str, first: int, last: int) -> int:
        """The least an account could lock after any of these blocks."""
        later = [available for number, available in self._history.get(account, []) if first < number <= last]
        return min([self.available_at(account, first).available_microcents, *later])

    def accounts(self) -> frozenset[str]:
        """Every account that ever had money, credit or debt."""
        return frozenset((*self.free, *self.credit))

    def _set_credit(self, account: str, supplier: str, credit_microcents: int) -> None:
        self.change(supplier, self.credit[account] - credit_microcents)
        self.credit[account] = credit_microcents
        self._note(account)

    def _note(self, account: str) -> None:
        history, available = self._history[account], self.free[account] + self.credit[account]
        if history and history[-1][0] == self._block_number:
            history.pop()
        history.append((self._block_number, available))


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
