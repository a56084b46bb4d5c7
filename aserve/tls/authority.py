"""A certificate authority of this user, for this machine and its network alone.

Its name constraints (RFC 5280 section 4.2.1.10) make it useless for any site on the internet: who
gets its key cannot pretend to be a bank, even where it is trusted.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aserve.tls.machine import Address

CA_DAYS = 3_650
LEAF_DAYS = 90
"""More than 825 days are refused by Apple's systems, more than 398 by some."""
REISSUE_DAYS = 30
"""A certificate that ends sooner is replaced."""

_SKEW = timedelta(hours=1)  # of the clocks of other machines
_SUFFIXES = ("localhost", "local", "test", "home.arpa")
_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10"),
)
_CERTIFICATE, _KEY, _LOCK = "authority.pem", "authority.key", "lock"

PrivateKey = ec.EllipticCurvePrivateKey


class Issued(NamedTuple):
    """A certificate for this machine.

    is_new: whether it was issued now. left_out: what the authority may not name. made_authority:
    whether the authority is new, so that no browser trusts it.
    """

    file: Path
    is_new: bool
    left_out: tuple[str, ...]
    made_authority: bool


class Authority:
    """The authority in a directory, which is made with the first certificate.

    names: those of this machine, which it may name for ever, besides those of private networks.
    Raises OSError where the directory cannot be used, ValueError where its files are damaged.
    """

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        self._directory = directory
        self._names = names

    @property
    def certificate_file(self) -> Path:
        """The certificate, for those who are to trust it."""
        return self._directory / _CERTIFICATE

    def prepare(self, now: datetime) -> tuple[x509.Certificate, bool]:
        """Return the certificate of the authority, and whether it was made now."""
        with self._locked():
            certificate, _, is_new = self._load_or_make(now)
        return certificate, is_new

    def issue(
        self, file: Path, hosts: Iterable[str], addresses: Iterable[Address], now: datetime
    ) -> Issued:
        """Have a file with a certificate for names and addresses, and its key.

        The one that is there stays if it is for the same and lasts long enough.
        """
        with self._locked():
            authority, key, is_made = self._load_or_make(now)
            wanted = [*dict.fromkeys(hosts), *map(str, dict.fromkeys(addresses))]
            names = [name for name in wanted if _is_permitted(authority, name)]
            left_out = tuple(name for name in wanted if name not in names)
            if not is_made and _is_good(file, authority, names, now):
                return Issued(file, False, left_out, False)
            _write(file, _leaf(authority, key, names, now))
            return Issued(file, True, left_out, is_made)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Have the directory alone: several servers may start at once."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _load_or_make(self, now: datetime) -> tuple[x509.Certificate, PrivateKey, bool]:
        key_file = self._directory / _KEY
        if self.certificate_file.exists() and key_file.exists():
            certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            if not isinstance(key, PrivateKey) or key.public_key() != certificate.public_key():
                raise ValueError(f"{str(key_file)!r} is not the key of {_CERTIFICATE}")
            if certificate.not_valid_after_utc > now + timedelta(days=LEAF_DAYS):
                return certificate, key, False
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _root(key, self._names, now)
        _write(key_file, _pem(key))
        _write(self.certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
        return certificate, key, True


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate as other programs show it: AB:CD:..."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _root(key: PrivateKey, names: Sequence[str], now: datetime) -> x509.Certificate:
    whose = f"aserve on {names[-1]}"
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "aserve local authority"),
            x509.NameAttribute(NameOID.COMMON_NAME, whose[:64]),
        ]
    )
    permitted = [
        *(x509.DNSName(name) for name in dict.fromkeys((*_SUFFIXES, *names))),
        *(x509.IPAddress(ip_network(network)) for network in _NETWORKS),
    ]
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(subject, subject, key.public_key(), now, now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(_for_servers(), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    authority: x509.Certificate, authority_key: PrivateKey, names: Sequence[str], now: datetime
) -> bytes:
    """Return the PEM of a new key, and of a certificate for names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "aserve")])
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    certificate = (
        _builder(subject, authority.subject, key.public_key(), now, now + timedelta(days=LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(_for_servers(), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    since: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - _SKEW)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _for_servers() -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_permitted(authority: x509.Certificate, name: str) -> bool:
    """Tell whether an authority may name a host or an address (RFC 5280 section 4.2.1.10)."""
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    subject = _general_name(name)
    return any(_includes(one, subject) for one in constraints.permitted_subtrees or ())


def _includes(permitted: x509.GeneralName, subject: x509.GeneralName) -> bool:
    if isinstance(permitted, x509.IPAddress) and isinstance(subject, x509.IPAddress):
        return subject.value in permitted.value  # type: ignore[operator]
    if isinstance(permitted, x509.DNSName) and isinstance(subject, x509.DNSName):
        return f".{subject.value}".endswith(f".{permitted.value}")
    return False


def _is_good(file: Path, authority: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    """Tell whether a file has a certificate of an authority for these names, which lasts."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        certificate.verify_directly_issued_by(authority)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    has = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    lasts = certificate.not_valid_after_utc > now + timedelta(days=REISSUE_DAYS)
    return lasts and set(has) == set(map(_general_name, names))


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(file: Path, data: bytes) -> None:
    """Replace a file that only this user may read, so that no one reads half of it."""
    new = file.with_name(f".{file.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def utc_now() -> datetime:
    """Return the time as certificates have it."""
    return datetime.now(UTC)
