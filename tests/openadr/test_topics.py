"""MQTT: which topics are told to whom, and that what is published there is for who may read there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.openadr.running import OPERATOR, OTHER, VEN, Surface, surface

from gridledger.mqtt.broker import OpenAdrBroker
from gridledger.mqtt.settings import MqttSettings
from gridledger.openadr.topics import notification_topics
from gridledger.store.openadr_model import Notification, ObjectKind, Operation

BROKER = OpenAdrBroker(settings=MqttSettings(host="127.0.0.1", port=9, tls=None), client_url="mqtt://broker.test")


@pytest.fixture(scope="module")
def vtn(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Surface]:
    """A node with a broker, which need not be there for these tests."""
    with surface(tmp_path_factory.mktemp("openadr") / "data", keys, BROKER) as running:
        yield running


def topics(vtn: Surface, who: str, path: str) -> dict[str, str]:
    told: dict[str, str] = vtn.get(who, f"/notifiers/mqtt/topics/{path}")["topics"]
    return told


def test_the_broker_is_told(vtn: Surface) -> None:
    for who in (OPERATOR, VEN):
        assert vtn.get(who, "/notifiers") == {
            "WEBHOOK": True,
            "MQTT": {
                "URIS": ["mqtt://broker.test"],
                "serialization": "JSON",
                "authentication": {"method": "ANONYMOUS"},
            },
        }


def test_each_is_told_its_own_topics(vtn: Surface) -> None:
    program_id = vtn.program("topics")
    ven_id = vtn.post(VEN, "/vens", objectType="VEN_VEN_REQUEST", venName="topics")["id"]
    for who, audience in ((OPERATOR, "bl"), (VEN, "public")):
        base = f"openadr/{audience}/programs"
        assert topics(vtn, who, "programs") == {
            "CREATE": f"{base}/create",
            "UPDATE": f"{base}/update",
            "DELETE": f"{base}/delete",
            "ALL": f"{base}/+",
        }
        assert topics(vtn, who, f"programs/{program_id}")["ALL"] == f"{base}/{program_id}/+"
        assert "CREATE" not in topics(vtn, who, f"programs/{program_id}")
        assert topics(vtn, who, f"programs/{program_id}/events")["CREATE"] == f"{base}/{program_id}/events/create"
    for collection in ("events", "reports", "subscriptions", "vens", "resources"):
        assert topics(vtn, OPERATOR, collection)["ALL"] == f"openadr/bl/{collection}/+"
    own = f"openadr/clients/{VEN}/vens/{ven_id}"
    for who in (OPERATOR, VEN):
        assert topics(vtn, who, f"vens/{ven_id}") == {
            "UPDATE": f"{own}/update",
            "DELETE": f"{own}/delete",
            "ALL": f"{own}/+",
        }
        for collection in ("events", "programs", "resources"):
            assert topics(vtn, who, f"vens/{ven_id}/{collection}")["ALL"] == f"{own}/{collection}/+"


def test_topics_of_what_a_client_may_not_see_are_not_told(vtn: Surface) -> None:
    hidden = vtn.program("hidden topics", targets=["secret"])
    ven_id = vtn.post(VEN, "/vens", objectType="VEN_VEN_REQUEST", venName="of another")["id"]
    for path in (f"programs/{hidden}", f"programs/{hidden}/events", f"vens/{ven_id}", f"vens/{ven_id}/events"):
        assert vtn.ask(OTHER, "GET", f"/notifiers/mqtt/topics/{path}").status_code == 404
        assert vtn.ask(OPERATOR, "GET", f"/notifiers/mqtt/topics/{path}").status_code == 200


def notification(kind: ObjectKind, **more: object) -> Notification:
    values = {
        "id": 1,
        "kind": kind,
        "operation": Operation.UPDATE,
        "object_id": "o",
        "client_id": None,
        "program_id": None,
        "object": {},
        "targets": (),
        "created_at": 0,
    }
    return Notification(**(values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            notification(ObjectKind.PROGRAM, program_id="o"),
            {"bl/programs", "bl/programs/o", "public/programs", "public/programs/o"},
        ),
        (
            notification(ObjectKind.PROGRAM, program_id="o", targets=("t",)),
            {"bl/programs", "bl/programs/o", "clients/c/vens/v/programs"},
        ),
        (
            notification(ObjectKind.EVENT, program_id="p"),
            {"bl/events", "bl/programs/p/events", "public/programs/p/events"},
        ),
        (
            notification(ObjectKind.EVENT, program_id="p", targets=("t",)),
            {"bl/events", "bl/programs/p/events", "clients/c/vens/v/events"},
        ),
        (notification(ObjectKind.REPORT, program_id="p", client_id="c"), {"bl/reports"}),
        (notification(ObjectKind.SUBSCRIPTION, client_id="c"), {"bl/subscriptions"}),
        (notification(ObjectKind.VEN, client_id="c"), {"bl/vens", "bl/vens/o", "clients/c/vens/o"}),
        (
            notification(ObjectKind.RESOURCE, client_id="c", object={"venID": "v"}),
            {"bl/resources", "bl/vens/v/resources", "clients/c/vens/v/resources"},
        ),
    ],
)
def test_a_change_is_published_where_those_read_who_may_know_it(told: Notification, expected: set[str]) -> None:
    found = notification_topics(told, [("c", "v")])
    assert sorted(found) == sorted(f"openadr/{base}/update" for base in expected)
