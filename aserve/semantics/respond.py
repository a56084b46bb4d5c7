"""The one true answer: from a request and what it names to a response (RFC 9110 section 9)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from aserve.semantics import codings, conditions, ranges
from aserve.semantics.conditions import Verdict
from aserve.semantics.dates import format_date
from aserve.semantics.messages import Fields, FileSlice, Refused, Request, Response
from aserve.semantics.resources import Document, Folder, Representation, Resource
from aserve.semantics.targets import Path, parse_path

# A copy may be kept and must be asked about before each use: never stale, and 304 makes it cheap.
_CACHE_CONTROL = ("Cache-Control", "no-cache")


class Terms(NamedTuple):
    """What an answer depends on besides request and resource.

    now: POSIX time in whole seconds; methods: every method that is known, None if switched off;
    decode_slashes: whether %2F in a path divides names.
    """

    now: int
    methods: "Methods"
    decode_slashes: bool = False


Find = Callable[[Path], Resource]
"""Returns what a path names; raises Refused where it names nothing that may be had."""

Method = Callable[[Request, Find, Terms], Response]
Methods = Mapping[str, Method | None]


def respond(request: Request, find: Find, terms: Terms) -> Response:
    """Return the response to a request; raises Refused for what is answered with an error."""
    if request.refusal:
        raise request.refusal
    if request.method not in terms.methods:
        raise Refused(501, "This method is not known here.")
    method = terms.methods[request.method]
    if method is None:
        raise Refused(405, "This method is not allowed here.", (allow(terms.methods),))
    return method(request, find, terms)


def allow(methods: Methods) -> tuple[str, str]:
    """Return the Allow field: the methods of the table that are switched on."""
    return "Allow", ", ".join(name for name, method in methods.items() if method)


def get(request: Request, find: Find, terms: Terms) -> Response:
    """Answer GET: choose a representation, weigh the conditions, then the ranges (9.3.1)."""
    path = parse_path(request.target, decode_slashes=terms.decode_slashes)
    resource = find(path)
    if isinstance(resource, Folder):
        location = path._replace(folder=True).location()
        raise Refused(301, "A folder's address ends in a slash.", (("Location", location),))
    return _document(request, resource, terms.now)


def head(request: Request, find: Find, terms: Terms) -> Response:
    """Answer HEAD: as GET, without the content (9.3.2)."""
    return get(request, find, terms).without_body()


def _document(request: Request, document: Document, now: int) -> Response:
    chosen = codings.choose(document, request.fields.get("accept-encoding"))
    try:
        return _representation(request, document, chosen, now)
    except Refused as refused:
        refused.fields += _vary(document)
        raise


def _representation(
    request: Request, document: Document, chosen: Representation, now: int
) -> Response:
    verdict = conditions.evaluate(request, chosen.validator, now)
    if verdict is Verdict.FAILED:
        raise Refused(412, "The file is not in the state that the request depends on.")
    validating = (("ETag", chosen.validator.etag), _CACHE_CONTROL, *_vary(document))
    if verdict is Verdict.NOT_MODIFIED:
        # With what a 200 shares with it (15.4.5).
        return Response(304, validating, keepable=chosen.keepable)
    describing = _describing_fields(chosen, now)
    if parts := _ranges(request, chosen, now):
        # Who sends If-Range has the description already (RFC 9110 section 15.3.7).
        known = "if-range" in request.fields
        return _partial(chosen, parts, validating if known else describing + validating)
    fields = describing + validating
    body = FileSlice(chosen.content, 0, chosen.length)
    return Response(200, fields, (body,), chosen.length, keepable=chosen.keepable)


def _vary(document: Document) -> Fields:
    return (("Vary", "Accept-Encoding"),) if len(document.representations) > 1 else ()


def _describing_fields(chosen: Representation, now: int) -> Fields:
    modified: int | None = chosen.validator.modified
    if modified is not None and modified > now:  # hardly ever, so that it usually costs no call
        modified = chosen.validator.modified_by(now)
    fields: Fields = (
        ("Content-Type", chosen.media_type),
        # Where nothing tells, it is now at the latest (RFC 9110 section 8.8.2.1).
        ("Last-Modified", format_date(now if modified is None else modified)),
        ("Accept-Ranges", "bytes"),
    )
    if chosen.coding != "identity":
        fields += (("Content-Encoding", chosen.coding),)
    return fields


def _ranges(request: Request, chosen: Representation, now: int) -> list[ranges.ByteRange]:
    """Return the parts to send, none for the whole. Range is defined for GET alone (14.2)."""
    if request.method != "GET" or "range" not in request.fields:
        return []
    if not conditions.range_applies(request, chosen.validator, now):
        return []
    return ranges.satisfiable_ranges(request.fields["range"], chosen.length)


def _partial(chosen: Representation, parts: list[ranges.ByteRange], fields: Fields) -> Response:
    if len(parts) == 1:
        one = parts[0]
        fields = (("Content-Range", ranges.content_range(one, chosen.length)), *fields)
        body = FileSlice(chosen.content, one.start, one.stop)
        return Response(206, fields, (body,), len(body), keepable=chosen.keepable)
    # The tag holds the change time, so no content can have been written that foresees this.
    boundary = f"part-{chosen.validator.etag[1:-1]}"
    many = ranges.multipart(parts, chosen.content, chosen.media_type, chosen.length, boundary)
    others = tuple(field for field in fields if field[0] != "Content-Type")
    fields = (("Content-Type", many.media_type), *others)
    return Response(206, fields, many.pieces, many.length, keepable=chosen.keepable)
