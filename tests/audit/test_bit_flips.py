"""Random single-bit changes anywhere in an export are found, whether or not the forger mends the manifest."""

import random
from pathlib import Path

import pytest
from tests.audit.fakes import MemoryFiles, RecordedChain, judge

from gridledger.app.audit_run import market_facts
from gridledger.audit.evidence import MarketFacts
from gridledger.audit.formats import DEPLOYMENT, MANIFEST, MARKET
from gridledger.chain.compiler import load_artifacts
from gridledger.errors import GridLedgerError

REDUCED, FULL = 150, 10_000


def _flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def _claimed(files: MemoryFiles, folder: Path) -> MarketFacts | None:
    for name in (MARKET, DEPLOYMENT):
        (folder / name).write_bytes(files.content[name])
    try:
        return market_facts(folder, load_artifacts())
    except (GridLedgerError, ValueError, TypeError, KeyError, AttributeError):
        return None


def test_any_flipped_bit_is_found_even_if_the_manifest_is_mended(
    files: MemoryFiles, chain: RecordedChain, tmp_path: Path
) -> None:
    assert _missed(range(REDUCED), files, chain, tmp_path) == []


@pytest.mark.long
@pytest.mark.timeout(7_200)
def test_ten_thousand_flipped_bits_are_all_found(files: MemoryFiles, chain: RecordedChain, tmp_path: Path) -> None:
    assert _missed(range(REDUCED, REDUCED + FULL), files, chain, tmp_path) == []


def _missed(seeds: range, files: MemoryFiles, chain: RecordedChain, folder: Path) -> list[tuple[str, int, int]]:
    missed = []
    names = sorted(name for name, content in files.content.items() if content)
    for seed in seeds:
        draw = random.Random(seed)
        name = names[seed % len(names)]
        place, bit = draw.randrange(len(files.content[name])), draw.randrange(8)
        tampered = files.copy()
        tampered.content[name] = _flipped(files.content[name], place, bit)
        if name != MANIFEST:
            tampered.seal()
        facts = _claimed(tampered, folder)
        if facts is not None and judge(tampered, facts, chain).ok:
            missed.append((name, place, bit))
    return missed
