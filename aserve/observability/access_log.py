"""One line for each request: in color on a terminal, in the combined format for programs.

A thread of its own formats and writes the lines, in batches, so that a slow terminal or disk never
delays a response. The buffer is bounded: entries that do not fit are counted and reported. When it
is half full, each client has a share of the rest, so that no client can keep others out of the log.
"""

import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from aserve.http.messages import Request
from aserve.observability.log_file import PIPE_BUF, LogFile

_MAX_QUEUED = 32 << 20  # bytes
_ENTRY_OVERHEAD = 500  # bytes, besides the request's head
_SHARING_FROM = _MAX_QUEUED // 2  # bytes; with more than that queued, each client has its share
_SHARES = 32  # parts of the free space, of which one client may use one
MAX_FIELD = 1_024  # characters of a line's request line, Referer and User-Agent, each
_SHORTER_FIELDS = (1_000, 250, 0)  # the same, where a pipe would not take the line whole
_MAX_HEAD = 2_048  # bytes; of a longer head only the logged parts are kept, and they are not cached
_BATCH_INTERVAL_S = 0.05  # seconds between batches: too short to notice, long enough to fill one
# Bytes, about. Each write hands the interpreter to other threads, so lines are not written singly.
_BATCH_SIZE = 65_536
_WRITE_TIMEOUT_S = 0.25  # seconds to wait for a stalled reader before other work is checked
_MAX_RETRY_DELAY_S = 1.0  # seconds between two attempts to write

_LOGGED = re.compile(r"\r\n(referer|user-agent):[ \t]*([^\r]*)", re.IGNORECASE)
_RAW = re.compile(r'[\x00-\x1f\x7f-\xff"\\]')
# One call for the whole text: 31 us for 1,024 bytes of 0xff, against 613 by a function for each.
_ESCAPED = [f"\\x{n:02x}" if _RAW.match(chr(n)) else chr(n) for n in range(256)]

_MAX_SHOWN = 240  # characters of a target, before they are escaped, on any terminal
_CUT = "..."


class Entry(NamedTuple):
    """One response.

    at: POSIX seconds when it ended; body_size: bytes of the body that were sent; duration: seconds
    until the last byte; cut: the connection was closed before the response was complete.
    """

    at: float
    client: str
    request: Request
    status: int
    body_size: int
    duration: float
    cut: bool = False


Formatter = Callable[[Entry], str]


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
        self._shares = ClientShares()
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
        if len(request.head) > _MAX_HEAD:
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


class ClientShares:
    """The share of the queue's free space that each client may use once the queue is half full.

    It is a fraction of the free space, so that a few hundred addresses cannot fill it for all
    others.
    """

    def __init__(self) -> None:
        self._by_client: Counter[str | bytes] = Counter()
        self._until = 0

    def take(self, client: str, size: int, free: int) -> bool:
        """Use size bytes of a client's share of the free bytes; return False if it has fewer."""
        key = _network(client)
        if (self._by_client[key] + size) * _SHARES > free:
            return False
        self._by_client[key] += size
        return True

    def reset(self, written: int) -> None:
        """Reset all shares once everything that was queued at the last reset has been written."""
        if written >= self._until:
            self._until = written + _MAX_QUEUED
            # A new one: another thread may still count in the old one.
            self._by_client = Counter()


def _network(client: str) -> str | bytes:
    """Return the key of a client's share: for IPv6 the /64, since a subscriber has all of it."""
    if ":" not in client or "." in client:  # IPv4, also as a dual-stack socket reports it
        return client
    try:
        return socket.inet_pton(socket.AF_INET6, client.partition("%")[0])[:8]
    except OSError:
        return client


def shortened(request: Request, max_length: int) -> Request:
    """Return a request with only its logged parts, each of at most max_length characters."""
    # Of a repeated header, the first one is logged.
    logged = {name.lower(): value for name, value in reversed(_LOGGED.findall(request.head))}
    headers = [f"{name}: {value[:max_length]}" for name, value in logged.items()]
    line = request.head.partition("\r\n")[0][:max_length]
    head = "\r\n".join((line, *headers, "", "")) if line else ""
    method, target = request.method[:max_length], request.target[:max_length]
    return Request(method, target, head=head, error=request.error, received=request.received)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def escape(text: str) -> str:
    r"""Return text that is safe in a log line: controls, non-ASCII, quotes, backslashes as \xHH.

    A text longer than a field of a line may be is cut, and ends in three dots.
    """
    beginning = text[: MAX_FIELD + 1]
    if _RAW.search(beginning):
        beginning = beginning.translate(_ESCAPED)
    if len(beginning) <= MAX_FIELD:
        return beginning
    short = beginning[: MAX_FIELD - len(_CUT)]
    last = short.rfind("\\", -3)  # each backslash now begins an escape of four characters
    return (short if last < 0 else short[:last]) + _CUT


def combined_format(entry: Entry) -> str:
    """Format an entry in the combined log format of Apache and nginx.

    Where a body was received, its size follows the last field, and "cut" where the response was cut
    short: parsers of that format do not read beyond its fields.
    """
    at, client, request, status, body_size, _, cut = entry
    head = request.head or f"{request.method} {request.target}".strip()
    line, quoted = (_quoted if len(head) <= _MAX_HEAD else _quote)(head)
    mark = f' "received {request.received}"' if request.received else ""
    mark += ' "cut"' if cut else ""
    return f"{client} - - [{_format_time(int(at))}] {line} {status} {body_size} {quoted}{mark}"


@lru_cache(maxsize=16)
def _format_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def _quote(head: str) -> tuple[str, str]:
    """Return the logged parts of a head, in quotes: request line; Referer and User-Agent."""
    line = escape(head.partition("\r\n")[0]) or "-"
    return f'"{line}"', f'"{_header(head, "referer")}" "{_header(head, "user-agent")}"'


# The heads of cached responses come again and again.
_quoted = lru_cache(maxsize=1_024)(_quote)


def _header(head: str, name: str) -> str:
    found = re.search(rf"\r\n{name}:[ \t]*([^\r]*)", head, re.IGNORECASE)
    return escape(found[1].rstrip(" \t")) if found else "-"


_COLORS = {2: "32", 3: "36", 4: "33", 5: "31"}


def terminal_format(columns: int, *, use_color: bool) -> Formatter:
    """Return a formatter whose lines fit a terminal of so many columns, whatever the entry.

    The size is that of the response, or with a "+" that of the body that the client has sent.
    """
    width = max(20, columns - 57)

    def format_entry(entry: Entry) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(entry.at))
        client, request = _shorten(entry.client, 15), _describe_request(entry.request, width)
        status = str(entry.status)
        if use_color:
            status = f"\x1b[{_COLORS.get(entry.status // 100, '0')}m{status}\x1b[0m"
        mark = "  cut" if entry.cut else ""
        size = _format_size(entry.body_size)
        if received := entry.request.received:
            size = _format_received(received)
        duration = _format_duration(entry.duration)
        return f"{at}  {client:<15}  {request:<{width}}  {status}  {size:>12}  {duration:>9}{mark}"

    return format_entry


def _describe_request(request: Request, width: int) -> str:
    """Return method and target, or the beginning of the error where they could not be parsed."""
    if request.method and request.target:
        target = escape(_shorten(request.target, _MAX_SHOWN))
        return _shorten(f"{_shorten(escape(request.method), 16):<4} {target}", width)
    if not request.error:
        return _shorten(escape(request.method) or "-", width)
    detail = request.error.detail.removeprefix("This is ")
    return detail if len(detail) <= width else detail[: width - len(_CUT)] + _CUT


def _shorten(text: str, width: int) -> str:
    """Return text without its middle where it is too wide: its ends identify it."""
    if len(text) <= width:
        return text
    tail = (width - len(_CUT)) // 2
    return text[: width - len(_CUT) - tail] + _CUT + text[-tail:]


def _format_size(size: int) -> str:
    """Return a number of bytes in at most 12 characters."""
    return f"{size:,} B" if size < 100_000_000 else f"{size / 1e6:,.0f} MB"


def _format_received(size: int) -> str:
    """Return how many bytes a client has sent, in at most 12 characters."""
    return f"+{size:,} B" if size < 10_000_000 else f"+{size / 1e6:,.0f} MB"


def _format_duration(seconds: float) -> str:
    """Return a duration in at most 9 characters."""
    return f"{seconds * 1000:.1f} ms" if seconds < 9.99995 else f"{seconds:.1f} s"
