"""The bytes of a request: built once, with numbers filled into a template."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from abench.errors import ParameterError
from abench.plan.body_template import BodyTemplate
from abench.plan.target import HIDDEN, PLACEHOLDER, Target

VERSIONS = ("0.9", "1.0", "1.1")
# RFC 9110 section 9.2.2.
IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BAD_HEADER_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_FIRST_WORD = re.compile(r"([A-Za-z0-9-]+[\s=])")
_FRAMING = frozenset({"content-length", "transfer-encoding"})
# RFC 9110 section 8.6: methods that define a meaning for content send a length of 0 without any.
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})

Header = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestTemplate:
    """All of a request but its target. Raises ParameterError for what is no valid request.

    `headers` are the user's own: they replace default headers of the same name, and one with an
    empty value only removes the default. `absolute` is for a proxy: the target is a whole URL.
    In a `body` of bytes, each placeholder is replaced by a number.
    """

    method: str = "GET"
    headers: tuple[Header, ...] = ()
    body: bytes | BodyTemplate = b""
    version: str = "1.1"
    keep_alive: bool = True
    absolute: bool = False

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method):
            raise ParameterError("--method", f"{self.method!r} is not a method name")
        if self.method == "CONNECT":
            raise ParameterError("--method", "CONNECT opens a tunnel, where nothing is counted")
        if self.version not in VERSIONS:
            raise ParameterError("--http", f"{self.version} is not one of {', '.join(VERSIONS)}")
        for name, value in self.headers:
            _check_header(name, value)
        if self.version == "0.9" and (self.method != "GET" or self.headers or self.body):
            raise ParameterError("--http09", "a request of HTTP/0.9 is only GET and a path")

    def prepare(self, target: Target) -> "Request":
        """Return the request for `target`, prepared as far as it is the same each time."""
        return self.template(target).request(target.resource.encode())

    def template(self, target: Target) -> "TargetTemplate":
        """Return the part that requests for all resources of a server share."""
        server = f"{target.scheme}://{target.authority}" if self.absolute else ""
        before = f"{self.method} {server}".encode()
        if self.version == "0.9":
            return TargetTemplate(before, b"\r\n")
        lines = [f" HTTP/{self.version}", *self._header_lines(target)]
        has_length = bool(self.body) or self.method in _WITH_CONTENT
        after = "".join(f"{line}\r\n" for line in lines).encode()
        body = self.body if isinstance(self.body, BodyTemplate) else BodyTemplate.parse(self.body)
        return TargetTemplate(before, after, body, has_length)

    def _header_lines(self, target: Target) -> Iterable[str]:
        own = {name.lower() for name, _ in self.headers}
        for name, value in self._default_headers(target):
            if name.lower() not in own:
                yield f"{name}: {value}"
        for name, value in self.headers:
            if value:
                yield f"{name}: {value}"

    def _default_headers(self, target: Target) -> Iterable[Header]:
        yield "Host", target.authority
        yield "User-Agent", "abench"
        if target.credentials:
            yield "Authorization", f"Basic {target.credentials.decode()}"
        # RFC 9112 section 9.3: each version has its own default, which goes without saying.
        if self.version == "1.1" and not self.keep_alive:
            yield "Connection", "close"
        if self.version == "1.0" and self.keep_alive:
            yield "Connection", "keep-alive"


class TargetTemplate(NamedTuple):
    """A request without its resource.

    `has_length` tells whether Content-Length is sent; None for HTTP/0.9, which has no headers.
    """

    before: bytes
    after: bytes
    body: BodyTemplate = BodyTemplate()
    has_length: bool | None = None

    def request(self, resource: bytes) -> "Request":
        """Return the request for a resource, in origin-form."""
        return Request(self.before + resource + self.after, self.body.pieces, self.has_length)


class Request:
    """The bytes of one request; `constant` has them if they are the same each time.

    `body` are the pieces between which a number goes.
    """

    __slots__ = (
        "_body",
        "_body_placeholders",
        "_fixed_length",
        "_has_length",
        "_head",
        "constant",
    )

    def __init__(
        self, head: bytes, body: Sequence[bytes] = (b"",), has_length: bool | None = None
    ) -> None:
        self._head = head.split(PLACEHOLDER)
        self._body = body
        self._body_placeholders = len(self._body) - 1
        self._fixed_length = sum(map(len, self._body))
        self._has_length = has_length
        varies = self._body_placeholders or len(self._head) > 1
        self.constant = None if varies else self._fill(b"")

    def encode(self, number: int) -> bytes:
        """Return the request with `number` in place of each placeholder."""
        return self.constant or self._fill(b"%d" % number)

    def _fill(self, digits: bytes) -> bytes:
        head = digits.join(self._head)
        if self._has_length is None:
            return head
        if not self._has_length:
            return head + b"\r\n"
        length = self._fixed_length + self._body_placeholders * len(digits)
        return b"%sContent-Length: %d\r\n\r\n%s" % (head, length, digits.join(self._body))


def parse_header(text: str) -> Header:
    """Return `Name: value` as a name and a value; raises ParameterError."""
    name, colon, value = text.partition(":")
    if not colon:
        raise ParameterError("--header", f"{_shown_beginning(text)!r} is not like Name: value")
    header = name, value.strip(" \t")
    _check_header(*header)
    return header


def cookie_header(pairs: Iterable[str]) -> tuple[Header, ...]:
    """Return the one header in which RFC 6265 section 5.4 sends cookies, or none."""
    pairs = list(pairs)
    for pair in pairs:
        if not pair.partition("=")[1] or _BAD_HEADER_VALUE.search(pair) or ";" in pair:
            raise ParameterError("--cookie", f"{_shown_beginning(pair)!r} is not like name=value")
    return (("Cookie", "; ".join(pairs)),) if pairs else ()


def _shown_beginning(text: str, otherwise: str = HIDDEN) -> str:
    """Return what an error may show of an invalid header or cookie: the rest may be secret."""
    found = _FIRST_WORD.match(text)
    return f"{found[1]}{HIDDEN}" if found else otherwise


def _check_header(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ParameterError("--header", f"{_shown_beginning(name, name)!r} is not a header name")
    if name.lower() in _FRAMING:
        raise ParameterError("--header", f"{name} follows from the body and cannot be set")
    if _BAD_HEADER_VALUE.search(value):
        raise ParameterError("--header", f"{name} contains a control character or is not UTF-8")
