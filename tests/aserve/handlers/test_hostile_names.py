"""Whatever a file is named, its link in every form of a listing answers 200 with its bytes."""

import io
import json
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from html import unescape
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.filesystem.visibility import DEFAULT_VISIBILITY
from tests.aserve.handlers.listing_site import ListedSite

HOSTILE = [
    *(b"<img src=x onerror=alert(1)>", b"'\"><script>", b"&amp;&lt;", b"a\nb\r\nX-Evil: 1", b"\t"),
    *("\u202egnp.exe".encode(), "\u2066a\u2069".encode(), b"\xff\xfe", b"\xc3", "é".encode()),
    *(b"%2f", b"%2e%2e", b"..%2fx", b"a%00b", b"%", b"%zz", b"...", b"..a", b" ", b"a ", b" a"),
    *(b"?", b"a?b=c", b"#", b"a#b", b"-rf", b"--", b"trailing.", b"trailing ", b"a:b", b"http:x"),
    *(b"a\\b", b"\\", b"*", b"[a]", b"a;b", b"a&b=c", b"a+b", b"@", b"~a", b"a|b", b"{}", b"^`"),
    *(b"x" * 255, "ä".encode() * 127, b"\x01\x7f", b"index.html.", b"con", b"a,b", b"q=1", b"="),
]
NAMES = st.binary(min_size=1, max_size=64).filter(
    lambda name: not set(name) & {0, ord("/")} and name not in {b".", b"..", b"index.html"}
)


def links(site: ListedSite, form: str) -> list[str]:
    """Return the references to entries in a listing, as a client finds them."""
    body = site.get(f"/?format={form}").body.decode()
    if form == "json":
        return [entry["url"] for entry in json.loads(body)["entries"]]
    if form == "ndjson":
        return [json.loads(line)["url"] for line in body.splitlines()]
    return [
        unescape(link)
        for link in re.findall(r'<th scope="row" align="left"><a href="([^"]*)"', body)
    ]


def check_names(directory: str, names: Iterable[bytes]) -> None:
    visible = [name for name in names if DEFAULT_VISIBILITY.is_visible(name)]
    for name in names:
        path = os.fsencode(directory) + b"/" + name
        with open(path, "wb") as file:
            file.write(b"bytes of " + name)
    site = ListedSite(Path(directory))
    expected = sorted(b"bytes of " + name for name in visible)
    for form in ("html", "json", "ndjson"):
        answers = [site.follow("/", link) for link in links(site, form)]
        assert [answer.status for answer in answers] == [200] * len(visible)
        assert sorted(answer.body for answer in answers) == expected
    assert site.get("/?format=text").body.count(b"\n") == len(visible)
    answers = [site.get(href) for href in site.members("/")]
    assert sorted(answer.body for answer in answers) == expected
    check_searches(site, visible)
    check_archives(site, visible)


def check_archives(site: ListedSite, names: Iterable[bytes]) -> None:
    """Each name is archived with all others, and selected alone."""
    expected = sorted(b"bytes of " + name for name in names)
    with zipfile.ZipFile(io.BytesIO(site.get("/?archive=zip").body)) as archive:
        _, *entries = archive.infolist()
        assert sorted(map(archive.read, entries)) == expected
        assert all(entry.orig_filename.count("/") == 1 for entry in entries)
    for name in names:
        target = "/?archive=tar&name=" + "".join(f"%{byte:02X}" for byte in name)
        with tarfile.open(fileobj=io.BytesIO(site.get(target).body)) as selected:
            _, member = selected.getmembers()
            assert os.fsencode(member.name) == b"files/" + name


def check_searches(site: ListedSite, names: Iterable[bytes]) -> None:
    """Each name is found by itself: in a set, so that no character of it has a meaning."""
    for name in names:
        text = re.sub(r"[*?\[]", lambda match: f"[{match[0]}]", os.fsdecode(name))
        target = "/?format=json&q=" + "".join(f"%{byte:02X}" for byte in os.fsencode(text))
        found = [entry["url"] for entry in site.get(target).json["entries"]]
        assert b"bytes of " + name in [site.follow("/", url).body for url in found]


@given(st.lists(NAMES, unique=True, min_size=1, max_size=8))
@example(HOSTILE)
def test_the_link_of_a_listed_name_leads_to_its_bytes(names: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        check_names(directory, names)


@pytest.mark.parametrize("name", list(filter(DEFAULT_VISIBILITY.is_visible, HOSTILE)))
def test_a_directory_with_such_a_name_can_be_entered(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(path)
    with open(path + b"/in " + name[:200], "wb") as file:
        file.write(b"inside")
    site = ListedSite(tmp_path)
    (url,) = [entry["url"] for entry in site.list("/").json["entries"]]
    target = "/" + url.removeprefix("./")
    (inner,) = [entry["url"] for entry in site.list(target).json["entries"]]
    assert site.follow(target, inner).body == b"inside"
    (folder,) = site.members("/")
    (href,) = site.members(folder)
    assert site.get(href).body == b"inside"
    deep = site.list("/?deep=1&q=in*").json["entries"]
    assert [site.follow("/", entry["url"]).body for entry in deep if entry["kind"] == "file"] == [
        b"inside"
    ]
