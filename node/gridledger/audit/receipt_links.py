"""What a trade receipt is checked against, and what the checks come to: one verdict for each link."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from gridledger.audit.ports import Event
from gridledger.audit.trade_receipt import Recorded

__all__ = ["CurtailmentPrices", "LinkReport", "Links", "MinedCall", "Problem", "ReceiptChain", "Verdict", "event_at"]


@dataclass(frozen=True, kw_only=True)
class MinedCall:
    """A transaction in the chain. `contract` and `function` are None where it calls no contract of the market itself.

    `arguments` are in the function's order; `events` those of the market's contracts, in the order of the log.
    """

    transaction_hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    contract: str | None
    function: str | None
    arguments: tuple[Any, ...]
    events: Sequence[Event]


@dataclass(frozen=True, kw_only=True)
class CurtailmentPrices:
    """What curtailed energy is worth in an MTU, cents per MWh; who bears replacement, two bits for each reason."""

    shortage: int
    fee: int
    relief: int
    replacement_bearers: int


class ReceiptChain(Protocol):
    """An endpoint of the chain; addresses are in EIP-55 form, hashes 0x hex."""

    def chain_id(self) -> int:
        """The chain id."""

    def genesis_hash(self) -> str:
        """Hash of block 0."""

    def code(self, contract: str) -> bytes:
        """Deployed code of one of the market's contracts, its constants left out."""

    def mined(self, transaction_hash: str) -> MinedCall | None:
        """A transaction, None where the chain has none of this hash."""

    def has_block(self, block_hash: str) -> bool:
        """Whether the chain has a block of this hash."""

    def meter(self, meter: int) -> tuple[str, int]:
        """Owner and source of a registered meter."""

    def grid_operator(self, zone: int) -> str:
        """The grid operator of a zone."""

    def is_market_operator(self, account: str) -> bool:
        """Whether the account signs, or has signed, receipts for the market operator."""

    def schedule_hash(self, zone: int, mtu_start: int) -> str:
        """What the dispatching contract keeps, zero where nothing was scheduled."""

    def recorded_caps(self, zone: int, mtu_start: int) -> tuple[str, int]:
        """Hash and direction of the caps that hold; zeros where there are none."""

    def applied_chunks(self, zone: int, mtu_start: int) -> int:
        """To how many chunks of a clearing the caps were applied."""

    def curtailment_prices(self, mtu_start: int) -> CurtailmentPrices:
        """Prices and rules for curtailed energy of an MTU."""

    def result_hash(self, zone: int, mtu_start: int) -> str:
        """What the trading contract keeps of a clearing."""


class Verdict(StrEnum):
    """What the chain says of a link: `open` where the receipt shows nothing that could be checked."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Where a link and the chain differ."""

    what: str
    expected: str
    found: str


@dataclass(kw_only=True)
class LinkReport:
    """One link with everything that is wrong about it; `why` it is open."""

    link: str
    problems: list[Problem] = field(default_factory=list)
    why: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the link holds."""
        if self.problems:
            return Verdict.FAILS
        return Verdict.HOLDS if self.why is None else Verdict.OPEN

    def compare(self, what: str, expected: object, found: object) -> bool:
        """Note a difference between what the chain says and what the receipt says; returns whether there is none."""
        if expected == found:
            return True
        self.problems.append(Problem(what=what, expected=str(expected), found=str(found)))
        return False

    def compare_values(self, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
        """Compare several values by name."""
        for name, value in expected.items():
            self.compare(name, value, found.get(name))


class Links:
    """The links of one receipt, in the order they are checked."""

    def __init__(self) -> None:
        self.reports: list[LinkReport] = []

    def begin(self, link: str, *, open_because: str | None = None) -> LinkReport:
        """A link that is about to be checked, or that shows nothing to check."""
        report = LinkReport(link=link, why=open_because)
        self.reports.append(report)
        return report

    @property
    def hold(self) -> bool:
        """Whether none fails."""
        return all(report.verdict is not Verdict.FAILS for report in self.reports)


def event_at(
    report: LinkReport, chain: ReceiptChain, recorded: Recorded, contract: str, name: str
) -> tuple[MinedCall, Event] | None:
    """The event at a stated place, None and problems where the chain has another there or none."""
    mined = chain.mined(recorded.transaction_hash)
    if mined is None:
        report.compare("transaction", "one of the chain", f"none of hash {recorded.transaction_hash}")
        return None
    report.compare("outcome of the transaction", expected=True, found=mined.succeeded)
    report.compare("block_number", mined.block_number, recorded.block_number)
    report.compare("block_hash", mined.block_hash, recorded.block_hash)
    event = next((one for one in mined.events if one.log_index == recorded.log_index), None)
    there = "none" if event is None else f"{event.contract}.{event.name}"
    same = report.compare(f"event at place {recorded.log_index}", there, f"{contract}.{name}")
    return (mined, event) if same and event is not None else None
