"""A folder of which not everything could be deleted (RFC 4918 section 9.6.1)."""

import xml.etree.ElementTree as ET
from typing import Any

from aserve.filesystem.writing.deletion import Deleted
from aserve.filesystem.writing.errors import Busy, NotWritable
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.areas import WriteArea, WriteAreas
from aserve.handlers.writing.delete import Delete
from aserve.handlers.writing.tree import WritableTree
from aserve.handlers.writing.writing import Writing
from aserve.http.messages import Request
from aserve.http.request_target import TargetPath


class Storage:
    """Cannot delete two of what is there."""

    def delete(self, path: TargetPath, guard: Any, *, tree: bool) -> Deleted:
        assert (path.segments, tree) == ((b"a",), True)
        failed = TargetPath((b"a", b"<&>"), is_directory=False), NotWritable()
        return Deleted(3, None, (failed, (TargetPath((b"a",), is_directory=True), Busy())))


def test_what_could_not_be_deleted_is_named() -> None:
    storage: Any = Storage()
    tree = WritableTree(
        {(b"in",): {"all": storage, "add": storage}}, WriteAreas([WriteArea((), "all")])
    )
    unused: Any = None
    handler = Delete(Writing(tree, unused, 1, decode_slashes=False, digests=unused))
    response = handler.handle(Request("DELETE", "/in/a"), RequestContext(0))
    assert response.status == 207
    (body,) = response.body
    assert isinstance(body, bytes)
    found = [[element.text for element in entry] for entry in ET.fromstring(body)]
    assert found == [
        ["/in/a/%3C&%3E", "HTTP/1.1 403 Forbidden", NotWritable.detail],
        ["/in/a/", "HTTP/1.1 503 Service Unavailable", Busy.detail],
    ]
