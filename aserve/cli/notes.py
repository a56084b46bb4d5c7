"""The notes of handlers and policies, as lines."""

from collections.abc import Iterator, Sequence

from aserve.handlers.handler import Note


def note_lines(notes: Sequence[Note]) -> Iterator[str]:
    """Yield a line for each note: what was decided, how, and where that is said."""
    width = max((len(note.text) for note in notes if note.place), default=0)
    for note in notes:
        yield f"  {note.topic:8}{note.text:{width}}  {note.place}".rstrip()
