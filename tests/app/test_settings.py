"""What an operator sets for notices by the environment, and what is refused before the node starts."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.api.running import Onboarded

from gridledger.api.sign_in import PublicUrlMalformed
from gridledger.app.settings import (
    BaselineMalformed,
    CivilTimeUnknown,
    HolidaysMalformed,
    NodeSettings,
    ZoneSettingMalformed,
)
from gridledger.dispatch.baseline import BaselineRule
from gridledger.metering.estimation import Calendar
from gridledger.units import NotExact, OutOfRange
from gridledger.webhooks.targets import AllowList, WebhookAllowMalformed

HERE = "http://127.0.0.1:8000"


def test_without_settings_members_sign_in_where_the_node_listens_and_webhooks_call_the_public_only() -> None:
    settings = NodeSettings.from_environment({}, listens_at="http://127.0.0.1:1234")
    assert (settings.public_url, settings.webhook_allow) == ("http://127.0.0.1:1234", AllowList())
    assert NodeSettings.from_environment({"GRIDLEDGER_PUBLIC_URL": ""}, listens_at=HERE).public_url == HERE


def test_settings_are_read_from_the_environment() -> None:
    environment = {
        "GRIDLEDGER_PUBLIC_URL": "https://market.example",
        "GRIDLEDGER_WEBHOOK_ALLOW": "hooks.lan,10.0.0.0/8",
    }
    settings = NodeSettings.from_environment(environment, listens_at=HERE)
    assert settings.public_url == "https://market.example"
    assert settings.webhook_allow == AllowList.parse("10.0.0.0/8, hooks.lan")


def test_settings_that_cannot_be_read_keep_the_node_from_starting(tmp_path: Path, onboarded: Onboarded) -> None:
    with pytest.raises(WebhookAllowMalformed):
        NodeSettings.from_environment({"GRIDLEDGER_WEBHOOK_ALLOW": "10.0.0.1/8"}, listens_at=HERE)
    with pytest.raises(PublicUrlMalformed), onboarded.served(tmp_path / "data", NodeSettings(public_url="market")):
        pass


def test_limits_and_networks_of_zones_are_read_from_the_environment() -> None:
    environment = {"GRIDLEDGER_ZONE_LIMITS_KW": " 1=50, 2=0.125,3=0,", "GRIDLEDGER_FEEDERS": "7=/grid/a=b, 8=village"}
    settings = NodeSettings.from_environment(environment, listens_at=HERE)
    assert settings.zone_limits_w == {1: 50_000, 2: 125, 3: 0}
    assert settings.feeder_folders == {7: Path("/grid/a=b"), 8: Path("village")}
    nothing = NodeSettings.from_environment({"GRIDLEDGER_FEEDERS": " , "}, listens_at=HERE)
    assert (nothing.zone_limits_w, nothing.feeder_folders) == ({}, {})


@pytest.mark.parametrize("name", ["GRIDLEDGER_ZONE_LIMITS_KW", "GRIDLEDGER_FEEDERS"])
@pytest.mark.parametrize(
    "entry", ["50", "1", "1=", "=50", "one=50", "-1=50", "1.0=50", "٣=50", "1 =50", "1" * 11 + "=5"]
)
def test_a_zone_s_setting_of_another_shape_is_refused_by_name(name: str, entry: str) -> None:
    with pytest.raises(ZoneSettingMalformed) as refused:
        NodeSettings.from_environment({name: f"9=1,{entry}"}, listens_at=HERE)
    assert refused.value.values() == {"name": name, "entry": entry}


@pytest.mark.parametrize("name", ["GRIDLEDGER_ZONE_LIMITS_KW", "GRIDLEDGER_FEEDERS"])
def test_a_zone_is_set_once(name: str) -> None:
    with pytest.raises(ZoneSettingMalformed):
        NodeSettings.from_environment({name: "1=50,2=50,1=30"}, listens_at=HERE)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1=fifty", NotExact),
        ("1=0.0001", NotExact),
        ("1=NaN", NotExact),
        ("1=-1", OutOfRange),
        ("1=1000001", OutOfRange),
        ("0=50", OutOfRange),
        ("4294967296=50", OutOfRange),
    ],
)
def test_a_limit_no_transformer_has_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        NodeSettings.from_environment({"GRIDLEDGER_ZONE_LIMITS_KW": text}, listens_at=HERE)


def test_a_long_entry_is_shown_in_part() -> None:
    with pytest.raises(ZoneSettingMalformed) as refused:
        NodeSettings.from_environment({"GRIDLEDGER_FEEDERS": "x" * 1_000}, listens_at=HERE)
    assert refused.value.entry == "x" * 60


def test_the_civil_time_and_holidays_of_estimates_are_read_from_the_environment() -> None:
    environment = {"GRIDLEDGER_CIVIL_TIME": "Europe/Berlin", "GRIDLEDGER_HOLIDAYS": "2016-12-25, 2016-12-26"}
    calendar = NodeSettings.from_environment(environment, listens_at=HERE).calendar
    assert calendar == Calendar(
        civil_time=ZoneInfo("Europe/Berlin"), holidays=frozenset({date(2016, 12, 25), date(2016, 12, 26)})
    )
    for name in ("Europe/Atlantis", "../etc/passwd", "a\0b", "Europe"):
        with pytest.raises(CivilTimeUnknown):
            NodeSettings.from_environment({"GRIDLEDGER_CIVIL_TIME": name}, listens_at=HERE)
    with pytest.raises(HolidaysMalformed):
        NodeSettings.from_environment({"GRIDLEDGER_HOLIDAYS": "2016-12-32"}, listens_at=HERE)


def test_how_demand_response_is_measured_is_read_from_the_environment() -> None:
    environment = {
        "GRIDLEDGER_BASELINE_WORKING_DAYS": "4/5",
        "GRIDLEDGER_BASELINE_OTHER_DAYS": "2/3",
        "GRIDLEDGER_BASELINE_LOOK_BACK_DAYS": "45",
        "GRIDLEDGER_BASELINE_ADJUSTMENT_BP": "0",
    }
    assert NodeSettings.from_environment({}, listens_at=HERE).baseline == BaselineRule()
    assert NodeSettings.from_environment(environment, listens_at=HERE).baseline == BaselineRule(
        working_highest=4, working_days=5, other_highest=2, other_days=3, look_back_days=45, adjustment_bp=0
    )
    for name, text, error in (
        ("WORKING_DAYS", "5", BaselineMalformed),
        ("WORKING_DAYS", "5 of 10", BaselineMalformed),
        ("OTHER_DAYS", "0/3", BaselineMalformed),
        ("OTHER_DAYS", "4/3", OutOfRange),
        ("WORKING_DAYS", "5/46", OutOfRange),
        ("LOOK_BACK_DAYS", "61", OutOfRange),
        ("ADJUSTMENT_BP", "10001", OutOfRange),
        ("ADJUSTMENT_BP", "0.5", NotExact),
    ):
        with pytest.raises(error):
            NodeSettings.from_environment(environment | {f"GRIDLEDGER_BASELINE_{name}": text}, listens_at=HERE)
