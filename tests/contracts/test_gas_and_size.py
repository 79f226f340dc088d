"""Gas of a clearing and a settlement, and the size of every contract, do not grow unnoticed.

Measured on cold storage, as the first transaction of a block pays. GRIDLEDGER_UPDATE_GAS=1 writes the snapshot anew.
"""

import json
import os
from collections.abc import Callable
from functools import cache

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    EUR,
    FIRST_MTU,
    GAS_LIMIT,
    SELL,
    SOLAR,
    TESTS_ROOT,
    Market,
    Pair,
    actor,
    compiled,
)

from gridledger.chain.plan import CONTRACTS

SNAPSHOT = TESTS_ROOT / "gas_snapshot.json"
LARGEST_CODE_BYTES = 24_576
MOST_RISE_PERCENT = 2
TRADE_COUNTS = (1, 10, 100)


@cache
def lifecycle_gas(trades: int) -> dict[str, int]:
    """Gas of each transaction of an MTU with that many trades, each between two meters of their own.

    Nothing is read between a rebase and what it measures, for a read warms storage.
    """
    market = Market(gas_limit=2**26)
    sellers = market.register_many([actor(f"seller {number}") for number in range(trades)], 4_000, 40_000, SOLAR)
    buyers = market.register_many([actor(f"buyer {number}") for number in range(trades)])
    for meter in (*sellers, *buyers):
        market.deposit(meter.owner, EUR)
    market.deposit(market.supplier, EUR)
    offers = [market.order(meter, SELL, 600, 10_000) for meter in sellers]
    bids = [market.order(meter, BUY, 600, 20_000) for meter in buyers]
    matches = [(offer, bid, 600) for offer, bid in zip(offers, bids, strict=True)]
    market.close_gate()
    gas = {}
    market.rebase()
    gas["commit_book"] = market.commit_book([*offers, *bids]).gas_used
    clearing = market.clearing([*offers, *bids], matches, lower=offers[0], upper=bids[0])
    market.rebase()
    cleared = market.clear(clearing)
    gas["clear"] = cleared.gas_used
    kept = market.kept_after(clearing, cleared)
    answer = market.signed_answer(ACKNOWLEDGED)
    market.rebase()
    gas["answer"] = market.send(market.outsider, "EnergyDispatching", "answer", *answer).gas_used
    market.pass_mtu()
    market.rebase()
    gas["anchor"] = market.anchor().gas_used
    metered = {index: one["contractedWh"] + 1 for index, one in enumerate(kept.positions)}
    market.rebase()
    gas["settle"] = market.settle(kept, metered)[1].gas_used
    return gas


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
        "withdraw": lambda: market.send(owner, "EnergyTrading", "withdraw", EUR).gas_used,
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
    assert market.view("EnergyTrading", "clearingOf", 1, FIRST_MTU)[3]
