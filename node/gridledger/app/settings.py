"""What an operator may set for a node beyond where it listens, by GRIDLEDGER_* variables of the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from gridledger.clock import CivilTimeUnknown, civil_time_named
from gridledger.dispatch.baseline import MOST_LOOK_BACK_DAYS, BaselineRule
from gridledger.errors import InvalidInput
from gridledger.metering.estimation import Calendar
from gridledger.mqtt.broker import OpenAdrBroker
from gridledger.mqtt.settings import MqttSettings
from gridledger.units import BASIS_POINTS, MICROCENTS_PER_EUR, UINT32_MAX, check_range, parse_decimal
from gridledger.webhooks.targets import AllowList

__all__ = ["BaselineMalformed", "CivilTimeUnknown", "HolidaysMalformed", "NodeSettings", "ZoneSettingMalformed"]

MOST_HOLIDAYS = 10_000
_SHOWN_CHARACTERS = 60
_MOST_W, _ZONE_DIGITS = 10**9, 10
_HIGH_OF = re.compile(r"([1-9][0-9]?)/([1-9][0-9]?)")


@dataclass(kw_only=True, eq=False)
class HolidaysMalformed(InvalidInput):
    """GRIDLEDGER_HOLIDAYS must be at most 10,000 days such as 2027-01-01, separated by commas."""

    text: str


@dataclass(kw_only=True, eq=False)
class ZoneSettingMalformed(InvalidInput):
    """GRIDLEDGER_ZONE_LIMITS_KW and GRIDLEDGER_FEEDERS are lists of zone=value, separated by commas, each zone once."""

    name: str
    entry: str


@dataclass(kw_only=True, eq=False)
class BaselineMalformed(InvalidInput):
    """GRIDLEDGER_BASELINE_WORKING_DAYS and _OTHER_DAYS say how many of how many days are averaged, such as 5/10."""

    text: str


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """What an operator may set.

    `public_url` is the origin that members sign in to, `webhook_allow` what webhooks may call beyond the public,
    `bond_microcents` what the node keeps in the operator's bond as far as the operator's account reaches, `mqtt` the
    broker that meters publish to, `openadr_broker` the one that OpenADR clients listen to, `smallest_group` how many
    meters a sum has at least that a grid operator is told, `retention_days` how long the law wants personal data to be
    kept before they may be erased, `calendar` the civil time and holidays by which days are similar where a missing
    reading is estimated, and `baseline` how demand response events that are issued from now on are measured. By zone:
    `zone_limits_w` is the most a transformer carries, W; `feeder_folders` hold the grid operator's network files.
    """

    public_url: str = "http://127.0.0.1:8000"
    webhook_allow: AllowList = field(default_factory=AllowList)
    bond_microcents: int = 10_000 * MICROCENTS_PER_EUR
    mqtt: MqttSettings | None = None
    openadr_broker: OpenAdrBroker | None = None
    smallest_group: int = 5
    retention_days: int = 3_653  # ten years
    calendar: Calendar = field(default_factory=Calendar)
    zone_limits_w: Mapping[int, int] = field(default_factory=dict)
    feeder_folders: Mapping[int, Path] = field(default_factory=dict)
    baseline: BaselineRule = field(default_factory=BaselineRule)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, listens_at: str) -> "NodeSettings":
        """Settings of this environment; members sign in to where the node listens unless told otherwise.

        Raises WebhookAllowMalformed, NotExact, OutOfRange, MqttUrlMalformed, MqttSettingMissing, CivilTimeUnknown,
        HolidaysMalformed, ZoneSettingMalformed, BrokerAuthenticationUnknown, BaselineMalformed.
        """
        return cls(
            public_url=environment.get("GRIDLEDGER_PUBLIC_URL") or listens_at,
            webhook_allow=AllowList.parse(environment.get("GRIDLEDGER_WEBHOOK_ALLOW", "")),
            bond_microcents=_bond_microcents(environment.get("GRIDLEDGER_BOND_EUR", "10000")),
            mqtt=MqttSettings.from_environment(environment),
            openadr_broker=OpenAdrBroker.from_environment(environment),
            smallest_group=_whole(environment, "GRIDLEDGER_SMALLEST_GROUP", "5", 2, 10_000),
            retention_days=_whole(environment, "GRIDLEDGER_RETENTION_DAYS", "3653", 7, 36_525),
            calendar=Calendar(
                civil_time=civil_time_named(environment.get("GRIDLEDGER_CIVIL_TIME") or "UTC"),
                holidays=_holidays(environment.get("GRIDLEDGER_HOLIDAYS", "")),
            ),
            baseline=_baseline(environment),
            zone_limits_w={
                zone: check_range(
                    "GRIDLEDGER_ZONE_LIMITS_KW", parse_decimal("GRIDLEDGER_ZONE_LIMITS_KW", kw, 3), 0, _MOST_W
                )
                for zone, kw in _by_zone(environment, "GRIDLEDGER_ZONE_LIMITS_KW").items()
            },
            feeder_folders={zone: Path(folder) for zone, folder in _by_zone(environment, "GRIDLEDGER_FEEDERS").items()},
        )


def _whole(environment: Mapping[str, str], name: str, default: str, lowest: int, highest: int) -> int:
    return check_range(name, parse_decimal(name, environment.get(name) or default, 0), lowest, highest)


def _by_zone(environment: Mapping[str, str], name: str) -> dict[int, str]:
    """Values by zone from a text such as `1=50,2=30`."""
    found: dict[int, str] = {}
    for entry in filter(None, (part.strip() for part in environment.get(name, "").split(","))):
        zone, equals, value = entry.partition("=")
        if not (zone.isdecimal() and zone.isascii() and equals and value) or len(zone) > _ZONE_DIGITS:
            raise ZoneSettingMalformed(name=name, entry=entry[:_SHOWN_CHARACTERS])
        if (number := check_range(name, int(zone), 1, UINT32_MAX)) in found:
            raise ZoneSettingMalformed(name=name, entry=entry[:_SHOWN_CHARACTERS])
        found[number] = value
    return found


def _baseline(environment: Mapping[str, str]) -> BaselineRule:
    working, other = (
        _high_of(environment.get(f"GRIDLEDGER_BASELINE_{days}") or default)
        for days, default in (("WORKING_DAYS", "5/10"), ("OTHER_DAYS", "3/5"))
    )
    return BaselineRule(
        working_highest=working[0],
        working_days=working[1],
        other_highest=other[0],
        other_days=other[1],
        look_back_days=_whole(environment, "GRIDLEDGER_BASELINE_LOOK_BACK_DAYS", "30", 1, MOST_LOOK_BACK_DAYS),
        adjustment_bp=_whole(environment, "GRIDLEDGER_BASELINE_ADJUSTMENT_BP", "2000", 0, BASIS_POINTS),
    )


def _high_of(text: str) -> tuple[int, int]:
    match = _HIGH_OF.fullmatch(text)
    if match is None:
        raise BaselineMalformed(text=text[:_SHOWN_CHARACTERS])
    return int(match[1]), int(match[2])


def _bond_microcents(text: str) -> int:
    return check_range("GRIDLEDGER_BOND_EUR", parse_decimal("GRIDLEDGER_BOND_EUR", text, 8), 0, 2**72)


def _holidays(text: str) -> frozenset[date]:
    days = text.replace(",", " ").split()
    try:
        found = frozenset(date.fromisoformat(day) for day in days)
    except ValueError:
        raise HolidaysMalformed(text=text[:_SHOWN_CHARACTERS]) from None
    if len(found) > MOST_HOLIDAYS:
        raise HolidaysMalformed(text=f"{len(found)} days")
    return found
