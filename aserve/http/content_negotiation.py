"""Content negotiation: which representation a client gets (RFC 9110 section 12.5.3)."""

from collections.abc import Iterable, Mapping

from aserve.http.messages import HttpError
from aserve.http.qvalues import parse_qvalues
from aserve.http.resources import Document, Representation

CODINGS: Mapping[str, bytes] = {"br": b".br", "zstd": b".zst", "gzip": b".gz"}
"""Every coding that can be sent, and the suffix of the sibling file that holds it."""

_IDENTITY = "identity"
_ALIASES = {"gzip": ("x-gzip",)}  # RFC 9110 section 8.4.1.3


def select_representation(document: Document, accept_encoding: str | None) -> Representation:
    """Return the representation to send. Raises HttpError 406 if the client excludes all of them.

    The highest quality wins, then a coding over none, then the smaller size.
    """
    identity = document.representations[0]
    if accept_encoding is None or (
        len(document.representations) == 1
        # A header that no representation satisfies MAY be disregarded (RFC 9110 section 12.5.3):
        # a file that is itself compressed was requested by name.
        and (identity.coding != _IDENTITY or "0" not in accept_encoding)
    ):
        return identity
    accepted = parse_qvalues(accept_encoding)
    candidates = [
        (_quality(item.coding, accepted), item.coding != _IDENTITY, -item.length, item)
        for item in document.representations
    ]
    quality, _, _, best = max(candidates, key=lambda candidate: candidate[:3])
    if quality > 0:
        return best
    vary = (("Vary", "Accept-Encoding"),)
    raise HttpError(
        406, "No version of this file has a content coding that the request accepts.", vary
    )


def preferred_codings(accept_encoding: str, codings: Iterable[str]) -> tuple[str, ...]:
    """Return those codings that a client likes best, in their order; none if it likes none better.

    At the same quality, any coding is preferred to none, as by select_representation.
    """
    accepted = parse_qvalues(accept_encoding)
    qualities = {coding: _quality(coding, accepted) for coding in codings}
    best = max(qualities.values(), default=0.0)
    if best == 0 or best < _quality(_IDENTITY, accepted):
        return ()
    return tuple(coding for coding, quality in qualities.items() if quality == best)


def accepts_identity(accept_encoding: str) -> bool:
    """Tell whether a client accepts content in no coding."""
    return _quality(_IDENTITY, parse_qvalues(accept_encoding)) > 0


def _quality(coding: str, accepted: Mapping[str, float]) -> float:
    for name in (coding, *_ALIASES.get(coding, ())):
        if name in accepted:
            return accepted[name]
    if coding == _IDENTITY:
        # Acceptable unless excluded, and less preferred than any coding the client names.
        return 0.0 if accepted.get("*") == 0 else 0.0001
    return accepted.get("*", 0.0)
