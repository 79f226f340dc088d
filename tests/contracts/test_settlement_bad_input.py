"""A valid settlement with one thing changed is refused with its own error, naming the values, and changes nothing.

The pair trades 600 Wh at 15,000 cents per MWh.
"""

from dataclasses import replace
from typing import Any

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    FIRST_MTU,
    MTU_LENGTH_S,
    ZONE,
    Kept,
    Market,
    Pair,
    settle_arguments,
)
from tests.contracts.scenes import MergedScene, Spoils

from gridledger.market.model import Position, Trade

Expected = tuple[object, ...]
bad = Spoils()
RIGHT = {0: 600, 1: -600}
END = FIRST_MTU + MTU_LENGTH_S


@pytest.mark.parametrize("name", bad)
def test_refused_is_a_settlement(market: Market, name: str) -> None:
    kept = Pair.of(market).delivered(market)
    sent, metered, (error, *values) = bad[name](market, kept)
    arguments = settle_arguments(sent, list(metered), list(metered.values()))
    with market.refuses(str(error), *values):
        market.send(market.market_operator, "EnergySettlement", "settle", *arguments)


@bad
def of_another_zone(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return replace(kept, zone=ZONE + 1), RIGHT, ("NotCleared", ZONE + 1, FIRST_MTU)


@bad
def of_another_mtu(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return replace(kept, mtu_start=END), RIGHT, ("NotCleared", ZONE, END)


@bad
def of_a_chunk_there_is_none(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return replace(kept, chunk=1), RIGHT, ("NotCleared", ZONE, FIRST_MTU)


@bad
def of_no_position(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return kept, {}, ("NothingToSettle", ZONE, FIRST_MTU)


@bad
def of_a_position_beyond_the_last(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return kept, {0: 600, 2: 600}, ("PositionUnknown", 2)


@bad
def of_the_largest_index(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return kept, {2**16 - 1: 600}, ("PositionUnknown", 2**16 - 1)


@bad
def with_more_than_a_seller_s_connection_carries(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return kept, {0: 10_001}, ("MeteredOutOfRange", kept.positions[0].meter, 10_001)


@bad
def with_more_than_a_buyer_s_connection_carries(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return kept, {1: -10_001}, ("MeteredOutOfRange", kept.positions[1].meter, -10_001)


@bad
def with_the_smallest_number(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    return kept, {1: -(2**63)}, ("MeteredOutOfRange", kept.positions[1].meter, -(2**63))


@bad
def of_the_state_before(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    after, _ = market.settle(kept, {0: 600})
    return kept, {1: -600}, ("StateMismatch", after.state_hash(), kept.state_hash())


@bad
def of_positions_in_another_order(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    forged = replace(kept, positions=kept.positions[::-1])
    return forged, RIGHT, ("StateMismatch", kept.state_hash(), forged.state_hash())


@bad
def without_the_last_position(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    forged = replace(kept, positions=kept.positions[:1])
    return forged, {0: 600}, ("StateMismatch", kept.state_hash(), forged.state_hash())


@bad
def with_a_deal_nobody_made(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    forged = replace(kept, deals=(Trade(sell=0, buy=1, energy_wh=600),))
    return forged, RIGHT, ("StateMismatch", kept.state_hash(), forged.state_hash())


@bad
def without_any_position(market: Market, kept: Kept) -> tuple[Kept, dict[int, int], Expected]:
    forged = replace(kept, positions=())
    return forged, {0: 0}, ("StateMismatch", kept.state_hash(), forged.state_hash())


FORGED_PARTS: dict[str, Any] = {
    "owner": "0x" + "66" * 20,
    "meter": 3,
    "supplier_number": 2,
    "source": 0,
    "sells": False,
    "capacity_w": 40_001,
    "auction_wh": 601,
    "low_carbon_wh": 1,
    "dealt_wh": 1,
    "prior_wh": 1,
    "continued": True,
    "settled": True,
    "substitute": True,
    "curtailed": True,
    "version": 1,
    "metered_wh": 1,
    "fee_microcents": 1,
    "locked_microcents": 600 * 17_500 + 1,
    "deal_microcents": -1,
}


def test_every_part_of_a_position_is_forged_below() -> None:
    assert set(FORGED_PARTS) == set(Position.__dataclass_fields__)


@pytest.mark.parametrize("function", ["settle", "settleSubstitutes"])
@pytest.mark.parametrize("part", FORGED_PARTS)
def test_refused_is_a_position_with_a_forged(market: Market, part: str, function: str) -> None:
    kept = Pair.of(market).delivered(market)
    seller, buyer = kept.positions
    forged = replace(kept, positions=(replace(seller, **{part: FORGED_PARTS[part]}), buyer))
    market.move_to(END + market.policy.substitute_after_s)
    arguments = settle_arguments(forged, [0], [600]) if function == "settle" else forged.arguments([0])
    with market.refuses("StateMismatch", kept.state_hash(), forged.state_hash()):
        market.send(market.market_operator, "EnergySettlement", function, *arguments)


def test_refused_is_a_deal_of_another_energy(market: Market) -> None:
    kept = MergedScene.of(market).kept(market)
    market.deliver()
    forged = replace(kept, deals=(replace(kept.deals[0], energy_wh=151),))
    with market.refuses("StateMismatch", kept.state_hash(), forged.state_hash()):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(forged, [0], [600]))


@pytest.mark.parametrize("values", [[], [600], [600, -600, 0]])
def test_refused_are_lists_of_different_lengths(market: Market, values: list[int]) -> None:
    kept = Pair.of(market).delivered(market)
    with market.refuses("ListsDiffer", 2, len(values)):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [0, 1], values))


# --- the wrong moment -------------------------------------------------------------------------------------------------


def test_nothing_settles_while_the_grid_operator_may_still_answer(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    market.move_to(FIRST_MTU - 60)
    for function, arguments in (
        ("settle", settle_arguments(kept, [0], [600])),
        ("settleSubstitutes", kept.arguments([0])),
        ("refund", kept.arguments([0])),
    ):
        with market.refuses("DispatchUnanswered", ZONE, FIRST_MTU):
            market.send(market.market_operator, "EnergySettlement", function, *arguments)


def test_nothing_settles_before_readings_are_anchored(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    market.answer(ACKNOWLEDGED)
    market.pass_mtu()
    with market.refuses("ReadingsNotAnchored", ZONE, FIRST_MTU):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [0], [600]))
    market.anchor()
    market.settle(kept, RIGHT)


def test_a_void_schedule_is_not_settled(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    market.stop()
    market.pass_mtu()
    market.anchor()
    market.move_to(END + market.policy.substitute_after_s)
    with market.refuses("DispatchIsVoid", ZONE, FIRST_MTU):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [0], [600]))
    with market.refuses("DispatchIsVoid", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergySettlement", "settleSubstitutes", *kept.arguments([0]))


def test_a_schedule_that_proceeds_is_not_refunded(market: Market) -> None:
    kept = Pair.of(market).delivered(market)
    with market.refuses("DispatchProceeds", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergySettlement", "refund", *kept.arguments([0, 1]))


def test_a_position_is_refunded_once(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    market.stop()
    with market.refuses("PositionAlreadySettled", kept.positions[1].meter):
        market.send(market.outsider, "EnergySettlement", "refund", *kept.arguments([1, 1]))
    kept, _ = market.refund(kept, [1])
    with market.refuses("PositionAlreadySettled", kept.positions[1].meter):
        market.send(market.outsider, "EnergySettlement", "refund", *kept.arguments([0, 1]))
    with market.refuses("PositionUnknown", 2):
        market.send(market.outsider, "EnergySettlement", "refund", *kept.arguments([0, 2]))
    with market.refuses("NothingToSettle", ZONE, FIRST_MTU):
        market.send(market.outsider, "EnergySettlement", "refund", *kept.arguments([]))


def test_only_unsettled_positions_get_substitutes(market: Market) -> None:
    kept = Pair.of(market).delivered(market)
    kept, _ = market.settle(kept, {0: 600})
    market.move_to(END + market.policy.substitute_after_s)
    with market.refuses("PositionAlreadySettled", kept.positions[0].meter):
        market.send(market.outsider, "EnergySettlement", "settleSubstitutes", *kept.arguments([0, 1]))
    with market.refuses("PositionUnknown", 2):
        market.send(market.outsider, "EnergySettlement", "settleSubstitutes", *kept.arguments([2]))
    kept, _ = market.substitute(kept, [1])
    with market.refuses("PositionAlreadySettled", kept.positions[1].meter):
        market.send(market.outsider, "EnergySettlement", "settleSubstitutes", *kept.arguments([1]))


@pytest.mark.parametrize(
    "caller", ["outsider", "deployer", "relayer", "regulator", "grid_operator", "oracle", "supplier"]
)
def test_nobody_but_the_market_operator_settles(market: Market, caller: str) -> None:
    kept = Pair.of(market).delivered(market)
    one: Any = getattr(market, caller)
    with market.refuses("AccessManagedUnauthorized", one.address):
        market.send(one, "EnergySettlement", "settle", *settle_arguments(kept, [0], [600]))


@pytest.mark.parametrize("caller", ["market_operator", "outsider", "regulator"])
def test_nobody_but_the_settlement_contract_hands_in_outcomes(market: Market, caller: str) -> None:
    kept = Pair.of(market).delivered(market)
    one: Any = getattr(market, caller)
    with market.refuses("AccessManagedUnauthorized", one.address):
        market.send(one, "EnergyTrading", "applyOutcome", outcome(kept))


def test_even_the_settlement_contract_must_start_from_the_kept_state(market: Market) -> None:
    kept = Pair.of(market).delivered(market)
    settlement = market.impersonate("EnergySettlement")
    forged = replace(kept, positions=kept.positions[:1]).state_hash()
    with market.refuses("StateMismatch", kept.state_hash(), forged):
        market.send(settlement, "EnergyTrading", "applyOutcome", outcome(kept) | {"keptHash": forged})
    with market.refuses("Panic", 0x11):
        market.send(settlement, "EnergyTrading", "applyOutcome", outcome(kept) | {"closedPositions": 3})
    with market.refuses("SafeCastOverflowedIntToUint"):
        market.send(settlement, "EnergyTrading", "applyOutcome", outcome(kept) | {"feesMicrocents": 10**12})


def outcome(kept: Kept) -> dict[str, Any]:
    """An outcome that changes nothing."""
    return {
        "zone": kept.zone,
        "mtuStart": kept.mtu_start,
        "chunk": kept.chunk,
        "keptHash": kept.state_hash(),
        "stateHash": kept.state_hash(),
        "closedPositions": 0,
        "feeReceiver": "0x" + "77" * 20,
        "feesMicrocents": 0,
        "payments": [],
    }
