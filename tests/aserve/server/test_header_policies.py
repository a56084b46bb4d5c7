"""The headers of a whole site, as settings describe it: cold, without a server around it."""

import os
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

import aserve
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.server.site_factory import build_site
from tests.calls import count_calls

UPLOAD = {"write": ("/in",)}


class Site:
    """A site that is asked in memory."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.site = build_site(aserve.Settings(root, **settings), Mounts())

    def ask(self, target: str = "/a.txt", method: str = "GET", **headers: str) -> Response:
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in lines.items()
        )
        request = Request(method, target, headers=lines, head=head)
        return self.site.handle(request, RequestContext(10))

    def values(self, name: str, target: str = "/a.txt", method: str = "GET", **headers: str):
        """Return the values of a response's header."""
        response = self.ask(target, method, **headers)
        return [value for key, value in response.headers if key.lower() == name.lower()]

    def cost(self) -> tuple[int, int]:
        return min(count_calls(self.ask) for _ in range(3))


@pytest.fixture
def root(directory: Path) -> Path:
    (directory / "in").mkdir()
    for name in ("x.html", "x.txt"):
        (directory / "in" / name).write_text("x")
    (directory / "app.1a2b3c4d.js").write_text("x")
    (directory / "in" / "app.1a2b3c4d.js").write_text("x")
    return directory


def test_a_header_for_all_responses_costs_nothing(root: Path) -> None:
    plain, headed = Site(root), Site(root, headers=("/* X-A: 1", "* X-B: 2"), isolate=True)
    assert headed.cost() == plain.cost()
    assert headed.values("X-A") == headed.values("x-a", "/none") == ["1"]
    assert headed.values("Cross-Origin-Opener-Policy") == ["same-origin"]


def test_a_rule_for_other_paths_takes_few_calls(root: Path) -> None:
    plain, ruled = Site(root).cost(), Site(root, headers=("/b/* X-A: 1",)).cost()
    assert ruled[0] - plain[0] <= 8  # finish, the path and its parsing, and find
    assert ruled[1] - plain[1] <= 12


def test_a_header_that_something_else_has_is_replaced(root: Path) -> None:
    rules = ("/* Server: mine", "/* X-A: 1", "*.txt X-A: 2")
    site = Site(root, headers=rules, security_headers=True)
    assert site.values("Server") == ["mine"]
    assert (site.values("X-A"), site.values("X-A", "/none")) == (["2"], ["1"])
    assert site.values("X-Content-Type-Options", "/none") == ["nosniff"]


def test_a_handler_of_ones_own_may_have_any_header(root: Path) -> None:
    class Own:
        def handle(self, request: Request, context: RequestContext) -> Response:
            return Response(200, (("X-A", "own"),))

    site = Site(root, headers=("/* X-A: 1",), handlers={"/own": Own()})
    assert site.values("X-A", "/own") == site.values("X-A") == ["1"]


def test_rules_are_a_table_in_a_program(root: Path) -> None:
    table = {"/*": {"X-A": "1", "X-B": "1"}, "/a.*": {"X-A": "", "Link": "</a>; rel=x"}}
    site = Site(root, headers=table)
    assert (site.values("X-A"), site.values("X-B"), site.values("Link")) == (
        *([], ["1"], ["</a>; rel=x"]),
    )
    assert site.values("X-A", "/") == ["1"]


def test_lines_for_one_path_are_one_rule(root: Path) -> None:
    lines = ("*.txt Link: <a>", "*.txt  Link:<b> ", "* X: y", "/none Link: <c>")
    site = Site(root, headers=lines)
    assert site.values("link") == ["<a>", "<b>"]
    assert Site(root, headers=(*lines, "*.txt Link: <d>")).values("Link") == ["<d>"]


def test_an_invalid_target_has_what_all_responses_have(root: Path) -> None:
    site = Site(root, headers=("*.txt X-A: 1", "/* X-B: 1", "/* Cache-Control: max-age=60"))
    assert site.ask("/%.txt").status == 400
    assert site.values("X-A", "/%.txt") == []
    assert site.values("X-B", "/%.txt") == ["1"]
    assert site.values("Cache-Control", "/%.txt") == ["no-cache"]
    assert site.values("Cache-Control", "*", "OPTIONS") == []


@pytest.mark.parametrize(
    ("cache", "hashed", "page", "others"),
    [
        ("auto", "max-age=31536000, immutable", "no-cache", "no-cache"),
        (60, "max-age=60", "max-age=60", "no-cache"),
        (0, "max-age=0", "max-age=0", "no-cache"),
        ("no-cache", "no-cache", "no-cache", "no-cache"),
        ("no-store", "no-store", "no-store", "no-store"),
    ],
)
def test_how_long_a_response_may_be_used(
    root: Path, cache: str | int, hashed: str, page: str, others: str
) -> None:
    site = Site(root, cache=cache)
    targets = ("/app.1a2b3c4d.js", "/", "/in/", "/none.1a2b3c4d.js")
    values = [site.values("Cache-Control", target) for target in targets]
    assert values == [[hashed], [page], [others], [others]]
    etag = site.values("ETag", "/app.1a2b3c4d.js")[0]
    again = {"target": "/app.1a2b3c4d.js", "if-none-match": etag}
    assert site.ask(**again).status == 304
    assert site.values("Cache-Control", **again) == [hashed]


def test_a_file_that_clients_may_replace_is_not_immutable(root: Path) -> None:
    site = Site(root, **UPLOAD)
    assert site.values("Cache-Control", "/in/app.1a2b3c4d.js") == ["no-cache"]
    assert site.values("Cache-Control", "/app.1a2b3c4d.js") == ["max-age=31536000, immutable"]


def test_without_entity_tags_there_are_dates(root: Path) -> None:
    site = Site(root, etag="off")
    assert site.values("ETag") == site.values("ETag", "/in/") == []
    (modified,) = site.values("Last-Modified")
    assert site.ask("/a.txt", **{"if-modified-since": modified}).status == 304


@pytest.mark.parametrize(("etag", "count"), [("stat", 1), ("content", 0), ("off", 0)])
def test_webdav_clients_see_the_tag_that_get_has_or_none(root: Path, etag: str, count: int) -> None:
    site = Site(root, etag=etag, dav=True)
    response = site.ask("/a.txt", "PROPFIND", depth="0")
    (body,) = response.body
    assert response.status == 207
    assert body.count(b"<D:getetag>") == count
    tag = site.values("ETag")[0].replace('"', "&quot;") if count else ""
    assert tag.encode() in body.replace(b'"', b"&quot;")


def test_security_headers_break_no_page_of_the_server(root: Path) -> None:
    site = Site(root, security_headers=True, headers=("/embed/* X-Frame-Options:",), **UPLOAD)
    assert site.values("Content-Security-Policy") == ["frame-ancestors 'self'"]
    assert site.values("Content-Security-Policy", "/in/x.html") == [
        *("sandbox", "frame-ancestors 'self'"),
    ]
    own, added = site.values("Content-Security-Policy", "/in/")
    assert (own[:18], added) == ("default-src 'none'", "frame-ancestors 'self'")
    for target in ("/", "/none", "/in/", "/in/x.html", "/sub"):
        assert site.values("X-Content-Type-Options", target) == ["nosniff"]
        assert site.values("X-Frame-Options", target) == ["SAMEORIGIN"]
        assert len(site.values("Referrer-Policy", target)) == 1
    assert site.values("Referrer-Policy", "/in/") == ["same-origin"]  # more than the option asks
    assert site.values("X-Frame-Options", "/embed/a") == []


def test_a_page_that_uploads_says_where_it_is_from_whatever_rules_say(root: Path) -> None:
    """With no-referrer, the Origin of its form would be null, and an upload would be refused."""
    site = Site(root, headers=("/* Referrer-Policy: no-referrer",), **UPLOAD)
    assert site.values("Referrer-Policy", "/in/") == ["same-origin"]
    assert site.values("Referrer-Policy") == ["no-referrer"]
    (root / "_headers").write_text("/*\n  Referrer-Policy: no-referrer\n")
    assert Site(root, **UPLOAD).values("Referrer-Policy", "/in/") == ["same-origin"]


def test_no_rule_takes_the_sandbox_from_a_page_that_was_uploaded(root: Path) -> None:
    rules = ("/* Content-Security-Policy: default-src *", "/in/* Content-Security-Policy:")
    site = Site(root, headers=rules, **UPLOAD)
    assert site.values("Content-Security-Policy", "/in/x.html") == ["sandbox"]
    assert site.values("Content-Security-Policy", "/") == ["default-src *"]


def test_headers_of_uploads_are_only_shown_where_there_are_uploads(root: Path) -> None:
    (exposed,) = Site(root, cors=("*",)).values("Access-Control-Expose-Headers")
    assert "ETag" in exposed
    assert "Upload-Offset" not in exposed


PREFLIGHT = {"access-control-request-method": "PUT", "origin": "https://app.test"}


def test_pages_of_all_sites_may_read_and_not_write(root: Path) -> None:
    site = Site(root, cors=("*",), **UPLOAD)
    for target in ("/a.txt", "/none", "/sub"):
        assert site.values("Access-Control-Allow-Origin", target) == ["*"]
        exposed = site.values("Access-Control-Expose-Headers", target)[0].split(", ")
        assert {"ETag", "Content-Range", "Location", "Upload-Offset"} <= set(exposed)
        assert "Origin" not in site.values("Vary", target)
        assert site.values("Access-Control-Allow-Credentials", target) == []
    response = site.ask("/in/x.txt", "OPTIONS", **PREFLIGHT)
    headers = dict(response.headers)
    assert response.status == 204
    assert headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert headers["Access-Control-Max-Age"] == "7200"
    assert site.ask("/in/x.txt", "DELETE", origin="https://app.test").status == 403


def test_pages_of_listed_origins_may_write_as_well(root: Path) -> None:
    site = Site(root, cors=("https://app.test", "https://*.b.test"), **UPLOAD)
    asked = {**PREFLIGHT, "access-control-request-headers": "X-A,content-type"}
    headers = dict(site.ask("/in/x.txt", "OPTIONS", **asked).headers)
    assert headers["Access-Control-Allow-Origin"] == "https://app.test"
    assert "PUT" in headers["Access-Control-Allow-Methods"].split(", ")
    assert headers["Access-Control-Allow-Headers"] == "X-A, content-type"
    assert headers["Vary"] == (
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    )
    assert site.ask("/in/x.txt", "DELETE", origin="https://evil.test").status == 403
    deleted = site.ask("/in/x.txt", "DELETE", origin="https://x.b.test")
    assert deleted.status == 204
    assert ("Access-Control-Allow-Origin", "https://x.b.test") in deleted.headers


def test_pages_of_other_origins_get_nothing_but_what_they_vary_by(root: Path) -> None:
    site = Site(root, cors=("https://app.test",))
    for origin in ({}, {"origin": "https://evil.test"}, {"origin": "null"}):
        assert site.values("Access-Control-Allow-Origin", **origin) == []
        assert site.values("Vary", **origin) == ["Origin"]
        assert site.values("Vary", "/none", **origin) == ["Accept, Origin"]
    asked = {**PREFLIGHT, "origin": "https://evil.test"}
    names = {name for name, _ in site.ask("/a.txt", "OPTIONS", **asked).headers}
    assert not {name for name in names if name.startswith("Access-Control")}


def test_a_preflight_names_no_header_that_is_none(root: Path) -> None:
    asked = {**PREFLIGHT, "access-control-request-headers": "a, b c"}
    site = Site(root, cors=("*",))
    assert site.values("Access-Control-Allow-Headers", "/a.txt", "OPTIONS", **asked) == []
    # OPTIONS that is no preflight has none of its headers.
    assert site.values("Access-Control-Max-Age", "/a.txt", "OPTIONS") == []


def test_a_rule_may_say_who_reads(root: Path) -> None:
    rules = ("/a.txt Access-Control-Allow-Origin: https://one.test",)
    site = Site(root, cors=("*",), headers=rules)
    assert site.values("Access-Control-Allow-Origin") == ["https://one.test"]
    assert site.values("Access-Control-Allow-Origin", "/") == ["*"]


def test_isolated_pages_may_load_what_others_may_read(root: Path) -> None:
    policy = "Cross-Origin-Resource-Policy"
    assert Site(root, isolate=True).values(policy) == ["same-origin"]
    assert Site(root, isolate=True, cors=("*",)).values(policy) == ["cross-origin"]
    assert Site(root, isolate=True).values("Cross-Origin-Embedder-Policy") == ["require-corp"]


def test_the_type_of_several_ranges_stays(root: Path) -> None:
    site = Site(root, headers=("*.txt Content-Type: text/markdown",))
    assert site.values("Content-Type") == ["text/markdown"]
    several = {"range": "bytes=0-0,2-2"}
    assert site.ask(**several).status == 206
    (media_type,) = site.values("Content-Type", **several)
    assert media_type.startswith("multipart/byteranges; ")
    assert site.values("Content-Type", "/none.txt") == ["text/plain; charset=utf-8"]


def test_settings_go_before_the_files_of_the_site_and_those_before_defaults(root: Path) -> None:
    (root / "_headers").write_text(
        "/*\n  X-Frame-Options: DENY\n  X-All: file\n  X-One: file\n  X-File: file\n"
        "  Cache-Control: max-age=9\n"
    )
    rules = ("/* X-All: setting", "/a.txt X-One: setting", "/sub/* Cache-Control: max-age=5")
    for handlers in (None, {"/own": Echo()}):  # with others, no header is fixed
        site = Site(root, headers=rules, security_headers=True, handlers=handlers)
        assert site.values("X-Frame-Options") == ["DENY"]
        assert site.values("X-All") == site.values("X-All", "/none") == ["setting"]
        assert (site.values("X-One"), site.values("X-One", "/")) == (["setting"], ["file"])
        assert site.values("X-File") == ["file"]
        assert site.values("Cache-Control") == ["max-age=9"]
    unstored = Site(root, headers=rules, cache="no-store")
    targets = ("/a.txt", "/none", "/sub/index.html")
    values = [unstored.values("Cache-Control", target) for target in targets]
    assert values == [["no-store"], ["no-store"], ["max-age=5"]]


class Echo:
    def handle(self, request: Request, context: RequestContext) -> Response:
        return Response(200, (), (request.target.encode(),))


def test_a_reload_changes_all_of_it(root: Path) -> None:
    """Cold and warm, before and after: each answer is that of the settings of its time."""
    old = {"headers": ("*.txt X-A: old",), "cors": ("*",), "isolate": True}
    new = {"headers": ("*.txt X-A: new",), "cors": ("https://a.test",), "isolate": False}
    later = {"cache": 60, "etag": "off", "security_headers": True}
    with aserve.Server(root, **old) as server:
        before = [headers_of(server, Origin="https://a.test") for _ in range(4)]
        server.reload(**new, **later)
        after = [headers_of(server, Origin="https://a.test") for _ in range(4)]
    for headers in before:
        assert (headers["X-A"], headers["Access-Control-Allow-Origin"]) == ("old", "*")
        assert (headers["Cache-Control"], headers["X-Frame-Options"]) == ("no-cache", None)
        assert headers["ETag"]
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    for headers in after:
        assert (headers["X-A"], headers["Vary"]) == ("new", "Origin")
        assert headers["Access-Control-Allow-Origin"] == "https://a.test"
        assert (headers["Cache-Control"], headers["X-Frame-Options"]) == (
            "max-age=60",
            "SAMEORIGIN",
        )
        assert headers["ETag"] is headers["Cross-Origin-Opener-Policy"] is None


def headers_of(server: aserve.Server, **headers: str) -> Message:
    request = urllib.request.Request(f"{server.url}a.txt", headers=headers)
    with urllib.request.urlopen(request) as response:
        return response.headers


def test_files_that_are_old_enough_are_served_from_their_names(root: Path) -> None:
    """A directory's own URL has no name: its index is validated, whatever the directory is."""
    folder = root / "x.1a2b3c4d.css"
    folder.mkdir()
    (folder / "index.html").write_text("x")
    os.utime(folder / "index.html", (1, 1))
    assert Site(root).values("Cache-Control", "/x.1a2b3c4d.css/") == ["no-cache"]
