"""Private keys of devices, as PEM files."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gridledger.errors import InvalidInput

__all__ = ["DeviceKeyUnreadable", "load_device_key"]


@dataclass(kw_only=True, eq=False)
class DeviceKeyUnreadable(InvalidInput):
    """The file does not hold an unencrypted P-256 private key in PEM."""

    path: str


def load_device_key(path: Path) -> EllipticCurvePrivateKey:
    """The P-256 key in a PEM file. Raises DeviceKeyUnreadable."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise DeviceKeyUnreadable(path=path.name)
    return key
