"""Which of several certificates a client is shown: by the name that it asks for (SNI)."""

import ssl
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

from aserve.tls.certificates import CertificateFiles, load_context, new_context, read_certificate


class ServerEnd(ssl.SSLObject):
    """The server's end of one TLS connection, without I/O."""

    asked_name = ""
    """What the client asks for, "" for no name."""
    _certificates: "PresentedCertificates"

    def present(self, certificates: "PresentedCertificates") -> None:
        """Show the client one of these; to be called before the handshake."""
        self._certificates = certificates

    def select(self, name: str | None) -> None:
        """Show the certificate for the name that the client asks for."""
        self.asked_name = (name or "").lower().rstrip(".")
        self.context = self._certificates.context_for(self.asked_name)


class _FirstContext(ssl.SSLContext):
    """What handshakes begin with, until the client has said what it asks for.

    OpenSSL encrypts session tickets with the key of this context, and not of the one that has the
    certificate.
    """

    sslobject_class = ServerEnd


class PresentedCertificates:
    """The certificates of a server, each with a context of its own.

    The first one is for clients that ask for no name, as for an IP address, or for one that no
    certificate has. A name is looked for as it is, then as a wildcard (RFC 6125 section 6.4.3).
    Raises CertificateError.
    """

    def __init__(self, files: Sequence[CertificateFiles]) -> None:
        self._by_name: dict[str, ssl.SSLContext] = {}
        contexts = [load_context(one) for one in files]
        for one, context in zip(files, contexts, strict=True):
            for name in read_certificate(one).names:
                self._by_name.setdefault(name, context)
        self._default = contexts[0]
        self._first = _first_context(tuple(files))

    def new_end(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ServerEnd:
        """Return the server's end of a new connection, whose handshake is to come."""
        end = cast("ServerEnd", self._first.wrap_bio(incoming, outgoing, server_side=True))
        end.present(self)
        return end

    def context_for(self, name: str) -> ssl.SSLContext:
        """Return the context with the certificate for a name in lower case, "" for none."""
        return (
            self._by_name.get(name)
            or self._by_name.get(f"*.{name.partition('.')[2]}")
            or self._default
        )


@lru_cache(maxsize=16)
def _first_context(_files: tuple[CertificateFiles, ...]) -> ssl.SSLContext:
    """Return what handshakes begin with: the same for the same files, whatever is in them.

    It has the keys of session tickets, which Python cannot set. A process that makes it before it
    forks shares them with its workers, and a renewed certificate leaves them as they are: a client
    resumes its session with any worker, before and after a reload.
    """
    context = new_context(_FirstContext)
    context.sni_callback = _select
    return context


def _select(end: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    cast("ServerEnd", end).select(name)
