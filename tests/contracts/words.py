"""Words of the contract tests: constants, people with keys, signed orders, what a clearing leaves to be settled.

Energy in Wh, prices in cents per MWh, money in microcents, carbon in micrograms.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from gridledger.chain.codec import DecodedEvent, keccak256
from gridledger.chain.plan import PolicyParameters

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
ANSWER_FIELDS = (
    ("zone", "uint32"),
    ("mtuStart", "uint64"),
    ("scheduleHash", "bytes32"),
    ("answer", "uint8"),
    ("reason", "uint16"),
)
PERMIT_FIELDS = (
    ("owner", "address"),
    ("spender", "address"),
    ("value", "uint256"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
)
_DOMAIN_FIELDS = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))

ClearingData = dict[str, Any]


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
        return int(max(0, min(abs(contracted), metered if contracted > 0 else -metered)))


def sign(
    signer: Actor, name: str, fields: Sequence[tuple[str, str]], message: Mapping[str, Any], domain: Mapping[str, Any]
) -> Signed:
    """Sign an EIP-712 message with eth-account; `domain` is name, version, chainId and verifyingContract."""
    document = {
        "types": {
            "EIP712Domain": [{"name": one, "type": kind} for one, kind in _DOMAIN_FIELDS],
            name: [{"name": one, "type": kind} for one, kind in fields],
        },
        "primaryType": name,
        "domain": dict(domain),
        "message": dict(message),
    }
    signature = signer.account.sign_message(encode_typed_data(full_message=document))
    r, vs = compact(signature.r, signature.s, signature.v)
    return Signed(message=message, uid=bytes(signature.message_hash), r=r, vs=vs)


def settle_arguments(kept: Kept, indexes: Sequence[int], metered_wh: Sequence[int]) -> tuple[object, ...]:
    """Arguments of `EnergyTrading.settle`."""
    return kept.zone, kept.mtu_start, kept.positions, kept.trades, list(indexes), list(metered_wh)


def policy_tuple(policy: PolicyParameters, **changes: Any) -> tuple[object, ...]:
    """The contract's Policy."""
    changed = replace(policy, **changes)
    return tuple(vars(changed).values())
