"""Responses with a file: content coding, preconditions, ranges (RFC 9110 sections 12 to 14)."""

from functools import partial

from aserve.filesystem.memory_content import MemoryContent
from aserve.handlers.cache_control import NO_CACHE
from aserve.http import content_negotiation, preconditions, ranges
from aserve.http.dates import format_date
from aserve.http.messages import FileSlice, Header, Headers, HttpError, Request, Response, SizedPart
from aserve.http.preconditions import PreconditionResult
from aserve.http.resources import NO_TAG, UNKNOWN_LENGTH, UNKNOWN_TIME, Document, Representation

_VARY: Headers = (("Vary", "Accept-Encoding"),)


def respond_with_document(
    request: Request, document: Document, now: int, cache_control: Header = NO_CACHE
) -> Response:
    """Return the response to GET: a representation, preconditions, then ranges (9.3.1).

    now: POSIX time in seconds. cache_control: the header of that name. Raises HttpError for an
    error response, and BlockingIOError as DocumentEncoder does.
    """
    if document.encoder:
        document = document.encoder.offer(document, request)
    chosen = document.representations[0]
    if "accept-encoding" in request.headers:
        accepted = request.headers["accept-encoding"]
        chosen = content_negotiation.select_representation(document, accepted)
    vary = _VARY if document.varies or len(document.representations) > 1 else ()
    try:
        response = respond_with_representation(
            request, chosen, vary, document.path, now, cache_control
        )
    except HttpError as error:
        error.headers += vary
        raise
    return response._replace(absent=document.absent) if document.absent else response


def respond_with_representation(  # noqa: PLR0913, PLR0917 - all that is known of it
    request: Request,
    chosen: Representation,
    vary: Headers,
    path: bytes,
    now: int,
    cache_control: Header = NO_CACHE,
) -> Response:
    """Return the response to GET for one representation, which was chosen: as above.

    vary: the header that says why it was. path: as in Response. One that has no entity tag for now
    is not cached.
    """
    result = PreconditionResult.PROCEED
    if not preconditions.PRECONDITIONS.isdisjoint(request.headers):  # most requests have none
        result = preconditions.evaluate(request, chosen.validator, now)
    if result is PreconditionResult.FAILED:
        raise HttpError(412, "The file does not match the preconditions of the request.")
    validating: Headers = (("ETag", chosen.validator.etag), cache_control, *vary)
    if chosen.validator.etag == NO_TAG:
        validating, path = validating[1:], b""
    if result is PreconditionResult.NOT_MODIFIED:
        # With the headers that a 200 would have too (15.4.5).
        return Response(304, validating, path=path)
    describing = _representation_headers(chosen, now)
    if "range" in request.headers and (parts := _requested_ranges(request, chosen, now)):
        # A client that sends If-Range has the other headers already (RFC 9110 section 15.3.7).
        has_headers = "if-range" in request.headers
        headers = validating if has_headers else describing + validating
        return _partial_response(chosen, parts, headers)._replace(path=path)
    headers = describing + validating
    body = _part(chosen, 0, chosen.length)
    length = None if chosen.length == UNKNOWN_LENGTH else chosen.length
    return Response(200, headers, (body,), length, path=path)


def _part(chosen: Representation, start: int, stop: int) -> SizedPart:
    source = chosen.source
    if isinstance(source, MemoryContent):
        return source.part(start, stop)
    return FileSlice(source, start, stop)


def _representation_headers(chosen: Representation, now: int) -> Headers:
    headers: Headers = (("Content-Type", chosen.media_type),)
    modified: int | None = chosen.validator.modified
    if chosen.validator.modified > now:  # rare, so usually it costs no call
        modified = chosen.validator.last_modified(now)
    if chosen.validator.modified != UNKNOWN_TIME:
        # If it is not in the past, the latest it can be is now (RFC 9110 section 8.8.2.1).
        headers += (("Last-Modified", format_date(now if modified is None else modified)),)
    headers += (("Accept-Ranges", "none" if chosen.length == UNKNOWN_LENGTH else "bytes"),)
    if chosen.coding != "identity":
        headers += (("Content-Encoding", chosen.coding),)
    return headers


def _requested_ranges(request: Request, chosen: Representation, now: int) -> list[ranges.ByteRange]:
    """Return the ranges to send, none for the whole. Range is defined only for GET (14.2)."""
    if chosen.length == UNKNOWN_LENGTH or chosen.validator.etag == NO_TAG:
        return []
    if isinstance(chosen.source, MemoryContent) and '"' not in request.headers.get("if-range", '"'):
        return []  # a date is that of the file, which has other bytes at another level
    if request.method != "GET" or not preconditions.range_applies(request, chosen.validator, now):
        return []
    return ranges.satisfiable_ranges(request.headers["range"], chosen.length)


def _partial_response(
    chosen: Representation, parts: list[ranges.ByteRange], headers: Headers
) -> Response:
    if len(parts) == 1:
        part = parts[0]
        headers = (("Content-Range", ranges.content_range(part, chosen.length)), *headers)
        body = _part(chosen, part.start, part.stop)
        return Response(206, headers, (body,), len(body))
    # The tag depends on the change time or on a hash of the content, so no content contains it.
    boundary = f"part-{chosen.validator.etag[1:-1]}"
    multipart = ranges.encode_multipart(
        parts, partial(_part, chosen), chosen.media_type, chosen.length, boundary
    )
    others = tuple(header for header in headers if header[0] != "Content-Type")
    headers = (("Content-Type", multipart.media_type), *others)
    return Response(206, headers, multipart.parts, multipart.length)
