"""`gridledger meter ca`, `certify` and `broker-config`: what they write, and what they never overwrite."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner

from gridledger.cli.broker import add_broker_commands
from gridledger.cli.key_files import load_certificate, load_key
from gridledger.cli.meters import add_meter_commands
from gridledger.metering.certificates import Authority, certificate_request, new_authority
from gridledger.metering.errors import CertificateLifetimeRefused, CertificateRequestRefused

Run = Callable[..., Any]
DAY_S = 86_400
NOW = 1_800_000_000


@pytest.fixture
def run() -> Run:
    nothing: Any = None
    cli = typer.Typer()
    add_meter_commands(cli, nothing)
    return lambda *arguments: CliRunner().invoke(cli, [str(one) for one in arguments])


@pytest.fixture
def ca(run: Run, tmp_path: Path) -> Path:
    assert run("ca", "--out", tmp_path / "ca").exit_code == 0
    return tmp_path / "ca"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refusal(result: Any) -> str:
    assert result.exit_code != 0
    return type(result.exception).__name__


def test_a_device_s_certificate_names_its_meter_for_clients_only_and_its_key_never_left(
    run: Run, ca: Path, tmp_path: Path
) -> None:
    key, request, out = tmp_path / "device.pem", tmp_path / "device.csr", tmp_path / "device.crt"
    assert run("keygen", "--out", key, "--meter", 17, "--request", request).exit_code == 0
    assert mode(key) == 0o600
    named = ("--ca", ca, "--request", request, "--meter", 17, "--out", out, "--days", 30)
    assert run("certify", *named).exit_code == 0
    certificate, authority = load_certificate(out), load_certificate(ca / "ca.pem")
    certificate.verify_directly_issued_by(authority)
    assert certificate.subject.rfc4514_string() == "CN=17"
    public = certificate.public_key()
    assert public == load_key(key).public_key()
    assert isinstance(public, EllipticCurvePublicKey)
    assert isinstance(public.curve, SECP256R1)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc < now + timedelta(days=31)
    assert refusal(run("certify", *named)) == "OutputExists"


def test_an_authority_s_key_is_its_owner_s_alone_and_never_overwritten(run: Run, ca: Path) -> None:
    assert mode(ca / "ca.key") == 0o600
    before = (ca / "ca.key").read_bytes()
    assert refusal(run("ca", "--out", ca)) == "OutputExists"
    (ca / "ca.pem").unlink()
    assert refusal(run("ca", "--out", ca)) == "KeyExists"
    assert (ca / "ca.key").read_bytes() == before
    assert not (ca / "ca.pem").exists()


def test_an_authority_s_key_is_encrypted_where_a_password_is_given(run: Run, tmp_path: Path) -> None:
    cli, wrong = typer.Typer(), typer.Typer()
    add_broker_commands(cli, {"GRIDLEDGER_CA_PASSWORD": "correct horse"})
    add_broker_commands(wrong, {"GRIDLEDGER_CA_PASSWORD": "battery staple"})
    folder, request, key = tmp_path / "ca", tmp_path / "device.csr", tmp_path / "device.pem"
    assert CliRunner().invoke(cli, ["ca", "--out", str(folder)]).exit_code == 0
    assert "ENCRYPTED" in (folder / "ca.key").read_text()
    run("keygen", "--out", key, "--meter", 1, "--request", request)
    command = ["certify", "--ca", folder, "--request", request, "--meter", 1, "--out", tmp_path / "device.crt"]
    arguments = [str(one) for one in command]
    assert refusal(run(*arguments)) == "DeviceKeyUnreadable"
    assert refusal(CliRunner().invoke(wrong, arguments)) == "DeviceKeyUnreadable"
    assert CliRunner().invoke(cli, arguments).exit_code == 0


def test_a_broker_s_folder_holds_all_it_needs_and_is_not_written_twice(run: Run, ca: Path, tmp_path: Path) -> None:
    out = tmp_path / "broker"
    where = ("--host", "broker.example", "--host", "192.0.2.7", "--port", 8884)
    assert run("broker-config", "--ca", ca, "--out", out, *where).exit_code == 0
    assert {mode(out / name) for name in ("broker.key", "node.key", "acl")} == {0o600}
    assert mode(out / "data") == 0o700
    broker, node = load_certificate(out / "broker.pem"), load_certificate(out / "node.pem")
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    usages = [list(one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) for one in (broker, node)]
    assert usages == [[ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.CLIENT_AUTH]]
    assert node.subject.rfc4514_string() == "CN=gridledger-node"
    configuration = (out / "mosquitto.conf").read_text().splitlines()
    assert {"listener 8884", "require_certificate true", "use_identity_as_username true"} <= set(configuration)
    assert {"use_username_as_clientid true", "tls_version tlsv1.2", "persistence true"} <= set(configuration)
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert refusal(run("broker-config", "--ca", ca, "--out", out, *where)) == "OutputExists"
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("host", ["", "bröker.example", "a..b", "x" * 64, "one two", "a." * 130])
def test_a_host_that_is_no_name_is_refused_before_anything_is_written(
    run: Run, ca: Path, tmp_path: Path, host: str
) -> None:
    assert refusal(run("broker-config", "--ca", ca, "--out", tmp_path / "broker", "--host", host)) == "HostNameRefused"
    assert not (tmp_path / "broker").exists()


def test_a_request_and_its_meter_come_together_or_not_at_all(run: Run, tmp_path: Path) -> None:
    key = tmp_path / "device.pem"
    assert refusal(run("keygen", "--out", key, "--meter", 17)) == "RequestNeedsMeter"
    assert refusal(run("keygen", "--out", key, "--request", tmp_path / "device.csr")) == "RequestNeedsMeter"
    assert not key.exists()


def test_files_that_are_no_certificates_are_refused_by_name(run: Run, ca: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_text("nothing")
    command = ("certify", "--ca", ca, "--request", garbage, "--meter", 1, "--out", tmp_path / "out")
    assert refusal(run(*command)) == "CertificateUnreadable"
    other = Authority(key=(key := generate_private_key(SECP256R1())), certificate=new_authority(key, NOW, 9))
    (ca / "ca.pem").write_bytes(other.certificate.public_bytes(Encoding.PEM))
    run("keygen", "--out", tmp_path / "key", "--meter", 1, "--request", tmp_path / "csr")
    command = ("certify", "--ca", ca, "--request", tmp_path / "csr", "--meter", 1, "--out", tmp_path / "out")
    assert refusal(run(*command)) == "CertificateUnreadable"


def an_authority(days: int = 365) -> Authority:
    key = generate_private_key(SECP256R1())
    return Authority(key=key, certificate=new_authority(key, NOW, days))


def test_a_certificate_ends_with_its_authority_and_none_is_issued_after_it() -> None:
    authority, request = an_authority(days=10), certificate_request(1, generate_private_key(SECP256R1()))
    certificate = authority.for_device(request, 1, NOW + 5 * DAY_S, 100)
    assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc
    for now in (NOW + 10 * DAY_S, NOW - DAY_S):
        with pytest.raises(CertificateLifetimeRefused):
            authority.for_device(request, 1, now, 1)


def test_a_request_for_another_meter_or_another_kind_of_key_is_refused() -> None:
    authority, key = an_authority(), generate_private_key(SECP256R1())
    with pytest.raises(CertificateRequestRefused, match="another subject"):
        authority.for_device(certificate_request(2, key), 1, NOW, 1)
    with pytest.raises(CertificateRequestRefused, match="P-256"):
        authority.for_device(certificate_request(1, generate_private_key(SECP384R1())), 1, NOW, 1)
    both = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("1", "gridledger-node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(both).sign(key, SHA256())
    with pytest.raises(CertificateRequestRefused, match="another subject"):
        authority.for_device(request, 1, NOW, 1)
    der = bytearray(certificate_request(1, key).public_bytes(Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(CertificateRequestRefused, match="not signed by its own key"):
        authority.for_device(x509.load_der_x509_csr(bytes(der)), 1, NOW, 1)
