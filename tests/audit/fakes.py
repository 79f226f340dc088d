"""Fakes of the audit's ports: an export in memory that can be tampered with, and a chain recorded once."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from gridledger.audit.evidence import MarketFacts, read_export
from gridledger.audit.findings import Findings
from gridledger.audit.formats import MANIFEST, csv_line, csv_values
from gridledger.audit.model import AuditReport
from gridledger.audit.ports import Chain, ChainBlock, ChainCall, FileUnreadable, StateUnavailable
from gridledger.audit.service import audit_run
from gridledger.relay import ChainEvent

__all__ = ["MemoryFiles", "RecordedChain", "judge", "record"]

T = TypeVar("T")


@dataclass
class MemoryFiles:
    """Files by name."""

    content: dict[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> "MemoryFiles":
        return cls({path.name: path.read_bytes() for path in folder.iterdir()})

    def names(self) -> frozenset[str]:
        return frozenset(self.content)

    def lines(self, name: str) -> Iterator[bytes]:
        if name not in self.content:
            raise FileUnreadable(name=name, reason="No such file or directory")
        yield from self.content[name].splitlines(keepends=True)

    def copy(self) -> "MemoryFiles":
        return MemoryFiles(dict(self.content))

    def write_to(self, folder: Path) -> Path:
        folder.mkdir()
        for name, content in self.content.items():
            (folder / name).write_bytes(content)
        return folder

    def table(self, name: str) -> list[list[str]]:
        """Rows of a CSV file as texts, the header first."""
        return [csv_values(line) for line in self.content[name].decode().splitlines()]

    def put_table(self, name: str, rows: list[list[str]]) -> None:
        self.content[name] = "".join(csv_line(row) for row in rows).encode()

    def document(self, name: str) -> Any:
        return json.loads(self.content[name])

    def put_document(self, name: str, document: object) -> None:
        self.content[name] = json.dumps(document, indent=1).encode() + b"\n"

    def seal(self) -> "MemoryFiles":
        """Make the manifest agree with the tampered files, as a careful forger would."""
        manifest = self.document(MANIFEST)
        for name, entry in manifest["files"].items():
            content = self.content.get(name, b"")
            entry["sha256"] = hashlib.sha256(content).hexdigest()
            if name.endswith(".csv"):
                entry["rows"] = len(content.splitlines()) - 1
            elif name.endswith(".jsonl"):
                entry["rows"] = len(content.splitlines())
        self.put_document(MANIFEST, manifest)
        return self


@dataclass(frozen=True, kw_only=True)
class RecordedChain:
    """A chain's answers, kept; tests change copies of them."""

    recorded_chain_id: int
    recorded_mtu_length_s: int
    recorded_blocks: tuple[ChainBlock, ...]
    accounts: Mapping[str, tuple[int, int]]
    escrow: int
    debts: Mapping[tuple[str, str], int]
    kept: Mapping[tuple[int, int, int], str]
    supplies: Mapping[str, int]
    balances: Mapping[tuple[str, str], int]
    codes: Mapping[str, bytes]
    proven: Mapping[tuple[int, int], int | None]
    proven_counts: Mapping[tuple[int, int], int]
    templates: Mapping[int, str]
    transformers: Mapping[int, tuple[int, int]]
    owed: Mapping[str, int]
    unanswered: frozenset[str] = field(default=frozenset())

    def chain_id(self) -> int:
        return self.recorded_chain_id

    def mtu_length_s(self) -> int:
        return self._answer("mtu_length_s", lambda: self.recorded_mtu_length_s)

    def blocks(self, last: int) -> Iterator[ChainBlock]:
        yield from self.recorded_blocks[: last + 1]

    def account(self, address: str) -> tuple[int, int]:
        return self._answer("account", lambda: self.accounts.get(address, (0, 0)))

    def escrow_microcents(self) -> int:
        return self._answer("escrow", lambda: self.escrow)

    def debt_microcents(self, debtor: str, creditor: str) -> int:
        return self._answer("debt", lambda: self.debts.get((debtor, creditor), 0))

    def proven_net_wh(self, meter: int, mtu_start: int) -> int | None:
        return self._answer("proven", lambda: self.proven.get((meter, mtu_start)))

    def proven_count(self, zone: int, mtu_start: int) -> int:
        return self._answer("proven count", lambda: self.proven_counts.get((zone, mtu_start), 0))

    def template(self, meter: int) -> str:
        return self._answer("template", lambda: self.templates.get(meter, "0x" + "00" * 32))

    def transformer(self, zone: int) -> tuple[int, int]:
        return self._answer("transformer", lambda: self.transformers.get(zone, (0, 0)))

    def owed_ugco2(self, holder: str) -> int:
        return self._answer("tokens owed", lambda: self.owed.get(holder, 0))

    def state_hash(self, zone: int, mtu_start: int, chunk: int) -> str:
        return self._answer("state hash", lambda: self.kept.get((zone, mtu_start, chunk), "0x" + "0" * 64))

    def token_supply(self, token: str) -> int:
        return self._answer(f"supply of {token}", lambda: self.supplies[token])

    def token_balance(self, token: str, address: str) -> int:
        return self._answer(f"balance of {token}", lambda: self.balances.get((token, address), 0))

    def code(self, contract: str) -> bytes:
        return self._answer("code", lambda: self.codes[contract])

    def with_events(self, change: Callable[[ChainEvent], list[ChainEvent]]) -> "RecordedChain":
        """The same chain with each event replaced by what `change` makes of it."""
        blocks = tuple(
            replace(block, events=tuple(changed for event in block.events for changed in change(_of_chain(event))))
            for block in self.recorded_blocks
        )
        return replace(self, recorded_blocks=blocks)

    def with_calls(self, change: Callable[[ChainCall], list[ChainCall]]) -> "RecordedChain":
        """The same chain with each call replaced by what `change` makes of it."""
        blocks = tuple(
            replace(block, calls=tuple(changed for call in block.calls for changed in change(call)))
            for block in self.recorded_blocks
        )
        return replace(self, recorded_blocks=blocks)

    def calls(self) -> list[ChainCall]:
        return [call for block in self.recorded_blocks for call in block.calls]

    def events(self) -> list[ChainEvent]:
        return [_of_chain(event) for block in self.recorded_blocks for event in block.events]

    def _answer(self, question: str, answer: Callable[[], T]) -> T:
        if question in self.unanswered:
            raise StateUnavailable(question=question, reason="the test says so")
        return answer()


def record(chain: Chain, last: int, facts: MarketFacts) -> RecordedChain:
    """Ask a chain everything an audit can ask."""
    blocks = tuple(chain.blocks(last))
    text = json.dumps([[event.arguments for event in block.events] for block in blocks], default=str)
    addresses = sorted({word for word in text.split('"') if word.startswith("0x") and len(word) == 42})
    tokens = ("SettlementToken", "LowCarbonToken")
    events = [event for block in blocks for event in block.events]
    owed = {
        (event.arguments["debtor"], event.arguments["creditor"]) for event in events if event.name == "DebtRecorded"
    }
    chunks = [
        (event.arguments["zone"], event.arguments["mtuStart"], event.arguments["chunk"])
        for event in events
        if event.name == "MarketCleared"
    ]
    meters = [event.arguments["meter"] for event in events if event.name == "MeterRegistered"]
    zones = [event.arguments["zone"] for event in events if event.name == "ZoneRegistered"]
    disputes = [event.arguments for event in events if event.name == "ReadingProven"]
    slots = {(zone, mtu_start) for zone, mtu_start, _ in chunks} | {(one["zone"], one["mtuStart"]) for one in disputes}
    return RecordedChain(
        recorded_chain_id=chain.chain_id(),
        recorded_mtu_length_s=chain.mtu_length_s(),
        recorded_blocks=blocks,
        accounts={address: chain.account(address) for address in addresses},
        escrow=chain.escrow_microcents(),
        debts={(debtor, creditor): chain.debt_microcents(debtor, creditor) for debtor, creditor in owed},
        kept={chunk: chain.state_hash(*chunk) for chunk in chunks},
        supplies={token: chain.token_supply(token) for token in tokens},
        balances={(token, address): chain.token_balance(token, address) for token in tokens for address in addresses},
        codes={contract: chain.code(contract) for contract in facts.addresses},
        proven={
            (one["meter"], one["mtuStart"]): chain.proven_net_wh(one["meter"], one["mtuStart"]) for one in disputes
        },
        proven_counts={slot: chain.proven_count(*slot) for slot in slots},
        templates={meter: chain.template(meter) for meter in meters},
        transformers={zone: chain.transformer(zone) for zone in zones},
        owed={address: chain.owed_ugco2(address) for address in addresses},
    )


def judge(files: MemoryFiles, facts: MarketFacts, chain: Chain) -> AuditReport:
    """Audit files in memory by a chain."""
    findings = Findings()
    run = read_export(files, findings)
    return audit_run(run, facts, chain, findings, lambda *_: None)


def _of_chain(event: object) -> ChainEvent:
    assert isinstance(event, ChainEvent)
    return event
