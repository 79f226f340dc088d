"""The contracts' integer rules and the node's Python rules agree bit for bit, on thousands of cases and extremes."""

import random
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
from pyrevm import EVM
from tests.contracts.harness import SPEC_ID, TESTS_ROOT, compiled, revert_bytes

from gridledger.chain.codec import ContractCodec, ContractReverted, decode_revert
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.toolchain import contracts_root
from gridledger.market.model import MtuPrices, Position, Trade
from gridledger.market.pricing import reference_price
from gridledger.market.settlement import (
    buyer_lock_microcents,
    position_cash,
    seller_lock_microcents,
    served_wh,
)
from gridledger.units import floor_midpoint

CASES = 5_000
BATCH = 500
INT64 = (-(2**63), 2**63 - 1)
INT256 = (-(2**255), 2**255 - 1)
UINT64 = (0, 2**64 - 1)
CALLER = "0x" + "aa" * 20


class Rules:
    """The test-only contract around the libraries, deployed in an EVM of its own."""

    def __init__(self) -> None:
        # The libraries are read from beside the project's contracts; their hash names the folder, so none is stale.
        build = contracts_root() / "build" / "rules-harness" / compiled().input_sha256[:16]
        self._artifacts = load_artifacts(source_dir=TESTS_ROOT / "sources", build_dir=build)
        self._codec = ContractCodec(self._artifacts.contract("RulesHarness"))
        self._evm = EVM(spec_id=SPEC_ID)
        self._address = self._evm.deploy(deployer=CALLER, code=self._codec.creation_data())

    def __call__(self, function: str, *arguments: object) -> Any:
        """One call; raises ContractReverted."""
        data = self._codec.call_data(function, *arguments)
        try:
            answer = self._evm.message_call(caller=CALLER, to=self._address, calldata=data, is_static=True)
        except RuntimeError as error:
            raise decode_revert(self._artifacts, revert_bytes(error)) from None
        (values,) = self._codec.result(function, bytes(answer))
        return values

    def many(self, function: str, cases: Sequence[tuple[int, ...]]) -> list[Any]:
        """The results of all cases, in batches."""
        results: list[Any] = []
        for start in range(0, len(cases), BATCH):
            columns = [list(column) for column in zip(*cases[start : start + BATCH], strict=True)]
            results += self(function, *columns)
        return results


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The deployed rules."""
    return Rules()


def near(bounds: tuple[int, int]) -> list[int]:
    """The extremes of a type and the values around zero that lie inside it."""
    low, high = bounds
    return sorted({low, low + 1, high - 1, high, *(value for value in (-2, -1, 0, 1, 2) if low <= value <= high)})


def drawn(source: random.Random, bounds: tuple[int, int]) -> int:
    """A value of any magnitude inside the bounds, so that small and large ones are equally likely."""
    low, high = bounds
    magnitude = source.getrandbits(source.randint(1, high.bit_length()))
    return max(low, min(high, magnitude if low == 0 or source.random() < 0.5 else -magnitude))


def cases_of(seed: int, *bounds: tuple[int, int]) -> list[tuple[int, ...]]:
    """Every combination of extremes, then random cases, at least CASES in all."""
    source = random.Random(seed)
    extremes = list(product(*(near(one) for one in bounds)))
    return extremes + [tuple(drawn(source, one) for one in bounds) for _ in range(CASES)]


def differences(
    cases: Sequence[tuple[int, ...]], results: Sequence[Any], expected: Callable[..., Any]
) -> list[tuple[Any, ...]]:
    """Cases on which the two disagree, with both results."""
    assert len(cases) == len(results) >= CASES
    return [
        (case, result, expected(*case))
        for case, result in zip(cases, results, strict=True)
        if result != expected(*case)
    ]


def test_division_floors_as_python_does(rules: Rules) -> None:
    pairs = [pair for pair in cases_of(1, INT256, INT256) if pair[1] != 0 and pair != (INT256[0], -1)]
    pairs += [(numerator, denominator) for numerator in range(-9, 10) for denominator in (-4, -3, -1, 1, 3, 4)]
    assert differences(pairs, rules.many("floorDiv", pairs), lambda a, b: a // b) == []


@pytest.mark.parametrize(("numerator", "denominator", "panic"), [(1, 0, 0x12), (INT256[0], -1, 0x11)])
def test_division_by_zero_and_beyond_the_type_panic(rules: Rules, numerator: int, denominator: int, panic: int) -> None:
    with pytest.raises(ContractReverted) as caught:
        rules("floorDiv", [numerator], [denominator])
    assert (caught.value.name, caught.value.arguments) == ("Panic", (panic,))


def test_the_midpoint_of_any_two_prices_is_the_node_s(rules: Rules) -> None:
    pairs = cases_of(2, INT64, INT64)
    assert differences(pairs, rules.many("floorMidpoint", pairs), floor_midpoint) == []


def test_the_ratio_price_is_the_node_s_for_any_tariffs_and_energies(rules: Rules) -> None:
    cases = cases_of(3, INT64, INT64, UINT64, UINT64)
    source = random.Random(4)
    for _ in range(CASES):
        demand_wh = source.randint(1, 10**6)
        retail = source.randint(-(10**5), 10**5)
        cases.append((source.randint(-(10**5), 10**5), retail, source.randint(0, demand_wh), demand_wh))

    def expected(feed_in: int, retail: int, supply_wh: int, demand_wh: int) -> int:
        unbounded = MtuPrices(
            feed_in=feed_in, retail=retail, floor=INT64[0], cap=INT64[1], surplus=INT64[0], shortage=INT64[1]
        )
        return reference_price(unbounded, supply_wh, demand_wh)

    assert differences(cases, rules.many("ratioPrice", cases), expected) == []


def test_locks_are_the_node_s(rules: Rules) -> None:
    cases = cases_of(5, UINT64, INT64, INT64)

    def expected(energy_wh: int, price: int, shortage: int) -> tuple[int, int]:
        return buyer_lock_microcents(energy_wh, price), seller_lock_microcents(energy_wh, price, shortage)

    assert differences(cases, rules.many("locks", cases), expected) == []


def test_settlement_cash_is_the_node_s(rules: Rules) -> None:
    source = random.Random(6)
    limits = (INT64, INT64, INT64, INT64, INT64)
    cases = [tuple(drawn(source, one) for one in limits) for _ in range(CASES)]
    cases += [tuple(source.choice(near(INT64)) for _ in limits) for _ in range(CASES)]

    def expected(contracted: int, metered: int, price: int, surplus: int, shortage: int) -> tuple[int, int]:
        made = position_cash(position(contracted, metered), price, surplus, shortage)
        return made.trade_microcents, made.imbalance_microcents

    assert differences(cases, rules.many("cash", cases), expected) == []


def position(contracted_wh: int, metered_wh: int, *, settled: bool = True) -> Position:
    """A position of which only the energies matter."""
    return Position(
        meter=1,
        source=1,
        settled=settled,
        owner=CALLER,
        supplier=CALLER,
        contracted_wh=contracted_wh,
        metered_wh=metered_wh,
        locked_microcents=0,
        fee_microcents=0,
    )


def test_served_energy_is_the_node_s_for_any_web_of_trades(rules: Rules) -> None:
    source = random.Random(7)
    trades_compared = 0
    while trades_compared < CASES:
        positions, trades = a_web(source)
        shown = [tuple(vars(one).values()) for one in positions]
        kept = [(one.sell, one.buy, one.energy_wh, one.rewarded_wh, one.rewarded) for one in trades]
        assert rules("servedWh", shown, kept) == served_wh(positions, trades)
        trades_compared += len(trades)


def a_web(source: random.Random) -> tuple[list[Position], list[Trade]]:
    """Some sellers, some buyers, trades between them, and meters that read anything."""
    sellers, buyers = source.randint(1, 6), source.randint(1, 6)
    trades = [
        Trade(sell=source.randrange(sellers), buy=sellers + source.randrange(buyers), energy_wh=source.randint(1, 900))
        for _ in range(source.randint(1, 25))
    ]
    positions = []
    for index in range(sellers + buyers):
        energy_wh = sum(one.energy_wh for one in trades if index in (one.sell, one.buy))
        contracted_wh = energy_wh if index < sellers else -energy_wh
        metered_wh = contracted_wh + source.randint(-1_000, 1_000)
        positions.append(position(contracted_wh, metered_wh, settled=source.random() < 0.8))
    return positions, trades
