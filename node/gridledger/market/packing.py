"""The packed words in which orders and positions are presented to the contracts; see OrderTerms and Positions.

Every number is range-checked here, so that nothing spills into its neighbour.
"""

from collections.abc import Sequence

from gridledger.market.model import Acceptance, Order, Position, Pricing, Product, Side, Trade
from gridledger.units import check_range

__all__ = [
    "LARGEST_ENERGY_WH",
    "LARGEST_TIME_S",
    "acceptance_from_words",
    "acceptance_words",
    "fill_of",
    "is_acceptance",
    "order_from_words",
    "order_words",
    "position_from_words",
    "position_words",
    "terms_meter",
    "trade_from_word",
    "trade_word",
]

LARGEST_TIME_S = 2**40 - 1
LARGEST_ENERGY_WH = 2**40 - 1
_SELLS, _SETTLED, _SUBSTITUTE, _CONTINUED, _CURTAILED = (1 << bit for bit in (216, 217, 218, 219, 220))
_POSITION_WORDS = 3


def order_words(order: Order, *, book_index: int, fill_wh: int) -> tuple[int, int]:
    """Terms and guard of an order with its place in the book and its fill. Raises OutOfRange."""
    terms = (
        _field("meter", order.meter, 32)
        | order.side << 32
        | order.product << 33
        | order.pricing << 34
        | _field("first_mtu_start", order.first_mtu_start, 40) << 40
        | _field("last_mtu_start", order.last_mtu_start, 40) << 80
        | _field("expiry", order.expiry, 40) << 120
        | _field("quantity_wh", order.quantity_wh, 40) << 160
        | _field("fill_wh", fill_wh, 40) << 200
        | _field("book_index", book_index, 16) << 240
    )
    return terms, _signed_field("limit", order.limit_cents_per_mwh, 64) | _field("salt", order.salt, 64) << 64


def acceptance_words(acceptance: Acceptance, *, book_index: int) -> tuple[int, int]:
    """Terms and guard of an acceptance, which is always filled whole. Raises OutOfRange."""
    terms = (
        _field("meter", acceptance.meter, 32)
        | 1 << 35
        | _field("mtu_start", acceptance.mtu_start, 40) << 40
        | _field("salt", acceptance.salt, 40) << 80
        | _field("quantity_wh", acceptance.quantity_wh, 40) << 160
        | _field("quantity_wh", acceptance.quantity_wh, 40) << 200
        | _field("book_index", book_index, 16) << 240
    )
    return terms, int(acceptance.offer_uid, 16)


def order_from_words(terms: int, guard: int, owner: str) -> Order:
    """The order behind presented words."""
    return Order(
        owner=owner,
        meter=terms_meter(terms),
        side=Side(terms >> 32 & 1),
        product=Product(terms >> 33 & 1),
        pricing=Pricing(terms >> 34 & 1),
        first_mtu_start=terms >> 40 & LARGEST_TIME_S,
        last_mtu_start=terms >> 80 & LARGEST_TIME_S,
        quantity_wh=terms >> 160 & LARGEST_ENERGY_WH,
        limit_cents_per_mwh=_from_signed(guard, 64),
        expiry=terms >> 120 & LARGEST_TIME_S,
        salt=guard >> 64 & 2**64 - 1,
    )


def acceptance_from_words(terms: int, guard: int, owner: str) -> Acceptance:
    """The acceptance behind presented words."""
    return Acceptance(
        owner=owner,
        meter=terms_meter(terms),
        offer_uid=f"0x{guard:064x}",
        mtu_start=terms >> 40 & LARGEST_TIME_S,
        quantity_wh=terms >> 160 & LARGEST_ENERGY_WH,
        salt=terms >> 80 & LARGEST_TIME_S,
    )


def terms_meter(terms: int) -> int:
    """Meter of presented terms."""
    return terms & 2**32 - 1


def is_acceptance(terms: int) -> bool:
    """Whether presented terms are an acceptance's."""
    return bool(terms >> 35 & 1)


def fill_of(terms: int) -> tuple[int, int]:
    """Place in the book and fill (Wh) of presented terms."""
    return terms >> 240, terms >> 200 & LARGEST_ENERGY_WH


def position_words(positions: Sequence[Position]) -> list[int]:
    """Three words per position, as the contract hashes them. Raises OutOfRange."""
    words: list[int] = []
    for position in positions:
        words += (_identity(position), _energy(position), _money(position))
    return words


def position_from_words(words: Sequence[int]) -> tuple[Position, ...]:
    """The positions behind a list of words; owners are lower-case addresses."""
    return tuple(_position(*words[start : start + _POSITION_WORDS]) for start in range(0, len(words), _POSITION_WORDS))


def trade_word(trade: Trade) -> int:
    """A kept trade as the contract hashes it. Raises OutOfRange."""
    sell, buy = _field("sell", trade.sell, 16), _field("buy", trade.buy, 16)
    price = _signed_field("price", trade.price_cents_per_mwh, 64)
    return sell | buy << 16 | _field("energy_wh", trade.energy_wh, 48) << 32 | price << 96


def trade_from_word(word: int) -> Trade:
    """The trade behind a word."""
    return Trade(
        sell=word & 0xFFFF,
        buy=word >> 16 & 0xFFFF,
        energy_wh=word >> 32 & 2**64 - 1,
        price_cents_per_mwh=_from_signed(word >> 96, 64),
    )


def _identity(position: Position) -> int:
    flags = (
        _SELLS * position.sells
        | _SETTLED * position.settled
        | _SUBSTITUTE * position.substitute
        | _CONTINUED * position.continued
        | _CURTAILED * position.curtailed
    )
    return (
        int(position.owner, 16)
        | _field("meter", position.meter, 32) << 160
        | _field("supplier_number", position.supplier_number, 16) << 192
        | _field("source", position.source, 8) << 208
        | flags
        | _field("version", position.version, 8) << 224
        | _field("capacity_w", position.capacity_w, 24) << 232
    )


def _energy(position: Position) -> int:
    return (
        _field("auction_wh", position.auction_wh, 48)
        | _field("low_carbon_wh", position.low_carbon_wh, 48) << 48
        | _field("dealt_wh", position.dealt_wh, 48) << 96
        | _field("prior_wh", position.prior_wh, 48) << 144
        | _signed_field("metered_wh", position.metered_wh, 48) << 192
    )


def _money(position: Position) -> int:
    return (
        _field("fee_microcents", position.fee_microcents, 80)
        | _field("locked_microcents", position.locked_microcents, 88) << 80
        | _signed_field("deal_microcents", position.deal_microcents, 88) << 168
    )


def _position(identity: int, energy: int, money: int) -> Position:
    low_48 = 2**48 - 1
    return Position(
        owner=f"0x{identity & 2**160 - 1:040x}",
        meter=identity >> 160 & 2**32 - 1,
        supplier_number=identity >> 192 & 0xFFFF,
        source=identity >> 208 & 0xFF,
        sells=bool(identity & _SELLS),
        settled=bool(identity & _SETTLED),
        substitute=bool(identity & _SUBSTITUTE),
        continued=bool(identity & _CONTINUED),
        curtailed=bool(identity & _CURTAILED),
        version=identity >> 224 & 0xFF,
        capacity_w=identity >> 232,
        auction_wh=energy & low_48,
        low_carbon_wh=energy >> 48 & low_48,
        dealt_wh=energy >> 96 & low_48,
        prior_wh=energy >> 144 & low_48,
        metered_wh=_from_signed(energy >> 192, 48),
        fee_microcents=money & 2**80 - 1,
        locked_microcents=money >> 80 & 2**88 - 1,
        deal_microcents=_from_signed(money >> 168, 88),
    )


def _field(name: str, value: int, bits: int) -> int:
    return check_range(name, value, 0, 2**bits - 1)


def _signed_field(name: str, value: int, bits: int) -> int:
    highest: int = 2 ** (bits - 1) - 1
    return check_range(name, value, -highest - 1, highest) & (2 * highest + 1)


def _from_signed(value: int, bits: int) -> int:
    value &= 2**bits - 1
    return value - 2**bits if value >> (bits - 1) else value
