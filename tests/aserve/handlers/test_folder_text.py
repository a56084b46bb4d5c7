"""README and HEADER: GitHub's Markdown, of which nothing runs and nothing is fetched from afar."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linkify_it import LinkifyIt

from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.natural_order import sort_naturally
from aserve.handlers.handler import RequestContext
from aserve.handlers.listing.folder_text import (
    HEADER_NAMES,
    MAX_TEXT_SIZE,
    README_NAMES,
    find_text,
    render_text,
)
from aserve.http.messages import Request
from aserve.http.request_target import TargetPath
from aserve.http.resources import Document, Resource
from aserve.server.site_factory import build_site
from tests.aserve.handlers.listing_site import ListedSite
from tests.aserve.handlers.parsed_page import ParsedPage

# All that a README can make: a set that can only be widened on purpose.
BLOCKS = {"p", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "pre", "blockquote", "hr", "div"}
TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
INLINE = {"a", "br", "code", "em", "img", "s", "strong"}
ATTRIBUTES = {"href", "src", "alt", "title", "id", "class", "start"}


def html(markdown: str) -> str:
    rendered = render_text(b"README.md", markdown.encode(errors="surrogatepass")).html
    assert rendered is not None
    return rendered


def is_harmless(url: str) -> bool:
    """Tell whether a browser would take url for a page of this site, the web, or an address."""
    seen = re.sub(r"[\t\n\r]", "", url).strip("".join(map(chr, range(33))))
    scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):", seen)
    return scheme is None or scheme[1].lower() in {"http", "https", "mailto"}


def assert_safe(markdown: str) -> None:
    page = ParsedPage(html(markdown))
    for element in page.elements:
        assert element.tag in BLOCKS | TABLES | INLINE
        assert element.attributes.keys() <= ATTRIBUTES
        assert is_harmless(element.attributes.get("href") or "")
        if element.tag == "img":
            source = urljoin("http://host/folder/", element["src"].replace("\\", "/"))
            assert source.startswith("http://host/")


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT\n>alert(1)</SCRIPT >",
    "<img src=x onerror=alert(1)>",
    "text <img src=x onerror=alert(1)> text",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<style>*{background:url(http://evil.example)}</style>",
    "<base href=http://evil.example/>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<form action=http://evil.example><input name=q></form>",
    "<a href='javascript:alert(1)'>x</a>",
    "<details open ontoggle=alert(1)>",
    "<!-- --!><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php <script>alert(1)</script> ?>",
    "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>",
    "<<script>script>alert(1)<</script>/script>",
    "<scr<script>ipt>alert(1)</script>",
    "<p title='\n\n<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](java&Tab;script:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x](&#1;javascript:alert(1))",
    "[x](< javascript:alert(1)>)",
    "[x](\u00a0javascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](javascript\\:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](file:///etc/passwd)",
    "[x](blob:http://host/1)",
    "[x](view-source:http://host/)",
    "[x][y]\n\n[y]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "<data:text/html,x>",
    'javascript://alert(1) "onmouseover="alert(1)',
    '[x](http://a"onmouseover="alert(1))',
    '[x](http://a "t\\" onmouseover=\\"alert(1)")',
    '[x](http://a (t" onmouseover="alert(1)))',
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](data:image/png;base64,AAAA)",
    "![x](http://evil.example/pixel.png)",
    "![x](//evil.example/pixel.png)",
    "![x](\\\\\\\\evil.example/pixel.png)",
    "![x](/\\\\evil.example/pixel.png)",
    '![x" onerror="alert(1)](x.png)',
    '![x](x.png "t\\" onerror=\\"alert(1)")',
    "![<script>alert(1)</script>](http://evil.example/x.png)",
    '```"onmouseover="alert(1)\nx\n```',
    "```js onload=alert(1)\n<script>\n```",
    "`<script>alert(1)</script>`",
    "    <script>alert(1)</script>",
    "# <script>alert(1)</script>",
    '# x" onclick="alert(1)',
    "|a|\n|-|\n|<script>alert(1)</script>|",
    "> [!NOTE]\n> <script>alert(1)</script>",
    "- [x] <script>alert(1)</script>",
    "\0<script>alert(1)</script>",
    "<scr\0ipt>alert(1)</script>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_dead(attack: str) -> None:
    assert_safe(attack)
    assert_safe(f"text\n\n- {attack}\n\n> {attack}\n")


PIECES = st.sampled_from(
    [
        *ATTACKS,
        *"<>[]()!`*_~#|\\\"'&;:\n\t-=\x00\x85\u2028",
        *("<a ", "](", "<!--", "-->", "javascript:", "http://", "&#", "\n\n", "    ", "> ", "```"),
        *("[!NOTE]", "- [ ] ", "|-|\n", "\ud800", "\ufeff", "<script", "</"),
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join))
def test_nothing_unsafe_can_be_composed(markdown: str) -> None:
    assert_safe(markdown)


def test_links_and_pictures_resolve_to_the_folder() -> None:
    page = ParsedPage(
        html("[guide](docs/a%20b.md#top) [up](../x?y=1) [top](#usage) ![logo](l.png)")
    )
    assert [a["href"] for a in page.all("a")] == ["docs/a%20b.md#top", "../x?y=1", "#usage"]
    assert (page.one("img")["src"], page.one("img")["alt"]) == ("l.png", "logo")


def test_links_to_elsewhere_work() -> None:
    page = ParsedPage(
        html("<https://a.example/> <me@a.example> https://b.example/?a=1&b=2 README.md")
    )
    assert [a["href"] for a in page.all("a")] == [
        "https://a.example/",
        "mailto:me@a.example",
        "https://b.example/?a=1&b=2",
    ]


def test_of_a_picture_from_elsewhere_its_description_is_left() -> None:
    badge = "[![build *passing*](https://ci.example/badge.svg)](https://ci.example/)"
    page = ParsedPage(html(badge))
    assert not page.all("img")
    assert (page.one("a")["href"], page.one("a").text) == (
        "https://ci.example/",
        "build passing",
    )


def test_tags_are_left_out_and_their_text_stays() -> None:
    markdown = '<h1 align="center">\n  My <b>Project</b> &amp; more\n</h1>\n\na<br>b <!-- c -->d'
    page = ParsedPage(html(markdown))
    assert [p.text for p in page.all("p")] == ["My Project & more", "ab d"]
    assert "alert" not in html("<script>\nalert(1)\n</script>\n\nok")


def test_headings_are_below_that_of_the_page_and_have_the_ids_of_github() -> None:
    markdown = "# My `code` & *more*!\n## Usage\n## Usage\n###### Größe der Welt\n# !!!\nSet\n===\n"
    page = ParsedPage(html(markdown))
    ids = [(e.tag, e["id"]) for e in page.elements if e.tag.startswith("h")]
    assert ids == [
        ("h2", "my-code--more"),
        ("h3", "usage"),
        ("h3", "usage-1"),
        ("h6", "größe-der-welt"),
        ("h2", "section"),
        ("h2", "set"),
    ]


def test_tables_tasks_alerts_and_strikethrough_of_github() -> None:
    markdown = "|a|b|c|\n|:-|:-:|-:|\n|1|2|3|\n\n- [x] done\n- [ ] open\n\n> [!TIP]\n> ~~old~~\n"
    page = ParsedPage(html(markdown))
    assert [cell.attributes for cell in page.all("td")] == [
        {"class": "left"},
        {"class": "center"},
        {"class": "right"},
    ]
    assert [item.text.strip() for item in page.all("li")] == ["☑ done", "☐ open"]
    assert page.one("p", class_="markdown-alert-title").text == "Tip"
    assert page.one("s").text == "old"


@pytest.mark.parametrize("name", [b"README", b"readme.TXT"])
def test_a_plain_text_stays_as_it_is(name: bytes) -> None:
    rendered = render_text(name, b"\xef\xbb\xbf# no <b>markup</b>\n\n  a & b \xff\n").html
    page = ParsedPage(rendered or "")
    assert page.one("pre").text == "# no <b>markup</b>\n\n  a & b \ufffd\n"


def test_a_long_markdown_is_shown_as_it_is_and_a_longer_one_is_only_linked() -> None:
    longest = b"# " + b"x" * (MAX_TEXT_SIZE - 2)
    assert ParsedPage(render_text(b"README.md", longest).html or "").one("pre")
    assert render_text(b"README.md", longest + b"x").html is None
    assert render_text(b"README", longest + b"x").html is None


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([b"README.txt", b"readme", b"Readme.MD"], b"Readme.MD"),
        ([b"README.txt", b"README"], b"README"),
        ([b"a", b"README.txt"], b"README.txt"),
        ([b"README.md.bak", b"xREADME"], None),
        ([], None),
    ],
)
def test_the_readme_that_is_shown(names: list[bytes], found: bytes | None) -> None:
    assert find_text(README_NAMES, sort_naturally(names)) == found


def test_the_header_that_is_shown() -> None:
    assert find_text(HEADER_NAMES, [b"header.md", b"README.md"]) == b"header.md"


@pytest.mark.parametrize(
    ("settings", "shown"), [({}, [b"HEADER.md", b"readme.md"]), ({"readme": False}, [])]
)
def test_texts_are_shown_unless_the_settings_forbid_it(tmp_path: Path, settings, shown) -> None:
    for name in ("HEADER.md", "readme.md"):
        (tmp_path / name).write_text("# Text")
    site = build_site(Settings(tmp_path, **settings), Mounts())
    request = Request("GET", "/", headers={"accept": "text/html"})
    (body,) = site.handle(request, RequestContext(0)).body
    assert isinstance(body, bytes)
    sections = ParsedPage(body).all("section")
    assert [section["aria-label"].encode() for section in sections] == shown


class FailingDisk(Directory):
    """A directory whose files cannot be read at first, though they are there."""

    fails = True

    def read(self, start: int, stop: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        found = super().find(path, wait=wait)
        if self.fails and isinstance(found, Document):
            (plain,) = found.representations
            return found._replace(representations=(plain._replace(source=self),))  # type: ignore[arg-type]
        return found


def test_a_text_that_cannot_be_read_takes_nothing_from_its_folder(tmp_path: Path) -> None:
    for name in ("HEADER.md", "README.md", "a.txt"):
        (tmp_path / name).write_text("# Text")
        os.utime(tmp_path / name, (1, 1))
    disk = FailingDisk(tmp_path)
    site = ListedSite(disk)
    answer = site.get("/")
    page = ParsedPage(answer.body)
    assert answer.status == 200
    links = [link["href"] for link in page.all("a") if "tbody" in link.parents]
    assert links == ["a.txt", "HEADER.md", "README.md"]
    assert [text.text.split("\n")[-2] for text in page.all("section")] == [
        "It cannot be read at the moment."
    ] * 2
    disk.fails = False
    again = site.get("/", if_none_match=answer.headers["ETag"])
    assert [heading.text for heading in ParsedPage(again.body).all("h2")] == ["Text"] * 2


@pytest.mark.parametrize("part", ["://", "a://", "http://a.", "//a", "mailto:a@"])
def test_bare_links_are_not_looked_for_where_that_takes_the_square_of_the_length(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0
    match_at_start, test = LinkifyIt.match_at_start, LinkifyIt.test

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: LinkifyIt, text: str) -> Any:
            nonlocal looked_at
            looked_at += 1
            return method(self, text)

        return call

    monkeypatch.setattr(LinkifyIt, "match_at_start", counting(match_at_start))
    monkeypatch.setattr(LinkifyIt, "test", counting(test))
    assert "<a" in html("see https://host/\n")
    assert looked_at > 0
    looked_at = 0
    html(part * (20_000 // len(part)))
    assert looked_at == 0
