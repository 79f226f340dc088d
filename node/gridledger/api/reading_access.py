"""Readings out: to their owners, to suppliers, as sums to grid operators, and to the regulator with a reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from gridledger.api.context import NodeContext
from gridledger.api.sessions import Bearer, session_owner
from gridledger.chain.roles import Role
from gridledger.metering.access import (
    LONGEST_REASON,
    ReaderOfMeter,
    ReadingsForbidden,
    Withheld,
    ZoneForbidden,
    check_group,
    reader_of,
    why_withheld,
)
from gridledger.metering.errors import UnknownMeter
from gridledger.metering.merkle import leaf
from gridledger.metering.validation import GREATEST_AGE_S
from gridledger.store.reading_views import ShownReading, ZoneSum
from gridledger.store.transaction import Transaction
from gridledger.units import INT64_MAX, UINT32_MAX

__all__ = ["MOST_READINGS", "reading_access_routes"]

MOST_READINGS = 500  # at once
Moment = Annotated[int, Query(ge=0, le=UINT32_MAX)]
Limit = Annotated[int, Query(ge=1, le=MOST_READINGS)]


def reading_access_routes(node: NodeContext) -> APIRouter:
    """Routes that show readings; each needs a session."""
    router = APIRouter(prefix="/v1/readings", tags=["readings"])

    @router.get("")
    def get_readings(
        response: Response,
        bearer: Bearer,
        meter: Annotated[int, Query(ge=1, le=UINT32_MAX)],
        from_s: Annotated[Moment, Query(alias="from")] = 0,
        to_s: Annotated[Moment, Query(alias="to")] = UINT32_MAX,
        limit: Limit = 100,
        signed: Annotated[bool, Query(description="With signed texts, salts and commitments")] = False,  # noqa: FBT002
        reason: Annotated[str | None, Query(max_length=LONGEST_REASON)] = None,
    ) -> dict[str, Any]:
        """A meter's readings with from <= MTU start < to (Unix seconds), oldest first; go on from `next`.

        For the owner, the owner's supplier (without `signed`) and the regulator, who states a `reason`; that access is
        logged, and shown to the owner by `GET /v1/readings/accesses`.
        """
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            regulates = _regulates(node, tx, reader)
            parties = tx.reading_views.parties_of(meter)
            if parties is None:  # only the regulator is told so
                raise UnknownMeter(meter=meter) if regulates else ReadingsForbidden(meter=meter)
            role = reader_of(reader, parties, regulates=regulates, reason=reason, signed_texts=signed)
            shown = tx.reading_views.between(meter, from_s, to_s, limit)
        if role is ReaderOfMeter.REGULATOR:
            assert reason is not None
            now = node.clock.now()
            with node.database.write() as tx:
                tx.reading_views.log_access(reader, meter, from_s=from_s, to_s=to_s, reason=reason.strip(), now=now)
        return {
            "meter": meter,
            "readings": [_reading_out(meter, one, signed=signed) for one in shown],
            "next": shown[-1].mtu_start + 1 if len(shown) == limit else None,
        }

    @router.get("/sums")
    def get_sums(
        response: Response,
        bearer: Bearer,
        zone: Annotated[int, Query(ge=1, le=UINT32_MAX)],
        from_s: Annotated[Moment, Query(alias="from")] = 0,
        to_s: Annotated[Moment, Query(alias="to")] = UINT32_MAX,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Energy of a zone per MTU, all meters added up, for its grid operator.

        An MTU is `withheld` while readings may still join it, where one has been erased, and where it has too few.
        """
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            if tx.directory.zones().get(zone) != reader:
                raise ZoneForbidden(zone=zone)
            registered = tx.reading_views.group_size(zone)
            check_group(zone, registered, smallest=node.smallest_group)
            sums = tx.reading_views.zone_sums(zone, from_s, to_s, limit)
        return {
            "zone": zone,
            "sums": [_sum_out(one, _why_withheld(node, one, registered)) for one in sums],
            "next": sums[-1].mtu_start + 1 if len(sums) == limit else None,
        }

    @router.get("/accesses")
    def get_accesses(
        response: Response,
        bearer: Bearer,
        after: Annotated[int, Query(ge=0, le=INT64_MAX, description="Start after this id")] = 0,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Who has read meters by office, when, what and why: own meters, or for the regulator all."""
        response.headers["Cache-Control"] = "no-store"
        with node.database.read() as tx:
            reader = session_owner(tx, node.clock, bearer)
            owner = None if _regulates(node, tx, reader) else reader
            accesses = tx.reading_views.accesses(owner, after, limit)
        return {
            "accesses": [
                {
                    "id": access.id,
                    "reader": access.reader,
                    "meter": access.meter,
                    "from": access.from_s,
                    "to": access.to_s,
                    "reason": access.reason,
                    "accessed_at": access.accessed_at,
                }
                for access in accesses
            ],
            "last": accesses[-1].id if accesses else after,
        }

    return router


def _regulates(node: NodeContext, tx: Transaction, account: str) -> bool:
    return tx.directory.holds_role(account, int(Role.REGULATOR), node.clock.now())


def _why_withheld(node: NodeContext, one: ZoneSum, registered: int) -> Withheld | None:
    closed = node.clock.now() - (one.mtu_start + node.mtu_length_s) > GREATEST_AGE_S
    return why_withheld(
        meters=one.meters,
        smallest=node.smallest_group,
        final=closed or one.meters >= registered,
        erased=one.erased > 0,
    )


def _reading_out(meter: int, shown: ShownReading, *, signed: bool) -> dict[str, Any]:
    status = "disputed" if shown.disputed else "anchored" if shown.anchored else "accepted"
    answer = {
        "mtu_start": shown.mtu_start,
        "import_wh": shown.import_wh,
        "export_wh": shown.export_wh,
        "status": status,
    }
    if not signed:
        return answer
    commitment = leaf(meter, shown.mtu_start, shown.import_wh, shown.export_wh, shown.salt)
    return answer | {
        "meter_id": shown.meter_id,
        "counter": shown.counter,
        "received_at": shown.received_at,
        "text": shown.text,
        "salt": "0x" + shown.salt.hex(),
        "leaf": "0x" + commitment.hex(),
    }


def _sum_out(one: ZoneSum, withheld: Withheld | None) -> dict[str, Any]:
    told = withheld is None
    return {
        "mtu_start": one.mtu_start,
        "import_wh": one.import_wh if told else None,
        "export_wh": one.export_wh if told else None,
        "meters": one.meters,
        "withheld": withheld,
    }
