"""Money as plain Python keeps it beside the contract: who should have what after a clearing or a settlement.

Microcents throughout.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gridledger.market.curtailment import Shrunk
from gridledger.market.model import MtuPrices, Position
from gridledger.market.settlement import imbalance_microcents, trade_microcents

__all__ = ["PlainAccounts"]


@dataclass(kw_only=True)
class PlainAccounts:
    """Free money, credit and debts by address, and the escrow."""

    free: dict[str, int]
    credit: dict[str, int]
    escrow: int
    debts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def lock(self, positions: Iterable[Position]) -> None:
        """Every owner's lock moves into the escrow."""
        for position in positions:
            self.free[position.owner] -= position.locked_microcents
            self.escrow += position.locked_microcents

    def refund(self, positions: Iterable[Position]) -> None:
        """Locks go back where they came from."""
        for position in positions:
            self.free[position.owner] += position.locked_microcents
            self.escrow -= position.locked_microcents

    def curtail(self, before: Sequence[Position], shrunk: Shrunk, grid_operator: str) -> None:
        """What caps set free goes back to the owners; the grid operator pays what it bears, or owes it."""
        for position, released, cost in zip(
            before, shrunk.released_microcents, shrunk.compensated_microcents, strict=True
        ):
            self.free[position.owner] += released
            self.escrow -= released
            self._collect(grid_operator, position.owner, cost)

    def settle(
        self,
        before: Position,
        metered_wh: int,
        supplier: str,
        grid_operator: str,
        cleared: tuple[int, int],
        prices: MtuPrices,
    ) -> None:
        """A first settlement pays trade, fee and imbalance; a correction the difference of two imbalances."""
        imbalance = imbalance_microcents(before, metered_wh, prices.surplus, prices.shortage)
        if before.settled:
            imbalance -= imbalance_microcents(before, before.metered_wh, prices.surplus, prices.shortage)
        else:
            paid = trade_microcents(before, *cleared) - before.fee_microcents
            self.free[before.owner] += before.locked_microcents + paid
            self.free[grid_operator] += before.fee_microcents
            self.escrow -= before.locked_microcents + paid + before.fee_microcents
        self._collect(supplier, before.owner, imbalance)
        self._collect(before.owner, supplier, -imbalance)

    def _collect(self, payer: str, payee: str, owed: int) -> None:
        if owed <= 0:
            return
        paid = min(owed, self.free[payer] + self.credit[payer])
        self.free[payer] -= paid
        self.free[payee] += paid
        self.debts[payer, payee] += owed - paid

    def differences(self, other: "PlainAccounts", scope: Mapping[tuple[str, str], int]) -> list[str]:
        """Where the two disagree; `scope` are the debts of `other` as far as they were asked for."""
        found = [
            f"{owner}: {name} {mine.get(owner)} != {theirs[owner]}"
            for name, mine, theirs in (("free", self.free, other.free), ("credit", self.credit, other.credit))
            for owner in theirs
            if mine.get(owner) != theirs[owner]
        ]
        found += [f"debt {key}: {self.debts[key]} != {debt}" for key, debt in scope.items() if self.debts[key] != debt]
        return found + ([f"escrow {self.escrow} != {other.escrow}"] if self.escrow != other.escrow else [])
