"""A single-page app in Chromium: its routes get its page, and what it misses stays missing."""

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import aserve
from tests.test_browser import chromium, reload

__all__ = ["chromium"]  # a fixture

pytestmark = pytest.mark.browser

PAGE = """<!doctype html>
<title>app</title>
<link rel=icon href=data:,>
<p>no script</p>
<script src=/app.js></script>
<script src=/gone.js onerror="missing = 'gone.js'"></script>
"""
SCRIPT = """
document.querySelector("p").textContent = location.pathname + location.search;
"""
STATUSES = """
const done = arguments[arguments.length - 1];
Promise.all(
  ["/users/7", "/gone.js", "/app.js"].map(async (path) => (await fetch(path)).status),
).then(done);
"""


@pytest.fixture
def server(tmp_path: Path) -> aserve.Server:
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "app.js").write_text(SCRIPT)
    (tmp_path / "404.html").write_text("<title>nothing</title>")
    return aserve.Server(tmp_path, spa="index.html")


def shown(chromium: webdriver.Chrome) -> str:
    return chromium.find_element(By.TAG_NAME, "p").text


def test_routes_get_the_page_and_scripts_do_not(
    chromium: webdriver.Chrome, server: aserve.Server
) -> None:
    with server:
        for route in ("users/7", "users/john.doe?tab=1", "old/logo.png"):
            chromium.get(server.url + route)
            assert shown(chromium) == f"/{route}"
            assert chromium.execute_script("return missing") == "gone.js"
            # A fetch of a route is no navigation, though its URL is the one that is shown.
            assert chromium.execute_async_script(STATUSES) == [404, 404, 200]
        reload(chromium)  # which revalidates the page
        assert shown(chromium) == "/old/logo.png"
        chromium.get("about:blank")
