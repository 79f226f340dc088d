"""The deployment plan: which contracts in which order, with which arguments and role grants.

The plan is pure data, so the node, `ape run deploy` and the in-process EVM of the tests execute the very same steps.
Addresses follow from the deployer and its nonce, so every step can be encoded before the first one is sent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import rlp
from eth_utils.address import to_checksum_address

from gridledger.chain.codec import ContractCodec, keccak256
from gridledger.chain.compiler import Artifacts
from gridledger.chain.roles import EXTERNAL_ROLES, FUNCTION_ROLES, Role

__all__ = [
    "CONTRACTS",
    "BondParameters",
    "DeploymentParameters",
    "PlanStep",
    "PolicyParameters",
    "SourceFactor",
    "contract_addresses",
    "created_address",
    "deployment_steps",
]

CONTRACTS = (
    "MarketAccessManager",
    "SettlementToken",
    "ParticipantRegistry",
    "GridPolicy",
    "EnergyPricing",
    "EnergyDispatching",
    "MeterLedger",
    "LowCarbonToken",
    "CarbonLedger",
    "EnergyTrading",
    "EnergySettlement",
    "EnergyCurtailment",
    "MarketBond",
)


@dataclass(frozen=True, kw_only=True)
class PolicyParameters:
    """First version of the regulator's rules; prices in cents per MWh, see IGridPolicy.Policy."""

    gate_closure_s: int = 300
    answer_lead_s: int = 60
    proceed_without_answer: bool = True
    substitute_after_s: int = 5 * 86_400
    correction_s: int = 60 * 86_400
    seller_reward_share_bp: int = 5_000
    default_grid_factor_mgco2_per_kwh: int = 363_000
    feed_in_cents_per_mwh: int = 8_000
    retail_cents_per_mwh: int = 32_000
    retail_adder_cents_per_mwh: int = 24_000
    floor_offset_cents_per_mwh: int = 0
    surplus_offset_cents_per_mwh: int = -500
    cap_offset_cents_per_mwh: int = 0
    shortage_offset_cents_per_mwh: int = 500
    grid_fee_cents_per_mwh: int = 2_000
    low_carbon_relief_cents_per_mwh: int = 1_000
    replacement_bearers: int = 0x20AA  # the grid operator, but for emergencies and security of supply


@dataclass(frozen=True, kw_only=True)
class BondParameters:
    """Rules of the operator's bond, fixed for ever; times in seconds, money in microcents, see IMarketBond.Terms.

    A withdrawal waits until every order that could be receipted when it was announced is past challenging.
    """

    challenge_period_s: int = 7 * 86_400
    response_window_s: int = 86_400
    longest_order_s: int = 366 * 86_400
    withdrawal_delay_s: int = 375 * 86_400
    fixed_fee_microcents: int = 10**8
    cap_microcents: int = 100 * 10**8
    stake_microcents: int = 10**8


@dataclass(frozen=True, kw_only=True)
class SourceFactor:
    """Emission factor of a source of generation with its citation."""

    source: int
    factor_mgco2_per_kwh: int
    citation: str


@dataclass(frozen=True, kw_only=True)
class DeploymentParameters:
    """Everything the plan depends on besides the compiled contracts.

    `accounts` names the account of each external role; `zones` maps a zone to its grid operator's account.
    """

    mtu_length_s: int
    policy: PolicyParameters
    accounts: Mapping[Role, str]
    suppliers: tuple[str, ...]
    zones: tuple[int, ...]
    source_factors: tuple[SourceFactor, ...]
    bond: BondParameters = BondParameters()
    policy_delay_s: int = 86_400
    admin_delay_s: int = 86_400


@dataclass(frozen=True, kw_only=True)
class PlanStep:
    """One transaction of the deployer: a creation (`to` is None) or a call."""

    title: str
    to: str | None
    data: bytes


def contract_addresses(deployer: str, first_nonce: int = 0) -> dict[str, str]:
    """Address of each contract when `deployer` creates them in plan order from `first_nonce` on."""
    return {name: created_address(deployer, first_nonce + index) for index, name in enumerate(CONTRACTS)}


def deployment_steps(
    artifacts: Artifacts, parameters: DeploymentParameters, deployer: str, first_nonce: int = 0
) -> tuple[PlanStep, ...]:
    """All transactions of the deployer, in order: creations, first settings, function roles, grants, renouncement."""
    addresses = contract_addresses(deployer, first_nonce)
    planner = _Planner(artifacts, parameters, addresses, deployer)
    return (*planner.creations(), *planner.settings(), *planner.function_roles(), *planner.grants())


class _Planner:
    def __init__(
        self, artifacts: Artifacts, parameters: DeploymentParameters, addresses: Mapping[str, str], deployer: str
    ) -> None:
        self._codecs = {name: ContractCodec(artifacts.contract(name)) for name in CONTRACTS}
        self._parameters = parameters
        self._at = addresses
        self._deployer = deployer

    def creations(self) -> Iterator[PlanStep]:
        manager = self._at["MarketAccessManager"]
        parameters = self._parameters
        trading = tuple(
            self._at[name] for name in ("GridPolicy", "ParticipantRegistry", "EnergyPricing", "EnergyDispatching")
        )
        settlement = tuple(
            self._at[name]
            for name in (
                "GridPolicy",
                "ParticipantRegistry",
                "EnergyDispatching",
                "MeterLedger",
                "CarbonLedger",
                "EnergyTrading",
            )
        )
        curtailment = tuple(
            self._at[name] for name in ("GridPolicy", "ParticipantRegistry", "EnergyDispatching", "EnergyTrading")
        )
        bond = tuple(self._at[name] for name in ("GridPolicy", "ParticipantRegistry", "EnergyPricing", "EnergyTrading"))
        arguments: dict[str, tuple[object, ...]] = {
            "MarketAccessManager": (self._deployer,),
            "SettlementToken": (manager,),
            "ParticipantRegistry": (manager,),
            "GridPolicy": (
                manager,
                parameters.mtu_length_s,
                parameters.policy_delay_s,
                tuple(asdict(parameters.policy).values()),
            ),
            "EnergyPricing": (manager, self._at["GridPolicy"]),
            "EnergyDispatching": (
                manager,
                self._at["GridPolicy"],
                self._at["ParticipantRegistry"],
                self._at["CarbonLedger"],
            ),
            "MeterLedger": (manager, self._at["GridPolicy"], self._at["ParticipantRegistry"]),
            "LowCarbonToken": (manager,),
            "CarbonLedger": (manager, self._at["GridPolicy"], self._at["LowCarbonToken"]),
            "EnergyTrading": (manager, self._at["SettlementToken"], trading),
            "EnergySettlement": (manager, settlement),
            "EnergyCurtailment": (curtailment,),
            "MarketBond": (manager, self._at["SettlementToken"], bond, tuple(asdict(parameters.bond).values())),
        }
        for name in CONTRACTS:
            yield PlanStep(title=f"create {name}", to=None, data=self._codecs[name].creation_data(*arguments[name]))

    def settings(self) -> Iterator[PlanStep]:
        """First zones, suppliers, anchorer and source factors, set while the deployer is still admin."""
        grid_operator = self._parameters.accounts[Role.GRID_OPERATOR]
        for zone in self._parameters.zones:
            yield self._call("ParticipantRegistry", "registerZone", zone, grid_operator)
        for supplier in self._parameters.suppliers:
            yield self._call("ParticipantRegistry", "registerSupplier", supplier)
        yield self._call("MeterLedger", "appointAnchorer", self._parameters.accounts[Role.RELAYER])
        for entry in self._parameters.source_factors:
            yield self._call(
                "CarbonLedger", "setSourceFactor", entry.source, entry.factor_mgco2_per_kwh, entry.citation
            )

    def function_roles(self) -> Iterator[PlanStep]:
        for (contract, function), role in FUNCTION_ROLES.items():
            selector = self._codecs[contract].selector(function)
            yield self._call("MarketAccessManager", "setTargetFunctionRole", self._at[contract], [selector], int(role))

    def grants(self) -> Iterator[PlanStep]:
        for role in EXTERNAL_ROLES:
            yield self._grant(role, self._parameters.accounts[role], 0)
        yield self._grant(Role.TRADING_CONTRACT, self._at["EnergyTrading"], 0)
        yield self._grant(Role.SETTLEMENT_CONTRACT, self._at["EnergySettlement"], 0)
        yield self._grant(Role.SETTLEMENT_CONTRACT, self._at["EnergyCurtailment"], 0)
        yield self._grant(Role.CARBON_CONTRACT, self._at["CarbonLedger"], 0)
        yield self._grant(Role.ADMIN, self._parameters.accounts[Role.REGULATOR], self._parameters.admin_delay_s)
        yield self._call("MarketAccessManager", "renounceRole", int(Role.ADMIN), self._deployer)

    def _grant(self, role: Role, account: str, delay_s: int) -> PlanStep:
        return self._call("MarketAccessManager", "grantRole", int(role), account, delay_s)

    def _call(self, contract: str, function: str, *arguments: object) -> PlanStep:
        return PlanStep(
            title=f"{contract}.{function}",
            to=self._at[contract],
            data=self._codecs[contract].call_data(function, *arguments),
        )


def created_address(deployer: str, nonce: int) -> str:
    """Address of the contract an account creates with this nonce."""
    return to_checksum_address(keccak256(rlp.encode([bytes.fromhex(deployer[2:]), nonce]))[12:])
