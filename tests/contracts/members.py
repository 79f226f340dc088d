"""Members of the market of the contract tests: meters, money, dispatch answers, and what the node's rules know of them.

Energy in Wh, prices in cents per MWh, money in microcents, carbon in micrograms.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tests.contracts.accounts import PlainAccounts
from tests.contracts.evm import DeployedMarket
from tests.contracts.words import (
    ACKNOWLEDGED,
    ANSWER_FIELDS,
    CHAIN_ID,
    EUR,
    FIRST_MTU,
    PERMIT_FIELDS,
    SOLAR,
    STOP_FIELDS,
    ZONE,
    Actor,
    Meter,
    Receipt,
    actor,
    device_key,
    sign,
)

from gridledger.chain.codec import keccak256
from gridledger.market.model import MeterFacts, MtuPrices, Policy
from gridledger.market.order_hash import OrderDomain

__all__ = ["WITHDRAWAL_DELAY_S", "Members"]

WITHDRAWAL_DELAY_S = 86_401  # half of the longest gate closure, and the second of the gate closure itself
ZERO_ADDRESS = "0x" + "00" * 20


class Members(DeployedMarket):
    """A deployed market and everything its members do but trade."""

    # --- members and money ----------------------------------------------------------------------------------------

    def register(self, owner: Actor, **options: Any) -> Meter:
        """Register one meter; options as `register_many`."""
        return self.register_many([owner], **options)[0]

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
        named = {one.address: one for one in owners}
        new = [one for one in named if self.view("ParticipantRegistry", "supplierOf", one) == ZERO_ADDRESS]
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
        self.watched += [one for one in named if one not in self.watched]
        return [Meter(number=first + place, owner=one, zone=zone, source=source) for place, one in enumerate(owners)]

    def producer(self, name: str, **options: Any) -> Meter:
        """A funded member with a solar meter."""
        return self._funded(name, {"import_w": 4_000, "export_w": 40_000, "source": SOLAR} | options)

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

    def request_withdrawal(self, owner: Actor, amount_microcents: int) -> Receipt:
        """Ask for free money now."""
        return self.send(owner, "EnergyTrading", "requestWithdrawal", amount_microcents)

    def withdraw(self, owner: Actor, amount_microcents: int) -> Receipt:
        """Money leaves now that was asked for just long enough ago."""
        now = self.now
        self.move_to(now - WITHDRAWAL_DELAY_S)
        self.request_withdrawal(owner, amount_microcents)
        self.move_to(now)
        return self.send(owner, "EnergyTrading", "withdraw")

    def cut_credit(self, owner: Actor, amount_microcents: int, supplier: Actor | None = None) -> Receipt:
        """Lower credit holds now that was asked for just long enough ago; somebody carries it out."""
        now = self.now
        self.move_to(now - WITHDRAWAL_DELAY_S)
        self.set_credit(owner, amount_microcents, supplier)
        self.move_to(now)
        return self.send(self.outsider, "EnergyTrading", "applyCreditCut", owner.address)

    def set_credit(self, owner: Actor, amount_microcents: int, supplier: Actor | None = None) -> Receipt:
        """A supplier's credit for its customer; a lower one is only noted."""
        return self.send(supplier or self.supplier, "EnergyTrading", "setCredit", [owner.address], [amount_microcents])

    def suspend(self, owner: Actor, *, suspended: bool = True) -> Receipt:
        """The regulator suspends or readmits a member."""
        return self.send(self.regulator, "EnergyTrading", "setSuspended", owner.address, suspended)

    def available(self, owner: Actor, gate_closure: int) -> int:
        """What the owner can lock for a gate, microcents."""
        return int(self.view("EnergyTrading", "availableFor", owner.address, gate_closure))

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

    def accounts(self) -> PlainAccounts:
        """All accounts as the contract has them; debts are left out."""
        shown = {one: self.view("EnergyTrading", "accountOf", one) for one in set(self.watched)}
        return PlainAccounts(
            free={one: free for one, (free, _) in shown.items()},
            credit={one: credit for one, (_, credit) in shown.items()},
            escrow=self.escrow(),
        )

    def assert_solvent(self) -> None:
        """What the contract holds is free, set aside behind credit, or in escrow; nobody is below the credit limit."""
        accounts = self.accounts()
        assert self.held() == sum(accounts.free.values()) + sum(accounts.credit.values()) + accounts.escrow
        assert all(free + accounts.credit[one] >= 0 for one, free in accounts.free.items())

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

    # --- what the rules know of the market ------------------------------------------------------------------------

    def domain(self, contract: str, name: str) -> dict[str, Any]:
        """EIP-712 domain of one of the contracts."""
        return {"name": name, "version": "1", "chainId": CHAIN_ID, "verifyingContract": self.at[contract]}

    @property
    def order_domain(self) -> OrderDomain:
        """Where orders are valid."""
        return OrderDomain(chain_id=CHAIN_ID, trading_contract=self.at["EnergyTrading"])

    def facts(self, meter: int) -> MeterFacts:
        """What the registry says of a meter."""
        shown = self.view("ParticipantRegistry", "meterOf", meter)
        suppliers = [one.lower() for one in self.parameters.suppliers]
        return MeterFacts(
            meter=meter,
            owner=shown["owner"],
            supplier=shown["supplier"],
            supplier_number=1 + suppliers.index(shown["supplier"]),
            zone=shown["zone"],
            import_capacity_w=shown["importCapacityW"],
            export_capacity_w=shown["exportCapacityW"],
            source=shown["source"],
        )

    def rules(self) -> Policy:
        """The policy as the market's rules read it."""
        return Policy(**{one.name: getattr(self.policy, one.name) for one in fields(Policy)})

    def prices(self, mtu_start: int = FIRST_MTU) -> MtuPrices:
        """The prices the contract holds for the MTU."""
        shown = self.view("GridPolicy", "pricesAt", mtu_start)
        return MtuPrices(
            feed_in=shown["feedIn"],
            retail=shown["retail"],
            floor=shown["floor"],
            cap=shown["cap"],
            surplus=shown["surplus"],
            shortage=shown["shortage"],
        )

    # --- dispatch and readings ------------------------------------------------------------------------------------

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

    def signed_stop(
        self, *, first_mtu_start: int = FIRST_MTU, mtu_count: int = 1, zone: int = ZONE, reason: int = 4, **changes: Any
    ) -> tuple[object, ...]:
        """Arguments of `EnergyDispatching.stop`; `signer` and `domain` can be changed."""
        signer: Actor = changes.get("signer", self.grid_operator)
        message = {"zone": zone, "firstMtuStart": first_mtu_start, "mtuCount": mtu_count, "reason": reason}
        domain = self.domain("EnergyDispatching", "gridledger-dispatch") | changes.get("domain", {})
        signed = sign(signer, "EmergencyStop", STOP_FIELDS, message, domain)
        return zone, first_mtu_start, mtu_count, reason, signed.r, signed.vs

    def stop(self, mtu_start: int = FIRST_MTU, *, mtu_count: int = 1, zone: int = ZONE, reason: int = 4) -> Receipt:
        """The grid operator's emergency stop, relayed by somebody without any role."""
        arguments = self.signed_stop(first_mtu_start=mtu_start, mtu_count=mtu_count, zone=zone, reason=reason)
        return self.send(self.outsider, "EnergyDispatching", "stop", *arguments)

    def anchor(self, sequence: int | None = None, *, root: bytes | None = None, count: int = 2) -> Receipt:
        """Anchor the next batch of readings, or one with this number."""
        if sequence is None:
            _, sequence, _ = self.view("MeterLedger", "anchors")
        root = keccak256(f"readings {sequence}".encode()) if root is None else root
        return self.send(self.relayer, "MeterLedger", "anchor", sequence, root, count)

    def deliver(self, mtu_start: int = FIRST_MTU, zone: int = ZONE) -> None:
        """Acknowledged, over and anchored: ready to settle."""
        self.answer(ACKNOWLEDGED, mtu_start=mtu_start, zone=zone)
        self.pass_mtu(mtu_start)
        self.anchor()
