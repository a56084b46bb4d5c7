"""The base of all policies."""

from collections.abc import Sequence

from aserve.cache.keys import NOTHING_ELSE
from aserve.handlers.handler import CountRequest, Handler, Note, RequestContext
from aserve.http.messages import Headers, Request, Response


class Policy:
    """Applies to every request, to every response, or to both: access, redirects, headers.

    Policies are composed once, at the start. They are synchronous and pure: all that they decide
    follows from the request, its context and their settings. keyed_on must name what they read,
    since the response cache answers without asking them again; of the connection they see nothing
    else. One that reads the time is keyed on everything.
    """

    keyed_on = NOTHING_ELSE
    """What its decisions depend on, besides the method, the target and the file."""

    response_headers: Headers = ()
    """Headers that every response has, error responses too, before its own."""

    notes: Sequence[Note] = ()
    """What to say of these, if a response is to be explained."""

    count_request: CountRequest | None = None
    """Counts each request once, whatever answers it; None where none are counted. It alone may
    change something."""

    finishes_files = True
    """Whether finish has anything to do with responses made from files: those that have a path."""

    def wrap(self, handler: Handler) -> Handler:
        """Return what handles valid requests in place of handler, which it may call.

        What it returns may raise HttpError for an error response.
        """
        return handler

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:  # noqa: ARG002 - for subclasses
        """Return the response as it is sent. Called for every response, error responses too.

        Headers that all of them have belong into response_headers, which costs less.
        """
        return response
