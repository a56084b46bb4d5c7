"""Standard output and error that may be full, closed by the reader, or missing."""

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
    """A standard descriptor that stores its first failure instead of raising it.

    Other outputs are then still written, and a reader that stops early (`| head`) is no error.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write `data`; discard it after a failure."""
        if self.failure is None:
            try:
                return self._write_all(memoryview(data))
            except OSError as error:
                self.failure = error
        return len(memoryview(data))

    def _write_all(self, data: memoryview) -> int:
        """Write all data, also where another program has set the descriptor to non-blocking."""
        written = 0
        while written < len(data):
            sent = super().write(data[written:])
            if sent is None:
                select.select((), (self,), ())
            written += sent or 0
        return written


@dataclass(slots=True)
class Streams:
    """Standard output, to check for a failure at the end."""

    output: StandardFile | None = None

    def exit_code(self, code: int) -> int:
        """Return `code`, or report a failed output and return INTERNAL instead of success."""
        sys.stdout.flush()
        failure = self.output.failure if self.output else None
        if failure is None or failure.errno == errno.EPIPE:
            return code
        print_message(f"error: standard output: {error_reason(failure)}")
        return code or INTERNAL


@contextmanager
def protected_streams() -> Iterator[Streams]:
    """Replace the original sys.stdout and sys.stderr by streams that never raise."""
    streams, original = Streams(), (sys.stdout, sys.stderr)
    if sys.stdout is sys.__stdout__:
        streams.output = StandardFile(_descriptor(sys.stdout))
        sys.stdout = _text_stream(streams.output, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text_stream(
            StandardFile(_descriptor(sys.stderr)), sys.stderr, line_buffering=True
        )
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = original


def _descriptor(stream: TextIO | None) -> int:
    """Return the descriptor of a stream; /dev/null for one that is missing."""
    return stream.fileno() if stream else os.open(os.devnull, os.O_WRONLY)


def _text_stream(
    file: StandardFile, original: TextIO | None, *, line_buffering: bool = False
) -> io.TextIOWrapper:
    """Return a text stream that can write any text, whatever the encoding of the locale."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=original.encoding if original else "utf-8",
        errors="backslashreplace",
        line_buffering=line_buffering or file.isatty(),
    )


def error_reason(error: OSError) -> str:
    """Return the operating system's message in lower case, for the end of a sentence."""
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]


def print_message(line: str) -> None:
    """Print a message to standard error, in one line and without secrets."""
    printable = " ".join(without_secrets(line).encode(errors="backslashreplace").decode().split())
    if sys.stderr:  # otherwise print would use standard output
        print(f"abench: {printable}", file=sys.stderr)
