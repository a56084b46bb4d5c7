"""Unix sockets: who can connect, whose file it is, and what stays in a reload and an upgrade."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

import aserve
from aserve.config.settings import Settings
from aserve.config.unix_address import UnixAddress
from aserve.server import unix_sockets
from aserve.server.control_socket import RunningServer, find_servers, request_reload
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import ListenError, close_all, is_loopback, lan_url, listen, url
from aserve.server.unix_sockets import SocketFiles, open_unix_socket
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve.unix_clients import TIMEOUT_S, connect, get, request, start
from tests.fork_server import BlockingProgram
from tests.marks import slow_except

NAMES = [name for name, info in MODELS.items() if not info.unavailable_reason()]
IN_PROCESS = [name for name in NAMES if not MODELS[name].needs_processes]
OF_PROCESSES = [name for name in NAMES if MODELS[name].needs_processes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "a.txt").write_text("alpha")
    return folder


def open_at(path: Path, mode: int = 0o660) -> socket.socket:
    return open_unix_socket(UnixAddress(str(path), mode), 16)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Whose file it is, and who may connect.


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777])
def test_the_mode_is_set_before_anyone_can_connect(
    path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before listen, connect is refused whatever the mode is: unix(7)."""
    modes = []

    def listen_and_note(listener: socket.socket, backlog: int) -> None:
        with socket.socket(socket.AF_UNIX) as early, pytest.raises(ConnectionRefusedError):
            early.connect(str(path))
        modes.append(mode_of(path))
        super(socket.socket, listener).listen(backlog)

    monkeypatch.setattr(socket.socket, "listen", listen_and_note, raising=False)
    before = os.umask(0o077)
    try:
        with closing(open_at(path, mode)):
            assert modes == [mode]
    finally:
        os.umask(before)


def test_a_group_may_connect(path: Path) -> None:
    group = os.getgroups()[-1] if os.getgroups() else os.getgid()
    with closing(open_unix_socket(UnixAddress(str(path), group=str(group)), 16)):
        assert path.stat().st_gid == group


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_whom_the_mode_excludes_cannot_connect(path: Path) -> None:
    path.parent.chmod(0o755)
    with closing(open_at(path, 0o600)):
        try:
            os.seteuid(65_534)
            with pytest.raises(PermissionError):
                connect(path)
        finally:
            os.seteuid(0)
        connect(path).close()


def test_a_group_that_the_server_is_not_in_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(PermissionError):
        open_unix_socket(UnixAddress(str(path), group="0"), 16)
    assert not path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(path: Path) -> None:
    open_at(path).close()
    assert path.exists()
    with closing(open_at(path)):
        connect(path).close()


def test_a_socket_that_is_bound_and_not_yet_listened_on_is_replaced_too(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        with closing(open_at(path)):
            connect(path).close()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_somebody_has_stays(path: Path, root: Path, kind: int) -> None:
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        if kind != socket.SOCK_DGRAM:
            other.listen()
        with pytest.raises(ListenError, match=r"^host: cannot listen on .*already$"):
            listen(Settings(root, host=f"unix:{path}"))
        assert path.exists()


def test_a_server_whose_queue_is_full_is_there(path: Path) -> None:
    with closing(open_unix_socket(UnixAddress(str(path)), 0)):
        waiting: list[socket.socket] = []
        try:
            with suppress(BlockingIOError):
                while True:
                    waiting.append(socket.socket(socket.AF_UNIX))
                    waiting[-1].setblocking(False)
                    waiting[-1].connect(str(path))
            with pytest.raises(OSError, match="already"):
                open_at(path)
        finally:
            close_all(waiting)


def test_another_file_is_never_replaced(path: Path, root: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ListenError, match="no socket"):
        listen(Settings(root, host=f"unix:{path}"))
    assert path.read_text() == "precious"
    link = path.with_name("link")
    link.symlink_to(path.with_name("nothing"))
    with pytest.raises(ListenError, match="no socket"):
        listen(Settings(root, host=f"unix:{link}"))
    assert link.is_symlink()


@pytest.mark.parametrize("where", ["nowhere/a.sock", "a.txt/a.sock"])
def test_a_path_that_cannot_be_made(root: Path, where: str) -> None:
    with pytest.raises(ListenError) as caught:
        listen(Settings(root, host=f"unix:{root / where}"))
    assert caught.value.setting == "host"
    assert str(root / where) in caught.value.reason


def test_only_the_own_file_is_removed_and_once(path: Path) -> None:
    with closing(open_at(path)) as listener:
        files = SocketFiles([listener])
        path.unlink()
        with closing(open_at(path)):
            files.remove()
            assert path.exists()
    other = SocketFiles([])
    other.remove()
    assert path.exists()


def test_a_file_in_use_stays_and_is_removed_later(path: Path) -> None:
    with closing(open_at(path)) as listener:
        files = SocketFiles([listener])
        files.remove(in_use=[listener])
        assert path.exists()
        files.remove()
        assert not path.exists()
        with closing(open_at(path)):  # which may have the inode of the former one
            files.remove()
            assert path.exists()


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_path_that_changes_meanwhile_gets_no_mode(
    path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[[Path, Path], None]
) -> None:
    """Or who may write to the directory could have the mode of any file changed."""
    other = path.with_name("other")
    other.write_text("")
    other.chmod(0o600)
    bind = socket.socket.bind

    def bind_and_replace(listener: socket.socket, address: str) -> None:
        bind(listener, address)
        path.unlink()
        link(path, other)

    monkeypatch.setattr(socket.socket, "bind", bind_and_replace, raising=False)
    with pytest.raises(FileExistsError, match="no socket"):
        open_at(path, 0o777)
    assert mode_of(other) == 0o600
    assert path.exists()


# What is said of it.


def test_what_is_said_of_a_unix_socket(path: Path) -> None:
    with closing(open_at(path)) as listener:
        assert url(listener) == f"unix:{path}"
        assert is_loopback(listener)
        assert lan_url(listener) == ""


# Serving.


@pytest.mark.parametrize("model", slow_except(IN_PROCESS, DEFAULT, "epoll", "blocking"))
def test_every_model_serves_clients_without_an_address(
    root: Path, path: Path, model: str, tmp_path: Path
) -> None:
    lines: list[str] = []
    host = f"unix:{path}"
    with aserve.Server(root, host=host, model=model, access_log=lines.append) as server:
        assert server.url == host
        assert get(path) == b"alpha"
        assert get(path) == b"alpha"  # from the cache, if there is one
        with socket.socket(socket.AF_UNIX) as client:  # one that has a path itself
            client.settimeout(TIMEOUT_S)
            client.bind(str(tmp_path / "client"))
            client.connect(str(path))
            assert request(client).endswith(b"alpha")
    assert [line.split()[0] for line in lines] == ["-"] * 3
    assert not path.exists()


@pytest.mark.parametrize("model", slow_except(OF_PROCESSES, "prefork"))
def test_models_of_processes_serve(root: Path, path: Path, model: str) -> None:
    program, _ = start(root, f"--host=unix:{path}", f"--model={model}")
    with stopped_at_the_end(program):
        for _ in range(4):
            assert get(path) == b"alpha"
        program.terminate()
        assert program.wait(TIMEOUT_S) == 0
        assert not path.exists()


def test_a_proxy_says_who_its_clients_are(root: Path, path: Path) -> None:
    lines: list[str] = []
    trusting = {"proxy_trust": ("unix",), "deny": ("192.0.2.66",)}
    with (
        aserve.Server(root, host=f"unix:{path}", access_log=lines.append, **trusting),
        closing(connect(path)) as client,
    ):
        for address, status in (("192.0.2.1", b"200"), ("192.0.2.66", b"403")):
            client.sendall(
                b"GET /a.txt HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\n\r\n" % address.encode()
            )
            assert client.recv(65_536).split()[1] == status
    assert [line.split()[0] for line in lines] == ["192.0.2.1", "192.0.2.66"]


def test_an_abstract_socket(root: Path) -> None:
    name = f"aserve-test-{os.getpid()}"
    with aserve.Server(root, host=f"unix:@{name}") as server:
        assert server.url == f"unix:@{name}"
        assert get(f"\0{name}") == b"alpha"
        with pytest.raises(ListenError, match="already"):
            listen(Settings(root, host=f"unix:@{name}"))
    with pytest.raises(ConnectionRefusedError):
        connect(f"\0{name}")


def test_a_server_starts_again_on_its_path(root: Path, path: Path) -> None:
    server = aserve.Server(root, host=f"unix:{path}")
    for _ in range(2):
        with server:
            assert get(path) == b"alpha"
        server.stop()
        assert not path.exists()


async def test_a_server_in_a_loop_removes_its_file(root: Path, path: Path) -> None:
    async with aserve.Server(root, host=f"unix:{path}"):
        assert mode_of(path) == 0o660
    with pytest.raises(FileNotFoundError):
        connect(path)


def test_a_start_that_fails_leaves_no_file(
    root: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no thread")

    monkeypatch.setattr("aserve.server.embedded.LoopThread", fail)
    with pytest.raises(RuntimeError, match="no thread"):
        aserve.Server(root, host=f"unix:{path}").start()
    assert not path.exists()


class stopped_at_the_end:  # noqa: N801 - as a context manager is called
    def __init__(self, program: BlockingProgram) -> None:
        self._program = program

    def __enter__(self) -> BlockingProgram:
        return self._program

    def __exit__(self, *_: object) -> None:
        self._program.close()


def children_of(program: BlockingProgram) -> list[int]:
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
    while len(found := children.read_text().split()) < 2:
        pass
    return list(map(int, found))


def test_all_workers_accept_on_one_socket(root: Path, path: Path) -> None:
    """Whichever is stopped, another one answers."""
    program, banner = start(root, f"--host=unix:{path}", "--workers=2", "--access-log=off")
    with stopped_at_the_end(program):
        assert f"curl --unix-socket {path} http://localhost/" in banner[1]
        assert get(path) == b"alpha"
        for worker in children_of(program):
            os.kill(worker, signal.SIGSTOP)
            try:
                for _ in range(3):
                    assert get(path) == b"alpha"
            finally:
                os.kill(worker, signal.SIGCONT)
        program.terminate()
        assert program.communicate(TIMEOUT_S)[1] == "  stop   Ctrl-C\n"
        assert program.returncode == 0
        assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", NAMES)
def test_several_workers_of_every_model_share_it(root: Path, path: Path, model: str) -> None:
    file = configure(root, f"host = 'unix:{path}'", "access-log = 'off'", f"model = '{model}'")
    program, _ = start(f"--config={file}", "--workers=2")
    with stopped_at_the_end(program):
        for _ in range(8):
            assert get(path) == b"alpha"
        (root / "b.txt").write_text("beta")
        assert request_reload(RunningServer(program.pid, 0)) == ""
        assert get(path, "/b.txt") == b"beta"
        program.terminate()
        assert program.wait(TIMEOUT_S) == 0
        assert not path.exists()


@pytest.mark.slow
def test_a_server_that_was_killed_is_followed_by_another(root: Path, path: Path) -> None:
    arguments = (root, f"--host=unix:{path}", "--access-log=off")
    first, _ = start(*arguments)
    with stopped_at_the_end(first):
        second, lines = start(*arguments)
        with stopped_at_the_end(second):
            assert f"cannot listen on {path}: a server listens there already" in lines[0]
            assert second.wait(TIMEOUT_S) != 0
        assert get(path) == b"alpha"
    assert path.exists()
    third, _ = start(*arguments)
    with stopped_at_the_end(third):
        assert get(path) == b"alpha"


# Reloads and upgrades.


def configure(root: Path, *lines: str) -> Path:
    file = root.with_name("aserve.toml")
    file.write_text("\n".join((f"root = '{root}'", *lines, "")))
    return file


@pytest.mark.parametrize(
    "options", [("--workers=2",), pytest.param((), marks=pytest.mark.slow)], ids=["two", "one"]
)
def test_a_reload_keeps_the_socket(root: Path, path: Path, options: tuple[str, ...]) -> None:
    other = path.with_name("other.sock")
    first = (f"host = 'unix:{path}'", "access-log = 'off'")
    file = configure(root, *first)
    program, _ = start(f"--config={file}", *options)
    server = RunningServer(program.pid, 0)
    with stopped_at_the_end(program), closing(connect(path)) as kept:
        identity = path.stat().st_ino
        configure(root, *first, "title = 'another'")
        assert request_reload(server) == ""
        assert path.stat().st_ino == identity
        assert request(kept).endswith(b"alpha")
        configure(root, f"host = 'unix:{path},mode=666'", "access-log = 'off'")
        assert "mode and group stay" in request_reload(server)
        configure(root, f"host = 'unix:{other}'", "access-log = 'off'")
        assert request_reload(server) == ""
        assert get(other) == b"alpha"
        while path.exists():  # for two seconds, for those who are on their way
            pass
        program.terminate()
        assert program.wait(TIMEOUT_S) == 0
        assert not other.exists()


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--workers=2",), ()], ids=["two", "one"])
def test_a_path_that_is_left_and_taken_again_is_never_gone(
    root: Path, path: Path, options: tuple[str, ...]
) -> None:
    file = configure(root, f"host = 'unix:{path}'", "access-log = 'off'")
    program, _ = start(f"--config={file}", *options)
    server = RunningServer(program.pid, 0)
    with stopped_at_the_end(program):
        for host in ("127.0.0.1", f"unix:{path}"):
            configure(root, f"host = '{host}'", "access-log = 'off'")
            if reason := request_reload(server):
                pytest.fail(reason)
            server = next(one for one in servers_of(program.pid))
            assert path.exists()
        assert get(path) == b"alpha"
        program.terminate()
        assert program.wait(TIMEOUT_S) == 0
        assert not path.exists()


def servers_of(pid: int) -> Iterator[RunningServer]:
    return (one for one in find_servers() if one.pid == pid)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--workers=2",), (), ("--model=epoll",)])
def test_an_upgrade_keeps_the_socket(root: Path, path: Path, options: tuple[str, ...]) -> None:
    other = root.with_name("beta")
    other.mkdir()
    (other / "a.txt").write_text("beta")
    file = configure(root, f"host = 'unix:{path}'", "access-log = 'off'")
    command = [sys.executable, "-m", "aserve", f"--config={file}", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            process.stderr.readline()
            process.stderr.readline()
            identity = path.stat().st_ino
            assert get(path) == b"alpha"
            configure(other, f"host = 'unix:{path}'", "access-log = 'off'")
            process.send_signal(signal.SIGUSR2)
            while get(path) != b"beta":
                pass
            assert path.stat().st_ino == identity
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
            assert not path.exists()
        finally:
            process.kill()


@pytest.mark.slow
def test_a_stop_in_an_upgrade_removes_the_file(root: Path, path: Path) -> None:
    """One process serves on beside the new program while a client stays."""
    other = root.with_name("beta")
    other.mkdir()
    (other / "a.txt").write_text("beta")
    address = (f"host = 'unix:{path}'", "access-log = 'off'")
    file = configure(root, *address)
    command = [sys.executable, "-m", "aserve", f"--config={file}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            process.stderr.readline()
            process.stderr.readline()
            with closing(connect(path)) as kept:
                assert request(kept).endswith(b"alpha")
                configure(other, *address)
                process.send_signal(signal.SIGUSR2)
                while get(path) != b"beta":
                    pass
                process.terminate()
                assert process.wait(TIMEOUT_S) == 0
            assert not path.exists()
        finally:
            process.kill()


def test_more_workers_get_the_same_socket(root: Path, path: Path) -> None:
    one = Settings(root, host=f"unix:{path}")
    groups = ListenerGroups(listen(one))
    try:
        for workers in (1, 3, 2):
            settings = Settings(root, host=f"unix:{path}", workers=workers)
            assert groups.moved(one, settings) is groups
            assert groups.assign(settings) == [groups.sockets] * workers
    finally:
        groups.remove_files()
        close_all(groups.sockets)
    assert not path.exists()


def test_the_directory_of_a_relative_path(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with aserve.Server(root, host="unix:a.sock"):
        assert get(tmp_path / "a.sock") == b"alpha"
    assert not (tmp_path / "a.sock").exists()


def test_a_probe_that_is_not_permitted_is_no_stale_socket(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot tell whether a server is there must not remove its socket."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with closing(open_at(path)):
        monkeypatch.setattr(socket.socket, "connect", refuse, raising=False)
        with pytest.raises(PermissionError):
            unix_sockets.open_unix_socket(UnixAddress(str(path)), 16)
        assert path.exists()
