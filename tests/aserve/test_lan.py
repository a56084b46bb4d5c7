"""The option --lan: where it listens, what it prints, and what it warns of."""

import fcntl
import io
import os
import pty
import re
import socket
import struct
import termios
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aserve.cli import lan
from aserve.cli.banner import format_banner
from aserve.cli.lan import format_codes
from aserve.cli.qr_code import format_qr_code
from aserve.config.configuration import Configuration, read_configuration
from aserve.config.effective import format_configuration
from aserve.config.settings import Settings, SettingsError
from aserve.config.virtual_hosts import VirtualHost
from aserve.server.exposure import NO_LOGIN, NO_TLS, OPEN, risks_in_the_network
from tests.aserve import programs
from tests.fork_server import BlockingProgram

# No packet leaves the machine, and what it prints is known.
PROGRAM = """
from aserve.__main__ import main
from aserve.server import lan_addresses

def urls(listeners, scheme):
    port = listeners[0].getsockname()[1]
    return [f"{scheme}://{host}:{port}/" for host in ("192.168.1.20", "box.local")]

lan_addresses.lan_urls = urls
main()
"""


def start(*arguments: object, **options: Any) -> BlockingProgram:
    return programs.start_code(PROGRAM, "--port=0", *arguments, **options)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:
        data: bytes = response.read()
        return data


def configured(
    tmp_path: Path,
    line: dict[str, Any],
    environment: dict[str, str] | None = None,
    file: str = "",
) -> Configuration:
    (tmp_path / "my.toml").write_text(f"root = '.'\n{file}")
    options = {"config": str(tmp_path / "my.toml"), **line}
    return read_configuration((), options, environment or {})


def test_it_listens_on_all_addresses(tmp_path: Path) -> None:
    configuration = configured(tmp_path, {"lan": True})
    assert configuration.lan
    assert configuration.settings.host == "*"
    assert configuration.settings.allowed_hosts == ("any",)


@pytest.mark.parametrize(
    ("line", "environment", "file", "label"),
    [
        ({"lan": True, "host": "::1"}, {}, "", "--lan"),
        ({}, {"ASERVE_LAN": "on", "ASERVE_HOST": "::1"}, "", "ASERVE_LAN"),
        ({}, {}, "host = '::1'\nlan = true", "my.toml:3: lan"),
    ],
)
def test_with_a_host_it_is_an_error(
    tmp_path: Path, line: dict[str, Any], environment: dict[str, str], file: str, label: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        configured(tmp_path, line, environment, file)
    reason = "listens on all addresses: leave it out, or leave out host"
    assert str(raised.value).endswith(f"{label}: {reason}")


@pytest.mark.parametrize(
    ("line", "environment", "file", "host"),
    [
        ({"lan": True}, {"ASERVE_HOST": "::1"}, "", "*"),
        ({"lan": True}, {}, "host = '::1'", "*"),
        ({"host": "::1"}, {"ASERVE_LAN": "on"}, "", "::1"),
        ({"host": "::1"}, {}, "lan = true", "::1"),
        ({}, {"ASERVE_HOST": "::1"}, "lan = true", "::1"),
        ({"lan": False}, {}, "host = '::1'", "::1"),
        ({"lan": False, "host": "::1"}, {}, "lan = true", "::1"),
        ({"lan": False}, {}, "lan = true", "localhost"),
    ],
)
def test_of_several_sources_the_first_has_the_address(
    tmp_path: Path, line: dict[str, Any], environment: dict[str, str], file: str, host: str
) -> None:
    configuration = configured(tmp_path, line, environment, file)
    assert configuration.settings.host == host
    assert configuration.lan == (host == "*")


def test_what_check_prints_says_the_same(tmp_path: Path) -> None:
    given = configured(tmp_path, {"lan": True, "stop_after": "1d,2-downloads", "idle_exit": "15m"})
    (tmp_path / "printed.toml").write_text(format_configuration(given))
    printed = read_configuration((), {"config": str(tmp_path / "printed.toml")}, {})
    assert printed.settings.host == given.settings.host == "*"
    same = ("lan", "stop_after", "idle_exit", "port_file")
    assert [getattr(printed, name) for name in same] == [getattr(given, name) for name in same]


def test_others_are_shown_its_urls_and_one_line_says_what_is_risky(directory: Path) -> None:
    process = start("--lan", directory)
    try:
        lines = [process.stderr.readline() for _ in range(6)]
        port = re.search(r":(\d+)/", lines[2])[1]
        assert lines == [
            f"aserve: --lan: {OPEN}\n",
            *(lines[1:2]),
            f"  open   http://127.0.0.1:{port}/\n",
            f"  share  http://192.168.1.20:{port}/\n",
            f"         http://box.local:{port}/\n",
            "  stop   Ctrl-C\n",
        ]
        assert get(f"http://127.0.0.1:{port}/a.txt") == b"alpha"
        process.terminate()
        _, errors = process.communicate(60)
        assert (process.returncode, errors) == (0, "")  # no code: it is no terminal
    finally:
        process.close()


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    with closing(socket.create_server(("0.0.0.0", 0))) as listener:
        banner = format_banner(Settings(tmp_path), listener, origins=[])
    assert "  share  no network is found: only this machine can open it\n" in banner


def test_each_family_has_its_own_addresses(directory: Path, tmp_path: Path) -> None:
    """A client of IPv4 is none of IPv6: rules, limits and the log have its address."""
    log = tmp_path / "log"
    process = start("--lan", "--access-log", log, directory)
    try:
        port = re.search(r":(\d+)/", "".join(process.stderr.readline() for _ in range(6)))[1]
        hosts = ["127.0.0.1", "[::1]"] if socket.has_ipv6 else ["127.0.0.1"]
        for host in hosts:
            assert get(f"http://{host}:{port}/a.txt") == b"alpha"
        process.terminate()
        process.communicate(60)
    finally:
        process.close()
    clients = [line.split()[0] for line in log.read_text().splitlines()]
    assert clients == [host.strip("[]") for host in hosts]


class Terminal(io.StringIO):
    """Standard error on a terminal of a size."""

    encoding = "utf-8"

    def __init__(self, columns: int, lines: int, encoding: str = "utf-8") -> None:
        super().__init__()
        self.encoding = encoding
        self._ends = pty.openpty()
        size = struct.pack("4H", lines, columns, 0, 0)
        fcntl.ioctl(self._ends[1], termios.TIOCSWINSZ, size)

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._ends[1]

    def close(self) -> None:
        super().close()
        for end in self._ends:
            os.close(end)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Settings(tmp_path)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    opened: list[Terminal] = []

    def open_one(columns: int, lines: int, encoding: str = "utf-8") -> None:
        opened.append(Terminal(columns, lines, encoding))
        monkeypatch.setattr(lan.sys, "stderr", opened[-1])

    yield open_one
    for one in opened:
        one.close()


ORIGINS = ["http://192.168.1.20:8000/", "http://box.local:8000/"]


def test_a_terminal_shows_a_code_of_the_best_url(settings: Settings, terminal: Any) -> None:
    terminal(80, 40)
    caption, *code = list(format_codes(settings, ORIGINS))[1:]
    assert caption == f"scan to open: {ORIGINS[0]}"
    assert code == format_qr_code(ORIGINS[0], 80, 40, use_color=True)


def test_the_code_of_one_file_leads_to_it(
    settings: Settings, terminal: Any, tmp_path: Path
) -> None:
    (tmp_path / "a film.mkv").touch()
    terminal(80, 40)
    caption = list(format_codes(Settings(tmp_path / "a film.mkv"), ORIGINS))[1]
    assert caption == f"scan to open: {ORIGINS[0]}a%20film.mkv"


def test_phones_trust_the_authority_before_they_open_the_site(
    terminal: Any, settings: Settings, tmp_path: Path
) -> None:
    terminal(80, 40)
    shared = Settings(tmp_path, https=True, share_ca=True)
    lines = list(format_codes(shared, ["https://192.168.1.20:8000/"]))
    certificate, site = [line for line in lines if line.startswith("scan ")]
    url = certificate.partition(": ")[2]
    assert url == "http://192.168.1.20:8000/.aserve/ca.pem"
    assert "\n".join(format_qr_code(url, 80, 40, use_color=True)) in "\n".join(lines)
    assert site == "scan to open: https://192.168.1.20:8000/"


def test_where_a_code_cannot_be_read_there_is_none(
    settings: Settings, terminal: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for size in ((32, 40), (80, 17)):
        terminal(*size)
        assert list(format_codes(settings, ORIGINS)) == []
    terminal(80, 40, "latin-1")
    assert list(format_codes(settings, ORIGINS)) == []
    terminal(80, 40)
    assert list(format_codes(settings, [])) == []
    sites = (VirtualHost("a.test", tmp_path),)
    assert list(format_codes(Settings({}, sites=sites), ORIGINS)) == []
    monkeypatch.setenv("TERM", "dumb")
    assert list(format_codes(settings, ORIGINS)) == []
    monkeypatch.setattr(lan.sys, "stderr", None)
    assert list(format_codes(settings, ORIGINS)) == []


def test_no_color_has_no_colors(
    settings: Settings, terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal(80, 40)
    assert "\x1b" not in "".join(format_codes(settings, ORIGINS))


def test_the_program_prints_a_code_on_a_terminal(directory: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 60, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    process = start("--lan", directory, stderr=theirs, environment=environment)
    try:
        os.close(theirs)
        screen = ""
        while screen.count("\x1b[0m\r\n") < 17:
            screen += os.read(ours, 65_536).decode()
    finally:
        process.close()
        os.close(ours)
    url = re.search(r"scan to open: (\S+)", screen)[1]
    assert url.startswith("http://192.168.1.20:")
    assert "\r\n".join(format_qr_code(url, 80, 60, use_color=True)) in screen


@pytest.mark.parametrize(
    ("settings_of", "risks"),
    [
        ({}, [("lan", OPEN)]),
        ({"deny": ("10.0.0.0/8",)}, [("lan", OPEN)]),
        ({"allow": ("10.0.0.0/8",)}, []),
        ({"write": ("/",)}, [("write", NO_LOGIN)]),
        ({"auth": ("ann:secret",)}, [("auth", NO_TLS)]),
        ({"auth": ("ann:secret",), "https": True}, []),
        ({"auth": ("ann:secret",), "readers": ("anyone",)}, [("auth", NO_TLS), ("lan", OPEN)]),
    ],
)
def test_what_is_risky_in_a_network(
    tmp_path: Path, settings_of: dict[str, Any], risks: list[tuple[str, str]]
) -> None:
    assert list(risks_in_the_network(Settings(tmp_path, **settings_of))) == risks
