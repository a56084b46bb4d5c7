"""Who gets which view of a site: users with equal rights have a site of their own.

A view has its own files, in which what its users may not read is not there: by every way to
them, as it is for what is hidden. So no handler has to ask who is there. What is decided here, once
for each request, is whose view it gets, and whether its path is open to them: by the rules alone,
so that the answer does not tell whether anything is there.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from aserve.access.authenticator import (
    AccessError,
    Authenticator,
    BusyError,
    TooManyFailuresError,
)
from aserve.access.rights import Right, View
from aserve.cache.keys import NOTHING_ELSE, KeyedOn
from aserve.handlers.handler import UPLOADS, Note, RequestContext
from aserve.http.messages import BodySink, Headers, HttpError, Request, Response
from aserve.http.origins import is_preflight
from aserve.http.request_target import parse_path
from aserve.policies.https import SCHEME
from aserve.policies.login_sink import LoginSink
from aserve.policies.router import Router
from aserve.policies.site import Site

CHALLENGE = ("WWW-Authenticate", 'Basic realm="aserve", charset="UTF-8"')
"""RFC 7617: the user and the password are in UTF-8."""

_READING = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "TRACE", "CONNECT"})
"""Methods that change nothing; of any other one, also an unknown one, that is not known."""
_WITHOUT_SINK = _READING - {"PROPFIND"}
_ASKING = frozenset({"HEAD", "OPTIONS"})
"""Of an upload in parts: to ask how much of it is there belongs to writing."""


class Views(NamedTuple):
    """Who has which view of a site.

    views: the first is of those without a login. by_user: which of them each user has. has_logins:
    whether there are users at all.
    """

    views: Sequence[View]
    by_user: Mapping[str, int]

    @property
    def has_logins(self) -> bool:
        """Whether there are users."""
        return bool(self.by_user)


class AccessRouter(Router):
    """Passes each request to the site of its user's view.

    sites: one for each of views, in that order. needs_tls: whether no login is asked for by http,
    where every view redirects to https. place: where the users are set.
    """

    def __init__(  # noqa: PLR0913 - all that decides who gets what
        self,
        sites: Sequence[Site],
        views: Views,
        authenticator: Authenticator,
        *,
        decode_slashes: bool = False,
        needs_tls: bool = False,
        place: str = "",
    ) -> None:
        self.own_keys = NOTHING_ELSE
        if views.has_logins:
            self.own_keys = KeyedOn(frozenset({"authorization"}), counts_client=True)
        super().__init__(sites)
        if views.has_logins:
            self.is_barred: Callable[[str, int], bool] | None = authenticator.is_barred
        self._views = views
        self._authenticator = authenticator
        self._decode_slashes = decode_slashes
        self._needs_tls = needs_tls
        self._place = place

    def select(self, request: Request) -> int:  # noqa: ARG002 - Router
        """Return the site of those without a login."""
        return 0

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return what the view of a user has at its path, or 401, 403, 429 or 503.

        Those are answered by the site of those without a login: its error pages are files that they
        may read. Raises BlockingIOError as Site.handle does.
        """
        if not request.error:
            try:
                return self._sites[self._admit(request, context)].handle(request, context)
            except HttpError as error:
                request = request._replace(error=error)
        return self._sites[0].handle(request, context)

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Return the response of a BodySink with what every response of its site has."""
        authorization = request.header("authorization")
        user = None
        if authorization and self._views.has_logins:  # which was checked before the body
            user = self._authenticator.known_user(authorization, context.now)
        return self._sites[self._view_of(user)].finish(request, context, response)

    def _accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        if request.method in _WITHOUT_SINK:
            return None
        try:
            return self._open_sink(request, context._replace(may_wait=False))
        except BlockingIOError:
            waiting = context._replace(may_wait=True)
            return LoginSink(request, partial(self._open, request, waiting))

    def _open(self, request: Request, context: RequestContext) -> BodySink | Response:
        sink = self._open_sink(request, context)
        return sink or self.handle(request, context)

    def _open_sink(self, request: Request, context: RequestContext) -> BodySink | None:
        accept_body = self._sites[self._admit(request, context)].accept_body
        return accept_body(request, context) if accept_body else None

    def _admit(self, request: Request, context: RequestContext) -> int:
        """Return which site answers a request. Raises HttpError where none may."""
        if is_preflight(request):  # which never has a login (WHATWG Fetch, 4.8)
            return 0
        if self._needs_tls and context.scheme != SCHEME:  # or the password would come by http
            return 0
        user = self._user_of(request, context)
        index = self._view_of(user)
        path = self._path_of(request)
        view, right = self._views.views[index], right_of(request.method, path)
        is_allowed = view.may(right, path)
        if context.notes is not None:
            who = f"{user} may" if user else "without a login one may"
            text = f"{who} {right} this" if is_allowed else f"{who} not {right} this"
            context.notes.append(Note("access", text, self._place))
        if is_allowed:
            return index
        if user is None and self._views.has_logins and view.rules.allows_someone(path, right):
            raise HttpError(401, "This needs a user name and a password.", (CHALLENGE,))
        raise HttpError(403, f"You may not {right} this.")

    def _view_of(self, user: str | None) -> int:
        return 0 if user is None else self._views.by_user.get(user, 0)

    def _user_of(self, request: Request, context: RequestContext) -> str | None:
        """Return the user of a request. Raises HttpError, and BlockingIOError as handle does."""
        try:
            return self._authenticator.user_of(
                request.header("authorization"),
                context.client,
                context.now,
                may_wait=context.may_wait,
            )
        except AccessError as error:
            raise _http_error(error) from None

    def _path_of(self, request: Request) -> bytes:
        """Return the path of a request, that of the root where its target is none."""
        try:
            path = parse_path(request.target, decode_slashes=self._decode_slashes)
        except HttpError:
            return b"/"
        return b"/" + b"/".join(path.segments)


def right_of(method: str, path: bytes) -> Right:
    """Return the right that a request needs. path: decoded."""
    if method in _ASKING and UPLOADS in path:
        return "write"
    return "read" if method in _READING else "write"


def _http_error(error: AccessError) -> HttpError:
    if isinstance(error, TooManyFailuresError):
        headers: Headers = (("Retry-After", str(error.retry_after)),)
        return HttpError(429, "Too many wrong passwords. Try again later.", headers, close=True)
    if isinstance(error, BusyError):
        headers = (("Retry-After", "1"),)
        return HttpError(503, "Many passwords are being checked. Try again in a moment.", headers)
    return HttpError(401, "The user name or the password is wrong.", (CHALLENGE,))
