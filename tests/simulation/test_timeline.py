"""The steps of a run: their moments, their order, and which of them a continued run repeats."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridledger.simulation.timeline import (
    Step,
    StepKind,
    consecutive_chunks,
    genesis_time_s,
    must_repeat,
    timeline,
)

NOON = 1_714_564_800  # 2024-05-01T12:00:00Z
LENGTHS_S = (300, 900, 1800, 3600)


def test_genesis_lies_an_hour_before_the_first_gate_on_a_full_hour() -> None:
    assert genesis_time_s(NOON, 300) == NOON - 2 * 3600
    assert genesis_time_s(NOON + 900, 300) == NOON - 3600


def test_an_mtu_is_ordered_closed_and_read_in_this_order() -> None:
    steps = timeline([NOON], mtu_length_s=900, gate_closure_s=300)
    assert [(step.kind, step.time_s - NOON) for step in steps] == [
        (StepKind.ORDERS_POSTED, -360),
        (StepKind.GATE_CLOSES, -300),
        (StepKind.READINGS_POSTED, 900),
    ]


def test_steps_of_neighbouring_mtus_interleave_by_time() -> None:
    steps = timeline([NOON, NOON + 900, NOON + 1800], mtu_length_s=900, gate_closure_s=300, with_oracle=True)
    assert [(step.kind.name[:2], (step.mtu_start - NOON) // 900) for step in steps] == [
        ("OR", 0),
        ("OR", 0),
        ("GA", 0),
        ("OR", 1),
        ("GA", 1),
        ("RE", 0),
        ("OR", 2),
        ("GA", 2),
        ("RE", 1),
        ("RE", 2),
    ]
    assert steps[0] == Step(time_s=NOON - 900, kind=StepKind.ORACLE_POSTS, mtu_start=NOON, mtu_count=3)


@settings(deadline=None)
@given(
    places=st.sets(st.integers(0, 300), min_size=1),
    length_s=st.sampled_from(LENGTHS_S),
    gate_closure_s=st.integers(60, 3600),
)
def test_every_mtu_has_its_steps_after_genesis_in_ascending_time(
    places: set[int], length_s: int, gate_closure_s: int
) -> None:
    starts = [NOON + place * length_s for place in sorted(places)]
    steps = timeline(starts, mtu_length_s=length_s, gate_closure_s=gate_closure_s, with_oracle=True)
    assert [step.time_s for step in steps] == sorted(step.time_s for step in steps)
    assert steps[0].time_s > genesis_time_s(starts[0], gate_closure_s)
    for kind in (StepKind.ORDERS_POSTED, StepKind.GATE_CLOSES, StepKind.READINGS_POSTED):
        assert [step.mtu_start for step in steps if step.kind is kind] == starts
    spoken_of = [
        step.mtu_start + place * length_s
        for step in steps
        if step.kind is StepKind.ORACLE_POSTS
        for place in range(step.mtu_count)
    ]
    assert spoken_of == starts


def test_the_oracle_speaks_of_gapless_runs_of_bounded_length() -> None:
    assert consecutive_chunks([0, 1, 2, 4, 5, 9], 1, 2) == ((0, 2), (2, 1), (4, 2), (9, 1))
    assert consecutive_chunks([], 900, 96) == ()


@pytest.mark.parametrize(
    ("time_s", "repeated"), [(NOON - 1801, False), (NOON - 1800, True), (NOON, True), (NOON + 1, True)]
)
def test_a_continued_run_repeats_the_last_two_mtus(time_s: int, repeated: bool) -> None:
    step = Step(time_s=time_s, kind=StepKind.GATE_CLOSES, mtu_start=NOON)
    assert must_repeat(step, NOON, 900) is repeated
