"""Setpoints are contract and residual; their commitment opens for each meter alone."""

import pytest
from Crypto.Hash import keccak
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from gridledger.dispatch.errors import MetersNotAscending
from gridledger.dispatch.ports import SetpointSalts
from gridledger.dispatch.salts import RandomSetpointSalts, SeededSetpointSalts
from gridledger.dispatch.setpoints import (
    NO_SETPOINTS_ROOT,
    Direction,
    SetpointRow,
    basis_wh,
    make_setpoints,
    setpoint_leaf,
    setpoint_tree,
    setpoints_root,
)
from gridledger.merkle import NoLeaves, verify
from gridledger.units import INT64_MAX, INT64_MIN, UINT32_MAX, OutOfRange

METERS = st.integers(0, UINT32_MAX)
ENERGIES = st.integers(-(10**9), 10**9)
INT64 = st.integers(INT64_MIN, INT64_MAX)
PLACES = st.tuples(METERS, st.integers(0, 2**40), METERS)


def row(meter: int, contracted_wh: int = 0, residual_wh: int = 0) -> SetpointRow:
    return SetpointRow(meter=meter, contracted_wh=contracted_wh, residual_wh=residual_wh)


@pytest.mark.parametrize(
    ("contracted_wh", "ordered_wh", "persisted_wh", "residual_wh"),
    [
        (500, 500, 620, 120),
        (500, 900, 620, 400),
        (500, 500, 380, 0),
        (500, 0, -400, 0),
        (-500, -500, -620, -120),
        (-500, -800, -620, -300),
        (-500, -500, -380, 0),
        (-500, 0, 400, 0),
        (0, 0, 120, 120),
        (0, 300, 120, 300),
        (0, -300, 120, -300),
        (0, 0, -120, -120),
        (500, 500, 500, 0),
    ],
)
def test_a_residual_is_what_is_ordered_or_was_done_beyond_the_contract(
    contracted_wh: int, ordered_wh: int, persisted_wh: int, residual_wh: int
) -> None:
    (made,) = make_setpoints({7: contracted_wh}, {7: ordered_wh}, {7: persisted_wh})
    assert made == row(7, contracted_wh, residual_wh)
    assert made.setpoint_wh == contracted_wh + residual_wh


def test_a_meter_that_was_not_read_the_day_before_is_expected_to_do_what_is_ordered() -> None:
    assert make_setpoints({7: 500, 8: -300}, {7: 600}, {}) == (row(7, 500, 100), row(8, -300))


def test_meters_without_contract_and_forecast_have_no_setpoint() -> None:
    made = make_setpoints({4: 100, 2: 0, 3: -50}, {5: 0}, {9: 5, 1: 0})
    assert made == (row(3, -50), row(4, 100), row(9, 0, 5))
    assert make_setpoints({}, {}, {}) == ()


@given(*(st.dictionaries(METERS, ENERGIES) for _ in range(3)))
def test_setpoints_ascend_and_lie_on_the_contracts_side_of_nothing(
    contracted_wh: dict[int, int], ordered_wh: dict[int, int], persisted_wh: dict[int, int]
) -> None:
    rows = make_setpoints(contracted_wh, ordered_wh, persisted_wh)
    assert [one.meter for one in rows] == sorted({one.meter for one in rows})
    assert {meter for meter, energy_wh in contracted_wh.items() if energy_wh} <= {one.meter for one in rows}
    for one in rows:
        assert abs(one.setpoint_wh) >= abs(one.contracted_wh)
        assert one.contracted_wh * one.setpoint_wh >= 0
        assert basis_wh(one, Direction.EXPORT) - basis_wh(one, Direction.IMPORT) == one.setpoint_wh
        assert min(basis_wh(one, direction) for direction in Direction) == 0


@pytest.mark.parametrize(
    ("contracted_wh", "persisted_wh", "field"),
    [
        ({1: INT64_MAX + 1}, {}, "contracted_wh"),
        ({}, {1: INT64_MIN - 1}, "residual_wh"),
        ({1: INT64_MIN}, {1: INT64_MIN - 1}, "setpoint_wh"),
        ({UINT32_MAX + 1: 1}, {}, "meter"),
        ({-1: 1}, {}, "meter"),
    ],
)
def test_what_the_contract_cannot_hold_is_no_setpoint(
    contracted_wh: dict[int, int], persisted_wh: dict[int, int], field: str
) -> None:
    with pytest.raises(OutOfRange) as refused:
        make_setpoints(contracted_wh, {}, persisted_wh)
    assert refused.value.field == field


@given(METERS, INT64, INT64, st.binary(min_size=32, max_size=32))
def test_a_leaf_is_the_double_hash_of_what_eth_abi_encodes(
    meter: int, contracted_wh: int, setpoint_wh: int, salt: bytes
) -> None:
    one = row(meter, contracted_wh, max(INT64_MIN, min(INT64_MAX, setpoint_wh - contracted_wh)))
    encoded = encode(["uint32", "int64", "int64", "bytes32"], [meter, one.contracted_wh, one.residual_wh, salt])
    once = keccak.new(digest_bits=256, data=encoded).digest()
    assert setpoint_leaf(one, salt) == keccak.new(digest_bits=256, data=once).digest()


@pytest.mark.parametrize(
    ("one", "salt"), [(row(1), bytes(31)), (row(1), bytes(33)), (row(1, INT64_MAX, 1), bytes(32)), (row(-1), bytes(32))]
)
def test_no_leaf_is_made_of_values_the_contract_cannot_hold(one: SetpointRow, salt: bytes) -> None:
    with pytest.raises(OutOfRange):
        setpoint_leaf(one, salt)


@given(st.dictionaries(METERS, st.integers(1, 10**9), min_size=1, max_size=30), st.binary(min_size=1, max_size=8))
def test_each_setpoint_opens_the_root_and_no_other_does(contracted_wh: dict[int, int], seed: bytes) -> None:
    rows = make_setpoints(contracted_wh, {}, {})
    source = SeededSetpointSalts(seed)
    salts = {one.meter: source.salt_for(1, 900, one.meter) for one in rows}
    root, tree = setpoints_root(rows, salts), setpoint_tree(rows, salts)
    for one in rows:
        salt = salts[one.meter]
        proof = tree.proof(setpoint_leaf(one, salt))
        assert verify(root, setpoint_leaf(one, salt), proof)
        assert not verify(root, setpoint_leaf(row(one.meter, one.contracted_wh, 1), salt), proof)
        assert not verify(root, setpoint_leaf(one, source.salt_for(1, 1800, one.meter)), proof)


def test_a_zone_without_setpoints_commits_zeros() -> None:
    assert setpoints_root((), {}) == NO_SETPOINTS_ROOT == bytes(32)
    with pytest.raises(NoLeaves):
        setpoint_tree((), {})


@pytest.mark.parametrize("meters", [(2, 1), (1, 1)])
def test_setpoints_out_of_order_or_twice_are_not_committed(meters: tuple[int, int]) -> None:
    with pytest.raises(MetersNotAscending):
        setpoints_root([row(meter, 1) for meter in meters], dict.fromkeys(meters, bytes(32)))


@given(PLACES, PLACES)
def test_seeded_salts_differ_wherever_zone_mtu_or_meter_differ(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    salts: SetpointSalts = SeededSetpointSalts(b"seed")
    assert (salts.salt_for(*one) == SeededSetpointSalts(b"seed").salt_for(*other)) == (one == other)
    assert salts.salt_for(*one) != SeededSetpointSalts(b"another seed").salt_for(*one)
    assert len(salts.salt_for(*one)) == 32


def test_random_salts_never_repeat() -> None:
    salts: SetpointSalts = RandomSetpointSalts()
    assert len({salts.salt_for(1, 900, 1) for _ in range(1000)}) == 1000
