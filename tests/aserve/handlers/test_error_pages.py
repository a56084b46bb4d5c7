"""Which body an error has: the site's own page, the small one, plain text or problem details."""

import json
import os

import pytest

import aserve
from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.filesystem.mounts import Mounts
from aserve.handlers.error_pages import MAX_PAGE_SIZE, CustomErrorPages
from aserve.handlers.handler import RequestContext
from aserve.http.messages import HttpError, NotFound, Request
from aserve.http.request_target import TargetPath
from aserve.http.resources import Document, Representation, Validator
from aserve.policies.site import Site
from aserve.server.site_factory import build_site, missing_pages

NOW = 1_900_000_000
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def write(root, name, text):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "404.html", "root page")
    write(tmp_path, "blog/404.html", "blog page")
    write(tmp_path, "blog/old/post.html", "post")
    write(tmp_path, "errors/403.html", "forbidden page")
    write(tmp_path, "errors/any.txt", "any page")
    return tmp_path


def ask(site, target="/none", accept=None, method="GET", **others):
    headers = {} if accept is None else {"accept": accept}
    headers |= {name.replace("_", "-"): value for name, value in others.items()}
    request = Request(method, target, headers=headers)
    return site.handle(request, RequestContext(NOW))


def body(response):
    return b"".join(response.body).decode()


def site_of(root, *pages, **settings):
    return build_site(Settings(root, error_page=pages, listing="off", **settings), Mounts())


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/none", "root page"),
        ("/blog/none", "blog page"),
        ("/blog/old/none", "blog page"),
        ("/blog/old/none/deeper/", "blog page"),
        ("/blog/none/deeper", "blog page"),
        ("/errors/", "root page"),
        ("/errors/none?a=b", "root page"),
        ("/a%2Fb", "root page"),
        ("http://any.test/blog/none", "blog page"),
        ("/.git/config", "root page"),
    ],
)
def test_the_nearest_404_html_is_sent(root, target, expected):
    response = ask(site_of(root), target, BROWSER)
    assert (response.status, body(response)) == (404, expected)
    assert response.length == len(expected)
    headers = dict(response.headers)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["Vary"] == "Accept"
    assert headers.keys().isdisjoint({"ETag", "Last-Modified", "Accept-Ranges"})


def test_an_error_is_neither_partial_nor_not_modified(root):
    site = site_of(root)
    page = ask(site, "/404.html")
    assert page.status == 200
    etag = dict(page.headers)["ETag"]
    for condition in (
        {"if_none_match": etag},
        {"if_none_match": "*"},
        {"range": "bytes=0-1"},
        {"if_match": '"other"'},
        {"if_modified_since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ):
        response = ask(site, "/none", **condition)
        assert (response.status, body(response)) == (404, "root page")


@pytest.mark.parametrize(
    ("accept", "own", "built_in"),
    [
        (None, "page", "text/plain; charset=utf-8"),
        ("*/*", "page", "text/plain; charset=utf-8"),
        (BROWSER, "page", "text/html; charset=utf-8"),
        ("text/*", "page", "text/plain; charset=utf-8"),
        ("text/html;q=0.5", "page", "text/html; charset=utf-8"),
        ("text/html, application/json", "page", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("image/png", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("text/html;q=0, */*", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("text/plain, text/html;q=0.5", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("application/json", "application/problem+json", "application/problem+json"),
        ("application/problem+json", "application/problem+json", "application/problem+json"),
        # axios and fetch wrappers
        (
            "application/json, text/plain, */*",
            "application/problem+json",
            "application/problem+json",
        ),
        (
            "text/html;q=0.9, application/json",
            "application/problem+json",
            "application/problem+json",
        ),
        ("application/json;q=0, */*", "page", "text/plain; charset=utf-8"),
        (
            "text/plain, application/json;q=0.5",
            "text/plain; charset=utf-8",
            "text/plain; charset=utf-8",
        ),
    ],
)
def test_the_client_chooses_the_form(root, accept, own, built_in):
    for site, expected in ((site_of(root), own), (site_of(root, "off"), built_in)):
        response = ask(site, "/none", accept)
        headers = dict(response.headers)
        is_large = response.length >= 256  # and so would be compressed for other clients
        vary = "Accept, Accept-Encoding" if is_large else "Accept"
        assert (response.status, headers["Vary"]) == (404, vary)
        if expected == "page":
            assert body(response) == "root page"
        else:
            assert headers["Content-Type"] == expected
            assert "root page" not in body(response)


def test_problem_details_are_those_of_rfc_9457(root):
    response = ask(site_of(root), "/none", "application/json")
    assert json.loads(body(response)) == {
        "title": "Not Found",
        "status": 404,
        "detail": "Nothing is here.",
    }


def test_a_redirect_stays_html(root):
    response = ask(site_of(root, "404=errors/any.txt"), "/blog", "application/json")
    assert response.status == 301
    assert dict(response.headers)["Content-Type"] == "text/html; charset=utf-8"


def test_pages_are_set_for_a_status_or_a_class(root):
    (root / "404.html").unlink()
    site = site_of(root, "405=/errors/403.html", "4xx=errors/any.txt")
    expected = {("GET", "/none"): (404, "any page"), ("GET", "/blog/none"): (404, "blog page")}
    expected |= {("POST", "/"): (405, "forbidden page"), ("GET", "/%"): (400, "any page")}
    for (method, target), (status, text) in expected.items():
        response = ask(site, target, method=method)
        assert (response.status, body(response)) == (status, text)
    allowed = ask(site, "/", method="POST")
    assert dict(allowed.headers)["Allow"]  # what the status requires stays
    unknown = ask(site, "/", method="BREW")
    assert unknown.status == 501
    assert "any page" not in body(unknown)


def test_a_page_is_fresh(root):
    site = site_of(root, "405=errors/any.txt")
    for text in ("one", "other", ""):
        write(root, "404.html", text)
        write(root, "errors/any.txt", text)
        assert body(ask(site)) == text
        assert body(ask(site, method="PUT")) == text
    (root / "404.html").unlink()
    (root / "errors" / "any.txt").unlink()
    assert "Nothing is here." in body(ask(site))
    assert ask(site, method="PUT").status == 405


def hidden(root):
    (root / ".any").write_text("secret")
    return ".any"


def outside(root):
    (root.parent / "outside").write_text("secret")
    (root / "link").symlink_to(root.parent / "outside")
    return "link"


def too_large(root):
    (root / "large").write_bytes(b"secret" + bytes(MAX_PAGE_SIZE))
    return "large"


def compressed(root):
    (root / "logo.svgz").write_text("secret")
    return "logo.svgz"


@pytest.mark.parametrize("make", [hidden, outside, too_large, compressed])
def test_what_may_not_be_a_page_is_replaced_by_the_small_one(tmp_path, make):
    response = ask(site_of(tmp_path, f"404={make(tmp_path)}"), accept=BROWSER)
    assert response.status == 404
    assert "Nothing is here." in body(response)
    assert "secret" not in body(response)


def test_a_page_of_the_largest_size_is_sent(tmp_path):
    (tmp_path / "404.html").write_bytes(b"a" * MAX_PAGE_SIZE)
    assert ask(site_of(tmp_path)).length == MAX_PAGE_SIZE


def test_a_directory_or_a_pipe_is_no_page(tmp_path):
    (tmp_path / "404.html").mkdir()
    os.mkfifo(tmp_path / "pipe")
    site = site_of(tmp_path, "404=pipe")
    assert "Nothing is here." in body(ask(site, accept=BROWSER))


class Broken:
    """Files that cannot be found, or pages that cannot be read."""

    def __init__(self, error, files=None):
        self.error, self.files = error, files

    def handle(self, request, context):
        raise NotFound((b"/none",) if request.target == "/none" else ())

    def find(self, path, *, wait):
        raise self.error


def test_a_failure_to_find_a_page_is_one_log_line_and_the_small_page(caplog):
    files = Broken(RuntimeError("broken"))
    site = Site(files, (), CustomErrorPages(files, {}))
    response = ask(site, accept=BROWSER)
    assert response.status == 404
    assert "Nothing is here." in body(response)
    assert [record.getMessage() for record in caplog.records] == [
        "internal error: RuntimeError('broken') while answering '/none'"
    ]


def test_only_what_a_handler_has_raised_may_wait():
    """The event loop answers an invalid request, or one too many, itself: it must not wait."""
    files = Broken(BlockingIOError())
    site = Site(files, (), CustomErrorPages(files, {}))
    with pytest.raises(BlockingIOError):
        site.handle(Request("GET", "/none"), RequestContext(NOW, may_wait=False))
    hidden = Request("GET", "/.env")
    assert site.handle(hidden, RequestContext(NOW, may_wait=False)).status == 404
    invalid = Request("GET", "/", error=HttpError(404, "Nothing is here."))
    for may_wait in (False, True):
        assert site.handle(invalid, RequestContext(NOW, may_wait=may_wait)).status == 404


class Memory:
    """A file in memory, at every path. asked: whether each look-up might wait."""

    is_local = True

    def __init__(self, data):
        self.data, self.asked = data, []

    def find(self, path, *, wait):
        self.asked.append(wait)
        plain = Representation("text/html", len(self.data), Validator('"1"', 1), self)
        return Document((plain,))

    def read(self, start, stop):
        return self.data[start:stop]


def test_an_invalid_request_gets_its_page_without_waiting():
    files = Memory(b"any page")
    page = TargetPath((b"any",), is_directory=False)
    site = Site(Broken(None), (), CustomErrorPages(files, {400: page, 503: page}))
    for status in (400, 503):
        invalid = Request("GET", "/", error=HttpError(status, "No."))
        response = site.handle(invalid, RequestContext(NOW))
        assert (response.status, body(response)) == (status, "any page")
    assert files.asked == [False, False]


def test_a_long_path_makes_no_long_search(root):
    asked = []

    class Counting(Directory):
        def find(self, path, *, wait):
            asked.append(path)
            return super().find(path, wait=wait)

    site = Site(Broken(None), (), CustomErrorPages(Counting(root), {}))
    for target in ("/a" * 3_000, "/blog/old" + "/a" * 3_000, "/" + "%2e%2e/" * 1_000):
        asked.clear()
        assert ask(site, target).status == 404
        # A page and a directory for each level that is there, and one that is not.
        assert len(asked) <= 6


def test_a_page_that_is_cut_short_meanwhile_is_not_sent():
    files = Memory(b"any page")
    files.read = lambda start, stop: b"any"
    site = Site(Broken(None), (), CustomErrorPages(files, {}))
    assert "Nothing is here." in body(ask(site))


def test_settings_tell_of_pages_that_are_not_there(root):
    settings = Settings(
        root, error_page=("404=a/b.html", "5xx=a/b.html", "403=errors/403.html"), spa="app.html"
    )
    assert list(missing_pages(settings)) == [
        ("error_page", "there is no file 'a/b.html' to be sent"),
        ("spa", "there is no file 'app.html' to be sent"),
    ]
    assert not list(missing_pages(Settings(root)))


def test_a_server_logs_once_what_is_not_there(tmp_path, caplog):
    with aserve.Server(tmp_path, error_page=("404=none.html",)):
        pass
    assert [record.getMessage() for record in caplog.records] == [
        "error_page: there is no file 'none.html' to be sent"
    ]
