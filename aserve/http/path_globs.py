"""Globs for the paths of URLs, as header rules and the like have them.

"*" is anything, slashes included, as static hosts have it: "/docs/*" is all below /docs/, "*.js"
all that ends in .js. "{js,css}" is one of several. All else stands for itself.

Paths are chosen by clients, so no pattern may take more than linear time: a star is an atomic group
that takes the first match of what follows it, which leaves the most for the rest.
"""

import re
from functools import lru_cache

_TOKEN = re.compile(r"\*+|\{[^{}]*\}|.", re.DOTALL)


class GlobError(ValueError):
    """A glob that can match nothing. Its text says what is wrong."""


def is_everything(glob: str) -> bool:
    """Tell whether every path matches a glob, one that is invalid included."""
    return "*" in glob and not glob.removeprefix("/").strip("*")


@lru_cache(maxsize=256)
def compile_glob(glob: str) -> re.Pattern[bytes]:
    """Return the pattern that fullmatch finds in the paths that match a glob.

    A path begins with a slash and is decoded. Raises GlobError.
    """
    if not glob.startswith(("/", "*")):
        raise GlobError("a path begins with / or *")
    if is_everything(glob):
        return re.compile(b".*", re.DOTALL)
    chunks = [b""]
    for token in _TOKEN.findall(glob):
        if token[0] == "*":
            chunks.append(b"")
        else:
            chunks[-1] += _literal(token)
    first, *others = chunks
    if not others:
        return re.compile(first)
    *middle, last = others
    skipping = b"".join(b"(?>.*?" + chunk + b")" for chunk in middle)
    return re.compile(first + skipping + (b".*" + last), re.DOTALL)


def _literal(text: str) -> bytes:
    if len(text) == 1:
        if text in "{}":
            raise GlobError("a { has no }, or a } no {")
        return _escape(text)
    return b"(?:" + b"|".join(map(_escape, text[1:-1].split(","))) + b")"


def _escape(text: str) -> bytes:
    return re.escape(text.encode(errors="surrogateescape"))
