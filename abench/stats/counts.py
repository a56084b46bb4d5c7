"""How counts merge, and how they travel as JSON data: said once, at each field of a dataclass.

retried: Annotated[int, SUM] = 0
"""

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_type_hints

from abench.stats.histogram import Histogram

Counts = TypeVar("Counts")


def _same(value: Any) -> Any:
    return value


class Rule(NamedTuple):
    """How the counts of two parts of a run merge: in any order, to the same."""

    merge: Callable[[Any, Any], Any]
    encode: Callable[[Any], Any] = _same
    decode: Callable[[Any], Any] = _same


def merge_into(one: Any, other: Any) -> Any:
    """Merge by the value's own method, in place."""
    one.merge(other)
    return one


def _updated(one: Counter[Any], other: Counter[Any]) -> Counter[Any]:
    one.update(other)
    return one


SUM = Rule(operator.add)
MAX = Rule(max)
HISTOGRAM = Rule(merge_into, Histogram.encode_plain, Histogram.decode_plain)
BY_NAME = Rule(_updated, dict, Counter)
BY_NUMBER = Rule(_updated, dict, lambda plain: Counter({int(key): n for key, n in plain.items()}))
SORTED = Rule(lambda one, other: sorted(one + other))


def merge(counts: Any, other: Any) -> None:
    """Add the counts of another part, which are not changed."""
    for name, rule in _rules(type(counts)).items():
        setattr(counts, name, rule.merge(getattr(counts, name), getattr(other, name)))


def encode(counts: Any) -> dict[str, Any]:
    """Return counts as JSON data."""
    return {name: rule.encode(getattr(counts, name)) for name, rule in _rules(type(counts)).items()}


def decode(kind: type[Counts], plain: Mapping[str, Any]) -> Counts:
    """Return the counts of a class from JSON data."""
    return kind(**{name: rule.decode(plain[name]) for name, rule in _rules(kind).items()})


def _rule(name: str, hint: Any) -> Rule:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Rule):
            return extra
    raise TypeError(f"{name} has no rule")


def _find_rules(kind: Any) -> dict[str, Rule]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: _rule(name, hint) for name, hint in hints.items()}


_rules: Callable[[Any], dict[str, Rule]] = cache(_find_rules)
