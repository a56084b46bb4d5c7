"""What a response holds open that will not be sent, or not to its end."""

from collections.abc import Iterable
from contextlib import suppress

from aserve.http.messages import BodyPart, BodyStream, Response
from aserve.transport.eventloop.connection_host import ConnectionHost
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.response_end import ResponseEnd


def discard_parts(parts: Iterable[BodyPart], pool: ThreadPool) -> None:
    """Close the streams among some parts, in a thread where that may wait."""
    for part in parts:
        if isinstance(part, BodyStream):
            pool.release(part)


def discard_response(response: Response, host: ConnectionHost) -> None:
    """Release what a response holds, none of which was sent. May be called on any thread."""
    discard_parts(response.body, host.thread_pool)
    if response.on_end:
        host.thread_pool.release(ResponseEnd(response.on_end))
    if response.takeover:
        with suppress(RuntimeError):  # the loop is closed
            host.loop.call_soon_threadsafe(response.takeover.abort)
