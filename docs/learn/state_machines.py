"""The two state machines of the books, and the line parser that joins them."""

from collections.abc import Iterable, Iterator

HANDLERS = {"text": str.upper, "number": lambda value: f"{int(value):,}"}


def independent(packets: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Handle packets that say what they are: none depends on those before it."""
    for kind, value in packets:
        handle = HANDLERS[kind]
        yield handle(value)


NEXT = {("A", "go"): "B", ("B", "go"): "C", ("B", "back"): "A"}


def with_transitions(events: Iterable[str], state: str = "A") -> Iterator[str]:
    """Yield each next state: what an event means depends on the state before it."""
    for event in events:
        state = NEXT.get((state, event), state)
        yield state


def line_status(buffer: bytes) -> str:
    """Return whether there is a line yet: OPEN, OK or BAD."""
    line, newline, _ = buffer.partition(b"\n")
    if not newline:
        return "BAD" if b"\r" in line[:-1] else "OPEN"
    return "OK" if line.endswith(b"\r") and b"\r" not in line[:-1] else "BAD"


if __name__ == "__main__":
    print(*independent([("text", "hello"), ("number", "1234567")]))
    print(*with_transitions(["go", "back", "back", "go", "go"]))
    for data in (b"GET / HT", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\n", b"GET /\rx", b"GET /\n"):
        print(f"{data!r:22} {line_status(data)}")
