"""What every handler and policy has in common: a request and its context in, a response out."""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from aserve.http.messages import BodySink, HttpError, Request, Response

Topic = Literal[
    "host", "site", "access", "rule", "error", "file", "coding", "cache", "header", "memory"
]
"""What a note is about, in the order in which it is decided."""


UPLOADS = b"/.aserve/tus/"
"""What is in the path of each upload in parts, decoded: such paths are of nothing else."""


class Note(NamedTuple):
    """What decided something about one response, for `aserve check --explain`.

    topic: what was decided. text: how and why, in words. place: where that is said, such as
    "_redirects:12", "aserve.toml:4" or "--cors" (Settings.place_of); "" for what is built in.
    """

    topic: Topic
    text: str
    place: str = ""


class RequestContext(NamedTuple):
    """What a response may depend on besides the request.

    now: POSIX time in whole seconds. may_wait: whether the handler may wait for a disk; if not, it
    raises BlockingIOError where it would have to.

    The others are facts of the connection, and are only set if a policy declares that it is keyed
    on them (KeyedOn). client: the client's address, "-" if it has none. scheme: "http" or "https".
    server_name: the name that the client asked for in its TLS handshake, "" without one.

    notes: where each handler and policy says what it decides, in order, if the response is to be
    explained; None for a request of a client. So that nothing is paid for it then:

        if context.notes is not None:
            context.notes.append(Note("rule", f"{status} to {location}", place))
    """

    now: int
    may_wait: bool = True
    client: str = "-"
    scheme: str = "http"
    server_name: str = ""
    notes: list[Note] | None = None


class Handler(Protocol):
    """Answers requests: synchronous, for an event loop, a worker thread, any I/O model."""

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response to a request; raises HttpError for an error response.

        Raises BlockingIOError where context.may_wait is False and it would have to wait.
        """


CountRequest = Callable[[Request, str, float], HttpError | None]
"""Counts a request of a client at a POSIX time; returns the error to answer it with if it is one
too many. A server calls it once for each valid request, before a body is accepted."""

AcceptBody = Callable[[Request, RequestContext], BodySink | None]
"""Returns what gets the body of a request, None to discard it. Raises HttpError.

It never waits, whatever the context says: what has to wait belongs into the sink. A handler that
takes bodies has a method of this type, accept_body, and so has each policy's handler around it.
"""
