"""The zone's reference price by the supply-demand-ratio rule, bit for bit as the pricing contract computes it.

Source: Liu et al., "Energy-sharing model with price-based demand response", IEEE Transactions on Power Systems 32(5),
2017. Zero, one-sided and negative cases: docs/adr/0003.
"""

from collections.abc import Iterable

from gridledger.market.model import MtuPrices, Order, Pricing, Side

__all__ = ["reference_price", "supply_and_demand"]


def supply_and_demand(orders: Iterable[tuple[Order, int]], prices: MtuPrices) -> tuple[int, int]:
    """Supply and demand in Wh: limit offers at most at the retail tariff, limit bids at least at the feed-in tariff.

    Each order comes with its energy that has not been dealt directly.
    """
    supply_wh = demand_wh = 0
    for order, undealt_wh in orders:
        if order.pricing is not Pricing.LIMIT:
            continue
        if order.side is Side.SELL and order.limit_cents_per_mwh <= prices.retail:
            supply_wh += undealt_wh
        elif order.side is Side.BUY and order.limit_cents_per_mwh >= prices.feed_in:
            demand_wh += undealt_wh
    return supply_wh, demand_wh


def reference_price(prices: MtuPrices, supply_wh: int, demand_wh: int) -> int:
    """Reference price in cents per MWh, rounded toward minus infinity, inside floor and cap."""
    ratio_price = _ratio_price(prices.feed_in, prices.retail, supply_wh, demand_wh)
    return min(max(ratio_price, prices.floor), prices.cap)


def _ratio_price(feed_in: int, retail: int, supply_wh: int, demand_wh: int) -> int:
    if supply_wh == 0:
        return retail
    if supply_wh >= demand_wh:
        return feed_in
    spread = retail - feed_in
    if feed_in <= 0 or spread <= 0:
        return (retail * demand_wh - spread * supply_wh) // demand_wh
    return feed_in * retail * demand_wh // (spread * supply_wh + feed_in * demand_wh)
