"""A 50 kW transformer over real weeks: nothing acknowledged exceeds it, gateways keep it, low-carbon is spared."""

import sys
from pathlib import Path

import pytest
from tests.simulation.feeder_weeks import FeederWeeks, Outcome

from gridledger.simulation.inputs import (
    SIMBENCH_DAY_METERS,
    SIMBENCH_DAY_READINGS,
    load_meters,
    load_readings,
    meter_specs,
)

LIMIT_KW, LIMIT_WH = 50, 12_500


def played(
    readings: Path, meters: Path, limit_kw: int, dirty: int, period: tuple[int, int] | None = None
) -> FeederWeeks:
    first, last = period or (None, None)
    file = load_readings(readings, from_s=first, to_s=last)
    return FeederWeeks.of(file, meter_specs(file, load_meters(meters)), limit_kw, dirty).play()


def require_kept(weeks: FeederWeeks, limit_wh: int) -> list[Outcome]:
    """Everything that must hold in every MTU; returns those whose import went beyond the limit."""
    for one in weeks.outcomes:
        if one.caps is None and one.scheduled_wh is not None:
            assert abs(one.scheduled_wh) <= limit_wh, one
        assert one.metered_wh <= limit_wh, one
        assert one.refunded_microcents == one.expected_microcents, one
        assert not (one.low_carbon_lost_wh and one.other_left_wh), one
    return [one for one in weeks.outcomes if one.metered_wh < -limit_wh]


def test_a_day_under_a_tight_limit_is_curtailed_by_the_rules() -> None:
    weeks = played(SIMBENCH_DAY_READINGS, SIMBENCH_DAY_METERS, 20, dirty=4)
    require_kept(weeks, 5_000)
    curtailed = [one for one in weeks.outcomes if one.caps is not None and one.caps.exports]
    assert len(curtailed) > 20
    assert sum(one.curtailed_wh for one in curtailed) > 0
    assert sum(one.refunded_microcents for one in curtailed) > 0
    assert any(one.low_carbon_lost_wh for one in curtailed)
    assert any(one.other_left_wh for one in curtailed)


@pytest.mark.long
def test_three_weeks_of_the_feeder_under_50_kw(outside_data: Path) -> None:
    weeks = played(
        outside_data / "readings_simbench_rural2_15min.csv.gz",
        outside_data / "feeder_simbench_rural2" / "meters.csv",
        LIMIT_KW,
        dirty=3,
    )
    uncontrolled = [one for one in weeks.outcomes if abs(one.uncontrolled_wh) > LIMIT_WH]
    assert (len(weeks.outcomes), len(uncontrolled)) == (2_016, 245)
    beyond = require_kept(weeks, LIMIT_WH)
    exports = [one for one in weeks.outcomes if one.caps is not None and one.caps.exports]
    imports = [one for one in weeks.outcomes if one.caps is not None and not one.caps.exports]
    sys.stdout.write(
        f"{len(exports)} schedules capped in export, {len(imports)} in import; "
        f"{sum(one.curtailed_wh for one in weeks.outcomes)} Wh of trades curtailed, all refunded; "
        f"{len(beyond)} MTUs of import beyond the limit, at most {-min(one.metered_wh for one in beyond)} Wh\n"
    )
    assert exports
    assert len(beyond) == 154
