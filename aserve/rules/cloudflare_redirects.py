"""_redirects as Cloudflare reads it: from, to, status. Every rule comes before the files."""

import re
from typing import NamedTuple

from aserve.rules.patterns import PathPattern, parse_exact_path
from aserve.rules.problems import Problem, RuleError
from aserve.rules.redirects_file import (
    REDIRECT_STATUSES,
    REDIRECTS,
    REWRITE,
    ParsedRedirects,
    Redirect,
    rule_lines,
)
from aserve.rules.targets import checked_target, is_url

_DEFAULT_STATUS = "302"
_STATUSES = {str(status): status for status in (REWRITE, *REDIRECT_STATUSES)}
_INDEX = re.compile(r"/(?:.*/)?index(?:\.html)?", re.DOTALL)


class RedirectLimits(NamedTuple):
    """How much of a file Cloudflare uses.

    max_line: characters of a line. max_static, max_dynamic: rules without and with a wildcard; one
    without that comes behind one with a wildcard is counted with those.
    """

    max_line: int = 2_000
    max_static: int = 2_000
    max_dynamic: int = 100


LIMITS = RedirectLimits()


def parse_redirects(
    text: str, limits: RedirectLimits = LIMITS, *, hides_index: bool = False
) -> ParsedRedirects:
    """Return the rules of a file.

    hides_index: whether /index.html redirects to /, so that a rule from / to it would be a loop.
    """
    parser = _Parser(limits, hides_index=hides_index)
    for number, line in rule_lines(text):
        try:
            parser.parse_line(number, line)
        except RuleError as error:
            parser.problems.append(Problem(REDIRECTS, number, str(error)))
        if parser.dynamic_count > limits.max_dynamic:
            break
    return ParsedRedirects(parser.redirects, parser.problems)


class _Parser:
    """Collects the rules of a file, line by line."""

    def __init__(self, limits: RedirectLimits, *, hides_index: bool) -> None:
        self.redirects: list[Redirect] = []
        self.problems: list[Problem] = []
        self.dynamic_count = 0
        self._static_count = 0
        self._seen: set[PathPattern] = set()
        self._limits = limits
        self._hides_index = hides_index

    def parse_line(self, number: int, line: str) -> None:
        """Add the rule of a line. Raises RuleError where it has none."""
        if len(line) > self._limits.max_line:
            raise RuleError(f"a line may have {self._limits.max_line:,} characters")
        source, target, status_word = _split(line)
        path = _parse_source(source)
        pattern = _parse_pattern(path)
        self._count(pattern)
        target = _parse_target(target)
        if status_word not in _STATUSES:
            statuses = ", ".join(sorted(_STATUSES))
            raise RuleError(f"the status must be one of {statuses}, not {status_word}")
        self._check_loop(path, target)
        if pattern in self._seen:
            raise RuleError(f"there is a rule for {path} above, which comes first")
        self._seen.add(pattern)
        status = _STATUSES[status_word]
        if status == REWRITE and is_url(target):
            raise RuleError(f"aserve is no proxy: it does not fetch {target}")
        self.redirects.append(Redirect(number, pattern, target, status, is_forced=True))

    def _count(self, pattern: PathPattern) -> None:
        if pattern.regex or self.dynamic_count:
            self.dynamic_count += 1
            if self.dynamic_count > self._limits.max_dynamic:
                most = self._limits.max_dynamic
                raise RuleError(f"only {most:,} rules with * or :name are used: none from here on")
        else:
            self._static_count += 1
            if self._static_count > self._limits.max_static:
                raise RuleError(f"only {self._limits.max_static:,} rules without * are used")

    def _check_loop(self, path: str, target: str) -> None:
        """Refuse what Cloudflare refuses: its page /index.html redirects to /, and so on."""
        leads_to_index = _INDEX.fullmatch(target) is not None
        from_root = path.endswith("/") and self._hides_index
        if leads_to_index and (path.endswith("/*") or from_root):
            hint = "; for a single-page app, use --spa" if path == "/*" else ""
            raise RuleError(f"Cloudflare ignores this: {target} redirects here again{hint}")


def _split(line: str) -> tuple[str, str, str]:
    words = line.split()
    comment = next((at for at in range(2, len(words)) if words[at][0] == "#"), len(words))
    words = words[:comment]
    if not 2 <= len(words) <= 3:
        raise RuleError(f"a rule is FROM TO or FROM TO STATUS, and this has {len(words)} words")
    return words[0], words[1], words[2] if len(words) > 2 else _DEFAULT_STATUS


def _parse_source(source: str) -> str:
    if is_url(source):
        raise RuleError(f"a rule is for a path of this site, not for {source}")
    path = source if source.startswith("/") else "/" + source
    return re.split("[?#]", path, maxsplit=1)[0]


def _parse_pattern(path: str) -> PathPattern:
    try:
        return parse_exact_path(path)
    except ValueError as error:
        raise RuleError(str(error)) from None


def _parse_target(target: str) -> str:
    if not target.startswith(("/", "https://")):
        raise RuleError(f"a rule leads to /path or https://host/path, not to {target}")
    return checked_target(target)
