"""The desk of a node in miniature: members, orders, acceptances, cancellations and their receipts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from tests.audit.recorded_evm import EvmChain, RecordedEvm
from tests.contracts.words import CHAIN_ID, Actor, actor

from gridledger.audit.rows import AcceptanceRow, BulkCancellationRow, CancellationRow, MeterRow, OrderRow
from gridledger.chain.plan import PolicyParameters
from gridledger.market.model import Acceptance, MeterFacts, Order, Pricing, Product, Side
from gridledger.market.order_hash import OrderDomain, acceptance_uid, cancel_digest, cancel_up_to_digest, order_uid
from gridledger.market.receipts import receipt_digest
from gridledger.metering.signed_reading import key_from_seed, public_key

__all__ = ["EvmDesk", "MeterOf", "device_secret", "signed"]


@dataclass(frozen=True, kw_only=True)
class MeterOf:
    """A meter before it has its number."""

    owner: str
    zone: int = 1
    import_w: int = 100_000
    export_w: int = 10_000
    source: int = 0


BEFORE_S = 25 * 3_600  # time enough for what was requested at the beginning


class EvmDesk:
    """The members of a market over its chain, and the node's desk."""

    def __init__(self, first: int, policy: PolicyParameters, meters: Sequence[MeterOf]) -> None:
        self.market = RecordedEvm(genesis_time_s=first - BEFORE_S, policy=policy, zones=(1, 2))
        self.chain = EvmChain(self.market)
        self.rows: dict[str, list[Any]] = {
            name: []
            for name in (
                "orders",
                "acceptances",
                "cancellations",
                "bulk_cancellations",
                "readings",
                "meter_events",
                "meters",
                "demand_events",
                "demand_participations",
                "demand_measurements",
                "demand_shifts",
            )
        }
        self.meters: dict[int, MeterFacts] = {}
        trading = str(to_checksum_address(self.market.at["EnergyTrading"]))
        self.domain = OrderDomain(chain_id=CHAIN_ID, trading_contract=trading)
        self.policy_parameters = policy
        self.ended: dict[str, int] = {}
        self._salt = self._number = 0
        self._join(meters)

    # --- members --------------------------------------------------------------------------------------------------

    def who(self, meter: int) -> Actor:
        return next(one for one in map(actor, self._owners) if one.account.address == self.meters[meter].owner)

    def _join(self, meters: Sequence[MeterOf]) -> None:
        market = self.market
        self._owners = list(dict.fromkeys(meter.owner for meter in meters))
        owners = [actor(owner).address for owner in self._owners]
        market.send(market.grid_operator, "ParticipantRegistry", "admitParticipants", owners, market.supplier.address)
        rows = []
        for number, meter in enumerate(meters, 1):
            key = public_key(key_from_seed(device_secret(number)))
            owner = str(actor(meter.owner).account.address)
            self.meters[number] = MeterFacts(
                meter=number,
                owner=owner,
                supplier=str(market.supplier.account.address),
                supplier_number=1,
                zone=meter.zone,
                import_capacity_w=meter.import_w,
                export_capacity_w=meter.export_w,
                source=meter.source,
            )
            rows.append((owner, meter.zone, meter.import_w, meter.export_w, meter.source, key.x, key.y))
            facts = {name: value for name, value in vars(self.meters[number]).items() if name != "supplier_number"}
            self.rows["meters"].append(MeterRow(**facts, device_key_x=key.x, device_key_y=key.y))
        market.send(market.grid_operator, "ParticipantRegistry", "registerMeters", rows)

    def deposit(self, who: Actor, amount_microcents: int) -> None:
        market = self.market
        market.send(market.bank, "SettlementToken", "issue", [who.address], [amount_microcents])
        market.send(who, "SettlementToken", "approve", market.at["EnergyTrading"], amount_microcents)
        market.send(who, "EnergyTrading", "deposit", amount_microcents)

    # --- orders ---------------------------------------------------------------------------------------------------

    def at(self, moment: int) -> None:
        """Let time pass."""
        self.market.clock = max(self.market.clock, moment)

    def order(self, meter: int, side: Side, quantity_wh: int, limit: int, mtu_start: int, **changes: Any) -> OrderRow:
        """Sign and receipt an order; `last`, `product`, `pricing` and `expiry` can be changed."""
        self._salt += 1
        last = changes.get("last", mtu_start)
        order = Order(
            owner=self.meters[meter].owner,
            meter=meter,
            side=side,
            product=changes.get("product", Product.ANY),
            pricing=changes.get("pricing", Pricing.LIMIT),
            first_mtu_start=mtu_start,
            last_mtu_start=last,
            quantity_wh=quantity_wh,
            limit_cents_per_mwh=limit,
            expiry=changes.get("expiry", last),
            salt=self._salt,
        )
        uid = order_uid(self.domain, order)
        row = OrderRow(
            **{**vars(order), "zone": self.meters[meter].zone, "uid": uid},
            signature=signed(self.who(meter), bytes.fromhex(uid[2:])),
            **self._receipt(uid),
        )
        self.rows["orders"].append(row)
        return row

    def accept(self, meter: int, offer: OrderRow, quantity_wh: int, mtu_start: int) -> AcceptanceRow:
        """Sign and receipt an acceptance of an offer."""
        self._salt += 1
        acceptance = Acceptance(
            owner=self.meters[meter].owner,
            meter=meter,
            offer_uid=offer.uid,
            mtu_start=mtu_start,
            quantity_wh=quantity_wh,
            salt=self._salt,
        )
        uid = acceptance_uid(self.domain, acceptance)
        row = AcceptanceRow(
            **{**vars(acceptance), "zone": self.meters[meter].zone, "uid": uid},
            signature=signed(self.who(meter), bytes.fromhex(uid[2:])),
            **self._receipt(uid),
        )
        self.rows["acceptances"].append(row)
        return row

    def cancel(self, row: OrderRow) -> None:
        digest = cancel_digest(self.domain, row.uid)
        self.rows["cancellations"].append(
            CancellationRow(
                uid=row.uid, signature=signed(self.who(row.meter), digest), **self._receipt("0x" + digest.hex())
            )
        )
        self.ended[row.uid] = self.market.clock

    def cancel_up_to(self, meter: int, salt: int) -> None:
        """Cancel all of an owner's orders up to a salt; offers with deals to come stay."""
        owner = self.meters[meter].owner
        digest, now = cancel_up_to_digest(self.domain, owner, salt), self.market.clock
        signature = signed(self.who(meter), digest)
        self.rows["bulk_cancellations"].append(
            BulkCancellationRow(owner=owner, salt=salt, signature=signature, **self._receipt("0x" + digest.hex()))
        )
        dealt = {row.offer_uid for row in self.rows["acceptances"] if self.gate(row.mtu_start) > now}
        for row in self.rows["orders"]:
            if row.owner == owner and row.salt <= salt and row.uid not in dealt:
                self.ended.setdefault(row.uid, now)

    def _receipt(self, uid: str) -> dict[str, Any]:
        self._number += 1
        block_hash, now = self.market.made[-1].block_hash, self.market.clock
        digest = receipt_digest(self.domain, uid, self._number, now, block_hash)
        return {
            "running_number": self._number,
            "received_at": now,
            "receipt_block_hash": block_hash,
            "receipt_signature": signed(self.market.market_operator, digest),
        }

    def gate(self, mtu_start: int) -> int:
        """Gate closure of an MTU."""
        return mtu_start - self.policy_parameters.gate_closure_s


def device_secret(meter: int) -> bytes:
    return f"secret of device {meter}".encode()


def signed(who: Actor, digest: bytes) -> bytes:
    recoverable = PrivateKey(bytes(who.account.key)).sign_recoverable(digest, hasher=None)
    return recoverable[:64] + bytes((recoverable[64] + 27,))
