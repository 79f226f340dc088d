"""Sessions: who signs the right message in time gets a token for what is their own; nobody else gets anything."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    BUYER,
    OUTSIDER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
    sign_in_message,
    sign_text,
)

from gridledger.api.sign_in import NONCE_LIFE_S, SESSION_LIFE_S, PublicUrlMalformed, SignIn
from gridledger.clock import ManualClock
from gridledger.units import format_utc

NOTICES, SESSIONS, NONCE = "/v1/notices", "/v1/sessions", "/v1/sessions/nonce"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A market with two members."""
    with onboarded.served(tmp_path_factory.mktemp("sessions") / "data") as running:
        yield running


def body(market: RunningNode, account: LocalAccount = SELLER, **changes: str) -> dict[str, str]:
    """What an account posts to sign in, with some fields changed before it signs."""
    message = sign_in_message(account.address, market.http.post(NONCE).json(), **changes)
    return {"message": message, "signature": sign_text(account, message)}


def refused(market: RunningNode, posted: dict[str, str], field: str) -> None:
    answer = market.post(SESSIONS, posted)
    assert_problem(answer, 401, "sign-in-refused", field=field)
    assert answer.headers["www-authenticate"] == "Bearer"


# ---- signing in


def test_a_nonce_comes_with_all_that_the_message_must_say(market: RunningNode) -> None:
    answer = market.http.post(NONCE)
    assert answer.headers["cache-control"] == "no-store"
    told, now = answer.json(), market.node.now
    assert (told["domain"], told["uri"]) == ("127.0.0.1:8000", "http://127.0.0.1:8000")
    assert (told["chain_id"], told["version"]) == (31_337, "1")
    assert (told["issued_at"], told["expires_at"]) == (format_utc(now), format_utc(now + NONCE_LIFE_S))
    assert told["nonce"].isalnum()
    assert told["nonce"] != market.http.post(NONCE).json()["nonce"]


@pytest.mark.parametrize("name", ["the seller", "supplier", "regulator", "grid_operator"])
def test_members_suppliers_and_role_holders_get_a_token_that_is_told_once(market: RunningNode, name: str) -> None:
    answer = market.post(SESSIONS, body(market, key(name)))
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["address"], told["token_type"]) == (key(name).address, "Bearer")
    assert told["expires_at"] == format_utc(market.node.now + SESSION_LIFE_S)
    assert market.http.get(NOTICES, headers={"Authorization": f"Bearer {told['token']}"}).status_code == 200
    hashed = hashlib.sha256(told["token"].encode()).hexdigest()
    kept = [row for row in market.memory()["sign_in_session"] if hashed in row]
    assert len(kept) == 1
    assert told["token"] not in repr(market.memory())


def test_the_message_may_say_nothing_or_name_the_scheme(market: RunningNode) -> None:
    challenge = market.http.post(NONCE).json()
    plain = sign_in_message(SELLER.address, challenge).replace("Read my notices.\n\n", "\n")
    assert market.post(SESSIONS, {"message": plain, "signature": sign_text(SELLER, plain)}).status_code == 201
    challenge = market.http.post(NONCE).json()
    schemed = "http://" + sign_in_message(SELLER.address, challenge)
    assert market.post(SESSIONS, {"message": schemed, "signature": sign_text(SELLER, schemed)}).status_code == 201


def test_a_session_ends_no_later_than_the_message_says(market: RunningNode) -> None:
    moment = format_utc(market.node.now + 60)
    answer = market.post(SESSIONS, body(market, expiration_time=moment))
    assert answer.json()["expires_at"] == moment


# ---- refusals


def test_somebody_who_is_not_of_this_market_gets_no_session(market: RunningNode) -> None:
    assert_problem(market.post(SESSIONS, body(market, OUTSIDER)), 403, "not-admitted", owner=OUTSIDER.address)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "phishing.example"),
        ("domain", "127.0.0.1:8001"),
        ("domain", "127.0.0.1:8000.phishing.example"),
        ("uri", "http://phishing.example"),
        ("uri", "https://127.0.0.1:8000"),
        ("uri", "http://127.0.0.1:8000@phishing.example/"),
        ("chain_id", "1"),
        ("nonce", "0123456789abcdef"),
        ("nonce", "0" * 58),
        ("issued_at", "2015-01-01T00:00:00Z"),
        ("issued_at", "2026-01-01T00:00:00Z"),
        ("expiration_time", "2015-01-01T00:00:00Z"),
        ("not_before", "2026-01-01T00:00:00Z"),
    ],
)
def test_a_message_that_says_something_wrong_is_refused_and_told_what(
    market: RunningNode, field: str, value: str
) -> None:
    changes: Any = {field: value}
    refused(market, body(market, **changes), field)


def test_a_message_of_another_scheme_is_for_another_place(market: RunningNode) -> None:
    message = "https://" + sign_in_message(SELLER.address, market.http.post(NONCE).json())
    refused(market, {"message": message, "signature": sign_text(SELLER, message)}, "domain")


def test_a_nonce_is_good_once(market: RunningNode) -> None:
    posted = body(market)
    assert market.post(SESSIONS, posted).status_code == 201
    assert_problem(market.post(SESSIONS, posted), 401, "nonce-used")
    nonce = posted["message"].partition("Nonce: ")[2].partition("\n")[0]
    assert_problem(market.post(SESSIONS, body(market, BUYER, nonce=nonce)), 401, "nonce-used")


def test_a_nonce_stays_used_after_its_session_was_ended(market: RunningNode) -> None:
    posted = body(market)
    token = market.post(SESSIONS, posted).json()["token"]
    assert market.http.delete(SESSIONS, headers={"Authorization": f"Bearer {token}"}).status_code == 204
    assert_problem(market.post(SESSIONS, posted), 401, "nonce-used")


def test_a_forged_signature_signs_nobody_in(market: RunningNode) -> None:
    message = sign_in_message(SELLER.address, market.http.post(NONCE).json())
    other = sign_in_message(SELLER.address, market.http.post(NONCE).json())
    for signature in (sign_text(BUYER, message), sign_text(SELLER, other), "0x" + "00" * 65, "0x" + "ff" * 65):
        refused(market, {"message": message, "signature": signature}, "signature")


def test_a_message_in_the_name_of_another_is_refused(market: RunningNode) -> None:
    message = sign_in_message(BUYER.address, market.http.post(NONCE).json())
    refused(market, {"message": message, "signature": sign_text(SELLER, message)}, "signature")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("Version: 1", "Version: 2"),
        lambda text: text.replace("Chain ID: 31337", "Chain ID: 031337"),
        lambda text: text.replace("\nURI:", "\nUri:"),
        lambda text: text + "\n",
        lambda text: text + "\nRequest ID: a b",
        lambda text: text.replace("Issued At: 2016", "Issued At: 16"),
        lambda text: text.replace("Read my notices.", "R\u00e9ad my notices."),
        lambda text: text.replace("account:", "accounts:"),
        lambda text: "x",
    ],
)
def test_what_is_not_of_the_standards_form_is_malformed(market: RunningNode, change: Callable[[str], str]) -> None:
    message = change(sign_in_message(SELLER.address, market.http.post(NONCE).json()))
    answer = market.post(SESSIONS, {"message": message, "signature": sign_text(SELLER, message)})
    assert_problem(answer, 422, "sign-in-malformed")


@pytest.mark.parametrize(
    "change",
    [
        {"message": ""},
        {"message": "x" * 1_001},
        {"message": 7},
        {"signature": "0x"},
        {"signature": "0x" + "0" * 132},
        {"more": "x"},
    ],
)
def test_requests_are_bounded(market: RunningNode, change: dict[str, Any]) -> None:
    assert_problem(market.post(SESSIONS, {**body(market), **change}), 422, "request-malformed")


def test_no_answer_repeats_a_signature_or_a_token(market: RunningNode) -> None:
    posted = body(market, chain_id="1")
    assert posted["signature"][2:] not in market.post(SESSIONS, posted).text
    malformed = market.post(SESSIONS, {**posted, "signature": posted["signature"] + "00"})
    assert posted["signature"][2:] not in malformed.text
    assert "secret-token" not in market.http.get(NOTICES, headers={"Authorization": "Bearer secret-token"}).text


# ---- using a session


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Bearer nonsense",
        "Basic dTpw",
        "Bearer " + "x" * 4_000,
        "Bearer \u00e9".encode("latin-1"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", NOTICES),
        ("GET", "/v1/notices/events"),
        ("GET", "/v1/webhooks"),
        ("DELETE", "/v1/webhooks"),
        ("DELETE", SESSIONS),
    ],
)
def test_without_a_good_token_nothing_is_told(
    market: RunningNode, header: str | bytes | None, method: str, path: str
) -> None:
    headers: Any = {} if header is None else {"Authorization": header}
    answer = market.http.request(method, path, headers=headers)
    assert_problem(answer, 401, "session-required")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_without_a_good_token_no_webhook_is_set(market: RunningNode) -> None:
    answer = market.http.put("/v1/webhooks", json={"url": "https://example.org/"})
    assert_problem(answer, 401, "session-required")


def test_an_ended_session_is_worth_nothing(market: RunningNode) -> None:
    session, other = market.sign_in(BUYER), market.sign_in(BUYER)
    assert market.http.delete(SESSIONS, headers=session).status_code == 204
    assert_problem(market.http.get(NOTICES, headers=session), 401, "session-required")
    assert_problem(market.http.delete(SESSIONS, headers=session), 401, "session-required")
    assert market.http.get(NOTICES, headers=other).status_code == 200


def test_an_account_has_at_most_so_many_sessions(market: RunningNode) -> None:
    answers = [market.post(SESSIONS, body(market, key("oracle"))) for _ in range(33)]
    assert [answer.status_code for answer in answers] == [201] * 32 + [409]
    assert_problem(answers[-1], 409, "too-many-sessions", most=32)


def test_time_ends_nonces_and_sessions_and_frees_their_places(market: RunningNode) -> None:
    """The last test of this market: it moves its clock by half a day."""
    early, session = body(market), market.sign_in(SELLER)
    start = market.node.now
    market.advance(start + NONCE_LIFE_S + 1)
    refused(market, early, "nonce")
    market.advance(start + SESSION_LIFE_S - 1)
    assert market.http.get(NOTICES, headers=session).status_code == 200
    market.advance(start + SESSION_LIFE_S)
    assert_problem(market.http.get(NOTICES, headers=session), 401, "session-required")
    market.sign_in(key("oracle"))
    assert len(market.memory()["sign_in_session"]) == 1


# ---- the origin


@pytest.mark.parametrize("url", ["", "x", "ftp://a", "http://", "http://a/b", "http://a?b", "http://u@a", "http://a#b"])
def test_the_public_address_must_be_an_origin(url: str) -> None:
    with pytest.raises(PublicUrlMalformed):
        SignIn(public_url=url, chain_id=1, clock=ManualClock(0))


def test_another_process_does_not_know_the_nonce() -> None:
    clock = ManualClock(1_000)
    one, other = (SignIn(public_url="https://market.example", chain_id=1, clock=clock) for _ in range(2))
    told = one.challenge()
    assert (told.domain, told.uri) == ("market.example", "https://market.example")
    fields = {
        "domain": told.domain,
        "uri": told.uri,
        "version": 1,
        "chain_id": 1,
        "nonce": told.nonce,
        "issued_at": format_utc(1_000),
    }
    message = sign_in_message(SELLER.address, fields)
    signature = sign_text(SELLER, message)
    assert one.verify(message, signature).address == SELLER.address
    with pytest.raises(Exception, match="not given by this node"):
        other.verify(message, signature)
