"""The node's heartbeat: each task in its time and once, whoever fails, and again after every restart.

Money: 600 Wh at 15,000 cents per MWh; the buyer locks the price and 1,000 of fee, the seller the way to 32,500.
"""

import shutil
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
    OUTSIDER,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    admit,
    assert_problem,
    key,
    make_folder,
    served,
)

from gridledger.app.node import NodeFolder
from gridledger.chain.plan import PolicyParameters
from gridledger.market.model import Side

GATE, MTU_END = MTU_START - 300, MTU_START + 900
DEADLINE = MTU_START - 60
NEXT = MTU_START + 900
SELLER_LOCK, BUYER_LOCK = 600 * 17_500, 600 * 16_000
AVOIDED_UGCO2 = 600 * (363_000 - 41_000)
EVERYBODY = (SELLER, BUYER, key("supplier"), key("grid_operator"))

Start = Callable[..., RunningNode]


@pytest.fixture
def start(tmp_path: Path, keys: Path, onboarded: Onboarded) -> Iterator[Start]:
    """Starts a node with two members; `supplier_eur`, `policy` and other market facts may be given."""
    with ExitStack() as closing:

        def begin(*, supplier_eur: int = 100, **changes: Any) -> RunningNode:
            if not changes and supplier_eur == 100:
                return closing.enter_context(onboarded.served(tmp_path / "data"))
            node = closing.enter_context(served(make_folder(tmp_path / "data", keys, **changes)))
            node.onboard(supplier_eur=supplier_eur)
            return node

        yield begin


def frees(market: RunningNode) -> list[int]:
    """Free money of seller, buyer, supplier and grid operator."""
    return [market.free(account) for account in EVERYBODY]


def minted(market: RunningNode) -> int:
    tokens: int = market.get("/v1/market/summary")["tokens_minted_ugco2"]
    return tokens


def states(market: RunningNode, *uids: str) -> list[str]:
    return [market.get(f"/v1/orders/{uid}")["state"] for uid in uids]


# ---- the gate


def test_a_book_is_closed_at_the_gate_s_second_and_not_before(start: Start) -> None:
    market = start()
    market.accept(market.order(Side.SELL))
    market.advance(GATE - 1)
    assert market.get("/v1/market/mtus", zone=1)["mtus"] == []
    market.accept(market.order(Side.BUY))
    market.advance(GATE)
    assert (market.mtu()["orders"], market.mtu()["traded_wh"]) == (2, 600)


def test_an_mtu_nobody_ordered_for_has_no_record(start: Start) -> None:
    market = start()
    market.advance(MTU_END)
    assert market.get("/v1/market/mtus", zone=1)["mtus"] == []


def test_a_book_without_a_match_is_cleared_and_settled_with_zero_volume(start: Start) -> None:
    market = start()
    uid = market.accept(market.order(Side.BUY))["uid"]
    before = frees(market)
    market.advance(GATE)
    record = market.mtu()
    assert (record["phase"], record["traded_wh"], record["price_cents_per_mwh"]) == ("settled", 0, 26_000)
    assert states(market, uid) == ["unmatched"]
    assert market.get("/v1/dispatch/schedules") == {"schedules": []}
    assert frees(market) == before


def test_a_cancelled_order_is_in_no_book(start: Start) -> None:
    market = start()
    gone = market.accept(market.order(Side.BUY))["uid"]
    assert market.cancel(gone, BUYER).status_code == 200
    market.accept(market.order(Side.SELL))
    market.advance(GATE)
    assert (market.mtu()["orders"], market.mtu()["traded_wh"]) == (1, 0)
    assert states(market, gone) == ["cancelled"]


def test_a_node_that_was_down_until_the_mtu_began_lets_it_lapse(start: Start) -> None:
    market = start()
    uids = [market.accept(market.order(side))["uid"] for side in (Side.SELL, Side.BUY)]
    before = frees(market)
    market.advance(MTU_START)
    assert (market.mtu()["phase"], market.mtu()["price_cents_per_mwh"]) == ("lapsed", None)
    assert market.mtu()["failure"]
    assert states(market, *uids) == ["unmatched", "unmatched"]
    assert frees(market) == before
    assert market.participant(BUYER)["committed_microcents"] == "0"


# ---- halts and refusals


def test_a_halted_zone_takes_no_orders_clears_nothing_and_goes_on_when_resumed(start: Start) -> None:
    market = start()
    uids = [market.accept(market.order(side))["uid"] for side in (Side.SELL, Side.BUY)]
    before = frees(market)
    market.send(key("regulator"), "GridPolicy", "setHalted", 1, True)
    market.work()
    refused = market.post("/v1/orders", market.order_body(market.order(Side.BUY, quantity_wh=1)))
    assert_problem(refused, 409, "market-halted", zone=1)
    market.advance(GATE)
    record = market.mtu()
    assert (record["phase"], "ZoneHalted" in record["failure"]) == ("lapsed", True)
    assert states(market, *uids) == ["unmatched", "unmatched"]
    assert frees(market) == before
    market.send(key("regulator"), "GridPolicy", "setHalted", 1, False)
    market.work()
    market.pair(NEXT)
    assert market.mtu(NEXT)["phase"] == "cleared"


def test_a_suspended_member_is_listed_as_ineligible_and_stops_nobody(start: Start) -> None:
    market = start()
    gone = market.accept(market.order(Side.BUY))["uid"]
    market.accept(market.order(Side.SELL))
    market.send(key("regulator"), "EnergyTrading", "setSuspended", BUYER.address, True)
    market.work()
    refused = market.post("/v1/orders", market.order_body(market.order(Side.BUY, quantity_wh=1)))
    assert_problem(refused, 403, "account-suspended", owner=BUYER.address)
    market.advance(GATE)
    assert (market.mtu()["orders"], market.mtu()["phase"], market.mtu()["traded_wh"]) == (2, "settled", 0)
    told = market.get(f"/v1/orders/{gone}")
    assert (told["state"], told["state_reason"]) == ("ineligible", "suspended")


def test_money_asked_back_before_the_gate_makes_an_order_ineligible_and_stops_nobody(start: Start) -> None:
    market = start()
    gone = market.accept(market.order(Side.BUY))["uid"]
    market.accept(market.order(Side.SELL))
    market.send(BUYER, "EnergyTrading", "requestWithdrawal", 10 * EUR)
    market.work()
    market.advance(GATE)
    assert (market.mtu()["phase"], market.mtu()["traded_wh"]) == ("settled", 0)
    told = market.get(f"/v1/orders/{gone}")
    assert (told["state"], told["state_reason"]) == ("ineligible", "not funded")


# ---- dispatch


def test_a_stopped_schedule_gives_every_lock_back_and_mints_nothing(start: Start) -> None:
    market = start()
    before = frees(market)
    uids = market.pair()
    assert frees(market)[:2] == [before[0] - SELLER_LOCK, before[1] - BUYER_LOCK]
    market.stop(reason=3)
    assert frees(market) == before
    assert states(market, *uids) == ["refunded", "refunded"]
    assert (market.mtu()["phase"], minted(market)) == ("settled", 0)
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    assert (frees(market), minted(market)) == (before, 0)


def test_without_an_answer_the_regulator_s_default_proceeds_after_the_deadline(start: Start) -> None:
    market = start()
    market.pair()
    market.advance(DEADLINE + 1)
    assert market.mtu()["phase"] == "cleared"
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    assert (market.mtu()["phase"], minted(market)) == ("settled", AVOIDED_UGCO2)


def test_without_an_answer_a_voiding_default_refunds_right_after_the_deadline_and_not_at_it(start: Start) -> None:
    market = start(policy=PolicyParameters(proceed_without_answer=False))
    before = frees(market)
    market.pair()
    market.advance(DEADLINE)
    assert market.mtu()["phase"] == "cleared"
    market.advance(DEADLINE + 1)
    assert (market.mtu()["phase"], frees(market)) == ("settled", before)


def test_an_acknowledged_schedule_is_never_refunded(start: Start) -> None:
    market = start(policy=PolicyParameters(proceed_without_answer=False))
    market.pair()
    market.answer()
    market.advance(MTU_END)
    assert market.mtu()["phase"] == "cleared"


# ---- delivery


def test_nothing_is_settled_before_its_reading_is_anchored(start: Start) -> None:
    market = start()
    uids = market.pair()
    market.answer()
    market.advance(MTU_END)
    assert market.read({SELL_METER: 600}) == [{"status": "accepted"}]
    market.work()
    assert states(market, *uids) == ["locked", "locked"]
    assert market.view("MeterLedger", "anchors")[1] == 0


def test_a_dead_meter_delays_only_its_own_position(start: Start) -> None:
    market = start()
    sell, buy = market.pair()
    market.answer()
    market.advance(MTU_END)
    market.read({SELL_METER: 600})
    market.advance(MTU_END + 119)
    assert states(market, sell, buy) == ["locked", "locked"]
    market.advance(MTU_END + 120)
    assert states(market, sell, buy) == ["settled", "locked"]
    assert (market.mtu()["phase"], minted(market)) == ("cleared", 0)
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000
    market.advance(MTU_END + 86_400)
    market.read({BUY_METER: -600})
    market.advance(MTU_END + 86_400)
    assert states(market, sell, buy) == ["settled", "settled"]
    assert (market.mtu()["phase"], minted(market)) == ("settled", AVOIDED_UGCO2)
    assert market.view("MeterLedger", "anchors")[1] == 2
    assert sum(frees(market)) == 120 * EUR


def test_a_meter_dead_beyond_the_deadline_is_settled_on_a_substitute_and_the_mtu_closes(start: Start) -> None:
    after = 2 * 86_400
    market = start(policy=PolicyParameters(substitute_after_s=after))
    sell, buy = market.pair()
    market.answer()
    market.advance(MTU_END)
    market.read({SELL_METER: 500})
    market.advance(MTU_END + after - 1)
    assert (states(market, sell, buy), market.mtu()["phase"]) == (["settled", "locked"], "cleared")
    market.advance(MTU_END + after)
    assert (states(market, sell, buy), market.mtu()["phase"]) == (["settled", "settled"], "settled")
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000 - 100 * 32_500
    assert market.free(BUYER) == 10 * EUR - 600 * 16_000
    assert (minted(market), sum(frees(market))) == (0, 120 * EUR)
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)


def test_without_any_reading_the_whole_mtu_is_settled_as_contracted(start: Start) -> None:
    after = 2 * 86_400
    market = start(policy=PolicyParameters(substitute_after_s=after))
    market.pair()
    market.advance(MTU_END + after)
    assert market.mtu()["phase"] == "settled"
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000
    assert (minted(market), sum(frees(market))) == (0, 120 * EUR)


def test_the_reward_counts_only_what_was_delivered_and_consumed(start: Start) -> None:
    market = start()
    market.pair()
    market.answer()
    market.deliver({SELL_METER: 500, BUY_METER: -450})
    assert minted(market) == 450 * (363_000 - 41_000)
    assert sum(frees(market)) == 120 * EUR


def test_a_supplier_without_money_owes_and_no_microcent_is_lost(start: Start) -> None:
    market = start(supplier_eur=0)
    market.pair()
    market.answer()
    market.deliver({SELL_METER: 700, BUY_METER: -500})
    owed = {SELLER.address: 100 * 7_500, BUYER.address: 100 * 7_500}
    assert market.participant(key("supplier"))["debts_microcents"] == {
        account: str(amount) for account, amount in owed.items()
    }
    assert market.free(SELLER) == 10 * EUR + 600 * 15_000
    assert sum(frees(market)) == 20 * EUR
    for account, amount in owed.items():
        assert market.view("EnergyTrading", "debtOf", key("supplier").address, account) == (amount,)


def test_a_negative_price_pays_the_buyer(start: Start) -> None:
    market = start()
    market.send(key("oracle"), "GridPolicy", "postFeedIn", MTU_START, [-30_000])
    market.work()
    assert market.get(f"/v1/market/prices/{MTU_START}")["cap_cents_per_mwh"] == -6_000
    market.accept(market.order(Side.SELL, limit_cents_per_mwh=-20_000))
    market.accept(market.order(Side.BUY, limit_cents_per_mwh=-10_000))
    market.advance(GATE)
    assert market.mtu()["price_cents_per_mwh"] == -15_000
    market.answer()
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    assert market.free(SELLER) == 10 * EUR - 600 * 15_000
    assert market.free(BUYER) == 10 * EUR + 600 * 15_000 - 600 * 1_000
    assert sum(frees(market)) == 120 * EUR


def test_energy_that_was_not_traded_moves_no_money(start: Start) -> None:
    market = start()
    before = frees(market)
    market.deliver({SELL_METER: 700, BUY_METER: -900})
    assert frees(market) == before
    assert market.view("MeterLedger", "anchors")[1] == 1


# ---- several MTUs and members


def test_mtus_overlap_and_do_not_disturb_each_other(start: Start) -> None:
    market = start()
    market.pair(MTU_START)
    market.answer(MTU_START)
    market.pair(NEXT)
    market.stop(NEXT)
    market.deliver({SELL_METER: 600, BUY_METER: -600}, MTU_START)
    assert [market.mtu(mtu_start)["phase"] for mtu_start in (MTU_START, NEXT)] == ["settled", "settled"]
    summary = market.get("/v1/market/summary")
    assert (summary["trades"], summary["dispatch"]) == (2, {"acknowledged": 1, "stopped": 1})
    assert minted(market) == AVOIDED_UGCO2
    assert frees(market)[0] == 10 * EUR + 600 * 15_000


def test_three_members_trade_at_one_price_and_the_earlier_bid_is_served_first(tmp_path: Path, keys: Path) -> None:
    with served(make_folder(tmp_path / "three", keys)) as market:
        admit(market, ((SELLER, 1), (BUYER, 0), (OUTSIDER, 0)))
        for account in (SELLER, BUYER, OUTSIDER):
            market.fund(account, 10 * EUR)
        market.work()
        market.accept(market.order(Side.SELL, quantity_wh=900))
        first = market.accept(market.order(Side.BUY))["uid"]
        second = market.accept(market.order(Side.BUY, owner=OUTSIDER.address, meter=3))["uid"]
        market.advance(GATE)
        told = {uid: market.get(f"/v1/orders/{uid}")["filled_wh"] for uid in (first, second)}
        assert told == {first: 600, second: 300}
        assert (market.mtu()["traded_wh"], market.mtu()["price_cents_per_mwh"]) == (900, 20_000)
        market.answer()
        market.deliver({1: 900, 2: -600, 3: -300})
        assert market.free(OUTSIDER) == 10 * EUR - 300 * 21_000
        assert sum(market.free(account) for account in (*EVERYBODY, OUTSIDER)) == 30 * EUR


# ---- restarts


def steps() -> tuple[Callable[[RunningNode], object], ...]:
    return (
        lambda market: [market.accept(market.order(side)) for side in (Side.SELL, Side.BUY)],
        lambda market: market.advance(GATE),
        lambda market: market.answer(),
        lambda market: (market.advance(MTU_END), market.read({SELL_METER: 700})),
        lambda market: market.advance(MTU_END + 120),
        lambda market: market.read({BUY_METER: -650}),
    )


def test_a_node_stopped_and_started_after_every_step_ends_in_the_same_state(
    tmp_path: Path, onboarded: Onboarded
) -> None:
    with onboarded.served(tmp_path / "steady") as market:
        for step in steps():
            step(market)
            market.work()
        market.advance(MTU_END + 240)
        expected, clock = market.memory(), market.node.now
    folder = NodeFolder(tmp_path / "restarted")
    shutil.copytree(onboarded.folder.path, folder.path)
    salt = 0
    for step in steps():
        with served(folder) as market:
            market.salt = salt
            step(market)
            market.work()
            salt = market.salt
    with served(folder) as market:
        market.advance(MTU_END + 240)
        assert market.node.now == clock
        assert market.memory() == expected
        assert market.mtu()["phase"] == "settled"


def test_a_clock_moved_back_stays_where_it_is(start: Start) -> None:
    market = start()
    market.advance(GATE)
    assert market.node.advance(GATE - 100) == GATE
    assert market.node.now == GATE


# ---- members who change their mind after the order


def test_an_order_cancelled_on_chain_before_its_gate_is_in_no_book_and_stops_nobody(tmp_path: Path, keys: Path) -> None:
    with served(make_folder(tmp_path / "three", keys)) as market:
        admit(market, ((SELLER, 1), (BUYER, 0), (OUTSIDER, 0)))
        for account in (SELLER, BUYER, OUTSIDER):
            market.fund(account, 10 * EUR)
        market.work()
        market.accept(market.order(Side.SELL))
        gone = market.accept(market.order(Side.BUY, limit_cents_per_mwh=25_000))["uid"]
        kept = market.accept(market.order(Side.BUY, owner=OUTSIDER.address, meter=3))["uid"]
        market.send(BUYER, "EnergyTrading", "cancel", bytes.fromhex(gone[2:]))
        market.work()
        market.advance(GATE)
        assert (market.mtu()["phase"], market.mtu()["traded_wh"], market.mtu()["orders"]) == ("cleared", 600, 2)
        assert states(market, gone, kept) == ["cancelled", "locked"]
        assert market.get(f"/v1/orders/{gone}")["state_reason"] == "on chain"
        assert market.free(BUYER) == 10 * EUR
        market.answer()
        market.deliver({1: 600, 2: 0, 3: -600})
        assert market.mtu()["phase"] == "settled"
        assert market.free(OUTSIDER) == 10 * EUR - 600 * 16_000


def test_an_order_cancelled_on_chain_once_its_gate_has_closed_is_bound(start: Start) -> None:
    market = start()
    market.accept(market.order(Side.SELL))
    bound = market.accept(market.order(Side.BUY))["uid"]
    market.send(BUYER, "EnergyTrading", "cancel", bytes.fromhex(bound[2:]))
    market.advance(GATE)  # the cancellation is mined at the gate's own second, before the clearing
    assert (market.mtu()["phase"], states(market, bound)) == ("cleared", ["locked"])


def test_orders_cancelled_in_bulk_on_chain_are_in_no_book(start: Start) -> None:
    market = start()
    market.accept(market.order(Side.SELL))
    gone = [market.accept(market.order(Side.BUY, quantity_wh=100))["uid"] for _ in range(2)]
    salt = market.salt
    kept = market.accept(market.order(Side.BUY, quantity_wh=100))["uid"]
    market.send(BUYER, "EnergyTrading", "cancelUpTo", salt)
    market.work()
    market.advance(GATE)
    assert (market.mtu()["orders"], market.mtu()["traded_wh"]) == (2, 100)
    assert states(market, *gone, kept) == ["cancelled", "cancelled", "locked"]


def test_a_standing_order_cancelled_on_chain_keeps_the_book_it_is_in_and_leaves_the_rest(start: Start) -> None:
    market = start()
    standing = market.accept(market.order(Side.BUY, last_mtu_start=NEXT + 900, expiry=NEXT + 900))["uid"]
    market.accept(market.order(Side.SELL))
    market.accept(market.order(Side.SELL, mtu_start=NEXT))
    market.advance(GATE)
    market.send(BUYER, "EnergyTrading", "cancel", bytes.fromhex(standing[2:]))
    market.work()
    assert states(market, standing) == ["cancelled"]
    market.answer()
    market.advance(NEXT - 300)
    assert (market.mtu(NEXT)["orders"], market.mtu(NEXT)["traded_wh"]) == (1, 0)
    told = market.get(f"/v1/orders/{standing}")
    assert told["mtus"] == [{"mtu_start": MTU_START, "filled_wh": 600, "ineligible": None}]
    market.deliver({SELL_METER: 600, BUY_METER: -600})
    assert market.mtu()["phase"] == "settled"
    assert market.free(BUYER) == 10 * EUR - 600 * 16_000


def test_a_standing_order_goes_on_after_a_restart_between_its_mtus(tmp_path: Path, onboarded: Onboarded) -> None:
    folder = NodeFolder(tmp_path / "data")
    with onboarded.served(folder.path) as market:
        standing = market.accept(market.order(Side.BUY, last_mtu_start=NEXT, expiry=NEXT))["uid"]
        market.accept(market.order(Side.SELL, quantity_wh=200, last_mtu_start=NEXT, expiry=NEXT))
        market.advance(GATE)
        salt = market.salt
    with served(folder) as market:
        market.salt = salt
        market.advance(NEXT - 300)
        told = market.get(f"/v1/orders/{standing}")
        assert [(one["mtu_start"], one["filled_wh"]) for one in told["mtus"]] == [(MTU_START, 200), (NEXT, 200)]
        assert (told["state"], told["filled_wh"]) == ("locked", 400)


def test_a_deal_with_an_offer_cancelled_on_chain_is_listed_and_told_and_binds_nobody(start: Start) -> None:
    market = start()
    offer = market.accept(market.order(Side.SELL))["uid"]
    deal = market.deal(offer)["uid"]
    market.send(SELLER, "EnergyTrading", "cancel", bytes.fromhex(offer[2:]))
    market.work()
    before = frees(market)
    market.advance(GATE)
    assert (market.mtu()["phase"], market.mtu()["orders"], market.mtu()["traded_wh"]) == ("settled", 1, 0)
    told = market.get(f"/v1/deals/{deal}")
    assert (told["state"], told["state_reason"]) == ("ineligible", "offer not eligible")
    assert frees(market) == before
    assert market.participant(BUYER)["committed_microcents"] == "0"
