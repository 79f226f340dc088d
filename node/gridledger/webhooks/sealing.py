"""Keeps webhook secrets encrypted in the database; the key lies in a file beside it that only its owner reads."""

import os
import secrets
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from gridledger.errors import Unavailable

__all__ = ["SealBroken", "SecretBox", "key_in", "new_secret"]

_SECRET_BYTES = 32


@dataclass(kw_only=True, eq=False)
class SealBroken(Unavailable):
    """The webhook's secret cannot be read with this node's key: set the webhook again."""


def new_secret() -> str:
    """A Standard Webhooks secret: `whsec_` and 32 random bytes in base64."""
    return "whsec_" + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


class SecretBox:
    """Seals texts with the key in a file; the file is made when it is first needed."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    def seal(self, secret: str) -> bytes:
        """The secret, encrypted and authenticated."""
        return self._fernet().encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """The secret. Raises SealBroken."""
        try:
            return self._fernet().decrypt(sealed).decode()
        except (InvalidToken, ValueError):
            raise SealBroken from None

    def _fernet(self) -> Fernet:
        return Fernet(key_in(self._key_file))


def key_in(file: Path) -> bytes:
    """The 32 random bytes in a file, in base64; the file is made, readable by its owner only, if there is none."""
    if not file.exists():
        _make_key(file)
    return file.read_bytes().strip()


def _make_key(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(Fernet.generate_key() + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        os.link(temporary, file)  # unlike a rename, never over a key somebody made meanwhile
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
