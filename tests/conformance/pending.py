"""Rows that aserve does not hold yet, each with the capability that is missing.

They are expected to fail, strictly: who builds the capability removes its lines here.
"""

from collections.abc import Mapping

_ACCEPT = "an error's media type is chosen by the word text/html, and Accept is not read"

PENDING: Mapping[str, str] = {
    "chunked-with-blanks-around": "httptools refuses a tab behind the last transfer coding",
    "error-406-varies-with-accept-encoding": "the 406 for Accept-Encoding varies with Accept only",
    "error-in-text-where-html-is-refused": _ACCEPT,
    "error-in-text-where-html-is-lighter": _ACCEPT,
    "error-accept-of-longer-name": _ACCEPT,
}

CUTS: Mapping[str, str] = {
    "limit-chunk-size-of-zeros": "a chunk line that is too long is 400 whole and 431 piecemeal",
}
"""Rows whose answer depends on how their octets arrive."""
