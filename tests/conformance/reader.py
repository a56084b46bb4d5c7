"""Reads responses from a connection by the rules of RFC 9112, and trusts nothing.

Neither httptools nor h11: aserve uses the first, and the second is too lenient.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5]\d\d) ([\t \x21-\x7e\x80-\xff]*)")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t \x21-\x7e\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;.*)?")
_MAX_SIZE = 16 * 1_048_576


class Malformed(Exception):
    """The received bytes are not a response."""


class Silent(Exception):
    """Nothing arrived within the timeout, and the connection is still open."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response: its headers with lower-case names, and the statuses of the 1xx before it."""

    version: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    interim: tuple[int, ...] = ()

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        """Return the value of a header, its lines joined to one list; None if it is missing."""
        values = self.all(name)
        return ", ".join(values) if values else None


class Reader:
    """Reads responses from a source of bytes, which returns b"" at EOF and may raise Silent."""

    def __init__(self, source: Callable[[], bytes]) -> None:
        self._source = source
        self._buffer = b""
        self.at_eof = False

    def read_response(
        self, method: str, on_continue: Callable[[], None] = lambda: None
    ) -> Response | None:
        """Return the next final response; None if the connection ended before its first byte."""
        interim: list[int] = []
        while True:
            if not self._buffer and not self._read_more():
                if interim:
                    raise Malformed("the connection ended after an interim response")
                return None
            version, status = self._read_status_line()
            headers = self._headers()
            if status >= 200:
                body = self._read_body(method, status, dict(headers), headers)
                return Response(version, status, headers, body, tuple(interim))
            interim.append(status)
            if status == 100:
                on_continue()

    def read_to_eof(self) -> bytes:
        """Return everything until EOF; raises Silent if that does not arrive."""
        while self._read_more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def _read_more(self) -> bool:
        data = b"" if self.at_eof else self._source()
        self.at_eof = not data
        self._buffer += data
        if len(self._buffer) > _MAX_SIZE:
            raise Malformed("the response has no end")
        return bool(data)

    def _read_line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if not self._read_more():
                raise Malformed(f"the connection ended within a line: {self._buffer[:60]!r}")
        line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
        if not line.endswith(b"\r\n"):
            raise Malformed(f"a line does not end with CR LF: {line[:60]!r}")
        return line[:-2]

    def _read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._read_more():
                raise Malformed(f"the connection ended {count - len(self._buffer)} bytes early")
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _read_status_line(self) -> tuple[str, int]:
        line = self._read_line()
        match = _STATUS_LINE.fullmatch(line)
        if not match:
            raise Malformed(f"no status line: {line[:60]!r}")
        return match[1].decode(), int(match[2])

    def _headers(self) -> tuple[tuple[str, str], ...]:
        headers = []
        while line := self._read_line():
            match = _HEADER_LINE.fullmatch(line)
            if not match:
                raise Malformed(f"no header line: {line[:60]!r}")
            value = match[2].decode("latin-1").rstrip("\t ")
            headers.append((match[1].decode().lower(), value))
        return tuple(headers)

    def _read_body(
        self,
        method: str,
        status: int,
        by_name: dict[str, str],
        headers: tuple[tuple[str, str], ...],
    ) -> bytes:
        names = [name for name, _ in headers]
        framing = [name for name in names if name in {"content-length", "transfer-encoding"}]
        if len(framing) > 1:
            raise Malformed(f"framed twice: {framing}")
        if "transfer-encoding" in by_name and status == 204:
            raise Malformed("204 with Transfer-Encoding")
        if method == "HEAD" or status in {204, 304} or (method == "CONNECT" and status < 300):
            return b""
        if "transfer-encoding" in by_name:
            if by_name["transfer-encoding"].lower() != "chunked":
                raise Malformed(f"Transfer-Encoding: {by_name['transfer-encoding']}")
            return self._read_chunks()
        if "content-length" in by_name:
            if not re.fullmatch(r"\d{1,15}", by_name["content-length"], re.ASCII):
                raise Malformed(f"Content-Length: {by_name['content-length'][:60]}")
            return self._read_exactly(int(by_name["content-length"]))
        return self.read_to_eof()

    def _read_chunks(self) -> bytes:
        body = b""
        while True:
            line = self._read_line()
            match = _CHUNK_LINE.fullmatch(line)
            if not match:
                raise Malformed(f"no chunk line: {line[:60]!r}")
            size = int(match[1], 16)
            if not size:
                self._headers()
                return body
            body += self._read_exactly(size)
            if self._read_exactly(2) != b"\r\n":
                raise Malformed("a chunk does not end with CR LF")
