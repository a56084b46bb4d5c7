"""What headers are for: what a browser does with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

import aserve
from tests.test_browser import chromium, reload

__all__ = ["chromium"]  # a fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow]

READ = """
const [url, options, done] = arguments;
fetch(url, options).then(async response => done(
    [response.status, response.headers.get("ETag") !== null, await response.text()]
)).catch(error => done(String(error)));
"""
SHARED = "const buffer = new SharedArrayBuffer(8); return [crossOriginIsolated, buffer.byteLength];"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    (root / "index.html").write_text("<title>site</title><script src=app.1a2b3c4d.js></script>")
    (root / "app.1a2b3c4d.js").write_text("document.title += ' with a script'")
    (root / "data.txt").write_text("some data")
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> Iterator[str]:
    """A page of a site that reads from others."""
    with aserve.Server(root) as server:
        yield server.url


def read(browser: webdriver.Chrome, url: str, **options: Any) -> Any:
    """Return what a script of the page reads, or the error that it gets."""
    return browser.execute_async_script(READ, f"{url}data.txt", options)


def test_isolated_pages_may_share_memory(chromium: webdriver.Chrome, root: Path, page: str) -> None:
    chromium.get(page)
    assert chromium.execute_script("return crossOriginIsolated") is False
    with aserve.Server(root, isolate=True) as server:
        chromium.get(server.url)
        assert chromium.title == "site with a script"
        assert chromium.execute_script(SHARED) == [True, 8]


def test_pages_of_allowed_origins_read(chromium: webdriver.Chrome, root: Path, page: str) -> None:
    chromium.get(page)
    origin = page.removesuffix("/")
    preflighted = {"headers": {"X-Odd": "1", "Range": "bytes=0-3"}}
    for allowed in (("*",), (origin,), ("http://localhost:*",), ("http://127.0.0.1:*",)):
        is_allowed = allowed[0] == "*" or origin.startswith(allowed[0].removesuffix(":*"))
        with aserve.Server(root, cors=allowed) as server:
            found = [read(chromium, server.url), read(chromium, server.url, **preflighted)]
        if is_allowed:
            assert found == [[200, True, "some data"], [206, True, "some"]]
        else:
            assert found == ["TypeError: Failed to fetch"] * 2
    with aserve.Server(root) as server:
        assert read(chromium, server.url) == "TypeError: Failed to fetch"


def test_pages_of_named_origins_write(
    chromium: webdriver.Chrome, root: Path, page: str, tmp_path: Path
) -> None:
    (tmp_path / "data.txt").write_text("old")
    chromium.get(page)
    new = {"method": "PUT", "body": "new"}
    with aserve.Server(tmp_path, write=("/",), cors=("*",)) as server:
        assert read(chromium, server.url, **new) == "TypeError: Failed to fetch"
        assert (tmp_path / "data.txt").read_text() == "old"
    with aserve.Server(tmp_path, write=("/",), cors=(page.removesuffix("/"),)) as server:
        assert read(chromium, server.url, **new) == [204, True, ""]
        assert (tmp_path / "data.txt").read_text() == "new"


def test_a_name_with_a_hash_is_asked_for_once(chromium: webdriver.Chrome, root: Path) -> None:
    lines: list[str] = []
    with aserve.Server(root, access_log=lines.append) as server:
        for _ in range(3):
            chromium.get(server.url)
            reload(chromium)
            assert chromium.title == "site with a script"
    requests = [line.split('"')[1] for line in lines]
    assert requests.count("GET /app.1a2b3c4d.js HTTP/1.1") == 1
    assert requests.count("GET / HTTP/1.1") > 1


def test_security_headers_break_no_folder_page(chromium: webdriver.Chrome, root: Path) -> None:
    folder = root / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    with aserve.Server(root, security_headers=True, isolate=True) as server:
        for path in ("", "folder/", "none"):
            chromium.get_log("browser")
            chromium.get(server.url + path)
            errors = [entry["message"] for entry in chromium.get_log("browser")]
            assert [
                error for error in errors if "404" not in error and "favicon" not in error
            ] == []


def test_isolated_pages_reload_themselves(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>old</title>")
    settings = {"live": True, "isolate": True, "security_headers": True, "etag": "content"}
    with aserve.Server(tmp_path, **settings) as server:
        chromium.get(server.url)
        assert chromium.execute_script("return crossOriginIsolated") is True
        (tmp_path / "index.html").write_text("<title>new</title>")
        WebDriverWait(chromium, 60).until(lambda driver: driver.title == "new")
        chromium.get("about:blank")  # so that no stream is open when the server stops
