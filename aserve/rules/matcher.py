"""Which of many rules match a path: found by the path, whatever their number."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Generic, NamedTuple, Protocol, TypeVar

from aserve.rules.patterns import PathPattern


class Rule(Protocol):
    """Applies to the paths that a pattern matches."""

    @property
    def pattern(self) -> PathPattern:
        """The pattern."""


T = TypeVar("T", bound=Rule)

_MANY = 50
"""Rules with one prefix, which take some milliseconds to compile."""

_NO_VALUES: Mapping[str, str] = {}


class Match(NamedTuple, Generic[T]):
    """A rule that matches a path. position: among all rules. values: of its placeholders."""

    position: int
    rule: T
    values: Mapping[str, str] = _NO_VALUES


class RuleIndex(Generic[T]):
    """Rules by the paths that they match.

    One look-up finds all that have no wildcard, and one for each depth at which wildcards begin all
    others: so 10,000 rules cost a path what ten do. Expressions are compiled when they are first
    needed, since of a long list most never are; but those of many rules that begin alike at once,
    since that takes time, which an event loop does not have.

    optional_slash: whether a path matches with a slash at its end and without. ignores_case:
    whether letters match in both cases.
    """

    def __init__(
        self,
        rules: Iterable[T],
        *,
        optional_slash: bool = False,
        ignores_case: bool = False,
    ) -> None:
        self._optional_slash = optional_slash
        self._ignores_case = ignores_case
        static: defaultdict[str, list[Match[T]]] = defaultdict(list)
        dynamic: defaultdict[str, list[Match[T]]] = defaultdict(list)
        for position, rule in enumerate(rules):
            prefix = rule.pattern.prefix.lower() if ignores_case else rule.pattern.prefix
            found = dynamic if rule.pattern.regex else static
            found[prefix].append(Match(position, rule))
        flags = re.IGNORECASE if ignores_case else re.NOFLAG
        self._static = dict(static)
        self._dynamic = {prefix: _Bucket(found, flags) for prefix, found in dynamic.items()}
        for bucket in self._dynamic.values():
            bucket.prepare()
        self._depths = sorted({prefix.count("/") + 1 for prefix in dynamic})

    def find(self, path: str) -> Sequence[Match[T]]:
        """Return the rules that match a path, in their order.

        path: as canonical_path returns it.
        """
        key = path.lower() if self._ignores_case else path
        if self._optional_slash and key[-1] == "/":
            key = key[:-1]
        found = self._static.get(key, ())
        if self._depths:
            segments = key.split("/")
            for depth in self._depths:
                if depth > len(segments):
                    break
                if bucket := self._dynamic.get("/".join(segments[:depth])):
                    found = [*found, *bucket.find(path)]
        return sorted(found) if len(found) > 1 else found


class _Bucket(Generic[T]):
    """The rules with one prefix, which match a path if all of it matches."""

    def __init__(self, candidates: Sequence[Match[T]], flags: re.RegexFlag) -> None:
        self._candidates = candidates
        self._flags = flags

    def find(self, path: str) -> Sequence[Match[T]]:
        """Return the rules that match a path: none of them is tried unless one does."""
        if not self._any.fullmatch(path):
            return ()
        return [
            Match(position, rule, _values(rule.pattern.names, found))
            for (position, rule, _), pattern in zip(self._candidates, self._patterns, strict=True)
            if (found := pattern.fullmatch(path))
        ]

    def prepare(self) -> None:
        """Compile what would take long when it is first needed."""
        if len(self._candidates) > _MANY:
            _ = self._any, self._patterns

    @cached_property
    def _patterns(self) -> Sequence[re.Pattern[str]]:
        return [re.compile(each.rule.pattern.regex, self._flags) for each in self._candidates]

    @cached_property
    def _any(self) -> re.Pattern[str]:
        """What any of them matches, so that a path that none matches takes one call."""
        if len(self._candidates) == 1:
            return self._patterns[0]
        return re.compile(
            "|".join(each.rule.pattern.regex for each in self._candidates), self._flags
        )


def _values(names: Sequence[str], found: re.Match[str]) -> Mapping[str, str]:
    """Return what placeholders stand for; of equal names the first one counts."""
    pairs = zip(names, found.groups(""), strict=True)
    return dict(reversed(list(pairs)))
