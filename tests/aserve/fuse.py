"""A mirror of a directory whose requests can be made to wait: Linux FUSE, without a library.

It is a program, so that a system call that waits for it never holds a lock of the test's process:

    python fuse.py SOURCE MOUNTPOINT SECONDS CONTROL

SECONDS is how long the kernel may cache names and attributes. CONTROL is the descriptor of a socket
for commands and events, each a JSON text. When the socket closes, held requests fail and the file
system is unmounted, however the test has ended.

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
_ROOT_NODE = 1
_MAX_WRITE = 65_536
_BUFFER_SIZE = _MAX_WRITE + 65_536

_IN_HEADER = struct.Struct("=IIQQIIIHH")  # length, opcode, unique, node, ..
_OUT_HEADER = struct.Struct("=IiQ")  # length, error, unique
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY_OUT = struct.Struct("=QQQQII")  # node, generation, and how long to cache name and attributes
_ATTR_OUT = struct.Struct("=QII")
_OPEN_OUT = struct.Struct("=QIi")
_READ_IN = struct.Struct("=QQI")  # handle, offset, size
_INTERRUPT_IN = struct.Struct("=Q")
_STATFS_OUT = struct.Struct("=QQQQQIIII24x")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")

_KEEP_CACHE = 1 << 1
_PARALLEL_DIROPS = 1 << 18  # or the kernel would look up names of a directory one by one

_FORGET, _INTERRUPT, _BATCH_FORGET = 2, 36, 42
_UNANSWERED = frozenset({_FORGET, _INTERRUPT, _BATCH_FORGET})


class KernelRequest(NamedTuple):
    """One request of the kernel."""

    unique: int
    operation: str
    path: bytes
    data: bytes

    @property
    def stop(self) -> int:
        """The offset at which a READ ends; 0 for other operations."""
        _, offset, size = _READ_IN.unpack_from(self.data) if self.operation == "READ" else (0, 0, 0)
        return offset + size


class Hold(NamedTuple):
    """Which requests are held: None means all operations or all names."""

    operation: str | None
    name: str | None
    beyond: int
    """READs are held only if they ask for a byte at or after this offset."""

    def matches(self, request: KernelRequest) -> bool:
        if self.operation not in {None, request.operation}:
            return False
        if self.name not in {None, os.fsdecode(os.path.basename(request.path))}:
            return False
        return request.operation != "READ" or request.stop > self.beyond


class Mirror:
    """Answers the kernel's requests from a directory as it is now."""

    def __init__(
        self, source: bytes, mountpoint: str, seconds: int, control: socket.socket
    ) -> None:
        self._mountpoint = mountpoint
        self._seconds = seconds
        self._control = control
        self._nodes = {_ROOT_NODE: source}
        self._numbers = {source: _ROOT_NODE}
        self._holds: list[Hold] = []
        self._held: list[KernelRequest] = []
        self._open_files = 0
        self._wait_for_close = False
        self._libc = ctypes.CDLL(None, use_errno=True)

    def mount(self) -> None:
        """Mount the file system. Raises OSError if that is not permitted."""
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0".encode()
        mountpoint = self._mountpoint.encode()
        if self._libc.mount(b"aserve-test", mountpoint, b"fuse", 0, options) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def unmount(self) -> None:
        os.close(self._device)  # first: this alone ends all held requests
        self._libc.umount2(self._mountpoint.encode(), _MNT_DETACH)

    def serve(self) -> None:
        """Answer requests and commands until the control socket closes."""
        while True:
            ready, _, _ = select.select([self._device, self._control], [], [])
            if self._control in ready:
                command = self._control.recv(65_536)
                if not command:
                    return
                self._run_command(json.loads(command))
            if self._device in ready:
                with suppress(FileNotFoundError):  # the request was interrupted before we read it
                    self._handle_message(os.read(self._device, _BUFFER_SIZE))

    def _run_command(self, command: dict) -> None:
        if "hold" in command:
            self._holds.append(Hold(*command["hold"]))
        elif "release" in command:
            self._release_held(command["release"])
        elif self._open_files:
            self._wait_for_close = True  # _release reports it later
            return
        self._send_event({"done": True})

    def _release_held(self, operation: str | None) -> None:
        self._holds = [hold for hold in self._holds if operation not in {None, hold.operation}]
        held = [request for request in self._held if operation in {None, request.operation}]
        for request in held:
            self._held.remove(request)
            self._handle_request(request)

    def _send_event(self, event: dict) -> None:
        self._control.send(json.dumps(event).encode())

    def _handle_message(self, message: bytes) -> None:
        _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(message)
        data = message[_IN_HEADER.size :]
        if opcode == _INTERRUPT:
            self._interrupt(*_INTERRUPT_IN.unpack_from(data))
        if opcode in _UNANSWERED:
            return
        operation = OPERATIONS.get(opcode, "")
        path = self._nodes.get(node, b"")
        if operation == "LOOKUP":
            path = os.path.join(path, data.rstrip(b"\0"))
        request = KernelRequest(unique, operation, path, data)
        if operation != "INIT" and any(hold.matches(request) for hold in self._holds):
            self._held.append(request)
            self._send_event({"reached": [operation, os.fsdecode(os.path.basename(path))]})
        else:
            self._handle_request(request)

    def _interrupt(self, unique: int) -> None:
        """Answer the request of a process that was killed while it waited."""
        for request in [held for held in self._held if held.unique == unique]:
            self._held.remove(request)
            self._reply(unique, errno.EINTR)

    def _handle_request(self, request: KernelRequest) -> None:
        handler = (
            getattr(self, f"_{request.operation.lower()}", None) if request.operation else None
        )
        try:
            if handler is None:
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
            self._reply(request.unique, 0, handler(request))
        except OSError as error:
            self._reply(request.unique, error.errno)

    def _reply(self, unique: int, error: int, data: bytes = b"") -> None:
        with suppress(FileNotFoundError):  # the process that asked has gone
            os.write(
                self._device, _OUT_HEADER.pack(_OUT_HEADER.size + len(data), -error, unique) + data
            )

    # One method for each operation.

    def _init(self, request: KernelRequest) -> bytes:
        # No read-ahead: only what is asked for is read.
        return _INIT_OUT.pack(7, 31, 0, _PARALLEL_DIROPS, 64, 48, _MAX_WRITE, 1, 0, 0, 0)

    def _lookup(self, request: KernelRequest) -> bytes:
        try:
            status = os.stat(request.path)
        except FileNotFoundError:
            if not self._seconds:
                raise
            return _ENTRY_OUT.pack(0, 0, self._seconds, 0, 0, 0) + bytes(_ATTR.size)
        number = self._numbers.setdefault(request.path, len(self._numbers) + _ROOT_NODE)
        self._nodes[number] = request.path
        entry = _ENTRY_OUT.pack(number, 0, self._seconds, self._seconds, 0, 0)
        return entry + _attributes(number, status)

    def _getattr(self, request: KernelRequest) -> bytes:
        status = os.stat(request.path)
        return _ATTR_OUT.pack(self._seconds, 0, 0) + _attributes(
            self._numbers[request.path], status
        )

    def _open(self, request: KernelRequest) -> bytes:
        self._open_files += 1
        return _OPEN_OUT.pack(0, _KEEP_CACHE if self._seconds else 0, 0)

    def _read(self, request: KernelRequest) -> bytes:
        _, offset, size = _READ_IN.unpack_from(request.data)
        with open(request.path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def _statfs(self, request: KernelRequest) -> bytes:
        return _STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096, 0)

    def _flush(self, request: KernelRequest) -> bytes:
        return b""

    def _release(self, request: KernelRequest) -> bytes:
        self._open_files -= 1
        if self._wait_for_close and not self._open_files:
            self._wait_for_close = False
            self._send_event({"done": True})
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
"""The operations that are answered and can be held; all others fail with ENOSYS."""


def _attributes(number: int, status: os.stat_result) -> bytes:
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    seconds = [time // 1_000_000_000 for time in times]
    fractions = [time % 1_000_000_000 for time in times]
    sizes = (number, status.st_size, status.st_blocks)
    rest = (status.st_mode, status.st_nlink, status.st_uid, status.st_gid, 0, 4096, 0)
    return _ATTR.pack(*sizes, *seconds, *fractions, *rest)


def main(source: str, mountpoint: str, seconds: str, control: str) -> None:
    with socket.socket(fileno=int(control)) as control_socket:
        mirror = Mirror(os.fsencode(source), mountpoint, int(seconds), control_socket)
        try:
            mirror.mount()
        except OSError as error:
            control_socket.send(json.dumps({"failed": error.strerror}).encode())
            return
        try:
            control_socket.send(json.dumps({"done": True}).encode())
            mirror.serve()
        finally:
            mirror.unmount()


if __name__ == "__main__":
    main(*sys.argv[1:])
