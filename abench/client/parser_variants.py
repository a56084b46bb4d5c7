"""Parsers for what a plan asks for: a text that bodies must have, and responses without a head."""

import re

from abench.client.response_parser import ResponseParser
from abench.plan.plan import Plan
from abench.plan.success import SuccessCriteria

_STATUS_LINE = re.compile(rb"HTTP/\d\.\d ([1-5]\d\d)")
_MAX_BODY_SHOWN = 80  # bytes
_MAX_HTTP09_HEAD_SIZE = 1_000  # bytes that may be a head, though HTTP/0.9 has none


def parser_for(plan: Plan) -> ResponseParser:
    """Return the parser for the responses to the requests of a plan."""
    if plan.http == "0.9":
        return Http09Parser()
    if plan.expect.text:
        return BodyMatchParser(plan.expect.text)
    return ResponseParser()


class BodyMatchParser(ResponseParser):
    """A parser that searches the bodies of responses for `text`."""

    __slots__ = (
        "_body",
        "_is_found",
        "_tail",
        "_text",
    )

    def __init__(self, text: bytes) -> None:
        self._text = text
        super().__init__()

    def _reset_response(self) -> None:
        super()._reset_response()
        self._is_found = False
        self._tail = self._body = b""

    def on_body(self, data: bytes) -> None:
        """Search a part of the body, across its border with the last one (called by httptools)."""
        if self._is_found:
            return
        searched = self._tail + data
        if self._text in searched:
            self._is_found = True
            return
        self._tail = searched[max(0, len(searched) - len(self._text) + 1) :]
        if len(self._body) < _MAX_BODY_SHOWN:  # shown for a response without the text
            self._body += data[: _MAX_BODY_SHOWN - len(self._body)]

    def describe_failure(self) -> bytes:
        """Return what tells most about the response just completed, which failed."""
        body = b" - its body begins with " + self._body if self._body else b" - its body is empty"
        return super().describe_failure() + (b"" if self._is_found else body)

    def failure_kind(self, expectation: SuccessCriteria) -> str:
        """Return how the response just completed failed: by its "status" or its "body", or ""."""
        return super().failure_kind(expectation) or ("" if self._is_found else "body")


class Http09Parser(ResponseParser):
    """Responses of HTTP/0.9: bytes until the connection closes, and no status.

    A server that does not support HTTP/0.9 may send a head all the same, and its status counts.
    """

    __slots__ = ()

    def feed(self, data: bytes | memoryview) -> bool:
        """Note the next bytes; only the end of the connection completes a response."""
        self._reads += 1
        if len(self._head) < _MAX_HTTP09_HEAD_SIZE:
            self._head += data[:_MAX_HTTP09_HEAD_SIZE]
        return False

    def finish(self) -> bool:
        """Handle the end of the connection, which completes a response of at least one byte."""
        if not self._head:
            return False
        if found := _STATUS_LINE.match(self._head):
            self.status = int(found[1])
        self._is_complete = True
        return True

    def failure_kind(self, expectation: SuccessCriteria) -> str:
        """Return "status" if there is one and it is not expected; else ""."""
        return super().failure_kind(expectation) if self.status else ""

    def recognizable_head(self) -> None:
        """Return None: a response without a head cannot be recognized."""
