"""From settings to the certificates that are presented; those of --https are issued here."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aserve.config.settings import Settings, SettingsError

if TYPE_CHECKING:
    from aserve.tls.authority import Authority
    from aserve.tls.presented import PresentedCertificates

WARNING_DAYS = 14
"""Of a certificate that expires sooner a user is warned, once a day."""

_DAY_S = 86_400

_logger = logging.getLogger("aserve")


def open_certificates(settings: Settings) -> "PresentedCertificates | None":
    """Return the certificates of a server, None for one without TLS; raises SettingsError."""
    if not settings.has_tls:
        return None
    from aserve.tls.certificates import CertificateError  # noqa: PLC0415 - it imports ssl
    from aserve.tls.presented import PresentedCertificates  # noqa: PLC0415

    issue_certificate(settings)
    try:
        return PresentedCertificates(settings.certificate_files)
    except CertificateError as error:
        raise SettingsError(error.setting, error.reason) from error


def issue_certificate(settings: Settings) -> None:
    """Have the certificate of --https be one for this machine as it is now; raises SettingsError.

    It is left alone if it is for the same names and addresses and lasts another 30 days.
    """
    if not settings.https:
        return
    # Only here: cryptography is an extra, and takes 50 ms to import.
    from aserve.tls.authority import utc_now  # noqa: PLC0415
    from aserve.tls.machine import machine_addresses, machine_names  # noqa: PLC0415

    names, (files,) = machine_names(), settings.certificate_files
    authority = local_authority()
    try:
        issued = authority.issue(
            files.certificate, (*names, *settings.named_hosts), machine_addresses(), utc_now()
        )
    except OSError as error:
        directory = authority.certificate_file.parent
        reason = f"cannot write to {str(directory)!r}: {error.strerror}"
        raise SettingsError("https", reason) from error
    except ValueError as error:
        raise SettingsError("https", f"the local authority is damaged: {error}") from error
    if issued.made_authority:
        _logger.warning(
            "https: made an authority for this machine, %s; browsers trust it after 'aserve trust'",
            authority.certificate_file,
        )
    if issued.is_new and issued.left_out:
        _logger.warning(
            "https: the certificate is not for %s: the authority may only name this machine and "
            "private networks, as they were when it was made",
            ", ".join(issued.left_out),
        )


def local_authority() -> "Authority":
    """Return the authority of this user, which needs the package cryptography."""
    from aserve.tls.authority import Authority  # noqa: PLC0415 - as above
    from aserve.tls.local_files import data_directory  # noqa: PLC0415
    from aserve.tls.machine import machine_names  # noqa: PLC0415

    return Authority(data_directory(), machine_names())


def certificate_warnings(settings: Settings, now: float) -> Iterator[tuple[str, str]]:
    """Yield a setting and a warning for each certificate that expires soon, or has no names.

    now: POSIX time. Not of those that --https issues, which are replaced in time.
    """
    if not settings.cert:
        return
    from aserve.tls.certificates import CertificateError, read_certificate  # noqa: PLC0415

    for files in settings.certificate_files:
        try:
            certificate = read_certificate(files)
        except CertificateError:  # the exchange says so
            continue
        if not (certificate.names or certificate.addresses):
            yield "cert", f"{str(files.certificate)!r} has no name that browsers look at"
        seconds = certificate.not_after - now
        if seconds < WARNING_DAYS * _DAY_S:
            days = int(seconds // _DAY_S)
            when = "has expired" if days < 0 else f"expires in {days} day{'s' * (days != 1)}"
            yield "cert", f"{str(files.certificate)!r} {when}"


def chain_warnings(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a setting and a warning for each certificate whose chain may be too short."""
    if not settings.cert:
        return
    from aserve.tls.certificates import CertificateError, lacks_issuer  # noqa: PLC0415

    for files in settings.certificate_files:
        try:
            is_short = lacks_issuer(files)
        except CertificateError:  # it has changed meanwhile
            continue
        if is_short:
            reason = "does not have its issuer's certificate, which this machine does not know"
            yield "cert", f"{str(files.certificate)!r} {reason}: other clients may refuse it"
