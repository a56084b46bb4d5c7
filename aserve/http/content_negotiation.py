"""Content codings: which representation a client gets (RFC 9110 section 12.5.3)."""

from collections.abc import Mapping

from aserve.http.messages import HttpError
from aserve.http.qvalues import parse_qvalues
from aserve.http.resources import Document, Representation

CODINGS: Mapping[str, bytes] = {"br": b".br", "zstd": b".zst", "gzip": b".gz"}
"""Every coding we can send, and the suffix of the sibling file that holds it."""

_IDENTITY = "identity"
_ALIASES = {"gzip": ("x-gzip",)}  # RFC 9110 section 8.4.1.3


def select_representation(document: Document, accept_encoding: str | None) -> Representation:
    """Return the representation to send; 406 where the client rules out every one there is.

    The heaviest quality wins, then a coding over none, then fewer octets.
    """
    plain = document.representations[0]
    if accept_encoding is None or (
        len(document.representations) == 1
        # A field that suits no form MAY be disregarded (RFC 9110 section 12.5.3): a file that is
        # compressed by itself is what was asked for by name.
        and (plain.coding != _IDENTITY or "0" not in accept_encoding)
    ):
        return plain
    accepted = parse_qvalues(accept_encoding)
    ranked = [
        (_quality(one.coding, accepted), one.coding != _IDENTITY, -one.length, one)
        for one in document.representations
    ]
    quality, _, _, best = max(ranked, key=lambda row: row[:3])
    if quality > 0:
        return best
    vary = (("Vary", "Accept-Encoding"),)
    raise HttpError(
        406, "No form of this file has a content coding that the request accepts.", vary
    )


def _quality(coding: str, accepted: Mapping[str, float]) -> float:
    for name in (coding, *_ALIASES.get(coding, ())):
        if name in accepted:
            return accepted[name]
    if coding == _IDENTITY:
        # Acceptable unless ruled out, and less wanted than whatever was named.
        return 0.0 if accepted.get("*") == 0 else 0.0001
    return accepted.get("*", 0.0)
