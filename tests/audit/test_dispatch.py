"""Nothing about a dispatch is taken on trust: every value of its events, calls and setpoints is recomputed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.audit import evm_export
from tests.audit.evm_day import FULL, UNANSWERED
from tests.audit.evm_desk import MeterOf
from tests.audit.evm_grid import EvmGrid
from tests.audit.evm_node import LENGTH_S
from tests.audit.evm_second_day import CAPPED, CAPPED_IN_TWO, OVERRULED, STOPPED_LATER
from tests.audit.fakes import MemoryFiles, RecordedChain, judge
from tests.audit.test_tampered_chain import other
from tests.contracts.words import EUR, FIRST_MTU, actor

from gridledger.app.audit_run import market_facts
from gridledger.audit.dispatch_digests import schedule_hash
from gridledger.audit.evidence import MarketFacts
from gridledger.audit.model import AuditReport, Rule, Slot, meter_name, slot_name
from gridledger.audit.ports import ChainCall
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.plan import PolicyParameters
from gridledger.dispatch.setpoints import Direction, SetpointRow, setpoints_root
from gridledger.market.model import Side
from gridledger.relay import ChainEvent

EVENTS = ("CapsApplied", "DispatchCurtailed", "TradeCurtailed", "ZoneStopped")
UNCHECKED, KEPT, BROKEN = range(3)
MANY = [pytest.param(1, id="one"), pytest.param(1_000, id="all", marks=pytest.mark.long)]


def rules(report: AuditReport) -> set[Rule]:
    return {mismatch.rule for mismatch in report.mismatches}


def records(report: AuditReport, rule: Rule) -> list[str]:
    return [mismatch.record for mismatch in report.mismatches if mismatch.rule is rule]


def instead(chain: RecordedChain, target: ChainEvent, **changes: Any) -> RecordedChain:
    """The chain with some arguments of one event changed."""
    changed = replace(target, arguments={**target.arguments, **changes})
    return chain.with_events(lambda event: [changed if event is target else event])


def without(chain: RecordedChain, target: ChainEvent) -> RecordedChain:
    """The chain with one event left out."""
    return chain.with_events(lambda event: [] if event is target else [event])


def events(chain: RecordedChain, name: str) -> list[ChainEvent]:
    return [event for event in chain.events() if event.name == name]


# ---- events


@pytest.mark.parametrize("many", MANY)
@pytest.mark.parametrize("name", EVENTS)
def test_any_changed_value_of_any_event_of_a_dispatch_is_found(
    name: str, many: int, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    for target in events(chain, name)[:many]:
        for argument, value in target.arguments.items():
            assert not judge(files, facts, instead(chain, target, **{argument: other(value)})).ok, (target, argument)


@pytest.mark.parametrize("name", EVENTS)
def test_any_left_out_event_of_a_dispatch_is_found(
    name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    for target in events(chain, name):
        assert not judge(files, facts, without(chain, target)).ok, target


def test_any_changed_cap_is_found_and_so_is_a_left_out_one(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    for target in events(chain, "DispatchCurtailed"):
        caps = target.arguments["caps"]
        for place, word in enumerate(caps):
            for changed in ([word + 1], [word + (1 << 32)], []):
                forged = instead(chain, target, caps=[*caps[:place], *changed, *caps[place + 1 :]])
                assert not judge(files, facts, forged).ok


def test_an_emergency_cannot_call_back_what_has_become_void(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    """Under another policy the schedule nobody had answered would have been refunded by then."""
    target = events(chain, "PolicyScheduled")[0]
    policy = {**target.arguments["policy"], "proceedWithoutAnswer": False}
    late = records(judge(files, facts, instead(chain, target, policy=policy)), Rule.DISPATCH)
    assert [record for record in late if record.startswith(slot_name(Slot(1, CAPPED_IN_TWO))) and ", by " in record]


def test_a_settlement_before_the_end_of_its_mtu_is_found(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    settled = next(event for event in chain.events() if event.name == "PositionSettled")
    blocks = [
        replace(block, time_s=FULL + LENGTH_S - 1) if block.number == settled.block_number else block
        for block in chain.recorded_blocks
    ]
    report = judge(files, facts, replace(chain, recorded_blocks=tuple(blocks)))
    assert f"{slot_name(Slot(1, FULL))}, time of block {settled.block_number}" in records(report, Rule.SETTLEMENT)


# ---- the order of curtailment


def without_calls(chain: RecordedChain) -> RecordedChain:
    """As if another contract had relayed every answer."""
    relayed = {"answer", "curtail", "stop", "applyCaps"}
    return chain.with_calls(lambda call: [] if call.function in relayed else [call])


def test_answers_relayed_by_another_contract_need_no_call_data(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    assert judge(files, facts, without_calls(chain)).mismatches == ()


def test_emergencies_that_break_the_order_are_noted_and_no_mismatch(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    report = judge(files, facts, chain)
    assert report.ok
    assert [notice.record.partition(", curtailment")[0] for notice in report.notices] == [
        slot_name(Slot(1, OVERRULED))
    ] * 2
    assert report.totals["emergencies_out_of_order"] == 2
    assert report.to_json()["notices"][0]["text"] == "an emergency that broke the order of curtailment"


@pytest.mark.parametrize(
    ("emergency", "order_check", "found"),
    [
        (0, KEPT, True),
        (0, UNCHECKED, False),
        (1, KEPT, True),
        (1, BROKEN, False),
        (2, BROKEN, True),
        (2, UNCHECKED, False),
    ],
)
def test_an_emergency_s_claim_about_the_order_is_held_against_the_setpoints(
    emergency: int, order_check: int, found: bool, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    """The first breaks the order, the second was not checked and breaks it, the third keeps it."""
    emergencies = [event for event in events(chain, "DispatchCurtailed") if event.arguments["emergency"]]
    emergencies.sort(key=lambda event: (event.arguments["mtuStart"] != OVERRULED, event.block_number))
    target = emergencies[emergency]
    assert target.arguments["orderCheck"] != order_check
    report = judge(files, facts, instead(without_calls(chain), target, orderCheck=order_check))
    assert (Rule.CURTAILMENT in rules(report)) is found


def test_an_ordinary_curtailment_out_of_order_is_found(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    """One Wh is taken from the barn and given to the roof."""
    target = next(event for event in events(chain, "DispatchCurtailed") if event.arguments["mtuStart"] == CAPPED)
    roof, turbine, barn = target.arguments["caps"]
    one_wh = 1 << 32
    report = judge(files, facts, instead(without_calls(chain), target, caps=[roof + one_wh, turbine, barn - one_wh]))
    assert f"{slot_name(Slot(1, CAPPED))}, curtailment of block {target.block_number}" in records(
        report, Rule.CURTAILMENT
    )


# ---- call data


def changed_call(chain: RecordedChain, target: ChainCall, place: int, value: Any) -> RecordedChain:
    arguments = (*target.arguments[:place], value, *target.arguments[place + 1 :])
    changed = replace(target, arguments=arguments)
    return chain.with_calls(lambda call: [changed if call is target else call])


def other_argument(value: Any) -> Any:
    match value:
        case bytes():
            return value[:-1] + bytes((value[-1] ^ 1,))
        case tuple() if value:
            return (*value[:-1], other_argument(value[-1]))
        case tuple():
            return (1 << 32 | 1 << 16,)
    return other(value)


@pytest.mark.parametrize("many", MANY)
@pytest.mark.parametrize("function", ["answer", "stop", "applyCaps", "curtail"])
def test_any_changed_argument_of_a_relayed_answer_is_found(
    function: str, many: int, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    for target in [call for call in chain.calls() if call.function == function][:many]:
        for place, value in enumerate(target.arguments):
            unread = function == "curtail" and place in (1, 2) and not target.arguments[3]  # without setpoints
            if isinstance(value, dict) or unread:
                continue
            assert not judge(files, facts, changed_call(chain, target, place, other_argument(value))).ok, place


@pytest.mark.parametrize("many", MANY)
def test_any_changed_field_of_a_presented_curtailment_is_found(
    many: int, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    for target in [call for call in chain.calls() if call.function == "curtail"][:many]:
        curtailment = target.arguments[0]
        for field, value in curtailment.items():
            forged = {**curtailment, field: other_argument(value)}
            assert not judge(files, facts, changed_call(chain, target, 0, forged)).ok, field


def test_a_signature_of_somebody_else_is_found(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    """The turbine's answer under the roof's name is nobody's signature."""
    first, second, *_ = [call for call in chain.calls() if call.function == "answer"]
    report = judge(files, facts, changed_call(chain, first, 4, second.arguments[4]))
    assert [record for record in records(report, Rule.DISPATCH) if record.endswith("signature")]


# ---- setpoints


def committed(files: MemoryFiles, chain: RecordedChain, slot: Slot) -> tuple[MemoryFiles, RecordedChain]:
    """A chain whose schedule commits to the setpoints as the file now has them."""
    header, *rows = files.table("setpoints.csv")
    named = [dict(zip(header, row, strict=True)) for row in rows]
    own = [row for row in named if (int(row["zone"]), int(row["mtu_start"])) == slot]
    made = [
        SetpointRow(
            meter=int(row["meter"]), contracted_wh=int(row["contracted_wh"]), residual_wh=int(row["residual_wh"])
        )
        for row in own
    ]
    root = setpoints_root(made, {int(row["meter"]): bytes.fromhex(row["salt"][2:]) for row in own})
    target = next(event for event in events(chain, "DispatchScheduled") if _is_of(event, slot))
    text = "0x" + root.hex()
    forged = instead(
        chain, target, setpointsRoot=text, scheduleHash=schedule_hash(target.arguments["resultHash"], text)
    )

    def present(call: ChainCall) -> list[ChainCall]:
        if call.function != "clear" or (call.arguments[0]["zone"], call.arguments[0]["mtuStart"]) != slot:
            return [call]
        return [replace(call, arguments=({**call.arguments[0], "setpointsRoot": root},))]

    return files.seal(), forged.with_calls(present)


def _is_of(event: ChainEvent, slot: Slot) -> bool:
    return (event.arguments["zone"], event.arguments["mtuStart"]) == slot


def in_setpoints(files: MemoryFiles, slot: Slot, change: Callable[[list[str], list[list[str]]], None]) -> None:
    """Change the rows of one zone and MTU."""
    header, *rows = files.table("setpoints.csv")
    own = [row for row in rows if (int(row[0]), int(row[1])) == slot]
    others = [row for row in rows if row not in own]
    change(header, own)
    files.put_table(
        "setpoints.csv", [header, *sorted([*others, *own], key=lambda row: [int(row[i]) for i in (0, 1, 2)])]
    )


def test_committing_again_to_the_same_setpoints_changes_nothing(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    assert judge(*_and(committed(files, chain, Slot(1, UNANSWERED)), facts)).ok


def _and(
    forged: tuple[MemoryFiles, RecordedChain], facts: MarketFacts
) -> tuple[MemoryFiles, MarketFacts, RecordedChain]:
    return forged[0], facts, forged[1]


@pytest.mark.parametrize(
    ("mtu_start", "column", "value", "expected"),
    [
        (UNANSWERED, "residual_wh", "5", "residual Wh"),
        (UNANSWERED, "contracted_wh", "281", "contracted Wh"),
        (STOPPED_LATER, "residual_wh", "1", "residual Wh"),
    ],
)
def test_a_setpoint_the_node_committed_to_without_reason_is_found(
    mtu_start: int,
    column: str,
    value: str,
    expected: str,
    files: MemoryFiles,
    facts: MarketFacts,
    chain: RecordedChain,
) -> None:
    """What was committed to must follow from trades and readings, however well file and chain agree."""

    def forge(header: list[str], rows: list[list[str]]) -> None:
        assert rows[0][header.index(column)] != value
        rows[0][header.index(column)] = value

    slot = Slot(1, mtu_start)
    in_setpoints(files, slot, forge)
    report = judge(*_and(committed(files, chain, slot), facts))
    assert f"{meter_name(1, mtu_start)}, setpoint, {expected}" in records(report, Rule.SETPOINT)


def test_a_forecast_the_node_left_out_is_found(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    """The office has no contract in the stopped MTU, but a reading of the day before."""

    def forget(_: list[str], rows: list[list[str]]) -> None:
        rows[:] = [row for row in rows if row[2] != "3"]

    slot = Slot(1, STOPPED_LATER)
    in_setpoints(files, slot, forget)
    report = judge(*_and(committed(files, chain, slot), facts))
    assert records(report, Rule.SETPOINT) == [f"{meter_name(3, STOPPED_LATER)}, setpoint, residual Wh"]


def test_setpoints_of_what_was_never_scheduled_are_found(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    rows = files.table("setpoints.csv")
    rows.append([rows[-1][0], str(int(rows[-1][1]) + LENGTH_S), *rows[-1][2:]])
    files.put_table("setpoints.csv", rows)
    assert records(judge(files.seal(), facts, chain), Rule.SETPOINT) == [
        f"{slot_name(Slot(1, int(rows[-1][1])))}, setpoints"
    ]


# ---- caps nobody applies


@pytest.mark.parametrize(("waited_s", "overdue"), [(400, False), (700, True)])
def test_caps_nobody_applies_are_found_once_settling_is_due(
    waited_s: int, overdue: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    node = EvmGrid(FIRST_MTU, PolicyParameters(), (MeterOf(owner="producer", source=1), MeterOf(owner="household")))
    for owner in ("producer", "household"):
        node.deposit(actor(owner), 10 * EUR)
    node.at(FIRST_MTU - 1_000)
    node.order(1, Side.SELL, 100, 10_000, FIRST_MTU)
    node.order(2, Side.BUY, 100, 20_000, FIRST_MTU)
    node.clear(FIRST_MTU, answered=False)
    node.curtail(Slot(1, FIRST_MTU), Direction.EXPORT, {1: 40}, 1)
    node.at(FIRST_MTU + LENGTH_S)
    node.read(1, FIRST_MTU, {1: 40, 2: -40})
    node.at(FIRST_MTU + LENGTH_S + waited_s)
    node.deposit(actor("producer"), 1)
    files = evm_export.export(node)
    folder = files.copy().write_to(tmp_path_factory.mktemp("caps") / "export")
    report = judge(files, market_facts(folder, load_artifacts()), node.chain)
    assert rules(report) == ({Rule.COMPLETENESS} if overdue else set())
    assert (f"{slot_name(Slot(1, FIRST_MTU))}, caps" in records(report, Rule.COMPLETENESS)) is overdue
