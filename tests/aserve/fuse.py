"""A mirror of a folder whose requests wait when they are told to: Linux FUSE, without a library.

A program, so that no lock of the test's process is ever held by a system call that waits for it:

    python fuse.py SOURCE MOUNTPOINT SECONDS CONTROL

SECONDS is how long the kernel may believe what it was told of names and attributes; CONTROL is the
descriptor of a socket that takes commands and tells of what happens, a JSON text each. Its end is
the end: then whatever waits fails and the file system is gone, however its user has died.
The numbers are those of <linux/fuse.h>, version 7.31.
"""

import ctypes
import errno
import json
import os
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import NamedTuple

_MNT_DETACH = 2
_ROOT = 1
_MOST_WRITTEN = 65_536
_BUFFER = _MOST_WRITTEN + 65_536

_IN_HEADER = struct.Struct("=IIQQIIIHH")  # length, opcode, unique, node, ..
_OUT_HEADER = struct.Struct("=IiQ")  # length, error, unique
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY_OUT = struct.Struct("=QQQQII")  # node, generation, and how long name and attributes hold
_ATTR_OUT = struct.Struct("=QII")
_OPEN_OUT = struct.Struct("=QIi")
_READ_IN = struct.Struct("=QQI")  # handle, offset, size
_INTERRUPT_IN = struct.Struct("=Q")
_STATFS_OUT = struct.Struct("=QQQQQIIII24x")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")

_KEEP_CACHE = 1 << 1
_PARALLEL_DIROPS = 1 << 18  # or names of one folder would wait for each other in the kernel

_FORGET, _INTERRUPT, _BATCH_FORGET = 2, 36, 42
_UNANSWERED = frozenset({_FORGET, _INTERRUPT, _BATCH_FORGET})


class Asked(NamedTuple):
    """One request of the kernel."""

    unique: int
    operation: str
    path: bytes
    data: bytes

    @property
    def stop(self) -> int:
        """Where a READ ends; 0 for everything else."""
        _, offset, size = _READ_IN.unpack_from(self.data) if self.operation == "READ" else (0, 0, 0)
        return offset + size


class Hold(NamedTuple):
    """Which requests have to wait: None for all operations or all names."""

    operation: str | None
    name: str | None
    beyond: int
    """READs wait only where they ask for an octet at or behind this offset."""

    def concerns(self, asked: Asked) -> bool:
        if self.operation not in {None, asked.operation}:
            return False
        if self.name not in {None, os.fsdecode(os.path.basename(asked.path))}:
            return False
        return asked.operation != "READ" or asked.stop > self.beyond


class Mirror:
    """Answers the kernel with what is in a folder now."""

    def __init__(
        self, source: bytes, mountpoint: str, seconds: int, control: socket.socket
    ) -> None:
        self._mountpoint = mountpoint
        self._seconds = seconds
        self._control = control
        self._nodes = {_ROOT: source}
        self._numbers = {source: _ROOT}
        self._is_valid: list[Hold] = []
        self._held: list[Asked] = []
        self._opened = 0  # files
        self._settling = False
        self._libc = ctypes.CDLL(None, use_errno=True)

    def mount(self) -> None:
        """Raises OSError where that may not be."""
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0".encode()
        where = self._mountpoint.encode()
        if self._libc.mount(b"aserve-test", where, b"fuse", 0, options) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def unmount(self) -> None:
        os.close(self._device)  # first: this alone ends all that waits
        self._libc.umount2(self._mountpoint.encode(), _MNT_DETACH)

    def serve(self) -> None:
        """Answer until the end of the control socket."""
        while True:
            ready, _, _ = select.select([self._device, self._control], [], [])
            if self._control in ready:
                command = self._control.recv(65_536)
                if not command:
                    return
                self._obey(json.loads(command))
            if self._device in ready:
                with suppress(FileNotFoundError):  # interrupted before we got it
                    self._take(os.read(self._device, _BUFFER))

    def _obey(self, command: dict) -> None:
        if "hold" in command:
            self._is_valid.append(Hold(*command["hold"]))
        elif "release" in command:
            self._let_go(command["release"])
        elif self._opened:
            self._settling = True  # and is told later
            return
        self._tell({"done": True})

    def _let_go(self, operation: str | None) -> None:
        self._is_valid = [
            hold for hold in self._is_valid if operation not in {None, hold.operation}
        ]
        held = [asked for asked in self._held if operation in {None, asked.operation}]
        for asked in held:
            self._held.remove(asked)
            self._answer(asked)

    def _tell(self, event: dict) -> None:
        self._control.send(json.dumps(event).encode())

    def _take(self, octets: bytes) -> None:
        _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(octets)
        data = octets[_IN_HEADER.size :]
        if opcode == _INTERRUPT:
            self._interrupt(*_INTERRUPT_IN.unpack_from(data))
        if opcode in _UNANSWERED:
            return
        operation = OPERATIONS.get(opcode, "")
        path = self._nodes.get(node, b"")
        if operation == "LOOKUP":
            path = os.path.join(path, data.rstrip(b"\0"))
        asked = Asked(unique, operation, path, data)
        if operation != "INIT" and any(hold.concerns(asked) for hold in self._is_valid):
            self._held.append(asked)
            self._tell({"reached": [operation, os.fsdecode(os.path.basename(path))]})
        else:
            self._answer(asked)

    def _interrupt(self, unique: int) -> None:
        """Let go of who is killed while it waits."""
        for asked in [one for one in self._held if one.unique == unique]:
            self._held.remove(asked)
            self._reply(unique, errno.EINTR)

    def _answer(self, asked: Asked) -> None:
        answer = getattr(self, f"_{asked.operation.lower()}", None) if asked.operation else None
        try:
            if answer is None:
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
            self._reply(asked.unique, 0, answer(asked))
        except OSError as error:
            self._reply(asked.unique, error.errno)

    def _reply(self, unique: int, error: int, data: bytes = b"") -> None:
        with suppress(FileNotFoundError):  # who asked is gone
            os.write(
                self._device, _OUT_HEADER.pack(_OUT_HEADER.size + len(data), -error, unique) + data
            )

    # One method for each operation.

    def _init(self, asked: Asked) -> bytes:
        # No read-ahead: what has been asked for is what is read.
        return _INIT_OUT.pack(7, 31, 0, _PARALLEL_DIROPS, 64, 48, _MOST_WRITTEN, 1, 0, 0, 0)

    def _lookup(self, asked: Asked) -> bytes:
        try:
            status = os.stat(asked.path)
        except FileNotFoundError:
            if not self._seconds:
                raise
            return _ENTRY_OUT.pack(0, 0, self._seconds, 0, 0, 0) + bytes(_ATTR.size)
        number = self._numbers.setdefault(asked.path, len(self._numbers) + _ROOT)
        self._nodes[number] = asked.path
        entry = _ENTRY_OUT.pack(number, 0, self._seconds, self._seconds, 0, 0)
        return entry + _attributes(number, status)

    def _getattr(self, asked: Asked) -> bytes:
        status = os.stat(asked.path)
        return _ATTR_OUT.pack(self._seconds, 0, 0) + _attributes(self._numbers[asked.path], status)

    def _open(self, asked: Asked) -> bytes:
        self._opened += 1
        return _OPEN_OUT.pack(0, _KEEP_CACHE if self._seconds else 0, 0)

    def _read(self, asked: Asked) -> bytes:
        _, offset, size = _READ_IN.unpack_from(asked.data)
        with open(asked.path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def _statfs(self, asked: Asked) -> bytes:
        return _STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096, 0)

    def _flush(self, asked: Asked) -> bytes:
        return b""

    def _release(self, asked: Asked) -> bytes:
        self._opened -= 1
        if self._settling and not self._opened:
            self._settling = False
            self._tell({"done": True})
        return b""


OPERATIONS = {
    1: "LOOKUP",
    3: "GETATTR",
    14: "OPEN",
    15: "READ",
    17: "STATFS",
    18: "RELEASE",
    25: "FLUSH",
    26: "INIT",
}
"""Those that are answered, and can be made to wait; all others are told that there are none."""


def _attributes(number: int, status: os.stat_result) -> bytes:
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    seconds = [time // 1_000_000_000 for time in times]
    fractions = [time % 1_000_000_000 for time in times]
    sizes = (number, status.st_size, status.st_blocks)
    others = (status.st_mode, status.st_nlink, status.st_uid, status.st_gid, 0, 4096, 0)
    return _ATTR.pack(*sizes, *seconds, *fractions, *others)


def main(source: str, mountpoint: str, seconds: str, control: str) -> None:
    with socket.socket(fileno=int(control)) as told:
        mirror = Mirror(os.fsencode(source), mountpoint, int(seconds), told)
        try:
            mirror.mount()
        except OSError as error:
            told.send(json.dumps({"failed": error.strerror}).encode())
            return
        try:
            told.send(json.dumps({"done": True}).encode())
            mirror.serve()
        finally:
            mirror.unmount()


if __name__ == "__main__":
    main(*sys.argv[1:])
