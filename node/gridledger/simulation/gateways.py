"""The gateways of members with generation: each keeps its meter's net export within what the grid operator allows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gridledger.simulation.community import Community
from gridledger.simulation.inputs import MeterReading
from gridledger.simulation.node_client import NodeClient

__all__ = ["limited_readings", "obeyed"]


def limited_readings(
    node: NodeClient, community: Community, mtu_start: int, readings: Iterable[MeterReading]
) -> tuple[MeterReading, ...]:
    """What the meters measure of what was there: as much of the export as their limits allow, and all of the load."""
    limits_wh = _limits_wh(node, community, mtu_start)
    return tuple(obeyed(reading, limits_wh.get(reading.meter_id)) for reading in readings)


def _limits_wh(node: NodeClient, community: Community, mtu_start: int) -> Mapping[str, int | None]:
    return {
        meter.spec.meter_id: node.export_limit_wh(member.account, meter.number, mtu_start)
        for member in community.members
        for meter in member.meters
        if meter.spec.export_capacity_w > 0
    }


def obeyed(reading: MeterReading, limit_wh: int | None) -> MeterReading:
    """What a meter measures whose gateway keeps net export within a limit, Wh; None: there is none."""
    if limit_wh is None:
        return reading
    beyond_wh = max(0, reading.export_wh - reading.import_wh - limit_wh)
    return replace(reading, export_wh=reading.export_wh - beyond_wh) if beyond_wh else reading
