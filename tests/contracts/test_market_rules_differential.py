"""What the node's pure rules propose, the contract accepts; what they expect to be paid, it pays, bit for bit."""

import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from tests.contracts.harness import (
    ACKNOWLEDGED,
    CHAIN_ID,
    EUR,
    FIRST_MTU,
    MTU_LENGTH_S,
    NO_ORDER,
    SOLAR,
    ZONE,
    ClearingData,
    Kept,
    Market,
    Meter,
    Signed,
    actor,
)

from gridledger.market.clearing import AuctionOrder, clear
from gridledger.market.locking import ListedOrder, Proposal, propose
from gridledger.market.model import (
    BookEntry,
    MeterFacts,
    MtuPrices,
    Order,
    Policy,
    Position,
    Pricing,
    Product,
    Side,
    SignedOrder,
    Trade,
)
from gridledger.market.order_hash import OrderDomain, order_uid
from gridledger.market.settlement import position_cash, reward_trades, settle_positions

BOOKS = 60
MEMBERS = 10
FIELDS = {
    "contracted_wh": "contractedWh",
    "metered_wh": "meteredWh",
    "locked_microcents": "lockedMicrocents",
    "fee_microcents": "feeMicrocents",
    "energy_wh": "energyWh",
    "rewarded_wh": "rewardedWh",
}


class Room:
    """A market and what the node's rules know of it."""

    def __init__(self) -> None:
        self.market = Market()
        self.meters = [self._meter(number) for number in range(MEMBERS)]
        self.signed: dict[str, Signed] = {}
        self.domain = OrderDomain(chain_id=CHAIN_ID, trading_contract=self.market.at["EnergyTrading"])
        parameters = self.market.policy
        self.policy = Policy(
            gate_closure_s=parameters.gate_closure_s,
            answer_lead_s=parameters.answer_lead_s,
            proceed_without_answer=parameters.proceed_without_answer,
            seller_reward_share_bp=parameters.seller_reward_share_bp,
            default_grid_factor_mgco2_per_kwh=parameters.default_grid_factor_mgco2_per_kwh,
            grid_fee_cents_per_mwh=parameters.grid_fee_cents_per_mwh,
            low_carbon_relief_cents_per_mwh=parameters.low_carbon_relief_cents_per_mwh,
        )

    def _meter(self, number: int) -> Meter:
        owner = actor(f"member {number}")
        meter = self.market.register(owner, import_w=80_000, export_w=80_000, source=SOLAR if number % 3 else 0)
        self.market.deposit(owner, 100 * EUR)
        return meter

    def facts(self) -> dict[int, MeterFacts]:
        """The meters as the rules see them."""
        return {
            meter.number: MeterFacts(
                meter=meter.number,
                owner=meter.owner.address,
                supplier=self.market.supplier.address,
                zone=meter.zone,
                import_capacity_w=80_000,
                export_capacity_w=80_000,
                source=meter.source,
            )
            for meter in self.meters
        }

    def prices(self, mtu_start: int) -> MtuPrices:
        """The prices the contract holds for the MTU."""
        shown = self.market.view("GridPolicy", "pricesAt", mtu_start)
        return MtuPrices(
            feed_in=shown["feedIn"],
            retail=shown["retail"],
            floor=shown["floor"],
            cap=shown["cap"],
            surplus=shown["surplus"],
            shortage=shown["shortage"],
        )

    def sign(self, meter: Meter, side: Side, quantity_wh: int, limit: int, mtu_start: int) -> BookEntry:
        """A signed order with the uid that the node computes."""
        made = self.market.order(meter, int(side), quantity_wh, limit, mtu_start=mtu_start)
        order = Order(
            owner=meter.owner.address,
            meter=meter.number,
            side=side,
            product=Product.ANY,
            pricing=Pricing.LIMIT,
            first_mtu_start=mtu_start,
            last_mtu_start=mtu_start,
            quantity_wh=quantity_wh,
            limit_cents_per_mwh=limit,
            expiry=made.message["expiry"],
            salt=made.message["salt"],
        )
        uid = order_uid(self.domain, order)
        assert uid == "0x" + made.uid.hex()
        self.signed[uid] = made
        return BookEntry(
            running_number=len(self.signed), signed=SignedOrder(order=order, uid=uid, signature=made.r + made.vs)
        )

    def random_book(self, source: random.Random, mtu_start: int) -> list[BookEntry]:
        """Up to three orders of each member, all on one side, many with equal limits."""
        prices = self.prices(mtu_start)
        steps = (prices.cap - prices.floor) // source.choice([3, 10, 1_000])
        entries = []
        for meter in source.sample(self.meters, source.randint(0, MEMBERS)):
            side = source.choice([Side.BUY, Side.SELL])
            for _ in range(source.randint(1, 3)):
                limit = prices.floor + source.randrange((prices.cap - prices.floor) // steps + 1) * steps
                entries.append((meter, side, source.randint(1, 6_000), limit))
        source.shuffle(entries)
        return [self.sign(meter, side, quantity, limit, mtu_start) for meter, side, quantity, limit in entries]

    def presented(self, items: Sequence[ListedOrder]) -> list[dict[str, Any]]:
        """The contract's orders."""
        return [self.signed[item.entry.signed.uid].presented(item.book_index) for item in items]

    def clearing(self, proposal: Proposal, book: Sequence[BookEntry], mtu_start: int) -> ClearingData:
        """The contract's clearing."""
        return {
            "zone": ZONE,
            "mtuStart": mtu_start,
            "priceCentsPerMwh": proposal.price_cents_per_mwh,
            "lowerEnd": NO_ORDER if proposal.lower_end is None else proposal.lower_end,
            "upperEnd": NO_ORDER if proposal.upper_end is None else proposal.upper_end,
            "book": self.market.book([self.signed[entry.signed.uid] for entry in book]),
            "orders": self.presented(proposal.orders),
            "ends": self.presented(proposal.ends),
            "matches": [{"sell": one.sell, "buy": one.buy, "energyWh": one.energy_wh} for one in proposal.matches],
        }


def kept_of(mtu_start: int, positions: Sequence[Position], trades: Sequence[Trade]) -> Kept:
    """Positions and trades of the rules in the contract's names."""
    return Kept(
        ZONE,
        mtu_start,
        [{FIELDS.get(name, name): value for name, value in asdict(one).items()} for one in positions],
        [{FIELDS.get(name, name): value for name, value in asdict(one).items()} for one in trades],
    )


@pytest.mark.parametrize("seed", range(3))
def test_random_books_go_through_exactly_as_the_pure_rules_say(seed: int) -> None:
    source = random.Random(seed)
    room = Room()
    traded = 0
    for number in range(BOOKS // 3):
        mtu_start = FIRST_MTU + number * MTU_LENGTH_S
        if source.random() < 0.5:
            tariff = source.randint(-40_000, 10_000)
            room.market.move_to(mtu_start - 3_600)
            room.market.send(room.market.oracle, "GridPolicy", "postFeedIn", mtu_start, [tariff])
        traded += one_mtu(room, source, mtu_start)
    assert traded > 1_000
    room.market.assert_solvent()


def one_mtu(room: Room, source: random.Random, mtu_start: int) -> int:
    """Match, clear, deliver and settle a random book in two parts; returns the traded energy, Wh."""
    market, prices = room.market, room.prices(mtu_start)
    book = room.random_book(source, mtu_start)
    orders = [
        AuctionOrder(
            uid=entry.signed.uid,
            side=entry.signed.order.side,
            quantity_wh=entry.signed.order.quantity_wh,
            limit_cents_per_mwh=entry.signed.order.limit_cents_per_mwh,
        )
        for entry in book
    ]
    result = clear(orders, floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap)
    proposal = propose(result, book, room.facts(), room.policy, prices)
    market.close_gate(mtu_start)
    market.commit_book([room.signed[entry.signed.uid] for entry in book], mtu_start)
    clearing = room.clearing(proposal, book, mtu_start)
    kept = market.kept_after(clearing, market.clear(clearing))
    assert kept == kept_of(mtu_start, proposal.positions, proposal.trades)
    if proposal.trades:
        settle_in_two_parts(room, source, mtu_start, proposal, prices)
    return result.traded_wh


def settle_in_two_parts(
    room: Room, source: random.Random, mtu_start: int, proposal: Proposal, prices: MtuPrices
) -> None:
    """The hash check of the second part proves that the rules kept the very same state after the first."""
    market = room.market
    market.answer(ACKNOWLEDGED, mtu_start=mtu_start)
    market.pass_mtu(mtu_start)
    market.anchor(mtu_start)
    positions, trades = proposal.positions, proposal.trades
    indexes = list(range(len(positions)))
    source.shuffle(indexes)
    cut = source.randint(0, len(indexes))
    for part in (indexes[:cut], indexes[cut:]):
        metered = {index: positions[index].contracted_wh + source.choice([0, -300, 450]) for index in part}
        _, receipt = market.settle(kept_of(mtu_start, positions, trades), metered)
        positions = settle_positions(positions, metered)
        rewarded = reward_trades(positions, trades)
        check_cash(receipt, [positions[index] for index in part], proposal.price_cents_per_mwh, prices)
        news = [new.rewarded_wh for old, new in zip(trades, rewarded, strict=True) if new.rewarded_wh > old.rewarded_wh]
        assert [event.arguments["energyWh"] for event in receipt.named("RewardGranted")] == news
        trades = rewarded


def check_cash(receipt: Any, settled: Sequence[Position], price: int, prices: MtuPrices) -> None:
    """The settlement's events carry the cash that the rules expect."""
    shown = [
        (one.arguments["tradeMicrocents"], one.arguments["imbalanceMicrocents"])
        for one in receipt.named("PositionSettled")
    ]
    expected = [position_cash(one, price, prices.surplus, prices.shortage) for one in settled]
    assert shown == [(one.trade_microcents, one.imbalance_microcents) for one in expected]
