"""File names, which are bytes, as people see them and as URLs."""

from unicodedata import category
from urllib.parse import quote_from_bytes

_JOINERS = "\u200c\u200d"
"""They have no width, but Persian words and many emoji are wrong without them."""

_OPEN_BOX = "\N{OPEN BOX}"


def visible_name(name: bytes) -> str:
    r"""Return a name so that nothing in it is invisible, and no two names look the same by it.

    A byte that is not UTF-8 and a character that Python does not print, as a line break or one that
    turns the direction of what follows, are shown as Python writes them: \xff, \n, \u202e. A space
    at an end is shown as an open box. Names that consist of visible characters stay as they are.
    """
    return visible_text(name.decode("utf-8", "backslashreplace"))


def visible_text(text: str) -> str:
    """Return a text with what is invisible in it made visible, as in a name."""
    if not text.isprintable():
        text = "".join(map(_visible, text))
    inner = text.strip()
    if len(inner) == len(text):
        return text
    start = len(text) - len(text.lstrip())
    return _OPEN_BOX * start + inner + _OPEN_BOX * (len(text) - start - len(inner))


def name_reference(name: bytes, *, is_directory: bool = False) -> str:
    """Return the URL of a name relative to its directory; slashes in it separate names.

    All but letters, digits and "-._~" is encoded: "a:b" would be a URL with a scheme.
    """
    return quote_from_bytes(name) + ("/" if is_directory else "")


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS or category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
