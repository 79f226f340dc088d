"""What events of the registry and the rules change in the projections. A part of projections."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from gridledger.relay import ChainEvent
from gridledger.store.schema import (
    feed_in_price,
    grid_factor,
    meter,
    participant,
    policy_version,
    role_member,
    source_factor,
    supplier,
    suspension,
    zone,
)

if TYPE_CHECKING:
    from gridledger.store.transaction import Transaction

__all__ = ["REGISTRY_HANDLERS"]


def _zone_registered(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    _upsert_zone(tx, event.arguments["zone"], grid_operator=event.arguments["gridOperator"])


def _market_halted(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    _upsert_zone(tx, event.arguments["zone"], halted=event.arguments["halted"])


def _upsert_zone(tx: "Transaction", number: int, **values: Any) -> None:
    if tx.connection.execute(update(zone).where(zone.c.zone == number).values(**values)).rowcount == 0:
        tx.connection.execute(insert(zone).values(**{"zone": number, "grid_operator": "", "halted": False, **values}))


def _transformer_set(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    values = {"transformer_meter": arguments["meter"], "loss_tolerance_bp": arguments["lossToleranceBp"]}
    _upsert_zone(tx, arguments["zone"], **values)


def _supplier_registered(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    number = tx.connection.execute(select(func.count()).select_from(supplier)).scalar_one() + 1
    tx.connection.execute(insert(supplier).values(account=event.arguments["supplier"], number=number))


def _participant_admitted(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.connection.execute(insert(participant).values(account=arguments["account"], supplier=arguments["supplier"]))


def _participant_suspended(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    account = event.arguments["account"]
    tx.connection.execute(delete(suspension).where(suspension.c.account == account))
    if event.arguments["suspended"]:
        tx.connection.execute(insert(suspension).values(account=account))


def _meter_registered(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.connection.execute(
        insert(meter).values(
            meter=arguments["meter"],
            owner=arguments["owner"],
            zone=arguments["zone"],
            import_capacity_w=arguments["importCapacityW"],
            export_capacity_w=arguments["exportCapacityW"],
            source=arguments["source"],
            device_key_x=arguments["deviceKeyX"],
            device_key_y=arguments["deviceKeyY"],
        )
    )


def _device_key_replaced(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.connection.execute(
        update(meter)
        .where(meter.c.meter == arguments["meter"])
        .values(device_key_x=arguments["deviceKeyX"], device_key_y=arguments["deviceKeyY"])
    )


def _policy_scheduled(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.connection.execute(
        insert(policy_version).values(
            version=arguments["version"],
            effective_mtu_start=arguments["effectiveMtuStart"],
            policy=dict(arguments["policy"]),
        )
    )


def _feed_in_posted(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.connection.execute(
        insert(feed_in_price).values(
            mtu_start=arguments["mtuStart"], feed_in_cents_per_mwh=arguments["feedInCentsPerMwh"]
        )
    )


def _source_factor_set(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.connection.execute(
        insert(source_factor).values(source=arguments["source"], factor_mgco2_per_kwh=arguments["factorMgco2PerKwh"])
    )


def _grid_factor_published(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    arguments = event.arguments
    tx.connection.execute(
        insert(grid_factor).values(mtu_start=arguments["mtuStart"], factor_mgco2_per_kwh=arguments["factorMgco2PerKwh"])
    )


def _role_granted(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    """A changed execution delay grants nothing new, and its `since` is about the delay."""
    if event.arguments["newMember"]:
        arguments = event.arguments
        tx.connection.execute(
            insert(role_member).values(role=arguments["roleId"], account=arguments["account"], since=arguments["since"])
        )


def _role_revoked(tx: "Transaction", event: ChainEvent, _time: int) -> None:
    tx.connection.execute(
        delete(role_member).where(
            role_member.c.role == event.arguments["roleId"], role_member.c.account == event.arguments["account"]
        )
    )


REGISTRY_HANDLERS: dict[str, Callable[["Transaction", ChainEvent, int], None]] = {
    "ZoneRegistered": _zone_registered,
    "MarketHalted": _market_halted,
    "TransformerSet": _transformer_set,
    "SupplierRegistered": _supplier_registered,
    "ParticipantAdmitted": _participant_admitted,
    "ParticipantSuspended": _participant_suspended,
    "MeterRegistered": _meter_registered,
    "DeviceKeyReplaced": _device_key_replaced,
    "PolicyScheduled": _policy_scheduled,
    "FeedInPosted": _feed_in_posted,
    "SourceFactorSet": _source_factor_set,
    "GridFactorPublished": _grid_factor_published,
    "RoleGranted": _role_granted,
    "RoleRevoked": _role_revoked,
}
