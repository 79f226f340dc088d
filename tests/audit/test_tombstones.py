"""A reading may be missing exactly where the regulator has signed for its leaf; everything else is still found."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from tests.audit.evm_day import FULL
from tests.audit.evm_node import EvmNode
from tests.audit.fakes import MemoryFiles, RecordedChain, judge
from tests.contracts.words import actor

from gridledger.audit.evidence import MarketFacts
from gridledger.audit.formats import TOMBSTONES
from gridledger.audit.model import AuditReport, Rule
from gridledger.audit.tombstones import REGULATOR_ROLE
from gridledger.chain.roles import Role
from gridledger.metering.erasure import (
    ERASED_KINDS,
    ErasedLeaf,
    Erasure,
    ErasureDomain,
    erasure_message,
    erasure_typed_data,
    leaves_hash,
)
from gridledger.metering.merkle import leaf
from gridledger.units import parse_utc

ERASED_AT = FULL + 400 * 86_400
OWNERS = {"producer": 1, "household": 2, "bakery": 3, "workshop": 4}
Row = list[Any]
FLIPS = 40


class Eraser:
    """Erases accounts from an export, as the regulator or as somebody else."""

    def __init__(self, node: EvmNode, files: MemoryFiles, facts: MarketFacts) -> None:
        self.files = files
        self.regulator: LocalAccount = node.market.holders[Role.REGULATOR].account
        self.stranger: LocalAccount = node.market.holders[Role.GRID_OPERATOR].account
        self.domain = ErasureDomain(chain_id=facts.chain_id, access_manager=facts.addresses["MarketAccessManager"])
        self.lines: list[dict[str, Any]] = []

    def forget(self, meter: int) -> list[Row]:
        """Take the meter's readings out; returns what a tombstone keeps of them."""
        header, *rows = self.files.table("readings.csv")
        own = [dict(zip(header, row, strict=True)) for row in rows if row[0] == str(meter)]
        self.files.put_table("readings.csv", [header, *(row for row in rows if row[0] != str(meter))])
        for name in ("demand_participations.csv", "demand_measurements.csv", "demand_shifts.csv"):
            columns, *others = self.files.table(name)
            kept = [row for row in others if row[columns.index("meter")] != str(meter)]
            self.files.put_table(name, [columns, *kept])
        return [_left(values) for values in own]

    def sign(self, owner: str, kept: list[Row], *, signer: LocalAccount | None = None, **changes: Any) -> None:
        """Add a signed tombstone about these leaves."""
        entries = [ErasedLeaf(row[0], row[1], bytes.fromhex(row[3][2:])) for row in kept]
        starts = [entry.mtu_start for entry in entries]
        rows = tuple((kind, len(kept) if kind == "readings" else 0) for kind in ERASED_KINDS)
        erasure = Erasure(
            account=actor(owner).account.address,
            meters=(OWNERS[owner],),
            first_mtu_start=min(starts),
            last_mtu_start=max(starts),
            rows=rows,
            leaf_count=len(entries),
            leaves_hash=leaves_hash(entries),
            erased_at=ERASED_AT,
        )
        domain = changes.pop("domain", self.domain)
        erasure = replace(erasure, **changes)
        document = encode_typed_data(full_message=erasure_typed_data(domain, erasure))
        signature = "0x" + bytes((signer or self.regulator).sign_message(document).signature).hex()
        self.lines.append({"erasure": erasure_message(erasure), "signature": signature, "readings": kept})

    def seal(self) -> MemoryFiles:
        lines = (json.dumps(line, separators=(",", ":")) + "\n" for line in self.lines)
        self.files.content[TOMBSTONES] = "".join(lines).encode()
        return self.files.seal()


def _left(values: dict[str, str]) -> Row:
    meter, start = int(values["meter"]), parse_utc("interval_start", values["interval_start"])
    energies = int(values["import_wh"]), int(values["export_wh"])
    commitment = leaf(meter, start, *energies, bytes.fromhex(values["salt"][2:]))
    sequence = int(values["anchor_sequence"]) if values["anchor_sequence"] else None
    return [meter, start, sequence, "0x" + commitment.hex()]


@pytest.fixture
def eraser(evm_node: EvmNode, files: MemoryFiles, facts: MarketFacts) -> Eraser:
    return Eraser(evm_node, files, facts)


def rules(report: AuditReport) -> set[Rule]:
    return {mismatch.rule for mismatch in report.mismatches}


def test_the_regulator_s_role_is_that_of_the_deployment() -> None:
    assert int(Role.REGULATOR) == REGULATOR_ROLE


@pytest.mark.parametrize("owner", OWNERS)
def test_an_erased_person_leaves_a_green_audit_that_counts_what_it_can_no_longer_verify(
    owner: str, eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    before = judge(eraser.files.seal(), facts, chain)
    kept = eraser.forget(OWNERS[owner])
    eraser.sign(owner, kept)
    report = judge(eraser.seal(), facts, chain)
    assert report.mismatches == ()
    assert (report.totals["tombstones"], report.totals["erased_readings"]) == (1, len(kept))
    assert report.totals["readings"] == before.totals["readings"] - len(kept)
    assert (report.totals["unverifiable_settlements"] > 0) == (owner != "workshop")  # which has traded nothing
    assert (report.totals["unverifiable_setpoints"] > 0) == (owner != "workshop")  # of whose zone nothing is scheduled
    changing = {
        "readings",
        "tombstones",
        "erased_readings",
        "unverifiable_settlements",
        "unverifiable_setpoints",
    }
    assert {name: total for name, total in report.totals.items() if name not in changing} == {
        name: total for name, total in before.totals.items() if name not in changing
    }


def test_several_persons_may_be_erased(eraser: Eraser, facts: MarketFacts, chain: RecordedChain) -> None:
    for owner, meter in OWNERS.items():
        eraser.sign(owner, eraser.forget(meter))
    report = judge(eraser.seal(), facts, chain)
    assert report.mismatches == ()
    assert report.totals["tombstones"] == len(OWNERS)


def test_readings_that_are_gone_without_a_tombstone_are_found(
    eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.forget(OWNERS["household"])
    assert {Rule.ANCHOR, Rule.SETTLEMENT} <= rules(judge(eraser.seal(), facts, chain))


def _another_leaf(kept: list[Row]) -> list[Row]:
    return [[*kept[0][:3], "0x" + "ab" * 32], *kept[1:]]


def _another_batch(kept: list[Row]) -> list[Row]:
    return [[*kept[0][:2], kept[0][2] + 1, kept[0][3]], *kept[1:]]


def _one_less(kept: list[Row]) -> list[Row]:
    return kept[1:]


@pytest.mark.parametrize("change", [_another_leaf, _another_batch, _one_less])
def test_a_tombstone_the_regulator_signed_about_other_leaves_leaves_a_wrong_root(
    change: Callable[[list[Row]], list[Row]], eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.sign("household", change(eraser.forget(OWNERS["household"])))
    report = judge(eraser.seal(), facts, chain)
    assert Rule.ANCHOR in rules(report)
    assert Rule.TOMBSTONE not in rules(report)


@pytest.mark.parametrize("change", [_another_leaf, _one_less])
def test_a_list_of_leaves_that_was_not_signed_is_found(
    change: Callable[[list[Row]], list[Row]], eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.sign("household", eraser.forget(OWNERS["household"]))
    eraser.lines[0]["readings"] = change(eraser.lines[0]["readings"])
    assert {Rule.TOMBSTONE, Rule.ANCHOR} <= rules(judge(eraser.seal(), facts, chain))


def test_a_tombstone_of_somebody_who_is_no_regulator_counts_for_nothing(
    eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.sign("household", eraser.forget(OWNERS["household"]), signer=eraser.stranger)
    assert {Rule.TOMBSTONE, Rule.ANCHOR, Rule.SETTLEMENT} <= rules(judge(eraser.seal(), facts, chain))


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": ErasureDomain(chain_id=1, access_manager="0x" + "11" * 20)},
        {"erased_at": 1},  # before anybody was the regulator, and before the readings
        {"erased_at": FULL},
        {"leaf_count": 1},
        {"first_mtu_start": FULL + 900},
        {"last_mtu_start": FULL},
        {"account": actor("bakery").account.address},
        {"meters": (1,)},
        {"meters": (1, 2)},
        {"meters": ()},
        {"leaves_hash": bytes(32)},
    ],
    ids="-".join,
)
def test_a_tombstone_that_says_something_untrue_is_found(
    changes: dict[str, Any], eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.sign("household", eraser.forget(OWNERS["household"]), **changes)
    assert Rule.TOMBSTONE in rules(judge(eraser.seal(), facts, chain))


def test_a_reading_that_is_still_there_is_not_erased(eraser: Eraser, facts: MarketFacts, chain: RecordedChain) -> None:
    before = eraser.files.table("readings.csv")
    eraser.sign("household", eraser.forget(OWNERS["household"]))
    eraser.files.put_table("readings.csv", before)
    assert Rule.TOMBSTONE in rules(judge(eraser.seal(), facts, chain))


def test_a_reading_is_erased_once(eraser: Eraser, facts: MarketFacts, chain: RecordedChain) -> None:
    kept = eraser.forget(OWNERS["household"])
    eraser.sign("household", kept)
    eraser.sign("household", kept, erased_at=ERASED_AT + 1)
    assert rules(judge(eraser.seal(), facts, chain)) == {Rule.TOMBSTONE}


@pytest.mark.parametrize("content", [b"{}\n", b"[]\n", b"\xff\n", b'{"erasure":{}}\n', b"[" * 5_000 + b"\n"])
def test_a_line_that_is_no_tombstone_is_found(
    content: bytes, eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.files.content[TOMBSTONES] = content
    report = judge(eraser.files.seal(), facts, chain)
    assert any(f"{TOMBSTONES} line 1" in mismatch.record for mismatch in report.mismatches)


def test_any_flipped_bit_of_a_tombstone_is_found(eraser: Eraser, facts: MarketFacts, chain: RecordedChain) -> None:
    eraser.sign("workshop", eraser.forget(OWNERS["workshop"]))
    honest = eraser.seal()
    assert judge(honest, facts, chain).ok
    content, missed = honest.content[TOMBSTONES], []
    for seed in range(FLIPS):
        draw = random.Random(seed)
        place, bit = draw.randrange(len(content) - 1), draw.randrange(8)
        flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
        tampered = honest.copy()
        tampered.content[TOMBSTONES] = flipped
        if judge(tampered.seal(), facts, chain).ok:
            missed.append((place, bit, content[place - 20 : place + 20]))
    assert missed == []
