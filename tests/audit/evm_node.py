"""A node's work in miniature over a market in an in-process EVM, by the market room's own rules."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from tests.audit.evm_desk import EvmDesk, MeterOf, device_secret
from tests.contracts.words import CHAIN_ID, MTU_LENGTH_S, Actor

from gridledger.audit.model import Slot
from gridledger.audit.rows import (
    AcceptanceRow,
    MeterEventRow,
    OrderRow,
    ReadingRow,
    SetpointRow,
)
from gridledger.chain.codec import ContractReverted
from gridledger.chain.commands import clearing_tuple
from gridledger.chain.plan import PolicyParameters
from gridledger.dispatch.salts import SeededSetpointSalts
from gridledger.dispatch.setpoints import Direction, make_setpoints, setpoints_root
from gridledger.market.auction import AuctionResult, BookPrice, clear
from gridledger.market.book import (
    Standing,
    auction_orders,
    book_hash,
    list_orders,
    listed_deals,
    ordered_net_wh,
    undealt_orders,
)
from gridledger.market.locking import Proposal, propose
from gridledger.market.model import (
    BookEntry,
    CashAccount,
    Ineligibility,
    MeterFacts,
    MtuPrices,
    Policy,
    Position,
    Trade,
)
from gridledger.market.packing import position_words, trade_word
from gridledger.market.pricing import reference_price, supply_and_demand
from gridledger.market.settlement import (
    refund_positions,
    settle_positions,
    substitute_positions,
)
from gridledger.merkle import MerkleTree
from gridledger.metering.events import MeterEvent, MeteringDomain, event_typed_data
from gridledger.metering.merkle import leaf
from gridledger.metering.model import Reading
from gridledger.metering.ocmf import sign_registers
from gridledger.metering.registers import RegisterReading, interval_reading
from gridledger.metering.salts import SeededSalts
from gridledger.metering.signed_reading import key_from_seed, public_key, sign
from gridledger.metering.texts import joined

__all__ = ["DAY_S", "LENGTH_S", "EvmNode", "Kept"]

LENGTH_S, DAY_S = 900, 86_400
SETPOINT_SALTS = SeededSetpointSalts(b"the salts of a day's setpoints")
SALTS = SeededSalts(b"the salts of a day in the EVM")


@dataclass(kw_only=True)
class Kept:
    """One chunk of a clearing as it stands."""

    any_price: int
    low_carbon_price: int
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...]
    trades: tuple[Trade, ...]
    trade_prices: tuple[int, ...]
    deal_count: int
    curtailed_wh: tuple[int, ...] = ()
    refunded: set[int] = field(default_factory=set)


class EvmNode(EvmDesk):
    """The node, its clients and its chain."""

    def __init__(self, first: int, policy: PolicyParameters, meters: Sequence[MeterOf]) -> None:
        super().__init__(first, policy, meters)
        self.books: dict[Slot, tuple[BookEntry, ...]] = {}
        self.fills: dict[Slot, Counter[str]] = {}
        self.kept: dict[Slot, list[Kept]] = {}
        self.setpoints: dict[Slot, tuple[SetpointRow, ...]] = {}
        self.curtailments: dict[Slot, int] = {}
        self.caps: dict[Slot, tuple[Direction, dict[int, int], int]] = {}

    # --- books and clearings --------------------------------------------------------------------------------------

    def close(self, zone: int, mtu_start: int) -> tuple[BookEntry, ...]:
        """At the gate: list the orders, commit the book, publish the price."""
        self.at(self.gate(mtu_start))
        receipted = sorted(self._receipted(zone, mtu_start), key=lambda row: row.running_number)
        policy, prices = self.policy(), self.prices(mtu_start)
        owners = {row.owner for row in receipted}
        standing = Standing(
            gate_closure=self.gate(mtu_start),
            accounts={owner: self._cash(owner) for owner in owners},
            suspended=frozenset(one for one in owners if self.market.view("EnergyTrading", "suspendedSince", one)),
            policy=policy,
            prices=prices,
            meters=self.meters,
            mtu_length_s=MTU_LENGTH_S,
        )
        book = list_orders([(row.running_number, row.signed()) for row in receipted], standing)
        self.books[Slot(zone, mtu_start)] = book
        supply_wh, demand_wh = supply_and_demand(undealt_orders(book, listed_deals(book)), prices)
        operator, committed = self.market.market_operator, bytes.fromhex(book_hash(book)[2:])
        self.market.send(operator, "EnergyTrading", "commitBook", zone, mtu_start, committed, len(book))
        self.market.send(operator, "EnergyPricing", "publish", zone, mtu_start, supply_wh, demand_wh)
        return book

    def match(self, zone: int, mtu_start: int) -> Proposal:
        """Clear the book in one chunk; orders the contract refuses are excluded."""
        slot = Slot(zone, mtu_start)
        while True:
            proposal = self.proposal(slot)
            try:
                root = self.commit_setpoints(slot, proposal.positions)
                clearing = clearing_tuple(zone, mtu_start, self.books[slot], proposal, root)
                self.market.send(self.market.market_operator, "EnergyTrading", "clear", clearing)
            except ContractReverted as refusal:
                self._exclude(slot, refusal)
                continue
            break
        self.keep(slot, proposal, {item.entry.uid: item.fill_wh for item in proposal.orders})
        return proposal

    def proposal(self, slot: Slot) -> Proposal:
        """What the book comes to."""
        book, prices = self.books[slot], self.prices(slot.mtu_start)
        deals = listed_deals(book)
        supply_wh, demand_wh = supply_and_demand(undealt_orders(book, deals), prices)
        orders = auction_orders(book, deals, self.meters, reference_price(prices, supply_wh, demand_wh))
        result = clear(orders, floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap)
        return propose(result, deals, book, self.meters, self.policy(), prices)

    def keep(self, slot: Slot, proposal: Proposal, fills_wh: Mapping[str, int]) -> None:
        """Keep a cleared chunk."""
        self.fills.setdefault(slot, Counter()).update(fills_wh)
        self.kept.setdefault(slot, []).append(
            Kept(
                any_price=proposal.any_price_cents_per_mwh,
                low_carbon_price=proposal.low_carbon_price_cents_per_mwh,
                positions=proposal.positions,
                deals=proposal.deals,
                trades=proposal.trades,
                trade_prices=proposal.trade_prices,
                deal_count=len(proposal.deals),
            )
        )

    def commit_setpoints(self, slot: Slot, positions: Sequence[Position]) -> bytes:
        """Make and keep the setpoints of a clearing with these positions; returns their root."""
        contracted, ordered = net_contracts(positions), ordered_net_wh(self.books[slot])
        made = make_setpoints(contracted, ordered, self._persisted_wh(slot))
        salts = {one.meter: SETPOINT_SALTS.salt_for(*slot, one.meter) for one in made}
        if positions:
            self.setpoints[slot] = tuple(
                SetpointRow(zone=slot.zone, mtu_start=slot.mtu_start, **vars(one), salt=salts[one.meter])
                for one in made
            )
        return setpoints_root(made, salts)

    def _persisted_wh(self, slot: Slot) -> dict[int, int]:
        """What meters did one day before."""
        return {
            row.meter: row.export_wh - row.import_wh
            for row in self.rows["readings"]
            if row.interval_start == slot.mtu_start - DAY_S and self.meters[row.meter].zone == slot.zone
        }

    def _receipted(self, zone: int, mtu_start: int) -> list[OrderRow | AcceptanceRow]:
        gate = self.gate(mtu_start)
        orders = [
            row
            for row in self.rows["orders"]
            if row.zone == zone
            and row.first_mtu_start <= mtu_start <= row.last_mtu_start
            and row.expiry >= gate
            and self.ended.get(row.uid, gate) >= gate
        ]
        accepted = [row for row in self.rows["acceptances"] if (row.zone, row.mtu_start) == (zone, mtu_start)]
        return [*orders, *accepted]

    def _exclude(self, slot: Slot, refusal: ContractReverted) -> None:
        subject: Any = refusal.arguments[0]
        reason = {
            "InsufficientFunds": Ineligibility.UNFUNDED,
            "AccountSuspended": Ineligibility.SUSPENDED,
            "OrderIsCancelled": Ineligibility.CANCELLED,
        }[refusal.name]
        key = "0x" + subject.hex() if isinstance(subject, bytes) else subject.lower()
        book = self.books[slot]
        named = {entry.uid for entry in book if entry.ineligible is None and key in (entry.uid, entry.owner.lower())}
        assert named, refusal
        self.books[slot] = tuple(replace(entry, ineligible=reason) if entry.uid in named else entry for entry in book)

    def keep_chunk(self, slot: Slot, part: Proposal, prior_wh: int, continued: frozenset[int]) -> None:
        """Keep a chunk of a clearing with one order per meter and no deals; later positions have energy before them."""
        several = chunked(part, self.meters, self.policy(), self.prices(slot.mtu_start))
        positions = tuple(
            replace(
                position,
                prior_wh=0 if position.sells else prior_wh,
                continued=position.meter in continued,
            )
            for position in several.positions
        )
        self.keep(slot, replace(several, positions=positions), {item.entry.uid: item.fill_wh for item in part.orders})

    def exchange(self, meter: int) -> None:
        """Replace a meter's device."""
        key = public_key(key_from_seed(device_secret(meter + 100)))
        self.market.send(self.market.grid_operator, "ParticipantRegistry", "replaceDeviceKey", meter, key.x, key.y)
        rows = self.rows["meters"]
        rows[meter - 1] = rows[meter - 1]._replace(device_key_x=key.x, device_key_y=key.y)

    # --- readings and settlements ---------------------------------------------------------------------------------

    def read(self, zone: int, mtu_start: int, net_wh: Mapping[int, int]) -> None:
        """Sign, anchor and keep readings; positive energy is exported."""
        signed_texts = []
        for meter, energy_wh in sorted(net_wh.items()):
            reading = Reading(
                meter=meter,
                meter_id=f"meter, no. {meter}",
                mtu_start=mtu_start,
                interval_s=LENGTH_S,
                import_wh=max(0, -energy_wh),
                export_wh=max(0, energy_wh),
                counter=mtu_start // LENGTH_S,
            )
            signed_texts.append((reading, sign(reading, key_from_seed(device_secret(meter)))))
        self._anchor(mtu_start, signed_texts)

    def read_across(
        self, zone: int, meter: int, start: RegisterReading, event: MeterEvent, end: RegisterReading
    ) -> None:
        """Anchor and keep the reading between two moments with the grid operator's event between them."""
        key = key_from_seed(device_secret(meter))
        text = joined(sign_registers(start, key), sign_registers(end, key))
        domain = MeteringDomain(chain_id=CHAIN_ID, meter_ledger=str(to_checksum_address(self.market.at["MeterLedger"])))
        document = encode_typed_data(full_message=event_typed_data(domain, event))
        signature = bytes(self.market.grid_operator.account.sign_message(document).signature)
        self.rows["meter_events"].append(MeterEventRow(**asdict(event), signature=signature))
        self._anchor(start.taken_at, [(interval_reading(start, end, [event]), text)])

    def _anchor(self, mtu_start: int, signed_texts: Sequence[tuple[Reading, str]]) -> None:
        _, sequence, _ = self.market.view("MeterLedger", "anchors")
        leaves = []
        for reading, text in signed_texts:
            salt = SALTS.salt_for(reading.meter, mtu_start)
            leaves.append(leaf(reading.meter, mtu_start, reading.import_wh, reading.export_wh, salt))
            row = ReadingRow(
                meter=reading.meter,
                meter_id=reading.meter_id,
                interval_start=mtu_start,
                interval_seconds=LENGTH_S,
                import_wh=reading.import_wh,
                export_wh=reading.export_wh,
                counter=reading.counter,
                anchor_sequence=sequence,
                salt=salt,
                text=text,
            )
            self.rows["readings"].append(row)
        root = MerkleTree(leaves).root
        self.market.send(self.market.relayer, "MeterLedger", "anchor", sequence, root, len(leaves))

    def settle(self, zone: int, mtu_start: int, net_wh: Mapping[int, int]) -> None:
        """Settle, or correct, the positions of these meters in every chunk."""
        for chunk, kept in enumerate(self.kept[Slot(zone, mtu_start)]):
            index_of = {position.meter: index for index, position in enumerate(kept.positions)}
            metered = {index_of[meter]: energy for meter, energy in net_wh.items() if meter in index_of}
            if metered:
                values = (list(metered), list(metered.values()))
                self._close(zone, mtu_start, chunk, "settle", self.market.market_operator, *values)
                kept.positions = settle_positions(kept.positions, metered)

    def register_texts(self, meter: int, mtu_start: int, export_wh: int) -> tuple[str, str]:
        """What a meter's device signs at both ends of an MTU in which it exports that much."""
        first, last = (
            RegisterReading(
                meter=meter,
                meter_id=f"meter, no. {meter}",
                taken_at=mtu_start + LENGTH_S * end,
                import_register_wh=10_000,
                export_register_wh=20_000 + export_wh * end,
                counter=mtu_start // LENGTH_S + end,
            )
            for end in (0, 1)
        )
        key = key_from_seed(device_secret(meter))
        return sign_registers(first, key), sign_registers(last, key)

    def settle_proven(self, mtu_start: int, net_wh: Mapping[int, int], zone: int = 1) -> None:
        """Settle what was proven, by somebody without any role."""
        (kept,) = self.kept[Slot(zone, mtu_start)]
        index_of = {position.meter: index for index, position in enumerate(kept.positions)}
        metered = {index_of[meter]: energy for meter, energy in net_wh.items()}
        self._close(zone, mtu_start, 0, "settleProven", self.market.outsider, list(metered))
        kept.positions = settle_positions(kept.positions, metered)

    def substitute(self, zone: int, mtu_start: int, chunk: int = 0) -> None:
        """Settle what is open on substitutes, by somebody without any role."""
        kept = self.kept[Slot(zone, mtu_start)][chunk]
        indexes = [index for index, position in enumerate(kept.positions) if not position.settled]
        self._close(zone, mtu_start, chunk, "settleSubstitutes", self.market.outsider, indexes)
        kept.positions = substitute_positions(kept.positions, indexes)

    def refund(self, zone: int, mtu_start: int, chunk: int = 0) -> None:
        """Refund what is open, by somebody without any role."""
        kept = self.kept[Slot(zone, mtu_start)][chunk]
        indexes = [index for index, position in enumerate(kept.positions) if not position.settled]
        self._close(zone, mtu_start, chunk, "refund", self.market.outsider, indexes)
        kept.positions = refund_positions(kept.positions, indexes)
        kept.refunded |= set(indexes)

    def _close(
        self, zone: int, mtu_start: int, chunk: int, function: str, caller: Actor, *values: Sequence[int]
    ) -> None:
        kept = self.kept[Slot(zone, mtu_start)][chunk]
        words, deals = position_words(kept.positions), [trade_word(deal) for deal in kept.deals]
        arguments = (zone, mtu_start, chunk, words, deals, *values)
        self.market.send(caller, "EnergySettlement", function, *arguments)

    # --- what the chain says --------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        names = Policy.__dataclass_fields__
        return Policy(**{name: value for name, value in vars(self.policy_parameters).items() if name in names})

    def prices(self, mtu_start: int) -> MtuPrices:
        prices = self.market.view("GridPolicy", "pricesAt", mtu_start)
        return MtuPrices(feed_in=prices["feedIn"], **{name: prices[name] for name in prices if name != "feedIn"})

    def _cash(self, owner: str) -> CashAccount:
        free, credit = self.market.view("EnergyTrading", "accountOf", owner)
        requested = self.market.view("EnergyTrading", "requestedBy", owner)
        return CashAccount(
            free_microcents=free,
            credit_microcents=credit,
            withdrawal_microcents=requested["withdrawalMicrocents"],
            withdrawal_at=requested["withdrawalAt"],
            cut_microcents=requested["cutMicrocents"],
            cut_at=requested["cutAt"],
        )


def net_contracts(positions: Sequence[Position]) -> Counter[int]:
    """Net contracted energy by meter, Wh, export positive."""
    net_wh: Counter[int] = Counter()
    for position in positions:
        net_wh[position.meter] += position.contracted_wh
    return net_wh


def chunked(part: Proposal, meters: Mapping[int, MeterFacts], policy: Policy, prices: MtuPrices) -> Proposal:
    """Positions and trades of the orders of one chunk alone."""
    book = BookPrice(
        price_cents_per_mwh=part.any_price_cents_per_mwh, lower_end_uid=None, upper_end_uid=None, volume_wh=0
    )
    fills = {item.entry.uid: item.fill_wh for item in part.orders}
    result = AuctionResult(merged=True, any=book, low_carbon=book, fills_wh=fills, welfare_microcents=0)
    return propose(result, (), [item.entry for item in part.orders], meters, policy, prices)
