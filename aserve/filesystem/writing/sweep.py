"""What uploads that never ended have left is removed."""

import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from aserve.filesystem.writing.errors import WriteError
from aserve.filesystem.writing.temporary import PARTIAL_PREFIX, PREFIX, STATE_SUFFIX
from aserve.filesystem.writing.tree import TreeDirectory

MAX_AGE_S = 3600
"""How long a temporary file stays that nothing writes to."""

MAX_PARTIAL_AGE_S = 24 * 3600
"""How long one stays that may arrive in several requests."""

_INTERVAL_S = 3600

_logger = logging.getLogger("aserve")

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Sweepable(Protocol):
    """What may hold abandoned files."""

    def sweep(self, now: float) -> int:
        """Remove them, and return how many; now: as time.time returns. Raises WriteError."""


class Sweeper:
    """A thread that sweeps at its start and each hour, until it is stopped.

    wait: returns after as many seconds, or with True once the event is set; clock: as time.time.
    """

    def __init__(
        self,
        storages: Iterable[Sweepable],
        clock: Callable[[], float] = time.time,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._storages = tuple(storages)
        self._clock = clock
        self._wait = wait
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aserve-sweep", daemon=True)

    def start(self) -> None:
        """Begin, unless there is nothing to sweep."""
        if self._storages:
            self._thread.start()

    def stop(self) -> None:
        """Sweep no more; a sweep that has begun is not waited for. Twice does no harm."""
        self._stopped.set()

    def _run(self) -> None:
        self.sweep()
        while not self._wait(self._stopped, _INTERVAL_S):
            self.sweep()

    def sweep(self) -> None:
        """Sweep once, in this thread; what fails is logged."""
        for storage in self._storages:
            try:
                count = storage.sweep(self._clock())
            except WriteError as error:
                _logger.error("unfinished uploads could not be removed: %s", error.detail)
            else:
                if count:
                    _logger.info("removed %d files of uploads that never ended", count)


def remove_abandoned(now: float, directory: TreeDirectory) -> int:
    """Remove the temporary files of a directory that nothing writes to, and return how many.

    now: in seconds, as time.time returns.
    """
    count = 0
    for name in filter(_is_temporary, directory.names):
        data_name = name.removesuffix(STATE_SUFFIX)
        if data_name != name and data_name in directory.names:
            continue  # a state lives as long as its file
        is_partial = name.startswith(PARTIAL_PREFIX) and data_name == name
        max_age = MAX_PARTIAL_AGE_S if is_partial else MAX_AGE_S
        if _remove_if_abandoned(directory.descriptor, name, now - max_age):
            count += 1
    return count


def _is_temporary(name: bytes) -> bool:
    return name.startswith(PREFIX)


def _remove_if_abandoned(directory: int, name: bytes, oldest: float) -> bool:
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=directory)
    except OSError:
        return False  # it has its name by now, or is not ours
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mtime > oldest:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=directory)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
