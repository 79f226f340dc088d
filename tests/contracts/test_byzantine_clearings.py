"""Whatever a dishonest market operator proposes: what is accepted pays nobody worse than it signed.

Random fills, ends and prices over scenes.MergedScene; prices in cents per MWh, energy in Wh, money in microcents.
"""

import random
from typing import Any

import pytest
from tests.contracts.harness import BUY, SELL, Market, floor_midpoint
from tests.contracts.scenes import MergedScene

from gridledger.chain.codec import ContractReverted
from gridledger.market.model import Order, Product
from gridledger.market.pairing import EnergyNotBalanced, SelfMatch

FEE = 2_000
RANDOM_CLEARINGS = 300


def test_no_accepted_clearing_pays_anybody_worse_than_signed(market: Market) -> None:
    source = random.Random(11)
    scene = MergedScene.of(market)
    plain = market.order(scene.meters["guest"], BUY, 300, 14_500, product=Product.LOW_CARBON)
    scene.orders["guest bids"] = plain
    scene.line_up.append("guest bids")
    scene.commit(market)
    accepted = 0
    for _ in range(RANDOM_CLEARINGS):
        with market.undone():
            accepted += proposed(market, scene, source)
    assert accepted > RANDOM_CLEARINGS // 10


def proposed(market: Market, scene: MergedScene, source: random.Random) -> bool:
    """Propose one random clearing; if it is accepted, deliver it and check everybody's money. Whether it was."""
    fills = random_fills(scene, source)
    ends, price = random_prices(scene, fills, source)
    merged = price[0] == price[1] and source.random() < 0.8
    shape: dict[str, Any] = {"price": price, "ends": ends, "low_carbon_ends": None if merged else ends}
    try:
        clearing, kept = market.chunk(scene.book, fills, number=0, last=True, **shape)
    except (EnergyNotBalanced, SelfMatch):
        with pytest.raises(ContractReverted):
            market.clear(market.present(scene.book, fills, **shape))
        return False
    try:
        market.accept(clearing, kept)
    except ContractReverted:
        return False
    if not kept.positions:
        return False
    before = market.accounts()
    worst = {position.owner: worst_cash(scene, fills, position.owner) for position in kept.positions}
    had = {position.owner: before.free[position.owner] + position.locked_microcents for position in kept.positions}
    market.deliver()
    market.settle(kept, {index: one.contracted_wh for index, one in enumerate(kept.positions)})
    after = market.accounts()
    assert all(after.free[owner] - had[owner] >= worst[owner] for owner in had)
    assert after.escrow == 0
    return True


def random_fills(scene: MergedScene, source: random.Random) -> dict[int, int]:
    """Fills that balance, mostly of the orders that can trade with each other."""
    names = {name: scene.orders[name] for name in scene.line_up if name != "guest"}
    orders = {name: signed.order for name, signed in names.items() if hasattr(signed, "order")}
    chosen = {
        name: source.randint(0, order.quantity_wh) for name, order in orders.items() if source.random() < likely(name)
    }
    sold = [name for name in chosen if orders[name].side == SELL]
    bought = [name for name in chosen if orders[name].side == BUY]
    missing = sum(chosen[name] for name in sold) - sum(chosen[name] for name in bought)
    for name in source.sample(sold if missing > 0 else bought, len(sold if missing > 0 else bought)):
        cut = min(abs(missing), chosen[name])
        chosen[name] -= cut
        missing -= cut if missing > 0 else -cut
    fills = {scene.place(name): wh for name, wh in chosen.items() if wh}
    if source.random() < 0.5:
        roof = scene.place("roof")
        fills |= {scene.place("guest"): 150, roof: fills.get(roof, 0) + 150}
    return fills


def likely(name: str) -> float:
    """How often an order is filled."""
    return 0.1 if name in {"low", "dear", "roof", "guest bids"} else 0.8


def random_prices(
    scene: MergedScene, fills: dict[int, int], source: random.Random
) -> tuple[tuple[int | None, int | None], tuple[int, int]]:
    """Two ends, mostly of the orders that may be named, and mostly their midpoint."""
    ends = tuple(random_end(scene, fills, source, lower=lower) for lower in (True, False))
    limits = [limit_of(scene, name) if name else bound for name, bound in zip(ends, (8_000, 32_000), strict=True)]
    price = floor_midpoint(*limits)
    places = (scene.place(ends[0]) if ends[0] else None, scene.place(ends[1]) if ends[1] else None)
    return places, (price, price + source.choice([0, 0, 0, 0, 0, 0, 0, 1, -1]))


def random_end(scene: MergedScene, fills: dict[int, int], source: random.Random, *, lower: bool) -> str | None:
    """Any order or none, mostly one that may be named: filled on the one side, with energy left on the other."""
    names = [name for name in scene.line_up if name != "guest"]
    if source.random() < 0.8:
        names = [name for name in names if nameable(scene, fills, name, lower=lower)] or names
    return source.choice([*names, *names, *names, None])


def nameable(scene: MergedScene, fills: dict[int, int], name: str, *, lower: bool) -> bool:
    """Whether the order may be named as that end."""
    order, fill = order_of(scene, name), fills.get(scene.place(name), 0)
    return fill > 0 if (order.side == SELL) == lower else fill < order.quantity_wh


def limit_of(scene: MergedScene, name: str) -> int:
    """The signed limit."""
    return order_of(scene, name).limit_cents_per_mwh


def order_of(scene: MergedScene, name: str) -> Order:
    """The signed order, or of an acceptance the offer's."""
    signed = scene.orders["roof" if name == "guest" else name]
    order: Order = signed.order  # type: ignore[union-attr]
    return order


def worst_cash(scene: MergedScene, fills: dict[int, int], owner: str) -> int:
    """The least an owner has to get, or the most it has to pay (below zero), by what it signed; full fee included."""
    cash = 0
    for place, wh in fills.items():
        name = scene.line_up[place]
        signer = scene.meters[name.split(" ")[0]].owner.address
        if signer != owner:
            continue
        order = order_of(scene, name)
        sells = name != "guest" and order.side == SELL
        cash += wh * order.limit_cents_per_mwh if sells else -wh * (order.limit_cents_per_mwh + FEE)
    return cash
