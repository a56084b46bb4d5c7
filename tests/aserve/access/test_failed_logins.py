"""Which clients are not heard any more, and until when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.access.failed_logins import FailedLogins, network_of


def fail(table, client, count, now, start=0):
    for number in range(start, start + count):
        table.add(client, b"%d" % number, now)


def test_a_client_is_not_heard_after_ten_failures_for_ten_minutes():
    table = FailedLogins()
    fail(table, "192.0.2.1", 9, 100)
    assert table.retry_after("192.0.2.1", 110) == 0
    table.add("192.0.2.1", b"last", 110)
    assert table.retry_after("192.0.2.1", 110) == 600
    assert table.retry_after("192.0.2.1", 709) == 1
    assert table.retry_after("192.0.2.1", 710) == 0
    assert table.retry_after("192.0.2.2", 110) == 0


def test_failures_that_are_older_than_ten_minutes_do_not_count():
    table = FailedLogins()
    fail(table, "192.0.2.1", 9, 0)
    fail(table, "192.0.2.1", 9, 600, start=9)
    assert table.retry_after("192.0.2.1", 600) == 0


def test_the_same_wrong_login_counts_once():
    """A program that was left with an old password keeps nobody out."""
    table = FailedLogins()
    for now in range(50):
        table.add("192.0.2.1", b"old", now)
    assert table.retry_after("192.0.2.1", 50) == 0
    assert table.has("192.0.2.1", b"old", 50)
    assert not table.has("192.0.2.1", b"new", 50)
    assert not table.has("192.0.2.2", b"old", 50)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:0:0:1", True),  # a host has all of a /64
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("-", "-", True),
    ],
)
def test_what_counts_as_one_client(one, other, is_same):
    table = FailedLogins()
    fail(table, one, 10, 0)
    assert (table.retry_after(other, 1) > 0) == is_same


def test_the_table_is_bounded_and_the_oldest_client_goes():
    table = FailedLogins(max_clients=3)
    for number in range(10):
        fail(table, f"192.0.2.{number}", 10, number)
        assert len(table) <= 3
    blocked = [number for number in range(10) if table.retry_after(f"192.0.2.{number}", 10)]
    assert blocked == [7, 8, 9]


@given(st.text())
def test_anything_can_be_the_name_of_a_client(text):
    assert network_of(network_of(text)) == network_of(text)
