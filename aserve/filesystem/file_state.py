"""What tells two states of a file apart."""

import os

SETTLED_NS = 100_000_000
"""Nanoseconds: more than the kernel's clock for file times may be coarse."""
_SETTLED_COARSE_NS = 2_100_000_000  # FAT keeps times in steps of 2 s, other old ones of 1 s
_SECOND_NS = 1_000_000_000

FileState = tuple[int, ...]
"""The device and what else an entity tag is made of: inode, size and both times."""


def state_of(status: os.stat_result) -> FileState:
    """Return the state of a file, which changes with its content."""
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


def is_settled(status: os.stat_result, now: int) -> bool:
    """Tell whether the next change of a file will show in its state. now: in nanoseconds.

    A change within the same tick of the kernel's clock as the last one leaves no trace.
    """
    is_coarse = status.st_ctime_ns % _SECOND_NS == 0
    return now - status.st_ctime_ns > (_SETTLED_COARSE_NS if is_coarse else SETTLED_NS)
