"""Globs for names and paths, as regular expressions over bytes.

Names are chosen by clients, so no pattern may take more than linear time: a star is an atomic group
that takes the first match of what follows it, which leaves the most for the rest.
"""

import re

_CHARACTER = rb"[^/][\x80-\xbf]*+"  # one byte, or one character in UTF-8
_NAME_END = rb"(?=/|\Z)"
_TOKEN = re.compile(r"\*+|\?|\[(!?)(\]?[^\]]*)\]|.", re.DOTALL)
_SET_ITEM = re.compile(r"(.)-(.)|(.)", re.DOTALL)


def name_pattern(glob: str) -> bytes:
    """Return the pattern of names, of which "*", "?" and "[...]" match no slash.

    It matches from the start of a name; the caller adds what has to follow. Raises ValueError for a
    range that is none.
    """
    chunks = [b""]
    for match in _TOKEN.finditer(glob):
        if match[0][0] == "*":
            chunks.append(b"")
        else:
            chunks[-1] += _token_pattern(match)
    first, *others = chunks
    if not others:
        return first
    *middle, last = others
    return first + b"".join(rb"(?>[^/]*?" + chunk + b")" for chunk in middle) + b"[^/]*" + last


def path_pattern(glob: str, suffix: bytes = b"") -> bytes:
    """Return the pattern of paths whose names match those of a glob one by one.

    "**" is any number of names, none included, and at the end at least one. suffix: a pattern of
    what the last name may end in besides. Raises ValueError.
    """
    *before, last = _sequences(glob)
    groups = [_sequence_pattern(names, b"") for names in before]
    groups.append(_sequence_pattern(last, suffix) if last else b"")
    first, *others = groups
    if not others:
        return first
    skipping = [rb"(?>(?:[^/]*+/)*?" + group + b")" if group else b"" for group in others]
    return b"/".join([first, *skipping] if first else skipping)


def _sequences(glob: str) -> list[list[str]]:
    """Return the names between each two "**"."""
    sequences: list[list[str]] = [[]]
    for name in glob.split("/"):
        if name != "**":
            sequences[-1].append(name)
        elif sequences[-1] or len(sequences) == 1:
            sequences.append([])
    return sequences


def _sequence_pattern(names: list[str], suffix: bytes) -> bytes:
    return b"/".join(map(name_pattern, names)) + suffix + _NAME_END if names else b""


def _token_pattern(match: re.Match[str]) -> bytes:
    token = match[0]
    if token == "?":  # noqa: S105 - no password
        return _CHARACTER
    if match[2] is None:
        return re.escape(token.encode(errors="surrogateescape"))
    return _set_pattern(match[2], is_negated=bool(match[1]))


def _set_pattern(members: str, *, is_negated: bool) -> bytes:
    """Return the pattern of a set: characters beyond ASCII are several bytes, so alternatives."""
    options = []
    for first, last, single in _SET_ITEM.findall(members):
        if first and (first > last or not last.isascii()):
            raise ValueError(f"{first}-{last} must be a range of ASCII characters")
        parts = [_escape(one) for one in (single or first + last)]
        options.append(b"[" + b"-".join(parts) + b"]" if first else parts[0])
    either = b"(?:" + b"|".join(options) + b")"
    return b"(?!" + either + b")" + _CHARACTER if is_negated else b"(?!/)" + either


def _escape(character: str) -> bytes:
    return re.escape(character.encode(errors="surrogateescape"))
