"""Links as values: what is secret, when one ends, what of a piece was delivered."""

import re

import pytest

from aserve.shares.links import Delivery, Link, Piece, key_of, new_token

NOW = 1_900_000_000


def test_a_token_is_128_random_bits_or_more_and_fits_into_a_url() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22,}", token) for token in tokens)  # 6 bits each


def test_the_key_tells_nothing_of_the_token() -> None:
    token = new_token()
    key = key_of(token)
    assert len(key) == 64
    assert token not in key
    assert Link(key, b"/srv/a", NOW).id == key[:12]


@pytest.mark.parametrize("text", ["", "a", "a" * 25, "a" * 23 + "é", "../" * 8, "a" * 23 + "\n"])
def test_what_can_be_no_token_has_no_key(text: str) -> None:
    assert key_of(text) == ""


@pytest.mark.parametrize(
    ("expires", "limit", "downloads", "has_ended"),
    [
        (None, None, 5, False),
        (NOW + 1, None, 0, False),
        (NOW, None, 0, True),
        (None, 2, 1, False),
        (None, 2, 2, True),
    ],
)
def test_when_a_link_ends(
    expires: int | None, limit: int | None, downloads: int, has_ended: bool
) -> None:
    link = Link("", b"/srv/a", NOW - 100, expires, limit, downloads)
    assert link.has_ended(NOW) == has_ended


@pytest.mark.parametrize(("path", "name"), [(b"/srv/a b", b"a b"), (b"/", b"files")])
def test_the_name_in_the_url(path: bytes, name: bytes) -> None:
    assert Link("", path, NOW).name == name


@pytest.mark.parametrize(
    ("sent", "expected"), [(0, None), (1, (10, 11)), (5, (10, 15)), (10, (10, 19)), (99, (10, 19))]
)
def test_the_last_byte_of_a_truncated_response_does_not_count(
    sent: int, expected: tuple[int, int] | None
) -> None:
    part = Delivery("", Piece("v", 100, 10, 20)).part(sent)
    assert (part and (part.start, part.stop)) == expected
