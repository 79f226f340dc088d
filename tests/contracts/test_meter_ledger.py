"""Readings are anchored in batches without gaps and proven by salted leaves that reveal nothing; what a device has
signed is proven from its texts, byte by byte."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from eth_abi.abi import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.harness import ACKNOWLEDGED, FIRST_MTU, MTU_LENGTH_S, ZONE, Market, Pair, settle_arguments
from tests.contracts.test_access_roles import callers, refusal

from gridledger.chain.codec import keccak256
from gridledger.metering.evidence import SignedEvidence, signed_evidence
from gridledger.metering.ocmf import sign_registers
from gridledger.metering.registers import RegisterReading
from gridledger.metering.signed_reading import key_from_seed, public_key

LEAF_TYPES = ["uint32", "uint64", "uint64", "uint64", "bytes32"]
KEPT_ROOTS = 256
DEVICE = key_from_seed(b"device of a disputed meter")
END = FIRST_MTU + MTU_LENGTH_S
START_TEXT = {"taken_at": FIRST_MTU, "import_register_wh": 1_000_100, "export_register_wh": 50_000, "counter": 7}
END_TEXT = {"taken_at": END, "import_register_wh": 1_000_160, "export_register_wh": 50_640, "counter": 8}
NET_WH = 640 - 60


def leaf(meter: int, import_wh: int, export_wh: int, salt: bytes, mtu_start: int = FIRST_MTU) -> bytes:
    """Double hash of a reading, as the ledger computes it."""
    return keccak256(keccak256(encode(LEAF_TYPES, [meter, mtu_start, import_wh, export_wh, salt])))


def parent(left: bytes, right: bytes) -> bytes:
    """Inner node over a sorted pair."""
    return keccak256(min(left, right) + max(left, right))


# ---- anchors


def test_batches_follow_each_other_without_gaps(market: Market) -> None:
    with market.refuses("AnchorOutOfSequence", 1, 0):
        market.anchor(1)
    event = market.anchor().one("ReadingsAnchored")
    assert (event["sequence"], event["readingCount"]) == (0, 2)
    with market.refuses("AnchorOutOfSequence", 0, 1):
        market.anchor(0)
    market.move_to(market.now + 60)
    market.anchor()
    assert market.view("MeterLedger", "anchors") == (market.relayer.address.lower(), 2, market.now)
    assert market.view("MeterLedger", "rootOf", 0) == event["root"]
    assert market.view("MeterLedger", "rootOf", 2) == bytes(32)


@pytest.mark.parametrize(("root", "count"), [(bytes(32), 1), (b"\1" * 32, 0)])
def test_an_empty_batch_is_refused(market: Market, root: bytes, count: int) -> None:
    with market.refuses("AnchorEmpty", 0):
        market.anchor(root=root, count=count)


def test_nobody_but_the_anchorer_anchors(market: Market) -> None:
    arguments: list[object] = [0, b"\1" * 32, 1]
    for name, address in callers(market).items():
        if name == "RELAYER" or name in market.at:
            continue
        error = refusal(market, address, "MeterLedger", "anchor", arguments)
        assert error is not None
        assert (error.name, error.arguments) == ("NotTheAnchorer", (address, market.relayer.address.lower())), name
    assert refusal(market, market.relayer.address, "MeterLedger", "anchor", arguments) is None


def test_the_oldest_root_gives_way_to_the_newest(market: Market) -> None:
    roots = [keccak256(number.to_bytes(8)) for number in range(KEPT_ROOTS + 1)]
    for root in roots[:-1]:
        market.anchor(root=root)
    assert market.view("MeterLedger", "rootOf", 0) == roots[0]
    market.anchor(root=roots[-1])
    assert market.view("MeterLedger", "rootOf", 0) == bytes(32)
    assert market.view("MeterLedger", "rootOf", 1) == roots[1]
    assert market.view("MeterLedger", "rootOf", KEPT_ROOTS) == roots[-1]


def test_a_reading_is_proven_and_every_changed_digit_is_not(market: Market) -> None:
    salt, other = b"\7" * 32, leaf(2, 5, 6, b"\10" * 32)
    mine = leaf(1, 120, 30, salt)
    market.anchor(root=parent(mine, other))
    right: tuple[object, ...] = (0, 1, FIRST_MTU, 120, 30, salt, [other])
    assert market.view("MeterLedger", "verify", *right)
    wrong: list[object] = [1, 2, FIRST_MTU + 900, 121, 29, b"\6" * 32, [mine]]
    for place, value in enumerate(wrong):
        assert not market.view("MeterLedger", "verify", *right[:place], value, *right[place + 1 :])
    assert not market.view("MeterLedger", "verify", *right[:-1], [])


def test_an_unanchored_batch_proves_nothing(market: Market) -> None:
    assert not market.view("MeterLedger", "verify", 0, 1, FIRST_MTU, 0, 0, bytes(32), [])


def test_two_readings_of_one_meter_and_mtu_in_one_batch_are_both_proven_and_so_prove_the_duplicate(
    market: Market,
) -> None:
    one, other = leaf(1, 120, 30, b"\7" * 32), leaf(1, 121, 30, b"\7" * 32)
    market.anchor(root=parent(one, other))
    for import_wh, sibling in ((120, other), (121, one)):
        assert market.view("MeterLedger", "verify", 0, 1, FIRST_MTU, import_wh, 30, b"\7" * 32, [sibling])


# ---- disputes


def text_of(meter: int, **fields: Any) -> str:
    """A text as a device of this market signs it."""
    return sign_registers(RegisterReading(meter=meter, meter_id="1EMH0012345678", **fields), DEVICE)


def words(evidence: SignedEvidence, **changes: Any) -> tuple[object, ...]:
    """A text in the order of the contract's struct."""
    changed = replace(evidence, **changes)
    return (changed.payload, changed.spans, changed.decimals, changed.r, changed.s)


def registered(market: Market, meter: int) -> tuple[SignedEvidence, SignedEvidence]:
    """The two texts of the MTU, their device and template registered for a meter."""
    first, last = (signed_evidence(text_of(meter, **fields)) for fields in (START_TEXT, END_TEXT))
    assert first.template_hash == last.template_hash
    key = public_key(DEVICE)
    market.send(market.grid_operator, "ParticipantRegistry", "replaceDeviceKey", meter, key.x, key.y)
    market.send(market.grid_operator, "MeterLedger", "registerTemplates", [meter], [first.template_hash])
    return first, last


def dispute(
    market: Market, meter: int, first: tuple[object, ...], last: tuple[object, ...], at: int = FIRST_MTU
) -> Any:
    return market.send(market.outsider, "MeterLedger", "dispute", meter, at, first, last)


def test_a_signed_pair_proves_the_energy_between(market: Market) -> None:
    """This EVM has no P-256 precompile: what is tested here is OpenZeppelin's way without it."""
    kept = Pair.of(market).cleared(market)
    meter = kept.positions[0].meter
    first, last = registered(market, meter)
    receipt = dispute(market, meter, words(first), words(last))
    event = receipt.one("ReadingProven")
    assert (event["meter"], event["mtuStart"], event["zone"], event["netWh"]) == (meter, FIRST_MTU, ZONE, NET_WH)
    assert market.view("MeterLedger", "provenOf", meter, FIRST_MTU) == {"provenAt": market.now, "netWh": NET_WH}
    assert market.view("MeterLedger", "settlementState", ZONE, FIRST_MTU) == (0, 1)
    with market.refuses("ReadingAlreadyProven", meter, FIRST_MTU, NET_WH):
        dispute(market, meter, words(first), words(last))


@pytest.fixture
def disputed(market: Market) -> tuple[Market, int, SignedEvidence, SignedEvidence]:
    meter = Pair.of(market).cleared(market).positions[0].meter
    return (market, meter, *registered(market, meter))


Disputed = tuple[Market, int, SignedEvidence, SignedEvidence]


def test_the_other_signature_of_the_same_text_is_as_good(disputed: Disputed) -> None:
    market, meter, first, last = disputed
    order = SECP256R1().group_order
    high = {name: (order - int.from_bytes(one.s)).to_bytes(32) for name, one in (("first", first), ("last", last))}
    dispute(market, meter, words(first, s=high["first"]), words(last, s=high["last"]))
    assert market.view("MeterLedger", "provenOf", meter, FIRST_MTU)["netWh"] == NET_WH


def test_every_flipped_digit_of_a_value_fails(disputed: Disputed) -> None:
    """Moments and counters as well: what the device has not signed proves nothing."""
    market, meter, first, last = disputed
    tried = 0
    for index in range(5):
        start, length = last.spans >> 32 * index & 0xFFFF, last.spans >> (32 * index + 16) & 0xFFFF
        for place in range(start, start + length):
            digit = last.payload[place]
            if not 48 <= digit <= 57:
                continue
            flipped = last.payload[:place] + bytes((48 + (digit - 47) % 10,)) + last.payload[place + 1 :]
            error = refusal(
                market,
                market.outsider.address,
                "MeterLedger",
                "dispute",
                [meter, FIRST_MTU, words(first), words(last, payload=flipped)],
            )
            assert error is not None
            assert error.name in (
                "TextNotSigned",
                "MomentRefused",
                "MomentsDiffer",
                "MomentUnreadable",
                "RegisterFallen",
            )
            tried += 1
    assert tried > 40
    dispute(market, meter, words(first), words(last))


def test_every_byte_outside_the_values_is_the_template_s(disputed: Disputed) -> None:
    market, meter, first, last = disputed
    spans = [(last.spans >> 32 * index & 0xFFFF, last.spans >> (32 * index + 16) & 0xFFFF) for index in range(5)]
    inside = {place for start, length in spans for place in range(start, start + length)}
    for place in (place for place in range(len(last.payload)) if place not in inside):
        changed = last.payload[:place] + bytes((last.payload[place] ^ 1,)) + last.payload[place + 1 :]
        arguments = [meter, FIRST_MTU, words(first), words(last, payload=changed)]
        error = refusal(market, market.outsider.address, "MeterLedger", "dispute", arguments)
        assert error is not None
        assert error.name == "TemplateDiffers"


def test_texts_of_other_moments_meters_and_keys_prove_nothing(disputed: Disputed) -> None:
    market, meter, first, last = disputed
    with market.refuses("MomentRefused", meter, FIRST_MTU, END):
        dispute(market, meter, words(last), words(first))
    with market.refuses("MomentRefused", meter, END, FIRST_MTU):
        dispute(market, meter, words(first), words(first))
    with market.refuses("MtuUnaligned", FIRST_MTU + 1, MTU_LENGTH_S):
        dispute(market, meter, words(first), words(last), FIRST_MTU + 1)
    with market.refuses("TemplateDiffers", meter + 1, bytes(32), first.template_hash):
        dispute(market, meter + 1, words(first), words(last))
    market.send(market.grid_operator, "MeterLedger", "registerTemplates", [meter + 1], [first.template_hash])
    with market.refuses("TextNotSigned", meter + 1):
        dispute(market, meter + 1, words(first), words(last))
    with market.refuses("TemplateDiffers"):
        dispute(market, meter, words(first, decimals=0), words(last, decimals=0))


def test_a_register_that_fell_proves_no_energy(disputed: Disputed) -> None:
    market, meter, first, _ = disputed
    for name, before in (("import_register_wh", 1_000_100), ("export_register_wh", 50_000)):
        fallen = signed_evidence(text_of(meter, **{**END_TEXT, name: before - 1}))
        with market.refuses("RegisterFallen", meter, before, before - 1):
            dispute(market, meter, words(first), words(fallen))


def test_spans_that_overlap_or_leave_the_text_are_refused(disputed: Disputed) -> None:
    market, meter, first, last = disputed
    for spans in (0xFFFF << 16, last.spans & ~(0xFFFF << 32), last.spans | 0xFFFF << 144):
        arguments = [meter, FIRST_MTU, words(first), words(last, spans=spans)]
        error = refusal(market, market.outsider.address, "MeterLedger", "dispute", arguments)
        assert error is not None
        assert error.name in ("SpansRefused", "TemplateDiffers")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1), st.integers(0, 10_000), st.integers(0, 10_000))
def test_whatever_registers_a_device_signs_the_contract_reads_the_same(
    disputed: Disputed, imported: int, exported: int, import_wh: int, export_wh: int
) -> None:
    market, meter, _, _ = disputed
    to_import, to_export = min(imported + import_wh, 10**12 - 1), min(exported + export_wh, 10**12 - 1)
    first = text_of(meter, taken_at=FIRST_MTU, import_register_wh=imported, export_register_wh=exported, counter=1)
    last = text_of(meter, taken_at=END, import_register_wh=to_import, export_register_wh=to_export, counter=2)
    with market.undone():
        dispute(market, meter, words(signed_evidence(first)), words(signed_evidence(last)))
        proven = market.view("MeterLedger", "provenOf", meter, FIRST_MTU)
        assert proven["netWh"] == to_export - exported - (to_import - imported)


# ---- what a proof means for a settlement


def test_from_a_proof_on_nothing_else_can_be_settled(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    meter = kept.positions[0].meter
    first, last = registered(market, meter)
    market.deliver()
    dispute(market, meter, words(first), words(last))
    with market.refuses("ProvenOtherwise", meter, 600, NET_WH):
        market.send(market.market_operator, "EnergySettlement", "settle", *settle_arguments(kept, [0, 1], [600, -600]))
    kept, _ = market.settle(kept, {0: NET_WH, 1: -600})
    assert kept.positions[0].metered_wh == NET_WH


def test_anybody_carries_out_what_is_proven_and_the_operator_cannot_take_it_back(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    meter = kept.positions[0].meter
    first, last = registered(market, meter)
    market.deliver()
    kept, _ = market.settle(kept, {0: 600, 1: -600})
    arguments = settle_arguments(kept, [0], [])[:-1]
    with market.refuses("ReadingNotProven", meter, FIRST_MTU):
        market.send(market.outsider, "EnergySettlement", "settleProven", *arguments)
    dispute(market, meter, words(first), words(last))
    market.move_to(END + market.policy.correction_s + 1)  # proven in time, carried out late
    event = market.send(market.outsider, "EnergySettlement", "settleProven", *arguments).one("PositionResettled")
    assert (event["meter"], event["meteredWh"], event["version"]) == (meter, NET_WH, 1)


def test_what_a_device_signs_ahead_of_time_is_not_settled_before_the_mtu_is_over(market: Market) -> None:
    """Until then the grid operator may stop the zone, and whoever is settled would be paid for what is refunded."""
    kept = Pair.of(market).cleared(market)
    first, last = registered(market, kept.positions[0].meter)
    market.answer(ACKNOWLEDGED)
    dispute(market, kept.positions[0].meter, words(first), words(last))
    arguments = settle_arguments(kept, [0], [])[:-1]
    market.move_to(END - 1)
    with market.refuses("SettlementTooEarly", FIRST_MTU, END, END - 1):
        market.send(market.outsider, "EnergySettlement", "settleProven", *arguments)
    with market.undone():
        market.stop()
        market.refund(kept, [0, 1])
        assert market.escrow() == 0
    market.move_to(END)
    market.send(market.outsider, "EnergySettlement", "settleProven", *arguments)


def test_what_is_proven_after_corrections_have_ended_changes_nothing(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    meter = kept.positions[0].meter
    first, last = registered(market, meter)
    market.deliver()
    kept, _ = market.settle(kept, {0: 600, 1: -600})
    deadline = END + market.policy.correction_s
    market.move_to(deadline + 1)
    dispute(market, meter, words(first), words(last))
    with market.refuses("CorrectionsEnded", FIRST_MTU, deadline, deadline + 1):
        market.send(market.outsider, "EnergySettlement", "settleProven", *settle_arguments(kept, [0], [])[:-1])


def test_a_proof_of_another_meter_s_mtu_does_not_stop_the_others(market: Market) -> None:
    kept = Pair.of(market).cleared(market)
    first, last = registered(market, kept.positions[0].meter)
    market.answer(ACKNOWLEDGED)
    market.pass_mtu()
    market.anchor()
    dispute(market, kept.positions[0].meter, words(first), words(last))
    kept, _ = market.settle(kept, {1: -590})
    assert kept.positions[1].metered_wh == -590
