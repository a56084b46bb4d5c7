"""The XML of a PROPFIND: whatever a client sends, and whatever it asks for."""

import tracemalloc
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.handlers.dav.multistatus import BEGINNING, END, response_element, xml_text
from aserve.handlers.dav.properties import Properties
from aserve.handlers.dav.propfind import Propfind
from aserve.handlers.dav.query import MAX_NAMES, Name, PropertyQuery, parse_query
from aserve.handlers.handler import RequestContext
from aserve.http.media_types import MediaTypes
from aserve.http.messages import BodyStream, HttpError, Request
from aserve.http.request_target import TargetPath
from aserve.http.resources import Entry

XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
PIECES = (
    *("<?xml version='1.0'?>", "<propfind xmlns='DAV:'>", "</propfind>", "<prop>", "</prop>"),
    *("<allprop/>", "<propname/>", "<include>", "</include>", "<x:a xmlns:x='u:'/>", "<a", "/>"),
    *(
        "<!DOCTYPE a [",
        "<!ENTITY a 'b'>",
        "]>",
        "&a;",
        "&#0;",
        "&#xD800;",
        "<![CDATA[",
        "]]>",
        "<!--",
    ),
    *("-->", "<?a b?>", " xmlns=''", " xmlns:a=''", " xmlns:xml='u:'", "<xml:a/>", "<xmlns:a/>"),
    *("<a:b:c/>", "<?xml version='1.0' encoding='zlib'?>", "\0", "\ufeff", "ä", "\U0001f600"),
)
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
BODIES = st.binary(max_size=200) | st.builds(
    lambda text, encoding: text.encode(encoding, "surrogatepass"), TEXTS, ENCODINGS
)
LOCALS = st.text("abcäé_-.1", min_size=1, max_size=5).map(lambda text: f"p{text}")
NAMESPACES = st.sampled_from(["", "DAV:", XML_NAMESPACE]) | st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8
).map(lambda text: f"urn:{text}".replace(" ", ""))
NAMES = st.lists(st.tuples(NAMESPACES, LOCALS), unique=True, max_size=6)
ENTRIES = st.builds(
    Entry,
    name=st.binary(min_size=1, max_size=20),
    is_directory=st.booleans(),
    size=st.integers(0, 1 << 62),
    modified=st.integers(-(1 << 62), 1 << 62),
    changed=st.integers(-(1 << 62), 1 << 62),
    inode=st.integers(0, (1 << 64) - 1),
)


@given(BODIES)
def test_any_body_is_a_query_or_400(body: bytes) -> None:
    try:
        query = parse_query(body)
    except HttpError as error:
        status = error.status
    else:
        check_described(query, Entry(b"name", is_directory=False, size=1, modified=0))
        status = 400
    assert status == 400


def propfind_of(names: list[Name]) -> bytes:
    root = ET.Element("{DAV:}propfind")
    prop = ET.SubElement(root, "{DAV:}prop")
    for namespace, local in names:
        ET.SubElement(prop, f"{{{namespace}}}{local}" if namespace else local)
    return ET.tostring(root, "utf-8")


@given(NAMES, ENTRIES)
def test_what_is_asked_for_is_answered_by_name(names: list[Name], entry: Entry) -> None:
    query = parse_query(propfind_of(names))
    assert query == PropertyQuery("prop", tuple(names))
    assert sorted(check_described(query, entry)) == sorted(names)


def check_described(query: PropertyQuery, entry: Entry) -> list[Name]:
    """Return the names of the properties in the response for an entry."""
    describe = Properties(MediaTypes()).describer(query, 1_900_000_000)
    location = "/" + "".join(f"%{byte:02X}" for byte in entry.name)
    document = f"{BEGINNING}{response_element(location, describe(entry))}{END}"
    (response,) = ET.fromstring(document.encode())
    assert response.findtext("{DAV:}href") == location
    tags = [one.tag for prop in response.iterfind("*/{DAV:}prop") for one in prop]
    return [_split(tag) for tag in tags]


def _split(tag: str) -> Name:
    namespace, _, local = tag.rpartition("}")
    return namespace.removeprefix("{"), local


@given(st.text())
def test_any_text_is_shown_as_xml(text: str) -> None:
    shown = ET.fromstring(f"<a>{xml_text(text)}</a>".encode(errors="replace")).text or ""
    assert len(shown) == len(text)
    pairs = zip(shown, text, strict=True)
    assert all(one in {other, "\ufffd"} for one, other in pairs)


def test_only_so_many_properties_may_be_asked_for() -> None:
    names = [("urn:x", f"p{number}") for number in range(MAX_NAMES)]
    assert len(parse_query(propfind_of(names)).names) == MAX_NAMES
    with pytest.raises(HttpError, match="At most 200"):
        parse_query(propfind_of([*names, ("urn:x", "one-more")]))


class ManyEntries(list[Entry]):
    """A folder of which no entry exists until it is asked for."""

    def __len__(self) -> int:
        return 5_000

    def __getitem__(self, part: slice) -> list[Entry]:  # type: ignore[override]
        return [Entry(b"entry %d" % n, False, n, n) for n in range(len(self))[part]]


class ManyFiles:
    """A file system with one folder."""

    def entries(self, path: TargetPath) -> ManyEntries:
        return ManyEntries()

    def entry(self, path: TargetPath) -> Entry:
        return Entry(b"", is_directory=True, size=0, modified=0)


def test_a_large_folder_is_described_while_it_is_sent() -> None:
    request = Request("PROPFIND", "/", head="PROPFIND / HTTP/1.1\r\nDepth: 1\r\n\r\n")
    response = Propfind(ManyFiles()).handle(request, RequestContext(1_900_000_000))  # type: ignore[arg-type]
    (stream,) = response.body
    assert isinstance(stream, BodyStream)
    assert stream.may_wait  # for a disk: an event loop leaves it to a thread
    tracemalloc.start()
    try:
        size = sum(map(len, _pieces(stream)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 5_000 * 300
    assert most < 1 << 20  # bytes


def _pieces(stream: BodyStream) -> Iterator[bytes]:
    hrefs = 0
    for piece in iter(stream.read, b""):
        assert len(piece) < 70_000
        hrefs += piece.count(b"<D:href>")
        yield piece
    assert hrefs == 5_001
