"""Measure aserve beside C servers: the same files, one core each, interleaved rounds, medians.

python -m benchmarks.compare [--rounds N] [--seconds S]

The figure is processor time of the server's process for each request: it says what a request
costs, whatever else limits the rate. Quote the ratios; absolute figures drift from day to day.
"""

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, LOAD_CORE = "0", "1"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

_NGINX = """
daemon off; master_process off; worker_processes 1; pid {own}/pid; error_log {own}/errors;
events {{ worker_connections 20000; }}
http {{
    access_log off; sendfile {sendfile}; tcp_nopush {sendfile}; keepalive_requests 100000000;
    open_file_cache max=20000; open_file_cache_valid 60s;
    types {{ text/html html; text/plain txt; }} default_type application/octet-stream;
    {temporary}
    server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}
}}"""
_TEMPORARY = " ".join(
    f"{kind}_temp_path {{own}}/{kind};"
    for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
_LIGHTTPD = """
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{own}/errors"
server.max-keep-alive-requests = 100000000
server.max-connections = 15000
server.max-fds = 16384
server.listen-backlog = 4096
mimetype.assign = (".html" => "text/html", ".txt" => "text/plain", "" => "application/octet-stream")
"""
_H2O = """
num-threads: 1
error-log: {own}/errors
max-connections: 20000
listen: {{ host: 127.0.0.1, port: {port} }}
hosts: {{ default: {{ paths: {{ "/": {{ file.dir: {root} }} }} }} }}
"""

Command = Callable[[Path, Path, int], list[str]]


def _configured(program: str, text: str, *words: str, **values: str) -> Command:
    def command(root: Path, own: Path, port: int) -> list[str]:
        places = {"root": root, "own": own, "port": port}
        temporary = _TEMPORARY.format(**places)
        config = own / "config"
        config.write_text(text.format(**places, **values, temporary=temporary))
        return [shutil.which(program) or f"/usr/sbin/{program}", *words, str(config)]

    return command


SERVERS: dict[str, Command] = {
    "aserve": lambda root, _own, port: [
        sys.executable, "-m", "aserve", str(root), "--port", str(port), "--quiet",
    ],
    "nginx (read)": _configured("nginx", _NGINX, "-c", sendfile="off"),
    "nginx (sendfile)": _configured("nginx", _NGINX, "-c", sendfile="on"),
    "lighttpd": _configured("lighttpd", _LIGHTTPD, "-D", "-f"),
    "h2o": _configured("h2o", _H2O, "-c"),
}  # fmt: skip

_BROWSER = """
local n = 0
request = function()
  n = n + 1
  local head = "GET /1k.txt HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: keep-alive\\r\\n"
    .. 'sec-ch-ua: "Chromium";v="156", "Not A Brand";v="24"\\r\\nsec-ch-ua-mobile: ?0\\r\\n'
    .. 'sec-ch-ua-platform: "Linux"\\r\\nUpgrade-Insecure-Requests: 1\\r\\n'
    .. "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\\r\\n"
    .. "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\\r\\n"
    .. "Sec-Fetch-Site: none\\r\\nSec-Fetch-Mode: navigate\\r\\nSec-Fetch-Dest: document\\r\\n"
    .. "Accept-Encoding: gzip, deflate, br, zstd\\r\\nAccept-Language: en-US,en;q=0.9\\r\\n"
  return head .. "Cookie: session=" .. n .. "\\r\\n\\r\\n"
end
"""
_RANDOM = """
math.randomseed(os.time())
request = function()
  return "GET /many/" .. math.random(0, 4999) .. ".txt HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n"
end
"""


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of load: connections, target, and what wrk is to do besides."""

    connections: int
    target: str = "/1k.txt"
    script: str = ""
    words: tuple[str, ...] = ()


WORKS = {
    "1 KB, 64 connections": Work(64),
    "1 KB, 1,000 connections": Work(1_000),
    "1 KB, browser heads that never repeat": Work(64, script=_BROWSER),
    "5,000 files of 1 KB at random": Work(64, script=_RANDOM),
    "100 KB": Work(16, "/100k.bin"),
    "1 MB": Work(16, "/1m.bin"),
    "304": Work(64, words=("-H", "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT")),
    "one range": Work(64, words=("-H", "Range: bytes=100-199")),
}


def make_site(root: Path) -> None:
    """Write the files that are asked for, old enough to be remembered."""
    (root / "many").mkdir()
    sizes = {"1k.txt": 1_024, "100k.bin": 102_400, "1m.bin": 1 << 20}
    sizes |= {f"many/{number}.txt": 1_024 for number in range(5_000)}
    for name, size in sizes.items():
        (root / name).write_bytes(os.urandom(size // 2).hex().encode())
        os.utime(root / name, (1_700_000_000, 1_700_000_000))


@contextmanager
def running(command: Command, root: Path) -> Iterator[tuple[int, int]]:
    """Run a server on one core until the block ends; yield its pid and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as own:
        words = command(root, Path(own), port)
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until_it_listens(process, port)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when a connection is accepted; raise when the server has ended."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} ended with {process.returncode}")


def check_payloads(name: str, port: int, root: Path) -> None:
    """Raise where a server does not send the octets of the files: an error page is cheap."""
    for work in WORKS.values():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{work.target}") as reply:
            if reply.read() != (root / work.target[1:]).read_bytes():
                raise SystemExit(f"{name} does not send {work.target} as it is")


def processor_seconds(pid: int) -> float:
    """Return what a process has used so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def load(work: Work, port: int, seconds: int, scripts: Path) -> tuple[int, float]:
    """Load a server with wrk; return requests done and requests a second."""
    words = list(work.words)
    if work.script:
        script = scripts / f"{abs(hash(work.script))}.lua"
        script.write_text(work.script)
        words += ["-s", str(script)]
    url = f"http://127.0.0.1:{port}{work.target}"
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{work.connections}"]
    done = subprocess.run(
        [*command, f"-d{seconds}s", *words, url], check=True, capture_output=True, text=True
    ).stdout
    if "Socket errors" in done or "Non-2xx" in done:
        raise SystemExit(f"this is no measurement of {url}:\n{done}")
    requests = re.search(r"(\d+) requests in", done)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", done)
    return int(requests[1]), float(rate[1])


def measure(rounds: int, seconds: int, names: list[str]) -> dict[str, dict[str, list[float]]]:
    """Return microseconds a request, for each work and server, one for each round."""
    found: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # a server that gives up root's rights must still read the site
        root = folder / "site"
        root.mkdir()
        make_site(root)
        servers = {name: stack.enter_context(running(SERVERS[name], root)) for name in names}
        for name, (_, port) in servers.items():
            check_payloads(name, port, root)
        for title, work in WORKS.items():
            found[title] = {name: [] for name in servers}
            for _, port in servers.values():
                load(work, port, 1, folder)  # warm
            for _ in range(rounds):
                for name, (pid, port) in servers.items():
                    before = processor_seconds(pid)
                    requests, _ = load(work, port, seconds, folder)
                    used = processor_seconds(pid) - before
                    found[title][name].append(used / requests * 1e6)
            print(row(title, found[title]), flush=True)
    return found


def row(title: str, figures: dict[str, list[float]]) -> str:
    """Return one line of the table: medians, and aserve against the cheapest of the others."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    others = [value for name, value in medians.items() if name != "aserve"]
    ratio = f"{medians['aserve'] / min(others):.2f}" if others and "aserve" in medians else "-"
    cells = " | ".join(f"{medians[name]:.1f}" for name in medians)
    return f"| {title} | {cells} | {ratio} |"


def main() -> None:
    """Measure and print a Markdown table; write the figures to benchmarks/results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    names = [name for name in SERVERS if shutil.which(name.split()[0]) or name == "aserve"]
    print(f"| microseconds a request | {' | '.join(names)} | aserve / cheapest |")
    print("|---" * (len(names) + 2) + "|", flush=True)
    found = measure(options.rounds, options.seconds, names)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"
    document = {"machine": machine, "python": platform.python_version(), "us_per_request": found}
    (results / "compare.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
