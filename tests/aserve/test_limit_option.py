"""What --limit takes, and the one line that whoever mistypes it gets."""

from dataclasses import fields

import pytest

from aserve.cli.limit_option import limits_help, parse_limits
from aserve.config.settings import SettingsError
from aserve.http1.limits import UNLIMITED, LimitError, Limits

FIELDS = {one.name.replace("_", "-"): one.name for one in fields(Limits)}
NAMES = list(FIELDS)
ALWAYS = {"max-request-line", "max-header-size", "max-headers", "lingering-timeout", "backlog"}
"""What is kept in memory for a client, or how long a connection that is over may stay: bounded."""


def test_the_defaults_are_what_the_help_says() -> None:
    assert parse_limits([]) == Limits()
    assert Limits().transfer_timeout == 60  # a pager, a film that is paused
    for name in NAMES:
        assert f"{name}=" in limits_help()
    assert "max-connections=unlimited" in limits_help()
    assert "max-connections-per-ip=auto" in limits_help()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("off", ["0", "unlimited"])
def test_0_and_unlimited_mean_the_same(name: str, off: str) -> None:
    change = f"{name}={off}"
    if name in ALWAYS:
        with pytest.raises(SettingsError, match=rf"^--limit: {name} must be at least 1, and can"):
            parse_limits([change])
        with pytest.raises(LimitError):
            Limits(**{FIELDS[name]: 0})
    else:
        value = getattr(parse_limits([change]), FIELDS[name])
        assert value == (0 if name == "min-rate" else UNLIMITED)
        assert Limits(**{FIELDS[name]: 0}) == parse_limits([change])


@pytest.mark.parametrize("name", NAMES)
def test_a_number_is_taken_as_it_is(name: str) -> None:
    assert getattr(parse_limits([f"{name}=7"]), FIELDS[name]) == 7
    with pytest.raises(LimitError):
        Limits(**{FIELDS[name]: -1})


def test_the_share_of_an_address_can_be_set_back() -> None:
    changes = ["max-connections-per-ip=5", "max-connections-per-ip=auto"]
    assert parse_limits(changes) == Limits()


@pytest.mark.parametrize("text", ["abc", "", "-1", "1.5", "1e9", "10000000000", "٣", "auto", " 3"])
def test_a_value_that_is_none_is_named(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_limits([f"keepalive-timeout={text}"])
    said = str(caught.value)
    assert said.startswith("--limit: keepalive-timeout must be a whole number of at most 9 digits")
    assert said.endswith(f"such as 60, or 'unlimited', not {text!r}")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("keepalive=3", ", but 'keepalive-timeout'"),
        ("Keepalive_Timeout=3", ", but 'keepalive-timeout'"),
        ("max-conections=3", ", but 'max-connections'"),
        ("timeout=3", ", but 'header-timeout'"),
        ("patience=3", ""),
        ("", ""),
        ("=3", ""),
    ],
)
def test_a_name_that_is_none_is_told_which_there_are(change: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_limits([change])
    name = change.partition("=")[0]
    names = ", ".join(NAMES)
    assert str(caught.value) == f"--limit: there is no {name!r}{hint}; there are {names}"
