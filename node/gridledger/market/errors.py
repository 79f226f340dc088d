"""What can be wrong with an order or a book."""

from dataclasses import dataclass

from gridledger.errors import Conflict, Forbidden, InvalidInput, NotFound

__all__ = [
    "AccountSuspended",
    "CapacityExceeded",
    "ClientIdReused",
    "FundsExceeded",
    "GateClosed",
    "LimitOutsideBounds",
    "MarketHalted",
    "MeterNotOwned",
    "MeterUnknown",
    "MtuUnknown",
    "NotAdmitted",
    "NothingToCorrect",
    "OfferNotAcceptable",
    "OfferUsedUp",
    "OrderExpired",
    "OrderHasDeals",
    "OrderNotCancellable",
    "OrderUnknown",
    "OrderUnsupported",
    "OtherSideTaken",
    "OwnOffer",
    "QuantityRefused",
    "RangeRefused",
    "SaltCancelled",
    "SignatureMalformed",
    "SignerNotOwner",
    "VersionsUsedUp",
    "WrongTransition",
]


@dataclass(kw_only=True, eq=False)
class SignatureMalformed(InvalidInput):
    """The signature is not 65 bytes r, s, v with s in the lower half and v 27 or 28."""

    reason: str


@dataclass(kw_only=True, eq=False)
class SignerNotOwner(Forbidden):
    """The signature is not the owner's over this order, chain and contract."""

    owner: str
    signer: str
    chain_id: int
    contract: str


@dataclass(kw_only=True, eq=False)
class NotAdmitted(Forbidden):
    """The account is not admitted to the market."""

    owner: str


@dataclass(kw_only=True, eq=False)
class AccountSuspended(Forbidden):
    """The regulator has suspended the account."""

    owner: str


@dataclass(kw_only=True, eq=False)
class MarketHalted(Conflict):
    """The regulator has halted the zone or the market."""

    zone: int


@dataclass(kw_only=True, eq=False)
class MeterUnknown(NotFound):
    """No such meter is registered."""

    meter: int


@dataclass(kw_only=True, eq=False)
class MeterNotOwned(Forbidden):
    """The meter belongs to somebody else."""

    meter: int
    owner: str


@dataclass(kw_only=True, eq=False)
class GateClosed(Conflict):
    """The gate for the MTU has closed."""

    mtu_start: int
    gate_closure: int
    now: int


@dataclass(kw_only=True, eq=False)
class OrderExpired(InvalidInput):
    """The order expires before the gate of its MTU closes."""

    expiry: int
    gate_closure: int


@dataclass(kw_only=True, eq=False)
class OrderUnsupported(InvalidInput):
    """This kind of order is not traded here."""

    field: str
    value: str


@dataclass(kw_only=True, eq=False)
class QuantityRefused(InvalidInput):
    """The quantity must be positive."""

    quantity_wh: int


@dataclass(kw_only=True, eq=False)
class LimitOutsideBounds(InvalidInput):
    """The limit price lies outside the regulator's floor and cap for the MTU."""

    limit_cents_per_mwh: int
    floor_cents_per_mwh: int
    cap_cents_per_mwh: int


@dataclass(kw_only=True, eq=False)
class CapacityExceeded(Conflict):
    """All open orders of the meter together exceed its capacity for the MTU."""

    meter: int
    requested_wh: int
    open_wh: int
    capacity_wh: int


@dataclass(kw_only=True, eq=False)
class FundsExceeded(Conflict):
    """The worst case of all open orders exceeds the owner's free money and credit."""

    owner: str
    required_microcents: int
    committed_microcents: int
    available_microcents: int


@dataclass(kw_only=True, eq=False)
class OtherSideTaken(Conflict):
    """The owner already trades on the other side of this zone and MTU."""

    owner: str
    zone: int
    mtu_start: int


@dataclass(kw_only=True, eq=False)
class ClientIdReused(Conflict):
    """The client's order id was used before with another body."""

    owner: str
    client_id: str
    order_uid: str


@dataclass(kw_only=True, eq=False)
class OrderUnknown(NotFound):
    """No such order was accepted."""

    order_uid: str


@dataclass(kw_only=True, eq=False)
class OrderNotCancellable(Conflict):
    """Only an open order before its gate closes can be cancelled."""

    order_uid: str
    state: str


@dataclass(kw_only=True, eq=False)
class MtuUnknown(Conflict):
    """The chain tells of an MTU whose book this node has lost: its database is older than the chain."""

    zone: int
    mtu_start: int


@dataclass(kw_only=True, eq=False)
class WrongTransition(Conflict):
    """The state machine knows no such step."""

    subject: str
    state: str
    event: str


@dataclass(kw_only=True, eq=False)
class RangeRefused(InvalidInput):
    """A standing order covers one to a year's MTUs, the last not before the first."""

    first_mtu_start: int
    last_mtu_start: int


@dataclass(kw_only=True, eq=False)
class SaltCancelled(Conflict):
    """The owner has cancelled all its orders up to a higher salt, later ones included."""

    owner: str
    salt: int
    cancelled_up_to: int


@dataclass(kw_only=True, eq=False)
class OfferNotAcceptable(Conflict):
    """The order cannot be accepted directly."""

    offer_uid: str
    reason: str


@dataclass(kw_only=True, eq=False)
class OfferUsedUp(Conflict):
    """Not enough is left of the offer in the MTU."""

    offer_uid: str
    requested_wh: int
    unsold_wh: int


@dataclass(kw_only=True, eq=False)
class OwnOffer(Conflict):
    """Nobody can accept its own offer."""

    owner: str


@dataclass(kw_only=True, eq=False)
class OrderHasDeals(Conflict):
    """The offer was accepted for an MTU still to come, so it cannot be cancelled before that."""

    order_uid: str
    mtu_start: int


@dataclass(kw_only=True, eq=False)
class NothingToCorrect(Conflict):
    """The position is settled on this very reading."""

    meter: int
    metered_wh: int


@dataclass(kw_only=True, eq=False)
class VersionsUsedUp(Conflict):
    """The position has been corrected as often as it can be."""

    meter: int
    version: int
