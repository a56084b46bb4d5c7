"""The documentation as a site: built strictly, served by aserve, and followed link by link."""

import http.client
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

import aserve

pytestmark = pytest.mark.docs

SCRIPT = Path(__file__).parent.parent / "docs" / "build.py"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="needs the docs group: make docs")
    directory = tmp_path_factory.mktemp("docs")
    command = [sys.executable, SCRIPT, directory]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return directory / "site"


def test_every_link_and_anchor_of_the_served_site_leads_somewhere(
    build: ModuleType, site: Path
) -> None:
    with aserve.Server(site) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        pages, broken, pending = {}, [], {server.url: "the start"}
        while pending:
            url, source = pending.popitem()
            connection.request("GET", urlsplit(url).path)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                broken.append((source, url, response.status))
            is_page = response.headers["Content-Type"].startswith("text/html")
            page = pages[url] = build.Page(body.decode() if is_page else "")
            targets = {urldefrag(urljoin(url, link)).url for link in page.links | page.loads}
            inside = {target for target in targets if target.startswith(server.url)}
            pending |= dict.fromkeys(inside - pages.keys(), url)
        connection.close()
        for url, page in pages.items():
            for link in page.links:
                target, anchor = urldefrag(urljoin(url, link))
                if target in pages and unquote(anchor) not in pages[target].anchors:
                    broken.append((url, link, "no such anchor"))
            broken += [
                (url, load, "is elsewhere")
                for load in page.loads
                if not urljoin(url, load).startswith(server.url)
            ]
        assert broken == []
        # Everything is linked: there is no page that only the generator knows.
        built = {
            server.url + path.relative_to(site).as_posix()
            for path in site.rglob("*.html")
            if path.name != "404.html"
        }
        assert built <= pages.keys()


def test_a_broken_link_an_anchor_or_something_of_another_site_fails_the_build(
    build: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "style.css").touch()
    (tmp_path / "sub" / "page.html").write_text('<h1 id="top">Top</h1><a href="../index.html">')
    (tmp_path / "index.html").write_text(
        '<link href="style.css"><a href="sub/page.html#top"><a href="https://example.org/">'
        '<a href="sub/page.html#nowhere"><a href="none.html"><img src="/none.png">'
        '<script src="https://example.org/script.js"></script>'
    )
    broken, external = build.check_links(tmp_path)
    assert broken == [
        "index.html: /none.png",
        "index.html: https://example.org/script.js",
        "index.html: none.html",
        "index.html: sub/page.html#nowhere",
    ]
    assert external == ["https://example.org/", "https://example.org/script.js"]


def test_the_navigation_has_the_sections_and_pages_of_the_index(build: ModuleType) -> None:
    sections = dict(build.index())
    assert list(sections)[:5] == [
        "Overview",
        "Serve a directory",
        "Measure a server",
        "Learn",
        "Contribute",
    ]
    pages = [page for of_section in sections.values() for page in of_section]
    assert len(pages) == len(set(pages))
    docs = {str(page.relative_to(build.ROOT)) for page in (build.ROOT / "docs").rglob("*.md")}
    assert docs <= set(pages)
