"""Market agents: each acts for one member, forecasts from its own last readings, and signs orders. Pure.

An agent knows nothing but its own meters' past and the published price bounds. Prices are drawn from the seed, so that
bids lie mostly above the middle of the bounds and offers mostly below it, and many match.
"""

from dataclasses import dataclass

from coincurve import PrivateKey

from gridledger.market.model import Order, Pricing, Product, Side, SignedOrder
from gridledger.market.order_hash import OrderDomain, order_uid
from gridledger.simulation.community import Member, NumberedMeter
from gridledger.simulation.inputs import MeterReading
from gridledger.simulation.seeded import DRAW_LIMIT, draw
from gridledger.units import BASIS_POINTS, format_utc

__all__ = ["MemberAgent", "OrderWindow", "capacity_wh", "limit_price", "order_body"]

SECONDS_PER_HOUR = 3600
LOW_CARBON_SHARE_BP, PEGGED_SHARE_BP = 2_500, 1_000  # of all members; drawn once for each
LOWEST_BID_BP, HIGHEST_OFFER_BP = 3_500, 6_500  # shares of the way from floor to cap; they overlap, so not all match


@dataclass(frozen=True, kw_only=True)
class OrderWindow:
    """The MTU to order for (Unix seconds) and its price bounds, cents per MWh, floor <= cap."""

    mtu_start: int
    floor_cents_per_mwh: int
    cap_cents_per_mwh: int


class MemberAgent:
    """Trades for one member. Some members ask for low-carbon energy, some peg their orders to the reference price.

    It never bids and offers in the same zone and MTU: the larger side is traded.
    """

    def __init__(self, member: Member, *, seed: int, domain: OrderDomain, mtu_length_s: int) -> None:
        self._meters = member.meters
        self._address = str(member.account.address)
        self._key = PrivateKey(bytes(member.account.key))
        self._seed = seed
        self._domain = domain
        self._mtu_length_s = mtu_length_s
        self._net_wh: dict[int, int] = {}
        wants_low_carbon = _drawn_bp(seed, "product", self._address) < LOW_CARBON_SHARE_BP
        self._wanted_product = Product.LOW_CARBON if wants_low_carbon else Product.ANY
        pegs = _drawn_bp(seed, "pricing", self._address) < PEGGED_SHARE_BP
        self._pricing = Pricing.PEGGED if pegs else Pricing.LIMIT

    def learn(self, meter: int, reading: MeterReading) -> None:
        """Take note of a reading of one of the member's own meters."""
        self._net_wh[meter] = reading.export_wh - reading.import_wh

    def orders(self, window: OrderWindow) -> tuple[SignedOrder, ...]:
        """Signed orders for the window's MTU, ascending by meter; none for a meter without a reading or net energy."""
        return tuple(
            self._signed(self._order(meter, side, quantity_wh, window))
            for meter, side, quantity_wh in self._intentions()
        )

    def order_count(self) -> int:
        """How many orders `orders` would make now."""
        return len(self._intentions())

    def _intentions(self) -> list[tuple[NumberedMeter, Side, int]]:
        wanted: list[tuple[NumberedMeter, Side, int]] = []
        balance_wh: dict[int, int] = {}
        for meter in self._meters:
            net_wh = self._net_wh.get(meter.number, 0)
            side = Side.SELL if net_wh > 0 else Side.BUY
            quantity_wh = min(abs(net_wh), capacity_wh(meter, side, self._mtu_length_s))
            if quantity_wh > 0:
                wanted.append((meter, side, quantity_wh))
                signed_wh = quantity_wh if side is Side.SELL else -quantity_wh
                balance_wh[meter.spec.zone] = balance_wh.get(meter.spec.zone, 0) + signed_wh
        return [item for item in wanted if item[1] is (Side.SELL if balance_wh[item[0].spec.zone] > 0 else Side.BUY)]

    def _order(self, meter: NumberedMeter, side: Side, quantity_wh: int, window: OrderWindow) -> Order:
        name, mtu_start = meter.spec.meter_id, window.mtu_start
        return Order(
            owner=self._address,
            meter=meter.number,
            side=side,
            product=self._wanted_product if side is Side.BUY else Product.ANY,
            pricing=self._pricing,
            first_mtu_start=mtu_start,
            last_mtu_start=mtu_start,
            quantity_wh=quantity_wh,
            limit_cents_per_mwh=limit_price(side, window, draw(self._seed, "price", name, mtu_start)),
            expiry=mtu_start,
            salt=draw(self._seed, "salt", name, mtu_start),
        )

    def _signed(self, order: Order) -> SignedOrder:
        uid = order_uid(self._domain, order)
        recoverable = self._key.sign_recoverable(bytes.fromhex(uid[2:]), hasher=None)  # RFC 6979, low s
        return SignedOrder(order=order, uid=uid, signature=recoverable[:64] + bytes((recoverable[64] + 27,)))


def _drawn_bp(seed: int, what: str, address: str) -> int:
    return draw(seed, what, address, 0) * BASIS_POINTS // DRAW_LIMIT


def capacity_wh(meter: NumberedMeter, side: Side, mtu_length_s: int) -> int:
    """The most energy an order of this meter may name for one MTU, rounded down, Wh."""
    capacity_w = meter.spec.export_capacity_w if side is Side.SELL else meter.spec.import_capacity_w
    return capacity_w * mtu_length_s // SECONDS_PER_HOUR


def limit_price(side: Side, window: OrderWindow, drawn: int) -> int:
    """Limit in cents per MWh between floor and cap; `drawn` in 0..2**64-1 picks the place in the side's range."""
    lowest_bp, highest_bp = (LOWEST_BID_BP, BASIS_POINTS) if side is Side.BUY else (0, HIGHEST_OFFER_BP)
    share_bp = lowest_bp + drawn * (highest_bp - lowest_bp + 1) // DRAW_LIMIT
    return (
        window.floor_cents_per_mwh + (window.cap_cents_per_mwh - window.floor_cents_per_mwh) * share_bp // BASIS_POINTS
    )


def order_body(signed: SignedOrder) -> dict[str, str | int]:
    """The order as `POST /v1/orders` takes it: exact decimal texts, times in ISO-8601 UTC."""
    order = signed.order
    return {
        "owner": order.owner,
        "meter": order.meter,
        "side": "sell" if order.side is Side.SELL else "buy",
        "product": order.product.name.lower(),
        "pricing": order.pricing.name.lower(),
        "first_mtu_start": format_utc(order.first_mtu_start),
        "last_mtu_start": format_utc(order.last_mtu_start),
        "quantity_kwh": _thousandths(order.quantity_wh),
        "price_cents_per_kwh": _thousandths(order.limit_cents_per_mwh),
        "expiry": format_utc(order.expiry),
        "salt": str(order.salt),
        "signature": "0x" + signed.signature.hex(),
    }


def _thousandths(value: int) -> str:
    """Exact decimal text of value / 1000, e.g. -5 -> -0.005."""
    return f"{'-' if value < 0 else ''}{abs(value) // 1000}.{abs(value) % 1000:03d}"
