"""The settings that name pages beneath the root: index files, error pages, an application."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from aserve.config.checks import Errors, choice_errors, each_value
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.http.messages import REASON_PHRASES
from aserve.http.request_target import TargetPath

if TYPE_CHECKING:
    from aserve.config.settings import Settings

PLAIN_URLS = "plain"
"""Of urls: each URL is the path of a file, and no other."""
NO_PAGES = "off"
"""The value of error_page for none but the built-in ones."""

_STATUS = re.compile(r"([45])(?:xx|XX|[0-9]{2})", re.ASCII)
_NO_NAMES = frozenset({"", ".", ".."})


def page_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with index files, URLs and pages."""
    if not settings.index:
        yield "index", "must name at least one file"
    for item, name in each_value(settings, "index"):
        if not is_file_name(name):
            yield item, f"must be the name of a file, not {name!r}"
    yield from choice_errors("urls", settings.urls, (PLAIN_URLS, *CONVENTIONS))
    if settings.spa and parse_page(settings.spa) is None:
        yield "spa", f"must be the path of a file beneath the root, not {settings.spa!r}"
    for item, page in each_value(settings, "error_page"):
        if settings.error_page != (NO_PAGES,) and not parse_error_page(page):
            form = "STATUS=PATH, as in 404=missing.html or 5xx=broken.html"
            yield item, f"must be {form}, not {page!r}"


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
