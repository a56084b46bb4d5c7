"""All rules of a site, ready to be asked."""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from aserve.rules.dialects import Dialect
from aserve.rules.headers_file import HEADERS, HeaderBlock
from aserve.rules.matcher import MAX_ALIKE, Rule, RuleIndex
from aserve.rules.patterns import canonical_path
from aserve.rules.problems import Problem
from aserve.rules.redirects_file import (
    REDIRECT_STATUSES,
    REDIRECTS,
    UNCONDITIONAL,
    Redirect,
)

T = TypeVar("T", bound=Rule)

_PLACEHOLDER = re.compile(r"(?<=[/=]):([A-Za-z]\w*)", re.ASCII)
_LEADS_TO_ITSELF = "this leads to itself, and is ignored"
_ALIKE = "whose paths begin alike and differ at a wildcard"
_LOOP = "redirects go round in a circle from here"


class SiteRules:
    """The rules of both files.

    redirects, headers: None without any, so that no look-up is made. problems: what is wrong with
    the files. has_hosts: whether the host decides about headers. headers_text, redirects_text: the
    content of the files, "" for none. first: redirects that come before those of the file.
    """

    def __init__(
        self,
        headers_text: str,
        redirects_text: str,
        dialect: Dialect,
        first: Sequence[Redirect] = (),
    ) -> None:
        redirects = dialect.parse_redirects(redirects_text)
        headers = dialect.parse_headers(headers_text)
        self.dialect = dialect
        self.has_hosts = any(block.host for block in headers.blocks)
        slash, case = dialect.optional_slash, dialect.ignores_case
        self.redirects = _index((*first, *redirects.redirects), optional_slash=slash)
        self.headers = _index(headers.blocks, optional_slash=slash, ignores_case=case)
        doubts = (
            *find_loops(redirects.redirects, optional_slash=slash),
            *find_unknown_names(redirects.redirects),
        )
        self.problems: Sequence[Problem] = (
            *_in_order(*headers.problems, *find_unused(HEADERS, self.headers)),
            *_in_order(*redirects.problems, *doubts, *find_unused(REDIRECTS, self.redirects)),
        )


def parse_lines(lines: Sequence[str], dialect: Dialect) -> Sequence[Redirect]:
    """Return the redirects of single lines. Raises LineError for one that is none."""
    text = "\n".join(line.replace("\n", " ") for line in lines)
    parsed = dialect.parse_redirects(text)
    for problem in parsed.problems:
        raise LineError(problem.line - 1, problem.reason)
    if len(parsed.redirects) < len(lines):
        numbers = {rule.line - 1 for rule in parsed.redirects}
        raise LineError(min({*range(len(lines))} - numbers), "it is empty, or a comment")
    return parsed.redirects


class LineError(ValueError):
    """A line is no redirect. number: its index."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


def _index(
    rules: Sequence[T], *, optional_slash: bool, ignores_case: bool = False
) -> RuleIndex[T] | None:
    if not rules:
        return None
    return RuleIndex(rules, optional_slash=optional_slash, ignores_case=ignores_case)


def _in_order(*problems: Problem) -> Sequence[Problem]:
    return sorted(problems, key=lambda problem: problem.line)


def find_unused(
    file: str, index: RuleIndex[Redirect] | RuleIndex[HeaderBlock] | None
) -> Iterator[Problem]:
    """Yield each line beyond what is used of rules that differ only behind a wildcard."""
    for rule in index.unused if index else ():
        yield Problem(file, rule.line, f"only {MAX_ALIKE:,} rules are used {_ALIKE}")


def find_unknown_names(redirects: Sequence[Redirect]) -> Iterator[Problem]:
    """Yield each line whose target has a placeholder that its path does not have."""
    for rule in redirects:
        if ":" not in rule.to:
            continue
        in_query = (value[1:] for _, value in rule.conditions.query if value.startswith(":"))
        names = tuple({*rule.pattern.names, *in_query})
        for name in _PLACEHOLDER.findall(rule.to):
            if not name.startswith(names):
                yield Problem(REDIRECTS, rule.line, f":{name} is nothing that its path has")


def find_loops(redirects: Sequence[Redirect], *, optional_slash: bool) -> Iterator[Problem]:
    """Yield each line that begins a circle of redirects, as far as no wildcard is in it."""
    first: dict[str, Redirect] = {}  # of each path
    for rule in redirects:
        if not rule.pattern.regex and _leads_on(rule):
            first.setdefault(rule.pattern.prefix, rule)
    following = {  # the line, and the path that it leads to, which leads on
        path: (rule.line, target)
        for path, rule in first.items()
        if (target := _target_path(rule, optional_slash)) in first
    }
    done: set[str] = set()
    for start in following:
        path, seen = start, set[str]()
        while path in following and path not in done:
            done.add(path)
            seen.add(path)
            path = following[path][1]
        if path in seen:
            line, target = following[path]
            yield Problem(REDIRECTS, line, _LOOP if target != path else _LEADS_TO_ITSELF)


def _leads_on(rule: Redirect) -> bool:
    """Tell whether a rule redirects every request for its path to a path of this site."""
    is_redirect = rule.status in REDIRECT_STATUSES and rule.to[0] == "/"
    return is_redirect and rule.conditions is UNCONDITIONAL


def _target_path(rule: Redirect, optional_slash: bool) -> str:
    target = rule.to
    if "?" in target or "#" in target:
        target = target.partition("#")[0].partition("?")[0]
    path = canonical_path(target)
    return path.rstrip("/") if optional_slash else path
