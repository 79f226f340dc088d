"""Gas of one full clearing and settlement on a real chain: 100 trades between 200 meters of 200 owners."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32

from gridledger.app.bench_chain import GENESIS_S, MTU_LENGTH_S, SEED, ZONE, BenchChain, bench_chain
from gridledger.chain.codec import ContractCodec
from gridledger.chain.commands import CommandEncoder, compact_signature
from gridledger.chain.compiler import load_artifacts
from gridledger.chain.keys import account_from_seed
from gridledger.chain.market_config import SOURCE_SOLAR
from gridledger.chain.plan import created_address
from gridledger.chain.roles import Role
from gridledger.chain.toolchain import contracts_root
from gridledger.dispatch.model import Answer, DispatchDomain, answer_typed_data
from gridledger.dispatch.setpoints import make_setpoints, setpoints_root
from gridledger.market.auction import clear
from gridledger.market.book import auction_orders, book_hash
from gridledger.market.locking import Proposal, propose
from gridledger.market.model import (
    BookEntry,
    MeterFacts,
    MtuPrices,
    Order,
    Policy,
    Pricing,
    Product,
    Side,
    SignedOrder,
)
from gridledger.market.order_hash import OrderDomain, order_uid
from gridledger.market.ports import CommitBook, SettlementKind, SettlePositions, SubmitClearing
from gridledger.market.tariffs import policy_of, prices_of
from gridledger.metering.anchoring import AnchorReadings
from gridledger.metering.signed_reading import key_from_seed, public_key

__all__ = ["GasPerTrade", "measure_gas"]

TRADES = 100
ENERGY_WH = 500
DEPOSIT_MICROCENTS = 10**11
FIRST_MTU_START = GENESIS_S + 9_000
METERS_PER_CALL = 25


@dataclass(frozen=True, kw_only=True)
class GasPerTrade:
    """Gas per trade of the clearing alone, of clearing, settlement and reward together, and of a plain contract."""

    clearing: int
    lifecycle: int
    plain: int


def measure_gas() -> GasPerTrade:
    """Run one MTU of 100 trades and divide what its clearing and its settlement used. Raises BenchFailed."""
    with bench_chain(_Bench) as bench:
        bench.join()
        bench.run_mtu(FIRST_MTU_START)  # so that every balance and counter is non-zero beforehand
        return bench.run_mtu(FIRST_MTU_START + 4 * MTU_LENGTH_S)


class _Bench(BenchChain):
    def join(self) -> None:
        """Admit, register and fund 200 owners with a meter each; balances are non-zero afterwards."""
        owners = [account_from_seed(SEED, f"owner {number}") for number in range(2 * TRADES)]
        self.owners = owners
        grid_operator, bank = self.keystore.load("grid_operator"), self.keystore.load("bank")
        supplier = self.keystore.load("supplier")
        addresses = [owner.address for owner in owners]
        device = public_key(key_from_seed(b"device of the gas benchmark"))
        registrations = [(address, ZONE, 9_000, 9_000, SOURCE_SOLAR, device.x, device.y) for address in addresses]
        calls: list[tuple[LocalAccount, str, str, tuple[object, ...]]] = [
            (grid_operator, "ParticipantRegistry", "admitParticipants", (addresses, supplier.address))
        ]
        for begin in range(0, len(registrations), METERS_PER_CALL):
            chunk = registrations[begin : begin + METERS_PER_CALL]
            calls.append((grid_operator, "ParticipantRegistry", "registerMeters", (chunk,)))
        holders = [*addresses, supplier.address]
        calls.append((bank, "SettlementToken", "issue", (holders, [DEPOSIT_MICROCENTS] * len(holders))))
        for member in (*owners, supplier):
            trading = self.client.address("EnergyTrading")
            calls.append((member, "SettlementToken", "approve", (trading, DEPOSIT_MICROCENTS)))
            calls.append((member, "EnergyTrading", "deposit", (DEPOSIT_MICROCENTS,)))
        for begin in range(0, len(calls), 50):
            self.mine(GENESIS_S + 10 + begin, [self.signed_call(*call) for call in calls[begin : begin + 50]])

    def run_mtu(self, mtu_start: int) -> GasPerTrade:
        """Book, clearing, answer, anchor and settlement of one MTU."""
        self.mtu_start = mtu_start
        signers = {role: self.config.account(role) for role in (Role.MARKET_OPERATOR, Role.RELAYER)}
        self.encoder = CommandEncoder(self.client, signers)
        book = self.book()
        proposal = self.proposal(book)
        at = mtu_start - 300
        commit = CommitBook(zone=ZONE, mtu_start=mtu_start, book_hash=book_hash(book), order_count=len(book))
        self.submit(at, commit)
        command = SubmitClearing(
            zone=ZONE, mtu_start=mtu_start, book=book, proposal=proposal, setpoints_root=_setpoints_root(proposal)
        )
        clearing = self.submit(at + 1, command)
        self.answer(at + 2)
        _, sequence, _ = self.client.view("MeterLedger", "anchors")
        anchor = AnchorReadings(sequence=sequence, root="0x" + "11" * 32, reading_count=2 * TRADES)
        self.submit(mtu_start + MTU_LENGTH_S, anchor)
        settlement = self.submit(mtu_start + MTU_LENGTH_S + 1, _settlement(mtu_start, proposal))
        return GasPerTrade(
            clearing=clearing // TRADES, lifecycle=(clearing + settlement) // TRADES, plain=self.plain_trade(mtu_start)
        )

    def plain_trade(self, mtu_start: int) -> int:
        """Gas of one trade in a contract that does it the plain way: bid, offer, settlement, balances non-zero."""
        artifacts = load_artifacts(contracts_root() / "bench", contracts_root() / "build" / "bench")
        codec = ContractCodec(artifacts.contract("PlainExchange"))
        buyer, seller = self.owners[0], self.owners[1]
        at = mtu_start + 2 * MTU_LENGTH_S
        address = created_address(buyer.address, self.nonces.get(buyer.address, 0))
        self.mine(at, [self.signed(buyer, None, codec.creation_data())])
        self.mine(at + 1, [self.signed(owner, address, codec.call_data("fund", 10**12)) for owner in (buyer, seller)])
        terms = [(buyer, False, 30_000), (seller, True, 9_000)]
        gas = 0
        for moment, first in ((at + 10, 0), (at + 20, 2)):  # the first round makes every slot non-zero
            posts = [
                self.signed(owner, address, codec.call_data("post", sells, ENERGY_WH, limit))
                for owner, sells, limit in terms
            ]
            settle = self.signed(seller, address, codec.call_data("settle", first, first + 1))
            gas = self.mine(moment, [*posts, settle])
        return gas

    def book(self) -> tuple[BookEntry, ...]:
        """One offer or bid per owner, offers first."""
        domain = OrderDomain(chain_id=self.config.chain_id, trading_contract=self.client.address("EnergyTrading"))
        entries: list[BookEntry] = []
        for number, owner in enumerate(self.owners):
            sells = number < TRADES
            order = Order(
                owner=owner.address,
                meter=number + 1,
                side=Side.SELL if sells else Side.BUY,
                product=Product.ANY,
                pricing=Pricing.LIMIT,
                first_mtu_start=self.mtu_start,
                last_mtu_start=self.mtu_start,
                quantity_wh=ENERGY_WH,
                limit_cents_per_mwh=9_000 + number if sells else 30_000 - number,
                expiry=self.mtu_start,
                salt=number,
            )
            uid = order_uid(domain, order)
            signature = bytes(owner.unsafe_sign_hash(Hash32(bytes.fromhex(uid[2:]))).signature)
            entries.append(
                BookEntry(running_number=number + 1, signed=SignedOrder(order=order, uid=uid, signature=signature))
            )
        return tuple(entries)

    def proposal(self, book: Sequence[BookEntry]) -> Proposal:
        """The auction's result for the contract."""
        policy, prices = self.rules()
        meters = {
            number + 1: MeterFacts(
                meter=number + 1,
                owner=owner.address,
                supplier=self.config.suppliers[0],
                supplier_number=1,
                zone=ZONE,
                import_capacity_w=9_000,
                export_capacity_w=9_000,
                source=SOURCE_SOLAR,
            )
            for number, owner in enumerate(self.owners)
        }
        orders = auction_orders(book, (), meters, prices.feed_in)
        result = clear(orders, floor_cents_per_mwh=prices.floor, cap_cents_per_mwh=prices.cap)
        return propose(result, (), book, meters, policy, prices)

    def rules(self) -> tuple[Policy, MtuPrices]:
        """The contract's own rules for the MTU and their prices; no feed-in price is posted."""
        values: dict[str, Any] = self.client.view("GridPolicy", "policyAt", self.mtu_start)[0]
        return policy_of(values), prices_of(values, None)

    def answer(self, time_s: int) -> None:
        """The grid operator acknowledges."""
        contract = self.client.address("EnergyDispatching")
        schedule_hash = "0x" + self.client.view("EnergyDispatching", "scheduleHashOf", ZONE, self.mtu_start).hex()
        domain = DispatchDomain(chain_id=self.config.chain_id, dispatching_contract=contract)
        document = encode_typed_data(full_message=answer_typed_data(domain, ZONE, self.mtu_start, schedule_hash, 0))
        grid_operator, relayer = self.keystore.load("grid_operator"), self.keystore.load("relayer")
        signature = bytes(Account.sign_message(document, grid_operator.key).signature)
        arguments = (ZONE, self.mtu_start, int(Answer.ACKNOWLEDGED), 0, *compact_signature(signature))
        self.mine(time_s, [self.signed_call(relayer, "EnergyDispatching", "answer", arguments)])

    def submit(self, time_s: int, command: CommitBook | SubmitClearing | AnchorReadings | SettlePositions) -> int:
        """Encode, sign and mine a command; its gas."""
        call = self.encoder.encode(command)
        name = "relayer" if call.signer == self.config.account(Role.RELAYER) else "market_operator"
        return self.mine(time_s, [self.signed(self.keystore.load(name), call.to_address, call.data)])


def _settlement(mtu_start: int, proposal: Proposal) -> SettlePositions:
    return SettlePositions(
        zone=ZONE,
        mtu_start=mtu_start,
        chunk=0,
        kind=SettlementKind.READINGS,
        positions=proposal.positions,
        deals=proposal.deals,
        indexes=tuple(range(len(proposal.positions))),
        metered_wh=tuple(position.contracted_wh for position in proposal.positions),
    )


def _setpoints_root(proposal: Proposal) -> str:
    """Root of setpoints without residuals, as a clearing on a first day has them."""
    rows = make_setpoints({one.meter: one.contracted_wh for one in proposal.positions}, {}, {})
    return "0x" + setpoints_root(rows, {row.meter: row.meter.to_bytes(32) for row in rows}).hex()
