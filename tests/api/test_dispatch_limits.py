"""Setpoints of single meters reach the grid operator and the regulator, limits also the owner; nobody else."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    BUY_METER,
    BUYER,
    GATE_CLOSURE_S,
    MTU_START,
    OUTSIDER,
    SELL_METER,
    SELLER,
    ZONE,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
)

from gridledger.app.settings import NodeSettings
from gridledger.dispatch.errors import NetworkMeshed
from gridledger.dispatch.setpoints import Direction, SetpointRow, schedule_hash, setpoint_leaf, setpoints_root
from gridledger.market.model import Side

OPERATOR, REGULATOR = key("grid_operator"), key("regulator")
NEXT_DAY = MTU_START + 86_400
SETPOINTS, LIMITS = "/v1/dispatch/setpoints", "/v1/dispatch/limits"
OF_SLOT = {"zone": ZONE, "mtu_start": NEXT_DAY}
VILLAGE = Path(__file__).parents[1] / "grid" / "village"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A zone limited to 2 kW. On the second day 600 of 800 Wh are sold; the day before 700 came in and 550 went out."""
    settings = NodeSettings(zone_limits_w={ZONE: 2_000})
    with onboarded.served(tmp_path_factory.mktemp("limits") / "data", settings) as running:
        running.deliver({SELL_METER: 700, BUY_METER: -550})
        running.accept(running.order(Side.SELL, mtu_start=NEXT_DAY, quantity_wh=800))
        running.accept(running.order(Side.BUY, mtu_start=NEXT_DAY, quantity_wh=600))
        running.advance(NEXT_DAY - GATE_CLOSURE_S)
        yield running


def ask(market: RunningNode, path: str, account: LocalAccount | None, **params: Any) -> httpx.Response:
    headers = {} if account is None else market.sign_in(account)
    return market.http.get(path, params=params, headers=headers)


def told(market: RunningNode, path: str, account: LocalAccount = OPERATOR, /, **params: Any) -> Any:
    answer = ask(market, path, account, **params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


# ---- setpoints


@pytest.mark.parametrize("reader", [OPERATOR, REGULATOR], ids=["grid operator", "regulator"])
def test_setpoints_are_contract_and_forecast_and_open_the_schedule_s_commitment(
    market: RunningNode, reader: LocalAccount
) -> None:
    document = told(market, SETPOINTS, reader, **OF_SLOT)
    shown = [(one["meter"], one["contracted_wh"], one["residual_wh"]) for one in document["setpoints"]]
    assert shown == [(SELL_METER, 600, 200), (BUY_METER, -600, 0)]
    assert [one["setpoint_wh"] for one in document["setpoints"]] == [800, -600]
    assert [(one["source"], one["factor_mgco2_per_kwh"]) for one in document["setpoints"]] == [(1, 41_000), (0, None)]
    rows = [SetpointRow(meter=meter, contracted_wh=wh, residual_wh=residual) for meter, wh, residual in shown]
    salts = {one["meter"]: bytes.fromhex(one["salt"][2:]) for one in document["setpoints"]}
    root = setpoints_root(rows, salts)
    assert document["setpoints_root"] == "0x" + root.hex()
    assert [one["leaf"] for one in document["setpoints"]] == [
        "0x" + setpoint_leaf(row, salts[row.meter]).hex() for row in rows
    ]
    (on_chain,) = market.view("EnergyDispatching", "scheduleHashOf", ZONE, NEXT_DAY)
    assert document["schedule_hash"] == "0x" + on_chain.hex() == schedule_hash(document["result_hash"], root)


def test_setpoints_within_the_zone_s_limit_exceed_nothing(market: RunningNode) -> None:
    document = told(market, SETPOINTS, OPERATOR, **OF_SLOT)
    assert (document["limit_wh"], document["exceeded"]) == (500, [])


@pytest.mark.parametrize("reader", [SELLER, BUYER, key("supplier"), key("market_operator")])
def test_setpoints_are_nobody_else_s_business(market: RunningNode, reader: LocalAccount) -> None:
    assert_problem(ask(market, SETPOINTS, reader, **OF_SLOT), 403, "setpoints-forbidden", zone=ZONE)


@pytest.mark.parametrize("path", [SETPOINTS, LIMITS])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic eDp5"}])
def test_without_a_session_nothing_is_shown(market: RunningNode, path: str, headers: dict[str, str]) -> None:
    params = {**OF_SLOT, "meter": SELL_METER, "first_mtu_start": NEXT_DAY}
    answer = market.http.get(path, params=params, headers=headers)
    assert_problem(answer, 401, "session-required")


def test_what_was_not_scheduled_has_no_setpoints(market: RunningNode) -> None:
    later = NEXT_DAY + 900
    answer = ask(market, SETPOINTS, OPERATOR, zone=ZONE, mtu_start=later)
    assert_problem(answer, 404, "schedule-unknown", zone=ZONE, mtu_start=later)
    assert_problem(ask(market, SETPOINTS, REGULATOR, zone=2, mtu_start=later), 404, "schedule-unknown", zone=2)
    assert_problem(ask(market, SETPOINTS, OPERATOR, zone=2, mtu_start=later), 403, "setpoints-forbidden", zone=2)


@pytest.mark.parametrize(
    "changes", [{"zone": 0}, {"zone": "x"}, {"mtu_start": -1}, {"mtu_start": 2**32}, {"zone": 2**32}]
)
def test_a_slot_that_cannot_be_is_malformed(market: RunningNode, changes: dict[str, Any]) -> None:
    assert_problem(ask(market, SETPOINTS, OPERATOR, **(OF_SLOT | changes)), 422, "request-malformed")


# ---- limits


@pytest.mark.parametrize("reader", [SELLER, OPERATOR, REGULATOR], ids=["owner", "grid operator", "regulator"])
def test_a_meter_s_limits_are_its_envelope_under_the_zone_s_limit(market: RunningNode, reader: LocalAccount) -> None:
    """500 Wh and 180 of firm imports are less than the 800 scheduled: nothing is left to share out."""
    document = told(market, LIMITS, reader, meter=SELL_METER, first_mtu_start=NEXT_DAY, count=2)
    assert document == {
        "meter": SELL_METER,
        "limits": [
            {"mtu_start": NEXT_DAY, "basis": "envelope", "export_wh": 800, "import_wh": None},
            {"mtu_start": NEXT_DAY + 900, "basis": "envelope", "export_wh": 250, "import_wh": None},
        ],
    }
    assert told(market, LIMITS, meter=BUY_METER, first_mtu_start=NEXT_DAY)["limits"][0]["export_wh"] == 0


@pytest.mark.parametrize("reader", [BUYER, key("supplier")], ids=["neighbour", "supplier"])
def test_a_meter_s_limits_are_nobody_else_s_business(market: RunningNode, reader: LocalAccount) -> None:
    answer = ask(market, LIMITS, reader, meter=SELL_METER, first_mtu_start=NEXT_DAY)
    assert_problem(answer, 403, "limits-forbidden", meter=SELL_METER)


def test_limits_are_of_known_meters_and_of_whole_mtus(market: RunningNode) -> None:
    unknown = ask(market, LIMITS, OPERATOR, meter=99, first_mtu_start=NEXT_DAY)
    assert_problem(unknown, 404, "unknown-meter", meter=99)
    for moment in (NEXT_DAY + 1, 0):
        askew = ask(market, LIMITS, OPERATOR, meter=SELL_METER, first_mtu_start=moment)
        assert_problem(askew, 422, "unaligned-mtu", mtu_start=moment)
    for count in (0, 97, "x"):
        answer = ask(market, LIMITS, OPERATOR, meter=SELL_METER, first_mtu_start=NEXT_DAY, count=count)
        assert_problem(answer, 422, "request-malformed")
    most = told(market, LIMITS, meter=SELL_METER, first_mtu_start=NEXT_DAY, count=96)["limits"]
    assert [one["mtu_start"] for one in most] == [NEXT_DAY + place * 900 for place in range(96)]


def test_caps_emergencies_and_stops_change_limits_at_once(tmp_path: Path, onboarded: Onboarded) -> None:
    with onboarded.served(tmp_path / "data") as market:

        def limits(meter: int) -> tuple[Any, ...]:
            (one,) = told(market, LIMITS, meter=meter, first_mtu_start=MTU_START)["limits"]
            return one["basis"], one["export_wh"], one["import_wh"]

        market.pair()
        assert limits(SELL_METER) == limits(BUY_METER) == (None, None, None)
        market.curtail({SELL_METER: 400})
        assert (limits(SELL_METER), limits(BUY_METER)) == (("cap", 400, None), (None, None, None))
        market.curtail({BUY_METER: 100}, direction=Direction.IMPORT, emergency=True, sequence=1)
        assert (limits(SELL_METER), limits(BUY_METER)) == ((None, None, None), ("cap", None, 100))
        market.stop()
        assert limits(SELL_METER) == limits(BUY_METER) == ("stop", 0, 0)


# ---- the network


def feeder(path: Path, meters: dict[str, int]) -> Path:
    """The village's network with these meters at its buses."""
    shutil.copytree(VILLAGE, path)
    rows = "".join(f"{meter},{bus}\n" for meter, bus in meters.items())
    (path / "meters.csv").write_text("meter_id,bus\n" + rows)
    return path


def test_a_network_s_limits_are_held_against_the_setpoints_of_where_meters_are(
    tmp_path: Path, onboarded: Onboarded
) -> None:
    """The lane's line carries 40 kVA, the transformer is stated to carry 100 W: 2,800 W export at the lane's end."""
    folder = feeder(tmp_path / "feeder", {"load 1": 3, "load 2": 2})
    settings = NodeSettings(feeder_folders={ZONE: folder}, zone_limits_w={ZONE: 100})
    with onboarded.served(tmp_path / "data", settings) as market:
        market.deliver({SELL_METER: 700, BUY_METER: -550})
        market.pair(NEXT_DAY)
        document = told(market, SETPOINTS, OPERATOR, **OF_SLOT)
        assert document["limit_wh"] == 25
        assert document["exceeded"] == [
            {"element": "village", "limit_w": 100, "flow_w": 400, "direction": "export"},
        ]


def test_meters_the_network_does_not_name_yet_count_at_its_transformer(tmp_path: Path, onboarded: Onboarded) -> None:
    """Before its first reading a meter's name is unknown; its operator is shown what is scheduled all the same."""
    folder = feeder(tmp_path / "feeder", {"load 1": 3})
    settings = NodeSettings(feeder_folders={ZONE: folder}, zone_limits_w={ZONE: 100})
    with onboarded.served(tmp_path / "data", settings) as market:
        market.accept(market.order(Side.SELL, quantity_wh=800))
        market.accept(market.order(Side.BUY))
        market.advance(MTU_START - GATE_CLOSURE_S)
        document = told(market, SETPOINTS, zone=ZONE, mtu_start=MTU_START)
        assert [one["flow_w"] for one in document["exceeded"]] == [800]


def test_a_meshed_network_keeps_the_node_from_starting(tmp_path: Path, onboarded: Onboarded) -> None:
    folder = feeder(tmp_path / "feeder", {"load 1": 3})
    with (folder / "lines.csv").open("a") as file:
        file.write("ring,2,4,0.1,0.2067,0.0804,0.27,100,\n")
    settings = NodeSettings(feeder_folders={ZONE: folder})
    with pytest.raises(NetworkMeshed), onboarded.served(tmp_path / "data", settings):
        pass


def test_an_outsider_cannot_even_sign_in(market: RunningNode) -> None:
    with pytest.raises(AssertionError, match="not-admitted"):
        market.sign_in(OUTSIDER)
