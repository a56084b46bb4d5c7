"""What is asked for: a URL taken apart once."""

import base64
import re
import string
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from abench.errors import ParameterError

DEFAULT_PORTS = {"http": 80, "https": 443}
HIDDEN = "..."  # in the place of a secret
PLACEHOLDER = b"{n}"  # where a number goes that is another in each request

# RFC 3986 section 2.2: reserved characters mean something where they stand; "%" is kept because
# what the user has escaped is escaped already.
_KEPT = "/:@!$&'()*+,;=-._~%"
_SAFE_BYTES = f"{string.ascii_letters}{string.digits}{_KEPT}?\n\0".encode()
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# host:port, with or without what may stand before and behind it: as curl, take it for http://.
_SCHEMELESS = re.compile(
    r"(?:[^/?#@\s]*@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^/?#@:\[\]\s]+)(?P<port>:[0-9]+)?(?:[/?#].*)?"
)
_USERINFO = re.compile(r"^(=?(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//?)?)[^/?#]*@")
_USERINFO_WITHIN = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*:/{1,3})[^\s/?#]*@")
_REG_NAME = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]+")


@dataclass(frozen=True)
class Target:
    """One resource on one server, from a URL such as `http://127.0.0.1:8000/a?b`.

    `host` is what a resolver takes (ASCII, no brackets), `resource` is the request-target in
    origin-form (RFC 9112 section 3.2.1), and `url` is fit to print: it has no password in it.
    """

    scheme: str
    host: str
    port: int
    resource: str
    credentials: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Take `url` apart; raise ParameterError when it names no http or https server."""
        parts, port = _split(url)
        query = f"?{_quoted(parts.query, _KEPT + '?')}" if parts.query else ""
        return cls(
            scheme=parts.scheme,
            host=_ascii_host(parts.hostname or ""),
            port=DEFAULT_PORTS[parts.scheme] if port is None else port,
            resource=_quoted(parts.path or "/", _KEPT) + query,
            credentials=_credentials(parts),
        )

    @property
    def origin(self) -> tuple[str, str, int]:
        """What makes two resources one server's (RFC 6454 section 4)."""
        return self.scheme, self.host, self.port

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as a Host field has them: no default port (RFC 9110 section 4.2.3)."""
        host = self.host.partition("%")[0]  # RFC 6874 section 4: a zone is never sent
        host = f"[{host}]" if ":" in host else host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without user name and password."""
        return f"{self.scheme}://{self.authority}{self.resource}"


def without_userinfo(url: str) -> str:
    """Return `url` with dots for its userinfo: a user's name may be a secret, too.

    All up to the last @ is userinfo, as it is for whoever connects (RFC 3986 section 3.2).
    """
    return _USERINFO.sub(rf"\g<1>{HIDDEN}@", url)


def without_secrets(text: str) -> str:
    """Return `text` with dots for the userinfo of each URL in it."""
    return _USERINFO_WITHIN.sub(rf"\g<1>{HIDDEN}@", text)


def shown(url: str) -> str:
    """Return what is no URL as an error may show it: all up to its last @ may be a password."""
    before, at, rest = url.rpartition("@")
    scheme = _SCHEME.match(before)
    return f"{scheme[0] if scheme else ''}{HIDDEN}@{rest}" if at else url


def require_printable(option: str, text: str) -> None:
    """Raise ParameterError for what no name or URL can have in it."""
    if _UNPRINTABLE.search(text):
        raise ParameterError(option, "it has a control character in it, or is not UTF-8")


def _split(url: str) -> tuple[SplitResult, int | None]:
    require_printable("URL", url)
    url = _with_scheme(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ParameterError("URL", f"{shown(url)}: {_why(error)}") from None
    if parts.scheme not in DEFAULT_PORTS or not url[len(parts.scheme) :].startswith("://"):
        raise ParameterError("URL", f"{shown(url)} is not like http://host/ or host:port")
    if not parts.hostname:
        raise ParameterError("URL", f"{shown(url)} names no host")
    if port == 0:
        raise ParameterError("URL", "port 0 cannot be connected to")
    return parts, port


def _with_scheme(url: str) -> str:
    """Return `url`, and http:// before a host that has a port, or looks like one."""
    found = None if _SCHEME.match(url) else _SCHEMELESS.fullmatch(url)
    if not found:
        return url
    host = found["host"]
    if found["port"] or host[0] == "[" or "." in host or host == "localhost":
        return f"http://{url}"
    return url


def _quoted(text: str, safe: str) -> str:
    hole = PLACEHOLDER.decode()
    return hole.join(quote(part, safe=safe) for part in text.split(hole))


def quote_bytes(resources: bytes) -> bytes:
    """Return request-targets, one a line, with what must not stand in one quoted.

    There are no control characters in them.
    """
    hidden = resources.replace(PLACEHOLDER, b"\0")
    for byte in set(hidden.translate(None, _SAFE_BYTES)):  # few: a search takes ten times as long
        hidden = hidden.replace(b"%c" % byte, b"%%%02X" % byte)
    return hidden.replace(b"\0", PLACEHOLDER)


def _ascii_host(host: str) -> str:
    """Return a name as the DNS has it (RFC 5890); addresses are left alone."""
    if ":" in host:
        return host.replace("%25", "%")  # RFC 6874 section 2 writes a zone's "%" so
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ParameterError("URL", f"{host!r} is not a host name") from None
    if not _REG_NAME.fullmatch(name):
        raise ParameterError("URL", f"{host!r} is not a host name")
    return name


def _credentials(parts: SplitResult) -> bytes:
    """Return `user:password` as RFC 7617 section 2 sends it, or nothing."""
    if parts.username is None:
        return b""
    user, password = unquote_to_bytes(parts.username), unquote_to_bytes(parts.password or "")
    return base64.b64encode(user + b":" + password)


def _why(error: ValueError) -> str:
    """Return what is wrong with a URL; the library's words may have a part of a password."""
    if "port" in str(error).lower():
        return "its port is no number up to 65535"
    return "its host is none"
