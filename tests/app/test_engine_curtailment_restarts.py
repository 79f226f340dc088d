"""A node stopped or killed anywhere between caps and their settlement ends where one that ran through ends."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.api.running import BUY_METER, SELL_METER, Onboarded, RunningNode, served
from tests.app.curtailing import MTU_END, require_same_as_chain

from gridledger.app.node import NodeFolder

KEPT_WH = 400
Memory = dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory, onboarded: Onboarded) -> NodeFolder:
    """A stopped market with caps, a second before its MTU ends."""
    folder = NodeFolder(tmp_path_factory.mktemp("capped") / "data")
    with onboarded.served(folder.path) as market:
        market.pair()
        market.curtail({SELL_METER: KEPT_WH})
        market.advance(MTU_END - 1)
    return folder


def deliver(market: RunningNode) -> None:
    """From the end of the MTU until everything is settled."""
    market.deliver({SELL_METER: KEPT_WH, BUY_METER: -500})
    market.advance(MTU_END + 240)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory, capped: NodeFolder) -> Iterator[tuple[NodeFolder, Memory]]:
    """The market after its caps were applied, and all that a node remembers that ran through to the end."""
    folder = copied(capped, tmp_path_factory.mktemp("steady") / "applied")
    with served(folder) as market:
        market.advance(MTU_END)
    end = copied(folder, tmp_path_factory.mktemp("steady") / "end")
    with served(end) as market:
        deliver(market)
        assert market.mtu()["phase"] == "settled"
        yield folder, market.memory()


def copied(folder: NodeFolder, path: Path) -> NodeFolder:
    shutil.copytree(folder.path, path)
    return NodeFolder(path)


def outbox_row(folder: NodeFolder, kind: str) -> dict[str, Any]:
    """The newest command of a kind in a stopped node's outbox."""
    with closing(sqlite3.connect(folder.database)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM outbox WHERE kind = ? ORDER BY id DESC", (kind,)).fetchall()
        return dict(rows[0])


def interrupt(folder: NodeFolder, row: dict[str, Any], **changes: object) -> None:
    """Leave a stopped node as one that was killed at the MTU's end, with this command in its outbox."""
    known = row | {"block_number": None, "gas_used": None, "error": None} | changes
    with closing(sqlite3.connect(folder.database)) as connection, connection:
        names = ", ".join(known)
        connection.execute(f"INSERT INTO outbox ({names}) VALUES ({', '.join('?' * len(known))})", [*known.values()])
        connection.execute("UPDATE node_fact SET value = ? WHERE name = 'simulated_now'", (str(MTU_END),))


def ready(folder: NodeFolder, applied: NodeFolder) -> None:
    """Killed right after the transaction in which it submitted the command."""
    interrupt(folder, outbox_row(applied, "ApplyCaps"), state="ready", nonce=None, raw=None, transaction_hash=None)


def signed(folder: NodeFolder, applied: NodeFolder) -> None:
    """Killed after the command was signed, before it was sent."""
    interrupt(folder, outbox_row(applied, "ApplyCaps"), state="signed")


def mined(folder: NodeFolder, applied: NodeFolder) -> None:
    """Killed after the chain had executed the command, before its block was indexed."""
    signed(folder, applied)
    shutil.rmtree(folder.chain)
    shutil.copytree(applied.chain, folder.chain)


@pytest.mark.parametrize("kill", [ready, signed, mined], ids=lambda kill: kill.__name__)
def test_a_node_killed_between_submitting_and_indexing_the_caps_applies_them_once(
    tmp_path: Path,
    capped: NodeFolder,
    steady: tuple[NodeFolder, Memory],
    kill: Callable[[NodeFolder, NodeFolder], None],
) -> None:
    applied, expected = steady
    folder = copied(capped, tmp_path / "data")
    kill(folder, applied)
    with served(folder) as market:
        require_same_as_chain(market)
        deliver(market)
        require_same_as_chain(market)
        assert market.memory() == expected


def test_a_node_restarted_between_curtailment_and_settlement_ends_in_the_same_state(
    tmp_path: Path, capped: NodeFolder, steady: tuple[NodeFolder, Memory]
) -> None:
    _, expected = steady
    folder = copied(capped, tmp_path / "data")
    steps: tuple[Callable[[RunningNode], object], ...] = (
        lambda market: market.advance(MTU_END - 1),
        lambda market: market.advance(MTU_END),
        lambda market: market.read({SELL_METER: KEPT_WH, BUY_METER: -500}),
        RunningNode.work,
        lambda market: market.advance(MTU_END + 240),
    )
    for step in steps:
        with served(folder) as market:
            step(market)
    with served(folder) as market:
        assert market.memory() == expected
        require_same_as_chain(market)


def test_a_node_that_was_away_from_before_the_answer_until_after_the_mtu_settles_by_default(
    tmp_path: Path, onboarded: Onboarded
) -> None:
    folder = NodeFolder(tmp_path / "data")
    with onboarded.served(folder.path) as market:
        market.pair()
        body = market.curtailment_body({SELL_METER: KEPT_WH})
    with served(folder) as market:
        market.advance(MTU_END)
        late = market.post("/v1/dispatch/curtailments", body)
        assert late.json()["type"].endswith("answer-too-late")
        market.deliver({SELL_METER: 600, BUY_METER: -600})
        assert market.mtu()["phase"] == "settled"
        require_same_as_chain(market)
