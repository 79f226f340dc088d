"""One small but complete market run for all audit tests: played, exported and its chain recorded once."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.audit.fakes import MemoryFiles, RecordedChain, record
from tests.audit.market_day import play

from gridledger.app.audit_run import EndpointChain, market_facts
from gridledger.app.export import ExportSummary, export_run
from gridledger.audit.evidence import MarketFacts
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.embedded import rebuild
from gridledger.chain.journal import read_journal
from gridledger.chain.toolchain import find_anvil


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a stopped node."""
    folder = tmp_path_factory.mktemp("audit") / "data"
    play(folder)
    return folder


@pytest.fixture(scope="session")
def export(played: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export; not to be changed."""
    target = tmp_path_factory.mktemp("audit") / "export"
    export_run(played, target, lambda *_: None)
    return target


@pytest.fixture(scope="session")
def summary(played: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportSummary:
    """What an export says of itself."""
    return export_run(played, tmp_path_factory.mktemp("audit") / "again", lambda *_: None)


@pytest.fixture(scope="session")
def facts(export: Path) -> MarketFacts:
    """What the export's market files claim."""
    return market_facts(export, load_artifacts())


@pytest.fixture(scope="session")
def chain_url(played: Path, facts: MarketFacts) -> Iterator[str]:
    """A running chain with the run's blocks."""
    blocks = list(read_journal(played / "chain"))
    with rebuild(blocks, anvil=find_anvil(), genesis_time_s=facts.genesis_time_s, chain_id=facts.chain_id) as embedded:
        yield embedded.url


@pytest.fixture(scope="session")
def chain(chain_url: str, facts: MarketFacts) -> RecordedChain:
    """That chain's answers."""
    endpoint = EndpointChain(chain_url, load_artifacts(), facts.addresses, with_state_roots=True)
    with closing(endpoint):
        head = endpoint.head_number()
        return record(endpoint.up_to(head), head, facts)


@pytest.fixture
def files(export: Path) -> MemoryFiles:
    """The export in memory, to be tampered with."""
    return MemoryFiles.of(export)
