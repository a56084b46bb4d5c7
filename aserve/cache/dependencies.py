"""What a reply depends on: places that are watched, or signatures where watching is blind."""

import errno
import os
import stat
from collections.abc import Iterable

from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.http.content_negotiation import CODINGS
from aserve.linux.inotify import SELF, Inotify, WatchedName

_MIN_AGE_S = 2  # seconds since a file's last change, before which a reply may depend on the clock

Signature = tuple[bytes, tuple[int, ...]]
"""A path and the state of what it led to; () for nothing."""


class Dependencies:
    """Everything that decides what one path leads to, its coded siblings included.

    places: what is watched for it, by watch; is_usable: whether that and the signatures tell of
    every change. Where they do not, the places are only to be given back. forms: the states of the
    file and its siblings, for changes that make no event.
    """

    __slots__ = (
        "file_states",
        "inotify",
        "is_usable",
        "names",
        "signatures",
    )

    def __init__(
        self,
        places: Iterable[WatchedName],
        signatures: Iterable[Signature],
        watch: Inotify | None,
        forms: Iterable[Signature] | None,
    ) -> None:
        self.names = frozenset(places)
        self.signatures = tuple(signatures)
        self.inotify = watch
        self.is_usable = forms is not None
        self.file_states = tuple(forms or ())

    def signatures_unchanged(self) -> bool:
        """Tell whether what is only asked for, and not watched, is as it was."""
        return all(_signature(path) == was for path, was in self.signatures)

    def files_unchanged(self) -> bool:
        """Tell whether the file and its siblings are in the state that they were in."""
        return all(_signature(path) == was for path, was in self.file_states)


DirectoryDependencies = dict[bytes, tuple[set[WatchedName], set[int]]]
"""The trails of folders, which hold as long as nothing changes."""


def watch_path(
    path: bytes,
    inotify: Inotify | None,
    mounts: Mounts,
    now: int,
    directories: DirectoryDependencies | None = None,
) -> Dependencies:
    """Watch a file and the places of its coded siblings.

    Not usable where the reply had better not be kept: what was watched by then is to be given
    back, or the user's watches would leak away. Any thread may call this, but ways are for one
    alone.
    """
    watcher = _DependencyCollector(inotify, {} if directories is None else directories)
    try:
        found = _dependencies(path, watcher, mounts, now)
    except OSError:
        found = None
    signatures, forms = found or ((), None)
    return Dependencies(watcher.names, signatures, inotify, forms)


def _dependencies(
    path: bytes, watcher: "_DependencyCollector", mounts: Mounts, now: int
) -> tuple[list[Signature], list[Signature]] | None:
    """Watch what can be watched; return what has to be asked for beside it, and the files' states.

    None where the reply had better not be kept. Raises OSError where the file is not there.
    """
    if _is_recent(os.stat(path), now):
        return None
    forms = [path, *(path + suffix for suffix in CODINGS.values())]
    is_watched = watcher.watch_all(forms)
    states = {form: state for form in forms if (state := _state(form, is_needed=form is path))}
    devices = watcher.devices | {state.st_dev for state in states.values()}
    trust = min(map(mounts.tracking_of, devices))
    if trust is ChangeTracking.NONE or any(_is_recent(state, now) for state in states.values()):
        return None
    found = [(form, _state_of(state)) for form, state in states.items()]
    if trust is ChangeTracking.EVENTS and is_watched:
        return [], found
    folder = os.path.dirname(path)
    return [(folder, _signature(folder)), *found], found


def _is_recent(state: os.stat_result, now: int) -> bool:
    return state.st_mtime > now - _MIN_AGE_S


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


class _DependencyCollector:
    """Watches what one path depends on; places and devices are what it has come to by then."""

    __slots__ = (
        "_directories",
        "_inotify",
        "devices",
        "names",
    )

    def __init__(self, watch: Inotify | None, ways: DirectoryDependencies) -> None:
        self._inotify = watch
        self._directories = ways
        self.names: set[WatchedName] = set()
        self.devices: set[int] = set()

    def watch_all(self, forms: list[bytes]) -> bool:
        """Watch what files depend on; tell whether all of that could be watched."""
        if self._inotify is None:
            return False
        folder = os.path.dirname(forms[0])
        try:
            self._watch_directory_path(folder)
            number = self._inotify.add_directory(folder)
            self.names.add((number, SELF))
            for form in forms:
                self.names.add((number, os.path.basename(form)))
                self._watch_form(form, self._inotify)
        except OSError:  # no watches left, or a folder that may not be read
            return False
        return True

    def _watch_directory_path(self, folder: bytes) -> None:
        if folder not in self._directories:
            self._watch_symlink_path(folder)
            self._directories[folder] = set(self.names), set(self.devices)
        places, devices = self._directories[folder]
        self.names |= places
        self.devices |= devices

    def _watch_form(self, form: bytes, watch: Inotify) -> None:
        """Watch a file itself, if it is there, and the way to it if its name is a link's."""
        state = _lstat(form)
        if state is None:
            return
        if stat.S_ISLNK(state.st_mode):
            self._watch_symlink_path(form)
        # A second name elsewhere changes the file and not this folder.
        self.names.add((watch.add_file(form), SELF))

    def _watch_symlink_path(self, path: bytes) -> None:
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
            target = self._watch_step(here, name, step)
            if target is None:
                here = step
                continue
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            pending += target.split(b"/")[::-1]
            here = b"/" if target.startswith(b"/") else here

    def _watch_step(self, folder: bytes, name: bytes, step: bytes) -> bytes | None:
        """Watch a folder, and only then look into it: no change falls between.

        Return where a link leads; None for whatever is no link.
        """
        assert self._inotify  # noqa: S101 - watch_all has seen to it
        number = self._inotify.add_directory(folder)
        self.names |= {(number, name), (number, SELF)}
        self.devices.add(os.stat(folder).st_dev)
        return _link_target(step)
