"""Checks a trade receipt against an endpoint of the chain. Of the node it uses nothing but the file."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from gridledger.api.receipt_forms import LARGEST_RECEIPT_BYTES, parse_receipt
from gridledger.audit.evidence import ContractCode
from gridledger.audit.receipt_checks import check_receipt
from gridledger.audit.receipt_links import CurtailmentPrices, LinkReport, MinedCall
from gridledger.chain.client import ChainClient
from gridledger.chain.codec import ContractReverted, UndecodableLog
from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.chain.deployment import DeploymentMismatch, load_deployment
from gridledger.chain.plan import CONTRACTS
from gridledger.chain.roles import Role
from gridledger.chain.rpc import RpcClient, RpcFailed
from gridledger.errors import NotFound

__all__ = ["EndpointReceiptChain", "ViewRefused", "verify_receipt"]

_RPC_TIMEOUT_S = 30.0
_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_UNREADABLE = (RpcFailed, ContractReverted, UndecodableLog, DecodingError, LookupError, TypeError, ValueError)


@dataclass(kw_only=True, eq=False)
class ViewRefused(NotFound):
    """A contract does not answer for what the receipt names."""

    view: str
    reason: str


def verify_receipt(path: Path, rpc_url: str, deployment: Path | None) -> dict[str, Any]:
    """Check every link of a receipt; `ok` is false where one fails.

    The contracts are those of `deployment`, a deployment record of somebody who is trusted, or else those the receipt
    names. Raises ReceiptUnreadable, DeploymentMismatch, DeploymentUnreadable, RpcUnreachable.
    """
    with path.open("rb") as file:
        receipt = parse_receipt(file.read(LARGEST_RECEIPT_BYTES + 1))
    if deployment is not None:
        _require_deployment(deployment, receipt.chain.contracts)
    artifacts = load_artifacts()
    code = {name: _code(artifacts, name) for name in CONTRACTS}
    chain = EndpointReceiptChain(rpc_url, artifacts, receipt.chain.contracts, code)
    try:
        links = check_receipt(receipt, chain, {name: one.without_constants(one.deployed) for name, one in code.items()})
    finally:
        chain.close()
    return {
        "ok": links.hold,
        "zone": receipt.zone,
        "mtu_start": receipt.mtu_start,
        "meter": receipt.meter,
        "contracts_named_by": "the receipt" if deployment is None else "the deployment record",
        "links": [_link_out(report) for report in links.reports],
    }


class EndpointReceiptChain:
    """A JSON-RPC endpoint as the checks see it; implements `audit.receipt_links.ReceiptChain`."""

    def __init__(
        self, url: str, artifacts: Artifacts, addresses: Mapping[str, str], code: Mapping[str, ContractCode]
    ) -> None:
        """Connect. Raises RpcUnreachable."""
        self._rpc = RpcClient(url, _RPC_TIMEOUT_S)
        self._rpc.call("eth_chainId")
        self._addresses = {
            name: address for name, address in addresses.items() if name in CONTRACTS and _ADDRESS.fullmatch(address)
        }
        self._client = ChainClient(url, artifacts, self._addresses)
        self._code = code
        self._mined = lru_cache(maxsize=256)(self._read_mined)
        self._meter = lru_cache(maxsize=None)(self._read_meter)

    def close(self) -> None:
        """Close the connections."""
        self._rpc.close()

    def chain_id(self) -> int:
        """The chain id."""
        return self._client.chain_id()

    def genesis_hash(self) -> str:
        """Hash of block 0."""
        return self._client.genesis_hash()

    def code(self, contract: str) -> bytes:
        """Deployed code, constants left out; empty where the receipt names no address."""
        if contract not in self._addresses:
            return b""
        found = bytes.fromhex(str(self._rpc.call("eth_getCode", self._addresses[contract], "latest"))[2:])
        return self._code[contract].without_constants(found)

    def mined(self, transaction_hash: str) -> MinedCall | None:
        """A transaction; each is asked for once."""
        return self._mined(transaction_hash) if _HASH.fullmatch(transaction_hash) else None

    def has_block(self, block_hash: str) -> bool:
        """Whether the chain has this block."""
        if not _HASH.fullmatch(block_hash):
            return False
        return self._rpc.call("eth_getBlockByHash", block_hash, False) is not None  # noqa: FBT003 - JSON-RPC is positional

    def meter(self, meter: int) -> tuple[str, int]:
        """Owner and source."""
        return self._meter(meter)

    def grid_operator(self, zone: int) -> str:
        """Grid operator of a zone."""
        return self._checksum(self._view("ParticipantRegistry", "gridOperatorOf", zone))

    def is_market_operator(self, account: str) -> bool:
        """Recognised by the bond, whose word lasts, or holding the role now."""
        if self._view("MarketBond", "isRecognised", account):
            return True
        return bool(self._view("MarketAccessManager", "hasRole", int(Role.MARKET_OPERATOR), account)[0])

    def schedule_hash(self, zone: int, mtu_start: int) -> str:
        """Schedule hash, 0x hex."""
        return "0x" + bytes(self._view("EnergyDispatching", "scheduleHashOf", zone, mtu_start)).hex()

    def recorded_caps(self, zone: int, mtu_start: int) -> tuple[str, int]:
        """Hash, 0x hex, and direction of the caps that hold."""
        found = self._view("EnergyDispatching", "capsOf", zone, mtu_start)
        return "0x" + bytes(found["capsHash"]).hex(), int(found["direction"])

    def applied_chunks(self, zone: int, mtu_start: int) -> int:
        """Chunks that caps were applied to."""
        return int(self._view("EnergyCurtailment", "appliedChunksOf", zone, mtu_start))

    def curtailment_prices(self, mtu_start: int) -> CurtailmentPrices:
        """Prices and rules for curtailed energy."""
        policy, _version = self._view("GridPolicy", "policyAt", mtu_start)
        return CurtailmentPrices(
            shortage=self._view("GridPolicy", "pricesAt", mtu_start)["shortage"],
            fee=policy["gridFeeCentsPerMwh"],
            relief=policy["lowCarbonReliefCentsPerMwh"],
            replacement_bearers=policy["replacementBearers"],
        )

    def result_hash(self, zone: int, mtu_start: int) -> str:
        """Result hash, 0x hex."""
        return "0x" + bytes(self._view("EnergyTrading", "clearingOf", zone, mtu_start)["resultHash"]).hex()

    def _read_mined(self, transaction_hash: str) -> MinedCall | None:
        mined = self._client.transaction(transaction_hash)
        if mined is None:
            return None
        contract, function, arguments = self._client.call(mined) or (None, None, ())
        return MinedCall(
            transaction_hash=mined.transaction_hash,
            block_number=mined.block_number,
            block_hash=mined.block_hash,
            succeeded=mined.succeeded,
            contract=contract,
            function=function,
            arguments=arguments,
            events=mined.events,
        )

    def _read_meter(self, meter: int) -> tuple[str, int]:
        found = self._view("ParticipantRegistry", "meterOf", meter)
        return self._checksum(found["owner"]), found["source"]

    def _view(self, contract: str, function: str, *arguments: object) -> Any:
        """What a contract answers. Raises ViewRefused."""
        try:
            return self._client.view(contract, function, *arguments)
        except _UNREADABLE as error:
            raise ViewRefused(view=f"{contract}.{function}", reason=str(error)) from None

    @staticmethod
    def _checksum(address: str) -> str:
        return str(to_checksum_address(address))


def _require_deployment(path: Path, contracts: Mapping[str, str]) -> None:
    known = load_deployment(path)
    if known is None:
        raise DeploymentMismatch(field="deployment record", expected="a file", found="none")
    for name in CONTRACTS:
        expected, found = known.addresses.get(name, ""), contracts.get(name, "")
        if expected.lower() != found.lower():
            raise DeploymentMismatch(field=f"address of {name}", expected=expected, found=found)


def _code(artifacts: Artifacts, name: str) -> ContractCode:
    contract = artifacts.contract(name)
    ranges = (entry for entries in contract.immutable_references.values() for entry in entries)
    return ContractCode(
        deployed=contract.deployed_bytecode, filled_in=tuple((entry.start, entry.length) for entry in ranges)
    )


def _link_out(report: LinkReport) -> dict[str, Any]:
    return {
        "link": report.link,
        "verdict": report.verdict,
        "why": report.why,
        "problems": [asdict(problem) for problem in report.problems],
    }
