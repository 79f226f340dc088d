"""A market room over a real transaction, and the events a chain would send back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tests.market.fakes import (
    BUY_METER,
    BUYER,
    DOMAIN,
    EUR,
    GATE,
    GATE_CLOSURE_S,
    MTU_LENGTH_S,
    MTU_START,
    SELL_METER,
    SELLER,
    SUPPLIER,
    ZONE,
    FakeLedger,
    FakeReceipts,
    Member,
    an_acceptance,
    an_order,
)

from gridledger.chain.plan import PolicyParameters
from gridledger.clock import ManualClock
from gridledger.dispatch.committing import SetpointService
from gridledger.dispatch.salts import SeededSetpointSalts
from gridledger.market.desk import DeskSettings, OrderDesk
from gridledger.market.model import Order, Position, Recording, Side
from gridledger.market.service import MarketService
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


class Undone(Exception):
    """Takes a transaction back."""


class Chain:
    """Numbers blocks and logs, and indexes them into a transaction."""

    def __init__(self) -> None:
        self.number = -1
        self.last_hash = "0x" + "00" * 32

    def index(
        self, tx: Transaction, *events: tuple[str, dict[str, Any]], time_s: int | None = None, contract: str = "Any"
    ) -> IndexedBlock:
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
                    contract=contract,
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
        self.desk = OrderDesk(
            settings=DeskSettings(domain=DOMAIN, mtu_length_s=MTU_LENGTH_S),
            clock=self.clock,
            directory=tx.directory,
            orders=tx.orders,
            receipts=FakeReceipts(),
            notices=tx.notices,
        )
        self.market = MarketService(
            mtu_length_s=MTU_LENGTH_S,
            clock=self.clock,
            directory=tx.directory,
            orders=tx.orders,
            mtus=tx.mtus,
            ledger=self.ledger,
            notices=tx.notices,
            schedules=SetpointService(store=tx.dispatches, salts=SeededSetpointSalts(b"test")),
        )

    def accept(self, order: Order, signer: Member | None = None, client_id: str | None = None) -> str:
        """Accept an order signed by its owner; returns its uid."""
        owner = signer or (SELLER if order.side is Side.SELL else BUYER)
        return self.desk.accept(order, owner.sign(order), client_id).signed.uid

    def deal(self, offer_uid: str, **changes: object) -> str:
        """Accept the buyer's signed acceptance of an offer; returns its uid."""
        acceptance = an_acceptance(offer_uid, **changes)
        return self.desk.accept_deal(acceptance, BUYER.sign_acceptance(acceptance)).signed.uid

    def match(self, chain: Chain, mtu_start: int = MTU_START) -> None:
        """Gate, book and matching of everything that is open for the MTU."""
        self.clock.move_to(mtu_start - GATE_CLOSURE_S)
        self.market.close_gate(ZONE, mtu_start)
        chain.index(self.tx, book_committed(mtu_start))
        self.rematch(mtu_start)

    def rematch(self, mtu_start: int = MTU_START) -> None:
        """Match; the bond records everything it is asked to."""
        self.market.match(ZONE, mtu_start)
        asked = [entry.uid for entry in self.tx.mtus.book(ZONE, mtu_start) if entry.recording is Recording.ASKED]
        if asked:
            self.tx.mtus.mark_recording(ZONE, mtu_start, asked, Recording.RECORDED)
            self.market.match(ZONE, mtu_start)

    def match_pair(self, chain: Chain, quantity_wh: int = 600) -> None:
        """One pair of orders through gate, book and matching."""
        self.accept(an_order(Side.SELL, quantity_wh=quantity_wh))
        self.accept(an_order(quantity_wh=quantity_wh))
        self.match(chain)


def book_committed(mtu_start: int = MTU_START) -> tuple[str, dict[str, Any]]:
    """The chain has recorded the book."""
    return "BookCommitted", {"zone": ZONE, "mtuStart": mtu_start, "bookHash": "0x" + "00" * 32, "orderCount": 2}


def kept_positions(tx: Transaction, mtu_start: int = MTU_START) -> tuple[Position, ...]:
    """Positions of the only chunk as the contract keeps them."""
    return tuple(kept.position for kept in tx.mtus.positions(ZONE, mtu_start))


def unsettled(tx: Transaction) -> dict[int, int]:
    """Index to meter of positions that are neither closed nor being closed."""
    kept = tx.mtus.positions(ZONE, MTU_START)
    return {one.index: one.position.meter for one in kept if not (one.pending or one.position.settled)}


def cleared_events(
    tx: Transaction, price: int = 15_000, low_carbon_price: int | None = None, mtu_start: int = MTU_START
) -> list[tuple[str, dict[str, Any]]]:
    """What the trading contract says when it accepts the kept proposal."""
    positions = kept_positions(tx, mtu_start)
    key = {"zone": ZONE, "mtuStart": mtu_start}
    traded_wh = sum(one.quantity_wh for one in positions if one.sells)
    cleared = (
        "MarketCleared",
        {
            **key,
            "chunk": 0,
            "last": True,
            "anyPrice": price,
            "lowCarbonPrice": price if low_carbon_price is None else low_carbon_price,
            "tradedWh": traded_wh,
            "positionCount": len(positions),
        },
    )
    scheduled = (
        "DispatchScheduled",
        {
            **key,
            "scheduleHash": "0x" + "88" * 32,
            "resultHash": "0x" + "99" * 32,
            "setpointsRoot": "0x" + "aa" * 32,
            "tradedWh": traded_wh,
            "answerDeadline": mtu_start - 60,
        },
    )
    return [cleared, *([scheduled] if positions else [])]


def acknowledged(mtu_start: int = MTU_START, reason: int = 0) -> tuple[str, dict[str, Any]]:
    """The grid operator has acknowledged a schedule."""
    key = {"zone": ZONE, "mtuStart": mtu_start}
    return "DispatchAnswered", {**key, "answer": 1, "reason": reason, "gridOperator": GRID_OPERATOR}


def curtailed(caps_wh: Mapping[int, int], mtu_start: int = MTU_START, **changes: object) -> tuple[str, dict[str, Any]]:
    """The grid operator has capped net exports, Wh by meter."""
    arguments = {
        "zone": ZONE,
        "mtuStart": mtu_start,
        "direction": 1,
        "reason": 1,
        "emergency": False,
        "sequence": 0,
        "orderCheck": 1,
        "gridOperator": GRID_OPERATOR,
        "caps": [meter | cap_wh << 32 for meter, cap_wh in caps_wh.items()],
    }
    return "DispatchCurtailed", arguments | changes


def caps_applied(mtu_start: int = MTU_START, chunk: int = 0) -> tuple[str, dict[str, Any]]:
    """The contract has applied the caps to a chunk."""
    return "CapsApplied", {"zone": ZONE, "mtuStart": mtu_start, "chunk": chunk}


def stopped(first: int = MTU_START, last: int = MTU_START, reason: int = 4) -> tuple[str, dict[str, Any]]:
    """The grid operator has stopped the zone."""
    arguments = {"zone": ZONE, "firstMtuStart": first, "lastMtuStart": last, "reason": reason}
    return "ZoneStopped", {**arguments, "gridOperator": GRID_OPERATOR}


def settled_event(
    meter: int, metered_wh: int, imbalance: int, mtu_start: int = MTU_START
) -> tuple[str, dict[str, Any]]:
    """The settlement contract has settled a position on a reading."""
    return "PositionSettled", {
        "mtuStart": mtu_start,
        "meter": meter,
        "meteredWh": metered_wh,
        "imbalanceMicrocents": imbalance,
    }


def substituted_event(meter: int, substitute_wh: int) -> tuple[str, dict[str, Any]]:
    """The settlement contract has settled a position nobody had read."""
    return "PositionSubstituted", {
        "mtuStart": MTU_START,
        "meter": meter,
        "substituteWh": substitute_wh,
        "imbalanceMicrocents": 0,
    }


def resettled_event(meter: int, version: int, metered_wh: int, delta: int) -> tuple[str, dict[str, Any]]:
    """The settlement contract has corrected a position."""
    return "PositionResettled", {
        "mtuStart": MTU_START,
        "meter": meter,
        "version": version,
        "meteredWh": metered_wh,
        "deltaMicrocents": delta,
    }


def refunded_event(meter: int, locked: int) -> tuple[str, dict[str, Any]]:
    """The settlement contract has given a lock back."""
    return "PositionRefunded", {"mtuStart": MTU_START, "meter": meter, "lockedMicrocents": locked}


def progressed(open_positions: int) -> tuple[str, dict[str, Any]]:
    """How many positions are open after a settlement."""
    key = {"zone": ZONE, "mtuStart": MTU_START, "chunk": 0}
    return "SettlementProgressed", {**key, "openPositions": open_positions}
