"""Hashes of passwords: which are accepted, and what they say of a password."""

import base64

import bcrypt
import pytest
from argon2.low_level import Type, hash_secret

from aserve.access import passwords
from aserve.access.passwords import hash_password, parse_hash, parse_secret

BCRYPT = bcrypt.hashpw(b"secret", b"$2b$04$abcdefghijklmnopqrstuu").decode()
ARGON2 = hash_secret(b"secret", b"saltsalt", 1, 8, 1, 16, Type.ID).decode()


@pytest.mark.parametrize("text", [BCRYPT, BCRYPT.replace("$2b$", "$2y$"), ARGON2])
@pytest.mark.parametrize(
    ("password", "is_right"),
    [(b"secret", True), (b"Secret", False), (b"", False), (b"secret\0", False), (b"x" * 80, False)],
)
def test_a_hash_tells_the_right_password_from_all_others(text, password, is_right):
    assert parse_hash(text).matches(password) is is_right


@pytest.mark.parametrize("password", [b"x" * 72, b"\xff\xfe", "pässwörd".encode()])
@pytest.mark.parametrize("is_bcrypt", [False, True])
def test_a_made_hash_is_that_of_its_password(monkeypatch, password, is_bcrypt):
    monkeypatch.setattr(passwords, "_BCRYPT_COST", 4)
    monkeypatch.setattr(passwords, "_ARGON2_KIB", 8)
    secret = parse_hash(hash_password(password, bcrypt=is_bcrypt))
    assert secret.is_slow
    assert secret.matches(password)
    assert not secret.matches(password + b"x")


def test_bcrypt_never_ignores_the_end_of_a_password():
    """bcrypt uses 72 bytes: two passwords with the same beginning would be the same one."""
    text = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert parse_hash(text).matches(b"x" * 72)
    assert not parse_hash(text).matches(b"x" * 73)
    with pytest.raises(ValueError, match="at most 72 bytes"):
        hash_password(b"x" * 73, bcrypt=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("$apr1$salt$hash", "MD5 are not accepted"),
        ("{SHA}" + base64.b64encode(b"x" * 20).decode(), "SHA-1 are not accepted"),
        ("$6$salt$hash", "SHA-512 crypt are not accepted"),
        ("$argon2i$v=19$m=8,t=1,p=1$x$y", "argon2i are not accepted"),
        ("secret", "has no hash"),
        ("", "has no hash"),
        (BCRYPT[:-1], "bcrypt hash is not complete"),
        (BCRYPT.replace("$04$", "$31$"), "cost of bcrypt must be"),
        (ARGON2[:40], "argon2id hash is not complete"),
        (ARGON2.replace("m=8", "m=999999999"), "memory of argon2id must be"),
        (ARGON2.replace("t=1", "t=99999"), "passes of argon2id must be"),
        (ARGON2.replace("t=1", "t=0"), "passes of argon2id must be"),
        (ARGON2.replace("p=1", "p=0"), "lanes of argon2id must be"),
        (ARGON2.replace("p=1", "p=17"), "lanes of argon2id must be"),
        (ARGON2.replace("p=1", "p=2"), "memory of argon2id must be from 16 to"),
        (ARGON2.replace("m=8,t=1", "m=524288,t=3"), "passes of argon2id must be at most 2"),
    ],
)
def test_what_is_no_good_hash_is_refused_and_not_repeated(text, reason):
    with pytest.raises(ValueError, match=reason) as raised:
        parse_hash(text)
    assert len(text) < 8 or text[-8:] not in str(raised.value)


def test_a_secret_is_a_hash_or_else_the_password():
    assert parse_secret(BCRYPT).matches(b"secret")
    assert parse_secret(ARGON2).matches(b"secret")
    plain = parse_secret("$2b$is-my-password")
    assert not plain.is_slow
    assert plain.matches(b"$2b$is-my-password")
    assert not plain.matches(b"")


@pytest.mark.parametrize(("text", "name"), [(BCRYPT, "bcrypt"), (ARGON2, "argon2id")])
def test_a_missing_library_is_named(monkeypatch, text, name):
    def missing(_name):
        raise ImportError

    monkeypatch.setattr(passwords, "import_module", missing)
    with pytest.raises(
        ValueError, match=rf"{name} needs a library: pip install 'aserve-http\[auth"
    ):
        parse_hash(text)
