"""The values of --limit, and its one-line error messages."""

from dataclasses import fields

import pytest

from aserve.config.limit_values import limit_rows, parse_limits
from aserve.http1.limits import UNLIMITED, LimitError, Limits

FIELDS = {field.name.replace("_", "-"): field.name for field in fields(Limits)}
NAMES = list(FIELDS)
ALWAYS_BOUNDED = {
    "max-request-line",
    "max-header-size",
    "max-headers",
    "max-response-memory",
    "lingering-timeout",
    "backlog",
}
"""Limits on memory for clients, or on how long a finished connection may stay open."""


def test_help_shows_the_defaults() -> None:
    assert parse_limits([]) == {}
    assert Limits().transfer_timeout == 60  # a pager, a paused film
    rows = dict(limit_rows())
    assert [change.partition("=")[0] for change in rows] == NAMES
    assert "unlimited" not in rows["max-header-size=32768"]
    assert rows["header-timeout=15"] == "seconds, or unlimited"
    assert rows["max-connections=unlimited"] == "connections, or unlimited"
    assert "auto" in rows["max-connections-per-ip=auto"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("off", ["0", "unlimited"])
def test_0_and_unlimited_mean_the_same(name: str, off: str) -> None:
    change = f"{name}={off}"
    if name in ALWAYS_BOUNDED:
        with pytest.raises(ValueError, match=rf"^{name} must be at least 1, and can"):
            parse_limits([change])
        with pytest.raises(LimitError):
            Limits(**{FIELDS[name]: 0})
    else:
        value = getattr(Limits(**parse_limits([change])), FIELDS[name])
        assert value == (0 if name == "min-rate" else UNLIMITED)
        assert Limits(**{FIELDS[name]: 0}) == Limits(**parse_limits([change]))


@pytest.mark.parametrize("name", NAMES)
def test_a_number_is_used_as_it_is(name: str) -> None:
    assert parse_limits([f"{name}=7"]) == {FIELDS[name]: 7}
    with pytest.raises(LimitError):
        Limits(**{FIELDS[name]: -1})


def test_max_connections_per_ip_can_be_reset_to_auto() -> None:
    changes = ["max-connections-per-ip=5", "max-connections-per-ip=auto"]
    assert Limits(**parse_limits(changes)) == Limits()


@pytest.mark.parametrize("text", ["abc", "", "-1", "1.5", "1e9", "10000000000", "٣", "auto", " 3"])
def test_an_invalid_value_is_in_the_message(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_limits([f"keepalive-timeout={text}"])
    message = str(caught.value)
    assert message.startswith("keepalive-timeout must be a whole number of at most 9 digits")
    assert message.endswith(f"such as 60, or 'unlimited', not {text!r}")


@pytest.mark.parametrize(
    ("change", "suggestion"),
    [
        ("keepalive=3", ", but there is 'keepalive-timeout'"),
        ("Keepalive_Timeout=3", ", but there is 'keepalive-timeout'"),
        ("max-conections=3", ", but there is 'max-connections'"),
        ("timeout=3", ", but there is 'header-timeout'"),
        ("patience=3", ""),
        ("", ""),
        ("=3", ""),
    ],
)
def test_an_unknown_name_lists_the_limits(change: str, suggestion: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_limits([change])
    name = change.partition("=")[0]
    names = ", ".join(NAMES)
    expected = f"there is no limit {name!r}{suggestion}; the limits are {names}"
    assert str(caught.value) == expected
