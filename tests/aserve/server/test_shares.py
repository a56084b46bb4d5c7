"""Links over real sockets: what counts as a download, in every model and in several processes."""

import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.config.settings import Settings, SettingsError
from aserve.config.shares import store_file
from aserve.shares.links import Link
from aserve.shares.store import ShareStore
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.aserve.tls.issuing import client_context, issue
from tests.conformance.serving import ONE_AT_A_TIME, running
from tests.marks import slow_except

NOW = 1_900_000_000
TIMEOUT = 60.0
LARGE = 8 << 20  # bytes; more than the kernel buffers
RESET = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")

AVAILABLE = [name for name, info in MODELS.items() if not info.unavailable_reason()]
QUICK = (DEFAULT, "blocking", "epoll", "fork")
MODEL_PARAMS = slow_except(AVAILABLE, *QUICK)


class Sharing(NamedTuple):
    """A site that nobody may read without a link, and the store of links."""

    root: Path
    store: ShareStore

    @property
    def settings(self) -> Mapping[str, object]:
        return {"auth": ("ann:a",), "share": str(self.store.file)}

    def link(self, name: str, limit: int | None = None) -> tuple[str, Link]:
        token, link = self.store.add(bytes(self.root / name), NOW, None, limit)
        slash = "/" if (self.root / name).is_dir() else ""
        return f"/.aserve/s/{token}/{name}{slash}", link

    def downloads(self, link: Link) -> int:
        return next(one.downloads for one in self.store.all_links(NOW) if one.key == link.key)


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Sharing]:
    root = tmp_path / "site"
    (root / "folder").mkdir(parents=True)
    (root / "small.txt").write_bytes(b"small")
    (root / "empty").write_bytes(b"")
    (root / "page.html").write_bytes(b"<!doctype html><title>x</title>" + b"word " * 4_000)
    (root / "large").write_bytes(b"large..." * (LARGE // 8))
    (root / "folder" / "a.txt").write_bytes(b"alpha")
    store = ShareStore(tmp_path / "shares.db")
    yield Sharing(root, store)
    store.close()


Address = tuple[str, int]


def request(target: str, method: str = "GET", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(
        [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]
    ).encode()


def ask(address: Address, target: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Return the status and the body of a response that is read to its end."""
    with socket.create_connection(address, TIMEOUT) as client:
        client.sendall(request(target, method, **headers))
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), body


@contextmanager
def begun(address: Address, target: str, **headers: str) -> Iterator[socket.socket]:
    """Read the beginning of a response, and cut the connection at the end of the block."""
    with socket.create_connection(address, TIMEOUT) as client:
        client.sendall(request(target, **headers))
        assert client.recv(1_000).startswith(b"HTTP/1.1 20")
        yield client
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does, and tells nobody; pytest ends a wait that is vain."""
    while not condition():
        pass


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_whole_downloads_count_in_every_model(sharing: Sharing, model: str) -> None:
    links = {name: sharing.link(name) for name in ("small.txt", "empty", "page.html", "large")}
    with running(sharing.root, model=model, **sharing.settings) as address:  # type: ignore[arg-type]
        for name, (url, _) in links.items():
            assert ask(address, f"/{name}")[0] == 401
            for method, headers, status in (
                ("GET", {}, 200),
                ("HEAD", {}, 200),
                ("GET", {"if_none_match": "*"}, 304),
                ("POST", {}, 405),
            ):
                assert ask(address, url, method, **headers)[0] == status
            assert ask(address, url)[1] == (sharing.root / name).read_bytes()
    assert [sharing.downloads(link) for _, link in links.values()] == [2, 2, 2, 2]


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_a_download_that_goes_on_counts_once_in_every_model(sharing: Sharing, model: str) -> None:
    url, link = sharing.link("large", 1)
    content = (sharing.root / "large").read_bytes()
    with running(sharing.root, model=model, **sharing.settings) as address:  # type: ignore[arg-type]
        with begun(address, url) as client:
            received = len(client.recv(1 << 16))
        assert ask(address, url, "HEAD")[0] == 200
        rest = []

        def is_given_back() -> bool:
            rest[:] = [ask(address, url, range=f"bytes={received}-")]
            return rest[0][0] != 503

        until(is_given_back)
        assert rest == [(206, content[received:])]
        until(lambda: ask(address, url, "HEAD")[0] == 404)
    assert sharing.downloads(link) == 1


@pytest.mark.parametrize(
    "model", slow_except([one for one in AVAILABLE if one not in ONE_AT_A_TIME], *QUICK)
)
def test_two_cannot_have_the_last_download(sharing: Sharing, model: str) -> None:
    url, link = sharing.link("large", 1)
    with running(sharing.root, model=model, **sharing.settings) as address:  # type: ignore[arg-type]
        with begun(address, url):
            assert ask(address, url)[0] == 503
            assert ask(address, url, range="bytes=1-")[0] == 206  # which alone is no download
            assert ask(address, url, "HEAD")[0] == 200
        # What both have got makes a whole file.
        until(lambda: ask(address, url, "HEAD")[0] == 404)
    assert sharing.downloads(link) == 1


def test_files_and_archives_of_a_folder_count_and_pages_do_not(sharing: Sharing) -> None:
    url, link = sharing.link("folder")
    with aserve.Server(sharing.root, **sharing.settings) as server:  # type: ignore[arg-type]
        address = address_of(server.url)
        for target in (url, f"{url}?format=json", f"{url}?deep=1&q=a", url.rstrip("/")):
            assert ask(address, target)[0] in {200, 301}
        assert ask(address, f"{url}a.txt") == (200, b"alpha")
        assert ask(address, f"{url}?archive=zip")[0] == 200
        assert ask(address, f"{url}?archive=tar.gz")[0] == 200
        assert ask(address, f"{url}nothing")[0] == 404
    assert sharing.downloads(link) == 3


def test_nothing_of_a_link_is_remembered(sharing: Sharing) -> None:
    """A link that is revoked, and a file that may no longer be read, are gone at once."""
    url, link = sharing.link("small.txt")
    with aserve.Server(sharing.root, **sharing.settings) as server:  # type: ignore[arg-type]
        address = address_of(server.url)
        for _ in range(6):
            assert ask(address, url) == (200, b"small")
        sharing.store.revoke(link.id)
        assert ask(address, url)[0] == 404
        again, _ = sharing.link("small.txt")
        assert ask(address, again) == (200, b"small")
        (sharing.root / "small.txt").unlink()
        assert ask(address, again)[0] == 404


def test_what_comes_by_tls_counts_when_it_was_sent(sharing: Sharing, tmp_path: Path) -> None:
    pair = issue(tmp_path, "localhost")
    names = ("small.txt", "empty", "large")
    links = {name: sharing.link(name) for name in names}
    cut, of_cut = sharing.link("large")
    settings = {**sharing.settings, "cert": (pair.cert,), "key": (pair.key,)}
    with aserve.Server(sharing.root, **settings) as server:  # type: ignore[arg-type]
        context = client_context()
        address = address_of(server.url)

        def connect() -> ssl.SSLSocket:
            client = socket.create_connection(address, TIMEOUT)
            return context.wrap_socket(client, server_hostname="localhost")

        for name, (url, _) in links.items():
            with connect() as client:
                client.sendall(request(url))
                received = client.makefile("rb").read()
                assert received.endswith((sharing.root / name).read_bytes())
            status, _ = ask(address, url)  # by http
            assert status == 308
        with connect() as client:
            client.sendall(request(cut))
            assert client.recv(1_000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    assert [sharing.downloads(link) for _, link in links.values()] == [1, 1, 1]
    assert sharing.downloads(of_cut) == 0


def test_what_is_compressed_counts_as_the_file(sharing: Sharing) -> None:
    url, link = sharing.link("page.html", 3)
    settings = {**sharing.settings, "live": True}
    with aserve.Server(sharing.root, **settings) as server:  # type: ignore[arg-type]
        address = address_of(server.url)
        status, body = ask(address, url, accept_encoding="gzip")
        assert (status, body[:2]) == (200, b"\x1f\x8b")
        assert ask(address, url, accept="text/html")[1] == (sharing.root / "page.html").read_bytes()
    assert sharing.downloads(link) == 2


def test_a_server_that_stops_has_counted_before(sharing: Sharing) -> None:
    url, link = sharing.link("large", 5)
    with aserve.Server(sharing.root, **sharing.settings) as server:  # type: ignore[arg-type]
        address = address_of(server.url)
        threads = [threading.Thread(target=ask, args=(address, url)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sharing.downloads(link) == 3


def test_links_go_on_through_a_reload(sharing: Sharing, tmp_path: Path) -> None:
    """A download that was begun before counts; then another store has other links."""
    url, link = sharing.link("large", 2)
    with aserve.Server(sharing.root, **sharing.settings) as server:  # type: ignore[arg-type]
        address = address_of(server.url)
        with socket.create_connection(address, TIMEOUT) as client:
            client.sendall(request(url))
            assert client.recv(1_000)
            server.reload(title="new")
            assert ask(address, url)[0] == 200
            while client.recv(1 << 16):
                pass
        until(lambda: sharing.downloads(link) == 2)
        server.reload(share=str(tmp_path / "other.db"))
        assert ask(address, url)[0] == 404


@contextmanager
def program(sharing: Sharing, *options: object) -> Iterator[tuple[Address, object]]:
    """Run aserve in processes of its own."""
    share = f"--share={sharing.store.file}"
    process = programs.start(share, "-p", 0, "--auth", "ann:a", *options, sharing.root)
    try:
        lines = ""
        while not (found := re.search(r"http://\S+", lines)):
            lines += process.stderr.readline()
        yield address_of(found[0]), process
    finally:
        process.close()


def test_a_killed_server_gives_no_download_back(sharing: Sharing) -> None:
    """Nobody knows what of the last one was delivered, so it counts."""
    url, link = sharing.link("large", 1)
    with program(sharing) as (address, process), begun(address, url):
        process.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
        process.communicate(timeout=TIMEOUT)  # type: ignore[attr-defined]
    assert sharing.downloads(link) == 1
    with program(sharing) as (address, _):
        assert ask(address, url)[0] == 404


def test_two_workers_and_the_command_at_once_never_exceed_the_limit(sharing: Sharing) -> None:
    limit, delivered, lock = 10, [], threading.Lock()
    url, link = sharing.link("small.txt", limit)
    with program(sharing, "-w", 2) as (address, _):

        def download() -> None:
            while True:
                status, body = ask(address, url)
                if status == 404:
                    return
                assert status in {200, 503}
                if status == 200:
                    assert body == b"small"
                    with lock:
                        delivered.append(status)

        threads = [threading.Thread(target=download) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            sharing.link("small.txt")
            assert len(sharing.store.all_links(NOW)) > 1
        for thread in threads:
            thread.join()
    assert len(delivered) == limit == sharing.downloads(link)


@pytest.mark.parametrize(
    ("share", "error"),
    [
        ("{tmp}/none/shares.db", "there is no directory '{tmp}/none'"),
        ("{tmp}/site", "'{tmp}/site' is not a regular file"),
        ("{tmp}/text", "'{tmp}/text' is no store of links"),
        ("{tmp}/site/shares.db", "{tmp}/site/shares.db would be served at /shares.db: keep it"),
        ("{tmp}/site/.cache/shares.db", ""),
    ],
)
def test_what_is_wrong_with_the_file_is_one_line(
    sharing: Sharing, tmp_path: Path, share: str, error: str
) -> None:
    (tmp_path / "text").write_text("no links")
    (sharing.root / ".cache").mkdir()
    share, error = (text.format(tmp=tmp_path) for text in (share, error))
    with suppress(SettingsError) if not error else pytest.raises(SettingsError) as raised:
        Settings(sharing.root, share=share)
    if error:
        assert raised
        assert str(raised.value).startswith(f"share: {error}")


@pytest.mark.parametrize(
    ("home", "expected"), [("/state", "/state/aserve"), ("relative", None), ("", None)]
)
def test_the_usual_file_is_below_the_state_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str, expected: str | None
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", home)
    monkeypatch.setenv("HOME", str(tmp_path))
    directory = Path(expected or tmp_path / ".local" / "state" / "aserve")
    assert store_file("on") == directory / "shares.db"
