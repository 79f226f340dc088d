"""A market in an in-process EVM that keeps a chain: each transaction is a block with its events and call data."""

import hashlib
from collections.abc import Iterator
from typing import Any

from tests.contracts.evm import DeployedMarket, compiled
from tests.contracts.words import CHAIN_ID, Receipt

from gridledger.audit.ports import AUDITED_FUNCTIONS, ChainBlock, ChainCall
from gridledger.audit.rows import BlockRow
from gridledger.chain.client import _plain
from gridledger.chain.codec import keccak256
from gridledger.chain.plan import PolicyParameters, deployment_steps
from gridledger.relay import ChainEvent

__all__ = ["DEPLOYMENT_BLOCK", "EvmChain", "RecordedEvm"]

DEPLOYMENT_BLOCK = 1


def _digest(*parts: object) -> str:
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


class RecordedEvm(DeployedMarket):
    """The deployed market with a chain; blocks are at least a second apart.

    `clock` is the time of day; blocks may run ahead of it, as they do on the embedded chain.
    """

    def __init__(self, *, genesis_time_s: int, policy: PolicyParameters, zones: tuple[int, ...]) -> None:
        self.clock = genesis_time_s
        self.made: list[ChainBlock] = [_genesis(genesis_time_s)]
        self.journal: list[BlockRow] = []
        super().__init__(policy=policy, zones=zones)

    def _deploy(self) -> None:
        """The whole plan in one block."""
        moment = self._next_moment()
        self.move_to(moment)
        raws: list[str] = []
        events: list[tuple[str, Any]] = []
        for step in deployment_steps(compiled(), self.parameters, self.deployer.address):
            raw = _raw("deployer", step.to, step.data, len(raws))
            if step.to is None:
                self._create(step.data)
                assert self.evm.result is not None
                decoded: Any = [self._decoded(log) for log in self.evm.result.logs]
            else:
                decoded = super().transact(self.deployer.address, step.to.lower(), step.data).events
            events += [(raw, event) for event in decoded]
            raws.append(raw)
        self._append(moment, raws, events, [])

    def transact(self, caller: str, to: str, data: bytes) -> Receipt:
        moment = self._next_moment()
        self.move_to(moment)
        receipt = super().transact(caller, to, data)
        raw = _raw(caller, to, data, len(self.made))
        self._append(moment, [raw], [(raw, event) for event in receipt.events], [(raw, to, data)])
        return receipt

    def _next_moment(self) -> int:
        return max(self.clock, self.made[-1].time_s + 1)

    def _append(
        self,
        moment: int,
        raws: list[str],
        events: list[tuple[str, Any]],
        calls: list[tuple[str, str, bytes]],
    ) -> None:
        number = len(self.made)
        row = BlockRow(
            number=number,
            time_s=moment,
            block_hash=_digest("block", number, moment, raws),
            state_root=_digest("state", number),
            raw_transactions=tuple(raws),
        )
        self.journal.append(row)
        decoded = [self._call(raw, to, data) for raw, to, data in calls]
        self.made.append(
            ChainBlock(
                number=number,
                block_hash=row.block_hash,
                parent_hash=self.made[-1].block_hash,
                time_s=moment,
                state_root=row.state_root,
                transaction_hashes=tuple(_hash(raw) for raw in raws),
                calls=tuple(call for call in decoded if call is not None),
                events=tuple(
                    ChainEvent(
                        block_number=number,
                        log_index=index,
                        transaction_hash=_hash(raw),
                        contract=event.contract,
                        name=event.name,
                        arguments={name: _plain(value) for name, value in event.arguments.items()},
                    )
                    for index, (raw, event) in enumerate(events)
                ),
            )
        )

    def _call(self, raw: str, to: str, data: bytes) -> ChainCall | None:
        codec = self._by_address[to]
        function, arguments = codec.arguments(data)
        if (codec.name, function) not in AUDITED_FUNCTIONS:
            return None
        return ChainCall(transaction_hash=_hash(raw), contract=codec.name, function=function, arguments=arguments)


class EvmChain:
    """That chain as the audit asks it."""

    def __init__(self, market: RecordedEvm) -> None:
        self._market = market

    def chain_id(self) -> int:
        return CHAIN_ID

    def mtu_length_s(self) -> int:
        return int(self._market.view("GridPolicy", "mtuLengthS"))

    def blocks(self, last: int) -> Iterator[ChainBlock]:
        yield from self._market.made[: last + 1]

    def account(self, address: str) -> tuple[int, int]:
        free, credit = self._market.view("EnergyTrading", "accountOf", address)
        return int(free), int(credit)

    def escrow_microcents(self) -> int:
        return int(self._market.view("EnergyTrading", "escrowMicrocents"))

    def debt_microcents(self, debtor: str, creditor: str) -> int:
        return int(self._market.view("EnergyTrading", "debtOf", debtor, creditor))

    def proven_net_wh(self, meter: int, mtu_start: int) -> int | None:
        proven = self._market.view("MeterLedger", "provenOf", meter, mtu_start)
        return int(proven["netWh"]) if proven["provenAt"] else None

    def proven_count(self, zone: int, mtu_start: int) -> int:
        return int(self._market.view("MeterLedger", "settlementState", zone, mtu_start)[1])

    def template(self, meter: int) -> str:
        return "0x" + bytes(self._market.view("MeterLedger", "templateOf", meter)).hex()

    def transformer(self, zone: int) -> tuple[int, int]:
        kept = self._market.view("MeterLedger", "transformerOf", zone)
        return int(kept["meter"]), int(kept["lossToleranceBp"])

    def owed_ugco2(self, holder: str) -> int:
        return int(self._market.view("CarbonLedger", "owedUgco2Of", holder))

    def state_hash(self, zone: int, mtu_start: int, chunk: int) -> str:
        return "0x" + bytes(self._market.view("EnergyTrading", "stateHashOf", zone, mtu_start, chunk)).hex()

    def token_supply(self, token: str) -> int:
        return int(self._market.view(token, "totalSupply"))

    def token_balance(self, token: str, address: str) -> int:
        return int(self._market.view(token, "balanceOf", address))

    def code(self, contract: str) -> bytes:
        """Deployed code; the EVM pads what it has analysed."""
        length = len(compiled().contract(contract).deployed_bytecode)
        return bytes(self._market.evm.get_code(self._market.at[contract]) or b"")[:length]


def _genesis(time_s: int) -> ChainBlock:
    return ChainBlock(
        number=0,
        block_hash=_digest("genesis"),
        parent_hash="0x" + "0" * 64,
        time_s=time_s,
        state_root=_digest("state", 0),
        transaction_hashes=(),
        calls=(),
        events=(),
    )


def _raw(caller: str, to: str | None, data: bytes, number: int) -> str:
    """Bytes in place of a signed transaction; only their hash matters here."""
    return "0x" + hashlib.sha256(f"{caller} {to} {number}".encode() + data).hexdigest()


def _hash(raw: str) -> str:
    return "0x" + keccak256(bytes.fromhex(raw[2:])).hex()
