"""Which responses count as successes: by default, any status from 200 to 399."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from abench.errors import ParameterError

_STATUSES = re.compile(r"[1-5](?:\d\d|xx)(?:,[1-5](?:\d\d|xx))*", re.IGNORECASE)
_BELOW_400 = frozenset(range(200, 400))


@dataclass(frozen=True, slots=True)
class SuccessCriteria:
    """A success has one of `statuses`, and `text` somewhere in its body."""

    statuses: frozenset[int] = _BELOW_400
    text: bytes = b""

    @classmethod
    def parse(cls, criteria: Iterable[str]) -> "SuccessCriteria":
        """Return the criteria of `200`, `2xx`, `200,304` and `body:TEXT`; raises ParameterError.

        Statuses are alternatives, and there is at most one text.
        """
        statuses: set[int] = set()
        text = b""
        for criterion in criteria:
            if criterion.startswith("body:") and len(criterion) > len("body:") and not text:
                text = criterion.removeprefix("body:").encode(errors="surrogateescape")
            elif _STATUSES.fullmatch(criterion):
                statuses.update(*map(_statuses, criterion.split(",")))
            else:
                raise ParameterError(
                    "--expect", f"{criterion!r} is not like 200, 2xx or (at most once) body:TEXT"
                )
        return cls(frozenset(statuses) or _BELOW_400, text)

    def words(self) -> tuple[str, ...]:
        """Return what `parse` makes these criteria of; empty for the default."""
        statuses = () if self.statuses == _BELOW_400 else _words(self.statuses)
        text = self.text.decode(errors="surrogateescape")
        return (*statuses, f"body:{text}") if text else tuple(statuses)


DEFAULT_CRITERIA = SuccessCriteria()


def _words(statuses: frozenset[int]) -> Iterator[str]:
    for hundred in range(100, 600, 100):
        found = sorted(statuses.intersection(range(hundred, hundred + 100)))
        if len(found) == 100:
            yield f"{hundred // 100}xx"
        else:
            yield from map(str, found)


def _statuses(word: str) -> range:
    if word[1:].lower() == "xx":
        return range(int(word[0]) * 100, int(word[0]) * 100 + 100)
    return range(int(word), int(word) + 1)
