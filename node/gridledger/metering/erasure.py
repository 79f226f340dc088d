"""Erasing a person: what the regulator signs (EIP-712 struct `Erasure`) and what is left of readings, their leaves.

An anchored tree cannot be rebuilt without all of its leaves, so a tombstone names the leaf of every reading that is
gone: without the salt nobody can try energies against it. The struct holds the hash of that list, so that any wallet
can show and sign it, however long it is. The contract is the one that says who the regulator is, the access manager.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import sha3
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.address import is_checksum_address
from eth_utils.exceptions import ValidationError

from gridledger.errors import InvalidInput
from gridledger.units import UINT32_MAX, UINT64_MAX

__all__ = [
    "ERASED_KINDS",
    "ErasedLeaf",
    "Erasure",
    "ErasureDomain",
    "TombstoneMalformed",
    "erasure_from_message",
    "erasure_message",
    "erasure_signer",
    "erasure_typed_data",
    "leaves_hash",
]

DOMAIN_NAME, DOMAIN_VERSION = "gridledger-erasure", "1"
ERASED_KINDS = (
    "readings",
    "registers",
    "disputes",
    "partial readings",
    "estimates",
    "meter events",
    "notices",
    "sessions",
    "webhooks",
    "client ids",
    "accesses",
    "refused transactions",
    "consents",
    "participations",
    "measurements",
    "shifts",
    "measuring states",
    "setpoints",
)
MOST_METERS = 1_000
_HASH = re.compile(r"0x[0-9a-f]{64}")
_SIGNATURE = re.compile(r"0x[0-9a-f]{130}")
_FIELDS = frozenset(
    ("account", "meters", "firstMtuStart", "lastMtuStart", "rows", "leafCount", "leavesHash", "erasedAt")
)


@dataclass(kw_only=True, eq=False)
class TombstoneMalformed(InvalidInput):
    """The tombstone does not have the documented form."""

    field: str
    expected: str


class ErasedLeaf(NamedTuple):
    """The commitment of an erased reading, 32 bytes; the MTU by its start in Unix seconds."""

    meter: int
    mtu_start: int
    leaf: bytes


@dataclass(frozen=True, kw_only=True)
class ErasureDomain:
    """Where a tombstone is valid."""

    chain_id: int
    access_manager: str


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What the regulator signs: whose rows go, how many of each kind, and the hash of the leaves that lose their salts.

    Meters ascend; the MTUs are those of the first and the last erased reading, 0 without any; `rows` has every kind of
    ERASED_KINDS in that order; times in Unix seconds; `leaves_hash` is that of `leaves_hash`, 32 bytes.
    """

    account: str
    meters: tuple[int, ...]
    first_mtu_start: int
    last_mtu_start: int
    rows: tuple[tuple[str, int], ...]
    leaf_count: int
    leaves_hash: bytes
    erased_at: int


def leaves_hash(leaves: Iterable[ErasedLeaf]) -> bytes:
    """Keccak-256 over 4 bytes meter, 8 bytes MTU start and 32 bytes leaf each, in (meter, MTU) order; 32 bytes."""
    state = sha3.keccak_256()
    for entry in sorted(leaves):
        state.update(entry.meter.to_bytes(4) + entry.mtu_start.to_bytes(8) + entry.leaf)
    digest: bytes = state.digest()
    return digest


def erasure_message(erasure: Erasure) -> dict[str, Any]:
    """The struct's values by the names that are signed."""
    return {
        "account": erasure.account,
        "meters": list(erasure.meters),
        "firstMtuStart": erasure.first_mtu_start,
        "lastMtuStart": erasure.last_mtu_start,
        "rows": [{"kind": kind, "count": count} for kind, count in erasure.rows],
        "leafCount": erasure.leaf_count,
        "leavesHash": "0x" + erasure.leaves_hash.hex(),
        "erasedAt": erasure.erased_at,
    }


def erasure_from_message(message: object) -> Erasure:
    """The erasure in a document of `erasure_message`'s form, to the letter. Raises TombstoneMalformed."""
    if not isinstance(message, Mapping) or message.keys() != _FIELDS:
        raise TombstoneMalformed(field="message", expected=", ".join(sorted(_FIELDS)))
    account, hash_text, meters = message["account"], message["leavesHash"], message["meters"]
    if not isinstance(account, str) or not is_checksum_address(account):
        raise TombstoneMalformed(field="account", expected="an address with its checksum")
    if not isinstance(hash_text, str) or not _HASH.fullmatch(hash_text):
        raise TombstoneMalformed(field="leavesHash", expected="32 bytes as 0x hex")
    if not isinstance(meters, list) or len(meters) > MOST_METERS:
        raise TombstoneMalformed(field="meters", expected=f"at most {MOST_METERS} numbers")
    numbers = tuple(_whole("meters", one, UINT32_MAX) for one in meters)
    if list(numbers) != sorted(set(numbers)):
        raise TombstoneMalformed(field="meters", expected="ascending numbers")
    return Erasure(
        account=account,
        meters=numbers,
        first_mtu_start=_whole("firstMtuStart", message["firstMtuStart"], UINT32_MAX),
        last_mtu_start=_whole("lastMtuStart", message["lastMtuStart"], UINT32_MAX),
        rows=_rows(message["rows"]),
        leaf_count=_whole("leafCount", message["leafCount"], UINT64_MAX),
        leaves_hash=bytes.fromhex(hash_text[2:]),
        erased_at=_whole("erasedAt", message["erasedAt"], UINT32_MAX),
    )


def erasure_typed_data(domain: ErasureDomain, erasure: Erasure) -> dict[str, Any]:
    """The EIP-712 document the regulator signs."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "RowCount": [{"name": "kind", "type": "string"}, {"name": "count", "type": "uint64"}],
            "Erasure": [
                {"name": "account", "type": "address"},
                {"name": "meters", "type": "uint32[]"},
                {"name": "firstMtuStart", "type": "uint64"},
                {"name": "lastMtuStart", "type": "uint64"},
                {"name": "rows", "type": "RowCount[]"},
                {"name": "leafCount", "type": "uint64"},
                {"name": "leavesHash", "type": "bytes32"},
                {"name": "erasedAt", "type": "uint64"},
            ],
        },
        "primaryType": "Erasure",
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "verifyingContract": domain.access_manager,
        },
        "message": erasure_message(erasure),
    }


def erasure_signer(domain: ErasureDomain, erasure: Erasure, signature: str) -> str:
    """Checksum address that signed the erasure, 65 bytes r, s, v as 0x hex. Raises TombstoneMalformed."""
    if not _SIGNATURE.fullmatch(signature):
        raise TombstoneMalformed(field="signature", expected="65 bytes as 0x hex in lower case")
    document = encode_typed_data(full_message=erasure_typed_data(domain, erasure))
    try:
        return str(Account.recover_message(document, signature=bytes.fromhex(signature[2:])))
    except (BadSignature, ValidationError, ValueError):
        raise TombstoneMalformed(field="signature", expected="a signature of anybody") from None


def _rows(rows: object) -> tuple[tuple[str, int], ...]:
    expected = f"a count of each of {', '.join(ERASED_KINDS)}, in this order"
    if not isinstance(rows, list) or len(rows) != len(ERASED_KINDS):
        raise TombstoneMalformed(field="rows", expected=expected)
    for row, kind in zip(rows, ERASED_KINDS, strict=True):
        if not isinstance(row, Mapping) or row.keys() != {"kind", "count"} or row["kind"] != kind:
            raise TombstoneMalformed(field="rows", expected=expected)
    return tuple((row["kind"], _whole("rows", row["count"], UINT64_MAX)) for row in rows)


def _whole(field: str, value: object, highest: int) -> int:
    if type(value) is not int or not 0 <= value <= highest:
        raise TombstoneMalformed(field=field, expected=f"a whole number up to {highest}")
    return value
