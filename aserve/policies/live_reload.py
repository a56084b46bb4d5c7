"""Pages that reload when a file changes: a script in each of them, and the events it waits for."""

import secrets
import threading
from collections.abc import Callable, Iterable
from hashlib import blake2b
from importlib.resources import files
from urllib.parse import parse_qs

from aserve.cache.keys import KeyedOn
from aserve.handlers.handler import Handler, RequestContext
from aserve.handlers.page_script import insert_script
from aserve.http import preconditions
from aserve.http.content_security_policy import allow_script
from aserve.http.host_names import HostTable
from aserve.http.messages import (
    NOSNIFF,
    Headers,
    HttpError,
    Request,
    Response,
    Takeover,
    close_streams,
)
from aserve.http.preconditions import PreconditionResult
from aserve.http.request_target import parse_path
from aserve.http.resources import Validator
from aserve.policies.live_origin import check_origin
from aserve.policies.live_updates import LiveUpdates
from aserve.policies.policy import Policy

_SCRIPT_PATH = (b".aserve", b"live.js")
_EVENTS_PATH = (b".aserve", b"live")

_DESTINATION, _MODE = "sec-fetch-dest", "sec-fetch-mode"
_PAGE_DESTINATIONS = frozenset({"document", "iframe", "frame"})
"""What becomes a page. A fragment that a script fetches has "empty"."""

# What selects another form of a file than all of it, as it is, now.
_SELECTING = preconditions.PRECONDITIONS | {"range", "if-range", "accept-encoding"}
_DATES = frozenset({"if-modified-since", "if-unmodified-since"})

_NO_CACHE = ("Cache-Control", "no-cache")
_VARY = ("Vary", "Sec-Fetch-Dest, Sec-Fetch-Mode")

OpenStream = Callable[[str], Takeover]
"""Returns what sends a client its updates, from the one after an id on."""


class LiveReload(Policy):
    """Puts a script into each page, and tells it of changes. It is the outermost policy.

    hosts: names that the server was told are its own, in their normal form. The script's tag has
    the id of the last update before the file was opened: the page gets every later one, and no
    other.
    """

    keyed_on = KeyedOn(headers=frozenset({_DESTINATION, _MODE, "accept"}))

    def __init__(
        self, updates: LiveUpdates, open_stream: OpenStream, hosts: Iterable[str] = ()
    ) -> None:
        self._updates = updates
        self._open_stream = open_stream
        self._hosts = HostTable(dict.fromkeys(hosts, True))
        self._nonce = secrets.token_urlsafe(16)
        self._current = _CurrentRequest()

    def wrap(self, handler: Handler) -> Handler:
        """Return what answers with pages that have the script."""
        return _LiveHandler(self, handler)

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:  # noqa: ARG002 - Policy
        """Put the script into an error page, and have the policy of each page allow it."""
        update_id, needs_policy = self._current.take(request)
        if response.status >= 400 and wants_page(request):
            page = self.insert(request, response, update_id or self._updates.update_id)
            needs_policy, response = page is not None, page or response
        if not needs_policy:
            return response
        headers = ((name, self._allowing(name, value)) for name, value in response.headers)
        return response.with_headers(tuple(headers))

    def _allowing(self, name: str, value: str) -> str:
        is_policy = name.lower() == "content-security-policy"
        return allow_script(value, self._nonce) if is_policy else value

    def begin(self, request: Request) -> str:
        """Return the id of the last update before a request is handled."""
        return self._current.begin(request, self._updates.update_id)

    def allow(self) -> None:
        """Have what a policy says of the response to this request allow what the script does."""
        self._current.needs_policy = True

    def insert(self, request: Request, response: Response, update_id: str) -> Response | None:
        """Return a page with the script in it; None if the response is none."""
        # A page that is no file, as a folder's or an error's, may show anything of any file.
        is_made = bool(response.body) and isinstance(response.body[0], bytes)
        made = ' data-made=""' if is_made else ""
        tag = (
            f'<script src="/.aserve/live.js" nonce="{self._nonce}" data-since="{update_id}"{made}>'
            "</script>"
        )
        is_page = request.header(_DESTINATION) is not None
        page = insert_script(response, tag, f"live-{update_id}", is_page=is_page)
        self._current.needs_policy = page is not None
        return page

    def open_events(self, request: Request) -> Response:
        """Return the stream of updates. Raises HttpError for a client that may not have it."""
        check_origin(request, self._hosts)
        headers: Headers = (
            *(("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), NOSNIFF),
            ("X-Accel-Buffering", "no"),
        )
        if request.method == "HEAD":
            return Response(200, headers)
        query = parse_qs(request.target.partition("?")[2])
        last_id = request.header("last-event-id") or query.get("since", [""])[0]
        headers += (("Connection", "close"),)
        return Response(200, headers, takeover=self._open_stream(last_id))


class _CurrentRequest(threading.local):
    """What is known of the request that a thread handles, from its handler to finish."""

    head = update_id = ""
    needs_policy = False

    def begin(self, request: Request, update_id: str) -> str:
        """Note that a request is handled, and return the id of the last update before."""
        self.head, self.update_id, self.needs_policy = request.head, update_id, False
        return update_id

    def take(self, request: Request) -> tuple[str, bool]:
        """Return the id, "" if it was not handled, and whether policies must allow the script."""
        return (self.update_id, self.needs_policy) if self.head is request.head else ("", False)


class _LiveHandler:
    """Answers in place of a handler, with its pages."""

    def __init__(self, policy: LiveReload, handler: Handler) -> None:
        self._policy = policy
        self._handler = handler
        self.accept_body = getattr(handler, "accept_body", None)
        self._script = (files("aserve.policies") / "live.js").read_bytes()
        self._script_etag = f'"{blake2b(self._script, digest_size=8).hexdigest()}"'

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return a page with the script, the script, the events, or what the handler returns."""
        update_id = self._policy.begin(request)
        if request.method not in {"GET", "HEAD"}:
            return self._handler.handle(request, context)
        # Whether %2F is a slash, the handler decides: these two paths have none.
        path = parse_path(request.target, decode_slashes=True).segments
        if path == _SCRIPT_PATH:
            return self._respond_with_script(request, context)
        if path == _EVENTS_PATH:
            return self._policy.open_events(request)
        page = self._find_page(request, context, update_id) if wants_page(request) else None
        if page:
            return _apply_preconditions(request, page, context.now)
        response = self._handler.handle(request, context)
        media_type = next((value for name, value in response.headers if name == "Content-Type"), "")
        is_html = media_type.startswith("text/html")
        return response.with_headers((*response.headers, _VARY)) if is_html else response

    def _find_page(
        self, request: Request, context: RequestContext, update_id: str
    ) -> Response | None:
        """Return a whole page, whatever part or form of it is asked for; None if it is none."""
        headers = {name: text for name, text in request.headers.items() if name not in _SELECTING}
        whole = request._replace(method="GET", headers=headers)
        response = self._handler.handle(whole, context)
        page = None
        if response.status == 200:
            page = self._policy.insert(request, response, update_id)
        if page is None:
            close_streams(response.body)
            return None
        return page.with_headers((*page.headers, _VARY))

    def _respond_with_script(self, request: Request, context: RequestContext) -> Response:
        headers: Headers = (
            *(("Content-Type", "text/javascript; charset=utf-8"), NOSNIFF),
            *(("ETag", self._script_etag), _NO_CACHE),
        )
        script = Response(200, headers, (self._script,), len(self._script))
        self._policy.allow()  # what it says applies to the worker
        return _apply_preconditions(request, script, context.now)


def wants_page(request: Request) -> bool:
    """Tell whether a response may become a page: by what browsers say, or if they say nothing.

    They say it to local addresses and over TLS alone.
    """
    if request.method not in {"GET", "HEAD"}:
        return False
    destination = request.header(_DESTINATION)
    if destination is None:
        return "range" not in request.headers
    return destination in _PAGE_DESTINATIONS or _is_from_service_worker(request)


def _is_from_service_worker(request: Request) -> bool:
    """Tell whether a service worker fetches a page that was navigated to.

    Its destination is "empty", as that of a download, which names no type that it accepts.
    """
    is_navigation = request.header(_MODE) == "navigate"
    return is_navigation and "text/html" in request.headers.get("accept", "")


def _apply_preconditions(request: Request, response: Response, now: int) -> Response:
    """Return a response with an ETag and no date, or 304. Raises HttpError 412."""
    etag = next((value for name, value in response.headers if name == "ETag"), "")
    headers = {name: text for name, text in request.headers.items() if name not in _DATES}
    result = PreconditionResult.PROCEED
    if etag:
        asked = request._replace(headers=headers)
        result = preconditions.evaluate(asked, Validator(etag, modified=0), now)
    if result is PreconditionResult.FAILED:
        raise HttpError(412, "The page does not match the preconditions of the request.")
    if result is PreconditionResult.NOT_MODIFIED:
        kept = tuple(header for header in response.headers if header[0] != "Content-Type")
        return Response(304, kept)
    return response.without_body() if request.method == "HEAD" else response
