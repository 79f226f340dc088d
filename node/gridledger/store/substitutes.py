"""Estimates of missing readings in the database; implements the metering room's `SubstituteStore`."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select

from gridledger.metering.estimation import Energy, EstimationRule, Substitute
from gridledger.metering.model import MeterFacts
from gridledger.store.lists import in_list, list_parameter
from gridledger.store.readings import FACTS_COLUMNS, meter_facts
from gridledger.store.schema import meter as meter_table
from gridledger.store.schema import meter_reading, substitute_reading

__all__ = ["Substitutes"]

_ENERGIES = select(
    meter_reading.c.meter, meter_reading.c.mtu_start, meter_reading.c.import_wh, meter_reading.c.export_wh
).where(meter_reading.c.meter.in_(in_list("meters")), meter_reading.c.mtu_start.in_(in_list("mtu_starts")))


class Substitutes:
    """Estimates of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def missing_meters(self, zone: int, mtu_start: int) -> Sequence[MeterFacts]:
        """The zone's meters without a reading for the MTU, ascending."""
        read = and_(meter_reading.c.meter == meter_table.c.meter, meter_reading.c.mtu_start == mtu_start)
        query = (
            select(*FACTS_COLUMNS)
            .outerjoin(meter_reading, read)
            .where(meter_table.c.zone == zone, meter_reading.c.meter.is_(None))
            .order_by(meter_table.c.meter)
        )
        return [meter_facts(*row) for row in self._connection.execute(query)]

    def energies(self, meters: Collection[int], mtu_starts: Collection[int]) -> Mapping[int, Mapping[int, Energy]]:
        """Accepted energies of those meters by MTU start, of those MTUs that have some."""
        values = {"meters": list_parameter(meters), "mtu_starts": list_parameter(mtu_starts)}
        known: defaultdict[int, dict[int, Energy]] = defaultdict(dict)
        for row in self._connection.execute(_ENERGIES, values):
            known[row.meter][row.mtu_start] = Energy(import_wh=row.import_wh, export_wh=row.export_wh)
        return known

    def add_substitutes(self, zone: int, substitutes: Sequence[Substitute], estimated_at: int) -> None:
        """Keep estimates, each the first of its meter and MTU."""
        rows = [
            {
                "meter": one.meter,
                "mtu_start": one.mtu_start,
                "zone": zone,
                "import_wh": one.energy.import_wh,
                "export_wh": one.energy.export_wh,
                "rule": str(one.rule),
                "basis_before": one.basis_before,
                "basis_after": one.basis_after,
                "estimated_at": estimated_at,
            }
            for one in substitutes
        ]
        if rows:
            self._connection.execute(insert(substitute_reading), rows)

    def find(self, meter: int, mtu_start: int) -> Substitute | None:
        """The estimate of a meter and MTU, whether or not the true reading has come since."""
        query = select(substitute_reading).where(
            substitute_reading.c.meter == meter, substitute_reading.c.mtu_start == mtu_start
        )
        row = self._connection.execute(query).first()
        return None if row is None else _substitute(row)

    def counts(self) -> Mapping[str, int]:
        """How many estimates each rule has made."""
        query = select(substitute_reading.c.rule, func.count()).group_by(substitute_reading.c.rule)
        return {row[0]: row[1] for row in self._connection.execute(query)}


def _substitute(row: Row[Any]) -> Substitute:
    return Substitute(
        meter=row.meter,
        mtu_start=row.mtu_start,
        energy=Energy(import_wh=row.import_wh, export_wh=row.export_wh),
        rule=EstimationRule(row.rule),
        basis_before=row.basis_before,
        basis_after=row.basis_after,
    )
