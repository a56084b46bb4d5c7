"""WebDAV where one server has several sites, and paths with settings of their own."""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import aserve
from tests.aserve.dav.site import build
from tests.aserve.dav.test_rows import multi_status

BODY = b'<propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'


def ask(
    server: aserve.Server, host: str, method: str, body: bytes = b"", target: str = "/"
) -> tuple[int, bytes, str]:
    """Return the status of a response, its body, and its DAV header."""
    client = http.client.HTTPConnection(urlsplit(server.url).netloc)
    client.request(method, target, body or None, {"Host": host, "Depth": "1"})
    with client.getresponse() as response:
        answer = response.status, response.read(), response.getheader("DAV", "")
    client.close()
    return answer


def test_each_site_says_for_itself_whether_it_is_read(tmp_path: Path) -> None:
    root = build(tmp_path)
    sites = (
        aserve.VirtualHost("open.test", root, dav=True),
        aserve.VirtualHost("closed.test", root),
    )
    with aserve.Server(root, sites=sites, dav=True) as server:
        for host, is_open in (("open.test", True), ("closed.test", False), ("other.test", True)):
            assert ask(server, host, "OPTIONS")[2] == ("1" if is_open else "")
            status, answer, _ = ask(server, host, "PROPFIND", BODY)
            assert status == (207 if is_open else 501)
            assert not is_open or "/sub/" in multi_status(answer)


def test_a_folder_that_is_not_listed_is_not_told(tmp_path: Path) -> None:
    """Whatever its URL is like, with a slash at its end or without: it may be a path's own site."""
    paths = (aserve.PathSettings("/sub/*", listing="off"),)
    with aserve.Server(build(tmp_path), paths=paths, dav=True) as server:
        status, answer, _ = ask(server, "x", "PROPFIND", BODY)
        assert (status, "/sub/" in multi_status(answer)) == (207, True)
        for target in ("/sub/", "/sub", "/empty/../sub"):
            assert ask(server, "x", "PROPFIND", BODY, target)[0] == 403
        assert ask(server, "x", "PROPFIND", BODY, "/sub/inner.txt")[0] == 207
    with aserve.Server(tmp_path / "root", listing="off", dav=True) as server:
        assert ask(server, "x", "PROPFIND", BODY)[0] == 403


def test_a_tag_is_told_only_if_it_is_the_one_that_get_sends(tmp_path: Path) -> None:
    root = build(tmp_path)
    asks = b'<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>'
    for etag in ("stat", "content", "off"):
        with aserve.Server(root, etag=etag, dav=True) as server:
            _, answer, _ = ask(server, "x", "PROPFIND", asks, "/hello.txt")
            status, properties = next(iter(multi_status(answer)["/hello.txt"].items()))
            assert status == (200 if etag == "stat" else 404)
            sent = tag_of(server)
            assert (properties["getetag"] or None) == (sent if etag == "stat" else None)
            assert bool(sent) is (etag != "off")


def tag_of(server: aserve.Server) -> str | None:
    client = http.client.HTTPConnection(urlsplit(server.url).netloc)
    client.request("GET", "/hello.txt")
    with client.getresponse() as response:
        tag = response.getheader("ETag")
    client.close()
    return tag
