"""Words of the contract tests: constants, people with keys, signed orders, what a clearing leaves to be settled.

Energy in Wh, prices in cents per MWh, money in microcents, carbon in micrograms.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32

from gridledger.chain.codec import DecodedEvent, keccak256
from gridledger.chain.plan import PolicyParameters
from gridledger.market.locking import Proposal
from gridledger.market.model import Acceptance, Order, Position, SignedAcceptance, SignedOrder, Trade
from gridledger.market.order_hash import OrderDomain, acceptance_uid, order_uid
from gridledger.market.packing import position_words, trade_word
from gridledger.market.settlement import refund_positions, settle_positions, substitute_positions

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
ACKNOWLEDGED, CURTAILED, STOPPED = 1, 2, 3
NOT_SCHEDULED, PENDING, PROCEEDS, CAPPED, VOID = range(5)
UNCHECKED, KEPT_ORDER, BROKEN_ORDER = range(3)
OPEN, PARTIAL, CLEARED = range(3)
SPEC_ID = "OSAKA"
TESTS_ROOT = Path(__file__).parent
EUR = 10**8

ORDER_FIELDS = (
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
ACCEPTANCE_FIELDS = (
    ("owner", "address"),
    ("meter", "uint32"),
    ("offerUid", "bytes32"),
    ("mtuStart", "uint64"),
    ("quantityWh", "uint64"),
    ("salt", "uint64"),
)
ANSWER_FIELDS = (
    ("zone", "uint32"),
    ("mtuStart", "uint64"),
    ("scheduleHash", "bytes32"),
    ("answer", "uint8"),
    ("reason", "uint16"),
)
CAP_FIELDS = (("meter", "uint32"), ("capWh", "uint64"))
CURTAILMENT_FIELDS = (
    ("zone", "uint32"),
    ("mtuStart", "uint64"),
    ("scheduleHash", "bytes32"),
    ("direction", "uint8"),
    ("reason", "uint16"),
    ("emergency", "bool"),
    ("sequence", "uint32"),
    ("caps", "Cap[]"),
)
STOP_FIELDS = (("zone", "uint32"), ("firstMtuStart", "uint64"), ("mtuCount", "uint32"), ("reason", "uint16"))
PERMIT_FIELDS = (
    ("owner", "address"),
    ("spender", "address"),
    ("value", "uint256"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
)
_DOMAIN_FIELDS = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))

CLEARING_FIELDS = (
    "zone",
    "mtuStart",
    "chunk",
    "last",
    "merged",
    "anyPrice",
    "lowCarbonPrice",
    "anyEnds",
    "lowCarbonEnds",
    "bookNumbers",
    "otherUids",
    "orders",
    "ends",
    "acceptedOffers",
    "continuedMeters",
    "setpointsRoot",
)
# First bit and width of each part of the word `terms` of a presented order, as OrderTerms reads it.
TERMS = {
    "meter": (0, 32),
    "side": (32, 1),
    "product": (33, 1),
    "pricing": (34, 1),
    "acceptance": (35, 1),
    "unused": (36, 4),
    "first_mtu_start": (40, 40),
    "last_mtu_start": (80, 40),
    "expiry": (120, 40),
    "quantity_wh": (160, 40),
    "fill_wh": (200, 40),
    "book_index": (240, 16),
}

ClearingData = dict[str, Any]
AnySigned = SignedOrder | SignedAcceptance


@cache
def device_key(number: int) -> tuple[bytes, bytes]:
    """P-256 public key of test device `number`, x and y."""
    point = ec.derive_private_key(number + 1, ec.SECP256R1()).public_key().public_numbers()
    return point.x.to_bytes(32), point.y.to_bytes(32)


def floor_midpoint(lower: int, upper: int) -> int:
    """Midpoint rounded toward minus infinity, written here a second time on purpose."""
    return (lower + upper - (lower + upper) % 2) // 2


def compact(r: int, s: int, v: int) -> tuple[bytes, bytes]:
    """EIP-2098 form of a signature: r and vs."""
    return r.to_bytes(32), ((v - 27) << 255 | s).to_bytes(32)


@dataclass(frozen=True)
class Actor:
    """Somebody with a secp256k1 key; the address is in lower case, as results are decoded."""

    name: str
    account: LocalAccount = field(repr=False)

    @property
    def address(self) -> str:
        """0x and 40 hex digits."""
        return str(self.account.address).lower()

    def sign_hash(self, digest: bytes) -> bytes:
        """65 bytes: r, s, v."""
        return bytes(self.account.unsafe_sign_hash(Hash32(digest)).signature)


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
    """Any EIP-712 message and its signature."""

    message: Mapping[str, Any]
    uid: bytes
    r: bytes
    vs: bytes


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


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Positions and direct deals of one chunk of a clearing, as the contract keeps them by hash."""

    zone: int
    mtu_start: int
    chunk: int = 0
    positions: tuple[Position, ...]
    deals: tuple[Trade, ...] = ()

    @classmethod
    def of(cls, proposal: Proposal, *, zone: int, mtu_start: int, chunk: int = 0) -> "Kept":
        """What a proposal leaves."""
        return cls(zone=zone, mtu_start=mtu_start, chunk=chunk, positions=proposal.positions, deals=proposal.deals)

    def index_of(self, meter: Meter) -> int:
        """Index of the meter's position."""
        return next(index for index, one in enumerate(self.positions) if one.meter == meter.number)

    def position_of(self, meter: Meter) -> Position:
        """The meter's position."""
        return self.positions[self.index_of(meter)]

    def state_hash(self) -> bytes:
        """What the trading contract keeps."""
        return keccak256(encode(["uint256[]", "uint256[]"], [self.words(), self.deal_words()]))

    def words(self) -> list[int]:
        """Positions as they are presented."""
        return position_words(self.positions)

    def deal_words(self) -> list[int]:
        """Deals as they are presented."""
        return [trade_word(deal) for deal in self.deals]

    def arguments(self, indexes: Iterable[int]) -> tuple[object, ...]:
        """Arguments of `refund` and `settleSubstitutes`."""
        return self.zone, self.mtu_start, self.chunk, self.words(), self.deal_words(), list(indexes)

    def settled(self, metered_wh: Mapping[int, int]) -> "Kept":
        """What is kept after settling those indexes on those readings."""
        return replace(self, positions=settle_positions(self.positions, metered_wh))

    def substituted(self, indexes: Sequence[int]) -> "Kept":
        """What is kept after settling those indexes on substitute values."""
        return replace(self, positions=substitute_positions(self.positions, indexes))

    def refunded(self, indexes: Sequence[int]) -> "Kept":
        """What is kept after refunding those indexes."""
        return replace(self, positions=refund_positions(self.positions, indexes))


def settle_arguments(kept: Kept, indexes: Sequence[int], metered_wh: Sequence[int]) -> tuple[object, ...]:
    """Arguments of `EnergySettlement.settle`."""
    return *kept.arguments(indexes), list(metered_wh)


def sign_order(signer: Actor, domain: OrderDomain, order: Order) -> SignedOrder:
    """An order with the signature of `signer`, be that its owner or not."""
    uid = order_uid(domain, order)
    return SignedOrder(order=order, uid=uid, signature=signer.sign_hash(bytes.fromhex(uid[2:])))


def sign_acceptance(signer: Actor, domain: OrderDomain, acceptance: Acceptance) -> SignedAcceptance:
    """An acceptance with the signature of `signer`, be that its owner or not."""
    uid = acceptance_uid(domain, acceptance)
    return SignedAcceptance(acceptance=acceptance, uid=uid, signature=signer.sign_hash(bytes.fromhex(uid[2:])))


def uid_bytes(signed: AnySigned) -> bytes:
    """The uid as the contract shows it."""
    return bytes.fromhex(signed.uid[2:])


def terms_part(terms: int, name: str) -> int:
    """One part of the word `terms`."""
    first, width = TERMS[name]
    return terms >> first & (1 << width) - 1


def with_terms(terms: int, **parts: int) -> int:
    """The word `terms` with some parts changed."""
    for name, value in parts.items():
        first, width = TERMS[name]
        assert 0 <= value < 1 << width
        terms = terms & ~(((1 << width) - 1) << first) | value << first
    return terms


def sign(
    signer: Actor,
    name: str,
    fields: Sequence[tuple[str, str]],
    message: Mapping[str, Any],
    domain: Mapping[str, Any],
    **structs: Sequence[tuple[str, str]],
) -> Signed:
    """Sign an EIP-712 message with eth-account; `domain` is name, version, chainId and verifyingContract.

    `structs` are the fields of the structs inside the message, by their names.
    """
    document = {
        "types": {
            "EIP712Domain": [{"name": one, "type": kind} for one, kind in _DOMAIN_FIELDS],
            **{
                struct: [{"name": one, "type": kind} for one, kind in parts]
                for struct, parts in {name: fields, **structs}.items()
            },
        },
        "primaryType": name,
        "domain": dict(domain),
        "message": dict(message),
    }
    signature = signer.account.sign_message(encode_typed_data(full_message=document))
    r, vs = compact(signature.r, signature.s, signature.v)
    return Signed(message=message, uid=bytes(signature.message_hash), r=r, vs=vs)


def policy_tuple(policy: PolicyParameters, **changes: Any) -> tuple[object, ...]:
    """The contract's Policy."""
    changed = replace(policy, **changes)
    return tuple(vars(changed).values())
