"""A site: a handler inside its policies. The one place that finishes every response."""

import logging
from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Self

from aserve.cache.keys import KeyedOn
from aserve.filesystem.directory import FileSystem
from aserve.handlers.error_pages import INTERNAL_ERROR, ErrorPages
from aserve.handlers.handler import AcceptBody, CountRequest, Handler, Note, RequestContext
from aserve.handlers.methods import MethodDispatcher, method_table
from aserve.handlers.static_files import StaticFiles
from aserve.http.messages import (
    BodyPart,
    FileSlice,
    HttpError,
    Request,
    Response,
    close_streams,
)
from aserve.http1.limits import Limits
from aserve.policies.policy import Policy
from aserve.policies.response_memory import MAX_INLINE_SIZE, ResponseMemory

if TYPE_CHECKING:
    from aserve.handlers.deferred import Deferred
    from aserve.handlers.folders import Folders
    from aserve.policies.trusted_proxies import TrustedProxies

_MAX_TRIES = 3  # for a small file that shrinks between stat and read

_BUILT_IN_PAGES = ErrorPages()

_logger = logging.getLogger("aserve")


class Site:
    """Answers every request with a response, whatever handlers and policies raise.

    policies: the outermost first. A valid request passes through them to the handler; then each
    response, also one to an invalid request, passes back through the finish of each.
    error_pages: makes the response to a request whose error is set. memory: of the bodies that
    handlers make.
    """

    count_request: CountRequest | None = None
    """Counts a request; None where none are counted."""

    is_barred: Callable[[str, int], bool] | None = None
    """Tells whether a client gets nothing from the response cache at a POSIX time, in seconds."""

    proxies: "TrustedProxies | None" = None
    """Of the outermost site: which peers are proxies that say who the client is; None for none."""

    def __init__(
        self,
        handler: Handler,
        policies: Sequence[Policy] = (),
        error_pages: Handler = _BUILT_IN_PAGES,
        memory: ResponseMemory | None = None,
    ) -> None:
        self.keyed_on = KeyedOn.union(policy.keyed_on for policy in policies)
        """What a cached response must be keyed on."""
        self._max_inline_size = MAX_INLINE_SIZE
        self.memory = memory or ResponseMemory(Limits().max_response_memory)
        """What the bodies take that handlers make."""
        self._error_pages = error_pages
        self._response_headers = tuple(
            header for policy in policies for header in policy.response_headers
        )
        counting = (policy.count_request for policy in policies if policy.count_request)
        self.count_request = next(counting, None)
        self._fixed_notes = [note for policy in policies for note in policy.notes]
        finishing = [
            policy
            for policy in reversed(policies)
            if type(policy).finish is not Policy.finish  # the others cost nothing
        ]
        self._finishers = [policy.finish for policy in finishing]
        self._file_finishers = [policy.finish for policy in finishing if policy.finishes_files]
        for policy in reversed(policies):
            handler = policy.wrap(handler)
        self._handler = handler
        self.accept_body: AcceptBody | None = getattr(handler, "accept_body", None)
        """Returns what gets the body of a request, None to discard it.

        It is the outermost handler's: behind a policy that does not pass it on, no handler gets a
        body.
        """

    @classmethod
    def of_files(  # noqa: PLR0913 - parts of a site, by their names
        cls,
        files: FileSystem,
        policies: Sequence[Policy] = (),
        *,
        allow_trace: bool = False,
        connect: Handler | None = None,
        decode_slashes: bool = False,
        folders: "Deferred[Folders] | None" = None,
    ) -> Self:
        """Return a site of files; the other arguments are those of StaticFiles and method_table."""
        methods = method_table(
            StaticFiles(files, decode_slashes=decode_slashes, folders=folders),
            allow_trace=allow_trace,
            connect=connect,
            decode_slashes=decode_slashes,
        )
        return cls(MethodDispatcher(methods), policies)

    def without_inlined_bodies(self) -> "Site":
        """Return the same site, but with every body left in its file, for the caller to read."""
        site = copy(self)
        site._max_inline_size = 0  # noqa: SLF001 - of the same class
        return site

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response to a request; to request.error, if that is set.

        Raises BlockingIOError if context.may_wait is False and it would have to wait for a disk.
        """
        if context.notes is not None:
            context.notes.extend(self._fixed_notes)
        respond = self._respond_at_once if request.error else self._respond
        response = respond(request, context)
        if self._finishers:
            response = self._apply_finishers(request, context, response)
        is_small = response.length is not None and response.length <= MAX_INLINE_SIZE
        return response if is_small else self._hold(request, context, response)

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Return the response of a BodySink with what every response of this site has."""
        response = self._apply_finishers(request, context, self._with_headers(response))
        return self._hold(request, context, response)

    def _hold(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Count a large body that was made here, or say that there is no memory for it."""
        if request.method == "HEAD" and isinstance(next(iter(response.body), None), bytes):
            size = sum(map(len, response.body))
            return response.without_body() if size > MAX_INLINE_SIZE else response
        try:
            return self.memory.hold(response)
        except HttpError as error:
            failed = request._replace(error=error)
            response = self._respond_at_once(failed, context)
            return self._apply_finishers(failed, context, response)

    def _apply_finishers(
        self, request: Request, context: RequestContext, response: Response
    ) -> Response:
        finished = response
        try:
            for finish in self._file_finishers if response.path else self._finishers:
                finished = finish(request, context, finished)
        except Exception as error:
            _discard(response)
            if not context.may_wait and isinstance(error, BlockingIOError):
                raise
            # The boundary, as in _respond.
            _log_internal_error(error, request)
            failed = request._replace(error=INTERNAL_ERROR)
            return self._respond_at_once(failed, context)  # as it is: not finished again
        return finished

    def _respond(self, request: Request, context: RequestContext) -> Response:
        try:
            for _ in range(_MAX_TRIES):
                response = self._handler.handle(request, context)
                if (body := _inline_body(response, self._max_inline_size)) is not None:
                    headers = self._response_headers + response.headers
                    return response.with_headers(headers, body)
        except HttpError as error:
            return self._reject(request, context, error)
        except Exception as error:
            if not context.may_wait and isinstance(error, BlockingIOError):
                raise
            # The boundary: an internal error is one response and one log line.
            _log_internal_error(error, request)
            return self._respond_at_once(request._replace(error=INTERNAL_ERROR), context)
        return self._reject(request, context, HttpError(503, "The file is being rewritten."))

    def _reject(self, request: Request, context: RequestContext, error: HttpError) -> Response:
        # Not kept in a variable of a frame in its traceback: that is a cycle, which would keep the
        # files of those frames open until the garbage collector runs.
        return self._respond_with_error(request._replace(error=error), context)

    def _respond_at_once(self, request: Request, context: RequestContext) -> Response:
        """Return the response to an error that no handler has raised.

        It may be one of an overload, answered by the event loop whatever the context says, so a
        page of the site is sent only if it can be read without waiting.
        """
        try:
            return self._respond_with_error(request, context._replace(may_wait=False))
        except BlockingIOError:
            return self._with_headers(_BUILT_IN_PAGES.handle(request, context))

    def _respond_with_error(self, request: Request, context: RequestContext) -> Response:
        if context.notes is not None and (error := request.error):
            context.notes.append(Note("error", f"{error.status}: {error.detail}"))
        try:
            response = self._error_pages.handle(request, context)
        except Exception as error:
            if not context.may_wait and isinstance(error, BlockingIOError):
                raise
            _log_internal_error(error, request)
            response = _BUILT_IN_PAGES.handle(request, context)
        return self._with_headers(response)

    def _with_headers(self, response: Response) -> Response:
        return response.with_headers(self._response_headers + response.headers)


def _log_internal_error(error: Exception, request: Request) -> None:
    # The record gets its text: an error that is kept keeps the frames of its traceback, and so
    # their files.
    _logger.error("internal error: %s while answering %r", repr(error), request.target)


def _discard(response: Response) -> None:
    """Release what a response holds that is not sent."""
    close_streams(response.body)
    if response.takeover:
        response.takeover.abort()


def _inline_body(response: Response, max_size: int) -> tuple[BodyPart, ...] | None:
    """Return the body, read into memory if it is small; None if the file has shrunk."""
    if response.length is None or response.length > max_size:
        return response.body
    parts: tuple[BodyPart, ...] = ()
    for part in response.body:
        data = part
        if isinstance(part, FileSlice):
            data = part.source.read(part.start, part.stop)
            if len(data) < part.stop - part.start:
                return None
        parts += (data,)
    return parts
