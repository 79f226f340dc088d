"""Receipts of trades that were curtailed or stopped: each of the grid operator's words is checked against the chain."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.running import BUY_METER, MTU_START, SELL_METER, Onboarded, RunningNode
from tests.app.receipts import (
    OTHER_ADDRESS,
    OTHER_HASH,
    REASON,
    Document,
    altered,
    fetched,
    links,
    verified,
)

from gridledger.market.model import Side

STOP_TAMPERED: tuple[tuple[tuple[str | int, ...], object], ...] = (
    (("kind",), "curtailed"),
    (("reason",), 3),
    (("stop",), None),
    (("stop", "first_mtu_start"), MTU_START),
    (("stop", "last_mtu_start"), MTU_START),
    (("signature",), "0x" + "11" * 65),
    (("grid_operator",), OTHER_ADDRESS),
    (("recorded", "log_index"), 55),
)
_FIRST: tuple[str | int, ...] = ("answers", "answers", 0)
_LAST: tuple[str | int, ...] = ("answers", "answers", 1)
_CHUNK: tuple[str | int, ...] = ("clearing", "chunks", 0, "caps")
_DEAL: tuple[str | int, ...] = ("trades", 0, "curtailment")
_AUCTION: tuple[str | int, ...] = ("trades", 1, "curtailment")
CUT: tuple[tuple[str, tuple[str | int, ...], object], ...] = (
    ("answer 1", (*_FIRST, "kind"), "acknowledged"),
    ("answer 1", (*_FIRST, "reason"), 2),
    ("answer 1", (*_FIRST, "grid_operator"), OTHER_ADDRESS),
    ("answer 1", (*_FIRST, "signature"), "0x" + "11" * 65),
    ("answer 1", (*_FIRST, "signature"), None),
    ("answer 1", (*_FIRST, "stop"), {"first_mtu_start": MTU_START, "last_mtu_start": MTU_START}),
    ("answer 1", (*_FIRST, "curtailment"), None),
    ("answer 1", (*_FIRST, "curtailment", "direction"), "import"),
    ("answer 1", (*_FIRST, "curtailment", "emergency"), True),
    ("answer 1", (*_FIRST, "curtailment", "sequence"), 1),
    ("answer 1", (*_FIRST, "curtailment", "order_check"), "broken"),
    ("answer 1", (*_FIRST, "curtailment", "caps_hash"), OTHER_HASH),
    ("answer 1", (*_FIRST, "curtailment", "caps"), []),
    ("answer 1", (*_FIRST, "curtailment", "caps", 0, "meter"), BUY_METER),
    ("answer 1", (*_FIRST, "curtailment", "caps", 0, "cap_wh"), 401),
    ("answer 1", (*_FIRST, "recorded", "block_hash"), OTHER_HASH),
    ("answer 2", (*_LAST, "curtailment", "caps", 0, "cap_wh"), 51),
    ("answer 2", (*_LAST, "curtailment", "caps_hash"), OTHER_HASH),
    ("answer 2", (*_LAST, "curtailment", "sequence"), 0),
    ("answer 2", (*_LAST, "curtailment", "emergency"), False),
    ("caps of chunk 0", _CHUNK, None),
    ("caps of chunk 0", (*_CHUNK, "curtailed_wh"), 549),
    ("caps of chunk 0", (*_CHUNK, "low_carbon_wh"), 0),
    ("caps of chunk 0", (*_CHUNK, "refunded_microcents"), "1"),
    ("caps of chunk 0", (*_CHUNK, "compensated_microcents"), "1"),
    ("caps of chunk 0", (*_CHUNK, "recorded", "log_index"), 0),
    ("curtailment of trade 0-0", _DEAL, None),
    ("curtailment of trade 0-0", (*_DEAL, "curtailed_wh"), 49),
    ("curtailment of trade 0-0", (*_DEAL, "left_wh"), 51),
    ("curtailment of trade 0-0", (*_DEAL, "seller_refund_microcents"), "1"),
    ("curtailment of trade 0-0", (*_DEAL, "buyer_refund_microcents"), "1"),
    ("curtailment of trade 0-0", (*_DEAL, "compensation_microcents"), "1"),
    ("curtailment of trade 0-0", (*_DEAL, "borne_by"), "buyer"),
    ("curtailment of trade 0-0", (*_DEAL, "recorded", "log_index"), 1),
    ("curtailment of trade 0-1", (*_AUCTION, "left_wh"), 1),
    ("curtailment of trade 0-1", (*_AUCTION, "curtailed_wh"), 499),
    ("curtailment of trade 0-1", (*_AUCTION, "recorded", "transaction_hash"), OTHER_HASH),
)


@pytest.fixture(scope="module")
def curtailed(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A deal of 100 Wh and 500 Wh by auction, capped to 400 Wh and then in an emergency to 50 Wh; settled."""
    with onboarded.served(tmp_path_factory.mktemp("curtailed") / "data") as running:
        offer = running.accept(running.order(Side.SELL))["uid"]
        running.deal(offer)
        running.accept(running.order(Side.BUY))
        running.advance(MTU_START - 300)
        running.curtail({SELL_METER: 400})
        running.curtail({SELL_METER: 50}, emergency=True, sequence=1)
        running.deliver({SELL_METER: 50, BUY_METER: -600})
        yield running


@pytest.fixture(scope="module")
def cut(curtailed: RunningNode) -> Document:
    """What the regulator is told of it."""
    return fetched(curtailed, "regulator", meter=SELL_METER, reason=REASON)


def test_every_link_of_a_curtailed_trade_holds(curtailed: RunningNode, cut: Document, tmp_path: Path) -> None:
    result = verified(curtailed, cut, tmp_path, curtailed.folder.deployment)
    assert (result["ok"], links(result, "fails")) == (True, [])
    held = links(result, "holds")
    for link in ("answer 1", "answer 2", "caps of chunk 0", "curtailment of trade 0-0", "curtailment of trade 0-1"):
        assert link in held
    answers = cut["answers"]["answers"]
    assert [answer["kind"] for answer in answers] == ["curtailed", "curtailed"]
    (_, emergency) = (answer["curtailment"] for answer in answers)
    assert (emergency["direction"], emergency["emergency"], emergency["sequence"]) == ("export", True, 1)
    assert emergency["caps"] == [{"meter": SELL_METER, "cap_wh": 50}]
    deal, auction = (trade["curtailment"] for trade in cut["trades"])
    assert (deal["curtailed_wh"], deal["left_wh"]) == (50, 50)
    assert (auction["curtailed_wh"], auction["left_wh"]) == (500, 0)
    refunded = sum(int(one[f"{side}_refund_microcents"]) for one in (deal, auction) for side in ("seller", "buyer"))
    assert cut["clearing"]["chunks"][0]["caps"]["refunded_microcents"] == str(refunded)
    assert auction["borne_by"] == "grid_operator"
    assert auction["compensation_microcents"] == str(500 * (32_500 - 20_000))


def test_a_trade_below_the_cap_is_not_curtailed(onboarded: Onboarded, tmp_path: Path) -> None:
    with onboarded.served(tmp_path / "data") as market:
        offer = market.accept(market.order(Side.SELL))["uid"]
        market.deal(offer)
        market.accept(market.order(Side.BUY))
        market.advance(MTU_START - 300)
        market.curtail({SELL_METER: 250})
        early = fetched(market, meter=BUY_METER)
        assert early["clearing"]["chunks"][0]["caps"] is None
        assert verified(market, early, tmp_path)["ok"]
        market.advance(MTU_START + 900)
        document = fetched(market, meter=BUY_METER)
        assert [trade["curtailment"] is None for trade in document["trades"]] == [True, False]
        assert verified(market, document, tmp_path)["ok"]
        assert links(verified(market, early, tmp_path), "fails") == ["caps of chunk 0"]


def test_a_stop_of_several_mtus_is_an_answer_to_each_and_voids_the_trade(onboarded: Onboarded, tmp_path: Path) -> None:
    with onboarded.served(tmp_path / "data") as market:
        before = MTU_START - 900
        assert market.post("/v1/dispatch/stops", market.stop_body(before, 4, count=3)).status_code == 202
        market.work()
        market.pair()
        document = fetched(market, "grid_operator", meter=SELL_METER)
        (answer,) = document["answers"]["answers"]
        assert answer["stop"] == {"first_mtu_start": before, "last_mtu_start": MTU_START + 900}
        assert answer["signature"] is not None
        assert document["sides"][0]["settlement"]["state"] == "void"
        result = verified(market, document, tmp_path)
        assert (result["ok"], "answer 1" in links(result, "holds")) == (True, True)
        for path, value in STOP_TAMPERED:
            changed = altered(document, ("answers", "answers", 0, *path), value)
            assert links(verified(market, changed, tmp_path), "fails") == ["answer 1"], path


@pytest.mark.parametrize(("link", "path", "value"), CUT, ids=[".".join(map(str, path)) for _, path, _ in CUT])
def test_a_curtailment_that_was_changed_fails_by_its_link_s_name(
    curtailed: RunningNode, cut: Document, tmp_path: Path, link: str, path: tuple[str | int, ...], value: object
) -> None:
    assert link in links(verified(curtailed, altered(cut, path, value), tmp_path), "fails")


def test_a_curtailment_that_the_chain_has_cannot_be_denied(
    curtailed: RunningNode, cut: Document, tmp_path: Path
) -> None:
    document = altered(cut, ("answers", "answers"), [])
    assert "curtailment" in links(verified(curtailed, document, tmp_path), "fails")
    answers = cut["answers"]["answers"]
    document = altered(cut, ("answers", "answers"), answers[:1])
    assert "answer 1" in links(verified(curtailed, document, tmp_path), "fails")
    document = altered(cut, ("trades", 0, "curtailment", "recorded"), cut["trades"][1]["curtailment"]["recorded"])
    assert links(verified(curtailed, document, tmp_path), "fails") == ["curtailment of trade 0-0"]


def test_the_signature_covers_what_is_said_of_a_curtailment(
    curtailed: RunningNode, cut: Document, tmp_path: Path
) -> None:
    """Whoever signed other values is another account."""
    for path, value in ((("reason",), 2), (("curtailment", "emergency"), True), (("curtailment", "sequence"), 3)):
        result = verified(curtailed, altered(cut, (*_FIRST, *path), value), tmp_path)
        (answer,) = [link for link in result["links"] if link["link"] == "answer 1"]
        assert "signer of the answer" in [problem["what"] for problem in answer["problems"]], path
