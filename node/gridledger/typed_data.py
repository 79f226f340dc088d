"""The form of an EIP-712 document: one struct in the domain of one contract on one chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["DOMAIN_FIELDS", "TypedDomain", "typed_document"]

Fields = Sequence[tuple[str, str]]
DOMAIN_FIELDS: Fields = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)


@dataclass(frozen=True, kw_only=True)
class TypedDomain:
    """Where a signature is valid: a name and version, one chain, one contract (checksum address)."""

    name: str
    version: str
    chain_id: int
    contract: str


def typed_document(
    domain: TypedDomain, struct: str, structs: Mapping[str, Fields], message: Mapping[str, Any]
) -> dict[str, Any]:
    """The document a wallet signs; `structs` has (field, type) of the struct itself and of those inside it."""
    return {
        "types": {name: _fields(fields) for name, fields in {"EIP712Domain": DOMAIN_FIELDS, **structs}.items()},
        "primaryType": struct,
        "domain": {
            "name": domain.name,
            "version": domain.version,
            "chainId": domain.chain_id,
            "verifyingContract": domain.contract,
        },
        "message": dict(message),
    }


def _fields(fields: Fields) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in fields]
