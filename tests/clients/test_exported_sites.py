"""Sites of three generators, as they are exported, in Chromium: pages, redirects and headers.

`make sites` builds them, with their own _redirects and _headers, from what is in tests/exported.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

import aserve
from tests.test_browser import chromium, reload

__all__ = ["chromium"]  # a fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SITES = Path(sys.prefix) / "sites"
TIMEOUT = 60.0


class Exported(NamedTuple):
    """A site. urls, dialect: of its host. page: the path of its second page. asset: a selector."""

    urls: str
    dialect: str
    page: str
    asset: str = "script[src*='/assets/'], script[src*='assets/']"


EXPORTED = {
    "mkdocs": Exported("netlify", "netlify", "/guide/setup"),
    "vitepress": Exported("cloudflare", "cloudflare", "/guide/setup"),
    "docusaurus": Exported("netlify", "netlify", "/guide/setup"),
}
ANSWERS = """
const done = arguments[arguments.length - 1];
Promise.all(arguments[0].map(async (url) => {
  const answer = await fetch(url, {redirect: "manual", cache: "no-store"});
  const names = ["cache-control", "x-frame-options"];
  return [answer.type, answer.status, ...names.map((name) => answer.headers.get(name))];
})).then(done);
"""


@pytest.fixture(params=EXPORTED)
def name(request: pytest.FixtureRequest) -> str:
    if not (SITES / request.param / "site" / "index.html").exists():
        pytest.skip(f"{request.param} is not built: make sites")
    return request.param


@pytest.fixture
def server(name: str) -> Iterator[aserve.Server]:
    site = EXPORTED[name]
    root = SITES / name / "site"
    with aserve.Server(
        root, urls=site.urls, rules_dialect=site.dialect, strict_rules=True
    ) as server:
        yield server


def heading(chromium: webdriver.Chrome) -> str:
    return chromium.find_element(By.CSS_SELECTOR, "h1").text


def wait_for(chromium: webdriver.Chrome, text: str) -> None:
    def is_shown(driver: webdriver.Chrome) -> bool:
        return driver.execute_script(
            "return (document.querySelector('h1')?.textContent || '').includes(arguments[0])", text
        )

    WebDriverWait(chromium, TIMEOUT).until(is_shown)


def path(chromium: webdriver.Chrome) -> str:
    """Return the path that is shown, without the slash that hosts add to a folder's."""
    return chromium.execute_script("return location.pathname").rstrip("/")


def test_a_site_works_as_on_its_host(
    chromium: webdriver.Chrome, server: aserve.Server, name: str
) -> None:
    site, base = EXPORTED[name], server.url.rstrip("/")
    chromium.get_log("browser")  # of the site before
    chromium.get(server.url)
    wait_for(chromium, "Home")
    chromium.find_element(By.CSS_SELECTOR, "main a[href*='setup']").click()
    wait_for(chromium, "Setup")
    assert path(chromium) == site.page
    reload(chromium)
    wait_for(chromium, "Setup")
    for moved in ("/install", "/docs/setup", "/docs/setup/"):
        chromium.get(base + moved)
        wait_for(chromium, "Setup")
        assert path(chromium) == site.page
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []
    asset = chromium.find_element(By.CSS_SELECTOR, site.asset).get_attribute("src")
    others = [f"{base}/{name}" for name in ("inside/any", "_headers", "docs/x")]
    page, script, inside, rules, moved = chromium.execute_async_script(
        ANSWERS, [chromium.current_url, asset, *others]
    )
    frames = None if site.dialect == "cloudflare" else "DENY"
    assert page[:2] == ["basic", 200]
    assert page[3] == frames
    assert script[1] == 200
    assert "max-age=31536000" in script[2]
    assert "immutable" in script[2]
    assert script[3] == "DENY"
    assert inside[1] == 200
    assert rules[1] == 404
    assert moved[0] == "opaqueredirect"
    chromium.get(base + "/nowhere")
    assert (
        chromium.execute_script(
            "return performance.getEntriesByType('navigation')[0].responseStatus"
        )
        == 404
    )
    chromium.get("about:blank")
