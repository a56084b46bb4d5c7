"""The servers that are measured: each, and each of its configurations, is one row of SERVERS."""

import functools
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from string import Template

from benchmarks.processes import DESCRIPTORS, NoMeasurement, end

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"
SERVER_CORE, LOAD_CORE, BOTH = "0", "1", "0,1"
_TIMEOUT_S = 20.0
"""Seconds until a server has to accept its first connection."""


@dataclass(frozen=True, slots=True)
class Product:
    """A program that may be missing: its version or None, and how to install it."""

    version: Callable[[], str | None]
    install: str


def debian(program: str, flag: str, package: str = "") -> Product:
    """Return a Debian program, which prints its version when called with a flag."""
    return _program(program, flag, f"sudo apt-get install {package or program}")


def rust(program: str) -> Product:
    """Return a program of crates.io that Debian does not have; building it takes minutes."""
    return _program(program, "--version", f"cargo install --locked {program}")


def _program(program: str, flag: str, install: str) -> Product:
    def told() -> str | None:
        if (path := where(program)) is None:
            return None
        said = subprocess.run([path, flag], capture_output=True, text=True, check=False)
        found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
        return found[0] if found else "of unknown version"

    return Product(told, install)


def python(package: str) -> Product:
    """Return a Python package of the group `compare`."""

    def told() -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return Product(told, "python -m pip install --group compare")


def where(program: str) -> str | None:
    """Return the path of a program, which may be in a directory for root only, or cargo's."""
    if program == "python":
        return sys.executable
    others = (f"/usr/sbin/{program}", Path.home() / ".cargo" / "bin" / program)
    return next(filter(None, map(shutil.which, (program, *others))), None)


PRODUCTS = {
    "aserve": Product(lambda: version("aserve-http"), "make run"),
    "python": Product(lambda: sys.version.split()[0], ""),
    "nginx": debian("nginx", "-v"),
    "lighttpd": debian("lighttpd", "-v"),
    "h2o": debian("h2o", "--version"),
    "caddy": debian("caddy", "version"),
    "dufs": rust("dufs"),
    "miniserve": rust("miniserve"),
    "granian": python("granian"),
    "starlette": python("starlette"),
    "uvicorn": python("uvicorn"),
    "aiohttp": python("aiohttp"),
    "uvloop": python("uvloop"),
    "wrk": debian("wrk", "-v"),
    "ab": debian("ab", "-V", "apache2-utils"),
    "h2load": debian("h2load", "--version", "nghttp2-client"),
    "hey": Product(
        lambda: "of unknown version" if where("hey") else None, "sudo apt-get install hey"
    ),
}


@dataclass(frozen=True, slots=True)
class Server:
    """One way to run one product.

    command: the command line; {root}, {port}, {own} (a directory for what it writes) and {config}
    are filled in. config: a file in configs/, whose $names are replaced by those and by values.
    holds: connections at once, where that is less than the descriptors allow.
    """

    name: str
    product: str
    command: str
    config: str = ""
    values: dict[str, str] = field(default_factory=dict)
    holds: int = DESCRIPTORS


def _aserve(name: str, words: str = "") -> Server:
    command = f"python -m aserve {{root}} --port {{port}} --quiet {words}".rstrip()
    return Server(name, "aserve", command)


def _nginx(name: str, **values: str) -> Server:
    usual = {
        "sendfile": "off",
        "files": "max=60000",
        "log": "off",
        "master": "off",
        "workers": "1",
        "listing": "off",
        "writing": "",
    }
    return Server(name, "nginx", "nginx -c {config}", "nginx.conf", usual | values)


def _lighttpd(name: str, listing: str = "disable") -> Server:
    values = {"connections": str(DESCRIPTORS // 2), "listing": listing}
    # It keeps half of its descriptors for files, and needs some for busy connections.
    holds = DESCRIPTORS // 2 - 200
    return Server(name, "lighttpd", "lighttpd -D -f {config}", "lighttpd.conf", values, holds)


def _caddy(name: str, listing: str = "") -> Server:
    # The directories that it would create in the user's home.
    home = "env XDG_DATA_HOME={own} XDG_CONFIG_HOME={own}"
    command = f"{home} caddy run --config {{config}} --adapter caddyfile"
    return Server(name, "caddy", command, "Caddyfile", {"listing": listing})


_DAV = "dav_methods PUT DELETE; client_max_body_size 0;"

LOG = "access.log"
"""The name of an access log in a server's own directory."""

_ROWS = (
    _aserve("aserve"),
    _aserve("aserve uncached", "--response-cache off"),
    _aserve("aserve log", f"--access-log {{own}}/{LOG}"),
    _aserve("aserve 2 workers", "--workers 2"),
    _aserve("aserve uncached 2 workers", "--response-cache off --workers 2"),
    _aserve("aserve writing", "--write"),
    _aserve("aserve writing no fsync", "--write --no-fsync"),
    Server("floor", "uvloop", "python -m benchmarks.floor {root} {port}"),
    _nginx("nginx"),
    _nginx("nginx sendfile", sendfile="on"),
    _nginx("nginx log", log=f"$own/{LOG} combined"),
    _nginx("nginx sendfile log", sendfile="on", log=f"$own/{LOG} combined"),
    _nginx("nginx buffered log", log=f"$own/{LOG} combined buffer=64k flush=1s"),
    _nginx("nginx listing", listing="on"),
    _nginx("nginx writing", writing=_DAV),
    _nginx("nginx uncached", files="off"),
    _nginx("nginx sendfile uncached", sendfile="on", files="off"),
    _nginx("nginx 2 workers", master="on", workers="2"),
    _nginx("nginx uncached 2 workers", files="off", master="on", workers="2"),
    _lighttpd("lighttpd"),
    _lighttpd("lighttpd listing", listing="enable"),
    Server("h2o", "h2o", "h2o -c {config}", "h2o.conf"),
    _caddy("caddy"),
    _caddy("caddy listing", listing="browse"),
    Server("dufs", "dufs", "dufs --bind 127.0.0.1 --port {port} {root}"),
    Server("dufs writing", "dufs", "dufs --bind 127.0.0.1 --port {port} --allow-upload {root}"),
    Server("miniserve", "miniserve", "miniserve --interfaces 127.0.0.1 --port {port} {root}"),
    Server(
        "granian",
        "granian",
        "python -m granian --interface asginl --host 127.0.0.1 --port {port} --backlog 4096 "
        "--no-ws --static-path-route= --static-path-mount {root} benchmarks.apps:nothing",
    ),
    Server("starlette", "starlette", "python -m benchmarks.apps starlette {root} {port}"),
    Server("aiohttp", "aiohttp", "python -m benchmarks.apps aiohttp {root} {port}"),
    Server(
        "http.server",
        "python",
        "python -m http.server --bind 127.0.0.1 --protocol HTTP/1.1 --directory {root} {port}",
    ),
)
SERVERS = {row.name: row for row in _ROWS}


@dataclass(frozen=True, slots=True)
class Running:
    """A running server: its first process, its port, and its log file if it has one."""

    server: Server
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        """Return the pid of the first process."""
        return self.process.pid


@contextmanager
def launched(server: Server, root: Path, cores: str = SERVER_CORE) -> Iterator[Running]:
    """Run a server on some cores until the block ends; it may not listen yet."""
    with tempfile.TemporaryDirectory(prefix="compare-") as own:
        Path(own).chmod(0o755)
        port = free_port()
        words = command(server, root, Path(own), port)
        # In a session of its own: Ctrl-C is for this process, which ends the server afterwards.
        process = subprocess.Popen(
            ["taskset", "-c", cores, *words],
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield Running(server, process, port, Path(own) / LOG)
        finally:
            end(process)


@contextmanager
def running(server: Server, root: Path, cores: str = SERVER_CORE) -> Iterator[Running]:
    """Run a server on some cores until the block ends; it accepts connections."""
    with launched(server, root, cores) as one:
        wait_until_it_listens(one)
        yield one


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(server: Server, root: Path, own: Path, port: int) -> list[str]:
    """Write a server's configuration, and return the words that start it."""
    places = {"root": str(root), "own": str(own), "port": str(port), "config": str(own / "config")}
    places["descriptors"] = str(DESCRIPTORS)
    if server.config:
        text = Template((CONFIGS / server.config).read_text())
        values = {name: Template(value).substitute(places) for name, value in server.values.items()}
        (own / "config").write_text(text.substitute(places | values))
    first, *others = (word.format(**places) for word in server.command.split())
    return [where(first) or first, *others]


def wait_until_it_listens(one: Running) -> None:
    """Return when a connection is accepted; raise NoMeasurement when that will not come."""
    end_of_patience = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < end_of_patience:
        if one.process.poll() is not None:
            raise NoMeasurement(f"it ended with {one.process.returncode} instead of listening")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", one.port)) == 0:
                return
        time.sleep(0.002)
    raise NoMeasurement(f"it did not listen within {_TIMEOUT_S:.0f} s")


@functools.cache
def versions() -> dict[str, str]:
    """Return the version of each product that is installed."""
    return {name: told for name, one in PRODUCTS.items() if (told := one.version())}
