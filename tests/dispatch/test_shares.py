"""Powers become energies once, rounded down; energies of an MTU are powers exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.dispatch.shares import capped_wh, mean_power_w, pro_rata_shares

MTU_LENGTHS = st.sampled_from((300, 900, 1800, 3600))


@pytest.mark.parametrize(
    ("cap_w", "mtu_length_s", "energy_wh"), [(50_000, 900, 12_500), (7, 900, 1), (3, 900, 0), (11, 300, 0)]
)
def test_a_cap_in_watts_never_becomes_more(cap_w: int, mtu_length_s: int, energy_wh: int) -> None:
    assert capped_wh(cap_w, mtu_length_s) == energy_wh


@given(st.integers(-(10**9), 10**9), MTU_LENGTHS)
def test_a_mean_power_makes_its_energy_again(energy_wh: int, mtu_length_s: int) -> None:
    assert capped_wh(mean_power_w(energy_wh, mtu_length_s), mtu_length_s) == energy_wh


def test_no_mtu_has_another_length() -> None:
    for convert in (capped_wh, mean_power_w):
        with pytest.raises(AssertionError):
            convert(1, 600)


@given(st.integers(0, 10**6), st.dictionaries(st.integers(1, 99), st.integers(0, 1_000)))
def test_shares_sum_to_the_whole_and_weightless_meters_have_none(total: int, weights: dict[int, int]) -> None:
    shares = pro_rata_shares(total, weights)
    assert sum(shares.values()) == (total if any(weights.values()) else 0)
    assert all(shares[meter] == 0 for meter, weight in weights.items() if weight == 0)
