"""Random lives of a market, step by step against a plain ledger kept in Python, whatever order things happen in.

After every step: cash is conserved, free plus locked plus set-aside is what the contract holds, energy bought equals
energy sold, nobody trades beyond a signed limit or quantity or falls below its credit, and every low-carbon token
stems from a reward. GRIDLEDGER_PROFILE=long multiplies the counts.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CURTAILED,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    SELL,
    SOLAR,
    ZONE,
    Actor,
    ClearingData,
    Kept,
    Market,
    Meter,
    Signed,
    actor,
    floor_midpoint,
    settle_arguments,
)

MEMBERS = 6
FEE, RELIEF, SURPLUS, SHORTAGE = 2_000, 1_000, 7_500, 32_500
AVOIDED_PER_WH = 363_000 - 41_000
LONG = os.environ.get("GRIDLEDGER_PROFILE") == "long"

amounts = st.one_of(st.integers(1, 100), st.integers(1, EUR // 10))
quantities = st.integers(1, 1_000)
seldom = st.sampled_from([False, False, False, True])
# Limits overlap enough that most books trade, and reach floor and cap.
limits = {SELL: st.integers(8_000, 22_000), BUY: st.integers(14_000, 32_000)}


@dataclass(kw_only=True)
class Ledger:
    """What everybody should have, microcents and micrograms."""

    free: Counter[str] = field(default_factory=Counter)
    credit: Counter[str] = field(default_factory=Counter)
    debts: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    escrow: int = 0
    held: int = 0

    def available(self, account: str) -> int:
        """Free money and unused credit."""
        return self.free[account] + self.credit[account]

    def collect(self, payer: str, payee: str, owed: int) -> None:
        """Pay as far as it goes; owe the rest."""
        paid = min(owed, self.available(payer))
        self.free[payer] -= paid
        self.free[payee] += paid
        self.debts[payer, payee] += owed - paid


@dataclass(kw_only=True)
class OpenMtu:
    """A cleared MTU with positions still to be settled."""

    kept: Kept
    price: int
    proceeds: bool | None


def auction(book: list[Signed]) -> tuple[list[tuple[Signed, Signed, int]], Signed | None, Signed | None]:
    """Matches and interval ends of the book, as simply as it can be said: best bid meets best offer."""
    left = {one.uid: one.message["quantityWh"] for one in book}
    bids = sorted((one for one in book if one.message["side"] == BUY), key=lambda one: -limit_of(one))
    offers = sorted((one for one in book if one.message["side"] == SELL), key=limit_of)
    matches = []
    for bid in bids:
        for offer in offers:
            energy = min(left[bid.uid], left[offer.uid])
            if energy and limit_of(bid) >= limit_of(offer):
                matches.append((offer, bid, energy))
                left[bid.uid] -= energy
                left[offer.uid] -= energy
    filled = {one.uid for match in matches for one in match[:2]}
    lower = [one for one in offers if one.uid in filled] + [one for one in bids if left[one.uid]]
    upper = [one for one in bids if one.uid in filled] + [one for one in offers if left[one.uid]]
    return matches, max(lower, key=limit_of, default=None), min(upper, key=limit_of, default=None)


def limit_of(order: Signed) -> int:
    """The signed limit."""
    return int(order.message["limitCentsPerMwh"])


def settled_indexes(mtu: OpenMtu) -> list[int]:
    """Indexes of the settled positions."""
    return [index for index, one in enumerate(mtu.kept.positions) if one["settled"]]


class MarketMachine(RuleBasedStateMachine):
    """Members with a meter each; the even ones have solar panels, the odd ones generation without a source."""

    seen: ClassVar[Counter[str]] = Counter()
    counts: Counter[str]

    @initialize()
    def deploy(self) -> None:
        """A fresh market with members of two suppliers."""
        self.counts = Counter(examples=1)
        self.market = Market()
        self.ledger = Ledger()
        self.suppliers = (self.market.supplier, self.market.other_supplier)
        self.meters = [self._member(number) for number in range(MEMBERS)]
        self.next_mtu = FIRST_MTU
        self.open: list[OpenMtu] = []
        self.halted: set[int] = set()
        self.suspended: set[str] = set()
        self.supplier_of = {meter.owner.address: self.suppliers[meter.number % 2] for meter in self.meters}
        self.filled_wh: Counter[bytes] = Counter()
        self.bought_wh = self.sold_wh = 0
        # Enough for a handful of trades, so that funds do end.
        for index in range(MEMBERS + 1):
            self._deposited(self._somebody(index), EUR // 2)

    def _member(self, number: int) -> Meter:
        return self.market.register(
            actor(f"member {number}"),
            import_w=8_000,
            export_w=8_000,
            source=SOLAR if number % 2 == 0 else 0,
            supplier=self.suppliers[(number + 1) % 2],
        )

    def _somebody(self, index: int) -> Actor:
        return self.meters[index].owner if index < MEMBERS else self.suppliers[index - MEMBERS]

    # Money and the regulator are one rule each, so that most steps trade, answer and settle.
    @rule(data=st.data(), index=st.integers(0, MEMBERS + 1), amount=amounts)
    def move_money(self, data: st.DataObject, index: int, amount: int) -> None:
        """Somebody deposits, withdraws, grants credit or pays a debt."""
        kind = data.draw(st.sampled_from(["deposit", "withdraw", "credit", "debt"]))
        if kind == "deposit":
            self._deposited(self._somebody(index), amount)
        elif kind == "withdraw":
            self._withdraw(self._somebody(index), amount)
        elif kind == "credit":
            self._set_credit(self.meters[index % MEMBERS].owner.address, amount)
        elif any(self.ledger.debts.values()):
            self._pay_debt(data)

    def _deposited(self, owner: Actor, amount: int) -> None:
        self.market.deposit(owner, amount)
        self.ledger.free[owner.address] += amount
        self.ledger.held += amount

    def _withdraw(self, owner: Actor, amount: int) -> None:
        """Only free money goes out."""
        enough = self.ledger.free[owner.address] >= amount
        if self._accepted(None if enough else "InsufficientFunds", owner, "withdraw", amount):
            self.ledger.free[owner.address] -= amount
            self.ledger.held -= amount

    def _set_credit(self, owner: str, amount: int) -> None:
        """The supplier sets its customer's credit, up or down."""
        supplier = self.supplier_of[owner]
        rise = amount - self.ledger.credit[owner]
        if self.ledger.free[owner] < -amount:
            expected: str | None = "CreditInUse"
        else:
            expected = "InsufficientFunds" if rise > self.ledger.available(supplier.address) else None
        if self._accepted(expected, supplier, "setCredit", [owner], [amount]):
            self.ledger.credit[owner] = amount
            self.ledger.free[supplier.address] -= rise

    def _pay_debt(self, data: st.DataObject) -> None:
        """A debt is paid in part or whole where there is money."""
        debtor, creditor = data.draw(st.sampled_from(sorted(key for key, debt in self.ledger.debts.items() if debt)))
        amount = data.draw(st.integers(1, self.ledger.debts[debtor, creditor]))
        expected = None if self.ledger.available(debtor) >= amount else "InsufficientFunds"
        if self._accepted(expected, debtor, "payDebt", creditor, amount):
            self.ledger.debts[debtor, creditor] -= amount
            self.ledger.free[debtor] -= amount
            self.ledger.free[creditor] += amount

    @rule(index=st.integers(0, MEMBERS + 1), forbid=seldom)
    def regulate(self, index: int, *, forbid: bool) -> None:
        """The regulator suspends or readmits a member, halts or resumes the zone or the market."""
        if index < MEMBERS:
            owner = self.meters[index].owner.address
            self.market.send(self.market.regulator, "GridPolicy", "setSuspended", owner, forbid)
            (self.suspended.add if forbid else self.suspended.discard)(owner)
        else:
            zone = (0, ZONE)[index - MEMBERS]
            self.market.send(self.market.regulator, "GridPolicy", "setHalted", zone, forbid)
            (self.halted.add if forbid else self.halted.discard)(zone)

    @rule(data=st.data(), backlog=st.integers(0, 4))
    def trade(self, data: st.DataObject, backlog: int) -> None:
        """A new MTU, or progress of an open one where there are more of them than `backlog`."""
        if len(self.open) > backlog:
            self._progress(data)
        else:
            self._trade(data, data.draw(st.integers(0, 9)))

    @rule(data=st.data())
    @precondition(lambda self: self.open)
    def progress(self, data: st.DataObject) -> None:
        """An open MTU goes on."""
        self._progress(data)

    def _progress(self, data: st.DataObject) -> None:
        mtu = data.draw(st.sampled_from(self.open))
        if mtu.proceeds is None and data.draw(st.booleans()):
            self._answer(mtu, data.draw(st.sampled_from([ACKNOWLEDGED, CURTAILED, None])))
        elif bool(settled_indexes(mtu)) and data.draw(seldom):
            self._settle_what_is_already_settled(data, mtu)
        else:
            self._settle(data, mtu)

    def _trade(self, data: st.DataObject, cancelled: int) -> None:
        """Sign orders, perhaps cancel one, close the gate, commit, clear."""
        mtu_start, self.next_mtu = self.next_mtu, self.next_mtu + MTU_LENGTH_S
        book = [self._order(data, meter, mtu_start) for meter in self._takers(data)]
        if cancelled < len(book):
            void = book[cancelled]
            self.market.send(str(void.message["owner"]), "EnergyTrading", "cancel", void.uid)
            book.remove(void)
        matches, lower, upper = auction(book)
        self.market.close_gate(mtu_start)
        self.market.commit_book(book, mtu_start)
        clearing = self.market.clearing(book, matches, lower=lower, upper=upper, mtu_start=mtu_start)
        if self._cleared(clearing, book, matches):
            self._check_limits(clearing)

    def _takers(self, data: st.DataObject) -> list[Meter]:
        takers = st.lists(st.sampled_from(self.meters), min_size=2, max_size=MEMBERS, unique_by=lambda one: one.number)
        return data.draw(st.one_of(st.just([]), takers, takers, st.permutations(self.meters)))

    def _order(self, data: st.DataObject, meter: Meter, mtu_start: int) -> Signed:
        side = data.draw(st.sampled_from([BUY, SELL]))
        quantity, limit = data.draw(quantities), data.draw(limits[side])
        return self.market.order(meter, side, quantity, limit, mtu_start=mtu_start)

    def _cleared(self, clearing: ClearingData, book: list[Signed], matches: list[tuple[Signed, Signed, int]]) -> bool:
        presented = clearing["orders"] + clearing["ends"]
        owners = {self.meters[one["meter"] - 1].owner.address for one in presented}
        locks = self._locks(clearing)
        short = any(self.ledger.available(owner) < lock for owner, (lock, _) in locks.items())
        reasons = {"ZoneHalted"} if self.halted else set()
        reasons |= {"AccountSuspended"} if owners & self.suspended else set()
        reasons |= {"InsufficientFunds"} if short else set()
        receipt = self.market.attempt(self.market.market_operator, "EnergyTrading", "clear", clearing)
        if isinstance(receipt, str):
            assert receipt in reasons
            self.counts[f"clear: {receipt}"] += 1
            return False
        assert reasons == set()
        for owner, (lock, _) in locks.items():
            self.ledger.free[owner] -= lock
            self.ledger.escrow += lock
        kept = self.market.kept_after(clearing, receipt)
        assert {one["owner"]: (one["lockedMicrocents"], one["feeMicrocents"]) for one in kept.positions} == locks
        self.counts["cleared with volume" if matches else "cleared without"] += 1
        if matches:
            self.open.append(OpenMtu(kept=kept, price=clearing["priceCentsPerMwh"], proceeds=None))
        return True

    def _locks(self, clearing: ClearingData) -> dict[str, tuple[int, int]]:
        """Lock and fee of each owner, computed from the matches alone."""
        price = clearing["priceCentsPerMwh"]
        locks: Counter[str] = Counter()
        fees: Counter[str] = Counter()
        for match in clearing["matches"]:
            seller = self.meters[clearing["orders"][match["sell"]]["meter"] - 1]
            buyer = self.meters[clearing["orders"][match["buy"]]["meter"] - 1]
            fee = match["energyWh"] * (FEE - RELIEF if seller.source else FEE)
            locks[seller.owner.address] += match["energyWh"] * (SHORTAGE - price)
            locks[buyer.owner.address] += match["energyWh"] * price + fee
            fees[buyer.owner.address] += fee
        return {owner: (lock, fees[owner]) for owner, lock in locks.items()}

    def _check_limits(self, clearing: ClearingData) -> None:
        """Signed limits and quantities hold for everything that was accepted."""
        fills: Counter[int] = Counter()
        for match in clearing["matches"]:
            fills[match["sell"]] += match["energyWh"]
            fills[match["buy"]] += match["energyWh"]
            self.sold_wh += match["energyWh"]
            self.bought_wh += match["energyWh"]
        for index, order in enumerate(clearing["orders"]):
            assert 0 < fills[index] <= order["quantityWh"]
            better = clearing["priceCentsPerMwh"] - order["limitCentsPerMwh"]
            assert better >= 0 if order["side"] == SELL else better <= 0

    def _answer(self, mtu: OpenMtu, answer: int | None) -> None:
        """The grid operator answers in time, or the deadline passes and the default (proceed) holds."""
        start = mtu.kept.mtu_start
        now = self.market.now
        self.market.move_to(start - 60)
        if answer is not None:
            self.market.answer(answer, mtu_start=start)
        mtu.proceeds = answer != CURTAILED
        self.market.move_to(max(now, start - 59))
        self.next_mtu = max(self.next_mtu, start + MTU_LENGTH_S)

    def _settle(self, data: st.DataObject, mtu: OpenMtu) -> None:
        """Some positions are settled or refunded; the rest comes later."""
        start = mtu.kept.mtu_start
        unsettled = [index for index, one in enumerate(mtu.kept.positions) if not one["settled"]]
        some = st.lists(st.sampled_from(unsettled), unique=True, min_size=1)
        indexes = data.draw(st.one_of(st.permutations(unsettled), some))
        metered = [self._metered(data, mtu.kept.positions[index]) for index in indexes]
        self.market.move_to(max(self.market.now, start + MTU_LENGTH_S))
        self.next_mtu = max(self.next_mtu, self._next_open_gate())
        if mtu.proceeds is None:
            mtu.proceeds = True
        if not self.market.view("MeterLedger", "anchorCount", ZONE, start):
            self.market.anchor(start)
        before = [dict(one) for one in mtu.kept.trades]
        mtu.kept, _ = self.market.settle(mtu.kept, dict(zip(indexes, metered, strict=True)), proceeds=mtu.proceeds)
        for index in indexes:
            self._paid(mtu, mtu.kept.positions[index])
        for old, new in zip(before, mtu.kept.trades, strict=True):
            self._rewarded(mtu, old, new)
        if all(one["settled"] for one in mtu.kept.positions):
            self.open.remove(mtu)

    @staticmethod
    def _metered(data: st.DataObject, position: dict[str, Any]) -> int:
        """Mostly near the contract, sometimes anything the connection carries."""
        error = data.draw(st.one_of(st.integers(-200, 200), st.integers(-4_000, 4_000)))
        return int(max(-2_000, min(2_000, position["contractedWh"] + error)))

    def _next_open_gate(self) -> int:
        return (self.market.now // MTU_LENGTH_S + 2) * MTU_LENGTH_S

    def _paid(self, mtu: OpenMtu, position: dict[str, Any]) -> None:
        ledger, owner, supplier = self.ledger, position["owner"], position["supplier"]
        locked, fee = position["lockedMicrocents"], position["feeMicrocents"]
        self.counts["settled" if mtu.proceeds else "refunded"] += 1
        if not mtu.proceeds:
            ledger.escrow -= locked
            ledger.free[owner] += locked
            return
        released = locked - fee + position["contractedWh"] * mtu.price
        ledger.escrow -= released + fee
        ledger.free[owner] += released
        ledger.free[self.market.grid_operator.address] += fee
        imbalance = position["meteredWh"] - position["contractedWh"]
        if imbalance >= 0:
            ledger.collect(supplier, owner, imbalance * SURPLUS)
        else:
            ledger.collect(owner, supplier, -imbalance * SHORTAGE)

    def _rewarded(self, mtu: OpenMtu, old: dict[str, Any], new: dict[str, Any]) -> None:
        seller, buyer = mtu.kept.positions[new["sell"]], mtu.kept.positions[new["buy"]]
        assert new["rewarded"] is bool(mtu.proceeds and seller["settled"] and buyer["settled"])
        earned = (new["rewardedWh"] - old["rewardedWh"]) * AVOIDED_PER_WH
        assert earned == 0 or not old["rewarded"]
        self.counts["rewarded"] += earned > 0
        self.ledger.tokens[seller["owner"]] += earned // 2
        self.ledger.tokens[buyer["owner"]] += earned - earned // 2

    def _settle_what_is_already_settled(self, data: st.DataObject, mtu: OpenMtu) -> None:
        """Nothing is paid twice."""
        arguments = settle_arguments(mtu.kept, [data.draw(st.sampled_from(settled_indexes(mtu)))], [0])
        self.counts["settled twice refused"] += 1
        with self.market.refuses("PositionAlreadySettled"):
            self.market.send(self.market.market_operator, "EnergyTrading", "settle", *arguments)

    def _accepted(self, expected: str | None, caller: Actor | str, function: str, *arguments: object) -> bool:
        """Whether the call was accepted; it must be, or be refused, as expected."""
        answer = self.market.attempt(caller, "EnergyTrading", function, *arguments)
        refusal = answer if isinstance(answer, str) else None
        assert refusal == expected
        self.counts[f"{function}: {refusal}" if refusal else function] += 1
        return refusal is None

    def _everybody(self) -> list[str]:
        people = [meter.owner for meter in self.meters] + [*self.suppliers, self.market.grid_operator]
        return [one.address for one in people]

    @invariant()
    def accounts_are_those_of_the_ledger(self) -> None:
        """Free, credit, debts and escrow equal the plain ledger's, to the unit."""
        for address in self._everybody():
            expected = (self.ledger.free[address], self.ledger.credit[address])
            assert self.market.view("EnergyTrading", "accountOf", address) == expected
        assert self.market.escrow() == self.ledger.escrow
        for (debtor, creditor), debt in self.ledger.debts.items():
            assert self.market.view("EnergyTrading", "debtOf", debtor, creditor) == debt

    @invariant()
    def cash_is_conserved(self) -> None:
        """What is held is free, set aside or locked; locks are those of the unsettled positions."""
        self.counts["steps"] += 1
        assert self.market.held() == self.ledger.held
        self.market.assert_solvent()
        assert self.bought_wh == self.sold_wh
        if not self.open:
            assert self.market.escrow() == 0

    @invariant()
    def tokens_stem_from_rewards(self) -> None:
        """Balances and supply equal what was rewarded."""
        for address in self._everybody():
            assert self.market.view("LowCarbonToken", "balanceOf", address) == self.ledger.tokens[address]
        assert self.market.view("LowCarbonToken", "totalSupply") == self.ledger.tokens.total()

    @invariant()
    def open_positions_are_counted(self) -> None:
        """The contract knows how many positions of an MTU are still open."""
        for mtu in self.open:
            state = self.market.view("EnergyTrading", "clearingOf", ZONE, mtu.kept.mtu_start)
            assert state[4] == sum(1 for one in mtu.kept.positions if not one["settled"])

    def teardown(self) -> None:
        """Remember what happened, so that a machine that only spins is noticed."""
        self.seen.update(self.counts)


class TestMarketMachine(MarketMachine.TestCase):  # type: ignore[misc, valid-type]
    """About 2,000 steps, the same in every run."""

    settings = settings(
        max_examples=60,
        stateful_step_count=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.long
@pytest.mark.timeout(7_200)
class TestMarketMachineLong(MarketMachine.TestCase):  # type: ignore[misc, valid-type]
    """Many more, other ones in every run."""

    settings = settings(
        max_examples=1_000 if LONG else 200,
        stateful_step_count=100,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def test_the_machine_has_seen_everything_it_is_there_for() -> None:
    if not MarketMachine.seen:
        pytest.skip("runs after the machine")
    wanted = {
        "cleared with volume",
        "cleared without",
        "settled",
        "refunded",
        "rewarded",
        "withdraw",
        "setCredit",
        "clear: InsufficientFunds",
    }
    assert wanted - MarketMachine.seen.keys() == set()


def test_the_plain_auction_s_price_lies_between_its_ends() -> None:
    market = Market()
    seller, buyer = market.producer("producer"), market.consumer("consumer")
    book = [market.order(seller, SELL, 5, 9_000), market.order(buyer, BUY, 7, 9_004)]
    matches, lower, upper = auction(book)
    assert matches == [(book[0], book[1], 5)]
    assert (lower, upper) == (book[1], book[1])
    assert floor_midpoint(9_004, 9_004) == 9_004
