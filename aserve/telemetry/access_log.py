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

from aserve.semantics.messages import Request
from aserve.telemetry.log_file import PIPE_BUF, LogFile

_MOST_WAITING = 32 << 20  # octets
_ENTRY_WEIGHT = 500  # octets, beside the request's head
_CROWDED = _MOST_WAITING // 2  # octets; from here on each client has its share
_MOST_SHARES = 32  # of the room that is left, for one client
_MAX_FIELD = 1_024  # characters of a line's request line, Referer and User-Agent, each
_SHORTER = (1_000, 250, 0)  # of them, where no pipe would take the line whole
_LONG_HEAD = 2_048  # octets; of a longer head only what is logged is kept, and nothing is cached
_GATHER = 0.05  # seconds between batches: too short to notice, long enough to fill one
_BATCH = 65_536  # octets, about: to write gives other threads the interpreter, so not each line
_PATIENCE = 0.25  # seconds that a reader who stands still is waited for before a look around
_LONGEST_PAUSE = 1.0  # seconds between two tries to write

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


Format = Callable[[Entry], str]


class AccessLog:
    """Writes entries to a file, in order, and tells complain what keeps it from that, and when.

    Whatever the reason, it goes on as soon as it can; lines wait until then, as far as there is
    room for them. It is filled by one thread at a time.
    """

    def __init__(self, file: LogFile | int, form: Format, complain: Callable[[str], None]) -> None:
        self._file = LogFile(file) if isinstance(file, int) else file
        self._form = form
        self._complain = complain
        self._entries: deque[tuple[str, Request, int, int, float, float, bool]] = deque()
        self._awake = False  # whether the writer has been told that there is something
        self._taken = 0  # octets, by the loop
        self._written = 0  # octets, by the writer: each counter has one thread that changes it
        self._refused = 0  # requests for which there was no room, by the loop
        self._given_up = 0  # requests whose lines will never be written, by the writer
        self._told = 0  # of both, when last spoken of
        self._is_losing = False
        self._trouble = ""  # what keeps it from writing, as it has been told
        self._name_trouble = ""  # what keeps it from opening its file anew, likewise
        self._shares = Shares()
        self._filled = threading.Event()
        self._closing = threading.Event()
        self._reopening = threading.Event()
        self._writer = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._writer.start()

    def observe(  # noqa: PLR0913, PLR0917 - called for each request: no time for a value of its own
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
        if len(request.head) > _LONG_HEAD:
            request = shortened(request, _MAX_FIELD + 1)  # by which escape sees that it was longer
        weight = _ENTRY_WEIGHT + len(request.head)
        waiting = self._taken - self._written
        if waiting > _CROWDED and not self._shares.take(client, weight, _MOST_WAITING - waiting):
            self._refused += 1
            return
        self._taken += weight
        self._entries.append((client, request, status, octets, began, time.time(), cut))
        if not self._awake:
            self._awake = True
            self._filled.set()

    def reopen(self) -> None:
        """Have the file opened anew, whose name may have become another one's; any thread may."""
        self._reopening.set()
        self._filled.set()

    def close(self, grace: float) -> None:
        """Write what has been noted; give up when nobody takes it for so many seconds."""
        self._closing.set()
        self._filled.set()
        self._writer.join(grace)
        if self._writer.is_alive():
            missing = self._file.waiting.count(b"\n") + len(self._entries)
            self._complain(f"access log: nobody reads it; its last {missing} lines are missing")

    def _write(self) -> None:
        last = False
        while not last:
            self._filled.wait()
            self._closing.wait(_GATHER)
            self._filled.clear()
            self._awake = False  # before the look, so that what comes after it tells again
            last = self._closing.is_set()  # before the flush: what was noted by then is written
            self._look_after_file()
            self._flush()
        self._say_how_many_are_lost()

    def _look_after_file(self) -> None:
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
        if trouble and trouble != self._name_trouble:
            self._complain(f"{trouble}; the file that is open is still written to")
        self._name_trouble = trouble

    def _flush(self) -> None:
        """Write all that is there, however long it takes; at the end there is one last try."""
        pause = _GATHER
        while self._file.waiting or self._entries:
            is_last = self._closing.is_set()
            if not self._file.waiting:
                self._file.waiting = b"".join(self._next_lines())
            try:
                self._file.write(_PATIENCE)
                pause = _GATHER
            except BlockingIOError:  # a reader that stands still; close knows how long to wait
                pass
            except OSError as error:
                self._say_once(f"{_reason(error)}; lines wait until it can be written again")
                if is_last:
                    self._give_up()
                    return
                self._closing.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._look_after_file()
            self._say_that_lines_are_lost()
        self._say_that_it_goes_on()

    def _next_lines(self) -> list[bytes]:
        lines: list[bytes] = []
        room = _BATCH
        while self._entries and room > 0:
            client, request, status, octets, began, ended, cut = self._entries.popleft()
            self._written += _ENTRY_WEIGHT + len(request.head)
            entry = Entry(ended, client, request, status, octets, ended - began, cut)
            line = self._line(entry)
            room -= len(line)
            lines.append(line)
        self._shares.renew(self._written)
        return lines

    def _line(self, entry: Entry) -> bytes:
        """Format an entry, shortened where no pipe would take its line whole."""
        for most in _SHORTER:
            line = (self._form(entry) + "\n").encode()
            if len(line) <= PIPE_BUF:
                break
            entry = entry._replace(request=shortened(entry.request, most))
        return line

    def _give_up(self) -> None:
        """Count as lost what cannot be written before the end; a second look finds nothing."""
        self._given_up += self._file.waiting.count(b"\n") + len(self._entries)
        self._file.waiting = b""
        self._entries.clear()

    def _say_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._complain(f"access log: {trouble}")

    def _say_that_lines_are_lost(self) -> None:
        if not self._is_losing and self._lost:
            self._is_losing = True
            self._complain(
                f"access log: too many lines wait to be written; {self._lost} lost so far"
            )

    def _say_that_it_goes_on(self) -> None:
        if self._trouble or self._is_losing:
            self._trouble = ""
            self._complain("access log: it is written again")
        self._say_how_many_are_lost()

    def _say_how_many_are_lost(self) -> None:
        if lost := self._lost:
            self._complain(f"access log: {lost} requests are missing from it")
            self._told += lost
        self._is_losing = False

    @property
    def _lost(self) -> int:
        """How many requests are missing that have not been told of."""
        return self._refused + self._given_up - self._told


class Shares:
    """What each client may put into the room that is left when lines come faster than they go.

    A part of what is left, so that a few hundred addresses cannot fill it for all others.
    """

    def __init__(self) -> None:
        self._by_client: Counter[str | bytes] = Counter()
        self._until = 0

    def take(self, client: str, weight: int, room: int) -> bool:
        """Take so many octets for a client, if its share has them."""
        key = _network(client)
        if (self._by_client[key] + weight) * _MOST_SHARES > room:
            return False
        self._by_client[key] += weight
        return True

    def renew(self, written: int) -> None:
        """Begin anew when all that could wait back then has been written."""
        if written >= self._until:
            self._until = written + _MOST_WAITING
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


def combined(entry: Entry) -> str:
    """Format an entry as Apache's and nginx's combined log format has it.

    Behind its last field there is "cut" where the response was cut short: whoever reads that
    format looks no further than its fields.
    """
    at, client, request, status, octets, _, cut = entry
    head = request.head or f"{request.method} {request.target}".strip()
    line, quoted = (_quoted if len(head) <= _LONG_HEAD else _quote)(head)
    mark = ' "cut"' if cut else ""
    return f"{client} - - [{_moment(int(at))}] {line} {status} {octets} {quoted}{mark}"


@lru_cache(maxsize=16)
def _moment(second: int) -> str:
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


_COLOURS = {2: "32", 3: "36", 4: "33", 5: "31"}


def for_people(columns: int, *, coloured: bool) -> Format:
    """Return a format for a terminal of so many columns, whatever is in an entry."""
    room = max(20, columns - 57)

    def form(entry: Entry) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(entry.at))
        client, asked = _shorten(entry.client, 15), _asked(entry.request, room)
        status = str(entry.status)
        if coloured:
            status = f"\x1b[{_COLOURS.get(entry.status // 100, '0')}m{status}\x1b[0m"
        mark = "  cut" if entry.cut else ""
        sent, took = _amount(entry.octets), _duration(entry.seconds)
        return f"{at}  {client:<15}  {asked:<{room}}  {status}  {sent:>12}  {took:>9}{mark}"

    return form


def _asked(request: Request, room: int) -> str:
    """Return method and target; where nobody could tell them, why, of which the beginning tells."""
    if request.method and request.target:
        target = escape(_shorten(request.target, _MAX_SHOWN))
        return _shorten(f"{_shorten(escape(request.method), 16):<4} {target}", room)
    if not request.refusal:
        return _shorten(escape(request.method) or "-", room)
    why = request.refusal.why.removeprefix("This is ")
    return why if len(why) <= room else why[: room - len(_CUT)] + _CUT


def _shorten(text: str, width: int) -> str:
    """Return text, its middle left out where it is too wide: what tells it apart is at its ends."""
    if len(text) <= width:
        return text
    tail = (width - len(_CUT)) // 2
    return text[: width - len(_CUT) - tail] + _CUT + text[-tail:]


def _amount(octets: int) -> str:
    """Return octets in at most 12 characters."""
    return f"{octets:,} B" if octets < 100_000_000 else f"{octets / 1e6:,.0f} MB"


def _duration(seconds: float) -> str:
    """Return a time in at most 9 characters."""
    return f"{seconds * 1000:.1f} ms" if seconds < 9.99995 else f"{seconds:.1f} s"
