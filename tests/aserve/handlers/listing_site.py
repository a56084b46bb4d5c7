"""A site with listings, asked in this process: what tests of listings share."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

from aserve.filesystem.directory import Directory, FileSystem
from aserve.filesystem.visibility import DEFAULT_VISIBILITY, Visibility
from aserve.handlers.archive.handler import Archives
from aserve.handlers.dav.propfind import Propfind
from aserve.handlers.deferred import Deferred
from aserve.handlers.folders import Folders
from aserve.handlers.handler import RequestContext
from aserve.handlers.listing.handler import Listings
from aserve.handlers.methods import MethodDispatcher, method_table
from aserve.handlers.static_files import StaticFiles
from aserve.http.messages import BodyStream, FileSlice, Request
from aserve.policies.site import Site

NOW = 1_900_000_000


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def names(self) -> list[str]:
        """The names in a listing as JSON."""
        return [entry["name"] for entry in self.json["entries"]]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ListedSite:
    def __init__(
        self,
        root: Path | FileSystem,
        visibility: Visibility = DEFAULT_VISIBILITY,
        *,
        lists_all: bool = False,
        **settings: Any,
    ) -> None:
        self.files = Directory(root, visibility=visibility) if isinstance(root, Path) else root
        listings = Listings(self.files, **settings)
        archives = Archives(self.files)
        folders = Deferred(lambda: Folders(listings, archives))
        handler = StaticFiles(self.files, folders=folders, lists_all=lists_all)
        methods = method_table(handler, propfind=Propfind(self.files))
        self.site = Site(MethodDispatcher(methods))

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n"
        request = Request(method, target, headers=named, head=head)
        response = self.site.handle(request, RequestContext(NOW))
        body = b"".join(map(part_bytes, response.body))
        return Answer(response.status, dict(response.headers), body)

    def list(self, target: str = "/", **headers: str) -> Answer:
        """Return a listing as JSON."""
        return self.get(f"{target}{'&' if '?' in target else '?'}format=json", **headers)

    def members(self, target: str) -> Sequence[str]:
        """Return the hrefs of what is in a directory, as a WebDAV client gets them."""
        answer = self.get(target, "PROPFIND", depth="1")
        assert answer.status in {207, 404}
        found = ET.fromstring(answer.body) if answer.status == 207 else ()
        return [one.findtext("{DAV:}href") or "" for one in found][1:]

    def follow(self, target: str, reference: str) -> Answer:
        """Return what a relative reference in the answer to a target leads to."""
        return self.get(urljoin(f"http://x{target}", reference).removeprefix("http://x"))


def part_bytes(part: object) -> bytes:
    if isinstance(part, FileSlice):
        return part.source.read(part.start, part.stop)
    if isinstance(part, BodyStream):
        return b"".join(iter(part.read, b""))
    assert isinstance(part, bytes)
    return part
