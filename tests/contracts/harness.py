"""The whole market in an in-process EVM: the deployment plan, actors named by role, typed calls, builders.

Every call is a transaction of its own with the chain's gas limit. Reverts arrive as ContractReverted. Energy in Wh,
prices in cents per MWh, money in microcents, carbon in micrograms.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env

from gridledger.chain.codec import ContractCodec, ContractReverted, DecodedEvent, decode_revert, keccak256
from gridledger.chain.compiler import Artifacts, load_artifacts
from gridledger.chain.plan import (
    DeploymentParameters,
    PolicyParameters,
    SourceFactor,
    contract_addresses,
    deployment_steps,
)
from gridledger.chain.roles import EXTERNAL_ROLES, Role

__all__ = [
    "ACKNOWLEDGED",
    "BUY",
    "CHAIN_ID",
    "CURTAILED",
    "FIRST_MTU",
    "GAS_LIMIT",
    "MTU_LENGTH_S",
    "NOT_SCHEDULED",
    "NO_ORDER",
    "PENDING",
    "PROCEEDS",
    "Pair",
    "SELL",
    "SOLAR",
    "SPEC_ID",
    "TESTS_ROOT",
    "VOID",
    "ZONE",
    "EUR",
    "Actor",
    "ClearingData",
    "Kept",
    "Market",
    "Meter",
    "Receipt",
    "Signed",
    "compiled",
    "actor",
    "compact",
    "device_key",
    "floor_midpoint",
    "policy_tuple",
    "revert_bytes",
    "settle_arguments",
]

CHAIN_ID = 31_337
GAS_LIMIT = 2**24
MTU_LENGTH_S = 900
FIRST_MTU = 1_888_889 * MTU_LENGTH_S
GATE_CLOSURE_S = 300
ANSWER_LEAD_S = 60
ZONE = 1
SOLAR = 1
BUY, SELL = 0, 1
NO_ORDER = 2**16 - 1
ACKNOWLEDGED, CURTAILED = 1, 2
NOT_SCHEDULED, PENDING, PROCEEDS, VOID = range(4)
BOOK_NUMBER_BYTES = 8
SPEC_ID = "OSAKA"
TESTS_ROOT = Path(__file__).parent
EUR = 10**8

_REVERT = re.compile(r"Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}")
_ACCOUNT = re.compile(r"(0x[0-9a-f]{40}): Account \{")
_NONCE = re.compile(r"nonce: (\d+)")
_SLOT = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+)")
_ORDER_FIELDS = (
    ("owner", "address"),
    ("meter", "uint32"),
    ("side", "uint8"),
    ("product", "uint8"),
    ("pricing", "uint8"),
    ("firstMtuStart", "uint64"),
    ("lastMtuStart", "uint64"),
    ("quantityWh", "uint64"),
    ("limitCentsPerMwh", "int64"),
    ("expiry", "uint64"),
    ("salt", "uint64"),
)
_ANSWER_FIELDS = (
    ("zone", "uint32"),
    ("mtuStart", "uint64"),
    ("scheduleHash", "bytes32"),
    ("answer", "uint8"),
    ("reason", "uint16"),
)
_PERMIT_FIELDS = (
    ("owner", "address"),
    ("spender", "address"),
    ("value", "uint256"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
)
_DOMAIN_FIELDS = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))

ClearingData = dict[str, Any]


@cache
def compiled() -> Artifacts:
    """The project's contracts."""
    return load_artifacts()


@cache
def device_key(number: int) -> tuple[bytes, bytes]:
    """P-256 public key of test device `number`, x and y."""
    point = ec.derive_private_key(number + 1, ec.SECP256R1()).public_key().public_numbers()
    return point.x.to_bytes(32), point.y.to_bytes(32)


@cache
def _codecs(names: tuple[str, ...]) -> Mapping[str, ContractCodec]:
    return {name: ContractCodec(compiled().contract(name)) for name in names}


def floor_midpoint(lower: int, upper: int) -> int:
    """Midpoint rounded toward minus infinity, written here a second time on purpose."""
    return (lower + upper - (lower + upper) % 2) // 2


def compact(r: int, s: int, v: int) -> tuple[bytes, bytes]:
    """EIP-2098 form of a signature: r and vs."""
    return r.to_bytes(32), ((v - 27) << 255 | s).to_bytes(32)


def revert_bytes(error: RuntimeError) -> bytes:
    """What a reverted call returned. Re-raises everything that is no revert, such as running out of gas."""
    found = _REVERT.search(str(error))
    if found is None:
        raise error
    return bytes.fromhex(found.group(1))


@dataclass(frozen=True)
class Actor:
    """Somebody with a secp256k1 key; the address is in lower case, as results are decoded."""

    name: str
    account: LocalAccount = field(repr=False)

    @property
    def address(self) -> str:
        """0x and 40 hex digits."""
        return str(self.account.address).lower()


@cache
def actor(name: str) -> Actor:
    """The actor called `name`; the same name has the same key in every test."""
    return Actor(name, Account.from_key(keccak256(name.encode())))


@dataclass(frozen=True, kw_only=True)
class Meter:
    """A registered meter with its owner."""

    number: int
    owner: Actor
    zone: int
    source: int


@dataclass(frozen=True, kw_only=True)
class Signed:
    """An order and its owner's signature; `message` is the EIP-712 message."""

    message: Mapping[str, Any]
    uid: bytes
    r: bytes
    vs: bytes

    def presented(self, book_index: int) -> dict[str, Any]:
        """The contract's SignedOrder."""
        shown = {name: value for name, value in self.message.items() if name != "owner"}
        return {**shown, "bookIndex": book_index, "r": self.r, "vs": self.vs}


@dataclass(frozen=True)
class Receipt:
    """What a transaction did."""

    output: bytes
    gas_used: int
    events: tuple[DecodedEvent, ...]

    def named(self, name: str) -> tuple[DecodedEvent, ...]:
        """The events called `name`, in order."""
        return tuple(event for event in self.events if event.name == name)

    def one(self, name: str) -> Mapping[str, Any]:
        """Arguments of the only event called `name`."""
        (event,) = self.named(name)
        return event.arguments


@dataclass
class Kept:
    """Positions and trades of one clearing as the contract keeps them by hash; a second copy of its rules."""

    zone: int
    mtu_start: int
    positions: list[dict[str, Any]]
    trades: list[dict[str, Any]]

    def index_of(self, meter: Meter) -> int:
        """Index of the meter's position."""
        return next(index for index, one in enumerate(self.positions) if one["meter"] == meter.number)

    def advanced(self, indexes: Sequence[int], metered_wh: Sequence[int], *, proceeds: bool) -> "Kept":
        """What is kept after settling, or refunding, those positions."""
        after = deepcopy(self)
        for index, metered in zip(indexes, metered_wh, strict=True):
            after.positions[index].update(settled=True, meteredWh=metered if proceeds else 0)
        if proceeds:
            after._reward()
        return after

    def _reward(self) -> None:
        left = [self._fulfilled_wh(one) for one in self.positions]
        for trade in self.trades:
            seller, buyer = self.positions[trade["sell"]], self.positions[trade["buy"]]
            delivered = min(trade["energyWh"], left[trade["sell"]])
            consumed = min(trade["energyWh"], left[trade["buy"]])
            left[trade["sell"]] -= delivered
            left[trade["buy"]] -= consumed
            if seller["settled"] and buyer["settled"] and not trade["rewarded"]:
                served = min(delivered, consumed) if seller["source"] else 0
                trade.update(rewarded=True, rewardedWh=served)

    @staticmethod
    def _fulfilled_wh(position: Mapping[str, Any]) -> int:
        if not position["settled"]:
            return 0
        contracted, metered = position["contractedWh"], position["meteredWh"]
        return max(0, min(abs(contracted), metered if contracted > 0 else -metered))


class Market:
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
                self.view("EnergyDispatching", "scheduleHashOf", *key),
                self.view("EnergyDispatching", "outcomeOf", *key),
                self.view("MeterLedger", "anchorCount", *key),
            )
            for key in self.watched_mtus
        )
        return accounts, mtus, self.escrow(), self.view("LowCarbonToken", "totalSupply")

    @contextmanager
    def refuses(self, error: str, *arguments: object) -> Iterator[None]:
        """The call inside reverts with that error and, where given, those values; nothing of worth has changed."""
        before = self.fingerprint()
        try:
            yield
        except ContractReverted as refusal:
            assert refusal.name == error, refusal
            assert not arguments or refusal.arguments == arguments, refusal
        else:
            raise AssertionError(f"accepted, but should revert with {error}")
        assert self.fingerprint() == before

    # --- members and money ----------------------------------------------------------------------------------------

    def register(
        self,
        owner: Actor,
        *,
        import_w: int = 40_000,
        export_w: int = 0,
        source: int = 0,
        zone: int = ZONE,
        supplier: Actor | None = None,
    ) -> Meter:
        """Register a meter, admitting its owner where that is still to be done."""
        return self.register_many([owner], import_w, export_w, source, zone, supplier)[0]

    def register_many(
        self,
        owners: Sequence[Actor],
        import_w: int = 40_000,
        export_w: int = 0,
        source: int = 0,
        zone: int = ZONE,
        supplier: Actor | None = None,
    ) -> list[Meter]:
        """Register one meter for each owner, admitting owners where that is still to be done."""
        zero = "0x" + "00" * 20
        new = [one.address for one in owners if self.view("ParticipantRegistry", "supplierOf", one.address) == zero]
        if new:
            serving = (supplier or self.supplier).address
            self.send(self.grid_operator, "ParticipantRegistry", "admitParticipants", new, serving)
        count = self.view("ParticipantRegistry", "meterCount")
        rows = [
            (one.address, zone, import_w, export_w, source, *device_key(count + 1 + place))
            for place, one in enumerate(owners)
        ]
        receipt = self.send(self.grid_operator, "ParticipantRegistry", "registerMeters", rows)
        (first,) = self.codecs["ParticipantRegistry"].result("registerMeters", receipt.output)
        self.watched += [one.address for one in owners if one.address not in self.watched]
        return [Meter(number=first + place, owner=one, zone=zone, source=source) for place, one in enumerate(owners)]

    def producer(self, name: str, **options: Any) -> Meter:
        """A funded member with a solar meter."""
        settings: dict[str, Any] = {"import_w": 4_000, "export_w": 40_000, "source": SOLAR} | options
        return self._funded(name, settings)

    def consumer(self, name: str, **options: Any) -> Meter:
        """A funded member whose meter takes much energy and gives 100 Wh at most."""
        return self._funded(name, {"export_w": 400} | options)

    def _funded(self, name: str, settings: dict[str, Any]) -> Meter:
        eur = settings.pop("eur", 10)
        meter = self.register(actor(name), **settings)
        if eur:
            self.deposit(meter.owner, eur * EUR)
        return meter

    def fund(self, owner: Actor, amount_microcents: int) -> None:
        """Give settlement tokens and approve them for the trading contract."""
        self.send(self.bank, "SettlementToken", "issue", [owner.address], [amount_microcents])
        self.send(owner, "SettlementToken", "approve", self.at["EnergyTrading"], amount_microcents)

    def deposit(self, owner: Actor, amount_microcents: int) -> Receipt:
        """Fund and deposit."""
        self.fund(owner, amount_microcents)
        if owner.address not in self.watched:
            self.watched.append(owner.address)
        return self.send(owner, "EnergyTrading", "deposit", amount_microcents)

    def set_credit(self, owner: Actor, amount_microcents: int, supplier: Actor | None = None) -> Receipt:
        """A supplier's credit for its customer."""
        return self.send(supplier or self.supplier, "EnergyTrading", "setCredit", [owner.address], [amount_microcents])

    def free(self, owner: Actor) -> int:
        """Free balance, microcents; below zero while credit is used."""
        return int(self.view("EnergyTrading", "accountOf", owner.address)[0])

    def credit(self, owner: Actor) -> int:
        """Credit limit, microcents."""
        return int(self.view("EnergyTrading", "accountOf", owner.address)[1])

    def debt(self, debtor: Actor, creditor: Actor) -> int:
        """Recorded debt, microcents."""
        return int(self.view("EnergyTrading", "debtOf", debtor.address, creditor.address))

    def escrow(self) -> int:
        """Money locked for all clearings, microcents."""
        return int(self.view("EnergyTrading", "escrowMicrocents"))

    def held(self) -> int:
        """Settlement tokens the trading contract holds."""
        return int(self.view("SettlementToken", "balanceOf", self.at["EnergyTrading"]))

    def tokens(self, owner: Actor) -> int:
        """Low-carbon tokens, micrograms."""
        return int(self.view("LowCarbonToken", "balanceOf", owner.address))

    def assert_solvent(self) -> None:
        """What the contract holds is free, set aside behind credit, or in escrow; nobody is below the credit limit."""
        accounts = [self.view("EnergyTrading", "accountOf", one) for one in set(self.watched)]
        assert self.held() == sum(free + credit for free, credit in accounts) + self.escrow()
        assert all(free + credit >= 0 for free, credit in accounts)

    # --- orders, books, clearings ---------------------------------------------------------------------------------

    def typed(
        self, name: str, fields: Sequence[tuple[str, str]], message: Mapping[str, Any], contract: str, domain: str
    ) -> dict[str, Any]:
        """An EIP-712 document for one of the contracts."""
        return {
            "types": {
                "EIP712Domain": [{"name": one, "type": kind} for one, kind in _DOMAIN_FIELDS],
                name: [{"name": one, "type": kind} for one, kind in fields],
            },
            "primaryType": name,
            "domain": {
                "name": domain,
                "version": "1",
                "chainId": CHAIN_ID,
                "verifyingContract": self.at[contract],
            },
            "message": dict(message),
        }

    def order(self, meter: Meter, side: int, quantity_wh: int, limit: int, **changes: Any) -> Signed:
        """An order for the first MTU signed by the meter's owner; `signer` and any field can be changed."""
        signer: Actor = changes.pop("signer", meter.owner)
        mtu_start = changes.pop("mtu_start", FIRST_MTU)
        domain = changes.pop("domain", {})
        self._salt += 1
        message = {
            "owner": meter.owner.address,
            "meter": meter.number,
            "side": side,
            "product": 0,
            "pricing": 0,
            "firstMtuStart": mtu_start,
            "lastMtuStart": mtu_start,
            "quantityWh": quantity_wh,
            "limitCentsPerMwh": limit,
            "expiry": mtu_start,
            "salt": self._salt,
        } | changes
        document = self.typed("Order", _ORDER_FIELDS, message, "EnergyTrading", "gridledger")
        document["domain"] |= domain
        return self._signed(message, document, signer)

    @staticmethod
    def _signed(message: Mapping[str, Any], document: dict[str, Any], signer: Actor) -> Signed:
        signature = signer.account.sign_message(encode_typed_data(full_message=document))
        r, vs = compact(signature.r, signature.s, signature.v)
        return Signed(message=message, uid=bytes(signature.message_hash), r=r, vs=vs)

    @staticmethod
    def book(orders: Sequence[Signed]) -> bytes:
        """The committed list: running number and uid of each order."""
        return b"".join(number.to_bytes(BOOK_NUMBER_BYTES) + one.uid for number, one in enumerate(orders))

    def clearing(
        self,
        book: Sequence[Signed],
        matches: Sequence[tuple[Signed, Signed, int]],
        *,
        lower: Signed | None = None,
        upper: Signed | None = None,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
    ) -> ClearingData:
        """The contract's Clearing: `matches` are (offer, bid, energy), `lower` and `upper` name the interval's ends."""
        index = {one.uid: place for place, one in enumerate(book)}
        named = {one.uid: one for match in matches for one in match[:2]}
        filled = sorted(named.values(), key=lambda one: (one.message["meter"], index[one.uid]))
        ends = list({one.uid: one for one in (lower, upper) if one and one.uid not in named}.values())
        at = {one.uid: place for place, one in enumerate([*filled, *ends])}
        prices = self.view("GridPolicy", "pricesAt", mtu_start)
        low = lower.message["limitCentsPerMwh"] if lower else prices["floor"]
        high = upper.message["limitCentsPerMwh"] if upper else prices["cap"]
        return {
            "zone": zone,
            "mtuStart": mtu_start,
            "priceCentsPerMwh": floor_midpoint(low, high),
            "lowerEnd": at[lower.uid] if lower else NO_ORDER,
            "upperEnd": at[upper.uid] if upper else NO_ORDER,
            "book": self.book(book),
            "orders": [one.presented(index[one.uid]) for one in filled],
            "ends": [one.presented(index[one.uid]) for one in ends],
            "matches": [{"sell": at[s.uid], "buy": at[b.uid], "energyWh": wh} for s, b, wh in matches],
        }

    def commit_book(self, orders: Sequence[Signed], mtu_start: int = FIRST_MTU, zone: int = ZONE) -> Receipt:
        """Commit the book; the gate must be closed."""
        book_hash = keccak256(self.book(orders))
        arguments = (zone, mtu_start, book_hash, len(orders))
        receipt = self.send(self.market_operator, "EnergyTrading", "commitBook", *arguments)
        self.watched_mtus.append((zone, mtu_start))
        return receipt

    def clear(self, clearing: ClearingData) -> Receipt:
        """Propose a clearing."""
        return self.send(self.market_operator, "EnergyTrading", "clear", clearing)

    def kept_after(self, clearing: ClearingData, receipt: Receipt) -> Kept:
        """What the contract keeps by hash after accepting the clearing."""
        opened = [event.arguments for event in receipt.named("PositionOpened")]
        meters = [one["meter"] for one in opened]
        views = self.view("ParticipantRegistry", "lookup", meters)
        positions = [
            {
                "meter": one["meter"],
                "source": view["source"],
                "settled": False,
                "owner": one["owner"],
                "supplier": view["supplier"],
                "contractedWh": one["contractedWh"],
                "meteredWh": 0,
                "lockedMicrocents": one["lockedMicrocents"],
                "feeMicrocents": one["feeMicrocents"],
            }
            for one, view in zip(opened, views, strict=True)
        ]
        place = [meters.index(order["meter"]) for order in clearing["orders"]]
        trades = [
            {
                "sell": place[match["sell"]],
                "buy": place[match["buy"]],
                "energyWh": match["energyWh"],
                "rewardedWh": 0,
                "rewarded": False,
            }
            for match in clearing["matches"]
        ]
        return Kept(clearing["zone"], clearing["mtuStart"], positions, trades)

    def clear_book(
        self,
        book: Sequence[Signed],
        matches: Sequence[tuple[Signed, Signed, int]],
        *,
        lower: Signed | None = None,
        upper: Signed | None = None,
        mtu_start: int = FIRST_MTU,
        zone: int = ZONE,
    ) -> Kept:
        """Close the gate, commit the book and clear it."""
        self.close_gate(mtu_start)
        self.commit_book(book, mtu_start, zone)
        clearing = self.clearing(book, matches, lower=lower, upper=upper, mtu_start=mtu_start, zone=zone)
        return self.kept_after(clearing, self.clear(clearing))

    # --- dispatch, readings, settlement ---------------------------------------------------------------------------

    def signed_answer(
        self, answer: int, *, mtu_start: int = FIRST_MTU, zone: int = ZONE, reason: int = 0, **changes: Any
    ) -> tuple[object, ...]:
        """Arguments of `EnergyDispatching.answer`; `signer`, `schedule_hash` and `domain` can be changed."""
        signer: Actor = changes.get("signer", self.grid_operator)
        schedule_hash = changes.get("schedule_hash") or self.view(
            "EnergyDispatching", "scheduleHashOf", zone, mtu_start
        )
        message = {
            "zone": zone,
            "mtuStart": mtu_start,
            "scheduleHash": schedule_hash,
            "answer": answer,
            "reason": reason,
        }
        document = self.typed("DispatchAnswer", _ANSWER_FIELDS, message, "EnergyDispatching", "gridledger-dispatch")
        document["domain"] |= changes.get("domain", {})
        signed = self._signed(message, document, signer)
        return zone, mtu_start, answer, reason, signed.r, signed.vs

    def answer(self, answer: int, *, mtu_start: int = FIRST_MTU, zone: int = ZONE, reason: int = 0) -> Receipt:
        """The grid operator's answer, relayed by somebody without any role."""
        arguments = self.signed_answer(answer, mtu_start=mtu_start, zone=zone, reason=reason)
        return self.send(self.outsider, "EnergyDispatching", "answer", *arguments)

    def anchor(self, mtu_start: int = FIRST_MTU, zone: int = ZONE, *, sequence: int = 0) -> Receipt:
        """Anchor a batch of readings; the MTU must be over."""
        root = keccak256(f"readings {sequence}".encode())
        return self.send(self.relayer, "MeterLedger", "anchor", zone, mtu_start, sequence, root, 2)

    def settle(self, kept: Kept, metered_wh: Mapping[int, int], *, proceeds: bool = True) -> tuple[Kept, Receipt]:
        """Settle the positions at those indexes; returns what is kept then."""
        indexes, values = list(metered_wh), list(metered_wh.values())
        receipt = self.send(self.market_operator, "EnergyTrading", "settle", *settle_arguments(kept, indexes, values))
        return kept.advanced(indexes, values, proceeds=proceeds), receipt

    def permit(self, owner: Actor, amount_microcents: int, deadline: int) -> tuple[int, bytes, bytes]:
        """EIP-2612 permit for the trading contract: v, r, s."""
        message = {
            "owner": owner.address,
            "spender": self.at["EnergyTrading"],
            "value": amount_microcents,
            "nonce": self.view("SettlementToken", "nonces", owner.address),
            "deadline": deadline,
        }
        document = self.typed("Permit", _PERMIT_FIELDS, message, "SettlementToken", "gridledger settlement token")
        signature = owner.account.sign_message(encode_typed_data(full_message=document))
        return signature.v, signature.r.to_bytes(32), signature.s.to_bytes(32)

    # --- deployment -----------------------------------------------------------------------------------------------

    def _deploy(self) -> None:
        self.evm = _empty_evm()
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


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A solar producer and a consumer who agree on 600 Wh at 15,000 cents per MWh."""

    seller: Meter
    buyer: Meter
    offer: Signed
    bid: Signed
    mtu_start: int = FIRST_MTU

    @classmethod
    def of(cls, market: Market, **changes: Any) -> "Pair":
        """Register both, sign both orders; `offer_limit`, `bid_limit`, `quantity_wh`, `source`, `zone`, `mtu_start`."""
        zone, quantity_wh = changes.get("zone", ZONE), changes.get("quantity_wh", 600)
        mtu_start = changes.get("mtu_start", FIRST_MTU)
        seller = market.producer("producer", source=changes.get("source", SOLAR), zone=zone, eur=changes.get("eur", 10))
        buyer = market.consumer("consumer", zone=zone, eur=changes.get("eur", 10))
        return cls(
            mtu_start=mtu_start,
            seller=seller,
            buyer=buyer,
            offer=market.order(seller, SELL, quantity_wh, changes.get("offer_limit", 10_000), mtu_start=mtu_start),
            bid=market.order(buyer, BUY, quantity_wh, changes.get("bid_limit", 20_000), mtu_start=mtu_start),
        )

    @property
    def book(self) -> list[Signed]:
        """Both orders, the offer first."""
        return [self.offer, self.bid]

    @property
    def quantity_wh(self) -> int:
        """The traded energy."""
        return int(self.offer.message["quantityWh"])

    def clearing(self, market: Market) -> ClearingData:
        """The clearing that trades everything at the midpoint of both limits."""
        matches = [(self.offer, self.bid, self.quantity_wh)]
        return market.clearing(
            self.book, matches, lower=self.offer, upper=self.bid, mtu_start=self.mtu_start, zone=self.seller.zone
        )

    def cleared(self, market: Market) -> Kept:
        """Close the gate, commit the book and clear."""
        market.close_gate(self.mtu_start)
        market.commit_book(self.book, self.mtu_start, self.seller.zone)
        clearing = self.clearing(market)
        return market.kept_after(clearing, market.clear(clearing))

    def delivered(self, market: Market) -> Kept:
        """Cleared, acknowledged, over and anchored: ready to settle."""
        kept = self.cleared(market)
        market.answer(ACKNOWLEDGED, mtu_start=kept.mtu_start, zone=kept.zone)
        market.pass_mtu(kept.mtu_start)
        market.anchor(kept.mtu_start, kept.zone)
        return kept


def settle_arguments(kept: Kept, indexes: Sequence[int], metered_wh: Sequence[int]) -> tuple[object, ...]:
    """Arguments of `EnergyTrading.settle`."""
    return kept.zone, kept.mtu_start, kept.positions, kept.trades, list(indexes), list(metered_wh)


def policy_tuple(policy: PolicyParameters, **changes: Any) -> tuple[object, ...]:
    """The contract's Policy."""
    changed = replace(policy, **changes)
    return tuple(cast(Any, vars(changed)).values())
