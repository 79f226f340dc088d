"""The deployment plan: every restricted function has its role, everybody gets theirs, the deployer keeps nothing."""

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.chain.deployed import ZONE, Deployed, addresses, artifacts, deployed, key, parameters

from gridledger.chain.codec import ContractCodec, ContractReverted
from gridledger.chain.plan import CONTRACTS, PlanStep, contract_addresses, deployment_steps
from gridledger.chain.roles import EXTERNAL_ROLES, FUNCTION_ROLES, Role
from gridledger.chain.toolchain import contracts_root

DECLARED = re.compile(r"^(?:abstract )?contract (\w+)(?: is ([^{]+))?\{", flags=re.MULTILINE)
RESTRICTED = re.compile(r"function\s+(\w+)\s*\([^)]*\)[^;{]*\brestricted\b")
DEPLOYER = key("deployer").address


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The plan, executed on a real chain."""
    with deployed(tmp_path_factory.mktemp("plan")) as running:
        yield running


def steps() -> tuple[PlanStep, ...]:
    return deployment_steps(artifacts(), parameters(), DEPLOYER)


def read(step: PlanStep) -> tuple[str, str, tuple[Any, ...]]:
    """Contract, function and arguments of a call."""
    contract = next(name for name, address in addresses().items() if address == step.to)
    name, arguments = ContractCodec(artifacts().contract(contract)).arguments(step.data)
    return contract, name, arguments


def test_the_contracts_are_created_first_in_their_order_at_the_addresses_foretold() -> None:
    created = steps()[: len(CONTRACTS)]
    assert [(step.title, step.to) for step in created] == [(f"create {name}", None) for name in CONTRACTS]
    assert all(step.to is not None for step in steps()[len(CONTRACTS) :])
    assert list(contract_addresses(DEPLOYER)) == list(CONTRACTS)


def test_the_plan_is_the_same_every_time_and_another_from_another_nonce() -> None:
    assert steps() == steps()
    shifted = deployment_steps(artifacts(), parameters(), DEPLOYER, first_nonce=3)
    assert shifted != steps()
    assert contract_addresses(DEPLOYER, 1)["MarketAccessManager"] == contract_addresses(DEPLOYER)["SettlementToken"]


def test_the_table_of_roles_names_every_restricted_function_of_the_sources_and_no_other() -> None:
    """A restricted function that is not in the table would be left to the admin; it may be an inherited one."""
    sources = {
        path.stem: re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        for path in sorted(Path(contracts_root() / "src").glob("*.sol"))
    }
    bases = {
        name: [base.strip() for base in inherited.split(",") if base.strip() in sources]
        for source in sources.values()
        for name, inherited in DECLARED.findall(source)
    }

    def restricted(contract: str) -> set[str]:
        own = set(RESTRICTED.findall(sources[contract]))
        return own.union(*(restricted(base) for base in bases[contract]))

    found = {(contract, name) for contract in CONTRACTS for name in restricted(contract)}
    assert found == set(FUNCTION_ROLES)
    assert {name for contract in sources for name in restricted(contract)} == {name for _, name in FUNCTION_ROLES}


@pytest.mark.parametrize(("contract", "function"), FUNCTION_ROLES, ids=str)
def test_every_restricted_function_is_given_its_role_once(contract: str, function: str) -> None:
    selector = ContractCodec(artifacts().contract(contract)).selector(function)
    given = [
        (target, tuple(selectors), role)
        for step in steps()[len(CONTRACTS) :]
        for _, called, arguments in [read(step)]
        if called == "setTargetFunctionRole"
        for target, selectors, role in [arguments]
    ]
    target = addresses()[contract].lower()
    own = [row for row in given if row[0] == target and selector in row[1]]
    assert own == [(target, (selector,), int(FUNCTION_ROLES[contract, function]))]


@pytest.mark.parametrize(("contract", "function"), FUNCTION_ROLES, ids=str)
def test_the_chain_asks_for_that_role(market: Deployed, contract: str, function: str) -> None:
    selector = market.client.codecs[contract].selector(function)
    role = market.client.view("MarketAccessManager", "getTargetFunctionRole", addresses()[contract], selector)
    assert role == FUNCTION_ROLES[contract, function]
    # The admin's is also the role of a function that was forgotten.
    assert (role == Role.ADMIN) == ((contract, function) == ("MeterLedger", "appointAnchorer"))


def test_every_role_is_held_by_those_it_is_meant_for_alone(market: Deployed) -> None:
    holders = {role: parameters().accounts[role] for role in EXTERNAL_ROLES}
    holders |= {Role.TRADING_CONTRACT: addresses()["EnergyTrading"], Role.CARBON_CONTRACT: addresses()["CarbonLedger"]}
    holders |= {Role.ADMIN: parameters().accounts[Role.REGULATOR]}
    holding = {role: {holder} for role, holder in holders.items()}
    holding[Role.SETTLEMENT_CONTRACT] = {addresses()["EnergySettlement"], addresses()["EnergyCurtailment"]}
    everybody = {*addresses().values(), *holders.values(), DEPLOYER, key("supplier").address}
    for role in Role:
        having = {
            account
            for account in everybody
            if market.client.view("MarketAccessManager", "hasRole", int(role), account)[0]
        }
        assert having == holding[role], role


def test_the_admin_acts_with_delay_and_the_other_roles_at_once(market: Deployed) -> None:
    for role in (*EXTERNAL_ROLES, Role.ADMIN):
        holder = parameters().accounts[Role.REGULATOR if role is Role.ADMIN else role]
        _, delay = market.client.view("MarketAccessManager", "hasRole", int(role), holder)
        assert delay == (parameters().admin_delay_s if role is Role.ADMIN else 0)


def test_the_deployer_renounces_last_and_can_do_nothing_afterwards(market: Deployed) -> None:
    contract, function, arguments = read(steps()[-1])
    assert (contract, function) == ("MarketAccessManager", "renounceRole")
    assert arguments == (int(Role.ADMIN), DEPLOYER.lower())
    grant = market.client.codecs["MarketAccessManager"].call_data("grantRole", int(Role.BANK), DEPLOYER, 0)
    error = market.client.simulate(DEPLOYER, addresses()["MarketAccessManager"], grant, market.clock.now())
    assert isinstance(error, ContractReverted)
    assert error.name == "AccessManagerUnauthorizedAccount"


def test_the_first_policy_reaches_the_contract_field_by_field(market: Deployed) -> None:
    """The struct is built from the dataclass's values in order, so the two orders must be the same."""
    policy, version = market.client.view("GridPolicy", "policyAt", 900)
    assert list(policy.values()) == list(asdict(parameters().policy).values())
    assert version == 0
    names = ["".join(part.capitalize() for part in name.split("_")) for name in asdict(parameters().policy)]
    assert [name.lower() for name in policy] == [name.lower() for name in names]


def test_first_zones_suppliers_and_factors_are_set(market: Deployed) -> None:
    registry = "ParticipantRegistry"
    assert market.client.view(registry, "gridOperatorOf", ZONE) == parameters().accounts[Role.GRID_OPERATOR].lower()
    assert market.client.view(registry, "isSupplier", key("supplier").address)
    assert not market.client.view(registry, "isSupplier", DEPLOYER)
    assert market.client.view("GridPolicy", "mtuLengthS") == parameters().mtu_length_s


def test_every_zone_supplier_and_factor_has_its_step() -> None:
    more = replace(parameters(), zones=(1, 2, 3), suppliers=(key("supplier").address, key("bank").address))
    titles = [step.title for step in deployment_steps(artifacts(), more, DEPLOYER)]
    assert titles.count("ParticipantRegistry.registerZone") == 3
    assert titles.count("ParticipantRegistry.registerSupplier") == 2
    assert titles.count("CarbonLedger.setSourceFactor") == len(more.source_factors)


def test_no_step_fails(market: Deployed) -> None:
    outcomes = market.client.block(1).outcomes
    assert len(outcomes) == len(steps())
    assert all(outcome.succeeded for outcome in outcomes)
