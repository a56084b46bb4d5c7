"""Which file systems tell inotify of every change to their files, and which tell nobody."""

import enum
import os

# Those whose files change by this kernel's own hand alone, one inode for each file.
_TELLING = frozenset({"ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "xfs", "zfs"})

# Local as well, but an overlay's files change layers, and btrfs has device numbers for its
# subvolumes that no mount is listed under, so that it counts as not known.
_LOCAL = _TELLING | {"overlay", "squashfs", "iso9660", "erofs"}

_MOUNTS = "/proc/self/mountinfo"


class ChangeTracking(enum.IntEnum):
    """How far what was seen of a file system can be relied on, the least first."""

    NONE = 0
    """It changes elsewhere, and asking for a file's state may wait for a network."""
    STATE = 1
    """A file's state can be asked for at any time."""
    EVENTS = 2
    """Every change is an event."""


class Mounts:
    """What is mounted, as it was when it was last looked at. Any thread may ask."""

    def __init__(self) -> None:
        self._table = _mount_table()
        self._trust: dict[int, ChangeTracking] = {}

    def tracking_of(self, device: int) -> ChangeTracking:
        """Return how far the file system with a device number (st_dev) can be relied on."""
        trust = self._trust.get(device)
        if trust is None:
            trust = self._trust[device] = _tracking_of(device, self._table)
        return trust

    def refresh(self) -> bool:
        """Look again, and tell whether anything has been mounted or unmounted since."""
        table = _mount_table()
        if table == self._table:
            return False
        self._table, self._trust = table, {}
        return True


def _tracking_of(device: int, table: str) -> ChangeTracking:
    number = f"{os.major(device)}:{os.minor(device)}"
    kinds = {_filesystem_type(line) for line in table.splitlines() if line.split()[2] == number}
    if not kinds or not kinds <= _LOCAL:
        return ChangeTracking.NONE
    return ChangeTracking.EVENTS if kinds <= _TELLING else ChangeTracking.STATE


def _mount_table() -> str:
    """Return the table of mounts, which changes with every mount; "" where there is none."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as mounts:
            return mounts.read()
    except OSError:
        return ""


def _filesystem_type(line: str) -> str:
    """Return the file system type of a line of mountinfo, behind its separator (proc(5))."""
    return line.partition(" - ")[2].partition(" ")[0]
