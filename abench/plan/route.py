"""The way to a server: straight, to another address, through a proxy or a socket of this machine.

And whom to trust at the end of it.
"""

import base64
import ipaddress
import os
import ssl
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from abench.errors import ParameterError
from abench.plan.target import Target, require_printable, shown


@dataclass(frozen=True, slots=True)
class Route:
    """Where connections go, if not straight to what the URL names.

    `resolve` is `HOST:PORT:ADDRESS`, an address for the URL's host instead of what the resolver
    says; `proxy` is `HOST:PORT`, with `USER:PASSWORD@` before it if it wants that; `unix` is the
    path of a socket, of the abstract name space if it begins with @. At most one of them.
    """

    resolve: str | None = None
    proxy: str | None = None
    unix: str | None = None

    def check(self, target: Target) -> None:
        """Raise ParameterError if there is no such way to `target`."""
        ways = [way for way in (self.resolve, self.proxy, self.unix) if way is not None]
        if len(ways) > 1:
            raise ParameterError("--proxy", "give one of --proxy, --resolve and --unix-socket")
        if self.unix is not None and not 1 <= len(os.fsencode(self.unix)) <= 107:
            raise ParameterError("--unix-socket", "its path is from 1 to 107 octets (unix(7))")
        self.endpoint(target)

    def endpoint(self, target: Target) -> tuple[str, int]:
        """Return the host and the port to connect to; raises ParameterError."""
        if self.proxy is not None:
            parts = _proxy(self.proxy)
            return parts[0], parts[1]
        if self.resolve is not None:
            return _resolved(self.resolve, target), target.port
        return target.host, target.port

    def uses_absolute_form(self, target: Target) -> bool:
        """Whether requests name their server to a proxy (RFC 9112 section 3.2.2)."""
        return self.proxy is not None and not target.tls

    def proxy_headers(self, target: Target) -> tuple[tuple[str, str], ...]:
        """Return what each request has for the proxy."""
        credentials = (
            _proxy(self.proxy)[2] if self.proxy and self.uses_absolute_form(target) else ""
        )
        return (("Proxy-Authorization", f"Basic {credentials}"),) if credentials else ()

    def tunnel_request(self, target: Target) -> bytes:
        """Return the request that has the proxy open a tunnel; empty where none is wanted."""
        if self.proxy is None or not target.tls:
            return b""
        host = f"[{target.host}]" if ":" in target.host else target.host
        authority = f"{host}:{target.port}"  # RFC 9110 section 9.3.6: always with a port
        credentials = _proxy(self.proxy)[2]
        allowed = f"Proxy-Authorization: Basic {credentials}\r\n" if credentials else ""
        return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{allowed}\r\n".encode()


DIRECT = Route()


def _proxy(text: str) -> tuple[str, int, str]:
    require_printable("--proxy", text)  # urlsplit leaves a line's end out
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as the resolver will
    except ValueError:  # which UnicodeError is, too
        host = port = None
    if not host or not port or parts.scheme != "http" or parts.path not in {"", "/"}:
        raise ParameterError("--proxy", f"{shown(text)!r} is not like host:port")
    if parts.username is None:
        return host, port, ""
    user, password = unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")
    return host, port, base64.b64encode(user + b":" + password).decode()


def _resolved(text: str, target: Target) -> str:
    host, _, rest = text.partition(":")
    if text.startswith("["):
        host, _, rest = text[1:].partition("]:")
    port, _, address = rest.partition(":")
    address = address.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ParameterError("--resolve", f"{text!r} is not like host:port:address") from None
    if (host.lower(), port) != (target.host, str(target.port)):
        raise ParameterError("--resolve", f"the URL's server is {target.host}:{target.port}")
    return address


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How the server is trusted and what it is shown. Paths of PEM files, as openssl has them.

    `authority` is what may have signed the server's certificate instead of the system's; with
    `insecure` anybody may. `certificate` and `key` are this client's. `name` is what is asked for
    (SNI) and verified instead of the URL's host.
    """

    authority: str | None = None
    insecure: bool = False
    certificate: str | None = None
    key: str | None = None
    name: str | None = None

    def check(self, target: Target) -> None:
        """Raise ParameterError if these are not for `target`, or cannot be used."""
        if self == SYSTEM_TRUST:
            return
        if not target.tls:
            raise ParameterError("URL", f"{target.url} has no TLS for options about it")
        if self.insecure and self.authority:
            raise ParameterError("--insecure", "with it, --cacert is without effect")
        if self.key and not self.certificate:
            raise ParameterError("--key", "it needs --cert")
        self.context()

    def context(self) -> ssl.SSLContext:
        """Return how connections are encrypted and verified; raises ParameterError."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.authority:
            context = self._trusting(self.authority)
        if self.certificate:
            self._show(context, self.certificate)
        return context

    @staticmethod
    def _trusting(authority: str) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=authority)
        except OSError as error:  # which ssl.SSLError is, too
            raise ParameterError("--cacert", f"{authority}: {_tls_error_reason(error)}") from None
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _show(self, context: ssl.SSLContext, certificate: str) -> None:
        try:
            context.load_cert_chain(certificate, self.key, password=_refuse)
        except (OSError, ValueError) as error:
            named = f"{certificate} and {self.key}" if self.key else certificate
            raise ParameterError("--cert", f"{named}: {_tls_error_reason(error)}") from None


SYSTEM_TRUST = TlsOptions()


def _refuse() -> str:
    """Be asked for a key's password: nobody is there to answer while a benchmark runs."""
    raise ValueError("the key has a password")


def _tls_error_reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not what openssl reads as PEM"
    return (getattr(error, "strerror", None) or str(error)).lower()
