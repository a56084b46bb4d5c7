"""Replies that were given before, in front of the one true path.

A cache may forget and never decides: what is kept is what the true path said, and it counts only
as long as nothing that it depended on has changed.
"""

import os
from collections import defaultdict
from collections.abc import Iterable

from aserve.semantics.codings import CODINGS
from aserve.semantics.dates import format_date
from aserve.semantics.messages import Refused, Request, Response
from aserve.semantics.targets import parse_path
from aserve.site.files import names_of
from aserve.site.mounts import Trust, mount_table, trust_in
from aserve.site.watch import ITSELF, Overflow, Place, Watch, trail

_MOST_REPLIES = 16_384
_MOST_OCTETS = 64 << 20
_MOST_HEADS = 32_768
_LONGEST_HEAD = 2_048  # octets
_OVERHEAD = 1_024  # octets that Python's own objects take, for each reply and each head
_MOST_CHANGES = 8_192
_STILL = 2  # seconds since a file's last change, before which a reply may depend on the clock

_DATE = b"Date: "
_DATE_LENGTH = 29
_KEPT_STATUSES = frozenset({200, 206, 304})
# Fields that no kept reply depends on. Whatever else is picked out of a head counts: one that is
# forgotten here costs a second entry, one that is forgotten in a list of deciders a wrong reply.
_IRRELEVANT = frozenset({"accept", "connection", "content-length", "host"})

Key = tuple[object, ...]
Signature = tuple[bytes, tuple[int, ...]]


class Kept:
    """One reply as it left, save for its date."""

    __slots__ = (
        "_after",
        "_before",
        "_second",
        "closes",
        "content",
        "heads",
        "key",
        "octets",
        "places",
        "signatures",
        "status",
        "used",
    )

    def __init__(self, key: Key, reply: bytes, response: Response, *, closes: bool) -> None:
        at = reply.index(_DATE) + len(_DATE)
        self.key = key
        self.status = response.status
        self.closes = closes
        self.content = sum(map(len, response.body))  # octets
        self.octets = reply
        self._before, self._after = reply[:at], reply[at + _DATE_LENGTH :]
        self._second = -1
        self.heads: list[bytes] = []
        self.places: frozenset[Place] = frozenset()
        self.signatures: tuple[Signature, ...] = ()
        self.used = True

    @property
    def weight(self) -> int:
        """How many octets of memory this takes, without its heads."""
        return 2 * len(self.octets) + _OVERHEAD

    def refresh(self, now: int) -> None:
        """Make octets right to the second."""
        if now != self._second:
            self._second = now
            self.octets = self._before + format_date(now).encode() + self._after


class Recall:
    """What one process remembers of its replies; used from its loop's thread alone.

    root: the folder that is served, as it was named.
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._by_head: dict[bytes, tuple[Kept, Request]] = {}
        self._by_key: dict[Key, Kept] = {}
        self._by_place: defaultdict[Place, set[Kept]] = defaultdict(set)
        self._octets = 0
        self._sights = _Doorkeeper()
        self._changes: dict[Place, int] = {}
        self._mounts = mount_table()
        self._moment = 0  # counts the times that something was seen to have changed
        self._forgotten = 0  # the last moment of which nothing is known any more
        try:
            self._watch: Watch | None = Watch()
        except OSError:
            self._watch = None

    def get(self, head: bytes, now: int) -> tuple[Kept, Request] | None:
        """Return the reply to exactly this head, if it still holds, and the request in it."""
        known = self._by_head.get(head)
        return known if known and self._holds(known[0], now) else None

    def find(self, key: Key, request: Request, now: int) -> Kept | None:
        """Return the reply to a request that is decided alike, if it still holds."""
        kept = self._by_key.get(key)
        if kept is None or not self._holds(kept, now):
            return None
        self._learn(request, kept)
        return kept

    def expects(self, key: Key) -> bool:
        """Tell whether a reply is worth keeping: it was asked for before, not long ago."""
        return self._sights.has_seen(key)

    def moment(self) -> int:
        """Return a moment before which the work on a reply begins, for keep."""
        self._look()
        return self._moment

    def trails(self, request: Request, now: int) -> "Trails | None":
        """Watch what a reply will depend on, before it is made; any thread may call this.

        None where that cannot be told, or may depend on the clock.
        """
        try:
            names = names_of(parse_path(request.target))
            return Trails.of(b"/".join((self._root, *names)), self._watch, now)
        except (OSError, Refused):
            return None

    def keep(self, kept: Kept, trails: "Trails", since: int) -> None:
        """Remember a reply that was made since a moment, unless it may be old already."""
        self._look()
        # Of two alike that were under way together the first is kept, and holds as long as it is.
        if kept.status not in _KEPT_STATUSES or kept.key in self._by_key:
            return
        if since < self._forgotten or any(
            self._changes.get(place, 0) > since for place in trails.places
        ):
            return
        kept.places, kept.signatures = trails.places, trails.signatures
        self._by_key[kept.key] = kept
        for place in kept.places:
            self._by_place[place].add(kept)
        self._octets += kept.weight
        while self._octets > _MOST_OCTETS or len(self._by_key) > _MOST_REPLIES:
            self._make_room()

    def tick(self) -> None:
        """Notice what makes no event: something mounted over a folder."""
        if (mounts := mount_table()) != self._mounts:
            self._mounts = mounts
            self._moment += 1
            self._forget_everything()

    def close(self) -> None:
        """Give up every watch; more than once is harmless."""
        if self._watch:
            self._watch.close()
            self._watch = None

    def _holds(self, kept: Kept, now: int) -> bool:
        if self._watch is None:
            if not kept.signatures:  # closed: nobody would tell
                return False
        elif self._watch.something_changed():
            self._look()
            if self._by_key.get(kept.key) is not kept:
                return False
        if kept.signatures and not all(_signature(path) == was for path, was in kept.signatures):
            self._forget(kept)
            return False
        kept.used = True
        kept.refresh(now)
        return True

    def _look(self) -> None:
        """Forget what has changed."""
        if not (self._watch and self._watch.something_changed()):
            return
        self._moment += 1
        try:
            for place in self._watch.drain():
                self._changes[place] = self._moment
                for kept in list(self._by_place.get(place, ())):
                    self._forget(kept)
        except Overflow:
            self._forget_everything()
        if len(self._changes) > _MOST_CHANGES:
            self._changes.clear()
            self._forgotten = self._moment

    def _learn(self, request: Request, kept: Kept) -> None:
        head = request.head.encode("latin-1")
        if len(head) > _LONGEST_HEAD or not self._sights.has_seen(head):
            return
        if head in self._by_head:
            return
        while len(self._by_head) >= _MOST_HEADS:
            self._forget_head(next(iter(self._by_head)))
        self._by_head[head] = kept, request
        kept.heads.append(head)
        self._octets += _head_weight(head)
        while self._octets > _MOST_OCTETS:
            self._make_room()

    def _forget_head(self, head: bytes) -> None:
        kept, _ = self._by_head.pop(head)
        kept.heads.remove(head)
        self._octets -= _head_weight(head)

    def _forget(self, kept: Kept) -> None:
        if self._by_key.pop(kept.key, None) is not kept:
            return
        self._octets -= kept.weight
        for head in list(kept.heads):
            self._forget_head(head)
        for place in kept.places:
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
            self._changes[place] = self._moment

    def _forget_everything(self) -> None:
        for kept in list(self._by_key.values()):
            self._forget(kept)
        self._forgotten = self._moment

    def _make_room(self) -> None:
        """Forget the oldest reply that was not used since the last look at it."""
        kept = next(iter(self._by_key.values()))
        if kept.used:
            kept.used = False
            self._by_key[kept.key] = self._by_key.pop(kept.key)
        else:
            self._forget(kept)


def _head_weight(head: bytes) -> int:
    return 2 * len(head) + _OVERHEAD  # as octets and as the request's text


def key_of(request: Request, *, persistent: bool) -> Key | None:
    """Return what decides the reply to a request; None where such replies are not kept."""
    fields = request.fields
    if request.refusal or request.method not in {"GET", "HEAD"} or "expect" in fields:
        return None
    if "transfer-encoding" in fields or fields.get("content-length", "0") != "0":
        return None
    deciding = tuple(sorted(pair for pair in fields.items() if pair[0] not in _IRRELEVANT))
    return request.method, request.target, request.minor, persistent, deciding


class Trails:
    """What a reply depends on: places that are watched, or signatures where watching is blind."""

    __slots__ = ("places", "signatures")

    def __init__(self, places: Iterable[Place], signatures: Iterable[Signature]) -> None:
        self.places = frozenset(places)
        self.signatures = tuple(signatures)

    @classmethod
    def of(cls, path: bytes, watch: Watch | None, now: int) -> "Trails | None":
        """Watch a file and the places of its coded siblings; None where it had better not be kept.

        Raises OSError where it is not there.
        """
        forms = [path, *(path + suffix for suffix in CODINGS.values())]
        places, devices = _watched(forms, watch)
        found = [path, *(form for form in forms[1:] if os.path.lexists(form))]
        states = [os.stat(form) for form in found]
        if any(state.st_mtime > now - _STILL for state in states):
            return None
        trust = min(trust_in(device) for device in devices | {state.st_dev for state in states})
        if trust is Trust.NONE:
            return None
        if trust is Trust.EVENTS and places:
            return cls(places, ())
        paths = (os.path.dirname(path), *found)
        return cls(places, [(one, _signature(one)) for one in paths])


def _watched(forms: list[bytes], watch: Watch | None) -> tuple[set[Place], set[int]]:
    """Watch what files depend on; no places where that cannot be."""
    places: set[Place] = set()
    devices: set[int] = set()
    if watch is None:
        return places, devices
    try:
        for form in forms:
            way, crossed = trail(form, watch)
            places |= way
            devices |= crossed
            if os.path.exists(form):
                # A second name elsewhere changes the file and not this folder.
                places.add((watch.add_file(form), ITSELF))
    except OSError:  # no watches left, or a folder that may not be read
        return set(), devices
    return places, devices


def _signature(path: bytes) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, status.st_size


class _Doorkeeper:
    """Remembers what was seen lately: who comes a second time is let in. A scan never is."""

    __slots__ = ("_before", "_now")

    def __init__(self) -> None:
        self._now: set[int] = set()
        self._before: set[int] = set()

    def has_seen(self, thing: object) -> bool:
        """Tell whether something was shown before, and remember that it was shown."""
        mark = hash(thing)
        if mark in self._now:
            return True
        if len(self._now) >= _MOST_HEADS:
            self._now, self._before = set(), self._now
        self._now.add(mark)
        return mark in self._before
