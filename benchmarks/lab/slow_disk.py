"""A file on a slow disk: a file system in user space (FUSE) that takes its time for every read.

A reader of the file waits as for a real disk: in the kernel, for a page, in state D. The kernel's
protocol is linux/fuse.h, version 7.31; the root of this file system is its only file.
"""

import ctypes
import os
import struct
import tempfile
import time
from collections.abc import Callable

FILE_SIZE = 1 << 40
"""A tebibyte of zeros: no page of it is read twice by chance, so none comes from memory."""

_IN = struct.Struct("<IIQQIIII")  # fuse_in_header: length, opcode, unique, ...
_OUT = struct.Struct("<IiQ")  # fuse_out_header: length, error, unique
_INIT = struct.Struct("<IIIIHHIIHHI28x")  # fuse_init_out
_ATTR = struct.Struct("<QIIQQQQQQIIIIIIIIII")  # fuse_attr_out: how long it is valid, fuse_attr
_OPEN = struct.Struct("<QII")  # fuse_open_out
_READ = struct.Struct("<QQI")  # the beginning of fuse_read_in: handle, offset, size
_GETATTR, _OPEN_FILE, _READ_FILE, _FLUSH, _RELEASE, _INIT_FS = 3, 14, 15, 25, 18, 26
_ASYNC_READ = 1  # readers wait for a page and not for this process: state D
_ENOSYS = 38
_MAX_REQUEST = 1 << 17
_NOSUID_NODEV = 2 | 4
_DETACH = 2  # MNT_DETACH: it goes on until its last file is closed
_MODE = 0o100444
_libc = ctypes.CDLL(None, use_errno=True)


def open_slow_file(read_s: float) -> int:
    """Open a file of which each read takes `read_s`, one after the other; return its descriptor.

    A child of this process serves it. Nothing of it is left in the file system: it is unmounted as
    soon as it is open. Raises OSError where mounting is not allowed: it takes root, or a user
    namespace.
    """
    device = os.open("/dev/fuse", os.O_RDWR)
    with tempfile.NamedTemporaryFile(prefix="lab-") as place:
        path = os.fsencode(place.name)
        options = f"fd={device},rootmode={_MODE:o},user_id={os.getuid()},group_id={os.getgid()}"
        _call(_libc.mount, b"lab", path, b"fuse", _NOSUID_NODEV, options.encode())
        if os.fork() == 0:
            try:
                _serve(device, read_s)
            finally:
                os._exit(0)
        os.close(device)
        file = os.open(path, os.O_RDONLY)
        _call(_libc.umount2, path, _DETACH)
    return file


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _serve(device: int, read_s: float) -> None:
    while True:
        try:
            request = os.read(device, _MAX_REQUEST)
        except OSError:  # it was unmounted
            return
        _, opcode, unique, *_ = _IN.unpack_from(request)
        if opcode == _READ_FILE:
            time.sleep(read_s)
        reply = _reply(opcode, request[_IN.size :])
        error = 0 if reply is not None else -_ENOSYS
        body = reply or b""
        os.write(device, _OUT.pack(_OUT.size + len(body), error, unique) + body)


def _reply(opcode: int, body: bytes) -> bytes | None:
    """Return the reply to a request; None if it is not implemented."""
    if opcode == _INIT_FS:
        return _INIT.pack(7, 31, _MAX_REQUEST, _ASYNC_READ, 16, 12, 4096, 1, 1, 0, 0)
    if opcode == _GETATTR:
        owner = (os.getuid(), os.getgid())
        return _ATTR.pack(
            3600, 0, 0, 1, FILE_SIZE, 0, 0, 0, 0, 0, 0, 0, _MODE, 1, *owner, 0, 4096, 0
        )
    if opcode == _OPEN_FILE:
        return _OPEN.pack(0, 0, 0)
    if opcode == _READ_FILE:
        _, _, size = _READ.unpack_from(body)
        return bytes(size)
    return b"" if opcode in {_FLUSH, _RELEASE} else None
