"""The node goes on, whatever fails below it, and says what it is waiting for."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from tests.api.running import (
    BUY_METER,
    MTU_LENGTH_S,
    MTU_START,
    SELL_METER,
    SELLER,
    Onboarded,
    RunningNode,
    assert_problem,
    served,
)

from gridledger.app.node import NodeFolder
from gridledger.chain.codec import keccak256
from gridledger.store.database import Database


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    """A market of two members."""
    with onboarded.served(tmp_path / "data") as running:
        yield running


def test_transactions_the_chain_never_includes_do_not_stop_the_market(onboarded: Onboarded, tmp_path: Path) -> None:
    """They lie in the outbox, as an older version or another rule of the chain may have left them."""
    folder = NodeFolder(tmp_path / "data")
    with onboarded.served(folder.path) as running:
        nonces = range(running.nonces[SELLER.address], 70)
        raws = [running.raw(SELLER, "EnergyTrading", "deposit", 1, gas=21_000, nonce=nonce) for nonce in nonces]
        trading = running.facts["contracts"]["EnergyTrading"]
    _keep_signed(folder, trading, {nonce: bytes.fromhex(raw[2:]) for nonce, raw in zip(nonces, raws, strict=True)})
    with served(folder) as running:
        running.pair()
        assert running.mtu()["phase"] == "cleared"
        block = running.get("/v1/market")["block"]["number"]
        running.work()
        assert running.get("/v1/market")["block"]["number"] == block
        assert running.participant(SELLER)["next_nonce"] == onboarded.nonces[SELLER.address]


def _keep_signed(folder: NodeFolder, to_address: str, raws: dict[int, bytes]) -> None:
    """Put the seller's transactions, by nonce, into the outbox of a stopped node."""
    database = Database(folder.database)
    with database.write() as tx:
        for nonce, raw in raws.items():
            tx.outbox.add_signed(
                kind="RelayedTransaction",
                signer=SELLER.address,
                to_address=to_address,
                data=b"",
                nonce=nonce,
                raw=raw,
                transaction_hash="0x" + keccak256(raw).hex(),
                created_at=1,
            )
    database.close()


def test_a_node_whose_chain_has_died_says_so_and_lives(onboarded: Onboarded, tmp_path: Path) -> None:
    shutil.copytree(onboarded.folder.path, tmp_path / "data")
    with served(NodeFolder(tmp_path / "data"), simulated=False) as running:
        _kill_chain(running.node.chain_url)
        answer = running.http.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert_problem(running.http.get(f"/v1/participants/{SELLER.address}"), 503, "rpc-unreachable")
        running.read({SELL_METER: 100}, running.node.now // MTU_LENGTH_S * MTU_LENGTH_S - MTU_LENGTH_S)
        _wait_until(lambda: any("RpcUnreachable: " in text for text in running.http.get("/readyz").json()["reasons"]))
        assert any(thread.name == "heartbeat" and thread.is_alive() for thread in threading.enumerate())


def _kill_chain(url: str) -> None:
    """Kill the process of this one's that listens at the URL."""
    port = urlsplit(url).port
    (chain,) = (
        child
        for child in psutil.Process().children(recursive=True)
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in child.net_connections())
    )
    chain.kill()
    psutil.wait_procs([chain], timeout=30)


def _wait_until(happened: Callable[[], bool]) -> None:
    """Poll within bounds."""
    deadline, pause = time.monotonic() + 60, threading.Event()
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.02)


def test_a_reading_has_no_proof_before_its_anchor_is_on_chain(market: RunningNode) -> None:
    proof = f"/v1/proofs/readings/{SELL_METER}/{MTU_START}"
    market.advance(MTU_START + MTU_LENGTH_S)
    market.read({SELL_METER: 100, BUY_METER: -100})
    assert_problem(market.http.get(proof), 404, "reading-not-anchored", meter=SELL_METER, mtu_start=MTU_START)
    market.work()
    assert market.get(proof)["root"].startswith("0x")
    market.execute(market.folder, "UPDATE reading_anchor SET anchored = 0")
    assert_problem(market.http.get(proof), 404, "reading-not-anchored", meter=SELL_METER, mtu_start=MTU_START)


def test_a_second_answer_is_told_that_the_first_is_on_its_way(market: RunningNode) -> None:
    market.pair()
    body = market.answer_body()
    assert market.post("/v1/dispatch/answers", body).status_code == 202
    assert_problem(market.post("/v1/dispatch/answers", body), 409, "already-answered", state="answering")
    market.work()
    assert_problem(market.post("/v1/dispatch/answers", body), 409, "already-answered", state="acknowledged")
