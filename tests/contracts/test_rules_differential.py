"""The contracts' integer rules and the node's Python rules agree bit for bit, on thousands of cases and extremes."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from tests.contracts.rules import CASES, INT64, UINT64, Rules, batches, cases_of, differences, drawn

from gridledger.chain.codec import ContractReverted
from gridledger.market.model import MtuPrices, Position, Trade
from gridledger.market.packing import position_from_words, position_words, trade_from_word, trade_word
from gridledger.market.pairing import EnergyNotBalanced, SelfMatch, derive_trades
from gridledger.market.pricing import reference_price
from gridledger.market.settlement import (
    buyer_lock_microcents,
    fulfilled_wh,
    grid_fee_microcents,
    imbalance_microcents,
    seller_lock_microcents,
    served_wh,
    settle_positions,
    substitute_positions,
    trade_microcents,
)
from gridledger.units import floor_midpoint

INT256 = (-(2**255), 2**255 - 1)
UINT48 = (0, 2**48 - 1)
INT48 = (-(2**47), 2**47 - 1)
PRICE = (-40_000_000, 40_000_000)
PAIRINGS = 1_500


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The deployed rules."""
    return Rules()


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


def test_locks_and_fees_are_the_node_s(rules: Rules) -> None:
    source = random.Random(5)
    cases = []
    for energy_wh, price, shortage, fee in cases_of(5, UINT48, PRICE, PRICE, (0, 10**7)):
        cases.append((energy_wh, price, shortage, fee, source.randint(0, fee)))

    def expected(energy_wh: int, price: int, shortage: int, fee: int, relief: int) -> tuple[int, ...]:
        return (
            buyer_lock_microcents(energy_wh, price),
            seller_lock_microcents(energy_wh, price, shortage),
            grid_fee_microcents(energy_wh, fee, relief, low_carbon=True),
            grid_fee_microcents(energy_wh, fee, relief, low_carbon=False),
        )

    assert differences(cases, rules.many("locksAndFees", cases), expected) == []


def a_position(source: random.Random, **changes: Any) -> Position:
    """A position with every part drawn from its whole range; a seller has no low-carbon part."""
    sells = source.random() < 0.5
    drawn_parts: dict[str, Any] = {
        "meter": drawn(source, (0, 2**32 - 1)),
        "owner": f"0x{source.getrandbits(160):040x}",
        "supplier_number": drawn(source, (0, 2**16 - 1)),
        "source": source.choice([0, 1, 255]),
        "sells": sells,
        "capacity_w": drawn(source, (0, 2**24 - 1)),
        "auction_wh": drawn(source, UINT48),
        "low_carbon_wh": 0 if sells else drawn(source, UINT48),
        "dealt_wh": drawn(source, UINT48),
        "prior_wh": source.choice([0, drawn(source, UINT48)]),
        "continued": source.random() < 0.3,
        "curtailed": source.random() < 0.3,
        "settled": source.random() < 0.7,
        "substitute": source.random() < 0.2,
        "version": source.randint(0, 253),
        "metered_wh": drawn(source, INT48),
        "fee_microcents": drawn(source, (0, 2**80 - 1)),
        "locked_microcents": drawn(source, (0, 2**88 - 1)),
        "deal_microcents": drawn(source, (-(2**87), 2**87 - 1)),
    }
    return Position(**(drawn_parts | changes))


def near_contract(source: random.Random) -> Position:
    """A position whose meter read about what the contract and the chunks before say, so that every clamp is reached."""
    contracted = [source.randint(0, 900) for _ in range(3)]
    sells = source.random() < 0.5
    around = sum(contracted) + source.randint(-1_500, 1_500)
    return a_position(
        source,
        sells=sells,
        auction_wh=contracted[0],
        low_carbon_wh=0 if sells else contracted[1],
        dealt_wh=contracted[2],
        prior_wh=source.choice([0, source.randint(0, 900)]),
        metered_wh=around if sells else -around,
    )


def many_positions(seed: int) -> list[Position]:
    """Half of them of any size, half near their contract."""
    source = random.Random(seed)
    return [one(source) for _ in range(CASES) for one in (a_position, near_contract)]


def test_every_part_of_a_position_is_read_where_the_node_wrote_it(rules: Rules) -> None:
    positions = many_positions(8)
    for batch in batches(positions):
        words = position_words(batch)
        assert position_from_words(words) == tuple(batch)
        for position, parts in zip(batch, rules("partsOfPositions", words), strict=True):
            assert parts == (
                int(position.owner, 16),
                position.meter,
                position.supplier_number,
                position.source,
                position.sells,
                position.settled,
                position.read,
                position.continued,
                position.version,
                position.capacity_w,
                position.auction_wh,
                position.low_carbon_wh,
                position.dealt_wh,
                position.prior_wh,
                position.metered_wh,
                position.fee_microcents,
                position.locked_microcents,
                position.deal_microcents,
                position.curtailed,
            )


def test_cash_and_fulfilled_energy_are_the_node_s_also_across_chunks(rules: Rules) -> None:
    source = random.Random(6)
    reached = {"continued": 0, "prior": 0, "fulfilled in part": 0}
    for batch in batches(many_positions(9)):
        prices = [tuple(drawn(source, PRICE) for _ in range(4)) for _ in batch]
        metered = [one.metered_wh if source.random() < 0.5 else drawn(source, INT48) for one in batch]
        shown = rules("cash", position_words(batch), prices, metered)
        for position, four, value, result in zip(batch, prices, metered, shown, strict=True):
            any_price, low_carbon_price, surplus, shortage = four
            assert result == (
                trade_microcents(position, any_price, low_carbon_price),
                imbalance_microcents(position, value, surplus, shortage),
                fulfilled_wh(position),
            )
            reached["continued"] += position.continued
            reached["prior"] += position.prior_wh > 0
            reached["fulfilled in part"] += 0 < result[2] < position.quantity_wh
    assert min(reached.values()) > 500


def test_settled_positions_are_the_node_s(rules: Rules) -> None:
    source = random.Random(10)
    for batch in batches(many_positions(11)):
        # The same again would be refused.
        metered = [value ^ (value == one.metered_wh) for one, value in ((one, drawn(source, INT48)) for one in batch)]
        words = rules("settled", position_words(batch), metered, [False] * len(batch))
        assert position_from_words(words) == settle_positions(batch, dict(enumerate(metered)))
        substituted = substitute_positions(batch, range(len(batch)))
        if all(abs(one.metered_wh) < 2**47 for one in substituted):
            values = [one.metered_wh for one in substituted]
            words = rules("settled", position_words(batch), values, [True] * len(batch))
            assert position_from_words(words) == substituted


def a_list(source: random.Random) -> list[Position]:
    """Positions of an auction that mostly balances, with several owners that now and then meet themselves."""
    count = source.randint(1, 9)
    owners = [f"0x{number + 1:040x}" for number in range(count * source.choice([1, 2, 5]))]
    positions = []
    for number in range(count):
        sells = source.random() < 0.5
        positions.append(
            a_position(
                source,
                meter=number,
                owner=source.choice(owners),
                sells=sells,
                auction_wh=source.choice([0, source.randint(1, 900)]),
                low_carbon_wh=0 if sells else source.choice([0, source.randint(1, 500)]),
            )
        )
    return balanced(source, positions)


def balanced(source: random.Random, positions: list[Position]) -> list[Position]:
    """The list with one more position that buys or sells what is missing, but for some lists that stay unbalanced."""
    sold = sum(one.auction_wh for one in positions if one.sells)
    bought = sum(one.auction_wh + one.low_carbon_wh for one in positions if not one.sells)
    if sold == bought or source.random() < 0.1:
        return positions
    missing = abs(sold - bought)
    last = a_position(
        source, meter=99, owner="0x" + "99" * 20, sells=sold < bought, auction_wh=missing, low_carbon_wh=0
    )
    return [*positions, last]


def derived(positions: Sequence[Position]) -> tuple[Trade, ...] | tuple[str, tuple[object, ...]]:
    """The node's trades, or the contract's error it stands for."""
    try:
        return derive_trades(positions)
    except SelfMatch as refusal:
        return "SelfMatch", (refusal.owner,)
    except EnergyNotBalanced as refusal:
        return "EnergyNotBalanced", (refusal.unserved_wh, refusal.unsold_wh)


def test_derived_trades_are_the_node_s_and_so_are_refusals(rules: Rules) -> None:
    source = random.Random(12)
    good: list[tuple[list[Position], Any]] = []
    seen = {"SelfMatch": 0, "EnergyNotBalanced": 0}
    while len(good) < PAIRINGS:
        positions = a_list(source)
        expected = derived(positions)
        if expected and isinstance(expected[0], str):
            with pytest.raises(ContractReverted) as caught:
                rules("derive", [position_words(positions)])
            assert (caught.value.name, caught.value.arguments) == expected
            seen[expected[0]] += 1
        else:
            good.append((positions, expected))
    assert min(seen.values()) > 20
    for batch in batches(good, 100):
        results = rules("derive", [position_words(positions) for positions, _ in batch])
        for (_, expected), words in zip(batch, results, strict=True):
            assert tuple(trade_from_word(word) for word in words) == expected
    assert sum(len(trades) for _, trades in good) > 2 * PAIRINGS


def test_served_energy_is_the_node_s_for_any_web_of_trades(rules: Rules) -> None:
    source = random.Random(7)
    webs = [a_web(source) for _ in range(PAIRINGS)]
    assert sum(len(trades) for _, trades in webs) > 10_000
    for batch in batches(webs, 50):
        words = [position_words(positions) for positions, _ in batch]
        results = rules("servedWh", words, [[trade_word(one) for one in trades] for _, trades in batch])
        assert list(results) == [served_wh(positions, trades) for positions, trades in batch]


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
        dealt_wh = source.randint(0, energy_wh)
        metered_wh = energy_wh + source.randint(-1_000, 1_000)
        positions.append(
            a_position(
                source,
                sells=index < sellers,
                auction_wh=energy_wh - dealt_wh,
                low_carbon_wh=0,
                dealt_wh=dealt_wh,
                prior_wh=source.choice([0, 0, 100]),
                metered_wh=metered_wh if index < sellers else -metered_wh,
            )
        )
    return positions, trades
