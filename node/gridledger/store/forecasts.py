"""What meters did one day before: the persistence forecast of what they will do."""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from gridledger.store.schema import meter as meter_table
from gridledger.store.schema import meter_reading
from gridledger.store.schema import zone as zone_table

__all__ = ["DAY_S", "Forecasts"]

DAY_S = 86_400


class Forecasts:
    """Forecasts of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def persisted_wh(self, zone: int, mtu_start: int) -> Mapping[int, int]:
        """Meter to its accepted reading of 86,400 s before, export minus import, Wh, of the zone's meters read then.

        The zone's transformer meter is nobody's connection and left out.
        """
        query = (
            select(meter_reading.c.meter, meter_reading.c.export_wh - meter_reading.c.import_wh)
            .join(meter_table, meter_table.c.meter == meter_reading.c.meter)
            .join(zone_table, zone_table.c.zone == meter_table.c.zone)
            .where(
                meter_reading.c.zone == zone,
                meter_reading.c.mtu_start == mtu_start - DAY_S,
                meter_table.c.zone == zone,
                meter_reading.c.meter.is_distinct_from(zone_table.c.transformer_meter),
            )
        )
        return {row[0]: int(row[1]) for row in self._connection.execute(query)}
