"""From the node's own dispatches and tariffs to OpenADR objects: each change once, over any number of restarts."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.app.openadr_ground import MTU_START, OpenAdrGround, transaction_hash, values
from tests.dispatch.demands import a_demand
from tests.store.builders import curtailed, stopped

from gridledger.app.openadr_follower import KEPT_S, OpenAdrFollower
from gridledger.dispatch.baseline import BaselineRule, MeasuringTerms
from gridledger.dispatch.demand_response import DemandDirection, StoredDemand
from gridledger.dispatch.model import ScheduleState
from gridledger.dispatch.setpoints import Direction
from gridledger.store.openadr_clients import ClientRole
from gridledger.store.openadr_model import ObjectKind
from gridledger.store.openadr_origins import About

DAY = MTU_START
TARIFF, METERS, DEMANDS = "tariff-zone-1", "meter-dispatch-zone-1", "demand-response-zone-1"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[OpenAdrGround]:
    ground = OpenAdrGround(tmp_path)
    ground.clock.move_to(DAY + 60)
    yield ground
    ground.database.close()


def notified(ground: OpenAdrGround) -> list[tuple[str, str]]:
    with ground.database.read() as tx:
        told = tx.openadr.notifications_after(0, 10_000)
    return [(str(one.kind), str(one.operation)) for one in told]


def test_programs_and_tariffs_are_there_before_anything_is_dispatched(ground: OpenAdrGround) -> None:
    ground.follower().follow()
    names = [program.content["programName"] for program in ground.objects(ObjectKind.PROGRAM)]
    assert names == ["grid-dispatch-zone-1", METERS, DEMANDS, TARIFF]
    today, tomorrow = ground.events(TARIFF)
    assert [len(event.content["intervals"]) for event in (today, tomorrow)] == [96, 96]
    assert values(today, 95) == {"PRICE": 0.32, "EXPORT_PRICE": 0.08, "GHG": 363}
    assert tomorrow.content["intervalPeriod"]["start"] == "2016-06-14T00:00:00Z"


def test_a_schedule_becomes_an_event_and_its_answer_brings_it_up_to_date(ground: OpenAdrGround) -> None:
    ground.schedule()
    ground.follower().follow()
    (event,) = ground.events()
    assert values(event)["GRIDLEDGER_STATE"] == "scheduled"
    assert (values(event, 3), values(event, 4)) == ({"DISPATCH_SETPOINT": -2.4}, {"DISPATCH_SETPOINT": 2.4})
    ground.answer(ScheduleState.ACKNOWLEDGED)
    ground.follower().follow()
    (changed,) = ground.events()
    assert changed.id == event.id
    assert values(changed)["GRIDLEDGER_STATE"] == "acknowledged"
    with ground.database.read() as tx:
        origin = tx.openadr_origins.of_event(event.id)
    assert origin is not None
    assert (origin.about, origin.zone, origin.mtu_start) == (About.ZONE, 1, MTU_START)
    assert origin.transaction_hash == transaction_hash(MTU_START)


def test_caps_as_the_chain_records_them_reach_the_operator_and_the_last_ones_hold(ground: OpenAdrGround) -> None:
    ground.schedule()
    for sequence, cap_wh in enumerate((100, 500)):
        name, arguments = curtailed({3: cap_wh}, MTU_START, emergency=True, sequence=sequence)
        ground.block(name, **arguments)
        ground.follower().follow()
        to_everybody, to_operator = ground.events()
        assert values(to_everybody)["GRIDLEDGER_STATE"] == "curtailed"
        assert values(to_operator, 3)["EXPORT_CAPACITY_LIMIT"] == cap_wh * 4 / 1_000


def test_a_stop_of_several_mtus_is_told_of_each(ground: OpenAdrGround) -> None:
    second, third, fourth = (MTU_START + place * 900 for place in (1, 2, 3))
    ground.schedule(second)
    name, arguments = stopped(MTU_START, third)
    ground.block(name, **arguments)
    ground.follower().follow()
    ground.schedule(third)
    ground.schedule(fourth)
    ground.follower().follow()
    told = {event.content["intervalPeriod"]["start"]: values(event)["GRIDLEDGER_STATE"] for event in ground.events()}
    assert told == {
        "2016-06-13T00:00:00Z": "stopped",
        "2016-06-13T00:15:00Z": "stopped",
        "2016-06-13T00:30:00Z": "stopped",
        "2016-06-13T00:45:00Z": "scheduled",
    }


def test_nothing_is_lost_or_told_twice_over_restarts(ground: OpenAdrGround) -> None:
    """A hundred dispatches, with a new follower after each and no follower for most of them."""
    starts = [MTU_START + number * 900 for number in range(100)]
    for mtu_start in starts[:60]:
        ground.schedule(mtu_start)
    for _ in range(3):
        ground.follower().follow()
    for mtu_start in starts[60:]:
        ground.schedule(mtu_start)
        ground.follower().follow()
    told = [values(event)["GRIDLEDGER_TRANSACTION_HASH"] for event in ground.events()]
    assert told == [transaction_hash(mtu_start) for mtu_start in starts]
    assert notified(ground).count(("EVENT", "CREATE")) == 100 + len(ground.events(TARIFF))
    assert ("EVENT", "UPDATE") not in notified(ground)


def test_a_crash_before_the_commit_leaves_neither_object_nor_cursor(
    ground: OpenAdrGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.follower().follow()
    ground.schedule()
    before = notified(ground)

    class Crashing(OpenAdrFollower):
        def _tell_dispatches(self, tx: object) -> None:
            super()._tell_dispatches(tx)  # type: ignore[arg-type]
            raise RuntimeError

    follower = ground.follower()
    follower.__class__ = Crashing
    with pytest.raises(RuntimeError):
        follower.follow()
    assert (notified(ground), ground.events()) == (before, [])
    ground.follower().follow()
    assert len(ground.events()) == 1


def test_residuals_go_to_the_operator_and_to_the_meter_s_own_gateway(ground: OpenAdrGround) -> None:
    ground.client("gateway 3", ClientRole.VEN, "meter-3", "meter-99", "meter-x")
    ground.schedule(residual_wh=100)
    ground.follower().follow()
    public, operators = ground.events()
    assert "targets" not in public.content
    assert values(public, 3) == {"DISPATCH_SETPOINT": -2.4}
    assert operators.targets == ("grid-operator-zone-1",)
    assert values(operators, 3) == {"DISPATCH_SETPOINT": -2.8}
    (own,) = ground.events(METERS)
    assert own.targets == ("meter-3",)
    assert values(own)["DISPATCH_SETPOINT"] == -2.8


def test_caps_are_told_to_the_operator_and_to_the_capped_meter_s_gateway_alone(ground: OpenAdrGround) -> None:
    for meter in (3, 4):
        ground.client(f"gateway {meter}", ClientRole.VEN, f"meter-{meter}")
    ground.schedule()
    ground.follower().follow()
    before = {event.targets: event.id for event in ground.events(METERS)}
    ground.curtail(Direction.EXPORT, {3: 250}, emergency=True, reason=2)
    ground.follower().follow()
    public, operators = ground.events()
    told = values(public)
    assert (told["GRIDLEDGER_STATE"], told["GRIDLEDGER_DIRECTION"], told["GRIDLEDGER_EMERGENCY"]) == (
        "curtailed",
        "export",
        True,
    )
    assert "EXPORT_CAPACITY_LIMIT" not in str(public.content["intervals"])
    assert values(operators, 3) == {"DISPATCH_SETPOINT": -2.4, "EXPORT_CAPACITY_LIMIT": 1}
    own, other = ground.events(METERS)
    assert {event.targets: event.id for event in (own, other)} == before
    assert values(own)["EXPORT_CAPACITY_LIMIT"] == 1
    assert "EXPORT_CAPACITY_LIMIT" not in values(other)


def test_of_two_curtailments_the_newer_one_holds(ground: OpenAdrGround) -> None:
    ground.schedule()
    ground.curtail(Direction.EXPORT, {3: 250})
    ground.curtail(Direction.IMPORT, {4: 500}, emergency=True)
    ground.follower().follow()
    _, operators = ground.events()
    assert values(operators, 3) == {"DISPATCH_SETPOINT": -2.4}
    assert values(operators, 4) == {"DISPATCH_SETPOINT": 2.4, "IMPORT_CAPACITY_LIMIT": 2}


def test_with_a_limit_of_the_zone_each_exporting_meter_is_told_its_envelope(ground: OpenAdrGround) -> None:
    """Each meter's capacity is 1 W, so that neither has a share of what the limit leaves free."""
    ground.limit_wh = 1_000
    ground.schedule()
    ground.follower().follow()
    _, operators = ground.events()
    assert (values(operators, 3)["EXPORT_CAPACITY_LIMIT"], values(operators, 4)["EXPORT_CAPACITY_LIMIT"]) == (2.4, 0)


def test_a_stop_is_told_over_all_its_mtus_where_nothing_was_scheduled_yet(ground: OpenAdrGround) -> None:
    ground.stop(MTU_START + 900, 4)
    ground.follower().follow()
    for program in ("grid-dispatch-zone-1", METERS):
        (event,) = ground.events(program)
        assert "targets" not in event.content
        assert event.content["intervalPeriod"] == {"start": "2016-06-13T00:15:00Z", "duration": "PT60M"}
        told = values(event)
        assert told["ALERT_GRID_EMERGENCY"] == "zone 1 is stopped: all meters at 0 kW (emergency)"
        assert (told["EXPORT_CAPACITY_LIMIT"], told["IMPORT_CAPACITY_LIMIT"]) == (0, 0)
        assert told["GRIDLEDGER_ANSWER_TRANSACTION_HASH"] == "0x" + "cc" * 32


def test_a_stop_changes_what_was_scheduled_before_it_and_is_in_what_is_scheduled_after(ground: OpenAdrGround) -> None:
    ground.client("gateway 4", ClientRole.VEN, "meter-4")
    ground.schedule(MTU_START + 900)
    ground.schedule(MTU_START + 4_500)
    ground.follower().follow()
    ground.stop(MTU_START, 4)
    ground.follower().follow()
    ground.schedule(MTU_START + 1_800)
    ground.follower().follow()
    stopped = {
        event.content["intervalPeriod"]["start"][11:16]: values(event)["IMPORT_CAPACITY_LIMIT"]
        for event in ground.events(METERS)
        if "IMPORT_CAPACITY_LIMIT" in values(event) and event.targets
    }
    assert stopped == {"00:15": 0, "00:30": 0}
    states = [values(event)["GRIDLEDGER_STATE"] for event in ground.events() if "targets" not in event.content]
    assert states == ["stopped", "scheduled", "stopped", "stopped"]


def test_published_prices_and_factors_change_the_day_they_are_for(ground: OpenAdrGround) -> None:
    ground.follower().follow()
    before = notified(ground)
    ground.block("FeedInPosted", mtuStart=DAY + 900, feedInCentsPerMwh=-1_234)
    ground.follower().follow()
    ground.block("GridFactorPublished", mtuStart=DAY + 1_800, factorMgco2PerKwh=200_500, sourceHash="0x")
    ground.follower().follow()
    ground.block("SomethingElse")
    ground.follower().follow()
    today, _ = ground.events(TARIFF)
    assert values(today, 0) == {"PRICE": 0.32, "EXPORT_PRICE": 0.08, "GHG": 363}
    assert values(today, 1) == {"PRICE": 0.22766, "EXPORT_PRICE": -0.01234, "GHG": 363}
    assert values(today, 2)["GHG"] == 200.5
    assert notified(ground)[len(before) :] == [("EVENT", "UPDATE")] * 2


def test_each_day_the_next_one_is_told_and_what_is_long_over_is_forgotten(ground: OpenAdrGround) -> None:
    ground.schedule()
    ground.follower().follow()
    (event,) = ground.events()
    report = {"eventID": event.id, "clientName": "dso", "resources": []}
    with ground.database.write() as tx:
        tx.openadr.add(ObjectKind.REPORT, report, now=DAY, client_id="dso")
    ground.clock.move_to(DAY + 86_400)
    ground.follower().follow()
    assert len(ground.events(TARIFF)) == 3
    ground.clock.move_to(DAY + 86_400 * 3 + KEPT_S + 3_600)
    ground.follower().follow()
    assert ground.events() == []
    assert [one.content["intervalPeriod"]["start"] for one in ground.events(TARIFF)] == [
        "2016-06-23T00:00:00Z",
        "2016-06-24T00:00:00Z",
    ]
    with ground.database.read() as tx:
        (linked,) = tx.openadr_origins.reports(1, 0, 2**31, 0, 10)
    assert linked.origin.transaction_hash == transaction_hash(MTU_START), "an answered event's origin is kept"


def test_an_event_that_a_client_deleted_comes_back_with_the_next_answer(ground: OpenAdrGround) -> None:
    ground.schedule()
    ground.follower().follow()
    (event,) = ground.events()
    with ground.database.write() as tx:
        tx.openadr.remove(ObjectKind.PROGRAM, event.content["programID"], now=DAY)
    ground.answer(ScheduleState.ACKNOWLEDGED)
    ground.follower().follow()
    (again,) = ground.events()
    assert again.id != event.id
    assert values(again)["GRIDLEDGER_STATE"] == "acknowledged"


# ---- demand response


_NUMBERS = count(1)


def demanded(ground: OpenAdrGround, **changes: Any) -> str:
    """The grid operator's signed event, kept; its id."""
    event = a_demand(**{"first_mtu_start": MTU_START + 3_600, **changes})
    event_id = "0x" + event.salt.hex()
    terms = MeasuringTerms(rule=BaselineRule(), civil_time="UTC", holidays=())
    end = event.first_mtu_start + event.mtu_count * 900
    with ground.database.write() as tx:
        stored = StoredDemand(
            number=next(_NUMBERS),
            event_id=event_id,
            event=event,
            signature=bytes(65),
            terms=terms,
            terms_signature=bytes(65),
            received_at=ground.clock.now(),
        )
        tx.demand.add_event(stored, end=end)
    return event_id


def joined(ground: OpenAdrGround, event_id: str, *meters: int, joins: bool = True) -> None:
    with ground.database.write() as tx:
        owners = dict.fromkeys(meters, "0x" + "11" * 20)
        tx.demand.note_participation(event_id, owners, joined=joins, standing=False, now=ground.clock.now())


@pytest.mark.parametrize(
    ("direction", "reason", "change_kw", "level", "priority"),
    [
        (DemandDirection.REDUCE, 4, -8, 3, 1),
        (DemandDirection.REDUCE, 3, -8, 1, 2),
        (DemandDirection.INCREASE, 4, 8, 0, 2),
    ],
    ids=["emergency", "maintenance", "increase"],
)
def test_a_demand_response_event_tells_the_zone_its_change_of_consumption_and_its_level(
    ground: OpenAdrGround, direction: DemandDirection, reason: int, change_kw: int, level: int, priority: int
) -> None:
    event_id = demanded(ground, direction=direction, reason=reason)
    ground.follower().follow()
    (event,) = ground.events(DEMANDS)
    assert "targets" not in event.content
    assert event.content["intervalPeriod"] == {"start": "2016-06-13T01:00:00Z", "duration": "PT15M"}
    assert event.content["priority"] == priority
    assert [interval["id"] for interval in event.content["intervals"]] == [0, 1, 2, 3]
    for interval in range(4):
        assert values(event, interval) == {
            "DISPATCH_SETPOINT_RELATIVE": change_kw,
            "SIMPLE": level,
            "GRIDLEDGER_CHAIN_ID": 31_337,
            "GRIDLEDGER_ZONE": 1,
            "GRIDLEDGER_DEMAND_ID": event_id,
            "GRIDLEDGER_DIRECTION": direction.name.lower(),
            "GRIDLEDGER_REASON": reason,
        }


def test_only_gateways_of_meters_that_take_part_are_told_and_one_that_leaves_loses_the_event(
    ground: OpenAdrGround,
) -> None:
    for meter in (3, 4):
        ground.client(f"gateway {meter}", ClientRole.VEN, f"meter-{meter}")
    event_id = demanded(ground)
    ground.follower().follow()
    assert ground.events(METERS) == []
    joined(ground, event_id, 3)
    ground.follower().follow()
    (own,) = ground.events(METERS)
    assert own.targets == ("meter-3",)
    assert (values(own)["SIMPLE"], "DISPATCH_SETPOINT_RELATIVE" in values(own)) == (2, False)
    joined(ground, event_id, 3, joins=False)
    joined(ground, event_id, 4)
    ground.follower().follow()
    (other,) = ground.events(METERS)
    assert other.targets == ("meter-4",)
    joined(ground, event_id, 3)
    ground.follower().follow()
    assert [event.targets for event in ground.events(METERS)] == [("meter-4",), ("meter-3",)]
    assert notified(ground).count(("EVENT", "DELETE")) == 1


def test_demand_response_is_neither_lost_nor_told_twice_over_restarts(ground: OpenAdrGround) -> None:
    ground.client("gateway 3", ClientRole.VEN, "meter-3")
    for number in range(60):
        event_id = demanded(ground, first_mtu_start=MTU_START + 3_600 * (number + 1), salt=number.to_bytes(32))
        joined(ground, event_id, 3)
    for _ in range(3):
        ground.follower().follow()
    told = [values(event)["GRIDLEDGER_DEMAND_ID"] for event in ground.events(DEMANDS)]
    assert told == [f"0x{number:064x}" for number in range(60)]
    assert len(ground.events(METERS)) == 60
    assert ("EVENT", "UPDATE") not in notified(ground)


def test_demand_response_that_ended_long_ago_is_not_told(ground: OpenAdrGround) -> None:
    event_id = demanded(ground)
    ground.clock.move_to(MTU_START + 7_200 + KEPT_S)
    ground.follower().follow()
    joined(ground, event_id, 3)
    ground.follower().follow()
    assert ground.events(DEMANDS) == []
