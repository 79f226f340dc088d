"""Whoever holds a trade receipt checks it against the chain alone; each link that was changed fails by its name."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.running import BUY_METER, MTU_START, SELL_METER, Onboarded, RunningNode
from tests.app.receipts import OTHER_ADDRESS, OTHER_HASH, REASON, Document, altered, fetched, links, verified
from typer.testing import CliRunner

from gridledger.api.receipt_forms import LARGEST_RECEIPT_BYTES, ReceiptUnreadable
from gridledger.app.main import _operations
from gridledger.app.receipt_run import verify_receipt
from gridledger.chain.deployment import DeploymentMismatch
from gridledger.chain.rpc import RpcUnreachable
from gridledger.cli.application import create_cli
from gridledger.market.model import Side


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A deal of 100 Wh and 500 Wh by auction: acknowledged, delivered, settled, rewarded."""
    with onboarded.served(tmp_path_factory.mktemp("receipts") / "data") as running:
        offer = running.accept(running.order(Side.SELL))["uid"]
        running.deal(offer)
        running.accept(running.order(Side.BUY))
        running.advance(MTU_START - 300)
        running.answer()
        running.deliver({SELL_METER: 700, BUY_METER: -650})
        yield running


@pytest.fixture(scope="module")
def whole(settled: RunningNode) -> Document:
    """What the regulator is told."""
    return fetched(settled, "regulator", meter=SELL_METER, reason=REASON)


def test_every_link_of_an_untouched_receipt_holds(settled: RunningNode, whole: Document, tmp_path: Path) -> None:
    result = verified(settled, whole, tmp_path, settled.folder.deployment)
    assert (result["ok"], links(result, "fails"), links(result, "open")) == (True, [], [])
    assert result["contracts_named_by"] == "the deployment record"
    uids = [(side["meter"], order["uid"]) for side in whole["sides"] for order in side["orders"]["orders"]]
    assert len(uids) == 3
    assert links(result, "holds") == [
        "chain",
        "contracts",
        "book",
        "clearing, chunk 0",
        "trade 0-0",
        "trade 0-1",
        *(f"order {uid} of meter {meter}" for meter, uid in uids),
        "schedule",
        "answer 1",
        *(
            f"{link} {meter}{version}"
            for meter in (SELL_METER, BUY_METER)
            for link, version in (
                ("meter", ""),
                ("delivery of meter", ""),
                ("settlement of meter", ", version 0"),
                ("tokens of meter", ", 1"),
            )
        ),
    ]


@pytest.mark.parametrize("role", [None, "grid_operator"])
def test_a_receipt_with_withheld_links_holds_too(settled: RunningNode, tmp_path: Path, role: str | None) -> None:
    result = verified(settled, fetched(settled, role, meter=BUY_METER), tmp_path)
    assert (result["ok"], links(result, "fails"), links(result, "open")) == (True, [], [])
    assert result["contracts_named_by"] == "the receipt"


def test_of_what_is_still_missing_nothing_is_claimed(onboarded: Onboarded, tmp_path: Path) -> None:
    with onboarded.served(tmp_path / "data") as market:
        market.pair()
        result = verified(market, fetched(market, meter=SELL_METER), tmp_path)
        assert result["ok"]
        assert set(links(result, "open")) == {
            "answer",
            *(f"{link} of meter {meter}" for meter in (1, 2) for link in ("delivery", "settlement", "tokens")),
        }
        market.stop(reason=3)
        result = verified(market, fetched(market, meter=SELL_METER), tmp_path)
        assert result["ok"]
        assert {"answer 1", "settlement of meter 1, version 0"} <= set(links(result, "holds"))


# ---- each link, changed

SELL, BUY = 0, 1
TAMPERED: tuple[tuple[str, tuple[str | int, ...], object], ...] = (
    ("chain", ("chain", "chain_id"), 1),
    ("chain", ("chain", "genesis_hash"), OTHER_HASH),
    ("contracts", ("chain", "contracts", "EnergyTrading"), OTHER_ADDRESS),
    ("book", ("book", "book_hash"), OTHER_HASH),
    ("book", ("book", "order_count"), 4),
    ("book", ("book", "recorded", "transaction_hash"), OTHER_HASH),
    ("book", ("book", "recorded", "block_number"), 1),
    ("book", ("book", "recorded", "block_hash"), OTHER_HASH),
    ("book", ("book", "recorded", "log_index"), 77),
    ("clearing, chunk 0", ("clearing", "chunks", 0, "any_price_cents_per_mwh"), 15_001),
    ("clearing, chunk 0", ("clearing", "chunks", 0, "low_carbon_price_cents_per_mwh"), 15_001),
    ("clearing, chunk 0", ("clearing", "chunks", 0, "traded_wh"), 601),
    ("clearing, chunk 0", ("clearing", "chunks", 0, "last"), False),
    ("clearing, chunk 0", ("clearing", "chunks", 0, "recorded", "block_hash"), OTHER_HASH),
    ("trade 0-0", ("trades", 0, "energy_wh"), 101),
    ("trade 0-0", ("trades", 0, "price_cents_per_mwh"), 15_000),
    ("trade 0-0", ("trades", 0, "kind"), "auction"),
    ("trade 0-1", ("trades", 1, "energy_wh"), 501),
    ("trade 0-1", ("trades", 1, "price_cents_per_mwh"), 10_000),
    ("trade 0-1", ("trades", 1, "seller"), BUY_METER),
    ("trade 0-1", ("trades", 1, "recorded", "log_index"), 0),
    ("trade 1-1", ("trades", 1, "chunk"), 1),
    ("order", ("sides", SELL, "orders", "orders", 0, "uid"), OTHER_HASH),
    ("order", ("sides", SELL, "orders", "orders", 0, "book_position"), 1),
    ("order", ("sides", SELL, "orders", "orders", 0, "book_position"), -1),
    ("order", ("sides", SELL, "orders", "orders", 0, "running_number"), 9),
    ("order", ("sides", SELL, "orders", "orders", 0, "filled_wh"), 599),
    ("order", ("sides", SELL, "orders", "orders", 0, "order", "limit_cents_per_mwh"), 10_001),
    ("order", ("sides", SELL, "orders", "orders", 0, "order", "owner"), OTHER_ADDRESS),
    ("order", ("sides", SELL, "orders", "orders", 0, "signature"), "0x" + "11" * 65),
    ("order", ("sides", SELL, "orders", "orders", 0, "receipt"), None),
    ("order", ("sides", SELL, "orders", "orders", 0, "receipt", "received_at"), 1),
    ("order", ("sides", SELL, "orders", "orders", 0, "receipt", "running_number"), 9),
    ("order", ("sides", SELL, "orders", "orders", 0, "receipt", "order_uid"), OTHER_HASH),
    ("order", ("sides", SELL, "orders", "orders", 0, "receipt", "block_hash"), OTHER_HASH),
    ("order", ("sides", SELL, "orders", "orders", 0, "receipt", "signature"), "0x"),
    ("order", ("sides", BUY, "orders", "orders", 0, "acceptance", "quantity_wh"), 99),
    ("order", ("sides", BUY, "orders", "orders", 1, "order", "salt"), "99"),
    ("schedule", ("schedule", "schedule_hash"), OTHER_HASH),
    ("schedule", ("schedule", "setpoints_root"), OTHER_HASH),
    ("schedule", ("schedule", "traded_wh"), 599),
    ("schedule", ("schedule", "answer_deadline"), 1),
    ("schedule", ("schedule", "recorded", "transaction_hash"), OTHER_HASH),
    ("answer 1", ("answers", "answers", 0, "kind"), "curtailed"),
    ("answer 1", ("answers", "answers", 0, "reason"), 1),
    ("answer 1", ("answers", "answers", 0, "grid_operator"), OTHER_ADDRESS),
    ("answer 1", ("answers", "answers", 0, "signature"), "0x" + "11" * 65),
    ("answer 1", ("answers", "answers", 0, "recorded", "block_number"), 1),
    ("meter 1", ("sides", SELL, "owner"), OTHER_ADDRESS),
    ("delivery of meter 1", ("sides", SELL, "delivery", "delivered_wh"), 701),
    ("delivery of meter 1", ("sides", SELL, "delivery", "reading", "export_wh"), 701),
    ("delivery of meter 1", ("sides", SELL, "delivery", "reading", "salt"), OTHER_HASH),
    ("delivery of meter 1", ("sides", SELL, "delivery", "reading", "salt"), "salt"),
    ("delivery of meter 1", ("sides", SELL, "delivery", "reading", "leaf"), OTHER_HASH),
    ("delivery of meter 1", ("sides", SELL, "delivery", "reading", "path", 0), OTHER_HASH),
    ("delivery of meter 1", ("sides", SELL, "delivery", "reading", "root"), OTHER_HASH),
    ("delivery of meter 1", ("sides", SELL, "delivery", "reading", "sequence"), 1),
    ("delivery of meter 2", ("sides", BUY, "delivery", "reading", "recorded", "block_hash"), OTHER_HASH),
    ("settlement of meter 1, version 0", ("sides", SELL, "settlement", "versions", 0, "amount_microcents"), "1"),
    ("settlement of meter 1, version 0", ("sides", SELL, "settlement", "versions", 0, "energy_wh"), 600),
    ("settlement of meter 1, version 0", ("sides", SELL, "settlement", "versions", 0, "kind"), "refunded"),
    ("settlement of meter 1, version 0", ("sides", SELL, "settlement", "versions", 0, "kind"), "paid"),
    ("settlement of meter 1, version 0", ("sides", SELL, "settlement", "versions", 0, "chunk"), 1),
    ("settlement of meter 1, version 1", ("sides", SELL, "settlement", "versions", 0, "version"), 1),
    ("tokens of meter 1, 1", ("sides", SELL, "tokens", "grants", 0, "amount_ugco2"), "1"),
    ("tokens of meter 1, 1", ("sides", SELL, "tokens", "grants", 0, "kind"), "owed"),
    ("tokens of meter 2, 1", ("sides", BUY, "tokens", "grants", 0, "kind"), "given"),
)


@pytest.mark.parametrize(("link", "path", "value"), TAMPERED, ids=[".".join(map(str, path)) for _, path, _ in TAMPERED])
def test_a_link_that_was_changed_fails_by_its_name(
    settled: RunningNode, whole: Document, tmp_path: Path, link: str, path: tuple[str | int, ...], value: object
) -> None:
    result = verified(settled, altered(whole, path, value), tmp_path)
    assert not result["ok"]
    failed = links(result, "fails")
    assert any(name.startswith(link) for name in failed), failed


def test_another_trade_s_place_is_no_place_of_this_one(settled: RunningNode, whole: Document, tmp_path: Path) -> None:
    document = copy.deepcopy(whole)
    first, second = document["trades"]
    first["recorded"], second["recorded"] = second["recorded"], first["recorded"]
    assert links(verified(settled, document, tmp_path), "fails") == ["trade 0-0", "trade 0-1"]


def test_a_schedule_that_the_chain_has_cannot_be_denied(settled: RunningNode, whole: Document, tmp_path: Path) -> None:
    document = copy.deepcopy(whole)
    nothing = dict.fromkeys(("schedule_hash", "setpoints_root", "traded_wh", "answer_deadline", "recorded"))
    document["schedule"] = {"state": "pending", "why": "not yet", **nothing}
    assert "schedule" in links(verified(settled, document, tmp_path), "fails")


# ---- files and endpoints


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "Field required"),
        (b" " * (LARGEST_RECEIPT_BYTES + 1), "longer than"),
    ],
    ids=["empty", "deep", "hollow", "long"],
)
def test_a_file_that_is_no_receipt_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_bytes(content)
    with pytest.raises(ReceiptUnreadable, match=reason):
        verify_receipt(path, "http://127.0.0.1:9", None)


def test_words_that_no_check_covers_are_refused(settled: RunningNode, whole: Document, tmp_path: Path) -> None:
    with pytest.raises(ReceiptUnreadable, match="no part of a receipt"):
        verified(settled, whole | {"certified_by": "nobody"}, tmp_path)
    with pytest.raises(ReceiptUnreadable, match="format"):
        verified(settled, whole | {"format": "gridledger-trade-receipt/2"}, tmp_path)


def test_an_endpoint_that_does_not_answer_is_told(whole: Document, tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(whole))
    with pytest.raises(RpcUnreachable):
        verify_receipt(path, "http://127.0.0.1:9", None)


def test_contracts_of_another_deployment_are_refused(settled: RunningNode, whole: Document, tmp_path: Path) -> None:
    record = json.loads(settled.folder.deployment.read_text())
    record["addresses"]["EnergyTrading"] = OTHER_ADDRESS
    other = tmp_path / "deployment.json"
    other.write_text(json.dumps(record))
    with pytest.raises(DeploymentMismatch) as refused:
        verified(settled, whole, tmp_path, other)
    assert refused.value.field == "address of EnergyTrading"


def test_the_command_says_which_link_fails_and_exits_with_one(
    settled: RunningNode, whole: Document, tmp_path: Path
) -> None:
    document = copy.deepcopy(whole)
    assert command(settled, document, tmp_path) == (0, [])
    document["schedule"]["traded_wh"] = 599
    status, failing = command(settled, document, tmp_path)
    assert (status, failing) == (1, ["fails  schedule"])


def command(market: RunningNode, document: Document, folder: Path) -> tuple[int, list[str]]:
    """Exit status of the command, and the lines that tell of failing links."""
    path = folder / "receipt.json"
    path.write_text(json.dumps(document))
    run = CliRunner().invoke(
        create_cli(_operations()), ["receipt", "verify", str(path), "--rpc", market.node.chain_url]
    )
    return run.exit_code, [line for line in run.output.splitlines() if line.startswith("fails")]
