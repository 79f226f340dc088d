"""A chain whose events or state do not follow the rules is found out, whichever event and value it is."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from tests.audit.evm_day import FULL, UNANSWERED
from tests.audit.fakes import MemoryFiles, RecordedChain, judge
from tests.audit.tampering import Cell, change_cell

from gridledger.audit.evidence import MarketFacts
from gridledger.audit.model import Rule, Slot, meter_name, slot_name
from gridledger.relay import ChainEvent
from gridledger.units import MICROCENTS_PER_EUR

STRANGER = "0x00000000000000000000000000000000000000AA"
# Not facts of the market: what an oracle's document is called, when a role began, allowances.
WITHOUT_MEANING = {
    ("GridFactorPublished", "sourceHash"),
    ("RoleGranted", "since"),
    ("RoleGranted", "newMember"),
    ("Retired", "holder"),
    ("Retired", "beneficiary"),
    ("Retired", "purpose"),
}
IGNORED_EVENTS = {"Approval"}
EVENT_NAMES = (
    "AnchorerAppointed",
    "Invalidated",
    "ReadingProven",
    "RewardsCorrected",
    "TemplateRegistered",
    "TokensCollected",
    "TokensOwed",
    "TransformerSet",
    "AuthorityUpdated",
    "BookCommitted",
    "CapsApplied",
    "CreditCutRequested",
    "CreditSet",
    "DebtPaid",
    "DebtRecorded",
    "Deposited",
    "DeviceKeyReplaced",
    "DispatchAnswered",
    "DispatchCurtailed",
    "DispatchScheduled",
    "EnergyTraded",
    "FeedInPosted",
    "GridFactorPublished",
    "MarketCleared",
    "MarketHalted",
    "MeterRegistered",
    "OrderCancelled",
    "OrdersCancelled",
    "ParticipantAdmitted",
    "ParticipantSuspended",
    "PolicyScheduled",
    "PositionRefunded",
    "PositionResettled",
    "PositionSettled",
    "PositionSubstituted",
    "ReadingsAnchored",
    "ReferencePricePublished",
    "Retired",
    "RewardsGranted",
    "RoleGranted",
    "RoleRevoked",
    "SettlementProgressed",
    "SourceFactorSet",
    "SupplierRegistered",
    "TargetFunctionRoleUpdated",
    "TradeCurtailed",
    "Transfer",
    "WithdrawalRequested",
    "Withdrawn",
    "ZoneRegistered",
    "ZoneStopped",
)


def other(value: Any) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str() if value.startswith("0x"):
            return STRANGER if len(value) == 42 else value[:-1] + ("1" if value[-1] != "1" else "2")
        case dict():
            first = next(iter(value))
            return {**value, first: other(value[first])}
        case list():
            return [*value[:-1], other(value[-1])]
    return f"{value}?"


def _last(chain: RecordedChain, name: str) -> ChainEvent:
    """The last event of a kind, or the one that matters: the halt, and the oracle's own grid factor."""
    events = [event for event in chain.events() if event.name == name]
    if name == "MarketHalted":
        return next(event for event in events if event.arguments["halted"])
    if name == "GridFactorPublished":
        return events[0]  # the oracle's; the others fix the policy's default
    return events[-1]


def _changing(chain: RecordedChain, target: ChainEvent, events: Iterable[ChainEvent]) -> RecordedChain:
    replacement = list(events)
    return chain.with_events(lambda event: replacement if event is target else [event])


def test_the_run_has_every_event_these_tests_change(chain: RecordedChain) -> None:
    assert {event.name for event in chain.events()} - IGNORED_EVENTS == set(EVENT_NAMES)


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_any_changed_value_of_an_event_is_found(
    name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    target = _last(chain, name)
    for argument, value in target.arguments.items():
        if (name, argument) in WITHOUT_MEANING:
            continue
        changed = replace(target, arguments={**target.arguments, argument: other(value)})
        assert not judge(files, facts, _changing(chain, target, [changed])).ok, argument


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_a_left_out_event_is_found(name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    assert not judge(files, facts, _changing(chain, _last(chain, name), [])).ok


@pytest.mark.parametrize(
    "name",
    [
        "CapsApplied",
        "DebtPaid",
        "DebtRecorded",
        "Deposited",
        "DispatchAnswered",
        "DispatchCurtailed",
        "DispatchScheduled",
        "EnergyTraded",
        "PositionRefunded",
        "PositionResettled",
        "PositionSettled",
        "PositionSubstituted",
        "ReadingsAnchored",
        "RewardsGranted",
        "SettlementProgressed",
        "TradeCurtailed",
        "Transfer",
        "Withdrawn",
        "ZoneStopped",
    ],
)
def test_a_repeated_event_is_found(name: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    target = _last(chain, name)
    assert not judge(files, facts, _changing(chain, target, [target, target])).ok


def test_an_unexpected_change_in_the_access_manager_is_found(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    target = _last(chain, "RoleRevoked")
    closed = replace(target, name="TargetClosed", arguments={"target": STRANGER, "closed": True})
    report = judge(files, facts, _changing(chain, target, [target, closed]))
    assert [mismatch.rule for mismatch in report.mismatches] == [Rule.ROLE]


def test_a_book_without_a_clearing_is_excused_only_by_a_halt(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    unhalted = chain.with_events(lambda event: [] if event.name == "MarketHalted" else [event])
    report = judge(files, facts, unhalted)
    assert [(mismatch.rule, mismatch.record) for mismatch in report.mismatches] == [
        (Rule.CLEARING, slot_name(Slot(2, UNANSWERED)))
    ]


def test_a_suspended_owner_in_a_book_is_found(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    admitted = _last(chain, "ParticipantAdmitted")
    household = facts_of_meter(chain, 2)
    suspended = replace(
        admitted,
        contract="EnergyTrading",
        name="ParticipantSuspended",
        arguments={"account": household, "suspended": True},
    )
    report = judge(files, facts, _changing(chain, admitted, [admitted, suspended]))
    assert Rule.ELIGIBILITY in {mismatch.rule for mismatch in report.mismatches}


def _moved_after_the_gate(chain: RecordedChain, owner: str, amount: int) -> RecordedChain:
    """The owner takes money out between the first book and its clearing, and pays it in again after it."""
    book = next(event for event in chain.events() if event.name == "BookCommitted" and event.arguments["zone"] == 1)
    cleared = next(event for event in chain.events() if event.name == "MarketCleared" and event.arguments["zone"] == 1)
    arguments = {"account": owner, "amountMicrocents": amount}

    def change(event: ChainEvent) -> list[ChainEvent]:
        if event is book:
            return [event, replace(book, name="Withdrawn", arguments=arguments)]
        if event is cleared:
            return [event, replace(cleared, name="Deposited", arguments=arguments)]
        return [event]

    return chain.with_events(change)


# The household has deposited 10 EUR; its bid of 300 Wh at 25,000 can lock 0.081 EUR with the fee.
@pytest.mark.parametrize(
    ("amount", "justified"), [(9 * MICROCENTS_PER_EUR, False), (10 * MICROCENTS_PER_EUR - 8_099_999, True)]
)
def test_an_order_may_be_excluded_after_the_book_only_if_its_owner_has_moved_the_money(
    amount: int, justified: bool, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    household = facts_of_meter(chain, 2)
    change_cell(files, Cell("books.csv", 3, "ineligible"))
    report = judge(files.seal(), facts, _moved_after_the_gate(chain, household, amount))
    assert (Rule.ELIGIBILITY in {mismatch.rule for mismatch in report.mismatches}) is not justified


def test_an_open_position_that_could_have_been_settled_is_found(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    settled = next(event for event in chain.events() if event.name == "PositionSettled")
    report = judge(files, facts, _changing(chain, settled, []))
    assert (Rule.COMPLETENESS, meter_name(1, FULL)) in {
        (mismatch.rule, mismatch.record) for mismatch in report.mismatches
    }


def facts_of_meter(chain: RecordedChain, meter: int) -> str:
    """The owner of a meter."""
    registered = (event.arguments for event in chain.events() if event.name == "MeterRegistered")
    return next(str(values["owner"]) for values in registered if values["meter"] == meter)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"recorded_chain_id": 1}, Rule.MARKET),
        ({"recorded_mtu_length_s": 1800}, Rule.MARKET),
        ({"escrow": 1}, Rule.CASH),
        ({"unanswered": frozenset({"mtu_length_s"})}, Rule.MARKET),
        ({"unanswered": frozenset({"account"})}, Rule.CASH),
        ({"unanswered": frozenset({"escrow"})}, Rule.CASH),
        ({"debts": {}}, Rule.CASH),
        ({"unanswered": frozenset({"debt"})}, Rule.CASH),
        ({"kept": {}}, Rule.LOCK),
        ({"unanswered": frozenset({"state hash"})}, Rule.LOCK),
        ({"unanswered": frozenset({"code"})}, Rule.CODE),
        ({"unanswered": frozenset({"supply of SettlementToken"})}, Rule.SETTLEMENT_TOKEN),
        ({"unanswered": frozenset({"balance of LowCarbonToken"})}, Rule.LOW_CARBON_TOKEN),
    ],
    ids=str,
)
def test_other_state_or_none_is_found(
    changes: dict[str, Any], rule: Rule, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    report = judge(files, facts, replace(chain, **changes))
    assert rule in {mismatch.rule for mismatch in report.mismatches}


def test_one_microcent_too_much_in_any_account_is_found_and_named(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    for address, (free, credit) in chain.accounts.items():
        if (free, credit) == (0, 0):
            continue
        report = judge(files, facts, replace(chain, accounts={**chain.accounts, address: (free + 1, credit)}))
        assert f"account {address}, free money and credit" in {mismatch.record for mismatch in report.mismatches}
        assert report.totals["cash_sum_microcents"] == 1


@pytest.mark.parametrize("token", ["SettlementToken", "LowCarbonToken"])
def test_other_supplies_and_balances_of_tokens_are_found(
    token: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    supplies = {**chain.supplies, token: chain.supplies[token] + 1}
    assert not judge(files, facts, replace(chain, supplies=supplies)).ok
    balances = {key: value + (key[0] == token) for key, value in chain.balances.items()}
    assert not judge(files, facts, replace(chain, balances=balances)).ok


def test_tokens_somebody_gives_to_the_trading_contract_are_no_mismatch(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    trading = facts.addresses["EnergyTrading"]
    issued = [event for event in chain.events() if event.contract == "SettlementToken" and event.name == "Transfer"]
    gift = replace(issued[-1], arguments={"from": "0x" + "0" * 40, "to": trading, "value": 5})
    key = ("SettlementToken", trading)
    generous = replace(
        _changing(chain, issued[-1], [issued[-1], gift]),
        balances={**chain.balances, key: chain.balances[key] + 5},
        supplies={**chain.supplies, "SettlementToken": chain.supplies["SettlementToken"] + 5},
    )
    assert judge(files, facts, generous).ok


@pytest.mark.parametrize("place", [0, -1])
def test_other_code_is_found(place: int, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    for contract, code in chain.codes.items():
        other = bytearray(code)
        other[place] ^= 1
        report = judge(files, facts, replace(chain, codes={**chain.codes, contract: bytes(other)}))
        assert any(contract in mismatch.record for mismatch in report.mismatches)


@pytest.mark.parametrize("field", ["block_hash", "state_root", "time_s", "transaction_hashes"])
def test_blocks_that_are_not_the_exported_ones_are_found(
    field: str, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    block = chain.recorded_blocks[7]
    changed: Any = {
        "block_hash": "0x" + "1" * 64,
        "state_root": "0x" + "1" * 64,
        "time_s": block.time_s + 1,
        "transaction_hashes": ("0x" + "1" * 64, *block.transaction_hashes[1:]),
    }[field]
    blocks = (*chain.recorded_blocks[:7], replace(block, **{field: changed}), *chain.recorded_blocks[8:])
    report = judge(files, facts, replace(chain, recorded_blocks=blocks))
    assert any(mismatch.record.startswith("block 7") for mismatch in report.mismatches)


def test_a_chain_without_the_markets_contracts_is_one_mismatch(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    report = judge(files, facts, chain.with_events(lambda _: []))
    assert [mismatch.rule for mismatch in report.mismatches] == [Rule.CHAIN]
    assert report.totals["cash_sum_microcents"] == 0
