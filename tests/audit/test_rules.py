"""No rule is decoration: each has something that it finds."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.audit.evm_day import FULL
from tests.audit.fakes import MemoryFiles, RecordedChain, judge
from tests.audit.tampering import Cell, change_cell

from gridledger.audit.evidence import MarketFacts
from gridledger.audit.formats import TOMBSTONES
from gridledger.audit.hints import HINTS
from gridledger.audit.model import Rule
from gridledger.metering.erasure import ERASED_KINDS, Erasure, erasure_message, leaves_hash
from gridledger.relay import ChainEvent

Tamper = Callable[[MemoryFiles, RecordedChain], tuple[MemoryFiles, RecordedChain]]


def in_file(file: str, row: int, column: str) -> Tamper:
    """Change one exported value."""

    def tamper(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
        change_cell(files, Cell(file, row, column))
        return files.seal(), chain

    return tamper


def unsealed(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
    """Change one exported value and leave the manifest as it was."""
    change_cell(files, Cell("orders.csv", 1, "salt"))
    return files, chain


def cut_off(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
    """Cut a file inside a line."""
    files.content["books.csv"] = files.content["books.csv"][:-1]
    return files.seal(), chain


def without_events(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
    """A chain with other contracts."""
    return files, chain.with_events(lambda _: [])


def other_code(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
    """One contract's code replaced."""
    return files, replace(chain, codes={**chain.codes, "EnergyTrading": b"\x60\x00"})


def later_head(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
    """The last block at another time."""
    *blocks, last = chain.recorded_blocks
    return files, replace(chain, recorded_blocks=(*blocks, replace(last, time_s=last.time_s + 1)))


def in_event(name: str, argument: str, change: Callable[[int], int]) -> Tamper:
    """Change a number in the first event of a kind."""

    def tamper(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
        target = next(event for event in chain.events() if event.name == name)
        changed = replace(target, arguments={**target.arguments, argument: change(target.arguments[argument])})
        return files, chain.with_events(lambda event: [changed if event is target else event])

    return tamper


def without_first(name: str) -> Tamper:
    """Leave out the first event of a kind."""

    def tamper(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
        target = next(event for event in chain.events() if event.name == name)
        return files, chain.with_events(lambda event: _unless(event is target, event))

    return tamper


def _unless(left_out: bool, event: ChainEvent) -> list[ChainEvent]:
    return [] if left_out else [event]


def in_call(function: str, change: Callable[[Any], Any]) -> Tamper:
    """Change the call data of the last call of a function."""

    def tamper(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
        target = [call for call in chain.calls() if call.function == function][-1]
        changed = replace(target, arguments=change(target.arguments))
        return files, chain.with_calls(lambda call: [changed if call is target else call])

    return tamper


def other_positions(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Present one microcent more locked in the first position."""
    positions = list(arguments[3])
    positions[2] += 1 << 80
    return (*arguments[:3], tuple(positions), *arguments[4:])


def one_more(value: int) -> int:
    """One more."""
    return value + 1


def forged_tombstone(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
    """An erasure of nothing that nobody has signed."""
    erasure = Erasure(
        account="0x" + "11" * 20,
        meters=(),
        first_mtu_start=0,
        last_mtu_start=0,
        rows=tuple((kind, 0) for kind in ERASED_KINDS),
        leaf_count=0,
        leaves_hash=leaves_hash(()),
        erased_at=FULL,
    )
    line = {"erasure": erasure_message(erasure), "signature": "0x" + "11" * 65, "readings": []}
    files.content[TOMBSTONES] = json.dumps(line).encode() + b"\n"
    return files.seal(), chain


def unsigned_demand(files: MemoryFiles, chain: RecordedChain) -> tuple[MemoryFiles, RecordedChain]:
    """A demand response event that nobody has signed."""
    header, *rows = files.table("demand_events.csv")
    values = {
        **dict.fromkeys(header, "1"),
        "event_id": "0x" + "11" * 32,
        "direction": "reduce",
        "salt": "0x" + "11" * 32,
        "signature": "0x" + "11" * 65,
        "civil_time": "UTC",
        "holidays": "",
    }
    files.put_table("demand_events.csv", [header, *rows, list(values.values())])
    return files.seal(), chain


FOUND_BY: dict[Rule, Tamper] = {
    Rule.MANIFEST: unsealed,
    Rule.FORMAT: cut_off,
    Rule.CHAIN: without_events,
    Rule.BLOCK: later_head,
    Rule.MARKET: without_first("ZoneRegistered"),
    Rule.CODE: other_code,
    Rule.ROLE: without_first("RoleRevoked"),
    Rule.METER: in_file("meters.csv", 1, "import_capacity_w"),
    Rule.ORDER_UID: in_file("orders.csv", 4, "quantity_wh"),
    Rule.ORDER_SIGNATURE: in_file("orders.csv", 4, "signature"),
    Rule.ORDER_OWNER: in_file("orders.csv", 4, "zone"),
    Rule.ACCEPTANCE: in_file("acceptances.csv", 1, "offer_uid"),
    Rule.RECEIPT: in_file("orders.csv", 1, "receipt_signature"),
    Rule.RECEIPT_SEQUENCE: in_file("orders.csv", 4, "running_number"),
    Rule.CANCELLATION: in_file("cancellations.csv", 1, "signature"),
    Rule.BOOK: in_file("books.csv", 1, "uid"),
    Rule.ELIGIBILITY: in_file("books.csv", 17, "ineligible"),
    Rule.REFERENCE_PRICE: in_event("ReferencePricePublished", "priceCentsPerMwh", one_more),
    Rule.CLEARING: in_event("MarketCleared", "anyPrice", one_more),
    Rule.TRADE_LIMIT: in_event("MarketCleared", "anyPrice", lambda price: price * 2),
    Rule.FILL: in_file("books.csv", 1, "filled_wh"),
    Rule.TRADE: in_file("trades.csv", 1, "energy_wh"),
    Rule.LOCK: in_call("settle", other_positions),
    Rule.POSITION: in_file("positions.csv", 1, "fee_microcents"),
    Rule.DISPATCH: in_event("DispatchScheduled", "tradedWh", one_more),
    Rule.SETPOINT: in_file("setpoints.csv", 40, "residual_wh"),
    Rule.CURTAILMENT: in_event("CapsApplied", "curtailedWh", one_more),
    Rule.DEMAND_RESPONSE: unsigned_demand,
    Rule.METER_EVENT: in_file("meter_events.csv", 1, "opening_import_wh"),
    Rule.READING_SIGNATURE: in_file("readings.csv", 1, "text"),
    Rule.READING_COLUMN: in_file("readings.csv", 1, "counter"),
    Rule.ANCHOR: in_file("readings.csv", 1, "salt"),
    Rule.READING_PROOF: without_first("TransformerSet"),
    Rule.TOMBSTONE: forged_tombstone,
    Rule.DEMAND_RESPONSE: in_file("demand_shifts.csv", 1, "energy_wh"),
    Rule.SETTLEMENT: in_event("PositionSettled", "imbalanceMicrocents", one_more),
    Rule.COMPLETENESS: without_first("PositionSettled"),
    Rule.ENERGY: in_event("EnergyTraded", "energyWh", one_more),
    Rule.CASH: in_event("Withdrawn", "amountMicrocents", one_more),
    Rule.SETTLEMENT_TOKEN: without_first("Transfer"),
    Rule.REWARD: in_event("RewardsGranted", "energyWh", one_more),
    Rule.LOW_CARBON_TOKEN: without_first("Retired"),
}


@pytest.mark.parametrize("rule", Rule)
def test_each_rule_finds_something_and_says_how_to_check_it_by_hand(
    rule: Rule, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    tampered, altered = FOUND_BY[rule](files, chain)
    hints = {mismatch.hint for mismatch in judge(tampered, facts, altered).mismatches if mismatch.rule is rule}
    assert hints == {HINTS[rule]}


def test_each_rule_checks_something_in_an_honest_run(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    checked = judge(files, facts, chain).checked
    assert {rule for rule in Rule if not checked[rule]} == {Rule.CHAIN}
