"""Every restricted function has exactly one role; nobody else, not even the deployer, can call it.

The table is `gridledger.chain.roles.FUNCTION_ROLES`. Which functions are restricted is found by calling every function
of every ABI as a stranger; a function the table does not name fails the tests.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.contracts.harness import Market, compiled

from gridledger.chain.codec import ContractReverted, keccak256
from gridledger.chain.plan import CONTRACTS
from gridledger.chain.roles import EXTERNAL_ROLES, FUNCTION_ROLES, Role

ERC20_FUNCTIONS = {"transfer", "transferFrom", "approve"}
# Functions that change state and are open to everybody, because they act on the caller's own things, carry a signature,
# check the caller themselves (setCredit: the supplier; anchor: the anchorer; setAuthority: the access manager), or
# carry out what is due.
OPEN_FUNCTIONS: dict[str, set[str]] = {
    "MarketAccessManager": set(),
    "SettlementToken": ERC20_FUNCTIONS | {"permit", "redeem", "setAuthority"},
    "ParticipantRegistry": {"setAuthority"},
    "GridPolicy": {"setAuthority"},
    "EnergyPricing": {"setAuthority"},
    "EnergyDispatching": {"answer", "curtail", "stop", "setAuthority"},
    "MeterLedger": {"anchor", "dispute", "setAuthority"},
    "LowCarbonToken": ERC20_FUNCTIONS | {"retire", "setAuthority"},
    "CarbonLedger": {"collectOwed", "setAuthority"},
    "EnergyTrading": {
        "deposit",
        "depositWithPermit",
        "requestWithdrawal",
        "withdraw",
        "payDebt",
        "setCredit",
        "applyCreditCut",
        "cancel",
        "cancelUpTo",
        "setAuthority",
    },
    "EnergySettlement": {"refund", "settleProven", "settleSubstitutes", "setAuthority"},
    "EnergyCurtailment": {"applyCaps"},
    "MarketBond": {
        "recognise",
        "post",
        "noteCancelReceipt",
        "recordHalt",
        "challenge",
        "defeatByCancel",
        "defeatByCancelUpTo",
        "defeatByDeals",
        "defeatByIneligibility",
        "resolve",
        "setAuthority",
    },
}
# What only contracts may call, stated a second time: here the money, the schedules and the tokens come from.
CONTRACT_ONLY = {
    ("EnergyTrading", "applyOutcome"): {"EnergySettlement", "EnergyCurtailment"},
    ("EnergyDispatching", "schedule"): {"EnergyTrading"},
    # Whoever settles may; the curtailment has no code that asks for it.
    ("CarbonLedger", "grantRewards"): {"EnergySettlement", "EnergyCurtailment"},
    ("CarbonLedger", "correctRewards"): {"EnergySettlement", "EnergyCurtailment"},
    ("LowCarbonToken", "mint"): {"CarbonLedger"},
    ("LowCarbonToken", "invalidate"): {"CarbonLedger"},
}
CONTRACT_HOLDERS = {
    Role.TRADING_CONTRACT: {"EnergyTrading"},
    Role.SETTLEMENT_CONTRACT: {"EnergySettlement", "EnergyCurtailment"},
    Role.CARBON_CONTRACT: {"CarbonLedger"},
}
# Who tries: every role's account, people without a role, and every contract.
CALLERS = (
    *(role.name for role in EXTERNAL_ROLES),
    "outsider",
    "deployer",
    "supplier",
    *(name for name in CONTRACTS if name != "MarketAccessManager"),
)
# The access manager's own functions: of its admin (delayed), or on the caller's own role and operations.
MANAGER_FUNCTIONS = {
    "cancel",
    "consumeScheduledOp",
    "execute",
    "grantRole",
    "labelRole",
    "multicall",
    "renounceRole",
    "revokeRole",
    "schedule",
    "setGrantDelay",
    "setRoleAdmin",
    "setRoleGuardian",
    "setTargetAdminDelay",
    "setTargetClosed",
    "setTargetFunctionRole",
    "updateAuthority",
}


def zero_of(item: Mapping[str, Any]) -> object:
    """The zero value of an ABI type."""
    kind = str(item["type"])
    if kind.endswith("]"):
        return []
    if kind == "tuple":
        return tuple(zero_of(part) for part in item["components"])
    zeros: dict[str, object] = {"address": "0x" + "00" * 20, "string": "", "bytes": b"", "bool": False}
    if kind in zeros:
        return zeros[kind]
    return bytes(32) if kind.startswith("bytes") else 0


def abi_functions(contract: str) -> dict[str, Mapping[str, Any]]:
    """Functions of the ABI by name."""
    entries: list[Any] = list(compiled().contract(contract).abi)
    return {entry["name"]: entry for entry in entries if entry["type"] == "function"}


def zero_arguments(contract: str, function: str) -> list[object]:
    """Arguments that decode and mean nothing."""
    return [zero_of(item) for item in abi_functions(contract)[function]["inputs"]]


@pytest.fixture(scope="module")
def shared_market() -> Market:
    """One market for all refusals: none of them changes anything."""
    return Market()


@pytest.fixture(scope="module")
def impersonators() -> dict[str, Market]:
    """For each contract a market in which it can be made to call anything."""
    markets = {contract: Market() for contract in CONTRACTS if contract != "MarketAccessManager"}
    for contract, market in markets.items():
        market.impersonate(contract)
    return markets


def callers(market: Market) -> dict[str, str]:
    """Everybody who might try, by name."""
    others = {"outsider": market.outsider, "deployer": market.deployer, "supplier": market.supplier}
    people = {role.name: holder for role, holder in market.holders.items()} | others
    return {name: one.address for name, one in people.items()} | market.at


def holder_names(role: Role) -> set[str]:
    """Who holds the role."""
    if role is Role.ADMIN:
        return {Role.REGULATOR.name}
    return CONTRACT_HOLDERS.get(role, {role.name})


def restricted_functions(market: Market) -> set[tuple[str, str]]:
    """Every function, by contract, that turns a stranger away; `setAuthority` asks for more than a role."""
    found = set()
    for contract in CONTRACTS:
        for function, entry in abi_functions(contract).items():
            if entry["stateMutability"] in ("view", "pure") or function == "setAuthority":
                continue
            with market.undone():
                error = refusal(market, market.outsider.address, contract, function, zero_arguments(contract, function))
            if error is not None and error.name == "AccessManagedUnauthorized":
                found.add((contract, function))
    return found


def test_the_table_names_every_restricted_function_and_no_other(shared_market: Market) -> None:
    assert restricted_functions(shared_market) == set(FUNCTION_ROLES)


def test_a_function_only_a_contract_may_call_has_that_contract_s_role() -> None:
    tabled = {key: CONTRACT_HOLDERS[role] for key, role in FUNCTION_ROLES.items() if role in CONTRACT_HOLDERS}
    assert tabled == CONTRACT_ONLY


# A contract made to call loses its own code, so it cannot be asked to call itself.
MATRIX = [(*key, caller) for key in FUNCTION_ROLES for caller in CALLERS if caller != key[0]]


@pytest.mark.parametrize(("contract", "function", "caller"), MATRIX)
def test_a_restricted_function_refuses_everybody_but_its_role(
    shared_market: Market, impersonators: dict[str, Market], contract: str, function: str, caller: str
) -> None:
    market, address = impersonators.get(caller, shared_market), callers(shared_market)[caller]
    with market.undone():
        error = refusal(market, address, contract, function, zero_arguments(contract, function))
    if caller in holder_names(FUNCTION_ROLES[contract, function]):
        assert error is None or error.name != "AccessManagedUnauthorized"
        if FUNCTION_ROLES[contract, function] is Role.ADMIN:
            assert error is not None
            assert error.name == "AccessManagerNotScheduled"
    else:
        assert error is not None
        assert (error.name, error.arguments) == ("AccessManagedUnauthorized", (address,))


def refusal(
    market: Market, caller: str, contract: str, function: str, arguments: list[object]
) -> ContractReverted | None:
    """The error, None if the call was accepted."""
    try:
        market.send(caller, contract, function, *arguments)
    except ContractReverted as error:
        return error
    return None


@pytest.mark.parametrize(("contract", "function"), FUNCTION_ROLES)
def test_the_access_manager_knows_the_role_of_each_function_and_only_the_admin_s_delay(
    shared_market: Market, contract: str, function: str
) -> None:
    role, target = FUNCTION_ROLES[contract, function], shared_market.at[contract]
    selector = shared_market.codecs[contract].selector(function)
    assert shared_market.view("MarketAccessManager", "getTargetFunctionRole", target, selector) == int(role)
    for name in holder_names(role):
        caller = callers(shared_market)[name]
        assert shared_market.view("MarketAccessManager", "canCall", caller, target, selector) == (
            (False, shared_market.parameters.admin_delay_s) if role is Role.ADMIN else (True, 0)
        )


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_function_that_changes_state_is_restricted_or_known_to_be_open(contract: str) -> None:
    functions = abi_functions(contract)
    changing = {name for name, entry in functions.items() if entry["stateMutability"] not in ("view", "pure")}
    restricted = {function for owner, function in FUNCTION_ROLES if owner == contract}
    opened = MANAGER_FUNCTIONS if contract == "MarketAccessManager" else OPEN_FUNCTIONS[contract]
    assert not restricted & opened
    assert changing == restricted | opened


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_bytecode_has_no_function_beside_the_abi(contract: str) -> None:
    artifact = compiled().contract(contract)
    assert {signature.split("(")[0] for signature in artifact.selectors} == set(abi_functions(contract))
    for signature, selector in artifact.selectors.items():
        assert keccak256(signature.encode())[:4] == selector
        assert selector.lstrip(b"\0") in artifact.deployed_bytecode


@pytest.mark.parametrize("contract", CONTRACTS)
def test_no_contract_takes_ether_or_an_unknown_call(shared_market: Market, contract: str) -> None:
    entries: list[Any] = list(compiled().contract(contract).abi)
    assert not [one for one in entries if one["type"] in ("fallback", "receive")]
    payable = {entry["name"] for entry in entries if entry.get("stateMutability") == "payable"}
    assert payable == ({"execute"} if contract == "MarketAccessManager" else set())
    for data in (b"", b"\xde\xad\xbe\xef"):
        with pytest.raises(ContractReverted) as caught:
            shared_market.transact(shared_market.outsider.address, shared_market.at[contract], data)
        assert caught.value.name == "0x"


# What restricts nothing has no authority.
MANAGED = [name for name in CONTRACTS if "setAuthority" in OPEN_FUNCTIONS[name]]


@pytest.mark.parametrize("contract", MANAGED)
def test_nobody_but_the_access_manager_moves_a_contract_to_another_authority(
    shared_market: Market, impersonators: dict[str, Market], contract: str
) -> None:
    for name, address in callers(shared_market).items():
        if name in ("MarketAccessManager", contract):
            continue
        error = refusal(impersonators.get(name, shared_market), address, contract, "setAuthority", [address])
        assert error is not None
        assert (error.name, error.arguments) == ("AccessManagedUnauthorized", (address,)), name


def test_the_deployer_has_no_role_left(shared_market: Market) -> None:
    for role in Role:
        member, _ = shared_market.view("MarketAccessManager", "hasRole", int(role), shared_market.deployer.address)
        assert member is False
    with pytest.raises(ContractReverted) as caught:
        shared_market.send(
            shared_market.deployer, "MarketAccessManager", "grantRole", 0, shared_market.deployer.address, 0
        )
    assert caught.value.name == "AccessManagerUnauthorizedAccount"


def test_each_role_has_exactly_its_planned_holder(shared_market: Market) -> None:
    everybody = callers(shared_market)
    for role in Role:
        holders = {
            name
            for name, address in everybody.items()
            if shared_market.view("MarketAccessManager", "hasRole", int(role), address)[0]
        }
        assert holders == holder_names(role)


def test_the_admin_acts_only_after_its_delay(market: Market) -> None:
    manager = market.at["MarketAccessManager"]
    grant = market.codecs["MarketAccessManager"].call_data("grantRole", int(Role.BANK), market.outsider.address, 0)
    with market.refuses("AccessManagerNotScheduled"):
        market.transact(market.regulator.address, manager, grant)
    market.send(market.regulator, "MarketAccessManager", "schedule", manager, grant, 0)
    market.move_to(market.now + 86_399)
    with market.refuses("AccessManagerNotReady"):
        market.transact(market.regulator.address, manager, grant)
    market.move_to(market.now + 1)
    market.transact(market.regulator.address, manager, grant)
    market.send(market.outsider, "SettlementToken", "issue", [market.outsider.address], [1])


def test_a_withdrawn_role_ends_at_once_after_the_delayed_decision(market: Market) -> None:
    manager = market.at["MarketAccessManager"]
    revoke = market.codecs["MarketAccessManager"].call_data("revokeRole", int(Role.BANK), market.bank.address)
    market.send(market.regulator, "MarketAccessManager", "schedule", manager, revoke, 0)
    market.move_to(market.now + 86_400)
    market.transact(market.regulator.address, manager, revoke)
    with market.refuses("AccessManagedUnauthorized", market.bank.address):
        market.send(market.bank, "SettlementToken", "issue", [market.bank.address], [1])
