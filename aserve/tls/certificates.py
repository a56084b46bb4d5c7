"""Certificates with their keys: read from files, tried, and made ready to be presented."""

import os
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from aserve.tls.chains import order_error

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which ssl has no name
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secrecy and no CBC
_PROTOCOLS = ["http/1.1"]
_OPTIONS = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
_MAX_FLIGHTS = 8  # of a handshake in memory, which takes 4
_WRONG_KEY = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
_NO_ISSUER = frozenset({20, 21})
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE."""
_NO_PASSWORD = "has a password, which a server cannot be asked for"  # noqa: S105 - no password


class CertificateError(Exception):
    """A certificate or key that cannot be used. `setting` is cert or key, `reason` one line."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(reason)
        self.setting = setting
        self.reason = reason


class CertificateFiles(NamedTuple):
    """A certificate with its chain, and its key, which may be the same file; both in PEM."""

    certificate: Path
    key: Path


class Certificate(NamedTuple):
    """A certificate that its key belongs to.

    names: DNS names, "*.a.test" among them. addresses: of IP. not_before, not_after: POSIX time.
    """

    files: CertificateFiles
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    not_before: float
    not_after: float


def check_certificate(files: CertificateFiles, now: float) -> Certificate:
    """Return what is in a certificate that can be presented now; raises CertificateError.

    It is not read again before one of its files changes.
    """
    certificate = _read_once(files, tuple(map(_state, files)))
    day = time.strftime("%Y-%m-%d", time.gmtime(certificate.not_after))
    if certificate.not_after <= now:
        raise CertificateError("cert", f"{str(files.certificate)!r} has expired on {day}")
    if certificate.not_before > now:
        day = time.strftime("%Y-%m-%d", time.gmtime(certificate.not_before))
        raise CertificateError("cert", f"{str(files.certificate)!r} is not valid before {day}")
    return certificate


def read_certificate(files: CertificateFiles) -> Certificate:
    """Return what is in a certificate, after a handshake with it; raises CertificateError.

    The handshake is in memory, with a client that trusts this certificate alone: what it refuses,
    every browser would, apart from the dates, which the caller compares.
    """
    return _try_handshake(files, load_context(files))


def load_context(files: CertificateFiles) -> ssl.SSLContext:
    """Return what presents a certificate; raises CertificateError.

    It is a new one each time: load_cert_chain leaves half of a wrong pair in the one that it is
    called on.
    """
    context = new_context()
    texts = {setting: _read(setting, path) for setting, path in _by_setting(files)}
    if "-BEGIN CERTIFICATE-" not in texts["cert"]:
        raise CertificateError("cert", f"{str(files.certificate)!r} has no certificate in PEM")
    if "PRIVATE KEY-" not in texts.get("key", texts["cert"]):
        raise _key_error(files, "has no private key in PEM")
    if reason := order_error(texts["cert"]):
        raise CertificateError("cert", f"{str(files.certificate)!r} {reason}")
    try:
        context.load_cert_chain(*files, password=lambda: _refuse_password(files))
    except OSError as error:  # SSLError is one
        raise _load_error(files, error) from error
    return context


def new_context(kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
    """Return the context of a server, without a certificate: modern TLS and nothing else."""
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(_PROTOCOLS)
    return context


def _refuse_password(files: CertificateFiles) -> str:
    raise _key_error(files, _NO_PASSWORD)


def _load_error(files: CertificateFiles, error: OSError) -> CertificateError:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    if reason in _WRONG_KEY:
        return _key_error(files, f"is not the key of {str(files.certificate)!r}")
    what = str(reason).lower().replace("_", " ")
    return CertificateError("cert", f"{str(files.certificate)!r} cannot be used: {what}")


def _key_error(files: CertificateFiles, reason: str) -> CertificateError:
    """Return an error of the key, which names the setting that its file is of."""
    settings = {path: setting for setting, path in reversed(list(_by_setting(files)))}
    return CertificateError(settings[files.key], f"{str(files.key)!r} {reason}")


def _by_setting(files: CertificateFiles) -> Iterator[tuple[str, Path]]:
    yield "cert", files.certificate
    if files.key != files.certificate:
        yield "key", files.key


def _read(setting: str, path: Path) -> str:
    try:
        return path.read_text("latin-1")
    except OSError as error:
        raise CertificateError(setting, f"cannot read {str(path)!r}: {error.strerror}") from error


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


@lru_cache(maxsize=64)
def _read_once(files: CertificateFiles, _states: tuple[object, ...]) -> Certificate:
    return read_certificate(files)


def _try_handshake(files: CertificateFiles, context: ssl.SSLContext) -> Certificate:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    try:
        client.load_verify_locations(cadata=_certificates_in(files.certificate))
        end = _connect(context, client)
    except ssl.SSLError as error:
        what = getattr(error, "verify_message", "") or str(error.reason).lower().replace("_", " ")
        reason = f"{str(files.certificate)!r} would be refused by browsers: {what}"
        raise CertificateError("cert", reason) from error
    # Whose it is, issuer and dates are always in it; its type is a union of all that could be.
    found: dict[str, object] = dict(end.getpeercert() or {})
    alternatives: Iterable[tuple[str, str]] = found.get("subjectAltName", ())  # type: ignore[assignment]
    return Certificate(
        files,
        tuple(name.lower() for kind, name in alternatives if kind == "DNS"),
        tuple(name for kind, name in alternatives if kind == "IP Address"),
        ssl.cert_time_to_seconds(str(found["notBefore"])),
        ssl.cert_time_to_seconds(str(found["notAfter"])),
    )


def lacks_issuer(files: CertificateFiles) -> bool:
    """Tell whether a chain ends before a certificate that this machine knows, or the last one.

    By a handshake, as a client on this machine would make it. Raises CertificateError.
    """
    client = ssl.create_default_context()
    client.check_hostname = False
    client.verify_flags |= _NO_CHECK_TIME
    try:
        _connect(load_context(files), client)
    except ssl.SSLCertVerificationError as error:
        return error.verify_code in _NO_ISSUER
    except ssl.SSLError:  # what else is wrong, read_certificate says
        return False
    return False


def _connect(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Return the client's end of a connection in memory. Raises ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    )
    shake_hands(ends)
    return ends[1]


def _certificates_in(path: Path) -> str:
    """Return the certificates of a file, which may have its key as well."""
    return _read("cert", path)


def shake_hands(ends: Sequence[ssl.SSLObject]) -> None:
    """Have both ends of a connection in memory begin it. Raises ssl.SSLError."""
    for _ in range(_MAX_FLIGHTS):
        waiting = 0
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting += 1
        if not waiting:
            return


def is_served(key: Path, roots: Iterable[Path]) -> Path | None:
    """Return the root that a key is in, None for none: links that lead to it count as well."""
    places = {Path(os.path.realpath(key)), key.absolute()}
    for root in roots:
        above = {Path(os.path.realpath(root)), root.absolute()}
        if any(place.is_relative_to(one) for place in places for one in above):
            return root
    return None
