"""Whose rules a site has: how each host reads _headers and _redirects, and what then applies."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from aserve.rules import cloudflare_redirects, netlify_redirects
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


NETLIFY = "netlify"
CLOUDFLARE = "cloudflare"

DIALECTS: Mapping[str, Dialect] = {
    NETLIFY: Dialect(
        "Netlify: 301, a file comes before a rule without !",
        netlify_redirects.parse_redirects,
        parse_netlify_headers,
        optional_slash=True,
        ignores_case=True,
        appends=False,
        fills_headers=False,
    ),
    CLOUDFLARE: Dialect(
        "Cloudflare Pages: 302, a rule comes before a file",
        partial(cloudflare_redirects.parse_redirects, hides_index=True),
        parse_cloudflare_headers,
        optional_slash=False,
        ignores_case=False,
        appends=True,
        fills_headers=True,
    ),
}

_CLOUDFLARE_WITHOUT_REDIRECTS = DIALECTS[CLOUDFLARE]._replace(
    parse_redirects=cloudflare_redirects.parse_redirects
)


def find_dialect(name: str, *, hides_index: bool) -> Dialect:
    """Return a dialect by its name.

    hides_index: whether /index.html redirects to /, as Cloudflare does unless told otherwise.
    """
    if name == CLOUDFLARE and not hides_index:
        return _CLOUDFLARE_WITHOUT_REDIRECTS
    return DIALECTS[name]
