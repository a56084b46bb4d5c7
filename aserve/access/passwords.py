"""What passwords are checked against: two kinds of slow hashes, and a password itself.

Both hashes need a library each, which is imported only where such a hash is.
"""

import re
from hashlib import blake2b
from hmac import compare_digest
from importlib import import_module
from typing import Any, Protocol

MAX_BCRYPT_SIZE = 72
"""Bytes of a password that bcrypt uses: a longer one is always wrong."""

_MAX_BCRYPT_COST = 16  # 5 s
_MAX_ARGON2_KIB = 1 << 20
_MAX_ARGON2_PASSES = 64
_MAX_ARGON2_WORK = 1 << 20  # KiB that all passes fill: 5 s
_MAX_ARGON2_LANES = 16  # each is a thread
_BCRYPT_COST = 12
# OWASP's password storage cheat sheet: 46 MiB and one pass.
_ARGON2_KIB, _ARGON2_PASSES, _ARGON2_LANES = 47_104, 1, 1

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}"
)
_OTHER_KINDS = {
    "$apr1$": "MD5",
    "$1$": "MD5",
    "$5$": "SHA-256 crypt",
    "$6$": "SHA-512 crypt",
    "$argon2i$": "argon2i",
    "$argon2d$": "argon2d",
    "{SHA}": "SHA-1",
    "{SSHA}": "SHA-1",
}


class Secret(Protocol):
    """What one user's password is checked against."""

    is_slow: bool
    """Whether a check takes so long that no event loop may wait for it."""

    def matches(self, password: bytes) -> bool:
        """Tell whether a password is the right one; whether it is, the time does not tell."""


class PlainPassword:
    """A password itself."""

    is_slow = False

    def __init__(self, password: bytes) -> None:
        self._digest = blake2b(password).digest()

    def matches(self, password: bytes) -> bool:
        """Compare digests, which have the same length whatever was sent."""
        return compare_digest(self._digest, blake2b(password).digest())


class BcryptHash:
    """A hash of bcrypt. Raises ValueError for one that cannot be checked."""

    is_slow = True

    def __init__(self, text: str) -> None:
        match = _BCRYPT.fullmatch(text)
        if not match:
            raise ValueError("the bcrypt hash is not complete")
        if not 4 <= int(match[1]) <= _MAX_BCRYPT_COST:
            raise ValueError(f"the cost of bcrypt must be from 4 to {_MAX_BCRYPT_COST}")
        self._hash = text.encode()
        self._check = _library("bcrypt", "bcrypt").checkpw

    def matches(self, password: bytes) -> bool:
        """Tell whether a password has this hash.

        One that is too long takes as long as another one, and is wrong: bcrypt would ignore its
        end.
        """
        usable = password[:MAX_BCRYPT_SIZE].replace(b"\0", b"?")
        return self._check(usable, self._hash) is True and usable == password


class Argon2Hash:
    """A hash of argon2id. Raises ValueError for one that cannot be checked."""

    is_slow = True

    def __init__(self, text: str) -> None:
        match = _ARGON2.fullmatch(text)
        if not match:
            raise ValueError("the argon2id hash is not complete")
        _check_argon2(*map(int, match.groups()))
        self._hash = text.encode()
        _library("argon2", "argon2id")
        low_level = import_module("argon2.low_level")
        self._verify, self._kind = low_level.verify_secret, low_level.Type.ID
        self._mismatch = import_module("argon2.exceptions").VerificationError

    def matches(self, password: bytes) -> bool:
        """Tell whether a password has this hash."""
        try:
            return self._verify(self._hash, password, self._kind) is True
        except self._mismatch:
            return False


def _check_argon2(memory: int, passes: int, lanes: int) -> None:
    """Raise ValueError for a hash that no password has, or whose check takes too much.

    memory: KiB. RFC 9106 section 3.1: at least eight of them for each lane.
    """
    if not 1 <= lanes <= _MAX_ARGON2_LANES:
        raise ValueError(f"the lanes of argon2id must be from 1 to {_MAX_ARGON2_LANES}")
    if not 8 * lanes <= memory <= _MAX_ARGON2_KIB:
        limits = f"from {8 * lanes} to {_MAX_ARGON2_KIB} KiB"
        raise ValueError(f"the memory of argon2id must be {limits}")
    if not 1 <= passes <= _MAX_ARGON2_PASSES:
        raise ValueError(f"the passes of argon2id must be from 1 to {_MAX_ARGON2_PASSES}")
    if memory * passes > _MAX_ARGON2_WORK:
        limit = _MAX_ARGON2_WORK // memory
        raise ValueError(f"with so much memory, the passes of argon2id must be at most {limit}")


def parse_hash(text: str) -> Secret:
    """Return the hash that a line of a password file has; raises ValueError.

    What is wrong is said without the hash, since messages are often shown to others.
    """
    if text.startswith(("$2a$", "$2b$", "$2y$")):
        return BcryptHash(text)
    if text.startswith("$argon2id$"):
        return Argon2Hash(text)
    for start, name in _OTHER_KINDS.items():
        if text.startswith(start):
            raise ValueError(f"hashes of {name} are not accepted: use bcrypt or argon2id")
    raise ValueError("has no hash of bcrypt or argon2id; aserve passwd makes one")


def parse_secret(text: str) -> Secret:
    """Return a hash, or the password that any other text is; raises ValueError."""
    is_hash = text.startswith("$argon2id$") or _BCRYPT.fullmatch(text)
    return parse_hash(text) if is_hash else PlainPassword(text.encode(errors="surrogateescape"))


def hash_password(password: bytes, *, bcrypt: bool = False) -> str:
    """Return a hash of argon2id, or of bcrypt, as Apache and nginx read it; raises ValueError."""
    if bcrypt:
        if len(password) > MAX_BCRYPT_SIZE:
            raise ValueError(f"bcrypt takes at most {MAX_BCRYPT_SIZE} bytes; argon2id any number")
        library = _library("bcrypt", "bcrypt")
        made: bytes = library.hashpw(password, library.gensalt(_BCRYPT_COST))
        return made.decode().replace("$2b$", "$2y$", 1)
    argon2 = _library("argon2", "argon2id")
    hasher = argon2.PasswordHasher(_ARGON2_PASSES, _ARGON2_KIB, _ARGON2_LANES)
    return str(hasher.hash(password))


def _library(name: str, kind: str) -> Any:
    """Return a library; raises ValueError where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(f"{kind} needs a library: pip install 'aserve-http[auth]'") from None
