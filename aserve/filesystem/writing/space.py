"""How much may still be written: what was announced is reserved before the first byte is read."""

import os
import threading
from pathlib import Path

from aserve.filesystem.writing.errors import NoSpace, QuotaExceeded, TooLarge
from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.temporary import TemporaryFile
from aserve.filesystem.writing.usage import Usage
from aserve.linux.fallocate import try_allocate

_STEP = 8 << 20
"""Bytes between two looks at the free space of the disk, when room for the next ones is taken.

Then a write only copies: it takes a quarter less time than one that finds room for itself.
"""


class Space:
    """The room below a root, and the uploads of this process that take some of it."""

    def __init__(self, root: Path, limits: WriteLimits) -> None:
        self.limits = limits
        self.usage = Usage(root) if limits.quota is not None else None
        self._uploads: set[Reservation] = set()
        self._lock = threading.Lock()  # for the sizes of all uploads

    def reserve(self, upload: "Reservation", size: int) -> None:
        """Let an upload take size bytes in all. Raises TooLarge or QuotaExceeded."""
        if self.limits.max_upload is not None and size > self.limits.max_upload:
            raise TooLarge
        self.refresh()
        self._resize(upload, size)

    def refresh(self) -> None:
        """See what others have stored below the root meanwhile. May wait; raises OSError."""
        if self.usage:
            self.usage.refresh(self._under_way)

    def check(self, upload: "Reservation") -> None:
        """Raise QuotaExceeded if there is no room any more for what an upload has reserved."""
        if self.usage:
            self._resize(upload, upload.size)

    def _resize(self, upload: "Reservation", size: int) -> None:
        with self._lock:
            self._uploads.add(upload)
            previous, upload.size = upload.size, size
            if not self._fits():
                upload.size = previous
                raise QuotaExceeded

    def check_free(self, upload: "Reservation") -> None:
        """Raise NoSpace unless the disk has room for what all uploads will still write.

        Raises OSError.
        """
        if self.limits.min_free is None:
            return
        with self._lock:
            announced = sum(other.missing for other in self._uploads)
        state = os.fstatvfs(upload.temporary.descriptor)
        if state.f_bavail * state.f_frsize - announced < self.limits.min_free:
            raise NoSpace

    def release(self, upload: "Reservation", *, stored: bool) -> None:
        """Forget an upload. stored: whether its bytes are below the root from now on."""
        with self._lock:
            if upload in self._uploads:
                self._uploads.remove(upload)
                if self.usage and stored:
                    self.usage.add(upload.size - upload.replaces)

    def give_back(self, size: int | None) -> None:
        """Count what was deleted. size: in bytes, None where it is not known."""
        if self.usage and size is None:
            self.usage.expire()
        elif self.usage and size:
            self.usage.add(-size)

    def _fits(self) -> bool:
        if self.usage is None or self.limits.quota is None:
            return True
        growth = sum(upload.growth for upload in self._uploads)
        return self.usage.size + growth <= self.limits.quota

    def _under_way(self) -> frozenset[tuple[int, int]]:
        with self._lock:
            return frozenset(upload.file_id for upload in self._uploads)


class Reservation:
    """The room that one upload takes.

    size: bytes that it may write; written: those that it has. replaces: how many bytes go in return
    when it is committed.
    """

    def __init__(self, space: Space, temporary: TemporaryFile, replaces: int) -> None:
        self._space = space
        self.temporary = temporary
        self.replaces = replaces
        self.size = self.written = 0
        self.file_id = 0, 0
        self._checked_to = 0
        self._allocated_to = 0

    @property
    def growth(self) -> int:
        """How many bytes more are below the root after it; fewer only once it is committed."""
        return max(0, self.size - self.replaces)

    @property
    def missing(self) -> int:
        """How many bytes of the room are still free on the disk."""
        return self.size - max(self.written, self._allocated_to)

    def grow_to(self, size: int) -> None:
        """Take room for size bytes in all. Raises TooLarge, NoSpace or OSError."""
        if self._space.usage:
            status = os.fstat(self.temporary.descriptor)
            self.file_id = status.st_dev, status.st_ino
        self._space.reserve(self, size)
        self._space.check_free(self)
        self._checked_to = _STEP

    def resume_at(self, offset: int) -> None:
        """Take over bytes that are there already, which no longer count as stored."""
        self.size = self.written = offset
        self._space.give_back(offset)

    def keep(self) -> None:
        """Give the room back that was not used; what was written counts as stored."""
        self._space.release(self, stored=False)
        self._space.give_back(-self.written)

    def write_to(self, size: int) -> None:
        """Take room for size bytes, which are written now. Raises TooLarge, NoSpace or OSError."""
        if size > self.size:
            self._space.reserve(self, size)
        start, self.written = max(self.written, self._allocated_to), size
        if size > self._checked_to:
            self._space.check_free(self)
            self._checked_to = size + _STEP
            self._allocate(start, min(self._checked_to, self.size))

    def _allocate(self, start: int, stop: int) -> None:
        """Take room on the disk for the next bytes; none if it is not known how many there are."""
        if start < stop and try_allocate(self.temporary.descriptor, start, stop - start):
            self._allocated_to = stop

    def truncate_to(self, size: int) -> None:
        """Note that the file was cut off behind its first bytes."""
        self.written = size
        self._allocated_to = min(size, self._allocated_to)

    def check(self, replaces: int) -> None:
        """Raise QuotaExceeded if the room is taken. replaces: how many bytes go in fact."""
        self.replaces = replaces
        self._space.check(self)

    def refresh(self) -> None:
        """See what others have stored, so that check knows it. May wait; raises OSError."""
        self._space.refresh()

    def release(self, *, stored: bool) -> None:
        """Give the room back, or count it as used. Does nothing the second time."""
        self._space.release(self, stored=stored)
