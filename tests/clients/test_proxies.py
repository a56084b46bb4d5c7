"""nginx, Caddy, HAProxy and Apache in front, as docs/proxies.md has them configured.

Each client has an address of 127.0.0.0/8 and sends the headers of a proxy itself.
"""

import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.aserve.tls.issuing import client_context, issue
from tests.clients.running import TIMEOUT_S, RunningServer, program, serving

pytestmark = pytest.mark.slow  # it needs other programs

PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
CLIENT, DENIED = "127.0.0.3", "127.0.0.4"
LIES = {
    "X-Forwarded-For": "9.9.9.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "lie.test",
    "Forwarded": 'for=9.9.9.9;proto=https;host=lie.test, for="',
}


HOP_BY_HOP = {"Connection": "close, X-Forwarded-For, X-Forwarded-Host, Forwarded"}
"""A proxy drops what a client names so (RFC 9110 section 7.6.1), but not what it has added."""


class Proxy(NamedTuple):
    """A program. wrap: returns a whole configuration; command: runs it in a directory."""

    wrap: Callable[[str, Path, int], str]
    command: Callable[[Path, Path], list[str | Path]]


def _nginx(part: str, folder: Path, port: int) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    pair = folder / "pair.crt", folder / "pair.secret"
    tls = f"ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]};"
    listen = f"listen 127.0.0.1:{port}" + (f" ssl; {tls}" if pair[0].exists() else ";")
    return f"""
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{}}
http {{ access_log off; {paths} server {{ {listen} {part} }} }}"""


def _caddy(part: str, _folder: Path, port: int) -> str:
    site = part.replace("example.org", f"http://:{port}", 1)
    return "{\n\tadmin off\n\tauto_https off\n}\n" + site.replace("{", "{\n\tbind 127.0.0.1", 1)


def _haproxy(part: str, _folder: Path, port: int) -> str:
    timeouts = "\n".join(f"    timeout {one} 60s" for one in ("connect", "client", "server"))
    bound = re.sub(r"bind .*", f"bind 127.0.0.1:{port}", part)
    return f"defaults\n{timeouts}\n\n{bound}"


def _apache(part: str, folder: Path, port: int) -> str:
    modules = ("mpm_event", "authz_core", "headers", "proxy", "proxy_http")
    loaded = "\n".join(
        f"LoadModule {one}_module /usr/lib/apache2/modules/mod_{one}.so" for one in modules
    )
    return f"""
ServerRoot {folder}
ServerName localhost
DefaultRuntimeDir {folder}
PidFile {folder}/pid
ErrorLog {folder}/errors
Listen 127.0.0.1:{port}
{loaded}
{part}"""


PROXIES = {
    "nginx": Proxy(_nginx, lambda file, folder: ["nginx", "-p", folder, "-c", file]),
    "caddy": Proxy(
        _caddy, lambda file, _: ["caddy", "run", "--config", file, "--adapter", "caddyfile"]
    ),
    "haproxy": Proxy(_haproxy, lambda file, _: ["haproxy", "-db", "-f", file]),
    "apache2": Proxy(_apache, lambda file, _: ["apache2", "-D", "FOREGROUND", "-f", file]),
}
LANGUAGES = {"caddy": "caddyfile", "apache2": "apache"}


def configuration(name: str) -> str:
    """Return the configuration of a program as the page shows it."""
    language = LANGUAGES.get(name, name)
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"the page has no configuration of {name}"
    return found[1]


@contextmanager
def in_front(name: str, address: str, folder: Path) -> Iterator[int]:
    """Run a proxy in front of a server until the block ends; the value is its port."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy, file = PROXIES[name], folder / "configuration"
    part = configuration(name).replace("127.0.0.1:8000", address)
    file.write_text(proxy.wrap(part, folder, port))
    command = proxy.command(file, folder)
    command[0] = program(str(command[0]))
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/bin:/bin"}
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        _wait_until_it_listens(process, port, folder / "output")
        yield port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT_S)
        process.kill()
        process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    while process.poll() is None:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    pytest.fail(output.read_text(errors="replace"))


Ask = Callable[..., tuple[int, dict[str, str]]]


class Behind(NamedTuple):
    """A server behind a proxy. ask: returns the status and the headers of a response."""

    server: RunningServer
    log: Path
    ask: Ask

    def clients(self) -> list[str]:
        """Stop the server, and return the client of each line of its log."""
        self.server.stop()
        return [line.split()[0] for line in self.log.read_text().splitlines()]


def _ask(port: int, client: str = CLIENT, **headers: str) -> tuple[int, dict[str, str]]:
    return _response(HTTPConnection("127.0.0.1", port, TIMEOUT_S, (client, 0)), headers)


def _response(connection: HTTPConnection, headers: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", "/index.html", headers={"Host": "a.test", **named})
        response = connection.getresponse()
        response.read()
        return response.status, dict(response.headers)
    finally:
        connection.close()


OPTIONS = ("--proxy-trust", "127.0.0.1", "--deny", DENIED, "--hsts", "60")


@pytest.fixture(params=PROXIES)
def behind(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Iterator[Behind]:
    program(request.param)
    log = tmp_path / "log"
    with (
        serving(root, log, *OPTIONS, "--allowed-hosts", "a.test") as server,
        in_front(request.param, server.address, tmp_path / "proxy") as port,
    ):
        yield Behind(server, log, partial(_ask, port))


def test_each_client_is_known_and_none_can_pretend_to_be_another(behind: Behind) -> None:
    for _ in range(4):  # the last ones from the cache
        assert behind.ask()[0] == 200
        status, headers = behind.ask(**LIES)
        assert status == 200  # neither 421 nor 400
        assert "Strict-Transport-Security" not in headers  # neither came by TLS
        assert behind.ask("127.0.0.5", **LIES)[0] == 200
        assert behind.ask("127.0.0.6", **LIES, **HOP_BY_HOP)[0] == 200
        assert behind.ask(DENIED, **HOP_BY_HOP)[0] == 403
        assert behind.ask(DENIED)[0] == 403
        assert behind.ask(DENIED, **LIES)[0] == 403
        assert behind.ask(Host="lie.test")[0] == 421
    asked = [CLIENT, CLIENT, "127.0.0.5", "127.0.0.6", DENIED, DENIED, DENIED, CLIENT]
    assert behind.clients() == asked * 4


def test_clients_behind_two_proxies_are_known(root: Path, tmp_path: Path) -> None:
    program("nginx")
    log = tmp_path / "log"
    with (
        serving(root, log, *OPTIONS) as server,
        in_front("nginx", server.address, tmp_path / "inner") as inner,
        in_front("nginx", f"127.0.0.1:{inner}", tmp_path / "outer") as port,
    ):
        behind = Behind(server, log, partial(_ask, port))
        for _ in range(4):
            assert behind.ask(**LIES)[0] == 200
            assert behind.ask(DENIED, **LIES)[0] == 403
        assert behind.clients() == [CLIENT, DENIED] * 4


def test_a_client_that_came_by_tls_is_told_to_keep_to_it(root: Path, tmp_path: Path) -> None:
    program("nginx")
    folder = tmp_path / "proxy"
    folder.mkdir()
    issue(folder, "pair")
    with (
        serving(root, tmp_path / "log", *OPTIONS) as server,
        in_front("nginx", server.address, folder) as port,
    ):
        for _ in range(4):
            context = client_context()
            connection = HTTPSConnection("localhost", port, timeout=TIMEOUT_S, context=context)
            status, headers = _response(connection, {"X_Forwarded_Proto": "http"})
            assert status == 200
            assert headers["Strict-Transport-Security"] == "max-age=60"


def test_the_page_has_a_configuration_for_each() -> None:
    for name in PROXIES:
        assert "127.0.0.1:8000" in configuration(name)
