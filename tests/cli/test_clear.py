"""`gridledger clear`: the pure auction over a file; one with anything wrong in it is refused, nothing is written."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.plain_auction import plain_clear
from typer.testing import CliRunner, Result

from gridledger.cli.application import create_cli
from gridledger.cli.auction import (
    HIGHEST_FILE_BYTES,
    OrderFileInvalid,
    OrderFileNotJson,
    OrderFileTooLarge,
    OrderFileUnreadable,
    auction_json,
    clear_file,
)
from gridledger.cli.operations import Operations
from gridledger.cli.output import OutputUnwritable
from gridledger.errors import GridLedgerError
from gridledger.market.auction import HIGHEST_ORDER_COUNT, AuctionOrder, BookTooLarge, DuplicateOrder
from gridledger.market.model import Side

BID = {"uid": "b", "side": "buy", "product": "any", "quantity_wh": 400, "limit_cents_per_mwh": 300}
OFFER = {"uid": "s", "side": "sell", "source": "other", "quantity_wh": 500, "limit_cents_per_mwh": -100}
GREEN_BID = BID | {"uid": "gb", "product": "low_carbon"}
GREEN_OFFER = OFFER | {"uid": "gs", "source": "low_carbon"}


def never(*_: object) -> Any:
    raise AssertionError("this command needs nothing of the application")


def run(*arguments: object) -> Result:
    cli = create_cli(Operations(**{operation.name: never for operation in fields(Operations)}))
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def document(*rows: object) -> str:
    return json.dumps({"orders": rows})


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return tmp_path / "orders.json"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.json"


def cleared(path: Path, *rows: object) -> dict[str, Any]:
    path.write_text(document(*rows))
    return auction_json(clear_file(path))


# --- what comes out -----------------------------------------------------------------------------------------------


def test_the_result_is_written_to_the_named_file(orders: Path, out: Path) -> None:
    orders.write_text(document(OFFER, BID))
    result = run("clear", "--orders", orders, "--json", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(out.read_text()) == {
        "prices": {"any": -100, "low_carbon": -100},
        "fills": {"s": 400, "b": 400},
        "welfare_microcents": 400 * (300 - -100),
    }


def test_without_a_file_the_result_goes_to_standard_output(orders: Path) -> None:
    orders.write_text(document(OFFER, BID))
    result = run("clear", "--orders", orders)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["fills"] == {"s": 400, "b": 400}


def test_separate_books_have_their_own_prices(orders: Path) -> None:
    result = cleared(orders, OFFER, BID, GREEN_BID, GREEN_OFFER | {"quantity_wh": 100})
    assert result["prices"] == {"any": -100, "low_carbon": 300}
    assert result["fills"] == {"s": 400, "b": 400, "gb": 100, "gs": 100}


def test_a_book_without_volume_has_no_price(orders: Path) -> None:
    nothing = {"prices": {"any": None, "low_carbon": None}, "fills": {}, "welfare_microcents": 0}
    assert cleared(orders) == nothing
    assert cleared(orders, BID) == nothing
    assert cleared(orders, OFFER, GREEN_BID) == nothing
    assert cleared(orders, OFFER, BID, GREEN_BID)["prices"] == {"any": -100, "low_carbon": None}
    assert cleared(orders, OFFER, GREEN_OFFER, GREEN_BID | {"quantity_wh": 600})["prices"] == {
        "any": None,
        "low_carbon": 300,
    }


def test_a_price_of_zero_is_written_as_zero(orders: Path) -> None:
    result = cleared(orders, OFFER | {"limit_cents_per_mwh": 0}, BID)
    assert result["prices"] == {"any": 0, "low_carbon": 0}


def test_an_offer_s_product_and_a_bid_s_source_mean_nothing(orders: Path) -> None:
    plain = cleared(orders, OFFER, BID, GREEN_BID)
    assert plain["fills"] == {"s": 400, "b": 400}
    for product, source in (("low_carbon", "low_carbon"), ("any", "other"), (None, None)):
        rows = (OFFER | {"product": product}, BID | {"source": source}, GREEN_BID | {"source": source})
        assert cleared(orders, *rows) == plain


def test_list_position_is_receipt_order(orders: Path) -> None:
    first, second = OFFER | {"uid": "1"}, OFFER | {"uid": "2"}
    assert cleared(orders, first, second, BID)["fills"] == {"1": 400, "b": 400}
    assert cleared(orders, second, first, BID)["fills"] == {"2": 400, "b": 400}


def test_any_text_is_a_uid(orders: Path) -> None:
    uid = "\u00e9 [red]\n\u0000\U0001f331"
    assert cleared(orders, OFFER | {"uid": uid}, BID | {"uid": ""})["fills"] == {uid: 400, "": 400}


def test_the_largest_numbers_are_taken_exactly(orders: Path) -> None:
    largest = {"quantity_wh": 2**40, "limit_cents_per_mwh": 10_000_000}
    result = cleared(orders, OFFER | largest | {"limit_cents_per_mwh": -10_000_000}, BID | largest)
    assert result["welfare_microcents"] == 2**40 * 20_000_000
    assert result["prices"]["any"] == 0


def test_files_of_windows_programs_are_read(orders: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        orders.write_text(document(OFFER, BID), encoding=encoding)
        assert clear_file(orders).fills_wh == {"s": 400, "b": 400}


rows = st.fixed_dictionaries(
    {
        "side": st.sampled_from(("buy", "sell")),
        "product": st.sampled_from(("any", "low_carbon")),
        "source": st.sampled_from(("other", "low_carbon")),
        "quantity_wh": st.integers(1, 20),
        "limit_cents_per_mwh": st.integers(-3, 3),
    }
)


@settings(max_examples=100, deadline=None)
@given(st.lists(rows, max_size=12))
def test_a_file_clears_as_its_orders_do(tmp_path_factory: pytest.TempPathFactory, found: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.getbasetemp() / "random.json"
    book = [
        AuctionOrder(
            uid=f"{index}",
            side=Side.BUY if row["side"] == "buy" else Side.SELL,
            low_carbon=row["product" if row["side"] == "buy" else "source"] == "low_carbon",
            quantity_wh=row["quantity_wh"],
            limit_cents_per_mwh=row["limit_cents_per_mwh"],
        )
        for index, row in enumerate(found)
    ]
    expected = plain_clear(book, -10_000_000, 10_000_000)
    result = cleared(path, *({"uid": f"{index}"} | row for index, row in enumerate(found)))
    assert result["fills"] == expected.fills_wh
    assert result["welfare_microcents"] == expected.welfare_microcents
    for price, name in ((expected.any, "any"), (expected.low_carbon, "low_carbon")):
        assert result["prices"][name] == (price.price_cents_per_mwh if price.volume_wh else None)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([BID | {"colour": "green"}], "orders.0.buy.colour"),
        ([OFFER, without(BID, "uid")], "orders.1.buy.uid"),
        ([without(BID, "side")], "orders.0"),
        ([without(BID, "product")], "orders.0.buy.product"),
        ([BID | {"product": None}], "orders.0.buy.product"),
        ([without(OFFER, "source")], "orders.0.sell.source"),
        ([without(OFFER, "source") | {"product": "low_carbon"}], "orders.0.sell.source"),
        ([without(BID, "quantity_wh")], "orders.0.buy.quantity_wh"),
        ([without(BID, "limit_cents_per_mwh")], "orders.0.buy.limit_cents_per_mwh"),
        ([BID | {"uid": 7}], "orders.0.buy.uid"),
        ([BID | {"uid": None}], "orders.0.buy.uid"),
        ([BID | {"side": "BUY"}], "orders.0"),
        ([BID | {"side": 0}], "orders.0"),
        ([BID | {"product": "green"}], "orders.0.buy.product"),
        ([OFFER | {"source": "solar"}], "orders.0.sell.source"),
        ([OFFER | {"product": "green"}], "orders.0.sell.product"),
        ([BID | {"quantity_wh": True}], "orders.0.buy.quantity_wh"),
        ([BID | {"quantity_wh": 1.0}], "orders.0.buy.quantity_wh"),
        ([BID | {"quantity_wh": "1"}], "orders.0.buy.quantity_wh"),
        ([BID | {"quantity_wh": None}], "orders.0.buy.quantity_wh"),
        ([BID | {"quantity_wh": 0}], "orders.0.buy.quantity_wh"),
        ([BID | {"quantity_wh": -1}], "orders.0.buy.quantity_wh"),
        ([BID | {"quantity_wh": 2**40 + 1}], "orders.0.buy.quantity_wh"),
        ([BID | {"quantity_wh": 10**100}], "orders.0.buy.quantity_wh"),
        ([BID | {"limit_cents_per_mwh": False}], "orders.0.buy.limit_cents_per_mwh"),
        ([BID | {"limit_cents_per_mwh": 0.5}], "orders.0.buy.limit_cents_per_mwh"),
        ([BID | {"limit_cents_per_mwh": 10_000_001}], "orders.0.buy.limit_cents_per_mwh"),
        ([OFFER | {"limit_cents_per_mwh": -10_000_001}], "orders.0.sell.limit_cents_per_mwh"),
        ([OFFER, 5], "orders.1"),
        ([None], "orders.0"),
        ([[]], "orders.0"),
    ],
)
def test_a_wrong_order_is_refused_and_its_place_named(orders: Path, rows: list[object], place: str) -> None:
    orders.write_text(document(*rows))
    with pytest.raises(OrderFileInvalid) as refusal:
        clear_file(orders)
    assert refusal.value.place == place
    assert refusal.value.problem


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", ""),
        ("null", ""),
        ("{}", "orders"),
        ('{"orders": {}}', "orders"),
        ('{"orders": null}', "orders"),
        ('{"orders": [], "floor": 0}', "floor"),
    ],
    ids=["a list", "null", "no orders", "an object", "orders of null", "something more"],
)
def test_a_document_of_another_shape_is_refused(orders: Path, text: str, place: str) -> None:
    orders.write_text(text)
    with pytest.raises(OrderFileInvalid) as refusal:
        clear_file(orders)
    assert refusal.value.place == place


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\x1f\x8b\x08\x00",
        b'{"orders": [\xff]}',
        b'{"orders": [NaN]}',
        b'{"orders": [-Infinity]}',
        b'{"orders": []} {}',
        b"[" * 100_000,
        b'{"orders": [' + b"9" * 5_000 + b"]}",
        b'{"orders": [], "orders": []}',
        document(BID).replace('"quantity_wh": 400', '"quantity_wh": 400, "quantity_wh": 4').encode(),
    ],
    ids=["empty", "cut", "packed", "bytes", "NaN", "infinite", "two", "deep", "long", "list twice", "quantity twice"],
)
def test_what_is_not_json_is_refused(orders: Path, text: bytes) -> None:
    orders.write_bytes(text)
    with pytest.raises(OrderFileNotJson):
        clear_file(orders)


def test_one_order_too_many_is_refused(orders: Path) -> None:
    orders.write_text('{"orders": [' + "0," * HIGHEST_ORDER_COUNT + "0]}")
    with pytest.raises(BookTooLarge) as refusal:
        clear_file(orders)
    assert refusal.value.order_count == HIGHEST_ORDER_COUNT + 1


def test_a_uid_that_stands_twice_is_refused(orders: Path) -> None:
    with pytest.raises(DuplicateOrder) as refusal:
        cleared(orders, OFFER, BID, OFFER | {"quantity_wh": 1})
    assert refusal.value.uid == "s"


def test_a_file_larger_than_its_limit_is_refused(orders: Path) -> None:
    with orders.open("wb") as sparse:
        sparse.truncate(HIGHEST_FILE_BYTES + 1)
    with pytest.raises(OrderFileTooLarge):
        clear_file(orders)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json"):
        with pytest.raises(OrderFileUnreadable):
            clear_file(path)


def test_a_refused_file_leaves_an_earlier_result_as_it_was(orders: Path, out: Path) -> None:
    out.write_text("earlier")
    orders.write_text(document(OFFER, BID | {"quantity_wh": 0}))
    result = run("clear", "--orders", orders, "--json", out)
    assert isinstance(result.exception, OrderFileInvalid)
    assert (result.exit_code, result.stdout, out.read_text()) == (1, "", "earlier")


def test_a_result_that_cannot_be_written_is_a_typed_error(orders: Path, tmp_path: Path) -> None:
    orders.write_text(document(OFFER, BID))
    result = run("clear", "--orders", orders, "--json", tmp_path / "absent" / "out.json")
    assert isinstance(result.exception, OutputUnwritable)
    assert isinstance(result.exception, GridLedgerError)


def test_an_absent_file_is_a_usage_error(tmp_path: Path) -> None:
    assert run("clear", "--orders", tmp_path / "absent.json").exit_code == 2
    assert run("clear").exit_code == 2


# --- the command as a process -------------------------------------------------------------------------------------


def test_a_typed_error_is_one_line_and_exit_status_1(orders: Path) -> None:
    orders.write_text(document(BID | {"quantity_wh": True}))
    command = [sys.executable, "-m", "gridledger.app.main", "clear", "--orders", str(orders)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error order-file-invalid: ")
    assert "orders.0.buy.quantity_wh" in result.stderr
    assert result.stderr.count("\n") == 1


def test_on_a_terminal_the_result_is_a_table(orders: Path) -> None:
    orders.write_text(document(OFFER, BID, GREEN_BID))
    command = [sys.executable, "-m", "gridledger.app.main", "clear", "--orders", str(orders)]
    ours, theirs = pty.openpty()
    subprocess.run(command, stdout=theirs, timeout=120, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "low_carbon" in shown
    assert "-100" in shown
    assert "0.4 kWh" in shown
    assert "{" not in shown
