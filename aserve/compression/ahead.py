"""Compresses the files of a directory ahead of time, each into its siblings."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Event
from typing import NamedTuple

from aserve.compression.siblings import (
    FileChanged,
    Stopped,
    is_current,
    is_worthwhile,
    sibling_path,
    write_sibling,
)
from aserve.compression.worthwhile import MIN_SIZE, is_packed
from aserve.filesystem.visibility import Visibility
from aserve.http.content_negotiation import CODINGS
from aserve.http.media_types import MediaTypes


class Selection(NamedTuple):
    """Which files are meant: visible ones, and if include is given, those that it matches."""

    visibility: Visibility
    include: Visibility | None = None

    def matches(self, path: bytes) -> bool:
        """Tell whether a file, by its path from the root, is meant."""
        return not self.include or not self.include.is_visible(path)


class Outdated(NamedTuple):
    """A file that a coding's sibling is missing or stale of."""

    path: bytes
    coding: str
    is_stale: bool


@dataclass(slots=True)
class Totals:
    """What was found and done, by coding."""

    current: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    bytes_before: Counter[str] = field(default_factory=Counter)
    bytes_after: Counter[str] = field(default_factory=Counter)
    outdated: list[Outdated] = field(default_factory=list)
    failures: list[tuple[bytes, str]] = field(default_factory=list)

    def add(self, other: "Totals") -> None:
        """Add what was found and done elsewhere."""
        self.current += other.current
        self.written += other.written
        self.bytes_before += other.bytes_before
        self.bytes_after += other.bytes_after
        self.outdated += other.outdated
        self.failures += other.failures


def find_files(root: bytes, selection: Selection) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield the path of each file that may be worth compressing, from the root, and its status.

    Links are not followed: what they lead to is found where it is, or is not of this directory.
    """
    media_types = MediaTypes(charset=None)
    folders = [b""]
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                path = os.path.join(folder, entry.name)
                if not selection.visibility.is_visible(path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif selection.matches(path) and _may_compress(entry.name, media_types):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and status.st_size >= MIN_SIZE:
                        yield path, status


def _may_compress(name: bytes, media_types: MediaTypes) -> bool:
    """Tell whether a file is neither a sibling nor of a type that is compressed already."""
    media_type = media_types.for_name(name)
    if media_type.coding != "identity" or name.endswith(tuple(CODINGS.values())):
        return False
    return not is_packed(media_type.value)


class DirectoryCompressor:
    """Finds the siblings that are missing or stale, and writes them if writes is True."""

    def __init__(
        self, root: bytes, selection: Selection, codings: Sequence[str], *, writes: bool
    ) -> None:
        self._root = root
        self._selection = selection
        self._codings = codings
        self._writes = writes
        self._stop = Event()
        self.totals = Totals()

    def run(self, threads: int, on_progress: Callable[[int, int], None]) -> Totals:
        """Do all files; on_progress is called with the numbers of files done and of all.

        KeyboardInterrupt is raised after all threads have ended, and leaves no temporary file.
        Raises OSError if a directory cannot be read; what is wrong with a file is in the totals.
        """
        with ThreadPoolExecutor(threads, thread_name_prefix="compress") as pool:
            try:
                files = list(find_files(self._root, self._selection))
                futures = [pool.submit(self._compress, *one) for one in files]
                for done, future in enumerate(as_completed(futures), 1):
                    self.totals.add(future.result())
                    on_progress(done, len(files))
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        self.totals.outdated.sort()
        self.totals.failures.sort()
        return self.totals

    def _compress(self, path: bytes, status: os.stat_result) -> Totals:
        """Do one file, in a thread; return what was done."""
        found = Totals()
        try:
            self._write_outdated(path, status, found)
        except FileChanged:
            found.failures.append((path, "changed while it was compressed"))
        except OSError as error:
            found.failures.append((path, error.strerror or str(error)))
        except Stopped:
            pass  # by an interrupt, after which no totals are printed
        return found

    def _write_outdated(self, path: bytes, status: os.stat_result, found: Totals) -> None:
        absolute = os.path.join(self._root, path)
        siblings = {coding: sibling_path(absolute, coding) for coding in self._codings}
        current = {coding for coding, one in siblings.items() if is_current(one, status)}
        found.current.update(current)
        outdated = [coding for coding in siblings if coding not in current]
        if not outdated or not is_worthwhile(absolute, self._stop.is_set):
            return
        found.outdated += [
            Outdated(path, coding, os.path.lexists(siblings[coding])) for coding in outdated
        ]
        for coding in outdated if self._writes else ():
            size = write_sibling(absolute, coding, self._stop.is_set)
            found.written[coding] += 1
            found.bytes_before[coding] += status.st_size
            found.bytes_after[coding] += size
