"""Which requests are of tus, and what answers them; all others are passed on."""

from collections.abc import Callable

from aserve.filesystem.writing.errors import Missing
from aserve.handlers.handler import Handler, RequestContext
from aserve.handlers.methods import MethodDispatcher, allow_header
from aserve.handlers.writing.tus.checksum import ALGORITHMS
from aserve.handlers.writing.tus.creation import CreationSink
from aserve.handlers.writing.tus.locations import MARKER, Location, location_of
from aserve.handlers.writing.tus.patch import PatchSink
from aserve.handlers.writing.tus.protocol import (
    MEDIA_TYPE,
    NO_STORE,
    RESUMABLE,
    capabilities,
    check_version,
    tus_errors,
)
from aserve.handlers.writing.tus.uploads import METADATA, Uploads, progress
from aserve.handlers.writing.upload_folder import UploadFolder
from aserve.handlers.writing.writing import Writing
from aserve.http.messages import BodySink, Headers, HttpError, NotFound, Request, Response
from aserve.http1.limits import UNLIMITED

_METHODS = ("HEAD", "PATCH", "DELETE", "OPTIONS")


class ResumableUploads:
    """Answers requests of tus, and has another handler answer all others.

    on_conflict: what is done where a name is taken, unless the query of a creation says it.
    """

    def __init__(self, writing: Writing, on_conflict: str, inner: Handler) -> None:
        self._writing = writing
        self._inner = inner
        self._accept_inner = getattr(inner, "accept_body", None)
        uploads = Uploads(writing.tree)
        max_size = None if writing.max_upload == UNLIMITED else writing.max_upload
        self._capabilities = capabilities(max_size, ",".join(ALGORITHMS))
        self._creation = _Creation(writing, on_conflict, uploads)
        handlers: dict[str, Handler | None] = {
            "HEAD": _Head(writing, uploads),
            "PATCH": _Patch(writing, uploads),
            "DELETE": _Termination(writing, uploads),
            "OPTIONS": _Discovery(self._capabilities),
        }
        others: dict[str, Handler | None] = dict.fromkeys(("GET", "PUT", "POST", "MKCOL", "MOVE"))
        self._upload = MethodDispatcher(handlers | others)

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return what gets a body. Raises HttpError."""
        handler, request = self._route(request)
        accept_body = getattr(handler, "accept_body", None)
        sink: BodySink | None = accept_body(request, context) if accept_body else None
        return sink

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response to a request."""
        handler, request = self._route(request)
        response = handler.handle(request, context)
        if request.method == "OPTIONS" and handler is self._inner and _has_post(response):
            return response.with_headers(response.headers + self._capabilities)
        return response

    def _route(self, request: Request) -> tuple[Handler, Request]:
        """Return what answers a request, and the request with the method that it stands for."""
        if MARKER in request.target:
            location = location_of(self._writing.path_of(request))
            if location and self._writing.tree.may_add_to(location.folder):
                return self._upload, _with_asked_method(request)
        is_creation = request.method == "POST" and request.header("tus-resumable") is not None
        if is_creation and self._writing.tree.may_add_to(self._writing.path_of(request)):
            return self._creation, request
        return self._inner, request


def _with_asked_method(request: Request) -> Request:
    """Return a request with the method that a client wants which only has POST."""
    method = request.header("x-http-method-override") if request.method == "POST" else None
    return request._replace(method=method) if method in _METHODS else request


def _has_post(response: Response) -> bool:
    """Tell whether the target of an OPTIONS is one that files can be added to."""
    return any(name == "Allow" and "POST" in value for name, value in response.headers)


class _OfUploads:
    """What answers requests for uploads."""

    def __init__(self, writing: Writing, uploads: Uploads) -> None:
        self._writing = writing
        self._uploads = uploads

    def _location(self, request: Request) -> Location:
        if location := location_of(self._writing.path_of(request)):
            return location
        raise NotFound


class _Creation:
    """Answers POST into a folder."""

    def __init__(self, writing: Writing, on_conflict: str, uploads: Uploads) -> None:
        self._writing = writing
        self._on_conflict = on_conflict
        self._uploads = uploads

    def accept_body(self, request: Request, context: RequestContext) -> BodySink:
        """Return what begins an upload. Raises HttpError."""
        with tus_errors():
            path = self._writing.path_of(request)
            folder = UploadFolder(self._writing, path, self._on_conflict)
        return CreationSink(self._uploads, folder, self._writing.max_upload, request, context)

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Begin an upload by a request without a body. Raises HttpError."""
        return _without_body(self.accept_body, request, context)


class _Patch(_OfUploads):
    """Answers PATCH."""

    def accept_body(self, request: Request, context: RequestContext) -> BodySink:  # noqa: ARG002 - AcceptBody
        """Return what adds a body to an upload."""
        location, max_size = self._location(request), self._writing.max_upload
        return PatchSink(self._uploads, location, max_size, request)

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Answer a request without a body: it can tell the size, or that all is there."""
        return _without_body(self.accept_body, request, context)


class _Head(_OfUploads):
    """Answers HEAD."""

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return how much of an upload is there. Raises HttpError.

        If that is all of it, but the server was stopped before it had its name, or the name was
        taken then, it gets it now: clients take an upload of which nothing is missing as a file.
        """
        if not context.may_wait:
            raise BlockingIOError
        with tus_errors():
            check_version(request)
            location = self._location(request)
            if ended := self._uploads.find_ended(location.token):
                size = ("Upload-Length", str(ended.size))
                return Response(200, (*ended.headers(), size), length=0)
            headers = self._state(location) or self._complete(location)
            return Response(200, headers, length=0)

    def _state(self, location: Location) -> Headers:
        """Return what is known of an upload; nothing if all of it is there."""
        file = self._uploads.open(location, adds=False)
        try:
            size, metadata = file.state.size, file.state.metadata.get(METADATA)
            if size == file.size:
                return ()
            length = ("Upload-Defer-Length", "1") if size is None else ("Upload-Length", str(size))
            described = (("Upload-Metadata", metadata),) if metadata else ()
            return (*progress(file), length, *described)
        finally:
            file.abort()

    def _complete(self, location: Location) -> Headers:
        file = self._uploads.open(location)
        return (*self._uploads.store(location, file), ("Upload-Length", str(file.size)))


class _Termination(_OfUploads):
    """Answers DELETE."""

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Remove an upload. Raises HttpError."""
        if not context.may_wait:
            raise BlockingIOError
        with tus_errors():
            check_version(request)
            location = self._location(request)
            try:
                self._uploads.open(location, adds=False).discard()
            except Missing:
                if self._uploads.find_ended(location.token):
                    detail = "This upload is complete. Its file has an address of its own."
                    raise HttpError(403, detail) from None
                raise
        return Response(204, (RESUMABLE, NO_STORE))


class _Discovery:
    """Answers OPTIONS."""

    def __init__(self, headers: Headers) -> None:
        self._headers = (allow_header(_METHODS), *headers, ("Accept-Patch", MEDIA_TYPE))

    def handle(self, request: Request, context: RequestContext) -> Response:  # noqa: ARG002 - Handler
        """Return what an upload has, whether it is there or not."""
        return Response(204, self._headers)


def _without_body(
    accept_body: Callable[[Request, RequestContext], BodySink],
    request: Request,
    context: RequestContext,
) -> Response:
    if not context.may_wait:
        raise BlockingIOError
    sink = accept_body(request, context)
    try:
        sink.begin()
        return sink.respond()
    finally:
        sink.close()
