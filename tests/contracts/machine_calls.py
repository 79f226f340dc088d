"""The base of the random machine: one market, counted calls, and what plain Python knows of both.

What the contracts should hold follows from the node's own rules and from a ledger kept here. A call that should be
refused must be refused; a call that should be accepted must be. Energy in Wh, prices in cents per MWh, money in
microcents, times in Unix seconds.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from random import Random
from typing import Any

from coincurve import PrivateKey
from tests.contracts.accounts import PlainAccounts
from tests.contracts.fast_abi import arguments_encoder
from tests.contracts.harness import Market, compiled
from tests.contracts.machine_chunks import Part
from tests.contracts.setpoints import Setpoints
from tests.contracts.words import (
    ACKNOWLEDGED,
    CURTAILED,
    EUR,
    MTU_LENGTH_S,
    SOLAR,
    ZONE,
    Actor,
    AnySigned,
    Kept,
    Meter,
    Receipt,
    actor,
)

from gridledger.chain.codec import ContractCodec, ContractReverted
from gridledger.chain.plan import PolicyParameters
from gridledger.dispatch.setpoints import Direction
from gridledger.market.model import (
    MeterFacts,
    MtuPrices,
    Policy,
    Side,
    SignedOrder,
)
from gridledger.market.order_hash import OrderDomain

__all__ = [
    "MEMBERS",
    "METER_WH",
    "POLICY",
    "SOURCE_FACTOR",
    "CalledMarket",
    "Mtu",
    "Rules",
    "base_market",
    "call_encoder",
]

MEMBERS = 9
METER_W = 8_000
METER_WH = METER_W * MTU_LENGTH_S // 3_600
SOURCE_FACTOR = 41_000
POLICY = PolicyParameters(substitute_after_s=3 * MTU_LENGTH_S, correction_s=10 * MTU_LENGTH_S)
TWO_DAYS_S = 2 * 86_400
# What may be presented again by a thief of call data; all of it must be refused.
REPLAYED = {
    "commitBook",
    "publish",
    "clear",
    "answer",
    "curtail",
    "stop",
    "applyCaps",
    "settle",
    "settleSubstitutes",
    "refund",
    "anchor",
    "cancelUpTo",
    "postFeedIn",
    "publishGridFactors",
}


@cache
def base_market() -> tuple[Market, tuple[Meter, ...]]:
    """One market for all examples, each of which is taken back: members of two suppliers with some money."""
    market = Market(policy=POLICY, policy_delay_s=0)
    suppliers = (market.supplier, market.other_supplier)
    meters = tuple(
        market.register(
            actor(f"member {number}"),
            import_w=METER_W,
            export_w=METER_W,
            source=SOLAR if number % 2 == 0 else 0,
            supplier=suppliers[number % 2],
        )
        for number in range(MEMBERS)
    )
    for one in (*(meter.owner for meter in meters), *suppliers, market.grid_operator):
        market.fund(one, 1_000 * EUR)
    return market, meters


@cache
def call_encoder(contract: str, function: str) -> tuple[bytes, Callable[[Sequence[Any]], bytes]]:
    """Selector, and how to encode the arguments."""
    entries: list[Any] = list(compiled().contract(contract).abi)
    (entry,) = (one for one in entries if one.get("name") == function and one["type"] == "function")
    return ContractCodec(compiled().contract(contract)).selector(function), arguments_encoder(entry["inputs"])


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The policy of an MTU in both of its forms."""

    parameters: PolicyParameters
    policy: Policy

    @classmethod
    def of(cls, parameters: PolicyParameters) -> "Rules":
        """Both forms of the same rules."""
        return cls(
            parameters=parameters,
            policy=Policy(**{one.name: getattr(parameters, one.name) for one in fields(Policy)}),
        )

    def prices(self, feed_in: int | None) -> MtuPrices:
        """Prices with a posted feed-in tariff, or the fixed tariffs."""
        one = self.parameters
        low = one.feed_in_cents_per_mwh if feed_in is None else feed_in
        high = one.retail_cents_per_mwh if feed_in is None else feed_in + one.retail_adder_cents_per_mwh
        return MtuPrices(
            feed_in=low,
            retail=high,
            floor=low + one.floor_offset_cents_per_mwh,
            cap=high + one.cap_offset_cents_per_mwh,
            surplus=low + one.surplus_offset_cents_per_mwh,
            shortage=high + one.shortage_offset_cents_per_mwh,
        )


@dataclass(kw_only=True)
class Mtu:
    """One MTU: what was receipted for it, and how far it has come."""

    start: int
    rules: Rules
    prices: MtuPrices
    receipted: list[tuple[int, AnySigned]]
    sides: dict[int, Side]
    grid_factor: int
    load_wh: Counter[int] = field(default_factory=Counter)
    dealt_wh: Counter[str] = field(default_factory=Counter)
    twice: set[str] = field(default_factory=set)
    listed: bool = False
    reference: int | None = None
    cleared: bool = False
    second: Part | None = None
    prices_cleared: tuple[int, int] = (0, 0)
    chunks: list[Kept] = field(default_factory=list)
    bounds: list[tuple[int, ...]] = field(default_factory=list)
    fills_wh: Counter[str] = field(default_factory=Counter)
    setpoints: Setpoints = field(default_factory=lambda: Setpoints(()))
    answered: int | None = None
    curtailments: int = 0
    caps: dict[int, int] = field(default_factory=dict)
    direction: Direction = Direction.EXPORT
    reason: int = 0
    applied: int = 0

    @property
    def gate(self) -> int:
        """Gate closure."""
        return self.start - self.rules.policy.gate_closure_s

    @property
    def deadline(self) -> int:
        """Last moment of a clearing."""
        return self.rules.policy.clearing_deadline(self.start)

    @property
    def answer_deadline(self) -> int:
        """Last moment of an answer."""
        return self.start - self.rules.policy.answer_lead_s

    @property
    def end(self) -> int:
        """End of the MTU."""
        return self.start + MTU_LENGTH_S

    @property
    def open_positions(self) -> int:
        """Positions neither settled nor refunded."""
        return sum(not one.settled for kept in self.chunks for one in kept.positions)

    def outcome(self, now: int) -> str:
        """Where the dispatch stands: none, pending, proceeds, curtailed or void."""
        if not self.cleared or not any(kept.positions for kept in self.chunks):
            return "none"
        if self.answered is not None:
            return {ACKNOWLEDGED: "proceeds", CURTAILED: "curtailed"}.get(self.answered, "void")
        if now <= self.answer_deadline:
            return "pending"
        return "proceeds" if self.rules.policy.proceed_without_answer else "void"


class CalledMarket:
    """The market, its members, and what everybody should have."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.market, self.meters = base_market()
        self._checkpoint, self._began = self.market.evm.snapshot(), self.market.now
        self.domain = OrderDomain(chain_id=31_337, trading_contract=self.market.at["EnergyTrading"])
        suppliers = (self.market.supplier, self.market.other_supplier)
        self.suppliers = suppliers
        self.facts = {
            meter.number: MeterFacts(
                meter=meter.number,
                owner=meter.owner.address,
                supplier=suppliers[place % 2].address,
                supplier_number=1 + place % 2,
                zone=ZONE,
                import_capacity_w=METER_W,
                export_capacity_w=METER_W,
                source=meter.source,
            )
            for place, meter in enumerate(self.meters)
        }
        self.keys = {meter.number: PrivateKey(bytes(meter.owner.account.key)) for meter in self.meters}
        self.people: list[Actor] = [*(meter.owner for meter in self.meters), *suppliers]
        self.everybody = [*(one.address for one in self.people), self.market.grid_operator.address]
        self.ledger = PlainAccounts(
            free=dict.fromkeys(self.everybody, 0), credit=dict.fromkeys(self.everybody, 0), escrow=0
        )
        self.held = 0
        self.withdrawals: dict[str, tuple[int, int]] = {}
        self.cuts: dict[str, tuple[int, int]] = {}
        self.anchored_at = 0
        self.tokens: Counter[str] = Counter()
        self.owed: Counter[str] = Counter()  # tokens a correction could not take back
        self.versions: list[tuple[int, Rules]] = [(0, Rules.of(POLICY))]
        self.mtus: list[Mtu] = []
        self.standing: list[tuple[int, SignedOrder]] = []
        self.known: list[SignedOrder] = []
        self.cancelled_at: dict[str, int] = {}
        self.first_good: dict[str, list[tuple[int, int]]] = {}
        self.suspended: dict[str, int] = {}
        self.halted: set[int] = set()
        self.done: list[tuple[str, str, str, bytes]] = []
        self.salt, self.running = 0, 7
        self._views: dict[tuple[object, ...], tuple[str, bytes]] = {}

    def close(self) -> None:
        """Everything is taken back, for the next example."""
        self.market.evm.revert(self._checkpoint)
        self.market.move_to(self._began)

    @property
    def now(self) -> int:
        """Time of the present block."""
        return self.market.now

    def wait_until(self, moment: int) -> None:
        """Time never goes back."""
        self.market.move_to(max(self.now, moment))

    def call(self, caller: Actor, contract: str, function: str, *arguments: object) -> Receipt | str:
        """One counted transaction: its receipt, or the error's name."""
        selector, encode_arguments = call_encoder(contract, function)
        return self._transact(
            caller.address, self.market.at[contract], selector + encode_arguments(arguments), function
        )

    def _transact(self, caller: str, to: str, data: bytes, function: str) -> Receipt | str:
        self.counts["transactions"] += 1
        try:
            receipt = self.market.transact(caller, to, data)
        except ContractReverted as refusal:
            self.counts[f"{function}: {refusal.name}"] += 1
            return refusal.name
        self.counts[function] += 1
        if function in REPLAYED:
            self.done.append((caller, to, function, data))
        return receipt

    def do(self, caller: Actor, contract: str, function: str, *arguments: object) -> Receipt:
        """A transaction that must be accepted."""
        answer = self.call(caller, contract, function, *arguments)
        assert isinstance(answer, Receipt), f"{function} refused: {answer}"
        return answer

    def refused(
        self, caller: Actor, contract: str, function: str, *arguments: object, by: Collection[str] = (), lie: str = ""
    ) -> None:
        """A transaction that must be refused, by one of those errors where any are given."""
        answer = self.call(caller, contract, function, *arguments)
        assert isinstance(answer, str), f"{function} accepted: {lie}"
        assert not by or answer in by, f"{function}: {answer}, not {by}"

    def expect(self, reasons: Collection[str], caller: Actor, contract: str, function: str, *arguments: object) -> bool:
        """Accepted if there is no reason against it, else refused for one of them; says which."""
        if reasons:
            self.refused(caller, contract, function, *arguments, by=reasons)
        else:
            self.do(caller, contract, function, *arguments)
        return not reasons

    def words(self, contract: str, function: str, *arguments: object) -> tuple[int, ...]:
        """A counted view, as the words it returns."""
        key = (contract, function, *arguments)
        if key not in self._views:
            selector, encode_arguments = call_encoder(contract, function)
            data = selector + encode_arguments(arguments)
            self._views[key] = (self.market.at[contract], data)
        return self._shown(*self._views[key])

    def words_of(self, contract: str, function: str, *arguments: object) -> tuple[int, ...]:
        """As `words`, of arguments that come once."""
        selector, encode_arguments = call_encoder(contract, function)
        return self._shown(self.market.at[contract], selector + encode_arguments(arguments))

    def _shown(self, to: str, data: bytes) -> tuple[int, ...]:
        self.counts["views"] += 1
        shown = self.market.evm.message_call(caller=self.everybody[0], to=to, calldata=data, is_static=True)
        return tuple(int.from_bytes(shown[start : start + 32]) for start in range(0, len(shown), 32))

    def replay(self, rng: Random, count: int) -> None:
        """Accepted transactions sent again, byte for byte, by whoever sent them: refused, every one."""
        for caller, to, function, data in rng.sample(self.done, min(count, len(self.done))):
            self.counts["replayed"] += 1
            assert isinstance(self._transact(caller, to, data, function), str), f"{function} accepted twice"
