"""Makes the setpoints of a clearing and keeps them, so that the clearing can commit to them."""

from collections.abc import Mapping

from gridledger.dispatch.ports import CommittedSetpoint, SetpointSalts, SetpointStore
from gridledger.dispatch.setpoints import make_setpoints, setpoints_root

__all__ = ["SetpointService"]


class SetpointService:
    """Setpoints of one transaction."""

    def __init__(self, *, store: SetpointStore, salts: SetpointSalts) -> None:
        self._store = store
        self._salts = salts

    def commit(self, zone: int, mtu_start: int, contracted_wh: Mapping[int, int], ordered_wh: Mapping[int, int]) -> str:
        """Keep the setpoints that follow from net contracts and orders (Wh by meter, export positive).

        Returns their root, 0x hex.
        """
        rows = make_setpoints(contracted_wh, ordered_wh, self._store.persisted_wh(zone, mtu_start))
        salts = {row.meter: self._salts.salt_for(zone, mtu_start, row.meter) for row in rows}
        self._store.keep_setpoints(zone, mtu_start, [CommittedSetpoint(row=row, salt=salts[row.meter]) for row in rows])
        return "0x" + setpoints_root(rows, salts).hex()
