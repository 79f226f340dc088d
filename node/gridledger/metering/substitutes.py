"""The metering room's task with missing readings: estimate them once, some time after their MTU. It never commits."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from gridledger.clock import Clock
from gridledger.metering.estimation import Calendar, Energy, Substitute, basis_starts, estimate
from gridledger.metering.model import MeterFacts

__all__ = ["ESTIMATION_DELAY_S", "EstimationService", "SubstituteStore"]

ESTIMATION_DELAY_S = 3 * 3_600  # later than a neighbour may stand, and than most late readings come
_METERS_AT_ONCE = 500


class SubstituteStore(Protocol):
    """Readings by MTU, and estimates, of one transaction."""

    def missing_meters(self, zone: int, mtu_start: int) -> Sequence[MeterFacts]:
        """The zone's meters without a reading for the MTU, ascending."""

    def energies(self, meters: Collection[int], mtu_starts: Collection[int]) -> Mapping[int, Mapping[int, Energy]]:
        """Accepted energies of those meters by MTU start, of those MTUs that have some."""

    def add_substitutes(self, zone: int, substitutes: Sequence[Substitute], estimated_at: int) -> None:
        """Keep estimates, each the first of its meter and MTU."""


class EstimationService:
    """Estimates missing readings by the rules of `estimation`."""

    def __init__(self, *, store: SubstituteStore, clock: Clock, mtu_length_s: int, calendar: Calendar) -> None:
        self._store = store
        self._clock = clock
        self._mtu_length_s = mtu_length_s
        self._calendar = calendar

    def estimate_missing(self, zone: int, mtu_start: int) -> tuple[Substitute, ...]:
        """Estimate and keep what is missing of a zone and MTU; meters of whom nothing similar is known get none.

        A true reading that comes later stands beside the estimate and goes before it wherever readings are shown.
        """
        missing = self._store.missing_meters(zone, mtu_start)
        starts = basis_starts(mtu_start, self._mtu_length_s, self._calendar)
        found: list[Substitute] = []
        for begin in range(0, len(missing), _METERS_AT_ONCE):
            some = missing[begin : begin + _METERS_AT_ONCE]
            known = self._store.energies([facts.meter for facts in some], starts)
            for facts in some:
                energies = known.get(facts.meter, {})
                found += self._estimated(mtu_start, energies, facts)
        self._store.add_substitutes(zone, found, self._clock.now())
        return tuple(found)

    def _estimated(self, mtu_start: int, known: Mapping[int, Energy], facts: MeterFacts) -> tuple[Substitute, ...]:
        one = estimate(mtu_start, known, facts, mtu_length_s=self._mtu_length_s, calendar=self._calendar)
        return () if one is None else (one,)
