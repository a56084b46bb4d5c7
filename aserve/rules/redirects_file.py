"""The rules of _redirects: what a line means, whichever dialect it is written in."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

from aserve.http.host_names import parse_host_name
from aserve.http.messages import REASON_PHRASES
from aserve.rules.patterns import PathPattern
from aserve.rules.problems import Problem, RuleError

REDIRECTS = "_redirects"
"""The name of the file."""

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
REWRITE = 200

_NEEDS_A_HEADER = frozenset({401, 405, 407, 416, 426})  # which says what else to ask for
PAGE_STATUSES = (
    frozenset(status for status in REASON_PHRASES if status >= HTTPStatus.BAD_REQUEST)
    - _NEEDS_A_HEADER
)
"""Statuses that a page can be sent with."""


class Conditions(NamedTuple):
    """What a request must have besides its path.

    host: "" for any. query: parameters with their values, ":name" for any value. languages:
    the client prefers one of them. cookies: it has one of them.
    """

    host: str = ""
    query: tuple[tuple[str, str], ...] = ()
    languages: frozenset[str] = frozenset()
    cookies: frozenset[str] = frozenset()


UNCONDITIONAL = Conditions()


class Redirect(NamedTuple):
    """A line of _redirects.

    to: a path or an http URL, with placeholders. status: REWRITE sends the file at that path, one
    of REDIRECT_STATUSES redirects there, any other sends that page with this status. is_forced:
    whether it applies even where there is a file. line: its number. place: where it is written, if
    that is not the file.
    """

    line: int
    pattern: PathPattern
    to: str
    status: int
    is_forced: bool = False
    conditions: Conditions = UNCONDITIONAL
    place: str = ""


class ParsedRedirects(NamedTuple):
    """What a file of redirects says, and which of its lines say nothing."""

    redirects: Sequence[Redirect]
    problems: Sequence[Problem]


def parse_rule_host(text: str) -> str:
    """Return the host that a rule is for in its normal form. Raises RuleError."""
    try:
        host = parse_host_name(text)
    except ValueError as error:
        raise RuleError(f"the host {error}") from None
    if host.startswith("*"):
        raise RuleError(f"the host must be written in full, not {text!r}")
    return host


def rule_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is neither empty nor a comment."""
    for number, raw_line in enumerate(text.split("\n"), 1):
        line = raw_line.strip()
        if line and line[0] != "#":
            yield number, line
