"""The option --lan: what others in the network open, and codes for the cameras of phones."""

import os
import sys
from collections.abc import Iterator, Sequence

from aserve.cli.banner import certificate_url, home_of
from aserve.cli.qr_code import format_qr_code
from aserve.config.settings import Settings


def format_codes(settings: Settings, origins: Sequence[str]) -> Iterator[str]:
    """Yield the lines of codes: one to trust the authority, if it is shared, and one to open it.

    origins: URLs by which others reach the server, the best one first. A server without a root is
    opened by the names of its sites, which no camera helps with.
    """
    for origin in origins[:1]:
        if settings.share_ca:
            yield from _captioned("scan once, and install it", certificate_url(origin))
        if settings.root:
            yield from _captioned("scan to open", origin + home_of(settings.root))


def _captioned(caption: str, url: str) -> Iterator[str]:
    """Yield a code below what it is for; nothing where standard error cannot show it."""
    if not sys.stderr or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return
    columns, lines = os.get_terminal_size(sys.stderr.fileno())
    code = format_qr_code(url, columns, lines, use_color="NO_COLOR" not in os.environ)
    if code and _is_encodable("".join(code), sys.stderr.encoding):
        yield from ("", f"{caption}: {url}", *code)


def _is_encodable(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
