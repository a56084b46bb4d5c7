"""A cached response, and what it weighs."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from aserve.cache.dependencies import Dependencies
from aserve.cache.keys import CacheKey
from aserve.filesystem.memory_content import MemoryContent
from aserve.http.dates import format_date, parse_date
from aserve.http.messages import BodyPart, FileSlice, Request, Response

# Bytes that Python uses besides the data itself, measured with tracemalloc and rounded up.
_RESPONSE_OVERHEAD = 3_200  # with five watched names of its own
_HEAD_OVERHEAD = 960
_PART_OVERHEAD = 256
_DEPENDENCY_OVERHEAD = 96  # of a name that other responses depend on as well
_STRING_OVERHEAD = 64
_PAIR_OVERHEAD = 3 * _STRING_OVERHEAD

_HEAD_END = b"\r\n\r\n"
_DATE = b"Date: "
_DATE_LENGTH = 29


class CachedResponse:
    """One response as it was sent, except for its date.

    data: head and small body, whose date is right from valid_from until before valid_until, in
    POSIX seconds; size: its bytes; created_at: the date of the first response, in POSIX seconds;
    rest: further parts of the body, from files that are kept open; is_one_write: there are none;
    closes: the connection is closed after it; content_length: bytes of the body.
    """

    __slots__ = (
        "_after",
        "_before",
        "_files",
        "closes",
        "content_length",
        "created_at",
        "data",
        "dependencies",
        "heads",
        "idle_seconds",
        "is_one_write",
        "key",
        "needs_stat",
        "rest",
        "size",
        "status",
        "valid_from",
        "valid_until",
        "was_used",
        "weight",
    )

    def __init__(
        self, key: CacheKey, parts: Sequence[BodyPart], response: Response, *, closes: bool
    ) -> None:
        first, *rest = parts
        assert isinstance(first, bytes)  # noqa: S101 - a head is bytes
        at = first.index(_DATE) + len(_DATE)
        self.key = key
        self.status = response.status
        self.closes = closes
        # What was sent, and not response.body: to HEAD no handler's body is sent.
        self.content_length = sum(map(len, parts)) - first.index(_HEAD_END) - len(_HEAD_END)
        self.data = first
        self.size = len(first)
        self.rest = rest
        self.is_one_write = not rest
        self._before, self._after = first[:at], first[at + _DATE_LENGTH :]
        self.valid_from = self.valid_until = 0.0
        self.created_at = parse_date(first[at : at + _DATE_LENGTH].decode("latin-1"), 0) or 0
        self.heads: dict[bytes, None] = {}  # the oldest first
        self.dependencies: Dependencies
        self._files = {part.source for part in rest if isinstance(part, FileSlice)}
        self.needs_stat = False
        """Whether files are checked by stat before each use, and not only by events."""
        self.was_used = True
        self.idle_seconds = 0
        """Seconds since its last use, counted only where it keeps a file open."""
        self.weight = 0
        """How many bytes of memory it takes, without its heads."""

    def set_dependencies(self, dependencies: Dependencies) -> None:
        """Set what this response depends on, and its weight, of which that is a part."""
        self.dependencies = dependencies
        self.needs_stat = bool(dependencies.signatures or self._files)
        self.weight = (
            _RESPONSE_OVERHEAD
            + 2 * len(self.data)  # and the parts before and after the date
            + sum(_weigh_part(part) for part in self.rest)
            + sum(_DEPENDENCY_OVERHEAD + len(name) for _, name in dependencies.names)
            + sum(_DEPENDENCY_OVERHEAD + len(path) for path, _ in dependencies.signatures)
            + _weigh_key(self.key)
        )

    @property
    def has_open_files(self) -> bool:
        """Whether this response keeps a file open."""
        return bool(self._files)

    @property
    def open_file_count(self) -> int:
        """How many files this response keeps open."""
        return len(self._files)

    def is_unchanged(self) -> bool:
        """Check the files by stat: not every write makes an event.

        Writes by io_submit make none, nor do writes to a loop device's backing file. A large body
        is read from its file each time, and must be what its strong tag says: fstat takes 0.9 us
        of 25.
        """
        return (
            all(file.is_unchanged() for file in self._files)
            and self.dependencies.signatures_unchanged()
        )

    def refresh(self, now: float) -> None:
        """Set the date in data to this second."""
        self.valid_from, self.valid_until, date = _second(int(now))
        self.data = self._before + date + self._after


CacheHit = tuple[CachedResponse, Request]
"""A cached response, and the parsed request of the head that was looked up."""


class HeadLookup(Protocol):
    """Finds cached responses by the head of a request, unparsed."""

    def lookup_head(self, head: bytes, now: float) -> CacheHit | None:
        """Return the valid response to exactly this head, with its request; None if none is.

        now: POSIX seconds.
        """


class CachePartition:
    """The cached responses for connections with the same facts, which key tells from others."""

    __slots__ = ("_cache", "_key")

    def __init__(self, cache: HeadLookup, key: bytes) -> None:
        self._cache = cache
        self._key = key

    def lookup_head(self, head: bytes, now: float) -> CacheHit | None:
        """Return the valid response to exactly this head on such a connection."""
        return self._cache.lookup_head(self._key + head, now)


@lru_cache(maxsize=2)
def _second(start: int) -> tuple[float, float, bytes]:
    """Return when a second begins and ends, in POSIX seconds, and its date.

    The bounds are floats like the clock: with ints, the two comparisons of each look-up took 620
    of 9,200 instructions. All responses of a second share these objects, which stay in the CPU's
    cache.
    """
    return float(start), start + 1.0, format_date(start).encode()


def weigh_head(head: bytes, request: Request) -> int:
    """Return how many bytes of memory the head of a request takes, with what is kept of it."""
    # As bytes, as the request's text, and as the headers extracted from that.
    return (
        _HEAD_OVERHEAD + 2 * len(head) + len(request.head) + _PAIR_OVERHEAD * len(request.headers)
    )


def _weigh_part(part: BodyPart) -> int:
    if isinstance(part, FileSlice):
        # What is in memory stays there, though what had made it may have dropped it.
        kept = len(part.source) if isinstance(part.source, MemoryContent) else 0
        return _PART_OVERHEAD + kept
    return _PART_OVERHEAD + len(part)


def _weigh_key(key: CacheKey) -> int:
    """Return how many bytes a key takes."""
    pairs = sum(len(name) + len(value) + _PAIR_OVERHEAD for name, value in key.headers)
    return len(key.target) + _STRING_OVERHEAD + len(key.partition_key) + pairs
