"""_redirects as Netlify reads it: from, parameters of the query, to, status, conditions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from aserve.rules.patterns import CANONICAL, PathPattern, parse_redirect_path
from aserve.rules.problems import Problem, RuleError
from aserve.rules.redirects_file import (
    PAGE_STATUSES,
    REDIRECT_STATUSES,
    REDIRECTS,
    REWRITE,
    UNCONDITIONAL,
    Conditions,
    ParsedRedirects,
    Redirect,
    parse_rule_host,
    rule_lines,
)
from aserve.rules.targets import PLAIN_TARGET, checked_target, is_url

_STATUS = re.compile(r"([0-9]{3})(!?)")
_DEFAULT_STATUS = 301

_PLAIN_LINE = re.compile(rf"({CANONICAL})\s+({PLAIN_TARGET})(?:\s+(30[12378]))?", re.ASCII)
"""A line without a host, wildcard or condition, and with nothing to escape: in a long file, most
are, and take a third of the time by this one match."""

_UNSUPPORTED = {
    "country": "aserve does not know the countries of clients",
    "role": "aserve has no roles",
    "sign": "aserve is no proxy, which signs requests",
    "signed": "aserve is no proxy, which signs requests",
}
"""Names of conditions that are never fulfilled here, and why."""


def parse_redirects(text: str) -> ParsedRedirects:
    """Return the rules of a file. A line that aserve cannot do as Netlify does is left out."""
    redirects: list[Redirect] = []
    problems: list[Problem] = []
    for number, line in rule_lines(text):
        try:
            redirects.append(_parse_plain_line(number, line) or _parse_line(number, line))
        except RuleError as error:
            problems.append(Problem(REDIRECTS, number, str(error)))
    return ParsedRedirects(redirects, problems)


def _parse_plain_line(number: int, line: str) -> Redirect | None:
    """Return the rule of a line as most are, None for another one."""
    if not (match := _PLAIN_LINE.fullmatch(line)):
        return None
    path, target, status = match.groups()
    return Redirect(number, PathPattern(path.rstrip("/")), target, int(status or _DEFAULT_STATUS))


def _parse_line(number: int, line: str) -> Redirect:
    source, *words = line.split()
    if "#" in line:
        words = list(takewhile(lambda word: word[0] != "#", words))
    if not words:
        raise RuleError("the path or URL that it leads to is missing")
    parameters, target, options = _find_target(words)
    status, is_forced = _parse_status(options[0]) if options else (_DEFAULT_STATUS, False)
    host, path = _parse_source(source)
    target = _checked_target(target or _target_of_same_path(source, status), status)
    conditions = UNCONDITIONAL
    if host or parameters or len(options) > 1:
        query = tuple(map(_parse_pair, parameters))
        conditions = _with_conditions(Conditions(host, query), options[1:])
    return Redirect(number, parse_redirect_path(path), target, status, is_forced, conditions)


def _find_target(words: Sequence[str]) -> tuple[Sequence[str], str, Sequence[str]]:
    """Return the parameters, the target or "" if there is none, and what follows it."""
    if words[0][0] == "/":  # as most are
        return (), words[0], words[1:]
    if _STATUS.fullmatch(words[0]):
        return (), "", words
    at = next((at for at, word in enumerate(words) if word[0] == "/" or is_url(word)), None)
    if at is None:
        raise RuleError("what it leads to must begin with / or http:// or https://")
    return words[:at], words[at], words[at + 1 :]


def _parse_status(word: str) -> tuple[int, bool]:
    match = _STATUS.fullmatch(word)
    if not match:
        raise RuleError(f"the status must be a number such as 301 or 301!, not {word}")
    status = int(match[1])
    if not (status == REWRITE or status in REDIRECT_STATUSES or status in PAGE_STATUSES):
        raise RuleError(f"a page cannot have the status {status}")
    return status, bool(match[2])


def _parse_source(source: str) -> tuple[str, str]:
    """Return the host that a rule is for, "" for any, and the path.

    The scheme is left out: behind a proxy that ends TLS, every request comes by http.
    """
    host, path = "", source
    if is_url(source):
        host, slash, path = source.partition("://")[2].partition("/")
        path = slash + path or "/"
        if not host:
            raise RuleError(f"{source} has no host")
        host = parse_rule_host(host)
    if not path.startswith("/"):
        raise RuleError(f"a path begins with /, and {source} does not")
    if path.startswith("/.netlify"):
        raise RuleError("a path must not start with /.netlify")
    if "?" in path:
        raise RuleError("the parameters of a query are written behind the path: /a id=:id /b")
    return host, path


def _target_of_same_path(source: str, status: int) -> str:
    """Return the target of a rule that has none: what "/x/* 200" is short for."""
    if not source.endswith("/*") or status != REWRITE:
        raise RuleError("the path or URL that it leads to is missing")
    return source.removesuffix("*") + ":splat"


def _checked_target(target: str, status: int) -> str:
    if is_url(target) and status not in REDIRECT_STATUSES:
        raise RuleError(f"aserve is no proxy: it does not fetch {target}")
    return checked_target(target)


def _parse_pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name or not equals:
        raise RuleError(f"{word} must be NAME=VALUE")
    return name, value


def _with_conditions(conditions: Conditions, words: Iterable[str]) -> Conditions:
    given: Mapping[str, str] = {
        name.lower(): value for name, value in (_parse_pair(word) for word in words)
    }
    for name, value in given.items():
        values = frozenset(filter(None, value.split(",")))
        if not values:
            raise RuleError(f"the condition {name.title()} has no value")
        if name == "language":
            conditions = conditions._replace(languages=frozenset(map(str.lower, values)))
        elif name == "cookie":
            conditions = conditions._replace(cookies=values)
        else:
            reason = _UNSUPPORTED.get(name, "it is not known")
            raise RuleError(f"the condition {name.title()} is never fulfilled: {reason}")
    return conditions
