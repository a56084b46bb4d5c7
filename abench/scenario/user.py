"""What a scenario is written with: a user, who makes requests, and checks of what came."""

import random
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

from abench.scenario.cookies import CookieJar
from abench.scenario.requests import Body, Parameters, RequestFactory, UserRequest
from abench.scenario.response import Response
from abench.scenario.rows import SEED, Row, Rows

Function = TypeVar("Function", bound=Callable[..., Any])

WEIGHT = "__abench_weight__"


class Options(TypedDict, total=False):
    """What may be said of a request: see `User.request`."""

    name: str
    params: Parameters
    headers: Mapping[str, str]
    expect: str


class OptionsWithBody(Options, total=False):
    """What may be said of a request that may have a body: see `User.request`."""

    data: Body
    json: Any


class Browser(Protocol):
    """What carries out the requests of a user, on one connection."""

    async def exchange(self, request: UserRequest) -> Response:
        """Send a request, and return its response; raises RequestFailed without one."""

    async def pause(self, seconds: float) -> None:
        """Send nothing for a while."""


class Share:
    """What the users of one process share: the requests' heads, and who of them all they are."""

    def __init__(self, requests: RequestFactory, host: str, *, secure: bool) -> None:
        self.requests = requests
        self.host = host
        self.secure = secure
        self.part, self.parts = 0, 1


class User:
    """A user of the server: has one connection, cookies, and takes a path again and again.

    `number` is another one for each user, from 1 on, and `iteration` counts the paths that this
    one has begun, from 0 on. `data` is for the scenario, and stays from one path to the next, as
    the connection and the `cookies` do. `random` gives the same numbers in each run with as many
    users.

    A URL is a path, or relative to the URL of the run, or that of another resource of its server.
    """

    def __init__(self, number: int, browser: Browser, share: Share) -> None:
        self.number = number
        self.iteration = -1
        self.data: dict[str, Any] = {}
        self.cookies = CookieJar(share.host, secure=share.secure)
        self.random = random.Random(f"{SEED}-{number}")  # noqa: S311 - nothing here is a secret
        self._browser = browser
        self._share = share

    def __repr__(self) -> str:
        return f"<User {self.number}>"

    async def request(  # noqa: PLR0913 - each is a part of a request
        self,
        method: str,
        url: str,
        *,
        name: str | None = None,
        params: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        data: Body = None,
        json: Any = None,
        expect: str | None = None,
    ) -> Response:
        """Make a request, and return its response, whatever its status is.

        `name` is that of its step in the report: the method and the path by default. `params` are
        added to the query. The body is `data`, which is sent as a form if it is a mapping, or
        `json`. `expect` says which responses the report counts as successes, as `--expect` does:
        "404", "2xx". Redirects are not followed.

        Raises RequestFailed if no response comes, and ValueError for what is no request to the
        server.
        """
        made = self._share.requests.request(
            method,
            url,
            name=name,
            params=params,
            headers=headers,
            data=data,
            json=json,
            expect=expect,
            cookies=self.cookies.header,
        )
        response = await self._browser.exchange(made)
        if response.sets_cookies:
            for one in response.headers.get_all("Set-Cookie", ()):
                self.cookies.store(one, made.resource)
        return response

    async def get(self, url: str, **options: Unpack[Options]) -> Response:
        """Make a GET request; the options are those of `request`."""
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Unpack[Options]) -> Response:
        """Make a HEAD request; the options are those of `request`."""
        return await self.request("HEAD", url, **options)

    async def post(self, url: str, **options: Unpack[OptionsWithBody]) -> Response:
        """Make a POST request; the options are those of `request`."""
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Unpack[OptionsWithBody]) -> Response:
        """Make a PUT request; the options are those of `request`."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Unpack[OptionsWithBody]) -> Response:
        """Make a PATCH request; the options are those of `request`."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Unpack[OptionsWithBody]) -> Response:
        """Make a DELETE request; the options are those of `request`."""
        return await self.request("DELETE", url, **options)

    async def think(self, seconds: float, at_most: float | None = None) -> None:
        """Do nothing for so many seconds, or for any time from `seconds` to `at_most`.

        It is part of no figure.
        """
        if at_most is not None:
            seconds = self.random.uniform(seconds, at_most)
        await self._browser.pause(seconds)

    def take(self, rows: Rows) -> Row:
        """Return the next row for this user."""
        return rows.row_for(self.number, self._share.part, self._share.parts)


class CheckRecorder(Protocol):
    """What counts checks."""

    def check(self, name: str, *, passed: bool) -> None:
        """Count a check."""


recorder: ContextVar[CheckRecorder | None] = ContextVar("recorder", default=None)
"""Where the checks of the current path are counted."""


def check(name: str, passed: object) -> bool:
    """Count whether something is as it should be, and return that.

    The report has each check by its name. A check that fails ends nothing; `assert` or `return` do.
    """
    counted = recorder.get()
    if counted is None:
        raise RuntimeError("check() is for the paths of a scenario, and none is taken here")
    counted.check(name, passed=bool(passed))
    return bool(passed)


def weight(times: int) -> Callable[[Function], Function]:
    """Have users take a path so many times as often as one without a weight."""
    if times < 1:
        raise ValueError(f"a weight is at least 1, not {times}")

    def mark(function: Function) -> Function:
        setattr(function, WEIGHT, times)
        return function

    return mark
