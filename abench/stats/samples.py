"""First examples of what was counted: a number of failures says little, the first of them a lot.

Each process takes one when something has failed for the first time since it last reported, and
none where all goes well. Those of many moments and processes merge, in any order, to the same.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

MAX_MESSAGE = 200  # characters of a message
MAX_PER_KIND = 3
REDIRECT = "redirect"  # a kind, as those of failures are
_NOT_MODIFIED = 304  # RFC 9110 section 15.4.5: it leads nowhere


def is_redirect(status: int) -> bool:
    """Whether a status code leads to another URL (RFC 9110 section 15.4)."""
    return 300 <= status < 400 and status != _NOT_MODIFIED


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """What was first seen of a `kind` of failure, microseconds after counting began.

    `detail` is what is counted besides: a status code, the system's name for an error, or nothing.
    `message` is one line fit to print: a status line, or the words of the parser, of TLS or of the
    system; of a redirect, its Location.
    """

    at_us: int
    kind: str
    detail: str
    message: str

    def since(self, began_us: int) -> "Sample":
        """Return it as of a clock that was started at `began_us`."""
        return replace(self, at_us=max(0, self.at_us - began_us))


def merge_samples(samples: Iterable[Sample]) -> list[Sample]:
    """Return the first of each kind and detail, and of each kind only a few."""
    found: dict[tuple[str, str], Sample] = {}
    kinds: Counter[str] = Counter()
    for sample in sorted(samples):
        key = sample.kind, sample.detail
        if key not in found and kinds[sample.kind] < MAX_PER_KIND:
            found[key] = sample
            kinds[sample.kind] += 1
    return list(found.values())


def format_message(parts: Iterable[object]) -> str:
    """Return parts as one line: bounded, and without control characters.

    A part is text, bytes, a number, an error, or a function that returns one.
    """
    line = " ".join(word for part in parts for word in _printable(part).split(" ") if word)
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 3]}..."


def _printable(part: object) -> str:
    found = part() if callable(part) else part
    if isinstance(found, OSError):
        found = found.strerror or found  # a number says nothing to people
    if isinstance(found, bytes):
        found = found[: MAX_MESSAGE + 1].decode(errors="backslashreplace")
    return "".join(map(_escaped, str(found)[: MAX_MESSAGE + 1]))


def _escaped(character: str) -> str:
    """Escape what a terminal may obey, or shows as nothing: also what changes the direction."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
