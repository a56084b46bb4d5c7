"""The first failures of each kind: a count says little, the first message a lot.

A process takes a sample when a kind of failure occurs for the first time since its last report.
Samples of any number of reports and processes merge, in any order, to the same result.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

MAX_MESSAGE = 200  # characters
MAX_PER_KIND = 3
REDIRECT = "redirect"  # a kind of sample, beside the kinds of failures
_NOT_MODIFIED = 304  # RFC 9110 section 15.4.5: it redirects to nothing


def is_redirect(status: int) -> bool:
    """Whether a status code redirects to another URL (RFC 9110 section 15.4)."""
    return 300 <= status < 400 and status != _NOT_MODIFIED


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """The first failure of a `kind`, `at_us` microseconds after counting began.

    `detail` is a status code, the system's name for an error, or empty.
    `message` is one printable line: a status line, or a message of the parser, of TLS or of the
    system; for a redirect, its Location.
    """

    at_us: int
    kind: str
    detail: str
    message: str

    def since(self, began_us: int) -> "Sample":
        """Return the sample with its time relative to `began_us`."""
        return replace(self, at_us=max(0, self.at_us - began_us))


def merge_samples(samples: Iterable[Sample]) -> list[Sample]:
    """Return the first sample of each kind and detail, at most MAX_PER_KIND of a kind."""
    found: dict[tuple[str, str], Sample] = {}
    kinds: Counter[str] = Counter()
    for sample in sorted(samples):
        key = sample.kind, sample.detail
        if key not in found and kinds[sample.kind] < MAX_PER_KIND:
            found[key] = sample
            kinds[sample.kind] += 1
    return list(found.values())


def format_message(parts: Iterable[object]) -> str:
    """Join parts to one line of at most MAX_MESSAGE characters, without control characters.

    A part is text, bytes, a number, an error, or a function that returns one.
    """
    line = " ".join(word for part in parts for word in _printable(part).split(" ") if word)
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 3]}..."


def _printable(part: object) -> str:
    found = part() if callable(part) else part
    if isinstance(found, OSError):
        found = found.strerror or found  # without the errno, which says nothing to people
    if isinstance(found, bytes):
        found = found[: MAX_MESSAGE + 1].decode(errors="backslashreplace")
    return "".join(map(_escaped, str(found)[: MAX_MESSAGE + 1]))


def _escaped(character: str) -> str:
    """Escape control, invisible and bidirectional characters: a terminal may act on them."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
