"""How the end of a response is found: one rule for all handlers (RFC 9112 section 6.3)."""

from aserve.http.messages import BodyStream, CloseStream, Request, Response, close_streams
from aserve.http1.body_encoder import ChunkedStream, SizedStream

_WITHOUT_BODY = frozenset({*range(100, 200), 204, 304})
"""The statuses whose responses end with the head (RFC 9112 section 6.3)."""


def frame_response(
    request: Request, response: Response, close_stream: CloseStream = BodyStream.close
) -> tuple[Response, int]:
    """Return a response as it is sent, and the size of its body in bytes, without a stream's.

    Handlers need not care for framing. A body that must not be sent is dropped, and its stream
    closed. Any other gets its Content-Length; a stream without one is sent in chunks, and to an
    HTTP/1.0 client until the connection closes. Raises ValueError if the parts of the body
    contradict the response.
    """
    body = response.body
    if body[1:] and any(isinstance(part, BodyStream) for part in body):
        close_streams(body, close_stream)
        raise ValueError("the stream of a response has other parts beside it")
    if request.method == "HEAD" or response.status in _WITHOUT_BODY:
        return _without_body(response, close_stream), 0
    size = sum(map(len, body))
    if size and size == response.length:  # most responses
        return response, size
    if body and isinstance(body[0], BodyStream):
        return _frame_stream(request, response, body[0]), 0
    if size == response.length or response.takeover:
        return response, size
    if response.length is not None:  # the client would wait, or take the rest for a response
        raise ValueError(f"the response has {size} bytes, but a length of {response.length}")
    return response._replace(length=size), size


def _without_body(response: Response, close_stream: CloseStream) -> Response:
    """Return the head alone, which for HEAD has the length that a response to GET would have."""
    status, _, body, length, *_ = response
    close_streams(body, close_stream)
    if status < 200 or status == 204:
        length = None  # RFC 9110 section 8.6 forbids it
    elif length is None and body and status != 304:
        length = None if isinstance(body[0], BodyStream) else sum(map(len, body))
    return response._replace(body=(), length=length)


def _frame_stream(request: Request, response: Response, stream: BodyStream) -> Response:
    if response.length is not None:
        return response.with_body((SizedStream(stream, response.length),))
    if request.minor == 0:
        return response._replace(close=True)
    chunked = (("Transfer-Encoding", "chunked"), *response.headers)
    return response._replace(headers=chunked, body=(ChunkedStream(stream),))
