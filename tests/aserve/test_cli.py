"""The program as a user runs it: real processes, real signals, a real terminal."""

import errno
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import pytest

from aserve.cache.keys import KeyedOn
from aserve.cli.main import main
from aserve.cli.serving import read_settings
from aserve.config.settings import Settings
from aserve.config.values import parse_size
from aserve.filesystem.monitor import ChangeMonitor
from aserve.http1.limits import UNLIMITED
from aserve.server import listeners
from aserve.server.worker import AsyncioWorker
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve import programs
from tests.marks import slow, slow_except

LINE = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "GET (\S+) HTTP/1\.1" (\d+) (\d+) "-" "[^"]+"')


@contextmanager
def aserve(*arguments, start_new_session=False, **options):
    """Run aserve until the block ends. options: see programs.start."""
    process = programs.start(*arguments, new_session=start_new_session, **options)
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def fail(capsys):
    """Run aserve where it cannot start, in this process; return its exit code and errors."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            main(list(map(str, arguments)))
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        return exit_info.value.code, stderr

    return run


def banner(process):
    """Return the lines of the banner, which is printed once the server listens."""
    return [process.stderr.readline() for _ in range(4)]


def url_in(lines):
    return re.search(r"http://\S+", "".join(lines))[0]


def get(url):
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.status, response.read()


def wait_until_refused(*address):
    """Wait until a server accepts no connections: two signals at once may count as one."""
    with suppress(ConnectionRefusedError):
        while True:
            with suppress(ConnectionResetError):  # in the accept queue when it was closed
                socket.create_connection(address, timeout=60).close()


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def test_the_banner_says_what_is_served_where_and_how_to_stop(directory):
    with aserve(directory, "--port", 0) as process:
        lines = banner(process)
        assert str(directory) in lines[0]
        assert get(url_in(lines) + "a.txt") == (200, b"alpha")
        assert "--lan" in lines[2]
        assert "Ctrl-C" in lines[3]
        assert stop(process) == (0, "")


def test_the_banner_names_the_file_that_options_are_from(directory, tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("root = 'site'\nport = 0\nquiet = false")
    with aserve("--config", file) as process:
        lines = [process.stderr.readline() for _ in range(5)]
        assert f" serves {directory}\n" in lines[0]
        assert lines[3:] == [f"  config {file}\n", "  stop   Ctrl-C\n"]
        assert get(url_in(lines) + "a.txt") == (200, b"alpha")
        assert stop(process) == (0, "")


def test_the_banner_of_one_file_has_its_url(directory, tmp_path):
    film = tmp_path / "a film (1).mkv"
    film.write_bytes(b"film")
    with aserve(film, "--port", 0) as process:
        lines = banner(process)
        assert f" serves {film}\n" in lines[0]
        url = url_in(lines)
        assert url.endswith("/a%20film%20(1).mkv")
        assert get(url) == get(url.rpartition("/")[0]) == (200, b"film")
        assert stop(process) == (0, "")


def test_the_banner_of_several_counts_them(directory, large_file):
    named = (f"docs={directory / 'sub'}", f"movie={large_file}")
    with aserve(*named, f"={directory}", "--port", 0) as process:
        lines = banner(process)
        assert lines[0].endswith(f" serves {directory} and 2 more\n")
        assert get(url_in(lines) + "docs/") == (200, b"<h1>sub</h1>")
        assert get(url_in(lines) + "a.txt") == (200, b"alpha")


@pytest.mark.parametrize(
    ("options", "modes"),
    [
        ([], ""),
        (["--spa"], " (a single-page app)"),
        (["--spa", "--urls", "github"], " (a single-page app, URLs as on github)"),
    ],
)
def test_the_banner_names_what_is_special(directory, options, modes):
    with aserve(*options, directory, "--port", 0) as process:
        assert banner(process)[0].endswith(f" serves {directory}{modes}\n")


def test_the_banner_says_that_pages_reload(directory):
    with aserve(directory, "--port", 0, "--live") as process:
        assert banner(process)[3].startswith("  live   pages reload when a file changes")
        assert stop(process) == (0, "  stop   Ctrl-C\n")


@pytest.mark.parametrize(
    ("options", "line", "folder"),
    [
        (["--write"], "files may be changed everywhere", ""),
        (
            ["--write=/sub", "--write=add"],
            "files may be changed below /sub/; files may be added everywhere",
            "sub/",
        ),
    ],
)
def test_the_banner_says_what_can_be_written_to_and_how(directory, options, line, folder):
    with aserve(directory, "--port", 0, *options) as process:
        lines = [*banner(process), process.stderr.readline()]
        assert lines[3] == f"  write  {line}\n"
        assert lines[4] == f"         curl -T FILE {url_in(lines)}{folder}\n"


def test_the_banner_names_no_folder_that_takes_no_files(directory):
    with aserve(f"docs={directory}", "--port", 0, "--write") as process:
        *_, line = iter(process.stderr.readline, "  stop   Ctrl-C\n")
    assert line == "  write  files may be changed everywhere\n"


def test_a_server_that_others_can_write_to_says_so(directory):
    options = ("--write=/in", "--host", "0.0.0.0", "--port", 0)
    with aserve(directory, *options) as process:
        lines = banner(process)
    assert lines[:2] == [
        "aserve: --write: there is no folder /in/\n",
        "aserve: --write: everyone who can reach this server may change its files: no login\n",
    ]


def test_one_file_cannot_be_written_to(directory, monkeypatch, capsys):
    monkeypatch.chdir(directory)
    with pytest.raises(SystemExit) as exit_info:
        main(["a.txt", "--write"])
    assert exit_info.value.code == 2
    reason = "there is no directory to write to, only the file 'a.txt'"
    assert capsys.readouterr().err == f"aserve: error: --write: {reason}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_stops_the_server(directory, number, workers):
    with aserve(directory, "--port", 0, "--workers", workers) as process:
        assert get(url_in(banner(process)))[0] == 200
        assert stop(process, number) == (0, "")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_response_in_progress_is_completed_before_the_server_stops(
    directory, large_file, workers
):
    os.truncate(large_file, 1 << 30)
    with aserve(directory, "--port", 0, "--workers", workers) as process:
        where = url_in(banner(process))[7:-1].split(":")
        with socket.create_connection((where[0], int(where[1]))) as client:
            client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGTERM)
            wait_until_refused(where[0], int(where[1]))
            assert len(client.recv(1 << 20, socket.MSG_WAITALL)) == 1 << 20
            assert process.poll() is None
            assert stop(process)[0] == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_to_the_process_group_counts_once(directory, large_file, workers):
    os.truncate(large_file, 1 << 26)
    with aserve(directory, "--port", 0, "--workers", workers, start_new_session=True) as process:
        where = url_in(banner(process))[7:-1].split(":")
        with socket.create_connection((where[0], int(where[1]))) as client:
            client.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1_000, socket.MSG_PEEK)
            os.killpg(process.pid, signal.SIGTERM)
            received = sum(map(len, iter(lambda: client.recv(1 << 20), b"")))
        assert received > 1 << 26
        assert stop(process, 0) == (0, "")


def test_a_second_signal_stops_a_server_whose_log_pipe_is_full(directory):
    read_end, write_end = os.pipe()
    options = ("--port", 0, "--access-log", "-")
    with aserve(directory, *options, stdout=write_end) as process:
        os.close(write_end)
        where = url_in(banner(process))
        for _ in range(1_000):
            get(where + "a.txt?" + "x" * 200)
        process.send_signal(signal.SIGTERM)
        while signal.SIGTERM in _blocked_signals(process):  # until only the log is waited for
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    os.close(read_end)


def _blocked_signals(process):
    """Return the signals that the main thread of a process blocks: proc(5)."""
    with open(f"/proc/{process.pid}/status") as status:
        (line,) = [line for line in status if line.startswith("SigBlk:")]
    blocked = int(line.split()[1], 16)
    return {number for number in signal.Signals if blocked >> (number - 1) & 1}


def test_a_port_that_is_taken(directory, fail):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in (1, 2):
            result = fail(directory, "--port", port, "--workers", workers)
            assert result == (1, f"aserve: error: --port: {port} is taken on 127.0.0.1\n")


def test_the_next_free_port_is_in_the_banner(directory):
    with aserve(directory) as first:
        first_url = url_in(banner(first))
        with aserve(directory) as second:
            lines = banner(second)
            assert url_in(lines) != first_url
            assert "is taken" in lines[1]
            assert get(url_in(lines))[0] == 200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["missing"], "DIR"),
        (["x=missing"], "DIR"),
        (["index.html", "./index.html"], "DIR"),
        ([".", "--port", "x"], "--port"),
        ([".", "--port", "65536"], "--port"),
        ([".", "--port", "-1"], "--port"),
        ([".", "--workers", "0"], "--workers"),
        ([".", "--workers", "many"], "--workers"),
        ([".", "--access-log", "missing/log"], "--access-log"),
        ([".", "--live", "--workers", "2"], "--live"),
        ([".", "--live", "--model", "epoll"], "--live"),
        ([".", "--allow-connect", "host"], "--allow-connect"),
        ([".", "--allow-connect", "host:http"], "--allow-connect"),
        ([".", "--allow-connect", "[.]:80"], "--allow-connect"),
        ([".", "--charset", ""], "--charset"),
        ([".", "--charset", "a b"], "--charset"),
        ([".", "--type", "srt"], "--type"),
        ([".", "--type", "srt=plain"], "--type"),
        ([".", "--type", "srt=text/plain\r\nX: y"], "--type"),
        ([".", "--allow-connect", "[1.2.3.4]:80"], "--allow-connect"),
        ([".", "--allow-connect", "host:٨٠"], "--allow-connect"),
        ([".", "--allow-connect", "host:" + "9" * 5_000], "--allow-connect"),
        ([".", "--limit", "max-header-size"], "--limit"),
        ([".", "--limit", "max-header-size=many"], "--limit"),
        ([".", "--limit", "nothing=1"], "--limit"),
        ([".", "--limit", "backlog=99999999999"], "--limit"),
        ([".", "--limit", "max-header-size=" + "1" * 5_000], "--limit"),
        ([".", "--workers", "1" * 5_000], "--workers"),
        ([".", "--nonsense"], "--nonsense"),
        (["9000"], "--port 9000"),
        ([""], "empty"),
        (["--quiet", "off"], "a flag takes no value"),
        ([".", "--access-log", "OFF"], "use 'off'"),
        ([".", "--access-log", " off"], "use 'off'"),
        ([".", "--access-log", ""], "must not be empty"),
        ([".", "--limit", "Keepalive_Timeout=3"], "but there is 'keepalive-timeout'"),
        ([".", "--model", "epoll", "--threads", "4"], "--threads"),
        ([".", "--model", "blocking", "--threads", "4"], "--threads"),
        ([".", "--dispatch", "queue"], "--dispatch"),
        ([".", "--model", "epoll", "--dispatch", "random"], "--dispatch"),
        ([".", "--model", "reactor", "--response-cache", "off"], "--response-cache"),
        ([".", "--archive", "rar"], "--archive: must be one of zip, tar, tar.gz, tar.zst"),
        ([".", "--archive", ""], "--archive"),
        ([".", "--write=in"], "--write: must be a path such as /in, add, or add:/in, not 'in'"),
        ([".", "--write", "--min-free", "lots"], "--min-free: must be a size such as 256M, or 0"),
        ([".", "--write", "--quota", "0"], "--quota: must be at least 1"),
        ([".", "--no-fsync"], "--no-fsync: has no effect where nothing can be written to"),
        ([".", "--archive-max-bytes", "0"], "--archive-max-bytes: must be at least 1"),
        ([".", "--archive-max-bytes", "lots"], "such as 500 or 20G, or 'unlimited'"),
        ([".", "--archive-max-files", "-1"], "--archive-max-files"),
        ([".", "--response-cache", "on"], "'off'"),
        ([".", "--response-cache", ""], "--response-cache"),
        ([".", "--response-cache", "M"], "--response-cache"),
        ([".", "--response-cache", "1.5G"], "--response-cache"),
        ([".", "--response-cache", "64MB"], "--response-cache"),
        ([".", "--response-cache", "64K"], "at least 1M"),
        (["explain"], "DIR"),
        (["explain", "."], "PATH"),
        ([".", "another"], "'another'"),
    ],
)
def test_a_bad_parameter_is_one_line(directory, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(directory)
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    stdout, stderr = capsys.readouterr()
    assert (exit_info.value.code, stdout) == (2, "")
    assert stderr.startswith("aserve: error: ")
    assert stderr.count("\n") == 1
    assert expected in stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("off", 0),
        ("2097152", 2 << 20),
        ("2048K", 2 << 20),
        ("2M", 2 << 20),
        ("2G", 2 << 30),
    ],
)
def test_the_size_of_the_response_cache(directory, text, size):
    settings = Settings(directory, response_cache=parse_size(text))
    assert settings.response_cache == size
    if size:
        cache = AsyncioWorker(settings, [], None)._create_cache(ChangeMonitor(), KeyedOn())
        assert cache._max_bytes == size
        cache.close()


def test_settings_of_writing(directory):
    given = {"write": ["/", "add:/in"], "max_upload": "2G", "quota": "unlimited", "min_free": "0"}
    settings = read_settings([str(directory)], {**given, "fsync": True, "on_conflict": "rename"})
    assert settings.write_areas == (((), "all"), ((b"in",), "add"))
    assert (settings.max_upload, settings.quota, settings.min_free) == (2 << 30, UNLIMITED, 0)
    assert (settings.fsync, settings.on_conflict) == (False, "rename")
    assert not read_settings([str(directory)], {}).write_areas


def test_limits_of_archives(directory):
    given = {"archive": "tar,zip", "archive_max_bytes": "2G", "archive_max_files": "unlimited"}
    settings = read_settings([str(directory)], given)
    assert settings.archive == ("tar", "zip")
    assert settings.archive_max_bytes == 2 << 30
    assert settings.archive_max_files == UNLIMITED
    assert read_settings([str(directory)], {"archive": "off"}).archive == ()


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("[::1]", "without brackets"),
        ("[::1]:8000", "without a port"),
        ("http://[::1]:8000/", "without brackets"),
        ("http://localhost", "alone"),
        ("http://localhost/", "alone"),
        ("localhost:8000", "--port"),
        ("127.0.0.1:80", "--port"),
    ],
)
def test_a_host_written_as_a_url(directory, fail, host, hint):
    code, stderr = fail(directory, "--host", host)
    assert code == 1
    assert stderr.startswith("aserve: error: --host: ")
    assert hint in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--open", "--open: no browser opens a Unix socket"),
        ("--port-file=port", "--port-file: a Unix socket has no port"),
        ("--port=1", "--port: is for addresses: a Unix socket has no ports"),
    ],
)
def test_what_a_unix_socket_has_no_use_for(directory, fail, option, reason):
    code, stderr = fail(directory, option, "--host", f"unix:{directory}/a.sock")
    assert (code, stderr) == (2, f"aserve: error: {reason}\n")
    assert not (directory / "a.sock").exists()


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1", "a..b", "x" * 70])
def test_a_host_that_is_not_available(directory, fail, host):
    code, stderr = fail(directory, "--host", host)
    assert code == 1
    assert stderr.startswith("aserve: error: --host: ")
    assert stderr.count("\n") == 1


def test_the_access_log_is_complete_when_it_stops(directory, tmp_path):
    log = tmp_path / "access.log"
    with aserve(directory, "--port", 0, "--access-log", log) as process:
        where = url_in(banner(process))
        for _ in range(20):
            get(where + "a.txt")
        with pytest.raises(urllib.error.HTTPError):
            get(where + "none%22%0A")
        stop(process)
    lines = log.read_text().splitlines()
    assert [LINE.fullmatch(line).group(1, 2, 3) for line in lines[:20]] == [
        ("/a.txt", "200", "5")
    ] * 20
    assert LINE.fullmatch(lines[20]).group(1, 2) == ("/none%22%0A", "404")
    assert len(lines) == 21


def test_the_access_log_on_standard_output(directory):
    with aserve(directory, "--port", 0, "--quiet", "--access-log", "-", "--workers", 2) as process:
        port = _port_of(process)
        get(f"http://127.0.0.1:{port}/a.txt")
        assert LINE.fullmatch(process.stdout.readline().rstrip("\n"))
        assert stop(process) == (0, "")


def _port_of(process):
    """Return the port that a server without a banner listens on, from /proc."""
    while process.poll() is None:
        inodes = set()
        for descriptor in os.listdir(f"/proc/{process.pid}/fd"):
            with suppress(FileNotFoundError):
                inodes.add(os.readlink(f"/proc/{process.pid}/fd/{descriptor}"))
        with open("/proc/net/tcp") as table:
            for row in table.readlines()[1:]:
                columns = row.split()
                if columns[3] == "0A" and f"socket:[{columns[9]}]" in inodes:
                    return int(columns[1].split(":")[1], 16)
        time.sleep(0.005)
    raise AssertionError(process.stderr.read())


def test_a_terminal_shows_each_request_with_control_characters_escaped(directory):
    terminal, process_side = pty.openpty()
    with aserve(directory, "--port", 0, stdout=process_side) as process:
        os.close(process_side)
        where = url_in(banner(process))
        get(where + "a.txt")
        host, port = where[7:-1].split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /\x1b[31m\x07 HTTP/1.1\r\n\r\n")
            client.recv(1_000)
        stop(process)
        screen = os.read(terminal, 10_000).decode()
        os.close(terminal)
    first, second = screen.replace("\x1b[32m", "").replace("\x1b[0m", "").split("\r\n")[:2]
    assert re.match(r"\d\d:\d\d:\d\d +127\.0\.0\.1 +GET +/a\.txt +200 +5 B +\d+\.\d ms$", first)
    assert "\\x1b[31m\\x07" in second
    assert "\x07" not in screen


def test_on_a_terminal_a_foreign_host_is_told_which_option_allows_it(directory):
    terminal, process_side = pty.openpty()
    with aserve(directory, "--port", 0, stdout=process_side) as process:
        os.close(process_side)
        url = f"{url_in(banner(process))}a.txt"
        assert get(url) == (200, b"alpha")
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(urllib.request.Request(url, headers={"Host": "evil.test"}))
        assert caught.value.code == 421
        assert b"--allowed-hosts NAME" in caught.value.read()
        stop(process)
    os.close(terminal)


def test_rules_of_a_site(directory):
    (directory / "_redirects").write_text("/old /a.txt\n/bad\n")
    with aserve("--port", 0, directory) as process:
        line = process.stderr.readline()
        assert line.startswith("aserve: _redirects:2: the path or URL that it leads to is missing")
        assert get(f"{url_in(banner(process))}old") == (200, b"alpha")
    with aserve("--port", 0, "--strict-rules", directory) as process:
        assert process.wait() == 2
        assert process.stderr.readline().startswith("aserve: error: --strict-rules: _redirects:2: ")


def test_options_for_urls_and_error_pages(directory):
    (directory / "page.html").write_text("page")
    (directory / "home.html").write_text("home")
    options = ("--spa", "--index", "home.html, index.html", "--urls", "netlify")
    pages = ("--error-page", "404=none.html", "--error-page", "5xx=page.html")
    with aserve("--port", 0, *options, *pages, directory) as process:
        assert process.stderr.readline() == (
            "aserve: --error-page: there is no file 'none.html' to be sent\n"
        )
        url = url_in(banner(process))
        assert get(url) == (200, b"home")
        assert get(f"{url}page/") == (200, b"page")  # it follows the redirect
        navigation = urllib.request.Request(f"{url}route", headers={"Accept": "text/html"})
        assert get(navigation) == (200, b"<h1>home</h1>")
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(f"{url}route.js")
        assert caught.value.code == 404
        caught.value.close()


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_options_for_types_charset_and_slashes(directory, model):
    for name in ("a.md", "a.foo", "a.xml"):
        (directory / name).write_text("x")
    options = ("--charset", "iso-8859-1", "--type", "foo=text/foo", "--type", ".MD=text/plain")
    options += ("--decode-slashes",)
    with aserve(directory, "--port", 0, "--model", model, *options) as process:
        where = url_in(banner(process))
        sent = {}
        for name in ("a.txt", "a.md", "a.foo", "a.xml"):
            with urllib.request.urlopen(where + name, timeout=60) as response:
                sent[name] = response.headers["Content-Type"]
        assert get(where + "sub%2Findex.html")[0] == 200
        stop(process)
    assert sent == {
        "a.txt": "text/plain; charset=iso-8859-1",
        "a.md": "text/plain; charset=iso-8859-1",
        "a.foo": "text/foo; charset=iso-8859-1",
        "a.xml": "application/xml",
    }


REQUEST_START = b"GET /a.txt HTTP/1.1\r\nReferer: http://y/\r\nUser-Agent: me\xff\r\n"
REJECTED = {
    "400": REQUEST_START + b"bad name: x\r\n\r\n",
    "431": REQUEST_START + b"".join([b"X: y\r\n"] * 200),
    "408": REQUEST_START + b"X",
}


@pytest.mark.parametrize(
    "model",
    slow_except(
        [name for name, info in MODELS.items() if not info.unavailable_reason()], DEFAULT, "epoll"
    ),
)
def test_a_rejected_request_is_logged_with_what_had_arrived(directory, tmp_path, model):
    log = tmp_path / "access.log"
    options = ("--model", model, "--access-log", log, "--limit", "header-timeout=1")
    with aserve(directory, "--port", 0, *options) as process:
        host, port = url_in(banner(process))[7:-1].split(":")
        for status, data in REJECTED.items():
            with socket.create_connection((host, int(port)), 30) as client:
                client.sendall(data)
                assert client.recv(12) == f"HTTP/1.1 {status}".encode()
                while client.recv(65_536):  # otherwise it is logged as closed by the client
                    pass
        stop(process)
    lines = log.read_text().splitlines()
    assert [line.split('"', 1)[1].split(" ")[3] for line in lines] == list(REJECTED)
    for line in lines:
        assert '"GET /a.txt HTTP/1.1" ' in line
        assert line.endswith(r'"http://y/" "me\xff"')


def test_quiet_prints_nothing(directory):
    with aserve(directory, "--port", 0, "--quiet") as process:
        get(f"http://127.0.0.1:{_port_of(process)}/a.txt")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == ("", "")


def _two_workers(process):
    """Return the process ids of both, of which one may start after the other serves."""
    while len(pids := _children(process)) < 2:
        time.sleep(0.001)
    return pids


def _children(process):
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
        return [int(pid) for pid in children.read().split()]


def test_a_worker_that_dies_is_replaced(directory):
    with aserve(directory, "--port", 0, "--workers", 2) as process:
        where = url_in(banner(process))
        get(where)
        killed, _ = _two_workers(process)
        os.kill(killed, signal.SIGKILL)
        line = process.stderr.readline()
        assert f"worker {killed} ended with SIGKILL" in line
        for _ in range(20):
            assert get(where + "a.txt") == (200, b"alpha")
        assert stop(process) == (0, "")


def test_workers_do_not_outlive_their_supervisor(directory):
    with aserve(directory, "--port", 0, "--workers", 2) as process:
        banner(process)
        workers = [os.pidfd_open(pid) for pid in _two_workers(process)]
        process.kill()
        for worker in workers:
            with open(worker):  # readable when the process has ended
                assert _ended(worker)


def _ended(pidfd):
    import select  # noqa: PLC0415 - here alone

    return select.select([pidfd], [], [], 30)[0] == [pidfd]


@pytest.mark.parametrize("option", ["--help", slow("-h"), slow("--version")])
def test_help_and_version(option):
    completed = subprocess.run(
        [sys.executable, "-m", "aserve", option], capture_output=True, text=True, check=True
    )
    assert "aserve" in completed.stdout
    assert completed.stderr == ""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_without_a_log_file_a_reopen_signal_changes_nothing(directory, workers, number):
    options = ("--workers", workers)
    with aserve(directory, "--port", 0, *options, start_new_session=True) as process:
        where = url_in(banner(process))
        process.send_signal(number)
        assert get(where + "a.txt") == (200, b"alpha")
        assert stop(process) == (0, "")


@pytest.mark.parametrize("word", ["none", "no", "false", "stdout", "stderr", "None", ""])
def test_a_log_name_that_is_hardly_a_file_is_rejected_with_a_hint(
    directory, word, capsys, monkeypatch
):
    monkeypatch.chdir(directory)
    with pytest.raises(SystemExit) as exit_info:
        main([".", "--access-log", word])
    stderr = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert re.fullmatch(r"aserve: error: --access-log: .*\b(use|for)\b.*\n", stderr)


def test_access_log_off_prints_nothing_on_a_terminal(directory):
    terminal, process_side = pty.openpty()
    with aserve(directory, "--port", 0, "--access-log", "off", stdout=process_side) as process:
        os.close(process_side)
        get(url_in(banner(process)) + "a.txt")
        stop(process)
    with suppress(OSError):  # EIO: nothing was written, and the process side is closed
        assert os.read(terminal, 1_000) == b""
    os.close(terminal)
    assert not os.path.exists("off")


def test_a_fifo_that_nobody_reads_is_one_line(directory, fail, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    code, stderr = fail(directory, "--access-log", tmp_path / "fifo")
    assert code == 2
    assert "without a reader" in stderr
    assert stderr.count("\n") == 1


def test_a_link_local_address_without_its_interface(directory, fail):
    code, stderr = fail(directory, "--host", "fe80::1")
    assert code == 1
    assert re.fullmatch(r"aserve: error: --host: .*fe80::1%.*\n", stderr)


def test_a_port_that_only_root_may_have(directory, monkeypatch, capsys):
    class Unprivileged(socket.socket):
        def bind(self, address):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(listeners.socket, "socket", Unprivileged)
    with pytest.raises(SystemExit) as exit_info:
        main([str(directory), "--port", "80"])
    assert exit_info.value.code == 1
    assert re.fullmatch(r"aserve: error: --port: 80: .*above 1023.*\n", capsys.readouterr().err)
