"""GET and HEAD of directories: listings and archives."""

from aserve.handlers.archive.handler import Archives
from aserve.handlers.handler import Note, RequestContext
from aserve.handlers.listing.handler import Listings
from aserve.http.messages import NotFound, Request, Response
from aserve.http.request_target import TargetPath


class Folders:
    """Answers directories with what is in them. listings: None where there are only archives."""

    def __init__(self, listings: Listings | None, archives: Archives) -> None:
        self._listings = listings
        self._archives = archives

    def respond_if_asked(
        self, request: Request, context: RequestContext, path: TargetPath
    ) -> Response | None:
        """Return the archive or the listing that the query names, None if it names neither."""
        if archive := self._archives.respond(request, context, path):
            return archive
        if self._listings and self._listings.is_asked_for(path.query):
            return self._listings.respond(request, context, path)
        return None

    def respond(
        self,
        request: Request,
        context: RequestContext,
        path: TargetPath,
        absent: tuple[bytes, ...] = (),
    ) -> Response:
        """Return what a directory without an index is answered with.

        absent: the paths at which there is no index. Raises HttpError.
        """
        if archive := self._archives.respond(request, context, path):
            return archive
        if self._listings is None:
            raise NotFound(absent)
        if context.notes is not None:
            context.notes.append(Note("rule", "a folder without an index: it is listed"))
        return self._listings.respond(request, context, path)
