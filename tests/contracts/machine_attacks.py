"""What a byzantine market operator or a thief would send: every one of these calls must be refused.

Each attack starts from the honest call of the moment, so that nothing but the one lie is wrong with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

from tests.contracts.machine_calls import METER_WH, Mtu
from tests.contracts.machine_chunks import Part, in_one
from tests.contracts.machine_world import World
from tests.contracts.words import NO_ORDER, ZONE, ClearingData, settle_arguments, terms_part, with_terms

from gridledger.chain.commands import order_tuple
from gridledger.errors import GridLedgerError
from gridledger.market.book import effective_limit
from gridledger.market.locking import PresentedOrder
from gridledger.market.model import BookEntry, Order, Pricing, Product, Side

__all__ = ["attack_clearing", "attack_settlement"]

Attack = tuple[str, ClearingData]
SIGNED_PARTS = ("side", "product", "pricing", "first_mtu_start", "last_mtu_start", "expiry", "quantity_wh")
SIGNED_BY_ACCEPTANCE = ("first_mtu_start", "last_mtu_start", "quantity_wh")
OVERLOOKED = ("cancelled", "expired", "outside", "suspended", "no reference price")
ACCEPTANCE_BIT = 1 << 35
SALT_UNIT = 1 << 64


def attack_clearing(world: World, rng: Random, mtu: Mtu, count: int) -> None:
    """Some of all lies about the next chunk of an MTU whose book is committed."""
    part = mtu.second or in_one(world.auctioned(mtu))
    lies = list(_lies(world, rng, mtu, part))
    # While the market is halted every lie is refused for that reason, and one of them shows it.
    chosen = rng.sample(lies, 1 if world.halted & {0, ZONE} else min(count, len(lies)))
    if not part.clearing["chunk"]:
        chosen += rng.choice([_overlooked_obstacles, _listed_twice, _unfunded])(world, rng, mtu)
    for name, clearing in chosen:
        world.counts["attacks"] += 1
        world.counts[f"attack: {name}"] += 1
        world.refused(world.market.market_operator, "EnergyTrading", "clear", clearing, lie=name)
    stranger = rng.choice([world.market.outsider, world.market.regulator, world.market.relayer, *world.people])
    world.refused(stranger, "EnergyTrading", "clear", part.clearing, by=["AccessManagedUnauthorized"])


def _lies(world: World, rng: Random, mtu: Mtu, part: Part) -> Iterator[Attack]:
    yield from _lies_about_prices(part.clearing, rng)
    yield from _withheld_ends(mtu, part)
    yield from _lies_about_the_book(part.clearing, rng)
    if part.clearing["orders"]:
        yield from _lies_about_orders(mtu, part.clearing, rng)
        yield from _unlisted_trade(world, mtu, part)
    if part.clearing["acceptedOffers"]:
        yield from _lies_about_deals(part.clearing, rng)
    if part.clearing["chunk"]:
        yield from _lies_about_chunks(mtu, part)


def _lies_about_prices(honest: ClearingData, rng: Random) -> Iterator[Attack]:
    for name in ("anyPrice", "lowCarbonPrice"):
        yield f"{name} moved", honest | {name: honest[name] + rng.choice([-1, 1])}
    both = {name: honest[name] + 1 for name in ("anyPrice", "lowCarbonPrice")}
    yield "both prices moved", honest | both
    if not honest["chunk"]:
        presented = len(honest["orders"]) + len(honest["ends"])
        for name in ("anyEnds",) if honest["merged"] else ("anyEnds", "lowCarbonEnds"):
            lower, upper = honest[name]
            yield f"lower of {name} beyond the orders", honest | {name: (presented, upper)}
            yield f"upper of {name} beyond the orders", honest | {name: (lower, presented)}
    if honest["anyPrice"] != honest["lowCarbonPrice"] and not honest["chunk"]:
        yield "separate books called one", honest | {"merged": True}


def _withheld_ends(mtu: Mtu, part: Part) -> Iterator[Attack]:
    """Floor or cap in the place of an order that sets an end, where that makes another price."""
    honest, presented = part.clearing, [*part.proposal.orders, *part.proposal.ends]
    if honest["chunk"]:
        return
    for name, price in (("anyEnds", "anyPrice"), ("lowCarbonEnds", "lowCarbonPrice")):
        lower, upper = honest[name]
        if name == "lowCarbonEnds" and honest["merged"]:
            continue
        low, high = (
            None if end == NO_ORDER else effective_limit(presented[end].entry.order, mtu.reference or 0)
            for end in (lower, upper)
        )
        bottom, top = mtu.prices.floor if low is None else low, mtu.prices.cap if high is None else high
        if (mtu.prices.floor + top) // 2 != honest[price]:
            yield f"lower of {name} withheld", honest | {name: (NO_ORDER, upper)}
        if (bottom + mtu.prices.cap) // 2 != honest[price]:
            yield f"upper of {name} withheld", honest | {name: (lower, NO_ORDER)}


def _lies_about_the_book(honest: ClearingData, rng: Random) -> Iterator[Attack]:
    numbers: bytes = honest["bookNumbers"]
    if numbers:
        at = rng.randrange(len(numbers))
        yield "a running number changed", honest | {"bookNumbers": _flipped(numbers, at)}
        yield "a line cut short", honest | {"bookNumbers": numbers[:-1]}
    yield "a line more", honest | {"bookNumbers": numbers + bytes(8), "otherUids": [*honest["otherUids"], b"\1" * 32]}
    if honest["otherUids"]:
        changed = list(honest["otherUids"])
        place = rng.randrange(len(changed))
        changed[place] = _flipped(changed[place], 31)
        yield "another order's uid changed", honest | {"otherUids": changed}
    yield "another chunk", honest | {"chunk": honest["chunk"] + 1}
    yield "another zone", honest | {"zone": ZONE + 1}
    yield "another MTU", honest | {"mtuStart": honest["mtuStart"] + 1}


def _lies_about_orders(mtu: Mtu, honest: ClearingData, rng: Random) -> Iterator[Attack]:
    orders: list[tuple[Any, ...]] = honest["orders"]
    at = rng.randrange(len(orders))
    terms, guard, r, vs = orders[at]
    yield "a fill moved", _with_order(honest, at, (_added(terms, "fill_wh", rng.choice([-1, 1])), guard, r, vs))
    over = with_terms(terms, fill_wh=terms_part(terms, "quantity_wh") + 1)
    yield "an order overfilled", _with_order(honest, at, (over, guard, r, vs))
    part = rng.choice(SIGNED_BY_ACCEPTANCE if terms & ACCEPTANCE_BIT else SIGNED_PARTS)
    yield f"{part} changed", _with_order(honest, at, (_toggled(terms, part), guard, r, vs))
    yield "limit or offer changed", _with_order(honest, at, (terms, guard ^ 1, r, vs))
    if not terms & ACCEPTANCE_BIT:
        yield "salt changed", _with_order(honest, at, (terms, guard ^ SALT_UNIT, r, vs))
    yield "acceptance for order", _with_order(honest, at, (terms ^ ACCEPTANCE_BIT, guard, r, vs))
    yield "meter changed", _with_order(honest, at, (terms ^ rng.choice([1, 2, 4]), guard, r, vs))
    yield "signature changed", _with_order(honest, at, (terms, guard, _flipped(r, 31), vs))
    yield "other half of the signature", _with_order(honest, at, (terms, guard, r, _flipped(vs, 0)))
    yield "an order presented twice", honest | {"orders": [*orders[: at + 1], *orders[at:]]}
    yield "an order left out", _rebuilt(honest, mtu, [*orders[:at], *orders[at + 1 :]])
    if len(orders) > 1:
        swapped = list(orders)
        swapped[at - 1], swapped[at] = swapped[at], swapped[at - 1]
        yield "orders in another order", honest | {"orders": swapped}
    yield "two of the book change places", _with_order(honest, at, (_added(terms, "book_index", 1), guard, r, vs))


def _lies_about_deals(honest: ClearingData, rng: Random) -> Iterator[Attack]:
    offers: list[int] = honest["acceptedOffers"]
    at = rng.randrange(len(offers))
    yield "a deal with another order", honest | {"acceptedOffers": [*offers[:at], offers[at] + 1, *offers[at + 1 :]]}
    yield "a deal with no order", honest | {"acceptedOffers": [*offers[:at], NO_ORDER, *offers[at + 1 :]]}
    yield "a deal left out", honest | {"acceptedOffers": offers[:-1]}
    yield "a deal too many", honest | {"acceptedOffers": [*offers, offers[-1]]}


def _lies_about_chunks(mtu: Mtu, part: Part) -> Iterator[Attack]:
    first = mtu.chunks[0]
    honest = part.clearing
    if first.positions:
        yield "a meter called back", honest | {"continuedMeters": [first.positions[0].meter]}
    yield "the first chunk again", honest | {"chunk": 0}
    if any(one.continued for one in first.positions):
        yield "meters left hanging", _rebuilt(honest | {"acceptedOffers": []}, mtu, [])


def _overlooked_obstacles(world: World, rng: Random, mtu: Mtu) -> Iterator[Attack]:
    """Cancelled, expired, foreign, suspended or unbounded orders traded as if nothing were wrong with them."""
    overlook = rng.choice([*({one} for one in OVERLOOKED), set(OVERLOOKED)])
    with suppress(GridLedgerError):
        part = in_one(world.auctioned(mtu, overlook=overlook))
        presented = [item.entry.signed for item in (*part.proposal.orders, *part.proposal.ends)]
        if any(world.obstacle(mtu, one) for one in presented):
            yield f"overlooked: {min(overlook) if len(overlook) == 1 else 'anything'}", part.clearing


def _listed_twice(world: World, rng: Random, mtu: Mtu) -> Iterator[Attack]:
    """An order the operator has listed twice, filled at both lines."""
    del rng
    for uid in mtu.twice:
        lines = [place for place, (_, signed) in enumerate(mtu.receipted) if signed.uid == uid]
        once = replace(
            mtu, receipted=[one for place, one in enumerate(mtu.receipted) if place != lines[-1]], twice=set()
        )
        auctioned = world.auctioned(once)
        again = BookEntry(running_number=mtu.receipted[lines[-1]][0], signed=mtu.receipted[lines[-1]][1])
        part = in_one(replace(auctioned, book=(*auctioned.book, again)))
        for item in part.proposal.orders:
            if item.entry.uid == uid and item.entry.is_order and item.fill_wh > 1:
                yield "listed twice, filled at both lines", _at_both_lines(mtu, part, item, lines)


def _at_both_lines(mtu: Mtu, part: Part, item: PresentedOrder, lines: Sequence[int]) -> ClearingData:
    orders = [one for one in part.clearing["orders"] if terms_part(one[0], "book_index") not in lines]
    for place, fill_wh in zip(lines, (1, item.fill_wh - 1), strict=True):
        orders.append(order_tuple(replace(item, book_index=place, fill_wh=fill_wh)))
    orders.sort(key=lambda one: (terms_part(one[0], "meter"), terms_part(one[0], "book_index")))
    return _rebuilt(part.clearing, mtu, orders)


def _unfunded(world: World, rng: Random, mtu: Mtu) -> Iterator[Attack]:
    """Orders traded whose owners cannot pay."""
    del rng
    part = in_one(world.auctioned(mtu, rich=True))
    if world.short(part.kept.positions, mtu.gate):
        yield "unfunded", part.clearing


def _unlisted_trade(world: World, mtu: Mtu, part: Part) -> Iterator[Attack]:
    """A good offer and a good bid at the clearing's price that nobody has listed."""
    honest = part.clearing
    lines = len(honest["bookNumbers"]) // 8
    price = honest["anyPrice"]
    idle = [meter for meter in world.meters if not meter.source and meter.number not in mtu.sides]
    if len(idle) < 2:
        return
    made = []
    for place, (meter, side) in enumerate(zip(idle, (Side.SELL, Side.BUY), strict=False)):
        signed = world.sign_order(_order(meter.owner.address, meter.number, side, mtu.start, price))
        entry = BookEntry(running_number=10**6 + place, signed=signed)
        made.append(order_tuple(PresentedOrder(entry=entry, book_index=lines + place, fill_wh=10)))
    orders = sorted([*honest["orders"], *made], key=lambda one: (terms_part(one[0], "meter"), one[0] >> 240))
    yield "orders outside the book", honest | {"orders": orders}
    numbers = honest["bookNumbers"] + b"".join((10**6 + place).to_bytes(8) for place in range(2))
    yield "orders added to the book", honest | {"orders": orders, "bookNumbers": numbers}


def _order(owner: str, meter: int, side: Side, mtu_start: int, limit: int) -> Order:
    return Order(
        owner=owner,
        meter=meter,
        side=side,
        product=Product.ANY,
        pricing=Pricing.LIMIT,
        first_mtu_start=mtu_start,
        last_mtu_start=mtu_start,
        quantity_wh=10,
        limit_cents_per_mwh=limit,
        expiry=mtu_start,
        salt=2**63,
    )


def attack_settlement(world: World, rng: Random, mtu: Mtu, chunk: int, count: int) -> None:
    """Some of all lies about a chunk's settlement; money and tokens asked for directly as well."""
    operator, stranger, contract = world.market.market_operator, world.market.outsider, "EnergySettlement"
    kept = mtu.chunks[chunk]
    words, deals = kept.words(), kept.deal_words()
    at = rng.randrange(len(words))
    forged = [*words[:at], words[at] ^ 1 << rng.randrange(256), *words[at + 1 :]]
    head, index = (kept.zone, kept.mtu_start, kept.chunk), rng.randrange(len(kept.positions))
    readings = world.settle_reasons(mtu, chunk)
    state = {"StateMismatch"}
    anywhere = len(kept.positions)
    calls: list[tuple[Any, ...]] = [
        (operator, "settle", (*head, forged, deals, [index], [0]), state),
        (stranger, "refund", (*head, forged, deals, [index]), state),
        (stranger, "settleSubstitutes", (*head, forged, deals, [index]), state),
        (operator, "settle", (*head, words, [*deals, 1], [index], [0]), state),
        (operator, "settle", (*head, words[:-3], deals, [0], [0]), state),
        (operator, "settle", (*head[:2], 7, words, deals, [index], [0]), {"NotCleared"}),
        (stranger, "settle", settle_arguments(kept, [index], [0]), {"AccessManagedUnauthorized"}),
        (operator, "settle", settle_arguments(kept, [index], [METER_WH + 1]), readings or {"MeteredOutOfRange"}),
        (operator, "settle", settle_arguments(kept, [index], [-METER_WH - 1]), readings or {"MeteredOutOfRange"}),
        (operator, "settle", settle_arguments(kept, [anywhere], [0]), readings or {"PositionUnknown"}),
        (operator, "settle", settle_arguments(kept, [index], []), {"ListsDiffer"}),
        (operator, "settle", settle_arguments(kept, [], []), {"NothingToSettle"}),
        (stranger, "refund", kept.arguments([]), {"NothingToSettle"}),
        (stranger, "settleSubstitutes", kept.arguments([]), {"NothingToSettle"}),
        (stranger, "refund", kept.arguments([anywhere]), ()),
        (stranger, "settleSubstitutes", kept.arguments([index, index]), ()),
        (stranger, "refund", kept.arguments([index, index]), ()),
    ]
    if mtu.outcome(world.now) in ("proceeds", "curtailed"):
        calls.append((stranger, "refund", kept.arguments([index]), {"DispatchProceeds"}))
    for caller, function, arguments, by in rng.sample(calls, min(count, len(calls))):
        world.counts["attacks"] += 1
        world.refused(caller, contract, function, *arguments, by=by)
    payment = [int(stranger.address, 16) | 10**9 << 160, int(world.suppliers[0].address, 16)]
    outcome = (*head, bytes(32), bytes(32), 0, stranger.address, 0, payment)
    reward = [int(stranger.address, 16) | 10**6 << 160 | 1 << 224, int(stranger.address, 16)]
    thieves: list[tuple[str, str, tuple[Any, ...]]] = [
        ("EnergyTrading", "applyOutcome", (outcome,)),
        ("CarbonLedger", "grantRewards", (kept.mtu_start, reward)),
        ("LowCarbonToken", "mint", ([stranger.address], [1])),
        ("EnergyDispatching", "schedule", (ZONE + 1, kept.mtu_start, b"\1" * 32, bytes(32), 1)),
    ]
    where, function, arguments = rng.choice(thieves)
    thief = rng.choice([operator, stranger, world.market.regulator])
    world.refused(thief, where, function, *arguments, by={"AccessManagedUnauthorized"})


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def _added(terms: int, name: str, amount: int) -> int:
    return with_terms(terms, **{name: max(0, terms_part(terms, name) + amount)})


def _toggled(terms: int, name: str) -> int:
    return with_terms(terms, **{name: terms_part(terms, name) ^ 1})


def _with_order(honest: ClearingData, at: int, order: tuple[Any, ...]) -> ClearingData:
    orders: list[Any] = honest["orders"]
    return honest | {"orders": [*orders[:at], order, *orders[at + 1 :]]}


def _rebuilt(honest: ClearingData, mtu: Mtu, orders: Sequence[Any]) -> ClearingData:
    """The clearing with other orders in it, and everything that names orders following them."""
    old = [terms_part(one[0], "book_index") for one in (*honest["orders"], *honest["ends"])]
    shown = [terms_part(one[0], "book_index") for one in (*orders, *honest["ends"])]
    now_at = {place: index for index, place in enumerate(shown)}

    def moved(index: int) -> int:
        return NO_ORDER if index == NO_ORDER else now_at.get(old[index], NO_ORDER)

    return honest | {
        "orders": list(orders),
        "anyEnds": tuple(moved(index) for index in honest["anyEnds"]),
        "lowCarbonEnds": tuple(moved(index) for index in honest["lowCarbonEnds"]),
        "acceptedOffers": [moved(index) for index in honest["acceptedOffers"]],
        "otherUids": [
            bytes.fromhex(signed.uid[2:]) for place, (_, signed) in enumerate(mtu.receipted) if place not in now_at
        ],
    }
