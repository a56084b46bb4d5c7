"""What is wrong with the settings about TLS. Nothing of TLS is imported where it is off."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.config.checks import Errors, value_name
from aserve.config.root import paths_of
from aserve.config.virtual_hosts import ANY_HOST, LOCAL_HOSTS
from aserve.http.host_names import is_address

if TYPE_CHECKING:
    from aserve.config.settings import Settings
    from aserve.tls.certificates import CertificateFiles

_NAME = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")
_MAX_PORT = 65_535
MAX_HSTS = (1 << 31) - 1  # seconds
NO_CRYPTOGRAPHY = "needs the package cryptography: pip install 'aserve-http[https]'"


def tls_errors(settings: "Settings") -> Errors:
    """Yield what cannot work together, of certificates, ports and models."""
    setting = "https" if settings.https else "cert"
    yield from _count_errors(len(settings.cert), len(settings.key))
    if settings.https and settings.cert:
        yield "https", "makes a certificate of its own; leave out cert, or leave out https"
    if settings.has_tls and not settings.model_info.uses_event_loop:
        yield setting, f"{settings.described_model} has no TLS"
    if settings.https and not find_spec("cryptography"):
        yield "https", NO_CRYPTOGRAPHY
    if not 0 <= settings.hsts <= MAX_HSTS:
        yield "hsts", f"must be from 0 to {MAX_HSTS}"
    yield from _errors_without_tls(settings)
    if settings.http_redirect is not None:
        yield from _redirect_errors(settings.http_redirect, settings.port)


def _errors_without_tls(settings: "Settings") -> Errors:
    if settings.share_ca and not settings.https:
        yield "share_ca", "has no effect without https: other certificates have other authorities"
    if settings.hsts and not (settings.has_tls or settings.proxy_trust):
        yield "hsts", "has no effect without cert or https, or proxy_trust"
    if settings.http_redirect and not settings.has_tls:
        yield "http_redirect", "has no effect without cert or https"


def _count_errors(cert: int, key: int) -> Errors:
    if key and cert != key:
        files = f"{key} file{'s' * (key > 1)} for {cert} certificate{'s' * (cert != 1)}"
        yield "key", f"{files}: each --cert needs its own, in the same order"


def _redirect_errors(from_port: int, port: int | None) -> Errors:
    if not 1 <= from_port <= _MAX_PORT:
        yield "http_redirect", f"must be from 1 to {_MAX_PORT}"
    if not port:
        yield "http_redirect", "needs port: where it leads to must be known"
    if from_port == port:
        yield "http_redirect", "must be another port; on its own, http leads to https anyway"


def given_certificates(cert: Sequence[str], key: Sequence[str]) -> "tuple[CertificateFiles, ...]":
    """Return the certificates of settings, each with the file of its key."""
    if not cert:
        return ()
    from aserve.tls.certificates import CertificateFiles  # noqa: PLC0415 - it imports ssl

    return tuple(
        CertificateFiles(Path(one), Path(its_key))
        for one, its_key in zip(cert, key or cert, strict=True)
    )


def local_certificates(settings: "Settings") -> "tuple[CertificateFiles, ...]":
    """Return the files of what --https has issued, or will have when the server starts."""
    from aserve.tls.local_files import issued_files  # noqa: PLC0415 - it imports ssl

    return (issued_files(settings.named_hosts),)


def certifiable_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return those of hosts that are names which a certificate can have, sorted."""
    names = {host.lower().rstrip(".") for host in hosts if not is_address(host)}
    return tuple(sorted(name for name in names - {ANY_HOST, LOCAL_HOSTS} if _NAME.fullmatch(name)))


def certificate_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with the files of certificates and keys."""
    given = given_certificates(settings.cert, settings.key)
    for setting, index, reason in _file_errors(given, paths_of(settings.root)):
        yield value_name(settings, setting, index), reason


def _file_errors(
    certificates: "Sequence[CertificateFiles]", roots: Sequence[Path]
) -> Iterator[tuple[str, int, str]]:
    """Yield what is wrong with certificates: the setting, which of its values, and the reason.

    roots: what is served: no key may be in it, whatever its name.
    """
    if not certificates:
        return
    from aserve.tls.certificates import (  # noqa: PLC0415 - it imports ssl
        CertificateError,
        check_certificate,
        is_served,
    )

    for index, files in enumerate(certificates):
        setting = "cert" if files.key == files.certificate else "key"
        if root := is_served(files.key, roots):
            reason = f"{str(files.key)!r} is in {str(root)!r}, which is served: move the key away"
            yield setting, index, reason
        try:
            check_certificate(files, time.time())
        except CertificateError as error:
            yield error.setting, index, error.reason
