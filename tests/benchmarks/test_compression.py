"""Compression in the benchmarks: what is served must be the file, and the same in each run."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compression import samples, sites
from benchmarks.compression.replies import Reply, brotli, zstd
from benchmarks.processes import NoMeasurement
from benchmarks.servers import SERVERS

CONTENT = b"the same words " * 100
CODED = {
    "": CONTENT,
    "gzip": gzip.compress(CONTENT),
    "br": brotli().compress(CONTENT),
    "zstd": zstd().compress(CONTENT),
}


@pytest.mark.parametrize("coding", CODED)
def test_a_response_is_decoded_and_compared(coding: str) -> None:
    reply = Reply(0.1, 200, coding, CODED[coding])
    reply.require(CONTENT, coded=False)
    with pytest.raises(NoMeasurement, match="is not the file"):
        reply.require(CONTENT[1:], coded=False)


def test_what_is_no_measurement_of_compression() -> None:
    for reply, reason in (
        (Reply(0.1, 503, "", b""), "503"),
        (Reply(0.1, 200, "", CONTENT), "does not compress"),
        (Reply(0.1, 200, "compress", CONTENT), "the content coding compress"),
    ):
        with pytest.raises(NoMeasurement, match=reason):
            reply.require(CONTENT, coded=True)


def test_a_document_is_json_of_its_size_and_the_same_for_its_seed() -> None:
    first = samples.records(1, 20_000)
    assert first == samples.records(1, 20_000)
    assert first != samples.records(2, 20_000)
    assert 20_000 <= len(first) < 22_000
    assert len(json.loads(first)["results"]) > 20
    assert 3 < len(first) / len(gzip.compress(first)) < 6  # as responses of APIs do


def test_siblings_are_there_for_their_servers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "NUMBER", 1)
    monkeypatch.setattr(samples, "MB", 3_000)
    monkeypatch.setattr(samples, "_PAGE_SIZE", 3_000)
    monkeypatch.setattr(samples, "_REPOSITORY", ("docs/site.css",))
    monkeypatch.setattr(samples, "MIXED", ("0.json", samples.PAGE, "site.css"))
    plain = samples.prepared(tmp_path, SERVERS["aserve"])
    ahead = samples.prepared(tmp_path, SERVERS["nginx siblings"])
    assert not [*plain.glob("*.gz")]
    for name in samples.MIXED:
        assert gzip.decompress((ahead / f"{name}.gz").read_bytes()) == (plain / name).read_bytes()
    best = samples.offline(plain)
    assert best["brotli11_times"] < best["gzip9_times"]


def test_every_page_of_a_site_is_loaded_but_its_error_page(tmp_path: Path) -> None:
    for name in ("index.html", "404.html", "guide/index.html", "guide/setup.html", "a.js"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sites.pages(tmp_path) == ["/guide/", "/guide/setup.html", "/"]


def event(method: str, **params: Any) -> dict[str, Any]:
    return {"method": f"Network.{method}", "params": params}


def test_what_the_network_brought_is_counted_once_and_errors_are_no_page() -> None:
    url = "http://127.0.0.1:1/"
    assert sites.transferred(event("loadingFinished", encodedDataLength=1234.0), url) == 1234
    for answer in (
        {"url": f"{url}a.js", "status": 200},
        {"url": f"{url}favicon.ico", "status": 404},
    ):
        assert sites.transferred(event("responseReceived", response=answer), url) == 0
    assert sites.transferred(event("dataReceived", encodedDataLength=99), url) == 0
    failed = {"url": f"{url}a.js", "status": 404}
    with pytest.raises(NoMeasurement, match=r"a\.js of http://127\.0\.0\.1:1/: 404"):
        sites.transferred(event("responseReceived", response=failed), url)


def test_a_site_that_is_not_built_is_missing() -> None:
    assert sites.missing("no-such-site") is not None
