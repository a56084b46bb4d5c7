"""README and HEADER: which file is shown with a directory, and its bytes as HTML."""

from collections.abc import Iterable, Sequence
from html import escape

from aserve.filesystem.natural_order import find_in_any_case
from aserve.handlers.listing.model import FolderText

README_NAMES = (b"readme.md", b"readme", b"readme.txt")
HEADER_NAMES = (b"header.md",)
"""The files that are shown with a directory, in lower case; the first that is there is taken."""

MAX_TEXT_SIZE = 1 << 20
"""In bytes. A larger file is linked and not shown."""

UNREADABLE = "<p>It cannot be read at the moment.</p>\n"
"""What is shown in place of a file whose reading fails."""

_MAX_MARKDOWN_SIZE = 256 << 10
"""In bytes. A larger file is shown as it is: 100 KB take 0.1 s, or 4 s if all is brackets."""


def find_text(wanted: Iterable[bytes], names: Sequence[bytes]) -> bytes | None:
    """Return the first wanted name that a directory has, however it is cased.

    names: those in the directory, in natural order.
    """
    found = (find_in_any_case(names, name) for name in wanted)
    return next(filter(None, found), None)


def render_text(name: bytes, data: bytes) -> FolderText:
    """Return README or HEADER, rendered: as Markdown if its name says so, else as it is.

    data: its bytes; from more than MAX_TEXT_SIZE of them only a link is made.
    """
    if len(data) > MAX_TEXT_SIZE:
        return FolderText(name, None)
    text = data.decode("utf-8-sig", "replace")
    if name.lower().endswith(b".md") and len(data) <= _MAX_MARKDOWN_SIZE:
        from aserve.handlers.listing.markdown import render_markdown  # noqa: PLC0415

        return FolderText(name, render_markdown(text))
    return FolderText(name, f'<pre class="plain">{escape(text)}</pre>\n')
