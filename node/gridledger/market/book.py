"""The closed book: which receipted orders are listed, which of them may trade, and the bytes that are committed.

Bytes per line: 8 bytes running number, 32 bytes order uid, ascending; the commitment is their keccak-256.
"""

from collections.abc import Mapping, Sequence

import sha3

from gridledger.market.clearing import AuctionOrder
from gridledger.market.model import BookEntry, CashAccount, MtuPrices, Policy, SignedOrder
from gridledger.market.settlement import worst_case_microcents

__all__ = ["auction_orders", "book_bytes", "book_hash", "list_orders"]


def book_bytes(book: Sequence[BookEntry]) -> bytes:
    """The list as it is presented to the contract."""
    return b"".join(entry.running_number.to_bytes(8) + bytes.fromhex(entry.signed.uid[2:]) for entry in book)


def book_hash(book: Sequence[BookEntry]) -> str:
    """The commitment, 0x and 64 hex digits."""
    return "0x" + str(sha3.keccak_256(book_bytes(book)).hexdigest())


def list_orders(
    orders: Sequence[tuple[int, SignedOrder]],
    accounts: Mapping[str, CashAccount],
    suspended: frozenset[str],
    policy: Policy,
    prices: MtuPrices,
) -> tuple[BookEntry, ...]:
    """List receipted orders (running number, order) in receipt order and say which cannot trade and why.

    An order whose owner cannot fund the worst case of all its orders so far, whose limit has come to lie outside floor
    and cap, or whose owner is suspended is listed as ineligible; it never stops the others.
    """
    spent: dict[str, int] = {}
    entries: list[BookEntry] = []
    for running_number, signed in orders:
        order = signed.order
        worst_case = worst_case_microcents(
            order.side, order.quantity_wh, order.limit_cents_per_mwh, policy.grid_fee_cents_per_mwh, prices.shortage
        )
        reason = None
        if order.owner in suspended:
            reason = "suspended"
        elif not prices.floor <= order.limit_cents_per_mwh <= prices.cap:
            reason = "limit outside bounds"
        elif spent.get(order.owner, 0) + worst_case > accounts[order.owner].available_microcents:
            reason = "not funded"
        else:
            spent[order.owner] = spent.get(order.owner, 0) + worst_case
        entries.append(BookEntry(running_number=running_number, signed=signed, ineligible=reason))
    return tuple(entries)


def auction_orders(book: Sequence[BookEntry]) -> tuple[AuctionOrder, ...]:
    """The eligible orders of a book in receipt order."""
    return tuple(
        AuctionOrder(
            uid=entry.signed.uid,
            side=entry.signed.order.side,
            quantity_wh=entry.signed.order.quantity_wh,
            limit_cents_per_mwh=entry.signed.order.limit_cents_per_mwh,
        )
        for entry in book
        if entry.ineligible is None
    )
