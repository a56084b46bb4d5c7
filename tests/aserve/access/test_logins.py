"""Users and their passwords: how files of them are read, and who is who."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.access.logins import Logins, parse_login, read_logins
from tests.aserve.access.test_passwords import ARGON2, BCRYPT


def write(directory: Path, data: str | bytes) -> Path:
    file = directory / "users"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def test_a_file_has_a_user_in_each_line(tmp_path: Path) -> None:
    file = write(tmp_path, f"# people\n\nann:{BCRYPT}\r\n  bén:{ARGON2}  \n")
    lines = list(read_logins(file))
    assert lines == [f"ann:{BCRYPT}", f"bén:{ARGON2}"]
    logins = Logins(lines)
    assert logins.check(b"ann", b"secret")
    assert logins.check("bén".encode(), b"secret")
    assert not logins.check(b"ann", b"wrong")
    assert not logins.check(b"carl", b"secret")


@pytest.mark.parametrize(
    ("data", "number", "reason"),
    [
        ("ann", 1, "a colon between them"),
        (f":{BCRYPT}", 1, "no user before the colon"),
        (f"a\tb:{BCRYPT}", 1, "neither control characters nor spaces"),
        (f"\n\nann:{BCRYPT}\nben:secret\n", 4, "has no hash"),
        (f"ann:{BCRYPT}\nben:$apr1$x$y", 2, "MD5 are not accepted"),
        (f"ann:{BCRYPT}\nann:{BCRYPT}", 2, "ann is in line 1 already"),
        (f"ann:{BCRYPT}\nb\xff:".encode("latin-1"), 2, "must be UTF-8"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(
    tmp_path: Path, data: str | bytes, number: int, reason: str
) -> None:
    file = write(tmp_path, data)
    with pytest.raises(ValueError, match=reason) as raised:
        list(read_logins(file))
    assert str(raised.value).startswith(f"{file}:{number}: ")
    assert "secret" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*: No such file"):
        list(read_logins(tmp_path / "users"))


@pytest.mark.parametrize("text", ["", "ann", "ann:", ":x", "ann:a\nb", "a\nb:x", "ann:\x7f"])
def test_what_is_no_user_and_password_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"has|must be|a user has|a password has"):
        parse_login(text)


@given(st.text(), st.text())
def test_any_login_that_is_accepted_is_right_and_no_other(user: str, password: str) -> None:
    try:
        logins = Logins([f"{user}:{password}"])
    except ValueError:
        return
    user, _, password = f"{user}:{password}".partition(":")
    assert logins.check(user.encode(), password.encode(errors="surrogateescape"))
    assert not logins.check(user.encode() + b"x", password.encode(errors="surrogateescape"))
    assert not logins.check(user.encode(), password.encode(errors="surrogateescape") + b"x")


class Counting:
    """A secret that notes that it is checked."""

    is_slow = True

    def __init__(self) -> None:
        self.count = 0

    def matches(self, password: bytes) -> bool:
        self.count += 1
        return password == b"right"


def test_a_wrong_user_costs_what_a_wrong_password_costs() -> None:
    """Each login is one check of one hash of this file, for any user name, and always the same.

    So where the hashes differ, a user that does not exist takes as long as one that does.
    """
    logins = Logins([f"user{number}:x" for number in range(3)])
    each = [Counting() for _ in range(3)]
    logins._secrets = {f"user{number}".encode(): one for number, one in enumerate(each)}
    logins._stand_ins = tuple(each)
    asked = set()
    for number in range(2_000):
        user = b"user1" if number % 2 else b"nobody%d" % number
        before = [one.count for one in each]
        assert not logins.check(user, b"wrong")
        assert not logins.check(user, b"wrong")
        changed = [one.count - old for one, old in zip(each, before, strict=True)]
        assert sorted(changed) == [0, 0, 2]
        if user != b"user1":
            asked.add(changed.index(2))
    assert asked == {0, 1, 2}
    assert not logins.check(b"nobody", b"right")
    assert logins.is_slow(b"nobody")
