"""What an owner is told: one notice for each change of an order's life, numbered in the order they happened."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Notice", "NoticeDetails", "NoticeKind", "Notices", "notice_document"]

_BEYOND_JSON = ("_microcents", "_ugco2")  # may need more than the 53 bits of other readers' numbers


class NoticeKind(StrEnum):
    """What happened to an order, or to the position it became part of; what demand response asks and measures."""

    ACCEPTED = "accepted"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    INELIGIBLE = "ineligible"
    UNMATCHED = "unmatched"
    MATCHED = "matched"
    LOCKED = "locked"
    FAILED = "failed"
    CURTAILED = "curtailed"
    SETTLED = "settled"
    RESETTLED = "resettled"
    REFUNDED = "refunded"
    REWARDED = "rewarded"
    CHALLENGED = "challenged"
    DEMAND = "demand"
    MEASURED = "measured"


@dataclass(frozen=True, kw_only=True)
class NoticeDetails:
    """Figures of a notice; what a kind does not speak of is None.

    `energy_wh` is the order's own energy: asked for when accepted or cancelled, filled from then on. `metered_wh` and
    the money are those of the meter's whole position in the MTU: each order of that meter bears the same figures. So is
    `curtailed_wh`, which the grid operator's caps have taken from it; `compensated_microcents` is what the grid
    operator pays the buyer for that, or owes it.
    Where demand response asks, it is what the zone shall shift in each of the `mtu_count` MTUs from the notice's on;
    where it has been measured, what the meter has shifted in all of them.
    """

    running_number: int | None = None
    energy_wh: int | None = None
    price_cents_per_mwh: int | None = None
    metered_wh: int | None = None
    locked_microcents: int | None = None
    fee_microcents: int | None = None
    trade_microcents: int | None = None
    imbalance_microcents: int | None = None
    refunded_microcents: int | None = None
    curtailed_wh: int | None = None
    compensated_microcents: int | None = None
    reward_ugco2: int | None = None
    sequence: int | None = None
    reason: str | None = None
    reason_code: int | None = None
    transaction_hash: str | None = None
    event_id: str | None = None
    direction: str | None = None
    mtu_count: int | None = None

    def given(self) -> dict[str, int | str]:
        """What is not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing an owner is told; ids ascend and are never used again, `created_at` is in Unix seconds."""

    id: int
    owner: str
    kind: NoticeKind
    order_uid: str | None
    zone: int | None
    mtu_start: int
    meter: int | None
    details: NoticeDetails
    created_at: int


class Notices(Protocol):
    """Where notices go, in the transaction of the change they tell."""

    def add(
        self,
        kind: NoticeKind,
        *,
        owner: str,
        order_uid: str | None,
        zone: int | None,
        mtu_start: int,
        meter: int | None,
        created_at: int,
        details: NoticeDetails,
    ) -> None:
        """Keep a notice for its owner."""


def notice_document(notice: Notice) -> dict[str, object]:
    """The notice as its owner reads it, by stream, webhook and list alike; money and carbon are decimal texts."""
    return {
        "id": notice.id,
        "kind": notice.kind,
        "order_uid": notice.order_uid,
        "zone": notice.zone,
        "mtu_start": notice.mtu_start,
        "meter": notice.meter,
        "created_at": notice.created_at,
        "details": {
            name: str(value) if name.endswith(_BEYOND_JSON) else value for name, value in notice.details.given().items()
        },
    }
