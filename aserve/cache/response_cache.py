"""Replies that were given before, in front of the one true path.

A cache may forget and never decides: what is kept is what the true path said, and it counts only
as long as nothing that it depended on has changed.
"""

import re
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from aserve.cache.dependencies import Dependencies, DirectoryDependencies, watch_path
from aserve.filesystem.directory import file_segments
from aserve.filesystem.mounts import Mounts
from aserve.http.dates import format_date, parse_date
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request, Response
from aserve.http.request_target import parse_path
from aserve.linux.inotify import SELF, Inotify, QueueOverflow, WatchedName

_MAX_RESPONSES = 16_384
_MAX_BYTES = 64 << 20
_MAX_HEADS = 32_768
_MAX_HEADS_PER_RESPONSE = 1_024  # which are forgotten with it, at a microsecond each
_MAX_OPEN_FILES = 256  # kept open, for the replies that are too large for memory
_MAX_HEAD_SIZE = 8_192  # octets; of a longer one nothing is remembered
_SHORT_HEAD_SIZE = 1_024  # bytes; of longer ones 512 would take megabytes that nobody weighs

# Bytes that Python takes beside the bytes themselves, measured with tracemalloc and rounded up.
_RESPONSE_OVERHEAD = 3_200  # with five places of its own
_HEAD_OVERHEAD = 960
_PART_OVERHEAD = 256
_DEPENDENCY_OVERHEAD = 96  # of those that others depend on as well
_STRING_OVERHEAD = 64
_PAIR_OVERHEAD = 3 * _STRING_OVERHEAD
_MAX_CHANGES = 8_192
_MAX_EVENTS = 8_192  # in a second; listening to more takes longer than doing without
_MIN_PAUSE = 2  # seconds without a memory after a flood of changes; twice as long after the next
_MAX_PAUSE = 64
_MAX_EVICTED_SINGLY = 1_024  # replies that one look forgets one by one, at 10 us each
_DISPOSE_BATCH = 256
_MAX_IDLE_S = 60  # seconds that a file is kept open without being asked for

_DATE = b"Date: "
_DATE_LENGTH = 29

# Fields that no kept reply depends on. Whatever else is picked out of a head counts: one that is
# forgotten here costs a second entry, one that is forgotten in a list of deciders a wrong reply.
_IRRELEVANT_HEADERS = frozenset({"accept", "connection", "content-length", "host"})

# Field lines that make each head another one and decide nothing: neither the reply nor its line in
# a log. Their values are made of what httptools allows in any value. A line replaces a line, so
# that what is found to be a known head has as many of them.
_UNIQUE_HEADERS = re.compile(
    rb"\r\n(?:[Cc]ookie|[Tt]race(?:parent|state)|[Xx]-(?:[Rr]equest|[Cc]orrelation)-[Ii][Dd]"
    rb"|[Xx]-[Ff]orwarded-[Ff]or):[\t -~\x80-\xff]*"
)
_PLACEHOLDER = b"\r\nCookie:"

CacheKey = tuple[object, ...]


class CachedResponse:
    """One reply as it left, save for its date.

    octets: head and small body, right from since until before until, in POSIX seconds, as is made,
    when it first left; size: how many; rest: what else belongs to it, from files that are kept
    open, is_one_write: nothing does; closes: the connection ends with it.
    """

    __slots__ = (
        "_after",
        "_before",
        "_files",
        "closes",
        "content_length",
        "data",
        "dependencies",
        "heads",
        "idle_seconds",
        "is_one_write",
        "key",
        "made",
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
        self, key: CacheKey, pieces: Sequence[BodyPart], response: Response, *, closes: bool
    ) -> None:
        first, *rest = pieces
        assert isinstance(first, bytes)  # noqa: S101 - a head is octets
        at = first.index(_DATE) + len(_DATE)
        self.key = key
        self.status = response.status
        self.closes = closes
        self.content_length = sum(map(len, response.body))  # octets
        self.data = first
        self.size = len(first)
        self.rest = rest
        self.is_one_write = not rest
        self._before, self._after = first[:at], first[at + _DATE_LENGTH :]
        self.valid_from = self.valid_until = 0
        self.made = parse_date(first[at : at + _DATE_LENGTH].decode("latin-1"), 0) or 0
        self.heads: dict[bytes, None] = {}  # the oldest first
        self.dependencies: Dependencies
        self._files = {piece.source for piece in rest if isinstance(piece, FileSlice)}
        self.needs_stat = False
        """Whether the disk is asked before each use, and not only events."""
        self.was_used = True
        self.idle_seconds = 0
        """Seconds since it was used, as long as it keeps a file open."""
        self.weight = 0
        """How many bytes of memory this takes, without its heads."""

    def set_dependencies(self, trails: Dependencies) -> None:
        """Hold only as long as trails do; this weighs something as well."""
        self.dependencies = trails
        self.needs_stat = bool(trails.signatures or self._files)
        self.weight = (
            _RESPONSE_OVERHEAD
            + 2 * len(self.data)  # and what is before and after the date
            + sum(_weigh_part(piece) for piece in self.rest)
            + sum(_DEPENDENCY_OVERHEAD + len(name) for _, name in trails.names)
            + sum(_DEPENDENCY_OVERHEAD + len(path) for path, _ in trails.signatures)
            + _weigh_key(self.key)
        )

    @property
    def has_open_files(self) -> bool:
        """Whether this keeps a file open."""
        return bool(self._files)

    @property
    def open_file_count(self) -> int:
        """How many files this keeps open."""
        return len(self._files)

    def is_unchanged(self) -> bool:
        """Ask the disk: not every write makes an event.

        None by io_submit does, nor to what a loop device stands for. A large body is read from its
        file each time, and must be what its strong tag names: fstat takes 0.9 us of 25.
        """
        return (
            all(file.is_unchanged() for file in self._files)
            and self.dependencies.signatures_unchanged()
        )

    def refresh(self, now: float) -> None:
        """Make octets right to the second."""
        self.valid_from = int(now)
        self.valid_until = self.valid_from + 1
        self.data = self._before + format_date(self.valid_from).encode() + self._after


CacheHit = tuple[CachedResponse, Request]
"""A reply, and the request that a head is."""


class ResponseCache:
    """What one process remembers of its replies; used from its loop's thread alone.

    root: the folder that is served, as it was named; longest_head: octets that a head may have
    without being refused; max_watches: inotify watches it may take, None for half of the user's;
    max_bytes: memory that the responses and their heads may take.
    """

    max_open_files = _MAX_OPEN_FILES

    def __init__(
        self,
        root: bytes,
        mounts: Mounts | None = None,
        max_head_size: int = _MAX_HEAD_SIZE,
        *,
        max_watches: int | None = None,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._max_watches = max_watches
        self._max_head_size = min(max_head_size, _MAX_HEAD_SIZE)
        # The oldest first: to find that in a plain dict takes 50 us once many others have gone.
        self._by_head: OrderedDict[bytes, CacheHit] = OrderedDict()
        self._by_key: OrderedDict[CacheKey, CachedResponse] = OrderedDict()
        self._by_dependency: defaultdict[WatchedName, set[CachedResponse]] = defaultdict(set)
        self._with_files: dict[CacheKey, CachedResponse] = {}
        self._total_weight = 0
        self._head_weight = 0
        self._doorkeeper = _Doorkeeper()
        self._recently_considered: set[int] = set()  # hashes of keys, in this second
        self._directory_dependencies: DirectoryDependencies = {}
        self.root_is_local = False
        """Whether the way to the root is local, as was found since anything has changed: then
        nothing has to be waited for where the kernel has just found its way at once."""
        self._changes: dict[WatchedName, int] = {}
        self._mounts = mounts or Mounts()
        self._generation = 0  # counts the times that something was seen to have changed
        self._oldest_generation = 0  # the last moment of which nothing is known any more
        self._directory_names: set[WatchedName] | None = None
        self._events = 0  # in this second
        self._pause = 0  # seconds until anything is remembered again
        self._next_pause = _MIN_PAUSE
        self._inotify: Inotify | None
        self._has_changes: Callable[[], object]
        self._start_watching()

    def _start_watching(self) -> None:
        try:
            self._inotify = Inotify(self._max_watches)
        except OSError:
            self._stop_watching()
        else:
            self._has_changes = self._inotify.has_changes

    def _stop_watching(self) -> None:
        self._inotify, self._has_changes = None, bool

    def lookup_head(self, head: bytes, now: float) -> CacheHit | None:
        """Return the reply to exactly this head, if it still holds, and the request in it.

        now: POSIX seconds.
        """
        known = self._by_head.get(head)
        if known is None and (known := self._lookup_normalized(head)) is None:
            return None
        kept = known[0]
        # The usual case, that nothing has changed, is decided here and without another frame; what
        # is asked is looked up plainly first, since to call an attribute takes 40 ns more.
        something_changed = self._has_changes
        if (something_changed() or kept.needs_stat) and not self._is_valid(kept):
            return None
        kept.was_used = True
        if not kept.valid_from <= now < kept.valid_until and not self._refresh(kept, now):
            return None
        return known

    def lookup_key(self, key: CacheKey, request: Request, now: float) -> CachedResponse | None:
        """Return the reply to a request that is decided alike, if it still holds."""
        kept = self._by_key.get(key)
        if kept is None or not self._is_valid(kept):
            return None
        if not kept.valid_from <= now < kept.valid_until and not self._refresh(kept, now):
            return None
        self._add_head(request, kept)
        return kept

    def should_store(self, key: CacheKey, response: Response) -> bool:
        """Tell whether it is time to look whether a reply can be kept.

        It is worth it if it was asked for before, not long ago; where there is no room for it, if
        that was more than once, or many things that are asked for now and then would push each
        other out. Once a second is often enough for one that cannot be kept.
        """
        if self._pause:
            return False
        least = 4 if self._is_full() else 2
        mark = hash(key)
        if (
            not response.cacheable
            or self._doorkeeper.count(mark) < least
            or mark in self._recently_considered
        ):
            return False
        self._recently_considered.add(mark)
        return True

    def generation(self) -> int:
        """Return a moment before which the work on a reply begins, for keep."""
        self._process_changes()
        return self._generation

    def watch_dependencies(
        self, request: Request, now: int, *, at_once: bool = False
    ) -> Dependencies | None:
        """Watch what a reply will depend on, before it is made; any thread may call this.

        None where nothing can be there; else it is for keep, or for release. at_once: the loop
        does, whose knowledge of ways holds until it sees a change.
        """
        ways = None
        if at_once:
            ways, self._directory_names = self._directory_dependencies, None
        try:
            path = b"/".join((self._root, *file_segments(parse_path(request.target))))
            return watch_path(path, self._inotify, self._mounts, now, ways)
        except (OSError, HttpError):
            return None

    def store(self, response: CachedResponse, dependencies: Dependencies, generation: int) -> None:
        """Remember a reply that was made since a moment, unless it may be old already."""
        self._process_changes()
        # Of two alike that were under way together the first is kept, and holds as long as it is.
        is_late = response.key in self._by_key or self._changed_since(dependencies, generation)
        if is_late or not dependencies.is_usable:
            self.discard(dependencies)
            return
        self._recently_considered.discard(hash(response.key))
        self.root_is_local = True
        response.set_dependencies(dependencies)
        self._by_key[response.key] = response
        for place in dependencies.names:
            self._by_dependency[place].add(response)
        if response.has_open_files:
            self._with_files[response.key] = response
        self._total_weight += response.weight
        self._evict_excess()

    def discard(self, dependencies: Dependencies) -> None:
        """Give up what is watched for a reply that is not kept."""
        if dependencies.inotify is not self._inotify:
            return  # it has ended, and another one's numbers mean other places
        for place in dependencies.names:
            if place not in self._by_dependency:
                self._unwatch(place)

    def tick(self) -> None:
        """Let a second pass; notice what makes no event: something mounted over a folder."""
        self._recently_considered.clear()
        self._process_changes()
        self._tick_pause()
        if self._mounts.refresh():
            self._clear_and_rewatch()
        self._evict_idle_files()

    def evict_files(self, count: int) -> int:
        """Close up to so many files that are kept open, those first that were not used for longest.

        Return how many were closed. One that a reply under way is sent from ends with that.
        """
        ranked = sorted(self._with_files.values(), key=lambda kept: kept.idle_seconds, reverse=True)
        released = 0
        for kept in ranked:
            if released >= count:
                break
            released += kept.open_file_count
            self._evict(kept)
        return released

    def _evict_idle_files(self) -> None:
        """Close what was deleted, changed or not used for a minute.

        A file that is kept open takes room on its disk after its end, and its file system cannot
        be unmounted.
        """
        for kept in list(self._with_files.values()):
            kept.idle_seconds += 1
            if kept.idle_seconds > _MAX_IDLE_S or not kept.is_unchanged():
                self._evict(kept)

    @property
    def open_files(self) -> int:
        """How many files are kept open."""
        return len(self._with_files)

    def close(self) -> None:
        """Give up every watch and every file; more than once is harmless."""
        self._clear()
        self._stop_watching()

    def _lookup_normalized(self, head: bytes) -> CacheHit | None:
        return (
            self._by_head.get(_normalize_head(head)) if len(head) <= self._max_head_size else None
        )

    def _is_valid(self, kept: CachedResponse) -> bool:
        if self._has_changes():
            self._process_changes()
            if self._by_key.get(kept.key) is not kept:
                return False
        if kept.needs_stat:
            if not kept.is_unchanged():
                self._evict(kept)
                return False
            kept.idle_seconds = 0
        kept.was_used = True
        return True

    def _refresh(self, kept: CachedResponse, now: float) -> bool:
        """Make a reply right to the second, if its files are what they were.

        What made no event, in a small file that is in memory, is seen once a second: to ask before
        each use would take 1.7 us of 7. Where the clock was set back, a reply from the future holds
        no more: Last-Modified may be later than Date (RFC 9110 section 8.8.2.1).
        """
        if now < kept.made or not kept.dependencies.files_unchanged():
            self._evict(kept)
            return False
        kept.refresh(now)
        return True

    def _changed_since(self, trails: Dependencies, since: int) -> bool:
        return since < self._oldest_generation or any(
            self._changes.get(place, 0) > since for place in trails.names
        )

    def _process_changes(self) -> None:
        """Forget what has changed; everything for a while where that is too much to listen to."""
        if not (self._inotify and self._has_changes()):
            return
        self._generation += 1
        try:
            places = self._inotify.read_changes()
        except QueueOverflow:
            self._pause_caching()
            return
        self._events += len(places)
        if self._events > _MAX_EVENTS:
            self._pause_caching()
            return
        self._evict_dependents(places)
        if len(self._changes) > _MAX_CHANGES:
            self._changes.clear()
            self._oldest_generation = self._generation

    def _evict_dependents(self, places: list[WatchedName]) -> None:
        """Forget what depends on places that have changed."""
        if self._directory_names is None:
            self._directory_names = set[WatchedName]().union(
                *(known for known, _ in self._directory_dependencies.values())
            )
        on_ways = self._directory_names
        old: set[CachedResponse] = set()
        for place in places:
            self._changes[place] = self._generation
            depending = self._by_dependency.get(place, ())
            if depending or place in on_ways or not self._by_dependency:
                self._clear_directory_dependencies()
            old.update(depending)
        # The heads of a reply take a tenth of its time each.
        if len(old) + sum(len(kept.heads) for kept in old) // 10 > _MAX_EVICTED_SINGLY:
            self._clear_and_rewatch()
            return
        for kept in old:
            self._evict(kept)

    def _pause_caching(self) -> None:
        """Remember nothing for a while: who is flooded with changes would serve nobody else."""
        self._pause = self._next_pause
        self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)
        self._clear()
        self._stop_watching()

    def _tick_pause(self) -> None:
        self._events = 0
        if self._pause:
            self._pause -= 1
            if not self._pause:
                self._start_watching()
        elif self._next_pause > _MIN_PAUSE:
            self._next_pause -= 1  # a second of quiet

    def _add_head(self, request: Request, kept: CachedResponse) -> None:
        if len(request.head) > self._max_head_size:
            return
        head = _normalize_head(request.head.encode("latin-1"))
        if head in self._by_head or self._doorkeeper.count(hash(head)) < 2:
            return
        self._evict_heads(kept)
        self._by_head[head] = kept, request
        kept.heads[head] = None
        weight = _weigh_head(head, request)
        self._total_weight += weight
        self._head_weight += weight
        self._evict_excess()

    def _evict_heads(self, kept: CachedResponse) -> None:
        """Forget the oldest heads: who sends another one each time pushes out no reply."""
        if len(kept.heads) >= _MAX_HEADS_PER_RESPONSE:
            self._evict_head(next(iter(kept.heads)))
        while len(self._by_head) >= _MAX_HEADS or self._head_weight > self._max_bytes // 2:
            self._evict_head(next(iter(self._by_head)))

    def _evict_head(self, head: bytes) -> None:
        kept, request = self._by_head.pop(head)
        del kept.heads[head]
        weight = _weigh_head(head, request)
        self._total_weight -= weight
        self._head_weight -= weight

    def _evict(self, kept: CachedResponse) -> None:
        if self._by_key.pop(kept.key, None) is not kept:
            return
        self._with_files.pop(kept.key, None)
        self._total_weight -= kept.weight
        for head in list(kept.heads):
            self._evict_head(head)
        for place in kept.dependencies.names:
            self._by_dependency[place].discard(kept)
            if not self._by_dependency[place]:
                del self._by_dependency[place]
                self._unwatch(place)

    def _unwatch(self, place: WatchedName) -> None:
        """Give up a watch that nothing depends on any more.

        Work that is under way may rely on it: for that, it counts as a change.
        """
        number, name = place
        if self._inotify and name == SELF:
            self._inotify.remove(number)
            self._generation += 1
            if any(place in places for places, _ in self._directory_dependencies.values()):
                self._clear_directory_dependencies()
            self._changes[place] = self._generation

    def _clear_directory_dependencies(self) -> None:
        """Take nothing that is known of ways for granted any more."""
        self._directory_dependencies.clear()
        self._directory_names = None
        self.root_is_local = False

    def _clear_and_rewatch(self) -> None:
        """Forget everything, and begin again."""
        self._clear()
        self._start_watching()

    def _clear(self) -> None:
        """Forget everything at a stroke; a thread takes apart what was known.

        One by one, 16,384 replies hold up the loop for 200 ms.
        """
        tables = self._by_head, self._by_key, self._by_dependency, self._with_files
        watch = self._inotify
        self._stop_watching()
        self._by_head, self._by_key, self._with_files = OrderedDict(), OrderedDict(), {}
        self._by_dependency = defaultdict(set)
        self._total_weight = self._head_weight = 0
        self._clear_directory_dependencies()
        self._generation += 1
        self._oldest_generation = self._generation
        self._changes.clear()
        if watch:
            name = "aserve-dispose"
            threading.Thread(target=_dispose, args=(tables, watch), name=name, daemon=True).start()

    def _evict_excess(self) -> None:
        while self._by_key and (
            self._total_weight > self._max_bytes or len(self._by_key) > _MAX_RESPONSES
        ):
            self._evict_oldest_unused(self._by_key)
        while len(self._with_files) > _MAX_OPEN_FILES:
            self._evict_oldest_unused(self._with_files)

    def _is_full(self) -> bool:
        return (
            len(self._by_key) >= _MAX_RESPONSES or self._total_weight > self._max_bytes * 15 // 16
        )

    def _evict_oldest_unused(self, queue: dict[CacheKey, CachedResponse]) -> None:
        """Forget the oldest reply, or let it be the youngest if it was used since it was that."""
        key, kept = next(iter(queue.items()))
        if kept.was_used:
            kept.was_used = False
            queue[key] = queue.pop(key)
        else:
            self._evict(kept)


def _dispose(tables: tuple[dict[Any, Any], ...], _watch: Inotify | None) -> None:
    """Take tables apart, a few entries at a time, so that the loop is held up for no moment.

    The watch ends with this, or with whoever else still works with it.
    """
    for table in tables:
        while table:
            for _ in range(min(len(table), _DISPOSE_BATCH)):
                table.popitem()
            time.sleep(0)


def _normalize_head(head: bytes) -> bytes:
    """Return what all heads have in common that differ in what decides nothing."""
    return _UNIQUE_HEADERS.sub(_PLACEHOLDER, head)


def _weigh_head(head: bytes, request: Request) -> int:
    # As bytes, as the request's text, and what was picked out of that.
    return (
        _HEAD_OVERHEAD + 2 * len(head) + len(request.head) + _PAIR_OVERHEAD * len(request.headers)
    )


def _weigh_part(piece: BodyPart) -> int:
    return _PART_OVERHEAD + (len(piece) if isinstance(piece, bytes) else 0)


def _weigh_key(key: CacheKey) -> int:
    """Return how many bytes what decides a reply takes: (..., target, ..., deciding fields)."""
    target, deciding = str(key[1]), key[-1]
    assert isinstance(deciding, tuple)  # noqa: S101 - as key_of makes it
    pairs = sum(len(name) + len(value) + _PAIR_OVERHEAD for name, value in deciding)
    return len(target) + _STRING_OVERHEAD + pairs


def cache_key(request: Request, *, keep_alive: bool) -> CacheKey | None:
    """Return what decides the reply to a request; None where such replies are not kept."""
    fields = request.headers
    if request.error or request.method not in {"GET", "HEAD"} or "expect" in fields:
        return None
    if "transfer-encoding" in fields or fields.get("content-length", "0") != "0":
        return None
    size = len(request.head)
    if size > _MAX_HEAD_SIZE:
        return None
    deciding = (_cached_deciding_headers if size <= _SHORT_HEAD_SIZE else _deciding_headers)(
        tuple(fields.items())
    )
    return request.method, request.target, request.minor, keep_alive, deciding


def _deciding_headers(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pair for pair in fields if pair[0] not in _IRRELEVANT_HEADERS))


_cached_deciding_headers = lru_cache(maxsize=512)(_deciding_headers)


class _Doorkeeper:
    """Counts what was seen lately: who comes again is let in. A scan never is."""

    __slots__ = ("_before", "_now")

    def __init__(self) -> None:
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def count(self, mark: int) -> int:
        """Return how often something with a hash was shown not long ago, this time included."""
        if len(self._now) >= _MAX_HEADS:
            self._now, self._before = {}, self._now
        seen = self._now[mark] = self._now.get(mark, 0) + 1
        return seen + self._before.get(mark, 0)
