"""The market operator's bond in the contract tests: receipts, claims, and clearings an operator made as it liked.

Energy in Wh, prices in cents per MWh, money in microcents, times in Unix seconds UTC.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.contracts.harness import (
    EUR,
    FIRST_MTU,
    ZONE,
    Actor,
    AnySigned,
    Market,
    Receipt,
    sign,
    uid_bytes,
)

from gridledger.chain.codec import ContractReverted
from gridledger.chain.commands import compact_signature
from gridledger.market.auction import AuctionResult
from gridledger.market.book import book_bytes, listed_deals
from gridledger.market.model import BookEntry, SignedAcceptance, SignedOrder
from gridledger.market.omission import (
    BookFacts,
    CommittedResult,
    Finding,
    Proof,
    Receipted,
    book_facts,
    committed_result,
    findings,
)
from gridledger.market.packing import acceptance_words, order_words
from gridledger.market.receipts import receipt_digest
from gridledger.units import floor_midpoint

__all__ = ["BOND_EUR", "FEE", "NO_ORDER_WORDS", "NO_RECEIPT", "STAKE", "BondWorld", "Cleared", "altered"]

BOND_EUR = 1_000
FLOOR, CAP = 8_000, 32_000  # of the default policy
FEE = STAKE = EUR
NO_RECEIPT = {"runningNumber": 0, "receivedAt": 0, "blockHash": bytes(32), "r": bytes(32), "vs": bytes(32)}
NO_ORDER_WORDS = {"terms": 0, "guard": 0, "r": bytes(32), "vs": bytes(32)}
NO_INTERVAL = {"lower": 0, "upper": 0}
NO_RESULT: Mapping[str, Any] = {
    "merged": False,
    "any": NO_INTERVAL,
    "lowCarbon": NO_INTERVAL,
    "terms": [],
    "stateHashes": [],
}
BLOCK_HASH = "0x" + "ab" * 32
CANCEL_FIELDS = (("orderUid", "bytes32"),)
CANCEL_UP_TO_FIELDS = (("owner", "address"), ("salt", "uint64"))


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """A committed book and, if it was cleared, the evidence of its result."""

    mtu_start: int = FIRST_MTU
    zone: int = ZONE
    book: bytes = b""
    facts: BookFacts = field(default_factory=lambda: BookFacts(lines=None, orders={}))
    committed: CommittedResult | None = None
    result: Mapping[str, Any] = field(default_factory=lambda: NO_RESULT)

    def findings(self, *receipts: Receipted) -> dict[tuple[Proof, str], Finding]:
        """What the node's rules say is provable."""
        return {(one.proof, one.uid): one for one in findings(self.facts, self.committed, receipts)}


class BondWorld:
    """A market with a funded bond."""

    def __init__(self, market: Market, bond_eur: int = BOND_EUR, mtu_start: int = FIRST_MTU) -> None:
        self.market = market
        self.mtu_start = mtu_start
        self.operator = market.market_operator
        self.terms = market.view("MarketBond", "bondTerms")
        market.watched.append(market.at["MarketBond"])
        if bond_eur:
            self.deposit(bond_eur * EUR)

    # --- money ----------------------------------------------------------------------------------------------------

    def fund(self, owner: Actor, amount_microcents: int) -> None:
        """Give settlement tokens and approve them for the bond."""
        self.market.send(self.market.bank, "SettlementToken", "issue", [owner.address], [amount_microcents])
        self.market.send(owner, "SettlementToken", "approve", self.market.at["MarketBond"], amount_microcents)

    def deposit(self, amount_microcents: int, operator: Actor | None = None) -> Receipt:
        """The operator's deposit."""
        self.fund(operator or self.operator, amount_microcents)
        return self.market.send(operator or self.operator, "MarketBond", "deposit", amount_microcents)

    def purse(self, owner: Actor) -> int:
        """Settlement tokens in somebody's own hands."""
        return int(self.market.view("SettlementToken", "balanceOf", owner.address))

    def bond(self) -> tuple[int, int]:
        """The bond and what is reserved of it."""
        bond, reserved = self.market.view("MarketBond", "bond")
        return int(bond), int(reserved)

    def assert_backed(self, open_challenges: int = 0) -> None:
        """The contract holds the bond and the stakes of open challenges, and nothing else."""
        held = self.market.view("SettlementToken", "balanceOf", self.market.at["MarketBond"])
        assert held == self.bond()[0] + open_challenges * STAKE

    @contextmanager
    def refuses(self, error: str, *arguments: object) -> Iterator[None]:
        """The call inside reverts with exactly that error and those values; nothing has changed."""
        before = self.market.fingerprint(), self.market.view("MarketBond", "bond")
        with pytest.raises(ContractReverted) as caught:
            yield
        assert (caught.value.name, caught.value.arguments) == (error, arguments)
        assert (self.market.fingerprint(), self.market.view("MarketBond", "bond")) == before

    # --- books and clearings --------------------------------------------------------------------------------------

    def gate(self) -> int:
        """Gate closure."""
        return self.mtu_start - self.market.policy.gate_closure_s

    def clearing_deadline(self) -> int:
        """Last moment of a clearing."""
        return self.market.rules().clearing_deadline(self.mtu_start)

    def close(self, signed: Sequence[AnySigned | BookEntry], *, publish: bool = False) -> Cleared:
        """Close the gate and commit the book."""
        market = self.market
        market.close_gate(self.mtu_start)
        market.commit_book(signed, self.mtu_start)
        reference = market.publish_price(signed, self.mtu_start) if publish else 0
        # A price of the clearing's own second comes too late to excuse anything.
        market.move_to(market.now + publish)
        book = market.book(signed)
        facts = book_facts(book, {entry.meter: market.facts(entry.meter) for entry in book}, reference)
        return Cleared(mtu_start=self.mtu_start, book=book_bytes(book), facts=facts)

    def clear(
        self,
        closed: Cleared,
        signed: Sequence[AnySigned | BookEntry],
        result: AuctionResult | None = None,
        *,
        reference_price: int = 0,
    ) -> Cleared:
        """Clear a committed book: honestly, or with another result that passes the trading contract's checks."""
        market = self.market
        made = result or market.auction(signed, self.mtu_start, reference_price)
        proposal = market.proposal(signed, result=made, mtu_start=self.mtu_start, reference_price=reference_price)
        clearing = market.clearing(signed, proposal, mtu_start=self.mtu_start)
        market.clear(clearing)
        prices, deals = market.prices(self.mtu_start), listed_deals(market.book(signed))
        committed = committed_result(made, deals, closed.facts, floor=prices.floor, cap=prices.cap)
        evidence = {
            "merged": committed.merged,
            "any": vars(committed.any_interval),
            "lowCarbon": vars(committed.low_carbon_interval),
            "terms": [[one["terms"] for one in clearing["orders"]]],
            "stateHashes": [market.view("EnergyTrading", "stateHashOf", ZONE, self.mtu_start, 0)],
        }
        return replace(closed, committed=committed, result=evidence)

    def cleared(
        self,
        signed: Sequence[AnySigned | BookEntry],
        result: AuctionResult | None = None,
        *,
        publish: bool = False,
    ) -> Cleared:
        """Close the gate, commit the book and clear it."""
        closed = self.close(signed, publish=publish)
        reference = self.market.view("EnergyPricing", "referencePrice", ZONE, self.mtu_start) if publish else 0
        return self.clear(closed, signed, result, reference_price=reference)

    # --- evidence -------------------------------------------------------------------------------------------------

    @staticmethod
    def words(signed: AnySigned) -> dict[str, Any]:
        """The contract's SignedOrder, without place and fill."""
        if isinstance(signed, SignedAcceptance):
            terms, guard = acceptance_words(signed.acceptance, book_index=0)
        else:
            terms, guard = order_words(signed.order, book_index=0, fill_wh=0)
        r, vs = compact_signature(signed.signature)
        return {"terms": terms, "guard": guard, "r": r, "vs": vs}

    def receipt(
        self, signed: AnySigned | bytes, number: int = 7, at: int | None = None, signer: Actor | None = None
    ) -> dict[str, Any]:
        """The market operator's receipt of an order or acceptance, or of a cancellation by its digest."""
        uid = "0x" + signed.hex() if isinstance(signed, bytes) else signed.uid
        received_at = self.gate() - 60 if at is None else at
        digest = receipt_digest(self.market.order_domain, uid, number, received_at, BLOCK_HASH)
        r, vs = compact_signature((signer or self.operator).sign_hash(digest))
        return {
            "runningNumber": number,
            "receivedAt": received_at,
            "blockHash": bytes.fromhex(BLOCK_HASH[2:]),
            "r": r,
            "vs": vs,
        }

    def post(self, signed: AnySigned, caller: Actor | None = None) -> Receipt:
        """Somebody brings a signed order to the chain."""
        words = self.words(signed)
        return self.market.send(caller or self.market.outsider, "MarketBond", "post", *words.values())

    def claim(
        self,
        signed: AnySigned,
        cleared: Cleared | None = None,
        *,
        other: AnySigned | None = None,
        receipt: Mapping[str, Any] = NO_RECEIPT,
        **changes: Any,
    ) -> dict[str, Any]:
        """The contract's Claim; any field can be changed."""
        evidence = cleared or Cleared(mtu_start=self.mtu_start)
        made = {
            "zone": evidence.zone,
            "mtuStart": evidence.mtu_start,
            "order": self.words(signed),
            "other": NO_ORDER_WORDS if other is None else self.words(other),
            "receipt": receipt,
            "book": evidence.book,
            "result": evidence.result,
        }
        return made | changes

    def challenge(self, owner: Actor, proof: Proof, claim: Mapping[str, Any], *, stake: bool = True) -> Receipt:
        """The owner's challenge, with its stake."""
        if stake:
            self.fund(owner, STAKE)
        return self.market.send(owner, "MarketBond", "challenge", int(proof), claim)

    def status(self, owner: Actor) -> int:
        """0 = none, 1 = open, 2 = paid."""
        return int(self.market.view("MarketBond", "challengeOf", owner.address, ZONE, self.mtu_start)["status"])

    def after_window(self) -> None:
        """Move past the response window that began now."""
        self.market.move_to(self.market.now + self.terms["responseWindowS"] + 1)

    def resolve(self, owner: Actor, caller: Actor | None = None) -> Receipt:
        """Somebody has the challenge paid."""
        arguments = (owner.address, ZONE, self.mtu_start)
        return self.market.send(caller or self.market.outsider, "MarketBond", "resolve", *arguments)

    def upheld(self, owner: Actor, proof: Proof, claim: Mapping[str, Any]) -> int:
        """A challenge nobody answers; returns what the owner is better off by, microcents."""
        before = self.purse(owner)
        self.challenge(owner, proof, claim)
        assert (self.status(owner), self.purse(owner)) == (1, before)
        self.assert_backed(open_challenges=1)
        self.after_window()
        self.resolve(owner)
        assert self.status(owner) == 2
        self.assert_backed()
        return self.purse(owner) - before - STAKE

    def cancel(self, owner: Actor, signed: AnySigned) -> tuple[bytes, bytes, bytes]:
        """An owner's signed cancellation: digest, r, vs."""
        made = sign(owner, "Cancel", CANCEL_FIELDS, {"orderUid": uid_bytes(signed)}, self._domain())
        return made.uid, made.r, made.vs

    def cancel_up_to(self, owner: Actor, salt: int) -> tuple[bytes, bytes, bytes]:
        """An owner's signed bulk cancellation: digest, r, vs."""
        message = {"owner": owner.address, "salt": salt}
        made = sign(owner, "CancelUpTo", CANCEL_UP_TO_FIELDS, message, self._domain())
        return made.uid, made.r, made.vs

    def _domain(self) -> dict[str, Any]:
        return self.market.domain("EnergyTrading", "gridledger")


def altered(
    honest: AuctionResult,
    fills: Mapping[SignedOrder, int] | None = None,
    *,
    lower: SignedOrder | None = None,
    upper: SignedOrder | None = None,
    merged: bool = True,
) -> AuctionResult:
    """A result with other fills, and an interval between these limit orders, of both books where there are two."""
    ends = [None if one is None else one.order.limit_cents_per_mwh for one in (lower, upper)]
    low, high = (outer if one is None else one for one, outer in zip(ends, (FLOOR, CAP), strict=True))
    price = replace(
        honest.any,
        price_cents_per_mwh=floor_midpoint(low, high),
        lower_end_uid=None if lower is None else lower.uid,
        upper_end_uid=None if upper is None else upper.uid,
    )
    filled = honest.fills_wh if fills is None else {one.uid: wh for one, wh in fills.items()}
    return replace(honest, merged=merged, any=price, low_carbon=price, fills_wh=filled)
