"""The node's clients on a day of trading: members who sign, and the grid operator who answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from coincurve import PrivateKey
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.app.node import Node
from gridledger.dispatch.model import Curtailment, EmergencyStop, stop_typed_data
from gridledger.dispatch.setpoints import Direction
from gridledger.market.model import Acceptance, Order, Pricing, Product, Side, SignedOrder
from gridledger.market.order_hash import acceptance_uid, cancel_digest, cancel_up_to_digest, order_uid
from gridledger.simulation.agents import order_body
from gridledger.simulation.community import Community, Member
from gridledger.simulation.devices import MeterDevice
from gridledger.simulation.input_readings import MeterReading
from gridledger.simulation.node_client import MarketFacts, NodeClient
from gridledger.simulation.operator_answers import acknowledgement_body, curtailment_body
from gridledger.simulation.transactions import ContractCaller, ContractCalls, include
from gridledger.units import format_utc

__all__ = ["BAKERY", "ENGINE", "HOUSEHOLD", "LENGTH_S", "OFFICE", "PRODUCER", "WORKSHOP", "Day"]

LENGTH_S = 900
PRODUCER, HOUSEHOLD, BAKERY, WORKSHOP, ENGINE, OFFICE = range(1, 7)
GAS = 2_000_000
SECRET_OF_NEW_DEVICE = b"the household's meter was exchanged"


@dataclass
class Day:
    """The node, and everybody who uses it."""

    node: Node
    client: NodeClient
    http: httpx.Client
    facts: MarketFacts
    calls: ContractCalls
    community: Community
    keys: Mapping[str, LocalAccount]
    callers: dict[str, ContractCaller] = field(default_factory=dict)
    salt: int = 0

    def member(self, meter: int) -> Member:
        return next(member for member in self.community.members if member.meters[0].number == meter)

    def transact(self, account: LocalAccount, nonce: int, contract: str, function: str, *arguments: object) -> None:
        """One call by whoever signs it; `nonce` is the account's first after joining."""
        caller = self.callers.setdefault(
            account.address, ContractCaller(account, self.calls, self.facts.chain_id, first_nonce=nonce)
        )
        include(self.client, [caller.call(GAS, contract, function, *arguments)], self.node.now)

    def order(
        self, meter: int, side: Side, quantity_wh: int, limit: int, mtu_start: int, **changes: Any
    ) -> SignedOrder:
        """Sign and post an order; `product`, `pricing` and `last_mtu_start` can be changed. It must be accepted."""
        member = self.member(meter)
        self.salt += 1
        last = changes.get("last_mtu_start", mtu_start)
        order = Order(
            owner=str(member.account.address),
            meter=meter,
            side=side,
            product=changes.get("product", Product.ANY),
            pricing=changes.get("pricing", Pricing.LIMIT),
            first_mtu_start=mtu_start,
            last_mtu_start=last,
            quantity_wh=quantity_wh,
            limit_cents_per_mwh=limit,
            expiry=last,
            salt=self.salt,
        )
        uid = order_uid(self.facts.order_domain, order)
        signed = SignedOrder(order=order, uid=uid, signature=_sign(member.account, bytes.fromhex(uid[2:])))
        assert self.client.post_orders([order_body(signed)]) == (None,)
        return signed

    def cancel(self, meter: int, signed: SignedOrder) -> None:
        signature = _sign(self.member(meter).account, cancel_digest(self.facts.order_domain, signed.uid))
        headers = {"gridledger-signature": "0x" + signature.hex()}
        self.http.delete(f"/v1/orders/{signed.uid}", headers=headers).raise_for_status()

    def cancel_up_to(self, meter: int, salt: int) -> None:
        account = self.member(meter).account
        signature = _sign(account, cancel_up_to_digest(self.facts.order_domain, account.address, salt))
        body = {"owner": account.address, "salt": str(salt), "signature": "0x" + signature.hex()}
        self.http.post("/v1/orders/cancellations", json=body).raise_for_status()

    def accept(self, meter: int, offer: SignedOrder, quantity_wh: int, mtu_start: int) -> None:
        """Sign and post an acceptance of an offer."""
        account = self.member(meter).account
        self.salt += 1
        acceptance = Acceptance(
            owner=str(account.address),
            meter=meter,
            offer_uid=offer.uid,
            mtu_start=mtu_start,
            quantity_wh=quantity_wh,
            salt=self.salt,
        )
        uid = acceptance_uid(self.facts.order_domain, acceptance)
        body: dict[str, Any] = {
            "owner": acceptance.owner,
            "meter": meter,
            "offer_uid": offer.uid,
            "mtu_start": format_utc(mtu_start),
            "quantity_kwh": f"{quantity_wh / 1000:.3f}",
            "salt": str(acceptance.salt),
            "signature": "0x" + _sign(account, bytes.fromhex(uid[2:])).hex(),
        }
        self.http.post("/v1/deals", json=body).raise_for_status()

    def acknowledge(self, mtu_start: int) -> None:
        """The grid operator acknowledges zone 1's schedule."""
        operator, schedule_hash = self.keys["grid_operator"], self._schedule_hash(mtu_start)
        body = acknowledgement_body(
            operator, self.facts.dispatch_domain, zone=1, mtu_start=mtu_start, schedule_hash=schedule_hash
        )
        self._answer("answers", body)

    def curtail(self, mtu_start: int, direction: Direction, caps_wh: Mapping[int, int], **changes: Any) -> None:
        """The grid operator caps meters of zone 1; `reason`, `emergency` and `sequence` can be changed."""
        values: dict[str, Any] = {"reason": 1, "emergency": False, "sequence": 0} | changes
        curtailment = Curtailment(
            zone=1,
            mtu_start=mtu_start,
            schedule_hash=self._schedule_hash(mtu_start),
            direction=direction,
            caps_wh=caps_wh,
            **values,
        )
        body = curtailment_body(self.keys["grid_operator"], self.facts.dispatch_domain, curtailment)
        self._answer("curtailments", body)

    def stop(self, mtu_start: int, reason: int) -> None:
        """The grid operator stops zone 1 for an MTU."""
        stop = EmergencyStop(zone=1, first_mtu_start=mtu_start, mtu_count=1, reason=reason)
        document = encode_typed_data(full_message=stop_typed_data(self.facts.dispatch_domain, stop))
        signature = "0x" + bytes(self.keys["grid_operator"].sign_message(document).signature).hex()
        body = {"zone": 1, "first_mtu_start": format_utc(mtu_start), "mtu_count": 1, "reason": reason}
        self._answer("stops", {**body, "signature": signature})

    def _answer(self, kind: str, body: Mapping[str, Any]) -> None:
        response = self.http.post(f"/v1/dispatch/{kind}", json=body)
        assert response.status_code == httpx.codes.ACCEPTED, response.text
        self.advance(self.node.now)

    def _schedule_hash(self, mtu_start: int) -> str:
        listed = self.http.get("/v1/dispatch/schedules").raise_for_status().json()["schedules"]
        return str(next(entry["schedule_hash"] for entry in listed if entry["mtu_start"] == mtu_start))

    def read(self, mtu_start: int, net_wh: Mapping[int, int], *, exchanged: bool = False) -> None:
        """Sign and post readings; positive energy is exported, negative imported.

        With the bakery's come those of the two meters that mostly do nothing.
        """
        texts = []
        idle = dict.fromkeys((ENGINE, OFFICE), 0) if BAKERY in net_wh else {}
        for meter, energy_wh in {**idle, **net_wh}.items():
            reading = MeterReading(
                meter_id=self.member(meter).meters[0].spec.meter_id,
                mtu_start=mtu_start,
                import_wh=max(0, -energy_wh),
                export_wh=max(0, energy_wh),
                consumption_wh=None,
                generation_wh=None,
            )
            texts.append(self.device(meter, exchanged=exchanged and meter == HOUSEHOLD).sign(reading))
        assert set(self.client.post_readings(texts)) == {None}

    def device(self, meter: int, *, exchanged: bool = False) -> MeterDevice:
        numbered = self.member(meter).meters[0]
        secret = SECRET_OF_NEW_DEVICE if exchanged else numbered.device_secret
        return MeterDevice(replace(numbered, device_secret=secret), LENGTH_S)

    def advance(self, moment: int) -> None:
        self.client.advance(moment)


def _sign(account: LocalAccount, digest: bytes) -> bytes:
    recoverable = PrivateKey(bytes(account.key)).sign_recoverable(digest, hasher=None)
    return recoverable[:64] + bytes((recoverable[64] + 27,))
