"""Content codings: which representation a client gets (RFC 9110 section 12.5.3)."""

import re
from collections.abc import Mapping

from aserve.semantics.messages import Refused
from aserve.semantics.resources import Document, Representation

CODINGS: Mapping[str, bytes] = {"br": b".br", "zstd": b".zst", "gzip": b".gz"}
"""Every coding we can send, and the suffix of the sibling file that holds it."""

_IDENTITY = "identity"
_ALIASES = {"x-gzip": "gzip"}  # RFC 9110 section 8.4.1.3
_WEIGHTED = re.compile(
    r"(?P<coding>[\w!#$%&'*+.^`|~-]+)"
    r"(?:[ \t]*;[ \t]*[qQ]=(?P<q>0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?",
    re.ASCII,
)


def choose(document: Document, accept_encoding: str | None) -> Representation:
    """Return the representation to send; 406 where the client rules out every one there is.

    The heaviest quality wins, then a coding over none, then fewer octets.
    """
    plain = document.representations[0]
    if accept_encoding is None or (
        len(document.representations) == 1 and "0" not in accept_encoding
    ):
        return plain
    weights = _weights(accept_encoding)
    ranked = [
        (_quality(one.coding, weights), one.coding != _IDENTITY, -one.length, one)
        for one in document.representations
    ]
    quality, _, _, best = max(ranked, key=lambda row: row[:3])
    if quality > 0:
        return best
    raise Refused(406, "No form of this file has a content coding that the request accepts.")


def _weights(accept_encoding: str) -> dict[str, float]:
    """Parse the field; an element that is malformed is passed over."""
    weights: dict[str, float] = {}
    for element in accept_encoding.lower().split(","):
        if found := _WEIGHTED.fullmatch(element.strip(" \t")):
            coding = found["coding"]
            weights[_ALIASES.get(coding, coding)] = float(found["q"] or 1)
    return weights


def _quality(coding: str, weights: dict[str, float]) -> float:
    if coding in weights:
        return weights[coding]
    if coding == _IDENTITY:
        # Acceptable unless ruled out, and less wanted than whatever was named.
        return 0.0 if weights.get("*") == 0 else 0.0001
    return weights.get("*", 0.0)
