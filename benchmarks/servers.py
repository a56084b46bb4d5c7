"""The servers that are measured: each, and each of its configurations, is one row of SERVERS."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from benchmarks.processes import DESCRIPTORS, NoMeasurement, end
from benchmarks.products import BROTLI_MODULE, NEWEST, PYTHONS, interpreter, where
from benchmarks.tls.material import material

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"
SERVER_CORE, LOAD_CORE, BOTH = "0", "1", "0,1"
_TIMEOUT_S = 20.0
"""Seconds until a server has to accept its first connection."""


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


def _on_loop(loop: str) -> Server:
    serve = f"-m benchmarks.loops.serve {loop} {{root}} --port {{port}} --quiet"
    product, python = (
        ("uringcore", interpreter(NEWEST)) if loop == "uringcore" else (loop, "python")
    )
    return Server(f"on {loop}", product if loop != "asyncio" else "python", f"{python} {serve}")


def _on_python(release: str) -> Server:
    command = f"{interpreter(release)} -m aserve {{root}} --port {{port}} --quiet"
    return Server(f"on CPython {release}", f"CPython {release}", command)


def _nginx(name: str, product: str = "nginx", **values: str) -> Server:
    usual = {
        "sendfile": "off",
        "files": "max=60000",
        "log": "off",
        "master": "off",
        "workers": "1",
        "listing": "off",
        "writing": "",
        "compression": "",
        "modules": "",
        "connections": str(DESCRIPTORS),
        "ssl": "",
        "certificate": "",
    }
    return Server(name, product, "nginx -c {config}", "nginx.conf", usual | values)


def _gzip(level: int) -> str:
    return f"gzip on; gzip_comp_level {level}; gzip_min_length 256; gzip_types *;"


def _lighttpd(name: str, listing: str = "disable", compression: str = "") -> Server:
    connections = str(DESCRIPTORS // 2)
    values = {"connections": connections, "listing": listing, "compression": compression}
    # It keeps half of its descriptors for files, and needs some for busy connections.
    holds = DESCRIPTORS // 2 - 200
    product = "lighttpd deflate" if compression else "lighttpd"
    return Server(name, product, "lighttpd -D -f {config}", "lighttpd.conf", values, holds)


def _caddy(name: str, listing: str = "", compression: str = "", tls: str = "") -> Server:
    # The directories that it would create in the user's home.
    home = "env XDG_DATA_HOME={own} XDG_CONFIG_HOME={own}"
    command = f"{home} caddy run --config {{config}} --adapter caddyfile"
    secure = "s" * bool(tls)
    values = {"listing": listing, "compression": compression, "secure": secure, "tls": tls}
    return Server(name, "caddy", command, "Caddyfile", values)


def _h2o(name: str, compression: str = "OFF", ssl: str = "") -> Server:
    values = {"compression": compression, "ssl": ssl}
    return Server(name, "h2o", "h2o -c {config}", "h2o.conf", values)


def _nginx_tls(name: str, product: str = "nginx", more: str = "", **values: str) -> Server:
    certificate = (
        f"ssl_protocols TLSv1.3; ssl_certificate $cert; ssl_certificate_key $key; {more}".rstrip()
    )
    return _nginx(name, product, ssl="ssl", certificate=certificate, **values)


_BROTLI = "brotli on; brotli_comp_level 5; brotli_min_length 256; brotli_types *;"
_DEFLATE = (
    'server.modules += ("mod_deflate") '
    'deflate.mimetypes = ("text/", "application/", "image/svg+xml") '
    'deflate.allowed-encodings = ("br", "gzip") deflate.cache-dir = "$own/deflate"'
)
_DAV = "dav_methods PUT DELETE; client_max_body_size 0;"

LOG = "access.log"
"""The name of an access log in a server's own directory."""

_ROWS = (
    _aserve("aserve"),
    _aserve("aserve uncached", "--response-cache off"),
    _aserve("aserve log", f"--access-log {{own}}/{LOG}"),
    _aserve("aserve 2 workers", "--workers 2"),
    _aserve("aserve uncached 2 workers", "--response-cache off --workers 2"),
    _aserve("aserve siblings"),
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
    _nginx("nginx gzip 1", compression=_gzip(1)),
    _nginx("nginx gzip 4", compression=_gzip(4)),
    _nginx("nginx gzip 6", compression=_gzip(6)),
    _nginx("nginx siblings", compression="gzip_static on;"),
    _nginx(
        "nginx brotli", "nginx brotli", modules=f"load_module {BROTLI_MODULE};", compression=_BROTLI
    ),
    _nginx("nginx uncached", files="off"),
    _nginx("nginx sendfile uncached", sendfile="on", files="off"),
    _nginx("nginx 2 workers", master="on", workers="2"),
    _nginx("nginx uncached 2 workers", files="off", master="on", workers="2"),
    _aserve("aserve tls", "--cert {cert} --key {key}"),
    _nginx_tls("nginx tls"),
    _nginx_tls("nginx tls sendfile", sendfile="on"),
    _nginx_tls("nginx ktls", "nginx ktls", "ssl_conf_command Options KTLS;", sendfile="on"),
    *(_on_loop(name) for name in ("uvloop", "asyncio", "rloop", "uringcore")),
    *map(_on_python, PYTHONS),
    _lighttpd("lighttpd"),
    _lighttpd("lighttpd listing", listing="enable"),
    _lighttpd("lighttpd deflate", compression=_DEFLATE),
    _h2o("h2o"),
    _h2o("h2o compress", "[ gzip, br ]"),
    _h2o("h2o tls", ssl=", ssl: { certificate-file: $cert, key-file: $key }"),
    _caddy("caddy"),
    _caddy("caddy listing", listing="browse"),
    _caddy("caddy encode", compression="encode zstd gzip"),
    _caddy("caddy tls", tls="tls $cert $key"),
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

LOOPS = ("on uvloop", "on asyncio", "on rloop", "on uringcore")
VERSIONS = tuple(f"on CPython {release}" for release in PYTHONS)

SIBLINGS = ("aserve siblings", "nginx siblings")
"""Those that serve files which were compressed ahead of time."""


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
    if _speaks_tls(server):
        made = material()
        places |= {"cert": str(made.certificate), "key": str(made.key)}
    if server.config:
        text = Template((CONFIGS / server.config).read_text())
        values = {name: Template(value).substitute(places) for name, value in server.values.items()}
        (own / "config").write_text(text.substitute(places | values))
    first, *others = (word.format(**places) for word in server.command.split())
    return [where(first) or first, *others]


def _speaks_tls(server: Server) -> bool:
    return "{cert}" in server.command or any("$cert" in value for value in server.values.values())


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
