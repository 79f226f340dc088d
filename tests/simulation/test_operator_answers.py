"""What a grid operator answers by its limit: caps only where they are needed, always in the order of curtailment."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gridledger.dispatch.curtailment import HIGHEST_RANK, MOST_CAPS, Basis, check_order
from gridledger.dispatch.limits import firm_wh
from gridledger.dispatch.setpoints import Direction, SetpointRow, basis_wh
from gridledger.simulation.operator_answers import Caps, ScheduledMeter, decide
from gridledger.units import OutOfRange

SUN, OTHER = 41_000, HIGHEST_RANK


def meters(*setpoints: tuple[int, int]) -> list[ScheduledMeter]:
    """Meters from 1 by setpoint in Wh and rank; the energy is half contract, half residual."""
    return [
        ScheduledMeter(
            row=SetpointRow(meter=meter, contracted_wh=energy_wh // 2, residual_wh=energy_wh - energy_wh // 2),
            rank=rank,
        )
        for meter, (energy_wh, rank) in enumerate(setpoints, start=1)
    ]


def test_without_a_limit_nothing_is_capped() -> None:
    assert decide(meters((10**9, SUN)), 900, None) is None


@pytest.mark.parametrize(
    ("setpoints", "limit_kw"),
    [
        ([(2_000, SUN)], 8),
        ([(2_300, SUN), (-1_000, OTHER)], 8),
        ([(-2_000, OTHER)], 8),
        ([(-2_300, OTHER), (1_000, SUN)], 8),
        ([], 0),
        ([(0, SUN)], 0),
    ],
    ids=["exports", "exports and the firm imports", "imports", "imports and the firm exports", "nobody", "nothing"],
)
def test_a_limit_just_reached_is_kept(setpoints: list[tuple[int, int]], limit_kw: int) -> None:
    assert decide(meters(*setpoints), 900, limit_kw) is None


@pytest.mark.parametrize(
    ("setpoints", "direction", "caps_wh"),
    [
        ([(2_001, SUN)], Direction.EXPORT, {1: 2_000}),
        ([(2_301, SUN), (-1_000, OTHER)], Direction.EXPORT, {1: 2_300}),
        ([(2_301, SUN), (-1_003, OTHER)], Direction.EXPORT, {1: 2_300}),
        ([(-2_001, OTHER)], Direction.IMPORT, {1: 2_000}),
        ([(-1_500, OTHER), (-501, SUN)], Direction.IMPORT, {1: 1_499, 2: 501}),
        ([(1_000, SUN), (1_000, OTHER), (1_000, SUN)], Direction.EXPORT, {1: 1_000, 2: 0, 3: 1_000}),
        ([(1_500, SUN), (1_000, OTHER), (1_500, SUN)], Direction.EXPORT, {1: 1_000, 2: 0, 3: 1_000}),
        ([(5_000, SUN), (-3_000, OTHER), (0, SUN)], Direction.EXPORT, {1: 2_900}),
    ],
)
def test_one_watt_hour_too_much_is_capped_to_the_limit_low_carbon_last(
    setpoints: list[tuple[int, int]], direction: Direction, caps_wh: dict[int, int]
) -> None:
    assert decide(meters(*setpoints), 900, 8) == Caps(direction=direction, wh=caps_wh)


def test_the_limit_is_a_power_whatever_the_length_of_the_mtu_is() -> None:
    assert decide(meters((8_000, SUN)), 3_600, 8) is None
    assert decide(meters((8_000, SUN)), 1_800, 8) == Caps(direction=Direction.EXPORT, wh={1: 4_000})


def test_more_meters_than_one_curtailment_names_are_capped_by_those_that_come_first_in_the_order() -> None:
    setpoints = [(10, SUN)] * 300 + [(10, OTHER)] * 300
    caps = decide(meters(*setpoints), 900, 16)
    assert caps is not None
    assert len(caps.wh) == MOST_CAPS
    assert set(range(301, 601)) <= caps.wh.keys()
    kept_wh = sum(energy_wh for meter, (energy_wh, _) in enumerate(setpoints, start=1) if meter not in caps.wh)
    assert kept_wh + sum(caps.wh.values()) == 4_000


@given(
    st.lists(st.tuples(st.integers(-3_000, 3_000), st.sampled_from([SUN, 400_000, OTHER])), min_size=1, max_size=12),
    st.integers(0, 20),
)
def test_caps_are_in_order_and_leave_what_the_limit_and_the_firm_part_of_the_other_way_allow(
    setpoints: list[tuple[int, int]], limit_kw: int
) -> None:
    scheduled = meters(*setpoints)
    caps = decide(scheduled, 900, limit_kw)
    assume(caps is not None)
    assert caps is not None
    other = Direction.IMPORT if caps.direction is Direction.EXPORT else Direction.EXPORT
    named = [one for one in scheduled if one.row.meter in caps.wh]
    bases = [
        Basis(
            meter=one.row.meter,
            basis_wh=basis_wh(one.row, caps.direction),
            rank=one.rank if caps.direction is Direction.EXPORT else 0,
        )
        for one in named
    ]
    check_order(bases, [caps.wh[one.meter] for one in bases])
    assert {one.row.meter for one in scheduled if basis_wh(one.row, caps.direction)} == caps.wh.keys()
    assert sum(caps.wh.values()) == limit_kw * 250 + firm_wh(sum(basis_wh(one.row, other) for one in scheduled))


def test_a_meter_is_read_as_the_node_shows_it() -> None:
    document = {"meter": 3, "contracted_wh": -5, "residual_wh": 2, "source": 1, "factor_mgco2_per_kwh": 41_000}
    row = SetpointRow(meter=3, contracted_wh=-5, residual_wh=2)
    assert ScheduledMeter.of(document) == ScheduledMeter(row=row, rank=SUN)
    assert ScheduledMeter.of(document | {"factor_mgco2_per_kwh": None}).rank == OTHER
    assert ScheduledMeter.of(document | {"source": 0}).rank == OTHER
    with pytest.raises(OutOfRange):
        ScheduledMeter.of(document | {"factor_mgco2_per_kwh": -1})
