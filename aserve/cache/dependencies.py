"""What a response depends on: watched names, or file signatures where there are no events."""

import os
from collections.abc import Iterable

from aserve.filesystem.file_state import FileState, state_of
from aserve.linux.inotify import Inotify, WatchedName

Signature = tuple[bytes, FileState]
"""A path, and the state of the file that it led to; () for none."""


class Dependencies:
    """Everything that decides which file is sent, its precompressed siblings included.

    names: the names that inotify watches for it; signatures: the states of files that are not
    watched, to be compared by stat; file_states: the states of the file and its siblings, for
    changes that make no event; None where names and signatures may miss a change. Then is_usable is
    false, and the watches only remain to be removed.
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
        names: Iterable[WatchedName],
        signatures: Iterable[Signature],
        inotify: Inotify | None,
        file_states: Iterable[Signature] | None,
    ) -> None:
        self.names = frozenset(names)
        self.signatures = tuple(signatures)
        self.inotify = inotify
        self.is_usable = file_states is not None
        self.file_states = tuple(file_states or ())

    def signatures_unchanged(self) -> bool:
        """Tell whether the files that are compared by stat, and not watched, are unchanged."""
        return all(state_at(path) == state for path, state in self.signatures)

    def files_unchanged(self) -> bool:
        """Tell whether the file and its siblings are in the state that they were in."""
        return all(state_at(path) == state for path, state in self.file_states)


def state_at(path: bytes) -> FileState:
    """Return the state of the file that a path leads to; () for none."""
    try:
        return state_of(os.stat(path))
    except OSError:
        return ()
