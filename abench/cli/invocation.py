"""The command line of this process, as published in its reports."""

from collections.abc import Iterable
from contextvars import ContextVar

_published: ContextVar[tuple[str, ...] | None] = ContextVar("published", default=None)


def set_command_line(arguments: Iterable[str]) -> None:
    """Set the command line, which must not contain secrets."""
    _published.set(tuple(arguments))


def get_command_line() -> tuple[str, ...] | None:
    """Return the command line; None if the program was not started by one."""
    return _published.get()
