"""Run a traced server, let clients make requests to it, and collect what happened."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from string import punctuation
from typing import Any
from urllib.parse import quote, unquote

from aserve.config.settings import SettingsError
from aserve.explain.collect import Collected, collect
from aserve.explain.events import SIGNAL, TraceEvent
from aserve.explain.scenario import BIG, HOST, Scenario, content, play, response_length, warm_up
from aserve.explain.settling import Settling
from aserve.explain.syscall_text import DESCRIPTIONS
from aserve.explain.waiting import merge_repeats, tell_waiting
from aserve.transport.registry import MODELS, find_model

_TIMEOUT_S = 30.0
_SENT_AS_TYPED = punctuation  # a file name may have spaces, a request target may not


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """The events of one scenario in order.

    model: its name; title: with the options of the server; threads: names by thread id;
    has_syscalls: strace ran; method: of the requests.
    """

    model: str
    by_the_book: bool
    title: str
    target: str
    status: str
    events: tuple[TraceEvent, ...]
    threads: dict[int, str]
    has_syscalls: bool
    method: str = "GET"

    @property
    def request(self) -> str:
        """What was asked for: method and target."""
        return f"{self.method} {self.target}"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Which server to trace. threads and dispatch: None for its default."""

    model: str
    by_the_book: bool = False
    threads: int | None = None
    dispatch: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, as keyword arguments."""
        chosen = {
            "model": self.model,
            "by_the_book": self.by_the_book,
            "threads": self.threads,
            "dispatch": self.dispatch,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def title(self) -> str:
        """The options of aserve that start such a server, without --model."""
        book = " --by-the-book" if self.by_the_book else ""
        threads = f" --threads {self.threads}" if self.threads is not None else ""
        dispatch = f" --dispatch {self.dispatch}" if self.dispatch else ""
        return f"{self.model}{book}{threads}{dispatch}"

    def without_effect(self, scenario: Scenario) -> dict[str, str]:
        """Return the options that change nothing for this model, each with the reason."""
        info = find_model(self.model, by_the_book=self.by_the_book)
        reasons = {}
        if self.threads is not None and "--threads" not in info.options:
            reasons["--threads"] = f"the model {self.model} has no thread pool"
        if self.dispatch and "--dispatch" not in info.options:
            reasons["--dispatch"] = f"the model {self.model} does not choose a thread for a job"
        if scenario.again and "--response-cache" not in info.options:
            reasons["--again"] = f"the model {self.model} has no response cache"
        return reasons

    def suited_to(self, scenario: Scenario) -> tuple["ServerOptions", Scenario]:
        """Return the same without what changes nothing for this model."""
        idle = self.without_effect(scenario)
        options = self.replaced(
            threads=None if "--threads" in idle else self.threads,
            dispatch=None if "--dispatch" in idle else self.dispatch,
        )
        return options, replace(scenario, again=scenario.again and "--again" not in idle)

    def replaced(self, **changes: Any) -> "ServerOptions":
        """Return the same options with changes."""
        return replace(self, **changes)


def capture(
    directory: Path, target: str, server: ServerOptions, scenario: Scenario | None = None
) -> RequestTrace:
    """Play a scenario with a traced server of `directory`, and return its trace.

    Raises SettingsError if the request cannot be made, or if an option changes nothing.
    """
    scenario = scenario or Scenario()
    target = check_target(target)
    for option, reason in server.without_effect(scenario).items():
        raise SettingsError(option, reason)
    strace = shutil.which("strace")
    model = find_model(server.model)
    with tempfile.TemporaryDirectory(prefix="aserve-explain-") as name:
        temporary = Path(name)
        makes_site = scenario.big or scenario.upload
        root = _make_site(temporary, target, scenario) if makes_site else directory
        settings = {**server.settings, **scenario.settings}
        with _traced_server(root, settings, temporary, strace) as (port, process):
            settle = Settling(process, temporary, never_waits=model.never_waits)
            try:
                _prepare(port, root, target, scenario)
                settle()  # what the server does for these is no part of the trace
                is_deferred = model.uses_event_loop
                events, status = play(port, target, scenario, settle, is_deferred=is_deferred)
            except OSError as error:
                reason = f"the traced server does not answer: {error or 'timed out'}"
                raise SettingsError("explain", reason) from error
            end = time.time()
        found = collect(temporary, events, settle.rests, end, is_libuv=model.uses_event_loop)
    return make_trace(
        server, target, status, found, end, has_syscalls=bool(strace), method=scenario.method
    )


def check_target(target: str) -> str:
    """Return a path as a request target. Raises SettingsError if it is none."""
    if not target.startswith("/"):
        raise SettingsError("PATH", f"must begin with a slash, as /index.html, not {target!r}")
    return quote(target, safe=_SENT_AS_TYPED)


def traceable_models() -> list[str]:
    """Return the models that this system can run, in the order of the registry."""
    return [name for name, model in MODELS.items() if not model.unavailable_reason()]


def make_trace(
    server: ServerOptions,
    target: str,
    status: str,
    found: Collected,
    end: float,
    *,
    has_syscalls: bool,
    method: str = "GET",
) -> RequestTrace:
    """Return the trace of what was found, with the waiting told and what repeats itself merged."""
    events = tuple(merge_repeats(tell_waiting(found.events, found.rests, end)))
    active = {event.thread for event in events}
    threads = {thread: name for thread, name in found.threads.items() if thread in active}
    return RequestTrace(
        server.model,
        server.by_the_book,
        server.title,
        target,
        status,
        events,
        threads,
        has_syscalls,
        method,
    )


def _prepare(port: int, root: Path, target: str, scenario: Scenario) -> None:
    """Bring server and kernel into the state that the scenario begins with."""
    warm_up(port)
    if scenario.slow_reader and (length := response_length(port, target)) < BIG // 2:
        reason = f"has no effect on a response of {length:,} bytes; add --big"
        raise SettingsError("--slow-reader", reason)
    for _ in range(3 if scenario.again else 0):  # a response is cached at its second request
        response_length(port, target)
    if scenario.cold:
        _drop_page_cache(root)


@contextmanager
def _traced_server(
    directory: Path, settings: Mapping[str, object], temporary: Path, strace: str | None
) -> Iterator[tuple[int, int]]:
    """Run a traced server until the block ends; yield its port and its process id."""
    with socket.create_server((HOST, 0)) as listener, (temporary / "marks").open("wb") as file:
        descriptors = (listener.fileno(), file.fileno())
        # -P: do not import modules from the current directory.
        command = [sys.executable, "-P", "-m", "aserve.explain.traced_server"]
        command += [str(descriptors[1]), str(descriptors[0]), str(directory), json.dumps(settings)]
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [*_strace_command(strace, temporary), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            yield listener.getsockname()[1], process.pid
        finally:
            process.communicate(timeout=_TIMEOUT_S)


def _strace_command(strace: str | None, temporary: Path) -> Sequence[str]:
    if not strace:
        return ()
    names = ",".join(f"?{name}" for name in DESCRIPTIONS if name != SIGNAL)
    options = ["-f", "-ttt", "-T", "-yy", "-s", "64", "-e", f"trace={names}"]
    return [strace, *options, "-o", str(temporary / "calls"), "--"]


def _make_site(temporary: Path, target: str, scenario: Scenario) -> Path:
    """Make a directory for a scenario, with a large file at a path or room for a new one.

    What DIR has is left as it is.
    """
    root = temporary / "site"
    path = unquote(target.partition("?")[0])
    file = root / f"{path}{'index.html' if path.endswith('/') else ''}".lstrip("/")
    if ".." in file.parts:
        raise SettingsError("PATH", f"must not contain .. with {scenario.options}")
    file.parent.mkdir(parents=True, exist_ok=True)
    if not scenario.upload:
        file.write_bytes(content(BIG))
    elif path.endswith("/"):
        raise SettingsError("PATH", "must be that of a file with --upload, as /new.txt")
    return root


def _drop_page_cache(directory: Path) -> None:
    """Ask the kernel to drop the files from its page cache (posix_fadvise(2))."""
    for path in (directory, *directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())  # it keeps what is not on the disk yet
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
