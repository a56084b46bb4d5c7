"""Whose rules a site has: how each host reads _headers and _redirects, and what then applies."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from aserve.rules.headers_file import (
    ParsedHeaders,
    parse_cloudflare_headers,
    parse_netlify_headers,
)
from aserve.rules.redirects_file import ParsedRedirects


class Dialect(NamedTuple):
    """How a host reads the files of rules.

    optional_slash: whether /x is /x/ as well. ignores_case: whether the paths of headers are the
    same in both cases. appends: whether a header that two blocks set has both values; else the
    later one. fills_headers: whether placeholders of the path are filled in in headers.
    """

    summary: str
    parse_redirects: Callable[[str], ParsedRedirects]
    parse_headers: Callable[[str], ParsedHeaders]
    optional_slash: bool
    ignores_case: bool
    appends: bool
    fills_headers: bool


# Most sites have no redirects: then neither parser is imported.


def _parse_netlify_redirects(text: str) -> ParsedRedirects:
    if not text:
        return ParsedRedirects((), ())
    from aserve.rules.netlify_redirects import parse_redirects

    return parse_redirects(text)


def _parse_cloudflare_redirects(text: str, *, hides_index: bool = False) -> ParsedRedirects:
    if not text:
        return ParsedRedirects((), ())
    from aserve.rules.cloudflare_redirects import parse_redirects

    return parse_redirects(text, hides_index=hides_index)


NETLIFY = "netlify"
CLOUDFLARE = "cloudflare"

DIALECTS: Mapping[str, Dialect] = {
    NETLIFY: Dialect(
        "Netlify: 301, a file comes before a rule without !",
        _parse_netlify_redirects,
        parse_netlify_headers,
        optional_slash=True,
        ignores_case=True,
        appends=False,
        fills_headers=False,
    ),
    CLOUDFLARE: Dialect(
        "Cloudflare Pages: 302, a rule comes before a file",
        partial(_parse_cloudflare_redirects, hides_index=True),
        parse_cloudflare_headers,
        optional_slash=False,
        ignores_case=False,
        appends=True,
        fills_headers=True,
    ),
}

_CLOUDFLARE_WITHOUT_REDIRECTS = DIALECTS[CLOUDFLARE]._replace(
    parse_redirects=_parse_cloudflare_redirects
)


def find_dialect(name: str, *, hides_index: bool) -> Dialect:
    """Return a dialect by its name.

    hides_index: whether /index.html redirects to /, as Cloudflare does unless told otherwise.
    """
    if name == CLOUDFLARE and not hides_index:
        return _CLOUDFLARE_WITHOUT_REDIRECTS
    return DIALECTS[name]
