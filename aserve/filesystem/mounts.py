"""Which file systems report every change of their files to inotify, and which report none."""

import enum
import os

# Only this kernel changes their files, and each file has one inode.
_WITH_EVENTS = frozenset(
    {
        *("ext2", "ext3", "ext4", "f2fs", "xfs", "zfs"),
        *("devtmpfs", "ramfs", "tmpfs"),  # the first is above /dev/shm
    }
)

# Those that may take two different names for one: as they are normalized in Unicode.
_NORMALIZING = frozenset({"zfs"})

# Local as well, but an overlay's files move between its layers. btrfs is not here: its subvolumes
# have device numbers that no mount is listed under, so that it counts as unknown.
_LOCAL = _WITH_EVENTS | {"overlay", "squashfs", "iso9660", "erofs"}

_MOUNTS = "/proc/self/mountinfo"


class ChangeTracking(enum.IntEnum):
    """How changes of a file system can be noticed, the least reliable way first."""

    NONE = 0
    """Not at all: it changes elsewhere, and stat may wait for a network."""
    STATE = 1
    """By stat, which is fast at any time."""
    EVENTS = 2
    """By inotify: every change makes an event."""


class Mounts:
    """The mounted file systems, as of the last refresh. Any thread may use it."""

    def __init__(self) -> None:
        self._table = _mount_table()
        self._tracking: dict[int, ChangeTracking] = {}

    def tracking_of(self, device: int) -> ChangeTracking:
        """Return how changes can be noticed on the file system of a device number (st_dev)."""
        tracking = self._tracking.get(device)
        if tracking is None:
            tracking = self._tracking[device] = _tracking_of(device, self._table)
        return tracking

    def normalizes(self, device: int) -> bool:
        """Tell whether a file system may find a name by bytes that are not the name's own."""
        return not _types_of(device, self._table).isdisjoint(_NORMALIZING)

    def refresh(self) -> bool:
        """Read the mounts again; tell whether anything was mounted or unmounted since."""
        table = _mount_table()
        if table == self._table:
            return False
        self._table, self._tracking = table, {}
        return True


def _types_of(device: int, table: str) -> set[str]:
    number = f"{os.major(device)}:{os.minor(device)}"
    return {_filesystem_type(line) for line in table.splitlines() if line.split()[2] == number}


def _tracking_of(device: int, table: str) -> ChangeTracking:
    types = _types_of(device, table)
    if not types or not types <= _LOCAL:
        return ChangeTracking.NONE
    return ChangeTracking.EVENTS if types <= _WITH_EVENTS else ChangeTracking.STATE


def _mount_table() -> str:
    """Return the mount table, which changes with every mount; "" where there is no /proc."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _filesystem_type(line: str) -> str:
    """Return the file system type in a line of mountinfo, after its separator (proc(5))."""
    return line.partition(" - ")[2].partition(" ")[0]
