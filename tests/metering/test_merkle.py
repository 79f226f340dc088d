"""A reading's commitment is the leaf the ledger recomputes."""

import pytest
from Crypto.Hash import keccak
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from gridledger.metering.merkle import leaf
from gridledger.units import UINT32_MAX, UINT64_MAX, OutOfRange

UINT64 = st.integers(0, UINT64_MAX)
LEAF_TYPES = ["uint32", "uint64", "uint64", "uint64", "bytes32"]


def other_keccak(data: bytes) -> bytes:
    """Keccak-256 from another library than the kernel's."""
    return keccak.new(digest_bits=256, data=data).digest()


@given(st.integers(0, UINT32_MAX), UINT64, UINT64, UINT64, st.binary(min_size=32, max_size=32))
def test_a_leaf_is_the_double_hash_of_what_eth_abi_encodes(
    meter: int, mtu_start: int, import_wh: int, export_wh: int, salt: bytes
) -> None:
    encoded = encode(LEAF_TYPES, [meter, mtu_start, import_wh, export_wh, salt])
    assert leaf(meter, mtu_start, import_wh, export_wh, salt) == other_keccak(other_keccak(encoded))


@pytest.mark.parametrize(
    ("meter", "mtu_start", "import_wh", "salt"),
    [
        (-1, 0, 0, bytes(32)),
        (UINT32_MAX + 1, 0, 0, bytes(32)),
        (1, -1, 0, bytes(32)),
        (1, 0, UINT64_MAX + 1, bytes(32)),
        (1, 0, 0, bytes(31)),
        (1, 0, 0, bytes(33)),
    ],
)
def test_no_leaf_is_made_of_values_the_contract_cannot_hold(
    meter: int, mtu_start: int, import_wh: int, salt: bytes
) -> None:
    with pytest.raises(OutOfRange):
        leaf(meter, mtu_start, import_wh, 0, salt)
