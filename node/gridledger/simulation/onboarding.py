"""How the community joins a fresh market: every party signs its own transactions, the node only relays them.

In this order, one stage after the other: the grid operator admits the members and registers their meters, the bank
issues settlement tokens, the supplier deposits and grants credit, each member deposits with a permit (EIP-2612).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.chain.market_config import SOURCE_NONE, SOURCE_SOLAR
from gridledger.simulation.community import Community, Member, NumberedMeter
from gridledger.simulation.devices import MeterDevice
from gridledger.simulation.node_client import MarketFacts, NodeClient
from gridledger.simulation.transactions import ContractCaller, ContractCalls, SignedTransaction, include
from gridledger.units import MICROCENTS_PER_EUR

__all__ = ["Parties", "deposit_microcents", "join", "joining_stages", "permit_typed_data"]

ITEMS_PER_TRANSACTION = 40
TOKEN_NAME, TOKEN_VERSION = "gridledger settlement token", "1"

# Play money, chosen so that no order is ever short of it: 1 kW drawn without pause for three weeks costs about 180 EUR
# at the default retail price and fee, and a year of it about 3,000 EUR.
MEMBER_DEPOSIT_EUR = 10_000
MEMBER_DEPOSIT_EUR_PER_KW = 4_000
MEMBER_CREDIT_EUR = 100
SUPPLIER_DEPOSIT_EUR = 1_000_000  # on top of what stands behind the members' credit
BOND_EUR = 10_000  # of the market operator, as much as a node wants by default

BASE_GAS = 200_000
GAS_PER_ADMISSION = 60_000
GAS_PER_METER = 160_000
GAS_PER_ISSUE = 60_000
GAS_PER_CREDIT = 80_000
GAS_DEPOSIT = 300_000
WATTS_PER_KW = 1000
_SOURCES = {"none": SOURCE_NONE, "solar": SOURCE_SOLAR}

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Parties:
    """The role holders' keys as far as joining needs them."""

    grid_operator: LocalAccount
    bank: LocalAccount
    supplier: LocalAccount


def join(
    node: NodeClient, community: Community, parties: Parties, calls: ContractCalls, facts: MarketFacts, deadline_s: int
) -> None:
    """Bring everybody in, or find that they are in already. Raises RequestRefused, TransactionFailed.

    `deadline_s`: Unix second until which the members' permits hold; the same in every repetition of a run.
    """
    stages = joining_stages(community, parties, calls, facts, deadline_s)
    last = node.transaction(stages[-1][-1].transaction_hash)
    if last is not None and last.state == "mined":
        return
    for stage in stages:
        include(node, stage, facts.now)


def joining_stages(
    community: Community, parties: Parties, calls: ContractCalls, facts: MarketFacts, deadline_s: int
) -> tuple[tuple[SignedTransaction, ...], ...]:
    """All transactions, signed; each stage needs the ones before it."""
    grid_operator = ContractCaller(parties.grid_operator, calls, facts.chain_id)
    bank = ContractCaller(parties.bank, calls, facts.chain_id)
    supplier_address = str(parties.supplier.address)
    credit = _supplier_transactions(community, ContractCaller(parties.supplier, calls, facts.chain_id), calls)
    return (
        tuple(_admissions(community, grid_operator, supplier_address)),
        tuple(_registrations(community, grid_operator, facts.mtu_length_s)),
        tuple(_issues(community, bank, supplier_address, facts.accounts["market_operator"])),
        tuple(credit),
        tuple(_deposit(member, calls, facts.chain_id, deadline_s) for member in community.members),
    )


def deposit_microcents(member: Member) -> int:
    """What a member pays in: a sum, and more for larger connections."""
    watts = sum(meter.spec.import_capacity_w + meter.spec.export_capacity_w for meter in member.meters)
    per_kw_eur = -(-watts // WATTS_PER_KW) * MEMBER_DEPOSIT_EUR_PER_KW
    return (MEMBER_DEPOSIT_EUR + per_kw_eur) * MICROCENTS_PER_EUR


def permit_typed_data(
    *, token: str, chain_id: int, owner: str, spender: str, value: int, nonce: int, deadline: int
) -> dict[str, Any]:
    """The EIP-2612 document an owner signs so that `spender` may take `value` microcents until `deadline`."""
    fields = (
        ("owner", "address"),
        ("spender", "address"),
        ("value", "uint256"),
        ("nonce", "uint256"),
        ("deadline", "uint256"),
    )
    domain = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in domain],
            "Permit": [{"name": name, "type": kind} for name, kind in fields],
        },
        "primaryType": "Permit",
        "domain": {"name": TOKEN_NAME, "version": TOKEN_VERSION, "chainId": chain_id, "verifyingContract": token},
        "message": {"owner": owner, "spender": spender, "value": value, "nonce": nonce, "deadline": deadline},
    }


def _admissions(community: Community, grid_operator: ContractCaller, supplier: str) -> Iterator[SignedTransaction]:
    for members in _chunks(community.members):
        gas = BASE_GAS + GAS_PER_ADMISSION * len(members)
        accounts = [member.account.address for member in members]
        yield grid_operator.call(gas, "ParticipantRegistry", "admitParticipants", accounts, supplier)


def _registrations(
    community: Community, grid_operator: ContractCaller, mtu_length_s: int
) -> Iterator[SignedTransaction]:
    accounts = {member.owner: str(member.account.address) for member in community.members}
    for meters in _chunks(community.meters):
        gas = BASE_GAS + GAS_PER_METER * len(meters)
        registrations = [_registration(meter, accounts[meter.spec.owner], mtu_length_s) for meter in meters]
        yield grid_operator.call(gas, "ParticipantRegistry", "registerMeters", registrations)


def _registration(meter: NumberedMeter, owner: str, mtu_length_s: int) -> Mapping[str, object]:
    key = MeterDevice(meter, mtu_length_s).public_key
    return {
        "owner": owner,
        "zone": meter.spec.zone,
        "importCapacityW": meter.spec.import_capacity_w,
        "exportCapacityW": meter.spec.export_capacity_w,
        "source": _SOURCES[meter.spec.source],
        "deviceKeyX": key.x,
        "deviceKeyY": key.y,
    }


def _issues(community: Community, bank: ContractCaller, supplier: str, operator: str) -> Iterator[SignedTransaction]:
    sums = [(str(member.account.address), deposit_microcents(member)) for member in community.members]
    sums.append((supplier, _supplier_deposit_microcents(community)))
    sums.append((operator, BOND_EUR * MICROCENTS_PER_EUR))
    for chunk in _chunks(sums):
        accounts, amounts = [account for account, _ in chunk], [amount for _, amount in chunk]
        yield bank.call(BASE_GAS + GAS_PER_ISSUE * len(chunk), "SettlementToken", "issue", accounts, amounts)


def _supplier_transactions(
    community: Community, supplier: ContractCaller, calls: ContractCalls
) -> Iterator[SignedTransaction]:
    amount = _supplier_deposit_microcents(community)
    yield supplier.call(GAS_DEPOSIT, "SettlementToken", "approve", calls.addresses["EnergyTrading"], amount)
    yield supplier.call(GAS_DEPOSIT, "EnergyTrading", "deposit", amount)
    for members in _chunks(community.members):
        accounts = [member.account.address for member in members]
        credits_microcents = [MEMBER_CREDIT_EUR * MICROCENTS_PER_EUR] * len(members)
        gas = BASE_GAS + GAS_PER_CREDIT * len(members)
        yield supplier.call(gas, "EnergyTrading", "setCredit", accounts, credits_microcents)


def _deposit(member: Member, calls: ContractCalls, chain_id: int, deadline_s: int) -> SignedTransaction:
    amount = deposit_microcents(member)
    document = permit_typed_data(
        token=calls.addresses["SettlementToken"],
        chain_id=chain_id,
        owner=str(member.account.address),
        spender=calls.addresses["EnergyTrading"],
        value=amount,
        nonce=0,
        deadline=deadline_s,
    )
    permit = member.account.sign_message(encode_typed_data(full_message=document))
    r, s = permit.r.to_bytes(32), permit.s.to_bytes(32)
    caller = ContractCaller(member.account, calls, chain_id)
    return caller.call(GAS_DEPOSIT, "EnergyTrading", "depositWithPermit", amount, deadline_s, permit.v, r, s)


def _supplier_deposit_microcents(community: Community) -> int:
    return (SUPPLIER_DEPOSIT_EUR + MEMBER_CREDIT_EUR * len(community.members)) * MICROCENTS_PER_EUR


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for begin in range(0, len(items), ITEMS_PER_TRANSACTION):
        yield items[begin : begin + ITEMS_PER_TRANSACTION]
