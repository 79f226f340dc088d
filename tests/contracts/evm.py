"""The deployment plan executed in an in-process EVM, with actors named by role, a clock, typed calls and errors.

Every call is a transaction of its own with the chain's gas limit. Reverts arrive as ContractReverted.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env
from tests.contracts.words import (
    CHAIN_ID,
    FIRST_MTU,
    GAS_LIMIT,
    MTU_LENGTH_S,
    SOLAR,
    SPEC_ID,
    ZONE,
    Actor,
    Receipt,
    actor,
)

from gridledger.chain.codec import ContractCodec, ContractReverted, DecodedEvent, decode_revert
from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.chain.plan import (
    DeploymentParameters,
    PolicyParameters,
    SourceFactor,
    contract_addresses,
    deployment_steps,
)
from gridledger.chain.roles import EXTERNAL_ROLES, Role

WATCHED_CHUNKS = 3
_REVERT = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}")
_ACCOUNT = re.compile(r"(0x[0-9a-f]{40}): Account \{")
_NONCE = re.compile(r"nonce: (\d+)")
_SLOT = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+)")


@cache
def compiled() -> Artifacts:
    """The project's contracts."""
    return load_artifacts()


@cache
def _codecs(names: tuple[str, ...]) -> Mapping[str, ContractCodec]:
    return {name: ContractCodec(compiled().contract(name)) for name in names}


def revert_bytes(error: RuntimeError) -> bytes:
    """What a reverted call returned. Re-raises everything that is no revert, such as running out of gas."""
    found = _REVERT.search(str(error))
    if found is None:
        raise error
    return bytes.fromhex(found.group(1))


class DeployedMarket:
    """A freshly deployed market whose clock stands an hour before the first MTU."""

    def __init__(
        self,
        *,
        policy: PolicyParameters | None = None,
        mtu_length_s: int = MTU_LENGTH_S,
        zones: tuple[int, ...] = (ZONE,),
        policy_delay_s: int = 86_400,
        gas_limit: int = GAS_LIMIT,
    ) -> None:
        self.policy = policy or PolicyParameters()
        self.mtu_length_s = mtu_length_s
        self.gas_limit = gas_limit
        self.deployer, self.outsider = actor("deployer"), actor("outsider")
        self.holders = {role: actor(role.name.lower()) for role in EXTERNAL_ROLES}
        self.regulator, self.grid_operator = self.holders[Role.REGULATOR], self.holders[Role.GRID_OPERATOR]
        self.market_operator, self.relayer = self.holders[Role.MARKET_OPERATOR], self.holders[Role.RELAYER]
        self.oracle, self.bank = self.holders[Role.ORACLE], self.holders[Role.BANK]
        self.supplier, self.other_supplier = actor("supplier"), actor("other supplier")
        self.parameters = DeploymentParameters(
            mtu_length_s=mtu_length_s,
            policy=self.policy,
            accounts={role: holder.address for role, holder in self.holders.items()},
            suppliers=(self.supplier.address, self.other_supplier.address),
            zones=zones,
            source_factors=(SourceFactor(source=SOLAR, factor_mgco2_per_kwh=41_000, citation="test"),),
            policy_delay_s=policy_delay_s,
        )
        self.at = {name: address.lower() for name, address in contract_addresses(self.deployer.address).items()}
        self.codecs = _codecs(tuple(self.at))
        self._by_address = {address: self.codecs[name] for name, address in self.at.items()}
        self.watched: list[str] = [self.at["EnergyTrading"], *(one.address for one in self.holders.values())]
        self.watched += [self.supplier.address, self.other_supplier.address]
        self.watched_mtus: list[tuple[int, int]] = []
        self._salt = 0
        self._base: dict[str, tuple[int, dict[int, int]]] = {}
        self._now = FIRST_MTU - 3_600
        self.evm: EVM = _empty_evm()
        self._deploy()

    # --- time -----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Time of the present block, Unix seconds."""
        return self._now

    def move_to(self, moment: int) -> None:
        """Set the block time; tests may also look back."""
        self._now = moment
        self.evm.set_block_env(BlockEnv(number=1 + moment - FIRST_MTU + 10**7, timestamp=moment))

    def close_gate(self, mtu_start: int = FIRST_MTU) -> None:
        """Move to the gate closure of the MTU."""
        self.move_to(mtu_start - self.policy.gate_closure_s)

    def pass_mtu(self, mtu_start: int = FIRST_MTU) -> None:
        """Move to the end of the MTU."""
        self.move_to(mtu_start + self.mtu_length_s)

    # --- calls ----------------------------------------------------------------------------------------------------

    def send(self, caller: Actor | str, contract: str, function: str, *arguments: object) -> Receipt:
        """One transaction. Raises ContractReverted."""
        data = self.codecs[contract].call_data(function, *arguments)
        return self.transact(caller if isinstance(caller, str) else caller.address, self.at[contract], data)

    def view(self, contract: str, function: str, *arguments: object) -> Any:
        """The result of a view: one value, or a tuple of several."""
        codec = self.codecs[contract]
        data = codec.call_data(function, *arguments)
        values = codec.result(function, self._message(self.outsider.address, self.at[contract], data, is_static=True))
        return values[0] if len(values) == 1 else values

    def transact(self, caller: str, to: str, data: bytes) -> Receipt:
        """Raw call data as a transaction. Raises ContractReverted."""
        self.evm.reset_transient_storage()
        output = self._message(caller, to, data, is_static=False)
        result = self.evm.result
        assert result is not None
        return Receipt(output, result.gas_used, tuple(self._decoded(log) for log in result.logs))

    def _message(self, caller: str, to: str, data: bytes, *, is_static: bool) -> bytes:
        try:
            return bytes(
                self.evm.message_call(caller=caller, to=to, calldata=data, gas=self.gas_limit, is_static=is_static)
            )
        except RuntimeError as error:
            raise decode_revert(compiled(), revert_bytes(error)) from None

    def _decoded(self, log: Any) -> DecodedEvent:
        topics, data = log.data
        return self._by_address[log.address.lower()].event([bytes(topic) for topic in topics], bytes(data))

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Whatever happens inside is taken back."""
        checkpoint, now, salt = self.evm.snapshot(), self._now, self._salt
        watched, watched_mtus = list(self.watched), list(self.watched_mtus)
        try:
            yield
        finally:
            self.evm.revert(checkpoint)
            self.move_to(now)
            self._salt, self.watched, self.watched_mtus = salt, watched, watched_mtus

    def attempt(self, caller: Actor | str, contract: str, function: str, *arguments: object) -> str | Receipt:
        """The receipt, or the name of the error."""
        try:
            return self.send(caller, contract, function, *arguments)
        except ContractReverted as refusal:
            return refusal.name

    def impersonate(self, contract: str) -> str:
        """Take the code away from a contract so that its address can send transactions; returns the address."""
        self.rebase(without_code=self.at[contract])
        return self.at[contract]

    def rebase(self, without_code: str = "") -> None:
        """Move the state into a fresh EVM, so that the next call pays for cold storage as the first of a block does.

        The in-process EVM is one endless transaction: what was touched once stays warm. Its journal names every slot.
        """
        accounts = _ACCOUNT.split(self.evm.journal_str)[1:]
        for address, text in zip(accounts[::2], accounts[1::2], strict=True):
            nonce = _NONCE.search(text)
            _, slots = self._base.setdefault(address, (0, {}))
            slots |= {int(slot): int(value) for slot, value in _SLOT.findall(text)}
            self._base[address] = (int(nonce.group(1)) if nonce else 0, slots)
        old = self.evm
        self.evm = _empty_evm()
        for address, (nonce_value, slots) in self._base.items():
            code = None if address == without_code else old.get_code(address)
            self.evm.insert_account_info(address, AccountInfo(nonce=nonce_value, code=bytes(code) if code else None))
            for slot, value in slots.items():
                # The first slot of an account not loaded yet goes to the database; taking the loading back keeps it so.
                checkpoint = self.evm.snapshot()
                self.evm.insert_account_storage(address, slot, value)
                self.evm.revert(checkpoint)
        self.move_to(self._now)

    def fingerprint(self) -> tuple[object, ...]:
        """Everything of worth: balances, credits, escrow, tokens, clearings, dispatch outcomes and anchors."""
        accounts = tuple(
            (
                self.view("EnergyTrading", "accountOf", one),
                self.view("SettlementToken", "balanceOf", one),
                self.view("LowCarbonToken", "balanceOf", one),
            )
            for one in self.watched
        )
        mtus = tuple(
            (
                self.view("EnergyTrading", "clearingOf", *key),
                *(self.view("EnergyTrading", "stateHashOf", *key, chunk) for chunk in range(WATCHED_CHUNKS)),
                self.view("EnergyDispatching", "scheduleHashOf", *key),
                self.view("EnergyDispatching", "outcomeOf", *key),
                self.view("MeterLedger", "settlementState", *key),
            )
            for key in self.watched_mtus
        )
        return (
            accounts,
            mtus,
            self.view("EnergyTrading", "escrowMicrocents"),
            self.view("LowCarbonToken", "totalSupply"),
        )

    @contextmanager
    def refuses(self, error: str, *arguments: object) -> Iterator[None]:
        """The call inside reverts with that error and, where given, those values; nothing of worth has changed."""
        before = self.fingerprint()
        with pytest.raises(ContractReverted) as caught:
            yield
        assert caught.value.name == error, caught.value
        assert not arguments or caught.value.arguments == arguments, caught.value
        assert self.fingerprint() == before

    # --- deployment -----------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        self.move_to(self._now)
        for step in deployment_steps(compiled(), self.parameters, self.deployer.address):
            if step.to is None:
                created = self._create(step.data)
                assert created.lower() == self.at[step.title.removeprefix("create ")]
            else:
                self.transact(self.deployer.address, step.to.lower(), step.data)

    def _create(self, code: bytes) -> str:
        try:
            return self.evm.deploy(deployer=self.deployer.address, code=code)
        except RuntimeError as error:
            raise decode_revert(compiled(), revert_bytes(error)) from None


def _empty_evm() -> EVM:
    return EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN_ID)), spec_id=SPEC_ID)
