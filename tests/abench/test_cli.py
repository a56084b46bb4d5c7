"""The program `abench` as a user runs it."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import stat

import pytest


async def test_run_prints_a_report_and_exits_with_0(serve, abench):
    server = await serve()
    ran = await abench("-c", "4", "-n", "300", "-w", "2", server.url)
    assert ran.code == 0
    assert ran.err == ""
    for expected in ("pages/sec", "pages/min", "B/sec", "succeeded", "0 failed", "200 x", "p99.9"):
        assert expected in ran.out
    assert "\x1b" not in ran.out
    assert " \n" not in ran.out


async def test_json_document_agrees_with_the_server(serve, abench, ok_response):
    server = await serve()
    ran = await abench("-c", "5", "-n", "1001", "-w", "3", "--json", "-", server.url)
    assert ran.code == 0
    document = ran.json
    assert document["schema"] == 2
    assert document["requests"] == {
        "total": 1001,
        "succeeded": 1001,
        "failed": 0,
        "unfinished": 0,
        "retried": 0,
        "redirects_followed": 0,
        "error_share": 0.0,
    }
    assert document["failures"] == dict.fromkeys(
        ("connect", "tls", "timeout", "reset", "stale", "protocol", "status", "body"), 0
    )
    assert document["status"] == {"200": 1001}
    assert document["connections"] == document["connections_standing"] == 5
    assert document["workers"] == 3
    assert document["bytes_received"] == 1001 * len(ok_response)
    assert document["pages_per_sec"] == pytest.approx(1001 / document["duration_s"])
    assert document["pages_per_min"] == pytest.approx(60 * document["pages_per_sec"])
    latency = document["latency"]["service"]
    assert latency.pop("unit") == "us"
    mean, _ = latency.pop("mean"), latency.pop("stdev")
    assert list(latency) == ["min", "p50", "p75", "p90", "p95", "p99", "p99.9", "max"]
    assert list(latency.values()) == sorted(latency.values())
    assert latency["min"] <= mean <= latency["max"]
    assert len(server.requests) == 1001


async def test_more_connections_than_requests_finish(serve, abench):
    server = await serve()
    ran = await abench("-c", "10", "-n", "3", "--json", "-", server.url)
    assert (ran.code, ran.json["requests"]["succeeded"]) == (0, 3)
    assert len(server.requests) == 3


async def test_a_thousand_connections_are_open_at_once(serve, start_abench, ok_response):
    enough = asyncio.Event()

    def script(peer):
        if peer.request_count == 1:
            peer.send(ok_response)
        elif len(server.requests) == 2000:
            enough.set()

    server = await serve(script)
    process = await start_abench("-c", "1000", "-t", "60", "-w", "3", "--json", "-", server.url)
    await enough.wait()  # each connection has had a response, and its next request is in flight
    process.send_signal(signal.SIGINT)
    document = json.loads((await process.communicate())[0])
    # One more: abench probes the server before the start. That connection may be closed by then.
    assert server.connections == 1001
    assert server.peak in (1000, 1001)
    assert document["connections_standing"] == 1000
    assert document["requests"]["succeeded"] == document["requests"]["unfinished"] == 1000


async def test_json_file_is_written_beside_the_text(serve, abench, tmp_path):
    server = await serve()
    path = tmp_path / "result.json"
    path.write_text("old")
    ran = await abench("-n", "5", "--json", str(path), server.url)
    assert "pages/sec" in ran.out
    assert json.loads(path.read_text())["requests"]["total"] == 5
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
    assert list(tmp_path.iterdir()) == [path]


async def test_ipv6(serve, abench):
    try:
        server = await serve(host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    ran = await abench("-n", "3", "--json", "-", f"http://[::1]:{server.port}/")
    assert (ran.code, ran.json["requests"]["succeeded"]) == (0, 3)
    assert f"Host: [::1]:{server.port}".encode() in server.requests[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "URL"),
        (("ftp://127.0.0.1/",), "URL: "),
        (("calibrat",), "calibrate?"),
        (("http://",), "URL: "),
        (("-c", "0", "http://127.0.0.1/"), "--connections: "),
        (("-c", "many", "http://127.0.0.1/"), "--connections"),
        (("-t", "0", "http://127.0.0.1/"), "--time: "),
        (("-t", "nan", "http://127.0.0.1/"), "--time: "),
        (("-w", "0", "http://127.0.0.1/"), "--workers: "),
        (("--timeout", "-1", "http://127.0.0.1/"), "--timeout: "),
        (("--json", "/nowhere/at/all.json", "http://127.0.0.1/"), "--json: "),
        (("--json", "/", "http://127.0.0.1/"), "--json: "),
        (("--frobnicate", "http://127.0.0.1/"), "--frobnicate"),
        (("http://127.0.0.1/", "http://127.0.0.2/"), "http://127.0.0.2/"),
        (("-c",), "-c"),
    ],
)
def test_bad_parameter_is_named_in_one_line(refused, arguments, named):
    ran = refused(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("abench: error: ")
    assert ran.err.count("\n") == 1
    assert named in ran.err


async def test_refused_port_is_named_in_one_line(abench, closed_port):
    ran = await abench(f"http://127.0.0.1:{closed_port}/")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err == f"abench: error: cannot reach 127.0.0.1:{closed_port}: connection refused\n"


async def test_unresolved_name_is_one_line(abench):
    ran = await abench("http://does-not-exist.invalid/")
    assert ran.code == 1
    assert ran.err.startswith("abench: error: cannot reach does-not-exist.invalid:80: ")
    assert ran.err.count("\n") == 1


@pytest.fixture
async def certificate(tmp_path):
    """Return a file with a self-signed certificate for 127.0.0.1 and its key."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    path = tmp_path / "both.pem"
    process = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext"),
        *("subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(tmp_path / "cert.pem")),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    with path.open("a") as both:
        both.write((tmp_path / "cert.pem").read_text())
    return path


async def test_tls_is_verified(serve, abench, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await serve(ssl=context)
    url = f"https://127.0.0.1:{server.port}/"

    ran = await abench("-n", "3", url)
    assert ran.code == 1
    assert ran.err.startswith(f"abench: error: cannot reach 127.0.0.1:{server.port}: ")
    assert "self-signed certificate" in ran.err
    assert ran.err.count("\n") == 1

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    ran = await abench("-n", "30", "--json", "-", url)
    assert (ran.code, ran.json["requests"]["succeeded"]) == (0, 30)


async def test_only_failures_exit_with_1(serve, abench):
    server = await serve(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    ran = await abench("-n", "7", "--json", "-", server.url)
    assert ran.code == 1
    assert ran.json["failures"]["status"] == 7
    assert ran.json["status"] == {"500": 7}
    assert ran.json["pages_per_sec"] == 0
    assert ran.json["latency"]["service"]["p99"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_the_run_with_a_report(serve, start_abench, number):
    requested = asyncio.Event()

    def script(peer):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        requested.set()

    server = await serve(script)
    process = await start_abench("-t", "60", "-w", "1", "--json", "-", server.url)
    await requested.wait()  # the worker sends on all of its connections at once
    process.send_signal(number)
    out, _ = await process.communicate()
    assert process.returncode == 128 + number
    document = json.loads(out)
    assert document["stopped_by_signal"] == number
    succeeded, unfinished = (document["requests"][each] for each in ("succeeded", "unfinished"))
    assert unfinished == 10
    assert succeeded <= len(server.requests) <= succeeded + unfinished


async def test_second_signal_ends_immediately(serve, start_abench):
    requested = asyncio.Event()
    server = await serve(lambda _: requested.set())
    process = await start_abench("-t", "60", "-w", "1", "-c", "1", server.url)
    await requested.wait()
    os.kill(
        _child_of(process.pid), signal.SIGSTOP
    )  # it cannot report, so one signal would wait for it
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


async def test_dead_worker_is_reported_and_others_are_counted(serve, start_abench, ok_response):
    killed = False

    def script(peer):
        nonlocal killed
        peer.send(ok_response)
        if len(server.requests) > 200 and not killed:  # of 1,000 for each worker
            killed = True
            os.kill(_child_of(process.pid), signal.SIGKILL)

    server = await serve(script)
    process = await start_abench("-n", "2000", "-w", "2", "-c", "4", "--json", "-", server.url)
    out, err = await process.communicate()
    assert process.returncode == 3
    document = json.loads(out)
    assert (document["workers"], document["workers_lost"]) == (2, 1)
    assert 1000 <= document["requests"]["succeeded"] < 2000
    assert b"1 worker of 2 died" in err


def _child_of(pid: int) -> int:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return int(children.read().split()[0])


@pytest.fixture
def on_terminal(abench_server, monkeypatch):
    """Start abench with its standard error on a terminal."""
    started = []

    def start(stderr, *arguments):
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "80")
        program = {"module": "abench", "arguments": arguments}
        started.append(abench_server.start_blocking(program, stderr=stderr))
        os.close(stderr)
        return started[-1]

    yield start
    for process in started:
        process.close()


async def test_terminal_shows_progress(serve, on_terminal):
    server = await serve()
    ours, theirs = os.openpty()
    process = on_terminal(theirs, "-c", "2", "-t", "70s", server.url)
    screen = b""
    while not (b"pages/sec" in screen and b"1 min 10 s" in screen and server.requests):
        screen += await asyncio.to_thread(os.read, ours, 65536)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the end of a terminal on Linux
        while await asyncio.to_thread(os.read, ours, 65536):
            pass
    os.close(ours)
    out, _ = await asyncio.to_thread(process.communicate)
    assert process.returncode == 128 + signal.SIGINT
    assert "pages/min" in out


async def test_quiet_shows_no_progress_on_a_terminal(serve, on_terminal):
    server = await serve()
    ours, theirs = os.openpty()
    process = on_terminal(theirs, "-n", "5", "--quiet", server.url)
    await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    with pytest.raises(OSError, match="Input/output error"):  # the end of a terminal on Linux
        os.read(ours, 65536)
    os.close(ours)


async def test_help_and_version(abench):
    for option in ("-h", "--help"):
        ran = await abench(option)
        assert ran.code == 0
        for name in ("--connections", "--time", "--requests", "--workers", "--json", "Exit codes"):
            assert name in ran.out
    ran = await abench("--version")
    assert ran.code == 0
    assert ran.out.startswith("abench ")
