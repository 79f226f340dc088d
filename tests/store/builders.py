"""A market room over a real transaction, and the events a chain would send back."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.market.fakes import (
    BUY_METER,
    BUYER,
    DOMAIN,
    EUR,
    GATE,
    MTU_LENGTH_S,
    MTU_START,
    SELL_METER,
    SELLER,
    SUPPLIER,
    ZONE,
    FakeLedger,
    FakeReceipts,
    Member,
    an_order,
)

from gridledger.chain.plan import PolicyParameters
from gridledger.clock import ManualClock
from gridledger.market.model import Order, Side
from gridledger.market.service import MarketService, MarketSettings
from gridledger.relay import ChainEvent, IndexedBlock
from gridledger.store.transaction import Transaction

GENESIS = GATE - 3_000
GRID_OPERATOR = "0x" + "55" * 20
KEY = ("0x" + "66" * 32, "0x" + "77" * 32)


def policy_struct(**changes: object) -> dict[str, object]:
    """The first policy as the contract's event states it, by the contract's own names."""
    values = asdict(PolicyParameters())
    renamed = {
        "".join([name.split("_")[0], *(part.capitalize() for part in name.split("_")[1:])]): value
        for name, value in values.items()
    }
    return renamed | changes


class Chain:
    """Numbers blocks and logs, and indexes them into a transaction."""

    def __init__(self) -> None:
        self.number = -1
        self.last_hash = "0x" + "00" * 32

    def index(self, tx: Transaction, *events: tuple[str, dict[str, Any]], time_s: int | None = None) -> IndexedBlock:
        """One block with these events (name, arguments)."""
        self.number += 1
        block_hash = f"0x{self.number + 1:064x}"
        block = IndexedBlock(
            number=self.number,
            block_hash=block_hash,
            parent_hash=self.last_hash,
            time_s=GENESIS + self.number if time_s is None else time_s,
        )
        self.last_hash = block_hash
        tx.index_block(
            block,
            tuple(
                ChainEvent(
                    block_number=block.number,
                    log_index=index,
                    transaction_hash=f"0x{self.number:064x}",
                    contract="Any",
                    name=name,
                    arguments=arguments,
                )
                for index, (name, arguments) in enumerate(events)
            ),
        )
        return block


def meter_event(meter: int, owner: str, source: int = 0, zone: int = ZONE) -> tuple[str, dict[str, Any]]:
    """A meter of 4 kW in and 8 kW out."""
    return "MeterRegistered", {
        "meter": meter,
        "owner": owner,
        "zone": zone,
        "importCapacityW": 4_000,
        "exportCapacityW": 8_000,
        "source": source,
        "deviceKeyX": KEY[0],
        "deviceKeyY": KEY[1],
    }


def founding_events() -> Sequence[tuple[str, dict[str, Any]]]:
    """Zone, supplier, policy, the seller with meter 1, the buyer with meter 2, 10 EUR each."""
    return (
        ("ZoneRegistered", {"zone": ZONE, "gridOperator": GRID_OPERATOR}),
        ("SupplierRegistered", {"supplier": SUPPLIER}),
        ("PolicyScheduled", {"version": 0, "effectiveMtuStart": 0, "policy": policy_struct()}),
        ("ParticipantAdmitted", {"account": SELLER.address, "supplier": SUPPLIER}),
        ("ParticipantAdmitted", {"account": BUYER.address, "supplier": SUPPLIER}),
        meter_event(SELL_METER, SELLER.address, source=1),
        meter_event(BUY_METER, BUYER.address),
        ("Deposited", {"account": SELLER.address, "amountMicrocents": 10 * EUR}),
        ("Deposited", {"account": BUYER.address, "amountMicrocents": 10 * EUR}),
    )


class Room:
    """A market room over the repositories of one transaction."""

    def __init__(self, tx: Transaction, clock: ManualClock | None = None) -> None:
        self.tx = tx
        self.clock = clock or ManualClock(GATE - 1_000)
        self.ledger = FakeLedger()
        self.market = MarketService(
            settings=MarketSettings(domain=DOMAIN, mtu_length_s=MTU_LENGTH_S),
            clock=self.clock,
            directory=tx.directory,
            orders=tx.orders,
            mtus=tx.mtus,
            ledger=self.ledger,
            receipts=FakeReceipts(),
            notices=tx.notices,
        )

    def accept(self, order: Order, signer: Member | None = None, client_id: str | None = None) -> str:
        """Accept an order signed by its owner; returns its uid."""
        owner = signer or (SELLER if order.side is Side.SELL else BUYER)
        return self.market.accept(order, owner.sign(order), client_id).signed.uid

    def match_pair(self, chain: Chain, quantity_wh: int = 600) -> None:
        """One pair of orders through gate, book and matching."""
        self.accept(an_order(Side.SELL, quantity_wh=quantity_wh))
        self.accept(an_order(quantity_wh=quantity_wh))
        self.clock.move_to(GATE)
        self.market.close_gate(ZONE, MTU_START)
        chain.index(self.tx, book_committed())
        self.market.match(ZONE, MTU_START)


def book_committed() -> tuple[str, dict[str, Any]]:
    """The chain has recorded the book."""
    return "BookCommitted", {"zone": ZONE, "mtuStart": MTU_START, "bookHash": "0x" + "00" * 32, "orderCount": 2}


def cleared_events(tx: Transaction, price: int = 15_000) -> list[tuple[str, dict[str, Any]]]:
    """What the trading contract says when it accepts the kept proposal."""
    positions, trades = tx.mtus.positions(ZONE, MTU_START), tx.mtus.trades(ZONE, MTU_START)
    key = {"zone": ZONE, "mtuStart": MTU_START}
    traded_wh = sum(trade.energy_wh for trade in trades)
    opened = [
        (
            "PositionOpened",
            {
                **key,
                "meter": one.meter,
                "owner": one.owner,
                "contractedWh": one.contracted_wh,
                "lockedMicrocents": one.locked_microcents,
                "feeMicrocents": one.fee_microcents,
            },
        )
        for one in positions
    ]
    cleared = ("MarketCleared", {**key, "priceCentsPerMwh": price, "tradedWh": traded_wh, "tradeCount": len(trades)})
    scheduled = (
        "DispatchScheduled",
        {**key, "scheduleHash": "0x" + "88" * 32, "tradedWh": traded_wh, "answerDeadline": MTU_START - 60},
    )
    return [*opened, cleared, *([scheduled] if trades else [])]


def settled_event(meter: int, metered_wh: int, trade: int, imbalance: int) -> tuple[str, dict[str, Any]]:
    """The trading contract has settled a position."""
    return "PositionSettled", {
        "zone": ZONE,
        "mtuStart": MTU_START,
        "meter": meter,
        "meteredWh": metered_wh,
        "tradeMicrocents": trade,
        "imbalanceMicrocents": imbalance,
    }


def progressed(open_positions: int) -> tuple[str, dict[str, Any]]:
    """How many positions are open after a settlement."""
    return "SettlementProgressed", {"zone": ZONE, "mtuStart": MTU_START, "openPositions": open_positions}
