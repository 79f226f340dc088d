"""One query tells of a trade everything from the order to the settlement, as far as whoever asks may see it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.running import (
    BUY_METER,
    BUYER,
    MTU_LENGTH_S,
    MTU_START,
    OUTSIDER,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
)

from gridledger.api.receipt_forms import parse_receipt, receipt_document
from gridledger.chain.plan import PolicyParameters
from gridledger.market.model import Side
from gridledger.merkle import verify
from gridledger.metering.merkle import leaf

RECEIPT = f"/v1/proofs/trades/1/{MTU_START}"
REASON = "complaint 17 of the owner"
DEADLINE = MTU_START - 60
OPERATOR, REGULATOR = key("grid_operator"), key("regulator")


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A market of two members."""
    with onboarded.served(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """600 Wh traded, acknowledged, delivered, settled and rewarded."""
    with onboarded.served(tmp_path_factory.mktemp("receipts") / "data") as running:
        running.pair()
        running.answer()
        running.deliver({SELL_METER: 700, BUY_METER: -650})
        yield running


def receipt(market: RunningNode, session: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
    answer = market.http.get(RECEIPT, params=params or {"meter": SELL_METER}, headers=session)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert receipt_document(parse_receipt(answer.content)) == told
    return told


def states(told: dict[str, Any]) -> dict[str, str]:
    """The state of each link, those of the first side's by their names."""
    links = {name: told[name]["state"] for name in ("book", "clearing", "schedule", "answers")}
    return links | {name: told["sides"][0][name]["state"] for name in ("orders", "delivery", "settlement", "tokens")}


def test_a_seller_s_receipt_leads_from_the_order_to_the_tokens(settled: RunningNode) -> None:
    told = receipt(settled, settled.sign_in(SELLER))
    assert set(states(told).values()) == {"recorded"}
    (trade,) = told["trades"]
    assert (trade["seller"], trade["buyer"], trade["energy_wh"], trade["kind"]) == (
        SELL_METER,
        BUY_METER,
        600,
        "auction",
    )
    assert trade["price_cents_per_mwh"] == told["clearing"]["chunks"][0]["any_price_cents_per_mwh"] == 15_000
    own, other = told["sides"]
    (order,) = own["orders"]["orders"]
    assert (order["book_position"], order["running_number"], order["filled_wh"]) == (
        0,
        order["receipt"]["running_number"],
        600,
    )
    assert order["receipt"]["order_uid"] == order["uid"]
    (answer,) = told["answers"]["answers"]
    assert (answer["kind"], answer["grid_operator"]) == ("acknowledged", OPERATOR.address)
    assert answer["signature"] == settled.answered
    reading = own["delivery"]["reading"]
    node = leaf(SELL_METER, MTU_START, reading["import_wh"], reading["export_wh"], bytes.fromhex(reading["salt"][2:]))
    assert reading["leaf"] == "0x" + node.hex()
    path = [bytes.fromhex(step[2:]) for step in reading["path"]]
    assert verify(bytes.fromhex(reading["root"][2:]), node, path)
    (version,) = own["settlement"]["versions"]
    assert (version["kind"], version["version"], version["energy_wh"]) == ("settled", 0, 700)
    assert int(version["amount_microcents"]) == 100 * 7_500
    assert other["meter"] == BUY_METER
    granted = sum(int(grant["amount_ugco2"]) for side in told["sides"] for grant in side["tokens"]["grants"])
    assert granted == settled.get("/v1/market/summary")["tokens_minted_ugco2"]


def test_every_link_names_a_transaction_of_the_chain_and_its_place_in_the_log(settled: RunningNode) -> None:
    told = receipt(settled, settled.sign_in(SELLER))
    links = list(recorded(told))
    assert len(links) >= 9
    for link in links:
        mined = settled.rpc("eth_getTransactionReceipt", link["transaction_hash"])
        assert (mined["blockHash"], int(mined["blockNumber"], 16)) == (link["block_hash"], link["block_number"])
        assert link["log_index"] in {int(log["logIndex"], 16) for log in mined["logs"]}


def recorded(document: Any) -> Iterator[dict[str, Any]]:
    """All links anywhere in a document."""
    if isinstance(document, dict):
        if document.get("recorded"):
            yield document["recorded"]
        for entry in document.values():
            yield from recorded(entry)
    elif isinstance(document, list):
        for entry in document:
            yield from recorded(entry)


# ---- who sees what


def test_a_party_sees_its_own_reading_and_of_the_other_only_what_is_on_chain(settled: RunningNode) -> None:
    told = receipt(settled, settled.sign_in(BUYER), meter=BUY_METER)
    own, other = told["sides"]
    assert (told["viewer"], own["meter"]) == ("party", BUY_METER)
    assert (own["delivery"]["reading"]["import_wh"], own["delivery"]["delivered_wh"]) == (650, -650)
    assert (other["delivery"]["reading"], other["delivery"]["delivered_wh"]) == (None, 700)
    assert all(side["orders"]["orders"][0]["receipt"] for side in told["sides"])


def test_asked_about_the_other_side_s_meter_a_party_still_sees_its_own_reading_only(settled: RunningNode) -> None:
    told = receipt(settled, settled.sign_in(BUYER), meter=SELL_METER)
    assert [side["meter"] for side in told["sides"]] == [SELL_METER, BUY_METER]
    assert [bool(side["delivery"]["reading"]) for side in told["sides"]] == [False, True]


def test_the_grid_operator_sees_signed_orders_and_no_reading(settled: RunningNode) -> None:
    told = receipt(settled, settled.sign_in(OPERATOR))
    assert told["viewer"] == "grid_operator"
    for side in told["sides"]:
        assert side["delivery"]["reading"] is None
        assert side["orders"]["orders"][0]["signature"]


def test_the_regulator_sees_everything_with_a_reason_that_the_owners_are_shown(settled: RunningNode) -> None:
    session = settled.sign_in(REGULATOR)
    for query in ("meter=1", "meter=1&reason=short"):
        assert_problem(settled.http.get(f"{RECEIPT}?{query}", headers=session), 403, "reason-required")
    told = receipt(settled, session, meter=SELL_METER, reason=REASON)
    assert told["viewer"] == "regulator"
    assert all(side["delivery"]["reading"] and side["orders"]["orders"][0]["receipt"] for side in told["sides"])
    for owner, meter in ((SELLER, SELL_METER), (BUYER, BUY_METER)):
        accesses = settled.http.get("/v1/readings/accesses", headers=settled.sign_in(owner)).json()["accesses"]
        (access,) = accesses
        assert (access["meter"], access["reader"], access["reason"]) == (meter, REGULATOR.address, REASON)
        assert (access["from"], access["to"]) == (MTU_START, MTU_START + MTU_LENGTH_S)


@pytest.mark.parametrize("account", [None, key("supplier")], ids=["nobody", "supplier"])
def test_everybody_else_sees_what_is_on_chain(settled: RunningNode, account: Any) -> None:
    told = receipt(settled, settled.sign_in(account) if account else None)
    assert told["viewer"] == "anybody"
    assert states(told) == dict.fromkeys(states(told), "recorded") | {"orders": "withheld"}
    for side in told["sides"]:
        (order,) = side["orders"]["orders"]
        assert (order["order"], order["signature"], order["receipt"], side["delivery"]["reading"]) == (None,) * 4
    whole = receipt(settled, settled.sign_in(SELLER))
    salts = [side["delivery"]["reading"]["salt"] for side in whole["sides"] if side["delivery"]["reading"]]
    assert salts
    assert all(secret not in str(told) for secret in salts)


def test_a_token_that_is_worth_nothing_is_not_taken_for_nobody_s(settled: RunningNode) -> None:
    answer = settled.http.get(RECEIPT, params={"meter": 1}, headers={"Authorization": "Bearer x"})
    assert_problem(answer, 401, "session-required")


# ---- what is asked for


def test_an_order_leads_to_its_meter_s_trades(settled: RunningNode) -> None:
    told = receipt(settled)
    uid = told["sides"][1]["orders"]["orders"][0]["uid"]
    assert receipt(settled, order=uid)["meter"] == BUY_METER


@pytest.mark.parametrize("params", [{}, {"meter": 1, "order": "0x" + "ab" * 32}])
def test_a_meter_or_an_order_is_named_and_not_both(settled: RunningNode, params: dict[str, Any]) -> None:
    assert_problem(settled.http.get(RECEIPT, params=params), 422, "trade-not-named")


@pytest.mark.parametrize("params", [{"meter": 9}, {"order": "0x" + "ab" * 32}, {"meter": 1, "after": 1}])
def test_what_was_not_traded_has_no_receipt(settled: RunningNode, params: dict[str, Any]) -> None:
    assert_problem(settled.http.get(RECEIPT, params=params), 404, "trade-unknown", zone=1, mtu_start=MTU_START)


@pytest.mark.parametrize("params", [{"meter": 0}, {"meter": 2**32}, {"limit": 101}, {"order": "x"}, {"after": -1}])
def test_what_is_asked_for_is_bounded(settled: RunningNode, params: dict[str, Any]) -> None:
    assert_problem(settled.http.get(RECEIPT, params=params), 422, "request-malformed")


def test_a_moment_that_begins_no_mtu_is_refused(settled: RunningNode) -> None:
    answer = settled.http.get(f"/v1/proofs/trades/1/{MTU_START + 1}", params={"meter": 1})
    assert answer.status_code == 422


# ---- what is missing, and why


def test_each_link_says_what_is_missing_as_long_as_it_is(market: RunningNode) -> None:
    market.pair()
    session = market.sign_in(SELLER)
    told = receipt(market, session)
    recorded_now = {"book", "clearing", "schedule", "orders"}
    assert {name for name, state in states(told).items() if state == "recorded"} == recorded_now
    assert {state for name, state in states(told).items() if name not in recorded_now} == {"pending"}
    assert told["answers"]["why"] == f"due by {DEADLINE}"
    market.answer()
    market.advance(MTU_START + MTU_LENGTH_S)
    assert receipt(market, session)["sides"][0]["delivery"]["why"] == "no reading has come yet"
    market.read({SELL_METER: 600})
    delivery = receipt(market, session)["sides"][0]["delivery"]
    assert delivery["why"] == "the reading is accepted and its anchor is not on chain yet"
    market.advance(MTU_START + MTU_LENGTH_S + 120)
    told = receipt(market, session)
    assert [side["settlement"]["state"] for side in told["sides"]] == ["recorded", "pending"]


def test_caps_are_told_at_once_and_what_they_take_off_when_the_mtu_is_over(market: RunningNode) -> None:
    market.pair()
    market.curtail({SELL_METER: 400})
    told = receipt(market)
    (answer,) = told["answers"]["answers"]
    assert (answer["kind"], answer["reason"], answer["stop"]) == ("curtailed", 1, None)
    assert answer["curtailment"]["caps"] == [{"meter": SELL_METER, "cap_wh": 400}]
    assert answer["curtailment"]["order_check"] == "kept"
    assert (told["clearing"]["chunks"][0]["caps"], told["trades"][0]["curtailment"]) == (None, None)
    market.deliver({SELL_METER: 400, BUY_METER: -600})
    told = receipt(market)
    assert told["clearing"]["chunks"][0]["caps"]["curtailed_wh"] == 200
    (trade,) = told["trades"]
    assert (trade["energy_wh"], trade["curtailment"]["curtailed_wh"], trade["curtailment"]["left_wh"]) == (
        600,
        200,
        400,
    )
    assert trade["curtailment"]["seller_refund_microcents"] == str(200 * 17_500)
    assert trade["curtailment"]["buyer_refund_microcents"] == str(200 * 16_000)
    assert told["sides"][0]["settlement"]["state"] == "recorded"


def test_a_stopped_dispatch_voids_what_comes_after_it(market: RunningNode) -> None:
    market.pair()
    market.stop(reason=3)
    told = receipt(market, market.sign_in(SELLER))
    (answer,) = told["answers"]["answers"]
    assert (answer["kind"], answer["reason"]) == ("stopped", 3)
    assert [states(told)[name] for name in ("delivery", "settlement", "tokens")] == ["void"] * 3
    (version,) = told["sides"][0]["settlement"]["versions"]
    assert (version["kind"], version["amount_microcents"]) == ("refunded", str(600 * 17_500))


def test_without_an_answer_the_receipt_tells_the_policy_s_default(market: RunningNode) -> None:
    market.pair()
    market.advance(DEADLINE + 1)
    told = receipt(market)
    assert told["answers"]["state"] == "none"
    assert told["answers"]["why"].endswith("by the policy the dispatch proceeds")


def test_a_correction_is_a_further_version_with_its_difference(market: RunningNode) -> None:
    after = PolicyParameters().substitute_after_s
    market.pair()
    market.answer()
    market.advance(MTU_START + MTU_LENGTH_S + after)
    session = market.sign_in(SELLER)
    first = receipt(market, session)["sides"][0]
    assert [version["kind"] for version in first["settlement"]["versions"]] == ["substituted"]
    assert (first["delivery"]["state"], first["delivery"]["delivered_wh"]) == ("none", 600)
    assert market.read({SELL_METER: 500, BUY_METER: -600}) == [{"status": "accepted"}] * 2
    market.work()
    later = receipt(market, market.sign_in(SELLER))["sides"][0]
    versions = [(version["kind"], version["version"]) for version in later["settlement"]["versions"]]
    assert versions == [("substituted", 0), ("resettled", 1)]
    assert later["settlement"]["versions"][1]["amount_microcents"] == str(-100 * 32_500)
    assert (later["delivery"]["state"], later["delivery"]["delivered_wh"]) == ("recorded", 500)


def test_a_deal_s_receipt_holds_the_acceptance(market: RunningNode) -> None:
    offer = market.accept(market.order(Side.SELL))["uid"]
    deal = market.deal(offer)["uid"]
    market.advance(MTU_START - 300)
    told = receipt(market, market.sign_in(BUYER), order=deal)
    (trade,) = told["trades"]
    assert (trade["kind"], trade["energy_wh"], trade["price_cents_per_mwh"]) == ("deal", 100, 10_000)
    (accepted,) = told["sides"][0]["orders"]["orders"]
    assert accepted["uid"] == deal
    assert accepted["acceptance"]["offer_uid"] == offer


def test_trades_come_in_pages(market: RunningNode) -> None:
    offer = market.accept(market.order(Side.SELL))["uid"]
    for quantity_wh in (100, 50):
        market.deal(offer, quantity_wh=quantity_wh)
    market.advance(MTU_START - 300)
    first = receipt(market, meter=SELL_METER, limit=1)
    second = receipt(market, meter=SELL_METER, limit=1, after=first["next"])
    assert (first["next"], second["next"]) == (1, None)
    assert [page["trades"][0]["energy_wh"] for page in (first, second)] == [100, 50]


def test_a_stranger_who_trades_nothing_is_nobody(market: RunningNode) -> None:
    market.send(OPERATOR, "ParticipantRegistry", "admitParticipants", [OUTSIDER.address], key("supplier").address)
    market.work()
    market.pair()
    assert receipt(market, market.sign_in(OUTSIDER))["viewer"] == "anybody"
