"""One zone with everything the market knows: two products at two prices, a direct deal, a pegged and a standing order.

First MTU. The seller's solar meter offers 500 Wh at 9,000, standing for both MTUs; the neighbour accepts 200 Wh of it
directly. Low-carbon: the buyer bids 400 Wh at 30,000 for the 300 Wh left, so it sets its price alone. Any: the outsider
offers 300 Wh at 8,500 and 400 Wh pegged above 8,000; the neighbour bids 700 Wh at 20,000. Supply 600 and demand 1,100
Wh make a reference price of 12,137, where the pegged offer stands; the price is the midpoint up to 20,000. Second MTU:
the standing offer meets a bid of 400 Wh and sets the price. Every figure below follows by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from tests.api.running import (
    BUYER,
    EUR,
    MTU_START,
    NEIGHBOUR,
    OUTSIDER,
    SELLER,
    ZONE,
    RunningNode,
    admit,
    key,
    make_folder,
    served,
)

from gridledger.app.receipt_run import verify_receipt
from gridledger.chain.codec import keccak256
from gridledger.market.model import Pricing, Product, Side
from gridledger.market.packing import position_words, trade_word
from gridledger.store.database import Database

NEXT = MTU_START + 900
SOLAR, BUY, GREY, FLAT = 1, 2, 3, 4  # the meters of seller, buyer, outsider and neighbour
MEMBERS = (SELLER, BUYER, OUTSIDER, NEIGHBOUR)
SUPPLIER, OPERATOR = key("supplier"), key("grid_operator")
REFERENCE, ANY_PRICE, LOW_CARBON_PRICE, DEAL_PRICE = 12_137, 16_068, 30_000, 9_000
FEE, RELIEVED_FEE = 2_000, 1_000
AVOIDED_UGCO2_PER_WH = 363_000 - 41_000
METERED = {SOLAR: 500, BUY: -300, GREY: 750, FLAT: -920}


@dataclass
class Played:
    """The running market with what was posted, by name, and what the contract kept on the way."""

    running: RunningNode
    posted: dict[str, dict[str, Any]]
    kept: dict[str, tuple[bytes, bytes]]  # state hash of the contract and of the node's own positions

    def uid(self, name: str) -> str:
        return str(self.posted[name]["uid"])

    def told(self, name: str) -> dict[str, Any]:
        kind = "deals" if name == "deal" else "orders"
        answer: dict[str, Any] = self.running.get(f"/v1/{kind}/{self.uid(name)}")
        return answer

    def compare(self, moment: str, mtu_start: int) -> None:
        """Note what the contract keeps and what the node keeps of a clearing."""
        (kept,) = self.running.view("EnergyTrading", "stateHashOf", ZONE, mtu_start, 0)
        database = Database(self.running.folder.database)
        with database.read() as tx:
            words = position_words([kept.position for kept in tx.mtus.positions(ZONE, mtu_start)])
            deals = [trade_word(deal) for deal in tx.mtus.deals(ZONE, mtu_start, 0)]
        database.close()
        self.kept[moment] = (kept, keccak256(encode(["uint256[]", "uint256[]"], [words, deals])))


def first_orders(running: RunningNode) -> dict[str, dict[str, Any]]:
    """Everything posted for the first MTU, in this order."""
    standing = running.order(
        Side.SELL, quantity_wh=500, limit_cents_per_mwh=DEAL_PRICE, last_mtu_start=NEXT, expiry=NEXT
    )
    grey = {"owner": OUTSIDER.address, "meter": GREY}
    pegged = grey | {"pricing": Pricing.PEGGED, "quantity_wh": 400, "limit_cents_per_mwh": 8_000}
    flat = {"owner": NEIGHBOUR.address, "meter": FLAT}
    green = {"product": Product.LOW_CARBON, "quantity_wh": 400, "limit_cents_per_mwh": LOW_CARBON_PRICE}
    posted = {"standing": running.accept(standing)}
    posted["grey"] = running.accept(running.order(Side.SELL, quantity_wh=300, limit_cents_per_mwh=8_500, **grey))
    posted["deal"] = running.deal(posted["standing"]["uid"], quantity_wh=200, **flat)
    posted["pegged"] = running.accept(running.order(Side.SELL, **pegged))
    posted["green"] = running.accept(running.order(Side.BUY, **green))
    posted["flat"] = running.accept(running.order(Side.BUY, quantity_wh=700, **flat))
    return posted


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Played]:
    """Both MTUs, from onboarding to settlement."""
    with served(make_folder(tmp_path_factory.mktemp("products") / "data", keys)) as running:
        admit(running, tuple((member, 1 if member is SELLER else 0) for member in MEMBERS))
        for member in MEMBERS:
            running.fund(member, 10 * EUR)
        running.fund(SUPPLIER, 100 * EUR)
        running.work()
        story = Played(running, first_orders(running), {})
        running.advance(MTU_START - 300)
        story.compare("cleared", MTU_START)
        running.answer()
        story.posted["later"] = running.accept(running.order(Side.BUY, mtu_start=NEXT, quantity_wh=400))
        running.advance(NEXT - 300)
        story.compare("next cleared", NEXT)
        running.answer(NEXT)
        running.advance(NEXT)
        running.read({SOLAR: METERED[SOLAR], BUY: METERED[BUY]})
        running.advance(NEXT + 120)
        story.compare("half settled", MTU_START)
        running.deliver({GREY: METERED[GREY], FLAT: METERED[FLAT]})
        running.deliver({SOLAR: 400, BUY: -400, GREY: 0, FLAT: 0}, NEXT)
        story.compare("settled", MTU_START)
        story.compare("next settled", NEXT)
        yield story


def test_orders_and_deals_are_receipted_in_one_sequence(played: Played) -> None:
    numbers = [posted["receipt"]["running_number"] for posted in played.posted.values()]
    assert list(played.posted) == ["standing", "grey", "deal", "pegged", "green", "flat", "later"]
    assert numbers == [1, 2, 3, 4, 5, 6, 7]


def test_scarce_low_carbon_energy_has_its_own_price_and_the_pegged_offer_the_reference_price(played: Played) -> None:
    record = played.running.mtu()
    assert (record["supply_wh"], record["demand_wh"], record["orders"]) == (600, 1_100, 6)
    assert record["reference_price_cents_per_mwh"] == REFERENCE
    assert (record["price_cents_per_mwh"], record["low_carbon_price_cents_per_mwh"]) == (ANY_PRICE, LOW_CARBON_PRICE)
    assert (record["phase"], record["traded_wh"], record["failure"]) == ("settled", 1_200, None)


def test_with_enough_low_carbon_energy_there_is_one_price(played: Played) -> None:
    record = played.running.mtu(NEXT)
    assert (record["price_cents_per_mwh"], record["low_carbon_price_cents_per_mwh"]) == (9_000, 9_000)
    assert (record["phase"], record["traded_wh"], record["orders"]) == ("settled", 400, 2)


@pytest.mark.parametrize(
    ("name", "filled_wh"), [("grey", 300), ("pegged", 400), ("green", 300), ("flat", 700), ("later", 400)]
)
def test_every_order_says_what_it_was_filled_with(played: Played, name: str, filled_wh: int) -> None:
    told = played.told(name)
    assert (told["state"], told["filled_wh"]) == ("settled", filled_wh)


def test_the_standing_order_says_its_fill_in_each_mtu(played: Played) -> None:
    told = played.told("standing")
    assert (told["state"], told["filled_wh"]) == ("settled", 900)
    assert told["mtus"] == [
        {"mtu_start": MTU_START, "filled_wh": 500, "ineligible": None},
        {"mtu_start": NEXT, "filled_wh": 400, "ineligible": None},
    ]


def test_the_deal_is_settled_and_names_its_offer(played: Played) -> None:
    told = played.told("deal")
    assert (told["state"], told["offer_uid"], told["quantity_wh"]) == ("settled", played.uid("standing"), 200)


def test_money_moves_to_the_microcent(played: Played) -> None:
    solar = 300 * LOW_CARBON_PRICE + 200 * DEAL_PRICE
    grey = 700 * ANY_PRICE
    fees = {BUYER: 300 * RELIEVED_FEE + 400 * RELIEVED_FEE, NEIGHBOUR: 700 * FEE + 200 * RELIEVED_FEE}
    imbalance = {OUTSIDER: 50 * 7_500, NEIGHBOUR: -20 * 32_500}
    assert {member.address: played.running.free(member) for member in (*MEMBERS, SUPPLIER, OPERATOR)} == {
        SELLER.address: 10 * EUR + solar + 400 * 9_000,
        BUYER.address: 10 * EUR - 300 * LOW_CARBON_PRICE - 400 * 9_000 - fees[BUYER],
        OUTSIDER.address: 10 * EUR + grey + imbalance[OUTSIDER],
        NEIGHBOUR.address: 10 * EUR - grey - 200 * DEAL_PRICE - fees[NEIGHBOUR] + imbalance[NEIGHBOUR],
        SUPPLIER.address: 100 * EUR - sum(imbalance.values()),
        OPERATOR.address: sum(fees.values()),
    }


def test_no_microcent_is_made_lost_or_left_in_the_escrow(played: Played) -> None:
    assert sum(played.running.free(account) for account in (*MEMBERS, SUPPLIER, OPERATOR)) == 140 * EUR
    assert played.running.view("EnergyTrading", "escrowMicrocents") == (0,)
    for account in (*MEMBERS, SUPPLIER, OPERATOR):
        assert played.running.view("EnergyTrading", "accountOf", account.address) == (played.running.free(account), 0)


@pytest.mark.parametrize("moment", ["cleared", "half settled", "settled", "next cleared", "next settled"])
def test_the_contract_keeps_the_hash_of_the_node_s_own_positions(played: Played, moment: str) -> None:
    kept, own = played.kept[moment]
    assert kept == own
    assert kept != bytes(32)


def test_each_settlement_changed_what_is_kept(played: Played) -> None:
    assert len({played.kept[moment][0] for moment in ("cleared", "half settled", "settled")}) == 3


def test_low_carbon_energy_is_rewarded_dealt_and_auctioned_alike(played: Played) -> None:
    rewarded_wh = 200 + 300 + 400
    summary = played.running.get("/v1/market/summary")
    assert summary["tokens_minted_ugco2"] == rewarded_wh * AVOIDED_UGCO2_PER_WH
    shares = {SELLER: 900, NEIGHBOUR: 200, BUYER: 700, OUTSIDER: 0}
    for member, energy_wh in shares.items():
        expected = energy_wh * AVOIDED_UGCO2_PER_WH // 2
        assert played.running.view("LowCarbonToken", "balanceOf", member.address) == (expected,)


def test_the_summary_counts_deals_among_the_trades(played: Played) -> None:
    """Deal, solar to buyer, and twice the outsider's position to the neighbour's make three; the second MTU has one."""
    summary = played.running.get("/v1/market/summary")
    assert (summary["trades"], summary["traded_wh"], summary["orders"]) == (4, 1_600, 6)
    assert summary["failed_transactions"] == []


@pytest.mark.parametrize("mtu_start", [MTU_START, NEXT])
def test_every_receipt_of_both_products_and_the_deal_holds_against_the_chain(
    played: Played, tmp_path: Path, mtu_start: int
) -> None:
    running, prices = played.running, dict[tuple[int, int], int]()
    metered = METERED if mtu_start == MTU_START else {SOLAR: 400, BUY: -400}
    for meter, member in zip((SOLAR, BUY, GREY, FLAT), MEMBERS, strict=True):
        answer = running.http.get(
            f"/v1/proofs/trades/{ZONE}/{mtu_start}", params={"meter": meter}, headers=running.sign_in(member)
        )
        if answer.status_code == 404:
            continue
        path = tmp_path / f"{meter}.json"
        path.write_bytes(answer.content)
        result = verify_receipt(path, running.node.chain_url, running.folder.deployment)
        assert [link for link in result["links"] if link["verdict"] != "holds" and link["problems"]] == []
        assert result["ok"]
        document = answer.json()
        reading = document["sides"][0]["delivery"]["reading"]
        assert reading["export_wh"] - reading["import_wh"] == metered[meter]
        prices |= {(trade["seller"], trade["buyer"]): trade["price_cents_per_mwh"] for trade in document["trades"]}
    expected = {(SOLAR, BUY): LOW_CARBON_PRICE, (SOLAR, FLAT): DEAL_PRICE, (GREY, FLAT): ANY_PRICE}
    assert (prices == expected) is (mtu_start == MTU_START)
    assert prices
