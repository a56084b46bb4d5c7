"""Which requests an application's page answers, and how."""

import pytest

from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request
from aserve.server.site_factory import build_site

NOW = 1_900_000_000
APP = "<script src=/app.js></script>"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "index.html").write_text(APP)
    (tmp_path / "app.js").write_text("route()")
    (tmp_path / "shell.html").write_text("shell")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index.html").write_text("assets")
    return tmp_path


def site_of(root, **settings):
    return build_site(Settings(root, **({"spa": "index.html"} | settings)), Mounts())


def ask(site, target, method="GET", mode=None, **headers):
    head = "" if mode is None else f"\r\nSec-Fetch-Mode: {mode}"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(method, target, headers=headers, head=f"{method} {target} HTTP/1.1{head}\r\n")
    return site.handle(request, RequestContext(NOW))


def body(response):
    return b"".join(response.body).decode()


@pytest.mark.parametrize(
    ("target", "mode", "accept", "status"),
    [
        # A browser says what it does.
        ("/users/7", "navigate", HTML, 200),
        ("/users/7/", "navigate", HTML, 200),
        ("/users/7?tab=1", "navigate", HTML, 200),
        ("/missing.js", "navigate", HTML, 200),
        ("/group%2Fproject", "navigate", HTML, 200),
        ("/.hidden", "navigate", HTML, 200),
        ("http://any.test/users/7", "navigate", HTML, 200),
        ("/assets/app.123.js", "no-cors", "*/*", 404),
        ("/assets/app.123.js", "cors", "*/*", 404),
        ("/api/users", "cors", "application/json", 404),
        ("/users/7", "same-origin", HTML, 404),
        ("/users/7", "nested-navigate", HTML, 404),
        # Other clients name what they want.
        ("/users/7", None, HTML, 200),
        ("/users/7", None, "text/html;q=0.1", 200),
        ("/users/john.doe", None, HTML, 200),
        ("/v1.2", None, HTML, 200),
        ("/missing.js", None, HTML, 404),
        ("/missing.JS?v=1", None, HTML, 404),
        ("/a.css/users", None, HTML, 200),
        ("/users/7", None, "text/html;q=0", 404),
        ("/users/7", None, "*/*", 404),
        ("/users/7", None, "application/json", 404),
        ("/users/7", None, None, 404),
        # What is there is sent, and what is wrong stays wrong.
        ("/app.js", "navigate", HTML, 200),
        ("/assets", "navigate", HTML, 301),
        ("/%", "navigate", HTML, 400),
    ],
)
def test_only_navigations_get_the_page(root, target, mode, accept, status):
    headers = {} if accept is None else {"accept": accept}
    response = ask(site_of(root), target, mode=mode, **headers)
    assert response.status == status
    if status == 200 and target != "/app.js":
        assert body(response) == APP
        headers = dict(response.headers)
        assert headers["Cache-Control"] == "no-cache"
        assert headers["Content-Type"] == "text/html; charset=utf-8"
    if status == 404 or (status == 200 and target != "/app.js"):
        varies = {
            name for key, value in response.headers if key == "Vary" for name in value.split(", ")
        }
        assert varies - {"Accept-Encoding"} == {"Sec-Fetch-Mode", "Accept"}
    assert not response.path or target == "/app.js"  # nothing is cached that depends on these


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_as_without_an_application(root, method):
    response = ask(site_of(root), "/users/7", method, "navigate")
    assert response.status == (204 if method == "OPTIONS" else 405)


def test_head_is_get_without_a_body(root):
    site = site_of(root)
    get, head = (ask(site, "/users/7", method, "navigate") for method in ("GET", "HEAD"))
    assert (head.status, head.headers, head.length) == (get.status, get.headers, get.length)
    assert not body(head)


def test_the_page_is_validated_and_cut_as_any_file(root):
    site = site_of(root)
    etag = dict(ask(site, "/users/7", mode="navigate").headers)["ETag"]
    same = ask(site, "/users/8", mode="navigate", if_none_match=etag)
    assert same.status == 304
    assert ("Vary", "Sec-Fetch-Mode, Accept") in same.headers
    part = ask(site, "/users/7", mode="navigate", range="bytes=1-6", if_range=etag)
    assert (part.status, body(part)) == (206, "script")
    assert ask(site, "/users/7", mode="navigate", if_match='"other"').status == 412
    (root / "index.html").write_text("new")
    changed = ask(site, "/users/7", mode="navigate", if_none_match=etag)
    assert (changed.status, body(changed)) == (200, "new")


def test_another_page_and_a_page_that_is_not_there(root):
    assert body(ask(site_of(root, spa="/shell.html"), "/users/7", mode="navigate")) == "shell"
    missing = site_of(root, spa="none.html")
    assert ask(missing, "/users/7", mode="navigate").status == 404
    (root / "none.html").write_text("built at last")
    assert body(ask(missing, "/users/7", mode="navigate")) == "built at last"


def test_the_page_goes_before_404_html_for_navigations_only(root):
    (root / "404.html").write_text("nothing")
    site = site_of(root)
    assert body(ask(site, "/users/7", mode="navigate")) == APP
    assert body(ask(site, "/app.12.js", mode="no-cors", accept="*/*")) == "nothing"
    assert ask(site, "/api", mode="cors", accept="application/json").status == 404


@pytest.mark.parametrize("urls", ["github", "netlify", "cloudflare", "vercel"])
def test_clean_urls_come_first(root, urls):
    (root / "about.html").write_text("about")
    site = site_of(root, urls=urls)
    assert body(ask(site, "/about", mode="navigate")) == "about"
    assert body(ask(site, "/users/7", mode="navigate")) == APP
