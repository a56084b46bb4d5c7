"""What one line of a log says: a request that can be replayed, or why it cannot."""

import re
from collections import Counter
from collections.abc import Iterable
from enum import Enum

from abench.plan.log_entries import MAX_NUMBERS, METHODS, LeftOut

METHOD_INDEX = {method: number for number, method in enumerate(METHODS)}
ENCODED_METHOD_INDEX = {method.encode(): number for method, number in METHOD_INDEX.items()}

# RFC 9112 section 3: a method, a target in origin-form or absolute-form, and a version; logs write
# HTTP/2.0 or HTTP/2.
_REQUEST_LINE = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/\S*|https?://\S+)(?: HTTP/\d(?:\.\d)?)?"
)
_SERVER = re.compile(r"https?://[^/?#]*", re.IGNORECASE)

Row = tuple[float, int, bytes]
"""The time in seconds, the index of the method in METHODS, and the resource in origin-form."""


class Reason(Enum):
    """Why a line is left out; the names of LeftOut."""

    UNSAFE = "unsafe"
    NO_REQUEST = "no_request"
    ELSEWHERE = "elsewhere"
    NOT_UNDERSTOOD = "not_understood"


def row(at_s: float | None, request_line: str) -> Row | Reason:
    """Return the row of a line that has a time, if it is valid, and a request line."""
    if at_s is None:
        return Reason.NOT_UNDERSTOOD
    found = _REQUEST_LINE.fullmatch(request_line)
    if not found or found[1] == "CONNECT":
        return Reason.NO_REQUEST
    if found[1] not in METHOD_INDEX:
        return Reason.UNSAFE
    try:
        return at_s, METHOD_INDEX[found[1]], _resource(found[2]).encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return Reason.NO_REQUEST


def _resource(target: str) -> str:
    """Return a request-target in origin-form: the logs of proxies and balancers have URLs."""
    if target.startswith("/"):
        return target
    rest = _SERVER.sub("", target, count=1).partition("#")[0]
    return rest if rest.startswith("/") else f"/{rest}"


class LeftOutCounter:
    """Counts the lines that are left out, and keeps the numbers of the first ones."""

    def __init__(self) -> None:
        self._counts: Counter[Reason] = Counter()
        self._numbers: list[int] = []

    def add(self, reasons: Iterable[tuple[int, Reason]]) -> None:
        """Count lines, by their numbers."""
        for number, reason in reasons:
            self._counts[reason] += 1
            if reason is Reason.NOT_UNDERSTOOD and len(self._numbers) < MAX_NUMBERS:
                self._numbers.append(number)

    def result(self, unit: str) -> LeftOut:
        """Return what was counted; `unit` says of what."""
        counts = {reason.value: number for reason, number in self._counts.items()}
        return LeftOut(**counts, numbers=tuple(self._numbers), unit=unit)
