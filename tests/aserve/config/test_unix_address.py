"""A host that is a Unix socket, as it is written."""

import grp
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.settings import Settings, SettingsError
from aserve.config.unix_address import UnixAddress, host_of, parse_unix_address


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("unix:/run/a.sock", UnixAddress("/run/a.sock", 0o660, "")),
        ("unix:a.sock", UnixAddress("a.sock")),
        ("unix:/run/a.sock,mode=600", UnixAddress("/run/a.sock", 0o600)),
        ("unix:/run/a.sock,group=www,mode=0666", UnixAddress("/run/a.sock", 0o666, "www")),
        ("unix:@a", UnixAddress("@a")),
        (f"unix:/{'x' * 106}", UnixAddress(f"/{'x' * 106}")),
    ],
)
def test_an_address_has_a_name_a_mode_and_a_group(host: str, address: UnixAddress) -> None:
    assert parse_unix_address(host) == address


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("unix:", "needs a path"),
        ("unix:@", "needs a path"),
        ("unix:,mode=600", "needs a path"),
        (f"unix:/{'x' * 107}", "107 bytes at most"),
        (f"unix:{'ä' * 54}", "107 bytes at most"),
        ("unix:/a\0b", "107 bytes at most"),
        ("unix:@a,mode=600", "has no file"),
        ("unix:/a,mode=680", "octal digits"),
        ("unix:/a,mode=", "octal digits"),
        ("unix:/a,mode=-1", "octal digits"),
        ("unix:/a,mode=٦٦", "octal digits"),
        ("unix:/a,mode=1777", "777 at most"),
        ("unix:/a,group=", "not 'group='"),
        ("unix:/a,owner=me", "not 'owner=me'"),
        ("unix:/a,", "not ''"),
        ("unix:/a,group=no-such-group", "no group 'no-such-group'"),
    ],
)
def test_what_is_no_address_is_said_in_one_line(tmp_path: Path, host: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        Settings(tmp_path, host=host)
    assert caught.value.setting == "host"
    assert len(str(caught.value).splitlines()) == 1


@given(st.text())
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    try:
        address = parse_unix_address(f"unix:{text}")
    except ValueError:
        return
    assert 0 <= address.mode <= 0o777
    assert address.has_name(os.fsencode(address.socket_address))


@pytest.mark.parametrize("name", ["/run/a.sock", "@a", "a.sock"])
def test_a_socket_says_which_address_it_has(name: str) -> None:
    address = UnixAddress(name)
    bound = address.socket_address
    reported = bound.encode() if address.is_abstract else bound  # as getsockname does
    assert address.has_name(reported)
    assert host_of(reported) == f"unix:{name}"
    assert not UnixAddress(f"{name}x").has_name(reported)


def test_a_group_may_be_a_number_or_a_name(tmp_path: Path) -> None:
    name = grp.getgrgid(os.getgid()).gr_name
    for group in (name, os.getgid()):
        assert Settings(tmp_path, host=f"unix:/a,group={group}").unix_address


@pytest.mark.parametrize("settings", [{"port": 80}, {"http_redirect": 80}])
def test_a_unix_socket_has_no_ports(tmp_path: Path, settings: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match="no ports") as caught:
        Settings(tmp_path, host="unix:/a", **settings)  # type: ignore[arg-type]
    assert caught.value.setting == next(iter(settings))


def test_other_hosts_are_no_unix_sockets(tmp_path: Path) -> None:
    for host in ("localhost", "unix", "::1"):
        assert Settings(tmp_path, host=host).unix_address is None
    assert Settings(tmp_path, host="unix:/a", port=0).unix_address == UnixAddress("/a")
