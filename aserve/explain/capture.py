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

from aserve.config.settings import SettingsError
from aserve.explain.events import CLIENT, Syscall, TraceEvent, read_marks, read_syscalls
from aserve.explain.syscall_text import DESCRIPTIONS, TIMED_AT_RETURN, describe_syscall

_TIMEOUT_S = 30.0
_SETTLE_S = 0.1  # after the client has closed, for the server to notice and be done
_STRACE_SKEW_S = (
    0.02  # strace that is kept from running dates the end of a call too early by so much
)
_HOST = "127.0.0.1"
_SENT_AS_TYPED = string.punctuation  # a file's name may have blanks, a request's target may not
_WARMUP_REQUEST = b"OPTIONS * HTTP/1.1\r\nHost: explain\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """What happened in order; `threads` has the name of each, `kernel` whether strace was there."""

    model: str
    target: str
    status: str
    events: tuple[TraceEvent, ...]
    threads: dict[int, str]
    kernel: bool


def capture(folder: Path, target: str, model: str, *, cold: bool, again: bool) -> RequestTrace:
    """Have `target` of `folder` served by `model` once, and tell what happened.

    With `cold`, the kernel is asked to forget the files' contents before; with `again`, the
    request was made twice before. Raises SettingsError when the request cannot be made.
    """
    if not target.startswith("/"):
        raise SettingsError("PATH", f"must begin with a slash, as /index.html, not {target!r}")
    target = quote(target, safe=_SENT_AS_TYPED)
    tracer = shutil.which("strace")
    with tempfile.TemporaryDirectory(prefix="aserve-explain-") as place:
        with _traced_server(folder, model, Path(place), tracer) as port:
            _make_request(port, _WARMUP_REQUEST)
            for _ in range(3 if again else 0):  # a reply is remembered when it is asked for twice
                _make_request(port, _request(target))
            if cold:
                _evict_page_cache(folder)
            client = _make_request(port, _request(target))
        since, until = client[0].at, client[-1].at + _SETTLE_S
        server, threads = _server_events(Path(place), since, until)
    events = sorted([*client, *server], key=lambda event: event.at)
    return RequestTrace(
        model, target, client[-2].detail, tuple(_merge_repeats(events)), threads, bool(tracer)
    )


@contextmanager
def _traced_server(folder: Path, model: str, place: Path, tracer: str | None) -> Iterator[int]:
    """Have a watched server for as long as the context lasts, and yield its port."""
    with socket.create_server((_HOST, 0)) as listener, (place / "marks").open("wb") as file:
        kept = (listener.fileno(), file.fileno())
        # -P: nothing is to be imported from whatever folder this is called in.
        words = [
            sys.executable,
            "-P",
            "-m",
            "aserve.explain.traced_server",
            str(kept[1]),
            str(kept[0]),
        ]
        if tracer:
            wanted = ",".join(f"?{name}" for name in DESCRIPTIONS)
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
            process.communicate(timeout=_TIMEOUT_S)


def _request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode()


def _make_request(port: int, request: bytes) -> list[TraceEvent]:
    """Make a request on a connection of its own, read all of the reply, and close."""
    events = [TraceEvent(time.time(), CLIENT, "connects", with_kernel=True)]
    with socket.create_connection((_HOST, port), timeout=_TIMEOUT_S) as connection:
        events.append(
            TraceEvent(
                time.time(), CLIENT, f"sends {len(request)} octets: {_first_line(request)}", True
            )
        )
        connection.sendall(request)
        reply = _read_response(connection)
        status = _first_line(reply)
        what = f"has all {len(reply):,} octets: {status}"
        events.append(TraceEvent(time.time(), CLIENT, what, with_kernel=True, detail=status))
    events.append(TraceEvent(time.time(), CLIENT, "closes", with_kernel=True))
    time.sleep(_SETTLE_S)
    return events


def _first_line(octets: bytes) -> str:
    return octets.partition(b"\r\n")[0].decode("latin-1")


def _read_response(connection: socket.socket) -> bytes:
    """Read one reply, whose head says how long it is."""
    octets = bytearray()
    while b"\r\n\r\n" not in octets:
        octets += _read_some(connection)
    head, _, body = bytes(octets).partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += _read_some(connection)
    return head + b"\r\n\r\n" + body


def _read_some(connection: socket.socket) -> bytes:
    octets = connection.recv(65_536)
    if not octets:
        raise SettingsError("PATH", "the server has closed without a reply")
    return octets


def _evict_page_cache(folder: Path) -> None:
    """Ask the kernel to keep nothing of the files' contents in memory (posix_fadvise(2))."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _server_events(
    place: Path, since: float, until: float
) -> tuple[list[TraceEvent], dict[int, str]]:
    """Return what the server's threads did in that time, and their names."""
    threads: dict[int, str] = {}
    events: list[TraceEvent] = []
    with (place / "marks").open() as lines:
        for at, thread, kind, text in read_marks(lines):
            if kind == "thread":
                threads[thread] = text
            elif since <= at <= until:
                events.append(TraceEvent(at, thread, text, with_kernel=kind == "ring"))
    if (place / "calls").exists():
        with (place / "calls").open(errors="replace") as lines:
            events += _syscall_events(read_syscalls(lines), since, until)
    busy = {event.thread for event in events}
    return events, {thread: name for thread, name in threads.items() if thread in busy}


def _syscall_events(found: Iterable[Syscall], since: float, until: float) -> Iterator[TraceEvent]:
    for call in found:
        is_in_time = since - _STRACE_SKEW_S * _is_accept(call) <= call.at <= until
        if not is_in_time or _is_housekeeping(call):
            continue
        if text := describe_syscall(call):
            detail = f"{call.name}({call.arguments}) = {call.result}"
            at = call.at if call.name in TIMED_AT_RETURN else call.began
            yield TraceEvent(max(at, since), call.thread, text, with_kernel=True, detail=detail)


def _is_accept(call: Syscall) -> bool:
    """Whether this is the accept of our client: no other one comes, so it is none of before."""
    return call.name.startswith("accept") and call.return_value >= 0


def _is_housekeeping(call: Syscall) -> bool:
    """Whether a call is the server's own affair, as the look for new mounts each second is."""
    return any(word in call.arguments for word in ("/proc/", "anon_inode:inotify", "/marks>"))


def _merge_repeats(events: Iterable[TraceEvent]) -> Iterator[TraceEvent]:
    """Make one of the same thing done many times in a row: a poll that finds nothing, again."""
    for (_thread, what, _kernel), same in groupby(events, key=_repeat_key):
        first, *others = same
        text = f"{what} ({len(others) + 1:,} times)" if others else what
        yield TraceEvent(first.at, first.thread, text, first.with_kernel, first.detail)


def _repeat_key(event: TraceEvent) -> tuple[int, str, bool]:
    return event.thread, event.what, event.with_kernel
