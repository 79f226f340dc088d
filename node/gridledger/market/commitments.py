"""What owners have promised already: the orders and acceptances that later ones are checked against."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from gridledger.market.model import OrderState, Side

__all__ = ["Commitment", "Commitments"]


class Commitment(NamedTuple):
    """An order or acceptance that is open, or matched and not yet locked by the contract.

    It takes `quantity_wh` in each MTU from the first to the last still to come, and may lock the worst case.
    """

    owner: str
    meter: int
    zone: int
    side: Side
    state: OrderState
    first_mtu_start: int
    last_mtu_start: int
    quantity_wh: int
    worst_case_microcents: int

    def is_open_in(self, first_mtu_start: int, last_mtu_start: int) -> bool:
        """Whether it is open in any MTU of the range."""
        return (
            self.state is OrderState.OPEN
            and self.first_mtu_start <= last_mtu_start
            and self.last_mtu_start >= first_mtu_start
        )


class Commitments:
    """All commitments of some owners, and so of their meters; new ones count as soon as they are added."""

    def __init__(self, commitments: Iterable[Commitment]) -> None:
        self._of_owner: defaultdict[str, list[Commitment]] = defaultdict(list)
        self._of_meter: defaultdict[int, list[Commitment]] = defaultdict(list)
        for one in commitments:
            self.add(one)

    def add(self, one: Commitment) -> None:
        """Count one more."""
        self._of_owner[one.owner].append(one)
        self._of_meter[one.meter].append(one)

    def microcents(self, owner: str) -> int:
        """Worst case of all the owner's commitments."""
        return sum(one.worst_case_microcents for one in self._of_owner[owner])

    def open_wh(self, meter: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> int:
        """The most energy of the meter's open commitments on that side in any MTU of the range."""
        spans = [
            one for one in self._of_meter[meter] if one.side is side and one.is_open_in(first_mtu_start, last_mtu_start)
        ]
        # The sum can only rise where an order begins.
        begins = {max(first_mtu_start, one.first_mtu_start) for one in spans}
        return max((sum(one.quantity_wh for one in spans if one.is_open_in(at, at)) for at in begins), default=0)

    def has_open(self, owner: str, zone: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> bool:
        """Whether the owner has an open commitment on that side of the zone in any MTU of the range."""
        return any(
            one.zone == zone and one.side is side and one.is_open_in(first_mtu_start, last_mtu_start)
            for one in self._of_owner[owner]
        )
