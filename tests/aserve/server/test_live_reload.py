"""Live reload over real sockets: the stream of updates, and what a server without it has."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.cli.banner import format_banner
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.watched_tree import WatchedTree
from aserve.policies.live_updates import LiveUpdates
from aserve.transport.eventloop.event_stream import EventStream
from aserve.transport.registry import MODELS

TIMEOUT = 20.0
ON_A_LOOP = [name for name, row in MODELS.items() if row.uses_event_loop]
OTHERS = [name for name, row in MODELS.items() if not (row.uses_event_loop or row.needs_processes)]


class EventSource:
    """Reads server-sent events. head: that of the response."""

    def __init__(
        self, server: aserve.Server, last_id: str = "", version: str = "1.1", host: str = ""
    ) -> None:
        parts = urlsplit(server.url)
        self._socket = socket.create_connection((parts.hostname, parts.port), TIMEOUT)
        self._socket.sendall(
            f"GET /.aserve/live HTTP/{version}\r\nHost: {host or parts.netloc}\r\n"
            f"Last-Event-ID: {last_id}\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        self.head = self._block(b"\r\n")
        assert self._block(b"\n") == ["retry: 500"]
        self.missed = list(iter(self.next, ("hello", "")))

    def _block(self, end: bytes) -> list[str]:
        lines = iter(self._file.readline, end)
        return [line.decode().rstrip("\r\n") for line in lines if line or self._fail()]

    @staticmethod
    def _fail() -> bool:
        raise EOFError

    def next(self) -> tuple[str, Any]:
        """Return the next event: its name, and its data."""
        event, event_id, data = self._block(b"\n")
        self.last_id = event_id.removeprefix("id: ")
        text = data.removeprefix("data: ")
        return event.removeprefix("event: "), json.loads(text) if text else ""

    def has_ended(self) -> bool:
        return self._file.read() == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def save(path: Path, text: str) -> None:
    """Save a file in one step, so that it is one change."""
    temporary = path.with_name(f"{path.name}~")
    temporary.write_text(text)
    temporary.replace(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html>one")
    return root


@pytest.fixture(params=ON_A_LOOP)
def server(root: Path, request: pytest.FixtureRequest) -> Iterator[aserve.Server]:
    with aserve.Server(root, live=True, model=request.param) as server:
        yield server


def test_each_save_is_one_event(server: aserve.Server, root: Path) -> None:
    with closing(EventSource(server)) as events, closing(EventSource(server)) as others:
        assert events.head[0] == "HTTP/1.1 200 OK"
        assert {"Content-Type: text/event-stream", "Connection: close"} <= set(events.head)
        assert not any(line.startswith("Access-Control-") for line in events.head)
        for number in range(3):
            save(root / "index.html", str(number))
            for each in (events, others):
                assert each.next() == ("update", ["/index.html"])
        assert events.last_id == others.last_id


def test_a_client_that_comes_back_gets_what_it_has_missed(
    server: aserve.Server, root: Path
) -> None:
    with closing(EventSource(server)) as events:
        last_id = events.last_id
        for name in ("a.css", "b.css"):
            save(root / name, "x")
            assert events.next() == ("update", [f"/{name}"])
    with closing(EventSource(server, last_id)) as again:
        assert again.missed == [("update", ["/a.css"]), ("update", ["/b.css"])]
    with closing(EventSource(server, again.last_id)) as current:
        assert current.missed == []


def test_a_client_of_http_1_0_gets_events_too(server: aserve.Server, root: Path) -> None:
    with closing(EventSource(server, version="1.0")) as events:
        save(root / "index.html", "two")
        assert events.next() == ("update", ["/index.html"])


def test_the_end_of_the_server_ends_the_stream_and_the_next_one_has_other_ids(
    server: aserve.Server,
) -> None:
    with closing(EventSource(server)) as events:
        server.stop()
        assert events.has_ended()
    server.start()
    with closing(EventSource(server, events.last_id)) as again:
        assert again.missed == []
        assert again.last_id.split("-")[0] != events.last_id.split("-")[0]


def test_a_reload_of_the_server_ends_the_stream(server: aserve.Server, root: Path) -> None:
    with closing(EventSource(server)) as events:
        server.reload()
        assert events.has_ended()
    with closing(EventSource(server)) as again:
        save(root / "index.html", "two")
        assert again.next() == ("update", ["/index.html"])
        server.reload(live=False)
        assert again.has_ended()


def test_a_tree_that_cannot_be_watched_is_compared(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise OSError

    monkeypatch.setattr("aserve.filesystem.directory_watches.Inotify", fail)
    with aserve.Server(root, live=True) as server, closing(EventSource(server)) as events:
        save(root / "index.html", "two, which is longer")
        assert events.next() == ("update", ["/index.html"])
    (message,) = caplog.messages
    assert message == "live: no inotify instance is left: all files are looked at every 0.5 s"


def test_the_banner_says_that_files_are_compared(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mounts, "tracking_of", lambda *_: ChangeTracking.STATE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lines = format_banner(aserve.Settings(root, live=True), listener).splitlines()
    assert "  live   pages reload when a file changes, looked for every 0.5 s" in lines


def test_a_start_does_not_wait_for_a_tree_that_takes_long(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that comes before all is watched is told that anything may have changed."""
    may_scan = threading.Event()
    scan = WatchedTree.scan

    def wait_and_scan(tree: WatchedTree) -> None:
        assert may_scan.wait(TIMEOUT)
        scan(tree)

    monkeypatch.setattr(WatchedTree, "scan", wait_and_scan)
    monkeypatch.setattr("aserve.server.live_watch.MAX_START", 0.0)
    with aserve.Server(root, live=True) as server, closing(EventSource(server)) as events:
        may_scan.set()
        assert events.next() == ("update", None)
        save(root / "index.html", "two")
        assert events.next() == ("update", ["/index.html"])


def get(server: aserve.Server, target: str) -> bytes:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), TIMEOUT) as client:
        client.sendall(
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Dest: document\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        return b"".join(iter(lambda: client.recv(65_536), b""))


def test_each_site_tells_of_its_own_changes(root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    sites = (
        aserve.VirtualHost("a.example", tmp_path / "a", live=True),
        aserve.VirtualHost("b.example", tmp_path / "b", live=True),
        aserve.VirtualHost("localhost", root),
    )
    with aserve.Server({}, sites=sites) as server:
        assert get(server, "/").endswith(b"\r\n\r\n<!doctype html>one")
        with (
            closing(EventSource(server, host="a.example")) as first,
            closing(EventSource(server, host="b.example")) as second,
        ):
            save(tmp_path / "a" / "of-a.css", "x")
            save(tmp_path / "b" / "of-b.css", "x")
            assert second.next() == ("update", ["/of-b.css"])
            assert first.next() == ("update", ["/of-a.css"])


def test_a_server_without_it_has_no_thread_for_it_and_no_name_is_taken(root: Path) -> None:
    before = set(threading.enumerate())
    with aserve.Server(root) as server:
        names = {thread.name for thread in set(threading.enumerate()) - before}
        assert "aserve-live" not in names
        for target in ("/.aserve/live", "/.aserve/live.js"):
            assert get(server, target).startswith(b"HTTP/1.1 404 ")
        assert get(server, "/").endswith(b"\r\n\r\n<!doctype html>one")


@pytest.mark.parametrize("model", OTHERS)
def test_a_model_without_events_refuses_at_the_start(root: Path, model: str) -> None:
    if MODELS[model].unavailable_reason():
        pytest.skip("not on this system")
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Server(root, live=True, model=model)
    assert str(caught.value) == f"live: the model {model} has no live reload"


def test_several_workers_would_know_of_different_updates(root: Path) -> None:
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Settings(root, live=True, workers=2)
    assert str(caught.value) == "live: needs one worker, not 2"


class FakeTransport(asyncio.Transport):
    """A transport whose client reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.end = ""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def is_closing(self) -> bool:
        return bool(self.end)

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"


@pytest.fixture
def stream() -> tuple[EventStream, FakeTransport, LiveUpdates]:
    updates, transport = LiveUpdates(), FakeTransport()
    stream = EventStream(updates, "")
    stream.start(transport, b"", has_ended=False, on_closed=lambda _: None)
    return stream, transport, updates


def test_a_stream_on_which_nothing_happens_is_kept_open(
    stream: tuple[EventStream, FakeTransport, LiveUpdates],
) -> None:
    events, transport, _ = stream
    before = transport.written
    for _ in range(45):
        events.tick()
    assert transport.written == before + 3 * b":\n\n"


def test_a_client_that_reads_nothing_is_given_up(
    stream: tuple[EventStream, FakeTransport, LiveUpdates],
) -> None:
    events, transport, updates = stream
    for number in range(100_000):
        updates.publish({b"%d.css" % number})
        if transport.end:
            break
    assert transport.end == "aborted"
    size = len(transport.written)
    updates.publish(None)  # before the loop says that the connection is lost
    events.connection_lost(None)
    updates.publish(None)
    assert len(transport.written) == size


def test_a_model_by_the_book_is_told_apart_from_its_tuned_form(root: Path) -> None:
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Server(root, live=True, by_the_book=True)
    assert str(caught.value) == "live: the model simulated-proactor by the book has no live reload"
