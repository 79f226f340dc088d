"""The chain's own account of the market, replayed block by block from its events and the call data of clearings."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridledger.audit.dispatches import Stopped
from gridledger.audit.markets import Anchor, Committed, Market, Posted, Proven
from gridledger.audit.members import Members, Rules
from gridledger.audit.model import Slot
from gridledger.audit.money import Cash, TokenBook
from gridledger.audit.ports import ChainBlock, Event
from gridledger.audit.replay import CORRECTION, MarketReplay
from gridledger.market.packing import order_from_words
from gridledger.metering.balance import Transformer

__all__ = ["BlockFacts", "Cancellations", "History"]

ADMIN_ROLE = 0  # the access manager's own
DEBT = "debt"  # why CarbonLedger invalidates what a holder owed


@dataclass(frozen=True, kw_only=True)
class BlockFacts:
    """A block without its events; `earliest_s` is the least the node's clock can have shown when it was made.

    Blocks made within one second follow each other at one second each, so block times may run ahead of the clock.
    """

    number: int
    block_hash: str
    time_s: int
    earliest_s: int
    state_root: str | None
    transaction_hashes: tuple[str, ...]


class Cancellations:
    """Cancellations on chain; times are block times."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], int] = {}
        self._up_to: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def apply(self, event: Event, time_s: int) -> None:
        """Apply one event of the trading contract; others change nothing."""
        values = event.arguments
        if event.name == "OrderCancelled":  # the first moment counts
            self._at.setdefault((values["owner"], values["orderUid"]), time_s)
        elif event.name == "OrdersCancelled":
            self._up_to[values["owner"]].append((time_s, values["upToSalt"]))

    def cancelled_before(self, owner: str, uid: str, salt: int, gate_closure: int) -> bool:
        """Whether the owner had cancelled the order before a gate closure."""
        if self._at.get((owner, uid), gate_closure) < gate_closure:
            return True
        earlier = bisect_left(self._up_to.get(owner, []), (gate_closure, 0))
        return earlier > 0 and salt <= self._up_to[owner][earlier - 1][1]


class History:
    """State rebuilt from the chain. `odd` lists what no honest contract does in that state."""

    def __init__(self, mtu_length_s: int) -> None:
        self.odd: list[tuple[str, str]] = []
        self.members, self.rules = Members(), Rules()
        self.cash = Cash(self.odd, self.members.supplier_of)
        self.tokens = {"SettlementToken": TokenBook(), "LowCarbonToken": TokenBook()}
        self.cancellations = Cancellations()
        self.posted: dict[str, Posted] = {}
        self.anchors: list[Anchor] = []
        self.anchorer = ""
        self.templates: dict[int, str] = {}
        self.tokens_owed: Counter[str] = Counter()
        self.tokens_collected: Counter[str] = Counter()
        self.tokens_given_back: Counter[str] = Counter()
        self.transformers: defaultdict[int, list[tuple[int, Transformer]]] = defaultdict(list)
        self.proven: dict[tuple[int, int], Proven] = {}
        self.blocks: list[BlockFacts] = []
        self.role_members: defaultdict[int, dict[str, int]] = defaultdict(dict)
        self._role_changes: defaultdict[tuple[int, str], list[tuple[int, bool]]] = defaultdict(list)
        self.function_roles: dict[tuple[str, str], int] = {}
        self.first_admin: tuple[str, int] | None = None
        self.access_changes: list[str] = []
        self.authorities: dict[str, str] = {}
        self._replay = MarketReplay(
            self.members, self.rules, self.cash, self.tokens["LowCarbonToken"], mtu_length_s, self.odd
        )
        self.markets: defaultdict[Slot, Market] = self._replay.markets

    @property
    def stops(self) -> Sequence[Stopped]:
        """Every emergency stop, once, in their order."""
        return self._replay.dispatches.stops

    @property
    def head(self) -> BlockFacts:
        """The newest block."""
        return self.blocks[-1]

    def transformer_at(self, zone: int, block_number: int) -> Transformer | None:
        """The meter at a zone's transformer as it was known after a block."""
        known = [one for number, one in self.transformers.get(zone, ()) if number <= block_number]
        return known[-1] if known else None

    def add(self, block: ChainBlock) -> None:
        """Replay one block."""
        previous = self.blocks[-1] if self.blocks else None
        follows = previous is not None and block.time_s == previous.time_s + 1
        self.blocks.append(
            BlockFacts(
                number=block.number,
                block_hash=block.block_hash,
                time_s=block.time_s,
                earliest_s=previous.earliest_s if previous is not None and follows else block.time_s,
                state_root=block.state_root,
                transaction_hashes=block.transaction_hashes,
            )
        )
        self.cash.begin(block.number)
        self._replay.begin(block.calls)
        for event in block.events:
            self._apply(event, block.time_s)
        self._replay.finish()

    def _apply(self, event: Event, time_s: int) -> None:
        if event.name == "AuthorityUpdated":
            self.authorities[event.contract] = event.arguments["authority"]
            return
        match event.contract:
            case "ParticipantRegistry":
                self.members.apply(event)
            case "GridPolicy":
                self.members.apply(event)
                self.rules.apply(event)
            case "CarbonLedger":
                self.rules.apply(event)
                self._token_debt(event)
                self._replay.apply(event, time_s)
            case "SettlementToken":
                self.tokens[event.contract].apply(event)
            case "LowCarbonToken":
                self._token_debt(event)
                self.tokens[event.contract].apply(event)
                self._replay.apply(event, time_s)
            case "MarketAccessManager":
                self._role(event, time_s)
            case "EnergyTrading":
                self._trading(event, time_s)
            case "EnergySettlement" | "EnergyDispatching" | "EnergyCurtailment":
                self._replay.apply(event, time_s)
            case _:
                self._market_event(event, time_s)

    def _token_debt(self, event: Event) -> None:
        if event.name == "TokensOwed":
            self.tokens_owed[event.arguments["holder"]] += event.arguments["amountUgco2"]
        elif event.name == "TokensCollected":
            self.tokens_collected[event.arguments["holder"]] += event.arguments["amountUgco2"]
        elif event.name == "Invalidated" and event.arguments["reason"] == DEBT:
            self.tokens_given_back[event.arguments["holder"]] += event.arguments["amountUgco2"]
        elif event.name == "Invalidated" and event.arguments["reason"] != CORRECTION:
            self.odd.append((f"Invalidated in block {event.block_number}", event.arguments["reason"]))

    def held_role(self, role: int, account: str, moment: int) -> bool:
        """Whether an account was among the members of a role at a moment, Unix seconds."""
        changes = [granted for time_s, granted in self._role_changes[role, account] if time_s <= moment]
        return bool(changes) and changes[-1]

    def _role(self, event: Event, time_s: int) -> None:
        values = event.arguments
        if event.name == "RoleRevoked" or (event.name == "RoleGranted" and values["newMember"]):
            granted = event.name == "RoleGranted"
            since = values["since"] if granted else time_s
            self._role_changes[values["roleId"], values["account"]].append((since, granted))
        match event.name:
            case "RoleGranted":
                self.role_members[values["roleId"]][values["account"]] = values["delay"]
                if self.first_admin is None and values["roleId"] == ADMIN_ROLE:
                    self.first_admin = (values["account"], event.block_number)
            case "RoleRevoked":
                self.role_members[values["roleId"]].pop(values["account"], None)
            case "TargetFunctionRoleUpdated":
                self.function_roles[values["target"], values["selector"]] = values["roleId"]
            case _:
                self.access_changes.append(f"{event.name} in block {event.block_number}")

    def _trading(self, event: Event, time_s: int) -> None:
        values = event.arguments
        self.members.apply(event)
        self.cash.apply(event, time_s)
        self.cancellations.apply(event, time_s)
        self._replay.apply(event, time_s)
        if event.name == "BookCommitted":
            self._market(values).book = Committed(
                book_hash=values["bookHash"], order_count=values["orderCount"], block_number=event.block_number
            )

    def _market_event(self, event: Event, time_s: int) -> None:
        values = event.arguments
        match event.name:
            case "OrderPosted":
                order = order_from_words(values["terms"], values["guard"], values["owner"])
                self.posted[values["orderUid"]] = Posted(
                    posted_at=time_s, first_mtu_start=order.first_mtu_start, last_mtu_start=order.last_mtu_start
                )
            case "EligibilityRecorded":
                self._market(values).recorded[values["orderUid"]] = values["reason"]
            case "ReferencePricePublished":
                self._market(values).reference = (
                    values["priceCentsPerMwh"],
                    values["supplyWh"],
                    values["demandWh"],
                )
            case _:
                self._metering(event, time_s)

    def _metering(self, event: Event, time_s: int) -> None:
        values = event.arguments
        match event.name:
            case "ReadingsAnchored":
                self.anchors.append(
                    Anchor(
                        sequence=values["sequence"],
                        root=values["root"],
                        reading_count=values["readingCount"],
                        block_number=event.block_number,
                        time_s=time_s,
                    )
                )
            case "AnchorerAppointed":
                self.anchorer = values["anchorer"]
            case "TemplateRegistered":
                self.templates[values["meter"]] = values["templateHash"]
            case "TransformerSet":
                transformer = Transformer(
                    zone=values["zone"], meter=values["meter"], loss_tolerance_bp=values["lossToleranceBp"]
                )
                self.transformers[values["zone"]].append((event.block_number, transformer))
            case "ReadingProven":
                self.proven[values["meter"], values["mtuStart"]] = Proven(
                    zone=values["zone"], net_wh=values["netWh"], block_number=event.block_number
                )

    def _market(self, values: Mapping[str, Any]) -> Market:
        return self.markets[Slot(values["zone"], values["mtuStart"])]
