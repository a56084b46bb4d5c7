"""curl: what people use to check how a server speaks HTTP."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import ENCODERS, LARGE, TEXT
from tests.clients.running import RunningServer, program, run, skip_missing

pytestmark = pytest.mark.slow  # it needs another program

Curl = Callable[..., dict[str, Any]]


@pytest.fixture
def curl(tmp_path: Path) -> Curl:
    """Return a function that runs curl in a new directory and returns its report."""
    path = program("curl")

    def transfer(*arguments: object) -> dict[str, Any]:
        completed = run(
            *(path, "-q", "-sS", "-m", "20", "-w", "%{stderr}%{json}\n"),
            *map(str, arguments),
            cwd=tmp_path,
        )
        *messages, report = completed.stderr.splitlines()
        return json.loads(report) | {"output": completed.stdout, "messages": messages}

    return transfer


def test_download(curl: Curl, server: RunningServer, tmp_path: Path) -> None:
    report = curl("-OR", f"{server.url}large.bin")
    assert report["http_code"] == 200
    assert (tmp_path / "large.bin").read_bytes() == LARGE


@pytest.mark.parametrize("size", [0, 1, 65_537, len(LARGE) - 1])
def test_resume(curl: Curl, server: RunningServer, tmp_path: Path, size: int) -> None:
    (tmp_path / "large.bin").write_bytes(LARGE[:size])
    report = curl("-C", "-", "-O", f"{server.url}large.bin")
    assert report["http_code"] == (206 if size else 200)
    assert report["size_download"] == len(LARGE) - size
    assert (tmp_path / "large.bin").read_bytes() == LARGE


def test_resume_of_a_complete_file(curl: Curl, server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(LARGE)
    report = curl("-C", "-", "-O", f"{server.url}large.bin")
    assert report["http_code"] == 416
    assert report["exitcode"] == 0
    assert (tmp_path / "large.bin").read_bytes() == LARGE


def test_etag(curl: Curl, server: RunningServer, tmp_path: Path) -> None:
    etag = ("--etag-save", "etag", "--etag-compare", "etag")
    (tmp_path / "etag").touch()
    assert curl(*etag, "-O", f"{server.url}large.bin")["http_code"] == 200
    assert curl(*etag, f"{server.url}large.bin")["http_code"] == 304
    (tmp_path / "etag").write_text('"something-else"\n')
    assert curl(*etag, "-O", f"{server.url}large.bin")["http_code"] == 200


@pytest.mark.parametrize(
    ("date", "status"),
    [
        ("Tue, 14 Nov 2023 22:13:20 GMT", 304),  # to the second
        ("Tue, 14 Nov 2023 22:13:19 GMT", 200),
        ("-Tue, 14 Nov 2023 22:13:21 GMT", 200),  # the minus makes it If-Unmodified-Since
        ("-Tue, 14 Nov 2023 22:13:19 GMT", 412),
    ],
)
def test_date(curl: Curl, server: RunningServer, date: str, status: int) -> None:
    assert curl("-z", date, f"{server.url}index.html")["http_code"] == status


@pytest.mark.parametrize("sibling", ENCODERS)
def test_compressed(curl: Curl, server: RunningServer, tmp_path: Path, sibling: str) -> None:
    name, coding = sibling.rsplit(".", 1)[0], sibling.split(".", maxsplit=1)[0]
    feature = {"gzip": "libz", "br": "brotli"}.get(coding, coding)
    if feature not in run(program("curl"), "-q", "--version").stdout.split():
        skip_missing(f"a curl with {coding}")
    curl("--compressed", "-D", "head", "-O", f"{server.url}{name}")
    assert f"content-encoding: {coding}\n" in (tmp_path / "head").read_text().lower()
    assert (tmp_path / name).read_bytes() == TEXT
    curl("-D", "head", "-O", f"{server.url}{name}")
    assert "content-encoding" not in (tmp_path / "head").read_text().lower()
    assert (tmp_path / name).read_bytes() == TEXT


@pytest.mark.parametrize(
    ("ranges", "data"),
    [("1000-1999", LARGE[1000:2000]), ("-7", LARGE[-7:]), ("1199990-", LARGE[1_199_990:])],
)
def test_range(curl: Curl, server: RunningServer, tmp_path: Path, ranges: str, data: bytes) -> None:
    report = curl("-r", ranges, "-O", f"{server.url}large.bin")
    assert report["http_code"] == 206
    assert (tmp_path / "large.bin").read_bytes() == data


def test_several_ranges(curl: Curl, server: RunningServer, tmp_path: Path) -> None:
    report = curl("-r", "0-3,100-103,-4", "-o", "parts", f"{server.url}large.bin")
    assert report["content_type"].startswith("multipart/byteranges; boundary=")
    parts = (tmp_path / "parts").read_bytes()
    for first, last in (0, 3), (100, 103), (1_199_996, 1_199_999):
        part = f"Content-Range: bytes {first}-{last}/1200000\r\n\r\n".encode()
        assert part + LARGE[first : last + 1] + b"\r\n--" in parts


def test_head(curl: Curl, server: RunningServer) -> None:
    report = curl("-I", f"{server.url}large.bin")
    assert (report["http_code"], report["size_download"]) == (200, 0)
    assert "Content-Length: 1200000\n" in report["output"]


def test_http_1_0(curl: Curl, server: RunningServer) -> None:
    report = curl("--http1.0", "-v", server.url, server.url)
    assert "> GET / HTTP/1.0" in report["messages"]
    assert report["http_code"] == 200
    assert report["num_connects"] == 1  # the first was closed: HTTP/1.0 without keep-alive


def test_a_connection_is_reused(curl: Curl, server: RunningServer) -> None:
    targets = ("index.html", "large.bin", "nothing-here", "index.html")
    outputs = [argument for n in range(len(targets)) for argument in ("-o", f"{n}")]
    report = curl("-v", *outputs, *(f"{server.url}{target}" for target in targets))
    reused = [line for line in report["messages"] if "Re-using existing connection" in line]
    assert len(reused) == len(targets) - 1
    assert report["num_connects"] == 0


@pytest.mark.parametrize(
    "target",
    ["../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "..%2f..%2fetc/passwd", ".git/config"],
)
def test_nothing_above_the_root(curl: Curl, server: RunningServer, target: str) -> None:
    report = curl("--path-as-is", f"{server.url}{target}")
    assert report["http_code"] == 404
    assert "root:" not in report["output"]


@pytest.mark.parametrize("body", ["short", "long" * 500_000])
def test_post(curl: Curl, server: RunningServer, tmp_path: Path, body: str) -> None:
    (tmp_path / "body").write_text(body)
    report = curl("--data-binary", "@body", "-H", "Expect:", "-D", "head", f"{server.url}large.bin")
    # RFC 9110 15.5.14 and 15.5.6: for content beyond what is read, either is the truth.
    assert report["http_code"] == (405 if body == "short" else 413)
    assert report["exitcode"] == 0


def test_an_upload_is_rejected_before_it_starts(
    curl: Curl, server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "upload").write_bytes(LARGE)
    expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "60")
    report = curl(*expect, "-T", "upload", "-D", "head", f"{server.url}upload")
    assert report["http_code"] == 405
    assert report["size_upload"] == 0
    assert "Allow: GET, HEAD" in (tmp_path / "head").read_text()


def test_tunnel(
    curl: Curl, serve: Callable[..., RunningServer], root: Path, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "large.bin").write_bytes(LARGE)
    (tmp_path / "far" / "index.html").write_text("far away")
    far = serve(tmp_path / "far")
    with socket.socket() as closed:  # bound, so that no other program uses it; never listening
        closed.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{closed.getsockname()[1]}"
        near = serve(root, "--allow-connect", far.address, "--allow-connect", dead)
        through = ("--proxytunnel", "--proxy", near.url)
        report = curl(*through, far.url)
        assert (report["http_connect"], report["output"]) == (200, "far away")
        report = curl(*through, "-O", f"{far.url}large.bin", "-o", "home", far.url)
        assert (tmp_path / "large.bin").read_bytes() == LARGE
        assert report["num_connects"] == 0  # the second one goes through the same tunnel
        assert curl(*through, near.url)["http_connect"] == 403
        assert curl(*through, f"http://{dead}/")["http_connect"] == 502
        assert curl(near.url)["http_code"] == 200
    assert [entry.target for entry in far.stop()] == ["/", "/large.bin", "/"]


def test_no_tunnel_unless_allowed(curl: Curl, server: RunningServer) -> None:
    report = curl("--proxytunnel", "--proxy", server.url, server.url)
    assert report["http_connect"] == 405


def test_trace(
    curl: Curl, serve: Callable[..., RunningServer], server: RunningServer, root: Path
) -> None:
    trace = ("-X", "TRACE", "-H", "Cookie: secret", "-H", "Max-Forwards: 3")
    assert curl(*trace, server.url)["http_code"] == 405
    report = curl(*trace, serve(root, "--allow-trace").url)
    assert (report["http_code"], report["content_type"]) == (200, "message/http")
    assert report["output"].startswith("TRACE / HTTP/1.1\n")
    assert "Max-Forwards: 3\n" in report["output"]
    assert "secret" not in report["output"]
