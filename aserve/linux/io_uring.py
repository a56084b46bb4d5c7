"""io_uring by its three system calls: operations are queued to the kernel, and results come back.

The memory that is shared with the kernel is read and written by plain loads and stores, in order.
That is enough on every processor, since the ring is set up so that both sides run on one thread
only: the kernel takes operations inside io_uring_enter, and with DEFER_TASKRUN it posts results
nowhere else (io_uring_setup(2)). No processor reorders what one thread sees of itself.
"""

import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from aserve.linux.libc import address_of, system_call
from aserve.linux.provided_buffers import GROUP, ProvidedBuffers

OnComplete = Callable[[int], object]
"""Gets the result that the system call of the same name would return, or a negative errno."""

OnReceive = Callable[[int, bytes], object]
"""Gets the same result, and the data that has arrived."""

Buffer = bytes | bytearray | memoryview

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

_MAX_DELAY_S = 0.001
"""Seconds for which an operation may wait for the callbacks of one batch, before it is submitted.

If all were submitted at the end, the kernel and the clients would have nothing to do meanwhile.
"""
_DRAIN_SECONDS = 1.0
_abandoned: list["IoUring"] = []

# A signal arrived; the time is up; results must be taken before more fit. None of them is an error.
_RETRY_ERRNOS = frozenset({errno.EINTR, errno.ETIME, errno.EBUSY, errno.EAGAIN})


class IoUring:
    """A ring of operations that the kernel carries out, with a callback for each completion.

    Only the thread that makes it may use it. size: how many operations can be submitted at once, a
    power of two; any number can be pending. Descriptors must stay open until their operations are
    complete, and should be blocking: on a non-blocking one, the kernel reports EAGAIN where it
    would have waited. Buffers are kept alive. Raises OSError where the kernel has no io_uring or a
    seccomp filter forbids it; it needs Linux 6.1.
    """

    def __init__(self, size: int = 1_024) -> None:
        params = bytearray(_PARAMS.pack(0, 4 * size, _SETUP_FLAGS, *(0,) * 27))
        self._descriptor = system_call(_SETUP, size, address_of(params))
        numbers = _PARAMS.unpack(params)
        operations, results = numbers[_OPERATIONS_AT:_RESULTS_AT], numbers[_RESULTS_AT:]
        queues_size = max(operations[_ARRAY] + 4 * size, results[_CQES] + 4 * size * _CQE.size)
        self._queues = mmap.mmap(self._descriptor, queues_size, offset=_OFF_QUEUES)
        self._operations = mmap.mmap(self._descriptor, size * _SQE.size, offset=_OFF_OPERATIONS)
        self._words = memoryview(self._queues).cast("I")
        self._size = size
        self._sq_head, self._sq_tail = operations[_HEAD] // 4, operations[_TAIL] // 4
        self._cq_head, self._cq_tail = results[_HEAD] // 4, results[_TAIL] // 4
        self._results = results[_CQES]
        array = operations[_ARRAY] // 4
        for index in range(size):  # where each operation lies: always in their order
            self._words[array + index] = index
        self._tail = self._key = self._flags = 0
        self._pending: dict[int, tuple[OnComplete, Buffer]] = {}
        self._timespec = bytearray(_TIMESPEC.size)
        self._argument = bytearray(_WAIT_ARGUMENT.pack(0, 0, 0, address_of(self._timespec)))
        self._buffers = ProvidedBuffers()
        registration = self._buffers.registration
        system_call(_REGISTER, self._descriptor, _PBUF_RING, address_of(registration), 1)

    @property
    def pending_operations(self) -> int:
        """How many operations are not complete yet."""
        return len(self._pending)

    def accept(self, listener: int, on_complete: OnComplete) -> None:
        """Accept connections one after another until there is an error; call back for each one.

        The new descriptors are blocking, and child processes do not inherit them.
        """
        operation = _Operation(_ACCEPT, listener, option=socket.SOCK_CLOEXEC, priority=_MULTISHOT)
        self._submit(operation, partial(self._on_accept, listener, on_complete))

    def receive(self, connection: int, on_receive: OnReceive) -> None:
        """Receive the data that arrives next. A buffer is taken when it is there, not before."""
        operation = _Operation(_RECV, connection, flags=_BUFFER_SELECT, group=GROUP)
        self._submit(operation, partial(self._on_receive, on_receive))

    def send(self, connection: int, data: Buffer, on_complete: OnComplete) -> None:
        """Send data, or as much of it as the socket has room for."""
        self._submit(_Operation(_SEND, connection, data), on_complete)

    def read(
        self,
        file: int,
        start: int,
        buffer: bytearray | memoryview,
        on_complete: OnComplete,
        *,
        force_async: bool = False,
    ) -> None:
        """Read from a file, at offset start, into a buffer; from a pipe or a socket, what is next.

        force_async: a kernel thread does the read from the beginning. Otherwise the kernel first
        tries it within wait, which can take forever on file systems that another program provides
        (FUSE).
        """
        flags = _ASYNC if force_async else 0
        self._submit(_Operation(_READ, file, buffer, start, flags=flags), on_complete)

    def call_soon(self, on_complete: OnComplete) -> None:
        """Call back with the next results, after all that are there already."""
        self._submit(_Operation(_NOP, -1), on_complete)

    def cancel(self, descriptor: int) -> None:
        """Cancel all pending operations on a descriptor: they complete, most with ECANCELED."""
        option = _CANCEL_ALL | _CANCEL_FD
        self._submit(_Operation(_ASYNC_CANCEL, descriptor, option=option), _ignore)

    def wait(self, timeout: float) -> None:
        """Submit the queued operations, wait up to timeout seconds for a result, and call back."""
        whole, fraction = divmod(max(0.0, timeout), 1)
        _TIMESPEC.pack_into(self._timespec, 0, int(whole), int(fraction * 1e9))
        self._enter(min_results=1 if timeout > 0 else 0)
        self._reap()

    def close(self) -> None:
        """Cancel all pending operations, wait until they are complete, and close the ring.

        The kernel may write into a buffer until its operation is complete: where one cannot be
        cancelled, as a read from a disk that hangs, its memory is kept for the life of the process.
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

    def _submit(self, operation: "_Operation", on_complete: OnComplete) -> None:
        while self._unsubmitted == self._size:
            self._enter(min_results=0)
        self._key += 1
        self._pending[self._key] = on_complete, operation.buffer
        operation.write(self._operations, self._tail % self._size, self._key)
        self._tail = self._tail + 1 & 0xFFFF_FFFF
        self._words[self._sq_tail] = self._tail

    @property
    def _unsubmitted(self) -> int:
        """How many operations the kernel has not taken yet."""
        return int(self._tail - self._words[self._sq_head] & 0xFFFF_FFFF)

    def _enter(self, *, min_results: int) -> None:
        try:
            system_call(
                _ENTER,
                self._descriptor,
                self._unsubmitted,
                min_results,
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
        submit_at = time.monotonic() + _MAX_DELAY_S
        for key, result, flags in results:
            if time.monotonic() > submit_at:
                self._enter(min_results=0)
                submit_at = time.monotonic() + _MAX_DELAY_S
            on_complete, _ = self._pending[key] if flags & _HAS_MORE else self._pending.pop(key)
            self._flags = flags
            on_complete(result)

    def _on_accept(self, listener: int, on_complete: OnComplete, result: int) -> None:
        if result >= 0 and not self._flags & _HAS_MORE:
            self.accept(listener, on_complete)
        on_complete(result)

    def _on_receive(self, on_receive: OnReceive, result: int) -> None:
        data = b""
        if self._flags & _HAS_BUFFER:
            data = self._buffers.take(self._flags >> _BUFFER_SHIFT, max(0, result))
        on_receive(result, data)


class _Operation(NamedTuple):
    """A submission queue entry, with the names of io_uring_enter(2) where they are clear."""

    opcode: int
    descriptor: int
    buffer: Buffer = b""
    offset: int = 0
    option: int = 0
    priority: int = 0
    flags: int = 0
    group: int = 0

    def write(self, operations: mmap.mmap, index: int, key: int) -> None:
        """Write the entry where the kernel reads it; its result will have the same key."""
        opcode, descriptor, buffer, offset, option, priority, flags, group = self
        at = index * _SQE.size
        address, size = address_of(buffer) if buffer else 0, len(buffer)
        numbers = opcode, flags, priority, descriptor, offset, address, size, option, key, group
        _SQE.pack_into(operations, at, *numbers)


def _ignore(_result: int) -> None:
    """Ignore the result of a cancellation."""
