"""A cache of whole responses, in front of the code that makes them.

The cache makes no decisions: a cached response is one that the handler has made, and it is valid
only as long as nothing that it depends on has changed.
"""

from collections import OrderedDict
from collections.abc import Sequence

from aserve.cache.cached_response import (
    CachedResponse,
    CacheHit,
    CachePartition,
    HeadLookup,
    weigh_head,
)
from aserve.cache.dependencies import Dependencies
from aserve.cache.dependency_table import DependencyTable
from aserve.cache.disposal import dispose_in_thread
from aserve.cache.doorkeeper import MIN_COUNT, Doorkeeper
from aserve.cache.keys import MAX_HEAD_SIZE, NOTHING_ELSE, CacheKey, KeyBuilder, KeyedOn
from aserve.filesystem.monitor import ChangeMonitor
from aserve.http.messages import Request, Response
from aserve.linux.inotify import WatchedName

_MAX_RESPONSES = 16_384
_MAX_BYTES = 64 << 20
_MAX_HEADS = 32_768
_MAX_HEADS_PER_RESPONSE = 1_024  # which are evicted with it, at a microsecond each
_MAX_OPEN_FILES = 256  # kept open, for responses that are too large for memory
_MIN_FULL = 4  # responses that fit at least: a single large one does not evict all others
_MAX_EVICTED_SINGLY = 1_024  # responses evicted one by one for one read of events, at 10 us each
_MAX_IDLE_S = 60  # seconds for which a file is kept open without being requested


class ResponseCache:
    """The cached responses of one process; for use in the event loop's thread alone.

    monitor: tells of changes, and is ticked by its owner; max_head_size: bytes of the longest head
    that is not rejected; keyed_on: what decides a response besides its request; max_bytes: memory
    that the responses and their heads may take.
    """

    max_open_files = _MAX_OPEN_FILES

    def __init__(
        self,
        monitor: ChangeMonitor | None = None,
        max_head_size: int = MAX_HEAD_SIZE,
        *,
        keyed_on: KeyedOn = NOTHING_ELSE,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        self.keys = KeyBuilder(keyed_on)
        self._normalize = self.keys.normalize
        self._max_bytes = max_bytes
        self.monitor = monitor or ChangeMonitor()
        self._max_head_size = min(max_head_size, MAX_HEAD_SIZE)
        # The oldest first: to find it in a plain dict takes 50 us once many were removed.
        self._by_head: OrderedDict[bytes, CacheHit] = OrderedDict()
        self._find_head = self._by_head.get  # bound: to look it up takes 270 instructions of 8,600
        self._by_key: OrderedDict[CacheKey, CachedResponse] = OrderedDict()
        self._dependencies = DependencyTable[CachedResponse](self.monitor)
        self._with_files: dict[CacheKey, CachedResponse] = {}
        self._total_weight = 0
        self._head_weight = 0
        self._doorkeeper = Doorkeeper(_MAX_HEADS)
        self.monitor.subscribe(self)

    def lookup_head(self, head: bytes, now: float) -> CacheHit | None:
        """Return the valid response to exactly this head, with its request; None where none is.

        now: POSIX seconds.
        """
        find_head = self._find_head  # a local variable, as something_changed below
        hit = find_head(head)
        if hit is None:
            if len(head) > self._max_head_size:
                return None
            hit = find_head(self._normalize(head))
            if hit is None:
                return None
        cached = hit[0]
        # The usual case, that nothing has changed, is decided here without another frame. The
        # function is a local variable first, since calling it as an attribute takes 40 ns more.
        something_changed = self.monitor.has_changes
        if (something_changed() or cached.needs_stat) and not self._is_valid(cached):
            return None
        cached.was_used = True
        if not cached.valid_from <= now < cached.valid_until and not self._refresh(cached, now):
            return None
        return hit

    def select_partition(self, key: bytes) -> HeadLookup:
        """Return the responses for connections with equal facts. key: KeyedOn.partition_key."""
        return CachePartition(self, key) if key else self

    def lookup_key(self, key: CacheKey, request: Request, now: float) -> CachedResponse | None:
        """Return the valid response to requests with this key, and add the request's head to it.

        None where there is none. now: POSIX seconds.
        """
        cached = self._by_key.get(key)
        if cached is None or not self._is_valid(cached):
            return None
        if not cached.valid_from <= now < cached.valid_until and not self._refresh(cached, now):
            return None
        self._add_head(request, cached)
        return cached

    def should_store(self, key: CacheKey, response: Response) -> bool:
        """Tell whether to try to cache a response now: it can be, and it was requested before."""
        key_hash = hash(key)
        count = self._doorkeeper.count(key_hash)
        # What was not cached is mostly asked for the first time, which ends here.
        if count < MIN_COUNT or self.monitor.is_paused or not response.path:
            return False
        return self._doorkeeper.admits(key_hash, count, is_full=self._is_full())

    @property
    def root_is_local(self) -> bool:
        """Whether watch_dependencies does not wait for a disk after a look-up that did not."""
        return self._dependencies.root_is_local

    def watch_dependencies(
        self, response: Response, now: int, *, at_once: bool = False
    ) -> Dependencies:
        """Watch the file that a response depends on, before the response is made again.

        now: POSIX seconds. Any thread may call this. The result is to be passed to store or to
        discard. at_once: the call is made in the event loop, which may use the directories it
        already watches; they are valid until it sees a change.
        """
        return self._dependencies.watch(response.path, response.absent, now, at_once=at_once)

    def store(self, response: CachedResponse, dependencies: Dependencies, generation: int) -> None:
        """Cache a response that was made since a generation, unless it may be stale already."""
        self.monitor.process_changes()
        # Of two equal responses in progress at once, the first is cached and stays valid.
        is_late = response.key in self._by_key or self._dependencies.changed_since(
            dependencies, generation
        )
        if is_late or not dependencies.is_usable:
            self.discard(dependencies)
            return
        response.set_dependencies(dependencies)
        if response.weight > self._max_bytes // _MIN_FULL:
            self.discard(dependencies)
            return
        self._doorkeeper.on_stored(hash(response.key))
        self._by_key[response.key] = response
        self._dependencies.add(response, dependencies)
        if response.has_open_files:
            self._with_files[response.key] = response
        self._total_weight += response.weight
        self._evict_excess()

    def discard(self, dependencies: Dependencies) -> None:
        """Remove the watches of a response that is not cached."""
        self._dependencies.discard(dependencies)

    def tick(self) -> None:
        """Do the work of each second, after the monitor has done its own."""
        self._doorkeeper.tick()
        self._evict_idle_files()

    def on_changes(self, names: Sequence[WatchedName]) -> None:
        """Evict the responses that depend on names that have changed."""
        stale = self._dependencies.dependents_of(names)
        # To evict a head takes a tenth of the time that its response takes.
        if len(stale) + sum(len(cached.heads) for cached in stale) // 10 > _MAX_EVICTED_SINGLY:
            self.monitor.reset()
            return
        for cached in stale:
            self._evict(cached)

    def on_reset(self) -> None:
        """Evict everything at once; a thread takes the old tables apart.

        To evict 16,384 responses one by one blocks the event loop for 200 ms.
        """
        tables = self._by_head, self._by_key, self._dependencies.clear(), self._with_files
        self._by_head, self._by_key, self._with_files = OrderedDict(), OrderedDict(), {}
        self._find_head = self._by_head.get
        self._total_weight = self._head_weight = 0
        if tables[1]:
            dispose_in_thread(*tables)

    def uses(self, watch: int) -> bool:
        """Tell whether a response depends on a watch."""
        return self._dependencies.uses(watch)

    def evict_files(self, count: int) -> int:
        """Close about count of the files kept open, the least recently used ones first.

        Return how many were closed. A file that a response is being sent from is closed after that.
        """
        ranked = sorted(
            self._with_files.values(), key=lambda cached: cached.idle_seconds, reverse=True
        )
        closed = 0
        for cached in ranked:
            if closed >= count:
                break
            closed += cached.open_file_count
            self._evict(cached)
        return closed

    def _evict_idle_files(self) -> None:
        """Close files that were deleted or changed, or not used for a minute.

        An open file takes space on its disk even when deleted, and its file system cannot be
        unmounted.
        """
        for cached in list(self._with_files.values()):
            cached.idle_seconds += 1
            if cached.idle_seconds > _MAX_IDLE_S or not cached.is_unchanged():
                self._evict(cached)

    @property
    def open_files(self) -> int:
        """How many responses keep files open."""
        return len(self._with_files)

    def close(self) -> None:
        """Remove every watch and close every file; closing twice does no harm."""
        self.monitor.close()

    def _is_valid(self, cached: CachedResponse) -> bool:
        if self.monitor.has_changes():
            self.monitor.process_changes()
            if self._by_key.get(cached.key) is not cached:
                return False
        if cached.needs_stat:
            if not cached.is_unchanged():
                self._evict(cached)
                return False
            cached.idle_seconds = 0
        cached.was_used = True
        return True

    def _refresh(self, cached: CachedResponse, now: float) -> bool:
        """Set a response's date to this second, if its files are unchanged; else evict it.

        A change without an event, of a small file that is in memory, is noticed once a second: to
        check before each use would take 1.7 us of 7. Where the clock was set back, a response from
        the future is not valid any more: Last-Modified may be later than Date (RFC 9110 section
        8.8.2.1).
        """
        if now < cached.created_at or not cached.dependencies.files_unchanged():
            self._evict(cached)
            return False
        cached.refresh(now)
        return True

    def _add_head(self, request: Request, cached: CachedResponse) -> None:
        if len(request.head) > self._max_head_size:
            return
        head = cached.key.partition_key + self.keys.normalize(request.head.encode("latin-1"))
        if head in self._by_head or self._doorkeeper.count(hash(head)) < MIN_COUNT:
            return
        self._evict_heads(cached)
        self._by_head[head] = cached, request
        cached.heads[head] = None
        weight = weigh_head(head, request)
        self._total_weight += weight
        self._head_weight += weight
        self._evict_excess()

    def _evict_heads(self, cached: CachedResponse) -> None:
        """Evict the oldest heads: a client that always sends a new one evicts no response."""
        if len(cached.heads) >= _MAX_HEADS_PER_RESPONSE:
            self._evict_head(next(iter(cached.heads)))
        while len(self._by_head) >= _MAX_HEADS or self._head_weight > self._max_bytes // 2:
            self._evict_head(next(iter(self._by_head)))

    def _evict_head(self, head: bytes) -> None:
        cached, request = self._by_head.pop(head)
        del cached.heads[head]
        weight = weigh_head(head, request)
        self._total_weight -= weight
        self._head_weight -= weight

    def _evict(self, cached: CachedResponse) -> None:
        if self._by_key.pop(cached.key, None) is not cached:
            return
        self._with_files.pop(cached.key, None)
        self._total_weight -= cached.weight
        for head in list(cached.heads):
            self._evict_head(head)
        self._dependencies.remove(cached, cached.dependencies)

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
        """Evict the oldest response, or move it to the end if it was used since it was there."""
        key, cached = next(iter(queue.items()))
        if cached.was_used:
            cached.was_used = False
            queue[key] = queue.pop(key)
        else:
            self._evict(cached)
