"""What decides a response, and so what a cached one is found by.

Files are decided by the method, the target and some headers. Policies may read more: each declares
it, and the union of what they declare is part of every key.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import NamedTuple, Self

from aserve.http.messages import Request

MAX_HEAD_SIZE = 8_192
"""Bytes; requests with a longer head are not cached."""

_SHORT_HEAD_SIZE = 1_024  # bytes; 512 longer ones would take megabytes that are not counted

# Headers that no response with a file depends on. All others that the parser extracts are part of
# the key: a header missing here costs a second entry, one missing in a list of relevant headers
# would cause a wrong response.
_IRRELEVANT_HEADERS = frozenset({"accept", "connection", "content-length", "host"})

# Headers that make each head unique, and affect neither the response nor its line in the log. What
# trusted proxies say in them is a part of the partition (KeyedOn.proxied_partition_key).
_UNIQUE_HEADERS = (
    *("Cookie", "Traceparent", "Tracestate", "X-Request-Id", "X-Correlation-Id"),
    *("X-Forwarded-For", "X-Real-Ip", "Forwarded"),
)


class ConnectionFacts(NamedTuple):
    """What is the same for all requests of one client on one connection.

    client: the client's address, "-" if it has none. scheme: "http" or "https". server_name: the
    name that was asked for in the TLS handshake of the connection, "" without one.
    """

    client: str = "-"
    scheme: str = "http"
    server_name: str = ""


NO_FACTS = ConnectionFacts()


class KeyedOn(NamedTuple):
    """What decides a response, besides what decides which file is sent.

    headers: names of request headers, in any case. client, scheme, server_name: whether these
    facts of its connection do. everything: a response can depend on anything at all, the time
    included, so none is cached. counts_client: whether the client is seen although it decides no
    response that is cached: it is counted, and those that it decides are not cached.
    """

    headers: frozenset[str] = frozenset()
    client: bool = False
    scheme: bool = False
    server_name: bool = False
    everything: bool = False
    counts_client: bool = False

    @classmethod
    def union(cls, all_of_them: Iterable[Self]) -> Self:
        """Return what decides a response that passes through all of these."""
        result = cls()
        for each in all_of_them:
            headers = result.headers | each.headers
            result = cls(headers, *(a or b for a, b in zip(result[1:], each[1:], strict=True)))
        return result

    @property
    def has_partitions(self) -> bool:
        """Whether the connection decides, so that two of them may need different responses."""
        return self.client or self.scheme or self.server_name

    @property
    def sees_connection(self) -> bool:
        """Whether any fact of the connection is declared."""
        return self.has_partitions or self.everything or self.counts_client

    def visible(self, facts: ConnectionFacts) -> ConnectionFacts:
        """Return the facts that are declared; the others are as if they were not known."""
        if self.everything:
            return facts
        return ConnectionFacts(
            facts.client if self.client or self.counts_client else NO_FACTS.client,
            facts.scheme if self.scheme else NO_FACTS.scheme,
            facts.server_name if self.server_name else NO_FACTS.server_name,
        )

    def partition_key(self, visible: ConnectionFacts) -> bytes:
        """Return the part of the cache for connections of which this is visible; b"" for all."""
        if not self.has_partitions:
            return b""
        return repr(tuple(self._decisive(visible))).encode()

    def proxied_partition_key(self, visible: ConnectionFacts, host: str) -> bytes:
        """Return the part of the cache for clients of trusted proxies of which this is visible.

        Never one that connections without a proxy have: the same head may mean something else
        there. host: what the proxy says that the client has asked for, "" if it does not say.
        """
        decides = any(name.lower() == "host" for name in self.headers)
        return repr((*self._decisive(visible), host if decides else "")).encode()

    def _decisive(self, visible: ConnectionFacts) -> ConnectionFacts:
        return visible if self.client else visible._replace(client=NO_FACTS.client)


NOTHING_ELSE = KeyedOn()


class CacheKey(NamedTuple):
    """What decides one response: two requests with equal keys get equal responses.

    partition_key: of its connection; headers: the relevant ones, as pairs.
    """

    method: str
    target: str
    minor: int
    keep_alive: bool
    headers: tuple[tuple[str, str], ...]
    partition_key: bytes = b""


class KeyBuilder:
    """Builds the keys of one cache."""

    def __init__(self, keyed_on: KeyedOn) -> None:
        self._declared = frozenset(map(str.lower, keyed_on.headers))
        self._irrelevant = _IRRELEVANT_HEADERS - self._declared
        self._cached_relevant_headers = lru_cache(maxsize=512)(self._relevant_headers)
        unique = [name for name in _UNIQUE_HEADERS if name.lower() not in self._declared]
        self.normalize: Callable[[bytes], bytes] = bytes
        """Returns a head without what does not affect the response: one call into C."""
        if unique:
            # A name that is always left out: no head has this line after normalization but for it.
            placeholder = f"\r\n{unique[0]}:".encode()
            self.normalize = partial(_pattern_of(unique).sub, placeholder)

    def key(
        self, request: Request, *, keep_alive: bool, partition_key: bytes = b""
    ) -> CacheKey | None:
        """Return what the response to a request depends on; None if such ones are not cached."""
        headers = request.headers
        if request.error or request.method not in {"GET", "HEAD"} or "expect" in headers:
            return None
        if "transfer-encoding" in headers:
            return None
        if "content-length" in headers and headers["content-length"] != "0":
            return None
        size = len(request.head)
        if size > MAX_HEAD_SIZE:
            return None
        is_short = size <= _SHORT_HEAD_SIZE
        relevant = (self._cached_relevant_headers if is_short else self._relevant_headers)(
            tuple(headers.items())
        )
        if self._declared:
            relevant += self._declared_headers(request)
        return CacheKey(
            request.method, request.target, request.minor, keep_alive, relevant, partition_key
        )

    def _relevant_headers(
        self, headers: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(pair for pair in headers if pair[0] not in self._irrelevant))

    def _declared_headers(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Return the headers that policies depend on and that the parser does not extract."""
        return tuple(
            (name, value)
            for name in sorted(self._declared - request.headers.keys())
            if (value := request.header(name)) is not None
        )


def _pattern_of(names: Iterable[str]) -> re.Pattern[bytes]:
    """Return the pattern of whole lines with these headers.

    Their values consist of what httptools allows in any value. Each line is replaced by one line,
    so that two heads that are equal afterwards have the same number of header lines.
    """
    spellings = "|".join("-".join(map(_spellings, name.split("-"))) for name in names)
    return re.compile(rf"\r\n(?:{spellings}):[\t -~\x80-\xff]*".encode("latin-1"))


def _spellings(word: str) -> str:
    """Return a pattern for the usual spellings of a word: Id, id, ID; others are left alone."""
    count = len(word) if word in {"Id", "Ip"} else 1
    initial = "".join(f"[{letter.upper()}{letter.lower()}]" for letter in word[:count])
    return initial + word[count:]
