"""The TLS sessions that later connections resume, and what a handshake has agreed on."""

import ssl
from datetime import UTC, datetime
from typing import Any

from abench.stats.handshakes import TlsSession


class SessionStore:
    """The sessions of closed connections, which the next ones resume: the latest one first.

    Each is handed out once. With TLS 1.3 that is what clients should do (RFC 8446, appendix C.4),
    and servers send tickets for it: after the handshake, so that they are only there once a
    response was read. With TLS 1.2 a resumed session is put back as its connection closes.
    """

    def __init__(self, capacity: int) -> None:
        self._sessions: list[ssl.SSLSession] = []
        self._capacity = capacity

    def take(self) -> ssl.SSLSession | None:
        """Return a session to resume, and forget it; None without one."""
        return self._sessions.pop() if self._sessions else None

    def put(self, tls: ssl.SSLObject, resumed: ssl.SSLSession | None) -> None:
        """Keep the session of a connection that is about to close; it had offered `resumed`."""
        if len(self._sessions) < self._capacity and (session := _resumable(tls, resumed)):
            self._sessions.append(session)


def _resumable(tls: ssl.SSLObject, resumed: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Return the session of a connection if another may resume it. Python copies it: 150 us."""
    if tls.version() == "TLSv1.3":
        session = tls.session
        is_new = session is not None and session.has_ticket and session != resumed
        return session if is_new else None
    if resumed and tls.session_reused:
        return resumed
    session = tls.session
    return session if session is not None and (session.has_ticket or session.id) else None


def describe_session(tls: ssl.SSLObject) -> TlsSession:
    """Return the version, the cipher and the server's certificate of a connection."""
    cipher = tls.cipher()
    certificate: Any = tls.getpeercert() or {}  # empty if it was not verified
    return TlsSession(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        subject=_subject(certificate),
        issuer=_name(certificate.get("issuer", ())),
        expires_at=_date(certificate.get("notAfter", "")),
    )


def _subject(certificate: Any) -> str:
    """Return whose certificate it is: many name their hosts in subjectAltName alone."""
    hosts = [value for _, value in certificate.get("subjectAltName", ())]
    return _name(certificate.get("subject", ())) or ", ".join(hosts)


def _name(parts: Any) -> str:
    """Return the common name of a distinguished name, or else all of it; see getpeercert."""
    named = [pair for part in parts for pair in part]
    common = [value for name, value in named if name == "commonName"]
    return common[-1] if common else ", ".join(value for _, value in named)


def _date(text: str) -> str:
    """Return a date of a certificate, `Jan  5 09:34:43 2030 GMT`, in ISO 8601."""
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC).isoformat() if text else ""
