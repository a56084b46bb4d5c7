import errno
import gc
import os
import select

import pytest

from aserve.linux.inotify import Inotify


def instances() -> int:
    """Return how many inotify instances this process has open."""
    gc.collect()  # what earlier tests have left
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link) == "anon_inode:inotify" for link in links if os.path.lexists(link))


def test_where_descriptors_run_out_no_instance_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(select, "epoll", fail)
    before = instances()
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        Inotify()
    assert instances() == before  # nor is anything raised in __del__, which would be an error
