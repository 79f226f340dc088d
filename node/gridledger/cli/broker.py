"""`gridledger meter ca`, `certify` and `broker-config`: who may talk to the broker, and a broker that asks for it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from gridledger.cli.key_files import (
    CertificateUnreadable,
    OutputExists,
    load_certificate,
    load_key,
    load_request,
    write_key,
    write_once,
)
from gridledger.clock import SystemClock
from gridledger.metering.certificates import Authority, new_authority
from gridledger.metering.topics import NODE_NAME, READINGS_OF_ALL

__all__ = ["add_broker_commands"]

PASSWORD_VARIABLE = "GRIDLEDGER_CA_PASSWORD"  # noqa: S105 - the name of a variable
_CA_KEY, _CA_CERTIFICATE = "ca.key", "ca.pem"
_LARGEST_PACKET_BYTES = 2_000_000
_MOST_QUEUED_MESSAGES = 1_000_000
_MOST_QUEUED_BYTES = 2**30
AuthorityFolder = Annotated[
    Path, typer.Option("--ca", exists=True, file_okay=False, help="The authority's folder; its key may be encrypted.")
]

_CONFIGURATION = """\
# Meters and the node only: TLS with a certificate of our authority, whose common name is the user and the session.
{user}listener {port}{address}
cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {folder}/acl

# What the node has not acknowledged is kept while it is away, and over a restart of the broker.
persistence true
persistence_location {folder}/data/
autosave_interval 10
max_inflight_messages 32
max_queued_messages {messages}
max_queued_bytes {queued_bytes}
max_packet_size {packet_bytes}
"""

_ACCESS = f"""\
user {NODE_NAME}
topic read {READINGS_OF_ALL}
topic write meters/+/outcomes

pattern write meters/%u/readings
pattern read meters/%u/outcomes
"""


def add_broker_commands(cli: typer.Typer, environment: Mapping[str, str] = os.environ) -> None:
    """`ca`, `certify` and `broker-config`."""

    def password() -> bytes | None:
        return environment.get(PASSWORD_VARIABLE, "").encode() or None

    @cli.command()
    def ca(
        out: Annotated[Path, typer.Option("--out", file_okay=False, help="A folder for its key and certificate.")],
        days: Annotated[int, typer.Option("--days", min=1, max=36_500)] = 3650,
    ) -> None:
        """Make the authority for devices; its key is encrypted if GRIDLEDGER_CA_PASSWORD is set."""
        _refuse_existing(out, _CA_CERTIFICATE)
        key = generate_private_key(SECP256R1())
        write_key(out / _CA_KEY, key, password())
        _write_certificate(out / _CA_CERTIFICATE, new_authority(key, SystemClock().now(), days))

    @cli.command()
    def certify(
        ca: AuthorityFolder,
        request: Annotated[Path, typer.Option("--request", exists=True, dir_okay=False, help="Of `keygen`, PEM.")],
        meter: Annotated[int, typer.Option("--meter", min=1, max=2**32 - 1, help="The number in the registry.")],
        out: Annotated[Path, typer.Option("--out", dir_okay=False, help="Where the certificate is written.")],
        days: Annotated[int, typer.Option("--days", min=1, max=36_500)] = 1825,
    ) -> None:
        """Certify that a device's key belongs to a meter, so that a broker lets it in as this meter."""
        authority = _authority(ca, password())
        _write_certificate(out, authority.for_device(load_request(request), meter, SystemClock().now(), days))

    @cli.command(name="broker-config")
    def broker_config(
        ca: AuthorityFolder,
        out: Annotated[Path, typer.Option("--out", file_okay=False, help="A new folder for everything it needs.")],
        host: Annotated[list[str], typer.Option("--host", help="DNS name or IP address of the broker; repeatable.")],
        port: Annotated[int, typer.Option("--port", min=1, max=65_535)] = 8883,
        listen: Annotated[str, typer.Option("--listen", help="Address to listen at; all by default.")] = "",
        user: Annotated[str, typer.Option("--user", help="User a broker started by root runs as.")] = "",
        days: Annotated[int, typer.Option("--days", min=1, max=36_500, help="Of both certificates.")] = 825,
    ) -> None:
        """Write a mosquitto configuration with its access list, and the broker's and the node's key and certificate."""
        _refuse_existing(out, "broker.key", "broker.pem", "node.key", "node.pem", "ca.pem", "acl", "mosquitto.conf")
        authority, now = _authority(ca, password()), SystemClock().now()
        broker, node = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
        certificates = {
            "ca.pem": authority.certificate,
            "broker.pem": authority.for_broker(tuple(host), broker.public_key(), now, days),
            "node.pem": authority.for_node(node.public_key(), now, days),
        }
        (out / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_all(out, {"broker.key": broker, "node.key": node}, certificates)
        text = _CONFIGURATION.format(
            folder=out.resolve(),
            port=port,
            address=f" {listen}" if listen else "",
            user=f"user {user}\n" if user else "",
            messages=_MOST_QUEUED_MESSAGES,
            queued_bytes=_MOST_QUEUED_BYTES,
            packet_bytes=_LARGEST_PACKET_BYTES,
        )
        write_once(out / "acl", _ACCESS.encode(), mode=0o600)
        write_once(out / "mosquitto.conf", text.encode())
        typer.echo(f"mosquitto -c {out / 'mosquitto.conf'}")


def _refuse_existing(folder: Path, *names: str) -> None:
    """Before anything is written. Raises OutputExists."""
    for name in names:
        if (folder / name).exists():
            raise OutputExists(path=name)


def _write_all(
    folder: Path, keys: Mapping[str, EllipticCurvePrivateKey], certificates: Mapping[str, Certificate]
) -> None:
    for name, key in keys.items():
        write_key(folder / name, key)
    for name, certificate in certificates.items():
        _write_certificate(folder / name, certificate)


def _write_certificate(path: Path, certificate: Certificate) -> None:
    write_once(path, certificate.public_bytes(Encoding.PEM))


def _authority(folder: Path, password: bytes | None) -> Authority:
    """Raises DeviceKeyUnreadable, CertificateUnreadable."""
    key, certificate = load_key(folder / _CA_KEY, password), load_certificate(folder / _CA_CERTIFICATE)
    if certificate.public_key() != key.public_key():
        raise CertificateUnreadable(path=_CA_CERTIFICATE, expected=f"a certificate of the key in {_CA_KEY}")
    return Authority(certificate=certificate, key=key)
