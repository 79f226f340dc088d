"""Callbacks of OpenADR subscriptions: in order, at least once, with their token, told nothing that is not theirs."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.app.openadr_ground import MTU_START, OpenAdrGround, values
from tests.webhooks.receiving import Received, Receiver, receiver

from gridledger.dispatch.model import ScheduleState
from gridledger.store.openadr_clients import ClientRole
from gridledger.store.openadr_deliveries import DISABLED_AFTER_S, OpenAdrDelivery
from gridledger.store.openadr_model import ObjectKind
from gridledger.webhooks.targets import AllowList, TargetGuard

BL, VEN = ClientRole.BL, ClientRole.VEN
NEVER = 10**9


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[OpenAdrGround]:
    ground = OpenAdrGround(tmp_path)
    ground.follower().follow()
    yield ground
    ground.database.close()


def told(one: Received) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(one.body)
    return document


def states(server: Receiver, count: int) -> list[tuple[str, str]]:
    """Operation and state of the next notifications."""
    documents = [told(one) for one in server.take(count)]
    return [(one["operation"], values(one["object"])["GRIDLEDGER_STATE"]) for one in documents]


def delivery(ground: OpenAdrGround, subscription_id: str) -> OpenAdrDelivery:
    with ground.database.read() as tx:
        (found,) = tx.openadr_deliveries.of(subscription_id)
    return found


def last_id(ground: OpenAdrGround) -> int:
    with ground.database.read() as tx:
        return tx.openadr.last_notification_id()


def oldest(ground: OpenAdrGround) -> int:
    with ground.database.read() as tx:
        found = tx.openadr.notifications_after(0, 1)
    return found[0].id if found else NEVER


def test_a_subscriber_is_told_of_a_dispatch_and_its_answer_in_order_with_its_token(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    with receiver() as server, ground.working() as worker:
        ground.subscribe("dso", server.url)
        ground.schedule()
        worker.wake()
        first = server.next()
        assert first.headers["authorization"] == "Bearer the token"
        assert first.headers["content-type"] == "application/json"
        document = told(first)
        assert (document["objectType"], document["operation"], "targets" in document) == ("EVENT", "CREATE", False)
        assert document["object"] == ground.events()[0].document()
        ground.answer(ScheduleState.ACKNOWLEDGED)
        worker.wake()
        second = server.next()
        assert values(told(second)["object"])["GRIDLEDGER_STATE"] == "acknowledged"
        assert int(second.headers["webhook-id"]) > int(first.headers["webhook-id"])


def test_a_listener_that_was_away_for_a_hundred_dispatches_gets_each_once_over_a_restart(
    ground: OpenAdrGround,
) -> None:
    ground.client("dso", BL)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    starts = [MTU_START + number * 900 for number in range(100)]
    subscription = ground.subscribe("dso", f"http://127.0.0.1:{port}/hook")
    with ground.working() as worker:
        for mtu_start in starts[:50]:
            ground.schedule(mtu_start)
        worker.wake()
        assert ground.after(failures=1).last_error == "ConnectError"
    for mtu_start in starts[50:]:
        ground.schedule(mtu_start)
    with receiver() as server:  # it is back, at another port
        wish = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": server.url}
        with ground.database.write() as tx:
            content = {"clientName": "dso", "objectOperations": [wish]}
            tx.openadr.replace(ObjectKind.SUBSCRIPTION, subscription, content, now=1)
        with ground.working():
            got = [told(one)["object"] for one in server.take(100)]
        assert server.received.empty()
    ids = {one["id"] for one in got}
    assert len(ids) == 100
    assert [one["intervalPeriod"]["start"] for one in got] == sorted(one["intervalPeriod"]["start"] for one in got)


def test_what_failed_is_sent_again_after_the_wait_and_before_everything_later(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    with receiver([500, 503, 204]) as server:
        ground.subscribe("dso", server.url)
        ground.schedule()
        ground.schedule(MTU_START + 900)
        with ground.working() as worker:
            for failures, wait_s in ((1, 1), (2, 2)):
                failed = ground.after(failures=failures)
                assert failed.next_attempt_at == ground.machine.now() + wait_s
                ground.machine.move_to(failed.next_attempt_at)
                worker.wake()
            assert ground.after(failures=0).last_error is None
    starts = [told(one)["object"]["intervalPeriod"]["start"][11:16] for one in server.take(4)]
    assert starts == ["00:00", "00:00", "00:00", "00:15"]


def test_what_was_not_kept_when_the_worker_was_killed_is_sent_again_with_the_same_id(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    with receiver() as server:
        subscription = ground.subscribe("dso", server.url)
        ground.schedule()
        with ground.working():
            kept = ground.after(failures=0)
        with ground.database.write() as tx:
            tx.connection.exec_driver_sql("UPDATE openadr_delivery SET cursor = cursor - 1")  # died before keeping it
        with ground.working():
            assert ground.after(failures=0) == kept == delivery(ground, subscription)
        first, again = (one.headers["webhook-id"] for one in server.take(2))
    assert first == again


def test_what_was_taken_before_a_failure_in_the_middle_is_not_sent_again(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    with receiver([204, 204, 500, 204]) as server:
        ground.subscribe("dso", server.url)
        for number in range(4):
            ground.schedule(MTU_START + number * 900)
        with ground.working() as worker:
            failed = ground.after(failures=1)
            ground.machine.move_to(failed.next_attempt_at)
            worker.wake()
            ground.after(failures=0)
    starts = [told(one)["object"]["intervalPeriod"]["start"][11:16] for one in server.take(5)]
    assert starts == ["00:00", "00:15", "00:30", "00:30", "00:45"]


def test_one_whose_receiver_is_silent_makes_nobody_wait(ground: OpenAdrGround) -> None:
    for client in ("silent", "dso"):
        ground.client(client, BL)
    with socket.create_server(("127.0.0.1", 0)) as silent, receiver() as server:
        ground.subscribe("silent", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        ground.subscribe("dso", server.url)
        ground.schedule()
        with ground.working():
            assert states(server, 1) == [("CREATE", "scheduled")]


@pytest.mark.parametrize("end", ["gone", "days"])
def test_a_receiver_is_given_up_when_it_is_gone_or_fails_for_days_until_it_is_set_again(
    ground: OpenAdrGround, end: str
) -> None:
    ground.client("dso", BL)
    with receiver([410 if end == "gone" else 500, *([500] if end == "days" else []), 204]) as server:
        subscription = ground.subscribe("dso", server.url)
        ground.schedule()
        with ground.working() as worker:
            failed = ground.after(failures=1)
            if end == "days":
                assert failed.disabled_at is None
                ground.machine.move_to(ground.machine.now() + DISABLED_AFTER_S)
                worker.wake()
                failed = ground.after(failures=2)
            assert failed.disabled_at == ground.machine.now()
            with ground.database.write() as tx:
                kept = tx.openadr.find(ObjectKind.SUBSCRIPTION, subscription)
                assert kept is not None
                tx.openadr.replace(ObjectKind.SUBSCRIPTION, subscription, kept.content, now=1)
            worker.wake()
            assert ground.after(failures=0).disabled_at is None
        assert "authorization" not in server.take(failed.failures + 1)[-1].headers, "the new one gave no token"


def test_a_ven_is_told_of_what_has_no_targets_or_its_own_and_of_no_other_target(ground: OpenAdrGround) -> None:
    ground.client("gateway", VEN, "meter-3", "a")
    ground.client("other", VEN, "b")
    with receiver() as server, receiver() as others, ground.working() as worker:
        ground.subscribe("gateway", server.url)
        ground.subscribe("other", others.url)
        ground.schedule(residual_wh=100)  # tells everybody, the operator and meter 3
        worker.wake()
        programs = [told(one)["object"]["programID"] for one in server.take(2)]
        assert programs == [
            ground.events()[0].content["programID"],
            ground.events("meter-dispatch-zone-1")[0].content["programID"],
        ]
        with ground.database.write() as tx:
            for targets in (["b"], ["a", "b"]):
                content = {"programID": programs[0], "eventName": "of a client", "targets": targets}
                tx.openadr.add(ObjectKind.EVENT, content, now=1, client_id="dso")
        worker.wake()
        shared = told(server.next())
        assert (shared["targets"], shared["object"]["targets"]) == (["a"], ["a"])
        public, own, hidden = (told(one) for one in others.take(3))
        assert ("targets" in public, own["targets"], hidden["targets"]) == (False, ["b"], ["b"])
    assert server.received.empty()
    assert others.received.empty()


def test_a_ven_is_told_of_its_own_reports_and_vens_alone_and_business_logic_of_all(ground: OpenAdrGround) -> None:
    for client, role in (("dso", BL), ("one", VEN), ("two", VEN)):
        ground.client(client, role)
    ground.schedule()
    ground.follower().follow()
    everything = [str(kind) for kind in ObjectKind]
    with receiver() as all_of_it, receiver() as own, ground.working() as worker:
        ground.subscribe("dso", all_of_it.url, objects=everything)
        ground.subscribe("one", own.url, objects=everything)
        worker.wake()
        assert told(all_of_it.next())["objectType"] == "SUBSCRIPTION"
        with ground.database.write() as tx:
            for client in ("two", "one"):
                report = {"eventID": ground.events()[0].id, "clientName": client, "resources": []}
                tx.openadr.add(ObjectKind.REPORT, report, now=1, client_id=client)
        worker.wake()
        assert [told(one)["object"]["clientID"] for one in all_of_it.take(2)] == ["two", "one"]
        assert told(own.next())["object"]["clientID"] == "one"
    assert own.received.empty()


def test_operations_objects_program_and_targets_narrow_what_is_told(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    program_id = next(one.id for one in ground.objects(ObjectKind.PROGRAM) if "meter" in one.content["programName"])
    with receiver() as server, ground.working() as worker:
        base = server.url
        ground.subscribe("dso", f"{base}/updates", operations=["PUT"])
        ground.subscribe("dso", f"{base}/program", programID=program_id)
        ground.subscribe("dso", f"{base}/targets", targets=["grid-operator-zone-1"])
        ground.subscribe("dso", f"{base}/reports", objects=["REPORT"])
        ground.schedule(residual_wh=50)
        worker.wake()
        operators = server.next()
        assert (operators.path, told(operators)["targets"]) == ("/hook/targets", ["grid-operator-zone-1"])
        ground.answer(ScheduleState.ACKNOWLEDGED)
        worker.wake()
        updates = sorted(one.path for one in server.take(3))
    assert updates == ["/hook/targets", "/hook/updates", "/hook/updates"]
    assert server.received.empty()


def test_each_callback_of_a_subscription_has_its_own_way(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    with receiver([500]) as broken, receiver() as server, ground.working() as worker:
        subscription = ground.subscribe("dso", broken.url, server.url)
        ground.schedule()
        worker.wake()
        assert states(server, 1) == [("CREATE", "scheduled")]
        outcomes = {outcome.position: outcome.failures for outcome in (ground.kept.get(timeout=20) for _ in range(2))}
        assert outcomes == {0: 1, 1: 0}
    with ground.database.read() as tx:
        behind, done = tx.openadr_deliveries.of(subscription)
    assert behind.cursor < done.cursor == last_id(ground)


def test_a_client_that_was_removed_and_a_subscription_that_was_deleted_are_told_nothing(ground: OpenAdrGround) -> None:
    for client in ("removed", "deleting", "dso"):
        ground.client(client, BL)
    with receiver() as nobody, receiver() as server, ground.working() as worker:
        ground.subscribe("removed", nobody.url)
        deleted = ground.subscribe("deleting", nobody.url)
        ground.subscribe("dso", server.url)
        with ground.database.write() as tx:
            tx.openadr_clients.remove("removed")
            tx.openadr.remove(ObjectKind.SUBSCRIPTION, deleted, now=1)
        ground.schedule()
        worker.wake()
        assert states(server, 1) == [("CREATE", "scheduled")]
    assert nobody.received.empty()
    with ground.database.read() as tx:
        assert tx.openadr_deliveries.of(deleted) == ()


def test_a_name_that_has_come_to_lead_elsewhere_is_not_called_any_more(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    answers = ["127.0.0.1"]
    ground.guard = TargetGuard(AllowList.parse("127.0.0.1"), lambda _host, _port: list(answers))
    with receiver() as server, ground.working() as worker:
        ground.subscribe("dso", f"http://name.invalid:{server.port}/")
        ground.schedule()
        worker.wake()
        assert states(server, 1) == [("CREATE", "scheduled")]
        answers[:] = ["10.0.0.1"]
        ground.answer(ScheduleState.ACKNOWLEDGED)
        worker.wake()
        assert ground.after(failures=1).last_error == "only https is called"
    assert server.received.empty()


def test_what_everybody_has_been_told_is_forgotten_and_nothing_else(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    with receiver() as server:
        ground.subscribe("dso", server.url)
        for number in range(120):
            ground.schedule(MTU_START + number * 900)
        with ground.working() as worker:
            server.take(120)
            pause = threading.Event()
            while oldest(ground) <= 100:
                worker.wake()
                pause.wait(0.05)


def test_what_somebody_has_not_been_told_is_kept(ground: OpenAdrGround) -> None:
    ground.client("dso", BL)
    with receiver([500]) as server:
        subscription = ground.subscribe("dso", server.url)
        for number in range(120):
            ground.schedule(MTU_START + number * 900)
        with ground.working():
            ground.after(failures=1)
    assert oldest(ground) <= delivery(ground, subscription).cursor
