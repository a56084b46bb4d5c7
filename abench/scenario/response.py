"""What a user gets for a request."""

import json
from email.message import Message
from email.parser import BytesHeaderParser
from functools import cached_property
from typing import Any


class RequestFailed(Exception):
    """A request got no response: `kind` says how it failed, as in the report.

    The report counts it. If the scenario does not catch it, it ends the iteration.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"no response: {kind}")
        self.kind = kind


class Response:
    """A complete response: its status, its head and its body.

    `status` is the status code, `body` the bytes of the content, without transfer coding, and
    `elapsed_s` how many seconds it took from sending the request to the last byte. Content codings
    are not decoded: servers send none unless the scenario asks for one.
    """

    def __init__(self, status: int, head: bytes, body: bytes, elapsed_s: float) -> None:
        self.status = status
        self.body = body
        self.elapsed_s = elapsed_s
        self._head = head

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"

    @property
    def sets_cookies(self) -> bool:
        """Whether there may be a Set-Cookie header."""
        return b"\nset-cookie:" in self._head.lower()

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @cached_property
    def headers(self) -> Message:
        """The headers, in any case: `response.headers["Content-Type"]`; None for a missing one.

        `headers.get_all(name)` returns each value of a header that came more than once.
        """
        _, _, lines = self._head.partition(b"\n")
        return BytesHeaderParser().parsebytes(lines)

    @cached_property
    def text(self) -> str:
        """The body as text, in the charset of Content-Type or UTF-8; wrong bytes are replaced."""
        charset = self.headers.get_content_charset("utf-8")
        try:
            return self.body.decode(charset, errors="replace")
        except LookupError:  # a charset that Python does not know
            return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return the value of a JSON body; raises json.JSONDecodeError for any other body."""
        return json.loads(self.body)
