"""X.509 certificates of the broker's world: an authority for devices, and who it lets in, all on P-256.

The common name is what a broker takes as user name: a meter's number in the registry, or the node's name. Times are
arguments; validity begins an hour early, for clocks that are slow. Source: RFC 5280.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gridledger.metering.errors import CertificateLifetimeRefused, CertificateRequestRefused, HostNameRefused
from gridledger.metering.topics import NODE_NAME
from gridledger.units import format_utc

__all__ = ["Authority", "certificate_request", "new_authority"]

AUTHORITY_NAME = "gridledger devices"
_EARLY = timedelta(hours=1)
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_MAX_SHOWN_CHARACTERS = 80
_NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


def certificate_request(meter: int, key: EllipticCurvePrivateKey) -> x509.CertificateSigningRequest:
    """A device's request for a certificate of its key: signed by that key, so the key itself stays where it is."""
    return x509.CertificateSigningRequestBuilder().subject_name(_name(str(meter))).sign(key, SHA256())


def new_authority(key: EllipticCurvePrivateKey, now: int, days: int) -> x509.Certificate:
    """The self-signed certificate of an authority that signs devices only, valid for `days` from Unix seconds `now`."""
    name = _name(AUTHORITY_NAME)
    begins, ends = _validity(now, days)
    usage = x509.KeyUsage(**_NO_USAGE | {"key_cert_sign": True, "crl_sign": True})
    return (
        _builder(name, name, key.public_key(), begins, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, SHA256())
    )


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Issues certificates of P-256 keys that end, at the latest, with its own."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    def for_device(self, request: x509.CertificateSigningRequest, meter: int, now: int, days: int) -> x509.Certificate:
        """A client certificate of the meter's device. Raises CertificateRequestRefused, CertificateLifetimeRefused."""
        key = request.public_key()
        if not request.is_signature_valid:
            raise CertificateRequestRefused(meter=meter, problem="not signed by its own key")
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise CertificateRequestRefused(meter=meter, problem="not a key on P-256")
        if request.subject != _name(str(meter)):
            raise CertificateRequestRefused(meter=meter, problem="another subject than the meter's number")
        return self._issue(str(meter), key, now, days, client=True)

    def for_node(self, key: EllipticCurvePublicKey, now: int, days: int) -> x509.Certificate:
        """The node's client certificate. Raises CertificateLifetimeRefused."""
        return self._issue(NODE_NAME, key, now, days, client=True)

    def for_broker(self, hosts: tuple[str, ...], key: EllipticCurvePublicKey, now: int, days: int) -> x509.Certificate:
        """The broker's server certificate for DNS names and IP addresses.

        Raises HostNameRefused, CertificateLifetimeRefused.
        """
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue(hosts[0][:64], key, now, days, client=False, names=names)

    def _issue(
        self,
        common_name: str,
        key: EllipticCurvePublicKey,
        now: int,
        days: int,
        *,
        client: bool,
        names: x509.SubjectAlternativeName | None = None,
    ) -> x509.Certificate:
        begins, ends = _validity(now, days)
        first, last = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        if not first <= datetime.fromtimestamp(now, UTC) < last:
            limits = {"not_before": first.isoformat(), "not_after": last.isoformat()}
            raise CertificateLifetimeRefused(**limits, now=format_utc(now))
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            _builder(_name(common_name), self.certificate.subject, key, max(begins, first), min(ends, last))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**_NO_USAGE | {"digital_signature": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _validity(now: int, days: int) -> tuple[datetime, datetime]:
    moment = datetime.fromtimestamp(now, UTC)
    return moment - _EARLY, moment + timedelta(days=days)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        if _HOST.fullmatch(host) is None:
            raise HostNameRefused(host=ascii(host)[:_MAX_SHOWN_CHARACTERS]) from None
        return x509.DNSName(host)
