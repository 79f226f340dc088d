"""Orders, acceptances and cancellations of the machine's members; see machine_calls."""

from random import Random

from tests.contracts.machine_calls import METER_WH, SOURCE_FACTOR, Mtu
from tests.contracts.machine_members import MemberMarket
from tests.contracts.words import (
    MTU_LENGTH_S,
    Actor,
    Meter,
)

from gridledger.market.model import (
    Acceptance,
    Order,
    Pricing,
    Product,
    Side,
    SignedAcceptance,
    SignedOrder,
)
from gridledger.market.order_hash import acceptance_uid, order_uid

__all__ = ["OrderMarket"]


class OrderMarket(MemberMarket):
    """A market whose members sign orders."""

    def open_mtu(self, rng: Random) -> Mtu:
        """The next MTU whose gate has not closed, with orders of most members."""
        start = max(self.now // MTU_LENGTH_S * MTU_LENGTH_S, self.mtus[-1].start if self.mtus else 0)
        start += MTU_LENGTH_S
        while start - self.rules_at(start).policy.gate_closure_s <= self.now:
            start += MTU_LENGTH_S
        rules = self.rules_at(start)
        feed_in = rng.choice([-6_000, 0, 5_000]) if rng.random() < 0.3 else None
        if feed_in is not None:
            self.do(self.market.oracle, "GridPolicy", "postFeedIn", start, [feed_in])
        factor = rules.policy.default_grid_factor_mgco2_per_kwh
        if rng.random() < 0.2:
            factor = rng.choice([0, SOURCE_FACTOR, 500_001])
            self.do(self.market.oracle, "CarbonLedger", "publishGridFactors", start, [factor], bytes(32))
        mtu = Mtu(start=start, rules=rules, prices=rules.prices(feed_in), receipted=[], sides={}, grid_factor=factor)
        self.mtus.append(mtu)
        self.standing = [one for one in self.standing if one[1].order.last_mtu_start + 2 * MTU_LENGTH_S >= start]
        for number, signed in self.standing:
            self._receipt(mtu, number, signed)
        for meter in self.meters:
            for _ in range(rng.choice([0, 1, 1, 1, 2])):
                self._new_order(rng, mtu, meter)
        return mtu

    def _receipt(self, mtu: Mtu, number: int, signed: SignedOrder) -> None:
        mtu.receipted.append((number, signed))
        mtu.sides[signed.order.meter] = signed.order.side
        mtu.load_wh[signed.order.meter] += signed.order.quantity_wh

    def _new_order(self, rng: Random, mtu: Mtu, meter: Meter) -> None:
        side = mtu.sides.get(meter.number, rng.choice([Side.BUY, Side.SELL]))
        span = mtu.prices.cap - mtu.prices.floor
        step = rng.randint(0, 5) if side is Side.SELL else rng.randint(3, 8)
        limit = (
            mtu.prices.floor + span * step // 8 + (0 if rng.random() < 0.5 else rng.randint(-span // 30, span // 30))
        )
        stands = rng.random() < 0.25 and not any(one.order.meter == meter.number for _, one in self.standing)
        last = mtu.start + (rng.randint(1, 4) * MTU_LENGTH_S if stands else 0)
        expiry = mtu.gate + rng.choice([-1, 0, MTU_LENGTH_S]) if rng.random() < 0.2 else last
        quantity = rng.choice([1, rng.randint(1, 600), 300, 600])
        if mtu.load_wh[meter.number] + quantity > METER_WH:
            return
        self.salt += 1
        order = Order(
            owner=meter.owner.address,
            meter=meter.number,
            side=side,
            product=Product.LOW_CARBON if side is Side.BUY and rng.random() < 0.4 else Product.ANY,
            pricing=Pricing.PEGGED if rng.random() < 0.15 else Pricing.LIMIT,
            first_mtu_start=mtu.start,
            last_mtu_start=last,
            quantity_wh=quantity,
            limit_cents_per_mwh=limit,
            expiry=expiry,
            salt=self.salt,
        )
        signed = self.sign_order(order)
        self._receipt(mtu, self.next_number(), signed)
        self.known = [*self.known[-40:], signed]
        if stands:
            self.standing.append((self.running, signed))

    def sign_order(self, order: Order) -> SignedOrder:
        """The order signed by its meter's owner."""
        uid = order_uid(self.domain, order)
        return SignedOrder(order=order, uid=uid, signature=self._signature(order.meter, uid))

    def _signature(self, meter: int, uid: str) -> bytes:
        made = self.keys[meter].sign_recoverable(bytes.fromhex(uid[2:]), hasher=None)
        return made[:64] + bytes((27 + made[64],))

    def next_number(self) -> int:
        """Running numbers ascend."""
        self.running += 1
        return self.running

    def accept_offer(self, rng: Random, mtu: Mtu) -> None:
        """A buyer accepts part of a posted limit offer before the gate."""
        offers = [
            signed
            for _, signed in mtu.receipted
            if isinstance(signed, SignedOrder)
            and signed.order.side is Side.SELL
            and signed.order.pricing is Pricing.LIMIT
            and signed.order.quantity_wh > mtu.dealt_wh[signed.uid]
        ]
        buyers = [one for one in self.meters if mtu.sides.get(one.number, Side.BUY) is Side.BUY]
        if not offers or not buyers:
            return
        offer, buyer = rng.choice(offers), rng.choice(buyers)
        quantity = rng.randint(1, min(300, offer.order.quantity_wh - mtu.dealt_wh[offer.uid]))
        if mtu.load_wh[buyer.number] + quantity > METER_WH:
            return
        self.salt += 1
        acceptance = Acceptance(
            owner=buyer.owner.address,
            meter=buyer.number,
            offer_uid=offer.uid,
            mtu_start=mtu.start,
            quantity_wh=quantity,
            salt=self.salt,
        )
        uid = acceptance_uid(self.domain, acceptance)
        signed = SignedAcceptance(acceptance=acceptance, uid=uid, signature=self._signature(buyer.number, uid))
        mtu.receipted.append((self.next_number(), signed))
        mtu.sides[buyer.number] = Side.BUY
        mtu.load_wh[buyer.number] += quantity
        mtu.dealt_wh[offer.uid] += quantity

    def cancel(self, rng: Random) -> None:
        """An owner cancels; a stranger's cancellation of the same order counts for nothing."""
        if not self.known:
            return
        signed = rng.choice(self.known)
        if rng.random() < 0.2:
            self.do(self.market.outsider, "EnergyTrading", "cancel", bytes.fromhex(signed.uid[2:]))
            return
        self.do(self._owner_of(signed), "EnergyTrading", "cancel", bytes.fromhex(signed.uid[2:]))
        self.cancelled_at.setdefault(signed.uid, self.now)

    def cancel_up_to(self, rng: Random) -> None:
        """An owner cancels all its orders up to a salt; going back is refused."""
        if not self.known:
            return
        signed = rng.choice(self.known)
        history = self.first_good.setdefault(signed.order.owner, [])
        salt = signed.order.salt
        behind = bool(history) and salt + 1 <= history[-1][1]
        reasons = ["SaltNotAscending"] if behind else []
        if self.expect(reasons, self._owner_of(signed), "EnergyTrading", "cancelUpTo", salt):
            history.append((self.now, salt + 1))

    def _owner_of(self, signed: SignedOrder) -> Actor:
        return self.meters[signed.order.meter - 1].owner
