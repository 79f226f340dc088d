"""Readings through a real broker: who gets in, what becomes of them, and what everybody is told."""

import json
from itertools import count

import pytest
from tests.api.running import BUY_METER, MTU_LENGTH_S, MTU_START, SELL_METER, RunningNode
from tests.mqtt.broker import Broker, Observer, outcome, publish, publish_and_hear

from gridledger.cli.key_files import load_key
from gridledger.clock import SystemClock
from gridledger.metering.certificates import Authority, new_authority

_mtu_starts = (MTU_START + MTU_LENGTH_S * index for index in count())
TOPIC = f"meters/{SELL_METER}/readings"
DAY_S = 86_400


def metric(node: RunningNode, name: str) -> float:
    """A value of /metrics, 0 while there is none."""
    lines = (line.rpartition(" ") for line in node.http.get("/metrics").text.splitlines())
    return next((float(value) for found, _, value in lines if found == name), 0.0)


def outcomes(node: RunningNode, code: str) -> float:
    return metric(node, f'gridledger_reading_outcomes_total{{outcome="{code}"}}')


def kept(node: RunningNode, meter: int, mtu_start: int) -> list[int]:
    """Export minus import of what the node holds, Wh; at most one reading of a meter and MTU may be there."""
    with node.node._database.read() as tx:
        return [stored.reading.net_wh for stored in tx.readings.at(1, mtu_start) if stored.reading.meter == meter]


def test_a_reading_posted_by_mosquitto_pub_is_accepted_and_the_outcome_is_published(
    broker: Broker, node: RunningNode, observer: Observer
) -> None:
    mtu_start, accepted = next(_mtu_starts), outcomes(node, "accepted")
    text = node.reading(SELL_METER, 580, mtu_start)
    device = broker.ground.device(SELL_METER)
    assert publish(broker.ground, device, TOPIC, text.encode()).returncode == 0
    assert observer.next(SELL_METER) == {"results": [{"status": "accepted"}]}
    assert kept(node, SELL_METER, mtu_start) == [580]
    assert outcomes(node, "accepted") == accepted + 1
    assert metric(node, "gridledger_mqtt_connected") == 1


def test_a_device_hears_its_own_outcome_on_its_one_connection(broker: Broker, node: RunningNode) -> None:
    text = node.reading(BUY_METER, -5, next(_mtu_starts))
    device = broker.ground.device(BUY_METER)
    heard = publish_and_hear(broker.ground, device, BUY_METER, text)
    assert heard == ("application/json", "it", {"results": [{"status": "accepted"}]})
    *_, document = publish_and_hear(broker.ground, device, BUY_METER, text)
    assert document == {"results": [{"status": "duplicate"}]}
    content_type, correlation, problem = publish_and_hear(broker.ground, device, BUY_METER, "[")
    assert (content_type, correlation) == ("application/problem+json", "it")
    assert problem["type"] == "urn:gridledger:problem:payload-unreadable"


def test_a_reading_that_is_sent_without_waiting_for_the_broker_is_taken_too(
    broker: Broker, node: RunningNode, observer: Observer
) -> None:
    mtu_start, device = next(_mtu_starts), broker.ground.device(SELL_METER)
    publish(broker.ground, device, TOPIC, node.reading(SELL_METER, 8, mtu_start).encode(), "-q", "0")
    assert observer.results(SELL_METER) == ["accepted"]
    publish(broker.ground, device, TOPIC, node.reading(SELL_METER, 8, mtu_start).encode(), "-q", "2")
    assert observer.results(SELL_METER) == ["duplicate"]


def test_a_forged_topic_does_not_get_in(broker: Broker, node: RunningNode, observer: Observer) -> None:
    """mosquitto_pub is told nothing of it: so a good one follows, and only that is seen."""
    mtu_start, before = next(_mtu_starts), metric(node, 'gridledger_mqtt_messages_total{result="answered"}')
    forged = node.reading(SELL_METER, 1, mtu_start).encode()  # even a genuine text of meter 1
    thief = broker.ground.device(BUY_METER)
    assert publish(broker.ground, thief, TOPIC, forged).returncode == 0
    good = node.reading(SELL_METER, 2, mtu_start).encode()
    assert publish(broker.ground, broker.ground.device(SELL_METER), TOPIC, good).returncode == 0
    assert observer.results(SELL_METER) == ["accepted"]
    assert kept(node, SELL_METER, mtu_start) == [2]
    assert metric(node, 'gridledger_mqtt_messages_total{result="answered"}') == before + 1
    assert observer.heard.empty()


def test_a_text_of_another_meter_on_ones_own_topic_is_refused_by_name(
    broker: Broker, node: RunningNode, observer: Observer
) -> None:
    mtu_start, before = next(_mtu_starts), outcomes(node, "topic-meter-mismatch")
    texts = [node.reading(meter, -3, mtu_start) for meter in (BUY_METER, SELL_METER)]
    device = broker.ground.device(SELL_METER)
    publish(broker.ground, device, TOPIC, json.dumps(texts).encode())
    first, second = observer.next(SELL_METER)["results"]
    assert (outcome(first), outcome(second)) == ("topic-meter-mismatch", "accepted")
    assert (first["status"], first["problem"]["status"]) == ("refused", 403)
    assert (first["problem"]["topic_meter"], first["problem"]["meter"]) == (SELL_METER, BUY_METER)
    assert (kept(node, BUY_METER, mtu_start), kept(node, SELL_METER, mtu_start)) == ([], [-3])
    assert outcomes(node, "topic-meter-mismatch") == before + 1


def test_a_repeated_reading_is_a_duplicate_and_a_contradicting_one_is_disputed(
    broker: Broker, node: RunningNode, observer: Observer
) -> None:
    mtu_start, device = next(_mtu_starts), broker.ground.device(SELL_METER)
    text, other = node.reading(SELL_METER, 10, mtu_start), node.reading(SELL_METER, 11, mtu_start)
    for payload in (text, f"{text}\n{text}\n", other):
        publish(broker.ground, device, TOPIC, payload.encode())
    assert observer.results(SELL_METER) == ["accepted"]
    assert observer.results(SELL_METER) == ["duplicate", "duplicate"]
    assert observer.results(SELL_METER) == ["reading-differs"]
    assert kept(node, SELL_METER, mtu_start) == [10]


def test_a_text_whose_signature_is_another_s_is_refused(broker: Broker, node: RunningNode, observer: Observer) -> None:
    text = node.reading(SELL_METER, 10, next(_mtu_starts), signer=BUY_METER).replace(
        # the header says meter 1, the key is that of meter 2
        node.reading(BUY_METER, 1).split(".")[0],
        node.reading(SELL_METER, 1).split(".")[0],
    )
    publish(broker.ground, broker.ground.device(SELL_METER), TOPIC, text.encode())
    assert observer.results(SELL_METER) == ["signature-invalid"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"x" * (1024 * 1024 + 1), "payload-too-large"),
        (b"OCMF|\xff\xfe", "payload-unreadable"),
        (json.dumps(["x"] * 501).encode(), "batch-too-large"),
        (b"x\n" * 501, "batch-too-large"),
        (b"[1]", "payload-unreadable"),
        (b"[" * 100_000, "payload-unreadable"),
        (b" \r\n", "payload-unreadable"),
    ],
    ids=["long", "no-utf-8", "many-in-an-array", "many-lines", "no-texts", "deep", "nothing"],
)
def test_a_message_without_texts_is_refused_as_a_whole(
    broker: Broker, node: RunningNode, observer: Observer, payload: bytes, code: str
) -> None:
    before, refused = outcomes(node, code), metric(node, 'gridledger_mqtt_messages_total{result="refused"}')
    publish(broker.ground, broker.ground.device(SELL_METER), TOPIC, payload)
    problem = observer.next(SELL_METER)
    assert (problem["type"], problem["status"]) == (f"urn:gridledger:problem:{code}", 422)
    assert outcomes(node, code) == before + 1
    assert metric(node, 'gridledger_mqtt_messages_total{result="refused"}') == refused + 1


def test_texts_that_are_no_readings_are_refused_one_by_one(
    broker: Broker, node: RunningNode, observer: Observer
) -> None:
    mtu_start = next(_mtu_starts)
    lines = ["gibberish", "OCMF|{}|{}", json.dumps(node.reading(SELL_METER, 4, mtu_start)), "x" * 3000]
    publish(broker.ground, broker.ground.device(SELL_METER), TOPIC, "\r\n".join(lines).encode())
    assert observer.results(SELL_METER) == [
        "reading-unreadable",
        "reading-unreadable",
        "accepted",
        "reading-unreadable",
    ]
    assert kept(node, SELL_METER, mtu_start) == [4]


def test_without_a_good_certificate_nobody_gets_in(broker: Broker, node: RunningNode, observer: Observer) -> None:
    ground, mtu_start, now = broker.ground, next(_mtu_starts), SystemClock().now()
    other_key = load_key(ground.device(9).key)
    other = Authority(certificate=new_authority(other_key, now, 10), key=other_key)
    long_ago = Authority(
        certificate=new_authority(ground.authority.key, now - 90 * DAY_S, 365), key=ground.authority.key
    )
    stranger = ground.signed("stranger", other, SELL_METER, now, 5)
    expired = ground.signed("expired", long_ago, SELL_METER, now - 30 * DAY_S, 29)
    bad = node.reading(SELL_METER, 1, mtu_start).encode()
    for identity in (None, stranger, expired):
        assert publish(ground, identity, TOPIC, bad).returncode != 0
    good = node.reading(SELL_METER, 2, mtu_start).encode()
    assert publish(ground, ground.device(SELL_METER), TOPIC, good).returncode == 0
    assert observer.results(SELL_METER) == ["accepted"]
    assert kept(node, SELL_METER, mtu_start) == [2]
    log = broker.log()
    assert "peer did not return a certificate" in log
    assert "certificate verify failed" in log


def test_a_device_can_neither_take_the_node_s_session_nor_speak_for_the_node(
    broker: Broker, node: RunningNode, observer: Observer
) -> None:
    """The session's name is the certificate's, whatever a client calls itself."""
    ground, thief = broker.ground, broker.ground.device(BUY_METER)
    publish(ground, thief, f"meters/{BUY_METER}/readings", b"x", "-i", "gridledger-node", "-c")
    assert observer.results(BUY_METER) == ["reading-unreadable"]
    publish(ground, thief, f"meters/{SELL_METER}/outcomes", b'{"results":[{"status":"accepted"}]}')
    publish(ground, ground.device(SELL_METER), TOPIC, b"y")
    assert observer.results(SELL_METER) == ["reading-unreadable"]
    assert "gridledger-node already connected" not in broker.log()
