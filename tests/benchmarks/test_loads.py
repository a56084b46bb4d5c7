"""Reports of load generators are read as they are, and errors throw a run out."""

import json
import ssl
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from benchmarks.listing import names_first_files
from benchmarks.loads import (
    TOOLS,
    Ask,
    Counted,
    due,
    finished,
    read_ab,
    read_abench,
    read_h2load,
    read_hey,
    read_wrk,
    whole_replies,
)
from benchmarks.processes import NoMeasurement
from benchmarks.servers import SERVERS, command
from benchmarks.site import KB, MB
from benchmarks.tls.material import material
from benchmarks.uploads import small_uploads

WRK = """\
Running 1s test @ http://127.0.0.1:8000/1k.txt
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   702.31us  136.15us   4.09ms   90.61%
    Req/Sec    91.48k     3.45k   96.30k    80.00%
  91234 requests in 1.00s, 112.40MB read
Requests/sec:  91012.52
Transfer/sec:    112.13MB
{"requests": 9, "seconds": 1.0, "received": 11790, "p99_ms": 1.25, "max_ms": 4.09, "errors": ERRORS}
"""
AB = """\
Concurrency Level:      64
Time taken for tests:   2.000 seconds
Complete requests:      50214
Failed requests:        0
Total transferred:      64575204 bytes
HTML transferred:       51419136 bytes
Requests per second:    25105.87 [#/sec] (mean)

Percentage of the requests served within a certain time (ms)
  50%      2
  99%      4
 100%     11 (longest request)
"""
H2LOAD = """\
finished in 1.01s, 39572.00 req/s, 47.70MB/s
requests: 39572 total, 39636 started, 39572 done, 39572 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 39572 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 47.70MB (50019008) total, 7.13MB (7479486) headers (space savings 0.00%), 38.65MB data
"""
HEY = """\
Summary:
  Total:\t1.0038 secs
  Requests/sec:\t20758.2848

  Total data:\t21338112 bytes
  Size/request:\t1024 bytes

Response time histogram:
  0.000 [1]\t|
  0.001 [3778]\t|

Latency distribution:
  95% in 0.0070 secs
  99% in 0.0097 secs

Status code distribution:
  [200]\t20838 responses
"""
NO_ERRORS = {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}


def wrk(**errors: int) -> str:
    return WRK.replace("ERRORS", json.dumps(NO_ERRORS | errors))


def abench(**failures: int) -> str:
    return json.dumps(
        {
            "requests": {"total": 120, "succeeded": 120},
            "failures": {"connect": 0, "timeout": 0, "status": 0} | failures,
            "duration_s": 1.5,
            "bytes_received": 153_600,
            "latency": {"service": {"unit": "us", "p99": 2_500}},
        }
    )


def test_wrk_is_read_from_the_line_of_its_script() -> None:
    read = read_wrk(wrk())
    assert read == Counted(9, 1.0, 11_790, 1.25, 4.09)


@pytest.mark.parametrize("kind", NO_ERRORS)
def test_any_error_of_wrk_throws_the_run_out(kind: str) -> None:
    with pytest.raises(NoMeasurement, match=f"errors: 3 {kind}$"):
        read_wrk(wrk(**{kind: 3}))


def test_a_report_that_cannot_be_read_throws_the_run_out() -> None:
    words = [sys.executable, "-c", "print('{')"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    why = "the report of wrk cannot be read: "
    with subprocess.Popen(words, **pipes) as load, pytest.raises(NoMeasurement, match=why):
        finished("wrk", load)


def test_ab_ends_after_a_number_of_requests_if_there_is_one() -> None:
    words = TOOLS["ab"].words(Ask(8, number=64), "http://127.0.0.1:1/", 3)
    assert words[words.index("-n") + 1] == "64"
    assert "-t" not in words


def test_ab_is_read_from_what_it_prints() -> None:
    assert read_ab(AB) == Counted(50_214, 2.0, 64_575_204, 4.0)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("Failed requests:        0", "Failed requests:        7"),
        ("Failed requests:        0", "Failed requests:        0\nNon-2xx responses:      7"),
    ],
)
def test_any_error_of_ab_throws_the_run_out(line: str, instead: str) -> None:
    with pytest.raises(NoMeasurement, match="errors: 7 "):
        read_ab(AB.replace(line, instead))


def test_abench_is_read_from_its_report() -> None:
    assert read_abench(abench()) == Counted(120, 1.5, 153_600, 2.5)


def test_any_failure_of_abench_throws_the_run_out() -> None:
    with pytest.raises(NoMeasurement, match="errors: 2 timeout"):
        read_abench(abench(timeout=2))


def test_ab_opens_a_connection_for_each_request_for_as_long_as_asked() -> None:
    words = TOOLS["ab"].words(Ask(64, closing=True), "http://127.0.0.1:1/", 3)
    assert "-k" not in words
    assert words.index("-t") < words.index("-n")  # -t would set -n to 50,000


def test_over_tls_every_tool_gets_an_https_url_and_abench_verifies_as_little_as_the_others() -> (
    None
):
    plain, over_tls = Ask(64), Ask(64, scheme="https")
    assert plain.url(80) == "http://127.0.0.1:80/1k.txt"
    url = over_tls.url(80)
    assert url == "https://127.0.0.1:80/1k.txt"
    for tool in TOOLS.values():
        assert url in tool.words(over_tls, url, 3)
    assert "--insecure" in TOOLS["abench"].words(over_tls, url, 3)
    assert "--insecure" not in TOOLS["abench"].words(plain, plain.url(80), 3)


def test_a_server_with_tls_finds_its_certificate(tmp_path: Path) -> None:
    words = command(SERVERS["nginx tls"], tmp_path, tmp_path, 8443)
    assert words[-2:] == ["-c", str(tmp_path / "config")]
    config = (tmp_path / "config").read_text()
    assert "listen 127.0.0.1:8443 ssl " in config
    made = material()
    assert f"ssl_certificate {made.certificate};" in config
    assert f"ssl_certificate_key {made.key};" in config
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    command(SERVERS["nginx"], tmp_path, tmp_path, 8080)
    assert "ssl" not in (tmp_path / "config").read_text()


def test_h2load_is_read_from_what_it_prints() -> None:
    assert read_h2load(H2LOAD) == Counted(39_572, 1.0, 50_019_008, 0)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("39572 succeeded, 0 failed", "39572 succeeded, 7 failed"),
        ("0 timeout", "7 timeout"),
        ("39572 2xx", "39565 2xx"),
    ],
)
def test_any_error_of_h2load_throws_the_run_out(line: str, instead: str) -> None:
    with pytest.raises(NoMeasurement, match="errors: 7 "):
        read_h2load(H2LOAD.replace(line, instead))


def test_hey_is_read_from_what_it_prints() -> None:
    assert read_hey(HEY) == Counted(20_838, 1.0038, 21_338_112, pytest.approx(9.7))


def test_any_error_of_hey_throws_the_run_out() -> None:
    with pytest.raises(NoMeasurement, match="errors: 1 status"):
        read_hey(HEY + "  [404]\t3 responses\n")
    with pytest.raises(NoMeasurement, match="errors: 1 status"):
        read_hey(HEY + "\nError distribution:\n  [2]\tdial tcp: connection refused\n")


def test_large_replies_are_counted_by_bytes_and_small_ones_one_by_one() -> None:
    counted = Counted(replies=9, seconds=1, received=10 * MB, p99_ms=1)
    assert whole_replies(counted, MB) == 10
    assert whole_replies(counted, KB) == 9


def test_what_is_due_follows_from_the_status() -> None:
    content = bytes(range(256))
    assert due(Ask(1), content) == content
    assert due(Ask(1, status=304), content) == b""
    ranged = Ask(1, headers={"Range": "bytes=100-199"}, status=206)
    assert due(ranged, content) == content[100:200]


@pytest.mark.parametrize("data", [b"%s", b"<template>%s</template>", b"{%s}"])
def test_a_page_names_its_files_in_html_or_in_data_for_its_script(data: bytes) -> None:
    for name, is_named in ((b"100.txt", True), (b"200.txt", False)):
        names = b64encode(name) if b"template" in data else name
        assert names_first_files(data % names) == is_named


def test_uploads_are_abench_s_words_in_front_of_the_url() -> None:
    ask = small_uploads("/own/body", "-R", "500")
    words = TOOLS["abench"].words(ask, f"http://127.0.0.1:80{ask.target}", 3)
    text = " ".join(words)
    assert "-c 64 -t 3 -X PUT -d @/own/body --expect 201 -R 500 " in text
    assert text.endswith("http://127.0.0.1:80/uploads/{n}")
