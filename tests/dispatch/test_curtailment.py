"""Curtailment spares the cleanest, shares pro rata within a class, and nobody can be given another's cap."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gridledger.dispatch.curtailment import (
    HIGHEST_RANK,
    MOST_CAPS,
    OTHER_SOURCE,
    Basis,
    allocate_caps,
    check_order,
    emission_rank,
)
from gridledger.dispatch.errors import (
    CapAboveSchedule,
    CapCountOutOfRange,
    CapsIncomplete,
    CurtailmentOrderBroken,
    MetersNotAscending,
    NothingCurtailed,
)
from gridledger.errors import GridLedgerError
from gridledger.units import UINT64_MAX, OutOfRange

RANKS = (0, 11_000, 41_000, HIGHEST_RANK)
SOLAR, GAS = 41_000, 490_000


def basis(meter: int, basis_wh: int, rank: int = SOLAR) -> Basis:
    return Basis(meter=meter, basis_wh=basis_wh, rank=rank)


@st.composite
def curtailable(draw: st.DrawFn, *, largest_wh: int = 5_000) -> tuple[tuple[Basis, ...], int]:
    """Bases of one to a dozen meters of a few classes, and a total cap below their sum."""
    meters = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=12)))
    energies = st.one_of(st.integers(0, 6), st.integers(0, largest_wh))
    bases = tuple(basis(meter, draw(energies), draw(st.sampled_from(RANKS))) for meter in meters)
    total_wh = sum(each.basis_wh for each in bases)
    assume(total_wh > 0)
    return bases, draw(st.integers(0, total_wh - 1))


def told_by_the_words(bases: Sequence[Basis], total_cap_wh: int) -> tuple[int, ...]:
    """The rule in fractions, one Wh at a time and class by class: an oracle that shares no line with the product."""
    caps = {each.meter: Fraction(0) for each in bases}
    left = Fraction(total_cap_wh)
    for rank in sorted({each.rank for each in bases}):
        members = [each for each in bases if each.rank == rank]
        whole = Fraction(sum(each.basis_wh for each in members))
        given_out = min(whole, left)
        exact = {each.meter: given_out * each.basis_wh / whole if whole else Fraction(0) for each in members}
        for meter, share in exact.items():
            caps[meter] = Fraction(share.numerator // share.denominator)
        while sum(caps[meter] for meter in exact) < given_out:
            waiting = [meter for meter in exact if caps[meter] <= exact[meter] and caps[meter] + 1 > exact[meter]]
            neediest = max(waiting, key=lambda meter: (exact[meter] - caps[meter], -meter))
            caps[neediest] += 1
        left -= given_out
    return tuple(int(caps[each.meter]) for each in bases)


def test_low_carbon_energy_is_curtailed_only_when_nothing_else_is_left() -> None:
    bases = (basis(1, 400), basis(2, 300, GAS), basis(3, 200, HIGHEST_RANK))
    assert allocate_caps(bases, 700) == (400, 300, 0)
    assert allocate_caps(bases, 650) == (400, 250, 0)
    assert allocate_caps(bases, 400) == (400, 0, 0)
    assert allocate_caps(bases, 399) == (399, 0, 0)
    assert allocate_caps(bases, 0) == (0, 0, 0)


def test_within_a_class_shares_are_pro_rata_and_the_largest_remainder_gets_the_odd_watt_hour() -> None:
    assert allocate_caps((basis(1, 10), basis(2, 20), basis(3, 40)), 50) == (7, 14, 29)  # 7.14, 14.29, 28.57
    assert allocate_caps((basis(1, 1), basis(2, 1), basis(3, 1)), 1) == (1, 0, 0)  # a tie: the lower meter


@pytest.mark.parametrize(
    ("source", "factor", "rank"),
    [(1, 41_000, 41_000), (1, 0, 0), (OTHER_SOURCE, 41_000, HIGHEST_RANK), (7, None, HIGHEST_RANK)],
)
def test_sources_nobody_has_stated_a_factor_for_rank_with_other_above_all(
    source: int, factor: int | None, rank: int
) -> None:
    assert emission_rank(source, factor) == rank


@given(curtailable())
def test_caps_sum_to_what_may_still_flow_and_none_is_above_its_schedule(case: tuple[tuple[Basis, ...], int]) -> None:
    bases, total_cap_wh = case
    caps_wh = allocate_caps(bases, total_cap_wh)
    assert sum(caps_wh) == total_cap_wh
    assert all(0 <= cap_wh <= each.basis_wh for each, cap_wh in zip(bases, caps_wh, strict=True))


@given(curtailable())
def test_nobody_is_curtailed_while_somebody_dirtier_still_flows(case: tuple[tuple[Basis, ...], int]) -> None:
    bases, total_cap_wh = case
    pairs = tuple(zip(bases, allocate_caps(bases, total_cap_wh), strict=True))
    curtailed = [each.rank for each, cap_wh in pairs if cap_wh < each.basis_wh]
    flowing = [each.rank for each, cap_wh in pairs if cap_wh > 0]
    assert all(rank <= min(curtailed) for rank in flowing)


@given(curtailable())
def test_in_a_class_no_cap_is_a_watt_hour_from_its_exact_share(case: tuple[tuple[Basis, ...], int]) -> None:
    bases, total_cap_wh = case
    pairs = tuple(zip(bases, allocate_caps(bases, total_cap_wh), strict=True))
    for rank in RANKS:
        members = [(each, cap_wh) for each, cap_wh in pairs if each.rank == rank and each.basis_wh]
        whole, flowing = sum(each.basis_wh for each, _ in members), sum(cap_wh for _, cap_wh in members)
        assert all(abs(Fraction(flowing * each.basis_wh, whole) - cap_wh) < 1 for each, cap_wh in members)


@settings(max_examples=300)
@given(curtailable())
def test_caps_are_those_the_words_of_the_rule_give(case: tuple[tuple[Basis, ...], int]) -> None:
    assert allocate_caps(*case) == told_by_the_words(*case)


@given(curtailable(largest_wh=UINT64_MAX))
def test_what_is_allocated_passes_the_check(case: tuple[tuple[Basis, ...], int]) -> None:
    check_order(case[0], allocate_caps(*case))


@settings(max_examples=300)
@given(curtailable())
def test_no_watt_hour_can_be_moved_from_one_meter_to_another(case: tuple[tuple[Basis, ...], int]) -> None:
    """Within the class curtailed in part and between classes; what is moved stays within the schedules."""
    bases, total_cap_wh = case
    caps_wh = allocate_caps(bases, total_cap_wh)
    for giver, taker in permutations(range(len(bases)), 2):
        if caps_wh[giver] == 0 or caps_wh[taker] == bases[taker].basis_wh:
            continue
        moved = list(caps_wh)
        moved[giver] -= 1
        moved[taker] += 1
        with pytest.raises(CurtailmentOrderBroken):
            check_order(bases, moved)


@settings(max_examples=300)
@given(curtailable(largest_wh=4), st.data())
def test_the_check_takes_just_the_caps_that_are_allocated(
    case: tuple[tuple[Basis, ...], int], data: st.DataObject
) -> None:
    bases, _ = case
    caps_wh = tuple(data.draw(st.integers(0, each.basis_wh)) for each in bases)
    if sum(caps_wh) == sum(each.basis_wh for each in bases):
        with pytest.raises(NothingCurtailed):
            check_order(bases, caps_wh)
    elif (expected_wh := allocate_caps(bases, sum(caps_wh))) == caps_wh:
        check_order(bases, caps_wh)
    else:
        with pytest.raises(CurtailmentOrderBroken) as refused:
            check_order(bases, caps_wh)
        place = [each.meter for each in bases].index(refused.value.meter)
        assert (refused.value.expected_wh, refused.value.found_wh) == (expected_wh[place], caps_wh[place])
        assert refused.value.expected_wh != refused.value.found_wh


@pytest.mark.parametrize(
    ("bases", "caps_wh", "refused"),
    [
        ((), (), CapCountOutOfRange(count=0, most=MOST_CAPS)),
        ([basis(n, 2) for n in range(MOST_CAPS + 1)], [1] * (MOST_CAPS + 1), CapCountOutOfRange(count=513, most=512)),
        ((basis(2, 5), basis(1, 5)), (1, 1), MetersNotAscending(meter=1)),
        ((basis(2, 5), basis(2, 5)), (1, 1), MetersNotAscending(meter=2)),
        ((basis(1, 5), basis(2, 5)), (1,), CapsIncomplete(meter_count=2, cap_count=1)),
        ((basis(1, 5), basis(2, 5)), (6, 0), CapAboveSchedule(meter=1, basis_wh=5, cap_wh=6)),
        ((basis(1, 0), basis(2, 5)), (1, 0), CapAboveSchedule(meter=1, basis_wh=0, cap_wh=1)),
        ((basis(1, 5), basis(2, 5)), (5, 5), NothingCurtailed(basis_wh=10, cap_wh=10)),
        ((basis(1, 0),), (0,), NothingCurtailed(basis_wh=0, cap_wh=0)),
        ((basis(1, 5),), (-1,), OutOfRange(field="cap_wh", value=-1, lowest=0, highest=UINT64_MAX)),
        ((basis(1, -5),), (0,), OutOfRange(field="basis_wh", value=-5, lowest=0, highest=UINT64_MAX)),
        ((basis(1, 5), basis(2, 5, GAS)), (4, 1), CurtailmentOrderBroken(meter=1, expected_wh=5, found_wh=4)),
        ((basis(1, 4), basis(2, 4)), (3, 1), CurtailmentOrderBroken(meter=1, expected_wh=2, found_wh=3)),
        ((basis(1, 1), basis(2, 1)), (0, 1), CurtailmentOrderBroken(meter=1, expected_wh=1, found_wh=0)),
    ],
)
def test_each_way_to_be_wrong_is_named(
    bases: Sequence[Basis], caps_wh: Sequence[int], refused: GridLedgerError
) -> None:
    with pytest.raises(type(refused)) as caught:
        check_order(bases, caps_wh)
    assert caught.value.values() == refused.values()


@pytest.mark.parametrize("total_cap_wh", [10, 11])
def test_a_total_that_curtails_nobody_is_not_allocated(total_cap_wh: int) -> None:
    with pytest.raises(NothingCurtailed):
        allocate_caps((basis(1, 4), basis(2, 6)), total_cap_wh)
