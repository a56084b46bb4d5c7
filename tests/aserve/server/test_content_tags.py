"""Entity tags of what is in a file: servers with copies of a folder have the same."""

import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import aserve
from aserve.filesystem.content_tags import ContentTags
from aserve.filesystem.directory import Directory
from aserve.filesystem.writing import digest_cache
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request
from aserve.policies.site import Site


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two copies of a folder, whose files have other times and other inodes."""
    one = tmp_path_factory.mktemp("nodes") / "one"
    one.mkdir()
    (one / "a.txt").write_text("alpha")
    (one / "b.txt").write_text("beta!")
    (one / "a.txt.gz").write_bytes(b"no gzip, but other bytes")
    (one / "large.bin").write_bytes(b"0123456789" * 300_000)
    other = one.parent / "other"
    shutil.copytree(one, other)
    for number, root in enumerate((one, other)):
        for file in root.iterdir():
            os.utime(file, (number * 1_000, number * 1_000))
    return one, other


@pytest.fixture(scope="module", params=["simulated-proactor", "epoll"])
def urls(request: pytest.FixtureRequest, copies: tuple[Path, Path]) -> Iterator[list[str]]:
    one, other = copies
    settings = {"model": request.param, "etag": "content"}
    with aserve.Server(one, **settings) as first, aserve.Server(other, **settings) as second:
        yield [first.url, second.url]


def get(url: str, **headers: str) -> tuple[int, str, bytes]:
    """Return the status, the entity tag and the body."""
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=lines)) as response:
            return response.status, response.headers["ETag"], response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["ETag"], b""


@pytest.mark.parametrize("name", ["a.txt", "b.txt", "large.bin"])
def test_two_nodes_have_the_same_tags(urls: list[str], name: str) -> None:
    one, other = (get(url + name)[1] for url in urls)
    assert one == other
    for url in urls:
        for _ in range(3):
            assert get(url + name)[1] == one
            assert get(url + name, If_None_Match=one) == (304, one, b"")


def test_another_file_and_another_coding_have_other_tags(urls: list[str]) -> None:
    for url in urls:
        tags = {get(url + name)[1] for name in ("a.txt", "b.txt", "large.bin")}
        assert len(tags | {get(url + "a.txt", Accept_Encoding="gzip")[1]}) == 4


def test_a_download_goes_on_at_another_node(urls: list[str]) -> None:
    one, other = urls
    _, tag, whole = get(f"{one}large.bin")
    status, _, rest = get(f"{other}large.bin", Range="bytes=1000000-", If_Range=tag)
    assert (status, whole[:1_000_000] + rest) == (206, whole)
    assert get(f"{other}large.bin", Range="bytes=0-3", If_Range='"another"')[0] == 200


def site_of(root: Path, digests: DigestCache) -> Site:
    return Site.of_files(Directory(root, make_validator=ContentTags(digests)))


def ask(site: Site, target: str, *, may_wait: bool = True, **headers: str):
    lines = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    response = site.handle(Request("GET", target, headers=lines), RequestContext(10**10, may_wait))
    return response.status, dict(response.headers).get("ETag"), response.path


def test_the_event_loop_reads_no_file_for_its_tag(copies: tuple[Path, Path]) -> None:
    site = site_of(copies[0], DigestCache(clock=lambda: 10**20))
    with pytest.raises(BlockingIOError):
        ask(site, "/b.txt", may_wait=False)
    found = ask(site, "/b.txt")
    assert ask(site, "/b.txt", may_wait=False) == found
    assert found[1]


def test_a_changed_file_has_another_tag_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    site = site_of(tmp_path, DigestCache(clock=lambda: 10**20))
    tags = []
    for text in ("one", "two", "one"):
        file.write_text(text)
        os.utime(file, (1, 1))
        tags.append(ask(site, "/a.txt")[1])
    assert tags[0] == tags[2] != tags[1]


def test_a_large_file_has_no_tag_while_two_others_are_read(
    copies: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent whole, without a tag and without being cached, and small ones have theirs."""
    digests, reading, may_go_on = DigestCache(), threading.Semaphore(0), threading.Event()

    def read(descriptor: int, algorithm: str) -> bytes:
        if os.fstat(descriptor).st_size > 100:
            reading.release()
            may_go_on.wait()
        return b"digest of 16 byt"

    monkeypatch.setattr(digest_cache, "_read", read)
    site = site_of(copies[0], digests)
    threads = [threading.Thread(target=ask, args=(site, "/large.bin")) for _ in range(2)]
    for thread in threads:
        thread.start()
        reading.acquire()
    try:
        assert ask(site, "/large.bin") == (200, None, b"")
        assert ask(site, "/large.bin", Range="bytes=0-1", If_None_Match='""') == (200, None, b"")
        assert ask(site, "/large.bin", If_None_Match="*")[0] == 304
        assert ask(site, "/large.bin", If_Match='"a"')[0] == 412
        assert ask(site, "/b.txt")[1]
    finally:
        may_go_on.set()
        for thread in threads:
            thread.join()
    assert ask(site, "/large.bin")[1]
