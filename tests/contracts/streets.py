"""A street whose grid operator curtails: three producers of two kinds, two consumers, one cleared MTU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.contracts.curtailing import EXPORT, Curtailer
from tests.contracts.harness import BUY, FIRST_MTU, SELL, ZONE, AnySigned, Kept, Market, Meter
from tests.contracts.setpoints import Setpoints

from gridledger.dispatch.setpoints import Direction

__all__ = ["QUANTITIES_WH", "Street"]

QUANTITIES_WH = {"solar": 600, "roof": 401, "gas": 500, "large": 900, "small": 601}
SELLERS = {"solar": 1, "roof": 1, "gas": 0}


@dataclass
class Street:
    """Everybody trades all of it at 15,000 cents per MWh; meters stand in the order of the names."""

    market: Market
    meters: dict[str, Meter]
    kept: Kept
    operator: Curtailer

    @classmethod
    def of(
        cls,
        market: Market,
        *,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
        persisted_wh: Mapping[str, int] | None = None,
        sources: Mapping[str, int] = SELLERS,
        eur: int = 10,
    ) -> "Street":
        """Registered, funded and cleared; `persisted_wh` is what meters did beyond their contract a day before."""
        meters = {name: market.producer(name, source=source, zone=zone, eur=eur) for name, source in sources.items()}
        meters |= {name: market.consumer(name, zone=zone, eur=eur) for name in ("large", "small")}
        book = [
            market.order(meters[name], SELL if name in sources else BUY, wh, limit, mtu_start=mtu_start)
            for name, wh in QUANTITIES_WH.items()
            for limit in [10_000 if name in sources else 20_000]
        ]
        residuals = {meters[name].number: wh for name, wh in (persisted_wh or {}).items()}
        return cls._cleared(market, meters, book, residuals, mtu_start, zone)

    @classmethod
    def _cleared(
        cls,
        market: Market,
        meters: dict[str, Meter],
        book: Sequence[AnySigned],
        residuals: Mapping[int, int],
        mtu_start: int,
        zone: int,
    ) -> "Street":
        market.close_gate(mtu_start)
        market.commit_book(book, mtu_start, zone)
        proposal = market.proposal(book, mtu_start=mtu_start)
        setpoints = Setpoints.of(proposal.positions, residuals)
        clearing = market.clearing(book, proposal, mtu_start=mtu_start, zone=zone, setpoints_root=setpoints.root)
        kept = Kept.of(proposal, zone=zone, mtu_start=mtu_start)
        market.accept(clearing, kept)
        sources = {one.number: one.source for one in meters.values()}
        return cls(market, meters, kept, Curtailer(market, setpoints, mtu_start, zone, sources))

    def number(self, name: str) -> int:
        """Number of somebody's meter."""
        return self.meters[name].number

    def caps(self, **caps_wh: int) -> dict[int, int]:
        """Caps by meter of caps by name."""
        return {self.number(name): wh for name, wh in caps_wh.items()}

    def fair(self, names: Sequence[str], total_wh: int, direction: Direction = EXPORT) -> dict[int, int]:
        """The caps by meter that the order gives these names for their sum."""
        return self.operator.fair([self.number(name) for name in names], total_wh, direction)
