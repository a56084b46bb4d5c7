"""The forms of a listing for programs: JSON, NDJSON and plain text."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from aserve.filesystem.steps import in_steps
from aserve.handlers.listing.model import Listing
from aserve.handlers.listing.names import name_reference, visible_name
from aserve.http.dates import EARLIEST, LATEST
from aserve.http.media_types import MediaTypes
from aserve.http.resources import Entry

_EPOCH = datetime(1970, 1, 1)
_BILLION = 1_000_000_000
_ROWS_AT_ONCE = 200
"""How many rows are made in one piece of a stream: about a millisecond's work."""


class Form(NamedTuple):
    """A form of a listing: its Content-Type, and what renders it, in pieces."""

    media_type: str
    render: Callable[[Listing], Iterator[bytes]]


def program_forms(media_types: MediaTypes) -> dict[str, Form]:
    """Return the forms for programs. media_types: of the files."""
    describe = partial(entry_object, media_types=media_types)
    return {
        "json": Form("application/json", partial(_json, describe=describe)),
        "ndjson": Form("application/x-ndjson", partial(_ndjson, describe=describe)),
        "text": Form("text/plain; charset=utf-8", _text),
    }


def entry_object(entry: Entry, media_types: MediaTypes) -> dict[str, Any]:
    """Return an entry as an object of JSON: docs/listing.schema.json describes it.

    A byte of a name that is not UTF-8 is shown as U+FFFD; its url always leads to the file.
    """
    name, is_directory = entry.name, entry.is_directory
    return {
        "name": name.decode(errors="replace"),
        "url": f"./{name_reference(name, is_directory=is_directory)}",
        "kind": "directory" if is_directory else "file",
        "size": None if is_directory else entry.size,
        "modified": format_time(entry.modified),
        "mime": None if is_directory else media_types.for_name(_last(name)).value,
        "is_symlink": entry.is_link,
    }


def format_time(modified: int) -> str:
    """Return a POSIX time in nanoseconds as RFC 3339 has it, exact unless it has no such form."""
    seconds, fraction = divmod(modified, _BILLION)
    if not EARLIEST <= seconds <= LATEST:
        seconds, fraction = min(max(seconds, EARLIEST), LATEST), 0
    time = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    return f"{time}.{fraction:09}Z" if fraction else f"{time}Z"


def _json(listing: Listing, describe: Callable[[Entry], dict[str, Any]]) -> Iterator[bytes]:
    query = listing.query
    about = {
        "path": listing.shown_path._replace(query="").location(),
        "total": listing.total,
        "offset": query.offset,
        "limit": query.limit,
        "sort": query.sort,
        "order": query.order,
        "query": query.search,
        "deep": query.is_deep,
        "complete": listing.is_complete,
    }
    yield json.dumps(about).encode()[:-1] + b', "entries": ['
    separator = b"\n"
    for rows in _batches(listing, lambda entry: json.dumps(describe(entry)).encode()):
        yield separator + b",\n".join(rows)
        separator = b",\n"
    yield b"\n]}\n"


def _ndjson(listing: Listing, describe: Callable[[Entry], dict[str, Any]]) -> Iterator[bytes]:
    for rows in _batches(listing, lambda entry: json.dumps(describe(entry)).encode() + b"\n"):
        yield b"".join(rows)


def _text(listing: Listing) -> Iterator[bytes]:
    """Yield a line for each entry: time, size and name, in which nothing is invisible."""
    width = max((len(str(entry.size)) for entry in listing.entries), default=1)
    for rows in _batches(listing, partial(_line, width=width)):
        yield b"".join(rows)


def _line(entry: Entry, width: int) -> bytes:
    size = "-" if entry.is_directory else entry.size
    slash = "/" if entry.is_directory else ""
    time = format_time(entry.modified // _BILLION * _BILLION)
    return f"{time}  {size:>{width}}  {visible_name(entry.name)}{slash}\n".encode(errors="replace")


def _batches(listing: Listing, render: Callable[[Entry], bytes]) -> Iterator[list[bytes]]:
    rows = map(render, in_steps(listing.entries))
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        yield batch


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]
