"""Call data that is not what the events and the receipts say is found out, whichever value it is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.audit.evm_day import CHUNKED, SEPARATE, SUBSTITUTED
from tests.audit.fakes import MemoryFiles, RecordedChain, judge

from gridledger.audit.evidence import MarketFacts
from gridledger.audit.model import Rule
from gridledger.audit.ports import ChainCall
from gridledger.audit.presented import NO_ORDER

Arguments = tuple[Any, ...]


def _calls(chain: RecordedChain, function: str, mtu_start: int) -> list[ChainCall]:
    calls = (call for call in chain.calls() if call.function == function)
    return [call for call in calls if mtu_start in (call.arguments[1:2] or (call.arguments[0]["mtuStart"],))]


def _with(chain: RecordedChain, target: ChainCall, arguments: Arguments) -> RecordedChain:
    changed = replace(target, arguments=arguments)
    return chain.with_calls(lambda call: [changed if call is target else call])


def _field(name: str, change: Callable[[Any], Any]) -> Callable[[Arguments], Arguments]:
    return lambda arguments: ({**arguments[0], name: change(arguments[0][name])},)


def _order(name: str, change: Callable[[Any], Any], which: str = "orders") -> Callable[[Arguments], Arguments]:
    def first(orders: tuple[Any, ...]) -> tuple[Any, ...]:
        return ({**orders[0], name: change(orders[0][name])}, *orders[1:])

    return _field(which, first)


def _other_byte(text: bytes) -> bytes:
    return text[:-1] + bytes((text[-1] ^ 1,))


CHANGES: dict[str, Callable[[Arguments], Arguments]] = {
    "zone": _field("zone", lambda zone: zone + 1),
    "MTU": _field("mtuStart", lambda mtu_start: mtu_start + 900),
    "chunk": _field("chunk", lambda chunk: chunk + 1),
    "last": _field("last", lambda last: not last),
    "merged": _field("merged", lambda merged: not merged),
    "price": _field("anyPrice", lambda price: price + 1),
    "low-carbon price": _field("lowCarbonPrice", lambda price: price + 1),
    "lower end": _field("anyEnds", lambda ends: {**ends, "lower": NO_ORDER}),
    "upper end": _field("anyEnds", lambda ends: {**ends, "upper": NO_ORDER}),
    "lower low-carbon end": _field("lowCarbonEnds", lambda ends: {**ends, "lower": NO_ORDER}),
    "upper low-carbon end": _field("lowCarbonEnds", lambda ends: {**ends, "upper": NO_ORDER}),
    "an end nobody presented": _field("anyEnds", lambda ends: {**ends, "lower": 60_000}),
    "running numbers": _field("bookNumbers", _other_byte),
    "other uids": _field("otherUids", lambda uids: (_other_byte(uids[0]), *uids[1:])),
    "left-out uid": _field("otherUids", lambda uids: uids[1:]),
    "terms": _order("terms", lambda terms: terms ^ 1 << 40),
    "fill": _order("terms", lambda terms: terms - (1 << 200)),
    "place": _order("terms", lambda terms: terms + (1 << 240)),
    "guard": _order("guard", lambda guard: guard + 1),
    "signature, r": _order("r", _other_byte),
    "signature, vs": _order("vs", _other_byte),
    "left-out order": _field("orders", lambda orders: orders[1:]),
    "repeated order": _field("orders", lambda orders: (orders[0], *orders)),
    "accepted offers": _field("acceptedOffers", lambda offers: (0, *offers[1:])),
    "left-out acceptance": _field("acceptedOffers", lambda offers: offers[1:]),
    "continued meter": _field("continuedMeters", lambda _: (2,)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_clearing_is_found(
    change: Callable[[Arguments], Arguments], files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    (target,) = _calls(chain, "clear", SEPARATE)
    assert not judge(files, facts, _with(chain, target, change(target.arguments))).ok


@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("name", ["chunk", "last", "merged", "price", "terms", "fill", "place", "guard"])
def test_a_changed_chunk_is_found(
    name: str, chunk: int, files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    target = _calls(chain, "clear", CHUNKED)[chunk]
    assert not judge(files, facts, _with(chain, target, CHANGES[name](target.arguments))).ok


def test_a_meter_that_is_not_continued_is_found(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    target = _calls(chain, "clear", CHUNKED)[0]
    changed = CHANGES["continued meter"](target.arguments)[0] | {"continuedMeters": ()}
    assert not judge(files, facts, _with(chain, target, (changed,))).ok


def test_a_clearing_without_call_data_is_found(files: MemoryFiles, facts: MarketFacts, chain: RecordedChain) -> None:
    target = _calls(chain, "clear", SEPARATE)[0]
    report = judge(files, facts, chain.with_calls(lambda call: [] if call is target else [call]))
    assert Rule.CLEARING in {mismatch.rule for mismatch in report.mismatches}


@pytest.mark.parametrize("function", ["settle", "settleSubstitutes"])
@pytest.mark.parametrize(
    "change",
    [
        lambda arguments: (*arguments[:3], (arguments[3][0] + (1 << 160), *arguments[3][1:]), *arguments[4:]),
        lambda arguments: (*arguments[:3], (arguments[3][0], arguments[3][1] + 1, *arguments[3][2:]), *arguments[4:]),
        lambda arguments: (*arguments[:3], (*arguments[3][:2], arguments[3][2] + 1, *arguments[3][3:]), *arguments[4:]),
        lambda arguments: (*arguments[:3], arguments[3][3:], *arguments[4:]),
        lambda arguments: (*arguments[:4], (1 << 32,), *arguments[5:]),
        lambda arguments: (*arguments[:5], (arguments[5][0] ^ 1, *arguments[5][1:]), *arguments[6:]),
        lambda arguments: (*arguments[:5], (9, *arguments[5][1:]), *arguments[6:]),
    ],
    ids=["meter", "energy", "fee", "left-out position", "deal", "index", "index of nothing"],
)
def test_a_changed_settlement_is_found(
    function: str,
    change: Callable[[Arguments], Arguments],
    files: MemoryFiles,
    facts: MarketFacts,
    chain: RecordedChain,
) -> None:
    target = _calls(chain, function, SUBSTITUTED)[-1]
    assert not judge(files, facts, _with(chain, target, change(target.arguments))).ok


def test_changed_metered_energy_in_a_call_is_found(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    for target in _calls(chain, "settle", SUBSTITUTED):
        *others, metered = target.arguments
        assert not judge(files, facts, _with(chain, target, (*others, (metered[0] + 1, *metered[1:])))).ok


def test_a_settlement_made_by_another_contract_needs_no_call_data(
    files: MemoryFiles, facts: MarketFacts, chain: RecordedChain
) -> None:
    assert judge(files, facts, chain.with_calls(lambda call: [call] if call.function == "clear" else [])).ok
