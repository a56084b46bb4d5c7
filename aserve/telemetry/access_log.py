"""One line for each request: in colour for people, in the combined format for programs.

Lines are formatted and written by a thread of their own, in batches, so that a slow terminal or
disk never holds up a reply. The buffer is bounded: what does not fit is counted and said.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from aserve.semantics.messages import Request

_MOST_WAITING = 32 << 20  # octets
_ENTRY_WEIGHT = 500  # octets, beside the request's head
_GATHER = 0.05  # seconds between batches: too short to notice, long enough to fill one
_PIPE_BUF = 4_096  # octets that one write puts into a pipe whole, even among several workers

_RAW = re.compile(r'[\x00-\x1f\x7f-\xff"\\]')


class Entry(NamedTuple):
    """One reply. at: POSIX seconds; octets: of content sent; seconds: until the last octet."""

    at: float
    client: str
    request: Request
    status: int
    octets: int
    seconds: float


Format = Callable[[Entry], str]


class AccessLog:
    """Writes entries to a descriptor, in order. complain is told, once, of what went wrong."""

    def __init__(self, descriptor: int, form: Format, complain: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._form = form
        self._complain = complain
        self._entries: deque[tuple[str, Request, int, int, float, float]] = deque()
        self._awake = False  # whether the writer has been told that there is something
        self._lost = 0
        self._taken = 0  # octets, by the loop
        self._written = 0  # octets, by the writer: each counter has one thread that changes it
        self._filled = threading.Event()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write, name="access-log", daemon=True)
        self._writer.start()

    def observe(
        self, client: str, request: Request, status: int, octets: int, began: float
    ) -> None:
        """Note a reply that began at a POSIX time and has left now."""
        if self._taken - self._written > _MOST_WAITING:
            self._lost += 1
            return
        self._taken += _ENTRY_WEIGHT + len(request.head)
        self._entries.append((client, request, status, octets, began, time.time()))
        if not self._awake:
            self._awake = True
            self._filled.set()

    def close(self, grace: float) -> None:
        """Write what has been noted; give up when nobody takes it for so many seconds."""
        self._closing.set()
        self._filled.set()
        self._writer.join(grace)
        if self._writer.is_alive():
            self._complain("access log: nobody reads it; its last lines are missing")

    def _write(self) -> None:
        put = self._put
        last = False
        while not last:
            self._filled.wait()
            self._closing.wait(_GATHER)
            self._filled.clear()
            self._awake = False  # before the look, so that what comes after it tells again
            last = self._closing.is_set()  # before the flush: what was noted by then is written
            try:
                self._flush(put)
            except OSError as error:
                self._complain(f"access log: {error.strerror}")
                put = self._lose
        if self._lost:
            self._complain(f"access log: {self._lost} requests are missing from it")

    def _flush(self, put: Callable[[list[bytes]], None]) -> None:
        lines: list[bytes] = []
        room = _PIPE_BUF
        while self._entries:
            client, request, status, octets, began, ended = self._entries.popleft()
            entry = Entry(ended, client, request, status, octets, ended - began)
            line = (self._form(entry) + "\n").encode()
            self._written += _ENTRY_WEIGHT + len(request.head)
            room -= len(line)
            if room < 0:
                put(lines)
                lines, room = [], _PIPE_BUF - len(line)
            lines.append(line)
        put(lines)

    def _put(self, lines: list[bytes]) -> None:
        try:
            _write_all(self._descriptor, b"".join(lines))
        except OSError:
            self._lose(lines)
            raise

    def _lose(self, lines: list[bytes]) -> None:
        self._lost += len(lines)


def _write_all(descriptor: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(descriptor, view) :]


def escape(text: str) -> str:
    r"""Return text fit for a log line: controls, non-ASCII, quotes and backslashes as \xHH."""
    return _RAW.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def combined(entry: Entry) -> str:
    """Format an entry as Apache's and nginx's combined log format has it."""
    at, client, request, status, octets, _ = entry
    line, quoted = _quoted(request.head or f"{request.method} {request.target}")
    return f"{client} - - [{_moment(int(at))}] {line} {status} {octets} {quoted}"


@lru_cache(maxsize=16)
def _moment(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


# A head that was remembered comes again and again.
@lru_cache(maxsize=1_024)
def _quoted(head: str) -> tuple[str, str]:
    """Return what is logged of a head: its request line; its Referer and User-Agent."""
    line = head.partition("\r\n")[0]
    return f'"{escape(line)}"', f'"{_field(head, "referer")}" "{_field(head, "user-agent")}"'


def _field(head: str, name: str) -> str:
    found = re.search(rf"\r\n{name}:[ \t]*([^\r]*)", head, re.IGNORECASE)
    return escape(found[1].rstrip(" \t")) if found else "-"


_COLOURS = {2: "32", 3: "36", 4: "33", 5: "31"}


def for_people(columns: int, *, coloured: bool) -> Format:
    """Return a format for a terminal of so many columns."""
    room = max(16, columns - 61)

    def form(entry: Entry) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(entry.at))
        target = escape(entry.request.target) or "-"
        method = escape(entry.request.method)[:16] or "-"
        status = str(entry.status)
        if coloured:
            status = f"\x1b[{_COLOURS.get(entry.status // 100, '0')}m{status}\x1b[0m"
        return (
            f"{at}  {entry.client:<15}  {method:<4} {target:<{room}}  {status}"
            f"  {entry.octets:>9,} B  {entry.seconds * 1000:>6.1f} ms"
        )

    return form
