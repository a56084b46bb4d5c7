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

_GROUP = re.compile(r"(?<!\\)\((?!\?)")
"""The beginning of a group: a backslash is never one of the path's, which are escaped there."""

_MANY = 50
"""Rules that a look-up does not tell apart, which take some milliseconds to compile."""

MAX_ALIKE = 10_000
"""Rules in all that look-ups do not tell apart from 50 others: each takes 0.2 ms when the rules are
read, and all of them are tried for a path."""

_Shape = tuple[int, int, int | None]
"""How many segments of a path are before the first wildcard, and which slice has the landmark."""

_NO_VALUES: Mapping[str, str] = {}


class Match(NamedTuple, Generic[T]):
    """A rule that matches a path. position: among all rules. values: of its placeholders."""

    position: int
    rule: T
    values: Mapping[str, str] = _NO_VALUES


class RuleIndex(Generic[T]):
    """Rules by the paths that they match.

    One look-up finds all that have no wildcard, and one for each shape all others: the depth at
    which wildcards begin, and the place of a segment behind them. So 10,000 rules cost a path what
    ten do. Expressions are compiled when they are first needed, since of a long list most never
    are; but those of many rules that a look-up does not tell apart at once, since that takes time,
    which an event loop does not have.

    optional_slash: whether a path matches with a slash at its end and without. ignores_case:
    whether letters match in both cases. unused: the rules beyond MAX_ALIKE.
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
        dynamic: defaultdict[_Shape, defaultdict[str, list[Match[T]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for position, rule in enumerate(rules):
            found, key = static, rule.pattern.prefix
            if rule.pattern.regex:
                shape, key = _place(rule.pattern)
                found = dynamic[shape]
            found[key.lower() if ignores_case else key].append(Match(position, rule))
        self.unused: list[T] = []
        self._limit(found for by_key in dynamic.values() for found in by_key.values())
        flags = re.IGNORECASE if ignores_case else re.NOFLAG
        self._static = dict(static)
        self._dynamic = [
            (shape, {key: _Bucket(found, flags) for key, found in by_key.items()})
            for shape, by_key in dynamic.items()
        ]
        for _, buckets in self._dynamic:
            for bucket in buckets.values():
                bucket.prepare()

    def _limit(self, buckets: Iterable[list[Match[T]]]) -> None:
        """Leave out rules of long buckets that are too many together."""
        left = MAX_ALIKE
        for found in buckets:
            if len(found) > _MANY:
                self.unused += [match.rule for match in found[left:]]
                del found[left:]
                left -= len(found)

    def find(self, path: str) -> Sequence[Match[T]]:
        """Return the rules that match a path, in their order.

        path: as canonical_path returns it.
        """
        key = path.lower() if self._ignores_case else path
        if self._optional_slash and key[-1] == "/":
            key = key[:-1]
        found = self._static.get(key, ())
        if self._dynamic:
            segments = key.split("/")
            for (depth, begin, end), buckets in self._dynamic:
                key = "/".join(segments[:depth] + segments[begin:end])
                if bucket := buckets.get(key):
                    found = [*found, *bucket.find(path)]
        return sorted(found) if len(found) > 1 else found


def _place(pattern: PathPattern) -> tuple[_Shape, str]:
    """Return the shape of a pattern, and what paths that it matches have in that place."""
    depth = pattern.prefix.count("/") + 1
    if pattern.landmark is None:
        return (depth, 0, 0), pattern.prefix
    place, segment = pattern.landmark
    begin = place + 1 if place >= 0 else place  # before the first slash of a path, there is ""
    return (depth, begin, begin + 1 or None), f"{pattern.prefix}/{segment}"


class _Bucket(Generic[T]):
    """The rules that a look-up finds, which match a path if all of it matches."""

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
        # Without groups: for each step, what they have found would be copied.
        return re.compile(
            "|".join(_GROUP.sub("(?:", each.rule.pattern.regex) for each in self._candidates),
            self._flags,
        )


def _values(names: Sequence[str], found: re.Match[str]) -> Mapping[str, str]:
    """Return what placeholders stand for; of equal names the first one counts."""
    pairs = zip(names, found.groups(""), strict=True)
    return dict(reversed(list(pairs)))
