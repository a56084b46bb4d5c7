"""Sockets that a service manager has opened: sd_listen_fds(3)."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from aserve.config.settings import Settings
from aserve.server import activation
from aserve.server.activation import take_activated_sockets
from aserve.server.control_socket import find_servers, request_reload
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import ListenError
from tests.aserve import unix_clients
from tests.aserve.services import TIMEOUT_S, service
from tests.clients.running import program


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "a.txt").write_text("alpha")
    return folder


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes what is opened for a test."""
    with ExitStack() as stack:
        yield stack


def tcp(opened: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    return opened.enter_context(socket.create_server((host, 0)))


def unix(opened: ExitStack, path: Path) -> socket.socket:
    listener = opened.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(path))
    listener.listen()
    return listener


def environment(count: object, pid: int = 0, names: str = "") -> dict[str, str]:
    named = {"LISTEN_FDNAMES": names} if names else {}
    return {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": str(count), **named}


@pytest.fixture
def settings(root: Path) -> Settings:
    return Settings(root)


def passed(monkeypatch: pytest.MonkeyPatch, sock: socket.socket) -> None:
    """Have a socket be the first one that is passed."""
    copy = os.dup(sock.fileno())
    os.set_inheritable(copy, True)
    monkeypatch.setattr(activation, "_FIRST_DESCRIPTOR", copy)


def test_sockets_are_taken_and_the_variables_are_gone(
    settings: Settings, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = tcp(opened)
    passed(monkeypatch, listener)
    variables = environment(1, names="web") | {"LISTEN_PIDFDID": "7", "OTHER": "1"}
    (taken,) = take_activated_sockets(settings, variables)
    with closing(taken):
        assert taken.getsockname() == listener.getsockname()
        assert not taken.get_inheritable()
    assert variables == {"OTHER": "1"}


@pytest.mark.parametrize("variables", [environment(1, pid=1), {"LISTEN_FDS": "1"}, {}])
def test_sockets_of_another_process_are_left_to_it(
    settings: Settings, variables: dict[str, str]
) -> None:
    assert take_activated_sockets(settings, variables) == []
    assert variables == {}


def datagrams(opened: ExitStack) -> socket.socket:
    sock = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sock.bind(("127.0.0.1", 0))
    return sock


def connection(opened: ExitStack) -> socket.socket:
    client = socket.create_connection(tcp(opened).getsockname())
    return opened.enter_context(client)


def messages(opened: ExitStack) -> socket.socket:
    return opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))


def packets(opened: ExitStack) -> socket.socket:
    return opened.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (datagrams, "ListenStream="),
        (messages, "ListenStream="),
        (packets, "ListenStream="),
        (connection, "Accept=no"),
    ],
)
def test_a_socket_of_another_kind_is_named_in_one_line(
    settings: Settings,
    opened: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    make: object,
    reason: str,
) -> None:
    passed(monkeypatch, make(opened))  # type: ignore[operator]
    with pytest.raises(ListenError, match=rf"^LISTEN_FDS: descriptor \d+ \(web\) .*{reason}$"):
        take_activated_sockets(settings, environment(1, names="web"))


def test_what_is_no_socket(
    settings: Settings, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = os.open(os.devnull, os.O_RDONLY)
    opened.callback(os.close, file)
    monkeypatch.setattr(activation, "_FIRST_DESCRIPTOR", file)
    with pytest.raises(ListenError, match="is no socket"):
        take_activated_sockets(settings, environment(1))
    monkeypatch.setattr(activation, "_FIRST_DESCRIPTOR", 1 << 20)
    with pytest.raises(ListenError, match="is no socket: Bad file descriptor"):
        take_activated_sockets(settings, environment(10**9))
    with pytest.raises(ListenError, match="must be a number"):
        take_activated_sockets(settings, environment("all"))


def test_a_redirect_needs_a_port_of_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "http_redirect", 80)
    with pytest.raises(ListenError, match="http_redirect: needs a port of its own"):
        take_activated_sockets(settings, environment(1))
    assert take_activated_sockets(settings, environment(0)) == []


def test_workers_share_them_and_they_stay(root: Path, opened: ExitStack) -> None:
    before, after = Settings(root), Settings(root, port=1)
    listener = tcp(opened)
    groups = ListenerGroups([[listener]], is_activated=True)
    assert groups.assign(Settings(root, workers=3)) == [[listener]] * 3
    assert groups.moved(before, before) is groups
    with pytest.raises(ListenError, match="those of the service manager"):
        groups.moved(before, after)


def test_the_file_of_a_socket_is_the_service_managers(tmp_path: Path, opened: ExitStack) -> None:
    listener = unix(opened, tmp_path / "a.sock")
    ListenerGroups([[listener]], is_activated=True).remove_files()
    assert (tmp_path / "a.sock").exists()


# The program.


def get(address: tuple[str, int]) -> bytes:
    with closing(socket.create_connection(address, timeout=TIMEOUT_S)) as client:
        return unix_clients.request(client).rpartition(b"\r\n")[2]


def wait_for_body(address: tuple[str, int], body: bytes) -> None:
    while get(address) != body:
        pass


@pytest.mark.parametrize(
    "options",
    [
        (),
        pytest.param(("--workers=2",), marks=pytest.mark.slow),
        pytest.param(("--model=prefork",), marks=pytest.mark.slow),
        pytest.param(("--model=epoll", "--workers=2"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_program_serves_on_all_sockets(
    tmp_path: Path, root: Path, opened: ExitStack, options: Sequence[str]
) -> None:
    path = tmp_path / "a.sock"
    listeners = [tcp(opened), tcp(opened, "127.0.0.2"), unix(opened, path)]
    first, second = (one.getsockname() for one in listeners[:2])
    with service(tmp_path, root, "--quiet", *options, sockets=listeners) as one:
        opened.close()  # only the service has them now
        one.reports.wait_for("READY")
        for _ in range(4):
            assert get(first) == get(second) == unix_clients.get(path) == b"alpha"
        assert one.stop() == ""
        assert path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers=2",)], ids=["one", "two"])
def test_an_upgrade_keeps_them_and_its_variables_are_gone(
    tmp_path: Path, root: Path, opened: ExitStack, options: Sequence[str]
) -> None:
    beta = tmp_path / "beta"
    beta.mkdir()
    (beta / "a.txt").write_text("beta")
    file = tmp_path / "aserve.toml"
    file.write_text(f"root = '{root}'\n")
    listener = tcp(opened)
    address = listener.getsockname()
    with service(tmp_path, "--quiet", f"--config={file}", *options, sockets=[listener]) as one:
        opened.close()
        one.reports.wait_for("READY")
        assert get(address) == b"alpha"
        for folder, body in ((beta, b"beta"), (root, b"alpha")):
            file.write_text(f"root = '{folder}'\n")
            one.process.send_signal(signal.SIGUSR2)
            wait_for_body(address, body)
            ready = one.reports.wait_for("READY")
            assert ready["MAINPID"] == str(one.process.pid)
            started_with = Path(f"/proc/{one.process.pid}/environ").read_bytes()
            assert b"LISTEN_" not in started_with
        file.write_text(f"root = '{root}'\nport = 1\n")
        (server,) = (found for found in find_servers() if found.pid == one.process.pid)
        assert "those of the service manager" in request_reload(server)
        one.stop()


@pytest.mark.slow
def test_systemd_opens_a_socket_and_starts_the_program(tmp_path: Path, root: Path) -> None:
    """Its own program does what a socket unit says, without a systemd that runs."""
    activate = program("systemd-socket-activate")
    path = tmp_path / "a.sock"
    command = [activate, f"--listen={path}", sys.executable, "-m", "aserve", str(root), "--quiet"]
    with subprocess.Popen([*command, "--access-log=off"], stderr=subprocess.DEVNULL) as process:
        try:
            while True:
                with suppress(FileNotFoundError, ConnectionRefusedError):
                    assert unix_clients.get(path) == b"alpha"
                    break
                assert process.poll() is None
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()


@pytest.mark.slow
def test_sockets_that_cannot_be_used_are_one_line(
    tmp_path: Path, root: Path, opened: ExitStack
) -> None:
    with service(tmp_path, root, sockets=[tcp(opened), datagrams(opened)]) as one:
        (line,) = one.lines()
        assert line.startswith("aserve: error: LISTEN_FDS: descriptor 4 ")
        assert one.process.wait(TIMEOUT_S) != 0


@pytest.mark.slow
def test_the_banner_says_where_the_sockets_are(
    tmp_path: Path, root: Path, opened: ExitStack
) -> None:
    listener = tcp(opened)
    with service(tmp_path, root, sockets=[listener]) as one:
        one.reports.wait_for("READY")
        assert one.process.stderr
        _, second = (one.process.stderr.readline() for _ in range(2))
        assert second == f"  open   http://127.0.0.1:{listener.getsockname()[1]}/\n"
