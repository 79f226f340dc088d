"""Events in one word arrive as the values in it, each from its own bits."""

import pytest

from gridledger.chain.packed_events import unpacked


def test_a_trade_has_two_meters_and_its_energy() -> None:
    assert unpacked("EnergyTraded", (2**32 - 1) | 7 << 32 | 5 << 64) == {
        "sellMeter": 2**32 - 1,
        "buyMeter": 7,
        "energyWh": 5,
    }


@pytest.mark.parametrize(
    ("energy", "money"), [(0, 0), (-1, 1), (1, -1), (2**63 - 1, -(2**111)), (-(2**63), 2**111 - 1)]
)
def test_a_closing_s_energy_and_money_are_signed(energy: int, money: int) -> None:
    word = 1_800_000_000 | 3 << 40 | 254 << 72 | (energy % 2**64) << 80 | (money % 2**112) << 144
    place = {"mtuStart": 1_800_000_000, "meter": 3}
    values = {**place, "version": 254, "meteredWh": energy, "deltaMicrocents": money}
    assert unpacked("PositionResettled", word) == values
    assert unpacked("PositionSettled", word) == {**place, "meteredWh": energy, "imbalanceMicrocents": money}
    assert unpacked("PositionSubstituted", word) == {**place, "substituteWh": energy, "imbalanceMicrocents": money}
    assert unpacked("PositionRefunded", word) == {**place, "lockedMicrocents": money}


def test_other_events_are_not_packed() -> None:
    assert unpacked("MarketCleared", 1) is None
