"""Random lives of a market over the whole contract set, against a plain ledger and the node's own rules.

After every step: cash is conserved (tokens held = free + credit set aside + escrow, and the escrow is the locks of the
unsettled positions), every account, debt and token is what plain Python says, every kept position is what the rules
say, bit for bit. With every clearing: bought = sold, nobody trades beyond a signed limit or quantity over all chunks,
nor after expiry, cancellation or suspension. Whatever was accepted once is refused when sent again, and every lie of
`machine_attacks` is refused. Steps are drawn by hypothesis; what one step fills in follows from a seed it draws.

The normal suite sends at least 100,000 transactions besides all views, GRIDLEDGER_PROFILE=long many times that.
"""

import json
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.contracts.harness import compiled
from tests.contracts.machine_attacks import attack_clearing, attack_settlement
from tests.contracts.machine_calls import MEMBERS, Mtu, call_encoder
from tests.contracts.machine_world import World, state_hash
from tests.contracts.words import EUR, MTU_LENGTH_S, PARTIAL, ZONE

from gridledger.chain.codec import ContractCodec
from gridledger.market.settlement import trade_microcents

LONG = os.environ.get("GRIDLEDGER_PROFILE") == "long"
TWO_WORDS = 2**256
seeds = st.integers(0, 2**32 - 1)


TRANSACTIONS = 100_000
EXAMPLES = 120
UNHURRIED: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    # What a step fills in hangs on its seed, so that smaller seeds are no simpler lives.
    "phases": (Phase.explicit, Phase.generate),
    "report_multiple_bugs": False,
}
# A machine that never gets there proves nothing.
SEEN = (
    "cleared, one chunk, with energy",
    "cleared, one chunk, without energy",
    "cleared, chunk 0, with energy",
    "cleared, chunk 1, with energy",
    "cleared, meters going on",
    "cleared in separate books",
    "cleared with deals",
    "clear: AccountSuspended",
    "clear: InsufficientFunds",
    "clear: ClearingTooLate",
    "clear: ZoneHalted",
    "clear: OrderIsCancelled",
    "clear: OrderExpired",
    "clear: OrderOutsideMtu",
    "clear: OrderPresentedTwice",
    "attack: separate books called one",
    "attack: meters left hanging",
    "attack: unfunded",
    "attack: listed twice, filled at both lines",
    "cancel",
    "cancelUpTo",
    "cancelUpTo: SaltNotAscending",
    "deposit",
    "requestWithdrawal",
    "requestWithdrawal: InsufficientFunds",
    "withdraw",
    "withdraw: NothingRequested",
    "withdraw: RequestNotDue",
    "setCredit",
    "applyCreditCut",
    "applyCreditCut: RequestNotDue",
    "payDebt",
    "schedulePolicy",
    "setSuspended",
    "setHalted",
    "answer",
    "stop",
    "curtailed, in order",
    "curtailed, out of order",
    "curtailed, unchecked",
    "curtail: OrderOfCurtailmentBroken",
    "curtail: CapAboveSchedule",
    "curtail: NothingCurtailed",
    "curtail: SequenceDiffers",
    "caps applied",
    "caps that shrank trades",
    "caps paid for by the operator",
    "applyCaps: CurtailmentTooEarly",
    "applyCaps: CapsDiffer",
    "applyCaps: CapsAlreadyApplied",
    "applyCaps: ChunksOutOfSequence",
    "settle: CapsNotApplied",
    "settled",
    "corrected",
    "substituted",
    "refunded",
    "rewarded",
    "settle: CorrectionsEnded",
    "replayed",
)


class MarketMachine(RuleBasedStateMachine):
    """Members with a meter each; the even ones have solar panels, the odd ones generation without a source."""

    seen: ClassVar[Counter[str]] = Counter()
    world: World | None = None

    @initialize()
    def begin(self) -> None:
        """The base market, with empty books."""
        self.counts: Counter[str] = Counter(examples=1)
        self.world = World(self.counts)

    @property
    def market(self) -> World:
        """The world of this example."""
        assert self.world is not None
        return self.world

    def waiting(self) -> list[Mtu]:
        """MTUs whose gate is still to be closed."""
        return [mtu for mtu in self.market.mtus if not mtu.listed]

    def listed(self) -> list[Mtu]:
        """MTUs with a book that can still be cleared."""
        return [
            mtu for mtu in self.market.mtus if mtu.listed and not mtu.chunks and not mtu.cleared and self._early(mtu)
        ]

    def halfway(self) -> list[Mtu]:
        """MTUs with one chunk of two, the other of which can still come."""
        return [mtu for mtu in self.market.mtus if mtu.second is not None and self._early(mtu)]

    def _early(self, mtu: Mtu) -> bool:
        return self.market.now <= mtu.deadline

    def locked(self) -> list[tuple[Mtu, int]]:
        """Chunks with positions."""
        return [(mtu, at) for mtu in self.market.mtus for at, kept in enumerate(mtu.chunks) if kept.positions]

    # Few rules that each do much, and can all begin with an empty market: hypothesis leaves out some rules per example.

    @rule(seed=seeds, far=st.integers(0, 4))
    def trade(self, seed: int, far: int) -> None:
        """A new MTU, as far as it comes."""
        self._trade(self._random(seed), far)

    @rule(seed=seeds)
    def clear(self, seed: int) -> None:
        """A book left behind is cleared, a clearing begun is finished or abandoned, in spite of lies; or it is late."""
        rng, world = self._random(seed), self.market
        if not self.listed() and not self.halfway():
            self._trade(rng, 2)
        for mtu in [*self.listed(), *self.halfway()][-1:]:
            attack_clearing(world, rng, mtu, 10)
        self._meddle(rng, 1)
        self._clear(rng)
        late = [mtu for mtu in world.mtus if mtu.listed and not mtu.chunks and not mtu.cleared and not self._early(mtu)]
        if late and rng.random() < 0.1:
            world.clear(rng, late[-1], chunked=False)

    @rule(seed=seeds)
    def settle(self, seed: int) -> None:
        """Chunks are settled, substituted, corrected or refunded, as their time has come or not; thieves try too."""
        rng, world = self._random(seed), self.market
        if not self.locked():
            self._trade(rng, 4)
        if not self.locked():
            return
        for _ in range(8):
            self._settle(rng)
        attack_settlement(world, rng, *self._unsettled(rng), 7)

    @rule(seed=seeds, leap=st.sampled_from([False, False, False, True]))
    def meddle(self, seed: int, leap: bool) -> None:
        """Members move money and cancel, the regulator acts, thieves send again what they have seen."""
        rng = self._random(seed)
        if rng.random() < 0.5:
            self._trade(rng, 4)
        self._meddle(rng, 4)
        for _ in range(3 if self.locked() else 0):
            self._settle(rng)
        self.market.replay(rng, 15)
        if leap and not self.waiting() and not self.listed() and not self.halfway():
            self.market.wait_until(self.market.change_policy(rng) - rng.randint(1, 3) * MTU_LENGTH_S)

    def _random(self, seed: int) -> Random:
        """Hypothesis likes small seeds; the step makes each draw another one."""
        return Random(seed << 32 | self.counts["steps"])

    def _trade(self, rng: Random, far: int) -> None:
        """Orders, acceptances, cancellations, then as far as asked: the book, lies, a clearing, more of it."""
        world = self.market
        if not self.waiting() or (len(self.waiting()) == 1 and rng.random() < 0.3):
            mtu = world.open_mtu(rng)
            for _ in range(rng.choice([0, 1, 2, 4])):
                world.accept_offer(rng, mtu)
        self._meddle(rng, 1)
        if far > 0:
            self._close_the_gate(rng)
        if far > 1 and self.listed():
            attack_clearing(world, rng, self.listed()[-1], 8)
        if far > 2:
            self._clear(rng)

    def _meddle(self, rng: Random, count: int) -> None:
        for _ in range(count):
            rng.choice([self._move_money, self._move_money, self._regulate, self._cancel])(rng)

    def _move_money(self, rng: Random) -> None:
        """Somebody deposits, asks for money or takes it, a supplier sets credit or less of it, a debtor pays."""
        world, one = self.market, rng.choice(self.market.people)
        amount = rng.choice([1, rng.randint(1, 100), rng.randint(1, EUR // 5)])
        kind = rng.choice(["deposit", "deposit", "request", "withdraw", "credit", "cut", "debt"])
        if kind == "deposit":
            world.deposit(one, amount)
        elif kind == "request":
            world.request_withdrawal(one, rng.choice([0, amount, amount, 10 * EUR]))
        elif kind == "withdraw":
            asked = [person for person in world.people if person.address in world.withdrawals]
            world.withdraw(rng.choice([*asked, one]))
        elif kind == "cut":
            world.apply_credit_cut(rng.choice([*sorted(world.cuts), one.address]))
        elif kind == "debt":
            world.pay_debt(rng)
        else:
            place = rng.randrange(MEMBERS)
            right = world.suppliers[place % 2]
            supplier = right if rng.random() < 0.9 else rng.choice([*world.suppliers, one])
            world.set_credit(world.meters[place].owner.address, supplier, amount)

    def _regulate(self, rng: Random) -> None:
        """The regulator suspends or readmits, halts or resumes; mostly it puts things right again."""
        world = self.market
        if rng.random() < 0.7:
            owner = rng.choice(sorted(world.suspended) or [rng.choice(world.meters).owner.address])
            world.suspend(owner, suspended=rng.random() < 0.4)
        else:
            world.halt(
                rng.choice(sorted(world.halted) or [0, ZONE, ZONE + 1]), halted=not world.halted and rng.random() < 0.3
            )

    def _cancel(self, rng: Random) -> None:
        """Owners cancel one order, or all up to one."""
        (self.market.cancel_up_to if rng.random() < 0.15 else self.market.cancel)(rng)

    def _close_the_gate(self, rng: Random) -> None:
        """The earliest gate closes; a cancellation in that moment is too late for it."""
        mtu = self.waiting()[0]
        if mtu.gate - 1 > self.market.now and rng.random() < 0.3:
            self.market.wait_until(mtu.gate - rng.choice([0, 1]))
            self.market.cancel(rng)
        self.market.close_gate(rng, mtu)

    def _clear(self, rng: Random) -> None:
        """The oldest unfinished clearing goes on by one transaction or two."""
        world = self.market
        if not self.halfway() and self.listed():
            mtu = self.listed()[-1]
            world.clear(rng, mtu, chunked=rng.random() < 0.5)
            if rng.random() < 0.5:
                world.answer(rng, mtu)
        if not self.halfway() or rng.random() < 0.3:
            return
        mtu = self.halfway()[0]
        attack_clearing(world, rng, mtu, 8)
        if rng.random() < 0.15:
            self._abandon(rng, mtu)
        else:
            world.finish(mtu)

    def _abandon(self, rng: Random, mtu: Mtu) -> None:
        """The second chunk never comes: locks are given back, but not before it is too late for it."""
        world = self.market
        if mtu.chunks[0].positions:
            world.refund(rng, mtu, 0)
        world.wait_until(mtu.deadline + 1)
        world.finish(mtu)
        if mtu.chunks[0].positions:
            world.refund(rng, mtu, 0)

    def _settle(self, rng: Random) -> None:
        """One chunk goes on, at its time or not."""
        world = self.market
        mtu, chunk = self._unsettled(rng)
        if mtu.answered is None and rng.random() < 0.5:
            world.answer(rng, mtu)
        if rng.random() < 0.6 and not self._in_a_hurry(mtu.end):
            world.wait_until(mtu.end + rng.choice([0, 0, 1, 3 * MTU_LENGTH_S]))
        if world.now >= mtu.end and (world.anchored_at < mtu.end or rng.random() < 0.05):
            world.anchor(mtu)
        if mtu.second is not None and self._early(mtu):
            world.finish(mtu)
        if not mtu.cleared and rng.random() < 0.8 and not self._in_a_hurry(mtu.deadline + 1):
            world.wait_until(mtu.deadline + 1)
        late = world.now > mtu.end + mtu.rules.policy.correction_s
        proceeds = world.substitute if late and rng.random() < 0.8 else world.settle
        if mtu.outcome(world.now) == "curtailed":
            self._apply_caps(rng, mtu, chunk)
        act = {"void": world.refund, "none": world.refund}.get(mtu.outcome(world.now), proceeds)
        if rng.random() < 0.2:
            act = rng.choice([world.settle, world.substitute, world.refund, world.apply_caps])
        act(rng, mtu, chunk)

    def _apply_caps(self, rng: Random, mtu: Mtu, chunk: int) -> None:
        """Mostly to the next chunk, sometimes to one at a wrong time."""
        world = self.market
        if rng.random() < 0.1:
            world.apply_caps(rng, mtu, chunk)
        if mtu.applied < len(mtu.chunks) and rng.random() < 0.8:
            world.apply_caps(rng, mtu, mtu.applied)

    def _unsettled(self, rng: Random) -> tuple[Mtu, int]:
        """Mostly a chunk with open positions."""
        chunks = self.locked()
        still_open = [(mtu, at) for mtu, at in chunks if not all(one.settled for one in mtu.chunks[at].positions)]
        return rng.choice(still_open if still_open and rng.random() < 0.8 else chunks)

    def _in_a_hurry(self, until: int) -> bool:
        """Whether a book would miss its clearing meanwhile."""
        unfinished = [*self.waiting(), *self.listed(), *self.halfway()]
        return any(self.market.now <= mtu.deadline < until for mtu in unfinished)

    # --- invariants -----------------------------------------------------------------------------------------------

    @invariant()
    def cash_is_conserved(self) -> None:
        """From the contract alone: held = free + set aside + escrow, nobody is below the credit limit."""
        if self.world is None:
            return
        self.counts["steps"] += 1
        words = self.world.words
        accounts = [words("EnergyTrading", "accountOf", one) for one in self.world.everybody]
        shown = [(free - TWO_WORDS * (free >> 255), credit) for free, credit in accounts]
        (escrow,) = words("EnergyTrading", "escrowMicrocents")
        (held,) = words("SettlementToken", "balanceOf", self.world.market.at["EnergyTrading"])
        assert held == sum(free + credit for free, credit in shown) + escrow
        assert all(free + credit >= 0 for free, credit in shown)
        ledger = self.world.ledger
        assert shown == [(ledger.free[one], ledger.credit[one]) for one in self.world.everybody]
        assert (held, escrow) == (self.world.held, ledger.escrow)

    @invariant()
    def what_is_requested_counts_from_its_time_on(self) -> None:
        """Noted is what was asked for; it touches no gate that had closed before."""
        if self.world is None:
            return
        for one in (person.address for person in self.world.people):
            requested = (*self.world.withdrawals.get(one, (0, 0)), *self.world.cuts.get(one, (0, 0)))
            assert self.world.words("EnergyTrading", "requestedBy", one) == requested
            for gate in (requested[1], requested[1] + 1, requested[3] + 1):
                (available,) = self.world.words("EnergyTrading", "availableFor", one, gate)
                assert available - TWO_WORDS * (available >> 255) == self.world.available(one, gate)

    @invariant()
    def escrow_is_what_unsettled_positions_locked(self) -> None:
        """Less what settled sellers were paid before their buyers paid; nothing when all is settled."""
        if self.world is None:
            return
        expected = 0
        for mtu in self.world.mtus:
            for kept in mtu.chunks:
                escrow = sum(one.locked_microcents for one in kept.positions if not one.settled)
                if mtu.outcome(self.world.now) in ("proceeds", "curtailed"):
                    escrow -= sum(trade_microcents(one, *mtu.prices_cleared) for one in kept.positions if one.settled)
                assert escrow >= 0
                assert escrow == 0 or not all(one.settled for one in kept.positions)
                expected += escrow
        assert self.world.ledger.escrow == expected

    @invariant()
    def debts_and_tokens_are_those_of_the_ledger(self) -> None:
        """Debts to the unit; every low-carbon token stems from a reward."""
        if self.world is None:
            return
        words = self.world.words
        for (debtor, creditor), debt in self.world.ledger.debts.items():
            assert words("EnergyTrading", "debtOf", debtor, creditor) == (debt,)
        for one in self.world.everybody:
            assert words("LowCarbonToken", "balanceOf", one) == (self.world.tokens[one],)
            assert words("CarbonLedger", "owedUgco2Of", one) == (self.world.owed[one],)
        assert words("LowCarbonToken", "totalSupply") == (self.world.tokens.total(),)

    @invariant()
    def kept_is_what_the_rules_say(self) -> None:
        """State hashes of all chunks, and how many positions are open; settled ones change by versions only."""
        if self.world is None:
            return
        for mtu in self.world.mtus[-6:]:
            _, _, status, _, _, still_open, chunks, _ = self.world.words("EnergyTrading", "clearingOf", ZONE, mtu.start)
            assert (still_open, chunks) == (mtu.open_positions, len(mtu.chunks))
            assert (status == PARTIAL) == bool(mtu.chunks and not mtu.cleared)
            for kept in mtu.chunks:
                words = self.world.words("EnergyTrading", "stateHashOf", ZONE, mtu.start, kept.chunk)
                assert words == (state_hash(kept),)

    @invariant()
    def suspension_has_its_first_time(self) -> None:
        """Since when somebody is suspended is known to all."""
        if self.world is None:
            return
        for meter in self.world.meters:
            since = self.world.suspended.get(meter.owner.address, 0)
            assert self.world.words("EnergyTrading", "suspendedSince", meter.owner.address) == (since,)

    def teardown(self) -> None:
        """Remember what happened, and take it back."""
        if self.world is not None:
            self.seen.update(self.counts)
            self.world.close()


@pytest.mark.timeout(1_800)
class TestMarketMachine(MarketMachine.TestCase):  # type: ignore[misc, valid-type]
    """The same lives in every run."""

    settings = settings(max_examples=EXAMPLES, stateful_step_count=50, derandomize=True, **UNHURRIED)


@pytest.mark.long
@pytest.mark.timeout(14_400)
class TestMarketMachineLong(MarketMachine.TestCase):  # type: ignore[misc, valid-type]
    """Many more, other ones in every run."""

    settings = settings(max_examples=2_000 if LONG else 200, stateful_step_count=80, **UNHURRIED)


def test_the_machine_has_made_its_calls_and_seen_everything_it_is_there_for() -> None:
    if not MarketMachine.seen:
        pytest.skip("runs after the machine")
    seen = MarketMachine.seen
    record = os.environ.get("GRIDLEDGER_MACHINE_COUNTS")
    if record:
        Path(record).write_text(json.dumps(dict(sorted(seen.items())), indent=1))
    assert [one for one in SEEN if not seen[one]] == []
    assert seen["transactions"] >= TRANSACTIONS


ENCODED: list[tuple[str, str, tuple[object, ...]]] = [
    ("EnergyTrading", "accountOf", ("0x" + "ab" * 20,)),
    ("EnergyTrading", "setCredit", (["0x" + "01" * 20, "0x" + "02" * 20], [0, 2**80])),
    ("GridPolicy", "postFeedIn", (900, [-1, 1, -(2**63)])),
    ("LowCarbonToken", "retire", (5, "Bäckerei", "")),
    ("EnergySettlement", "settle", (1, 2, 3, [2**256 - 1, 0], [7], [0, 1], [-1, 1])),
    (
        "EnergyTrading",
        "applyOutcome",
        ((1, 2, 3, b"\1" * 32, b"\2" * 32, 4, "0x" + "03" * 20, 5, [2**256 - 6, 7]),),
    ),
    (
        "EnergyTrading",
        "clear",
        (
            (
                *(1, 2, 0, True, False, -3, 4, (5, 6), (7, 8), b"\t" * 40),
                *([b"\1" * 32], [(1, 2, b"\3" * 32, b"\4" * 32)], [], [9, 10], [11], b"\5" * 32),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("contract", "function", "arguments"), ENCODED, ids=[one[1] for one in ENCODED])
def test_the_fast_encoder_is_the_codec_s_twin(contract: str, function: str, arguments: tuple[object, ...]) -> None:
    selector, encode_arguments = call_encoder(contract, function)
    codec = ContractCodec(compiled().contract(contract))
    assert selector + encode_arguments(arguments) == codec.call_data(function, *arguments)
