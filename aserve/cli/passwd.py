"""The command `aserve passwd`: makes a line of a password file."""

import getpass
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from aserve.access.logins import parse_login
from aserve.access.passwords import hash_password
from aserve.cli.declarations import declare
from aserve.cli.exit_codes import OK
from aserve.cli.help import Rows
from aserve.config.settings import SettingsError

_PASSWORD = "Password"  # noqa: S105 - a group of --help

SECTIONS: Mapping[str, Rows] = {
    "Examples": (
        ("aserve passwd ann", "# asks for the password, or reads a line of a pipe"),
        ("aserve passwd --bcrypt ann", "# a line that Apache and nginx can use as well"),
        ("aserve --htpasswd users.txt www/", "# for the users in a file of such lines"),
    )
}

User = Annotated[
    str, typer.Argument(metavar="USER", rich_help_panel="Arguments", help="A name without colon.")
]
Bcrypt = Annotated[
    bool,
    declare(_PASSWORD, "--bcrypt", text="A hash that Apache and nginx know, too, not argon2id."),
]


def passwd(user: User, bcrypt: Bcrypt = False) -> int:
    """Print a line for --htpasswd: the user, and a hash of a password that is asked for."""
    if ":" in user:
        raise SettingsError("USER", "must have no colon")
    password = _read_password()
    try:
        parse_login(f"{user}:{password}")
        line = f"{user}:{hash_password(password.encode(), bcrypt=bcrypt)}"
    except ValueError as error:
        raise SettingsError("passwd", str(error)) from None
    print(line)
    return OK


def _read_password() -> str:
    """Return the password: the first line of standard input, or what is typed twice, unseen."""
    if not sys.stdin:
        raise SettingsError("passwd", "reads from standard input, which is closed")
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise SettingsError("passwd", "the passwords are not the same")
    return password
