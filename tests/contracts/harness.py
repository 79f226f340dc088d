"""The market of the contract tests: builders from a registered meter to a settled position.

Energy in Wh, prices in cents per MWh, money in microcents, carbon in micrograms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.contracts.evm import DeployedMarket, compiled, revert_bytes
from tests.contracts.words import (
    ACKNOWLEDGED,
    ANSWER_FIELDS,
    BOOK_NUMBER_BYTES,
    BUY,
    CHAIN_ID,
    CURTAILED,
    EUR,
    FIRST_MTU,
    GAS_LIMIT,
    MTU_LENGTH_S,
    NO_ORDER,
    NOT_SCHEDULED,
    ORDER_FIELDS,
    PENDING,
    PERMIT_FIELDS,
    PROCEEDS,
    SELL,
    SOLAR,
    SPEC_ID,
    TESTS_ROOT,
    VOID,
    ZONE,
    Actor,
    ClearingData,
    Kept,
    Meter,
    Receipt,
    Signed,
    actor,
    compact,
    device_key,
    floor_midpoint,
    policy_tuple,
    settle_arguments,
    sign,
)

from gridledger.chain.codec import keccak256

__all__ = [
    "ACKNOWLEDGED",
    "BUY",
    "CHAIN_ID",
    "CURTAILED",
    "EUR",
    "FIRST_MTU",
    "GAS_LIMIT",
    "MTU_LENGTH_S",
    "NOT_SCHEDULED",
    "NO_ORDER",
    "PENDING",
    "PROCEEDS",
    "SELL",
    "SOLAR",
    "SPEC_ID",
    "TESTS_ROOT",
    "VOID",
    "ZONE",
    "Actor",
    "ClearingData",
    "Kept",
    "Market",
    "Meter",
    "Pair",
    "Receipt",
    "Signed",
    "actor",
    "compact",
    "compiled",
    "device_key",
    "floor_midpoint",
    "policy_tuple",
    "revert_bytes",
    "settle_arguments",
]


class Market(DeployedMarket):
    """A deployed market with everything its parties do."""

    # --- members and money ----------------------------------------------------------------------------------------

    def register(
        self,
        owner: Actor,
        *,
        import_w: int = 40_000,
        export_w: int = 0,
        source: int = 0,
        zone: int = ZONE,
        supplier: Actor | None = None,
    ) -> Meter:
        """Register a meter, admitting its owner where that is still to be done."""
        return self.register_many([owner], import_w, export_w, source, zone, supplier)[0]

    def register_many(
        self,
        owners: Sequence[Actor],
        import_w: int = 40_000,
        export_w: int = 0,
        source: int = 0,
        zone: int = ZONE,
        supplier: Actor | None = None,
    ) -> list[Meter]:
        """Register one meter for each owner, admitting owners where that is still to be done."""
        zero = "0x" + "00" * 20
        new = [one.address for one in owners if self.view("ParticipantRegistry", "supplierOf", one.address) == zero]
        if new:
            serving = (supplier or self.supplier).address
            self.send(self.grid_operator, "ParticipantRegistry", "admitParticipants", new, serving)
        count = self.view("ParticipantRegistry", "meterCount")
        rows = [
            (one.address, zone, import_w, export_w, source, *device_key(count + 1 + place))
            for place, one in enumerate(owners)
        ]
        receipt = self.send(self.grid_operator, "ParticipantRegistry", "registerMeters", rows)
        (first,) = self.codecs["ParticipantRegistry"].result("registerMeters", receipt.output)
        self.watched += [one.address for one in owners if one.address not in self.watched]
        return [Meter(number=first + place, owner=one, zone=zone, source=source) for place, one in enumerate(owners)]

    def producer(self, name: str, **options: Any) -> Meter:
        """A funded member with a solar meter."""
        settings: dict[str, Any] = {"import_w": 4_000, "export_w": 40_000, "source": SOLAR} | options
        return self._funded(name, settings)

    def consumer(self, name: str, **options: Any) -> Meter:
        """A funded member whose meter takes much energy and gives 100 Wh at most."""
        return self._funded(name, {"export_w": 400} | options)

    def _funded(self, name: str, settings: dict[str, Any]) -> Meter:
        eur = settings.pop("eur", 10)
        meter = self.register(actor(name), **settings)
        if eur:
            self.deposit(meter.owner, eur * EUR)
        return meter

    def fund(self, owner: Actor, amount_microcents: int) -> None:
        """Give settlement tokens and approve them for the trading contract."""
        self.send(self.bank, "SettlementToken", "issue", [owner.address], [amount_microcents])
        self.send(owner, "SettlementToken", "approve", self.at["EnergyTrading"], amount_microcents)

    def deposit(self, owner: Actor, amount_microcents: int) -> Receipt:
        """Fund and deposit."""
        self.fund(owner, amount_microcents)
        if owner.address not in self.watched:
            self.watched.append(owner.address)
        return self.send(owner, "EnergyTrading", "deposit", amount_microcents)

    def set_credit(self, owner: Actor, amount_microcents: int, supplier: Actor | None = None) -> Receipt:
        """A supplier's credit for its customer."""
        return self.send(supplier or self.supplier, "EnergyTrading", "setCredit", [owner.address], [amount_microcents])

    def free(self, owner: Actor) -> int:
        """Free balance, microcents; below zero while credit is used."""
        return int(self.view("EnergyTrading", "accountOf", owner.address)[0])

    def credit(self, owner: Actor) -> int:
        """Credit limit, microcents."""
        return int(self.view("EnergyTrading", "accountOf", owner.address)[1])

    def debt(self, debtor: Actor, creditor: Actor) -> int:
        """Recorded debt, microcents."""
        return int(self.view("EnergyTrading", "debtOf", debtor.address, creditor.address))

    def escrow(self) -> int:
        """Money locked for all clearings, microcents."""
        return int(self.view("EnergyTrading", "escrowMicrocents"))

    def held(self) -> int:
        """Settlement tokens the trading contract holds."""
        return int(self.view("SettlementToken", "balanceOf", self.at["EnergyTrading"]))

    def tokens(self, owner: Actor) -> int:
        """Low-carbon tokens, micrograms."""
        return int(self.view("LowCarbonToken", "balanceOf", owner.address))

    def assert_solvent(self) -> None:
        """What the contract holds is free, set aside behind credit, or in escrow; nobody is below the credit limit."""
        accounts = [self.view("EnergyTrading", "accountOf", one) for one in set(self.watched)]
        assert self.held() == sum(free + credit for free, credit in accounts) + self.escrow()
        assert all(free + credit >= 0 for free, credit in accounts)

    # --- orders, books, clearings ---------------------------------------------------------------------------------

    def domain(self, contract: str, name: str) -> dict[str, Any]:
        """EIP-712 domain of one of the contracts."""
        return {"name": name, "version": "1", "chainId": CHAIN_ID, "verifyingContract": self.at[contract]}

    def order(self, meter: Meter, side: int, quantity_wh: int, limit: int, **changes: Any) -> Signed:
        """An order for the first MTU signed by the meter's owner; `signer` and any field can be changed."""
        signer: Actor = changes.pop("signer", meter.owner)
        mtu_start = changes.pop("mtu_start", FIRST_MTU)
        domain = changes.pop("domain", {})
        self._salt += 1
        message = {
            "owner": meter.owner.address,
            "meter": meter.number,
            "side": side,
            "product": 0,
            "pricing": 0,
            "firstMtuStart": mtu_start,
            "lastMtuStart": mtu_start,
            "quantityWh": quantity_wh,
            "limitCentsPerMwh": limit,
            "expiry": mtu_start,
            "salt": self._salt,
        } | changes
        return sign(signer, "Order", ORDER_FIELDS, message, self.domain("EnergyTrading", "gridledger") | domain)

    @staticmethod
    def book(orders: Sequence[Signed]) -> bytes:
        """The committed list: running number and uid of each order."""
        return b"".join(number.to_bytes(BOOK_NUMBER_BYTES) + one.uid for number, one in enumerate(orders))

    def clearing(
        self,
        book: Sequence[Signed],
        matches: Sequence[tuple[Signed, Signed, int]],
        *,
        lower: Signed | None = None,
        upper: Signed | None = None,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
    ) -> ClearingData:
        """The contract's Clearing: `matches` are (offer, bid, energy), `lower` and `upper` name the interval's ends."""
        index = {one.uid: place for place, one in enumerate(book)}
        named = {one.uid: one for match in matches for one in match[:2]}
        filled = sorted(named.values(), key=lambda one: (one.message["meter"], index[one.uid]))
        ends = list({one.uid: one for one in (lower, upper) if one and one.uid not in named}.values())
        at = {one.uid: place for place, one in enumerate([*filled, *ends])}
        prices = self.view("GridPolicy", "pricesAt", mtu_start)
        low = lower.message["limitCentsPerMwh"] if lower else prices["floor"]
        high = upper.message["limitCentsPerMwh"] if upper else prices["cap"]
        return {
            "zone": zone,
            "mtuStart": mtu_start,
            "priceCentsPerMwh": floor_midpoint(low, high),
            "lowerEnd": at[lower.uid] if lower else NO_ORDER,
            "upperEnd": at[upper.uid] if upper else NO_ORDER,
            "book": self.book(book),
            "orders": [one.presented(index[one.uid]) for one in filled],
            "ends": [one.presented(index[one.uid]) for one in ends],
            "matches": [{"sell": at[s.uid], "buy": at[b.uid], "energyWh": wh} for s, b, wh in matches],
        }

    def commit_book(self, orders: Sequence[Signed], mtu_start: int = FIRST_MTU, zone: int = ZONE) -> Receipt:
        """Commit the book; the gate must be closed."""
        book_hash = keccak256(self.book(orders))
        arguments = (zone, mtu_start, book_hash, len(orders))
        receipt = self.send(self.market_operator, "EnergyTrading", "commitBook", *arguments)
        self.watched_mtus.append((zone, mtu_start))
        return receipt

    def clear(self, clearing: ClearingData) -> Receipt:
        """Propose a clearing."""
        return self.send(self.market_operator, "EnergyTrading", "clear", clearing)

    def kept_after(self, clearing: ClearingData, receipt: Receipt) -> Kept:
        """What the contract keeps by hash after accepting the clearing."""
        opened = [event.arguments for event in receipt.named("PositionOpened")]
        meters = [one["meter"] for one in opened]
        views = self.view("ParticipantRegistry", "lookup", meters)
        positions = [
            {
                "meter": one["meter"],
                "source": view["source"],
                "settled": False,
                "owner": one["owner"],
                "supplier": view["supplier"],
                "contractedWh": one["contractedWh"],
                "meteredWh": 0,
                "lockedMicrocents": one["lockedMicrocents"],
                "feeMicrocents": one["feeMicrocents"],
            }
            for one, view in zip(opened, views, strict=True)
        ]
        place = [meters.index(order["meter"]) for order in clearing["orders"]]
        trades = [
            {
                "sell": place[match["sell"]],
                "buy": place[match["buy"]],
                "energyWh": match["energyWh"],
                "rewardedWh": 0,
                "rewarded": False,
            }
            for match in clearing["matches"]
        ]
        return Kept(clearing["zone"], clearing["mtuStart"], positions, trades)

    def clear_book(
        self,
        book: Sequence[Signed],
        matches: Sequence[tuple[Signed, Signed, int]],
        *,
        lower: Signed | None = None,
        upper: Signed | None = None,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
    ) -> Kept:
        """Close the gate, commit the book and clear it."""
        self.close_gate(mtu_start)
        self.commit_book(book, mtu_start, zone)
        clearing = self.clearing(book, matches, lower=lower, upper=upper, mtu_start=mtu_start, zone=zone)
        return self.kept_after(clearing, self.clear(clearing))

    # --- dispatch, readings, settlement ---------------------------------------------------------------------------

    def signed_answer(
        self, answer: int, *, mtu_start: int = FIRST_MTU, zone: int = ZONE, reason: int = 0, **changes: Any
    ) -> tuple[object, ...]:
        """Arguments of `EnergyDispatching.answer`; `signer`, `schedule_hash` and `domain` can be changed."""
        signer: Actor = changes.get("signer", self.grid_operator)
        schedule_hash = changes.get("schedule_hash") or self.view(
            "EnergyDispatching", "scheduleHashOf", zone, mtu_start
        )
        message = {
            "zone": zone,
            "mtuStart": mtu_start,
            "scheduleHash": schedule_hash,
            "answer": answer,
            "reason": reason,
        }
        domain = self.domain("EnergyDispatching", "gridledger-dispatch") | changes.get("domain", {})
        signed = sign(signer, "DispatchAnswer", ANSWER_FIELDS, message, domain)
        return zone, mtu_start, answer, reason, signed.r, signed.vs

    def answer(self, answer: int, *, mtu_start: int = FIRST_MTU, zone: int = ZONE, reason: int = 0) -> Receipt:
        """The grid operator's answer, relayed by somebody without any role."""
        arguments = self.signed_answer(answer, mtu_start=mtu_start, zone=zone, reason=reason)
        return self.send(self.outsider, "EnergyDispatching", "answer", *arguments)

    def anchor(self, mtu_start: int = FIRST_MTU, zone: int = ZONE, *, sequence: int = 0) -> Receipt:
        """Anchor a batch of readings; the MTU must be over."""
        root = keccak256(f"readings {sequence}".encode())
        return self.send(self.relayer, "MeterLedger", "anchor", zone, mtu_start, sequence, root, 2)

    def settle(self, kept: Kept, metered_wh: Mapping[int, int], *, proceeds: bool = True) -> tuple[Kept, Receipt]:
        """Settle the positions at those indexes; returns what is kept then."""
        indexes, values = list(metered_wh), list(metered_wh.values())
        receipt = self.send(self.market_operator, "EnergyTrading", "settle", *settle_arguments(kept, indexes, values))
        return kept.advanced(indexes, values, proceeds=proceeds), receipt

    def permit(self, owner: Actor, amount_microcents: int, deadline: int) -> tuple[int, bytes, bytes]:
        """EIP-2612 permit for the trading contract: v, r, s."""
        message = {
            "owner": owner.address,
            "spender": self.at["EnergyTrading"],
            "value": amount_microcents,
            "nonce": self.view("SettlementToken", "nonces", owner.address),
            "deadline": deadline,
        }
        signed = sign(
            owner, "Permit", PERMIT_FIELDS, message, self.domain("SettlementToken", "gridledger settlement token")
        )
        vs = int.from_bytes(signed.vs)
        return 27 + (vs >> 255), signed.r, (vs & ((1 << 255) - 1)).to_bytes(32)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A solar producer and a consumer who agree on 600 Wh at 15,000 cents per MWh."""

    seller: Meter
    buyer: Meter
    offer: Signed
    bid: Signed
    mtu_start: int = FIRST_MTU

    @classmethod
    def of(cls, market: Market, **changes: Any) -> "Pair":
        """Register both, sign both orders; `offer_limit`, `bid_limit`, `quantity_wh`, `source`, `zone`, `mtu_start`."""
        zone, quantity_wh = changes.get("zone", ZONE), changes.get("quantity_wh", 600)
        mtu_start = changes.get("mtu_start", FIRST_MTU)
        seller = market.producer("producer", source=changes.get("source", SOLAR), zone=zone, eur=changes.get("eur", 10))
        buyer = market.consumer("consumer", zone=zone, eur=changes.get("eur", 10))
        return cls(
            mtu_start=mtu_start,
            seller=seller,
            buyer=buyer,
            offer=market.order(seller, SELL, quantity_wh, changes.get("offer_limit", 10_000), mtu_start=mtu_start),
            bid=market.order(buyer, BUY, quantity_wh, changes.get("bid_limit", 20_000), mtu_start=mtu_start),
        )

    @property
    def book(self) -> list[Signed]:
        """Both orders, the offer first."""
        return [self.offer, self.bid]

    @property
    def quantity_wh(self) -> int:
        """The traded energy."""
        return int(self.offer.message["quantityWh"])

    def clearing(self, market: Market) -> ClearingData:
        """The clearing that trades everything at the midpoint of both limits."""
        matches = [(self.offer, self.bid, self.quantity_wh)]
        return market.clearing(
            self.book, matches, lower=self.offer, upper=self.bid, mtu_start=self.mtu_start, zone=self.seller.zone
        )

    def cleared(self, market: Market) -> Kept:
        """Close the gate, commit the book and clear."""
        market.close_gate(self.mtu_start)
        market.commit_book(self.book, self.mtu_start, self.seller.zone)
        clearing = self.clearing(market)
        return market.kept_after(clearing, market.clear(clearing))

    def delivered(self, market: Market) -> Kept:
        """Cleared, acknowledged, over and anchored: ready to settle."""
        kept = self.cleared(market)
        market.answer(ACKNOWLEDGED, mtu_start=kept.mtu_start, zone=kept.zone)
        market.pass_mtu(kept.mtu_start)
        market.anchor(kept.mtu_start, kept.zone)
        return kept
