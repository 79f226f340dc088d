"""Salts: unguessable for real meters, repeatable for replays."""

from hypothesis import given
from hypothesis import strategies as st

from gridledger.metering.ports import Salts
from gridledger.metering.salts import RandomSalts, SeededSalts
from gridledger.units import UINT32_MAX

PLACES = st.tuples(st.integers(1, UINT32_MAX), st.integers(0, 2**40))


@given(st.binary(max_size=64), PLACES)
def test_seeded_salts_follow_from_seed_meter_and_mtu(seed: bytes, place: tuple[int, int]) -> None:
    salts: Salts = SeededSalts(seed)
    assert salts.salt_for(*place) == SeededSalts(seed).salt_for(*place)
    assert len(salts.salt_for(*place)) == 32


@given(PLACES, PLACES)
def test_seeded_salts_differ_wherever_meter_or_mtu_differ(one: tuple[int, int], other: tuple[int, int]) -> None:
    salts = SeededSalts(b"seed")
    assert (salts.salt_for(*one) == salts.salt_for(*other)) == (one == other)
    assert salts.salt_for(*one) != SeededSalts(b"another seed").salt_for(*one)


def test_random_salts_never_repeat() -> None:
    salts: Salts = RandomSalts()
    assert len({salts.salt_for(1, 900) for _ in range(1000)}) == 1000
