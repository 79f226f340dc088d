"""Tokens: who gets one, for what, and what a bad one is worth."""

import base64
import json
import time
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from tests.openadr.running import OPERATOR, OTHER, VEN, Surface

from gridledger.app.openadr_clients import (
    AdrClientIdMalformed,
    AdrRoleUnknown,
    add_openadr_client,
    list_openadr_clients,
    remove_openadr_client,
)
from gridledger.clock import ManualClock
from gridledger.openadr.tokens import TOKEN_LIFE_S, TokenRefused, Tokens
from gridledger.store.openadr_clients import AdrClientExists, AdrClientUnknown

BL_SCOPES = "read_all read_bl read_targets read_ven_objects write_events write_programs write_subscriptions write_vens"
VEN_SCOPES = "read_targets read_ven_objects write_reports write_subscriptions write_vens"
GRANT = {"grant_type": "client_credentials"}
FORM = "application/x-www-form-urlencoded"


def form(vtn: Surface, who: str, **more: str) -> dict[str, str]:
    return {**GRANT, "client_id": who, "client_secret": vtn.secrets[who], **more}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def test_the_token_url_is_told_without_a_token(vtn: Surface) -> None:
    answer = vtn.http.get("/auth/server")
    assert (answer.status_code, answer.json()) == (200, {"tokenURL": f"{vtn.url}/auth/token"})


@pytest.mark.parametrize(("who", "scopes"), [(OPERATOR, BL_SCOPES), (VEN, VEN_SCOPES)])
def test_a_client_gets_all_scopes_of_its_role(vtn: Surface, who: str, scopes: str) -> None:
    answer = vtn.http.post("/auth/token", data=form(vtn, who))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("Bearer", TOKEN_LIFE_S, scopes)


def test_id_and_secret_are_taken_by_http_basic_too(vtn: Surface) -> None:
    for fields in (GRANT, {**GRANT, "client_id": VEN}):
        answer = vtn.http.post("/auth/token", data=fields, headers=basic(VEN, vtn.secrets[VEN]))
        assert answer.status_code == 200, answer.text


def test_a_client_may_ask_for_less_and_gets_no_more_than_its_role_has(vtn: Surface) -> None:
    answer = vtn.http.post("/auth/token", data=form(vtn, VEN, scope="read_targets read_all"))
    assert answer.json()["scope"] == "read_targets"
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert vtn.http.get("/programs", headers=bearer).status_code == 200
    assert vtn.http.get("/vens", headers=bearer).status_code == 403


@pytest.mark.parametrize(
    ("fields", "headers", "status", "error"),
    [
        ({}, {}, 400, "invalid_request"),
        ({"client_id": VEN, "client_secret": "x"}, {}, 400, "invalid_request"),
        ({"grant_type": "password", "client_id": VEN, "client_secret": "x"}, {}, 400, "unsupported_grant_type"),
        (GRANT, {}, 400, "invalid_request"),
        ({**GRANT, "client_id": VEN}, {}, 400, "invalid_request"),
        ({**GRANT, "client_secret": "x"}, {}, 400, "invalid_request"),
        ({**GRANT, "client_id": VEN, "client_secret": "wrong"}, {}, 401, "invalid_client"),
        ({**GRANT, "client_id": "nobody", "client_secret": "wrong"}, {}, 401, "invalid_client"),
        ({**GRANT, "client_id": VEN, "client_secret": "x"}, basic(VEN, "x"), 400, "invalid_request"),
        ({**GRANT, "client_id": OTHER}, basic(VEN, "x"), 400, "invalid_request"),
        (GRANT, basic(VEN, "wrong"), 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic !!!"}, 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic bm9jb2xvbg=="}, 401, "invalid_client"),
    ],
)
def test_what_is_wrong_with_a_token_request_is_said_as_the_rfc_says(
    vtn: Surface, fields: dict[str, str], headers: dict[str, str], status: int, error: str
) -> None:
    answer = vtn.http.post("/auth/token", data=fields, headers={"content-type": FORM, **headers})
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/json"
    assert ("www-authenticate" in answer.headers) == (status == 401)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", FORM),
        (b"grant_type=client_credentials&client_id=%ff&client_secret=x", FORM),
        (b"&".join(b"a%d=1" % number for number in range(30)), FORM),
        (b"grant_type=client_credentials&client_secret=" + b"x" * 40_000, FORM),
        (b'{"grant_type": "client_credentials"}', "application/json"),
    ],
    ids=["repeated", "not text", "many fields", "large", "JSON"],
)
def test_a_form_that_cannot_be_read_is_an_invalid_request(vtn: Surface, content: bytes, content_type: str) -> None:
    answer = vtn.http.post("/auth/token", content=content, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("scope", ["write_everything", "read_targets write_everything", "write_programs"])
def test_scopes_that_do_not_exist_or_are_not_the_clients_are_refused(vtn: Surface, scope: str) -> None:
    answer = vtn.http.post("/auth/token", data=form(vtn, VEN, scope=scope))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def test_a_bad_token_is_worth_nothing(vtn: Surface) -> None:
    good = vtn.token(OPERATOR)
    head, body, seal = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    forged = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("a key that somebody else made up"))
    for authorization in (
        *("", "Bearer", f"Basic {good}", f"Bearer {head}.{body}.{seal[:-4]}AAAA", f"Bearer {unsigned}.{body}."),
        *(f"Bearer {forged}", f"Bearer {good}x", "Bearer " + "x" * 5_000),
    ):
        answer = vtn.http.get("/programs", headers={"Authorization": authorization})
        assert answer.status_code == 401, authorization
        assert answer.json()["status"] == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert vtn.http.get("/programs").status_code == 401


def test_a_token_is_looked_at_before_the_request(vtn: Surface) -> None:
    assert vtn.http.post("/programs", content=b"{", headers={"content-type": "application/json"}).status_code == 401
    answer = vtn.ask(VEN, "POST", "/programs", content=b"{")
    assert answer.status_code == 403


def test_a_token_expires(tmp_path: Path) -> None:
    now = int(time.time())
    issued = Tokens(key_file=tmp_path / "key", issuer="a", clock=ManualClock(now)).issue(
        "ven1", frozenset({"read_all"})
    )

    def at(moment: int, issuer: str = "a") -> Tokens:
        return Tokens(key_file=tmp_path / "key", issuer=issuer, clock=ManualClock(moment))

    issued = at(now).issue("ven1", frozenset({"read_all"}))
    assert at(now + TOKEN_LIFE_S - 1).read(issued).client_id == "ven1"
    for tokens in (at(now + TOKEN_LIFE_S + 1), at(now - 600), at(now, issuer="b")):
        with pytest.raises(TokenRefused):
            tokens.read(issued)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_removed_client_has_no_access_at_once(vtn: Surface) -> None:
    vtn.secrets["passing"] = add_openadr_client(vtn.folder.path, "passing", "ven")["client_secret"]
    assert vtn.get("passing", "/programs") is not None
    with pytest.raises(AdrClientExists):
        add_openadr_client(vtn.folder.path, "passing", "bl")
    listed = list_openadr_clients(vtn.folder.path)["clients"]
    assert [(client["client_id"], client["role"]) for client in listed] == [
        *((OPERATOR, "bl"), ("passing", "ven"), (VEN, "ven"), (OTHER, "ven"))
    ]
    assert all(client.keys() == {"client_id", "role", "created_at"} for client in listed)
    remove_openadr_client(vtn.folder.path, "passing")
    assert vtn.ask("passing", "GET", "/programs").status_code == 401
    with pytest.raises(AdrClientUnknown):
        remove_openadr_client(vtn.folder.path, "passing")


@pytest.mark.parametrize("client_id", ["", "a b", "a/b", "a+b", "a#b", "ü", "a" * 129, "a:b"])
def test_an_id_that_could_be_taken_for_something_else_is_refused(vtn: Surface, client_id: str) -> None:
    with pytest.raises(AdrClientIdMalformed):
        add_openadr_client(vtn.folder.path, client_id, "ven")


def test_a_role_is_one_of_two(vtn: Surface) -> None:
    with pytest.raises(AdrRoleUnknown):
        add_openadr_client(vtn.folder.path, "new", "admin")


def test_no_secret_is_kept(vtn: Surface) -> None:
    kept = vtn.folder.database.read_bytes() + vtn.folder.database.with_name("node.db-wal").read_bytes()
    assert OPERATOR.encode() in kept
    for secret in vtn.secrets.values():
        assert secret.encode() not in kept
