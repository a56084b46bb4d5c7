"""The rules of a site as its files say now: read before a request is answered."""

from aserve.filesystem.visibility import Find
from aserve.handlers.handler import AcceptBody, Handler, RequestContext
from aserve.handlers.redirects import RulesSource
from aserve.http.messages import Request, Response
from aserve.http.request_target import decoded_path
from aserve.policies.policy import Policy


class CurrentRules(Policy):
    """Has the files of rules read when they have changed, whatever the method is.

    find_hidden: that of Visibility.
    """

    def __init__(
        self, source: RulesSource, find_hidden: Find, *, decode_slashes: bool = False
    ) -> None:
        self._source = source
        self._find_hidden = find_hidden
        self._decode_slashes = decode_slashes

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler that asks another once the rules are those of now."""
        return _CurrentHandler(
            handler, self._source, self._find_hidden, decode_slashes=self._decode_slashes
        )


class _CurrentHandler:
    """Answers as another handler does, by the rules of now."""

    def __init__(
        self, handler: Handler, source: RulesSource, find_hidden: Find, *, decode_slashes: bool
    ) -> None:
        self._handler = handler
        self._source = source
        self._find_hidden = find_hidden
        self._decode_slashes = decode_slashes
        self.accept_body: AcceptBody | None = getattr(handler, "accept_body", None)

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the handler's response, which is cached only until the rules change.

        Raises BlockingIOError where a file has to be read, and that may not be waited for.
        """
        try:
            self._source.current(context.now, wait=context.may_wait)
        except BlockingIOError:
            if not self._is_hidden(request.target):
                raise
        response = self._handler.handle(request, context)
        return response if self._source.is_confirmed else self._source.bind(response)

    def _is_hidden(self, target: str) -> bool:
        """Tell whether a name is hidden whatever is on the disk, and so whatever the rules are.

        Scanners ask for such names: they take no thread where a disk hangs.
        """
        path = decoded_path(target, decode_slashes=self._decode_slashes)
        return self._find_hidden(path.rstrip(b"/")) is not None
