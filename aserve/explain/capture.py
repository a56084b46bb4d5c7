"""Make one request to a traced server, and collect what happened."""

import os
import re
import shutil
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from aserve.config.settings import SettingsError
from aserve.explain.events import CLIENT, Syscall, TraceEvent, read_marks, read_syscalls
from aserve.explain.syscall_text import DESCRIPTIONS, TIMED_AT_RETURN, describe_syscall

_TIMEOUT_S = 30.0
_SETTLE_S = 0.1  # after the server has closed the connection, for it to finish
_CONNECTIONS = Path("/proc/net/tcp")
_STRACE_SKEW_S = 0.02  # a strace that did not get to run dates the end of a call too early
_HOST = "127.0.0.1"
_SENT_AS_TYPED = string.punctuation  # a file name may have spaces, a request target may not
_WARMUP_REQUEST = b"OPTIONS * HTTP/1.1\r\nHost: explain\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """The events of one request in order. threads: names by thread id; has_syscalls: strace ran."""

    model: str
    target: str
    status: str
    events: tuple[TraceEvent, ...]
    threads: dict[int, str]
    has_syscalls: bool


def capture(
    directory: Path,
    target: str,
    model: str,
    *,
    cold: bool,
    again: bool,
    by_the_book: bool = False,
) -> RequestTrace:
    """Request `target` once from a server of `directory` with `model`, and return its trace.

    cold: first drop the files from the kernel's page cache; again: first make the same request
    until its response is cached. by_the_book: as in Settings. Raises SettingsError if the
    request cannot be made.
    """
    if not target.startswith("/"):
        raise SettingsError("PATH", f"must begin with a slash, as /index.html, not {target!r}")
    target = quote(target, safe=_SENT_AS_TYPED)
    strace = shutil.which("strace")
    server_options = [model, "--by-the-book"] if by_the_book else [model]
    with tempfile.TemporaryDirectory(prefix="aserve-explain-") as temporary:
        with _traced_server(directory, server_options, Path(temporary), strace) as port:
            _make_request(port, _WARMUP_REQUEST)
            for _ in range(3 if again else 0):  # a response is cached at its second request
                _make_request(port, _request(target))
            if cold:
                _evict_page_cache(directory)
            client = _make_request(port, _request(target))
            end = time.time()
        server, threads = _server_events(Path(temporary), client[0].at, end)
    events = sorted([*client, *server], key=lambda event: event.at)
    title, status = " ".join(server_options), client[-2].detail
    return RequestTrace(title, target, status, tuple(_merge_repeats(events)), threads, bool(strace))


@contextmanager
def _traced_server(
    directory: Path, server_options: Sequence[str], temporary: Path, strace: str | None
) -> Iterator[int]:
    """Run a traced server until the block ends; yield its port."""
    with socket.create_server((_HOST, 0)) as listener, (temporary / "marks").open("wb") as file:
        descriptors = (listener.fileno(), file.fileno())
        # -P: do not import modules from the current directory.
        command = [
            sys.executable,
            "-P",
            "-m",
            "aserve.explain.traced_server",
            str(descriptors[1]),
            str(descriptors[0]),
        ]
        if strace:
            names = ",".join(f"?{name}" for name in DESCRIPTIONS)
            options = ["-f", "-ttt", "-T", "-yy", "-s", "200", "-e", f"trace={names}"]
            command = [strace, *options, "-o", str(temporary / "calls"), "--", *command]
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [*command, str(directory), *server_options],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            yield listener.getsockname()[1]
        finally:
            process.communicate(timeout=_TIMEOUT_S)


def _request(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode()


def _make_request(port: int, request: bytes) -> list[TraceEvent]:
    """Make a request on a new connection, read the whole response, and close."""
    events = [TraceEvent(time.time(), CLIENT, "connects", with_kernel=True)]
    with socket.create_connection((_HOST, port), timeout=_TIMEOUT_S) as connection:
        own_port = connection.getsockname()[1]
        events.append(
            TraceEvent(
                time.time(), CLIENT, f"sends {len(request)} bytes: {_first_line(request)}", True
            )
        )
        connection.sendall(request)
        response = _read_response(connection)
        status = _first_line(response)
        text = f"receives {len(response):,} bytes: {status}"
        events.append(TraceEvent(time.time(), CLIENT, text, with_kernel=True, detail=status))
    events.append(TraceEvent(time.time(), CLIENT, "closes", with_kernel=True))
    _wait_until_closed(port, own_port)
    time.sleep(_SETTLE_S)
    return events


def _wait_until_closed(port: int, client_port: int) -> None:
    """Wait until the server has closed its end of a connection, as the last thing it does."""
    deadline = time.monotonic() + _TIMEOUT_S
    ends = re.compile(rf":{port:04X} \w+:{client_port:04X} (?!06)")  # 06: TIME_WAIT, proc(5)
    with suppress(FileNotFoundError):  # no procfs
        while ends.search(_CONNECTIONS.read_text()) and time.monotonic() < deadline:
            time.sleep(_SETTLE_S / 10)


def _first_line(data: bytes) -> str:
    return data.partition(b"\r\n")[0].decode("latin-1")


def _read_response(connection: socket.socket) -> bytes:
    """Read one response, whose length is in its head."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += _receive(connection)
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += _receive(connection)
    return head + b"\r\n\r\n" + body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise SettingsError("PATH", "the server closed the connection without a response")
    return data


def _evict_page_cache(directory: Path) -> None:
    """Ask the kernel to drop the files from its page cache (posix_fadvise(2))."""
    for path in (directory, *directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _server_events(
    temporary: Path, start: float, end: float
) -> tuple[list[TraceEvent], dict[int, str]]:
    """Return what the server's threads did from `start` to `end`, and the names of the threads."""
    threads: dict[int, str] = {}
    events: list[TraceEvent] = []
    with (temporary / "marks").open() as lines:
        for at, thread, kind, text in read_marks(lines):
            if kind == "thread":
                threads[thread] = text
            elif start <= at <= end:
                events.append(TraceEvent(at, thread, text, with_kernel=kind == "ring"))
    if (temporary / "calls").exists():
        with (temporary / "calls").open(errors="replace") as lines:
            events += _syscall_events(read_syscalls(lines), start, end)
    active = {event.thread for event in events}
    return events, {thread: name for thread, name in threads.items() if thread in active}


def _syscall_events(calls: Iterable[Syscall], start: float, end: float) -> Iterator[TraceEvent]:
    for call in calls:
        is_in_time = start - _STRACE_SKEW_S * _is_accept(call) <= call.at <= end
        if not is_in_time or _is_housekeeping(call):
            continue
        if text := describe_syscall(call):
            detail = f"{call.name}({call.arguments}) = {call.result}"
            at = call.at if call.name in TIMED_AT_RETURN else call.started_at
            yield TraceEvent(max(at, start), call.thread, text, with_kernel=True, detail=detail)


def _is_accept(call: Syscall) -> bool:
    """Tell whether a call has accepted our client: no other client connects in that time."""
    return call.name.startswith("accept") and call.return_value >= 0


def _is_housekeeping(call: Syscall) -> bool:
    """Tell whether a call is for no request, such as the check for new mounts every second."""
    return any(word in call.arguments for word in ("/proc/", "anon_inode:inotify", "/marks>"))


def _merge_repeats(events: Iterable[TraceEvent]) -> Iterator[TraceEvent]:
    """Merge events that repeat, such as polls that find nothing, into one with their number."""
    for _, same in groupby(events, key=_repeat_key):
        first, *others = same
        text = f"{first.text} ({len(others) + 1:,} times)" if others else first.text
        yield TraceEvent(first.at, first.thread, text, first.with_kernel, first.detail)


def _repeat_key(event: TraceEvent) -> tuple[int, str, bool]:
    return event.thread, event.text, event.with_kernel
