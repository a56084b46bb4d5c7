"""io_uring by its three system calls: a queue of operations to the kernel, and one of results back.

What is shared with the kernel is read and written by plain loads and stores, in order. That is
enough on every processor, since the ring is made so that both sides meet on one thread only: the
kernel takes operations inside io_uring_enter, and with DEFER_TASKRUN it posts results nowhere else
(io_uring_setup(2)). No processor reorders what one thread sees of itself.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from aserve.linux.memory import address_of
from aserve.linux.provided_buffers import GROUP, ProvidedBuffers

OnComplete = Callable[[int], None]
"""Gets what the system call of an operation's name returns, or its errno, negative."""

OnReceive = Callable[[int, bytes], None]
"""Gets the same, and the octets that have arrived."""

Buffer = bytes | bytearray | memoryview

_libc = ctypes.CDLL(None, use_errno=True)
_SETUP, _ENTER, _REGISTER = 425, 426, 427  # the same numbers on every architecture

# linux/io_uring.h
_CQSIZE, _SUBMIT_ALL, _SINGLE_ISSUER, _DEFER_TASKRUN = 1 << 3, 1 << 7, 1 << 12, 1 << 13
_SETUP_FLAGS = _CQSIZE | _SUBMIT_ALL | _SINGLE_ISSUER | _DEFER_TASKRUN
_OFF_QUEUES, _OFF_OPERATIONS = 0, 0x1000_0000
_GETEVENTS, _EXT_ARG = 1 << 0, 1 << 3
_PBUF_RING = 22
_NOP, _ACCEPT, _ASYNC_CANCEL, _READ, _SEND, _RECV = 0, 13, 14, 22, 26, 27
_ASYNC, _BUFFER_SELECT = 1 << 4, 1 << 5
_MULTISHOT = 1 << 0
_CANCEL_ALL, _CANCEL_FD, _CANCEL_ANY = 1 << 0, 1 << 1, 1 << 2
_HAS_BUFFER, _HAS_MORE = 1 << 0, 1 << 1
_BUFFER_SHIFT = 16

_PARAMS = struct.Struct("=30I")  # io_uring_params
_HEAD, _TAIL, _CQES, _ARRAY = 0, 1, 5, 6  # in its offsets, which begin here:
_OPERATIONS_AT, _RESULTS_AT = 10, 20
_SQE = struct.Struct("=BBHiQQIIQH22x")  # io_uring_sqe
_CQE = struct.Struct("=QiI")  # io_uring_cqe
_WAIT_ARGUMENT = struct.Struct("=QIIQ")  # io_uring_getevents_arg
_TIMESPEC = struct.Struct("=qq")

_DRAIN_SECONDS = 1.0
_abandoned: list["IoUring"] = []

# A signal came; time is up; results must be taken before more fit. None of them is a fault.
_RETRY_ERRNOS = frozenset({errno.EINTR, errno.ETIME, errno.EBUSY, errno.EAGAIN})


class IoUring:
    """Operations that the kernel carries out, and calls back when they are complete.

    For one thread, which must be the one that makes it. size: operations that are handed over at
    once, a power of two; any number can be under way. Descriptors must stay open until their
    operations are complete, and should block: on one that does not, the kernel says EAGAIN where
    it would have waited. Buffers are kept alive. Raises OSError where the kernel, or who guards
    it, has no such thing for us; Linux 6.1 is the first that can.
    """

    def __init__(self, size: int = 1_024) -> None:
        params = bytearray(_PARAMS.pack(0, 4 * size, _SETUP_FLAGS, *(0,) * 27))
        self._descriptor = _call(_SETUP, size, address_of(params))
        numbers = _PARAMS.unpack(params)
        operations, results = numbers[_OPERATIONS_AT:_RESULTS_AT], numbers[_RESULTS_AT:]
        room = max(operations[_ARRAY] + 4 * size, results[_CQES] + 4 * size * _CQE.size)
        self._queues = mmap.mmap(self._descriptor, room, offset=_OFF_QUEUES)
        self._operations = mmap.mmap(self._descriptor, size * _SQE.size, offset=_OFF_OPERATIONS)
        self._words = memoryview(self._queues).cast("I")
        self._size = size
        self._sq_head, self._sq_tail = operations[_HEAD] // 4, operations[_TAIL] // 4
        self._cq_head, self._cq_tail = results[_HEAD] // 4, results[_TAIL] // 4
        self._results = results[_CQES]
        array = operations[_ARRAY] // 4
        for index in range(size):  # where each operation lies: they stay in their order
            self._words[array + index] = index
        self._tail = self._key = self._flags = 0
        self._pending: dict[int, tuple[OnComplete, Buffer]] = {}
        self._timespec = bytearray(_TIMESPEC.size)
        self._argument = bytearray(_WAIT_ARGUMENT.pack(0, 0, 0, address_of(self._timespec)))
        self._buffers = ProvidedBuffers()
        registration = self._buffers.registration
        _call(_REGISTER, self._descriptor, _PBUF_RING, address_of(registration), 1)

    @property
    def pending_operations(self) -> int:
        """How many operations are not complete."""
        return len(self._pending)

    def accept(self, listener: int, done: OnComplete) -> None:
        """Accept connections, one after another until there is an error; each one calls back.

        The new descriptors block, and no program that is started inherits them.
        """
        operation = _Operation(_ACCEPT, listener, option=socket.SOCK_CLOEXEC, priority=_MULTISHOT)
        self._submit(operation, partial(self._on_accept, listener, done))

    def receive(self, connection: int, done: OnReceive) -> None:
        """Receive what arrives next. Memory is taken for it when it is there, and not before."""
        operation = _Operation(_RECV, connection, flags=_BUFFER_SELECT, group=GROUP)
        self._submit(operation, partial(self._on_receive, done))

    def send(self, connection: int, octets: Buffer, done: OnComplete) -> None:
        """Send octets, or as many of them as there is room for."""
        self._submit(_Operation(_SEND, connection, octets), done)

    def read(
        self,
        file: int,
        start: int,
        buffer: bytearray | memoryview,
        done: OnComplete,
        *,
        force_async: bool = False,
    ) -> None:
        """Read from a file, at start, into a buffer; from a pipe or a socket, what comes next.

        apart: by a thread of the kernel's, from the beginning. Else it tries at once, as part of
        wait, whether there is something; that can take for ever on file systems which other
        programs provide.
        """
        flags = _ASYNC if force_async else 0
        self._submit(_Operation(_READ, file, buffer, start, flags=flags), done)

    def call_soon(self, done: OnComplete) -> None:
        """Call back with the next results, behind all that are there already."""
        self._submit(_Operation(_NOP, -1), done)

    def cancel(self, descriptor: int) -> None:
        """Let all that is under way on a descriptor end: with ECANCELED, if nothing else."""
        option = _CANCEL_ALL | _CANCEL_FD
        self._submit(_Operation(_ASYNC_CANCEL, descriptor, option=option), _ignore)

    def wait(self, seconds: float) -> None:
        """Hand over what was asked for, wait for a result, at most so long, and call back."""
        whole, rest = divmod(max(0.0, seconds), 1)
        _TIMESPEC.pack_into(self._timespec, 0, int(whole), int(rest * 1e9))
        self._enter(least=1 if seconds > 0 else 0)
        self._reap()

    def close(self) -> None:
        """Cancel what is under way, see it end, and give up the ring.

        The kernel may write into a buffer until its operation is complete: where one cannot be
        cancelled, as a read from a disk that hangs, its memory is kept for as long as we live.
        """
        self._submit(_Operation(_ASYNC_CANCEL, -1, option=_CANCEL_ALL | _CANCEL_ANY), _ignore)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._pending and (left := deadline - time.monotonic()) > 0:
            self.wait(left)
        if self._pending:
            _abandoned.append(self)
            return
        self._words.release()
        self._queues.close()
        self._operations.close()
        os.close(self._descriptor)

    def _submit(self, operation: "_Operation", done: OnComplete) -> None:
        while self._unsubmitted == self._size:
            self._enter(least=0)
        self._key += 1
        self._pending[self._key] = done, operation.buffer
        operation.write(self._operations, self._tail % self._size, self._key)
        self._tail = self._tail + 1 & 0xFFFF_FFFF
        self._words[self._sq_tail] = self._tail

    @property
    def _unsubmitted(self) -> int:
        """How many operations the kernel has not taken yet."""
        return int(self._tail - self._words[self._sq_head] & 0xFFFF_FFFF)

    def _enter(self, *, least: int) -> None:
        try:
            _call(
                _ENTER,
                self._descriptor,
                self._unsubmitted,
                least,
                _GETEVENTS | _EXT_ARG,
                address_of(self._argument),
                _WAIT_ARGUMENT.size,
            )
        except OSError as error:
            if error.errno not in _RETRY_ERRNOS:
                raise

    def _reap(self) -> None:
        seen, posted = self._words[self._cq_head], self._words[self._cq_tail]
        results = []
        while seen != posted:
            at = self._results + seen % (4 * self._size) * _CQE.size
            results.append(_CQE.unpack_from(self._queues, at))
            seen = seen + 1 & 0xFFFF_FFFF
        self._words[self._cq_head] = seen
        for key, result, flags in results:
            done, _ = self._pending[key] if flags & _HAS_MORE else self._pending.pop(key)
            self._flags = flags
            done(result)

    def _on_accept(self, listener: int, done: OnComplete, result: int) -> None:
        if result >= 0 and not self._flags & _HAS_MORE:
            self.accept(listener, done)
        done(result)

    def _on_receive(self, done: OnReceive, result: int) -> None:
        octets = b""
        if self._flags & _HAS_BUFFER:
            octets = self._buffers.take(self._flags >> _BUFFER_SHIFT, max(0, result))
        done(result, octets)


class _Operation(NamedTuple):
    """A submission, by the names that io_uring_enter(2) has for them where they say something."""

    opcode: int
    descriptor: int
    buffer: Buffer = b""
    offset: int = 0
    option: int = 0
    priority: int = 0
    flags: int = 0
    group: int = 0

    def write(self, operations: mmap.mmap, index: int, key: int) -> None:
        """Put it where the kernel looks for it; key comes back with its result."""
        opcode, descriptor, buffer, offset, option, priority, flags, group = self
        at = index * _SQE.size
        place, length = address_of(buffer) if buffer else 0, len(buffer)
        numbers = opcode, flags, priority, descriptor, offset, place, length, option, key, group
        _SQE.pack_into(operations, at, *numbers)


def _ignore(_result: int) -> None:
    """Do nothing: nobody wants to know any more."""


def _call(number: int, *arguments: int) -> int:
    result = int(_libc.syscall(number, *map(ctypes.c_long, arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
