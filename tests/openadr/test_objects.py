"""Objects over HTTP: what is made is found by its name, parent, targets and time, page by page."""

from typing import Any

import pytest
from tests.api.running import GENESIS_TIME_S
from tests.openadr.running import OPERATOR, OTHER, VEN, Surface

from gridledger.units import format_utc


def names(found: list[dict[str, Any]], field: str = "eventName") -> list[str]:
    return [one[field] for one in found]


def events(vtn: Surface, program_id: str, **contents: dict[str, Any]) -> dict[str, str]:
    """Ids of new events by name."""
    return {
        name: vtn.post(OPERATOR, "/events", programID=program_id, eventName=name, **content)["id"]
        for name, content in contents.items()
    }


def test_an_object_comes_back_as_it_was_sent_with_its_metadata(vtn: Surface) -> None:
    program_id = vtn.program("as sent")
    sent = {
        "programID": program_id,
        "eventName": "e",
        "priority": 0,
        "targets": ["a"],
        "duration": "PT1H30M",
        "intervalPeriod": {"start": "2016-06-13T02:00:00.5+02:00", "duration": "PT15M", "randomizeStart": "PT0S"},
        "payloadDescriptors": [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "PRICE", "units": "KWH"}],
        "reportDescriptors": [{"payloadType": "USAGE", "aggregate": False, "startInterval": -1}],
        "intervals": [
            {"id": 0, "payloads": [{"type": "PRICE", "values": [1, 0.17, True, "x", {"x": 1.5, "y": -2.0}]}]}
        ],
    }
    answer = vtn.ask(OPERATOR, "POST", "/events", json={**sent, "id": "mine", "objectType": "X", "unknown": 1})
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{vtn.url}/events/{made['id']}"
    now = format_utc(vtn.node.now)
    metadata = {"id": made["id"], "objectType": "EVENT", "createdDateTime": now, "modificationDateTime": now}
    assert made == {**sent, **metadata}
    assert vtn.get(OPERATOR, f"/events/{made['id']}") == made
    changed = vtn.ask(OPERATOR, "PUT", f"/events/{made['id']}", json={"programID": program_id, "eventName": None})
    assert changed.json() == {"programID": program_id, **metadata}
    assert vtn.ask(OPERATOR, "DELETE", f"/events/{made['id']}").json() == changed.json()


def test_null_stands_for_what_is_left_out_as_clients_write_it(vtn: Surface) -> None:
    program = {"programName": "with nulls", "intervalPeriod": None, "programDescriptions": None, "targets": None}
    program_id = vtn.post(OPERATOR, "/programs", **program)["id"]
    period = {"start": "2016-06-13T00:00:00Z", "duration": "PT1H", "randomizeStart": None}
    sent = {"programID": program_id, "duration": None, "priority": None, "intervalPeriod": period, "intervals": None}
    assert vtn.post(OPERATOR, "/events", **sent)["intervalPeriod"] == {
        "start": "2016-06-13T00:00:00Z",
        "duration": "PT1H",
    }


def test_pages_follow_each_other_without_gap_or_overlap(vtn: Surface) -> None:
    program_id = vtn.program("pages")
    made = list(events(vtn, program_id, **{f"e{number:02}": {} for number in range(60)}))
    of_program = {"programID": program_id}
    assert names(vtn.get(OPERATOR, "/events", **of_program)) == made[:50], "a page has at most 50"
    pages = [vtn.get(OPERATOR, "/events", skip=skip, limit=25, **of_program) for skip in (0, 25, 50, 75)]
    assert [name for page in pages for name in names(page)] == made
    assert vtn.get(OPERATOR, "/events", limit=0) == []


@pytest.mark.parametrize(
    "params",
    [
        {"skip": "-1"},
        {"skip": "2147483648"},
        {"skip": "1.0"},
        {"skip": "x"},
        {"skip": ""},
        {"limit": "51"},
        {"limit": "-1"},
        {"active": "maybe"},
        {"programID": "a b"},
        {"programID": ""},
        {"targets": ""},
        {"targets": "x" * 129},
        {"targets": ["x"] * 101},
    ],
)
def test_a_parameter_of_the_wrong_form_is_refused(vtn: Surface, params: dict[str, Any]) -> None:
    assert vtn.ask(OPERATOR, "GET", "/events", params=params).status_code == 400


def test_parameters_the_standard_does_not_have_are_ignored(vtn: Surface) -> None:
    vtn.program("found by old filters")
    old = {"targetType": "PROGRAM_NAME", "targetValues": ["x"], "dateStart": "now", "objects": "nonsense"}
    assert "found by old filters" in names(vtn.get(VEN, "/programs", **old), "programName")


def test_each_filter_finds_what_it_says(vtn: Surface) -> None:
    first, second = vtn.program("filter one"), vtn.program("filter two")
    by_name = events(vtn, first, a={}, b={}) | events(vtn, second, c={})
    assert names(vtn.get(OPERATOR, "/events", programID=second)) == ["c"]
    assert vtn.get(OPERATOR, "/events", programID="none") == []
    for event, client_name in (("a", "x"), ("b", "y"), ("c", "x")):
        body = {"eventID": by_name[event], "clientName": client_name, "reportName": event, "resources": []}
        vtn.post(VEN, "/reports", **body)

    def reports(**params: str) -> list[str]:
        return names(vtn.get(OPERATOR, "/reports", **params), "reportName")

    assert reports(programID=first) == ["a", "b"]
    assert reports(eventID=by_name["b"]) == ["b"]
    assert reports(clientName="x") == ["a", "c"]
    assert reports(clientName="x", programID=second) == ["c"]
    assert reports(clientName="y", programID=second) == []

    ven_id = vtn.post(OPERATOR, "/vens", objectType="BL_VEN_REQUEST", clientID=VEN, venName="filtered", targets=["f"])[
        "id"
    ]
    for name, targets in (("pv", ["f", "g"]), ("heat", ["f"])):
        body = {"objectType": "BL_RESOURCE_REQUEST", "clientID": VEN, "venID": ven_id, "targets": targets}
        vtn.post(OPERATOR, "/resources", resourceName=name, **body)
    assert names(vtn.get(OPERATOR, "/vens", venName="filtered"), "venName") == ["filtered"]
    assert names(vtn.get(OPERATOR, "/vens", targets="f"), "venName") == ["filtered"]
    assert names(vtn.get(VEN, "/resources", venID=ven_id), "resourceName") == ["pv", "heat"]
    assert names(vtn.get(VEN, "/resources", resourceName="heat"), "resourceName") == ["heat"]
    assert names(vtn.get(VEN, "/resources", targets=["f", "g"]), "resourceName") == ["pv"]
    vtn.ask(OPERATOR, "DELETE", f"/vens/{ven_id}")

    for client_name, kinds in (("s1", ["EVENT"]), ("s2", ["EVENT", "PROGRAM"])):
        part = {"objects": kinds, "operations": ["CREATE"], "callbackUrl": "http://127.0.0.1:9/"}
        vtn.post(VEN, "/subscriptions", clientName=client_name, programID=first, objectOperations=[part])
    assert names(vtn.get(VEN, "/subscriptions", programID=first, objects="EVENT"), "clientName") == ["s1", "s2"]
    assert names(vtn.get(VEN, "/subscriptions", objects=["PROGRAM", "VEN"]), "clientName") == ["s2"]
    assert names(vtn.get(VEN, "/subscriptions", clientName="s1"), "clientName") == ["s1"]
    assert vtn.ask(VEN, "GET", "/subscriptions", params={"objects": "NOTHING"}).status_code == 400


def test_active_leaves_out_what_has_transpired(vtn: Surface) -> None:
    program_id = vtn.program("times")

    def lasting(start_s: int, duration: str) -> dict[str, Any]:
        return {"intervalPeriod": {"start": format_utc(GENESIS_TIME_S + start_s), "duration": duration}}

    contents = {"over": lasting(-7_200, "PT1H"), "running": lasting(-60, "PT12H"), "endless": lasting(0, "P9999Y")}
    events(vtn, program_id, **contents, coming=lasting(86_400, "PT1H"))
    everything = ["over", "running", "endless", "coming"]
    assert names(vtn.get(VEN, "/events", programID=program_id, active="true")) == everything[1:]
    assert names(vtn.get(VEN, "/events", programID=program_id, active="false")) == everything
    assert names(vtn.get(VEN, "/events", programID=program_id)) == everything


def test_a_ven_sees_what_is_for_everybody_and_what_was_granted_to_it(vtn: Surface) -> None:
    ven = vtn.post(OPERATOR, "/vens", objectType="BL_VEN_REQUEST", clientID=OTHER, venName="granted", targets=["g1"])
    program_id = vtn.program("targets")
    ids = events(
        vtn, program_id, all={}, one={"targets": ["g1", "h"]}, two={"targets": ["g2"]}, not_its={"targets": ["h"]}
    )

    def seen(who: str, **params: Any) -> list[str]:
        return names(vtn.get(who, "/events", programID=program_id, **params))

    assert seen(OPERATOR) == list(ids)
    assert seen(OTHER) == ["all", "one"]
    assert seen(VEN) == ["all"]
    body = {"objectType": "BL_RESOURCE_REQUEST", "clientID": OTHER, "venID": ven["id"], "resourceName": "r"}
    vtn.post(OPERATOR, "/resources", targets=["g2"], **body)
    assert seen(OTHER) == ["all", "one", "two"], "a resource's targets count for its ven"
    assert seen(OTHER, targets="g1") == ["one"]
    assert seen(OTHER, targets=["g1", "h"]) == ["one"], "of targets asked for only those granted count"
    assert seen(OTHER, targets="h") == []
    assert seen(OPERATOR, targets=["g1", "h"]) == ["one"]
    assert seen(OPERATOR, targets="h") == ["one", "not_its"]
    shown = vtn.get(OTHER, f"/events/{ids['one']}")
    assert shown["targets"] == ["g1"], "a target that was not granted was told"
    assert vtn.get(OPERATOR, f"/events/{ids['one']}")["targets"] == ["g1", "h"]
    for hidden in ("not_its", "two"):
        assert vtn.ask(VEN, "GET", f"/events/{ids[hidden]}").status_code == 404
    report = {"eventID": ids["not_its"], "clientName": "c", "resources": []}
    assert vtn.ask(OTHER, "POST", "/reports", json=report).status_code == 409, "an event it may not see was reported on"
    vtn.ask(OPERATOR, "DELETE", f"/vens/{ven['id']}")
    assert seen(OTHER) == ["all"]


def test_names_and_parents_conflict_by_name(vtn: Surface) -> None:
    program_id = vtn.program("taken")
    other_id = vtn.program("free")
    for method, path, body in (
        ("POST", "/programs", {"programName": "taken"}),
        ("PUT", f"/programs/{other_id}", {"programName": "taken"}),
        ("POST", "/events", {"programID": "none"}),
        ("POST", "/subscriptions", {"clientName": "c", "programID": "none", "objectOperations": []}),
    ):
        assert vtn.ask(OPERATOR, method, path, json=body).status_code == 409
    assert vtn.ask(OPERATOR, "PUT", f"/programs/{program_id}", json={"programName": "taken"}).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"programName": ""},
        {"programName": "x" * 129},
        {"programName": 1},
        {"programName": None},
        {"programName": "bad", "targets": "a"},
        {"programName": "bad", "targets": [""]},
        {"programName": "bad", "targets": ["x"] * 1_001},
        {"programName": "bad", "intervalPeriod": {"start": "2016-06-13"}},
        {"programName": "bad", "intervalPeriod": {"start": "2016-02-30T00:00:00Z"}},
        {"programName": "bad", "intervalPeriod": {"start": "2016-06-13T00:00:00"}},
        {"programName": "bad", "intervalPeriod": {"duration": "1 h"}},
        {"programName": "bad", "intervalPeriod": {"duration": "P"}},
        {"programName": "bad", "programDescriptions": [{"URL": "no url"}]},
        {"programName": "bad", "programDescriptions": [{}]},
        {"programName": "bad", "payloadDescriptors": [{"objectType": "X", "payloadType": "PRICE"}]},
        {"programName": "bad", "attributes": [{"type": "A"}]},
        {"programName": "bad", "attributes": [{"type": "A", "values": [None]}]},
        {"programName": "bad", "attributes": [{"type": "A", "values": [{"x": 1}]}]},
        {"programName": "bad", "attributes": [{"type": "A", "values": ["x" * 4_097]}]},
    ],
)
def test_what_is_not_of_the_standards_form_is_refused(vtn: Surface, content: dict[str, Any]) -> None:
    answer = vtn.ask(OPERATOR, "POST", "/programs", json=content)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (400, "adr-request-malformed")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"programName": "x", "a": NaN']
)
def test_what_is_not_json_is_refused(vtn: Surface, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {vtn.token(OPERATOR)}", "content-type": "application/json"}
    assert vtn.http.post("/programs", content=body, headers=headers).status_code == 400


def test_numbers_that_are_none_are_refused(vtn: Surface) -> None:
    headers = {"Authorization": f"Bearer {vtn.token(OPERATOR)}", "content-type": "application/json"}
    for number, status in (("1e400", 400), ("NaN", 400), ("Infinity", 400), ("1" * 40, 201), ("1e5", 201)):
        body = f'{{"programName": "number {number}", "attributes": [{{"type": "A", "values": [{number}]}}]}}'
        assert vtn.http.post("/programs", content=body.encode(), headers=headers).status_code == status


def test_a_node_without_a_broker_says_so(vtn: Surface) -> None:
    assert vtn.get(VEN, "/notifiers") == {"WEBHOOK": True}
    answer = vtn.ask(VEN, "GET", "/notifiers/mqtt/topics/programs")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (404, "broker-missing")
