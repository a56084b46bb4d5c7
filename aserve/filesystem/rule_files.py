"""The files of a site's rules: read when they change, and never where that would take time."""

import logging
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from mmap import mmap
from threading import Lock
from typing import NamedTuple, Protocol
from weakref import WeakValueDictionary

from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.http.messages import Response
from aserve.rules.dialects import Dialect
from aserve.rules.headers_file import HEADERS
from aserve.rules.problems import Problem
from aserve.rules.redirects_file import REDIRECTS, Redirect
from aserve.rules.site_rules import SiteRules

MAX_SIZE = 4 << 20
"""Bytes, some 150,000 rules, which take two seconds. A larger file is not read."""

MAX_REPORTED = 20
"""Problems that are shown of one state of the files."""

# Seconds since a file's last change. A younger one can change again in the same tick of the clock,
# and look the same.
_MIN_AGE_S = 2

_REPORTED = mmap(-1, 32)  # memory that workers share, so that not each of them reports a change

_logger = logging.getLogger("aserve")


_State = tuple[int, ...]


class Watch(Protocol):
    """Notices changes of the files without a look at them; for the event loop's thread alone.

    is_started: whether every change from now on is noticed, and empties the response cache. Any
    thread may read it.
    """

    is_started: bool

    def is_quiet(self) -> bool:
        """Tell whether it is started, and nothing has changed since."""

    def start(self) -> None:
        """Begin to watch, if that is possible and has not been done."""


class RuleFiles:
    """The rules of a site as its files are now.

    root: the directory with the files. now: POSIX seconds. first: redirects that come before those
    of the file. is_strict: whether files with a problem are not used, and the rules before them
    stay. watch: for look-ups that must not wait; without one there is no response cache either, and
    the files are looked at each time.
    """

    def __init__(  # noqa: PLR0913 - what rules there are, and when they are read
        self,
        root: bytes,
        dialect: Dialect,
        mounts: Mounts,
        *,
        now: int,
        first: tuple[Redirect, ...] = (),
        is_strict: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self._root = root
        self._first = first
        self._paths = rule_paths(root)
        self._mounts = mounts
        self._is_strict = is_strict
        self._watch = watch
        self.is_confirmed = False
        """Whether the watch has begun before the last look, so that no response has to be bound."""
        self._has_begun = False  # the watch, which says of every end that something has changed
        self._must_read = False  # whatever the states are: two changes can be too close to differ
        self._lock = Lock()
        self._states = self._look()
        self._device = _device_of(root)
        self._settles_at = _settling_time(self._states, now)
        self.latest = read_rules(root, dialect, first)
        """The rules as they were when they were last asked for."""

    def current(self, now: int, *, wait: bool) -> SiteRules:
        """Return the rules. now: POSIX seconds.

        Raises BlockingIOError where wait is False and a file has to be read.
        """
        watch = self._watch
        if wait:
            self._update(now)
        elif not (self.is_confirmed and watch and watch.is_quiet()):
            self._confirm(now)
        return self.latest

    def bind(self, response: Response) -> Response:
        """Return a response that is cached only until the rules change."""
        watch = self._watch
        if not watch or not response.path or (watch.is_started and not self._settles_at):
            return response
        if self._settles_at:
            return response._replace(path=b"")
        return response._replace(absent=response.absent + self._paths)

    def _confirm(self, now: int) -> None:
        """Find that nothing has changed, and begin to watch that; raises BlockingIOError if not."""
        if self._mounts.tracking_of(self._device) is ChangeTracking.NONE:
            raise BlockingIOError  # a network, or another program (FUSE), takes time
        self.is_confirmed = False
        if watch := self._watch:
            self._must_read = self._must_read or (self._has_begun and not watch.is_quiet())
            watch.start()
            self._has_begun = watch.is_started
        if self._is_outdated(self._look(), now):
            raise BlockingIOError
        self.is_confirmed = self._has_begun and not self._settles_at

    def _look(self) -> Sequence[_State]:
        return [_state_at(path) for path in self._paths]

    def _is_outdated(self, states: Sequence[_State], now: int) -> bool:
        if self._must_read or states != self._states:
            return True
        if not self._settles_at:
            return False
        is_watched = self._watch is not None and self._watch.is_started
        return not is_watched or self._settles_at <= now

    def _update(self, now: int) -> None:
        if not self._is_outdated(self._look(), now):  # without the lock: a disk may hang
            return
        with self._lock:
            states = self._look()  # before the files are read, which may change meanwhile
            if self._is_outdated(states, now):
                self._must_read = self.is_confirmed = False
                rules = read_rules(self._root, self.latest.dialect, self._first)
                self._states, self._device = states, _device_of(self._root)
                self._settles_at = _settling_time(states, now)
                self._replace(rules, repr((self._root, states)))

    def _replace(self, rules: SiteRules, change: str) -> None:
        if rules is self.latest:
            return
        is_refused = self._is_strict and rules.problems
        if not is_refused:
            self.latest = rules
        if not rules.problems or _is_reported(change):
            return
        for line in format_problems(rules.problems):
            _logger.warning("%s", line)
        if is_refused:
            _logger.warning("strict-rules: the rules before this change stay")


def _is_reported(change: str) -> bool:
    """Tell whether this process, or one that was forked, has reported a change as its last one."""
    digest = blake2b(change.encode(), digest_size=len(_REPORTED)).digest()
    if _REPORTED[:] == digest:
        return True
    _REPORTED[:] = digest
    return False


def _settling_time(states: Sequence[_State], now: int) -> int:
    """Return from when on states tell every later change, 0 if they do now."""
    changed = max((state[0] for state in states if state), default=0) // 1_000_000_000
    return changed + _MIN_AGE_S + 1 if changed >= now - _MIN_AGE_S else 0


def _state_at(path: bytes) -> _State:
    """Return the state of the file at a path, its modification time first; () for none."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev, status.st_size


def _device_of(path: bytes) -> int:
    """Return the device number of what is at a path, 0 if nothing is."""
    try:
        return os.stat(path).st_dev
    except OSError:
        return 0


def rule_paths(root: bytes) -> tuple[bytes, bytes]:
    """Return the paths of _headers and _redirects."""
    return os.path.join(root, HEADERS.encode()), os.path.join(root, REDIRECTS.encode())


class FixedRules:
    """Rules that do not change, of a site without files of rules."""

    is_confirmed = True

    def __init__(self, rules: SiteRules) -> None:
        self.latest = rules

    def current(self, now: int, *, wait: bool) -> SiteRules:  # noqa: ARG002 - as RuleFiles
        """Return the rules."""
        return self.latest

    def bind(self, response: Response) -> Response:
        """Return the response as it is."""
        return response


def read_rules(root: bytes, dialect: Dialect, first: tuple[Redirect, ...] = ()) -> SiteRules:
    """Return the rules of a directory, b"" for none. What cannot be read is one of their problems.

    first: redirects that come before those of the file.
    """
    headers, redirects = map(_read, rule_paths(root)) if root else (_Text(""), _Text(""))
    return _parse(headers, redirects, dialect, first)


_Source = tuple["_Text", "_Text", Dialect, tuple[Redirect, ...]]

_parsed: WeakValueDictionary[_Source, SiteRules] = WeakValueDictionary()
"""The rules that are used now: twenty times as large as their texts, so no others are kept."""

_last_parsed: deque[SiteRules] = deque(maxlen=1)
"""But for those that were parsed last: what is read for the messages at the start is then served,
also by workers, which are forked meanwhile."""


def _parse(
    headers: "_Text", redirects: "_Text", dialect: Dialect, first: tuple[Redirect, ...]
) -> SiteRules:
    """Return the rules of two texts: the same object as long as they stay the same."""
    source = headers, redirects, dialect, first
    rules = _parsed.get(source)
    if rules is None:
        rules = SiteRules(headers.text, redirects.text, dialect, first)
        rules.problems = (*headers.problems, *redirects.problems, *rules.problems)
        _parsed[source] = rules
        _last_parsed.append(rules)
    return rules


class _Text(NamedTuple):
    """The content of a file, "" if there is none, and why it cannot be read."""

    text: str
    problems: tuple[Problem, ...] = ()


def _read(path: bytes) -> _Text:
    name = os.path.basename(path).decode()
    try:
        data = _read_regular_file(path)
    except FileNotFoundError:
        return _Text("")
    except OSError as error:
        return _Text("", (Problem(name, 0, f"it cannot be read: {error.strerror}"),))
    if len(data) > MAX_SIZE:
        return _Text("", (Problem(name, 0, f"it is larger than {MAX_SIZE >> 20} MiB"),))
    try:
        return _Text(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _Text(data.decode(errors="replace"), (Problem(name, line, "it is not in UTF-8"),))


def _read_regular_file(path: bytes) -> bytes:
    """Return the content of a file, at least a byte more than MAX_SIZE if it is larger."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # it may be a pipe
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no file")
        with open(descriptor, "rb", closefd=False) as file:  # which leaves open what it refuses
            return file.read(MAX_SIZE + 1)
    finally:
        os.close(descriptor)


def format_problems(problems: Sequence[Problem]) -> Iterator[str]:
    """Yield the lines that tell of problems."""
    yield from map(str, problems[:MAX_REPORTED])
    if len(problems) > MAX_REPORTED:
        yield f"and {len(problems) - MAX_REPORTED} more lines have problems"
