"""Globs for the paths of URLs, as header rules and the like have them.

"*" is anything, slashes included, as static hosts have it: "/docs/*" is all below /docs/, "*.js"
all that ends in .js. "{js,css}" is one of several. All else stands for itself.

Paths are chosen by clients, so no pattern may take more than linear time: a star is an atomic group
that takes the first match of what follows it, which leaves the most for the rest. Of two texts in
braces, the one that comes first may end last, so between stars each is a pattern of its own.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod

_MAX_PATTERNS = 1_000
"""How many texts the braces of a glob may stand for: each is tried."""
_TOO_MANY = f"braces stand for at most {_MAX_PATTERNS:,} texts"

_BRACE = re.compile(r"\{[^{}]*\}")
_IN_NO_PATH = re.compile(r"%(?!2[Ff])[0-9A-Fa-f]{2}|//|/\.{1,2}(?=/|$)")

_TOKEN = re.compile(r"\*+|\{[^{}]*\}|.", re.DOTALL)


class GlobError(ValueError):
    """A glob that can match nothing. Its text says what is wrong."""


def is_everything(glob: str) -> bool:
    """Tell whether every path matches a glob, one that is invalid included."""
    return "*" in glob and not glob.removeprefix("/").strip("*")


def covers(glob: str, other: str) -> bool:
    """Tell whether a glob is known to match every path that another one matches.

    Only a star matches a star or a brace of the other, and then whatever these match as well.
    """
    text = _BRACE.sub("\0", other).encode(errors="surrogateescape")
    return glob == other or compile_glob(glob).fullmatch(text) is not None


def unmatched_part(glob: str) -> str:
    """Return what is in a glob but hardly in a path, which is decoded and has no empty segments.

    An escaped slash stays as it is.
    """
    match = _IN_NO_PATH.search(glob)
    return match[0] if match else ""


@lru_cache(maxsize=256)
def compile_glob(glob: str) -> re.Pattern[bytes]:
    """Return the pattern that fullmatch finds in the paths that match a glob.

    A path begins with a slash and is decoded. Raises GlobError.
    """
    if not glob.startswith(("/", "*")):
        raise GlobError("a path begins with / or *")
    if is_everything(glob):
        return re.compile(b".*", re.DOTALL)
    first, *others = _chunks(glob)
    if not others:
        return re.compile(_joined(first))
    *middle, last = others
    if prod(map(len, middle)) > _MAX_PATTERNS:
        raise GlobError(_TOO_MANY)
    skipping = [b"".join(b"(?>.*?" + text + b")" for text in texts) for texts in product(*middle)]
    return re.compile(_joined(first) + _joined(skipping) + b".*" + _joined(last), re.DOTALL)


def _chunks(glob: str) -> list[Sequence[bytes]]:
    """Return what is between the stars of a glob: each the expressions of what it may be."""
    chunks: list[Sequence[bytes]] = [(b"",)]
    for token in _TOKEN.findall(glob):
        if token[0] == "*":
            chunks.append((b"",))
        else:
            texts = _texts(token)
            if len(chunks[-1]) * len(texts) > _MAX_PATTERNS:
                raise GlobError(_TOO_MANY)
            chunks[-1] = [before + text for before in chunks[-1] for text in texts]
    return chunks


def _texts(token: str) -> Sequence[bytes]:
    if len(token) > 1:
        return tuple(map(_escape, token[1:-1].split(",")))
    if token in {"{", "}"}:
        raise GlobError("a { has no }, or a } no {")
    return (_escape(token),)


def _joined(expressions: Sequence[bytes]) -> bytes:
    return b"(?:" + b"|".join(expressions) + b")" if len(expressions) > 1 else expressions[0]


def _escape(text: str) -> bytes:
    return re.escape(text.encode(errors="surrogateescape"))
