"""Who sees what of readings: every role at every door, and what each is shown."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    MTU_LENGTH_S,
    MTU_START,
    ZONE,
    RunningNode,
    admit,
    assert_problem,
    key,
    make_folder,
    served,
)
from tests.metering.fakes import Device, a_register_reading

from gridledger.app.settings import NodeSettings
from gridledger.chain.codec import ContractCodec
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.roles import Role
from gridledger.merkle import verify
from gridledger.metering.merkle import leaf
from gridledger.metering.validation import GREATEST_AGE_S

OTHER_ZONE, SMALLEST_GROUP = 2, 3
OWNER, OTHER_OWNER, THIRD = key("the owner"), key("another owner"), key("a third owner")
SUPPLIER, OTHER_SUPPLIER = key("supplier"), key("another supplier")
OPERATOR, OTHER_OPERATOR = key("grid_operator"), key("operator of another zone")
REGULATOR, MARKET_OPERATOR = key("regulator"), key("market_operator")
METER, OTHER_METER, THIRD_METER = 1, 2, 3
REASON = "complaint 17 about the bill of June"
NEXT, LATER = MTU_START + MTU_LENGTH_S, MTU_START + 2 * MTU_LENGTH_S
READINGS, SUMS, ACCESSES = "/v1/readings", "/v1/readings/sums", "/v1/readings/accesses"
EVERYBODY: dict[str, LocalAccount | None] = {
    "owner": OWNER,
    "other owner": OTHER_OWNER,
    "supplier of the owner": SUPPLIER,
    "other supplier": OTHER_SUPPLIER,
    "operator of the zone": OPERATOR,
    "operator of another zone": OTHER_OPERATOR,
    "regulator": REGULATOR,
    "market operator": MARKET_OPERATOR,
    "nobody": None,
    "ended session": OWNER,
}


@dataclass
class Market:
    """A node with three meters in a zone, and a session of everybody."""

    node: RunningNode
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def ask(self, who: str, path: str, **params: Any) -> httpx.Response:
        return self.node.http.get(path, params=params, headers=self.headers[who])

    def told(self, who: str, path: str, **params: Any) -> Any:
        answer = self.ask(who, path, **params)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory, keys: Any) -> Iterator[Market]:
    """Readings of three MTUs: complete, complete with a disputed one, and with one meter missing."""
    folder = make_folder(tmp_path_factory.mktemp("access") / "data", keys)
    with served(folder, settings=NodeSettings(smallest_group=SMALLEST_GROUP)) as running:
        regulator = key("regulator")
        running.send(regulator, "ParticipantRegistry", "registerZone", OTHER_ZONE, OTHER_OPERATOR.address)
        running.send(regulator, "ParticipantRegistry", "registerSupplier", OTHER_SUPPLIER.address)
        admit(running, ((OWNER, 1), (OTHER_OWNER, 0), (THIRD, 0)))
        running.advance(LATER + MTU_LENGTH_S)
        for mtu_start, net_wh in (
            (MTU_START, {METER: 500, OTHER_METER: -40, THIRD_METER: -7}),
            (NEXT, {METER: 300, OTHER_METER: -50, THIRD_METER: -8}),
            (LATER, {METER: 100, OTHER_METER: -60}),
        ):
            assert running.read(net_wh, mtu_start) == [{"status": "accepted"}] * len(net_wh)
        assert running.read({METER: 301}, NEXT)[0]["status"] == "disputed"
        running.work()
        made = Market(running)
        for who, account in EVERYBODY.items():
            made.headers[who] = {} if account is None else running.sign_in(account)
        assert running.http.delete("/v1/sessions", headers=made.headers["ended session"]).status_code == 204
        yield made


PLAIN: dict[str, Any] = {"meter": METER}
SIGNED: dict[str, Any] = {"meter": METER, "signed": True}
REASONED: dict[str, Any] = {"meter": METER, "reason": REASON}
OF_ZONE: dict[str, Any] = {"zone": ZONE}
OF_NO_ZONE: dict[str, Any] = {"zone": 9}
NO_SESSION = (401, "session-required")
NOT_YOURS, NO_TEXTS = (403, "readings-forbidden"), (403, "signed-texts-forbidden")
NO_REASON, NOT_YOUR_ZONE = (403, "reason-required"), (403, "zone-forbidden")
GOOD = (200, "")
DOORS: dict[str, tuple[str, dict[str, Any]]] = {
    "readings": (READINGS, PLAIN),
    "signed": (READINGS, SIGNED),
    "reasoned": (READINGS, REASONED),
    "sums": (SUMS, OF_ZONE),
    "sums of no zone": (SUMS, OF_NO_ZONE),
    "accesses": (ACCESSES, {}),
}
MATRIX: dict[str, dict[str, tuple[int, str]]] = {
    "owner": dict.fromkeys(("readings", "signed", "reasoned", "accesses"), GOOD),
    "supplier of the owner": dict.fromkeys(("readings", "reasoned", "accesses"), GOOD) | {"signed": NO_TEXTS},
    "operator of the zone": {"sums": GOOD, "accesses": GOOD},
    "regulator": {"readings": NO_REASON, "signed": NO_REASON, "reasoned": GOOD, "accesses": GOOD},
    "nobody": dict.fromkeys(DOORS, NO_SESSION),
    "ended session": dict.fromkeys(DOORS, NO_SESSION),
}
OTHERWISE = {"sums": NOT_YOUR_ZONE, "sums of no zone": NOT_YOUR_ZONE, "accesses": GOOD}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("who", EVERYBODY)
def test_everybody_at_every_door(who: str, door: str, market: Market) -> None:
    path, params = DOORS[door]
    answer = market.ask(who, path, **params)
    status, code = MATRIX.get(who, {}).get(door, OTHERWISE.get(door, NOT_YOURS))
    if code:
        assert_problem(answer, status, code)
    assert answer.status_code == status, answer.text
    seen = any(word in answer.text for word in ('"import_wh"', '"salt"', '"text"'))
    assert seen == (status == 200 and door != "accesses")


def test_an_owner_is_shown_own_values_with_their_status_and_no_texts_unless_asked(market: Market) -> None:
    readings = market.told("owner", READINGS, **PLAIN)["readings"]
    assert readings == [
        {"mtu_start": MTU_START, "import_wh": 0, "export_wh": 500, "status": "anchored"},
        {"mtu_start": NEXT, "import_wh": 0, "export_wh": 300, "status": "disputed"},
        {"mtu_start": LATER, "import_wh": 0, "export_wh": 100, "status": "accepted"},
    ]


def test_an_owner_can_open_the_commitment_and_follow_it_to_the_anchored_root(market: Market) -> None:
    shown = market.told("owner", READINGS, **SIGNED)["readings"][0]
    salt, kept = bytes.fromhex(shown["salt"][2:]), bytes.fromhex(shown["leaf"][2:])
    assert shown["text"] == market.node.reading(METER, 500)
    assert leaf(METER, MTU_START, shown["import_wh"], shown["export_wh"], salt) == kept
    proof = market.node.get(f"/v1/proofs/readings/{METER}/{MTU_START}")
    assert proof["leaf"] == shown["leaf"]
    path = [bytes.fromhex(one[2:]) for one in proof["proof"]]
    assert verify(bytes.fromhex(proof["root"][2:]), kept, path)


def test_the_public_proof_shows_hashes_and_no_energy_text_or_salt(market: Market) -> None:
    proof = market.node.get(f"/v1/proofs/readings/{METER}/{MTU_START}")
    assert proof.keys() == {"zone", "mtu_start", "meter", "sequence", "root", "leaf", "proof"}
    salts = [row["salt"] for row in market.told("owner", READINGS, **SIGNED)["readings"]]
    assert not any(salt in str(proof) for salt in salts)


def test_a_supplier_is_shown_interval_energies_only(market: Market) -> None:
    for one in market.told("supplier of the owner", READINGS, **PLAIN)["readings"]:
        assert one.keys() == {"mtu_start", "import_wh", "export_wh", "status"}


def test_pages_go_on_where_the_last_one_ended(market: Market) -> None:
    starts: list[int] = []
    following: int | None = 0
    while following is not None:
        page = market.told("owner", READINGS, **PLAIN, limit=2, **{"from": following})
        starts += [one["mtu_start"] for one in page["readings"]]
        following = page["next"]
    assert starts == [MTU_START, NEXT, LATER]
    window = {"from": NEXT, "to": LATER}
    assert [one["mtu_start"] for one in market.told("owner", READINGS, **PLAIN, **window)["readings"]] == [NEXT]


@pytest.mark.parametrize("params", [{}, {"meter": 0}, {"meter": METER, "limit": 501}, {"meter": METER, "from": -1}])
def test_a_request_out_of_bounds_is_refused(params: dict[str, int], market: Market) -> None:
    assert_problem(market.ask("owner", READINGS, **params), 422, "request-malformed")


def test_only_the_regulator_is_told_that_a_meter_does_not_exist(market: Market) -> None:
    assert_problem(market.ask("owner", READINGS, meter=99), 403, "readings-forbidden", meter=99)
    assert_problem(market.ask("regulator", READINGS, meter=99, reason=REASON), 404, "unknown-meter", meter=99)


@pytest.mark.parametrize("reason", ["", "short", "         x          ", "line\nbreaks are not printed"])
def test_a_reason_that_says_nothing_is_none(reason: str, market: Market) -> None:
    assert_problem(market.ask("regulator", READINGS, meter=METER, reason=reason), 403, "reason-required")


def test_what_the_regulator_reads_is_logged_and_shown_to_the_owner_alone(market: Market) -> None:
    before = market.told("regulator", ACCESSES)["last"]
    window = {"from": MTU_START, "to": NEXT}
    market.told("regulator", READINGS, **SIGNED, reason=REASON, **window)
    market.told("regulator", READINGS, meter=OTHER_METER, reason="another reason altogether")
    (mine,) = market.told("owner", ACCESSES, after=before)["accesses"]
    now = market.node.node.now
    expected = {"reader": REGULATOR.address, "meter": METER, "reason": REASON, "accessed_at": now, **window}
    assert mine == {"id": before + 1, **expected}
    (others,) = market.told("other owner", ACCESSES, after=before)["accesses"]
    assert (others["meter"], others["reason"]) == (OTHER_METER, "another reason altogether")
    assert market.told("market operator", ACCESSES)["accesses"] == []
    assert len(market.told("regulator", ACCESSES, after=before)["accesses"]) == 2


def test_a_refused_access_is_not_logged_as_one(market: Market) -> None:
    before = market.told("regulator", ACCESSES)["last"]
    for who, params in (("regulator", PLAIN), ("market operator", REASONED), ("nobody", REASONED)):
        assert market.ask(who, READINGS, **params).status_code in (401, 403)
    assert market.told("regulator", ACCESSES)["last"] == before


def test_a_grid_operator_is_told_sums_of_complete_groups(market: Market) -> None:
    told = market.told("operator of the zone", SUMS, **OF_ZONE)
    withheld = {"import_wh": None, "export_wh": None}
    assert told["sums"] == [
        {"mtu_start": MTU_START, "import_wh": 47, "export_wh": 500, "meters": 3, "withheld": None},
        {"mtu_start": NEXT, "import_wh": 58, "export_wh": 300, "meters": 3, "withheld": None},
        {"mtu_start": LATER, "meters": 2, "withheld": "not-final", **withheld},
    ]
    assert market.told("operator of the zone", SUMS, **OF_ZONE, limit=2)["next"] == NEXT + 1


def test_a_zone_of_few_meters_has_no_sum(market: Market) -> None:
    expected = {"zone": OTHER_ZONE, "meters": 0, "smallest": SMALLEST_GROUP}
    answer = market.ask("operator of another zone", SUMS, zone=OTHER_ZONE)
    assert_problem(answer, 403, "group-too-small", **expected)


def test_registers_that_contradict_mark_the_intervals_on_both_sides(keys: Any, tmp_path: Any) -> None:
    def text(taken_at: int, imported: int) -> str:
        registers = a_register_reading(
            meter=METER, taken_at=taken_at, import_register_wh=imported, counter=taken_at // MTU_LENGTH_S
        )
        return Device(METER).sign_registers(registers)

    with served(make_folder(tmp_path / "data", keys)) as running:
        admit(running, ((OWNER, 0),))
        running.advance(LATER + 2 * MTU_LENGTH_S)
        moments = [MTU_START, NEXT, LATER, LATER + MTU_LENGTH_S]
        texts = [text(moment, 1_000 + index) for index, moment in enumerate(moments)]
        results = running.post(READINGS, {"readings": [*texts, text(NEXT, 1_500)]}).json()["results"]
        assert [one["status"] for one in results] == ["accepted"] * 4 + ["disputed"]
        running.work()
        answer = running.http.get(READINGS, params=PLAIN, headers=running.sign_in(OWNER)).json()
        assert [one["status"] for one in answer["readings"]] == ["disputed", "disputed", "anchored"]


def test_who_regulates_is_what_the_access_manager_says(keys: Any, tmp_path: Any) -> None:
    """The admin grants the role to another account and revokes it; `market.json` says nothing of either."""
    successor, role = key("the next regulator"), int(Role.REGULATOR)
    with served(make_folder(tmp_path / "data", keys)) as running:
        admit(running, ((OWNER, 0),))
        with pytest.raises(AssertionError, match="not-admitted"):
            running.sign_in(successor)
        grant, revoke = ("grantRole", role, successor.address, 0), ("revokeRole", role, successor.address)
        for change in (grant, revoke):
            codec = ContractCodec(load_artifacts().contract("MarketAccessManager"))
            manager = running.facts["contracts"]["MarketAccessManager"]
            running.send(REGULATOR, "MarketAccessManager", "schedule", manager, codec.call_data(*change), 0)
        running.work()
        running.advance(running.node.now + 86_400 + 60)
        running.send(REGULATOR, "MarketAccessManager", *grant)
        running.work()
        session = running.sign_in(successor)
        assert running.http.get(READINGS, params=REASONED, headers=session).status_code == 200
        running.send(REGULATOR, "MarketAccessManager", *revoke)
        running.work()
        assert_problem(running.http.get(READINGS, params=REASONED, headers=session), 403, "readings-forbidden")


def test_a_sum_is_told_without_a_silent_meter_once_its_reading_would_be_too_old(market: Market) -> None:
    """Runs last: the clock goes on, and sessions end."""
    market.node.advance(LATER + MTU_LENGTH_S + GREATEST_AGE_S + 1)
    session = market.node.sign_in(OPERATOR)
    sums = market.node.http.get(SUMS, params=OF_ZONE, headers=session).json()["sums"]
    assert [one["withheld"] for one in sums] == [None, None, "group-too-small"]
