"""The embedded chain comes back to the same blocks after any kill, or refuses to start and says why."""

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from gridledger.chain.anvil import AnvilProcess
from gridledger.chain.embedded import (
    ChainDiverged,
    ChainNotRunning,
    ChainStartFailed,
    EmbeddedChain,
    MinedBlock,
    PortInUse,
    rebuild,
)
from gridledger.chain.journal import (
    BlockTimeNotIncreasing,
    FolderInUse,
    Journal,
    JournalMismatch,
    MalformedTransaction,
    read_journal,
    read_meta,
)
from gridledger.chain.rpc import RpcClient, RpcFailed, RpcUnreachable

GENESIS_TIME_S = 1_800_000_000
POLL_LIMIT_S = 15.0
OWNER_PROGRAM = """
import sys
from pathlib import Path
from gridledger.chain.embedded import EmbeddedChain
chain = EmbeddedChain(Path(sys.argv[2]), anvil=Path(sys.argv[1]), genesis_time_s=1_800_000_000)
chain.start()
for number in range(1, 4):
    mined = chain.mine(1_800_000_000 + number, [])
print(chain.pid, mined.block_hash, flush=True)
sys.stdin.read()
"""


class Chains(Protocol):
    def __call__(self, folder: Path = ..., port: int | None = None, chain_id: int = 31337) -> EmbeddedChain: ...


class Sender(Protocol):
    address: str
    nonce: int

    def transfer(self, nonce: int | None = None, gas: int = 21_000, data: str = "0x") -> str: ...

    def creation(self, slots: int) -> str: ...


Senders = Callable[[int], Sender]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + POLL_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    status = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        return status.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def kill(pid: int) -> None:
    """Kill a child of ours; its owner still has to reap it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def alter(folder: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as database, database:
        database.execute(statement)


def append_unexecuted(folder: Path, time_s: int, raw_transactions: list[str]) -> None:
    """What a process leaves that is killed between the journal and anvil."""
    meta = read_meta(folder)
    assert meta is not None
    with contextlib.closing(Journal(folder, meta)) as journal:
        journal.append(time_s=time_s, raw_transactions=raw_transactions)


@contextlib.contextmanager
def client(chain: EmbeddedChain) -> Iterator[RpcClient]:
    with contextlib.closing(RpcClient(chain.url, 10)) as rpc:
        yield rpc


def mine_some(chain: EmbeddedChain, sender: Sender, count: int = 3) -> MinedBlock:
    """Blocks of one transfer and one small contract each; returns the last."""
    head = chain.head()
    for _ in range(count):
        time_s = (head.time_s if head else GENESIS_TIME_S) + 7
        head = chain.mine(time_s, [sender.transfer(), sender.creation(5)])
        assert head.refused == ()
        assert len(head.transaction_hashes) == 2
    assert head is not None
    return head


@pytest.fixture
def mined_folder(make_chain: Chains, make_sender: Senders, tmp_path: Path) -> Path:
    """The folder of a stopped chain of three blocks."""
    with make_chain(tmp_path / "mined") as chain:
        mine_some(chain, make_sender(1))
    return tmp_path / "mined"


def test_an_unfunded_account_transacts_for_free(make_chain: Chains, make_sender: Senders) -> None:
    sender = make_sender(1)
    with make_chain() as chain:
        assert chain.head() is None
        mined = chain.mine(GENESIS_TIME_S + 5, [sender.transfer(), sender.creation(50)])
        with client(chain) as rpc:
            assert rpc.call("eth_getBalance", sender.address, "latest") == "0x0"
            block = rpc.call("eth_getBlockByNumber", "latest", False)
            receipts = [rpc.call("eth_getTransactionReceipt", hash_) for hash_ in mined.transaction_hashes]
    assert mined.number == 1
    assert isinstance(block, dict)
    assert (block["hash"], block["stateRoot"]) == (mined.block_hash, mined.state_root)
    assert int(block["timestamp"], 16) == mined.time_s
    assert block["transactions"] == list(mined.transaction_hashes)
    assert [receipt["status"] for receipt in receipts if isinstance(receipt, dict)] == ["0x1", "0x1"]


def test_the_same_blocks_give_the_same_hashes_in_another_folder(
    make_chain: Chains, make_sender: Senders, tmp_path: Path
) -> None:
    with make_chain(tmp_path / "one") as one, make_chain(tmp_path / "two") as two:
        assert one.genesis_hash == two.genesis_hash
        assert mine_some(one, make_sender(1)) == mine_some(two, make_sender(1))
        assert one.url != two.url


def test_a_killed_anvil_is_noticed_and_rebuilt_to_the_same_head(make_chain: Chains, make_sender: Senders) -> None:
    chain = make_chain()
    chain.start()
    sender = make_sender(1)
    genesis_hash, head = chain.genesis_hash, mine_some(chain, sender)
    kill(chain.pid)
    with pytest.raises(ChainNotRunning):
        chain.mine(head.time_s + 1, [])
    with pytest.raises(ChainNotRunning):
        chain.head()
    chain.start()
    assert (chain.genesis_hash, chain.head()) == (genesis_hash, head)
    assert mine_some(chain, sender, 1).number == head.number + 1


def test_a_stopped_chain_starts_again_at_the_same_head(make_chain: Chains, make_sender: Senders) -> None:
    with make_chain() as chain:
        head = mine_some(chain, make_sender(1))
    with pytest.raises(ChainNotRunning):
        _ = chain.url
    with make_chain() as again:
        assert again.head() == head


def test_starting_a_running_chain_changes_nothing(make_chain: Chains) -> None:
    with make_chain() as chain:
        pid = chain.pid
        chain.start()
        assert chain.pid == pid


def test_anvil_ends_with_its_killed_owner_and_the_next_owner_finds_the_same_head(
    anvil: Path, make_chain: Chains, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", OWNER_PROGRAM, str(anvil), str(tmp_path / "chain")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, block_hash = owner.stdout.readline().split()
        assert not gone(int(pid))
        owner.kill()
    wait_until(lambda: gone(int(pid)))
    with make_chain(tmp_path / "chain") as chain:
        head = chain.head()
    assert head is not None
    assert (head.number, head.block_hash) == (3, block_hash)


def test_anvil_outlives_the_thread_that_started_it(make_chain: Chains) -> None:
    chain = make_chain()
    thread = threading.Thread(target=chain.start)
    thread.start()
    thread.join()
    for number in range(1, 4):
        assert chain.mine(GENESIS_TIME_S + number).number == number


def test_a_block_journalled_but_not_executed_is_executed_at_the_next_start(
    make_chain: Chains, make_sender: Senders, tmp_path: Path
) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    with make_chain(undisturbed) as chain:
        expected = mine_some(chain, make_sender(1), 3)
    sender = make_sender(1)
    with make_chain(disturbed) as chain:
        before = mine_some(chain, sender, 2)
    append_unexecuted(disturbed, before.time_s + 7, [sender.transfer(), sender.creation(5)])
    with make_chain(disturbed) as chain:
        assert chain.head() == expected
    assert list(read_journal(disturbed)) == list(read_journal(undisturbed))


@pytest.mark.parametrize(
    ("statement", "field", "block_number"),
    [
        ("time_s = time_s + 1 where number = 2", "block_hash", 2),
        ("block_hash = '0x00' where number = 3", "block_hash", 3),
        ("state_root = '0x00' where number = 1", "state_root", 1),
        ("raw_transactions = '[]' where number = 3", "block_hash", 3),
        ("raw_transactions = replace(raw_transactions, '0xf8', '0xf9') where number = 2", "block_hash", 2),
    ],
)
def test_a_tampered_journal_refuses_to_start(
    mined_folder: Path, make_chain: Chains, statement: str, field: str, block_number: int
) -> None:
    alter(mined_folder, f"update block set {statement}")
    chain = make_chain(mined_folder)
    with pytest.raises(ChainDiverged) as refused:
        chain.start()
    assert (refused.value.block_number, refused.value.field) == (block_number, field)
    assert refused.value.expected != refused.value.found
    with pytest.raises(ChainNotRunning):
        chain.head()


def test_a_journal_of_another_chain_id_is_refused(make_chain: Chains) -> None:
    with make_chain():
        pass
    with pytest.raises(JournalMismatch) as refused:
        make_chain(chain_id=5).start()
    assert refused.value.field == "chain_id"


def test_a_missing_or_foreign_program_is_named(tmp_path: Path) -> None:
    for program in (tmp_path / "missing", Path("/bin/true")):
        chain = EmbeddedChain(tmp_path / "chain", anvil=program, genesis_time_s=GENESIS_TIME_S)
        with pytest.raises(ChainStartFailed):
            chain.start()


def test_a_taken_port_is_refused(make_chain: Chains) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        chain = make_chain(port=port)
        with pytest.raises(PortInUse) as refused:
            chain.start()
    assert refused.value.port == port
    with chain:  # free now, and the folder was released
        assert chain.url == f"http://127.0.0.1:{port}"


def test_the_same_port_serves_again_after_a_kill(make_chain: Chains, make_sender: Senders) -> None:
    chain = make_chain()
    chain.start()
    port = int(chain.url.rsplit(":", 1)[1])
    head = mine_some(chain, make_sender(1))
    kill(chain.pid)
    chain.stop()
    with make_chain(port=port) as again:
        assert again.head() == head
        assert again.url == f"http://127.0.0.1:{port}"


def test_an_orphan_on_the_port_is_never_adopted(anvil: Path, make_chain: Chains, tmp_path: Path) -> None:
    flags = ["--no-mining", "-q", "--accounts", "0", "--timestamp", str(GENESIS_TIME_S), "--prune-history", "-p", "0"]
    with subprocess.Popen([anvil, *flags], stdout=subprocess.DEVNULL) as orphan:
        try:
            wait_until(lambda: listening_port(orphan.pid) is not None)
            with pytest.raises(PortInUse):
                make_chain(port=listening_port(orphan.pid)).start()
            assert orphan.poll() is None
        finally:
            orphan.kill()
    assert list(read_journal(tmp_path / "chain")) == []


def listening_port(pid: int) -> int | None:
    """The port a process listens on."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(entry.readlink()))
    for row in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]):
        if row[3] == "0A" and f"socket:[{row[9]}]" in inodes:
            return int(row[1].split(":")[1], 16)
    return None


def test_a_port_lost_between_choice_and_start_is_not_taken_for_ours(anvil: Path, tmp_path: Path) -> None:
    class Thief(AnvilProcess):
        """Another process takes the port after it was found free."""

        def _start(self) -> None:
            with socket.socket() as other:
                other.bind(("127.0.0.1", self._port))
                other.listen()
                super()._start()

    with pytest.raises(ChainStartFailed) as refused:
        Thief(anvil, tmp_path, genesis_time_s=GENESIS_TIME_S, chain_id=31337, port=None)
    assert "in use" in refused.value.reason


def test_two_owners_of_one_folder_are_refused(make_chain: Chains, make_sender: Senders) -> None:
    with make_chain() as chain:
        head = mine_some(chain, make_sender(1))
        with pytest.raises(FolderInUse):
            make_chain().start()
        assert chain.head() == head


def test_a_block_must_be_later_than_the_last(make_chain: Chains, tmp_path: Path) -> None:
    with make_chain() as chain:
        with pytest.raises(BlockTimeNotIncreasing):
            chain.mine(GENESIS_TIME_S)
        chain.mine(GENESIS_TIME_S + 1)
        with pytest.raises(BlockTimeNotIncreasing):
            chain.mine(GENESIS_TIME_S + 1)
        assert chain.mine(GENESIS_TIME_S + 2).number == 2
    assert len(list(read_journal(tmp_path / "chain"))) == 2


def test_a_malformed_transaction_is_refused_before_the_journal(make_chain: Chains, tmp_path: Path) -> None:
    with make_chain() as chain:
        with pytest.raises(MalformedTransaction):
            chain.mine(GENESIS_TIME_S + 1, ["0xnothex"])
        assert chain.head() is None
        assert list(read_journal(tmp_path / "chain")) == []


def test_refused_transactions_are_named_and_refused_again_on_replay(make_chain: Chains, make_sender: Senders) -> None:
    sender, other = make_sender(1), make_sender(2)
    with make_chain() as chain:
        chain.mine(GENESIS_TIME_S + 1, [sender.transfer()])
        spent, good = sender.transfer(nonce=0, data="0x01", gas=30_000), other.transfer()
        too_large = other.transfer(gas=2**24 + 1)
        head = chain.mine(GENESIS_TIME_S + 2, [spent, "0x01", good, good, too_large])
        assert [refusal.index for refusal in head.refused] == [0, 1, 3, 4]
        assert len(head.transaction_hashes) == 1
    with make_chain() as again:
        assert again.head() == head


def test_a_transaction_ahead_of_its_nonce_never_leaks_into_a_later_block(
    make_chain: Chains, make_sender: Senders
) -> None:
    sender = make_sender(1)
    with make_chain() as chain:
        gapped = chain.mine(GENESIS_TIME_S + 1, [sender.transfer(nonce=1), sender.transfer(nonce=2)])
        filled = chain.mine(GENESIS_TIME_S + 2, [sender.transfer(nonce=0)])
        with client(chain) as rpc:
            assert rpc.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}
        later = chain.mine(GENESIS_TIME_S + 3, [sender.transfer(nonce=1)])
    assert [refusal.index for refusal in gapped.refused] == [0, 1]
    assert [len(block.transaction_hashes) for block in (gapped, filled, later)] == [0, 1, 1]
    with make_chain() as again:
        assert again.head() == later


def test_transactions_beyond_the_block_gas_are_left_out_and_do_not_leak(
    make_chain: Chains, make_sender: Senders
) -> None:
    senders = [make_sender(number) for number in range(1, 6)]
    with make_chain() as chain:
        full = chain.mine(GENESIS_TIME_S + 1, [sender.creation(720) for sender in senders])
        assert chain.mine(GENESIS_TIME_S + 2).transaction_hashes == ()
        head = chain.head()
    assert 3 <= len(full.transaction_hashes) <= len(senders)
    assert len(full.transaction_hashes) + len(full.refused) == len(senders)
    with make_chain() as again:
        assert again.head() == head


def test_many_senders_keep_first_in_first_out_order(make_chain: Chains, make_sender: Senders) -> None:
    senders = [make_sender(number) for number in range(1, 151)]
    raw = [sender.transfer() for sender in senders]
    with make_chain() as chain:
        mined = chain.mine(GENESIS_TIME_S + 1, raw)
        with client(chain) as rpc:
            order = [rpc.call("eth_getTransactionByHash", hash_) for hash_ in mined.transaction_hashes]
    found = [str(item["from"]).lower() for item in order if isinstance(item, dict)]
    assert found == [sender.address.lower() for sender in senders]


def test_a_transaction_sent_past_the_journal_is_not_mined(make_chain: Chains, make_sender: Senders) -> None:
    with make_chain() as chain, client(chain) as rpc:
        rpc.call("eth_sendRawTransaction", make_sender(9).transfer())
        assert chain.mine(GENESIS_TIME_S + 1).transaction_hashes == ()


def test_a_block_mined_past_the_journal_stops_the_chain_and_the_next_start_heals_it(
    make_chain: Chains, make_sender: Senders
) -> None:
    sender = make_sender(1)
    chain = make_chain()
    chain.start()
    head = mine_some(chain, sender, 1)
    with client(chain) as rpc:
        rpc.call("evm_mine")
    with pytest.raises(ChainDiverged) as refused:
        chain.mine(head.time_s + 7, [sender.transfer()])
    assert refused.value.field == "number"
    with pytest.raises(ChainNotRunning):
        chain.head()
    chain.start()
    healed = chain.head()
    assert healed is not None
    assert (healed.number, len(healed.transaction_hashes)) == (head.number + 1, 1)


def test_exported_blocks_are_rebuilt_and_verified_in_a_throwaway_chain(
    anvil: Path, make_chain: Chains, make_sender: Senders, tmp_path: Path
) -> None:
    with make_chain() as chain:
        head = mine_some(chain, make_sender(1))
    blocks = list(read_journal(tmp_path / "chain"))
    with rebuild(iter(blocks), anvil=anvil, genesis_time_s=GENESIS_TIME_S) as audited:
        assert audited.head() == head
        pid = audited.pid
    assert gone(pid)
    altered = [*blocks[:1], replace(blocks[1], raw_transactions=blocks[1].raw_transactions[:1]), *blocks[2:]]
    with pytest.raises(ChainDiverged) as refused, rebuild(altered, anvil=anvil, genesis_time_s=GENESIS_TIME_S):
        pass
    assert refused.value.block_number == 2


@contextlib.contextmanager
def killed_after(pid: int, delay_s: float) -> Iterator[None]:
    """Kill a child of ours a moment after the block begins, and have it dead when the block ends."""
    timer = threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.join()


def run_with_kills(chain: EmbeddedChain, raw: list[str], seed: int, kills: int) -> int:
    """Mine `raw` in blocks of fixed sizes, anvil killed at seeded moments; returns how many kills broke a block."""
    choice = random.Random(seed)
    doomed = set(choice.sample(range(50), kills))
    position, step, broken = 0, 0, 0
    chain.start()
    while position < len(raw):
        head, size = chain.head(), 1 + (position * 7) % 9
        time_s = (head.time_s if head else GENESIS_TIME_S) + 5
        saboteur = killed_after(chain.pid, choice.random() * 0.03) if step in doomed else contextlib.nullcontext()
        try:
            with saboteur:
                chain.mine(time_s, raw[position : position + size])
        except (RpcUnreachable, ChainNotRunning):
            broken += 1
        if step in doomed:
            chain.stop()
            chain.start()
        head = chain.head()
        position += size if head is not None and head.time_s == time_s else 0
        step += 1
    chain.stop()
    return broken


def test_kills_at_random_moments_leave_the_blocks_of_an_undisturbed_run(
    make_chain: Chains, make_sender: Senders, tmp_path: Path
) -> None:
    choice = random.Random(20160613)
    senders = [make_sender(number) for number in range(1, 9)]
    raw = [
        sender.creation(choice.randint(1, 40)) if choice.random() < 0.3 else sender.transfer()
        for sender in (choice.choice(senders) for _ in range(300))
    ]
    assert run_with_kills(make_chain(tmp_path / "calm"), raw, seed=1, kills=0) == 0
    assert run_with_kills(make_chain(tmp_path / "killed"), raw, seed=2, kills=16) > 0
    calm = list(read_journal(tmp_path / "calm"))
    assert len(calm) > 50
    assert list(read_journal(tmp_path / "killed")) == calm
    assert sum(len(block.raw_transactions) for block in calm) == len(raw)


def test_a_failed_call_is_a_typed_error_and_a_batch_answers_each_call(make_chain: Chains) -> None:
    with make_chain() as chain, client(chain) as rpc:
        with pytest.raises(RpcFailed) as refused:
            rpc.call("no_such_method", 1)
        assert refused.value.method == "no_such_method"
        answers = rpc.batch([("eth_chainId", []), ("no_such_method", []), ("eth_blockNumber", [])])
        assert [answer.result for answer in answers] == ["0x7a69", None, "0x0"]
        assert [answer.error is None for answer in answers] == [True, False, True]
        assert rpc.batch([]) == []


def test_an_endpoint_that_is_gone_or_speaks_something_else_is_unreachable(make_chain: Chains) -> None:
    with make_chain() as chain:
        url = chain.url
        with contextlib.closing(RpcClient(f"{url}/nowhere", 5)) as rpc, pytest.raises(RpcUnreachable):
            rpc.call("eth_chainId")
    with contextlib.closing(RpcClient(url, 5)) as rpc, pytest.raises(RpcUnreachable):
        rpc.call("eth_chainId")
