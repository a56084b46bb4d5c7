"""Standard output and error as they may be: full, a pipe that nobody reads, or not there."""

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from abench.cli.exit_codes import INTERNAL
from abench.plan.target import without_secrets

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class StandardFile(io.FileIO):
    """A standard descriptor whose failure is remembered and not raised.

    Whatever is still to be written elsewhere gets written, and who reads no further (`| head`)
    is no error.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, or pretend to once it has failed."""
        if self.failure is None:
            try:
                return self._write_all(memoryview(data))
            except OSError as error:
                self.failure = error
        return len(memoryview(data))

    def _write_all(self, data: memoryview) -> int:
        """Wait for room where another program has left the descriptor without blocking."""
        written = 0
        while written < len(data):
            sent = super().write(data[written:])
            if sent is None:
                select.select((), (self,), ())
            written += sent or 0
        return written


@dataclass(slots=True)
class Streams:
    """What became of standard output."""

    output: StandardFile | None = None

    def exit_code(self, code: int) -> int:
        """Return `code`, or say what was lost and return another where it was a success."""
        sys.stdout.flush()
        failure = self.output.failure if self.output else None
        if failure is None or failure.errno == errno.EPIPE:
            return code
        print_message(f"error: standard output: {error_reason(failure)}")
        return code or INTERNAL


@contextmanager
def protected_streams() -> Iterator[Streams]:
    """Have the process's own sys.stdout and sys.stderr, if they are in place, never raise."""
    streams, before = Streams(), (sys.stdout, sys.stderr)
    if sys.stdout is sys.__stdout__:
        streams.output = StandardFile(_descriptor(sys.stdout))
        sys.stdout = _text_stream(streams.output, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text_stream(StandardFile(_descriptor(sys.stderr)), sys.stderr, at_once=True)
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before


def _descriptor(stream: TextIO | None) -> int:
    """Return where a stream goes; one that the program was started without goes nowhere."""
    return stream.fileno() if stream else os.open(os.devnull, os.O_WRONLY)


def _text_stream(
    file: StandardFile, before: TextIO | None, *, at_once: bool = False
) -> io.TextIOWrapper:
    """Return a text stream that can show any text, also where a locale has few letters."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=at_once or file.isatty(),
    )


def error_reason(error: OSError) -> str:
    """Return an operating system's reason as the end of a sentence."""
    why = error.strerror or str(error)
    return why[:1].lower() + why[1:]


def print_message(line: str) -> None:
    """Tell the user, in one line, something that is not the report."""
    shown = " ".join(without_secrets(line).encode(errors="backslashreplace").decode().split())
    if sys.stderr:  # print would take standard output in its place
        print(f"abench: {shown}", file=sys.stderr)
