"""Watches come back after what has stopped them."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.mounts import Mounts


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have every call that needs a new descriptor fail with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("is_first", [True, False], ids=["at the start", "after a reset"])
def test_watching_starts_as_soon_as_there_are_descriptors(*, is_first: bool) -> None:
    mounts = Mounts()
    if is_first:
        with no_descriptors():
            monitor = ChangeMonitor(mounts, max_watches=10)
    else:
        monitor = ChangeMonitor(mounts, max_watches=10)
        with no_descriptors():
            monitor.reset()
    try:
        assert not monitor.inotify
        monitor.tick()
        assert monitor.inotify
        assert not monitor.has_changes()
    finally:
        monitor.close()


def test_a_pause_lasts_its_seconds() -> None:
    monitor = ChangeMonitor(max_watches=10)
    try:
        monitor._start_pause()
        monitor.tick()
        assert not monitor.inotify
        monitor.tick()
        assert monitor.inotify
    finally:
        monitor.close()
