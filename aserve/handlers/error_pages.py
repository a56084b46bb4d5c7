"""The handler of errors: it answers a request whose error is set."""

from aserve.handlers.handler import RequestContext
from aserve.http.error_pages import error_response
from aserve.http.messages import HttpError, Request, Response

INTERNAL_ERROR = HttpError(500, "Something went wrong here.", close=True)


class ErrorPages:
    """Answers every error and redirect with a small readable page."""

    def handle(self, request: Request, context: RequestContext) -> Response:  # noqa: ARG002 - Handler
        """Return the response to request.error."""
        return error_response(request, request.error or INTERNAL_ERROR)
