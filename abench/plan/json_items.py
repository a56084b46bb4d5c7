"""The items of one array within a large JSON document, one after the other.

What is around an item is not held: a recording of a browser has the bodies of all responses.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

MAX_ITEM = 1 << 28  # characters of one item, or of one member that is skipped

_NUMBER_PART = re.compile(r"[0-9.eE+-]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class JsonError(ValueError):
    """The document is not JSON, or has no such array."""


def items(chunks: Iterable[bytes], *path: str) -> Iterator[Any]:
    """Yield the items of the array at `path`, the names of members from the outside in.

    Raises JsonError; what comes after the array is not read.
    """
    text = _Text(chunks)
    for name in path:
        text.enter_member(name)
    text.expect("[")
    if text.peek() == "]":
        return
    while True:
        yield text.value()
        if text.take() == "]":
            return
        text.require(text.last == ",")


class _Text:
    """The text of a document, decoded as it is needed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._parts = (decoder.decode(chunk) for chunk in chunks)
        self._buffer = ""
        self._at = 0
        self.last = ""  # the character taken last

    def require(self, holds: bool) -> None:
        """Raise JsonError unless it holds."""
        if not holds:
            raise JsonError("it is not JSON of this kind")

    def peek(self) -> str:
        """Return the next character that is no whitespace; empty at the end."""
        while True:
            self._at = _SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read_more():
                return ""

    def take(self) -> str:
        """Take the next character that is no whitespace."""
        self.last = self.peek()
        self._at += 1
        return self.last

    def expect(self, character: str) -> None:
        """Take this character."""
        self.require(self.take() == character)

    def enter_member(self, name: str) -> None:
        """Go to the value of a member of the object that begins here."""
        self.expect("{")
        while True:
            self.require(self.peek() == '"')
            found = self.value()
            self.expect(":")
            if found == name:
                return
            self.value()
            self.expect(",")

    def value(self) -> Any:
        """Take a whole value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise JsonError("it is nested too deeply") from None
            except ValueError:
                self.require(self._read_more())
                continue
            if self._may_go_on(end) and self._read_more():
                continue
            self._at = end
            return value

    def _may_go_on(self, end: int) -> bool:
        """Whether a number may go on after `end`: 1 and 1. may be the beginning of 1.5."""
        found = _NUMBER_PART.match(self._buffer, end)
        return found is not None and found.end() == len(self._buffer)

    def _read_more(self) -> bool:
        """Read at least as much as there is, so that no value is parsed often; False at the end."""
        rest = self._buffer[self._at :]
        self.require(len(rest) <= MAX_ITEM)
        parts, size = [rest], 0
        while size <= len(rest) and (part := next(self._parts, None)) is not None:
            parts.append(part)
            size += len(part)
        self._buffer, self._at = "".join(parts), 0
        return size > 0
