"""Records each response, and writes a line for it.

A thread of its own formats and writes the lines, in batches, so that a slow terminal or disk never
delays a response. The buffer is bounded: entries that do not fit are counted and reported. When it
is half full, each client has a share of the rest, so that no client can keep others out of the log.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from aserve.http.messages import Request
from aserve.observability.client_shares import ClientShares
from aserve.observability.log_file import PIPE_BUF, LogFile
from aserve.observability.log_formats import MAX_FIELD, MAX_HEAD, Entry, Formatter, shortened

_MAX_QUEUED = 32 << 20  # bytes
_ENTRY_OVERHEAD = 500  # bytes, besides the request's head
_SHARING_FROM = _MAX_QUEUED // 2  # bytes; with more than that queued, each client has its share
_SHORTER_FIELDS = (1_000, 250, 0)  # of MAX_FIELD, where a pipe would not take the line whole
_BATCH_INTERVAL_S = 0.05  # seconds between batches: too short to notice, long enough to fill one
# Bytes, about. Each write hands the interpreter to other threads, so lines are not written singly.
_BATCH_SIZE = 65_536
_WRITE_TIMEOUT_S = 0.25  # seconds to wait for a stalled reader before other work is checked
_MAX_RETRY_DELAY_S = 1.0  # seconds between two attempts to write


class AccessLog:
    """Writes entries to a file, in order; on_error gets a message when that fails.

    Whatever the reason, it continues as soon as it can. Until then lines are queued, as far as
    there is room. Only one thread at a time may record entries.
    """

    def __init__(
        self, file: LogFile | int, formatter: Formatter, on_error: Callable[[str], None]
    ) -> None:
        self._file = LogFile(file) if isinstance(file, int) else file
        self._formatter = formatter
        self._on_error = on_error
        self._entries: deque[tuple[str, Request, int, int, float, float, bool]] = deque()
        self._is_writer_awake = False  # whether the writer has been told that there are entries
        # Each counter is changed by one thread only: by the event loop's, or by the writer.
        self._bytes_queued = 0  # in all, by the event loop
        self._bytes_written = 0  # in all, by the writer
        self._rejected = 0  # requests for which there was no room, by the event loop
        self._discarded = 0  # requests whose lines will never be written, by the writer
        self._reported = 0  # how many of both have been reported
        self._is_losing = False
        self._last_error = ""  # why it cannot write, as reported
        self._last_open_error = ""  # why it cannot reopen its file, as reported
        self._shares = ClientShares(_MAX_QUEUED)
        self._has_entries = threading.Event()
        self._closing = threading.Event()
        self._reopening = threading.Event()
        self._writer = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._writer.start()

    def record(  # noqa: PLR0913, PLR0917 - called for each request: to build an object would cost time
        self,
        client: str,
        request: Request,
        status: int,
        body_size: int,
        started_at: float,
        cut: bool = False,
        /,
    ) -> None:
        """Record a response that was started at a POSIX time and has ended now."""
        if len(request.head) > MAX_HEAD:
            request = shortened(request, MAX_FIELD + 1)  # so that escape sees that it was longer
        size = _ENTRY_OVERHEAD + len(request.head)
        queued = self._bytes_queued - self._bytes_written
        if queued > _SHARING_FROM and not self._shares.take(client, size, _MAX_QUEUED - queued):
            self._rejected += 1
            return
        self._bytes_queued += size
        self._entries.append((client, request, status, body_size, started_at, time.time(), cut))
        if not self._is_writer_awake:
            self._is_writer_awake = True
            self._has_entries.set()

    def reopen(self) -> None:
        """Make the writer reopen the file, which may have been renamed; any thread may call it."""
        self._reopening.set()
        self._has_entries.set()

    def close(self, grace: float) -> None:
        """Write all recorded entries; give up after grace seconds."""
        self._closing.set()
        self._has_entries.set()
        self._writer.join(grace)
        if self._writer.is_alive():
            missing = self._file.pending.count(b"\n") + len(self._entries)
            self._on_error(
                f"access log: its reader has stalled; the last {missing} lines are missing"
            )

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._has_entries.wait()
            self._closing.wait(_BATCH_INTERVAL_S)
            self._has_entries.clear()
            # Before the entries are read, so that the next one sets the event again.
            self._is_writer_awake = False
            is_last = self._closing.is_set()  # before the flush, which then writes all entries
            self._maintain_file()
            self._flush()
        self._report_lost()

    def _maintain_file(self) -> None:
        """Reopen the file if requested, or if it was rotated; if that fails, keep the old one."""
        problem = ""
        try:
            if self._reopening.is_set():
                self._reopening.clear()
                self._file.reopen()
            else:
                self._file.follow()
        except OSError as error:
            problem = f"access log: cannot open {self._file.path!r}: {_reason(error)}"
        if problem and problem != self._last_open_error:
            self._on_error(f"{problem}; still writing to the file that is open")
        self._last_open_error = problem

    def _flush(self) -> None:
        """Write all entries, however long it takes; when closing, make one last attempt."""
        delay = _BATCH_INTERVAL_S
        while self._file.pending or self._entries:
            is_last = self._closing.is_set()
            if not self._file.pending:
                self._file.pending = b"".join(self._next_lines())
            try:
                self._file.write(_WRITE_TIMEOUT_S)
                delay = _BATCH_INTERVAL_S
            except BlockingIOError:  # a stalled reader; close limits how long this lasts
                pass
            except OSError as error:
                self._report_error(
                    f"{_reason(error)}; lines are queued until it can be written again"
                )
                if is_last:
                    self._discard_rest()
                    return
                self._closing.wait(delay)
                delay = min(2 * delay, _MAX_RETRY_DELAY_S)
                self._maintain_file()
            self._report_losing()
        self._report_recovered()

    def _next_lines(self) -> list[bytes]:
        lines: list[bytes] = []
        free = _BATCH_SIZE
        while self._entries and free > 0:
            client, request, status, body_size, started_at, ended_at, cut = self._entries.popleft()
            self._bytes_written += _ENTRY_OVERHEAD + len(request.head)
            entry = Entry(ended_at, client, request, status, body_size, ended_at - started_at, cut)
            line = self._format_line(entry)
            free -= len(line)
            lines.append(line)
        self._shares.reset(self._bytes_written)
        return lines

    def _format_line(self, entry: Entry) -> bytes:
        """Format an entry; shorten it where a pipe would not take its line whole."""
        for max_length in _SHORTER_FIELDS:
            line = (self._formatter(entry) + "\n").encode()
            if len(line) <= PIPE_BUF:
                break
            entry = entry._replace(request=shortened(entry.request, max_length))
        return line

    def _discard_rest(self) -> None:
        """Count the lines that cannot be written before closing as lost, and drop them."""
        self._discarded += self._file.pending.count(b"\n") + len(self._entries)
        self._file.pending = b""
        self._entries.clear()

    def _report_error(self, problem: str) -> None:
        if problem != self._last_error:
            self._last_error = problem
            self._on_error(f"access log: {problem}")

    def _report_losing(self) -> None:
        if not self._is_losing and self._lost:
            self._is_losing = True
            self._on_error(f"access log: too many lines are queued; {self._lost} lost so far")

    def _report_recovered(self) -> None:
        if self._last_error or self._is_losing:
            self._last_error = ""
            self._on_error("access log: writing again")
        self._report_lost()

    def _report_lost(self) -> None:
        if lost := self._lost:
            self._on_error(f"access log: {lost} requests are missing")
            self._reported += lost
        self._is_losing = False

    @property
    def _lost(self) -> int:
        """How many requests are missing that have not been reported."""
        return self._rejected + self._discarded - self._reported


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
