"""Why a TLS handshake failed: a few words to count it by, and a line for people."""

import ssl
from typing import NamedTuple


class TlsFailure(NamedTuple):
    """Why a handshake failed: `reason` is a few words, `message` one line."""

    reason: str
    message: str


TIMED_OUT = TlsFailure("handshake timeout", "the TLS handshake did not end in time")

# {} stands for OpenSSL's own words.
_EXPIRED = TlsFailure("certificate expired", "the server's certificate has expired")
_NOT_YET = TlsFailure("certificate not yet valid", "the server's certificate is not valid yet")
_NAME = TlsFailure(
    "wrong name", "the server's certificate is for another name ({}); --sni NAME asks for one"
)
_AUTHORITY = TlsFailure(
    "unknown authority",
    "the server's certificate is from an unknown authority ({}); --cacert FILE trusts one",
)
# The numbers of X509_verify_cert_error_string(3), which Python's ssl has no names for.
_BY_VERIFY_CODE = {
    9: _NOT_YET,
    10: _EXPIRED,
    **dict.fromkeys((2, 18, 19, 20, 21, 27), _AUTHORITY),
    **dict.fromkeys((62, 64), _NAME),
}
_OTHER_CERTIFICATE = "the server's certificate is not valid ({})"

_VERSION = TlsFailure(
    "no common version", "client and server have no version of TLS in common ({})"
)
_REFUSED = TlsFailure(
    "handshake refused",
    "the server accepts no cipher, or wants a client certificate, --cert ({})",
)
_NOT_TLS = TlsFailure("not TLS", "the server's answer is not TLS ({}): is it an http:// URL?")
# Names that OpenSSL gives to errors and alerts; what comes before ALERT varies with its version.
_BY_NAME = {
    "NO_PROTOCOLS_AVAILABLE": _VERSION,
    "UNSUPPORTED_PROTOCOL": _VERSION,
    "WRONG_SSL_VERSION": _VERSION,
    "ALERT_PROTOCOL_VERSION": _VERSION,
    "ALERT_HANDSHAKE_FAILURE": _REFUSED,
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
}
_OTHER = "the TLS handshake failed ({})"
_CLOSED = TlsFailure("closed in the handshake", "the server closed the connection in the handshake")


def describe(error: OSError) -> TlsFailure:
    """Return why a handshake has failed with `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _describe_certificate(error)
    if not isinstance(error, ssl.SSLError):  # a reset, if the server left something unread
        words = error.strerror or str(error)
        return _CLOSED._replace(message=f"{_CLOSED.message} ({words})") if words else _CLOSED
    name = str(getattr(error, "reason", None) or "")  # one that Python made itself has none
    if not name or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _CLOSED
    known = _BY_NAME.get(name) or _BY_NAME.get(name[name.find("ALERT") :])
    return _with_words(known, _OTHER, name.replace("_", " ").lower())


def _describe_certificate(error: ssl.SSLCertVerificationError) -> TlsFailure:
    known = _BY_VERIFY_CODE.get(error.verify_code)
    return _with_words(known, _OTHER_CERTIFICATE, error.verify_message.rstrip("."))


def _with_words(known: TlsFailure | None, other: str, words: str) -> TlsFailure:
    """Return a known failure, or one with OpenSSL's words as its reason."""
    reason, message = known or (words, other)
    return TlsFailure(reason, message.format(words))
