"""Decides who a client is: what is known is remembered, and what is slow is bounded."""

import binascii
import secrets
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from threading import BoundedSemaphore, Lock, Semaphore
from typing import NamedTuple

from aserve.access.failed_logins import FailedLogins
from aserve.access.logins import Logins

MAX_CHECKS = 2
"""How many passwords are checked at once: argon2id takes 46 MiB for each, and a CPU."""
REMEMBERED_S = 300
_MAX_REMEMBERED = 1_024
_MAX_SIZE = 4_096  # characters of a header with a login

_SCHEME = "basic "


class AccessError(Exception):
    """A client whose request is not answered."""


class WrongLoginError(AccessError):
    """The user or the password is wrong; which of them, no one is told."""


class TooManyFailuresError(AccessError):
    """The client has sent too many wrong logins. retry_after: seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class BusyError(AccessError):
    """Too many other logins are being checked."""


class LoginChecks:
    """Bounds the checks of one process. waiting: how many threads may check, or wait for it."""

    def __init__(self, waiting: int, max_checks: int = MAX_CHECKS) -> None:
        self._waiting = BoundedSemaphore(waiting)
        self._running = Semaphore(max_checks)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Wait for a turn. Raises BusyError, at once, where too many wait already."""
        if not self._waiting.acquire(blocking=False):
            raise BusyError
        try:
            with self._running:
                yield
        finally:
            self._waiting.release()


class Authenticator:
    """Knows the users of one site by the logins that clients send. Any thread may use it.

    logins: None for no users. failures, checks: those of the process.
    """

    def __init__(
        self,
        logins: Logins | None,
        failures: FailedLogins,
        checks: LoginChecks,
        max_remembered: int = _MAX_REMEMBERED,
    ) -> None:
        self._logins = logins
        self._failures = failures
        self._checks = checks
        self._max_remembered = max_remembered
        self._key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[str, int]] = OrderedDict()  # user, until when
        self._lock = Lock()

    def is_barred(self, client: str, now: int) -> bool:
        """Tell whether no login of a client is accepted now."""
        return self._failures.retry_after(client, now) > 0

    def known_user(self, authorization: str, now: int) -> str | None:
        """Return the user of a login that was found right before, None if it is not remembered."""
        return self._recall(self._fingerprint(authorization), now)

    def user_of(
        self, authorization: str | None, client: str, now: int, *, may_wait: bool
    ) -> str | None:
        """Return the user who has sent a header Authorization, None for no one.

        client: an address. now: POSIX seconds. Raises AccessError; BlockingIOError where a password
        has to be checked that takes long, and may_wait is False.
        """
        if authorization is None or self._logins is None:
            return None
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return None
        # First: whether a login would be right is not told to those who guess.
        if seconds := self._failures.retry_after(client, now):
            raise TooManyFailuresError(seconds)
        attempt = _Attempt(self._fingerprint(authorization), client, now)
        if user := self._recall(attempt.login, now):
            return user
        if self._failures.has(client, attempt.login, now):
            raise WrongLoginError
        pair = _parse(authorization)
        if pair is None:
            raise WrongLoginError
        return self._check(self._logins, *pair, attempt, may_wait=may_wait)

    def _check(
        self, logins: Logins, user: bytes, password: bytes, attempt: "_Attempt", *, may_wait: bool
    ) -> str:
        login, client, now = attempt
        if not logins.is_slow(user):
            is_right = logins.check(user, password)
        elif not may_wait:
            raise BlockingIOError
        else:
            with self._checks.run():
                # What others have found meanwhile: a page and its images come with one login.
                if seconds := self._failures.retry_after(client, now):
                    raise TooManyFailuresError(seconds)
                if known := self._recall(login, now):
                    return known
                is_right = logins.check(user, password)
        if not is_right:
            self._failures.add(client, login, now)
            raise WrongLoginError
        return self._remember(login, user.decode(), now)

    def _fingerprint(self, authorization: str) -> bytes:
        """Return what stands for a login in memory: no one can find the password by it."""
        text = authorization.encode("latin-1", "replace")
        return blake2b(text, key=self._key, digest_size=16).digest()

    def _recall(self, login: bytes, now: int) -> str | None:
        found = self._remembered.get(login)
        return found[0] if found and now < found[1] else None

    def _remember(self, login: bytes, user: str, now: int) -> str:
        with self._lock:
            self._remembered.pop(login, None)
            while len(self._remembered) >= self._max_remembered:
                self._remembered.popitem(last=False)
            self._remembered[login] = user, now + REMEMBERED_S
        return user


class _Attempt(NamedTuple):
    """A login that a client has sent: what stands for it, the client's address, and when."""

    login: bytes
    client: str
    now: int


def _parse(authorization: str) -> tuple[bytes, bytes] | None:
    """Return the user and the password of Basic credentials (RFC 7617), None if they are none.

    Both are in UTF-8, as the challenge says; some clients send Latin-1 all the same.
    """
    if len(authorization) > _MAX_SIZE:
        return None
    try:
        pair = b64decode(authorization[len(_SCHEME) :].strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = _in_utf8(pair).partition(b":")
    return (user, password) if colon else None


def _in_utf8(text: bytes) -> bytes:
    """Return a text in UTF-8, whichever of both it is in: hardly any text of Latin-1 is valid."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text
