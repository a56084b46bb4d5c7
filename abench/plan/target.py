"""The target of requests: a URL, parsed once."""

import base64
import re
import string
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from abench.errors import ParameterError

DEFAULT_PORTS = {"http": 80, "https": 443}
HIDDEN = "..."  # stands for a secret
PLACEHOLDER = b"{n}"  # replaced by another number in each request

# RFC 3986 section 2.2: reserved characters are not escaped, since they may be delimiters. Neither
# is "%", since it belongs to what the user has escaped already.
_UNESCAPED = "/:@!$&'()*+,;=-._~%"
_SAFE_BYTES = f"{string.ascii_letters}{string.digits}{_UNESCAPED}?\n\0".encode()
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# host:port, perhaps with userinfo, path and query: like curl, assume http://.
_SCHEMELESS = re.compile(
    r"(?:[^/?#@\s]*@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^/?#@:\[\]\s]+)(?P<port>:[0-9]+)?(?:[/?#].*)?"
)
_USERINFO = re.compile(r"^(=?(?:(?:[A-Za-z][A-Za-z0-9+.-]*:)?//?)?)[^/?#]*@")
_USERINFO_WITHIN = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*:/{1,3})[^\s/?#]*@")
_REG_NAME = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]+")


@dataclass(frozen=True)
class Target:
    """One resource on one server, from a URL such as `http://127.0.0.1:8000/a?b`.

    `host` is as a resolver accepts it (ASCII, no brackets), `resource` is the request-target in
    origin-form (RFC 9112 section 3.2.1), and `url` can be printed: it contains no password.
    """

    scheme: str
    host: str
    port: int
    resource: str
    credentials: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Parse `url`; raises ParameterError if it names no http or https server."""
        parts, port = _split(url)
        query = f"?{_percent_encode(parts.query, _UNESCAPED + '?')}" if parts.query else ""
        return cls(
            scheme=parts.scheme,
            host=_ascii_host(parts.hostname or ""),
            port=DEFAULT_PORTS[parts.scheme] if port is None else port,
            resource=_percent_encode(parts.path or "/", _UNESCAPED) + query,
            credentials=_credentials(parts),
        )

    @property
    def origin(self) -> tuple[str, str, int]:
        """The origin: resources with the same one are on one server (RFC 6454 section 4)."""
        return self.scheme, self.host, self.port

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """Host and port as in a Host header: no default port (RFC 9110 section 4.2.3)."""
        host = self.host.partition("%")[0]  # RFC 6874 section 4: a zone is never sent
        host = f"[{host}]" if ":" in host else host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without user name and password."""
        return f"{self.scheme}://{self.authority}{self.resource}"


def without_userinfo(url: str) -> str:
    """Return `url` with dots for its userinfo: a user name may be a secret, too.

    All up to the last @ is userinfo, as it is for the client (RFC 3986 section 3.2).
    """
    return _USERINFO.sub(rf"\g<1>{HIDDEN}@", url)


def without_secrets(text: str) -> str:
    """Return `text` with dots for the userinfo of each URL in it."""
    return _USERINFO_WITHIN.sub(rf"\g<1>{HIDDEN}@", text)


def shown(url: str) -> str:
    """Return an invalid URL for an error message: all up to its last @ may be a password."""
    before, at, rest = url.rpartition("@")
    scheme = _SCHEME.match(before)
    return f"{scheme[0] if scheme else ''}{HIDDEN}@{rest}" if at else url


def require_printable(option: str, text: str) -> None:
    """Raise ParameterError if `text` contains what no name or URL may contain."""
    if _UNPRINTABLE.search(text):
        raise ParameterError(option, "it contains a control character or is not UTF-8")


def _split(url: str) -> tuple[SplitResult, int | None]:
    require_printable("URL", url)
    url = _with_scheme(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ParameterError("URL", f"{shown(url)}: {_url_error_reason(error)}") from None
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


def _percent_encode(text: str, safe: str) -> str:
    placeholder = PLACEHOLDER.decode()
    return placeholder.join(quote(part, safe=safe) for part in text.split(placeholder))


def quote_bytes(resources: bytes) -> bytes:
    """Return request-targets, one per line, percent-encoded where necessary.

    There must be no control characters in them.
    """
    quoted = resources.replace(PLACEHOLDER, b"\0")
    for byte in set(quoted.translate(None, _SAFE_BYTES)):  # few: a search takes ten times as long
        quoted = quoted.replace(b"%c" % byte, b"%%%02X" % byte)
    return quoted.replace(b"\0", PLACEHOLDER)


def _ascii_host(host: str) -> str:
    """Return a host name in its ASCII form (RFC 5890); addresses are not changed."""
    if ":" in host:
        return host.replace("%25", "%")  # RFC 6874 section 2 escapes the "%" of a zone
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


def _url_error_reason(error: ValueError) -> str:
    """Return what is wrong with a URL; the message of the library may contain a password."""
    if "port" in str(error).lower():
        return "its port is not a number up to 65535"
    return "its host is invalid"
