"""Only the zone's grid operator answers a schedule, once, in time, by its own signature, whoever relays it."""

from typing import Any

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CHAIN_ID,
    CURTAILED,
    FIRST_MTU,
    NOT_SCHEDULED,
    PENDING,
    PROCEEDS,
    SELL,
    STOPPED,
    VOID,
    ZONE,
    Market,
    Pair,
    actor,
)
from tests.contracts.setpoints import schedule_hash

from gridledger.chain.codec import ContractReverted
from gridledger.chain.plan import PolicyParameters


def outcome(market: Market) -> int:
    """Outcome of the first MTU."""
    return int(market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU))


def test_an_acknowledgement_lets_the_schedule_proceed(market: Market) -> None:
    assert outcome(market) == NOT_SCHEDULED
    Pair.of(market).cleared(market)
    assert outcome(market) == PENDING
    event = market.answer(ACKNOWLEDGED, reason=65_535).one("DispatchAnswered")
    assert (event["answer"], event["reason"]) == (ACKNOWLEDGED, 65_535)
    assert event["gridOperator"] == market.grid_operator.address
    assert outcome(market) == PROCEEDS
    market.pass_mtu()
    assert outcome(market) == PROCEEDS


BAD_ANSWERS: dict[str, tuple[dict[str, Any], str]] = {
    "signed by somebody else": ({"signer": actor("market_operator")}, "NotTheGridOperator"),
    "to another schedule": ({"schedule_hash": b"\1" * 32}, "NotTheGridOperator"),
    "signed for another chain": ({"domain": {"chainId": CHAIN_ID + 1}}, "NotTheGridOperator"),
    "signed for another contract": ({"domain": {"verifyingContract": "0x" + "11" * 20}}, "NotTheGridOperator"),
    "signed under the orders' name": ({"domain": {"name": "gridledger"}}, "NotTheGridOperator"),
    "that is none": ({"answer": 0}, "AnswerRefused"),
    "that is a curtailment without caps": ({"answer": CURTAILED}, "AnswerRefused"),
    "that is a stop": ({"answer": STOPPED}, "AnswerRefused"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_refused_and_the_schedule_stays_open(market: Market, name: str) -> None:
    changes, error = BAD_ANSWERS[name]
    Pair.of(market).cleared(market)
    arguments = market.signed_answer(**({"answer": ACKNOWLEDGED} | changes))
    with market.refuses(error):
        market.send(market.outsider, "EnergyDispatching", "answer", *arguments)
    market.answer(ACKNOWLEDGED)


@pytest.mark.parametrize(("place", "value"), [(3, 1), (4, b"\1" * 32), (5, bytes(32))], ids=["reason", "r", "vs"])
def test_a_relayed_answer_cannot_be_altered(market: Market, place: int, value: object) -> None:
    Pair.of(market).cleared(market)
    arguments = list(market.signed_answer(ACKNOWLEDGED))
    arguments[place] = value
    error = "ECDSAInvalidSignature" if place == 5 else "NotTheGridOperator"
    with market.refuses(error):
        market.send(market.outsider, "EnergyDispatching", "answer", *arguments)


def test_an_answer_beyond_the_known_ones_is_refused(market: Market) -> None:
    Pair.of(market).cleared(market)
    arguments = market.signed_answer(4)
    with market.refuses("0x"):
        market.send(market.outsider, "EnergyDispatching", "answer", *arguments)


def test_a_schedule_is_answered_once(market: Market) -> None:
    Pair.of(market).cleared(market)
    market.answer(ACKNOWLEDGED)
    with market.refuses("AlreadyAnswered", ZONE, FIRST_MTU, ACKNOWLEDGED):
        market.answer(ACKNOWLEDGED)


def test_an_answer_counts_until_the_second_of_the_deadline(market: Market) -> None:
    Pair.of(market).cleared(market)
    market.move_to(FIRST_MTU - 59)
    with market.refuses("AnswerTooLate", ZONE, FIRST_MTU, FIRST_MTU - 60, FIRST_MTU - 59):
        market.answer(ACKNOWLEDGED)
    market.move_to(FIRST_MTU - 60)
    market.answer(ACKNOWLEDGED)
    assert outcome(market) == PROCEEDS


def test_nothing_can_be_answered_that_was_not_scheduled(market: Market) -> None:
    arguments = market.signed_answer(ACKNOWLEDGED, schedule_hash=b"\1" * 32)
    with market.refuses("NotScheduledYet", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergyDispatching", "answer", *arguments)


def test_an_answer_to_one_mtu_does_not_answer_the_next(market: Market) -> None:
    pair = Pair.of(market)
    pair.cleared(market)
    later = FIRST_MTU + 900
    orders = [
        market.order(pair.seller, SELL, 600, 10_000, mtu_start=later),
        market.order(pair.buyer, BUY, 600, 20_000, mtu_start=later),
    ]
    answered = market.signed_answer(ACKNOWLEDGED)
    market.clear_book(orders, mtu_start=later)
    with market.refuses("NotTheGridOperator"):
        market.send(market.outsider, "EnergyDispatching", "answer", ZONE, later, *answered[2:])


def test_a_schedule_says_what_was_traded_and_until_when_it_is_answered(market: Market) -> None:
    pair = Pair.of(market)
    market.close_gate()
    market.commit_book(pair.book)
    event = market.clear(pair.clearing(market)).one("DispatchScheduled")
    assert (event["zone"], event["mtuStart"], event["tradedWh"]) == (ZONE, FIRST_MTU, 600)
    assert event["answerDeadline"] == FIRST_MTU - 60
    assert event["scheduleHash"] == market.view("EnergyDispatching", "scheduleHashOf", ZONE, FIRST_MTU)
    assert event["resultHash"] == market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["resultHash"]
    assert event["scheduleHash"] == schedule_hash(event["resultHash"], event["setpointsRoot"])


def test_a_clearing_without_energy_schedules_nothing(market: Market) -> None:
    market.close_gate()
    market.commit_book([])
    receipt = market.clear(market.clearing([]))
    assert not receipt.named("DispatchScheduled")
    assert outcome(market) == NOT_SCHEDULED


@pytest.mark.parametrize(("proceeds", "expected"), [(True, PROCEEDS), (False, VOID)])
def test_without_an_answer_the_default_of_the_mtu_s_rules_holds(expected: int, *, proceeds: bool) -> None:
    market = Market(policy=PolicyParameters(proceed_without_answer=proceeds))
    Pair.of(market).cleared(market)
    market.move_to(FIRST_MTU - 60)
    assert outcome(market) == PENDING
    market.move_to(FIRST_MTU - 59)
    assert outcome(market) == expected


def test_only_the_trading_contract_schedules_and_only_once(market: Market) -> None:
    Pair.of(market).cleared(market)
    trading = market.impersonate("EnergyTrading")
    with pytest.raises(ContractReverted) as caught:
        market.send(trading, "EnergyDispatching", "schedule", ZONE, FIRST_MTU, b"\1" * 32, bytes(32), 1)
    assert (caught.value.name, caught.value.arguments) == ("AlreadyScheduled", (ZONE, FIRST_MTU))


def test_the_digest_is_the_one_that_wallets_sign(market: Market) -> None:
    Pair.of(market).cleared(market)
    schedule_hash = market.view("EnergyDispatching", "scheduleHashOf", ZONE, FIRST_MTU)
    digest = market.view("EnergyDispatching", "answerDigest", ZONE, FIRST_MTU, schedule_hash, CURTAILED, 9)
    signature = market.grid_operator.account.unsafe_sign_hash(digest)
    *_, r, vs = market.signed_answer(CURTAILED, reason=9)
    assert r == signature.r.to_bytes(32)
    assert vs == (((signature.v - 27) << 255) | signature.s).to_bytes(32)
