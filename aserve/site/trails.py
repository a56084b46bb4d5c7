"""What a reply depends on: places that are watched, or signatures where watching is blind."""

import errno
import os
import stat
from collections.abc import Iterable

from aserve.semantics.codings import CODINGS
from aserve.site.mounts import Mounts, Trust
from aserve.site.watch import ITSELF, Place, Watch

_STILL = 2  # seconds since a file's last change, before which a reply may depend on the clock

Signature = tuple[bytes, tuple[int, ...]]
"""A path and the state of what it led to; () for nothing."""


class Trails:
    """Everything that decides what one path leads to, its coded siblings included.

    places: what is watched for it, by watch; is_usable: whether that and the signatures tell of
    every change. Where they do not, the places are only to be given back. forms: the states of the
    file and its siblings, for changes that make no event.
    """

    __slots__ = ("forms", "is_usable", "places", "signatures", "watch")

    def __init__(
        self,
        places: Iterable[Place],
        signatures: Iterable[Signature],
        watch: Watch | None,
        forms: Iterable[Signature] | None,
    ) -> None:
        self.places = frozenset(places)
        self.signatures = tuple(signatures)
        self.watch = watch
        self.is_usable = forms is not None
        self.forms = tuple(forms or ())

    def still_hold(self) -> bool:
        """Tell whether what is only asked for, and not watched, is as it was."""
        return all(_signature(path) == was for path, was in self.signatures)

    def forms_are_the_same(self) -> bool:
        """Tell whether the file and its siblings are in the state that they were in."""
        return all(_signature(path) == was for path, was in self.forms)


Ways = dict[bytes, tuple[set[Place], set[int]]]
"""The trails of folders, which hold as long as nothing changes."""


def trails_of(
    path: bytes, watch: Watch | None, mounts: Mounts, now: int, ways: Ways | None = None
) -> Trails:
    """Watch a file and the places of its coded siblings.

    Not usable where the reply had better not be kept: what was watched by then is to be given
    back, or the user's watches would leak away. Any thread may call this, but ways are for one
    alone.
    """
    watcher = _Watcher(watch, {} if ways is None else ways)
    try:
        found = _dependencies(path, watcher, mounts, now)
    except OSError:
        found = None
    signatures, forms = found or ((), None)
    return Trails(watcher.places, signatures, watch, forms)


def _dependencies(
    path: bytes, watcher: "_Watcher", mounts: Mounts, now: int
) -> tuple[list[Signature], list[Signature]] | None:
    """Watch what can be watched; return what has to be asked for beside it, and the files' states.

    None where the reply had better not be kept. Raises OSError where the file is not there.
    """
    if _is_young(os.stat(path), now):
        return None
    forms = [path, *(path + suffix for suffix in CODINGS.values())]
    is_watched = watcher.watch_all(forms)
    states = {form: state for form in forms if (state := _state(form, is_needed=form is path))}
    devices = watcher.devices | {state.st_dev for state in states.values()}
    trust = min(map(mounts.trust_in, devices))
    if trust is Trust.NONE or any(_is_young(state, now) for state in states.values()):
        return None
    found = [(form, _state_of(state)) for form, state in states.items()]
    if trust is Trust.EVENTS and is_watched:
        return [], found
    folder = os.path.dirname(path)
    return [(folder, _signature(folder)), *found], found


def _is_young(state: os.stat_result, now: int) -> bool:
    return state.st_mtime > now - _STILL


def _state(path: bytes, *, is_needed: bool) -> os.stat_result | None:
    """Return the state of what a path leads to; None where not even a link is there."""
    state = _lstat(path)
    if state is None:
        if is_needed:
            raise FileNotFoundError
        return None
    return os.stat(path) if stat.S_ISLNK(state.st_mode) else state


def _lstat(path: bytes) -> os.stat_result | None:
    """Return the state of a name; None where nothing has it, or nothing can."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise


def _link_target(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:  # EINVAL: no link; ENOENT: nothing, which is a fact to be watched too
        return None


def _signature(path: bytes) -> tuple[int, ...]:
    try:
        return _state_of(os.stat(path))
    except OSError:
        return ()


def _state_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, status.st_size


class _Watcher:
    """Watches what one path depends on; places and devices are what it has come to by then."""

    __slots__ = ("_watch", "_ways", "devices", "places")

    def __init__(self, watch: Watch | None, ways: Ways) -> None:
        self._watch = watch
        self._ways = ways
        self.places: set[Place] = set()
        self.devices: set[int] = set()

    def watch_all(self, forms: list[bytes]) -> bool:
        """Watch what files depend on; tell whether all of that could be watched."""
        if self._watch is None:
            return False
        folder = os.path.dirname(forms[0])
        try:
            self._watch_way(folder)
            number = self._watch.add(folder)
            self.places.add((number, ITSELF))
            for form in forms:
                self.places.add((number, os.path.basename(form)))
                self._watch_form(form, self._watch)
        except OSError:  # no watches left, or a folder that may not be read
            return False
        return True

    def _watch_way(self, folder: bytes) -> None:
        if folder not in self._ways:
            self._follow(folder)
            self._ways[folder] = set(self.places), set(self.devices)
        places, devices = self._ways[folder]
        self.places |= places
        self.devices |= devices

    def _watch_form(self, form: bytes, watch: Watch) -> None:
        """Watch a file itself, if it is there, and the way to it if its name is a link's."""
        state = _lstat(form)
        if state is None:
            return
        if stat.S_ISLNK(state.st_mode):
            self._follow(form)
        # A second name elsewhere changes the file and not this folder.
        self.places.add((watch.add_file(form), ITSELF))

    def _follow(self, path: bytes) -> None:
        """Watch every place that decides what an absolute path leads to.

        The ways of symbolic links are included. Raises OSError where links do not end.
        """
        pending = path.split(b"/")[::-1]
        here = b"/"
        links = 0
        while pending:
            name = pending.pop()
            if name in {b"", b"."}:
                continue
            if name == b"..":
                here = os.path.dirname(here.rstrip(b"/")) or b"/"
                continue
            step = here.rstrip(b"/") + b"/" + name
            target = self._look_at(here, name, step)
            if target is None:
                here = step
                continue
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            pending += target.split(b"/")[::-1]
            here = b"/" if target.startswith(b"/") else here

    def _look_at(self, folder: bytes, name: bytes, step: bytes) -> bytes | None:
        """Watch a folder, and only then look into it: no change falls between.

        Return where a link leads; None for whatever is no link.
        """
        assert self._watch  # noqa: S101 - watch_all has seen to it
        number = self._watch.add(folder)
        self.places |= {(number, name), (number, ITSELF)}
        self.devices.add(os.stat(folder).st_dev)
        return _link_target(step)
