"""Start another server on the test files, with comparable settings, and stop it again."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.checks import PROBE
from tests.conformance.client import Address
from tests.conformance.reader import Malformed, Reader
from tests.conformance.site import FILES

_TYPES = {
    "html": "text/html",
    "txt": "text/plain",
    "css": "text/css",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "gz": "application/gzip",
}


class ServerUnavailable(Exception):
    """The server is not installed or does not start."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to run one server.

    config: (root, working directory, port) -> configuration. command: (program, configuration
    file, working directory, port) -> command line.
    """

    program: str
    package: str
    version: tuple[str, ...]
    config: Callable[[Path, Path, int], str]
    command: Callable[[str, Path, Path, int], list[str]]


def _nginx(root: Path, work_dir: Path, port: int) -> str:
    types = "".join(f"{media_type} {suffix};" for suffix, media_type in _TYPES.items())
    temp_paths = "".join(
        f"{kind}_temp_path {work_dir}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off; master_process off; worker_processes 1; pid {work_dir}/pid; error_log {work_dir}/errors;
events {{}}
http {{
    types {{ {types} }} default_type application/octet-stream; access_log off; {temp_paths}
    gzip_static on; gzip_vary on; etag on; server_tokens off;
    server {{ listen 127.0.0.1:{port}; root {root}; index index.html; }}
}}"""


def _lighttpd(root: Path, work_dir: Path, port: int) -> str:
    types = ", ".join(f'".{suffix}" => "{media_type}"' for suffix, media_type in _TYPES.items())
    return f"""
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{work_dir}/errors"
server.tag = "lighttpd"
index-file.names = ("index.html")
static-file.etags = "enable"
mimetype.assign = ({types}, "" => "application/octet-stream")
"""


def _h2o(root: Path, work_dir: Path, port: int) -> str:
    return f"""
num-threads: 1
error-log: {work_dir}/errors
server-name: h2o
listen: {{host: 127.0.0.1, port: {port}}}
hosts:
  default:
    paths:
      "/":
        file.dir: {root}
        file.index: ["index.html"]
        file.etag: ON
        file.send-compressed: ON
        file.mime.addtypes: {{"text/javascript": ".js", "application/gzip": ".gz"}}
"""


def _caddy(root: Path, work_dir: Path, port: int) -> str:
    return f"""
{{
    admin off
    auto_https off
    log {{
        output file {work_dir}/errors
    }}
}}
:{port} {{
    bind 127.0.0.1
    root * {root}
    file_server {{
        precompressed zstd br gzip
    }}
}}
"""


SERVERS: Mapping[str, Server] = {
    "nginx": Server(
        "nginx",
        "nginx",
        ("-v",),
        _nginx,
        lambda program, config, work_dir, _: [program, "-p", str(work_dir), "-c", str(config)],
    ),
    "lighttpd": Server(
        "lighttpd",
        "lighttpd",
        ("-v",),
        _lighttpd,
        lambda program, config, *_: [program, "-D", "-f", str(config)],
    ),
    "h2o": Server(
        "h2o",
        "h2o",
        ("--version",),
        _h2o,
        lambda program, config, *_: [program, "-m", "worker", "-c", str(config)],
    ),
    "caddy": Server(
        "caddy",
        "caddy",
        ("version",),
        _caddy,
        lambda program, config, *_: [
            program,
            "run",
            "--config",
            str(config),
            "--adapter",
            "caddyfile",
        ],
    ),
    "aserve": Server(
        sys.executable,
        "aserve",
        ("-m", "aserve", "--version"),
        lambda root, *_: str(root),
        lambda program, config, _, port: [
            program,
            "-m",
            "aserve",
            "--quiet",
            "--port",
            str(port),
            config.read_text(),
        ],
    ),
}


def program(name: str) -> str:
    """Return the path of a server's program; raises ServerUnavailable if it is not installed."""
    server = SERVERS[name]
    path = shutil.which(server.program, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
    if path := path or shutil.which(server.program):
        return path
    raise ServerUnavailable(f"{name} is not installed: apt-get install {server.package}")


def version(name: str) -> str:
    """Return a server's version line."""
    command = [program(name), *SERVERS[name].version]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return (done.stdout + done.stderr).strip().splitlines()[0]


@contextmanager
def running(name: str, root: Path) -> Iterator[Address]:
    """Run a server on a free port of the loopback interface, within a with block."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        work_dir, server = Path(directory), SERVERS[name]
        address = Address("127.0.0.1", _free_port())
        config = work_dir / "config"
        config.write_text(server.config(root, work_dir, address.port))
        command = server.command(program(name), config, work_dir, address.port)
        environment = {
            "HOME": directory,
            "PATH": "/usr/bin:/bin",
            "XDG_DATA_HOME": directory,
            "XDG_CONFIG_HOME": directory,
        }
        with (work_dir / "output").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            _wait_ready(name, process, address, work_dir)
            yield address
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait_ready(
    name: str, process: subprocess.Popen[bytes], address: Address, work_dir: Path
) -> None:
    """Wait until our files are served there, and not another server's on the same port."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, Malformed), socket.create_connection(address, 2) as sock:
            sock.sendall(PROBE)
            response = Reader(lambda: sock.recv(65_536)).read_response("GET")
            if response and response.body == FILES["probe.txt"]:
                return
        time.sleep(0.05)
    output = (work_dir / "output").read_text(errors="replace").strip()
    raise ServerUnavailable(f"{name} does not serve the files: {output[-500:]}")
