"""What an operator sets for notices by the environment, and what is refused before the node starts."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.api.running import Onboarded

from gridledger.api.sign_in import PublicUrlMalformed
from gridledger.app.settings import CivilTimeUnknown, HolidaysMalformed, NodeSettings
from gridledger.metering.estimation import Calendar
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
