"""Audits an export against a chain: a given endpoint, or the embedded chain rebuilt from the exported blocks.

Of the node it uses nothing: only the files, the chain and the contracts' sources.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from eth_abi.exceptions import DecodingError
from requests import RequestException
from web3.exceptions import Web3Exception

from gridledger.audit import formats
from gridledger.audit.evidence import ContractCode, ExportedRun, MarketFacts, read_export
from gridledger.audit.findings import Findings
from gridledger.audit.model import AuditReport, Mismatch, Rule
from gridledger.audit.ports import (
    AUDITED_FUNCTIONS,
    ChainBlock,
    ChainCall,
    FileUnreadable,
    OnProgress,
    StateUnavailable,
)
from gridledger.audit.service import audit_run, audit_without_chain
from gridledger.chain.client import ChainClient
from gridledger.chain.codec import UndecodableLog
from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.chain.deployment import Deployment, load_deployment
from gridledger.chain.embedded import rebuild
from gridledger.chain.journal import JournalBlock
from gridledger.chain.market_config import MarketConfig, load_market
from gridledger.chain.plan import CONTRACTS, DeploymentParameters
from gridledger.chain.roles import EXTERNAL_ROLES, FUNCTION_ROLES, Role
from gridledger.chain.rpc import RpcClient, RpcFailed, RpcUnreachable
from gridledger.chain.toolchain import find_anvil
from gridledger.errors import GridLedgerError

__all__ = ["AuditReport", "EndpointChain", "FolderFiles", "Mismatch", "audit", "market_facts"]

T = TypeVar("T")
_RPC_TIMEOUT_S = 60.0


def audit(export: Path, rpc_url: str | None, on_progress: OnProgress) -> AuditReport:
    """Recompute an export from its chain and list every mismatch; progress counts blocks and records.

    Without `rpc_url` the embedded chain is rebuilt from the exported blocks. Damaged files are mismatches; only an
    endpoint that does not answer (RpcUnreachable) and a missing toolchain raise.
    """
    findings = Findings()
    run = read_export(FolderFiles(export), findings)
    artifacts = load_artifacts()
    facts = _claimed(export, artifacts, findings)
    if facts is None:
        return audit_without_chain(run, None, findings)
    if rpc_url is not None:
        with contextlib.closing(EndpointChain(rpc_url, artifacts, facts.addresses, with_state_roots=True)) as chain:
            return audit_run(run, facts, chain.up_to(_last_block(run, chain, findings)), findings, on_progress)
    return _audit_rebuilt(run, facts, artifacts, findings, on_progress)


def _audit_rebuilt(
    run: ExportedRun, facts: MarketFacts, artifacts: Artifacts, findings: Findings, on_progress: OnProgress
) -> AuditReport:
    on_progress(0, len(run.blocks), "rebuilding the chain")
    blocks = [JournalBlock(**row._asdict()) for row in run.blocks]
    with contextlib.ExitStack() as closing:
        try:
            embedded = closing.enter_context(
                rebuild(blocks, anvil=find_anvil(), genesis_time_s=facts.genesis_time_s, chain_id=facts.chain_id)
            )
        except GridLedgerError as error:
            number = error.values().get("block_number")
            record = formats.BLOCKS if number is None else f"block {number} of {formats.BLOCKS}"
            findings.report(Rule.CHAIN, record, "a chain that can be executed again to the same hashes", error)
            return audit_without_chain(run, facts, findings)
        chain = closing.enter_context(
            contextlib.closing(EndpointChain(embedded.url, artifacts, facts.addresses, with_state_roots=False))
        )
        return audit_run(run, facts, chain.up_to(_last_block(run, chain, findings)), findings, on_progress)


def _last_block(run: ExportedRun, chain: "EndpointChain", findings: Findings) -> int:
    """The export's head, or the chain's where that is lower."""
    newest = chain.head_number()
    if run.head is not None and run.head.number > newest:
        findings.report(Rule.CHAIN, "head in manifest.json", f"at most block {newest}", run.head.number)
    return newest if run.head is None else min(run.head.number, newest)


class FolderFiles:
    """The files of an export folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> frozenset[str]:
        """Names of everything in the folder; none where it cannot be listed."""
        try:
            return frozenset(path.name for path in self._folder.iterdir())
        except OSError:
            return frozenset()

    def lines(self, name: str) -> Iterator[bytes]:
        """The file line by line. Raises FileUnreadable."""
        try:
            with (self._folder / name).open("rb") as stream:
                yield from stream
        except OSError as error:
            raise FileUnreadable(name=name, reason=error.strerror or type(error).__name__) from None


class EndpointChain:
    """A chain's JSON-RPC endpoint as the audit sees it, up to one block."""

    def __init__(self, url: str, artifacts: Artifacts, addresses: Mapping[str, str], *, with_state_roots: bool) -> None:
        """Connect; state roots are left out where executing the blocks has verified them. Raises RpcUnreachable."""
        self._rpc = RpcClient(url, _RPC_TIMEOUT_S)
        self._rpc.call("eth_blockNumber")
        self._client = ChainClient(url, artifacts, addresses)
        self._addresses = addresses
        self._with_state_roots = with_state_roots
        codecs = self._client.codecs
        self._codec_at = {addresses[name].lower(): codec for name, codec in codecs.items()}
        self._audited = {(name, codecs[name].selector(function)) for name, function in AUDITED_FUNCTIONS}
        self._last: str = "latest"

    def up_to(self, number: int) -> "EndpointChain":
        """Ask for the state of this block from now on; the newest needs no archive."""
        self._last = "latest" if number == self.head_number() else hex(number)
        self._head = number
        return self

    def head_number(self) -> int:
        """The newest block."""
        return self._client.head_number()

    def close(self) -> None:
        """Close the connections."""
        self._rpc.close()

    def chain_id(self) -> int:
        """The chain id."""
        return self._client.chain_id()

    def mtu_length_s(self) -> int:
        """MTU length in the grid policy, seconds."""
        return int(self._view("GridPolicy", "mtuLengthS")[0])

    def blocks(self, last: int) -> Iterator[ChainBlock]:
        """Blocks 0 to `last`, but never beyond the endpoint's head."""
        for number in range(min(last, self._head) + 1):
            yield self._answered(f"events of block {number}", partial(self._block, number))

    def _block(self, number: int) -> ChainBlock:
        contents = self._client.block(number)
        succeeded = {outcome.transaction_hash for outcome in contents.outcomes if outcome.succeeded}
        whole: Any = self._rpc.call("eth_getBlockByNumber", hex(number), True)  # noqa: FBT003 - JSON-RPC is positional
        return ChainBlock(
            number=number,
            block_hash=contents.block.block_hash,
            parent_hash=contents.block.parent_hash,
            time_s=contents.block.time_s,
            state_root=whole["stateRoot"] if self._with_state_roots else None,
            transaction_hashes=tuple(outcome.transaction_hash for outcome in contents.outcomes),
            calls=tuple(
                call
                for transaction in whole["transactions"]
                if transaction["hash"] in succeeded and (call := self._call(transaction)) is not None
            ),
            events=contents.events,
        )

    def _call(self, transaction: Mapping[str, Any]) -> ChainCall | None:
        """The call of a transaction to one of the audited functions."""
        codec = self._codec_at.get(str(transaction["to"] or "").lower())
        data = bytes.fromhex(transaction["input"][2:])
        if codec is None or (codec.name, data[:4]) not in self._audited:
            return None
        function, arguments = codec.arguments(data)
        return ChainCall(
            transaction_hash=transaction["hash"], contract=codec.name, function=function, arguments=arguments
        )

    def account(self, address: str) -> tuple[int, int]:
        """Free money and credit, microcents."""
        free, credit = self._view("EnergyTrading", "accountOf", address)
        return int(free), int(credit)

    def escrow_microcents(self) -> int:
        """Money locked, microcents."""
        return int(self._view("EnergyTrading", "escrowMicrocents")[0])

    def debt_microcents(self, debtor: str, creditor: str) -> int:
        """Recorded debt, microcents."""
        return int(self._view("EnergyTrading", "debtOf", debtor, creditor)[0])

    def proven_net_wh(self, meter: int, mtu_start: int) -> int | None:
        """Proven energy of a meter and MTU."""
        proven = self._view("MeterLedger", "provenOf", meter, mtu_start)[0]
        return int(proven["netWh"]) if proven["provenAt"] else None

    def proven_count(self, zone: int, mtu_start: int) -> int:
        """Number of proven readings."""
        return int(self._view("MeterLedger", "settlementState", zone, mtu_start)[1])

    def template(self, meter: int) -> str:
        """Template of a device's texts, 0x hex."""
        kept: bytes = self._view("MeterLedger", "templateOf", meter)[0]
        return "0x" + kept.hex()

    def transformer(self, zone: int) -> tuple[int, int]:
        """The meter at a transformer and the loss tolerated."""
        kept = self._view("MeterLedger", "transformerOf", zone)[0]
        return int(kept["meter"]), int(kept["lossToleranceBp"])

    def owed_ugco2(self, holder: str) -> int:
        """Tokens owed."""
        return int(self._view("CarbonLedger", "owedUgco2Of", holder)[0])

    def state_hash(self, zone: int, mtu_start: int, chunk: int) -> str:
        """Hash of a chunk's positions and deals, 0x hex."""
        kept: bytes = self._view("EnergyTrading", "stateHashOf", zone, mtu_start, chunk)[0]
        return "0x" + kept.hex()

    def token_supply(self, token: str) -> int:
        """Total supply of a token."""
        return int(self._view(token, "totalSupply")[0])

    def token_balance(self, token: str, address: str) -> int:
        """Balance of a token."""
        return int(self._view(token, "balanceOf", address)[0])

    def code(self, contract: str) -> bytes:
        """Deployed code."""
        return self._answered(
            f"code of {contract}",
            lambda: bytes.fromhex(str(self._rpc.call("eth_getCode", self._addresses[contract], self._last))[2:]),
        )

    def _view(self, contract: str, function: str, *arguments: object) -> tuple[Any, ...]:
        codec = self._client.codecs[contract]
        call = {"to": self._addresses[contract], "data": "0x" + codec.call_data(function, *arguments).hex()}

        def ask() -> tuple[Any, ...]:
            return codec.result(function, bytes.fromhex(str(self._rpc.call("eth_call", call, self._last))[2:]))

        return self._answered(f"{contract}.{function}", ask)

    def _answered(self, question: str, ask: Callable[[], T]) -> T:
        """An answer. Raises StateUnavailable where the endpoint refuses or answers nonsense, RpcUnreachable."""
        try:
            return ask()
        except (RpcFailed, UndecodableLog, DecodingError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise StateUnavailable(question=f"{question} at block {self._last}", reason=str(error)) from None
        except (RequestException, Web3Exception) as error:
            raise RpcUnreachable(url=self._rpc.url, reason=f"{type(error).__name__}: {error}") from None


def _claimed(export: Path, artifacts: Artifacts, findings: Findings) -> MarketFacts | None:
    """What the two market files claim; None, and a mismatch, where they cannot be read."""
    try:
        return market_facts(export, artifacts)
    except (GridLedgerError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        record = f"{formats.MARKET} and {formats.DEPLOYMENT}"
        findings.report(Rule.FORMAT, record, "a market and its deployment", f"unreadable: {error}")
        return None


def market_facts(export: Path, artifacts: Artifacts) -> MarketFacts:
    """What market.json and deployment.json claim, and what the contracts' sources compile to.

    Raises MarketMissing, ConfigUnreadable, and Python's own errors for impossible values.
    """
    config, deployment = load_market(export / formats.MARKET), load_deployment(export / formats.DEPLOYMENT)
    if deployment is None:
        raise FileUnreadable(name=formats.DEPLOYMENT, reason="missing")
    parameters = config.deployment_parameters()
    operator = config.account(Role.GRID_OPERATOR)
    addresses = {name: _address(deployment.addresses[name]) for name in CONTRACTS}
    return MarketFacts(
        chain_id=_whole(config.chain_id),
        genesis_time_s=_whole(config.genesis_time_s),
        genesis_hash=deployment.genesis_hash,
        deployer=deployment.deployer,
        deployment_block=_whole(deployment.block_number),
        mtu_length_s=_whole(config.mtu_length_s),
        policy=tuple(asdict(config.policy).values()),
        grid_operators=dict.fromkeys(config.zones, operator),
        suppliers=tuple(config.suppliers),
        source_factors={entry.source: (entry.factor_mgco2_per_kwh, entry.citation) for entry in config.source_factors},
        market_operator=config.account(Role.MARKET_OPERATOR),
        addresses=addresses,
        recorded_code_hashes=dict(deployment.code_hashes),
        code={name: _code(artifacts, name) for name in CONTRACTS},
        roles=_roles(config, parameters, addresses),
        function_roles=_function_roles(artifacts, addresses),
        claims=_claims(config, deployment, artifacts),
    )


def _claims(config: MarketConfig, deployment: Deployment, artifacts: Artifacts) -> dict[str, tuple[object, object]]:
    """What the files should say beyond what the chain knows; an export never holds a seed."""
    return {
        "chain id of the deployment": (config.chain_id, deployment.chain_id),
        "deployer among the accounts": (deployment.deployer, config.accounts.get("deployer")),
        "supplier among the accounts": (True, config.accounts.get("supplier", "") in config.suppliers),
        "seed": (None, config.seed),
        "contracts": (sorted(CONTRACTS), sorted(deployment.addresses)),
        "contracts with code hashes": (sorted(CONTRACTS), sorted(deployment.code_hashes)),
        "compiler version": (artifacts.compiler_version, deployment.compiler_version),
        "compiler settings": (dict(artifacts.settings), dict(deployment.compiler_settings)),
        "sha256 of the sources": (artifacts.input_sha256, deployment.source_sha256),
    }


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _address(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
        raise ValueError(value)
    return value


def _code(artifacts: Artifacts, name: str) -> ContractCode:
    contract = artifacts.contract(name)
    ranges = (entry for entries in contract.immutable_references.values() for entry in entries)
    return ContractCode(
        deployed=contract.deployed_bytecode, filled_in=tuple((entry.start, entry.length) for entry in ranges)
    )


def _roles(
    config: MarketConfig, parameters: DeploymentParameters, addresses: Mapping[str, str]
) -> dict[int, dict[str, int]]:
    roles = {int(role): {config.account(role): 0} for role in EXTERNAL_ROLES}
    roles[int(Role.TRADING_CONTRACT)] = {addresses["EnergyTrading"]: 0}
    roles[int(Role.SETTLEMENT_CONTRACT)] = {addresses["EnergySettlement"]: 0, addresses["EnergyCurtailment"]: 0}
    roles[int(Role.CARBON_CONTRACT)] = {addresses["CarbonLedger"]: 0}
    roles[int(Role.ADMIN)] = {config.account(Role.REGULATOR): parameters.admin_delay_s}
    return roles


def _function_roles(artifacts: Artifacts, addresses: Mapping[str, str]) -> dict[tuple[str, str], int]:
    selectors: dict[tuple[str, str], int] = {}
    for (contract, function), role in FUNCTION_ROLES.items():
        for signature, selector in artifacts.contract(contract).selectors.items():
            if signature.partition("(")[0] == function:
                selectors[addresses[contract], "0x" + selector.hex()] = int(role)
    return selectors
