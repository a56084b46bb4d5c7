"""What a site would answer to one request, and what decided that: without a socket."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import quote

from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.opened_file import OpenFile
from aserve.handlers.handler import Note, RequestContext, Topic
from aserve.http.messages import FileSlice, Request, Response
from aserve.http1.connection import H1Connection
from aserve.server.encoders import build_encoder
from aserve.server.site_factory import build_site
from aserve.server.stores import open_store

BROWSER_HEADERS: Mapping[str, str] = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}
"""What browsers send where a user opens a page."""

_TOPICS = get_args(Topic)
_IN_TARGETS = "/?:@!$&'()*+,;=%[]~"


class Decision(NamedTuple):
    """A request, its response, and what decided: notes by their topics, each in order."""

    request: Request
    response: Response
    notes: list[Note]


def decide(
    settings: Settings, target: str, headers: Mapping[str, str], scheme: str = "http"
) -> Decision:
    """Return what the site that settings describe answers to GET.

    target: a path, in which what no URL has is escaped. headers: Host among them.
    """
    lines = [f"GET {quote(target, safe=_IN_TARGETS)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    http = H1Connection(settings.limits)
    http.receive("\r\n".join([*lines, "\r\n"]).encode("latin-1", "replace"))
    request = http.next_request() or Request("GET", target)
    notes: list[Note] = []
    encoder = build_encoder(settings, improves=False)
    shares = open_store(settings)
    site = build_site(settings, Mounts(), encoder=encoder, shares=shares).without_inlined_bodies()
    context = RequestContext(int(time.time()), scheme=scheme, notes=notes)
    response = site.handle(request, context)
    if response.on_end:  # nothing is sent
        response.on_end(0, True)
    if shares:
        shares.close()
    notes += _facts(response)
    return Decision(request, response, sorted(notes, key=lambda note: _TOPICS.index(note.topic)))


def _facts(response: Response) -> Iterator[Note]:
    """Yield what the response itself shows: the file, its coding, whether it is remembered."""
    is_file = False
    for part in response.body[:1]:
        if isinstance(part, FileSlice) and isinstance(part.source, OpenFile):
            is_file = True
            with suppress(OSError):
                yield Note("file", str(Path(f"/proc/self/fd/{part.source.fileno()}").readlink()))
    if not is_file and response.path:
        yield Note("file", os.fsdecode(response.path))
    if coding := dict(response.headers).get("Content-Encoding"):
        reason = "this file is there" if is_file else "it is compressed while it is served"
        yield Note("coding", f"{coding}: the client accepts it, and {reason}")
    if response.path and coding and not is_file:
        yield Note("memory", "the response is kept once the best level is made")
    elif response.path:
        yield Note("memory", "the response is kept until something on its path changes")
    else:
        yield Note("memory", "the response is not kept: each request is answered anew")
