"""Within their envelopes meters cannot break the zone's limit, whatever the sun does."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.dispatch.envelopes import envelopes
from gridledger.units import OutOfRange

SETPOINTS = st.dictionaries(st.integers(1, 12), st.integers(-3_000, 3_000))
CAPACITIES = st.dictionaries(st.integers(1, 12), st.integers(0, 20_000))
LIMITS = st.integers(0, 30_000)
MTU_LENGTHS = st.sampled_from((300, 900, 1800, 3600))


def test_what_the_limit_leaves_is_shared_by_capacity_on_top_of_setpoints() -> None:
    """2,500 - 1,200 Wh are left; 8 and 5 kW have 8/13 and 5/13 of it, though meter 2 was to import."""
    made = envelopes(
        setpoints_wh={1: 1_200, 2: -300, 3: -100}, capacities_w={1: 8_000, 2: 5_000}, limit_wh=2_500, mtu_length_s=900
    )
    assert made.exports_wh == {1: 2_000, 2: 500}
    assert made.uncovered_wh == 0


def test_without_a_schedule_the_whole_limit_is_shared_by_capacity() -> None:
    made = envelopes(setpoints_wh={}, capacities_w={1: 1, 2: 1, 3: 1, 4: 0}, limit_wh=3_600, mtu_length_s=3600)
    assert made.exports_wh == {1: 1, 2: 1, 3: 1}  # no more than they can
    made = envelopes(setpoints_wh={}, capacities_w={7: 100, 8: 100, 9: 100}, limit_wh=200, mtu_length_s=3600)
    assert made.exports_wh == {7: 67, 8: 67, 9: 66}


def test_firm_import_makes_room_for_export() -> None:
    made = envelopes(
        setpoints_wh={1: 1_000, 2: -600}, capacities_w={1: 8_000}, limit_wh=700, mtu_length_s=900, firm_import_wh=500
    )
    assert made.exports_wh == {1: 1_200}


def test_setpoints_that_rely_on_import_that_is_not_firm_are_told() -> None:
    made = envelopes(
        setpoints_wh={1: 1_000, 2: -600}, capacities_w={1: 8_000, 3: 4_000}, limit_wh=700, mtu_length_s=900
    )
    assert made.exports_wh == {1: 1_000, 3: 0}
    assert made.uncovered_wh == 300


@given(SETPOINTS, CAPACITIES, LIMITS, LIMITS, MTU_LENGTHS)
def test_meters_within_their_envelopes_keep_the_limit(
    setpoints_wh: dict[int, int], capacities_w: dict[int, int], limit_wh: int, firm_wh: int, mtu_length_s: int
) -> None:
    made = envelopes(
        setpoints_wh=setpoints_wh,
        capacities_w=capacities_w,
        limit_wh=limit_wh,
        mtu_length_s=mtu_length_s,
        firm_import_wh=firm_wh,
    )
    assert sum(made.exports_wh.values()) - firm_wh <= limit_wh + made.uncovered_wh
    if made.uncovered_wh:
        assert sum(made.exports_wh.values()) - firm_wh == limit_wh + made.uncovered_wh
    for meter, export_wh in made.exports_wh.items():
        assert export_wh >= max(0, setpoints_wh.get(meter, 0))
        assert export_wh == setpoints_wh.get(meter, 0) or export_wh * 3600 <= capacities_w[meter] * mtu_length_s
    assert list(made.exports_wh) == sorted(made.exports_wh)
    assert {meter for meter, capacity_w in capacities_w.items() if capacity_w} <= made.exports_wh.keys()


@given(SETPOINTS, st.dictionaries(st.integers(1, 12), st.just(2**32 - 1), min_size=1), LIMITS)
def test_where_no_capacity_binds_all_of_the_limit_is_used_pro_rata(
    setpoints_wh: dict[int, int], capacities_w: dict[int, int], limit_wh: int
) -> None:
    made = envelopes(setpoints_wh=setpoints_wh, capacities_w=capacities_w, limit_wh=limit_wh, mtu_length_s=900)
    if not made.uncovered_wh:
        assert sum(made.exports_wh.values()) == limit_wh
        scheduled_wh = sum(max(0, setpoint_wh) for setpoint_wh in setpoints_wh.values())
        for meter in capacities_w:
            share_wh = made.exports_wh[meter] - max(0, setpoints_wh.get(meter, 0))
            assert abs(share_wh - Fraction(limit_wh - scheduled_wh, len(capacities_w))) < 1


@pytest.mark.parametrize(
    ("limit_wh", "firm_import_wh", "capacity_w", "field"),
    [(-1, 0, 0, "limit_wh"), (0, -1, 0, "firm_import_wh"), (0, 0, -1, "capacity_w"), (0, 0, 2**32, "capacity_w")],
)
def test_what_is_out_of_range_makes_no_envelope(
    limit_wh: int, firm_import_wh: int, capacity_w: int, field: str
) -> None:
    with pytest.raises(OutOfRange) as refused:
        envelopes(
            setpoints_wh={},
            capacities_w={1: capacity_w},
            limit_wh=limit_wh,
            mtu_length_s=900,
            firm_import_wh=firm_import_wh,
        )
    assert refused.value.field == field
