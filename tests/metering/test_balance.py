"""A zone's meters agree with the meter at its transformer, but for the loss tolerated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridledger.metering.balance import Transformer, zone_balance

TRANSFORMER = Transformer(zone=1, meter=9, loss_tolerance_bp=500)


def test_all_meters_must_be_read_before_anything_can_be_said() -> None:
    assert zone_balance(TRANSFORMER, [1, 2, 9], {1: 100, 9: -100}) is None
    assert zone_balance(TRANSFORMER, [1, 2, 9], {1: 100, 2: -50}) is None
    assert zone_balance(TRANSFORMER, [1, 2], {1: 100, 2: -50}) is None  # the transformer's own, wherever it is listed


@pytest.mark.parametrize(
    ("transformer_net_wh", "plausible"),
    [(-1_400, True), (-1_484, True), (-1_485, False), (-1_316, True), (-1_315, False), (1_400, False)],
)
def test_the_tolerance_is_a_share_of_what_passed_the_meters_and_a_watt_hour_each(
    transformer_net_wh: int, plausible: bool
) -> None:
    """1,400 Wh are taken net, 1,620 Wh pass two meters: 5 % are 81 Wh, and 3 Wh for the floors of three meters."""
    balance = zone_balance(TRANSFORMER, [1, 2, 9], {1: -1_510, 2: 110, 9: transformer_net_wh})
    assert balance is not None
    assert (balance.supplied_wh, balance.taken_wh, balance.tolerance_wh) == (-transformer_net_wh, 1_400, 84)
    assert balance.is_plausible is plausible


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=20), st.integers(0, 10_000))
def test_a_transformer_that_supplies_what_is_taken_is_plausible_whatever_is_tolerated(
    energies: list[int], tolerance_bp: int
) -> None:
    transformer = Transformer(zone=1, meter=99, loss_tolerance_bp=tolerance_bp)
    net_wh = dict(enumerate(energies, 1))
    balance = zone_balance(transformer, list(net_wh), net_wh | {99: sum(energies)})
    assert balance is not None
    assert balance.is_plausible
    assert balance.supplied_wh == balance.taken_wh == -sum(energies)
