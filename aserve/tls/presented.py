"""Which of several certificates a client is shown: by the name that it asks for (SNI)."""

import ssl
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from aserve.tls.certificates import CertificateFiles, load_context, read_certificate


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
        self.context = contexts[0]
        """What handshakes begin with."""
        self.context.sni_callback = self._select
        self._asked: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()

    def asked_name(self, ssl_object: ssl.SSLObject) -> str:
        """Return the name that a client has asked for, "" for none."""
        return self._asked.get(ssl_object, "")

    def _select(self, end: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if not name:
            return
        asked = name.lower().rstrip(".")
        self._asked[end] = asked
        found = self._by_name.get(asked) or self._by_name.get(f"*.{asked.partition('.')[2]}")
        if found:
            end.context = found
