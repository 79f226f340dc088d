"""What the broker is told to forget, and when: never before it is kept, whoever dies in between."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import OperationalError
from tests.mqtt.broker import PATIENCE_S, Broker, Ground, observing, publish, running, wait_until

from gridledger.api.problems import problem_document
from gridledger.app.mqtt_worker import MqttWorker
from gridledger.errors import GridLedgerError

METER = 1
ACKNOWLEDGED = "Received PUBACK from gridledger-node"
TOPIC = f"meters/{METER}/readings"


class Taker:
    """Remembers texts; fails when it is told to, waits where it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures: list[Exception] = []
        self.poison: str | None = None
        self.may_return = threading.Event()
        self.may_return.set()

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.batches for text in batch]

    def accept(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        if self.failures:
            raise self.failures.pop(0)
        if self.poison in texts:
            raise KeyError(self.poison)
        self.batches.append(list(texts))
        assert self.may_return.wait(PATIENCE_S)
        return [{"status": "accepted"} for _ in texts]

    def refuse(self, error: GridLedgerError) -> dict[str, Any]:
        return problem_document(error)


@pytest.fixture
def ground(ground: Ground) -> Ground:
    """A broker's folder in which nothing is left of the test before."""
    for left in (ground.broker / "data").iterdir():
        left.unlink()
    (ground.path / "broker.log").unlink(missing_ok=True)
    return ground


@pytest.fixture
def broker(ground: Ground) -> Iterator[Broker]:
    with running(ground) as broker:
        yield broker


@contextmanager
def working(ground: Ground, taker: Taker) -> Iterator[MqttWorker]:
    """A connected worker."""
    worker = MqttWorker(settings=ground.settings, readings=taker, registry=CollectorRegistry())
    worker.start()
    try:
        wait_until(lambda: not worker.problems())
        yield worker
    finally:
        taker.may_return.set()
        worker.close()


def send(broker: Broker, *texts: str) -> None:
    for text in texts:
        assert publish(broker.ground, broker.ground.device(METER), TOPIC, text.encode()).returncode == 0


def test_what_comes_while_the_node_is_away_is_taken_when_it_is_back_once_and_in_order(broker: Broker) -> None:
    taker = Taker()
    with working(broker.ground, taker):
        send(broker, "before")
        wait_until(lambda: ACKNOWLEDGED in broker.log())
    send(broker, "one", "two", "three")
    with working(broker.ground, taker):
        wait_until(lambda: len(taker.texts) == 4)
        send(broker, "after")
        wait_until(lambda: taker.texts[-1] == "after")
    assert taker.texts == ["before", "one", "two", "three", "after"]


def test_what_waits_for_the_node_outlives_a_restart_of_the_broker(broker: Broker) -> None:
    taker = Taker()
    with working(broker.ground, taker):
        pass
    send(broker, "waiting")
    broker.stop()
    broker.start()
    with working(broker.ground, taker):
        wait_until(lambda: taker.texts == ["waiting"])


def test_the_node_comes_back_to_a_broker_that_was_restarted(broker: Broker) -> None:
    taker = Taker()
    with working(broker.ground, taker) as worker:
        broker.stop()
        wait_until(worker.problems)
        broker.start()
        wait_until(lambda: not worker.problems())
        send(broker, "again")
        wait_until(lambda: taker.texts == ["again"])


def test_a_message_is_not_acknowledged_before_its_readings_are_kept(broker: Broker) -> None:
    """The first worker ends while the readings are being kept: the second is told of them again."""
    taker = Taker()
    taker.may_return.clear()
    with working(broker.ground, taker):
        send(broker, "kept")
        wait_until(lambda: taker.texts == ["kept"])
        assert ACKNOWLEDGED not in broker.log()
        threading.Timer(0.2, taker.may_return.set).start()
    with observing(broker.ground) as observer, working(broker.ground, taker):
        assert observer.results(METER) == ["accepted"]
        wait_until(lambda: ACKNOWLEDGED in broker.log())
    assert taker.texts == ["kept", "kept"]


def test_while_the_database_cannot_be_written_nothing_is_lost(broker: Broker) -> None:
    taker = Taker()
    taker.failures = [OperationalError("INSERT", {}, Exception("disk full")), OSError("gone")]
    with observing(broker.ground) as observer, working(broker.ground, taker):
        send(broker, "patient")
        assert observer.results(METER) == ["accepted"]
    assert taker.texts == ["patient"]


def test_a_text_the_node_fails_over_is_refused_and_stops_nobody(broker: Broker) -> None:
    taker = Taker()
    taker.poison = "poison"
    with observing(broker.ground) as observer, working(broker.ground, taker):
        send(broker, "one\npoison\ntwo\nthree")
        assert observer.results(METER) == ["accepted", "readings-not-kept", "accepted", "accepted"]
        send(broker, "four")
        assert observer.results(METER) == ["accepted"]
    assert taker.texts == ["one", "two", "three", "four"]


def test_a_broker_without_a_limit_of_its_own_sends_no_more_than_the_node_will_hold(ground: Ground) -> None:
    taker, configuration = Taker(), ground.broker / "mosquitto.conf"
    written = configuration.read_text()
    configuration.write_text(written.replace("max_inflight_messages 32", "max_inflight_messages 0"))
    assert configuration.read_text() != written
    try:
        with running(ground) as broker:
            with working(ground, taker):
                pass
            lines = "\n".join(f"text {index}" for index in range(200)).encode()
            assert publish(ground, ground.device(METER), TOPIC, lines, each_line=True).returncode == 0
            taker.may_return.clear()
            with working(ground, taker):
                wait_until(lambda: taker.texts)
                assert broker.log().count("Sending PUBLISH to gridledger-node") == 32
                taker.may_return.set()
                wait_until(lambda: len(taker.texts) == 200)
    finally:
        configuration.write_text(written)
    assert taker.texts == [f"text {index}" for index in range(200)]


def test_a_worker_ends_when_it_is_told_to_without_a_broker(ground: Ground) -> None:
    worker = MqttWorker(settings=ground.settings, readings=Taker(), registry=CollectorRegistry())
    worker.start()
    wait_until(lambda: worker.problems() != ("MQTT broker: not connected yet",))
    assert "refused" in worker.problems()[0]
    worker.close()
    assert worker.problems() == ("MQTT broker: its thread has ended",)
