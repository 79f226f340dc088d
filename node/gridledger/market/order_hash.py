"""EIP-712 hashing and signature recovery of orders and cancellations.

The packed form is the hot path of order intake; a test holds it against eth-account's encoder. Source: EIP-712, EIP-2.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sha3
from coincurve import PublicKey

from gridledger.market.errors import SignatureMalformed
from gridledger.market.model import Acceptance, Order

__all__ = [
    "OrderDomain",
    "acceptance_typed_data",
    "acceptance_uid",
    "cancel_digest",
    "cancel_typed_data",
    "cancel_up_to_digest",
    "cancel_up_to_typed_data",
    "order_typed_data",
    "order_uid",
    "recover_address",
    "typed_data",
]

DOMAIN_NAME, DOMAIN_VERSION = "gridledger", "1"
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
_ACCEPTANCE_FIELDS = (
    ("owner", "address"),
    ("meter", "uint32"),
    ("offerUid", "bytes32"),
    ("mtuStart", "uint64"),
    ("quantityWh", "uint64"),
    ("salt", "uint64"),
)
_CANCEL_UP_TO_FIELDS = (("owner", "address"), ("salt", "uint64"))
_CANCEL_FIELDS = (("orderUid", "bytes32"),)
_DOMAIN_FIELDS = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, kw_only=True)
class OrderDomain:
    """Where an order is valid: one chain, one trading contract (checksum address)."""

    chain_id: int
    trading_contract: str


def order_uid(domain: OrderDomain, order: Order) -> str:
    """EIP-712 digest of the order, 0x and 64 hex digits."""
    values = (
        _address(order.owner),
        _uint(order.meter),
        _uint(order.side),
        _uint(order.product),
        _uint(order.pricing),
        _uint(order.first_mtu_start),
        _uint(order.last_mtu_start),
        _uint(order.quantity_wh),
        order.limit_cents_per_mwh.to_bytes(32, signed=True),
        _uint(order.expiry),
        _uint(order.salt),
    )
    return "0x" + typed_digest(domain, "Order", _ORDER_FIELDS, b"".join(values)).hex()


def acceptance_uid(domain: OrderDomain, acceptance: Acceptance) -> str:
    """EIP-712 digest of the acceptance, 0x and 64 hex digits."""
    values = (
        _address(acceptance.owner),
        _uint(acceptance.meter),
        bytes.fromhex(acceptance.offer_uid[2:]),
        _uint(acceptance.mtu_start),
        _uint(acceptance.quantity_wh),
        _uint(acceptance.salt),
    )
    return "0x" + typed_digest(domain, "Acceptance", _ACCEPTANCE_FIELDS, b"".join(values)).hex()


def cancel_up_to_digest(domain: OrderDomain, owner: str, salt: int) -> bytes:
    """EIP-712 digest an owner signs to cancel all its orders with a salt up to this one."""
    return typed_digest(domain, "CancelUpTo", _CANCEL_UP_TO_FIELDS, _address(owner) + _uint(salt))


def cancel_digest(domain: OrderDomain, uid: str) -> bytes:
    """EIP-712 digest an owner signs to cancel an order."""
    return typed_digest(domain, "Cancel", _CANCEL_FIELDS, bytes.fromhex(uid[2:]))


def typed_digest(domain: OrderDomain, name: str, fields: tuple[tuple[str, str], ...], encoded_values: bytes) -> bytes:
    """EIP-712 digest of one struct in the market's domain; values are given as their 32-byte words."""
    struct_hash = _keccak(_typehash(name, fields) + encoded_values)
    return _keccak(b"\x19\x01" + _domain_separator(domain) + struct_hash)


def recover_address(digest: bytes, signature: bytes) -> str:
    """Lower-case address that made a 65-byte r, s, v signature over a 32-byte digest. Raises SignatureMalformed."""
    if len(signature) != 65:
        raise SignatureMalformed(reason=f"{len(signature)} bytes")
    if signature[64] not in (27, 28):
        raise SignatureMalformed(reason=f"v = {signature[64]}")
    if int.from_bytes(signature[32:64]) > _CURVE_ORDER // 2:
        raise SignatureMalformed(reason="s in the upper half")
    recoverable = signature[:64] + bytes((signature[64] - 27,))
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except Exception as error:
        raise SignatureMalformed(reason="no public key") from error
    return "0x" + _keccak(key.format(compressed=False)[1:])[12:].hex()


def order_typed_data(domain: OrderDomain, order: Order) -> dict[str, Any]:
    """The full EIP-712 document that any wallet signs."""
    values = (
        order.owner,
        order.meter,
        int(order.side),
        int(order.product),
        int(order.pricing),
        order.first_mtu_start,
        order.last_mtu_start,
        order.quantity_wh,
        order.limit_cents_per_mwh,
        order.expiry,
        order.salt,
    )
    message = {name: value for (name, _), value in zip(_ORDER_FIELDS, values, strict=True)}
    return typed_data(domain, "Order", _ORDER_FIELDS, message)


def acceptance_typed_data(domain: OrderDomain, acceptance: Acceptance) -> dict[str, Any]:
    """The full EIP-712 document of an acceptance."""
    values = (
        acceptance.owner,
        acceptance.meter,
        acceptance.offer_uid,
        acceptance.mtu_start,
        acceptance.quantity_wh,
        acceptance.salt,
    )
    message = {name: value for (name, _), value in zip(_ACCEPTANCE_FIELDS, values, strict=True)}
    return typed_data(domain, "Acceptance", _ACCEPTANCE_FIELDS, message)


def cancel_up_to_typed_data(domain: OrderDomain, owner: str, salt: int) -> dict[str, Any]:
    """The full EIP-712 document of a bulk cancellation."""
    return typed_data(domain, "CancelUpTo", _CANCEL_UP_TO_FIELDS, {"owner": owner, "salt": salt})


def cancel_typed_data(domain: OrderDomain, uid: str) -> dict[str, Any]:
    """The full EIP-712 document of a cancellation."""
    return typed_data(domain, "Cancel", _CANCEL_FIELDS, {"orderUid": uid})


def typed_data(
    domain: OrderDomain, name: str, fields: tuple[tuple[str, str], ...], message: dict[str, Any]
) -> dict[str, Any]:
    """An EIP-712 document of one struct in the market's domain."""
    return {
        "types": {
            "EIP712Domain": [{"name": field, "type": kind} for field, kind in _DOMAIN_FIELDS],
            name: [{"name": field, "type": kind} for field, kind in fields],
        },
        "primaryType": name,
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.trading_contract,
        },
        "message": message,
    }


def _keccak(data: bytes) -> bytes:
    return bytes(sha3.keccak_256(data).digest())


def _uint(value: int) -> bytes:
    return value.to_bytes(32)


def _address(address: str) -> bytes:
    return bytes.fromhex(address[2:]).rjust(32, b"\0")


@lru_cache(maxsize=16)
def _typehash(name: str, fields: tuple[tuple[str, str], ...]) -> bytes:
    return _keccak(f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})".encode())


@lru_cache(maxsize=16)
def _domain_separator(domain: OrderDomain) -> bytes:
    return _keccak(
        _typehash("EIP712Domain", _DOMAIN_FIELDS)
        + _keccak(DOMAIN_NAME.encode())
        + _keccak(DOMAIN_VERSION.encode())
        + _uint(domain.chain_id)
        + _address(domain.trading_contract)
    )
