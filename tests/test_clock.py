"""Time is an argument: a clock that stands still until moved, and never runs backwards."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.clock import Clock, ClockMovedBackwards, ManualClock, SystemClock


def test_the_system_clock_tells_whole_unix_seconds() -> None:
    clock: Clock = SystemClock()
    before, now, after = int(time.time()), clock.now(), int(time.time())
    assert type(now) is int
    assert before <= now <= after


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(100)
    assert (clock.now(), clock.now()) == (100, 100)
    clock.move_to(130)
    assert clock.now() == 130


def test_moving_to_the_present_moment_changes_nothing() -> None:
    clock = ManualClock(100)
    clock.move_to(100)
    assert clock.now() == 100


@given(st.integers(0, 2**32), st.integers(1, 2**32))
def test_a_clock_is_never_moved_backwards(now: int, back: int) -> None:
    clock = ManualClock(now)
    with pytest.raises(ClockMovedBackwards) as refused:
        clock.move_to(now - back)
    assert refused.value.values() == {"now": now, "requested": now - back}
    assert clock.now() == now
