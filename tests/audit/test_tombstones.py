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
from gridledger.dispatch.setpoints import SetpointRow, setpoint_leaf
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
        self.forget_setpoints(meter)
        return [_left(values) for values in own]

    def forget_setpoints(self, meter: int) -> None:
        """Leave the leaves of the meter's setpoints only."""
        header, *rows = self.files.table("setpoints.csv")
        for row in rows:
            values = dict(zip(header, row, strict=True))
            if values["meter"] == str(meter) and not values["leaf"]:
                row[header.index("residual_wh")] = row[header.index("salt")] = ""
                row[header.index("leaf")] = _setpoint_leaf(values)
        self.files.put_table("setpoints.csv", [header, *rows])

    def change_setpoint(self, meter: int, **changes: str) -> None:
        """Change the first setpoint of a meter."""
        header, *rows = self.files.table("setpoints.csv")
        row = next(row for row in rows if row[header.index("meter")] == str(meter))
        for name, value in changes.items():
            assert row[header.index(name)] != value
            row[header.index(name)] = value
        self.files.put_table("setpoints.csv", [header, *rows])

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


def _setpoint_leaf(values: dict[str, str]) -> str:
    numbers = {name: int(values[name]) for name in ("meter", "contracted_wh", "residual_wh")}
    return "0x" + setpoint_leaf(SetpointRow(**numbers), bytes.fromhex(values["salt"][2:])).hex()


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
        "emergencies_out_of_order",  # the producer's setpoint was not revealed in one of them
    }
    assert {name: total for name, total in report.totals.items() if name not in changing} == {
        name: total for name, total in before.totals.items() if name not in changing
    }
    header, *rows = eraser.files.table("setpoints.csv")
    left = [row for row in rows if row[header.index("leaf")]]
    assert report.totals["unverifiable_setpoints"] >= len(left)
    assert bool(left) == (owner != "workshop")


def test_several_persons_may_be_erased(eraser: Eraser, facts: MarketFacts, chain: RecordedChain) -> None:
    for owner, meter in OWNERS.items():
        eraser.sign(owner, eraser.forget(meter))
    report = judge(eraser.seal(), facts, chain)
    assert report.mismatches == ()
    assert report.totals["tombstones"] == len(OWNERS)


# ---- setpoints


def test_a_leaf_of_a_setpoint_without_a_tombstone_is_found(
    eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.forget_setpoints(OWNERS["household"])
    assert rules(judge(eraser.seal(), facts, chain)) == {Rule.SETPOINT}


def test_another_leaf_of_an_erased_setpoint_is_found(eraser: Eraser, facts: MarketFacts, chain: RecordedChain) -> None:
    eraser.sign("household", eraser.forget(OWNERS["household"]))
    eraser.change_setpoint(OWNERS["household"], leaf="0x" + "ab" * 32)
    assert Rule.SETPOINT in rules(judge(eraser.seal(), facts, chain))


@pytest.mark.parametrize("changes", [{"residual_wh": "0"}, {"salt": "0x" + "ab" * 32}, {"leaf": ""}])
def test_an_erased_setpoint_is_nothing_but_its_leaf(
    changes: dict[str, str], eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.sign("household", eraser.forget(OWNERS["household"]))
    eraser.change_setpoint(OWNERS["household"], **changes)
    assert Rule.TOMBSTONE in rules(judge(eraser.seal(), facts, chain))


def test_the_contract_of_an_erased_setpoint_is_still_compared(
    eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.sign("household", eraser.forget(OWNERS["household"]))
    eraser.change_setpoint(OWNERS["household"], contracted_wh="12345")
    assert rules(judge(eraser.seal(), facts, chain)) == {Rule.SETPOINT}


def test_a_curtailment_of_an_erased_meter_is_checked_as_far_as_its_call_reveals(
    eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    """Where another contract has relayed it, nothing shows the setpoint any more; that is noted."""
    eraser.sign("producer", eraser.forget(OWNERS["producer"]))
    files, erased = eraser.seal(), "for a setpoint was erased"
    assert not [one for one in judge(files, facts, chain).to_json()["notices"] if one["text"].endswith(erased)][1:]
    unseen = chain.with_calls(lambda call: [] if call.function == "curtail" else [call])
    report = judge(files, facts, unseen)
    assert report.mismatches == ()
    assert len([one for one in report.to_json()["notices"] if one["text"].endswith(erased)]) > 1


def test_a_call_that_reveals_another_setpoint_than_the_erased_one_is_found(
    eraser: Eraser, facts: MarketFacts, chain: RecordedChain
) -> None:
    eraser.sign("producer", eraser.forget(OWNERS["producer"]))
    target = next(call for call in chain.calls() if call.function == "curtail" and call.arguments[3])
    first, *others = target.arguments[3]
    forged = replace(
        target,
        arguments=(
            *target.arguments[:3],
            ({**first, "residualWh": first["residualWh"] + 1}, *others),
            *target.arguments[4:],
        ),
    )
    changed = chain.with_calls(lambda call: [forged if call is target else call])
    assert Rule.DISPATCH in rules(judge(eraser.seal(), facts, changed))


# ---- readings


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
