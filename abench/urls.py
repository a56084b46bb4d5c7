"""A file of URLs: one a line, with a weight before it if it is to be asked for more often."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from abench import inputs
from abench.errors import ParameterError
from abench.target import shown

HEAVIEST = 10_000

_AUTHORITY = re.compile("[/?#]")  # the first of them ends it (RFC 3986 section 3.2)
_WEIGHT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Weighted:
    """A URL that is asked for `weight` times as often as one of weight 1."""

    url: str
    weight: int = 1


def read(path: Path, base: str | None) -> tuple[Weighted, ...]:
    """Return the URLs in the file at `path`; those without a server are of `base`'s.

    Raises ParameterError for a file that cannot be read or has no URL in it.
    """
    try:
        lines = inputs.read("--urls", str(path)).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ParameterError("--urls", f"{path}: it is not UTF-8") from None
    urls = tuple(parse(lines, base))
    if not urls:
        raise ParameterError("--urls", f"{path} has no URL in it")
    return urls


def parse(lines: Iterable[str], base: str | None) -> Iterable[Weighted]:
    """Yield the URLs in `lines`, `[WEIGHT] URL` or `[WEIGHT] /path`; `#` begins a comment line."""
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield _parse(number, words, base)


def _parse(number: int, words: list[str], base: str | None) -> Weighted:
    url = words[-1]
    weight = words[0] if len(words) > 1 else "1"
    if len(words) > 2 or not _WEIGHT.fullmatch(weight):
        raise ParameterError("--urls", f"line {number} is not like URL or 3 URL")
    if not 1 <= int(weight) <= HEAVIEST:
        raise ParameterError("--urls", f"line {number}: a weight is from 1 to {HEAVIEST}")
    if "://" not in url and base is None:
        why = f"{shown(url)} names no server, and no URL is given"
        raise ParameterError("--urls", f"line {number}: {why}")
    return Weighted(url if base is None else _resolved(url, base), int(weight))


def _resolved(url: str, base: str) -> str:
    """Return `url` on `base`'s server, its path as it was typed.

    `/a/../b` is asked for as such: what a server makes of it may be what is to be measured.
    """
    if "://" in url or not url.startswith("/") or url.startswith("//"):
        return urljoin(base, url)
    scheme, _, rest = base.partition("://")
    return f"{scheme}://{_AUTHORITY.split(rest, maxsplit=1)[0]}{url}"
