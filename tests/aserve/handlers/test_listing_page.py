"""The HTML page of a directory, as a pure function of a listing."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qs, unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aserve.http.html_page
from aserve.handlers.listing.model import FolderText, Listing, ListingQuery
from aserve.handlers.listing.names import name_reference, visible_name
from aserve.handlers.listing.page import page_headers, readable_size, render_page
from aserve.handlers.writing.areas import WriteMode
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import Entry
from tests.aserve.handlers.parsed_page import ParsedPage

ROOT = TargetPath((), is_directory=True)
FOLDER = TargetPath((b"music", b"2024"), is_directory=True)
NOON = 1_795_953_600_000_000_000  # 2026-11-29 12:00 UTC, in nanoseconds


def file(name: bytes, size: int = 0, modified: int = NOON) -> Entry:
    return Entry(name, is_directory=False, size=size, modified=modified)


def folder(name: bytes) -> Entry:
    return Entry(name, is_directory=True, size=0, modified=NOON)


def listing(*entries: Entry, **parts) -> Listing:
    return Listing(**{"path": FOLDER, "entries": entries, "total": len(entries), **parts})


def parsed(*entries: Entry, **parts) -> ParsedPage:
    return ParsedPage(render_page(listing(*entries, **parts)))


def rows(page: ParsedPage) -> list[str]:
    return [element["href"] for element in page.all("a") if "tbody" in element.parents]


# What can go wrong with a name: markup, URLs, directions, what is invisible or no UTF-8, length.
HOSTILE = [
    b"<script>alert(1)<script>",
    b"<img src=x onerror=alert(1)>",
    b"<!--",
    b'" onmouseover="alert(1)',
    b"' autofocus onfocus='alert(1)",
    b"&lt;b&gt; &amp; &#x3c;",
    b"javascript:alert(1)",
    b"http:\\\\evil.example",
    b"\\evil.example",
    b"?q=1#top",
    b"%2f..%2fetc%00",
    b"...",
    b" ",
    b"  two  spaces  ",
    b"line\nbreak\r\ttab\x00"[:-1],
    b"\x1b[31mred\x07",
    "gpj\u202eexe.txt".encode(),
    "\u2066isolate\u2069\u200b\ufeff".encode(),
    "תמונה 12.jpg".encode(),
    b"\xff\xfe\x80",
    b"\xed\xb3\xbf",  # a surrogate, which is no UTF-8
    b"x" * 255,
    "長".encode() * 85,
    b"{style}{}%s",
]
_BYTES = st.binary(min_size=1, max_size=255).map(lambda name: re.sub(rb"[/\0]", b"_", name))
_MARKUP = st.text(alphabet="<>&\"'/= abc:?#%\\\u202e\u2028\x1f", min_size=1, max_size=60).map(
    lambda name: name.replace("/", "_").encode()
)
NAMES = (st.sampled_from(HOSTILE) | _BYTES | _MARKUP).filter(lambda name: name not in {b".", b".."})


@given(st.lists(st.tuples(NAMES, st.booleans()), min_size=1, max_size=6), NAMES)
def test_every_link_leads_to_its_name_and_no_name_makes_an_element(names, parent) -> None:
    entries = [folder(name) if is_folder else file(name) for name, is_folder in names]
    path = TargetPath((parent, b"sub"), is_directory=True)
    page = parsed(*entries, path=path, title="Files")
    harmless = [entry._replace(name=b"name") for entry in entries]
    assert page.shape() == parsed(*harmless, path=path, title="Files").shape()

    base = "http://host" + path.location()
    for href, entry in zip(rows(page), entries, strict=True):
        target = urlsplit(urljoin(base, href))
        assert (target.scheme, target.netloc, target.query) == ("http", "host", "")
        assert parse_path(target.path) == TargetPath(
            (parent, b"sub", entry.name), is_directory=entry.is_directory
        )
        assert unquote_to_bytes(href.removesuffix("/" * entry.is_directory)) == entry.name
    up = [urljoin(base, a["href"]) for a in page.all("a") if "ol" in a.parents]
    assert up == ["http://host/", "http://host" + TargetPath((parent,), True).location()]


@given(NAMES)
def test_a_shown_name_hides_nothing(name: bytes) -> None:
    shown = visible_name(name)
    assert all(c.isprintable() or c.isspace() or c in "\u200c\u200d" for c in shown)
    assert not re.search(r"[\n\r\t\x0b\x0c\x1c-\x1f\x85\u2028\u2029]", shown)
    text = name.decode(errors="backslashreplace")
    if text.isprintable() and text == text.strip():
        assert shown == text
    assert shown == shown.strip() != ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plain.txt", "plain.txt"),
        ("grüße-κόσμε-안녕.txt".encode(), "grüße-κόσμε-안녕.txt"),
        (b"a\nb\tc\x7f", r"a\nb\tc\x7f"),
        (b"\xff.txt", r"\xff.txt"),
        ("photo\u202egpj.exe".encode(), r"photo\u202egpj.exe"),
        ("zero\u200bwidth\ufeff".encode(), r"zero\u200bwidth\ufeff"),
        ("👨\u200d👩\u200d👧 می\u200cروم".encode(), "👨\u200d👩\u200d👧 می\u200cروم"),
        (b" a  b ", "\u2423a  b\u2423"),
        (b"  ", "\u2423\u2423"),
        ("9.41.00\u202fAM\u3000全角".encode(), "9.41.00\u202fAM\u3000全角"),
    ],
)
def test_what_is_invisible_in_a_name_is_shown(name: bytes, shown: str) -> None:
    assert visible_name(name) == shown
    assert parsed(file(name)).one("th", scope="row").text == shown


def test_a_name_is_written_in_its_own_direction() -> None:
    page = parsed(file("תמונה/x/תמונה.py".encode()), folder("צילומים".encode()))
    names = [bdi.text for bdi in page.all("bdi") if "tbody" in bdi.parents]
    assert names == ["תמונה", "x", "תמונה.py", "צילומים"]
    assert [name.text for name in page.all("bdi") if "ol" in name.parents] == ["music", "2024"]


def test_a_path_of_a_deep_search_keeps_its_slashes() -> None:
    page = parsed(file(b"a b/c:d/e?.txt"), query=ListingQuery(search="e", is_deep=True))
    assert rows(page) == ["a%20b/c%3Ad/e%3F.txt"]


def test_an_entry_says_its_kind_size_and_time() -> None:
    seconds = NOON // 1_000_000_000
    entries = folder(b"sub"), file(b"film.mkv", 4_700_372_992, NOON + 61_999_999_999)
    linked = file(b"latest", 12)._replace(is_link=True)
    page = parsed(*entries, linked)
    assert [name.text for name in page.all("th", scope="row")] == [
        "sub/",
        "film.mkv",
        "latest link",
    ]
    cells = [(cell.text, cell.attributes.get("title")) for cell in page.all("td")]
    assert cells[2:4] == [("4.7 GB", "4,700,372,992 bytes"), ("2026-11-29 12:01", None)]
    assert cells[0] == ("", None)
    assert page.all("time")[1]["datetime"] == "2026-11-29T12:01:01Z"
    assert seconds == 1_795_953_600


@pytest.mark.parametrize(
    ("modified", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (2**63 - 1, "2262-04-11T23:47:16Z"),
        (2**100, "9999-12-31T23:59:59Z"),
        (-(2**100), "0001-01-01T00:00:00Z"),
    ],
)
def test_any_time_of_a_file_system_is_shown(modified: int, shown: str) -> None:
    assert parsed(file(b"a", 0, modified)).one("time")["datetime"] == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_834_201, "1.8 MB"),
        (999_950_000, "1.0 GB"),
        (10**12, "1.0 TB"),
        (2**63 - 1, "9.2 EB"),
    ],
)
def test_sizes_are_short(size: int, shown: str) -> None:
    assert readable_size(size) == shown


def test_columns_are_sorted_by_links() -> None:
    page = parsed(file(b"a"))
    name, size, time = (a for a in page.all("a") if "thead" in a.parents)
    assert (name["href"], size["href"], time["href"]) == (
        "?order=desc",
        "?sort=size&order=desc",
        "?sort=time&order=desc",
    )
    states = [heading.attributes.get("aria-sort") for heading in page.all("th", scope="col")]
    assert states == ["ascending", None, None]
    assert (name.text, size.text) == ("Name ↑", "Size")


def test_a_sorted_column_turns_round_and_the_rest_of_the_query_stays() -> None:
    query = ListingQuery("size", "desc", 50, 100, "a&b <c>", is_deep=True)
    page = parsed(file(b"a"), total=101, query=query)
    name, size, _ = (a for a in page.all("a") if "thead" in a.parents)
    kept = {"q": ["a&b <c>"], "deep": ["1"], "limit": ["50"]}
    assert parse_qs(size["href"][1:]) == kept | {"sort": ["size"]}
    assert parse_qs(name["href"][1:]) == kept
    assert size.text == "Size ↓"
    assert [heading.attributes.get("aria-sort") for heading in page.all("th", scope="col")] == [
        None,
        "descending",
        None,
    ]


def test_the_usual_query_is_the_url_of_the_folder() -> None:
    query = ListingQuery("name", "desc", limit=20)
    page = parsed(file(b"a"), query=query, page_size=20)
    assert next(a["href"] for a in page.all("a") if "thead" in a.parents) == "./"


def test_pages_are_linked() -> None:
    page = parsed(
        *[file(b"%d" % n) for n in range(10)], total=45, query=ListingQuery(limit=10, offset=20)
    )
    links = {
        a.text: (a["href"], a.attributes.get("rel")) for a in page.all("a") if "nav" in a.parents
    }
    assert links["First"] == ("?limit=10", None)
    assert links["Previous"] == ("?limit=10&offset=10", "prev")
    assert links["Next"] == ("?limit=10&offset=30", "next")
    assert links["Last"] == ("?limit=10&offset=40", None)
    assert page.one("caption").text == "21 to 30 of 45"
    assert "21 to 30 of 45" in page.one("nav", class_="pages").text


@given(st.integers(0, 300), st.integers(1, 60), st.integers(0, 400))
def test_next_and_previous_miss_no_entry(total: int, limit: int, start: int) -> None:
    def pages(offset):
        return Listing(ROOT, (), total, ListingQuery(limit=limit, offset=offset)).pages()

    offset, seen = 0, []
    while True:
        seen += range(offset, min(offset + limit, total))
        following = pages(offset).next
        if following is None:
            break
        assert pages(following.offset).previous.offset == offset
        offset = following.offset
    assert seen == list(range(total))
    first = pages(0)
    assert first.first is first.previous is None
    assert (first.last.offset if first.last else 0) == offset
    # Also a page that begins anywhere, or behind the end, leads to what is before it and after it.
    beside = pages(start)
    assert start == 0 or beside.previous.offset < max(total, 1)
    assert (beside.next is not None) == (start + limit < total)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "This folder is empty."),
        ({"query": ListingQuery(search="<x>")}, "Nothing was found for <x>. Show all files"),
        (
            {"query": ListingQuery(offset=90), "total": 3},
            "There are only 3 items. To the first page",
        ),
    ],
)
def test_a_page_without_entries_says_why(parts, text: str) -> None:
    page = parsed(**parts)
    assert page.one("p", id="~files").text == text
    assert not page.all("table")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "1 item"),
        ({"query": ListingQuery(search="*.py")}, "1 item for *.py"),
        ({"query": ListingQuery(search="x", is_deep=True)}, "1 item for x, subfolders included"),
        (
            {"query": ListingQuery(search="x\u202e", is_deep=True), "is_complete": False},
            (
                r"1 item for x\u202e, subfolders included."
                " The search stopped at its limit: there may be more"
            ),
        ),
        ({"total": 50_000, "query": ListingQuery(offset=1_000)}, "1,001 to 1,001 of 50,000"),
    ],
)
def test_the_caption_says_what_is_shown(parts, text: str) -> None:
    assert parsed(file(b"a"), **parts).one("caption").text == text


def test_the_search_box_keeps_what_was_asked() -> None:
    query = ListingQuery("time", "desc", 7, 14, '"><script>', is_deep=True)
    page = parsed(file(b"a"), total=15, query=query)
    fields = {
        field["name"]: field["value"] for field in page.all("input") if "form" in field.parents
    }
    assert fields == {
        "sort": "time",
        "order": "desc",
        "limit": "7",
        "q": '"><script>',
        "deep": "1",
    }
    assert "checked" in page.one("input", type="checkbox").attributes
    assert page.one("form", role="search")["action"] == "./"


def test_archives_are_buttons_which_no_crawler_follows() -> None:
    page = parsed(file(b"a"), archives=("zip", "tar.gz"))
    buttons = [(button["name"], button["value"]) for button in page.all("button", name="archive")]
    assert buttons == [("archive", "zip"), ("archive", "tar.gz")]
    assert not [a for a in page.all("a") if "archive" in a["href"]]
    assert not parsed(file(b"a")).all("button", name="archive")


def test_an_empty_folder_has_nothing_to_search_or_to_download() -> None:
    assert parsed(archives=("zip",)).all("form") == []
    for query in (ListingQuery(search="x"), ListingQuery(is_deep=True)):
        assert len(parsed(query=query, archives=("zip",)).all("form")) == 2


@pytest.mark.parametrize(
    ("query", "is_followed"),
    [
        (ListingQuery(), True),
        (ListingQuery(limit=5, offset=5), True),
        (ListingQuery(order="desc"), False),
        (ListingQuery(sort="size"), False),
        (ListingQuery(search="a"), False),
    ],
)
def test_crawlers_follow_the_pages_of_one_order(query: ListingQuery, is_followed: bool) -> None:
    robots = parsed(file(b"a"), total=11, query=query).all("meta", name="robots")
    assert [meta["content"] for meta in robots] == ["noindex, nofollow"] * (not is_followed)


@given(st.lists(NAMES, min_size=1, max_size=6))
def test_entries_are_selected_by_their_exact_names(names: list[bytes]) -> None:
    page = parsed(*map(file, names), archives=("zip",))
    boxes = [box for box in page.all("input", type="checkbox") if "tbody" in box.parents]
    # A form can send neither what is no UTF-8 nor a line break as it is.
    sendable = [
        name
        for name in names
        if not {10, 13} & set(name) and name.decode(errors="replace").encode() == name
    ]
    assert [box["value"].encode() for box in boxes] == sendable
    for box, name in zip(boxes, sendable, strict=True):
        assert box["name"] == "name"
        assert box["form"] == page.one("form", id="~archive")["id"]
        assert box["aria-label"] == f"Select {visible_name(name)}"
    assert len(page.all("td")) == 1 + 3 * len(names)


def test_a_path_of_a_deep_search_cannot_be_selected() -> None:
    page = parsed(file(b"a/b"), file(b"c"), archives=("zip",))
    assert [box["value"] for box in page.all("input", name="name")] == ["c"]
    assert not parsed(file(b"c")).all("input", name="name")


@pytest.mark.parametrize(
    ("path", "title", "shown", "heading"),
    [
        (ROOT, "", "Index of /", "Index"),
        (ROOT, "My <files>", "My <files>", "My <files>"),
        (FOLDER, "", "Index of /music/2024/", "2024"),
        (FOLDER, "Home", "music/2024/ · Home", "2024"),
    ],
)
def test_the_title_names_the_folder(path, title: str, shown: str, heading: str) -> None:
    page = parsed(path=path, title=title)
    assert page.one("title").text == shown
    assert page.one("h1").text == heading


def test_header_is_above_the_files_and_readme_below() -> None:
    header, readme = FolderText(b"HEADER.md", "<p>Hello</p>"), FolderText(b"README\n", None)
    page = parsed(file(b"a"), header=header, readme=readme)
    order = [element.tag for element in page.elements if element.tag in {"section", "table"}]
    assert order == ["section", "table", "section"]
    above, below = page.all("section")
    assert above["aria-label"] == "HEADER.md"
    assert (below["aria-label"], below.text.strip()) == (
        r"README\n",
        "README\\n\nIt is too large to be shown here.",
    )
    assert "README%0A" in [a["href"] for a in page.all("a")]


def test_a_search_that_is_no_text_is_shown() -> None:
    page = parsed(file(b"a"), query=ListingQuery(search="\udcff"), total=5)
    assert r"\udcff" in page.one("caption").text
    assert "q=%FF" in [a["href"] for a in page.all("a") if "thead" in a.parents][1]


@pytest.mark.parametrize("mode", [None, "add", "all"])
def test_the_policy_allows_what_is_in_the_page_and_nothing_else(mode: WriteMode | None) -> None:
    shown = listing(file(b"a"), archives=("zip",), write_mode=mode)
    page = ParsedPage(render_page(shown))
    headers = dict(page_headers(shown))
    # A form of a page without a referrer has the Origin null, which any site's page can have.
    assert headers["Referrer-Policy"] == ("same-origin" if mode else "no-referrer")
    header = headers["Content-Security-Policy"]
    policy = dict(part.strip().split(" ", 1) for part in header.split(";"))
    for directive, tag in (("style-src", "style"), ("script-src", "script")):
        digests = [
            b64encode(sha256(element.text.encode()).digest()).decode() for element in page.all(tag)
        ]
        assert policy.pop(directive) == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert policy.pop("connect-src", None) == ("'self'" if mode else None)
    assert policy == {
        "default-src": "'none'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'self'",
    }
    assert not [name for _, names in page.shape() for name in names if name in {"style", "src"}]
    assert not [name for _, names in page.shape() for name in names if name.startswith("on")]


def test_the_page_is_small_and_complete_in_itself() -> None:
    archives = ("zip", "tar", "tar.gz", "tar.zst")
    page = render_page(listing(archives=archives, title="Downloads"))
    assert len(page) < 12_000
    style = ParsedPage(page).one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in style


@pytest.mark.parametrize("mode", ["add", "all"])
def test_a_page_where_files_may_be_added_has_a_form_for_them(mode: WriteMode) -> None:
    page = parsed(write_mode=mode)
    form = page.one("form", id="~upload")
    assert (form["method"], form["enctype"], form["action"]) == (
        "post",
        "multipart/form-data",
        "./",
    )
    assert form["data-mode"] == mode
    field = page.one("input", type="file")
    assert {"label", "form"} <= set(field.parents)
    assert field["name"]
    assert "multiple" in field.attributes


def test_entries_can_be_selected_where_they_may_be_changed() -> None:
    boxes = {
        mode: len(parsed(file(b"a"), write_mode=mode).all("input", type="checkbox", name="name"))
        for mode in (None, "add", "all")
    }
    assert boxes == {None: 0, "add": 0, "all": 1}
    assert not parsed(file(b"a")).all("form", id="~upload")


def test_the_page_is_named_for_a_screen_reader() -> None:
    page = parsed(file(b"a"), total=9, archives=("zip",), query=ListingQuery(limit=1))
    assert page.one("html")["lang"] == "en"
    assert page.one("a", class_="skip")["href"] == f"#{page.one('table')['id']}"
    assert [nav["aria-label"] for nav in page.all("nav")] == ["Breadcrumb", "Pages"]
    assert page.one("input", type="search")["aria-label"]
    assert "label" in page.one("input", name="deep").parents
    assert page.one("input", name="name")["aria-label"] == "Select a"
    assert [row.text for row in page.all("th", scope="row")] == ["a"]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("caption")) == 1


def luminance(colour: str) -> float:
    """Return the relative luminance of #rgb or #rrggbb (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["page", "shade"])
def test_the_colours_have_contrast(scheme: int, ground: str) -> None:
    """WCAG 2.2: 4.5 to 1 for text (1.4.3), 3 to 1 for the edges of what can be used (1.4.11)."""
    style = Path(aserve.http.html_page.__file__).with_name("page.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#\w+);", block))
    for name in ("text", "quiet", "accent"):
        assert contrast(colours[name], colours[ground]) >= 4.5, name
    assert contrast(colours["edge"], colours[ground]) >= 3


def test_a_reference_is_what_a_browser_would_resolve() -> None:
    assert name_reference(b"a:b/c d", is_directory=True) == "a%3Ab/c%20d/"
