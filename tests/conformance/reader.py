"""Read replies off a connection by the rules of RFC 9112, trusting nothing.

Not httptools and not h11: the defendant uses the one, and the other forgives.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5]\d\d) ([\t \x21-\x7e\x80-\xff]*)")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t \x21-\x7e\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(?:;.*)?")
_MOST = 16 * 1_048_576


class Malformed(Exception):
    """What came is no reply."""


class Silent(Exception):
    """Nothing came for as long as anybody would wait, and the connection is still there."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its fields with lower-case names, and the statuses of the 1xx before it."""

    version: str
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    interim: tuple[int, ...] = ()

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str | None:
        """Return a field's value, its lines joined to one list; None where it is not there."""
        values = self.all(name)
        return ", ".join(values) if values else None


class Reader:
    """Takes replies from a source of octets: it returns b"" at the end and raises Silent."""

    def __init__(self, source: Callable[[], bytes]) -> None:
        self._source = source
        self._buffer = b""
        self.ended = False

    def read_reply(
        self, method: str, on_continue: Callable[[], None] = lambda: None
    ) -> Reply | None:
        """Return the next final reply; None where the connection ended before its first octet."""
        interim: list[int] = []
        while True:
            if not self._buffer and not self._more():
                if interim:
                    raise Malformed("the connection ended after an interim reply")
                return None
            version, status = self._status_line()
            fields = self._fields()
            if status >= 200:
                body = self._body(method, status, dict(fields), fields)
                return Reply(version, status, fields, body, tuple(interim))
            interim.append(status)
            if status == 100:
                on_continue()

    def rest(self) -> bytes:
        """Return what comes until the end; raises Silent where that does not come."""
        while self._more():
            pass
        rest, self._buffer = self._buffer, b""
        return rest

    def _more(self) -> bool:
        octets = b"" if self.ended else self._source()
        self.ended = not octets
        self._buffer += octets
        if len(self._buffer) > _MOST:
            raise Malformed("the reply has no end")
        return bool(octets)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if not self._more():
                raise Malformed(f"the connection ended within a line: {self._buffer[:60]!r}")
        line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
        if not line.endswith(b"\r\n"):
            raise Malformed(f"a line does not end with CR LF: {line[:60]!r}")
        return line[:-2]

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._more():
                raise Malformed(f"the connection ended {count - len(self._buffer)} octets early")
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _status_line(self) -> tuple[str, int]:
        line = self._line()
        found = _STATUS_LINE.fullmatch(line)
        if not found:
            raise Malformed(f"no status line: {line[:60]!r}")
        return found[1].decode(), int(found[2])

    def _fields(self) -> tuple[tuple[str, str], ...]:
        fields = []
        while line := self._line():
            found = _FIELD_LINE.fullmatch(line)
            if not found:
                raise Malformed(f"no field line: {line[:60]!r}")
            value = found[2].decode("latin-1").rstrip("\t ")
            fields.append((found[1].decode().lower(), value))
        return tuple(fields)

    def _body(
        self, method: str, status: int, field: dict[str, str], fields: tuple[tuple[str, str], ...]
    ) -> bytes:
        names = [name for name, _ in fields]
        framing = [name for name in names if name in {"content-length", "transfer-encoding"}]
        if len(framing) > 1:
            raise Malformed(f"framed twice: {framing}")
        if "transfer-encoding" in field and status == 204:
            raise Malformed("204 with Transfer-Encoding")
        if method == "HEAD" or status in {204, 304} or (method == "CONNECT" and status < 300):
            return b""
        if "transfer-encoding" in field:
            if field["transfer-encoding"].lower() != "chunked":
                raise Malformed(f"Transfer-Encoding: {field['transfer-encoding']}")
            return self._chunks()
        if "content-length" in field:
            if not re.fullmatch(r"\d{1,15}", field["content-length"], re.ASCII):
                raise Malformed(f"Content-Length: {field['content-length'][:60]}")
            return self._exactly(int(field["content-length"]))
        return self.rest()

    def _chunks(self) -> bytes:
        body = b""
        while True:
            line = self._line()
            found = _CHUNK_LINE.fullmatch(line)
            if not found:
                raise Malformed(f"no chunk line: {line[:60]!r}")
            size = int(found[1], 16)
            if not size:
                self._fields()
                return body
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise Malformed("a chunk does not end with CR LF")
