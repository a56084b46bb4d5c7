"""Listings in all their forms: what is on which page, in which order, and when it is the same."""

import json
import os
import re
import tempfile
from pathlib import Path

import jsonschema
import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.handlers.listing import text_reader
from aserve.handlers.listing.formats import format_time
from aserve.handlers.listing.model import FolderText
from aserve.handlers.listing.search import SearchLimits
from aserve.http.messages import BodyStream, Request
from aserve.http.request_target import TargetPath
from tests.aserve.handlers.listing_site import NOW, ListedSite

FORMS = ["html", "json", "ndjson", "text"]
DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = json.loads((DOCS / "listing.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "dir10").mkdir(parents=True)
    (root / "dir9").mkdir()
    (root / "dir9" / "deep.txt").write_bytes(b"deep")
    for name, size, time in (("b2", 5, 30), ("B10", 1, 20), ("a.txt", 3, 10), ("c", 3, 40)):
        (root / name).write_bytes(bytes(size))
        os.utime(root / name, (time, time))
    os.utime(root / "dir10", (2, 2))
    os.utime(root / "dir9", (1, 1))
    return root


@pytest.fixture
def site(root: Path) -> ListedSite:
    return ListedSite(root)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "dir9 dir10 a.txt b2 B10 c"),
        ("?order=asc", "dir9 dir10 a.txt b2 B10 c"),
        ("?order=desc", "dir10 dir9 c B10 b2 a.txt"),
        ("?sort=size", "dir9 dir10 B10 a.txt c b2"),
        ("?sort=size&order=desc", "dir9 dir10 b2 a.txt c B10"),
        ("?sort=time", "dir9 dir10 a.txt B10 b2 c"),
        ("?sort=time&order=desc", "dir10 dir9 c b2 B10 a.txt"),
        ("?limit=2", "dir9 dir10"),
        ("?limit=2&offset=1", "dir10 a.txt"),
        ("?limit=2&offset=5&sort=size", "b2"),
        ("?q=B", "b2 B10"),
        ("?q=1", "dir10 B10"),
        ("?q=*.TXT", "a.txt"),
        ("?q=b*", "b2 B10"),
        ("?q=b?", "b2"),
        ("?q=[a-c]?", "b2"),
        ("?q=none", ""),
        ("?q=b&order=desc&limit=1&offset=1", "b2"),
        ("?q=&sort=&unknown=1&limit=", "dir9 dir10 a.txt b2 B10 c"),
        ("?sort=name&sort=size&limit=3", "dir9 dir10 B10"),
        ("?deep=1&q=deep", "dir9/deep.txt"),
        ("?deep=1", "dir9 dir10 a.txt b2 B10 c dir9/deep.txt"),
        ("?deep=1&sort=size&order=desc", "dir9 dir10 b2 dir9/deep.txt a.txt c B10"),
        ("?deep=1&q=dir9/*", "dir9/deep.txt"),
        ("?deep=1&q=9/D", "dir9/deep.txt"),
        ("?deep=0&q=deep", ""),
    ],
)
def test_which_entries_in_which_order(site: ListedSite, query: str, names: str) -> None:
    assert site.list(f"/{query}").names == names.split()


def test_a_page_says_what_it_is_part_of(site: ListedSite) -> None:
    listing = site.list("/?limit=2&offset=1&sort=size&order=desc&q=b").json
    del listing["entries"]
    assert listing == {
        "path": "/",
        "total": 2,
        "offset": 1,
        "limit": 2,
        "sort": "size",
        "order": "desc",
        "query": "b",
        "deep": False,
        "complete": True,
    }


def test_json_describes_each_entry(root: Path) -> None:
    (root / "l").symlink_to("dir9")
    os.utime(root / "c", ns=(0, 1_234_567_890_123_456_789))
    site = ListedSite(root)
    entries = {entry["name"]: entry for entry in site.list().json["entries"]}
    assert entries["c"] == {
        "name": "c",
        "url": "./c",
        "kind": "file",
        "size": 3,
        "is_symlink": False,
        "modified": "2009-02-13T23:31:30.123456789Z",
        "mime": "application/octet-stream",
    }
    assert entries["a.txt"]["mime"] == site.get("/a.txt").headers["Content-Type"]
    assert entries["l"] == {
        "name": "l",
        "url": "./l/",
        "kind": "directory",
        "size": None,
        "is_symlink": True,
        "modified": "1970-01-01T00:00:01Z",
        "mime": None,
    }


@pytest.mark.parametrize("query", ["", "?limit=1", "?deep=1", "?q=none", "?sort=time&offset=3"])
def test_json_is_as_its_schema_says(site: ListedSite, query: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(site.list(f"/{query}").json, SCHEMA)


def test_ndjson_has_the_entries_of_json(site: ListedSite) -> None:
    lines = site.get("/?format=ndjson").body.splitlines()
    assert [json.loads(line) for line in lines] == site.list().json["entries"]


@pytest.mark.parametrize("form", ["html", "json", "ndjson", "text"])
def test_a_large_page_is_counted_and_streamed(tmp_path: Path, form: str) -> None:
    for number in range(320):
        (tmp_path / f"{number:0200}").touch()
    site = ListedSite(tmp_path).site
    request = Request("GET", f"/?format={form}")
    first, second = (site.handle(request, RequestContext(NOW)) for _ in range(2))
    assert [type(part) for part in first.body] == [BodyStream]
    size = len(b"".join(iter(first.body[0].read, b"")))
    assert first.length == (None if form == "ndjson" else size)
    assert site.memory.size == size  # which the second one, of the same bytes, still holds
    second.body[0].close()
    assert site.memory.size == 0
    assert site.handle(request._replace(method="HEAD"), RequestContext(NOW)).body == ()


def test_text_has_a_line_for_each_entry(root: Path) -> None:
    (root / "x\nevil \u202e").write_bytes(bytes(1_000))
    os.utime(root / "x\nevil \u202e", (50, 50))
    assert ListedSite(root).get("/?format=text").body.decode().splitlines() == [
        "1970-01-01T00:00:01Z     -  dir9/",
        "1970-01-01T00:00:02Z     -  dir10/",
        "1970-01-01T00:00:10Z     3  a.txt",
        "1970-01-01T00:00:30Z     5  b2",
        "1970-01-01T00:00:20Z     1  B10",
        "1970-01-01T00:00:40Z     3  c",
        r"1970-01-01T00:00:50Z  1000  x\nevil \u202e",
    ]


@pytest.mark.parametrize(
    ("modified", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1 << 62, "2116-02-20T23:53:38.427387904Z"),
        (10**9 * 10**12, "9999-12-31T23:59:59Z"),
        (10**9 * -(10**12), "0001-01-01T00:00:00Z"),
    ],
)
def test_times(modified: int, text: str) -> None:
    assert format_time(modified) == text


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "text": "text/plain; charset=utf-8",
}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "html"),
        ("*/*", "html"),
        (BROWSER, "html"),
        ("application/json", "json"),
        ("application/json, text/plain, */*", "json"),
        ("application/x-ndjson", "ndjson"),
        ("application/json;q=0.5, application/x-ndjson;q=0.6", "ndjson"),
        ("application/*", "json"),
        ("text/plain", "text"),
        ("text/*", "html"),
        ("text/html;q=0, */*", "json"),
        ("text/html;q=0.1, */*;q=0.2", "json"),
        ("image/png", "html"),
        ("text/html;q=0", "html"),
        ("no such thing;;;", "html"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_client_chooses_the_form(
    site: ListedSite, method: str, accept: str | None, form: str
) -> None:
    headers = {"accept": accept} if accept else {}
    answer = site.get("/", method, **headers)
    assert (answer.status, answer.headers["Content-Type"]) == (200, TYPES[form])
    assert answer.headers["Vary"] == "Accept"
    for other in FORMS:
        answer = site.get(f"/?format={other}", method, **headers)
        assert answer.headers["Content-Type"] == TYPES[other]
        assert "Vary" not in answer.headers


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_headers_of_a_listing(site: ListedSite, form: str) -> None:
    answer = site.get(f"/?format={form}&limit=2&offset=2&q=*")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Total-Count"] == "6"
    head = site.get(f"/?format={form}&limit=2&offset=2&q=*", "HEAD")
    assert (head.status, head.headers) == (200, answer.headers)  # its body is sent to nobody


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("named", [False, True])
def test_links_lead_through_all_pages(site: ListedSite, form: str, *, named: bool) -> None:
    """And back, with everything else that was asked for."""
    accept = TYPES[form].partition(";")[0]
    target = f"/?q=*&sort=time&limit=4{f'&format={form}' if named else ''}"
    pages = [site.get(target, accept=accept)]
    while "next" in links(pages[-1].headers):
        target = "/" + links(pages[-1].headers)["next"]
        pages.append(site.get(target, accept=accept))
    assert [page.status for page in pages] == [200, 200]
    assert {page.headers["Content-Type"] for page in pages} == {TYPES[form]}
    assert all(b"dir9" in page.body for page in pages[:1])
    assert b"b2" in pages[1].body
    for relation in ("prev", "first"):
        target = "/" + links(pages[1].headers)[relation]
        assert site.get(target, accept=accept).body == pages[0].body
    assert set(links(pages[0].headers)) == {"next"}


def links(headers: object) -> dict[str, str]:
    text = headers.get("Link", "")  # type: ignore[attr-defined]
    return {relation: url for url, relation in re.findall(r'<([^>]*)>; rel="(\w+)"', text)}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("sort=date", "The parameter sort must be one of name, size, time."),
        ("order=up", "The parameter order must be one of asc, desc."),
        ("format=xml", "The parameter format must be one of html, json, ndjson, text."),
        ("deep=yes", "The parameter deep must be one of 1, 0."),
        ("limit=0", "The parameter limit must be a number, from 1 to 2000."),
        ("limit=2001", "The parameter limit must be a number, from 1 to 2000."),
        ("limit=-1", "The parameter limit must be a number, from 1 to 2000."),
        ("limit=1e3", "The parameter limit must be a number, from 1 to 2000."),
        ("offset=-1", "The parameter offset must be a number, at least 0."),
        ("offset=x", "The parameter offset must be a number, at least 0."),
        ("q=" + "a" * 1_001, "The parameter q must have at most 1000 characters."),
        ("q=[z-a]", "The parameter q has a range that is none."),
        ("&".join(["a=1"] * 2_000), "The query has too many parameters."),
    ],
)
def test_a_bad_value_is_400_and_says_which(site: ListedSite, query: str, detail: str) -> None:
    answer = site.get(f"/?{query}")
    assert (answer.status, answer.body.decode()) == (400, f"400 Bad Request\n{detail}\n")


@pytest.mark.parametrize("query", ["offset=6", "offset=9223372036854775808", "q=none&offset=1"])
@pytest.mark.parametrize("form", FORMS)
def test_a_page_beyond_the_end_is_404(site: ListedSite, form: str, query: str) -> None:
    answer = site.get(f"/?format={form}&{query}")
    assert answer.status == 404
    assert "ETag" not in answer.headers


def test_an_empty_directory_has_an_empty_page(site: ListedSite) -> None:
    assert site.list("/dir10/").json["entries"] == []
    for form in FORMS:
        assert site.get(f"/dir10/?format={form}").status == 200


@pytest.mark.parametrize("form", FORMS)
def test_a_listing_that_has_not_changed_is_304(site: ListedSite, root: Path, form: str) -> None:
    target = f"/?format={form}"
    tag = site.get(target).headers["ETag"]
    answer = site.get(target, if_none_match=tag)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert site.get(target, "HEAD", if_none_match=f'"x", W/{tag}').status == 304
    assert site.get(target, if_match='"other"').status == 412
    # It has no date, so that none is compared.
    assert site.get(target, if_modified_since="Fri, 01 Jan 2100 00:00:00 GMT").status == 200
    other = "json" if form != "json" else "html"
    assert site.get(f"/?format={other}", if_none_match=tag).status == 200


def changes(root: Path) -> dict[str, object]:
    """Return what changes a listing, whatever the times of the directory are."""
    return {
        "written in place": lambda: (root / "c").write_bytes(b"xyz"),
        "longer in place": lambda: (root / "c").write_bytes(b"longer"),
        "another time": lambda: os.utime(root / "c", (7, 7)),
        "a new file": (root / "new").touch,
        "renamed": lambda: (root / "c").rename(root / "d"),
        "removed": (root / "c").unlink,
        "a directory instead": lambda: ((root / "c").unlink(), (root / "c").mkdir()),
        "a link instead": lambda: ((root / "c").unlink(), (root / "c").symlink_to("b2")),
        "a directory's time": lambda: os.utime(root / "dir9", (8, 8)),
    }


@pytest.mark.parametrize("change", changes(Path()))
@pytest.mark.parametrize("query", ["", "&sort=size", "&sort=time", "&q=*", "&deep=1"])
def test_every_change_is_seen(root: Path, change: str, query: str) -> None:
    """Also if the directory has the times that it had before."""
    os.utime(root, (1_000, 1_000))
    site = ListedSite(root)
    before = [site.get(f"/?format={form}{query}") for form in FORMS]
    changes(root)[change]()  # type: ignore[operator]
    for form, old in zip(FORMS, before, strict=True):
        answer = site.get(f"/?format={form}{query}", if_none_match=old.headers["ETag"])
        assert answer.status == 200
        assert answer.headers["ETag"] != old.headers["ETag"]


def test_what_changes_on_another_page_changes_no_tag(site: ListedSite, root: Path) -> None:
    tag = site.get("/?limit=2&format=json").headers["ETag"]
    os.utime(root / "c", (99, 99))
    assert site.get("/?limit=2&format=json", if_none_match=tag).status == 304
    (root / "d").touch()  # one more in total
    assert site.get("/?limit=2&format=json", if_none_match=tag).status == 200


def test_a_directory_that_vanishes_or_never_was_is_404(site: ListedSite, root: Path) -> None:
    assert site.list("/dir10/").status == 200
    (root / "dir10").rmdir()
    for target in ("/dir10/", "/none/", "/c/", "/dir9/none/"):
        for form in FORMS:
            assert site.get(f"{target}?format={form}").status == 404


def test_a_directory_that_vanishes_while_it_is_listed(root: Path) -> None:
    class Vanishing(Directory):
        def entries(self, path: TargetPath):  # type: ignore[no-untyped-def]
            found = super().entries(path)
            (root / "dir9" / "deep.txt").unlink()
            (root / "dir9").rmdir()
            return found

    answer = ListedSite(Vanishing(root)).list("/dir9/")
    assert (answer.status, answer.names) == (200, [])


def test_a_deep_search_ends_at_its_limits_and_says_so(root: Path) -> None:
    site = ListedSite(root, limits=SearchLimits(max_entries=3))
    answer = site.list("/?deep=1")
    assert (answer.json["complete"], answer.json["total"]) == (False, 3)
    assert answer.headers["Search-Complete"] == "?0"
    assert b"limit" in site.get("/?deep=1&q=*&format=html").body
    site = ListedSite(root, limits=SearchLimits(max_entries=7))
    answer = site.list("/?deep=1")
    assert (answer.json["complete"], answer.json["total"]) == (True, 7)
    assert "Search-Complete" not in answer.headers
    seconds = iter(range(100))
    limits = SearchLimits(max_seconds=2.5, clock=lambda: float(next(seconds)))
    answer = ListedSite(root, limits=limits).list("/?deep=1")
    assert (answer.json["complete"], answer.json["total"]) == (False, 2)


def test_readme_and_header_are_on_the_first_page(root: Path) -> None:
    (root / "README.md").write_text("# Read *me*")
    (root / "header.md").write_text("on top")
    site = ListedSite(root, page_size=4)
    page = site.get("/").body
    assert b"Read <em>me</em>" in page
    assert page.index(b"on top") < page.index(b"dir9/") < page.index(b"Read <em>")
    assert b"Read <em>me" in site.get("/?sort=size").body
    for query in ("?offset=4", "?q=a", "?deep=1"):
        assert b"Read <em>me" not in site.get(f"/{query}").body
    assert b"Read <em>me" not in ListedSite(root, has_texts=False).get("/").body
    (root / "README.md").write_text("# Read *it*")  # of the same size
    os.utime(root / "README.md", (1, 1))
    assert b"Read <em>it</em>" in site.get("/").body
    (root / "README.md").unlink()
    (root.parent / "secret.md").write_text("OUTSIDE-OF-ALL")
    (root / "README.md").symlink_to("../secret.md")
    assert b"OUTSIDE-OF-ALL" not in site.get("/").body


@pytest.mark.usefixtures("nobody")
def test_a_readme_that_may_not_be_read_is_an_entry_and_no_more() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "README.md").touch(mode=0)
        answer = ListedSite(Path(directory)).get("/")
        assert (answer.status, answer.body.count(b'href="README.md"')) == (200, 1)


def test_rendered_texts_are_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one is rendered once until it changes."""
    rendered: list[bytes] = []
    render = text_reader.render_text

    def counting(name: bytes, data: bytes) -> FolderText:
        rendered.append(data)
        return render(name, data)

    monkeypatch.setattr(text_reader, "render_text", counting)
    monkeypatch.setattr(text_reader, "_MAX_KEPT", 2)
    site = ListedSite(root)
    for number in range(3):
        (root / f"n{number}").mkdir()
        (root / f"n{number}" / "README.md").write_text(str(number))
    for number in (0, 0, 1, 2, 2, 1, 0):
        assert site.get(f"/n{number}/").status == 200
    assert rendered == [b"0", b"1", b"2", b"0"]


def test_title_and_archives_are_on_the_page(root: Path) -> None:
    page = ListedSite(root, title="<My> files", archives=("zip",)).get("/").body
    assert b"&lt;My&gt; files" in page
    assert b'value="zip"' in page


def test_where_there_is_an_index_a_listing_must_be_asked_for(root: Path) -> None:
    (root / "index.html").write_bytes(b"index")
    assert ListedSite(root).get("/?format=json").body == b"index"
    site = ListedSite(root, lists_all=True)
    assert site.get("/").body == b"index"
    assert site.get("/?x=format=").body == b"index"
    assert site.get("/a.txt?format=json").body == bytes(3)
    assert "index.html" in site.get("/?format=json").json["entries"][-1]["name"]
    assert site.get("/none/?format=json").status == 404
    assert site.get("/.git/?format=json").status == 404
    assert site.get("/dir9?format=json").headers["Location"] == "/dir9/?format=json"


def test_nothing_is_waited_for_where_that_is_not_allowed(site: ListedSite) -> None:
    with pytest.raises(BlockingIOError):
        site.site.handle(Request("GET", "/"), RequestContext(NOW, may_wait=False))
    bad = site.site.handle(Request("GET", "/?sort=x"), RequestContext(NOW, may_wait=True))
    assert bad.status == 400


def test_no_more_deep_searches_run_at_once_than_may(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    meanwhile: list[int] = []

    def clock() -> float:
        if not meanwhile:
            meanwhile.append(0)
            meanwhile[:] = [site.get(target).status for target in ("/?deep=1", "/?q=f", "/")]
        return 0.0

    site = ListedSite(tmp_path, limits=SearchLimits(clock=clock, max_running=1))
    assert site.get("/?deep=1").status == 200
    assert meanwhile == [503, 200, 200]
    assert site.get("/?deep=1&limit=x").status == 400
    assert site.get("/?deep=1").status == 200  # each of them has ended
    (tmp_path / "file").unlink()
    tmp_path.rmdir()
    assert [site.get("/?deep=1").status for _ in range(2)] == [404, 404]
