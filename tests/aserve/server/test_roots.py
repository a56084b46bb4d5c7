"""What is served: one file, or several directories and files, over real sockets in every model."""

import http.client
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote_from_bytes, urlsplit

import pytest

import aserve
from tests.aserve.seams.serving import MODEL_PARAMS

HOSTILE = [b"a b.txt", "ü+%41 €.txt".encode(), b"\xff\xfe", b"x\n<b>&\"'?#.html", b"-x", b"..."]


@contextmanager
def client_of(root: object, **settings: object) -> Iterator[http.client.HTTPConnection]:
    with aserve.Server(root, **settings) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        try:
            yield connection
        finally:
            connection.close()


def get(
    client: http.client.HTTPConnection, target: str, headers: Mapping[str, str] = {}
) -> tuple[int, bytes, http.client.HTTPMessage]:
    client.request("GET", target, headers=headers)
    response = client.getresponse()
    return response.status, response.read(), response.headers


def write_old(path: Path, content: bytes) -> None:
    """Write a file that is old enough to be cached."""
    path.write_bytes(content)
    os.utime(path, (1, 1))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Make a file among others: its compressed siblings, a neighbour and a directory."""
    (tmp_path / "sub").mkdir()
    for name in ("film.mkv", "film.mkv.gz", "film.mkv.br", "index.html", "sub/a"):
        write_old(tmp_path / name, name.encode())
    return tmp_path / "film.mkv"


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_one_file_and_nothing_else_is_served(film: Path, model: str) -> None:
    with client_of(film, model=model) as client:
        for _ in range(4):  # the later ones from the response cache
            accepting = {"Accept-Encoding": "br, gzip"}
            status, body, headers = get(client, "/film.mkv", accepting)
            assert (status, body) == (200, b"film.mkv")
            assert "Content-Encoding" not in headers
            assert "Vary" not in headers
        status, body, headers = get(client, "/film.mkv", {"Range": "bytes=5-"})
        assert (status, body, headers["Content-Range"]) == (206, b"mkv", "bytes 5-7/8")
        assert get(client, "/film.mkv", {"If-None-Match": headers["ETag"]})[0] == 304
        status, _, headers = get(client, "/?a=b")
        assert (status, headers["Location"]) == (302, "/film.mkv?a=b")
        others = ("/film.mkv/", "/film.mkv.gz", "/index.html", "/sub/", "/sub/a", "/film.mkv/..%2f")
        assert [get(client, target)[0] for target in others] == [404] * len(others)


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_one_file_is_served_as_it_is_now(film: Path, model: str) -> None:
    with client_of(film, model=model) as client:

        def bodies() -> set[bytes | int]:
            responses = [get(client, "/film.mkv") for _ in range(4)]
            return {body if status == 200 else status for status, body, _ in responses}

        assert bodies() == {b"film.mkv"}
        write_old(film.with_name("next"), b"another")
        film.with_name("next").rename(film)
        assert bodies() == {b"another"}
        film.unlink()
        assert bodies() == {404}
        film.mkdir()
        assert bodies() == {404}
        film.rmdir()
        write_old(film, b"again")
        assert bodies() == {b"again"}


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_a_link_to_one_file_is_followed_wherever_it_leads(film: Path, model: str) -> None:
    directory = film.with_name("links")
    directory.mkdir()
    link = directory / "latest.txt"
    link.symlink_to("../film.mkv")
    with client_of(link, model=model) as client:
        for _ in range(4):
            status, body, headers = get(client, "/latest.txt")
            assert (status, body) == (200, b"film.mkv")
            assert headers["Content-Type"].startswith("text/plain")
        link.unlink()
        link.symlink_to(film.with_name("index.html"))
        assert {get(client, "/latest.txt")[1] for _ in range(4)} == {b"index.html"}


@pytest.mark.parametrize("name", HOSTILE)
def test_one_file_with_any_name(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"content")
    with client_of(path) as client:
        status, _, headers = get(client, "/")
        assert (status, headers["Location"]) == (302, "/" + quote_from_bytes(name, "!$&'()*+,;=:@"))
        assert get(client, headers["Location"])[:2] == (200, b"content")


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_directories_and_files_by_name(film: Path, model: str) -> None:
    root = {"": film.parent, "docs": film.parent / "sub", "a/movie": film}
    with client_of(root, model=model) as client:
        for _ in range(4):
            assert get(client, "/")[:2] == (200, b"index.html")
            assert get(client, "/docs/a")[:2] == (200, b"sub/a")
            assert get(client, "/a/movie")[:2] == (200, b"film.mkv")
        status, _, headers = get(client, "/docs")
        assert (status, headers["Location"]) == (301, "/docs/")
        write_old(film.parent / "sub" / "b", b"new")
        (film.parent / "sub" / "b").rename(film.parent / "sub" / "a")
        assert get(client, "/docs/a")[1] == get(client, "/sub/a")[1] == b"new"
        assert get(client, "/docs/..%2ffilm.mkv")[0] == 404
        assert get(client, "/docs/../film.mkv")[:2] == (200, b"film.mkv")


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_a_directory_of_several_that_is_replaced_is_served_at_once(film: Path, model: str) -> None:
    """A deployment may replace what a name leads to, as by `ln -sfn`."""
    old, new, current = (film.with_name(name) for name in ("old", "new", "current"))
    for directory in (old, new):
        directory.mkdir()
        write_old(directory / "a", directory.name.encode())
    current.symlink_to(old)
    with client_of({"x": current, "y": old}, model=model) as client:
        assert {get(client, "/x/a")[1] for _ in range(4)} == {b"old"}
        film.with_name("link").symlink_to(new)
        film.with_name("link").rename(current)
        assert {get(client, "/x/a")[1] for _ in range(4)} == {b"new"}
        assert get(client, "/y/a")[1] == b"old"


def test_a_reload_can_serve_others(film: Path) -> None:
    with aserve.Server(film) as server:
        assert server.served == str(film)
        server.reload({"docs": film.parent / "sub"})
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        assert get(connection, "/docs/a")[1] == b"sub/a"
        connection.close()
        with pytest.raises(aserve.SettingsError, match="root: /a: there is no directory"):
            server.reload({"a": "nowhere"})
        assert server.served == str(film.parent / "sub")


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_the_urls_and_error_pages_of_each_directory(film: Path, model: str) -> None:
    docs = film.parent / "sub"
    write_old(docs / "page.html", b"page")
    write_old(docs / "404.html", b"missing in docs")
    write_old(film.parent / "404.html", b"missing")
    root = {"": film.parent, "docs": docs, "x/y": docs}
    with client_of(root, model=model, urls="github") as client:
        assert {get(client, "/docs/page")[1] for _ in range(4)} == {b"page"}
        write_old(docs / "page", b"a file of this name")
        assert {get(client, "/docs/page")[1] for _ in range(4)} == {b"a file of this name"}
        assert get(client, "/docs/nothing")[:2] == (404, b"missing in docs")
        assert get(client, "/x/y/nothing/deeper")[:2] == (404, b"missing in docs")
        assert get(client, "/x/nothing")[:2] == (404, b"missing")


def test_one_file_has_no_error_page_of_its_directory(film: Path) -> None:
    write_old(film.with_name("404.html"), b"not served")
    with client_of(film, urls="github", spa="index.html") as client:
        navigation = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        for target in ("/nothing", "/404.html", "/index", "/index.html"):
            status, body, _ = get(client, target, navigation)
            assert status == 404
            assert b"not served" not in body
            assert b"index.html" not in body
