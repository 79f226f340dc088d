"""What owners have promised already: the orders and acceptances that later ones are checked against."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from gridledger.market.model import Side

__all__ = ["Commitment", "Commitments"]


class Commitment(NamedTuple):
    """An order or acceptance that is open, or matched and not yet locked by the contract.

    It takes `quantity_wh` in each MTU from the first to the last still to come, and may lock the worst case.
    """

    owner: str
    meter: int
    zone: int
    sells: bool
    is_open: bool
    first_mtu_start: int
    last_mtu_start: int
    quantity_wh: int
    worst_case_microcents: int


class Commitments:
    """All commitments of some owners, and so of their meters; new ones count as soon as they are added."""

    def __init__(self, commitments: Iterable[Commitment]) -> None:
        self._microcents: defaultdict[str, int] = defaultdict(int)
        self._of_meter: defaultdict[tuple[int, bool], list[Commitment]] = defaultdict(list)  # open ones by side
        self._in_zone: defaultdict[tuple[str, int, bool], list[Commitment]] = defaultdict(list)  # open ones by side
        for one in commitments:
            self.add(one)

    def add(self, one: Commitment) -> None:
        """Count one more."""
        self._microcents[one.owner] += one.worst_case_microcents
        if one.is_open:
            self._of_meter[one.meter, one.sells].append(one)
            self._in_zone[one.owner, one.zone, one.sells].append(one)

    def microcents(self, owner: str) -> int:
        """Worst case of all the owner's commitments."""
        return self._microcents[owner]

    def open_wh(self, meter: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> int:
        """The most energy of the meter's open commitments on that side in any MTU of the range."""
        spans = _within(self._of_meter[meter, side is Side.SELL], first_mtu_start, last_mtu_start)
        # The sum can only rise where an order begins.
        begins = {max(first_mtu_start, one.first_mtu_start) for one in spans}
        return max((sum(one.quantity_wh for one in _within(spans, begin, begin)) for begin in begins), default=0)

    def has_open(self, owner: str, zone: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> bool:
        """Whether the owner has an open commitment on that side of the zone in any MTU of the range."""
        return bool(_within(self._in_zone[owner, zone, side is Side.SELL], first_mtu_start, last_mtu_start))


def _within(commitments: Iterable[Commitment], first_mtu_start: int, last_mtu_start: int) -> list[Commitment]:
    return [
        one for one in commitments if one.first_mtu_start <= last_mtu_start and one.last_mtu_start >= first_mtu_start
    ]
