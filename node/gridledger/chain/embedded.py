"""The embedded chain: a native anvil owned by this process, whose blocks survive any crash.

anvil keeps its state in memory only. So each block is journalled before anvil executes it, and every start replays the
journal on a fresh anvil with the same genesis: hashes and state roots must come out the same, or the chain refuses to
start. The node orders the blocks here: tampering is *detectable*, by the block hashes others hold, not prevented.

Facts about anvil this rests on (1.7.1; the journal pins the version):
- calls inside one JSON-RPC batch may be executed out of order, so transactions and blocks are sent one call at a time;
- a transaction with a nonce ahead of its account, or beyond the block's gas, stays in the pool: the pool is emptied;
- without `--prune-history` it keeps a copy of the whole state per block, and leaves a folder behind when killed;
- it computes the state root anew for each block, about 1 us per storage slot of the whole chain. So the one system
  contract that grows with every block, the block-hash history of EIP-2935, is switched off at genesis: nothing here
  reads it, BLOCKHASH works without it, and a block stays 20 times cheaper after the 8191st.
"""

import contextlib
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from gridledger.chain.anvil import BLOCK_GAS_LIMIT, HARDFORK, AnvilProcess, ChainStartFailed, PortInUse, anvil_version
from gridledger.chain.journal import ChainMeta, Journal, JournalBlock
from gridledger.chain.rpc import RpcClient, RpcFailed, RpcUnreachable
from gridledger.errors import Unavailable

__all__ = [
    "DEFAULT_CHAIN_ID",
    "ChainDiverged",
    "ChainNotRunning",
    "ChainStartFailed",
    "EmbeddedChain",
    "ForeignTransaction",
    "MinedBlock",
    "PortInUse",
    "RefusedTransaction",
    "rebuild",
]

DEFAULT_CHAIN_ID = 31337
BLOCK_HASH_HISTORY = "0x0000F90827F1C53a10cb7A02335B175320002935"  # EIP-2935
GENESIS_BLOCK = ("0x0", False)  # without full transactions
LEFT_OUT = "left out of the block: its nonce is ahead of the account, it was replaced, or the block is full"


@dataclass(kw_only=True, eq=False)
class ChainNotRunning(Unavailable):
    """The embedded chain is stopped; starting it again rebuilds it from its journal."""

    folder: str


@dataclass(kw_only=True, eq=False)
class ChainDiverged(Unavailable):
    """Executing a journalled block again gave another result."""

    block_number: int
    field: str
    expected: str
    found: str


@dataclass(kw_only=True, eq=False)
class ForeignTransaction(Unavailable):
    """A block holds a transaction that is not in the journal; the chain was stopped."""

    block_number: int
    transaction_hash: str


@dataclass(frozen=True, kw_only=True)
class RefusedTransaction:
    """A journalled transaction that did not get into its block; the text is for the log only, never for a decision."""

    index: int
    message: str


@dataclass(frozen=True, kw_only=True)
class MinedBlock:
    """One executed block; `transaction_hashes` in the order of execution."""

    number: int
    time_s: int
    block_hash: str
    state_root: str
    transaction_hashes: tuple[str, ...]
    refused: tuple[RefusedTransaction, ...]


@dataclass(frozen=True, kw_only=True)
class _Header:
    number: int
    block_hash: str
    parent_hash: str
    state_root: str
    transaction_hashes: tuple[str, ...]


class EmbeddedChain:
    """The chain of one folder. Calls may come from any thread; blocks are made one at a time.

    After any failure inside `mine` the process is stopped and further calls raise ChainNotRunning: `start` rebuilds it,
    including the block that was interrupted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        anvil: Path,
        genesis_time_s: int,
        chain_id: int = DEFAULT_CHAIN_ID,
        port: int | None = None,
    ) -> None:
        """Describe the chain; nothing runs yet. `anvil` is the native binary, `port` any free one by default."""
        self._folder = folder
        self._anvil = anvil
        self._genesis_time_s = genesis_time_s
        self._chain_id = chain_id
        self._port = port
        self._mutex = threading.RLock()
        self._closing = contextlib.ExitStack()
        self._process: AnvilProcess | None = None
        self._journal: Journal | None = None
        self._genesis_hash = ""
        self._head: MinedBlock | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start anvil and rebuild every journalled block; nothing happens if it runs already.

        Raises FolderInUse, JournalMismatch, JournalCorrupt, PortInUse, ChainStartFailed, ChainDiverged,
        ForeignTransaction, RpcUnreachable; the process is stopped and the folder released then.
        """
        with self._mutex:
            if self._process is not None and self._process.alive():
                return
            self.stop()
            try:
                self._journal = Journal(self._folder, self._meta())
                self._closing.callback(self._journal.close)
                self._process = self._start_process()
                self._closing.callback(self._process.stop)
                self._replay(self._process.rpc, self._journal)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End the process and release the folder; every block is in the journal, so nothing is lost."""
        with self._mutex:
            self._process, self._journal, self._head, self._genesis_hash = None, None, None, ""
            self._closing.close()

    def import_blocks(self, blocks: Iterable[JournalBlock]) -> None:
        """Fill the stopped chain's empty journal with exported blocks; `start` then executes and verifies them.

        Raises JournalCorrupt, JournalUnwritable, FolderInUse, JournalMismatch.
        """
        with self._mutex, contextlib.closing(Journal(self._folder, self._meta())) as journal:
            journal.import_blocks(blocks)

    def mine(self, time_s: int, raw_transactions: Sequence[str] = ()) -> MinedBlock:
        """Journal, then execute one block at Unix second `time_s`, which must be later than the last block's.

        Transactions are 0x-prefixed signed bytes. Those anvil refuses are refused on every replay too; none is kept for
        a later block. Raises ChainNotRunning, BlockTimeNotIncreasing, MalformedTransaction, OutOfRange or
        JournalUnwritable, and nothing happened; or RpcUnreachable, RpcFailed, ChainDiverged, ForeignTransaction, and
        the chain is stopped with the block in the journal: `start` executes it.
        """
        with self._mutex:
            process, journal = self._running()
            block = journal.append(time_s=time_s, raw_transactions=raw_transactions)
            try:
                process.rpc.call("anvil_dropAllTransactions")  # what others may have sent past the journal
                self._head = self._execute(process.rpc, journal, block)
            except BaseException:
                self.stop()
                raise
            return self._head

    def head(self) -> MinedBlock | None:
        """The newest block, None before the first. Raises ChainNotRunning."""
        self._running()
        return self._head

    @property
    def url(self) -> str:
        """The JSON-RPC endpoint. Raises ChainNotRunning."""
        return self._running()[0].rpc.url

    @property
    def chain_id(self) -> int:
        """The chain id."""
        return self._chain_id

    @property
    def genesis_hash(self) -> str:
        """Hash of block 0. Raises ChainNotRunning."""
        self._running()
        return self._genesis_hash

    @property
    def pid(self) -> int:
        """Process id of anvil. Raises ChainNotRunning."""
        return self._running()[0].pid

    def _running(self) -> tuple[AnvilProcess, Journal]:
        with self._mutex:
            if self._process is None or self._journal is None or not self._process.alive():
                raise ChainNotRunning(folder=str(self._folder))
            return self._process, self._journal

    def _meta(self) -> ChainMeta:
        return ChainMeta(
            chain_id=self._chain_id,
            genesis_time_s=self._genesis_time_s,
            block_gas_limit=BLOCK_GAS_LIMIT,
            hardfork=HARDFORK,
            anvil_version=anvil_version(self._anvil),
        )

    def _start_process(self) -> AnvilProcess:
        return AnvilProcess(
            self._anvil,
            self._folder,
            genesis_time_s=self._genesis_time_s,
            chain_id=self._chain_id,
            port=self._port,
        )

    def _replay(self, rpc: RpcClient, journal: Journal) -> None:
        self._genesis_hash = _header(rpc, rpc.call("eth_getBlockByNumber", *GENESIS_BLOCK)).block_hash
        rpc.call("anvil_setCode", BLOCK_HASH_HISTORY, "0x")
        for block in journal.read_blocks():
            self._head = self._execute(rpc, journal, block)

    def _execute(self, rpc: RpcClient, journal: Journal, block: JournalBlock) -> MinedBlock:
        mined = _execute(rpc, block, self._head.block_hash if self._head else self._genesis_hash)
        if block.block_hash is None or block.state_root is None:
            journal.record(block, block_hash=mined.block_hash, state_root=mined.state_root)
            return mined
        _require_same(block.number, "block_hash", block.block_hash, mined.block_hash)
        _require_same(block.number, "state_root", block.state_root, mined.state_root)
        return mined


@contextlib.contextmanager
def rebuild(
    blocks: Iterable[JournalBlock],
    *,
    anvil: Path,
    genesis_time_s: int,
    chain_id: int = DEFAULT_CHAIN_ID,
    port: int | None = None,
) -> Iterator[EmbeddedChain]:
    """A running throwaway chain with exported blocks, each hash and state root verified; for audits.

    Raises what `EmbeddedChain.start` raises: JournalCorrupt for impossible blocks, ChainDiverged for altered ones.
    """
    with tempfile.TemporaryDirectory(prefix="gridledger-") as folder:
        chain = EmbeddedChain(Path(folder), anvil=anvil, genesis_time_s=genesis_time_s, chain_id=chain_id, port=port)
        chain.import_blocks(blocks)
        with chain:
            yield chain


def _execute(rpc: RpcClient, block: JournalBlock, parent_hash: str) -> MinedBlock:
    """Send the block's transactions, seal it, empty the pool."""
    accepted, refused = _send(rpc, block.raw_transactions)
    sealed = rpc.call("evm_mine_detailed", {"timestamp": block.time_s})
    header = _header(rpc, sealed[0] if isinstance(sealed, list) and sealed else None)
    _require_same(block.number, "number", str(block.number), str(header.number))
    _require_same(block.number, "parent_hash", parent_hash, header.parent_hash)
    for transaction_hash in header.transaction_hashes:
        if transaction_hash not in accepted:
            raise ForeignTransaction(block_number=block.number, transaction_hash=transaction_hash)
    left_out = [accepted[transaction_hash] for transaction_hash in accepted.keys() - set(header.transaction_hashes)]
    if left_out:
        rpc.call("anvil_dropAllTransactions")
    refused += [RefusedTransaction(index=index, message=LEFT_OUT) for index in left_out]
    return MinedBlock(
        number=block.number,
        time_s=block.time_s,
        block_hash=header.block_hash,
        state_root=header.state_root,
        transaction_hashes=header.transaction_hashes,
        refused=tuple(sorted(refused, key=lambda refusal: refusal.index)),
    )


def _send(rpc: RpcClient, raw_transactions: Sequence[str]) -> tuple[dict[str, int], list[RefusedTransaction]]:
    """Position by hash of what anvil took into its pool, and what it refused; one at a time, as order matters."""
    accepted: dict[str, int] = {}
    refused: list[RefusedTransaction] = []
    for index, raw in enumerate(raw_transactions):
        try:
            accepted[str(rpc.call("eth_sendRawTransaction", raw))] = index
        except RpcFailed as refusal:
            refused.append(RefusedTransaction(index=index, message=refusal.message))
    return accepted, refused


def _header(rpc: RpcClient, block: object) -> _Header:
    match block:
        case {
            "number": str(number),
            "hash": str(block_hash),
            "parentHash": str(parent_hash),
            "stateRoot": str(state_root),
            "transactions": list(transactions),
        }:
            hashes = tuple(str(item["hash"]) if isinstance(item, Mapping) else str(item) for item in transactions)
            return _Header(
                number=int(number, 16),
                block_hash=block_hash,
                parent_hash=parent_hash,
                state_root=state_root,
                transaction_hashes=hashes,
            )
    raise RpcUnreachable(url=rpc.url, reason="the answer is not a block")


def _require_same(block_number: int, field: str, expected: str, found: str) -> None:
    if expected != found:
        raise ChainDiverged(block_number=block_number, field=field, expected=expected, found=found)
