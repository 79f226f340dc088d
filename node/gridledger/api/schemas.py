"""Shapes of requests and answers. Decimal texts are converted once, here, and refused if they are not exact."""

from functools import lru_cache
from typing import Annotated, Any, Literal

from eth_utils.address import to_checksum_address
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gridledger.api.sign_in import LONGEST_MESSAGE
from gridledger.market.model import Acceptance, Order, Pricing, Product, Receipt, Side
from gridledger.market.packing import LARGEST_ENERGY_WH, LARGEST_TIME_S
from gridledger.market.ports import AcceptedDeal, AcceptedOrder
from gridledger.metering.events import MeterEvent, MeterEventKind
from gridledger.metering.model import MAX_METER_ID_CHARACTERS
from gridledger.units import INT64_MAX, INT64_MIN, UINT32_MAX, UINT64_MAX, check_range, parse_decimal, parse_utc
from gridledger.webhooks.targets import LONGEST_URL

__all__ = [
    "Address",
    "CancelUpToIn",
    "DealIn",
    "DecimalText",
    "MeterEventIn",
    "OrderBatchIn",
    "OrderIn",
    "RawTransactionIn",
    "ReadingsIn",
    "RewindIn",
    "SignInIn",
    "Signature",
    "Strict",
    "Uid",
    "UtcText",
    "WebhookIn",
    "checksum",
    "deal_out",
    "fill_out",
    "order_out",
    "receipt_out",
]

Address = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
Signature = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{130}$")]
Uid = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{64}$")]
DecimalText = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,9})?$")]
SaltText = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
ClientId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
SerialText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_METER_ID_CHARACTERS)]
UtcText = Annotated[str, StringConstraints(min_length=20, max_length=25)]
PRICE_DECIMALS, ENERGY_DECIMALS = 3, 3  # cents/kWh -> cents/MWh, kWh -> Wh


@lru_cache(maxsize=10_000)
def checksum(address: str) -> str:
    """The address in EIP-55 form."""
    return str(to_checksum_address(address))


class Strict(BaseModel):
    """A request's body: nothing but what it names, and nothing converted by guessing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OrderIn(Strict):
    """A signed order. The signature covers the integers the texts stand for, see `GET /v1/market`."""

    owner: Address
    meter: Annotated[int, Field(ge=1, le=UINT32_MAX, strict=True)]
    side: Literal["buy", "sell"]
    product: Literal["any", "low_carbon"] = "any"
    pricing: Literal["limit", "pegged"] = "limit"
    first_mtu_start: UtcText
    last_mtu_start: UtcText | None = None
    quantity_kwh: DecimalText
    price_cents_per_kwh: DecimalText
    expiry: UtcText
    salt: SaltText
    signature: Signature
    client_id: ClientId | None = None

    def to_order(self) -> Order:
        """The order in integers. Raises NotExact, NotUtc, OutOfRange."""
        first = parse_utc("first_mtu_start", self.first_mtu_start)
        last = first if self.last_mtu_start is None else parse_utc("last_mtu_start", self.last_mtu_start)
        limit = parse_decimal("price_cents_per_kwh", self.price_cents_per_kwh, PRICE_DECIMALS)
        quantity = parse_decimal("quantity_kwh", self.quantity_kwh, ENERGY_DECIMALS)
        return Order(
            owner=checksum(self.owner),
            meter=self.meter,
            side=Side.BUY if self.side == "buy" else Side.SELL,
            product=Product.ANY if self.product == "any" else Product.LOW_CARBON,
            pricing=Pricing.LIMIT if self.pricing == "limit" else Pricing.PEGGED,
            first_mtu_start=check_range("first_mtu_start", first, 0, UINT32_MAX),
            last_mtu_start=check_range("last_mtu_start", last, 0, UINT32_MAX),
            quantity_wh=check_range("quantity_kwh", quantity, 0, UINT64_MAX),
            limit_cents_per_mwh=check_range("price_cents_per_kwh", limit, INT64_MIN, INT64_MAX),
            expiry=check_range("expiry", parse_utc("expiry", self.expiry), 0, UINT32_MAX),
            salt=check_range("salt", int(self.salt), 0, UINT64_MAX),
        )

    def signature_bytes(self) -> bytes:
        """The 65 bytes r, s, v."""
        return bytes.fromhex(self.signature[2:])


class CancelUpToIn(Strict):
    """A signed bulk cancellation (EIP-712 struct `CancelUpTo`)."""

    owner: Address
    salt: SaltText
    signature: Signature

    def to_salt(self) -> int:
        """The last salt that is cancelled. Raises OutOfRange."""
        return check_range("salt", int(self.salt), 0, UINT64_MAX)

    def signature_bytes(self) -> bytes:
        """The 65 bytes r, s, v."""
        return bytes.fromhex(self.signature[2:])


class DealIn(Strict):
    """A buyer's signed acceptance of a posted offer (EIP-712 struct `Acceptance`)."""

    owner: Address
    meter: Annotated[int, Field(ge=1, le=UINT32_MAX, strict=True)]
    offer_uid: Uid
    mtu_start: UtcText
    quantity_kwh: DecimalText
    salt: SaltText
    signature: Signature

    def to_acceptance(self) -> Acceptance:
        """The acceptance in integers. Raises NotExact, NotUtc, OutOfRange."""
        mtu_start = parse_utc("mtu_start", self.mtu_start)
        quantity = parse_decimal("quantity_kwh", self.quantity_kwh, ENERGY_DECIMALS)
        return Acceptance(
            owner=checksum(self.owner),
            meter=self.meter,
            offer_uid=self.offer_uid,
            mtu_start=check_range("mtu_start", mtu_start, 0, UINT32_MAX),
            quantity_wh=check_range("quantity_kwh", quantity, 0, LARGEST_ENERGY_WH),
            salt=check_range("salt", int(self.salt), 0, LARGEST_TIME_S),
        )

    def signature_bytes(self) -> bytes:
        """The 65 bytes r, s, v."""
        return bytes.fromhex(self.signature[2:])


class OrderBatchIn(Strict):
    """Orders of several owners, posted by a gateway; each is accepted or refused on its own, in the given order."""

    orders: Annotated[list[OrderIn], Field(min_length=1, max_length=500)]


class ReadingsIn(Strict):
    """Signed readings, JWS compact or OCMF; each is accepted or refused on its own, one that is too long too."""

    readings: Annotated[list[str], Field(min_length=1, max_length=500)]


class RawTransactionIn(Strict):
    """A signed EIP-1559 transaction, 0x hex."""

    raw_transaction: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]+$", max_length=262_146)]


class MeterEventIn(Strict):
    """What broke a meter's count, signed by the grid operator of its zone (EIP-712); registers in kWh."""

    kind: Literal["reset", "rollover", "replacement"]
    happened_at: UtcText
    closing_serial: SerialText
    opening_serial: SerialText
    closing_import_kwh: DecimalText
    closing_export_kwh: DecimalText
    opening_import_kwh: DecimalText
    opening_export_kwh: DecimalText
    signature: Signature

    def to_event(self, meter: int) -> MeterEvent:
        """The event in integers. Raises NotExact, NotUtc, OutOfRange, FieldRefused, MeterEventMalformed."""

        def register_wh(name: str) -> int:
            return parse_decimal(name, getattr(self, name), ENERGY_DECIMALS)

        return MeterEvent(
            meter=meter,
            kind=MeterEventKind[self.kind.upper()],
            happened_at=parse_utc("happened_at", self.happened_at),
            closing_serial=self.closing_serial,
            opening_serial=self.opening_serial,
            closing_import_wh=register_wh("closing_import_kwh"),
            closing_export_wh=register_wh("closing_export_kwh"),
            opening_import_wh=register_wh("opening_import_kwh"),
            opening_export_wh=register_wh("opening_export_kwh"),
        )


class SignInIn(Strict):
    """An EIP-4361 message made with a nonce of `POST /v1/sessions/nonce`, and its EIP-191 signature."""

    message: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_MESSAGE)]
    signature: Signature


class WebhookIn(Strict):
    """Where to post a feed; `after` is the id of its last entry that needs no delivery."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
    after: Annotated[int, Field(ge=0, le=INT64_MAX, strict=True)] | None = None


class RewindIn(Strict):
    """From where to deliver again: after this id; without one from where deliveries had come to."""

    after: Annotated[int, Field(ge=0, le=INT64_MAX, strict=True)] | None = None


def order_out(accepted: AcceptedOrder) -> dict[str, Any]:
    """An accepted order with its receipt."""
    order = accepted.signed.order
    return {
        "uid": accepted.signed.uid,
        "owner": order.owner,
        "meter": order.meter,
        "zone": accepted.zone,
        "side": order.side.name.lower(),
        "product": order.product.name.lower(),
        "pricing": order.pricing.name.lower(),
        "first_mtu_start": order.first_mtu_start,
        "last_mtu_start": order.last_mtu_start,
        "quantity_wh": order.quantity_wh,
        "limit_cents_per_mwh": order.limit_cents_per_mwh,
        "expiry": order.expiry,
        "salt": str(order.salt),
        "state": accepted.state,
        "state_reason": accepted.state_reason,
        "filled_wh": accepted.filled_wh,
        "client_id": accepted.client_id,
        "receipt": receipt_out(accepted.receipt),
    }


def deal_out(accepted: AcceptedDeal) -> dict[str, Any]:
    """An accepted direct deal with its receipt."""
    acceptance = accepted.signed.acceptance
    return {
        "uid": accepted.signed.uid,
        "owner": acceptance.owner,
        "meter": acceptance.meter,
        "zone": accepted.zone,
        "offer_uid": acceptance.offer_uid,
        "mtu_start": acceptance.mtu_start,
        "quantity_wh": acceptance.quantity_wh,
        "salt": str(acceptance.salt),
        "state": accepted.state,
        "state_reason": accepted.state_reason,
        "receipt": receipt_out(accepted.receipt),
    }


def fill_out(mtu_start: int, filled_wh: int, ineligible: str | None) -> dict[str, Any]:
    """What one MTU's book made of an order."""
    return {"mtu_start": mtu_start, "filled_wh": filled_wh, "ineligible": ineligible}


def receipt_out(receipt: Receipt) -> dict[str, Any]:
    """The market operator's receipt; that of a cancellation names the cancellation's digest as its uid."""
    return {
        "order_uid": receipt.order_uid,
        "running_number": receipt.running_number,
        "received_at": receipt.received_at,
        "block_hash": receipt.block_hash,
        "signature": receipt.signature,
    }
