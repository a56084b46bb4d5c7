"""multipart/form-data (RFC 7578), parsed while it arrives.

The grammar is that of the library multipart; here is what a server must not leave open: the result
never depends on how the body is cut into pieces, and no limit is missing.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import multipart

from aserve.http.messages import HttpError

MAX_PARTS = 10_000
MAX_PART_HEADER_SIZE = 4_096  # bytes of one line: names of files have 255, escapes included
MAX_PART_HEADERS = 8  # RFC 7578 section 4.8 knows three
MAX_FIELD_SIZE = 1 << 20  # bytes of a part that is no file: of a README, say, which twine sends

_MAX_BOUNDARY_SIZE = 70  # RFC 2046 section 5.1.1
_CONTROL_CHARACTER = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ENCODINGS = frozenset({"7bit", "8bit", "binary"})  # those that change nothing
_INCOMPLETE = "The form ends before its last boundary."


class FormPart(NamedTuple):
    """What comes before the content of a part.

    name: of the form's field. filename: None for a field that is no file; "" where no file was
    chosen.
    """

    name: str
    filename: str | None


FormEvent = FormPart | bytes | None
"""A part begins; some bytes of its content; the part is complete."""


def form_boundary(content_type: str) -> str:
    """Return the boundary of a form. Raises HttpError: 415 for another type, 400 for a bad one."""
    media_type, options = multipart.parse_options_header(content_type)
    if media_type != "multipart/form-data":
        raise HttpError(415, "Only multipart/form-data is a form with files.", close=True)
    boundary: str = options.get("boundary", "")
    is_valid = boundary.isascii() and boundary.isprintable() and not boundary.endswith(" ")
    if not is_valid or not 1 <= len(boundary) <= _MAX_BOUNDARY_SIZE:
        raise _error("The Content-Type of the form has no valid boundary.")
    return boundary


class _StrictHeaders(multipart.PushMultipartParser):  # type: ignore[misc]  # it has no types
    """The library's parser, with rules for a header line as it was sent.

    By itself it accepts a line feed within a line, or refuses it, as the pieces of the body are.
    """

    def _on_segment_headerline(self, line: bytes) -> None:
        if len(line) > MAX_PART_HEADER_SIZE:
            raise multipart.ParserLimitReached
        if _CONTROL_CHARACTER.search(line):
            raise multipart.ParserError
        super()._on_segment_headerline(line)


class FormParser:
    """The parts of a form, in the order in which they arrive. Holds no content.

    Raises HttpError: 400 for what is no form, 413 for too many parts or headers.
    """

    def __init__(self, boundary: str) -> None:
        self._parser = _StrictHeaders(
            boundary,
            max_header_size=MAX_PART_HEADER_SIZE + len("\r\n"),  # of a line that may be incomplete
            max_header_count=MAX_PART_HEADERS,
            max_segment_count=MAX_PARTS,
        )
        self._first_line = f"--{boundary}".encode()
        self._start: bytes | None = b""  # of the body, until its first boundary is there

    def feed(self, data: bytes) -> Iterator[FormEvent]:
        """Yield what some more bytes bring; to be used up before the next call."""
        if self._start is not None:
            data = self._start + data
            if not self._has_first_boundary(data):
                self._start = data
                return
            self._start = None
        try:
            for event in self._parser.parse(data):
                yield _part(event) if isinstance(event, multipart.MultipartSegment) else event
        except multipart.MultipartError as error:
            raise _http_error(error) from None

    def finish(self) -> None:
        """Note the end of the body. Raises HttpError 400 if the form does not end there."""
        try:
            self._parser.close()
        except multipart.MultipartError:
            raise _error(_INCOMPLETE) from None

    def _has_first_boundary(self, data: bytes) -> bool:
        """Tell whether a body begins with its boundary and the two bytes behind it.

        Nothing may come before, except a line break: browsers send no preamble, and looking for a
        boundary that never comes would read all that a client likes to send.
        """
        begins = data.removeprefix(b"\r\n")
        if not begins.startswith(self._first_line[: len(begins)]):
            if data == b"\r":
                return False
            raise _error("The form does not begin with its boundary.")
        return len(begins) >= len(self._first_line) + len("\r\n")


def _part(segment: multipart.MultipartSegment) -> FormPart:
    if not segment.name:
        raise _error("A part of the form has no name.")
    if segment.header("Content-Transfer-Encoding", "binary").strip().lower() not in _ENCODINGS:
        # RFC 7578 section 4.7: not to be used; stored as it is, the file would be another one.
        raise _error("A part of the form has a Content-Transfer-Encoding.")
    return FormPart(segment.name, segment.filename)


def _http_error(error: multipart.MultipartError) -> HttpError:
    if isinstance(error, multipart.ParserLimitReached):
        return HttpError(
            413, "The form has too many parts, or headers that are too long.", close=True
        )
    return _error("The form breaks the rules of multipart/form-data.")


def _error(detail: str) -> HttpError:
    return HttpError(400, detail, close=True)
