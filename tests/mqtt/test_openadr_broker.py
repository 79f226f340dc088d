"""OpenADR notifications at a real broker: in order, none lost over restarts, and nothing there that is not for all."""

import functools
import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.app.openadr_ground import MTU_START, OpenAdrGround, transaction_hash, values
from tests.mqtt.broker import HOST, PATIENCE_S, anonymous_broker, program, wait_until

from gridledger.dispatch.model import ScheduleState
from gridledger.mqtt.broker import BrokerAuthenticationUnknown, OpenAdrBroker
from gridledger.mqtt.errors import MqttSettingMissing, MqttUrlMalformed
from gridledger.mqtt.settings import MqttSettings
from gridledger.store.openadr_clients import ClientRole
from gridledger.store.openadr_model import ObjectKind

CURSOR = "openadr_mqtt_cursor"


@dataclass
class Listener:
    """What `mosquitto_sub` hears under all topics."""

    heard: "queue.Queue[tuple[str, dict[str, Any]]]" = field(default_factory=queue.Queue)

    ids: list[str] = field(default_factory=list)

    def take(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        return [self.heard.get(timeout=PATIENCE_S) for _ in range(count)]

    def states(self, topic: str, count: int) -> list[str]:
        """States of the dispatches told under one topic; others are passed over."""
        found: list[str] = []
        while len(found) < count:
            where, document = self.heard.get(timeout=PATIENCE_S)
            if where == topic:
                found.append(values(document["object"])["GRIDLEDGER_STATE"])
        return found


@contextmanager
def listening(port: int, log: Path) -> Iterator[Listener]:
    command = [program("mosquitto_sub"), "-h", HOST, "-p", str(port), "-q", "1", "-t", "openadr/#"]
    command += ["-V", "mqttv5", "-F", "%t %P %p"]
    granted = log.read_text().count("Sending SUBACK")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    listener = Listener()

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                topic, notification_id, document = line.split(" ", 2)
                listener.heard.put((topic, json.loads(document)))
                listener.ids.append(notification_id)

    thread = threading.Thread(target=listen, name="listener")
    thread.start()
    try:
        wait_until(lambda: log.read_text().count("Sending SUBACK") > granted)
        yield listener
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        thread.join(PATIENCE_S)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[OpenAdrGround]:
    ground = OpenAdrGround(tmp_path)
    ground.follower().follow()
    with ground.database.write() as tx:
        tx.directory.set_fact(CURSOR, tx.openadr.last_notification_id())
    yield ground
    ground.database.close()


def at(port: int, *, knows_clients: bool = False) -> OpenAdrBroker:
    settings = MqttSettings(host=HOST, port=port, tls=None)
    return OpenAdrBroker(settings=settings, client_url=settings.url, knows_clients=knows_clients)


def program_id(ground: OpenAdrGround) -> str:
    return ground.objects(ObjectKind.PROGRAM)[0].id


def cursor(ground: OpenAdrGround) -> int:
    with ground.database.read() as tx:
        reached: int = tx.directory.fact(CURSOR)
    return reached


def last_id(ground: OpenAdrGround) -> int:
    with ground.database.read() as tx:
        return tx.openadr.last_notification_id()


def all_told(ground: OpenAdrGround, dispatches: int) -> bool:
    return len(ground.events()) == dispatches and cursor(ground) == last_id(ground)


def test_a_dispatch_and_its_answer_are_published_to_the_program_and_to_all(
    ground: OpenAdrGround, tmp_path: Path
) -> None:
    with (
        anonymous_broker(tmp_path) as (port, log),
        listening(port, log) as listener,
        ground.working(at(port)) as worker,
    ):
        wait_until(lambda: worker.problems() == ())
        ground.schedule()
        worker.wake()
        created = listener.take(3)
        ground.answer(ScheduleState.ACKNOWLEDGED)
        worker.wake()
        updated = listener.take(3)
    of_program = f"programs/{program_id(ground)}/events"
    bases = ["openadr/bl/events", f"openadr/bl/{of_program}", f"openadr/public/{of_program}"]
    assert sorted(topic for topic, _ in created) == sorted(f"{base}/create" for base in bases)
    assert sorted(topic for topic, _ in updated) == sorted(f"{base}/update" for base in bases)
    (event,) = ground.events()
    assert all(
        document == {"objectType": "EVENT", "operation": "UPDATE", "object": event.document()}
        for _, document in updated
    )


def test_none_of_a_hundred_is_lost_or_told_twice_over_restarts_of_the_node(
    ground: OpenAdrGround, tmp_path: Path
) -> None:
    starts = [MTU_START + number * 900 for number in range(100)]
    with anonymous_broker(tmp_path) as (port, log), listening(port, log) as listener:
        for first, end in ((0, 30), (30, 70), (70, 100)):
            for mtu_start in starts[first:end]:
                ground.schedule(mtu_start)
            with ground.working(at(port)):
                wait_until(functools.partial(all_told, ground, end))
        told = [document["object"] for topic, document in listener.take(300) if topic == "openadr/bl/events/create"]
        assert [values(one)["GRIDLEDGER_TRANSACTION_HASH"] for one in told] == list(map(transaction_hash, starts))
        assert listener.heard.empty()


def test_what_was_not_kept_as_published_is_published_again(ground: OpenAdrGround, tmp_path: Path) -> None:
    before = cursor(ground)
    with anonymous_broker(tmp_path) as (port, log), listening(port, log) as listener:
        ground.schedule()
        for _ in range(2):
            with ground.working(at(port)):
                wait_until(lambda: cursor(ground) == last_id(ground) > before)
            with ground.database.write() as tx:
                tx.directory.set_fact(CURSOR, before)
        assert listener.states("openadr/bl/events/create", 2) == ["scheduled"] * 2
        listener.take(2)
        assert len(listener.ids) == 6
        assert len(set(listener.ids)) == 1, "a repetition is known by its id"


def test_a_broker_that_is_away_is_a_problem_until_it_is_back_and_gets_what_it_missed(
    ground: OpenAdrGround, tmp_path: Path
) -> None:
    with anonymous_broker(tmp_path) as (port, _):
        pass
    ground.schedule()
    with ground.working(at(port)) as worker:
        wait_until(lambda: any("not connected" not in problem for problem in worker.problems()))
        with anonymous_broker(tmp_path, port):
            wait_until(lambda: worker.problems() == ())
            wait_until(lambda: cursor(ground) == last_id(ground))
        wait_until(lambda: worker.problems() != ())


def private_changes(ground: OpenAdrGround) -> None:
    """A dispatch of which the operator and a gateway see more, and a report."""
    ground.client("gateway", ClientRole.VEN, "meter-3")
    ground.schedule(residual_wh=100)
    ground.follower().follow()
    with ground.database.write() as tx:
        report = {"eventID": ground.events()[0].id, "clientName": "gateway", "resources": []}
        tx.openadr.add(ObjectKind.REPORT, report, now=1, client_id="gateway")
        targets = ["meter-3", "meter-4"]
        tx.openadr.add(ObjectKind.EVENT, {"programID": program_id(ground), "targets": targets}, now=1)


def test_nothing_but_what_everybody_may_know_is_published_where_anybody_may_listen(
    ground: OpenAdrGround, tmp_path: Path
) -> None:
    private_changes(ground)
    with anonymous_broker(tmp_path) as (port, log), listening(port, log) as listener:
        with ground.working(at(port)):
            wait_until(lambda: cursor(ground) == last_id(ground))
        public = listener.take(3)
        assert listener.heard.empty()
    assert {document["objectType"] for _, document in public} == {"EVENT"}
    assert all("targets" not in document and "targets" not in document["object"] for _, document in public)


def test_a_broker_that_knows_its_clients_gets_everything_each_under_its_reader_s_topic(
    ground: OpenAdrGround, tmp_path: Path
) -> None:
    private_changes(ground)
    with anonymous_broker(tmp_path) as (port, log), listening(port, log) as listener:
        with ground.working(at(port, knows_clients=True)):
            wait_until(lambda: cursor(ground) == last_id(ground))
        heard = listener.take(15)
        assert listener.heard.empty()
    own = [
        (topic.split("/", 3)[3], document) for topic, document in heard if topic.startswith("openadr/clients/gateway/")
    ]
    (ven,) = ground.objects(ObjectKind.VEN)
    assert [topic for topic, _ in own] == [f"vens/{ven.id}/create", *[f"vens/{ven.id}/events/create"] * 2]
    assert [document.get("targets") for _, document in own[1:]] == [["meter-3"]] * 2, "another's target is told"
    shared = [document for topic, document in heard if topic.startswith("openadr/public/")]
    assert len(shared) == 1
    assert "targets" not in shared[0]
    assert {document["objectType"] for topic, document in heard if topic.startswith("openadr/bl/")} == {
        "EVENT",
        "VEN",
        "REPORT",
    }


URL, AUTHENTICATION = "GRIDLEDGER_OPENADR_MQTT_URL", "GRIDLEDGER_OPENADR_MQTT_AUTHENTICATION"


def test_a_broker_for_clients_is_set_apart_from_that_of_meters() -> None:
    assert OpenAdrBroker.from_environment({"GRIDLEDGER_MQTT_URL": "mqtt://localhost"}) is None
    plain = OpenAdrBroker.from_environment({URL: "mqtt://localhost"})
    assert plain is not None
    assert (plain.client_url, plain.knows_clients) == ("mqtt://localhost:1883", False)
    assert plain.authentication == {"method": "ANONYMOUS"}
    public = {
        "GRIDLEDGER_OPENADR_MQTT_CLIENT_URL": "mqtts://public.example:8883",
        AUTHENTICATION: "OAUTH2_BEARER_TOKEN",
    }
    known = OpenAdrBroker.from_environment({URL: "mqtt://[::1]", **public})
    assert known is not None
    assert (known.settings.url, known.client_url) == ("mqtt://[::1]:1883", "mqtts://public.example:8883")
    assert known.authentication == {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"}


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({URL: "mqtt://broker.example"}, MqttUrlMalformed),
        ({URL: "http://localhost"}, MqttUrlMalformed),
        ({URL: "mqtts://broker.example"}, MqttSettingMissing),
        ({URL: "mqtt://localhost", AUTHENTICATION: "CERTIFICATE"}, BrokerAuthenticationUnknown),
    ],
)
def test_settings_that_cannot_be_are_a_typed_error(environment: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        OpenAdrBroker.from_environment(environment)
