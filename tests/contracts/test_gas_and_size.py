"""Gas of a clearing and a settlement, and the size of every contract, do not grow unnoticed.

Measured on cold storage, as the first transaction of a block pays, between distinct owners whose balances are not zero.
GRIDLEDGER_UPDATE_GAS=1 writes the snapshot anew.
"""

import json
import os
from collections.abc import Callable
from functools import cache

import pytest
from tests.contracts.curtailing import Curtailer, apply_arguments
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    EUR,
    FIRST_MTU,
    GAS_LIMIT,
    MTU_LENGTH_S,
    SELL,
    SOLAR,
    TESTS_ROOT,
    ZONE,
    Kept,
    Market,
    Meter,
    Pair,
    actor,
    compiled,
    settle_arguments,
)

from gridledger.chain.plan import CONTRACTS
from gridledger.market.model import SignedOrder

SNAPSHOT = TESTS_ROOT / "gas_snapshot.json"
LARGEST_CODE_BYTES = 24_576
MOST_RISE_PERCENT = 2
TRADE_COUNTS = (1, 10, 100)


class Neighbourhood:
    """As many sellers as buyers, each with money and low-carbon tokens from an MTU before the measured one."""

    def __init__(self, trades: int) -> None:
        self.market = Market(gas_limit=2**26)
        self.sellers = self.market.register_many(
            [actor(f"seller {one}") for one in range(trades)], 4_000, 40_000, SOLAR
        )
        self.buyers = self.market.register_many([actor(f"buyer {one}") for one in range(trades)])
        for meter in (*self.sellers, *self.buyers):
            self.market.deposit(meter.owner, EUR)
        self.market.deposit(self.market.supplier, EUR)
        self.market.deposit(self.market.grid_operator, EUR)
        self.lifecycle(FIRST_MTU)

    def lifecycle(self, mtu_start: int) -> dict[str, int]:
        """Gas of each transaction of an MTU in which everybody trades 600 Wh and reads 1 Wh more.

        Nothing is read between a rebase and what it measures, for a read warms storage.
        """
        market, gas = self.market, {}
        offers = [self._order(meter, SELL, 10_000, mtu_start) for meter in self.sellers]
        book = [*offers, *(self._order(meter, BUY, 20_000, mtu_start) for meter in self.buyers)]
        market.close_gate(mtu_start)
        market.rebase()
        gas["commit_book"] = market.commit_book(book, mtu_start).gas_used
        proposal = market.proposal(book, mtu_start=mtu_start)
        clearing = market.clearing(book, proposal, mtu_start=mtu_start)
        kept = Kept.of(proposal, zone=ZONE, mtu_start=mtu_start)
        market.rebase()
        gas["clear"] = market.clear(clearing).gas_used
        answer = market.signed_answer(ACKNOWLEDGED, mtu_start=mtu_start)
        market.rebase()
        gas["answer"] = market.send(market.outsider, "EnergyDispatching", "answer", *answer).gas_used
        market.pass_mtu(mtu_start)
        market.rebase()
        gas["anchor"] = market.anchor().gas_used
        metered = {index: one.contracted_wh + 1 for index, one in enumerate(kept.positions)}
        arguments = settle_arguments(kept, list(metered), list(metered.values()))
        market.rebase()
        gas["settle"] = market.send(market.market_operator, "EnergySettlement", "settle", *arguments).gas_used
        return gas

    def curtailment(self, mtu_start: int) -> dict[str, int]:
        """Gas of an ordinary curtailment of all sellers by half, and of carrying it out; the operator pays."""
        market, gas = self.market, {}
        offers = [self._order(meter, SELL, 10_000, mtu_start) for meter in self.sellers]
        book = [*offers, *(self._order(meter, BUY, 20_000, mtu_start) for meter in self.buyers)]
        kept = market.clear_book(book, mtu_start=mtu_start)
        curtailer = Curtailer.of(market, [kept], self.sellers)
        caps = curtailer.fair([meter.number for meter in self.sellers], 300 * len(self.sellers))
        curtailment = curtailer.arguments(curtailer.message(caps, reason=1))
        market.rebase()
        gas["curtail"] = market.send(market.outsider, "EnergyDispatching", "curtail", *curtailment).gas_used
        market.pass_mtu(mtu_start)
        arguments = apply_arguments(kept, caps)
        market.rebase()
        gas["apply_caps"] = market.send(market.outsider, "EnergyCurtailment", "applyCaps", *arguments).gas_used
        return gas

    def _order(self, meter: Meter, side: int, limit: int, mtu_start: int) -> SignedOrder:
        return self.market.order(meter, side, 600, limit, mtu_start=mtu_start)


@cache
def lifecycle_gas(trades: int) -> dict[str, int]:
    """Gas of each transaction of an MTU with that many trades, each between two owners of their own."""
    neighbourhood = Neighbourhood(trades)
    gas = neighbourhood.lifecycle(FIRST_MTU + MTU_LENGTH_S)
    return gas | neighbourhood.curtailment(FIRST_MTU + 2 * MTU_LENGTH_S)


@cache
def plain_gas() -> dict[str, int]:
    """Gas of the transactions that do not depend on a number of trades."""
    market = Market()
    owner = actor("owner")
    market.register(owner)
    market.fund(owner, EUR)
    measured: dict[str, Callable[[], int]] = {
        "deposit": lambda: market.send(owner, "EnergyTrading", "deposit", EUR).gas_used,
        "cancel": lambda: market.send(owner, "EnergyTrading", "cancel", b"\1" * 32).gas_used,
        "cancel_up_to": lambda: market.send(owner, "EnergyTrading", "cancelUpTo", 7).gas_used,
        "request_withdrawal": lambda: market.request_withdrawal(owner, EUR).gas_used,
        "withdraw": lambda: market.withdraw(owner, EUR).gas_used,
    }
    gas = {}
    for name, measure in measured.items():
        market.rebase()
        gas[name] = measure()
    return gas


def measured_snapshot() -> dict[str, int]:
    """All figures by name."""
    sizes = {f"bytes {name}": len(compiled().contract(name).deployed_bytecode) for name in CONTRACTS}
    lifecycle = {f"gas {step} {trades}": gas for trades in TRADE_COUNTS for step, gas in lifecycle_gas(trades).items()}
    return sizes | {f"gas {name}": gas for name, gas in plain_gas().items()} | lifecycle


def stored_snapshot() -> dict[str, int]:
    """The figures last accepted."""
    stored: dict[str, int] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    return stored


def rises(stored: dict[str, int], measured: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Figures that rose by more than the limit, before and after."""
    return {
        name: (stored[name], value)
        for name, value in measured.items()
        if value * 100 > stored[name] * (100 + MOST_RISE_PERCENT)
    }


def test_no_figure_rose_by_more_than_two_percent() -> None:
    measured = measured_snapshot()
    if os.environ.get("GRIDLEDGER_UPDATE_GAS"):
        SNAPSHOT.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    stored = stored_snapshot()
    assert stored.keys() == measured.keys()
    assert rises(stored, measured) == {}


def test_a_rise_is_noticed_and_a_small_one_is_not() -> None:
    assert rises({"clear": 1_000}, {"clear": 1_020}) == {}
    assert rises({"clear": 1_000}, {"clear": 1_021}) == {"clear": (1_000, 1_021)}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_contract_fits_under_the_code_size_limit(contract: str) -> None:
    assert 0 < len(compiled().contract(contract).deployed_bytecode) < LARGEST_CODE_BYTES


def test_a_hundred_trades_fit_into_one_transaction_each_way() -> None:
    gas = lifecycle_gas(100)
    assert max(gas.values()) < GAS_LIMIT


def test_a_trade_among_a_hundred_costs_less_than_one_alone() -> None:
    alone, together = lifecycle_gas(1), lifecycle_gas(100)
    assert all(together[step] < 100 * alone[step] for step in alone)
    assert together["commit_book"] - alone["commit_book"] < 100


def test_gas_is_measured_on_cold_storage() -> None:
    market = Market()
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    clearing = pair.clearing(market)
    with market.undone():
        warm = market.clear(clearing).gas_used
    market.rebase()
    assert market.clear(clearing).gas_used > warm + 5_000
    assert market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["openPositions"] == 2
