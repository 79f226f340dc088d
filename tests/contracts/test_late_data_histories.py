"""Random histories of late data: readings come late, in pieces, again and corrected, or are proven by their devices.

After each step the books balance: state hash, every account, escrow, debts and solvency as the plain rules say (the
harness compares them), and low-carbon tokens with what is owed of them. At the end the numbered deltas of each meter,
and the rewards, add up to exactly what the last readings are worth.

The normal suite plays a part of the histories, GRIDLEDGER_PROFILE=long a thousand.
"""

import os
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from tests.contracts.harness import MTU_LENGTH_S, ZONE, Kept, Market, Receipt
from tests.contracts.test_market_rules_differential import AVOIDED_PER_WH, Room, proposed
from tests.contracts.words import FIRST_MTU

from gridledger.market.model import Position
from gridledger.market.settlement import imbalance_microcents, rewarded_trades

LONG = os.environ.get("GRIDLEDGER_PROFILE") == "long"
HISTORIES, HISTORIES_PER_MARKET = 1_000, 25
MARKETS = HISTORIES // HISTORIES_PER_MARKET if LONG else 6
MOST_WH = 40_000
DAYS_APART = 8


class History:
    """One MTU from its clearing to its last correction."""

    def __init__(self, market: Market, source: random.Random, kept: Kept) -> None:
        self.market, self.source, self.kept = market, source, kept
        self.imbalances: Counter[int] = Counter()  # by meter, over all versions
        self.rewarded_ugco2 = 0
        owners = sorted({one.owner for one in kept.positions})
        self.due = {owner: self._held(owner) for owner in owners}  # tokens, less what is owed
        self.seen: Counter[str] = Counter()

    def play(self) -> None:
        """Some steps, each with some meters' data, then data for those still without."""
        market, source = self.market, self.source
        market.deliver(self.kept.mtu_start)
        everybody = range(len(self.kept.positions))
        alive = everybody if source.random() < 0.7 else everybody[1:]  # one meter may be dead for long
        for _ in range(source.randint(2, 8)):
            indexes = source.sample(alive, source.randint(1, len(alive)))
            self._read({index: energy for index in indexes if (energy := self._new_value(index)) is not None})
            if source.random() < 0.3:
                self._pass_tokens_on()
        substitutes_from = self.kept.mtu_start + MTU_LENGTH_S + market.policy.substitute_after_s
        unread = [index for index, one in enumerate(self.kept.positions) if not one.settled]
        if unread:
            market.move_to(max(market.now, substitutes_from))
            self.kept, receipt = market.substitute(self.kept, unread)
            self._count(receipt)
            self.seen["substituted"] += len(unread)
            self._read({index: self._value(self.kept.positions[index]) for index in unread[::2]})

    def check(self) -> None:
        """The deltas of all versions are worth what the last reading alone is worth."""
        prices = self.market.prices(self.kept.mtu_start)
        for position in self.kept.positions:
            alone = imbalance_microcents(position, position.metered_wh, prices.surplus, prices.shortage)
            assert self.imbalances[position.meter] == alone
        opened = tuple(
            replace(position, settled=False, substitute=False, version=0, metered_wh=0)
            for position in self.kept.positions
        )
        final = rewarded_trades(opened, self.kept.positions, self.kept.deals)
        assert self.rewarded_ugco2 == sum(trade.energy_wh for trade in final) * AVOIDED_PER_WH
        for trade in final:
            total = trade.energy_wh * AVOIDED_PER_WH
            self.due[self.kept.positions[trade.sell].owner] += total // 2
            self.due[self.kept.positions[trade.buy].owner] += total - total // 2
        assert {owner: self._held(owner) for owner in self.due} == self.due

    def _read(self, metered_wh: dict[int, int]) -> None:
        if not metered_wh:
            return
        self.seen["corrected"] += sum(self.kept.positions[index].read for index in metered_wh)
        self.kept, receipt = self.market.settle(self.kept, metered_wh)
        self._count(receipt)

    def _count(self, receipt: Receipt) -> None:
        for event in receipt.events:
            values: Any = event.arguments
            match event.name:
                case "PositionSettled" | "PositionSubstituted":
                    self.imbalances[values["meter"]] += values["imbalanceMicrocents"]
                case "PositionResettled":
                    self.imbalances[values["meter"]] += values["deltaMicrocents"]
                case "RewardsGranted" | "RewardsCorrected":
                    self.rewarded_ugco2 += values["totalUgco2"]
                case "TokensOwed":
                    self.seen["owed"] += 1

    def _pass_tokens_on(self) -> None:
        """A holder gives its tokens away, so that a correction may find none."""
        owner = self.source.choice(sorted(self.due))
        balance = self.market.view("LowCarbonToken", "balanceOf", owner)
        self.market.send(owner, "LowCarbonToken", "transfer", self.market.outsider.address, balance)
        self.due[owner] -= balance

    def _new_value(self, index: int) -> int | None:
        """A value the position has not now; None where there happens to be none."""
        position = self.kept.positions[index]
        value = self._value(position)
        return None if position.read and position.metered_wh == value else value

    def _value(self, position: Position) -> int:
        if self.source.random() < 0.3:
            return self.source.randint(-MOST_WH, MOST_WH)
        return max(-MOST_WH, min(MOST_WH, position.contracted_wh + self.source.randint(-500, 500)))

    def _held(self, owner: str) -> int:
        owed = self.market.view("CarbonLedger", "owedUgco2Of", owner)
        return int(self.market.view("LowCarbonToken", "balanceOf", owner) - owed)


@pytest.mark.parametrize("seed", range(MARKETS))
def test_books_balance_after_each_step_of_a_history(seed: int) -> None:
    source, room, seen = random.Random(7_000 + seed), Room(members=6), Counter[str]()
    market, number = room.market, 0
    while seen["histories"] < HISTORIES_PER_MARKET:
        mtu_start = FIRST_MTU + number * DAYS_APART * 86_400
        number += 1
        market.move_to(mtu_start - 3_600)
        book = room.book(source, mtu_start)
        market.close_gate(mtu_start)
        market.commit_book(book, mtu_start)
        made = proposed(market, book, mtu_start)
        if made is None or not made[0].positions:
            continue
        kept = Kept.of(made[0], zone=ZONE, mtu_start=mtu_start)
        market.accept(market.clearing(book, made[0], mtu_start=mtu_start), kept)
        history = History(market, source, kept)
        history.play()
        history.check()
        seen += history.seen
        seen["histories"] += 1
    assert {name for name in ("corrected", "substituted", "owed") if not seen[name]} == set()
