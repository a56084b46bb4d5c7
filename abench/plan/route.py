"""How a server is reached: directly, at another address, through a proxy or a Unix socket.

And how its certificate is verified.
"""

import base64
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from abench.errors import ParameterError
from abench.plan.target import Target, require_printable, shown

_FAMILIES = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Route:
    """Where connections go, if not directly to the server of the URL.

    `resolve` is `HOST:PORT:ADDRESS`, an address for the host of the URL instead of the resolver's;
    `proxy` is `HOST:PORT`, with `USER:PASSWORD@` before it if needed; `unix` is the path of a
    socket, in the abstract namespace if it begins with @. At most one of them.

    `ip_version` is 4 or 6 if only addresses of that version are used. With `all_addresses` the
    connections are spread over all addresses of the host.
    """

    resolve: str | None = None
    proxy: str | None = None
    unix: str | None = None
    ip_version: int | None = None
    all_addresses: bool = False

    @property
    def address_family(self) -> int:
        """The family of addresses to resolve to."""
        return _FAMILIES[self.ip_version]

    def check(self, target: Target) -> None:
        """Raise ParameterError if `target` cannot be reached like this."""
        given = [each for each in (self.resolve, self.proxy, self.unix) if each is not None]
        if len(given) > 1:
            raise ParameterError("--proxy", "give only one of --proxy, --resolve and --unix-socket")
        if self.unix is not None and not 1 <= len(os.fsencode(self.unix)) <= 107:
            raise ParameterError("--unix-socket", "its path must be from 1 to 107 bytes (unix(7))")
        if self.ip_version not in _FAMILIES:
            raise ParameterError("--ipv4", f"IP has versions 4 and 6, not {self.ip_version}")
        if self.unix is not None and (self.ip_version or self.all_addresses):
            raise ParameterError("--unix-socket", "it has no IP address")
        if self.all_addresses and given:
            raise ParameterError("--all-addresses", "the addresses are those of the URL's host")
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
        """Whether requests have absolute-form, for a proxy (RFC 9112 section 3.2.2)."""
        return self.proxy is not None and not target.tls

    def proxy_headers(self, target: Target) -> tuple[tuple[str, str], ...]:
        """Return the headers that each request has for the proxy."""
        credentials = (
            _proxy(self.proxy)[2] if self.proxy and self.uses_absolute_form(target) else ""
        )
        return (("Proxy-Authorization", f"Basic {credentials}"),) if credentials else ()

    def tunnel_request(self, target: Target) -> bytes:
        """Return the request for a tunnel through the proxy; empty if none is needed."""
        if self.proxy is None or not target.tls:
            return b""
        host = f"[{target.host}]" if ":" in target.host else target.host
        authority = f"{host}:{target.port}"  # RFC 9110 section 9.3.6: always with a port
        credentials = _proxy(self.proxy)[2]
        authorization = f"Proxy-Authorization: Basic {credentials}\r\n" if credentials else ""
        return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n".encode()


DIRECT = Route()


def _proxy(text: str) -> tuple[str, int, str]:
    require_printable("--proxy", text)  # urlsplit drops line ends
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # as the resolver will
    except ValueError:  # includes UnicodeError
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
        raise ParameterError("--resolve", f"the server of the URL is {target.host}:{target.port}")
    return address


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """How the server is verified and how the client identifies itself, by paths of PEM files.

    `authority` has the certificate authorities to trust instead of the system's; with `insecure`
    nothing is verified. `certificate` and `key` are those of the client. `name` is sent (SNI) and
    verified instead of the host of the URL. With `resume`, connections resume the sessions of
    earlier ones.
    """

    authority: str | None = None
    insecure: bool = False
    certificate: str | None = None
    key: str | None = None
    name: str | None = None
    resume: bool = False

    def check(self, target: Target) -> None:
        """Raise ParameterError if these are not for `target`, or cannot be used."""
        if self == SYSTEM_TRUST:
            return
        if not target.tls:
            raise ParameterError("URL", f"{target.url} has no TLS, but there are options for it")
        if self.insecure and self.authority:
            raise ParameterError("--insecure", "with it, --cacert has no effect")
        if self.key and not self.certificate:
            raise ParameterError("--key", "it needs --cert")
        self.context()

    def context(self) -> ssl.SSLContext:
        """Return the SSL context of connections; raises ParameterError."""
        context = _trusting_anybody() if self.insecure else self._trusting(self.authority)
        context.set_alpn_protocols(["http/1.1"])
        if self.certificate:
            self._load_certificate(context, self.certificate)
        return context

    @staticmethod
    def _trusting(authority: str | None) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=authority)
        except OSError as error:  # includes ssl.SSLError
            raise ParameterError("--cacert", f"{authority}: {_tls_error_reason(error)}") from None

    def _load_certificate(self, context: ssl.SSLContext, certificate: str) -> None:
        try:
            context.load_cert_chain(certificate, self.key, password=_refuse_password)
        except (OSError, ValueError) as error:
            files = f"{certificate} and {self.key}" if self.key else certificate
            raise ParameterError("--cert", f"{files}: {_tls_error_reason(error)}") from None


SYSTEM_TRUST = TlsOptions()


def _trusting_anybody() -> ssl.SSLContext:
    """Return a context that knows no authorities.

    OpenSSL looks for the issuer even if no one asks, and reads the system's whole directory if it
    finds none: that is two fifths of a handshake (docs/adr/0063-abench-over-tls.md).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if keys := os.environ.get("SSLKEYLOGFILE"):  # as default contexts have it
        context.keylog_filename = keys
    return context


def _refuse_password() -> str:
    """Refuse to ask for the password of a key: a benchmark runs unattended."""
    raise ValueError("the key has a password")


def _tls_error_reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not in PEM format"
    return (getattr(error, "strerror", None) or str(error)).lower()
