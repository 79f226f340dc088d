"""What owners have promised already: the orders and acceptances that later ones are checked against."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gridledger.market.model import Side

__all__ = ["Commitments", "OpenSpan"]


class OpenSpan(NamedTuple):
    """An open order or acceptance: it takes `quantity_wh` in each MTU from the first to the last still to come."""

    owner: str
    meter: int
    zone: int
    sells: bool
    first_mtu_start: int
    last_mtu_start: int
    quantity_wh: int


class Commitments:
    """What some owners have promised, by money and by the MTUs asked for; new promises count as soon as they are added.

    `microcents` is the worst case of all that is open, or matched and not yet locked by the contract, by owner.
    """

    def __init__(self, microcents: Mapping[str, int], spans: Iterable[OpenSpan]) -> None:
        self._microcents = defaultdict(int, microcents)
        self._of_meter: defaultdict[tuple[int, bool], list[OpenSpan]] = defaultdict(list)  # by side
        self._in_zone: defaultdict[tuple[str, int, bool], list[OpenSpan]] = defaultdict(list)  # by owner and side
        for span in spans:
            self._add_span(span)

    def add(self, span: OpenSpan, worst_case_microcents: int) -> None:
        """Count one more."""
        self._microcents[span.owner] += worst_case_microcents
        self._add_span(span)

    def microcents(self, owner: str) -> int:
        """Worst case of all the owner's promises."""
        return self._microcents[owner]

    def open_wh(self, meter: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> int:
        """The most energy that is open for the meter on that side in any MTU of the range."""
        spans = _within(self._of_meter[meter, side is Side.SELL], first_mtu_start, last_mtu_start)
        # The sum can only rise where an order begins.
        begins = {max(first_mtu_start, span.first_mtu_start) for span in spans}
        return max((sum(span.quantity_wh for span in _within(spans, begin, begin)) for begin in begins), default=0)

    def has_open(self, owner: str, zone: int, first_mtu_start: int, last_mtu_start: int, side: Side) -> bool:
        """Whether the owner has something open on that side of the zone in any MTU of the range."""
        return bool(_within(self._in_zone[owner, zone, side is Side.SELL], first_mtu_start, last_mtu_start))

    def _add_span(self, span: OpenSpan) -> None:
        self._of_meter[span.meter, span.sells].append(span)
        self._in_zone[span.owner, span.zone, span.sells].append(span)


def _within(spans: Iterable[OpenSpan], first_mtu_start: int, last_mtu_start: int) -> list[OpenSpan]:
    return [span for span in spans if span.first_mtu_start <= last_mtu_start and span.last_mtu_start >= first_mtu_start]
