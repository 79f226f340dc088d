"""What each meter of a zone is expected to do in an MTU: its contract, and what a forecast adds to it.

A meter will do what it did at the same time of day one day before (persistence), or what was ordered for it if that is
more: what the market did not fill flows all the same, to or from the supplier. The residual is what that is beyond the
contract. Without the orders a meter that was curtailed once would be forecast as curtailed for ever.

Setpoints are committed by the root of a Merkle tree before anybody is curtailed; a leaf is
`keccak(keccak(abi.encode(uint32 meter, int64 contractedWh, int64 residualWh, bytes32 salt)))`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from gridledger.dispatch.errors import MetersNotAscending
from gridledger.merkle import HASH_BYTES, MerkleTree, keccak, leaf_hash
from gridledger.units import INT64_MAX, INT64_MIN, UINT32_MAX, check_range

__all__ = [
    "NO_SETPOINTS_ROOT",
    "Direction",
    "SetpointRow",
    "basis_wh",
    "leaves_root",
    "make_setpoints",
    "schedule_hash",
    "setpoint_leaf",
    "setpoint_tree",
    "setpoints_root",
]

NO_SETPOINTS_ROOT = bytes(HASH_BYTES)


class Direction(IntEnum):
    """Which way energy flows, seen from the meters; the numbers are the contract's."""

    EXPORT = 1
    IMPORT = 2


@dataclass(frozen=True, kw_only=True)
class SetpointRow:
    """What one meter is expected to do in an MTU, Wh, export positive; each part and their sum an int64."""

    meter: int
    contracted_wh: int
    residual_wh: int

    @property
    def setpoint_wh(self) -> int:
        """Contract and residual together, Wh, export positive."""
        return self.contracted_wh + self.residual_wh


def make_setpoints(
    contracted_wh: Mapping[int, int], ordered_wh: Mapping[int, int], persisted_wh: Mapping[int, int]
) -> tuple[SetpointRow, ...]:
    """Setpoints by meter, ascending, of those meters that have a contract or a residual other than zero.

    The mappings go from meter to net Wh, export positive: contracts, the listed orders that could trade, and what each
    meter did one day before. A residual never lowers what a seller has contracted, nor what a buyer has. Raises
    OutOfRange.
    """
    rows = (
        SetpointRow(
            meter=check_range("meter", meter, 0, UINT32_MAX),
            contracted_wh=contracted_wh.get(meter, 0),
            residual_wh=_residual_wh(
                contracted_wh.get(meter, 0), (ordered_wh.get(meter, 0), persisted_wh.get(meter, 0))
            ),
        )
        for meter in sorted(contracted_wh.keys() | ordered_wh.keys() | persisted_wh.keys())
    )
    return tuple(_in_range(row) for row in rows if row.contracted_wh or row.residual_wh)


def basis_wh(row: SetpointRow, direction: Direction) -> int:
    """How much of a direction's flow a meter is expected to make, Wh, never negative: what a cap can take from."""
    return max(0, row.setpoint_wh if direction is Direction.EXPORT else -row.setpoint_wh)


def setpoint_leaf(row: SetpointRow, salt: bytes) -> bytes:
    """Commitment to a setpoint, 32 bytes; the salt has 32 bytes. Raises OutOfRange."""
    check_range("salt_bytes", len(salt), HASH_BYTES, HASH_BYTES)
    check_range("meter", row.meter, 0, UINT32_MAX)
    _in_range(row)
    words = (row.meter, row.contracted_wh, row.residual_wh)
    return leaf_hash(b"".join(word.to_bytes(HASH_BYTES, signed=True) for word in words) + salt)


def setpoint_tree(rows: Sequence[SetpointRow], salts: Mapping[int, bytes]) -> MerkleTree:
    """The tree over setpoints ascending by meter, each with its meter's salt; its proofs open single setpoints.

    Raises MetersNotAscending, NoLeaves, OutOfRange.
    """
    return _tree([(row.meter, setpoint_leaf(row, salts[row.meter])) for row in rows])


def setpoints_root(rows: Sequence[SetpointRow], salts: Mapping[int, bytes]) -> bytes:
    """What a clearing commits, 32 bytes: the tree's root, or zeros without setpoints, of which nothing can be proven.

    Raises MetersNotAscending, OutOfRange.
    """
    return setpoint_tree(rows, salts).root if rows else NO_SETPOINTS_ROOT


def leaves_root(leaves: Sequence[tuple[int, bytes]]) -> bytes:
    """As `setpoints_root`, from each setpoint's meter and leaf of 32 bytes. Raises MetersNotAscending."""
    return _tree(leaves).root if leaves else NO_SETPOINTS_ROOT


def schedule_hash(result_hash: str, root: bytes) -> str:
    """What a schedule is known by on chain: it covers the clearing's result and the setpoints' root; 0x hex."""
    return "0x" + keccak(bytes.fromhex(result_hash[2:]) + root).hex()


def _tree(leaves: Sequence[tuple[int, bytes]]) -> MerkleTree:
    before = -1
    for meter, _ in leaves:
        if meter <= before:
            raise MetersNotAscending(meter=meter)
        before = meter
    return MerkleTree(leaf for _, leaf in leaves)


def _residual_wh(contracted_wh: int, expected_wh: tuple[int, int]) -> int:
    """What is expected beyond a contract, in its direction; without one the larger of what is ordered and was done."""
    if contracted_wh > 0:
        return max(0, max(expected_wh) - contracted_wh)
    if contracted_wh < 0:
        return min(0, min(expected_wh) - contracted_wh)
    return max(expected_wh, key=abs)


def _in_range(row: SetpointRow) -> SetpointRow:
    for field in ("contracted_wh", "residual_wh", "setpoint_wh"):
        check_range(field, getattr(row, field), INT64_MIN, INT64_MAX)
    return row
