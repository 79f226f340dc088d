"""Readings are anchored in batches without gaps, after their MTU, and proven by salted leaves that reveal nothing."""

import pytest
from eth_abi.abi import encode
from tests.contracts.harness import FIRST_MTU, ZONE, Market

from gridledger.chain.codec import keccak256

LEAF_TYPES = ["uint32", "uint64", "uint64", "uint64", "bytes32"]


def leaf(meter: int, import_wh: int, export_wh: int, salt: bytes, mtu_start: int = FIRST_MTU) -> bytes:
    """Double hash of a reading, as the ledger computes it."""
    return keccak256(keccak256(encode(LEAF_TYPES, [meter, mtu_start, import_wh, export_wh, salt])))


def parent(left: bytes, right: bytes) -> bytes:
    """Inner node over a sorted pair."""
    return keccak256(min(left, right) + max(left, right))


def test_batches_follow_each_other_without_gaps(market: Market) -> None:
    market.pass_mtu()
    with market.refuses("AnchorOutOfSequence", ZONE, FIRST_MTU, 1, 0):
        market.anchor(sequence=1)
    event = market.anchor().one("ReadingsAnchored")
    assert (event["sequence"], event["readingCount"]) == (0, 2)
    with market.refuses("AnchorOutOfSequence", ZONE, FIRST_MTU, 0, 1):
        market.anchor(sequence=0)
    market.anchor(sequence=1)
    assert market.view("MeterLedger", "anchorCount", ZONE, FIRST_MTU) == 2
    assert market.view("MeterLedger", "rootOf", ZONE, FIRST_MTU, 0) == event["root"]
    assert market.view("MeterLedger", "rootOf", ZONE, FIRST_MTU, 2) == bytes(32)
    assert market.view("MeterLedger", "anchorCount", ZONE + 1, FIRST_MTU) == 0


def test_nothing_is_anchored_before_the_mtu_is_over(market: Market) -> None:
    market.move_to(FIRST_MTU + 899)
    with market.refuses("MtuNotOver", FIRST_MTU, FIRST_MTU + 900, FIRST_MTU + 899):
        market.anchor()
    market.move_to(FIRST_MTU + 900)
    market.anchor()


@pytest.mark.parametrize(("root", "count"), [(bytes(32), 1), (b"\1" * 32, 0)])
def test_an_empty_batch_is_refused(market: Market, root: bytes, count: int) -> None:
    market.pass_mtu()
    with market.refuses("AnchorEmpty", ZONE, FIRST_MTU):
        market.send(market.relayer, "MeterLedger", "anchor", ZONE, FIRST_MTU, 0, root, count)


def test_a_reading_is_proven_and_every_changed_digit_is_not(market: Market) -> None:
    salt, other = b"\7" * 32, leaf(2, 5, 6, b"\10" * 32)
    mine = leaf(1, 120, 30, salt)
    root = parent(mine, other)
    market.pass_mtu()
    market.send(market.relayer, "MeterLedger", "anchor", ZONE, FIRST_MTU, 0, root, 2)
    right: tuple[object, ...] = (ZONE, FIRST_MTU, 0, 1, 120, 30, salt, [other])
    assert market.view("MeterLedger", "verify", *right)
    wrong: list[object] = [ZONE + 1, FIRST_MTU + 900, 1, 2, 121, 29, b"\6" * 32, [mine]]
    for place, value in enumerate(wrong):
        assert not market.view("MeterLedger", "verify", *right[:place], value, *right[place + 1 :])
    assert not market.view("MeterLedger", "verify", *right[:-1], [])


def test_an_unanchored_batch_proves_nothing(market: Market) -> None:
    assert not market.view("MeterLedger", "verify", ZONE, FIRST_MTU, 0, 1, 0, 0, bytes(32), [])
