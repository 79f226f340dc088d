"""Erases a person from a node's data folder: what there is, the regulator's signature, and the deletion itself.

The deletion takes the chain folder's lock, which a running node holds: so the node is stopped, and nothing of what is
deleted lives on in its memory or in a page that somebody reads.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account.messages import encode_typed_data
from eth_utils.address import is_address, to_checksum_address

from gridledger.app.node import NodeFolder
from gridledger.app.node_clock import moment_of
from gridledger.chain.deployment import load_deployment
from gridledger.chain.journal import hold_folder
from gridledger.chain.keys import Keystore
from gridledger.chain.market_config import load_market
from gridledger.chain.roles import Role
from gridledger.errors import Conflict, Forbidden, InvalidInput, NotFound
from gridledger.metering.erasure import (
    ERASED_KINDS,
    Erasure,
    ErasureDomain,
    TombstoneMalformed,
    erasure_from_message,
    erasure_signer,
    erasure_typed_data,
    leaves_hash,
)
from gridledger.store.database import Database
from gridledger.store.erasures import ErasureScope
from gridledger.store.transaction import Transaction
from gridledger.units import format_utc

__all__ = [
    "AccountMalformed",
    "ErasureDiffers",
    "ErasureFileUnreadable",
    "NoMarketHere",
    "NotTheRegulator",
    "NothingToErase",
    "RetentionNotOver",
    "apply_erasure",
    "prepare_erasure",
    "sign_erasure",
]

LARGEST_FILE_BYTES = 2**20
_DAY_S = 86_400


@dataclass(kw_only=True, eq=False)
class AccountMalformed(InvalidInput):
    """This is not the address of an account."""

    account: str


@dataclass(kw_only=True, eq=False)
class NoMarketHere(NotFound):
    """The folder holds no market that has begun."""

    folder: str
    missing: str


@dataclass(kw_only=True, eq=False)
class NothingToErase(NotFound):
    """The node keeps nothing personal of this account."""

    account: str


@dataclass(kw_only=True, eq=False)
class RetentionNotOver(Conflict):
    """The account's newest readings or orders must still be kept; nothing was erased."""

    account: str
    newest: str
    erasable_from: str


@dataclass(kw_only=True, eq=False)
class ErasureFileUnreadable(InvalidInput):
    """The file is not an erasure that was prepared or signed here."""

    path: str
    reason: str


@dataclass(kw_only=True, eq=False)
class NotTheRegulator(Forbidden):
    """The tombstone is not signed, for this market, by who holds the regulator's role; nothing was erased."""

    signer: str


@dataclass(kw_only=True, eq=False)
class ErasureDiffers(Conflict):
    """What the tombstone says is not what the database holds: prepare and sign it anew; nothing was erased."""

    field: str
    signed: str
    found: str


@dataclass(frozen=True, kw_only=True)
class _Market:
    """An open database and what tombstones of its market are signed for."""

    database: Database
    domain: ErasureDomain
    mtu_length_s: int
    retention_s: int
    seeded: bool


def prepare_erasure(data: Path, account: str, retention_days: int) -> dict[str, Any]:
    """What of an account would be erased now, as the EIP-712 document the regulator signs; changes nothing.

    Nothing younger than the retention, nor than the policy's longest correction, is erased. The node may be running.
    Raises AccountMalformed, NoMarketHere, NothingToErase, RetentionNotOver.
    """
    if not is_address(account):
        raise AccountMalformed(account=account[:66])
    with _opened(data, retention_days) as market:
        now = moment_of(market.database)
        with market.database.read() as tx:
            scope = _checked_scope(tx, market, str(to_checksum_address(account)), now)
        erasure = _erasure(scope, str(to_checksum_address(account)), now)
        return {"typed_data": erasure_typed_data(market.domain, erasure)}


def sign_erasure(request: Path, keystore: Path | None, signature: str | None) -> dict[str, Any]:
    """The tombstone: a request with the signature of a keystore file's key, or with one that a wallet has made.

    Raises ErasureFileUnreadable, TombstoneMalformed, KeyMissing, KeyUnreadable.
    """
    document = _read(request)
    erasure, domain = _claimed(request, document)
    if keystore is not None:
        key = Keystore(keystore.parent).load(keystore.stem)
        signed = key.sign_message(encode_typed_data(full_message=erasure_typed_data(domain, erasure)))
        signature = "0x" + bytes(signed.signature).hex()
    if signature is None:
        raise TombstoneMalformed(field="signature", expected="a keystore file or a wallet's signature")
    signature = signature.lower()
    signer = erasure_signer(domain, erasure, signature)
    return {"typed_data": erasure_typed_data(domain, erasure), "signature": signature, "signer": signer}


def apply_erasure(data: Path, path: Path, retention_days: int) -> dict[str, Any]:
    """Erase what a signed tombstone says, all in one transaction, and scrub the database's file; again: scrub only.

    Raises FolderInUse while the node runs, NotTheRegulator, ErasureDiffers, RetentionNotOver, NothingToErase,
    DatabaseBusy (erased, but somebody reads the file: run it again), and as `sign_erasure`.
    """
    document = _read(path)
    erasure, _ = _claimed(path, document)
    signature = str(document.get("signature"))
    with hold_folder(_checked_folder(data).chain), _opened(data, retention_days) as market:
        signer = erasure_signer(market.domain, erasure, signature)
        now = moment_of(market.database)
        with market.database.write() as tx:
            again = tx.erasures.is_applied(signature)
            if not again:
                _erase(tx, market, erasure, signature, signer, now)
        market.database.scrub()
        exported = (data / "export").exists()
        return {
            "account": erasure.account,
            "applied_before": again,
            "erased": dict(erasure.rows),
            "leaves_kept": erasure.leaf_count,
            "regulator": signer,
            "export_in_folder": exported,
            "salts_follow_from_seed": market.seeded,
        }


def _erase(tx: Transaction, market: _Market, erasure: Erasure, signature: str, signer: str, now: int) -> None:
    if not tx.directory.holds_role(signer, int(Role.REGULATOR), now):
        raise NotTheRegulator(signer=signer)
    if erasure.erased_at > now:
        raise ErasureDiffers(field="erased_at", signed=str(erasure.erased_at), found=f"at most {now}")
    scope = _checked_scope(tx, market, erasure.account, now)
    found = _erasure(scope, erasure.account, erasure.erased_at)
    for field, value in vars(erasure).items():
        if (kept := getattr(found, field)) != value:
            raise ErasureDiffers(field=field, signed=_shown(value), found=_shown(kept))
    document = erasure_typed_data(market.domain, erasure)
    tx.erasures.apply(scope, document["message"], signature, now)


def _checked_scope(tx: Transaction, market: _Market, account: str, now: int) -> ErasureScope:
    scope = tx.erasures.scope(account, market.mtu_length_s)
    if not any(scope.rows.values()):
        raise NothingToErase(account=account)
    retention_s = max(market.retention_s, tx.erasures.longest_correction_s())
    if scope.newest is not None and scope.newest + retention_s > now:
        raise RetentionNotOver(
            account=account, newest=format_utc(scope.newest), erasable_from=format_utc(scope.newest + retention_s)
        )
    return scope


def _erasure(scope: ErasureScope, account: str, erased_at: int) -> Erasure:
    starts = [one.entry.mtu_start for one in scope.leaves]
    return Erasure(
        account=account,
        meters=scope.meters,
        first_mtu_start=min(starts, default=0),
        last_mtu_start=max(starts, default=0),
        rows=tuple((kind, scope.rows[kind]) for kind in ERASED_KINDS),
        leaf_count=len(scope.leaves),
        leaves_hash=leaves_hash(one.entry for one in scope.leaves),
        erased_at=erased_at,
    )


def _checked_folder(data: Path) -> NodeFolder:
    """The data folder of a market that has begun. Raises NoMarketHere."""
    folder = NodeFolder(data)
    for path in (folder.market, folder.deployment, folder.database):
        if not path.exists():
            raise NoMarketHere(folder=data.name, missing=path.name)
    return folder


@contextmanager
def _opened(data: Path, retention_days: int) -> Iterator[_Market]:
    """Open a data folder. Raises NoMarketHere, DatabaseUnusable."""
    folder = _checked_folder(data)
    config, deployment = load_market(folder.market), load_deployment(folder.deployment)
    assert deployment is not None
    with closing(Database(folder.database)) as database:
        yield _Market(
            database=database,
            domain=ErasureDomain(chain_id=config.chain_id, access_manager=deployment.addresses["MarketAccessManager"]),
            mtu_length_s=config.mtu_length_s,
            retention_s=retention_days * _DAY_S,
            seeded=config.seed is not None,
        )


def _read(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise ErasureFileUnreadable(path=path.name, reason="too large")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ErasureFileUnreadable(path=path.name, reason=str(error)[:120]) from None
    if not isinstance(document, dict):
        raise ErasureFileUnreadable(path=path.name, reason="not a JSON object")
    return document


def _claimed(path: Path, document: Mapping[str, Any]) -> tuple[Erasure, ErasureDomain]:
    """The erasure of a file and the market it names; the whole document must be what those two say."""
    try:
        typed_data = document["typed_data"]
        domain = ErasureDomain(
            chain_id=int(typed_data["domain"]["chainId"]), access_manager=str(typed_data["domain"]["verifyingContract"])
        )
        erasure = erasure_from_message(typed_data["message"])
    except (KeyError, TypeError, ValueError) as error:
        raise ErasureFileUnreadable(path=path.name, reason=f"{type(error).__name__}: {error}"[:120]) from None
    if erasure_typed_data(domain, erasure) != typed_data:
        raise ErasureFileUnreadable(path=path.name, reason="not the EIP-712 document of an erasure")
    return erasure, domain


def _shown(value: object) -> str:
    text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
    return text[:300]
