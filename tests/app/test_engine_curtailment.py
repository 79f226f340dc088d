"""Caps of the grid operator, from its signature to the last microcent: recorded, applied after the MTU, settled.

Money: 600 Wh at 15,000 cents per MWh; the buyer locks the price and 1,000 of fee, the seller the way to 32,500. Caps
leave 400 Wh unless told otherwise; replacing what is missing costs the buyer 17,500 more.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.api.running import (
    BUY_METER,
    BUYER,
    EUR,
    MTU_START,
    SELL_METER,
    SELLER,
    ZONE,
    Onboarded,
    RunningNode,
    assert_problem,
    key,
    make_folder,
    served,
)
from tests.app.curtailing import (
    DEADLINE,
    FEE,
    MTU_END,
    PRICE,
    SHORTAGE,
    SURPLUS,
    events,
    frees,
    require_same_as_chain,
)

from gridledger.chain.plan import PolicyParameters
from gridledger.dispatch.setpoints import Direction
from gridledger.market.curtailment import Bearer

OPERATOR = key("grid_operator")
KEPT_WH, LOST_WH = 400, 200
EXTRA = SHORTAGE - PRICE
SELLER_LOCK, BUYER_LOCK = 600 * EXTRA, 600 * (PRICE + FEE)
AVOIDED_UGCO2_PER_WH = 363_000 - 41_000

Start = Callable[..., RunningNode]


@pytest.fixture
def start(tmp_path: Path, keys: Path, onboarded: Onboarded) -> Iterator[Start]:
    """Starts a node with two members; market facts may be changed."""
    with ExitStack() as closing:

        def begin(**changes: Any) -> RunningNode:
            if not changes:
                return closing.enter_context(onboarded.served(tmp_path / "data"))
            node = closing.enter_context(served(make_folder(tmp_path / "data", keys, **changes)))
            node.onboard()
            return node

        yield begin


def bearing(bearer: Bearer) -> dict[str, Any]:
    """A market whose policy has somebody bear replacement for every reason."""
    return {"policy": PolicyParameters(replacement_bearers=sum(int(bearer) << 2 * reason for reason in range(16)))}


def applied_chunks(market: RunningNode, mtu_start: int = MTU_START) -> int:
    (count,) = market.view("EnergyCurtailment", "appliedChunksOf", ZONE, mtu_start)
    return int(count)


def schedule(market: RunningNode) -> dict[str, Any]:
    """The schedule as the grid operator is shown it."""
    session = market.sign_in(OPERATOR)
    params = {"zone": ZONE, "mtu_start": MTU_START}
    answer = market.http.get("/v1/dispatch/setpoints", params=params, headers=session)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_caps_are_recorded_and_told_and_take_nothing_before_the_mtu_has_ended(start: Start) -> None:
    market = start()
    market.pair()
    before = frees(market)
    market.curtail({SELL_METER: KEPT_WH})
    scheduled, curtailed = events(market)
    assert (scheduled["kind"], curtailed["kind"], curtailed["mtu_start"]) == ("scheduled", "curtailed", MTU_START)
    payload = curtailed["payload"]
    told = ("reason", "direction", "emergency", "sequence", "order_check", "caps")
    assert {name: payload[name] for name in told} == {
        "reason": 1,
        "direction": "export",
        "emergency": False,
        "sequence": 0,
        "order_check": "kept",
        "caps": [{"meter": SELL_METER, "cap_wh": KEPT_WH}],
    }
    receipt = market.rpc("eth_getTransactionReceipt", payload["transaction_hash"])
    assert (payload["block_hash"], payload["block_number"]) == (receipt["blockHash"], int(receipt["blockNumber"], 16))
    (recorded,) = market.view("EnergyDispatching", "capsOf", ZONE, MTU_START)
    (expected,) = market.view("EnergyDispatching", "hashCaps", [(SELL_METER, KEPT_WH)])
    assert (recorded["capsHash"], recorded["direction"], recorded["reason"]) == (expected, 1, 1)
    assert market.get("/v1/dispatch/schedules") == {"schedules": []}
    market.advance(MTU_END - 1)
    assert (applied_chunks(market), frees(market)) == (0, before)
    market.advance(MTU_END)
    assert applied_chunks(market) == 1
    assert frees(market) != before
    require_same_as_chain(market)


@pytest.mark.parametrize("bearer", Bearer, ids=lambda bearer: bearer.name.lower())
def test_everybody_is_refunded_to_the_microcent_and_the_policy_s_bearer_pays(start: Start, bearer: Bearer) -> None:
    market = start(**bearing(bearer))
    market.fund(OPERATOR, EUR)
    market.work()
    seller, buyer, supplier, operator = frees(market)
    uids = market.pair()
    market.curtail({SELL_METER: KEPT_WH})
    market.advance(MTU_END)
    cost = LOST_WH * EXTRA
    paid = {one: cost if one is bearer else 0 for one in Bearer}
    received = 0 if bearer is Bearer.BUYER else cost
    assert frees(market) == [
        seller - KEPT_WH * EXTRA - paid[Bearer.SELLER],
        buyer - KEPT_WH * (PRICE + FEE) + received,
        supplier,
        operator - paid[Bearer.GRID_OPERATOR],
    ]
    require_same_as_chain(market)

    market.deliver({SELL_METER: KEPT_WH, BUY_METER: -600})
    assert frees(market) == [
        seller + KEPT_WH * PRICE - paid[Bearer.SELLER],
        buyer - KEPT_WH * (PRICE + FEE) - LOST_WH * SHORTAGE + received,
        supplier + LOST_WH * SHORTAGE,
        operator + KEPT_WH * FEE - paid[Bearer.GRID_OPERATOR],
    ]
    assert sum(frees(market)) == seller + buyer + supplier + operator
    require_same_as_chain(market)
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)
    assert market.mtu()["phase"] == "settled"
    assert [market.get(f"/v1/orders/{uid}")["state"] for uid in uids] == ["settled", "settled"]
    summary = market.get("/v1/market/summary")
    assert summary["dispatch"] == {"curtailed": 1}
    assert summary["tokens_minted_ugco2"] == KEPT_WH * AVOIDED_UGCO2_PER_WH


def test_a_buyer_made_whole_pays_for_its_energy_what_the_trade_would_have_cost(start: Start) -> None:
    """All but the grid fee, which is due for energy traded here only."""
    market = start()
    market.fund(OPERATOR, EUR)
    market.work()
    before = market.free(BUYER)
    market.pair()
    market.curtail({SELL_METER: KEPT_WH})
    market.deliver({SELL_METER: KEPT_WH, BUY_METER: -600})
    assert before - market.free(BUYER) == 600 * PRICE + KEPT_WH * FEE


def test_a_grid_operator_without_money_owes_the_buyer_and_no_microcent_is_made(start: Start) -> None:
    market = start()
    before = frees(market)
    market.pair()
    market.curtail({SELL_METER: KEPT_WH})
    market.advance(MTU_END)
    cost = LOST_WH * EXTRA
    (debt,) = market.view("EnergyTrading", "debtOf", OPERATOR.address, BUYER.address)
    assert debt == cost
    assert market.participant(OPERATOR)["debts_microcents"] == {BUYER.address: str(cost)}
    require_same_as_chain(market)
    market.deliver({SELL_METER: KEPT_WH, BUY_METER: -KEPT_WH})
    require_same_as_chain(market)
    assert sum(frees(market)) == sum(before)
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)


def test_both_sides_are_told_what_was_taken_and_given_back(start: Start) -> None:
    market = start()
    uids = market.pair()
    market.curtail({SELL_METER: KEPT_WH})
    market.deliver({SELL_METER: KEPT_WH, BUY_METER: -KEPT_WH})
    told_money = {SELLER: (LOST_WH * EXTRA, None), BUYER: (LOST_WH * (PRICE + FEE), str(LOST_WH * EXTRA))}
    for (account, (refund, compensation)), uid in zip(told_money.items(), uids, strict=True):
        notices = market.http.get("/v1/notices", headers=market.sign_in(account)).json()["notices"]
        kinds = [one["kind"] for one in notices]
        assert kinds == ["accepted", "matched", "locked", "curtailed", "settled", "rewarded"]
        told = notices[3]
        assert (told["order_uid"], told["mtu_start"]) == (uid, MTU_START)
        details = told["details"]
        assert (details["curtailed_wh"], details["energy_wh"]) == (LOST_WH, 600)
        assert (details["refunded_microcents"], details["reason_code"]) == (str(refund), 1)
        assert details.get("compensated_microcents") == compensation


@pytest.mark.parametrize("cap_wh", [0, 1, 599])
def test_whatever_is_left_is_settled_and_the_escrow_is_empty(start: Start, cap_wh: int) -> None:
    market = start()
    before = frees(market)
    market.pair()
    market.curtail({SELL_METER: cap_wh})
    market.deliver({SELL_METER: cap_wh, BUY_METER: -600})
    require_same_as_chain(market)
    assert market.mtu()["phase"] == "settled"
    assert market.free(SELLER) == before[0] + cap_wh * PRICE
    assert sum(frees(market)) == sum(before)
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)
    assert market.get("/v1/market/summary")["tokens_minted_ugco2"] == cap_wh * AVOIDED_UGCO2_PER_WH


def test_an_import_cap_shrinks_the_buyer_s_contract_and_the_seller_keeps_what_it_delivers(start: Start) -> None:
    market = start()
    market.fund(OPERATOR, EUR)
    market.work()
    seller, buyer, supplier, operator = frees(market)
    market.pair()
    market.curtail({BUY_METER: KEPT_WH}, direction=Direction.IMPORT)
    assert events(market)[-1]["payload"]["direction"] == "import"
    market.deliver({SELL_METER: 600, BUY_METER: -KEPT_WH})
    cost = LOST_WH * EXTRA
    assert frees(market) == [
        seller + KEPT_WH * PRICE + LOST_WH * SURPLUS,
        buyer - KEPT_WH * (PRICE + FEE) + cost,
        supplier - LOST_WH * SURPLUS,
        operator + KEPT_WH * FEE - cost,
    ]
    require_same_as_chain(market)


def test_a_cap_in_a_meter_s_other_direction_takes_nothing_from_its_contract(start: Start) -> None:
    """As an emergency may: the buyer may export nothing, and goes on importing."""
    market = start()
    before = frees(market)
    market.pair()
    market.curtail({BUY_METER: 0}, emergency=True)
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    require_same_as_chain(market)
    assert market.free(SELLER) == before[0] + 600 * PRICE
    assert market.get("/v1/market/summary")["tokens_minted_ugco2"] == 600 * AVOIDED_UGCO2_PER_WH


# ---- emergencies


@pytest.mark.parametrize("moment", [DEADLINE - 1, DEADLINE + 1, MTU_START + 450, MTU_END - 1])
def test_an_emergency_after_an_acknowledgement_is_obeyed_until_the_mtu_ends(start: Start, moment: int) -> None:
    market = start()
    before = frees(market)
    market.pair()
    market.answer()
    market.advance(moment)
    market.curtail({SELL_METER: KEPT_WH}, emergency=True, reason=4)
    assert events(market)[-1]["payload"]["emergency"] is True
    assert events(market)[-1]["payload"]["order_check"] == "kept"
    market.deliver({SELL_METER: KEPT_WH, BUY_METER: -600})
    require_same_as_chain(market)
    cost = LOST_WH * SHORTAGE  # of an emergency the buyer bears it, by this policy
    assert market.free(BUYER) == before[1] - KEPT_WH * (PRICE + FEE) - cost
    assert sum(frees(market)) == sum(before)


def test_the_last_of_several_emergencies_holds_and_a_repeated_one_is_refused(start: Start) -> None:
    market = start()
    market.pair()
    market.curtail({SELL_METER: 500})
    first = market.curtailment_body({SELL_METER: 100}, emergency=True, sequence=1)
    market.curtail({SELL_METER: 100}, emergency=True, sequence=1)
    again = market.post("/v1/dispatch/curtailments", first)
    assert_problem(again, 409, "sequence-differs", expected=2, found=1)
    market.curtail({SELL_METER: KEPT_WH}, emergency=True, sequence=2)
    assert [one["payload"].get("sequence") for one in events(market)] == [None, 0, 1, 2]
    market.deliver({SELL_METER: KEPT_WH, BUY_METER: -KEPT_WH})
    require_same_as_chain(market)
    assert market.get("/v1/market/summary")["tokens_minted_ugco2"] == KEPT_WH * AVOIDED_UGCO2_PER_WH


def test_an_emergency_s_deviation_from_the_order_is_flagged_and_obeyed(start: Start) -> None:
    market = start()
    market.pair()
    market.curtail({SELL_METER: 700}, emergency=True)
    assert events(market)[-1]["payload"]["order_check"] == "broken"  # above what was scheduled
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    assert market.get("/v1/market/summary")["tokens_minted_ugco2"] == 600 * AVOIDED_UGCO2_PER_WH


def test_an_emergency_after_silence_is_obeyed_where_the_default_is_to_proceed(start: Start) -> None:
    market = start()
    market.pair()
    market.advance(DEADLINE + 1)
    market.curtail({SELL_METER: 0}, emergency=True)
    market.deliver({SELL_METER: 0, BUY_METER: -600})
    require_same_as_chain(market)
    assert market.get("/v1/market/summary")["tokens_minted_ugco2"] == 0
    assert market.mtu()["phase"] == "settled"


# ---- stops


def test_a_stop_before_the_schedule_refunds_what_is_cleared_afterwards(start: Start) -> None:
    market = start()
    before = frees(market)
    market.stop()
    uids = market.pair()
    kinds = [one["kind"] for one in events(market)]
    assert kinds == ["stopped", "scheduled"]
    assert market.get("/v1/dispatch/schedules") == {"schedules": []}
    assert (market.mtu()["phase"], frees(market)) == ("settled", before)
    assert [market.get(f"/v1/orders/{uid}")["state"] for uid in uids] == ["refunded", "refunded"]
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)
    require_same_as_chain(market)


def test_a_stop_in_the_middle_of_the_mtu_voids_what_was_capped_before(start: Start) -> None:
    market = start()
    before = frees(market)
    market.pair()
    market.curtail({SELL_METER: KEPT_WH})
    market.advance(MTU_START + 600)
    market.stop()
    assert (market.mtu()["phase"], frees(market)) == ("settled", before)
    market.deliver({SELL_METER: 0, BUY_METER: 0})
    assert (applied_chunks(market), frees(market)) == (0, before)
    require_same_as_chain(market)


def test_a_stop_of_several_mtus_holds_for_each_and_for_no_other(start: Start) -> None:
    market = start()
    before = frees(market)
    starts = [MTU_START + place * 900 for place in range(3)]
    response = market.post("/v1/dispatch/stops", market.stop_body(starts[0], count=2))
    assert response.status_code == 202, response.text
    market.work()
    for mtu_start in starts:
        market.pair(mtu_start)
    assert [market.mtu(mtu_start)["phase"] for mtu_start in starts] == ["settled", "settled", "cleared"]
    assert frees(market)[:2] == [before[0] - SELLER_LOCK, before[1] - BUYER_LOCK]
    again = market.post("/v1/dispatch/stops", market.stop_body(starts[1]))
    assert_problem(again, 409, "already-answered", state="stopped", mtu_start=starts[1])


# ---- late data


def test_a_correction_after_caps_is_settled_on_the_shrunk_position(start: Start) -> None:
    market = start()
    before = frees(market)
    market.pair()
    market.curtail({SELL_METER: KEPT_WH}, reason=5)
    market.advance(MTU_END + 5 * 86_400)
    assert market.mtu()["phase"] == "settled"  # on substitutes
    market.read({SELL_METER: KEPT_WH, BUY_METER: -500})
    market.advance(MTU_END + 5 * 86_400 + 200)
    require_same_as_chain(market)
    assert market.free(SELLER) == before[0] + KEPT_WH * PRICE
    assert market.free(BUYER) == before[1] - KEPT_WH * (PRICE + FEE) - 100 * SHORTAGE
    assert sum(frees(market)) == sum(before)
