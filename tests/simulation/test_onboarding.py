"""Joining and the oracle's posts, executed on the real contracts in process: every transaction succeeds as signed."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from tests.contracts.evm import DeployedMarket
from tests.contracts.words import EUR, FIRST_MTU, MTU_LENGTH_S
from tests.simulation.fake_node import CHAIN_ID, SEED, a_spec, artifacts

from gridledger.chain.codec import keccak256
from gridledger.chain.plan import contract_addresses
from gridledger.simulation.community import Community, form_community
from gridledger.simulation.devices import MeterDevice
from gridledger.simulation.inputs import load_carbon, load_prices
from gridledger.simulation.node_client import MarketFacts
from gridledger.simulation.onboarding import (
    BOND_EUR,
    MEMBER_CREDIT_EUR,
    SUPPLIER_DEPOSIT_EUR,
    Parties,
    deposit_microcents,
    joining_stages,
    permit_typed_data,
)
from gridledger.simulation.oracle import Oracle, origin_counts
from gridledger.simulation.timeline import timeline
from gridledger.simulation.transactions import ContractCalls, SignedTransaction
from gridledger.units import format_utc

METER_COUNT = 43  # more than one transaction holds


@pytest.fixture
def market() -> DeployedMarket:
    return DeployedMarket()


def addresses_of(market: DeployedMarket) -> dict[str, str]:
    return contract_addresses(market.deployer.account.address)


def facts_of(market: DeployedMarket) -> MarketFacts:
    return MarketFacts(
        chain_id=CHAIN_ID,
        mtu_length_s=MTU_LENGTH_S,
        now=market.now,
        accounts={"market_operator": market.market_operator.address},
        contracts=addresses_of(market),
        grid_operators={1: market.grid_operator.address},
    )


def stages_of(market: DeployedMarket, community: Community) -> tuple[tuple[SignedTransaction, ...], ...]:
    parties = Parties(
        grid_operator=market.grid_operator.account, bank=market.bank.account, supplier=market.supplier.account
    )
    calls = ContractCalls(artifacts(), addresses_of(market))
    return joining_stages(community, parties, calls, facts_of(market), FIRST_MTU)


def execute(market: DeployedMarket, transactions: Sequence[SignedTransaction]) -> list[int]:
    """Run the signed bytes as a chain would; returns the nonces."""
    nonces = []
    for transaction in transactions:
        assert transaction.transaction_hash == "0x" + keccak256(bytes.fromhex(transaction.raw[2:])).hex()
        fields = TypedTransaction.from_bytes(HexBytes(transaction.raw)).as_dict()
        sender = str(Account.recover_transaction(transaction.raw))
        receipt = market.transact(sender, "0x" + bytes(fields["to"]).hex(), bytes(fields["data"]))
        assert receipt.gas_used <= fields["gas"] <= 2**24
        assert fields["chainId"] == CHAIN_ID
        assert fields["maxFeePerGas"] == fields["maxPriorityFeePerGas"] == fields["value"] == 0
        nonces.append(fields["nonce"])
    return nonces


def test_everybody_is_in_with_meters_devices_money_and_credit(market: DeployedMarket) -> None:
    specs = [a_spec(f"m{number:02}", source="solar" if number % 2 else "none") for number in range(1, METER_COUNT + 1)]
    community = form_community(specs, SEED)
    for stage in stages_of(market, community):
        execute(market, stage)
    assert market.view("ParticipantRegistry", "meterCount") == METER_COUNT
    views = [market.view("ParticipantRegistry", "meterOf", meter.number) for meter in community.meters]
    for meter, member, view in zip(community.meters, community.members, views, strict=True):
        owner = member.account.address
        key = MeterDevice(meter, MTU_LENGTH_S).public_key
        assert view["owner"] == owner.lower()
        assert view["supplier"] == market.supplier.address
        assert (view["importCapacityW"], view["exportCapacityW"]) == (4_000, 8_000)
        assert view["source"] == meter.number % 2
        assert market.view("ParticipantRegistry", "deviceKey", meter.number) == (key.x, key.y)
        deposit, credit = deposit_microcents(member), MEMBER_CREDIT_EUR * EUR
        assert market.view("EnergyTrading", "accountOf", owner) == (deposit, credit)
    free, _ = market.view("EnergyTrading", "accountOf", market.supplier.address)
    assert free == SUPPLIER_DEPOSIT_EUR * EUR
    assert market.view("SettlementToken", "balanceOf", market.market_operator.address) == BOND_EUR * EUR


def test_each_account_counts_its_nonces_from_zero(market: DeployedMarket) -> None:
    community = form_community([a_spec(f"m{number:02}") for number in range(METER_COUNT)], SEED)
    nonces = [execute(market, stage) for stage in stages_of(market, community)]
    assert nonces == [[0, 1], [2, 3], [0, 1], [0, 1, 2, 3], [0] * METER_COUNT]


def test_the_same_seed_joins_with_the_same_bytes(market: DeployedMarket) -> None:
    specs = [a_spec("a"), a_spec("b")]
    assert stages_of(market, form_community(specs, SEED)) == stages_of(market, form_community(specs, SEED))
    assert stages_of(market, form_community(specs, SEED)) != stages_of(market, form_community(specs, SEED + 1))


def test_an_owner_of_several_meters_joins_once_and_pays_in_for_all(market: DeployedMarket) -> None:
    community = form_community([a_spec("a", owner="o"), a_spec("b", owner="o")], SEED)
    for stage in stages_of(market, community):
        execute(market, stage)
    (member,) = community.members
    assert deposit_microcents(member) == (10_000 + 24 * 4_000) * EUR
    assert market.view("EnergyTrading", "accountOf", member.account.address)[0] == deposit_microcents(member)


def test_the_permit_digest_is_the_one_eip_2612_prescribes() -> None:
    token, owner, spender = ("0x" + byte * 20 for byte in ("11", "22", "33"))
    document = permit_typed_data(
        token=token, chain_id=CHAIN_ID, owner=owner, spender=spender, value=5, nonce=0, deadline=9
    )
    encoded = encode_typed_data(full_message=document)

    def word(value: int | str) -> bytes:
        return value.to_bytes(32) if isinstance(value, int) else bytes.fromhex(value[2:]).rjust(32, b"\0")

    domain_type = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    names = keccak256(b"gridledger settlement token") + keccak256(b"1")
    separator = keccak256(keccak256(domain_type) + names + word(CHAIN_ID) + word(token))
    permit_type = b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    fields = word(owner) + word(spender) + word(5) + word(0) + word(9)
    struct = keccak256(keccak256(permit_type) + fields)
    assert (encoded.version, encoded.header, encoded.body) == (b"\x01", separator, struct)


def test_the_oracle_posts_prices_and_factors_as_the_files_say(market: DeployedMarket, tmp_path: Path) -> None:
    hours = [FIRST_MTU // 3600 * 3600 + 3600 * hour for hour in range(3)]
    prices_path, carbon_path = tmp_path / "prices.csv", tmp_path / "carbon.csv"
    price_rows = (f"{format_utc(hour)},{text}" for hour, text in zip(hours, ("-12.34", "50.00", ""), strict=True))
    prices_path.write_text("\n".join(("interval_start,price_eur_per_mwh", *price_rows)) + "\n")
    carbon_rows = (f"{format_utc(hour)},{text}" for hour, text in zip(hours, ("363.5", "", "400"), strict=True))
    carbon_path.write_text("\n".join(("interval_start,gco2_per_kwh", *carbon_rows)) + "\n")
    prices, carbon = load_prices(prices_path), load_carbon(carbon_path)
    starts = [FIRST_MTU + place * MTU_LENGTH_S for place in (0, 1, 5, 6, 7)]
    steps = timeline(starts, mtu_length_s=MTU_LENGTH_S, gate_closure_s=300, with_oracle=True)
    oracle = Oracle(
        prices=prices,
        carbon=carbon,
        mtu_length_s=MTU_LENGTH_S,
        account=market.oracle.account,
        calls=ContractCalls(artifacts(), addresses_of(market)),
        chain_id=CHAIN_ID,
        steps=steps,
    )
    nonces: list[int] = []
    for step in steps:
        if step.kind.name == "ORACLE_POSTS":
            market.move_to(step.time_s)
            nonces += execute(market, oracle.transactions(step))
    assert nonces == [0, 1, 2, 3]
    for mtu_start in starts:
        assert market.view("GridPolicy", "pricesAt", mtu_start)["feedIn"] == prices.at(mtu_start).value
        assert market.view("CarbonLedger", "gridFactorAt", mtu_start) == carbon.at(mtu_start).value
    origins = {"carried": sum(prices.at(start).origin == "carried" for start in starts)}
    assert origin_counts(prices, starts)["carried"] == origins["carried"]
    assert origin_counts(None, starts) == {}


def test_a_full_days_post_of_the_oracle_fits_into_its_gas(market: DeployedMarket, tmp_path: Path) -> None:
    first_hour = FIRST_MTU // 3600 * 3600
    rows = "".join(f"{format_utc(first_hour + 3600 * hour)},{hour}\n" for hour in range(26))
    prices_path, carbon_path = tmp_path / "prices.csv", tmp_path / "carbon.csv"
    prices_path.write_text("interval_start,price_eur_per_mwh\n" + rows)
    carbon_path.write_text("interval_start,gco2_per_kwh\n" + rows)
    starts = [FIRST_MTU + place * MTU_LENGTH_S for place in range(96)]
    steps = timeline(starts, mtu_length_s=MTU_LENGTH_S, gate_closure_s=300, with_oracle=True)
    oracle = Oracle(
        prices=load_prices(prices_path),
        carbon=load_carbon(carbon_path),
        mtu_length_s=MTU_LENGTH_S,
        account=market.oracle.account,
        calls=ContractCalls(artifacts(), addresses_of(market)),
        chain_id=CHAIN_ID,
        steps=steps,
    )
    market.move_to(steps[0].time_s)
    assert steps[0].mtu_count == 96
    assert execute(market, oracle.transactions(steps[0])) == [0, 1]
