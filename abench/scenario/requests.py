"""The bytes of a user's request: its head is prepared once for each method and its headers."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin

from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.plan.request import IDEMPOTENT_METHODS, Header, TargetTemplate
from abench.plan.request_body import URL_ENCODED
from abench.plan.success import SuccessCriteria
from abench.plan.target import Target
from abench.plan.workload import ExpectedResponse

JSON = "application/json"
_MAX_PREPARED = 1_000  # heads, and resources that are not plain
# RFC 3986 section 3.3, without what urljoin would resolve: such a path is sent as it is.
_PLAIN_PATH = re.compile(
    r"(?!.*/\.)/(?!/)(?:[A-Za-z0-9/:@!$&'()*+,;=._~-]|%[0-9A-Fa-f]{2})*(?:\?[!$-~]*)?"
)

Body = bytes | str | Mapping[str, Any] | None
Parameters = Mapping[str, Any] | Sequence[tuple[str, Any]]


class UserRequest(NamedTuple):
    """A request, as it is sent, and the name of the step that it belongs to."""

    method: str
    resource: str
    step: str
    data: bytes
    expected: ExpectedResponse
    is_idempotent: bool


class RequestFactory:
    """Makes the requests of the users of a plan.

    Its methods raise ValueError, with one line that says why, for what is no request to the server.
    """

    def __init__(self, plan: Plan) -> None:
        self._target = plan.target
        self._template = plan.request_template
        self._own_headers = plan.headers
        self._expect = plan.expect
        self._head = lru_cache(_MAX_PREPARED)(self._prepare_head)
        self._resource = lru_cache(_MAX_PREPARED)(self._resolve)
        self._expected = lru_cache(_MAX_PREPARED)(self._expected_response)

    def request(  # noqa: PLR0913 - each is a part of a request
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
        cookies: Callable[[str], str] = lambda _: "",
    ) -> UserRequest:
        """Return a request; `cookies` gives the value of its Cookie header."""
        resource = url if _PLAIN_PATH.fullmatch(url) else self._resource(url)
        step = name or f"{method} {resource.partition('?')[0]}"
        if params:
            resource += ("&" if "?" in resource else "?") + urlencode(params, doseq=True)
        media_type, body = encode_body(data, json)
        head = self._head(method, _with_media_type(headers or {}, media_type))
        parts = [head.before, resource.encode(), head.after]
        if cookie := cookies(resource):
            parts.append(b"Cookie: %s\r\n" % cookie.encode("latin-1", "replace"))
        parts.append(
            b"Content-Length: %d\r\n\r\n" % len(body) if body or head.has_length else b"\r\n"
        )
        parts.append(body)
        return UserRequest(
            method,
            resource,
            step,
            b"".join(parts),
            self._expected(expect, method == "HEAD"),
            method in IDEMPOTENT_METHODS,
        )

    def _prepare_head(self, method: str, headers: tuple[Header, ...]) -> TargetTemplate:
        own = {name.lower() for name, _ in headers}
        default = [each for each in self._own_headers if each[0].lower() not in own]
        proxy = self._template.headers[len(self._own_headers) :]
        try:
            template = type(self._template)(
                method=method,
                headers=(*default, *headers, *proxy),
                version=self._template.version,
                keep_alive=self._template.keep_alive,
                absolute=self._template.absolute,
            )
            return template.template(self._target)
        except ParameterError as error:
            raise ValueError(error.reason) from None

    def _resolve(self, url: str) -> str:
        """Return the request-target of a URL that is relative to the plan's, or absolute."""
        try:
            target = Target.parse(urljoin(self._target.url, url))
        except ParameterError as error:
            raise ValueError(error.reason) from None
        if target.origin != self._target.origin:
            raise ValueError(f"{target.url} is on another server than {self._target.url}")
        return target.resource

    def _expected_response(self, expect: str | None, is_head_request: bool) -> ExpectedResponse:
        try:
            criteria = self._expect if expect is None else SuccessCriteria.parse([expect])
        except ParameterError as error:
            raise ValueError(error.reason) from None
        return ExpectedResponse(criteria, is_head_request=is_head_request)


def encode_body(data: Body, value: Any) -> tuple[str, bytes]:
    """Return the media type and the bytes of a body: a form for a mapping, else as it is."""
    if value is not None:
        if data is not None:
            raise ValueError("give either data or json")
        return JSON, json.dumps(value, separators=(",", ":")).encode()
    if data is None:
        return "", b""
    if isinstance(data, Mapping):
        return URL_ENCODED, urlencode(data, doseq=True).encode()
    return "", data.encode() if isinstance(data, str) else data


def _with_media_type(headers: Mapping[str, str], media_type: str) -> tuple[Header, ...]:
    given = tuple(headers.items())
    if media_type and not any(name.lower() == "content-type" for name, _ in given):
        return (*given, ("Content-Type", media_type))
    return given
