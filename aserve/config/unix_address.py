"""A host that is a Unix socket: unix:/run/aserve.sock,mode=660,group=www, or unix:@name."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from aserve.config.values import UNIX_PREFIX

DEFAULT_MODE = 0o660
_MAX_MODE = 0o777
_MAX_NAME = 107  # bytes: sun_path has 108, and a null byte at its end (unix(7))


class UnixAddress(NamedTuple):
    """Where a Unix socket is, and who may connect to it.

    name: a path, or for an abstract socket its name behind an @. mode: of the file: who may write
    to it may connect. group: that of the file, "" for the server's.
    """

    name: str
    mode: int = DEFAULT_MODE
    group: str = ""

    @property
    def is_abstract(self) -> bool:
        """Whether it has no file: its name is gone with the last process that has the socket."""
        return self.name.startswith("@")

    @property
    def socket_address(self) -> str:
        """The address as calls on sockets take it."""
        return f"\0{self.name[1:]}" if self.is_abstract else self.name

    def has_name(self, name: str | bytes) -> bool:
        """Tell whether a socket that says that this is its name is the one of this address."""
        return os.fsencode(name) == os.fsencode(self.socket_address)


def parse_unix_address(host: str) -> UnixAddress:
    """Return the address that a host with the prefix means; raises ValueError."""
    name, *options = host.removeprefix(UNIX_PREFIX).split(",")
    if not name or name == "@":
        raise ValueError("needs a path or a name, as in unix:/run/aserve.sock or unix:@aserve")
    if "\0" in name or len(os.fsencode(name)) > _MAX_NAME:
        raise ValueError(f"the path of a Unix socket has {_MAX_NAME} bytes at most")
    if options and name.startswith("@"):
        raise ValueError("an abstract socket has no file, and so neither mode nor group")
    return UnixAddress(name, **dict(_parse_options(options)))


def _parse_options(options: list[str]) -> Iterator[tuple[str, Any]]:
    for option in options:
        key, _, value = option.partition("=")
        if key == "mode":
            yield key, _parse_mode(value)
        elif key == "group" and value:
            yield key, value
        else:
            raise ValueError(
                f"a Unix socket has the options mode=660 and group=NAME, not {option!r}"
            )


def _parse_mode(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and set(text) <= set("01234567")):
        raise ValueError(f"the mode of a Unix socket has octal digits, as 660, not {text!r}")
    mode = int(text, 8)
    if mode > _MAX_MODE:
        raise ValueError(f"the mode of a Unix socket is 777 at most, not {text}")
    return mode


def group_id(name: str) -> int:
    """Return the number of a group, which a name may be as well; raises ValueError."""
    import grp  # noqa: PLC0415 - for a group alone

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdecimal() and name.isascii():
            return int(name)
        raise ValueError(f"there is no group {name!r}") from None


def host_of(address: str | bytes) -> str:
    """Return the host of a listening socket. address: what the socket says that it has."""
    if isinstance(address, bytes):
        return f"{UNIX_PREFIX}@{os.fsdecode(address[1:])}"
    return UNIX_PREFIX + address
