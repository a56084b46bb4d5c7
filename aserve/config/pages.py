"""The settings that name pages beneath the root: index files, error pages, an application."""

import os
import re
from collections.abc import Iterable, Mapping

from aserve.http.messages import REASON_PHRASES
from aserve.http.request_target import TargetPath

NO_PAGES = "off"
"""The value of error_page for none but the built-in ones."""

_STATUS = re.compile(r"([45])(?:xx|XX|[0-9]{2})", re.ASCII)
_NO_NAMES = frozenset({"", ".", ".."})


def is_file_name(text: str) -> bool:
    """Tell whether text can be the name of a file in a directory."""
    return text not in _NO_NAMES and "/" not in text and "\0" not in text


def parse_page(text: str) -> TargetPath | None:
    """Return the path of a file beneath the root, with or without a slash before it.

    None if it is none, or might lead out of the root.
    """
    names = text.removeprefix("/").split("/")
    if not all(map(is_file_name, names)):
        return None
    return TargetPath(tuple(map(os.fsencode, names)), is_directory=False)


def parse_error_page(text: str) -> Mapping[int, TargetPath]:
    """Return the page of each status that "STATUS=PATH" names; none if it is malformed.

    STATUS is an error, or a class of them as 5xx.
    """
    status, _, path = text.partition("=")
    page, match = parse_page(path), _STATUS.fullmatch(status)
    if not page or not match:
        return {}
    pattern = match[0].lower().replace("x", "[0-9]")
    return {code: page for code in REASON_PHRASES if re.fullmatch(pattern, str(code))}


def parse_error_pages(texts: Iterable[str]) -> Mapping[int, TargetPath]:
    """Return the page of each status; one that is named itself goes before its class."""
    pages = [parse_error_page(text) for text in texts]
    return {
        status: page
        for each in sorted(pages, key=len, reverse=True)  # classes first
        for status, page in each.items()
    }
