"""Which replies are the right ones: by default, any status below 400."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from abench.errors import ParameterError

_STATUSES = re.compile(r"[1-5](?:\d\d|xx)(?:,[1-5](?:\d\d|xx))*", re.IGNORECASE)
_BELOW_400 = frozenset(range(200, 400))


@dataclass(frozen=True, slots=True)
class SuccessCriteria:
    """A reply has one of `statuses`, and `text` somewhere in its body."""

    statuses: frozenset[int] = _BELOW_400
    text: bytes = b""

    @classmethod
    def parse(cls, wishes: Iterable[str]) -> "SuccessCriteria":
        """Return what `200`, `2xx`, `200,304` and `body:TEXT` ask for; raises ParameterError.

        Statuses are alternatives, and at most one text is looked for.
        """
        statuses: set[int] = set()
        text = b""
        for wish in wishes:
            if wish.startswith("body:") and len(wish) > len("body:") and not text:
                text = wish.removeprefix("body:").encode(errors="surrogateescape")
            elif _STATUSES.fullmatch(wish):
                statuses.update(*map(_statuses, wish.split(",")))
            else:
                raise ParameterError(
                    "--expect", f"{wish!r} is neither like 200, 2xx nor, once, body:TEXT"
                )
        return cls(frozenset(statuses) or _BELOW_400, text)


DEFAULT_CRITERIA = SuccessCriteria()


def _statuses(word: str) -> range:
    if word[1:].lower() == "xx":
        return range(int(word[0]) * 100, int(word[0]) * 100 + 100)
    return range(int(word), int(word) + 1)
