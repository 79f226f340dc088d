"""The low-carbon reward: what was avoided, the seller's share rounded down, the buyer's the rest."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridledger.carbon.reward import Reward, split_reward

energies, factors, shares = st.integers(0, 2**40), st.integers(0, 2**32 - 1), st.integers(0, 10_000)


@pytest.mark.parametrize(
    ("energy_wh", "grid", "source", "share", "seller", "buyer"),
    [
        (600, 363_000, 41_000, 5_000, 96_600_000, 96_600_000),
        (599, 41_007, 41_000, 3_333, 1_397, 2_796),
        (1, 1, 0, 5_000, 0, 1),
        (600, 363_000, 41_000, 0, 0, 193_200_000),
        (600, 363_000, 41_000, 10_000, 193_200_000, 0),
        (600, 41_000, 41_000, 5_000, 0, 0),
        (600, 40_000, 41_000, 5_000, 0, 0),
        (0, 363_000, 41_000, 5_000, 0, 0),
    ],
)
def test_the_seller_s_share_is_rounded_down_and_the_buyer_gets_the_rest(
    energy_wh: int, grid: int, source: int, share: int, seller: int, buyer: int
) -> None:
    assert split_reward(energy_wh, grid, source, share) == Reward(seller_ugco2=seller, buyer_ugco2=buyer)


@settings(max_examples=200, deadline=None)
@given(energies, factors, factors, shares)
def test_both_shares_together_are_what_was_avoided_and_neither_is_negative(
    energy_wh: int, grid: int, source: int, share: int
) -> None:
    reward = split_reward(energy_wh, grid, source, share)
    assert reward.seller_ugco2 + reward.buyer_ugco2 == energy_wh * max(0, grid - source)
    assert reward.seller_ugco2 >= 0
    assert reward.buyer_ugco2 >= 0


@settings(max_examples=200, deadline=None)
@given(energies, factors, factors, shares, shares)
def test_a_greater_share_never_lowers_the_seller_s_reward(
    energy_wh: int, grid: int, source: int, one: int, other: int
) -> None:
    less, more = sorted((one, other))
    first = split_reward(energy_wh, grid, source, less)
    assert split_reward(energy_wh, grid, source, more).seller_ugco2 >= first.seller_ugco2


@settings(max_examples=200, deadline=None)
@given(energies, energies, factors, factors, shares)
def test_splitting_a_trade_never_gains_the_seller_a_reward(
    one_wh: int, other_wh: int, grid: int, source: int, share: int
) -> None:
    parts = [split_reward(energy, grid, source, share).seller_ugco2 for energy in (one_wh, other_wh)]
    whole = split_reward(one_wh + other_wh, grid, source, share).seller_ugco2
    assert 0 <= whole - sum(parts) <= 1
