"""The users of a site: how their passwords are given, and which pair is right."""

import os
import secrets
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from aserve.access.passwords import Secret, parse_hash, parse_secret

MAX_FILE_SIZE = 16 << 20
"""Bytes of a password file."""

_NO_CONTROLS = frozenset([*range(32), 127])


class Logins:
    """The users of a site, and what the password of each is checked against.

    texts: each USER:SECRET, as parse_login takes it. Raises ValueError for a text that is none.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._secrets = {user.encode(): secret for user, secret in map(parse_login, texts)}
        self._stand_ins = tuple(self._secrets.values())
        self._key = secrets.token_bytes(32)

    def is_slow(self, user: bytes) -> bool:
        """Tell whether to check a user's password takes long, also of one that does not exist."""
        return self._secret_of(user).is_slow

    def check(self, user: bytes, password: bytes) -> bool:
        """Tell whether a password is that of a user.

        For a user that does not exist, the hash of another one is checked: always of the same one,
        so that the time is that of some user of this site, whatever kinds of hashes there are.
        """
        matches = self._secret_of(user).matches(password)
        return matches and user in self._secrets

    def _secret_of(self, user: bytes) -> Secret:
        digest = blake2b(user, key=self._key, digest_size=8).digest()
        stand_in = self._stand_ins[int.from_bytes(digest, "big") % len(self._stand_ins)]
        return self._secrets.get(user, stand_in)


def parse_login(text: str) -> tuple[str, Secret]:
    """Return a user and the password or the hash behind the colon; raises ValueError.

    What is wrong is said without the text, which may be a password.
    """
    user, colon, secret = text.partition(":")
    _check_user(user, colon)
    if not secret:
        raise ValueError("has no password")
    if not _NO_CONTROLS.isdisjoint(secret.encode(errors="surrogateescape")):
        raise ValueError("a password has no control characters")
    return user, parse_secret(secret)


def read_logins(file: Path) -> Iterator[str]:
    """Yield each USER:HASH of a password file; raises ValueError, which names the line.

    Empty lines, and those that begin with #, are left out.
    """
    users: dict[str, int] = {}
    for number, line in enumerate(_read_text(file).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        user, colon, secret = text.partition(":")
        try:
            _check_user(user, colon)
            parse_hash(secret)
        except ValueError as error:
            raise ValueError(f"{file}:{number}: {error}") from None
        if user in users:
            raise ValueError(f"{file}:{number}: {user} is in line {users[user]} already")
        users[user] = number
        yield text


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ValueError(f"cannot read {os.fspath(file)!r}: {error.strerror}") from None
    if len(data) > MAX_FILE_SIZE:
        raise ValueError(f"{file}: must be at most {MAX_FILE_SIZE:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}:{number}: must be UTF-8") from None


def _check_user(user: str, colon: str) -> None:
    """Raise ValueError for what can be no user-id (RFC 7617 section 2)."""
    if not colon:
        raise ValueError("must be a user and a password with a colon between them")
    if not user:
        raise ValueError("has no user before the colon")
    if not user.isprintable() or user != user.strip():
        raise ValueError("a user has neither control characters nor spaces around it")
