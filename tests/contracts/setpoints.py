"""The setpoints behind a schedule, and the grid operator's curtailments of it, in the words of the contract.

Energy in Wh, export positive.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eth_abi.abi import encode

from gridledger.chain.codec import keccak256
from gridledger.dispatch.salts import SeededSetpointSalts
from gridledger.dispatch.setpoints import (
    SetpointRow,
    make_setpoints,
    setpoint_leaf,
    setpoint_tree,
    setpoints_root,
)
from gridledger.market.model import Position

__all__ = ["Setpoints", "schedule_hash"]

_SALTS = SeededSetpointSalts(b"contract tests")


def schedule_hash(result_hash: bytes, setpoints_root: bytes) -> bytes:
    """What the grid operator answers to: the trades and what is expected of every meter."""
    return keccak256(encode(["bytes32", "bytes32"], [result_hash, setpoints_root]))


@dataclass(frozen=True)
class Setpoints:
    """What the meters of a zone are expected to do in an MTU, ascending by meter."""

    rows: tuple[SetpointRow, ...]

    @classmethod
    def of(cls, positions: Iterable[Position], persisted_wh: Mapping[int, int] | None = None) -> "Setpoints":
        """What the positions contract, and what was done beyond it a day before, by meter."""
        contracted_wh: dict[int, int] = {}
        for one in positions:
            contracted_wh[one.meter] = contracted_wh.get(one.meter, 0) + one.contracted_wh
        return cls(make_setpoints(contracted_wh, {}, persisted_wh or {}))

    @property
    def root(self) -> bytes:
        """What a clearing commits."""
        return setpoints_root(self.rows, self._salts)

    @property
    def _salts(self) -> dict[int, bytes]:
        return {row.meter: _SALTS.salt_for(0, 0, row.meter) for row in self.rows}

    def opened(self, meters: Iterable[int]) -> list[tuple[int, int, bytes, list[bytes]]]:
        """The setpoints of those meters with their proofs, as the contract takes them."""
        if not self.rows:
            return []
        salts = self._salts
        tree = setpoint_tree(self.rows, salts)
        by_meter = {row.meter: row for row in self.rows}
        return [
            (row.contracted_wh, row.residual_wh, salts[meter], list(tree.proof(setpoint_leaf(row, salts[meter]))))
            for meter, row in ((meter, by_meter[meter]) for meter in meters)
        ]
