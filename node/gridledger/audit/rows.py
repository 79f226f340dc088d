"""Rows of exported files, typed."""

from typing import NamedTuple

from gridledger.audit.model import TradeKind
from gridledger.market.model import Acceptance, Order, Pricing, Product, Side, SignedAcceptance, SignedOrder
from gridledger.metering.erasure import Erasure
from gridledger.metering.events import MeterEvent, MeterEventKind

__all__ = [
    "AcceptanceRow",
    "BlockRow",
    "BookRow",
    "BulkCancellationRow",
    "CancellationRow",
    "ErasedRow",
    "MeterEventRow",
    "MeterRow",
    "OrderRow",
    "PositionRow",
    "ReadingRow",
    "SetpointRow",
    "TombstoneRow",
    "TradeRow",
]


class OrderRow(NamedTuple):
    """A receipted order; times in Unix seconds."""

    running_number: int
    uid: str
    owner: str
    meter: int
    zone: int
    side: Side
    product: Product
    pricing: Pricing
    first_mtu_start: int
    last_mtu_start: int
    quantity_wh: int
    limit_cents_per_mwh: int
    expiry: int
    salt: int
    signature: bytes
    received_at: int
    receipt_block_hash: str
    receipt_signature: bytes

    def order(self) -> Order:
        """The order as its owner signed it."""
        return Order(
            owner=self.owner,
            meter=self.meter,
            side=self.side,
            product=self.product,
            pricing=self.pricing,
            first_mtu_start=self.first_mtu_start,
            last_mtu_start=self.last_mtu_start,
            quantity_wh=self.quantity_wh,
            limit_cents_per_mwh=self.limit_cents_per_mwh,
            expiry=self.expiry,
            salt=self.salt,
        )

    def signed(self) -> SignedOrder:
        """The order with its uid and signature."""
        return SignedOrder(order=self.order(), uid=self.uid, signature=self.signature)


class AcceptanceRow(NamedTuple):
    """A receipted acceptance of an offer; times in Unix seconds."""

    running_number: int
    uid: str
    owner: str
    meter: int
    zone: int
    offer_uid: str
    mtu_start: int
    quantity_wh: int
    salt: int
    signature: bytes
    received_at: int
    receipt_block_hash: str
    receipt_signature: bytes

    def acceptance(self) -> Acceptance:
        """The acceptance as its owner signed it."""
        return Acceptance(
            owner=self.owner,
            meter=self.meter,
            offer_uid=self.offer_uid,
            mtu_start=self.mtu_start,
            quantity_wh=self.quantity_wh,
            salt=self.salt,
        )

    def signed(self) -> SignedAcceptance:
        """The acceptance with its uid and signature."""
        return SignedAcceptance(acceptance=self.acceptance(), uid=self.uid, signature=self.signature)


class CancellationRow(NamedTuple):
    """A receipted cancellation by the order's owner; time in Unix seconds."""

    running_number: int
    uid: str
    signature: bytes
    received_at: int
    receipt_block_hash: str
    receipt_signature: bytes


class BulkCancellationRow(NamedTuple):
    """A receipted cancellation of all of an owner's orders with a salt up to this one; time in Unix seconds."""

    running_number: int
    owner: str
    salt: int
    signature: bytes
    received_at: int
    receipt_block_hash: str
    receipt_signature: bytes


class BookRow(NamedTuple):
    """One line of a closed book: an order or an acceptance, and what it was filled with."""

    zone: int
    mtu_start: int
    position: int
    running_number: int
    uid: str
    ineligible: str | None
    filled_wh: int


class TradeRow(NamedTuple):
    """One trade of a cleared MTU, and what caps took off it; positions count in each chunk."""

    zone: int
    mtu_start: int
    chunk: int
    position: int
    kind: TradeKind
    sell_meter: int
    buy_meter: int
    energy_wh: int
    price_cents_per_mwh: int
    curtailed_wh: int


class PositionRow(NamedTuple):
    """One meter's contract of a chunk, as the contract keeps it now; cash is empty until settled."""

    zone: int
    mtu_start: int
    chunk: int
    position: int
    meter: int
    owner: str
    supplier: str
    source: int
    side: Side
    auction_wh: int
    low_carbon_wh: int
    dealt_wh: int
    prior_wh: int
    continued: bool
    curtailed: bool
    locked_microcents: int
    fee_microcents: int
    deal_microcents: int
    settled: bool
    refunded: bool
    substitute: bool
    version: int
    metered_wh: int
    trade_microcents: int | None
    imbalance_microcents: int | None


class SetpointRow(NamedTuple):
    """What a meter was expected to do in an MTU, Wh, export positive, with the salt of its commitment.

    Of an erased one there are contract and leaf (32 bytes), neither residual nor salt; the others' leaf is empty.
    """

    zone: int
    mtu_start: int
    meter: int
    contracted_wh: int
    residual_wh: int | None
    salt: bytes | None
    leaf: bytes | None = None


class ReadingRow(NamedTuple):
    """An accepted reading with its signed text and the salt of its commitment."""

    meter: int
    meter_id: str
    interval_start: int
    interval_seconds: int
    import_wh: int
    export_wh: int
    counter: int
    anchor_sequence: int | None
    salt: bytes
    text: str


class ErasedRow(NamedTuple):
    """What is left of an erased reading: its leaf of 32 bytes, and the batch it was anchored in."""

    meter: int
    interval_start: int
    anchor_sequence: int | None
    leaf: bytes


class TombstoneRow(NamedTuple):
    """What the regulator signed about an erased person, and what is left of the readings."""

    erasure: Erasure
    signature: str
    readings: tuple[ErasedRow, ...]


class MeterEventRow(NamedTuple):
    """The grid operator's statement of what broke a meter's count; registers in Wh."""

    meter: int
    happened_at: int
    kind: MeterEventKind
    closing_serial: str
    opening_serial: str
    closing_import_wh: int
    closing_export_wh: int
    opening_import_wh: int
    opening_export_wh: int
    signature: bytes

    def event(self) -> MeterEvent:
        """The event as it was signed. Raises OutOfRange, FieldRefused, MeterEventMalformed."""
        return MeterEvent(
            meter=self.meter,
            kind=self.kind,
            happened_at=self.happened_at,
            closing_serial=self.closing_serial,
            opening_serial=self.opening_serial,
            closing_import_wh=self.closing_import_wh,
            closing_export_wh=self.closing_export_wh,
            opening_import_wh=self.opening_import_wh,
            opening_export_wh=self.opening_export_wh,
        )


class MeterRow(NamedTuple):
    """A registered meter."""

    meter: int
    owner: str
    supplier: str
    zone: int
    import_capacity_w: int
    export_capacity_w: int
    source: int
    device_key_x: bytes
    device_key_y: bytes


class BlockRow(NamedTuple):
    """A journalled block of the embedded chain."""

    number: int
    time_s: int
    block_hash: str
    state_root: str
    raw_transactions: tuple[str, ...]
