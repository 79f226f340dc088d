"""What an account's erasure takes away, and what it leaves: a tombstone and the leaves of readings and setpoints.

`docs/privacy.md` says of every table what is erased and why the rest stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, bindparam, delete, func, insert, select, update

from gridledger.dispatch.setpoints import SetpointRow, setpoint_leaf
from gridledger.metering.erasure import ERASED_KINDS, ErasedLeaf
from gridledger.metering.merkle import leaf
from gridledger.relay import OutboxState
from gridledger.store.schema import (
    demand_consent,
    demand_measurement,
    demand_participation,
    demand_shift,
    demand_state,
    dispatch_setpoint,
    erased_reading,
    market_acceptance,
    market_order,
    meter,
    meter_event,
    meter_reading,
    notice,
    outbox,
    partial_reading,
    policy_version,
    reading_access,
    reading_dispute,
    register_reading,
    sign_in_session,
    substitute_reading,
    tombstone,
    webhook,
)

__all__ = ["AnchoredLeaf", "ErasureScope", "Erasures"]

_ROWS_PER_INSERT = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchoredLeaf:
    """The leaf of a reading with its zone and the number of the batch it was anchored in, None for one that was not."""

    entry: ErasedLeaf
    zone: int
    anchor_sequence: int | None


@dataclass(frozen=True, kw_only=True)
class ErasureScope:
    """What of an account can be erased: rows by kind, leaves in (meter, MTU) order.

    `newest` is the last moment (Unix seconds) that anything the law asks to keep is about, None without such things.
    """

    meters: tuple[int, ...]
    leaves: tuple[AnchoredLeaf, ...]
    rows: Mapping[str, int]
    newest: int | None


@dataclass(frozen=True)
class _Kind:
    """Rows of a table that go, or of which columns are emptied."""

    table: Table
    where: ColumnElement[bool]
    emptied: tuple[str, ...] = ()


class Erasures:
    """Erasures of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def scope(self, account: str, mtu_length_s: int) -> ErasureScope:
        """What there is to erase of an account."""
        own = _meters_of(account)
        readings = meter_reading.c
        query = select(meter_reading).where(readings.meter.in_(own)).order_by(readings.meter, readings.mtu_start)
        leaves = tuple(
            AnchoredLeaf(
                entry=ErasedLeaf(
                    row.meter, row.mtu_start, leaf(row.meter, row.mtu_start, row.import_wh, row.export_wh, row.salt)
                ),
                zone=row.zone,
                anchor_sequence=row.anchor_sequence,
            )
            for row in self._connection.execute(query)
        )
        kinds = _kinds(account)
        return ErasureScope(
            meters=tuple(self._connection.execute(own.order_by(meter.c.meter)).scalars()),
            leaves=leaves,
            rows={kind: self._count(kinds[kind]) for kind in ERASED_KINDS},
            newest=self._newest(account, mtu_length_s),
        )

    def longest_correction_s(self) -> int:
        """How long after its MTU a settled value can be corrected under any policy, seconds."""
        rows = self._connection.execute(select(policy_version.c.policy)).scalars()
        return max((values["correctionS"] for values in rows), default=0)

    def apply(self, scope: ErasureScope, message: Mapping[str, Any], signature: str, now: int) -> None:
        """Delete everything in the scope and keep the signed tombstone with its leaves."""
        account = message["account"]
        values = {"account": account, "erasure": dict(message), "signature": signature, "applied_at": now}
        key = self._connection.execute(insert(tombstone).values(**values)).inserted_primary_key
        assert key is not None
        rows = [
            {
                "meter": one.entry.meter,
                "mtu_start": one.entry.mtu_start,
                "zone": one.zone,
                "anchor_sequence": one.anchor_sequence,
                "leaf": one.entry.leaf,
                "tombstone": key[0],
            }
            for one in scope.leaves
        ]
        for first in range(0, len(rows), _ROWS_PER_INSERT):
            self._connection.execute(insert(erased_reading), rows[first : first + _ROWS_PER_INSERT])
        self._keep_setpoint_leaves(account)
        for kind in _kinds(account).values():
            if kind.emptied:
                self._connection.execute(update(kind.table).where(kind.where).values(dict.fromkeys(kind.emptied)))
            else:
                self._connection.execute(delete(kind.table).where(kind.where))

    def _keep_setpoint_leaves(self, account: str) -> None:
        """Leaves of setpoints that are about to lose residual and salt: their clearing's root needs them."""
        setpoints = dispatch_setpoint.c
        query = select(dispatch_setpoint).where(_kinds(account)["setpoints"].where)
        rows = [
            {"of_zone": row.zone, "of_mtu": row.mtu_start, "of_meter": row.meter, "kept": _setpoint_leaf(row)}
            for row in self._connection.execute(query)
        ]
        keep = update(dispatch_setpoint).values(leaf=bindparam("kept"))
        keep = keep.where(
            setpoints.zone == bindparam("of_zone"),
            setpoints.mtu_start == bindparam("of_mtu"),
            setpoints.meter == bindparam("of_meter"),
        )
        for first in range(0, len(rows), _ROWS_PER_INSERT):
            self._connection.execute(keep, rows[first : first + _ROWS_PER_INSERT])

    def is_applied(self, signature: str) -> bool:
        """Whether the tombstone with this signature is kept here."""
        return self._connection.execute(select(tombstone).where(tombstone.c.signature == signature)).first() is not None

    def _count(self, kind: _Kind) -> int:
        query = select(func.count()).select_from(kind.table).where(kind.where)
        return self._connection.execute(query).scalar_one()

    def _newest(self, account: str, mtu_length_s: int) -> int | None:
        own = _meters_of(account)
        readings, orders, deals = meter_reading.c, market_order.c, market_acceptance.c
        queries: Sequence[Select[Any]] = (
            select(func.max(readings.mtu_start + readings.interval_s)).where(readings.meter.in_(own)),
            select(func.max(register_reading.c.taken_at)).where(register_reading.c.meter.in_(own)),
            select(func.max(partial_reading.c.interval_start + partial_reading.c.interval_s)).where(
                partial_reading.c.meter.in_(own)
            ),
            select(func.max(meter_event.c.happened_at)).where(meter_event.c.meter.in_(own)),
            select(func.max(demand_consent.c.noted_at)).where(demand_consent.c.account == account),
            select(func.max(demand_participation.c.noted_at)).where(demand_participation.c.account == account),
            select(func.max(demand_shift.c.mtu_start + mtu_length_s)).where(demand_shift.c.meter.in_(own)),
            select(func.max(dispatch_setpoint.c.mtu_start + mtu_length_s)).where(dispatch_setpoint.c.meter.in_(own)),
            select(func.max(reading_dispute.c.moment + mtu_length_s)).where(reading_dispute.c.meter.in_(own)),
            select(func.max(orders.final_mtu_start + mtu_length_s)).where(orders.owner == account),
            select(func.max(deals.mtu_start + mtu_length_s)).where(deals.owner == account),
        )
        moments = [self._connection.execute(query).scalar() for query in queries]
        return max((moment for moment in moments if moment is not None), default=None)


def _meters_of(account: str) -> Select[Any]:
    return select(meter.c.meter).where(meter.c.owner == account)


def _setpoint_leaf(row: Row[Any]) -> str:
    made = SetpointRow(meter=row.meter, contracted_wh=row.contracted_wh, residual_wh=row.residual_wh)
    return "0x" + setpoint_leaf(made, bytes.fromhex(row.salt[2:])).hex()


def _kinds(account: str) -> dict[str, _Kind]:
    own, refused = _meters_of(account), outbox.c.state == OutboxState.REJECTED
    about_person = ("meter", "from_s", "to_s", "reason")
    return {
        "readings": _Kind(meter_reading, meter_reading.c.meter.in_(own)),
        "registers": _Kind(register_reading, register_reading.c.meter.in_(own)),
        "disputes": _Kind(reading_dispute, reading_dispute.c.meter.in_(own)),
        "partial readings": _Kind(partial_reading, partial_reading.c.meter.in_(own)),
        "estimates": _Kind(substitute_reading, substitute_reading.c.meter.in_(own)),
        "meter events": _Kind(meter_event, meter_event.c.meter.in_(own)),
        "notices": _Kind(notice, notice.c.owner == account),
        "sessions": _Kind(sign_in_session, sign_in_session.c.owner == account),
        "webhooks": _Kind(webhook, webhook.c.owner == account),
        "client ids": _Kind(
            market_order, (market_order.c.owner == account) & market_order.c.client_id.is_not(None), ("client_id",)
        ),
        "accesses": _Kind(reading_access, reading_access.c.meter.in_(own), about_person),
        "refused transactions": _Kind(outbox, (outbox.c.signer == account) & refused),
        "consents": _Kind(demand_consent, demand_consent.c.account == account),
        "participations": _Kind(demand_participation, demand_participation.c.account == account, ("meter", "account")),
        "measurements": _Kind(demand_measurement, demand_measurement.c.meter.in_(own)),
        "shifts": _Kind(demand_shift, demand_shift.c.meter.in_(own)),
        "measuring states": _Kind(demand_state, demand_state.c.meter.in_(own)),
        "setpoints": _Kind(
            dispatch_setpoint,
            dispatch_setpoint.c.meter.in_(own) & dispatch_setpoint.c.salt.is_not(None),
            ("residual_wh", "salt"),
        ),
    }
