"""aserve.Server as programs use it: in a thread, in their loop, in forks, and used wrongly."""

import asyncio
import errno
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

import aserve
from aserve.policies.site import Site
from aserve.server.worker import AsyncioWorker
from aserve.transport.registry import ModelInfo
from tests.marks import slow_except

MODELS = ["simulated-proactor", "asyncio", "epoll"]  # uvloop, the standard loop, a loop of its own


LARGE = 24 << 20  # bytes; the kernel buffers at most 4 MiB for the server, and less for the client


def fetch(server: aserve.Server, name: str = "a.txt") -> bytes:
    with urlopen(server.url + name, timeout=60) as response:
        return response.read()


def address(server: aserve.Server) -> tuple[str, int]:
    parts = urlsplit(server.url)
    return parts.hostname, parts.port


def wait_refused(server: aserve.Server) -> None:
    """Wait until a server has stopped accepting."""
    while True:
        try:
            socket.create_connection(address(server)).close()
        except OSError:
            return


def unread_response(server: aserve.Server) -> socket.socket:
    """Request more than all buffers hold, and read only its beginning."""
    with (server.settings.root / "large.bin").open("wb") as file:
        file.truncate(LARGE)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)  # or it grows to some MiB
    client.connect(address(server))
    client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    client.recv(1)
    return client


def resources() -> tuple[int, int]:
    """Count descriptors and inotify watches; the former include sockets, loops and files."""
    watches = 0
    names = os.listdir("/proc/self/fd")
    for name in names:
        with_watches = Path(f"/proc/self/fdinfo/{name}")
        if with_watches.exists():
            watches += with_watches.read_text().count("inotify wd")
    return len(names), watches


@pytest.mark.parametrize("model", MODELS)
def test_servers_leave_nothing_behind(directory: Path, model: str) -> None:
    threads = set(threading.enumerate())

    def serve(servers: int) -> tuple[int, int]:
        for _ in range(servers):
            with aserve.Server(directory, model=model) as server:
                for _ in range(4):  # then the response is cached, and its files are watched
                    fetch(server)
        for thread in set(threading.enumerate()) - threads:
            thread.join(30)  # those of the pool end by themselves
        assert set(threading.enumerate()) <= threads
        return resources()

    # What other tests have left may go at any time: then there is less, and never more.
    descriptors, watches = serve(1)
    descriptors_later, watches_later = serve(4)
    assert descriptors_later <= descriptors
    assert watches_later <= watches


@pytest.mark.parametrize("model", MODELS)
def test_a_server_starts_once_at_a_time_and_stops_any_time(directory: Path, model: str) -> None:
    server = aserve.Server(directory, model=model)
    server.stop()  # never started
    assert repr(server) == f"<aserve.Server of {str(directory)!r} at no address yet>"
    with server:
        with pytest.raises(RuntimeError, match="already running at http://"):
            server.start()
        assert fetch(server) == b"alpha"
        server.stop()
        wait_refused(server)
    server.start()
    assert fetch(server) == b"alpha"
    server.stop()
    server.stop()


@pytest.mark.parametrize("model", MODELS)
async def test_the_same_in_a_running_loop(directory: Path, model: str) -> None:
    server = aserve.Server(directory, model=model)
    async with server:
        with pytest.raises(RuntimeError, match="already running"):
            await server.__aenter__()
        assert await asyncio.to_thread(fetch, server) == b"alpha"
    with server:  # as in a notebook, where a loop runs that the cell must not block
        assert fetch(server) == b"alpha"
    await server.__aexit__(None, None, None)


async def test_stop_refuses_to_block_the_loop_that_serves(directory: Path) -> None:
    async with aserve.Server(directory) as server:
        with pytest.raises(RuntimeError, match="async with"):
            server.stop()
        assert await asyncio.to_thread(fetch, server) == b"alpha"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_block_stops_the_server(
    directory: Path, error: type[BaseException]
) -> None:
    server = aserve.Server(directory)

    def fail() -> None:
        with server:
            assert fetch(server) == b"alpha"
            raise error

    with pytest.raises(error):
        fail()
    wait_refused(server)


@pytest.mark.parametrize("model", MODELS)
def test_ctrl_c_ends_the_wait_for_responses(directory: Path, model: str) -> None:
    server = aserve.Server(directory, model=model, grace=600)
    server.start()

    def interrupt() -> None:
        wait_refused(server)
        os.kill(os.getpid(), signal.SIGINT)

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupter = threading.Thread(target=interrupt)
    try:
        with closing(unread_response(server)):
            interrupter.start()
            with pytest.raises(KeyboardInterrupt):
                server.stop()
    finally:
        interrupter.join()
        signal.signal(signal.SIGINT, old)
    assert not [thread for thread in threading.enumerate() if thread.name == "aserve"]


async def test_cancelling_ends_the_wait_for_responses(directory: Path) -> None:
    server = aserve.Server(directory, grace=600)
    await server.__aenter__()
    with closing(await asyncio.to_thread(unread_response, server)):
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        await asyncio.to_thread(wait_refused, server)
        assert not stopping.done()
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping


@pytest.mark.parametrize("model", MODELS)
def test_a_port_that_is_taken_is_one_line(directory: Path, model: str) -> None:
    with aserve.Server(directory, host="127.0.0.1") as first:
        port = address(first)[1]
        second = aserve.Server(directory, host="127.0.0.1", port=port, model=model)
        with pytest.raises(aserve.ListenError, match=f"^port: {port} is taken on 127.0.0.1$"):
            second.start()
        assert fetch(first) == b"alpha"
    with second:
        assert fetch(second) == b"alpha"


async def test_the_same_line_in_a_running_loop(directory: Path) -> None:
    async with aserve.Server(directory, host="127.0.0.1") as first:
        port = address(first)[1]
        with pytest.raises(aserve.ListenError, match=f"^port: {port} is taken on 127.0.0.1$"):
            await aserve.Server(directory, host="127.0.0.1", port=port).__aenter__()


def test_a_model_that_cannot_start_says_so(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_parts: object) -> None:
        raise OSError("no ring")

    monkeypatch.setattr(ModelInfo, "create_server", fail)
    server = aserve.Server(directory, model="epoll")
    with pytest.raises(OSError, match="no ring"):
        server.start()
    wait_refused(server)
    server.stop()


def test_a_root_that_disappears_and_comes_back(directory: Path) -> None:
    server = aserve.Server(directory)
    shutil.move(directory, f"{directory}.old")
    with server:
        with pytest.raises(HTTPError, match="404"):
            fetch(server)
        shutil.move(f"{directory}.old", directory)
        assert fetch(server) == b"alpha"
        shutil.rmtree(directory)
        with pytest.raises(HTTPError, match="404"):
            fetch(server)


def test_an_access_log_gets_a_line_for_each_response(directory: Path) -> None:
    lines: list[str] = []
    with aserve.Server(directory, access_log=lines.append) as server:
        fetch(server)
        fetch(server)
    assert [line.split('"')[1:3] for line in lines] == [["GET /a.txt HTTP/1.1", " 200 5 "]] * 2


LOOP_MODELS = MODELS[:2]


@pytest.mark.parametrize("model", LOOP_MODELS)
def test_a_reload_changes_what_every_next_request_gets(
    directory: Path, tmp_path: Path, model: str
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("beta")
    with aserve.Server(directory, model=model) as server:
        old_url = server.url
        with (
            closing(unread_response(server)) as slow,
            closing(socket.create_connection(address(server))) as idle,
        ):
            idle.sendall(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(65_536).endswith(b"alpha")
            server.reload(tmp_path / "other", charset="none")
            assert server.settings.root == tmp_path / "other"
            assert server.url == old_url
            with urlopen(server.url + "a.txt") as response:
                assert response.read() == b"beta"
                assert response.headers["Content-Type"] == "text/plain"
            idle.sendall(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(65_536).endswith(b"beta")
            shutil.rmtree(directory)
            slow.sendall(b"GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            received = b"".join(iter(lambda: slow.recv(1 << 20), b""))
            assert len(received) > LARGE  # the old file, to its end
            assert received.endswith(b"beta")
        with pytest.raises(HTTPError, match="404"):
            fetch(server, "large.bin")
    wait_refused(server)


@pytest.mark.parametrize("model", [LOOP_MODELS[0], "epoll"])
def test_an_upload_under_way_in_a_reload_ends_as_it_began(directory: Path, model: str) -> None:
    head = b"PUT /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n%s\r\n"
    with (
        aserve.Server(directory, model=model, write=("/",)) as server,
        closing(socket.create_connection(address(server))) as client,
    ):
        client.sendall(head % (b"new", b"Expect: 100-continue\r\n"))
        assert client.recv(65_536).startswith(b"HTTP/1.1 100 ")  # so the upload has begun
        server.reload(write=())
        client.sendall(b"beta")
        assert client.recv(65_536).startswith(b"HTTP/1.1 201 ")
        client.sendall(head % (b"c.txt", b"") + b"beta")
        assert client.recv(65_536).startswith(b"HTTP/1.1 405 ")
    assert (directory / "new").read_bytes() == b"beta"
    assert not (directory / "c.txt").exists()


@pytest.mark.parametrize("cache", [0, 1 << 20])
def test_no_request_is_lost_in_a_reload(directory: Path, cache: int) -> None:
    with aserve.Server(directory, response_cache=cache, threads=1) as server:
        done, failures, count = threading.Event(), [], 0

        def request() -> None:
            nonlocal count
            while not done.is_set():
                try:
                    assert fetch(server) == b"alpha"
                except (AssertionError, OSError, HTTPException) as error:
                    failures.append(error)
                count += 1

        clients = [threading.Thread(target=request) for _ in range(4)]
        for client in clients:
            client.start()
        for number in range(10):
            target = count + 5
            server.reload(charset=f"utf-{number}")
            while count < target:
                done.wait(0.001)
        done.set()
        for client in clients:
            client.join()
        assert failures == []


def sites_alive() -> int:
    gc.collect()
    return sum(isinstance(one, Site) for one in gc.get_objects())


@pytest.mark.parametrize("model", [LOOP_MODELS[0], "epoll"])
def test_nothing_of_former_settings_stays(directory: Path, model: str) -> None:
    with (
        aserve.Server(directory, model=model) as server,
        closing(socket.create_connection(address(server))) as client,
    ):
        before = sites_alive()
        for number in range(5):
            server.reload(charset=f"utf-{number}")
            client.sendall(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
            assert f"utf-{number}".encode() in client.recv(65_536)
        while sites_alive() > before:
            time.sleep(0.1)


@pytest.mark.parametrize("model", ["epoll", "proactor-aio"])
async def test_a_reload_of_a_model_without_an_event_loop(directory: Path, model: str) -> None:
    async with aserve.Server(directory, model=model) as server:
        assert await asyncio.to_thread(fetch, server) == b"alpha"
        await server.areload(directory / "sub")
        assert await asyncio.to_thread(fetch, server, "index.html") == b"<h1>sub</h1>"


async def test_a_reload_in_a_running_loop(directory: Path, connect) -> None:
    async with aserve.Server(directory, grace=600) as server:
        slow = await asyncio.to_thread(unread_response, server)
        await server.areload(charset="none")
        client = await connect(server.url)
        assert (await client.get("/a.txt"))[1]["content-type"] == "text/plain"
        with pytest.raises(RuntimeError, match="areload"):
            server.reload(charset="none")
        await server.areload(grace=0)  # so that the end does not wait for the first client
    slow.close()


def test_a_reload_that_cannot_work_changes_nothing(directory: Path, tmp_path: Path) -> None:
    server = aserve.Server(directory)
    with pytest.raises(RuntimeError, match="not running"):
        server.reload(charset="none")
    with server:
        before, settings = resources(), server.settings
        for changes, reason in (
            ({"root": tmp_path / "nowhere"}, "root: there is no directory"),
            ({"threads": 0}, "threads: must be from 1"),
            ({"host": "127.0.0.1"}, "host: cannot be changed while"),
            ({"model": "epoll"}, "model: cannot be changed while"),
        ):
            with pytest.raises(aserve.SettingsError, match=f"^{reason}"):
                server.reload(**changes)
        with pytest.raises(TypeError, match=r"^unknown setting .port.: "):
            server.reload(port=1)
        assert (resources(), server.settings) == (before, settings)
        assert fetch(server) == b"alpha"
    with (
        aserve.Server(directory, model="reactor") as other,
        pytest.raises(aserve.SettingsError, match=r"^threads: the model reactor cannot change"),
    ):
        other.reload(threads=3)


def inotify_instances() -> int:
    links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return links.count("anon_inode:inotify")


def fail_to_open(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize(
    "failing",
    [
        "aserve.transport.eventloop.server.WriteReadiness",
        "aserve.transport.eventloop.acceptor.Acceptor.start",
        "aserve.server.worker.build_site",
    ],
)
def test_a_reload_that_fails_leaves_nothing_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    with aserve.Server(directory) as server:
        threads, before = set(threading.enumerate()), resources()
        monkeypatch.setattr(failing, fail_to_open)
        with pytest.raises(OSError, match="Too many open files"):
            server.reload(charset="none")
        for thread in set(threading.enumerate()) - threads:
            thread.join(30)  # those of the pool end by themselves
        assert set(threading.enumerate()) <= threads
        assert resources() == before
        assert fetch(server) == b"alpha"
        monkeypatch.undo()
        server.reload(charset="none")
        assert fetch(server) == b"alpha"


def test_a_stop_lets_a_reload_in_another_thread_end_first(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = aserve.Server(directory)
    server.start()
    starting, may_start = threading.Event(), threading.Event()
    prepare = AsyncioWorker.prepare

    async def wait_and_prepare(worker: AsyncioWorker, *former: AsyncioWorker) -> None:
        starting.set()
        await asyncio.to_thread(may_start.wait)
        await prepare(worker, *former)

    monkeypatch.setattr(AsyncioWorker, "prepare", wait_and_prepare)
    reloading = threading.Thread(target=server.reload, kwargs={"charset": "none"})
    reloading.start()
    starting.wait()
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    assert fetch(server) == b"alpha"
    may_start.set()
    reloading.join()
    stopping.join()
    assert server.settings.charset == "none"
    wait_refused(server)
    with pytest.raises(RuntimeError, match="not running"):
        server.reload(charset="none")


async def test_only_the_worker_that_accepts_has_watches(directory: Path) -> None:
    others = inotify_instances()
    async with aserve.Server(directory, grace=0) as server:
        with closing(await asyncio.to_thread(unread_response, server)) as slow:
            await server.areload(charset="none")
            status = await asyncio.to_thread(fetch, server)
            for thread in threading.enumerate():
                if thread.name == "aserve-dispose":
                    await asyncio.to_thread(thread.join)
            assert status == b"alpha"
            assert inotify_instances() == others + 1
            assert slow.recv(1)  # which the old worker still serves


FORKED = """
import os, sys
from urllib.request import urlopen
import aserve

root, model = sys.argv[1:]
server, left_running = aserve.Server(root, model=model), aserve.Server(root, model=model)

def check(server):
    with urlopen(server.url + "a.txt") as response:
        assert response.read() == b"alpha"

with server:
    child = os.fork()
    if not child:
        with aserve.Server(root, model=model) as other:
            check(other)
        server.stop()
        with server:
            check(server)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    check(server)  # which the child's stop has not ended
    child = os.fork()
    if not child:
        sys.exit()  # leaves the block
    assert os.waitpid(child, 0)[1] == 0
    check(server)
left_running.start()
check(left_running)
"""


@pytest.mark.parametrize("model", slow_except(MODELS, MODELS[0]))
def test_forks_and_the_end_of_the_program(directory: Path, model: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, directory, model],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")
