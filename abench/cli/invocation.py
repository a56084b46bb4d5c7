"""The command line of this process, as its reports have it."""

from collections.abc import Iterable
from contextvars import ContextVar

_published: ContextVar[tuple[str, ...] | None] = ContextVar("published", default=None)


def set_command_line(arguments: Iterable[str]) -> None:
    """Take note of a command line, in which no secrets are left."""
    _published.set(tuple(arguments))


def get_command_line() -> tuple[str, ...] | None:
    """Return it; None where the program was not called by one."""
    return _published.get()
