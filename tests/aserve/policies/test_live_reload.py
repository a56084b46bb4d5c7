"""Live reload: which responses become pages with a script, and what they are then."""

import re

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodyStream, FileSlice, HttpError, Request, Response
from aserve.http.script_injection import MAX_PREFIX
from aserve.policies.live_reload import LiveReload
from aserve.policies.live_updates import MAX_PATHS, LiveUpdates
from aserve.policies.policy import Policy
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site
from tests.aserve.handlers.test_static_site import body

CONTEXT = RequestContext(1_900_000_000)
TAG = re.compile(
    rb'<script src="/\.aserve/live\.js" nonce="([\w-]+)"'
    rb' data-since="([0-9a-f]+-\d+)"( data-made="")?></script>'
)
PAGE = {"Sec-Fetch-Dest": "document"}
FRAGMENT = {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors"}


def to_request(target: str, method: str = "GET", **headers: str) -> Request:
    lines = "".join(f"\r\n{name}: {value}" for name, value in headers.items())
    lower = {name.lower(): value for name, value in headers.items()}
    return Request(method, target, headers=lower, head=f"{method} {target} HTTP/1.1{lines}\r\n\r\n")


class Client:
    """Asks a site with live reload, without a server."""

    def __init__(self, directory, *policies):
        self.updates = LiveUpdates()
        self.streams = []
        live = LiveReload(self.updates, self.open_stream, hosts=("dev.example", "*.ok.example"))
        self.site = Site.of_files(Directory(directory), [live, *policies, ServerHeader()])

    def open_stream(self, last_id):
        self.streams.append(last_id)
        return self

    def abort(self):
        pass

    def get(self, target, method="GET", headers=PAGE):
        return self.site.handle(to_request(target, method, **headers), CONTEXT)


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "index.html").write_text("<h1>home</h1>")
    (tmp_path / "page.html").write_text("<!doctype html><p>page")
    (tmp_path / "fragment.html").write_text("<p>fragment")
    (tmp_path / "a.txt").write_text("alpha")
    (tmp_path / "a.bin").write_bytes(bytes(256))
    return tmp_path


@pytest.fixture
def client(directory):
    return Client(directory)


def header(response, name):
    return ", ".join(value for key, value in response.headers if key == name)


@pytest.mark.parametrize(
    ("target", "headers", "has_script"),
    [
        ("/page.html", {"Sec-Fetch-Dest": "document"}, True),
        ("/page.html", {"Sec-Fetch-Dest": "iframe"}, True),
        ("/page.html", {"Sec-Fetch-Dest": "frame"}, True),
        ("/fragment.html", {"Sec-Fetch-Dest": "document"}, True),
        ("/", {"Sec-Fetch-Dest": "document"}, True),
        # What a script or a service worker fetches, a download, a picture, a part of a page.
        ("/page.html", FRAGMENT, False),
        ("/page.html", {"Sec-Fetch-Dest": "object"}, False),
        ("/page.html", {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "navigate"}, False),
        (
            "/page.html",
            {**FRAGMENT, "Sec-Fetch-Mode": "navigate", "Accept": "text/html,*/*;q=0.8"},
            True,
        ),
        # A client that says nothing, as browsers at an address without TLS.
        ("/page.html", {}, True),
        ("/fragment.html", {}, False),
        ("/page.html", {"Range": "bytes=0-4"}, False),
        # No page.
        ("/a.txt", {"Sec-Fetch-Dest": "document"}, False),
        ("/a.bin", {"Sec-Fetch-Dest": "document"}, False),
    ],
)
def test_pages_have_a_script_and_all_else_is_as_it_was(
    client, directory, target, headers, has_script
):
    response = client.get(target, headers=headers)
    plain = Site.of_files(Directory(directory)).handle(to_request(target, **headers), CONTEXT)
    content = body(response)
    tag = TAG.search(content)
    assert bool(tag) == has_script
    assert not (tag and tag[3])
    assert TAG.sub(b"", content) == body(plain)
    assert response.length == len(content)
    assert response.status == plain.status
    if not has_script:
        assert header(response, "ETag") == header(plain, "ETag")
        assert response.path == plain.path


def test_a_page_is_never_cached_and_its_file_is(client):
    assert client.get("/page.html").path == b""
    assert client.get("/page.html", headers=FRAGMENT).path
    for headers in (PAGE, FRAGMENT):
        assert "Sec-Fetch-Dest" in header(client.get("/page.html", headers=headers), "Vary")


def test_the_tag_has_the_last_update_before_the_file_was_opened(client):
    assert TAG.search(body(client.get("/page.html")))[2] == client.updates.update_id.encode()
    client.updates.publish({b"page.html"})
    assert TAG.search(body(client.get("/page.html")))[2] == client.updates.update_id.encode()


def test_a_page_has_validators_of_its_own(client):
    response, plain = client.get("/page.html"), client.get("/page.html", headers=FRAGMENT)
    etag = header(response, "ETag")
    assert etag != header(plain, "ETag")
    assert not header(response, "Last-Modified")
    assert not header(response, "Accept-Ranges")
    again = client.get("/page.html", headers={**PAGE, "If-None-Match": etag})
    assert (again.status, again.body, header(again, "ETag")) == (304, (), etag)
    assert not header(again, "Content-Type")
    # Neither the tag of the file nor any date is one of the page.
    for condition in (
        {"If-None-Match": header(plain, "ETag")},
        {"If-Modified-Since": header(plain, "Last-Modified")},
    ):
        assert client.get("/page.html", headers={**PAGE, **condition}).status == 200
    assert client.get("/page.html", headers={**PAGE, "If-Match": '"x"'}).status == 412
    assert client.get("/page.html", headers={**PAGE, "If-Match": etag}).status == 200
    client.updates.publish({b"other.css"})
    changed = client.get("/page.html", headers={**PAGE, "If-None-Match": etag})
    assert changed.status == 200  # or its tag would have an id that is too old


def test_a_range_of_a_page_is_all_of_it(client):
    response = client.get("/page.html", headers={**PAGE, "Range": "bytes=0-4"})
    assert response.status == 200
    assert TAG.search(body(response))


def test_a_page_is_sent_as_it_is_and_all_else_compressed(client, directory):
    for name in ("page.html", "a.txt"):
        (directory / f"{name}.br").write_bytes(b"compressed")
    for target, coding in (("/page.html", ""), ("/a.txt", "br")):
        response = client.get(target, headers={**PAGE, "Accept-Encoding": "br"})
        assert header(response, "Content-Encoding") == coding
        assert "Accept-Encoding" in header(response, "Vary")


@pytest.mark.parametrize("headers", [PAGE, FRAGMENT, {}])
@pytest.mark.parametrize("target", ["/page.html", "/fragment.html", "/a.txt", "/.aserve/live.js"])
def test_head_is_the_head_of_get(client, target, headers):
    get, head = client.get(target, headers=headers), client.get(target, "HEAD", headers)
    assert (head.status, head.headers, head.length) == (get.status, get.headers, get.length)
    assert head.body == ()


def test_a_large_page_is_sent_from_its_file(client, directory):
    text = b"<!doctype html><head>" + b"x" * (2 * MAX_PREFIX)
    (directory / "page.html").write_bytes(text)
    response = client.get("/page.html")
    assert isinstance(response.body[1], FileSlice)
    content = body(response)
    assert response.length == len(content)
    assert TAG.sub(b"", content) == text
    assert TAG.search(content).start() == 21


def test_an_empty_file_is_a_page_once_it_is_asked_for_as_one(client, directory):
    (directory / "page.html").write_bytes(b"")
    assert TAG.fullmatch(body(client.get("/page.html")))
    assert body(client.get("/page.html", headers={})) == b""


def test_an_error_page_has_the_script_as_well(client):
    for headers in ({**PAGE, "Accept": "text/html"}, {"Accept": "text/html"}):
        response = client.get("/missing", headers=headers)
        assert response.status == 404
        content = body(response)
        assert TAG.search(content).group(2, 3) == (
            client.updates.update_id.encode(),
            b' data-made=""',
        )
        assert response.length == len(content)
    assert not TAG.search(body(client.get("/missing", headers=PAGE)))  # plain text
    assert not TAG.search(body(client.get("/missing", headers={**FRAGMENT, "Accept": "text/html"})))


def test_an_invalid_request_gets_its_error(client):
    request = Request("GET", "/\x01", error=HttpError(400, "Malformed."))
    assert client.site.handle(request, CONTEXT).status == 400


class Answering(Policy):
    """Answers everything with one response."""

    def __init__(self, response):
        self.response = response

    def wrap(self, handler):
        return self

    def handle(self, request, context):
        return self.response


def answering(directory, response):
    return Client(directory, Answering(response)).get("/")


@pytest.mark.parametrize(
    "headers",
    [
        (("Content-Type", "text/html"), ("Content-Disposition", "attachment; filename=a.html")),
        (("Content-Type", "text/html"), ("Content-Encoding", "gzip")),
        (("Content-Type", "text/htmlx"),),
        (("Content-Type", "application/xhtml+xml"),),  # without a head there is no place
        (),
    ],
)
def test_what_is_no_page_is_not_touched(directory, headers):
    response = answering(directory, Response(200, headers, (b"<!doctype html>x",), 16))
    assert body(response) == b"<!doctype html>x"


def test_a_page_that_a_handler_makes_gets_the_script_too(directory):
    headers = (("content-type", "TEXT/HTML"), ("ETag", 'W/"x"'))
    response = answering(directory, Response(200, headers, (b"<ul>",), 4))
    assert TAG.match(body(response))[3]  # it may show anything
    assert header(response, "ETag").startswith('W/"x-live-')


def test_a_stream_is_not_touched_and_asked_for_once_more(directory):
    closed = []

    def pieces():
        try:
            yield b"<!doctype html>"
        finally:
            closed.append(True)

    class Streaming(Policy):
        def wrap(self, handler):
            return self

        def handle(self, request, context):
            stream = BodyStream(pieces())
            stream.read()
            return Response(200, (("Content-Type", "text/html"),), (stream,))

    response = Client(directory, Streaming()).get("/")
    assert isinstance(response.body[0], BodyStream)
    assert closed == [True]


class Restricting(Policy):
    response_headers = (("Content-Security-Policy", "script-src 'none'"),)


def test_a_policy_of_the_worker_allows_its_connection(directory):
    restricting = Restricting()
    restricting.response_headers = (("Content-Security-Policy", "default-src 'none'"),)
    client = Client(directory, restricting)
    etag = header(client.get("/.aserve/live.js"), "ETag")
    for headers in ({}, {"If-None-Match": etag}):
        response = client.get("/.aserve/live.js", headers=headers)
        assert "connect-src 'self'" in header(response, "Content-Security-Policy")
    other = client.get("/a.txt", headers={})
    assert header(other, "Content-Security-Policy") == "default-src 'none'"


@pytest.mark.parametrize("target", ["/page.html", "/missing"])
def test_a_policy_of_the_page_allows_the_script(client, directory, target):
    client = Client(directory, Restricting())
    response = client.get(target, headers={**PAGE, "Accept": "text/html"})
    nonce = TAG.search(body(response))[1].decode()
    assert header(response, "Content-Security-Policy") == (
        f"script-src 'nonce-{nonce}'; worker-src 'self'"
    )
    for headers in (FRAGMENT, {**FRAGMENT, "Accept": "text/html"}):
        plain = client.get(target, headers=headers)
        assert header(plain, "Content-Security-Policy") == "script-src 'none'"


def test_the_script_is_revalidated(client):
    response = client.get("/.aserve/live.js", headers={"Sec-Fetch-Dest": "script"})
    assert header(response, "Content-Type") == "text/javascript; charset=utf-8"
    assert body(response).startswith(b"// aserve --live")
    etag = header(response, "ETag")
    assert client.get("/.aserve/live.js", headers={"If-None-Match": etag}).status == 304


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_other_methods_are_answered_as_ever(client, method):
    status = 204 if method == "OPTIONS" else 405
    for target in ("/.aserve/live", "/.aserve/live.js", "/page.html"):
        assert client.get(target, method).status == status


@pytest.mark.parametrize("headers", [{}, PAGE])
def test_an_encoded_slash_is_one_where_the_site_says_so(directory, headers):
    (directory / "folder").mkdir()
    (directory / "folder" / "page.html").write_text("<!doctype html>")
    live = LiveReload(LiveUpdates(), open_stream=None)
    site = Site.of_files(Directory(directory), [live], decode_slashes=True)
    request = to_request("/folder%2Fpage.html", **headers)
    assert site.handle(request, CONTEXT).status == 200


def test_names_beside_these_two_are_not_taken(client):
    for target in ("/.aserve", "/.aserve/", "/.aserve/live.css", "/.aserve/live/x"):
        assert client.get(target).status == 404


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ({}, True),
        ({"Host": "localhost:8000"}, True),
        ({"Host": "127.0.0.1"}, True),
        ({"Host": "[::1]:8000", "Origin": "http://[::1]:8000"}, True),
        ({"Host": "192.168.1.20:8000", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Host": "laptop"}, True),
        ({"Host": "laptop.local:80"}, True),
        ({"Host": "app.localhost"}, True),
        ({"Host": "a.OK.example.:8000"}, True),
        ({"Host": "DEV.example"}, True),  # the name that the server listens on
        ({"Host": "localhost", "Sec-Fetch-Site": "none"}, True),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-site"}, False),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8001"}, False),
        ({"Host": "localhost", "Origin": "http://evil.example"}, False),
        ({"Host": "localhost", "Origin": "null"}, False),
        # A name of another site that leads here (DNS rebinding).
        ({"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, False),
        ({"Host": "127.0.0.1.evil.example"}, False),
        ({"Host": "localhost.evil.example"}, False),
        ({"Host": "[::1"}, False),
    ],
)
def test_only_pages_of_this_server_are_told_of_changes(client, headers, is_allowed):
    response = client.get("/.aserve/live?since=a-1", headers=headers)
    assert response.status == (200 if is_allowed else 403)
    assert (response.takeover is not None) == is_allowed
    assert client.streams == ["a-1"] * is_allowed
    assert client.get("/.aserve/live", "HEAD", headers).takeover is None


def test_the_last_event_of_a_reconnection_counts_and_not_that_of_the_url(client):
    client.get("/.aserve/live?since=a-1", headers={"Last-Event-ID": "a-2"})
    client.get("/.aserve/live", headers={})
    assert client.streams == ["a-2", ""]


# Updates.


def subscribed(updates, last_id=""):
    received = []
    updates.subscribe(received.append, last_id)
    return received


def parse(events):
    """Return (event, id, data) of each event."""
    blocks = b"".join(events).decode().removesuffix("\n\n").split("\n\n")
    return [tuple(line.partition(": ")[2] for line in block.split("\n")) for block in blocks]


def test_a_subscriber_gets_each_update_after_a_greeting():
    updates = LiveUpdates()
    received = subscribed(updates)
    server = updates.update_id.partition("-")[0]
    updates.publish({b"b.css", b"a b/\xfc.png"})
    updates.publish(None)
    assert parse(received) == [
        ("hello", f"{server}-0", ""),
        ("update", f"{server}-1", '["/a%20b/%FC.png", "/b.css"]'),
        ("update", f"{server}-2", "null"),
    ]
    updates.unsubscribe(received.append)
    updates.publish(None)
    assert len(received) == 3


def test_a_subscriber_that_comes_back_gets_what_it_has_missed():
    updates = LiveUpdates()
    first_id = updates.update_id
    for name in (b"a.css", b"b.css"):
        updates.publish({name})
    events = parse(subscribed(updates, first_id))
    assert [(name, data) for name, _, data in events] == [
        ("update", '["/a.css"]'),
        ("update", '["/b.css"]'),
        ("hello", ""),
    ]
    assert events[-1][1] == events[-2][1] == updates.update_id


@pytest.mark.parametrize(
    "last_id", ["", "-", "x", "x-1", "{}-x", "{}--1", "{}-", "{}-" + "9" * 5_000]
)
def test_an_unknown_id_is_greeted_alone(last_id):
    updates = LiveUpdates()
    updates.publish(None)
    server = updates.update_id.partition("-")[0]
    assert [name for name, *_ in parse(subscribed(updates, last_id.format(server)))] == ["hello"]


def test_updates_that_are_too_old_are_not_sent_in_part():
    updates = LiveUpdates()
    first_id = updates.update_id
    for _ in range(5_000):
        updates.publish({b"a.css"})
    assert [name for name, *_ in parse(subscribed(updates, first_id))] == ["hello"]
    assert len(parse(subscribed(updates, updates.update_id))) == 1


def test_too_many_paths_mean_everything():
    updates = LiveUpdates()
    received = subscribed(updates)
    updates.publish({b"%d.css" % number for number in range(MAX_PATHS + 1)})
    assert parse(received)[-1][2] == "null"


def test_a_compressed_sibling_stands_for_its_file():
    updates = LiveUpdates()
    received = subscribed(updates)
    updates.publish({b"a.css", b"a.css.br", b"a.css.gz", b"a.css.zst"})
    assert parse(received)[-1][2] == '["/a.css"]'
