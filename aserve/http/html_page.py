"""What all built-in pages share: their look and their frame.

A page is one file. Its style and its script are part of it, and a Content-Security-Policy names
their hashes: unlike a nonce these are the same in a response that a 304 confirms.
"""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

_FOR_PEOPLE = re.compile(r"/\*.*?\*/|\n\s*", re.DOTALL)

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
{body}</html>
"""


class Inline(NamedTuple):
    """A style sheet or a script that is part of a page. source: allows it in a CSP."""

    text: str
    source: str


def inline(text: str) -> Inline:
    """Return a style sheet or a script with its source for a CSP (CSP 3 section 6.7.3.3)."""
    return Inline(text, f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'")


def read_style(path: Path) -> str:
    """Return the style sheet in a file, without comments and line breaks."""
    return _FOR_PEOPLE.sub("", path.read_text(encoding="utf-8"))


def read_script(path: Path) -> str:
    """Return the script in a file, without indentation and the lines of comments."""
    lines = map(str.strip, path.read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def html_page(title: str, style: Inline, body: str) -> str:
    """Return a complete page. title and body are HTML."""
    return _PAGE.format(title=title, style=style.text, body=body)


SHARED_STYLE = read_style(Path(__file__).with_name("page.css"))
"""Colours and type of all built-in pages."""
