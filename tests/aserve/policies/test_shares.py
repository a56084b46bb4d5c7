"""What a link leads to, and that it leads to nothing else: asked in this process."""

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

import aserve
from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import Note, RequestContext
from aserve.http.messages import BodyStream, FileSlice, Request, Response
from aserve.policies import shares
from aserve.policies.shares import ShareRouter
from aserve.policies.site import Site
from aserve.server.site_factory import build_site
from aserve.shares.links import Link
from aserve.shares.store import ShareStore
from tests.aserve.handlers.listing_site import part_bytes
from tests.aserve.policies.visibility_matrix import FILES, ROWS, SECRET, make_site

NOW = 1_900_000_000
OWN = {
    "Cache-Control": "private, no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}


class Shared(NamedTuple):
    """A site with links, asked without a login."""

    root: Path
    store: ShareStore
    site: Site

    def link(self, path: str = "", *, expires: int | None = None, limit: int | None = None) -> str:
        """Return the path of the URL of a new link. path: below the root, "" for the root."""
        return self.make(path, expires, limit)[0]

    def make(self, path: str, expires: int | None, limit: int | None) -> tuple[str, Link]:
        file = self.root / path
        token, link = self.store.add(bytes(file), NOW, expires, limit)
        return f"/.aserve/s/{token}/{quote(link.name)}", link

    def ask(
        self,
        target: str,
        method: str = "GET",
        *,
        now: int = NOW,
        may_wait: bool = True,
        **given: str,
    ) -> Response:
        headers = {name.replace("_", "-"): value for name, value in given.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n"
        request = Request(method, target, headers=headers, head=head)
        return self.site.handle(request, RequestContext(now, may_wait))

    def get(self, target: str, **given: str) -> bytes:
        """Return the body of a response that is 200."""
        response = self.ask(target, **given)
        assert response.status == 200
        return body_of(response)

    def status(self, target: str, method: str = "GET") -> int:
        return self.ask(target, method).status

    def downloads(self) -> list[int]:
        return [link.downloads for link in self.store.all_links(NOW)]


Make = Callable[..., Shared]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in (
        *("plain.txt", "404.html", "a/b/photos/1.jpg", "a/b/photos/sub/2.jpg", "a/b/beside.txt"),
        *("a/b/photos/.hidden", "a/b/photos/x.key", "a/b/photos-2/3.jpg", "a/b/photos/own/4.jpg"),
        *("page.html", "sp ace/ü%.txt", "a/b/photos.gz"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


@pytest.fixture
def make(root: Path, tmp_path: Path) -> Iterator[Make]:
    """Return what makes a site of settings, which nobody may read without a link."""
    stores = []

    def build(served: object = root, **settings: object) -> Shared:
        file = tmp_path / "shares.db"
        store = ShareStore(file)
        stores.append(store)
        given = {"auth": ("ann:a",), "share": str(file), **settings}
        site = build_site(Settings(served, **given), Mounts(), shares=store)  # type: ignore[arg-type]
        return Shared(root, store, site)

    yield build
    for store in stores:
        store.close()


@pytest.fixture
def shared(make: Make) -> Shared:
    return make()


def body_of(response: Response) -> bytes:
    return b"".join(map(part_bytes, response.body))


def end(response: Response, sent: int | None = None) -> None:
    """Say that a response was sent, or how much of it before it was truncated."""
    assert response.on_end
    size = len(body_of(response))
    response.on_end(size if sent is None else sent, sent is not None)


def test_a_link_leads_to_its_file_without_a_login(shared: Shared) -> None:
    url = shared.link("plain.txt")
    assert url.endswith("/plain.txt")
    assert shared.get(url) == b"plain.txt"
    assert shared.status("/plain.txt") == 401
    assert shared.ask(url, "HEAD").length == len(b"plain.txt")


def test_any_name_can_be_shared(shared: Shared) -> None:
    assert shared.get(shared.link("sp ace/ü%.txt")) == "sp ace/ü%.txt".encode()


@pytest.mark.parametrize("path", ["", "a/b/photos"])
def test_a_link_leads_to_a_folder_and_all_beneath(shared: Shared, path: str) -> None:
    url = shared.link(path)
    inside = url if path else f"{url}/a/b/photos"
    assert shared.get(f"{inside}/1.jpg") == b"a/b/photos/1.jpg"
    assert shared.get(f"{inside}/sub/2.jpg") == b"a/b/photos/sub/2.jpg"
    page = shared.get(f"{inside}/")
    assert b'href="1.jpg"' in page
    assert b'href="sub/"' in page
    assert b'"name": "1.jpg"' in shared.get(f"{inside}/?format=json")
    assert b"sub/2.jpg" in shared.get(f"{inside}/?deep=1&q=2&format=json")
    with zipfile.ZipFile(io.BytesIO(shared.get(f"{inside}/?archive=zip"))) as archive:
        assert archive.read("photos/sub/2.jpg") == b"a/b/photos/sub/2.jpg"


def test_nothing_tells_where_a_folder_is(shared: Shared) -> None:
    url = shared.link("a/b/photos")
    page = shared.get(f"{url}/sub/", accept="text/html")
    assert b"<bdi>sub</bdi>" in page
    assert re.findall(rb'<li><a href="([^"]*)">', page) == [b"../"]  # not above the link
    assert b"<bdi>b</bdi>" not in page
    assert "<title>sub/ · photos</title>".encode() in page
    assert b"<h1>photos</h1>" in shared.get(f"{url}/", accept="text/html")
    assert b"<h1>Index</h1>" in shared.get(f"{shared.link()}/", accept="text/html")
    assert b'"path": "/sub/"' in shared.get(f"{url}/sub/?format=json")
    for target in (url, f"{url}/sub", f"{shared.link()}/a/b"):
        redirect = shared.ask(target, accept="text/html")
        assert redirect.status == 301
        assert dict(redirect.headers)["Location"] == f"{target}/"
        assert b"a/b/photos" not in body_of(redirect)


ABOVE = [
    *("{base}/", "{base}", "{base}/b/", "{base}/beside.txt", "{base}/photos-2/3.jpg"),
    *("{url}/../beside.txt", "{url}/../", "{url}/../../..", "{url}/../../../plain.txt"),
    *("{url}/%2e%2e/beside.txt", "{url}/..%2fbeside.txt", "{url}/sub/../../beside.txt"),
    *("{base}/photos.gz", "{base}/a/b/photos/1.jpg", "{url}/a/b/photos/1.jpg"),
    *("{url}/?archive=zip&name=../beside.txt", "{url}/1.jpg/", "{url}/1.jpg/x"),
    *("/.aserve/s/", "/.aserve/s", "/.aserve/", "/plain.txt", "/a/b/photos/1.jpg"),
]


@pytest.mark.parametrize("target", ABOVE)
def test_nothing_above_or_beside_is_reached(shared: Shared, target: str) -> None:
    url = shared.link("a/b/photos")
    target = target.format(url=url, base=url.removesuffix("/photos"))
    for method in ("GET", "HEAD"):
        for headers in ({}, {"range": "bytes=0-"}, {"if_none_match": "*"}):
            response = shared.ask(target, method, **headers)
            assert response.status in {400, 401, 404}
            assert response.on_end is None


@pytest.mark.parametrize("target", ["{url}/", "{url}/x", "{base}/", "{base}/404.html", "{base}/a"])
def test_a_file_is_all_that_its_link_leads_to(shared: Shared, target: str) -> None:
    url = shared.link("plain.txt")
    assert shared.status(target.format(url=url, base=url.removesuffix("/plain.txt"))) == 404


def test_what_is_hidden_stays_hidden(make: Make, root: Path) -> None:
    shared = make(hide=("sub",), paths=(aserve.PathSettings("*.jpg", cache=60),))
    url = shared.link("a/b/photos")
    for name in (".hidden", "x.key", "sub/", "sub/2.jpg"):
        assert shared.status(f"{url}/{name}") == 404
    assert shared.status(f"{url}/own/4.jpg") == 200
    assert shared.status(shared.link("a/b/photos/x.key")) == 404
    listed = shared.get(f"{url}/?format=text&deep=1")
    assert b"1.jpg" in listed
    assert b"hidden" not in listed
    assert b"sub" not in listed


def test_links_on_the_disk_lead_where_they_may(shared: Shared, root: Path) -> None:
    photos = root / "a" / "b" / "photos"
    (photos / "in.jpg").symlink_to("1.jpg")
    (photos / "out.txt").symlink_to("../beside.txt")
    (photos / "up").symlink_to("..")
    (photos / "near").symlink_to("../photos-2")
    (photos / "far").symlink_to("/etc/hostname")
    (root / "latest").symlink_to("a/b/photos")
    (root / "latest.txt").symlink_to("plain.txt")
    url = shared.link("a/b/photos")
    assert shared.get(f"{url}/in.jpg") == b"a/b/photos/1.jpg"
    assert shared.get(f"{url}/up/photos/1.jpg") == b"a/b/photos/1.jpg"  # which is inside
    for name in ("out.txt", "up/", "up/beside.txt", "up/photos/../beside.txt", "far", "near/3.jpg"):
        assert shared.status(f"{url}/{name}") == 404
    assert b"up" not in shared.get(f"{url}/?format=text")
    # What is shared may be a link itself.
    assert shared.get(shared.link("latest.txt")) == b"plain.txt"
    assert shared.get(f"{shared.link('latest')}/1.jpg") == b"a/b/photos/1.jpg"
    assert shared.status(f"{shared.link('latest')}/up/beside.txt") == 404


def test_what_has_readers_of_its_own_below_a_folder_is_not_part_of_it(make: Make) -> None:
    rules = (
        aserve.PathSettings("/a/b/photos/own/*", readers=("ann",)),
        aserve.PathSettings("/a/*", readers=("nobody",)),
    )
    shared = make(paths=rules)
    url = shared.link("a/b/photos")
    assert shared.status(f"{url}/1.jpg") == 200
    assert shared.status(f"{url}/own/4.jpg") == 404
    assert b"own" not in shared.get(f"{url}/?format=text&deep=1")
    own = shared.link("a/b/photos/own")
    assert shared.status(f"{own}/4.jpg") == 200
    assert shared.status(f"{shared.link()}/a/b/photos/1.jpg") == 404
    assert shared.status(f"{shared.link()}/plain.txt") == 200


def test_a_site_that_anyone_may_read_has_links_as_well(make: Make) -> None:
    shared = make(auth=())
    assert shared.get(shared.link("plain.txt")) == b"plain.txt"
    assert shared.status("/plain.txt") == 200
    url = shared.link("a/b/photos")
    assert shared.status(f"{url}/../beside.txt") == 404


def ended(shared: Shared) -> Iterator[tuple[str, str]]:
    """Yield links that lead nowhere, and why."""
    yield "never made", "/.aserve/s/" + "a" * 24 + "/plain.txt"
    yield "no token", "/.aserve/s/plain.txt"
    yield "expired", shared.link("plain.txt", expires=NOW)
    url = shared.link("plain.txt", limit=1)
    end(shared.ask(url))
    yield "used up", url
    url, link = shared.make("plain.txt", None, None)
    shared.store.revoke(link.id)
    yield "revoked", url
    gone = shared.root / "gone.txt"
    gone.write_bytes(b"gone")
    url = shared.link("gone.txt")
    gone.unlink()
    yield "no file any more", url
    yield "of another site", shared.link("../elsewhere.txt")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PROPFIND"])
def test_why_a_link_leads_nowhere_is_not_told(make: Make, method: str) -> None:
    shared = make(dav=True, write=("/",))
    for accept in ("*/*", "text/html", "application/json"):
        answers = {why: shared.ask(url, method, accept=accept) for why, url in ended(shared)}
        first = answers["never made"]
        assert first.status == (404 if method in {"GET", "HEAD"} else 405)
        for why, answer in answers.items():
            told = (answer.status, answer.headers, body_of(answer), answer.on_end)
            assert told == (first.status, first.headers, body_of(first), None), why


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "MKCOL", "MOVE", "OPTIONS", "TRACE", "PROPFIND"]
)
def test_a_link_can_only_be_read(make: Make, method: str) -> None:
    shared = make(dav=True, write=("/",), allow_trace=True)
    url = shared.link("a/b/photos")
    for target in (url, f"{url}/", f"{url}/new.txt", "/.aserve/s/x/y"):
        response = shared.ask(target, method)
        assert response.status == 405
        assert dict(response.headers)["Allow"] == "GET, HEAD"
        request = Request(method, target, headers={"content-length": "1"})
        assert shared.site.accept_body
        assert shared.site.accept_body(request, RequestContext(NOW)) is None
    assert shared.status("/new.txt", method) == 401


@pytest.mark.parametrize(
    "target",
    ["{url}/", "{url}/1.jpg", "{url}", "{url}/nothing", "/.aserve/s/x", "{url}/?archive=x"],
)
def test_no_cache_of_others_keeps_what_a_link_leads_to_and_no_page_tells_the_link(
    make: Make, target: str
) -> None:
    header = ("/* Cache-Control: public, max-age=60", "/* Referrer-Policy: unsafe-url")
    shared = make(headers=header, cache=60)
    url = shared.link("a/b/photos")
    for method in ("GET", "HEAD", "POST"):
        response = shared.ask(target.format(url=url), method)
        for name, value in OWN.items():
            assert [one for key, one in response.headers if key.lower() == name.lower()] == [value]
        assert response.path == b""  # so that our own cache does not keep it
        assert response.absent == ()


DOWNLOADS: Mapping[str, tuple[str, Mapping[str, str], bool]] = {
    "GET": ("{url}/1.jpg", {}, True),
    "a range": ("{url}/1.jpg", {"range": "bytes=1-2"}, True),
    "several ranges": ("{url}/1.jpg", {"range": "bytes=0-1,3-4"}, True),
    "an archive": ("{url}/?archive=zip", {}, True),
    "an archive of unknown length": ("{url}/?archive=tar.gz", {}, True),
    "a page": ("{url}/", {}, False),
    "a page in another form": ("{url}/?format=json", {}, False),
    "304": ("{url}/1.jpg", {"if-none-match": "*"}, False),
    "416": ("{url}/1.jpg", {"range": "bytes=1000-"}, False),
    "404": ("{url}/nothing", {}, False),
    "a redirect": ("{url}/sub", {}, False),
    "a format that is not on offer": ("{url}/?archive=x", {}, False),
}


@pytest.mark.parametrize("case", DOWNLOADS)
@pytest.mark.parametrize("limit", [None, 3])
def test_what_counts(shared: Shared, case: str, limit: int | None) -> None:
    target, headers, counts = DOWNLOADS[case]
    url = shared.link("a/b/photos", limit=limit)
    given = {name.replace("-", "_"): value for name, value in headers.items()}
    response = shared.ask(target.format(url=url), **given)
    assert (response.on_end is not None) == counts
    assert shared.ask(target.format(url=url), "HEAD", **given).on_end is None
    if counts:
        assert shared.downloads() == [0]
        end(response)
        assert shared.downloads() == [int(response.status == 200)]


def test_several_ranges_are_the_whole_file(shared: Shared) -> None:
    """RFC 9110 section 14.2 allows to ignore Range: what is delivered is one piece then."""
    response = shared.ask(shared.link("plain.txt"), range="bytes=0-1,3-4")
    assert (response.status, body_of(response)) == (200, b"plain.txt")


def test_a_truncated_response_does_not_count_and_is_given_back(shared: Shared) -> None:
    url = shared.link("plain.txt", limit=1)
    first = shared.ask(url)
    busy = shared.ask(url)
    assert busy.status == 503
    assert "Retry-After" in dict(busy.headers)
    end(first, 5)
    assert shared.downloads() == [0]
    end(shared.ask(url, range="bytes=5-"))
    assert shared.downloads() == [1]
    assert shared.status(url) == 404


@pytest.mark.parametrize("etag", ["stat", "off"])
@pytest.mark.parametrize("if_range", [True, False])
def test_a_download_that_goes_on_counts_once(make: Make, etag: str, if_range: bool) -> None:
    shared = make(etag=etag)
    url = shared.link("plain.txt", limit=2)
    first = shared.ask(url)
    end(first, 4)
    headers = dict(first.headers)
    known = headers.get("ETag") or headers["Last-Modified"]
    rest = shared.ask(url, range="bytes=4-", **({"if_range": known} if if_range else {}))
    end(rest)
    assert shared.downloads() == [1]


def test_a_refused_archive_is_given_up(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[object] = []
    monkeypatch.setattr(shares, "close_streams", closed.extend)
    url = shared.link("a/b/photos", limit=1)
    assert shared.ask(f"{url}/?archive=zip").status == 200
    assert not closed
    assert shared.ask(f"{url}/?archive=zip").status == 503
    (stream,) = closed
    assert isinstance(stream, BodyStream)


def test_a_compressed_sibling_belongs_to_its_file(make: Make, root: Path) -> None:
    (root / "plain.txt.gz").write_bytes(b"compressed")
    shared = make(compress="siblings")
    url = shared.link("plain.txt")
    assert shared.get(url, accept_encoding="gzip") == b"compressed"
    assert shared.get(url) == b"plain.txt"
    assert shared.status(f"{url}.gz") == 404


def test_a_small_file_is_not_read_into_memory(shared: Shared) -> None:
    """What is sent from the file goes to the kernel at once, and is known to be there."""
    (part,) = shared.ask(shared.link("plain.txt")).body
    assert isinstance(part, FileSlice)
    (part,) = shared.ask(f"{shared.link('a/b/photos')}/1.jpg").body
    assert isinstance(part, FileSlice)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/a/b/photos/sub/", "/photos/sub/"),
        ("/a/b/photos/?x=%20", "/photos/?x=%20"),
        ("/a/b/photos-2/", ""),
        ("/a/b/", ""),
        ("/", ""),
        ("/a/b/photos/../beside.txt", ""),
        ("http://elsewhere.test/a/b/photos/", ""),
        ("//elsewhere.test/a/b/photos/", ""),
        ("photos/", ""),
        ("/a/b/photos/%", ""),
    ],
)
def test_a_redirect_leads_out_of_no_link(shared: Shared, location: str, expected: str) -> None:
    class Redirecting:
        def handle(self, request: Request, context: RequestContext) -> Response:
            return Response(302, (("Location", location),), (location.encode(),), len(location))

    site = Site(Redirecting())
    router = ShareRouter(site, shared.store, lambda _: [b"/a/b/photos"], lambda _: site)
    url = shared.link("a/b/photos")
    response = router.handle(Request("GET", f"{url}/x"), RequestContext(NOW))
    assert response.status == (302 if expected else 404)
    assert dict(response.headers).get("Location") == (
        url.removesuffix("/photos") + expected if expected else None
    )
    assert b"/a/b/" not in body_of(response)


def test_a_file_that_was_replaced_begins_anew(shared: Shared) -> None:
    url = shared.link("plain.txt")
    end(shared.ask(url), 5)
    (shared.root / "plain.txt").write_bytes(b"another one")
    end(shared.ask(url, range="bytes=5-"))
    assert shared.downloads() == [0]


def test_an_empty_file_counts_when_its_response_has_ended(shared: Shared) -> None:
    (shared.root / "empty").write_bytes(b"")
    url = shared.link("empty", limit=1)
    end(shared.ask(url), 0)
    assert shared.downloads() == [0]
    end(shared.ask(url))
    assert shared.downloads() == [1]


def test_an_event_loop_never_waits_for_the_store(shared: Shared) -> None:
    for url in (shared.link("plain.txt"), "/.aserve/s/" + "a" * 24 + "/x"):
        with pytest.raises(BlockingIOError):
            shared.ask(url, may_wait=False)


def test_a_store_that_cannot_be_used_is_503(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    url = shared.link("plain.txt", limit=1)
    response = shared.ask(url)
    shared.store.close()
    for part in shared.store.file.parent.glob("shares.db*"):
        part.unlink()
    shared.store.file.write_bytes(b"no database" * 100)
    assert shared.status(url) == 503
    end(response)
    assert ["links cannot be followed" in caplog.text, "a download is not counted" in caplog.text]
    assert str(shared.store.file) in caplog.text


def test_conventions_rules_and_handlers_of_the_site_are_not_of_links(
    make: Make, root: Path
) -> None:
    class Handler:
        def handle(self, request: Request, context: RequestContext) -> Response:
            return Response(200, body=(SECRET,))

    (root / "_redirects").write_text("/old /plain.txt 301\n/a/b/photos/gone /plain.txt 200\n")
    shared = make(urls="netlify", spa="page.html", handlers={"/a/b/photos/now": Handler()})
    url = shared.link("a/b/photos")
    for name in ("gone", "now", "nothing"):
        assert shared.status(f"{url}/{name}") == 404
    assert shared.get(shared.link("page.html")) == b"page.html"  # and no redirect to /page
    assert shared.status(f"{shared.link()}/old") == 404
    assert shared.status(f"{shared.link()}/_redirects") == 404


def test_headers_by_path_are_those_of_the_file(make: Make) -> None:
    shared = make(headers=("/a/b/* X-Test: yes",))
    assert dict(shared.ask(f"{shared.link('a/b/photos')}/1.jpg").headers)["X-Test"] == "yes"
    assert "X-Test" not in dict(shared.ask(shared.link("plain.txt")).headers)


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        (
            {"": "", "docs": "a/b"},
            {"a/b/beside.txt": 200, "plain.txt": 200, "a/b/photos/1.jpg": 200},
        ),
        ({"docs/deep": "a/b"}, {"a/b/beside.txt": 200, "plain.txt": 404, "a/b": 301}),
        ({"one.txt": "plain.txt"}, {"plain.txt": 200, "page.html": 404}),
        ({"": "sp ace", "a": "a/b"}, {"a/b/beside.txt": 200, "plain.txt": 404}),
    ],
)
def test_several_roots(
    make: Make, root: Path, served: Mapping[str, str], expected: Mapping[str, int]
) -> None:
    shared = make({name: root / path for name, path in served.items()})
    for path, status in expected.items():
        response = shared.ask(shared.link(path))
        assert response.status == status, path
        assert status != 200 or body_of(response) == path.encode()
    if "docs/deep" in served:
        url = shared.link("a/b")
        assert shared.get(f"{url}/photos/1.jpg") == b"a/b/photos/1.jpg"
        assert shared.status(f"{shared.link('a/b/photos')}/../beside.txt") == 404


def test_a_root_that_is_a_link_is_known_by_both_paths(make: Make, root: Path) -> None:
    current = root.parent / "current"
    current.symlink_to(root)
    for linked_root in ("follow", "reload"):
        shared = make(current, linked_root=linked_root)
        assert shared.get(shared.link("plain.txt")) == b"plain.txt"
        assert shared._replace(root=current).get(shared.link("plain.txt")) == b"plain.txt"
        url = shared._replace(root=current).link("a/b/photos")
        assert shared.get(f"{url}/1.jpg") == b"a/b/photos/1.jpg"


def test_a_folder_behind_another_root_is_not_taken_for_it(make: Make, root: Path) -> None:
    """/a is served from elsewhere: what the root has there cannot be reached, nor shared."""
    (root / "sp ace" / "b").mkdir()
    (root / "sp ace" / "b" / "beside.txt").write_bytes(SECRET)
    shared = make({"": root, "a": root / "sp ace"})
    assert shared.status(shared.link("a/b/beside.txt")) == 404


def test_by_http_a_link_is_not_followed_where_there_is_tls(shared: Shared) -> None:
    asked = []

    class Redirecting(Site):
        def handle(self, request: Request, context: RequestContext) -> Response:
            asked.append(request.target)
            return Response(308, (("Location", f"https://x{request.target}"),))

    site = Redirecting(None)  # type: ignore[arg-type]
    unused: list[bytes] = []
    router = ShareRouter(site, shared.store, unused.append, None, needs_tls=True)  # type: ignore[arg-type, func-returns-value]
    url = shared.link("plain.txt")
    response = router.handle(Request("GET", url), RequestContext(NOW, scheme="http"))
    assert (response.status, asked, unused) == (308, [url], [])


def test_other_requests_are_remembered_as_without_links(make: Make, root: Path) -> None:
    for settings in ({}, {"auth": ()}, {"auth": (), "live": True}):
        alone = build_site(Settings(root, **{"auth": ("ann:a",), **settings}), Mounts())  # type: ignore[arg-type]
        shared = make(**settings)
        assert shared.site.keyed_on == alone.keyed_on
        request = Request("GET", "/plain.txt")
        context = RequestContext(NOW)
        assert shared.site.handle(request, context).same_as(alone.handle(request, context))


def test_what_decided_is_explained(shared: Shared) -> None:
    notes: list[Note] = []
    request = Request("GET", f"{shared.link('a/b/photos')}/1.jpg")
    shared.site.handle(request, RequestContext(NOW, notes=notes))
    assert Note("access", "a link to '/a/b/photos'", "default") in notes


@pytest.mark.parametrize("share", ["", "sub", "img"])
def test_the_matrix_through_a_link(make: Make, tmp_path: Path, share: str) -> None:
    """Each row of the table of what is visible, through a link to all, and to a part."""
    root = make_site(tmp_path / "matrix")
    policy = {"hide": ("private", "*.bak", "drafts/*", "img/**/raw", "out-dir/raw")}
    shared = make(root, **policy)._replace(root=root)
    url = shared.link(share)
    assert set(FILES)
    for row in ROWS:
        below = row.path.removeprefix(f"{share}/") if share else row.path
        is_below = not share or row.path.startswith(f"{share}/")
        expected = is_below and "default" in row.visible
        for headers in ({}, {"range": "bytes=0-"}, {"accept_encoding": "gzip, br"}):
            target = f"{url}/{quote(below if is_below else '../' + row.path)}"
            response = shared.ask(target, **headers)
            assert (response.status in {200, 206}) == expected, row.path
            assert expected or SECRET not in body_of(response)
