"""One line for each request: in colour for people, in the combined format for programs.

Lines are formatted and written by a thread of their own, in batches, so that a slow terminal or
disk never holds up a reply. The buffer is bounded: what does not fit is counted and said. When it
is half full, each client has a share of the rest, so that nobody can keep others out of the log.
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

_MAX_QUEUED = 32 << 20  # octets
_ENTRY_WEIGHT = 500  # octets, beside the request's head
_SHARING_FROM = _MAX_QUEUED // 2  # octets; from here on each client has its share
_MAX_SHARES = 32  # of the room that is left, for one client
_MAX_FIELD = 1_024  # characters of a line's request line, Referer and User-Agent, each
_SHORTER_PARTS = (1_000, 250, 0)  # of them, where no pipe would take the line whole
_MAX_HEAD = 2_048  # octets; of a longer head only what is logged is kept, and nothing is cached
_BATCH_INTERVAL_S = 0.05  # seconds between batches: too short to notice, long enough to fill one
_BATCH_SIZE = (
    65_536  # octets, about: to write gives other threads the interpreter, so not each line
)
_WRITE_TIMEOUT_S = 0.25  # seconds that a reader who stands still is waited for before a look around
_MAX_RETRY_DELAY_S = 1.0  # seconds between two tries to write

_LOGGED = re.compile(r"\r\n(referer|user-agent):[ \t]*([^\r]*)", re.IGNORECASE)
_RAW = re.compile(r'[\x00-\x1f\x7f-\xff"\\]')
# By one call for the whole text: 31 us for 1,024 octets of 0xff, and 613 by a function for each.
_ESCAPED = [f"\\x{n:02x}" if _RAW.match(chr(n)) else chr(n) for n in range(256)]

_MAX_SHOWN = 240  # characters of a target, before they are escaped, on any terminal
_CUT = "..."


class Entry(NamedTuple):
    """One reply. at: POSIX seconds; octets: of content sent; seconds: until the last octet.

    cut: the client left, or was left, before the reply was complete.
    """

    at: float
    client: str
    request: Request
    status: int
    octets: int
    seconds: float
    cut: bool = False


Formatter = Callable[[Entry], str]


class AccessLog:
    """Writes entries to a file, in order, and tells complain what keeps it from that, and when.

    Whatever the reason, it goes on as soon as it can; lines wait until then, as far as there is
    room for them. It is filled by one thread at a time.
    """

    def __init__(
        self, file: LogFile | int, formatter: Formatter, on_error: Callable[[str], None]
    ) -> None:
        self._file = LogFile(file) if isinstance(file, int) else file
        self._formatter = formatter
        self._on_error = on_error
        self._entries: deque[tuple[str, Request, int, int, float, float, bool]] = deque()
        self._is_writer_awake = False  # whether the writer has been told that there is something
        self._bytes_queued = 0  # octets, by the loop
        self._bytes_written = (
            0  # octets, by the writer: each counter has one thread that changes it
        )
        self._rejected = 0  # requests for which there was no room, by the loop
        self._discarded = 0  # requests whose lines will never be written, by the writer
        self._reported = 0  # of both, when last spoken of
        self._is_losing = False
        self._last_error = ""  # what keeps it from writing, as it has been told
        self._last_open_error = ""  # what keeps it from opening its file anew, likewise
        self._shares = ClientShares()
        self._has_entries = threading.Event()
        self._closing = threading.Event()
        self._reopening = threading.Event()
        self._writer = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._writer.start()

    def record(  # noqa: PLR0913, PLR0917 - called for each request: no time for a value of its own
        self,
        client: str,
        request: Request,
        status: int,
        octets: int,
        began: float,
        cut: bool = False,
        /,
    ) -> None:
        """Note a reply that began at a POSIX time and has left now."""
        if len(request.head) > _MAX_HEAD:
            request = shortened(request, _MAX_FIELD + 1)  # by which escape sees that it was longer
        weight = _ENTRY_WEIGHT + len(request.head)
        waiting = self._bytes_queued - self._bytes_written
        if waiting > _SHARING_FROM and not self._shares.take(client, weight, _MAX_QUEUED - waiting):
            self._rejected += 1
            return
        self._bytes_queued += weight
        self._entries.append((client, request, status, octets, began, time.time(), cut))
        if not self._is_writer_awake:
            self._is_writer_awake = True
            self._has_entries.set()

    def reopen(self) -> None:
        """Have the file opened anew, whose name may have become another one's; any thread may."""
        self._reopening.set()
        self._has_entries.set()

    def close(self, grace: float) -> None:
        """Write what has been noted; give up when nobody takes it for so many seconds."""
        self._closing.set()
        self._has_entries.set()
        self._writer.join(grace)
        if self._writer.is_alive():
            missing = self._file.pending.count(b"\n") + len(self._entries)
            self._on_error(f"access log: nobody reads it; its last {missing} lines are missing")

    def _run(self) -> None:
        last = False
        while not last:
            self._has_entries.wait()
            self._closing.wait(_BATCH_INTERVAL_S)
            self._has_entries.clear()
            self._is_writer_awake = (
                False  # before the look, so that what comes after it tells again
            )
            last = self._closing.is_set()  # before the flush: what was noted by then is written
            self._maintain_file()
            self._flush()
        self._report_lost()

    def _maintain_file(self) -> None:
        """Open the file anew when told to, or when its name is another's; or go on with the old."""
        trouble = ""
        try:
            if self._reopening.is_set():
                self._reopening.clear()
                self._file.reopen()
            else:
                self._file.follow()
        except OSError as error:
            trouble = f"access log: cannot open {self._file.path!r}: {_reason(error)}"
        if trouble and trouble != self._last_open_error:
            self._on_error(f"{trouble}; the file that is open is still written to")
        self._last_open_error = trouble

    def _flush(self) -> None:
        """Write all that is there, however long it takes; at the end there is one last try."""
        pause = _BATCH_INTERVAL_S
        while self._file.pending or self._entries:
            is_last = self._closing.is_set()
            if not self._file.pending:
                self._file.pending = b"".join(self._next_lines())
            try:
                self._file.write(_WRITE_TIMEOUT_S)
                pause = _BATCH_INTERVAL_S
            except BlockingIOError:  # a reader that stands still; close knows how long to wait
                pass
            except OSError as error:
                self._report_error(f"{_reason(error)}; lines wait until it can be written again")
                if is_last:
                    self._discard_rest()
                    return
                self._closing.wait(pause)
                pause = min(2 * pause, _MAX_RETRY_DELAY_S)
                self._maintain_file()
            self._report_losing()
        self._report_recovered()

    def _next_lines(self) -> list[bytes]:
        lines: list[bytes] = []
        room = _BATCH_SIZE
        while self._entries and room > 0:
            client, request, status, octets, began, ended, cut = self._entries.popleft()
            self._bytes_written += _ENTRY_WEIGHT + len(request.head)
            entry = Entry(ended, client, request, status, octets, ended - began, cut)
            line = self._format_line(entry)
            room -= len(line)
            lines.append(line)
        self._shares.reset(self._bytes_written)
        return lines

    def _format_line(self, entry: Entry) -> bytes:
        """Format an entry, shortened where no pipe would take its line whole."""
        for most in _SHORTER_PARTS:
            line = (self._formatter(entry) + "\n").encode()
            if len(line) <= PIPE_BUF:
                break
            entry = entry._replace(request=shortened(entry.request, most))
        return line

    def _discard_rest(self) -> None:
        """Count as lost what cannot be written before the end; a second look finds nothing."""
        self._discarded += self._file.pending.count(b"\n") + len(self._entries)
        self._file.pending = b""
        self._entries.clear()

    def _report_error(self, trouble: str) -> None:
        if trouble != self._last_error:
            self._last_error = trouble
            self._on_error(f"access log: {trouble}")

    def _report_losing(self) -> None:
        if not self._is_losing and self._lost:
            self._is_losing = True
            self._on_error(
                f"access log: too many lines wait to be written; {self._lost} lost so far"
            )

    def _report_recovered(self) -> None:
        if self._last_error or self._is_losing:
            self._last_error = ""
            self._on_error("access log: it is written again")
        self._report_lost()

    def _report_lost(self) -> None:
        if lost := self._lost:
            self._on_error(f"access log: {lost} requests are missing from it")
            self._reported += lost
        self._is_losing = False

    @property
    def _lost(self) -> int:
        """How many requests are missing that have not been told of."""
        return self._rejected + self._discarded - self._reported


class ClientShares:
    """What each client may put into the room that is left when lines come faster than they go.

    A part of what is left, so that a few hundred addresses cannot fill it for all others.
    """

    def __init__(self) -> None:
        self._by_client: Counter[str | bytes] = Counter()
        self._until = 0

    def take(self, client: str, weight: int, room: int) -> bool:
        """Take so many octets for a client, if its share has them."""
        key = _network(client)
        if (self._by_client[key] + weight) * _MAX_SHARES > room:
            return False
        self._by_client[key] += weight
        return True

    def reset(self, written: int) -> None:
        """Begin anew when all that could wait back then has been written."""
        if written >= self._until:
            self._until = written + _MAX_QUEUED
            self._by_client = Counter()  # not cleared: another thread may count in the old one


def _network(client: str) -> str | bytes:
    """Return whose share an address uses: of IPv6, a subscriber has all of a /64."""
    if ":" not in client or "." in client:  # IPv4, as a dual-stack socket has it, too
        return client
    try:
        return socket.inet_pton(socket.AF_INET6, client.partition("%")[0])[:8]
    except OSError:
        return client


def shortened(request: Request, most: int) -> Request:
    """Return what is logged of a request, each part of it with at most so many characters."""
    # Of a header that comes more than once, the first is logged.
    logged = {name.lower(): value for name, value in reversed(_LOGGED.findall(request.head))}
    parts = [f"{name}: {value[:most]}" for name, value in logged.items()]
    line = request.head.partition("\r\n")[0][:most]
    head = "\r\n".join((line, *parts, "", "")) if line else ""
    return Request(request.method[:most], request.target[:most], head=head)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def escape(text: str) -> str:
    r"""Return text fit for a log line: controls, non-ASCII, quotes and backslashes as \xHH.

    What is longer than a field of a line may be ends in three dots.
    """
    beginning = text[: _MAX_FIELD + 1]
    if _RAW.search(beginning):
        beginning = beginning.translate(_ESCAPED)
    if len(beginning) <= _MAX_FIELD:
        return beginning
    kept = beginning[: _MAX_FIELD - len(_CUT)]
    last = kept.rfind("\\", -3)  # each backslash that is left begins an escape of four
    return (kept if last < 0 else kept[:last]) + _CUT


def combined_format(entry: Entry) -> str:
    """Format an entry as Apache's and nginx's combined log format has it.

    Behind its last field there is "cut" where the response was cut short: whoever reads that
    format looks no further than its fields.
    """
    at, client, request, status, octets, _, cut = entry
    head = request.head or f"{request.method} {request.target}".strip()
    line, quoted = (_quoted if len(head) <= _MAX_HEAD else _quote)(head)
    mark = ' "cut"' if cut else ""
    return f"{client} - - [{_format_time(int(at))}] {line} {status} {octets} {quoted}{mark}"


@lru_cache(maxsize=16)
def _format_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def _quote(head: str) -> tuple[str, str]:
    """Return what is logged of a head: its request line; its Referer and User-Agent."""
    line = escape(head.partition("\r\n")[0]) or "-"
    return f'"{line}"', f'"{_field(head, "referer")}" "{_field(head, "user-agent")}"'


# A head that was remembered comes again and again.
_quoted = lru_cache(maxsize=1_024)(_quote)


def _field(head: str, name: str) -> str:
    found = re.search(rf"\r\n{name}:[ \t]*([^\r]*)", head, re.IGNORECASE)
    return escape(found[1].rstrip(" \t")) if found else "-"


_COLORS = {2: "32", 3: "36", 4: "33", 5: "31"}


def terminal_format(columns: int, *, use_color: bool) -> Formatter:
    """Return a format for a terminal of so many columns, whatever is in an entry."""
    room = max(20, columns - 57)

    def form(entry: Entry) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(entry.at))
        client, asked = _shorten(entry.client, 15), _describe_request(entry.request, room)
        status = str(entry.status)
        if use_color:
            status = f"\x1b[{_COLORS.get(entry.status // 100, '0')}m{status}\x1b[0m"
        mark = "  cut" if entry.cut else ""
        sent, took = _format_size(entry.octets), _format_duration(entry.seconds)
        return f"{at}  {client:<15}  {asked:<{room}}  {status}  {sent:>12}  {took:>9}{mark}"

    return form


def _describe_request(request: Request, room: int) -> str:
    """Return method and target; where nobody could tell them, why, of which the beginning tells."""
    if request.method and request.target:
        target = escape(_shorten(request.target, _MAX_SHOWN))
        return _shorten(f"{_shorten(escape(request.method), 16):<4} {target}", room)
    if not request.error:
        return _shorten(escape(request.method) or "-", room)
    why = request.error.detail.removeprefix("This is ")
    return why if len(why) <= room else why[: room - len(_CUT)] + _CUT


def _shorten(text: str, width: int) -> str:
    """Return text, its middle left out where it is too wide: what tells it apart is at its ends."""
    if len(text) <= width:
        return text
    tail = (width - len(_CUT)) // 2
    return text[: width - len(_CUT) - tail] + _CUT + text[-tail:]


def _format_size(octets: int) -> str:
    """Return octets in at most 12 characters."""
    return f"{octets:,} B" if octets < 100_000_000 else f"{octets / 1e6:,.0f} MB"


def _format_duration(seconds: float) -> str:
    """Return a time in at most 9 characters."""
    return f"{seconds * 1000:.1f} ms" if seconds < 9.99995 else f"{seconds:.1f} s"
