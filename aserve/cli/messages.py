"""What the program says on standard error."""

import sys
from contextlib import suppress


def print_message(line: str) -> None:
    """Print a line that begins with the program's name."""
    write_stderr(f"aserve: {line}")


def write_stderr(text: str) -> None:
    """Write a text and a line end, at once; one that cannot be written is no reason to fail."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def discard_line(_line: str) -> None:
    """Print nothing: no user waits at a terminal."""
