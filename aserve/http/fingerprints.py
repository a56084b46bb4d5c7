"""Names that have a hash of the file in them, as build tools make them: another file, another name.

A file that is taken for one is cached for a year, and no reload of a page gets a newer one. So a
date, a version or a word must not pass for a hash; a hash that passes for a word only costs a
revalidation. Pages never count: their URLs are typed and linked.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

# Hexadecimal, as webpack, Parcel, esbuild's --hash, MkDocs and Docusaurus have them: at least one
# digit and one letter, so no date and no word; and not one letter alone before or behind a number,
# as a revision of a date has it. Alone, without another name, it must be longer.
_HEX = re.compile(
    rb"(?:^(?=[0-9a-f]{16})|[.-])(?=[0-9a-f]*[0-9])(?=[0-9]*[a-f])"
    rb"(?![a-f]?[0-9]+[a-f]?\.)[0-9a-f]{8,}\.",
    re.MULTILINE,
)

# Base32, as esbuild and Angular have them: a digit before a letter, which no acronym has.
_BASE32 = re.compile(rb"[.-](?=[A-Z2-7]*[2-7][A-Z])[A-Z2-7]{8}\.")

# Base64, as Vite, Rollup, VitePress and Astro have them.
_BASE64 = re.compile(rb"[.-]([A-Za-z0-9_-]{8})\.[a-z0-9]+$")
_MIXED = re.compile(rb"(?=.*[a-z]).*[A-Z0-9]")
_WORDS = re.compile(
    rb"(?:[A-Z]?[a-z]{2,}"  # a word
    rb"|[vx]?[0-9]+[a-z]?"  # a number, a version, a part as in 1a
    rb"|[eix](?=[A-Z])|[A-Z](?=[0-9])"  # as in iPhone and Q4
    rb"|[-_])+"
)

# All of these have as much before a dot, which most other names have not.
_LONG_WORD = re.compile(rb"[\w-]{8}\.")

_CODE = (b".js", b".mjs", b".css", b".map", b".wasm", b".woff2", b".woff")
_PAGES = (b".html", b".htm", b".xhtml")
_BUILD_DIRECTORIES = frozenset({b"assets", b"_astro", b"_nuxt", b"_app", b"_next", b"chunks"})
_IMMUTABLE_DIRECTORIES = frozenset({(b"_app", b"immutable"), (b"_next", b"static")})
"""Of SvelteKit and Next.js, which say so of all that is in them."""


def is_fingerprinted(segments: Sequence[bytes]) -> bool:
    """Tell whether the last name on a path has a hash of the file in it."""
    name = segments[-1] if segments else b""
    if len(segments) < 3 and not _LONG_WORD.search(name):
        return False
    if b"." not in name or name.endswith(_PAGES):
        return False
    if _HEX.search(name) or _BASE32.search(name):
        return True
    directories = segments[:-1]
    if len(directories) > 1 and not _IMMUTABLE_DIRECTORIES.isdisjoint(pairwise(directories)):
        return True
    is_built = name.endswith(_CODE) or not _BUILD_DIRECTORIES.isdisjoint(directories)
    return is_built and _has_base64(name)


def _has_base64(name: bytes) -> bool:
    match = _BASE64.search(name)
    return bool(match and _MIXED.match(match[1]) and not _WORDS.fullmatch(match[1]))
