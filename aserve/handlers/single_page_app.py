"""Single-page applications: URLs that only a script knows get the page with the script."""

from aserve.filesystem.directory import ResourceFinder
from aserve.handlers.handler import Handler, Note, RequestContext
from aserve.handlers.representation import respond_with_document
from aserve.http.media_types import MediaTypes
from aserve.http.messages import Headers, NotFound, Request, Response
from aserve.http.qvalues import parse_qvalues
from aserve.http.request_target import TargetPath
from aserve.http.resources import Document

_VARY: Headers = (("Vary", "Sec-Fetch-Mode, Accept"),)


class SinglePageApp:
    """Answers what another handler does not find with one page, but only to navigations.

    An application's routes are no files, so a browser that opens one needs the page. A script or an
    image that is missing must stay a 404: with the page in its place, it fails in ways that do not
    name the cause. A browser says what it is about to do with the response (Fetch Metadata); for
    other clients, the header Accept and the suffix decide.

    These responses are not cached here: they depend on every name on the path not being there, and
    a navigation is one request of a page's many.

    place: where it was asked for, for notes.
    """

    def __init__(
        self,
        handler: Handler,
        files: ResourceFinder,
        page: TargetPath,
        media_types: MediaTypes,
        place: str = "",
    ) -> None:
        self._handler = handler
        self._files = files
        self._page = page
        self._media_types = media_types
        self._place = place

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response of the other handler, or the page."""
        try:
            return self._handler.handle(request, context)
        except NotFound as error:
            is_navigation = self._is_navigation(request)
            page = self._find_page(context) if is_navigation else None
            if context.notes is not None:
                context.notes.append(self._note(is_navigation=is_navigation))
            if not page:
                error.headers += _VARY
                raise
        response = respond_with_document(request, page, context.now)
        response = response._replace(headers=response.headers + _VARY, path=b"", absent=())
        return response.without_body() if request.method == "HEAD" else response

    def _note(self, *, is_navigation: bool) -> Note:
        page = self._page.location()
        text = f"nothing is there, so a navigation gets {page}, if that is there"
        if not is_navigation:
            text = f"nothing is there, and only a navigation would get {page}"
        return Note("rule", text, self._place)

    def _find_page(self, context: RequestContext) -> Document | None:
        try:
            resource = self._files.find(self._page, wait=context.may_wait)
        except NotFound:
            return None
        return resource if isinstance(resource, Document) else None

    def _is_navigation(self, request: Request) -> bool:
        mode = request.header("sec-fetch-mode")
        if mode is not None:
            return mode == "navigate"
        accepted = parse_qvalues(request.headers.get("accept", ""))
        return accepted.get("text/html", 0) > 0 and not self._names_a_file(request.target)

    def _names_a_file(self, target: str) -> bool:
        """Tell whether the last segment of a target has a suffix that is a file's."""
        name = target.partition("?")[0].rpartition("/")[2]
        return self._media_types.knows_suffix(name.encode("latin-1"))
