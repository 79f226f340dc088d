"""Keys of the market's roles: encrypted keystore files, made once, or derived from a seed for a repeatable replay."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from gridledger.chain.codec import keccak256
from gridledger.errors import Unavailable

__all__ = ["ACCOUNT_NAMES", "KeyMissing", "KeyUnreadable", "Keystore", "account_from_seed"]

ACCOUNT_NAMES = (
    "deployer",
    "regulator",
    "grid_operator",
    "market_operator",
    "relayer",
    "oracle",
    "bank",
    "supplier",
)
PASSWORD_VARIABLE = "GRIDLEDGER_KEYSTORE_PASSWORD"  # noqa: S105 - the name of a variable
_SCRYPT_COST = 2**14
_PASSWORD_FILE = "password"  # noqa: S105 - the name of a file


@dataclass(kw_only=True, eq=False)
class KeyMissing(Unavailable):
    """The keystore has no key of that name."""

    name: str
    folder: str


@dataclass(kw_only=True, eq=False)
class KeyUnreadable(Unavailable):
    """The key cannot be decrypted: wrong password or damaged file."""

    name: str
    folder: str


def account_from_seed(seed: int, name: str) -> LocalAccount:
    """The key a replay with this seed gives to a named account."""
    account: LocalAccount = Account.from_key(keccak256(f"gridledger account {seed} {name}".encode()))
    return account


class Keystore:
    """Keystore files (version 3) of one folder.

    The password comes from GRIDLEDGER_KEYSTORE_PASSWORD; without it one is made and kept beside the keys, readable by
    their owner only, which protects nothing more than the folder does: fit for a demo, not for a market.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._environment = environment

    def create(self, accounts: Mapping[str, LocalAccount]) -> None:
        """Write the keys that the folder does not hold yet."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        password = self._password()
        for name, account in accounts.items():
            path = self._path(name)
            if not path.exists():
                document = Account.encrypt(account.key, password, kdf="scrypt", iterations=_SCRYPT_COST)
                _write_private(path, json.dumps(document) + "\n")

    def create_missing(self, names: Iterable[str] = ACCOUNT_NAMES, seed: int | None = None) -> None:
        """Make keys for names without one: random, or from a seed."""
        missing = [name for name in names if not self._path(name).exists()]
        self.create({name: Account.create() if seed is None else account_from_seed(seed, name) for name in missing})

    def load(self, name: str) -> LocalAccount:
        """Decrypt a key. Raises KeyMissing, KeyUnreadable."""
        path = self._path(name)
        if not path.exists():
            raise KeyMissing(name=name, folder=self._folder.name)
        try:
            password = self._known_password()
            if password is None:
                raise KeyUnreadable(name=name, folder=self._folder.name)
            account: LocalAccount = Account.from_key(Account.decrypt(path.read_text(), password))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KeyUnreadable(name=name, folder=self._folder.name) from None
        return account

    def address(self, name: str) -> str:
        """Address of a key, without decrypting it. Raises KeyMissing, KeyUnreadable."""
        path = self._path(name)
        if not path.exists():
            raise KeyMissing(name=name, folder=self._folder.name)
        try:
            return str(to_checksum_address("0x" + json.loads(path.read_text())["address"]))
        except (ValueError, KeyError, TypeError):
            raise KeyUnreadable(name=name, folder=self._folder.name) from None

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _password(self) -> str:
        """The password for new keys; made where there is none."""
        known = self._known_password()
        if known is None:
            known = secrets.token_urlsafe(24)
            _write_private(self._folder / _PASSWORD_FILE, known + "\n")
        return known

    def _known_password(self) -> str | None:
        if given := self._environment.get(PASSWORD_VARIABLE):
            return given
        path = self._folder / _PASSWORD_FILE
        return path.read_text().strip() if path.exists() else None


def _write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read; a crash leaves the old file or the new one, never half."""
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
