"""Pages that were uploaded run no script, and are no part of the site that they are on."""

from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.areas import WriteAreas
from aserve.http.messages import NOSNIFF, Headers, HttpError, Request, Response
from aserve.http.preconditions import SAFE_METHODS
from aserve.http.request_target import TargetPath, parse_path
from aserve.policies.policy import Policy

_SANDBOX = ("Content-Security-Policy", "sandbox")
"""Of another origin than the site, without scripts, forms and plugins (CSP level 3, 6.3.2)."""

_POLICY_NAME = "content-security-policy"


class UploadedPages(Policy):
    """Disarms responses with files below the paths that can be written to.

    HTML, SVG and XML, which can have scripts, get a sandbox. All get nosniff, so that no browser
    finds HTML in anything else. Pages that the server makes have a policy of their own and keep it;
    they show no file's markup.
    """

    def __init__(self, areas: WriteAreas, *, decode_slashes: bool = False) -> None:
        self._areas = areas
        self._decode_slashes = decode_slashes

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:  # noqa: ARG002 - Policy
        """Return a response with the headers that its file needs."""
        if not response.body and request.method not in SAFE_METHODS:
            return response  # as to an upload: nothing is shown, and nothing comes of it later
        if any(name.lower() == _POLICY_NAME for name, _ in response.headers):
            return response
        try:
            path = parse_path(request.target, decode_slashes=self._decode_slashes)
        except HttpError:
            return response
        return self.disarm(path, response)

    def disarm(self, path: TargetPath, response: Response) -> Response:
        """Return a response with the file at a path, which may be another than the request's."""
        if self._areas.mode_in(path.segments) is None:
            return response
        names = {name.lower() for name, _ in response.headers}
        added: Headers = () if NOSNIFF[0].lower() in names else (NOSNIFF,)
        if can_have_scripts(response):
            added += (_SANDBOX,)
        return response.with_headers(response.headers + added) if added else response


def can_have_scripts(response: Response) -> bool:
    """Tell whether a browser runs scripts of a file with this media type, or with none."""
    value = next((value for name, value in response.headers if name == "Content-Type"), "")
    media_type = value.partition(";")[0].strip().lower()
    if response.status == 304:  # may stand for anything that was stored before
        return True
    return media_type in _ACTIVE or media_type.endswith("+xml")


_ACTIVE = frozenset({"", "text/html", "text/xml", "application/xml", "application/xhtml+xml"})
