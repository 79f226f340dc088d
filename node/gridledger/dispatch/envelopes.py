"""Operating envelopes: how far each meter may export, so that wrong forecasts cannot break the zone's limit.

What the limit leaves free is shared out by export capacity on top of the setpoints. If every meter keeps within its
envelope and at least the firm import is taken, the zone's net export keeps within the limit. Without a schedule there
are no setpoints, and the whole limit is shared out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gridledger.dispatch.shares import capped_wh, pro_rata_shares
from gridledger.units import INT64_MAX, UINT32_MAX, check_range

__all__ = ["Envelopes", "envelopes"]


@dataclass(frozen=True, kw_only=True)
class Envelopes:
    """The most net export of each meter in an MTU, Wh, ascending by meter.

    `uncovered_wh` is by how much the setpoints alone would exceed the limit if only the firm import were taken: then
    there was nothing to share out, and only a curtailment keeps the limit for certain.
    """

    exports_wh: Mapping[int, int]
    uncovered_wh: int


def envelopes(
    *,
    setpoints_wh: Mapping[int, int],
    capacities_w: Mapping[int, int],
    limit_wh: int,
    mtu_length_s: int,
    firm_import_wh: int = 0,
) -> Envelopes:
    """The envelopes of all meters with an export capacity (W) or a setpoint to export (Wh by meter, export positive).

    An envelope is the meter's setpoint, or 0 if that is import, and a share of limit + firm import - setpoints to
    export: pro rata by capacity, largest remainder, ties to the lower meter. A share ends where the meter's capacity
    does; what that leaves is nobody's. `limit_wh` is the zone's highest net export in the MTU, `firm_import_wh` what is
    taken in any case, both Wh. Raises OutOfRange.
    """
    check_range("limit_wh", limit_wh, 0, INT64_MAX)
    check_range("firm_import_wh", firm_import_wh, 0, INT64_MAX)
    for capacity_w in capacities_w.values():
        check_range("capacity_w", capacity_w, 0, UINT32_MAX)
    scheduled_wh = {meter: setpoint_wh for meter, setpoint_wh in setpoints_wh.items() if setpoint_wh > 0}
    left_wh = limit_wh + firm_import_wh - sum(scheduled_wh.values())
    able_w = {meter: capacity_w for meter, capacity_w in capacities_w.items() if capacity_w > 0}
    shares_wh = pro_rata_shares(max(0, left_wh), able_w)
    exports_wh = {}
    for meter in sorted(scheduled_wh.keys() | able_w.keys()):
        basis_wh = scheduled_wh.get(meter, 0)
        most_wh = max(basis_wh, capped_wh(able_w.get(meter, 0), mtu_length_s))
        exports_wh[meter] = min(most_wh, basis_wh + shares_wh.get(meter, 0))
    return Envelopes(exports_wh=exports_wh, uncovered_wh=max(0, -left_wh))
