"""Connections that behave as a user's browser: they pause, follow redirects and keep cookies."""

import asyncio
import time

from abench.client.connection import Connection
from abench.client.connection_pool import ConnectionPool
from abench.client.cookie_jar import CookieJar
from abench.client.one_shot import OneShot
from abench.client.open_loop import OpenLoop, StagedOpenLoop
from abench.client.socket_transport import SocketTransport
from abench.plan.redirects import MAX_REDIRECTS, redirected, resource_of


class User(Connection):
    """A connection whose next request depends on the response: see Behavior.

    Each response is parsed, and none recognized by its head. A page that is reached by redirects is
    one request, timed from the first of them, with the status of the last response. What belongs to
    the user, the cookies, outlives a connection that is opened anew.
    """

    # Without __slots__: so it can be combined with each class that has some.

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        plan = pool.plan
        self._constant_request = b""  # none is: a redirect or a cookie may change it
        self._behavior = plan.behavior
        self._target = plan.target
        self._jar = (
            CookieJar(plan.target.host, is_secure=plan.target.tls)
            if plan.behavior.cookies
            else None
        )
        self._without_cookies = b""  # the request in flight, before cookies were added
        self._redirects = 0  # that led to the request in flight
        self._sent_on_connection = 0
        self._think_s = plan.behavior.think_s
        self._may_send = not self._think_s  # else it has to pause first
        self._has_begun = False
        self._is_thinking = False

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that the transport has read into the buffer."""
        self._parse(nbytes)

    def connection_made(self, transport: SocketTransport) -> None:
        """Use a new connection that the connector has opened."""
        self._sent_on_connection = 0
        super().connection_made(transport)

    def send_next(self) -> None:
        """Start a request, if one remains; after a pause for thought."""
        if self._may_send or not self._pool.remaining:
            self._may_send = not self._think_s
            super().send_next()
        elif self._pool.running and not self._is_thinking:
            self._think()

    def _think(self) -> None:
        """Pause; at first for any part of the longest pause, so that users are never in step."""
        shortest, longest = self._think_s or (0.0, 0.0)
        pause_s = self._pool.random.uniform(shortest if self._has_begun else 0.0, longest)
        self._has_begun = self._is_thinking = True
        self._pool.thinking += 1
        asyncio.get_running_loop().call_later(pause_s, self._think_no_more)

    def _think_no_more(self) -> None:
        self._is_thinking, self._may_send = False, True
        self._pool.thinking -= 1
        self.send_next()

    def _next_request(self) -> bytes:
        self._without_cookies = super()._next_request()
        self._redirects = 0
        self._add_cookies()
        return self._request

    def _add_cookies(self) -> None:
        request = self._without_cookies
        if self._jar is not None:
            request = self._jar.add_to(request, resource_of(request), time.time())
        self._request = request

    def _send(self) -> None:
        self._sent_on_connection += 1
        super()._send()

    def _response_complete(self, length: int = 0) -> None:
        parser = self._parser
        if self._sent_on_connection == self._behavior.requests_per_connection:
            parser.keep_alive = False
        if self._jar is not None:
            self._jar.store(parser.head, resource_of(self._without_cookies), time.time())
        if self._behavior.follow and self._follow():
            return
        super()._response_complete(length)

    def _record_phases(self, ended_us: int) -> None:
        """Record the parts of a success; those of several requests are not those of a page."""
        if not self._redirects:
            super()._record_phases(ended_us)

    def _follow(self) -> bool:
        """Send the request that the response asks for; False if it asks for none."""
        parser, location = self._parser, self._parser.location()
        request = redirected(self._without_cookies, parser.status, location, self._target)
        if request is None:
            return False
        if self._redirects == MAX_REDIRECTS:
            self._fail("status", f"redirected {MAX_REDIRECTS} times, then to", location)
            return True
        self._redirects += 1
        if not self._is_excluded:
            self._pool.recorder.redirect_followed(len(self._request))
        self._without_cookies = request
        self._add_cookies()
        parser.is_head_request = request.startswith(b"HEAD ")
        self._opened_for = 0  # from now on the connection is a reused one
        if parser.keep_alive and self._pool.keep_alive:
            self._send()
        else:
            self._close()  # connection_lost opens the next, which sends it
        return True


class OneShotUser(User, OneShot):
    """A user with one connection for each request."""


class OpenLoopUser(User, OpenLoop):
    """A user whose requests start when a schedule says so."""


class StagedOpenLoopUser(User, StagedOpenLoop):
    """A user whose requests are also recorded in their stages."""


_AS_USER: dict[type[Connection], type[Connection]] = {
    Connection: User,
    OneShot: OneShotUser,
    OpenLoop: OpenLoopUser,
    StagedOpenLoop: StagedOpenLoopUser,
}


def user_class(connection: type[Connection]) -> type[Connection]:
    """Return the class of users that otherwise are such connections."""
    return _AS_USER[connection]
