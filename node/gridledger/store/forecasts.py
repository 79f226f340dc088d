"""What meters did beyond their contracts one day before: the persistence forecast of their residuals."""

from collections.abc import Mapping

from sqlalchemy import Connection, and_, case, func, literal, select

from gridledger.market.model import MtuPhase
from gridledger.store.schema import contract_position, market_mtu, meter_reading
from gridledger.store.schema import meter as meter_table
from gridledger.store.schema import zone as zone_table

__all__ = ["DAY_S", "Forecasts"]

DAY_S = 86_400
_CONTRACT_WH = contract_position.c.auction_wh + contract_position.c.low_carbon_wh + contract_position.c.dealt_wh


class Forecasts:
    """Forecasts of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def persisted_wh(self, zone: int, mtu_start: int) -> Mapping[int, int]:
        """Meter to its residual 86,400 s before, Wh, export positive, of the zone's meters that were read then.

        The residual is the accepted reading's export minus import, minus what the meter had contracted net: what a
        clearing locked and nothing took back. The zone's transformer meter is nobody's connection and left out.
        """
        day_before = mtu_start - DAY_S
        contracted = (
            select(
                contract_position.c.meter,
                func.sum(case((contract_position.c.sells, _CONTRACT_WH), else_=-_CONTRACT_WH)).label("net_wh"),
            )
            .join(
                market_mtu,
                and_(
                    market_mtu.c.zone == contract_position.c.zone,
                    market_mtu.c.mtu_start == contract_position.c.mtu_start,
                    market_mtu.c.phase.in_((MtuPhase.CLEARED, MtuPhase.SETTLED)),
                ),
            )
            .where(
                contract_position.c.zone == zone,
                contract_position.c.mtu_start == day_before,
                contract_position.c.refunded.is_(False),
            )
            .group_by(contract_position.c.meter)
            .subquery()
        )
        net_wh = meter_reading.c.export_wh - meter_reading.c.import_wh
        query = (
            select(meter_reading.c.meter, net_wh - func.coalesce(contracted.c.net_wh, literal(0)))
            .join(meter_table, meter_table.c.meter == meter_reading.c.meter)
            .join(zone_table, zone_table.c.zone == meter_table.c.zone)
            .outerjoin(contracted, contracted.c.meter == meter_reading.c.meter)
            .where(
                meter_reading.c.zone == zone,
                meter_reading.c.mtu_start == day_before,
                meter_table.c.zone == zone,
                meter_reading.c.meter.is_distinct_from(zone_table.c.transformer_meter),
            )
        )
        return {row[0]: int(row[1]) for row in self._connection.execute(query)}
