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
    """Everything that decides what one path leads to, its coded siblings included."""

    __slots__ = ("places", "signatures")

    def __init__(self, places: Iterable[Place], signatures: Iterable[Signature]) -> None:
        self.places = frozenset(places)
        self.signatures = tuple(signatures)

    def still_hold(self) -> bool:
        """Tell whether what is only asked for, and not watched, is as it was."""
        return all(_signature(path) == was for path, was in self.signatures)


Ways = dict[bytes, tuple[set[Place], set[int]]]
"""The trails of folders, which hold as long as nothing changes."""


def trails_of(
    path: bytes, watch: Watch | None, mounts: Mounts, now: int, ways: Ways | None = None
) -> Trails | None:
    """Watch a file and the places of its coded siblings; None where it had better not be kept.

    Raises OSError where it is not there. Any thread may call this, but ways are for one alone.
    """
    if os.stat(path).st_mtime > now - _STILL:
        return None
    forms = [path, *(path + suffix for suffix in CODINGS.values())]
    places, devices = _watched(forms, watch, {} if ways is None else ways)
    states = {form: state for form in forms if (state := _state(form, is_needed=form is path))}
    if any(state.st_mtime > now - _STILL for state in states.values()):
        return None
    devices |= {state.st_dev for state in states.values()}
    trust = min(map(mounts.trust_in, devices))
    if trust is Trust.NONE:
        return None
    if trust is Trust.EVENTS and places:
        return Trails(places, ())
    paths = (os.path.dirname(path), *states)
    return Trails(places, [(one, _signature(one)) for one in paths])


def _state(path: bytes, *, is_needed: bool) -> os.stat_result | None:
    """Return the state of what a path leads to; None where not even a link is there."""
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        if is_needed:
            raise
        return None
    return os.stat(path) if stat.S_ISLNK(state.st_mode) else state


def _watched(forms: list[bytes], watch: Watch | None, ways: Ways) -> tuple[set[Place], set[int]]:
    """Watch what files depend on; no places where that cannot be."""
    if watch is None:
        return set(), set()
    folder = os.path.dirname(forms[0])
    devices: set[int] = set()
    try:
        if folder not in ways:
            ways[folder] = trail(folder, watch)
        known = ways[folder]
        places, devices = set(known[0]), set(known[1])
        number = watch.add(folder, contents=True)
        places.add((number, ITSELF))
        for form in forms:
            places.add((number, os.path.basename(form)))
            try:
                kind = os.lstat(form).st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(kind):
                way, crossed = trail(form, watch)
                places |= way
                devices |= crossed
            # A second name elsewhere changes the file and not this folder.
            places.add((watch.add_file(form), ITSELF))
    except OSError:  # no watches left, or a folder that may not be read
        return set(), devices
    return places, devices


def trail(path: bytes, watch: Watch) -> tuple[set[Place], set[int]]:
    """Return every place that decides what an absolute path leads to, and their devices.

    The ways of symbolic links are included. Each folder is watched before it is looked into, so
    that no change falls between. Raises OSError where one cannot be watched or links do not end.
    """
    places: set[Place] = set()
    devices: set[int] = set()
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
        number = watch.add(here, contents=not pending)
        places |= {(number, name), (number, ITSELF)}
        devices.add(os.stat(here).st_dev)
        step = here.rstrip(b"/") + b"/" + name
        target = _link_target(step)
        if target is None:
            here = step
            continue
        links += 1
        if links > 40:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        pending += target.split(b"/")[::-1]
        here = b"/" if target.startswith(b"/") else here
    return places, devices


def _link_target(path: bytes) -> bytes | None:
    try:
        return os.readlink(path)
    except OSError:  # EINVAL: no link; ENOENT: nothing, which is a fact to be watched too
        return None


def _signature(path: bytes) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, status.st_size
