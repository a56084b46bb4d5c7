"""The rules of _headers, in the dialects of Netlify and Cloudflare."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aserve.http.header_changes import HeaderChange, set_error, unset_error
from aserve.http.messages import Headers
from aserve.rules.patterns import PathPattern, parse_exact_path, parse_header_path
from aserve.rules.problems import Problem, RuleError
from aserve.rules.redirects_file import parse_rule_host, rule_lines

HEADERS = "_headers"
"""The name of the file."""

_LONE_HOST_LABEL = "([^./]+)"
_HOST_WILDCARD = re.compile(r"(\*|:[A-Za-z]\w*)", re.ASCII)
_MAY_BE_PATH = re.compile(r"\S+://|/")
_SPLAT_NAME = re.compile(r":splat\b", re.IGNORECASE)

_UNSET = "! "
_NEVER_SENT = {
    "basic-auth": "aserve has no Basic-Auth: these paths are NOT protected by a password",
}
"""Names that are instructions to a host and no headers, and why they are not followed."""


class HostPattern(NamedTuple):
    """The hosts that a rule is for. names: of the groups of its expression."""

    regex: str
    names: tuple[str, ...] = ()

    def match(self, host: str) -> Mapping[str, str] | None:
        """Return what the placeholders stand for; None for a host that does not match."""
        found = re.fullmatch(self.regex, host)
        return dict(zip(self.names, found.groups(), strict=True)) if found else None


class HeaderBlock(NamedTuple):
    """A path of _headers, and the headers below it. host: None for any. line: that of the path."""

    line: int
    pattern: PathPattern
    change: HeaderChange
    host: HostPattern | None = None


class ParsedHeaders(NamedTuple):
    """What a file of headers says, and which of its lines say nothing."""

    blocks: Sequence[HeaderBlock]
    problems: Sequence[Problem]


class HeaderLimits(NamedTuple):
    """How much of a file is used. max_line: characters of a line. max_rules: paths."""

    max_line: int
    max_rules: int


class _Dialect(NamedTuple):
    """What the dialects do not have in common.

    is_path: whether a line is a path. parse_path: its pattern; raises RuleError. has_unset: whether
    "! Name" removes a header.
    """

    is_path: Callable[[str], object]
    parse_path: Callable[[str], tuple[PathPattern, HostPattern | None]]
    has_unset: bool
    limits: HeaderLimits


_NO_LIMITS = HeaderLimits(1 << 20, 1 << 20)
CLOUDFLARE_LIMITS = HeaderLimits(2_000, 100)


def parse_netlify_headers(text: str) -> ParsedHeaders:
    """Return the rules of a file as Netlify reads it."""
    is_path = re.compile("/").match
    dialect = _Dialect(is_path, _parse_netlify_path, has_unset=False, limits=_NO_LIMITS)
    return _parse(text, dialect)


def parse_cloudflare_headers(text: str, limits: HeaderLimits = CLOUDFLARE_LIMITS) -> ParsedHeaders:
    """Return the rules of a file as Cloudflare reads it."""
    dialect = _Dialect(_MAY_BE_PATH.match, _parse_cloudflare_path, has_unset=True, limits=limits)
    return _parse(text, dialect)


def _parse_netlify_path(line: str) -> tuple[PathPattern, None]:
    return parse_header_path(line), None


def _parse_cloudflare_path(line: str) -> tuple[PathPattern, HostPattern | None]:
    host, path = None, line
    if not line.startswith("/"):
        scheme, _, rest = line.partition("://")
        authority, slash, rest = rest.partition("/")
        path = slash + rest or "/"
        if scheme != "https" or not authority:
            raise RuleError(f"a rule is for /path or https://host/path, not for {line}")
        if re.search(r":[0-9]+\Z", authority):
            raise RuleError("a host is written without its port: the rule is for any")
        host = _parse_host(authority)
    if line.count("*") > 1:
        raise RuleError("a rule may have one *: write two rules")
    if "*" in line and _SPLAT_NAME.search(line):
        raise RuleError("* is :splat already, so no part of the path can have this name")
    try:
        return parse_exact_path(re.split("[?#]", path, maxsplit=1)[0]), host
    except ValueError as error:
        raise RuleError(str(error)) from None


def _parse_host(authority: str) -> HostPattern:
    names: list[str] = []
    regex = ""
    if not _HOST_WILDCARD.search(authority):
        authority = parse_rule_host(authority)
    elif not authority.isascii():
        raise RuleError(f"a host with wildcards is written in ASCII, unlike {authority}")
    for part in _HOST_WILDCARD.split(authority.lower()):
        if part == "*":
            names.append("splat")
            regex += "(.*)"
        elif _HOST_WILDCARD.fullmatch(part):
            names.append(part[1:])
            regex += _LONE_HOST_LABEL
        else:
            regex += re.escape(part)
    return HostPattern(regex, tuple(names))


def _parse(text: str, dialect: _Dialect) -> ParsedHeaders:
    parser = _Parser(dialect)
    for number, line in rule_lines(text):
        try:
            parser.parse_line(number, line)
        except RuleError as error:
            parser.problems.append(Problem(HEADERS, number, str(error)))
        if parser.is_full:
            break
    parser.end_block()
    parser.problems.sort(key=lambda problem: problem.line)
    return ParsedHeaders(parser.blocks, parser.problems)


class _OpenBlock(NamedTuple):
    """A path whose headers are being read."""

    line: int
    pattern: PathPattern
    host: HostPattern | None
    lines: list[tuple[str, str]]
    unset: list[str]


class _Parser:
    """Collects the rules of a file, line by line."""

    def __init__(self, dialect: _Dialect) -> None:
        self.blocks: list[HeaderBlock] = []
        self.problems: list[Problem] = []
        self.is_full = False
        self._dialect = dialect
        self._open: _OpenBlock | None = None
        self._is_after_wrong_path = False

    def parse_line(self, number: int, line: str) -> None:
        """Add what a line says. Raises RuleError where it says nothing."""
        most = self._dialect.limits.max_line
        if len(line) > most:
            raise RuleError(f"a line may have {most:,} characters")
        if self._dialect.is_path(line):
            self._begin_block(number, line)
        elif self._dialect.has_unset and line.startswith(_UNSET) and ":" not in line:
            self._add_unset(line.removeprefix(_UNSET).strip())
        else:
            self._add_header(line)

    def _begin_block(self, number: int, line: str) -> None:
        most = self._dialect.limits.max_rules
        if len(self.blocks) >= most:
            self.is_full = True
            raise RuleError(f"only {most:,} paths are used: none from here on")
        self.end_block()
        self._is_after_wrong_path = True
        pattern, host = self._dialect.parse_path(line)
        self._is_after_wrong_path = False
        self._open = _OpenBlock(number, pattern, host, [], [])

    def end_block(self) -> None:
        """Add the rule whose headers have been read."""
        block, self._open = self._open, None
        if not block:
            return
        if not block.lines and not block.unset:
            self.problems.append(Problem(HEADERS, block.line, "this path has no headers"))
            return
        source = f"{HEADERS}:{block.line}"
        change = HeaderChange(_joined(block.lines), (), tuple(block.unset), source)
        self.blocks.append(HeaderBlock(block.line, block.pattern, change, block.host))

    def _block(self) -> _OpenBlock:
        if self._open:
            return self._open
        if self._is_after_wrong_path:
            raise RuleError("the path above is not used, and neither is this")
        raise RuleError("a path that begins with / must come first")

    def _add_unset(self, name: str) -> None:
        block = self._block()
        if reason := unset_error(name):
            raise RuleError(reason)
        block.unset.append(name)

    def _add_header(self, line: str) -> None:
        name, colon, value = line.partition(":")
        name, value = name.rstrip(), value.lstrip()
        if not colon:
            self._block()
            raise RuleError(f"a header is NAME: VALUE, and {line!r} has no colon")
        if not name or not value:
            raise RuleError(f"the header has no {'value' if name else 'name'}")
        block = self._block()
        if reason := _NEVER_SENT.get(name.lower()) or set_error(name, value):
            raise RuleError(reason)
        block.lines.append((name, value))


def _joined(lines: Sequence[tuple[str, str]]) -> Headers:
    """Return lines with the values of one name joined, but those of Set-Cookie (RFC 9110 5.3)."""
    joined: dict[str, tuple[str, str]] = {}
    cookies: list[tuple[str, str]] = []
    for name, value in lines:
        key = name.lower()
        if key == "set-cookie":
            cookies.append((name, value))
        elif key in joined:
            joined[key] = joined[key][0], f"{joined[key][1]}, {value}"
        else:
            joined[key] = name, value
    return (*joined.values(), *cookies)
