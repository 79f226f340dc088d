"""What single meters are scheduled for, to the grid operator; and how far each may go, to its gateway."""

from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from gridledger.api.context import NodeContext
from gridledger.api.sessions import Bearer, session_owner
from gridledger.chain.roles import Role
from gridledger.dispatch.errors import LimitsForbidden, ScheduleUnknown, SetpointsForbidden
from gridledger.dispatch.feeder import LimitExceeded
from gridledger.dispatch.limits import MeterLimit, meter_limits
from gridledger.dispatch.ports import CommittedSetpoint, ErasedSetpoint, MeterPlace
from gridledger.dispatch.setpoints import setpoint_leaf
from gridledger.metering.errors import UnknownMeter
from gridledger.store.transaction import Transaction
from gridledger.units import UINT32_MAX, require_aligned

__all__ = ["MOST_MTUS", "dispatch_limit_routes"]

MOST_MTUS = 96  # at once
Moment = Annotated[int, Query(ge=0, le=UINT32_MAX)]
Number = Annotated[int, Query(ge=1, le=UINT32_MAX)]


def dispatch_limit_routes(node: NodeContext) -> APIRouter:
    """Routes under /v1/dispatch that show single meters; each needs a session."""
    router = APIRouter(prefix="/v1/dispatch", tags=["dispatch"])

    @router.get("/setpoints")
    def get_setpoints(response: Response, bearer: Bearer, zone: Number, mtu_start: Moment) -> dict[str, Any]:
        """The setpoints a schedule commits to, with salts and leaves, and the network's limits they would exceed.

        Of an erased person's setpoint there are contract and leaf; without it nothing is said of limits (null).
        """
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            if not _may_see_zone(node, tx, reader, zone):
                raise SetpointsForbidden(zone=zone)
            schedule = tx.dispatches.find(zone, mtu_start)
            if schedule is None:
                raise ScheduleUnknown(zone=zone, mtu_start=mtu_start)
            setpoints = tx.dispatches.setpoints(zone, mtu_start)
            erased = tx.dispatches.erased_setpoints(zone, mtu_start)
            places = tx.dispatches.places([*(one.row.meter for one in setpoints), *(one.meter for one in erased)])
            exceeded = node.grid.exceeded(tx, zone, {one.row.meter: one.row.setpoint_wh for one in setpoints})
        shown = [_setpoint_out(one, places[one.row.meter]) for one in setpoints]
        shown += [_erased_out(one, places[one.meter]) for one in erased]
        return {
            "zone": zone,
            "mtu_start": mtu_start,
            "schedule_hash": schedule.schedule_hash,
            "result_hash": schedule.result_hash,
            "setpoints_root": schedule.setpoints_root,
            "traded_wh": schedule.traded_wh,
            "answer_deadline": schedule.answer_deadline,
            "state": schedule.state,
            "curtailments": schedule.curtailments,
            "limit_wh": node.grid.limit_wh(zone),
            "exceeded": None if erased else [_exceeded_out(one) for one in exceeded],
            "setpoints": sorted(shown, key=itemgetter("meter")),
        }

    @router.get("/limits")
    def get_limits(
        response: Response,
        bearer: Bearer,
        meter: Number,
        first_mtu_start: Moment,
        count: Annotated[int, Query(ge=1, le=MOST_MTUS)] = 1,
    ) -> dict[str, Any]:
        """How far a meter may export and import in each MTU, for its gateway; null where nothing limits it."""
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            row = tx.directory.meter_row(meter)
            if row is None:
                raise UnknownMeter(meter=meter)
            if reader != row.owner and not _may_see_zone(node, tx, reader, row.zone):
                raise LimitsForbidden(meter=meter)
            require_aligned(first_mtu_start, node.mtu_length_s)
            starts = [first_mtu_start + index * node.mtu_length_s for index in range(count)]
            limits = [_limit(node, tx, row.zone, meter, mtu_start) for mtu_start in starts]
        return {
            "meter": meter,
            "limits": [_limit_out(start, one) for start, one in zip(starts, limits, strict=True)],
        }

    return router


def _may_see_zone(node: NodeContext, tx: Transaction, reader: str, zone: int) -> bool:
    regulates = tx.directory.holds_role(reader, int(Role.REGULATOR), node.clock.now())
    return regulates or tx.dispatches.grid_operator_of(zone) == reader


def _limit(node: NodeContext, tx: Transaction, zone: int, meter: int, mtu_start: int) -> MeterLimit | None:
    state = tx.dispatches.zone_state(zone, mtu_start, node.grid.limit_wh(zone), node.mtu_length_s)
    return meter_limits(state).get(meter)


def _setpoint_out(one: CommittedSetpoint, place: MeterPlace) -> dict[str, Any]:
    return {
        "meter": one.row.meter,
        "contracted_wh": one.row.contracted_wh,
        "residual_wh": one.row.residual_wh,
        "setpoint_wh": one.row.setpoint_wh,
        "source": place.source,
        "factor_mgco2_per_kwh": place.factor_mgco2_per_kwh,
        "salt": "0x" + one.salt.hex(),
        "leaf": "0x" + setpoint_leaf(one.row, one.salt).hex(),
    }


def _erased_out(one: ErasedSetpoint, place: MeterPlace) -> dict[str, Any]:
    return {
        "meter": one.meter,
        "contracted_wh": one.contracted_wh,
        "residual_wh": None,
        "setpoint_wh": None,
        "source": place.source,
        "factor_mgco2_per_kwh": place.factor_mgco2_per_kwh,
        "salt": None,
        "leaf": "0x" + one.leaf.hex(),
    }


def _exceeded_out(one: LimitExceeded) -> dict[str, Any]:
    return {
        "element": one.element,
        "limit_w": one.limit_w,
        "flow_w": one.flow_w,
        "direction": one.direction.name.lower(),
    }


def _limit_out(mtu_start: int, limit: MeterLimit | None) -> dict[str, Any]:
    return {
        "mtu_start": mtu_start,
        "basis": None if limit is None else limit.basis,
        "export_wh": None if limit is None else limit.export_wh,
        "import_wh": None if limit is None else limit.import_wh,
    }
