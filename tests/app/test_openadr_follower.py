"""From the node's own dispatches and tariffs to OpenADR objects: each change once, over any number of restarts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.app.openadr_ground import MTU_START, OpenAdrGround, transaction_hash, values

from gridledger.app.openadr_follower import KEPT_S, OpenAdrFollower
from gridledger.dispatch.model import ScheduleState
from gridledger.store.openadr_clients import ClientRole
from gridledger.store.openadr_model import ObjectKind
from gridledger.store.openadr_origins import About

DAY = MTU_START
TARIFF, METERS = "tariff-zone-1", "meter-dispatch-zone-1"


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
    assert names == ["grid-dispatch-zone-1", METERS, TARIFF]
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
    ground.answer(ScheduleState.CURTAILED, reason=2)
    ground.follower().follow()
    (changed,) = ground.events()
    assert changed.id == event.id
    assert values(changed)["GRIDLEDGER_STATE"] == "curtailed"
    with ground.database.read() as tx:
        origin = tx.openadr_origins.of_event(event.id)
    assert origin is not None
    assert (origin.about, origin.zone, origin.mtu_start) == (About.ZONE, 1, MTU_START)
    assert origin.transaction_hash == transaction_hash(MTU_START)


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


def test_a_stop_is_told_where_nothing_was_scheduled_yet(ground: OpenAdrGround) -> None:
    ground.client("gateway 4", ClientRole.VEN, "meter-4")
    with ground.database.write() as tx:
        tx.dispatches._announce(1, MTU_START, "stopped", {"reason": 4}, 1)
    ground.follower().follow()
    assert "ALERT_GRID_EMERGENCY" in values(ground.events()[0])
    assert values(ground.events(METERS)[0])["IMPORT_CAPACITY_LIMIT"] == 0


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
