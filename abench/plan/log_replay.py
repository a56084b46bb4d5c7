"""Reads the log of a server, to replay its requests: the format is recognized by the content.

Lines of text (log_text), of JSON (log_json) and with columns (log_w3c); documents of JSON: HAR, and
an array of what would be lines.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

from abench.errors import ParameterError
from abench.plan import har, inputs, json_items, log_json
from abench.plan.log_entries import LeftOut, LogEntries, RecordedLog, list_numbers
from abench.plan.log_rows import LeftOutCounter, Reason, Row
from abench.plan.log_text import FORMATS, Columns, TextFormat
from abench.plan.log_w3c import W3cLog

# Beyond this share a format is not understood, and not just some of its lines.
MAX_NOT_UNDERSTOOD = 0.5

_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:[{\]]|$)")  # Envoy's lines begin with [2026
_BATCH = 1_000  # rows of a document that are added together


def read_log(path: Path, host: str | None = None) -> RecordedLog:
    """Return the log at `path`, perhaps compressed by gzip.

    `host` is the server to be loaded, whose requests are taken from a recording of several. Raises
    ParameterError if there is no request in it, or if most of it is not understood. What is read
    from a stream is cached for a second call.
    """
    with inputs.errors_named("--replay", str(path)):
        stream = inputs.identity(str(path))
    log = _parse_file(path, host) if stream is None else _cached_log(stream, path, host)
    _check(path, log)
    return log


def _check(path: Path, log: RecordedLog) -> None:
    left_out = log.left_out
    not_understood = describe_not_understood(left_out)
    if not log.entries:
        reason = f": {not_understood}" if not_understood else ""
        raise ParameterError(
            "--replay", f"{path} has no request in it that can be replayed{reason}"
        )
    if left_out.not_understood > MAX_NOT_UNDERSTOOD * (len(log.entries) + left_out.total):
        raise ParameterError("--replay", f"{path}: most of it is not understood: {not_understood}")


def describe_not_understood(left_out: LeftOut) -> str:
    """Return how many lines are not understood, and which are the first; empty without any."""
    number = left_out.not_understood
    if not number:
        return ""
    what = {"line": "lines", "entry": "entries"}[left_out.unit]
    counted = f"{number:,} {what} are" if number > 1 else f"1 {left_out.unit} is"
    return f"{counted} not understood ({list_numbers(left_out.numbers, number)})"


@lru_cache(maxsize=1)
def _cached_log(_stream: inputs.Identity, path: Path, host: str | None) -> RecordedLog:
    return _parse_file(path, host)


def parse_log(lines: Iterable[str]) -> RecordedLog:
    """Return the log in `lines`, which may be of several formats."""
    reader = LogReader()
    reader.add_lines(lines)
    return reader.finish()


def _parse_file(path: Path, host: str | None) -> RecordedLog:
    reader = LogReader()
    with inputs.errors_named("--replay", str(path)):
        chunks = inputs.chunks("--replay", str(path))
        beginning = next(chunks, b"")
        content = chain([beginning], chunks)
        if har.is_har(beginning):
            reader.add_rows(har.read_rows(content, host))
        elif _ARRAY.match(beginning):
            reader.add_rows(map(log_json.parse_record, json_items.items(content)))
        else:
            for block in inputs.lines(content):
                reader.add_block(block)
    return reader.finish()


class LogReader:
    """Collects the requests of a log from its lines, in their order."""

    def __init__(self) -> None:
        self.entries = LogEntries()
        self._left_out = LeftOutCounter()
        self._line_number = 1  # of the next line
        self._format: TextFormat = FORMATS[0]  # that of the last line that was understood
        self._w3c = W3cLog()
        self._unit = "line"

    def add_block(self, block: bytes) -> None:
        """Add whole lines; those that are not all plain ones are parsed one by one."""
        if self._line_number == 1:
            block = block.removeprefix(b"\xef\xbb\xbf")
        if columns := self._columns(block):
            self.entries.add(*columns)
            self._line_number += block.count(b"\n") + 1
        else:
            self.add_lines(block.decode(errors="surrogateescape").split("\n"))

    def add_lines(self, lines: Iterable[str]) -> None:
        """Add lines, one by one."""
        parsed = []
        for number, line in enumerate(map(str.strip, lines), self._line_number):
            self._line_number = number + 1
            if line and (found := self._parse(line)) is not None:
                parsed.append((number, found))
        self._add(parsed)

    def add_rows(self, rows: Iterable[Row | Reason]) -> None:
        """Add the entries of a document, which are numbered instead of lines."""
        self._unit = "entry"
        batch = []
        for numbered in enumerate(rows, 1):
            batch.append(numbered)
            if len(batch) == _BATCH:
                self._add(batch)
                batch = []
        self._add(batch)

    def finish(self) -> RecordedLog:
        """Return all requests in the order of their times."""
        self.entries.arrange()
        return RecordedLog(self.entries, self._left_out.result(self._unit))

    def _add(self, parsed: list[tuple[int, Row | Reason]]) -> None:
        rows = [found for _, found in parsed if not isinstance(found, Reason)]
        if rows:
            self.entries.add(*zip(*rows, strict=True))
        self._left_out.add((number, found) for number, found in parsed if isinstance(found, Reason))

    def _columns(self, block: bytes) -> Columns | None:
        if block.startswith(b"{"):
            return log_json.columns(block)
        return None if self._w3c.has_begun else self._format.columns(block)

    def _parse(self, line: str) -> Row | Reason | None:
        """Return what a line says; None for a comment or a directive."""
        if line.startswith("{"):
            return log_json.parse_line(line)
        if line.startswith("#"):
            self._w3c.direct(line)
            return None
        if self._w3c.has_begun:
            return self._w3c.row(line)
        for one in self._likely_formats():
            if (found := one.row(line)) is not None:
                if found is not Reason.NOT_UNDERSTOOD:
                    self._format = one
                return found
        return Reason.NOT_UNDERSTOOD

    def _likely_formats(self) -> Iterator[TextFormat]:
        yield self._format
        yield from (one for one in FORMATS if one is not self._format)
