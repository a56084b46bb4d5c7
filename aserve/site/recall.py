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

from aserve.semantics.dates import format_date, parse_date
from aserve.semantics.messages import FileSlice, Piece, Refused, Request, Response
from aserve.semantics.targets import parse_path
from aserve.site.files import names_of
from aserve.site.mounts import Mounts
from aserve.site.trails import Trails, Ways, trails_of
from aserve.site.watch import ITSELF, Overflow, Place, Watch

_MOST_REPLIES = 16_384
_MOST_OCTETS = 64 << 20
_MOST_HEADS = 32_768
_MAX_HEADS_PER_REPLY = 1_024  # which are forgotten with it, at a microsecond each
_MOST_FILES = 256  # kept open, for the replies that are too large for memory
_LONGEST_HEAD = 8_192  # octets; of a longer one nothing is remembered
_SHORT_HEAD = 1_024  # bytes; of longer ones 512 would take megabytes that nobody weighs

# Bytes that Python takes beside the bytes themselves, measured with tracemalloc and rounded up.
_REPLY_SIZE = 3_200  # with five places of its own
_HEAD_SIZE = 960
_PIECE_SIZE = 256
_PLACE_SIZE = 96  # of those that others depend on as well
_STRING_SIZE = 64
_PAIR_SIZE = 3 * _STRING_SIZE
_MOST_CHANGES = 8_192
_MAX_EVENTS = 8_192  # in a second; listening to more takes longer than doing without
_MIN_PAUSE = 2  # seconds without a memory after a flood of changes; twice as long after the next
_MAX_PAUSE = 64
_MAX_FORGOTTEN = 1_024  # replies that one look forgets one by one, at 10 us each
_DISPOSED_AT_ONCE = 256
_MAX_IDLE = 60  # seconds that a file is kept open without being asked for

_DATE = b"Date: "
_DATE_LENGTH = 29

# Fields that no kept reply depends on. Whatever else is picked out of a head counts: one that is
# forgotten here costs a second entry, one that is forgotten in a list of deciders a wrong reply.
_IRRELEVANT = frozenset({"accept", "connection", "content-length", "host"})

# Field lines that make each head another one and decide nothing: neither the reply nor its line in
# a log. Their values are made of what httptools allows in any value. A line replaces a line, so
# that what is found to be a known head has as many of them.
_NEVER_TWICE = re.compile(
    rb"\r\n(?:[Cc]ookie|[Tt]race(?:parent|state)|[Xx]-(?:[Rr]equest|[Cc]orrelation)-[Ii][Dd]"
    rb"|[Xx]-[Ff]orwarded-[Ff]or):[\t -~\x80-\xff]*"
)
_SOMETHING = b"\r\nCookie:"

Key = tuple[object, ...]


class Kept:
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
        "content",
        "heads",
        "idle",
        "is_asked",
        "is_one_write",
        "key",
        "made",
        "octets",
        "rest",
        "since",
        "size",
        "status",
        "trails",
        "until",
        "used",
        "weight",
    )

    def __init__(
        self, key: Key, pieces: Sequence[Piece], response: Response, *, closes: bool
    ) -> None:
        first, *rest = pieces
        assert isinstance(first, bytes)  # noqa: S101 - a head is octets
        at = first.index(_DATE) + len(_DATE)
        self.key = key
        self.status = response.status
        self.closes = closes
        self.content = sum(map(len, response.body))  # octets
        self.octets = first
        self.size = len(first)
        self.rest = rest
        self.is_one_write = not rest
        self._before, self._after = first[:at], first[at + _DATE_LENGTH :]
        self.since = self.until = 0
        self.made = parse_date(first[at : at + _DATE_LENGTH].decode("latin-1"), 0) or 0
        self.heads: dict[bytes, None] = {}  # the oldest first
        self.trails: Trails
        self._files = {piece.content for piece in rest if isinstance(piece, FileSlice)}
        self.is_asked = False
        """Whether the disk is asked before each use, and not only events."""
        self.used = True
        self.idle = 0
        """Seconds since it was used, as long as it keeps a file open."""
        self.weight = 0
        """How many bytes of memory this takes, without its heads."""

    def depend_on(self, trails: Trails) -> None:
        """Hold only as long as trails do; this weighs something as well."""
        self.trails = trails
        self.is_asked = bool(trails.signatures or self._files)
        self.weight = (
            _REPLY_SIZE
            + 2 * len(self.octets)  # and what is before and after the date
            + sum(_piece_size(piece) for piece in self.rest)
            + sum(_PLACE_SIZE + len(name) for _, name in trails.places)
            + sum(_PLACE_SIZE + len(path) for path, _ in trails.signatures)
            + _key_size(self.key)
        )

    @property
    def has_files(self) -> bool:
        """Whether this keeps a file open."""
        return bool(self._files)

    @property
    def files_count(self) -> int:
        """How many files this keeps open."""
        return len(self._files)

    def still_holds(self) -> bool:
        """Ask the disk: not every write makes an event.

        None by io_submit does, nor to what a loop device stands for. A large body is read from its
        file each time, and must be what its strong tag names: fstat takes 0.9 us of 25.
        """
        return all(file.is_unchanged() for file in self._files) and self.trails.still_hold()

    def refresh(self, now: float) -> None:
        """Make octets right to the second."""
        self.since = int(now)
        self.until = self.since + 1
        self.octets = self._before + format_date(self.since).encode() + self._after


Known = tuple[Kept, Request]
"""A reply, and the request that a head is."""


class Recall:
    """What one process remembers of its replies; used from its loop's thread alone.

    root: the folder that is served, as it was named; longest_head: octets that a head may have
    without being refused; most_watches: inotify watches it may take, None for half of the user's.
    """

    max_open_files = _MOST_FILES

    def __init__(
        self,
        root: bytes,
        mounts: Mounts | None = None,
        longest_head: int = _LONGEST_HEAD,
        *,
        most_watches: int | None = None,
    ) -> None:
        self._root = root
        self._most_watches = most_watches
        self._longest_head = min(longest_head, _LONGEST_HEAD)
        # The oldest first: to find that in a plain dict takes 50 us once many others have gone.
        self._by_head: OrderedDict[bytes, Known] = OrderedDict()
        self._by_key: OrderedDict[Key, Kept] = OrderedDict()
        self._by_place: defaultdict[Place, set[Kept]] = defaultdict(set)
        self._with_files: dict[Key, Kept] = {}
        self._octets = 0
        self._head_octets = 0
        self._sights = _Doorkeeper()
        self._considered: set[int] = set()  # hashes of keys, in this second
        self._ways: Ways = {}
        self.way_is_known = False
        """Whether the way to the root is local, as was found since anything has changed: then
        nothing has to be waited for where the kernel has just found its way at once."""
        self._changes: dict[Place, int] = {}
        self._mounts = mounts or Mounts()
        self._moment = 0  # counts the times that something was seen to have changed
        self._forgotten = 0  # the last moment of which nothing is known any more
        self._on_ways: set[Place] | None = None
        self._events = 0  # in this second
        self._pause = 0  # seconds until anything is remembered again
        self._next_pause = _MIN_PAUSE
        self._watch: Watch | None
        self._something_changed: Callable[[], object]
        self._begin_to_watch()

    def _begin_to_watch(self) -> None:
        try:
            self._watch = Watch(self._most_watches)
        except OSError:
            self._stop_watching()
        else:
            self._something_changed = self._watch.something_changed

    def _stop_watching(self) -> None:
        self._watch, self._something_changed = None, bool

    def get(self, head: bytes, now: float) -> Known | None:
        """Return the reply to exactly this head, if it still holds, and the request in it.

        now: POSIX seconds.
        """
        known = self._by_head.get(head)
        if known is None and (known := self._find_alike(head)) is None:
            return None
        kept = known[0]
        # The usual case, that nothing has changed, is decided here and without another frame; what
        # is asked is looked up plainly first, since to call an attribute takes 40 ns more.
        something_changed = self._something_changed
        if (something_changed() or kept.is_asked) and not self._holds(kept):
            return None
        kept.used = True
        if not kept.since <= now < kept.until and not self._renew(kept, now):
            return None
        return known

    def find(self, key: Key, request: Request, now: float) -> Kept | None:
        """Return the reply to a request that is decided alike, if it still holds."""
        kept = self._by_key.get(key)
        if kept is None or not self._holds(kept):
            return None
        if not kept.since <= now < kept.until and not self._renew(kept, now):
            return None
        self._learn(request, kept)
        return kept

    def expects(self, key: Key, response: Response) -> bool:
        """Tell whether it is time to look whether a reply can be kept.

        It is worth it if it was asked for before, not long ago; where there is no room for it, if
        that was more than once, or many things that are asked for now and then would push each
        other out. Once a second is often enough for one that cannot be kept.
        """
        if self._pause:
            return False
        least = 4 if self._is_full() else 2
        mark = hash(key)
        if not response.keepable or self._sights.count(mark) < least or mark in self._considered:
            return False
        self._considered.add(mark)
        return True

    def moment(self) -> int:
        """Return a moment before which the work on a reply begins, for keep."""
        self._look()
        return self._moment

    def trails(self, request: Request, now: int, *, at_once: bool = False) -> Trails | None:
        """Watch what a reply will depend on, before it is made; any thread may call this.

        None where nothing can be there; else it is for keep, or for release. at_once: the loop
        does, whose knowledge of ways holds until it sees a change.
        """
        ways = None
        if at_once:
            ways, self._on_ways = self._ways, None
        try:
            path = b"/".join((self._root, *names_of(parse_path(request.target))))
            return trails_of(path, self._watch, self._mounts, now, ways)
        except (OSError, Refused):
            return None

    def keep(self, kept: Kept, trails: Trails, since: int) -> None:
        """Remember a reply that was made since a moment, unless it may be old already."""
        self._look()
        # Of two alike that were under way together the first is kept, and holds as long as it is.
        is_late = kept.key in self._by_key or self._have_changed(trails, since)
        if is_late or not trails.is_usable:
            self.release(trails)
            return
        self._considered.discard(hash(kept.key))
        self.way_is_known = True
        kept.depend_on(trails)
        self._by_key[kept.key] = kept
        for place in trails.places:
            self._by_place[place].add(kept)
        if kept.has_files:
            self._with_files[kept.key] = kept
        self._octets += kept.weight
        self._make_room()

    def release(self, trails: Trails) -> None:
        """Give up what is watched for a reply that is not kept."""
        if trails.watch is not self._watch:
            return  # it has ended, and another one's numbers mean other places
        for place in trails.places:
            if place not in self._by_place:
                self._unwatch(place)

    def tick(self) -> None:
        """Let a second pass; notice what makes no event: something mounted over a folder."""
        self._considered.clear()
        self._look()
        self._let_the_flood_pass()
        if self._mounts.have_changed():
            self._forget_everything()
        self._release_idle_files()

    def release_descriptors(self, count: int) -> int:
        """Close up to so many files that are kept open, those first that were not used for longest.

        Return how many were closed. One that a reply under way is sent from ends with that.
        """
        ranked = sorted(self._with_files.values(), key=lambda kept: kept.idle, reverse=True)
        released = 0
        for kept in ranked:
            if released >= count:
                break
            released += kept.files_count
            self._forget(kept)
        return released

    def _release_idle_files(self) -> None:
        """Close what was deleted, changed or not used for a minute.

        A file that is kept open takes room on its disk after its end, and its file system cannot
        be unmounted.
        """
        for kept in list(self._with_files.values()):
            kept.idle += 1
            if kept.idle > _MAX_IDLE or not kept.still_holds():
                self._forget(kept)

    @property
    def open_files(self) -> int:
        """How many files are kept open."""
        return len(self._with_files)

    def close(self) -> None:
        """Give up every watch and every file; more than once is harmless."""
        self._start_anew()
        self._stop_watching()

    def _find_alike(self, head: bytes) -> Known | None:
        return self._by_head.get(_alike(head)) if len(head) <= self._longest_head else None

    def _holds(self, kept: Kept) -> bool:
        if self._something_changed():
            self._look()
            if self._by_key.get(kept.key) is not kept:
                return False
        if kept.is_asked:
            if not kept.still_holds():
                self._forget(kept)
                return False
            kept.idle = 0
        kept.used = True
        return True

    def _renew(self, kept: Kept, now: float) -> bool:
        """Make a reply right to the second, if its files are what they were.

        What made no event, in a small file that is in memory, is seen once a second: to ask before
        each use would take 1.7 us of 7. Where the clock was set back, a reply from the future holds
        no more: Last-Modified may be later than Date (RFC 9110 section 8.8.2.1).
        """
        if now < kept.made or not kept.trails.forms_are_the_same():
            self._forget(kept)
            return False
        kept.refresh(now)
        return True

    def _have_changed(self, trails: Trails, since: int) -> bool:
        return since < self._forgotten or any(
            self._changes.get(place, 0) > since for place in trails.places
        )

    def _look(self) -> None:
        """Forget what has changed; everything for a while where that is too much to listen to."""
        if not (self._watch and self._something_changed()):
            return
        self._moment += 1
        try:
            places = self._watch.drain()
        except Overflow:
            self._give_up()
            return
        self._events += len(places)
        if self._events > _MAX_EVENTS:
            self._give_up()
            return
        self._note(places)
        if len(self._changes) > _MOST_CHANGES:
            self._changes.clear()
            self._forgotten = self._moment

    def _note(self, places: list[Place]) -> None:
        """Forget what depends on places that have changed."""
        if self._on_ways is None:
            self._on_ways = set[Place]().union(*(known for known, _ in self._ways.values()))
        on_ways = self._on_ways
        old: set[Kept] = set()
        for place in places:
            self._changes[place] = self._moment
            depending = self._by_place.get(place, ())
            if depending or place in on_ways or not self._by_place:
                self._lose_the_way()
            old.update(depending)
        # The heads of a reply take a tenth of its time each.
        if len(old) + sum(len(kept.heads) for kept in old) // 10 > _MAX_FORGOTTEN:
            self._forget_everything()
            return
        for kept in old:
            self._forget(kept)

    def _give_up(self) -> None:
        """Remember nothing for a while: who is flooded with changes would serve nobody else."""
        self._pause = self._next_pause
        self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)
        self._start_anew()
        self._stop_watching()

    def _let_the_flood_pass(self) -> None:
        self._events = 0
        if self._pause:
            self._pause -= 1
            if not self._pause:
                self._begin_to_watch()
        elif self._next_pause > _MIN_PAUSE:
            self._next_pause -= 1  # a second of quiet

    def _learn(self, request: Request, kept: Kept) -> None:
        if len(request.head) > self._longest_head:
            return
        head = _alike(request.head.encode("latin-1"))
        if head in self._by_head or self._sights.count(hash(head)) < 2:
            return
        self._make_room_for_head(kept)
        self._by_head[head] = kept, request
        kept.heads[head] = None
        weight = _head_weight(head, request)
        self._octets += weight
        self._head_octets += weight
        self._make_room()

    def _make_room_for_head(self, kept: Kept) -> None:
        """Forget the oldest heads: who sends another one each time pushes out no reply."""
        if len(kept.heads) >= _MAX_HEADS_PER_REPLY:
            self._forget_head(next(iter(kept.heads)))
        while len(self._by_head) >= _MOST_HEADS or self._head_octets > _MOST_OCTETS // 2:
            self._forget_head(next(iter(self._by_head)))

    def _forget_head(self, head: bytes) -> None:
        kept, request = self._by_head.pop(head)
        del kept.heads[head]
        weight = _head_weight(head, request)
        self._octets -= weight
        self._head_octets -= weight

    def _forget(self, kept: Kept) -> None:
        if self._by_key.pop(kept.key, None) is not kept:
            return
        self._with_files.pop(kept.key, None)
        self._octets -= kept.weight
        for head in list(kept.heads):
            self._forget_head(head)
        for place in kept.trails.places:
            self._by_place[place].discard(kept)
            if not self._by_place[place]:
                del self._by_place[place]
                self._unwatch(place)

    def _unwatch(self, place: Place) -> None:
        """Give up a watch that nothing depends on any more.

        Work that is under way may rely on it: for that, it counts as a change.
        """
        number, name = place
        if self._watch and name == ITSELF:
            self._watch.remove(number)
            self._moment += 1
            if any(place in places for places, _ in self._ways.values()):
                self._lose_the_way()
            self._changes[place] = self._moment

    def _lose_the_way(self) -> None:
        """Take nothing that is known of ways for granted any more."""
        self._ways.clear()
        self._on_ways = None
        self.way_is_known = False

    def _forget_everything(self) -> None:
        """Forget everything, and begin again."""
        self._start_anew()
        self._begin_to_watch()

    def _start_anew(self) -> None:
        """Forget everything at a stroke; a thread takes apart what was known.

        One by one, 16,384 replies hold up the loop for 200 ms.
        """
        tables = self._by_head, self._by_key, self._by_place, self._with_files
        watch = self._watch
        self._stop_watching()
        self._by_head, self._by_key, self._with_files = OrderedDict(), OrderedDict(), {}
        self._by_place = defaultdict(set)
        self._octets = self._head_octets = 0
        self._lose_the_way()
        self._moment += 1
        self._forgotten = self._moment
        self._changes.clear()
        if watch:
            name = "aserve-dispose"
            threading.Thread(target=_dispose, args=(tables, watch), name=name, daemon=True).start()

    def _make_room(self) -> None:
        while self._by_key and (self._octets > _MOST_OCTETS or len(self._by_key) > _MOST_REPLIES):
            self._pass_by_or_forget(self._by_key)
        while len(self._with_files) > _MOST_FILES:
            self._pass_by_or_forget(self._with_files)

    def _is_full(self) -> bool:
        return len(self._by_key) >= _MOST_REPLIES or self._octets > _MOST_OCTETS * 15 // 16

    def _pass_by_or_forget(self, queue: dict[Key, Kept]) -> None:
        """Forget the oldest reply, or let it be the youngest if it was used since it was that."""
        key, kept = next(iter(queue.items()))
        if kept.used:
            kept.used = False
            queue[key] = queue.pop(key)
        else:
            self._forget(kept)


def _dispose(tables: tuple[dict[Any, Any], ...], _watch: Watch | None) -> None:
    """Take tables apart, a few entries at a time, so that the loop is held up for no moment.

    The watch ends with this, or with whoever else still works with it.
    """
    for table in tables:
        while table:
            for _ in range(min(len(table), _DISPOSED_AT_ONCE)):
                table.popitem()
            time.sleep(0)


def _alike(head: bytes) -> bytes:
    """Return what all heads have in common that differ in what decides nothing."""
    return _NEVER_TWICE.sub(_SOMETHING, head)


def _head_weight(head: bytes, request: Request) -> int:
    # As bytes, as the request's text, and what was picked out of that.
    return _HEAD_SIZE + 2 * len(head) + len(request.head) + _PAIR_SIZE * len(request.fields)


def _piece_size(piece: Piece) -> int:
    return _PIECE_SIZE + (len(piece) if isinstance(piece, bytes) else 0)


def _key_size(key: Key) -> int:
    """Return how many bytes what decides a reply takes: (..., target, ..., deciding fields)."""
    target, deciding = str(key[1]), key[-1]
    assert isinstance(deciding, tuple)  # noqa: S101 - as key_of makes it
    pairs = sum(len(name) + len(value) + _PAIR_SIZE for name, value in deciding)
    return len(target) + _STRING_SIZE + pairs


def key_of(request: Request, *, persistent: bool) -> Key | None:
    """Return what decides the reply to a request; None where such replies are not kept."""
    fields = request.fields
    if request.refusal or request.method not in {"GET", "HEAD"} or "expect" in fields:
        return None
    if "transfer-encoding" in fields or fields.get("content-length", "0") != "0":
        return None
    size = len(request.head)
    if size > _LONGEST_HEAD:
        return None
    deciding = (_deciding if size <= _SHORT_HEAD else _decide)(tuple(fields.items()))
    return request.method, request.target, request.minor, persistent, deciding


def _decide(fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(pair for pair in fields if pair[0] not in _IRRELEVANT))


_deciding = lru_cache(maxsize=512)(_decide)


class _Doorkeeper:
    """Counts what was seen lately: who comes again is let in. A scan never is."""

    __slots__ = ("_before", "_now")

    def __init__(self) -> None:
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def count(self, mark: int) -> int:
        """Return how often something with a hash was shown not long ago, this time included."""
        if len(self._now) >= _MOST_HEADS:
            self._now, self._before = {}, self._now
        seen = self._now[mark] = self._now.get(mark, 0) + 1
        return seen + self._before.get(mark, 0)
