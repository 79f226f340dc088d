"""Keys and certificates as PEM files: written once, secrets for their owner's eyes only, read with typed errors."""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gridledger.errors import Conflict, InvalidInput

__all__ = [
    "CertificateUnreadable",
    "DeviceKeyUnreadable",
    "KeyExists",
    "OutputExists",
    "load_certificate",
    "load_key",
    "load_request",
    "write_key",
    "write_once",
]


@dataclass(kw_only=True, eq=False)
class KeyExists(Conflict):
    """There is a key already; none is ever overwritten."""

    path: str


@dataclass(kw_only=True, eq=False)
class OutputExists(Conflict):
    """There is such a file already; it is not overwritten."""

    path: str


@dataclass(kw_only=True, eq=False)
class DeviceKeyUnreadable(InvalidInput):
    """The file does not hold a P-256 private key in PEM, or its password is another one."""

    path: str


@dataclass(kw_only=True, eq=False)
class CertificateUnreadable(InvalidInput):
    """The file does not hold what is expected, in PEM."""

    path: str
    expected: str


def load_key(path: Path, password: bytes | None = None) -> EllipticCurvePrivateKey:
    """A P-256 key. Raises DeviceKeyUnreadable."""
    try:
        key = load_pem_private_key(path.read_bytes(), password)
    except (ValueError, TypeError, OSError):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise DeviceKeyUnreadable(path=path.name)
    return key


def load_certificate(path: Path) -> x509.Certificate:
    """A certificate. Raises CertificateUnreadable."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (ValueError, OSError):
        raise CertificateUnreadable(path=path.name, expected="a certificate") from None


def load_request(path: Path) -> x509.CertificateSigningRequest:
    """A certificate signing request. Raises CertificateUnreadable."""
    try:
        return x509.load_pem_x509_csr(path.read_bytes())
    except (ValueError, OSError):
        raise CertificateUnreadable(path=path.name, expected="a certificate signing request") from None


def write_key(path: Path, key: EllipticCurvePrivateKey, password: bytes | None = None) -> None:
    """Write a private key that only its owner can read, encrypted if there is a password. Raises KeyExists."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    try:
        write_once(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=0o600)
    except OutputExists:
        raise KeyExists(path=path.name) from None


def write_once(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a new file, durably, in a folder that is made if it is missing. Raises OutputExists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise OutputExists(path=path.name) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
