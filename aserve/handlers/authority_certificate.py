"""The certificate of the local authority, for phones and machines that are to trust it."""

from pathlib import Path

from aserve.handlers.handler import RequestContext
from aserve.http.messages import NOSNIFF, NotFound, Request, Response

PATH = "/.aserve/ca.pem"

_HEADERS = (
    ("Content-Type", "application/x-x509-ca-cert"),  # by which phones offer to install it
    ("Cache-Control", "no-cache"),
    NOSNIFF,
)


class AuthorityCertificate:
    """Answers GET and HEAD with a file that has one certificate, and no key."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the certificate as it is now; raises NotFound where there is none yet."""
        if not context.may_wait:
            raise BlockingIOError
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            raise NotFound from None
        response = Response(200, _HEADERS, (data,), len(data))
        return response.without_body() if request.method == "HEAD" else response
