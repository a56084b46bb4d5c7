"""Which file systems tell inotify of every change to their files."""

import os
from functools import cache

# Those whose files change by this kernel's own hand alone, one inode for each file. Not network
# and user-space file systems, which change elsewhere; not overlays, whose files change layers; and
# not btrfs, whose subvolumes have device numbers that no mount is listed under.
_TELLING = frozenset({"ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "xfs", "zfs"})


@cache
def tells_changes(device: int) -> bool:
    """Tell it of the file system with a device number, as in st_dev."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            kinds = {_kind(line) for line in mounts if line.split()[2] == number}
    except OSError:
        return False
    return bool(kinds) and kinds <= _TELLING


def _kind(line: str) -> str:
    """Return the file system type of a line of mountinfo, behind its separator (proc(5))."""
    return line.partition(" - ")[2].partition(" ")[0]
