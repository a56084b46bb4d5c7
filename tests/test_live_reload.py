"""Live reload in a real browser: what a page does when a file changes."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import JavascriptException, WebDriverException
from selenium.webdriver.support.wait import WebDriverWait

from aserve import Server
from aserve.policies.policy import Policy
from tests.test_browser import chromium

__all__ = ["chromium"]  # a fixture

pytestmark = pytest.mark.browser

SAVES = 100
TABS = 20

# Each page counts how often it was loaded, and says so in its title.
COUNTED = """<script>
sessionStorage.loads = Number(sessionStorage.loads ?? 0) + 1;
document.title = sessionStorage.loads;
</script>"""


def svg(width: int) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="1"/>'


class Site:
    """A site with live reload, and a browser that shows it."""

    def __init__(self, root: Path, browser: webdriver.Chrome, **settings: Any) -> None:
        self.root = root
        self.browser = browser
        self.server = Server(root, live=True, **settings)

    def write(self, name: str, text: str | bytes) -> None:
        """Save a file in one step: a half of it is never seen."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}~")  # which does not count
        temporary.write_bytes(text if isinstance(text, bytes) else text.encode())
        temporary.replace(path)

    def open(self, path: str = "") -> None:
        """Open a page. What was written before the first one is no change."""
        if not self.server.url:
            self.server.start()
        self.browser.get(self.server.url + path)

    def run(self, expression: str) -> Any:
        return self.browser.execute_script(f"return {expression}")

    def wait(self, expression: str, value: object) -> None:
        """Wait until an expression in the page has a value; a page may be loading meanwhile."""

        def has_value(_: webdriver.Chrome) -> bool:
            try:
                return bool(self.run(expression) == value)
            except (JavascriptException, WebDriverException):
                return False

        WebDriverWait(self.browser, 30, poll_frequency=0.02).until(
            has_value, f"{expression} is not {value!r}"
        )

    def close(self) -> None:
        for handle in self.browser.window_handles[1:]:
            self.browser.switch_to.window(handle)
            self.browser.close()
        self.browser.switch_to.window(self.browser.window_handles[0])
        self.browser.get("about:blank")
        self.server.stop()

    @property
    def stream_count(self) -> int:
        """How many event streams are open."""
        return len(self.server._running._worker._current._live[0]._updates._subscribers)


@pytest.fixture
def site(chromium: webdriver.Chrome, tmp_path: Path) -> Iterator[Site]:
    with closing(Site(tmp_path, chromium)) as site:
        yield site


TEXT = "document.body.textContent"

# A page, and the mode that the browser shows it in without a script.
PAGES: dict[str, tuple[str | bytes, str]] = {
    "tagless.html": ("hello {}", "BackCompat"),
    "fragmentary.html": ("<title>x</title><p>hello {}", "BackCompat"),
    "header.html": ("<!-- <head> --><!doctype html><header>hello {}</header>", "CSS1Compat"),
    "nothing-allowed.html": (
        """<!doctype html><html><head>
        <meta http-equiv=content-security-policy content="default-src 'none'"></head>hello {}""",
        "CSS1Compat",
    ),
    "self-allowed.html": (
        "<meta http-equiv=content-security-policy content=\"script-src 'self'\"><p>hello {}",
        "BackCompat",
    ),
    "page.xhtml": (
        """<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">
        <head><title>x</title></head><body>hello {}</body></html>""",
        "CSS1Compat",
    ),
    "utf-16.html": ("<!doctype html><title>x</title><p>hello {}".encode("utf-16"), "CSS1Compat"),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_any_shape_is_reloaded(site: Site, name: str) -> None:
    page, mode = PAGES[name]
    text, encoding = (page, "utf-8") if isinstance(page, str) else (page.decode("utf-16"), "utf-16")
    site.write(name, text.replace("{}", "one").encode(encoding))
    site.open(name)
    site.wait(TEXT, "hello one")
    assert site.run("document.compatMode") == mode
    site.write(name, text.replace("{}", "two").encode(encoding))
    site.wait(TEXT, "hello two")


@pytest.mark.parametrize(
    "policy",
    [
        "default-src 'none'",
        "default-src 'none'; script-src 'strict-dynamic' 'nonce-x'; connect-src 'none'",
        "script-src 'unsafe-inline'; worker-src 'none'",
        "require-trusted-types-for 'script'; connect-src 'none'",
    ],
)
def test_a_page_with_a_policy_in_its_head_is_reloaded(
    site: Site, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    restricting = Policy()
    restricting.response_headers = (("Content-Security-Policy", policy),)
    monkeypatch.setattr("aserve.server.site_factory._policies", lambda *_: [restricting])
    for text in ("one", "two"):
        site.write("index.html", f"<!doctype html><title>x</title><p>{text}")
        if text == "one":
            site.open()
        site.wait(TEXT, text)


def test_a_page_in_a_frame_is_reloaded_with_its_page(site: Site) -> None:
    site.write("index.html", "<!doctype html><iframe src=frame.html></iframe>")
    site.write("frame.html", "<!doctype html><p>one")
    site.open()
    text = "document.querySelector('iframe').contentDocument.body.textContent"
    site.wait(text, "one")
    site.write("frame.html", "<!doctype html><p>two")
    site.wait(text, "two")


def test_a_page_in_latin_1_keeps_its_characters(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    page = "<!doctype html><meta charset=iso-8859-1><title>x</title><p>Gr\u00fc\u00dfe {}"
    with closing(Site(tmp_path, chromium, charset="none")) as site:
        for number in (1, 2):
            site.write("index.html", page.replace("{}", str(number)).encode("latin-1"))
            if number == 1:
                site.open()
            site.wait(TEXT, f"Gr\u00fc\u00dfe {number}")
        assert site.run("document.characterSet") == "windows-1252"  # as the standard has it


STYLED = """<!doctype html>
<link rel=icon href=data:,>
<link rel=stylesheet href=linked.css>
<style>@import "imported.css";</style>
<p>text</p>
<script>document.title = "kept"; window.state = "kept";</script>
"""
COLOR, WIDTH, STYLE = (
    f"getComputedStyle(document.querySelector('p')).{name}"
    for name in ("color", "borderTopWidth", "fontStyle")
)


def test_style_sheets_are_swapped_in_place(site: Site) -> None:
    site.write("index.html", STYLED)
    site.write("linked.css", "@import url(nested.css); p { color: rgb(1, 2, 3) }")
    site.write("nested.css", "p { font-style: normal }")
    site.write("imported.css", "p { border: 1px solid }")
    site.write("unused.css", "p { color: red }")
    site.open()
    site.wait(COLOR, "rgb(1, 2, 3)")
    site.run("void (window.state = 'typed by a user')")
    site.write("unused.css", "p { color: blue }")
    site.write("linked.css", "@import url(nested.css); p { color: rgb(4, 5, 6) }")
    site.wait(COLOR, "rgb(4, 5, 6)")
    site.write("linked.css", "@import url(nested.css); p { color: rgb(7, 8, 9) }")
    site.wait(COLOR, "rgb(7, 8, 9)")
    site.write("nested.css", "p { font-style: italic }")
    site.wait(STYLE, "italic")
    site.write("imported.css", "p { border: 2px solid }")
    site.wait(WIDTH, "2px")
    assert site.run("window.state") == "typed by a user"
    site.wait("document.querySelectorAll('link[rel=stylesheet], style').length", 2)
    site.write("other.js", "")  # which a page may need in any way
    site.wait("window.state", "kept")


PICTURES = """<!doctype html>
<link rel=icon href=data:,>
<style>p { background: url("a b/back.svg") }</style>
<img src=one.svg>
<img srcset="one.svg 1x,two.svg 2x">
<picture><source srcset=one.svg><img src=two.svg></picture>
<p style="width: 9px">text</p>
<script>window.state = "kept";</script>
"""


def test_images_are_swapped_in_place(site: Site) -> None:
    site.write("index.html", PICTURES)
    for name in ("one.svg", "two.svg", "a b/back.svg"):
        site.write(name, svg(10))
    site.open()
    widths = "[...document.images].map(image => image.naturalWidth)"
    site.wait(widths, [10, 10, 10])
    site.run("void (window.state = 'typed by a user')")
    site.write("one.svg", svg(20))
    site.wait(widths, [20, 20, 20])
    background = "getComputedStyle(document.querySelector('p')).backgroundImage"
    assert "?" not in site.run(background)
    site.write("a b/back.svg", svg(30))
    site.wait(f"/back.svg[?]aserve-live=/.test({background})", True)
    assert site.run("window.state") == "typed by a user"


def test_an_update_is_neither_missed_nor_doubled(site: Site) -> None:
    page = f"<!doctype html><link rel=icon href=data:,><link rel=stylesheet href=a.css>{COUNTED}<p>"
    site.write("index.html", page + "0")
    site.write("a.css", "p { color: rgb(1, 2, 3) }")
    site.open()
    for number in range(1, SAVES + 1):
        site.write("index.html", f"{page}{number}")
        site.wait("document.querySelector('p').textContent", str(number))
    site.write("a.css", "p { color: rgb(4, 5, 6) }")  # if a reload were still to come, before this
    site.wait(COLOR, "rgb(4, 5, 6)")
    assert site.run("document.title") == str(SAVES + 1)


def test_a_page_gets_what_it_has_missed(site: Site) -> None:
    """A page from the browser's own cache is older than its connection."""
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>one")
    site.write("other.html", "<!doctype html><link rel=icon href=data:,><p>other")
    site.open()
    site.wait(TEXT, "one")
    site.open("other.html")
    site.wait(TEXT, "other")
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>two")
    site.browser.back()
    site.wait(TEXT, "two")


def test_a_page_is_reloaded_after_a_restart(site: Site) -> None:
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>one")
    site.open()
    site.wait(TEXT, "one")
    port = urlsplit(site.server.url).port
    site.server.stop()
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>two")
    site.server = Server(site.root, live=True, port=port)
    site.server.start()
    site.wait(TEXT, "two")
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>three")
    site.wait(TEXT, "three")


def test_a_folder_page_shows_what_is_new(site: Site) -> None:
    """Also a picture, which other pages would not care for."""
    site.write("one.svg", svg(10))
    site.open()
    names = "[...document.querySelectorAll('a')].map(link => link.getAttribute('href'))"
    has = f"{names}.includes('two.svg') || {names}.includes('./two.svg')"
    site.browser.get_log("browser")  # reading clears it of earlier tests
    site.wait(has, value=False)
    site.write("two.svg", svg(10))
    site.wait(has, value=True)
    messages = [entry["message"] for entry in site.browser.get_log("browser")]
    assert not [text for text in messages if "Content Security Policy" in text]


def test_a_route_of_an_application_is_reloaded(chromium: webdriver.Chrome, tmp_path: Path) -> None:
    page = "<!doctype html><link rel=icon href=data:,><p>{}"
    with closing(Site(tmp_path, chromium, spa="index.html")) as site:
        site.write("index.html", page.format("one"))
        site.open("users/7")
        site.wait(TEXT, "one")
        site.write("index.html", page.format("two"))
        site.wait(TEXT, "two")
        assert site.run("location.pathname") == "/users/7"


def test_an_error_page_is_reloaded_once_the_file_is_there(site: Site) -> None:
    site.open("new.html")
    assert "Nothing is here." in site.run(TEXT)
    site.write("new.html", "<!doctype html><p>there")
    site.wait(TEXT, "there")


def test_a_page_that_a_service_worker_keeps_is_not_reloaded_for_ever(site: Site) -> None:
    site.write(
        "worker.js",
        """
        let page;
        self.onfetch = (event) => {
          if (event.request.mode !== "navigate") return;
          event.respondWith((async () => {
            page ??= await (await fetch(event.request)).text();
            return new Response(page, { headers: { "Content-Type": "text/html" } });
          })());
        };
        self.onactivate = (event) => event.waitUntil(clients.claim());
    """,
    )
    page = f"<!doctype html><link rel=icon href=data:,><link rel=stylesheet href=a.css>{COUNTED}<p>"
    site.write("index.html", page)
    site.write("a.css", "p { color: rgb(1, 2, 3) }")
    site.open()
    site.browser.execute_async_script("""
        const [done] = arguments;
        navigator.serviceWorker.register("worker.js");
        navigator.serviceWorker.ready.then(() => done());
    """)
    site.open()  # from now on the worker answers
    site.wait("document.title", "2")
    site.write("index.html", page + "new")
    site.wait("document.title", "3")
    site.write("a.css", "p { color: rgb(4, 5, 6) }")
    site.wait(COLOR, "rgb(4, 5, 6)")
    assert site.run("document.title") == "3"
    site.browser.execute_async_script("""
        const [done] = arguments;
        navigator.serviceWorker.ready.then((one) => one.unregister()).then(() => done());
    """)


def test_many_tabs_have_one_connection(site: Site) -> None:
    browser = site.browser
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>one")
    site.open()
    site.wait(TEXT, "one")
    for _ in range(TABS - 1):
        browser.switch_to.new_window("tab")
        site.open()
        site.wait(TEXT, "one")
    assert site.stream_count == 1
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>two")
    for handle in browser.window_handles:
        browser.switch_to.window(handle)
        site.wait(TEXT, "two")
    # If all pages were gone for a moment, so was the connection, and a new one was opened.
    WebDriverWait(browser, 30, poll_frequency=0.02).until(lambda _: site.stream_count == 1)


def test_without_shared_workers_a_page_has_a_connection_of_its_own(site: Site) -> None:
    """As on some phones. A script of the page itself would come too late to take them away."""
    added = site.browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.SharedWorker;"}
    )
    site.write("index.html", "<!doctype html><link rel=icon href=data:,><p>one")
    site.open()
    for text in ("two", "three"):
        site.write("index.html", f"<!doctype html><link rel=icon href=data:,><p>{text}")
        site.wait(TEXT, text)
    site.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
