"""One pair of orders through everything: book, clearing, lock, dispatch, delivery, settlement, tokens, proofs.

Prices: 15,000 cents per MWh between an offer at 10,000 and a bid at 20,000; feed-in 8,000, retail 32,000, surplus
7,500, shortage 32,500; grid fee 2,000 less 1,000 for solar energy. The seller delivers 700 of 600 Wh, the buyer takes
650. Every figure below follows by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from tests.api.running import (
    BUY_METER,
    BUYER,
    EUR,
    MTU_START,
    SEED,
    SELL_METER,
    SELLER,
    RunningNode,
    key,
    make_folder,
    served,
)

from gridledger.market.model import Side
from gridledger.market.receipts import receipt_typed_data
from gridledger.metering.merkle import leaf
from gridledger.metering.salts import SeededSalts

TRADE = 600 * 15_000
FEE = 600 * 1_000
SELLER_LOCK, BUYER_LOCK = 600 * (32_500 - 15_000), 600 * 15_000 + FEE
SELLER_SURPLUS, BUYER_SHORTAGE = 100 * 7_500, 50 * 32_500
AVOIDED_UGCO2 = 600 * (363_000 - 41_000)
SUPPLIER, OPERATOR = key("supplier"), key("grid_operator")


@dataclass
class Played:
    """What the API said at each step."""

    running: RunningNode
    receipts: list[dict[str, Any]]
    money: dict[str, list[int]]
    orders: dict[str, list[str]]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Played]:
    """The pair, from onboarding to settlement."""
    folder = make_folder(tmp_path_factory.mktemp("pair") / "data", keys)
    with served(folder) as running:
        running.onboard()
        accounts = {"seller": SELLER, "buyer": BUYER, "supplier": SUPPLIER, "operator": OPERATOR}
        story = Played(running, [], {name: [] for name in accounts}, {"sell": [], "buy": []})

        def look() -> None:
            for name, account in accounts.items():
                story.money[name].append(running.free(account))
            for name, receipt in zip(story.orders, story.receipts, strict=False):
                story.orders[name].append(running.get(f"/v1/orders/{receipt['uid']}")["state"])

        look()
        story.receipts = [running.accept(running.order(side)) for side in (Side.SELL, Side.BUY)]
        look()
        running.advance(MTU_START - 300)
        look()
        running.answer()
        look()
        running.deliver({SELL_METER: 700, BUY_METER: -650})
        look()
        yield story


def test_money_moves_to_the_microcent(played: Played) -> None:
    assert played.money == {
        "seller": [
            10 * EUR,
            10 * EUR,
            10 * EUR - SELLER_LOCK,
            10 * EUR - SELLER_LOCK,
            10 * EUR + TRADE + SELLER_SURPLUS,
        ],
        "buyer": [
            10 * EUR,
            10 * EUR,
            10 * EUR - BUYER_LOCK,
            10 * EUR - BUYER_LOCK,
            10 * EUR - TRADE - FEE - BUYER_SHORTAGE,
        ],
        "supplier": [100 * EUR] * 4 + [100 * EUR - SELLER_SURPLUS + BUYER_SHORTAGE],
        "operator": [0, 0, 0, 0, FEE],
    }


def test_no_microcent_is_made_or_lost(played: Played) -> None:
    assert sum(series[-1] for series in played.money.values()) == 120 * EUR


def test_the_api_says_what_the_contract_says(played: Played) -> None:
    for account in (SELLER, BUYER, SUPPLIER, OPERATOR):
        free, credit = played.running.view("EnergyTrading", "accountOf", account.address)
        told = played.running.participant(account)
        assert (told["free_microcents"], told["credit_microcents"]) == (str(free), str(credit))
    assert played.running.view("EnergyTrading", "escrowMicrocents") == (0,)


def test_the_orders_live_from_open_to_settled(played: Played) -> None:
    assert played.orders == {side: ["open", "locked", "locked", "settled"] for side in ("sell", "buy")}
    for receipt in played.receipts:
        assert played.running.get(f"/v1/orders/{receipt['uid']}")["filled_wh"] == 600


def test_the_mtu_is_settled_at_the_midpoint_with_its_reference_price(played: Played) -> None:
    record = played.running.mtu()
    assert (record["phase"], record["price_cents_per_mwh"], record["traded_wh"]) == ("settled", 15_000, 600)
    assert (record["supply_wh"], record["demand_wh"], record["reference_price_cents_per_mwh"]) == (600, 600, 8_000)
    assert (record["orders"], record["failure"]) == (2, None)


def test_the_summary_counts_the_trade_its_dispatch_and_its_tokens(played: Played) -> None:
    summary = played.running.get("/v1/market/summary")
    assert (summary["meters"], summary["orders"], summary["trades"], summary["traded_wh"]) == (2, 2, 1, 600)
    assert (summary["mtu_phases"], summary["dispatch"]) == ({"settled": 1}, {"acknowledged": 1})
    assert summary["tokens_minted_ugco2"] == AVOIDED_UGCO2
    assert (summary["open_transactions"], summary["failed_transactions"]) == (0, [])
    assert summary["gas_used"] > 21_000


def test_the_tokens_lie_with_seller_and_buyer_by_halves(played: Played) -> None:
    for account in (SELLER, BUYER):
        assert played.running.view("LowCarbonToken", "balanceOf", account.address) == (AVOIDED_UGCO2 // 2,)
    assert played.running.view("LowCarbonToken", "totalSupply") == (AVOIDED_UGCO2,)


@pytest.mark.parametrize(("number", "uid"), [(1, 0), (2, 1)])
def test_a_receipt_is_the_market_operator_s_signature_over_uid_number_moment_and_block(
    played: Played, number: int, uid: int
) -> None:
    receipt = played.receipts[uid]["receipt"]
    assert (receipt["order_uid"], receipt["running_number"]) == (played.receipts[uid]["uid"], number)
    document = receipt_typed_data(
        played.running.order_domain,
        receipt["order_uid"],
        receipt["running_number"],
        receipt["received_at"],
        receipt["block_hash"],
    )
    signer = Account.recover_message(encode_typed_data(full_message=document), signature=receipt["signature"])
    assert signer == key("market_operator").address == played.running.facts["accounts"]["market_operator"]


@pytest.mark.parametrize(("meter", "import_wh", "export_wh"), [(SELL_METER, 0, 700), (BUY_METER, 650, 0)])
def test_a_proof_verifies_on_chain_for_the_true_reading_and_for_no_other(
    played: Played, meter: int, import_wh: int, export_wh: int
) -> None:
    proof = played.running.get(f"/v1/proofs/readings/{meter}/{MTU_START}")
    salt = SeededSalts(f"replay seed {SEED:064d}".encode()).salt_for(meter, MTU_START)
    assert proof["leaf"] == "0x" + leaf(meter, MTU_START, import_wh, export_wh, salt).hex()
    path = [bytes.fromhex(step[2:]) for step in proof["proof"]]

    def verified(own_meter: int, imported: int, exported: int, own_salt: bytes) -> bool:
        (answer,) = played.running.view(
            "MeterLedger", "verify", proof["sequence"], own_meter, MTU_START, imported, exported, own_salt, path
        )
        return bool(answer)

    assert verified(meter, import_wh, export_wh, salt)
    assert not verified(meter, import_wh + 1, export_wh, salt)
    assert not verified(meter, import_wh, export_wh + 1, salt)
    assert not verified(3 - meter, import_wh, export_wh, salt)
    assert not verified(meter, import_wh, export_wh, bytes(32))


def test_a_proof_shows_no_energy(played: Played) -> None:
    proof = played.running.get(f"/v1/proofs/readings/{SELL_METER}/{MTU_START}")
    assert sorted(proof) == ["leaf", "meter", "mtu_start", "proof", "root", "sequence", "zone"]


def test_every_relayed_transaction_was_mined(played: Played) -> None:
    memory = played.running.memory()
    states = {row[10] for row in memory["outbox"]}
    assert states == {"mined"}
    transaction_hash = next(row[9] for row in memory["outbox"] if row[1] == "RelayedTransaction")
    told = played.running.get(f"/v1/transactions/{transaction_hash}")
    assert (told["state"], told["error"], told["kind"]) == ("mined", None, "RelayedTransaction")
    assert told["block_number"] > 1


def test_a_member_s_page_says_supplier_meters_nonce_and_no_debts(played: Played) -> None:
    told = played.running.participant(SELLER)
    assert (told["supplier"], told["meters"], told["suspended"]) == (SUPPLIER.address, [SELL_METER], False)
    assert (told["committed_microcents"], told["debts_microcents"]) == ("0", {})
    assert told["next_nonce"] == played.running.nonces[SELLER.address] == 2


def test_the_same_seed_gives_the_same_chain(played: Played, tmp_path: Path, keys: Path) -> None:
    """Signatures, salts and blocks follow from seed and times, so a repeated run ends in the same block."""
    with served(make_folder(tmp_path / "again", keys)) as again:
        again.onboard()
        again.pair()
        again.answer()
        again.deliver({SELL_METER: 700, BUY_METER: -650})
        assert again.get("/v1/market")["block"] == played.running.get("/v1/market")["block"]
