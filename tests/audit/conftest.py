"""Two complete runs, played once: one over an in-process EVM that has everything, one through a real node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.audit import evm_export
from tests.audit.evm_day import play_in_evm
from tests.audit.evm_node import EvmNode
from tests.audit.fakes import MemoryFiles, RecordedChain, record
from tests.audit.market_day import play

from gridledger.app.audit_run import market_facts
from gridledger.app.export import ExportSummary, export_run
from gridledger.audit.evidence import MarketFacts
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.embedded import rebuild
from gridledger.chain.journal import read_journal
from gridledger.chain.toolchain import find_anvil


@pytest.fixture(scope="session")
def evm_node() -> EvmNode:
    """The day in the EVM, over."""
    return play_in_evm()


@pytest.fixture(scope="session")
def honest(evm_node: EvmNode) -> MemoryFiles:
    """Its export; not to be changed."""
    return evm_export.export(evm_node)


@pytest.fixture
def files(honest: MemoryFiles) -> MemoryFiles:
    """Its export, to be tampered with."""
    return honest.copy()


@pytest.fixture(scope="session")
def facts(honest: MemoryFiles, tmp_path_factory: pytest.TempPathFactory) -> MarketFacts:
    """What its market files claim."""
    return market_facts(honest.copy().write_to(tmp_path_factory.mktemp("evm") / "export"), load_artifacts())


@pytest.fixture(scope="session")
def chain(evm_node: EvmNode, facts: MarketFacts) -> RecordedChain:
    """The answers of its chain."""
    return record(evm_node.chain, len(evm_node.market.made) - 1, facts)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a stopped node."""
    folder = tmp_path_factory.mktemp("audit") / "data"
    play(folder)
    return folder


@pytest.fixture(scope="session")
def export(played: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The node's export; not to be changed."""
    target = tmp_path_factory.mktemp("audit") / "export"
    export_run(played, target, lambda *_: None)
    return target


@pytest.fixture
def exported(export: Path) -> MemoryFiles:
    """The node's export in memory, to be tampered with."""
    return MemoryFiles.of(export)


@pytest.fixture(scope="session")
def summary(played: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportSummary:
    """What an export says of itself."""
    return export_run(played, tmp_path_factory.mktemp("audit") / "again", lambda *_: None)


@pytest.fixture(scope="session")
def exported_facts(export: Path) -> MarketFacts:
    """What the market files of the node's export claim."""
    return market_facts(export, load_artifacts())


@pytest.fixture(scope="session")
def chain_url(played: Path, exported_facts: MarketFacts) -> Iterator[str]:
    """A running chain with the node's blocks."""
    blocks, facts = list(read_journal(played / "chain")), exported_facts
    with rebuild(blocks, anvil=find_anvil(), genesis_time_s=facts.genesis_time_s, chain_id=facts.chain_id) as embedded:
        yield embedded.url
