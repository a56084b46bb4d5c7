"""Make one request of a server that is watched, and gather what happened."""

import os
import shutil
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from aserve.explain.events import CLIENT, Call, Event, calls, marks
from aserve.explain.words import AWAIT, WORDS, words
from aserve.settings import SettingsError

_PATIENCE_S = 30.0
_SETTLE_S = 0.1  # after the client has closed, for the server to notice and be done
_SLACK_S = 0.02  # strace that is kept from running dates the end of a call too early by so much
_HOST = "127.0.0.1"
_SENT_AS_TYPED = string.punctuation  # a file's name may have blanks, a request's target may not
_GREETING = b"OPTIONS * HTTP/1.1\r\nHost: explain\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Story:
    """What happened in order; `threads` has the name of each, `kernel` whether strace was there."""

    model: str
    target: str
    status: str
    events: tuple[Event, ...]
    threads: dict[int, str]
    kernel: bool


def look(folder: Path, target: str, model: str, *, cold: bool, again: bool) -> Story:
    """Have `target` of `folder` served by `model` once, and tell what happened.

    With `cold`, the kernel is asked to forget the files' contents before; with `again`, the
    request was made twice before. Raises SettingsError when the request cannot be made.
    """
    if not target.startswith("/"):
        raise SettingsError("PATH", f"must begin with a slash, as /index.html, not {target!r}")
    target = quote(target, safe=_SENT_AS_TYPED)
    tracer = shutil.which("strace")
    with tempfile.TemporaryDirectory(prefix="aserve-explain-") as place:
        with _server(folder, model, Path(place), tracer) as port:
            _exchange(port, _GREETING)
            for _ in range(3 if again else 0):  # a reply is remembered when it is asked for twice
                _exchange(port, _request(target))
            if cold:
                _forget_contents(folder)
            client = _exchange(port, _request(target))
        since, until = client[0].at, client[-1].at + _SETTLE_S
        server, threads = _of_server(Path(place), since, until)
    events = sorted([*client, *server], key=lambda event: event.at)
    return Story(model, target, client[-2].detail, tuple(_merged(events)), threads, bool(tracer))


@contextmanager
def _server(folder: Path, model: str, place: Path, tracer: str | None) -> Iterator[int]:
    """Have a watched server for as long as the context lasts, and yield its port."""
    with socket.create_server((_HOST, 0)) as listener, (place / "marks").open("wb") as file:
        kept = (listener.fileno(), file.fileno())
        # -P: nothing is to be imported from whatever folder this is called in.
        words = [sys.executable, "-P", "-m", "aserve.explain.traced", str(kept[1]), str(kept[0])]
        if tracer:
            wanted = ",".join(f"?{name}" for name in WORDS)
            seen = ["-f", "-ttt", "-T", "-yy", "-s", "200", "-e", f"trace={wanted}"]
            words = [tracer, *seen, "-o", str(place / "calls"), "--", *words]
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [*words, str(folder), model],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=kept,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            yield listener.getsockname()[1]
        finally:
            process.communicate(timeout=_PATIENCE_S)


def _request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode()


def _exchange(port: int, request: bytes) -> list[Event]:
    """Make a request on a connection of its own, read all of the reply, and close."""
    events = [Event(time.time(), CLIENT, "connects", with_kernel=True)]
    with socket.create_connection((_HOST, port), timeout=_PATIENCE_S) as connection:
        events.append(
            Event(time.time(), CLIENT, f"sends {len(request)} octets: {_first(request)}", True)
        )
        connection.sendall(request)
        reply = _reply(connection)
        status = _first(reply)
        what = f"has all {len(reply):,} octets: {status}"
        events.append(Event(time.time(), CLIENT, what, with_kernel=True, detail=status))
    events.append(Event(time.time(), CLIENT, "closes", with_kernel=True))
    time.sleep(_SETTLE_S)
    return events


def _first(octets: bytes) -> str:
    return octets.partition(b"\r\n")[0].decode("latin-1")


def _reply(connection: socket.socket) -> bytes:
    """Read one reply, whose head says how long it is."""
    octets = bytearray()
    while b"\r\n\r\n" not in octets:
        octets += _some(connection)
    head, _, body = bytes(octets).partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    octets = connection.recv(65_536)
    if not octets:
        raise SettingsError("PATH", "the server has closed without a reply")
    return octets


def _forget_contents(folder: Path) -> None:
    """Ask the kernel to keep nothing of the files' contents in memory (posix_fadvise(2))."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _of_server(place: Path, since: float, until: float) -> tuple[list[Event], dict[int, str]]:
    """Return what the server's threads did in that time, and their names."""
    threads: dict[int, str] = {}
    events: list[Event] = []
    with (place / "marks").open() as lines:
        for at, thread, kind, text in marks(lines):
            if kind == "thread":
                threads[thread] = text
            elif since <= at <= until:
                events.append(Event(at, thread, text, with_kernel=kind == "ring"))
    if (place / "calls").exists():
        with (place / "calls").open(errors="replace") as lines:
            events += _told(calls(lines), since, until)
    busy = {event.thread for event in events}
    return events, {thread: name for thread, name in threads.items() if thread in busy}


def _told(found: Iterable[Call], since: float, until: float) -> Iterator[Event]:
    for call in found:
        is_in_time = since - _SLACK_S * _takes_a_connection(call) <= call.at <= until
        if not is_in_time or _is_housekeeping(call):
            continue
        if text := words(call):
            detail = f"{call.name}({call.arguments}) = {call.result}"
            at = call.at if call.name in AWAIT else call.began
            yield Event(max(at, since), call.thread, text, with_kernel=True, detail=detail)


def _takes_a_connection(call: Call) -> bool:
    """Whether this is the accept of our client: no other one comes, so it is none of before."""
    return call.name.startswith("accept") and call.number >= 0


def _is_housekeeping(call: Call) -> bool:
    """Whether a call is the server's own affair, as the look for new mounts each second is."""
    return any(word in call.arguments for word in ("/proc/", "anon_inode:inotify", "/marks>"))


def _merged(events: Iterable[Event]) -> Iterator[Event]:
    """Make one of the same thing done many times in a row: a poll that finds nothing, again."""
    for (_thread, what, _kernel), same in groupby(events, key=_alike):
        first, *others = same
        text = f"{what} ({len(others) + 1:,} times)" if others else what
        yield Event(first.at, first.thread, text, first.with_kernel, first.detail)


def _alike(event: Event) -> tuple[int, str, bool]:
    return event.thread, event.what, event.with_kernel
