"""The contract's check of the order of curtailment against a plain oracle and against the node's rule.

The oracle gives the total cap away one Wh at a time where it can, by sorting; the contract only looks. Energies in Wh.
"""

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest
from tests.contracts.rules import Rules, batches

from gridledger.dispatch.curtailment import Basis, allocate_caps, check_order
from gridledger.dispatch.errors import CurtailmentOrderBroken, NothingCurtailed

LISTS = 6_000
FACTORS = (0, 41_000, 490_000, 2**32 - 1)
Line = tuple[int, int, int]  # basis, cap, factor


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The deployed rules."""
    return Rules()


def oracle(bases: Sequence[tuple[int, int]], total_wh: int) -> list[int]:
    """The caps of (basis, factor) rows: the cleanest class first, within the last one the largest remainder method."""
    caps = [0] * len(bases)
    for factor in sorted({factor for _, factor in bases}):
        members = [index for index, row in enumerate(bases) if row[1] == factor]
        class_wh = sum(bases[index][0] for index in members)
        given_wh = min(total_wh, class_wh)
        total_wh -= given_wh
        quotas = {index: Fraction(given_wh * bases[index][0], class_wh or 1) for index in members}
        for index in members:
            caps[index] = int(quotas[index])
        left_wh = given_wh - sum(caps[index] for index in members)
        for index in sorted(members, key=lambda one: (caps[one] - quotas[one], one))[:left_wh]:
            caps[index] += 1
    return caps


def some_bases(source: random.Random) -> list[tuple[int, int]]:
    """Bases of a kind: many equal ones, so that remainders tie, or of any magnitude up to an int64."""
    most = source.choice([1, 3, 9, 1_000, 2**40, 2**63 - 1])
    factors = source.sample(FACTORS, source.randint(1, len(FACTORS)))
    few = [source.randint(0, most) for _ in range(source.choice([1, 2, 20]))]
    return [(source.choice(few), source.choice(factors)) for _ in range(source.randint(1, 12))]


def spoilt(source: random.Random, lines: list[Line]) -> list[Line]:
    """A Wh or more moved from one cap to another, mostly between neighbours in the order."""
    givers = [index for index, line in enumerate(lines) if line[1] > 0]
    takers = [index for index, line in enumerate(lines) if line[1] < line[0]]
    made = list(lines)
    if not givers or not takers:
        return made
    giver, taker = source.choice(givers), source.choice(takers)
    wh = min(source.choice([1, 1, 1, 2**64]), made[giver][1], made[taker][0] - made[taker][1])
    for index, change in ((giver, -wh), (taker, wh)):
        basis, cap, factor = made[index]
        made[index] = (basis, cap + change, factor)
    return made


def drawn_lists(seed: int) -> list[list[Line]]:
    """Half of them in order, half with something moved."""
    source, made = random.Random(seed), list[list[Line]]()
    while len(made) < LISTS:
        bases = some_bases(source)
        sum_wh = sum(basis for basis, _ in bases)
        total_wh = source.choice(
            [0, sum_wh, *(source.randint(0, most) for most in (sum_wh, sum_wh, sum_wh, min(sum_wh, 50)))]
        )
        lines = [(basis, cap, factor) for (basis, factor), cap in zip(bases, oracle(bases, total_wh), strict=True)]
        made += [lines, spoilt(source, lines)]
    return made


def in_order(lines: Sequence[Line]) -> bool:
    """Whether the caps are what the oracle gives for their sum."""
    caps = [cap for _, cap, _ in lines]
    return caps == oracle([(basis, factor) for basis, _, factor in lines], sum(caps))


def test_the_contract_sees_whether_caps_keep_to_the_order(rules: Rules) -> None:
    lists = drawn_lists(21)
    broken = 0
    for batch in batches(lists, 100):
        for lines, index in zip(batch, rules("firstBroken", batch), strict=True):
            assert (index == len(lines)) == in_order(lines), lines
            broken += index != len(lines)
    assert LISTS // 6 < broken < LISTS // 2


def test_the_node_s_rule_allocates_as_the_oracle_and_sees_what_the_contract_sees() -> None:
    for lines in drawn_lists(23)[:3_000]:
        bases = [Basis(meter=index, basis_wh=basis, rank=factor) for index, (basis, _, factor) in enumerate(lines)]
        caps = [cap for _, cap, _ in lines]
        if sum(caps) == sum(basis for basis, _, _ in lines):
            with pytest.raises(NothingCurtailed):
                check_order(bases, caps)
            continue
        allocated = list(allocate_caps(bases, sum(caps)))
        assert allocated == oracle([(basis, factor) for basis, _, factor in lines], sum(caps))
        if caps == allocated:
            check_order(bases, caps)
        else:
            with pytest.raises(CurtailmentOrderBroken):
                check_order(bases, caps)


# Basis, cap, factor; the index of the line that is broken, or the number of lines.
NAMED: dict[str, tuple[list[Line], int]] = {
    "no line": ([], 0),
    "one meter with nothing left": ([(5, 0, 7)], 1),
    "one meter with a part": ([(5, 3, 7)], 1),
    "one meter as scheduled": ([(5, 5, 7)], 1),
    "meters without a schedule": ([(0, 0, 7), (0, 0, 0)], 2),
    "the tie goes to the lower meter": ([(1, 1, 7), (1, 0, 7)], 2),
    "the tie goes to the higher meter": ([(1, 0, 7), (1, 1, 7)], 1),
    "of three in a tie the middle one": ([(1, 1, 7), (1, 0, 7), (1, 1, 7)], 2),
    "the larger remainder": ([(3, 1, 7), (4, 1, 7)], 2),
    "the smaller remainder": ([(3, 1, 7), (4, 0, 7)], 0),
    "a class above is spared": ([(5, 5, 9), (5, 0, 7)], 1),
    "a class below is curtailed for one Wh above": ([(5, 1, 9), (5, 4, 7)], 1),
    "a class below is whole": ([(5, 1, 9), (5, 5, 7)], 2),
    "three classes, the middle one in part": ([(5, 0, 9), (5, 2, 7), (5, 5, 0)], 3),
    "three classes, two in part": ([(5, 0, 9), (5, 2, 7), (5, 4, 0)], 2),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_case_is_judged_right(rules: Rules, name: str) -> None:
    lines, expected = NAMED[name]
    assert in_order(lines) == (expected == len(lines))
    assert rules("firstBroken", [lines]) == (expected,)
