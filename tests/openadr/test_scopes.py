"""Every route for every role: who may call it, and what becomes of what is another's or the node's own."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from tests.openadr.running import OPERATOR, OTHER, OWN_CALLBACK, VEN, Surface
from tests.openadr.standard import published

from gridledger.store.database import Database
from gridledger.store.openadr_model import ObjectKind

BODIES: dict[str, dict[str, Any]] = {
    "programs": {"programName": "scopes"},
    "events": {"programID": "none"},
    "reports": {"eventID": "none", "clientName": "c", "resources": []},
    "subscriptions": {"clientName": "c", "programID": "none", "objectOperations": []},
    "vens": {"objectType": "VEN_VEN_REQUEST", "venName": "scopes"},
    "resources": {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": "none"},
}
NEITHER, BOTH, BL_ONLY, VEN_ONLY = (False, False), (True, True), (True, False), (False, True)
READ = dict.fromkeys(BODIES, BOTH)
WRITE = {**READ, "programs": BL_ONLY, "events": BL_ONLY, "reports": VEN_ONLY}


@dataclass(frozen=True)
class Route:
    """A route of the standard with the roles that may call it: business logic, vens."""

    method: str
    path: str
    allowed: tuple[bool, bool]


def routes() -> list[Route]:
    """Every route of the published file but those that give tokens."""
    found = []
    for path, item in published()["paths"].items():
        collection = path.split("/")[1]
        for method in ("get", "post", "put", "delete"):
            if method not in item or collection == "auth":
                continue
            if collection == "notifiers":
                scopes = item[method]["security"][0]["oAuth2ClientCredentials"]
                allowed = BL_ONLY if scopes == ["read_bl"] else BOTH
            else:
                allowed = (READ if method == "get" else WRITE)[collection]
            found.append(Route(method.upper(), path, allowed))
    return found


ROUTES = routes()


def test_every_route_is_here() -> None:
    assert len(ROUTES) == 43
    assert len({(route.method, route.path) for route in ROUTES}) == 43


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("role", [0, 1], ids=["bl", "ven"])
def test_a_route_is_open_to_its_roles_only(vtn: Surface, route: Route, role: int) -> None:
    path = "/".join("none" if part.startswith("{") else part for part in route.path.split("/"))
    body = BODIES[path.split("/")[1]] if route.method in ("POST", "PUT") else None
    answer = vtn.ask((OPERATOR, VEN)[role], route.method, path, **({} if body is None else {"json": body}))
    forbidden = answer.status_code == 403 and answer.json()["type"].endswith(":scope-missing")
    assert forbidden is not route.allowed[role], answer.text
    assert answer.status_code != 401
    assert vtn.http.request(route.method, path, json=body).status_code == 401


def test_methods_a_path_does_not_have_are_answered_with_those_it_has(vtn: Surface) -> None:
    for path, methods in (
        ("/programs", {"GET", "HEAD", "POST"}),
        ("/programs/x", {"GET", "HEAD", "PUT", "DELETE"}),
        ("/auth/token", {"POST"}),
        ("/notifiers", {"GET", "HEAD"}),
    ):
        answer = vtn.ask(OPERATOR, "PATCH", path)
        assert (answer.status_code, answer.headers["content-type"]) == (405, "application/json")
        assert set(answer.headers["allow"].split(", ")) == methods
        assert answer.json()["status"] == 405


def test_every_error_is_the_standards_problem_in_plain_json(vtn: Surface) -> None:
    answers = [
        vtn.ask(OPERATOR, "GET", "/nothing"),
        vtn.ask(OPERATOR, "GET", "/programs/none"),
        vtn.ask(OPERATOR, "GET", "/programs/"),
        vtn.ask(OPERATOR, "GET", "/programs/a%0Ab"),
        vtn.ask(OPERATOR, "GET", "/programs", params={"limit": 51}),
        vtn.ask(OPERATOR, "POST", "/programs", content=b"{"),
        vtn.ask(OPERATOR, "POST", "/programs", data={"programName": "form"}),
        vtn.ask(OPERATOR, "POST", "/programs", json={"programName": "x" * (2 * 1024 * 1024)}),
        vtn.ask(OPERATOR, "POST", "/programs", content=iter([b"{}"])),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 404, 400, 400, 400, 413, 411]
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["status"] == answer.status_code
        assert answer.json()["title"]


def test_a_ven_sees_and_changes_its_own_objects_only(vtn: Surface) -> None:
    event_id = vtn.post(OPERATOR, "/events", programID=vtn.program("of owners"))["id"]
    ven_id = vtn.post(VEN, "/vens", objectType="VEN_VEN_REQUEST", venName="mine")["id"]
    bodies = {
        "vens": {"objectType": "VEN_VEN_REQUEST", "venName": "mine too"},
        "resources": {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "pv", "venID": ven_id},
        "reports": {"eventID": event_id, "clientName": "c", "resources": []},
        "subscriptions": {"clientName": "c", "objectOperations": []},
    }
    for collection, body in bodies.items():
        made = vtn.post(VEN, f"/{collection}", **body)
        assert made["clientID"] == VEN
        path = f"/{collection}/{made['id']}"
        assert vtn.get(VEN, path) == vtn.get(OPERATOR, path) == made
        assert made in vtn.get(VEN, f"/{collection}")
        assert vtn.get(OTHER, f"/{collection}") == []
        for method, more in (("GET", {}), ("PUT", {"json": body}), ("DELETE", {})):
            assert vtn.ask(OTHER, method, path, **more).status_code == 404
        changed = vtn.ask(VEN, "PUT", path, json=body)
        assert (changed.status_code, changed.json()["id"]) == (200, made["id"])
        assert vtn.ask(VEN, "DELETE", path).json()["id"] == made["id"]
        assert vtn.ask(VEN, "GET", path).status_code == 404
    taken = {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "pv", "venID": ven_id}
    assert vtn.ask(OTHER, "POST", "/resources", json=taken).status_code == 409, "a resource of another's ven was made"


def test_business_logic_tidies_up_after_vens_but_does_not_write_for_them(vtn: Surface) -> None:
    body = {"clientName": "c", "objectOperations": []}
    path = f"/subscriptions/{vtn.post(VEN, '/subscriptions', **body)['id']}"
    refused = vtn.ask(OPERATOR, "PUT", path, json=body)
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (403, "not-the-owner")
    assert vtn.ask(OPERATOR, "DELETE", path).status_code == 200


def test_what_the_node_keeps_itself_is_read_only(vtn: Surface) -> None:
    with closing(Database(vtn.folder.database)) as database, database.write() as tx:
        program = tx.openadr.add(ObjectKind.PROGRAM, {"programName": "the node's"}, now=vtn.node.now)
    path = f"/programs/{program.id}"
    assert vtn.get(VEN, path) == program.document()
    for method, more in (("PUT", {"json": {"programName": "mine"}}), ("DELETE", {})):
        answer = vtn.ask(OPERATOR, method, path, **more)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "node-owned")
    vtn.post(OPERATOR, "/events", programID=program.id)


def test_only_business_logic_grants_targets(vtn: Surface) -> None:
    granted = {"objectType": "BL_VEN_REQUEST", "venName": "granted", "clientID": VEN, "targets": ["a"]}
    assert vtn.ask(VEN, "POST", "/vens", json=granted).status_code == 403
    ven = vtn.post(OPERATOR, "/vens", **granted)
    assert (ven["clientID"], ven["targets"], ven["objectType"]) == (VEN, ["a"], "VEN")
    renamed = {"objectType": "VEN_VEN_REQUEST", "venName": "renamed", "targets": ["b"]}
    answer = vtn.ask(VEN, "PUT", f"/vens/{ven['id']}", json=renamed)
    assert (answer.json()["venName"], answer.json()["targets"]) == ("renamed", ["a"]), "a ven granted itself a target"
    resource = {"objectType": "BL_RESOURCE_REQUEST", "resourceName": "r", "clientID": OTHER, "venID": ven["id"]}
    assert vtn.ask(OPERATOR, "POST", "/resources", json=resource).status_code == 409
    assert vtn.post(OPERATOR, "/resources", **(resource | {"clientID": VEN}))["clientID"] == VEN
    moved = {**granted, "clientID": OTHER}
    assert vtn.ask(OPERATOR, "PUT", f"/vens/{ven['id']}", json=moved).status_code == 409
    assert vtn.ask(OPERATOR, "DELETE", f"/vens/{ven['id']}").status_code == 200
    assert vtn.get(OPERATOR, "/resources", venID=ven["id"]) == []


def test_a_callback_goes_nowhere_the_node_may_not_call(vtn: Surface) -> None:
    def answer(**callback: Any) -> tuple[int, str]:
        part = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": OWN_CALLBACK, **callback}
        body = {"clientName": "c", "objectOperations": [part]}
        given = vtn.ask(VEN, "POST", "/subscriptions", json=body)
        return given.status_code, given.json().get("type", "").rpartition(":")[2]

    assert answer() == (201, "")
    for url in ("http://10.0.0.1/x", "https://169.254.169.254/", "http://[::1]:9/", "ftp://127.0.0.1/", "file:///etc"):
        assert answer(callbackUrl=url) == (403, "webhook-url-refused"), url
    assert answer(bearerToken="two\r\nlines: x") == (403, "callback-token-refused")
    many = [{"objects": [], "operations": [], "callbackUrl": OWN_CALLBACK}] * 21
    body = {"clientName": "c", "objectOperations": many}
    assert vtn.ask(VEN, "POST", "/subscriptions", json=body).status_code == 409


def test_a_callbacks_token_is_told_to_nobody_but_its_sender(vtn: Surface) -> None:
    part = {"objects": ["EVENT"], "operations": ["POST", "UPDATE"], "callbackUrl": OWN_CALLBACK}
    sent = [{**part, "bearerToken": "a secret of theirs"}, part]
    made = vtn.post(VEN, "/subscriptions", clientName="c", objectOperations=sent)
    assert made["objectOperations"] == sent, "the words that were sent are told back"
    path = f"/subscriptions/{made['id']}"
    assert vtn.get(VEN, path)["objectOperations"] == sent
    assert vtn.get(OPERATOR, path)["objectOperations"] == [part, part]
    deleted = vtn.ask(OPERATOR, "DELETE", path)
    assert "a secret" not in deleted.text
    kept = vtn.folder.database.read_bytes() + vtn.folder.database.with_name("node.db-wal").read_bytes()
    assert b"a secret of theirs" not in kept
