"""The load generators: each is one row of TOOLS, its command line and how its report is read."""

import http.client
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import NoMeasurement, end
from benchmarks.products import where
from benchmarks.servers import LOAD_CORE
from benchmarks.site import MB
from benchmarks.tls.connect import client_context
from benchmarks.tls.material import client_environment

SCRIPTS = Path(__file__).parent / "wrk"
HOST = "127.0.0.1"
_TIMEOUT_S = 60
"""Seconds that a load may take; the longest are a fraction of that."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is requested, on how many connections, and the expected status.

    script, arguments: what wrk runs to make each request; abench gets only the arguments, as words
    of its command line. checked: targets whose responses are
    compared with the files first, if a script asks for more than the target. closing: one
    connection for each request. number: after how many requests ab ends, if not after a time.
    scheme: https for a server that speaks TLS.
    """

    connections: int
    target: str = "/1k.txt"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    script: str = "report.lua"
    arguments: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    closing: bool = False
    number: int = 0
    scheme: str = "http"

    def url(self, port: int | str) -> str:
        """Return the URL of the target on a port."""
        return f"{self.scheme}://{HOST}:{port}{self.target}"


class Counted(NamedTuple):
    """What a load generator has counted: responses, seconds, bytes received, 99th percentile.

    max_ms: the longest time to a response; 0 where a tool's report is not read for it.
    failed: requests without a good response, where that does not throw the load out.
    """

    replies: int
    seconds: float
    received: int
    p99_ms: float
    max_ms: float = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Tool:
    """A load generator: its command line for an Ask, a URL and seconds, and its report's reader.

    Each loads with one thread or process, and measures the time of each request.
    """

    words: Callable[[Ask, str, int], list[str]]
    read: Callable[[str], Counted]


def _wrk(ask: Ask, url: str, seconds: int) -> list[str]:
    fields = [word for name, value in ask.headers.items() for word in ("-H", f"{name}: {value}")]
    usual = ["wrk", "-t1", f"-c{ask.connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    fields += ["-H", "Connection: close"] * ask.closing
    return [*usual, *fields, "-s", ask.script, url, "--", *ask.arguments]


def read_wrk(report: str) -> Counted:
    """Read the line that report.lua has written."""
    counted = json.loads(report.strip().rpartition("\n")[2])
    _refuse_errors(counted["errors"])
    figures = ("requests", "seconds", "received", "p99_ms", "max_ms")
    return Counted(*(counted[name] for name in figures))


_FAILURES = {
    "connect": "{:,} connections were refused",
    "read": "{:,} connections were closed or reset before a response",
    "write": "{:,} connections failed while a request was sent",
    "timeout": "{:,} requests timed out",
    "status": "{:,} responses had an error status",
}


def count_failures_of_wrk(report: str) -> Counted:
    """Read the same line, and count failures: wrk's requests are those with an error status, too.

    Raises NoMeasurement, with what failed, if no response was good.
    """
    counted = json.loads(report.strip().rpartition("\n")[2])
    errors = counted["errors"]
    if not (good := counted["requests"] - errors["status"]):
        failed = [_FAILURES[kind].format(number) for kind, number in errors.items() if number]
        raise NoMeasurement(f"no page came: {', '.join(failed) or 'no response at all'}")
    seconds, received, p99_ms = counted["seconds"], counted["received"], counted["p99_ms"]
    return Counted(good, seconds, received, p99_ms, failed=sum(errors.values()))


def _abench(ask: Ask, url: str, seconds: int) -> list[str]:
    usual = ["python", "-m", "abench", "-w", "1", "-c", str(ask.connections), "-t", str(seconds)]
    usual += ["--no-keepalive"] * ask.closing + ["--insecure"] * (ask.scheme == "https")
    return [*usual, *ask.arguments, "--quiet", "--json", "-", url]


def read_abench(report: str) -> Counted:
    """Read the JSON report of abench."""
    told = json.loads(report)
    _refuse_errors(told["failures"])
    return Counted(
        told["requests"]["succeeded"],
        told["duration_s"],
        told["bytes_received"],
        told["latency"]["service"]["p99"] / 1e3,
    )


def _ab(ask: Ask, url: str, seconds: int) -> list[str]:
    # -t sets -n to 50,000, so that -n comes after it. Without -k: a connection for each request.
    usual = ["ab", "-q", *["-k"] * (not ask.closing), "-c", str(ask.connections)]
    if ask.number:
        return [*usual, "-n", str(ask.number), url]
    return [*usual, "-t", str(seconds), "-n", "100000000", url]


def _numbers_of(report: str) -> Callable[..., float]:
    """Return what finds the number behind a pattern at the beginning of a line."""

    def number(pattern: str, otherwise: str = "") -> float:
        found = re.search(rf"^\s*{pattern}", report, re.MULTILINE)
        return float(found[1] if found else otherwise)

    return number


def read_ab(report: str) -> Counted:
    """Read the text that ab prints; its percentiles are whole milliseconds."""
    number = _numbers_of(report)
    failed = number(r"Failed requests: +(\d+)")
    _refuse_errors({"failed": failed, "status": number(r"Non-2xx responses: +(\d+)", "0")})
    return Counted(
        int(number(r"Complete requests: +(\d+)")),
        number(r"Time taken for tests: +([\d.]+)"),
        int(number(r"Total transferred: +(\d+)")),
        number(r"99% +(\d+)"),
    )


def _h2load(ask: Ask, url: str, seconds: int) -> list[str]:
    return ["h2load", "--h1", "-t1", "-c", str(ask.connections), "-D", str(seconds), url]


def read_h2load(report: str) -> Counted:
    """Read the text that h2load prints; it has no percentiles."""
    number = _numbers_of(report)
    bad = {kind: number(rf"requests: .* (\d+) {kind}") for kind in ("failed", "errored", "timeout")}
    done = number(r"requests: .* (\d+) succeeded")
    _refuse_errors(bad | {"status": done - number(r"status codes: (\d+) 2xx")})
    seconds = done / number(r"finished in .*, ([\d.]+) req/s")
    return Counted(int(done), seconds, int(number(r"traffic: \S+ \((\d+)\)")), 0)


def _hey(ask: Ask, url: str, seconds: int) -> list[str]:
    usual = ["hey", "-cpus", "1", "-z", f"{seconds}s", "-c", str(ask.connections)]
    return [*usual, *["-disable-keepalive"] * ask.closing, url]


def read_hey(report: str) -> Counted:
    """Read the text that hey prints; the bytes are those of bodies."""
    number = _numbers_of(report)
    seconds = number(r"Total:\s+([\d.]+) secs")
    replies = number(r"\[200\]\s+(\d+) responses")
    _refuse_errors({"status": len(re.findall(r"^\s+\[\d+\]\s", report, re.MULTILINE)) - 1})
    p99_ms = number(r"99% in ([\d.]+) secs") * 1e3
    return Counted(int(replies), seconds, int(number(r"Total data:\s+(\d+) bytes")), p99_ms)


def _connecting(*more: str) -> Callable[[Ask, str, int], list[str]]:
    first = ("python", "-m", "benchmarks.tls.connect")
    return lambda _ask, url, seconds: [*first, url, str(seconds), *more]


TOOLS = {
    "wrk": Tool(_wrk, read_wrk),
    "abench": Tool(_abench, read_abench),
    "ab": Tool(_ab, read_ab),
    "h2load": Tool(_h2load, read_h2load),
    "hey": Tool(_hey, read_hey),
    "connect": Tool(_connecting(), read_wrk),
    "resume": Tool(_connecting("--resume"), read_wrk),
}


def _refuse_errors(errors: Mapping[str, float]) -> None:
    if any(errors.values()):
        told = ", ".join(f"{number:.0f} {kind}" for kind, number in errors.items() if number)
        raise NoMeasurement(f"errors: {told}")


def load(tool: str, ask: Ask, port: int, seconds: int, cores: str = LOAD_CORE) -> Counted:
    """Load a server; raise NoMeasurement if a response failed or none came."""
    with loading(tool, ask, port, seconds, cores) as process:
        return finished(tool, process)


@contextmanager
def loading(
    tool: str, ask: Ask, port: int, seconds: int, cores: str = LOAD_CORE
) -> Iterator[subprocess.Popen[str]]:
    """Load a server until the load ends by itself; the block's end ends it before its time."""
    first, *others = TOOLS[tool].words(ask, ask.url(port), seconds)
    process = subprocess.Popen(
        ["taskset", "-c", cores, where(first) or first, *others],
        cwd=SCRIPTS,
        env=client_environment() if ask.scheme == "https" else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                end(process)


def finished(
    tool: str, process: subprocess.Popen[str], read: Callable[[str], Counted] | None = None
) -> Counted:
    """Wait for a load to end; raise NoMeasurement if a response failed or none came.

    read: reads its report otherwise than usual.
    """
    try:
        report, said = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise NoMeasurement(f"{tool} did not end within {_TIMEOUT_S} s") from error
    if process.returncode:
        raise NoMeasurement(f"{tool} failed: {(said or report).strip()[-200:]}")
    try:
        counted = (read or TOOLS[tool].read)(report)
    except (ValueError, KeyError) as error:
        raise NoMeasurement(f"the report of {tool} cannot be read: {error}") from error
    if not counted.replies:
        raise NoMeasurement("no response came")
    return counted


def whole_replies(counted: Counted, body: int) -> float:
    """Return how many responses were sent, for a body of so many bytes.

    Large ones are counted by bytes: what was cut off in the middle at the end has cost the server
    just as much.
    """
    return counted.received / body if body >= MB else counted.replies


def check(ask: Ask, port: int, root: Path) -> None:
    """Raise NoMeasurement unless a server's response is the expected one: error pages are cheap."""
    for target in ask.checked or (ask.target,):
        status, body = fetch(port, target, ask.headers, ask.scheme)
        if status != ask.status:
            raise NoMeasurement(f"it answers {target} with {status} instead of {ask.status}")
        if body != due(ask, (root / target[1:]).read_bytes()):
            raise NoMeasurement(f"it does not send the bytes of {target}")


def fetch(
    port: int, target: str, headers: Mapping[str, str], scheme: str = "http"
) -> tuple[int, bytes]:
    """Return the status and the body of one response."""
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    if scheme == "https":
        context = client_context()
        connection = http.client.HTTPSConnection(HOST, port, timeout=20, context=context)
    try:
        connection.request("GET", target, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoMeasurement(f"{target}: {error!r}") from error
    finally:
        connection.close()


def due(ask: Ask, content: bytes) -> bytes:
    """Return the expected body for a file's content."""
    if ask.status == 304:
        return b""
    if ask.status == 206:
        first, last = ask.headers["Range"].removeprefix("bytes=").split("-")
        return content[int(first) : int(last) + 1]
    return content
