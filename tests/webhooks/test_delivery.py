"""A posted notice: verified by the standard's own library, at the checked address only, never redirected."""

import asyncio
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks import Webhook, WebhookVerificationError
from tests.webhooks.receiving import receiver

from gridledger.webhooks.delivery import DeliveryFailed, Message, delivery
from gridledger.webhooks.sealing import new_secret
from gridledger.webhooks.targets import Target

SECRET = new_secret()


def post(
    url: str, *addresses: str, count: int = 1, tls: ssl.SSLContext | None = None, deadline_s: float = 10.0
) -> None:
    """Post so many messages over one delivery."""
    target = Target(url=httpx.URL(url), addresses=addresses or ("127.0.0.1",))

    async def run() -> None:
        context = ssl.create_default_context() if tls is None else tls
        async with delivery(target, SECRET, context, deadline_s=deadline_s) as to_owner:
            for number in range(1, count + 1):
                await to_owner.post(Message(id=str(number), body='{"n":"\u00e9"}', at=int(time.time())))

    asyncio.run(run())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_the_standards_library_verifies_what_arrives() -> None:
    with receiver() as server:
        post(server.url)
        told = server.next()
    assert Webhook(SECRET).verify(told.body, told.headers) == {"n": "\u00e9"}
    assert (told.headers["webhook-id"], told.headers["content-type"]) == ("1", "application/json")
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(told.body, told.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(told.body + b" ", told.headers)


def test_the_name_is_not_resolved_again_but_told_to_the_receiver() -> None:
    with receiver() as server:
        post(f"http://name.invalid:{server.port}/path?query=1")
        told = server.next()
    assert (told.path, told.headers["host"]) == ("/path?query=1", f"name.invalid:{server.port}")


def test_an_address_that_takes_no_connection_is_passed_over_for_the_next() -> None:
    with receiver() as server:
        post(server.url, "127.0.0.2", "127.0.0.1")  # the server listens on the second alone
        assert server.next().path == "/hook"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_counts_as_a_failure(status: int) -> None:
    with receiver() as inside, receiver([status], {"location": inside.url}) as server:
        with pytest.raises(DeliveryFailed) as caught:
            post(server.url)
        assert (caught.value.reason, caught.value.gone) == (f"status {status}", False)
        assert inside.received.empty()


@pytest.mark.parametrize(("status", "gone"), [(400, False), (404, False), (410, True), (429, False), (500, False)])
def test_any_answer_but_2xx_is_a_failure(status: int, gone: bool) -> None:
    with receiver([status]) as server, pytest.raises(DeliveryFailed) as caught:
        post(server.url)
    assert (caught.value.reason, caught.value.gone) == (f"status {status}", gone)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_a_success(status: int) -> None:
    with receiver([status]) as server:
        post(server.url, count=3)
        assert [told.headers["webhook-id"] for told in server.take(3)] == ["1", "2", "3"]


def test_nobody_listening_is_a_failure() -> None:
    with pytest.raises(DeliveryFailed, match="ConnectError"):
        post(f"http://127.0.0.1:{free_port()}/")


def test_a_server_that_speaks_no_tls_gets_nothing() -> None:
    with receiver() as server:
        with pytest.raises(DeliveryFailed, match="ConnectError"):
            post(f"https://127.0.0.1:{server.port}/")
        assert server.received.empty()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's side of a certificate for `hooks.invalid`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.invalid")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.invalid")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret, public = tmp_path / "key.pem", tmp_path / "certificate.pem"
    no_password = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, no_password))
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, secret)
    return server, ssl.create_default_context(cafile=str(public))


def test_over_tls_the_certificate_must_be_the_names_though_the_connection_goes_to_an_address(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server_side, client_side = tls
    with receiver(tls=server_side) as server:
        post(f"https://hooks.invalid:{server.port}/", tls=client_side)
        assert server.next().headers["host"] == f"hooks.invalid:{server.port}"
        for other in ("other.invalid", "127.0.0.1"):
            with pytest.raises(DeliveryFailed, match="ConnectError"):
                post(f"https://{other}:{server.port}/", tls=client_side)
        assert server.received.empty()


def test_whoever_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DeliveryFailed, match=r"within 0\.2 s"):
        post(f"http://127.0.0.1:{silent.getsockname()[1]}/", deadline_s=0.2)
