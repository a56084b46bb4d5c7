"""The settings of files and folder pages: what is wrong with them."""

from typing import TYPE_CHECKING

from aserve.config.checks import Errors, choice_errors, each_value, range_errors
from aserve.filesystem.visibility import MAX_GLOBS, Symlinks, hide_error
from aserve.handlers.archive.formats import FORMATS, NEEDS_ZSTD, is_available
from aserve.handlers.listing.limits import MAX_PAGE_SIZE
from aserve.http.media_types import is_charset, parse_added_type

if TYPE_CHECKING:
    from aserve.config.settings import Settings

LISTINGS = ("auto", "on", "off")


def type_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with media types."""
    charset = settings.charset
    if not is_charset(charset):
        yield "charset", f"must be the name of a character encoding, or none, not {charset!r}"
    for item, added in each_value(settings, "types"):
        if parse_added_type(added) is None:
            yield item, f"must be SUFFIX=TYPE, as in srt=text/plain, not {added!r}"


def listing_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with what can be seen of a folder."""
    yield from choice_errors("listing", settings.listing, LISTINGS)
    yield from range_errors("page_size", settings.page_size, 1, MAX_PAGE_SIZE)
    yield from choice_errors("symlinks", settings.symlinks, [one.value for one in Symlinks])
    if len(settings.hide) > MAX_GLOBS:
        yield "hide", f"at most {MAX_GLOBS:,} globs, all of which are tried for each path"
    for item, glob in each_value(settings, "hide"):
        if reason := hide_error(glob):
            yield item, f"{reason}: {glob!r}"


def archive_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with the archives of folders."""
    for item, name in each_value(settings, "archive"):
        yield from choice_errors(item, name, FORMATS)
        if not is_available(name) and settings.archive != tuple(FORMATS):
            yield item, NEEDS_ZSTD
    for setting in ("archive_max_bytes", "archive_max_files"):
        if getattr(settings, setting) < 1:
            yield setting, "must be at least 1"
