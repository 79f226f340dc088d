"""An emergency stop voids what a zone trades, whether scheduled yet or not, and comes from its grid operator alone."""

from typing import Any

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CHAIN_ID,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    NOT_SCHEDULED,
    PENDING,
    SELL,
    STOPPED,
    VOID,
    ZONE,
    Market,
    Pair,
    actor,
)
from tests.contracts.streets import Street

END = FIRST_MTU + MTU_LENGTH_S
MOST_MTUS = 96


def outcome(market: Market, mtu_start: int = FIRST_MTU, zone: int = ZONE) -> int:
    """Outcome of an MTU."""
    return int(market.view("EnergyDispatching", "outcomeOf", zone, mtu_start))


def test_a_stop_voids_a_schedule_and_everything_is_refunded(market: Market) -> None:
    pair = Pair.of(market)
    kept = pair.cleared(market)
    arguments = market.signed_stop(reason=15)
    event = market.send(market.bank, "EnergyDispatching", "stop", *arguments).one("ZoneStopped")
    assert (event["zone"], event["firstMtuStart"], event["lastMtuStart"]) == (ZONE, FIRST_MTU, FIRST_MTU)
    assert event["reason"] == 15
    assert event["gridOperator"] == market.grid_operator.address
    assert outcome(market) == VOID
    market.refund(kept, [0, 1])
    assert market.free(pair.seller.owner) == market.free(pair.buyer.owner) == 10 * EUR


def test_a_stop_before_the_schedule_voids_it_when_it_comes(market: Market) -> None:
    market.stop()
    assert outcome(market) == NOT_SCHEDULED
    kept = Pair.of(market).cleared(market)
    assert outcome(market) == VOID
    with market.refuses("AlreadyAnswered", ZONE, FIRST_MTU, STOPPED):
        market.answer(ACKNOWLEDGED)
    market.refund(kept, [0, 1])


def test_a_stop_takes_an_acknowledgement_back_until_the_mtu_is_over(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    market.answer(ACKNOWLEDGED)
    market.move_to(END - 1)
    market.stop()
    assert outcome(market) == VOID
    market.pass_mtu()
    market.refund(kept, [0, 1])
    assert market.escrow() == 0


def test_a_stop_takes_caps_back(market: Market) -> None:
    street = Street.of(market)
    street.operator.curtail(street.fair(("solar", "roof", "gas"), 1_000))
    market.stop()
    assert outcome(market) == VOID
    market.pass_mtu()
    caps = street.operator.message(street.fair(("solar", "roof", "gas"), 1_000))["caps"]
    kept = street.kept
    arguments = (ZONE, FIRST_MTU, 0, kept.words(), kept.deal_words(), caps)
    with market.refuses("DispatchNotCurtailed", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergyCurtailment", "applyCaps", *arguments)
    market.refund(kept, range(len(kept.positions)))


def test_a_stop_holds_for_its_mtus_and_its_zone_only() -> None:
    market = Market(zones=(ZONE, ZONE + 1))
    pair = Pair.of(market)
    market.stop(FIRST_MTU, mtu_count=2)
    starts = [FIRST_MTU + number * MTU_LENGTH_S for number in range(3)]
    for start in starts:
        book = [
            market.order(pair.seller, SELL, 100, 10_000, mtu_start=start),
            market.order(pair.buyer, BUY, 100, 20_000, mtu_start=start),
        ]
        market.clear_book(book, mtu_start=start)
    market.move_to(starts[0] - 300)
    Pair.of(market, zone=ZONE + 1).cleared(market)
    assert outcome(market, starts[0], ZONE + 1) == PENDING
    market.move_to(starts[2] - 60)
    assert [outcome(market, start) for start in starts] == [VOID, VOID, PENDING]


def test_a_day_is_stopped_at_once(market: Market) -> None:
    market.stop(mtu_count=MOST_MTUS)
    last = FIRST_MTU + (MOST_MTUS - 1) * MTU_LENGTH_S
    pair = Pair.of(market, mtu_start=last)
    pair.cleared(market)
    assert outcome(market, last) == VOID


def test_a_stop_of_more_mtus_adds_those_not_stopped_yet(market: Market) -> None:
    market.stop(mtu_count=2)
    with market.refuses("AlreadyAnswered", ZONE, FIRST_MTU + MTU_LENGTH_S, STOPPED):
        market.stop(FIRST_MTU + MTU_LENGTH_S)
    event = market.stop(FIRST_MTU, mtu_count=3).one("ZoneStopped")
    assert event["lastMtuStart"] == FIRST_MTU + 2 * MTU_LENGTH_S
    with market.refuses("AlreadyAnswered", ZONE, FIRST_MTU, STOPPED):
        market.stop(FIRST_MTU, mtu_count=3)


def test_the_digest_is_the_one_that_wallets_sign(market: Market) -> None:
    digest = market.view("EnergyDispatching", "stopDigest", ZONE, FIRST_MTU, 7, 9)
    signature = market.grid_operator.account.unsafe_sign_hash(digest)
    assert market.signed_stop(mtu_count=7, reason=9)[4] == signature.r.to_bytes(32)


# Changes of a stop's arguments, the block time after the MTU's start, the error and its values.
BAD_STOPS: dict[str, tuple[dict[str, Any], int, tuple[Any, ...]]] = {
    "of no MTU": ({"mtu_count": 0}, -1, ("StopRefused", FIRST_MTU, 0)),
    "of 97 MTUs": ({"mtu_count": 97}, -1, ("StopRefused", FIRST_MTU, 97)),
    "of the largest count": ({"mtu_count": 2**32 - 1}, -1, ("StopRefused", FIRST_MTU, 2**32 - 1)),
    "of a moment between two MTUs": ({"first_mtu_start": FIRST_MTU + 1}, -1, ("StopRefused", FIRST_MTU + 1, 1)),
    "of an MTU that is over": (
        {"mtu_count": 96},
        MTU_LENGTH_S,
        ("AnswerTooLate", ZONE, FIRST_MTU, END - 1, END),
    ),
    "of the first MTU of all": ({"first_mtu_start": 0}, -1, ("AnswerTooLate", ZONE, 0, 899, FIRST_MTU - 1)),
    "for a reason nobody knows": ({"reason": 16}, -1, ("ReasonUnknown", 16)),
    "of a zone nobody registered": ({"zone": 7}, -1, ("ZoneUnknown", 7)),
    "signed by somebody else": (
        {"signer": actor("market_operator")},
        -1,
        ("NotTheGridOperator", ZONE, actor("market_operator").address, actor("grid_operator").address),
    ),
    "signed for another chain": ({"domain": {"chainId": CHAIN_ID + 1}}, -1, ("NotTheGridOperator",)),
    "signed for another contract": ({"domain": {"verifyingContract": "0x" + "11" * 20}}, -1, ("NotTheGridOperator",)),
    "signed under the orders' name": ({"domain": {"name": "gridledger"}}, -1, ("NotTheGridOperator",)),
}


@pytest.mark.parametrize("name", BAD_STOPS)
def test_a_stop_is_refused(market: Market, name: str) -> None:
    changes, after_s, (error, *values) = BAD_STOPS[name]
    market.move_to(FIRST_MTU + after_s)
    with market.refuses(error, *values):
        market.send(market.outsider, "EnergyDispatching", "stop", *market.signed_stop(**changes))
    market.stop(FIRST_MTU + MTU_LENGTH_S)


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, ZONE + 1), (1, FIRST_MTU + MTU_LENGTH_S), (2, 2), (3, 5), (4, b"\1" * 32)],
    ids=["zone", "first MTU", "count", "reason", "r"],
)
def test_a_relayed_stop_cannot_be_altered(place: int, value: object) -> None:
    market = Market(zones=(ZONE, ZONE + 1))
    arguments = list(market.signed_stop())
    arguments[place] = value
    with market.refuses("NotTheGridOperator"):
        market.send(market.outsider, "EnergyDispatching", "stop", *arguments)


def test_an_answer_is_no_stop_and_a_stop_no_answer(market: Market) -> None:
    Pair.of(market).cleared(market)
    *_, r, vs = market.signed_stop(reason=0)
    with market.refuses("NotTheGridOperator"):
        market.send(market.outsider, "EnergyDispatching", "answer", ZONE, FIRST_MTU, ACKNOWLEDGED, 0, r, vs)
    *_, r, vs = market.signed_answer(ACKNOWLEDGED)
    with market.refuses("NotTheGridOperator"):
        market.send(market.outsider, "EnergyDispatching", "stop", ZONE, FIRST_MTU, 1, 0, r, vs)
