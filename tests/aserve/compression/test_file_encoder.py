"""Files that are compressed while they are served."""

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import brotli
import pytest
from backports import zstd

from aserve.compression import background, codecs, encoded_memory, file_encoder
from aserve.compression.background import Background
from aserve.compression.codecs import BEST_LEVELS, FAST_LEVELS, compressor, library_version
from aserve.compression.encoded_folder import EncodedFolder
from aserve.compression.encoded_memory import EncodedMemory
from aserve.compression.file_encoder import MAX_SIZE, FileEncoder
from aserve.config.settings import Settings
from aserve.filesystem import file_state
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import FileSlice, Request, Response
from aserve.server.site_factory import build_site

NOW = 2_000_000_000
DECODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
}
BROWSER = "gzip, deflate, br, zstd"
TEXT = json.dumps([{"number": n, "square": n * n} for n in range(700)]).encode()


@dataclass
class Answer:
    """A response, its headers and body."""

    response: Response
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {name.lower(): value for name, value in self.response.headers}

    @property
    def coding(self) -> str:
        return self.headers.get("content-encoding", "identity")

    @property
    def level(self) -> str:
        return self.headers["etag"].split("-")[2]

    @property
    def body(self) -> bytes:
        return b"".join(
            part.source.read(part.start, part.stop) if isinstance(part, FileSlice) else part
            for part in self.response.body
            if isinstance(part, bytes | FileSlice)
        )

    @property
    def content(self) -> bytes:
        return DECODE[self.coding](self.body) if self.coding in DECODE else self.body


class EncodedSite:
    """A directory, and a site with it."""

    def __init__(self, root: Path, encoder: FileEncoder, **settings: Any) -> None:
        self.root = root
        self.encoder = encoder
        self.site = build_site(Settings(root, **settings), Mounts(), encoder=encoder)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file."""
        path = self.root / name
        path.write_bytes(content)
        return path

    def ask(
        self, target: str, accept: str | None = BROWSER, method: str = "GET", **headers: str
    ) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept is not None:
            given["accept-encoding"] = accept
        request = Request(method, target, headers=given)
        return Answer(self.site.handle(request, RequestContext(NOW)))


@pytest.fixture(autouse=True)
def _all_changes_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_encoder, "is_settled", lambda _status, _now: True)


@pytest.fixture
def work() -> Iterator[Background]:
    """What is done in the background."""
    made = Background()
    yield made
    made.stop()
    assert made.wait_idle(30)


@pytest.fixture
def encoder(work: Background) -> FileEncoder:
    return FileEncoder(EncodedMemory(8 << 20), background=work)


@pytest.fixture
def site(tmp_path: Path, encoder: FileEncoder) -> EncodedSite:
    made = EncodedSite(tmp_path, encoder)
    made.write("a.json", TEXT)
    return made


@pytest.mark.parametrize("coding", DECODE)
def test_the_first_client_gets_a_fast_level_and_others_the_best(
    site: EncodedSite, work: Background, coding: str
) -> None:
    first = site.ask("/a.json", coding)
    assert (first.coding, first.content) == (coding, TEXT)
    assert first.level == str(FAST_LEVELS[coding])
    assert first.headers["vary"] == "Accept-Encoding"
    assert first.headers["content-type"] == "application/json"
    assert not first.response.path  # not cached: it is going to be replaced
    assert work.wait_idle(30)
    best = site.ask("/a.json", coding)
    assert (best.coding, best.content, best.level) == (coding, TEXT, str(BEST_LEVELS[coding]))
    assert len(best.body) < len(first.body)
    assert best.response.path == bytes(site.root / "a.json")
    assert best.response.length == len(best.body)


def test_a_client_that_accepts_all_gets_the_smallest_in_the_end(
    site: EncodedSite, work: Background
) -> None:
    assert site.ask("/a.json").coding == "zstd"  # the fastest
    assert work.wait_idle(30)
    sizes = {coding: len(site.ask("/a.json", coding).body) for coding in ("br", "zstd")}
    assert site.ask("/a.json").coding == min(sizes, key=lambda coding: sizes[coding])


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("identity", "identity"),
        ("deflate", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=0.5", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "zstd"),
        ("*, zstd;q=0", "br"),
        ("br;q=0.9, gzip", "gzip"),
        ("gzip, br", "br"),
        ("identity;q=0, gzip", "gzip"),
    ],
)
def test_the_client_chooses_the_coding(site: EncodedSite, accept: str | None, coding: str) -> None:
    answer = site.ask("/a.json", accept)
    assert (answer.response.status, answer.coding, answer.content) == (200, coding, TEXT)
    assert answer.headers["vary"] == "Accept-Encoding"


def test_head_has_the_headers_of_get(site: EncodedSite, work: Background) -> None:
    for _ in range(2):
        get, head = site.ask("/a.json", "br"), site.ask("/a.json", "br", "HEAD")
        assert (head.headers, head.response.length) == (get.headers, get.response.length)
        assert head.body == b""
        assert work.wait_idle(30)


def test_each_state_of_a_file_is_compressed_anew(site: EncodedSite, work: Background) -> None:
    tags = set()
    for number in range(3):
        content = TEXT + bytes([65 + number]) * 100
        site.write("a.json", content)
        for _ in range(2):
            answer = site.ask("/a.json", "gzip")
            assert answer.content == content
            assert answer.headers["etag"] not in tags
            tags.add(answer.headers["etag"])
            assert work.wait_idle(30)


def test_a_client_is_told_that_it_has_the_file_at_whatever_level(
    site: EncodedSite, work: Background
) -> None:
    fast = site.ask("/a.json", "br").headers["etag"]
    assert work.wait_idle(30)
    best = site.ask("/a.json", "br").headers["etag"]
    assert fast != best
    for tag in (fast, best):
        answer = site.ask("/a.json", "br", if_none_match=f'"x", {tag}')
        assert (answer.response.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == tag
        assert answer.headers["vary"] == "Accept-Encoding"
    assert site.ask("/a.json", "gzip", if_none_match=best).response.status == 200
    assert site.ask("/a.json", None, if_none_match=best).response.status == 200
    site.write("a.json", TEXT + b" ")
    assert site.ask("/a.json", "br", if_none_match=best).response.status == 200


def test_it_is_not_compressed_to_be_told_that_it_is_known(site: EncodedSite) -> None:
    tag = site.ask("/a.json", "br").headers["etag"]
    site.encoder.memory = EncodedMemory(8 << 20)
    assert site.ask("/a.json", "br", if_none_match=tag).response.status == 304
    assert site.encoder.memory.size == 0


def test_what_only_looks_like_a_known_tag_gets_the_file(
    site: EncodedSite, work: Background
) -> None:
    tag = site.ask("/a.json", "br").headers["etag"]
    assert work.wait_idle(30)
    for tags in (f'"x{tag}', f"x{tag[1:]}", f'{tag[:-1]}" "'[:-3]):  # no list of tags has it
        answer = site.ask("/a.json", "br", if_none_match=tags)
        assert (answer.response.status, answer.content) == (200, TEXT)


def test_a_date_does_not_tell_of_which_level_a_client_has_parts(
    site: EncodedSite, work: Background
) -> None:
    date = site.ask("/a.json", "br").headers["last-modified"]
    assert work.wait_idle(30)
    answer = site.ask("/a.json", "br", range="bytes=10-19", if_range=date)
    assert (answer.response.status, answer.content) == (200, TEXT)
    plain = site.ask("/a.json", None, range="bytes=10-19", if_range=date)
    assert (plain.response.status, plain.body) == (206, TEXT[10:20])


def test_parts_of_small_content_take_no_descriptor(site: EncodedSite, work: Background) -> None:
    site.ask("/a.json", "br")
    assert work.wait_idle(30)
    answer = site.ask("/a.json", "br", range="bytes=0-0,5-6")
    assert all(isinstance(part, bytes) for part in answer.response.body)
    (known,) = site.encoder.memory._entries.values()
    assert known.content
    assert known.content.fileno() == -1


def test_a_client_that_excludes_the_file_itself_gets_it_compressed_or_later(
    site: EncodedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = "br, identity;q=0"
    with monkeypatch.context() as patch:
        patch.setattr(site.encoder, "_free_slots", threading.BoundedSemaphore(1))
        assert site.encoder._free_slots.acquire()  # others are being compressed
        for headers in ({}, {"range": "bytes=0-9"}):
            answer = site.ask("/a.json", only, **headers)
            assert answer.response.status == 503  # and not 406, since it can be had soon
            assert answer.headers["retry-after"]
            assert "Accept-Encoding" in answer.headers["vary"]
        site.write("b.json", TEXT)
        site.write("b.json.gz", gzip.compress(TEXT))
        sibling = site.ask("/b.json", "br, gzip;q=0.5, identity;q=0")
        assert (sibling.response.status, sibling.coding) == (200, "gzip")
    part = site.ask("/a.json", only, range="bytes=0-9")
    assert (part.response.status, part.coding, len(part.body)) == (206, "br", 10)
    site.write("random.txt", os.urandom(1_000))
    assert site.ask("/random.txt", only).response.status == 406


def test_parts_are_those_of_bytes_that_stay(site: EncodedSite, work: Background) -> None:
    plain = site.ask("/a.json", "br", range="bytes=10-19")
    assert (plain.response.status, plain.coding, plain.body) == (206, "identity", TEXT[10:20])
    site.ask("/a.json", "br")
    plain = site.ask("/a.json", "br", range="bytes=10-19")
    assert plain.coding == "identity"  # the fast level is going to be replaced
    assert work.wait_idle(30)
    whole = site.ask("/a.json", "br")
    part = site.ask("/a.json", "br", range="bytes=10-19", if_range=whole.headers["etag"])
    assert (part.response.status, part.body) == (206, whole.body[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.body)}"
    parts = site.ask("/a.json", "br", range="bytes=0-0,5-6")
    assert parts.headers["content-type"].startswith("multipart/byteranges")
    assert whole.body[5:7] in parts.body


def test_large_content_is_sent_from_a_descriptor(tmp_path: Path) -> None:
    site = EncodedSite(tmp_path, FileEncoder(EncodedMemory(8 << 20)))
    content = os.urandom(100_000).hex().encode()
    site.write("large.txt", content)
    answer = site.ask("/large.txt", "gzip")
    (part,) = answer.response.body
    assert isinstance(part, FileSlice)
    assert os.fstat(part.source.fileno()).st_size == answer.response.length
    assert answer.content == content
    assert answer.response.path  # without a background, the fast level is final
    assert part.source.is_unchanged()
    assert part.source.is_in_page_cache(0, 10)
    part.source.close()  # by one client, while others are sent the same
    assert site.ask("/large.txt", "gzip").content == content


def test_a_sibling_is_sent_instead(site: EncodedSite) -> None:
    site.write("a.json.gz", gzip.compress(TEXT))
    assert site.ask("/a.json", "gzip").body == (site.root / "a.json.gz").read_bytes()
    assert site.ask("/a.json", BROWSER).coding == "gzip"
    assert site.encoder.memory.size == 0
    assert site.ask("/a.json", "br").coding == "br"  # of which there is no sibling


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("small.txt", b"a" * 255),
        ("a.png", TEXT),
        ("a.zip", TEXT),
        ("a.svgz", TEXT),
        ("random.bin", os.urandom(100_000)),
        ("large.txt", bytes(MAX_SIZE + 1)),
        ("gzip.data", gzip.compress(bytes(1 << 20))),  # a rule may say what it is
        ("zstd.data", zstd.compress(b"".join(map(bytes, [range(200)] * 9_000)))),
    ],
)
def test_what_is_not_worth_it_is_sent_as_it_is(
    site: EncodedSite, work: Background, name: str, content: bytes
) -> None:
    site.write(name, content)
    for _ in range(2):
        answer = site.ask(f"/{name}", "br")
        assert answer.coding == ("gzip" if name == "a.svgz" else "identity")
        assert answer.body == content
        assert answer.response.path  # it is final
        assert work.wait_idle(30)


def test_what_is_not_smaller_is_tried_once(
    site: EncodedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write("random.txt", os.urandom(100_000))
    site.ask("/random.txt", "br")
    monkeypatch.setattr(file_encoder, "encode_file", None)
    assert site.ask("/random.txt", "br").coding == "identity"


def test_one_thread_compresses_a_file_for_all_that_ask_meanwhile(
    site: EncodedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, all_wait, encode = [], threading.Event(), file_encoder.encode_file

    def slowly(*arguments: Any) -> bytes | None:
        counted.append(arguments[1:3])
        assert all_wait.wait(30)
        return encode(*arguments)

    monkeypatch.setattr(file_encoder, "encode_file", slowly)
    encoder = site.encoder = FileEncoder(EncodedMemory(8 << 20), max_at_once=3)
    site = EncodedSite(site.root, encoder)
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(site.ask("/a.json", "br"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    while encoder._free_slots._value:  # until all of them wait
        threads[0].join(0.001)
    # One more would take a thread from others: it gets the file as it is, and that is not cached.
    refused = site.ask("/a.json", "br")
    assert (refused.coding, refused.response.path) == ("identity", b"")
    all_wait.set()
    for thread in threads:
        thread.join()
    assert counted == [("br", FAST_LEVELS["br"])]
    assert [answer.coding for answer in answers] == ["br"] * 3
    assert encoder._free_slots._value == 3


def test_an_event_loop_does_not_compress(site: EncodedSite) -> None:
    request = Request("GET", "/a.json", headers={"accept-encoding": "br"})
    with pytest.raises(BlockingIOError):
        site.site.handle(request, RequestContext(NOW, may_wait=False))
    site.ask("/a.json", "br")
    answer = Answer(site.site.handle(request, RequestContext(NOW, may_wait=False)))
    assert answer.coding == "br"


def test_a_file_that_changes_meanwhile_is_not_remembered(
    site: EncodedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = file_encoder.encode_file

    def late(*arguments: Any) -> bytes | None:
        with (site.root / "a.json").open("ab") as file:
            file.write(b" ")
        return encode(*arguments)

    monkeypatch.setattr(file_encoder, "encode_file", late)
    answer = site.ask("/a.json", "gzip")
    assert (answer.coding, answer.response.path) == ("identity", b"")
    assert site.encoder.memory.size == 0


def test_what_may_change_without_a_trace_is_not_remembered(
    site: EncodedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_encoder, "is_settled", lambda _status, _now: False)
    assert site.ask("/a.json", "gzip").content == TEXT
    assert site.encoder.memory.size == 0


def test_a_change_within_the_tick_of_the_last_one_is_not_hidden_by_a_long_compression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = EncodedSite(tmp_path, FileEncoder(EncodedMemory(8 << 20)))
    site.write("a.json", TEXT)
    clock, encode = [0], file_encoder.encode_file
    monkeypatch.setattr(file_encoder, "is_settled", lambda _status, now: now > 100)
    monkeypatch.setattr(file_encoder.time, "time_ns", lambda: clock[0])

    def slowly(*arguments: Any) -> bytes | None:
        clock[0] = 1_000
        return encode(*arguments)

    monkeypatch.setattr(file_encoder, "encode_file", slowly)
    assert site.ask("/a.json", "gzip").content == TEXT
    assert site.encoder.memory.size == 0


def test_the_best_level_is_not_made_of_what_may_still_change(
    site: EncodedSite, work: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels, encode = [], file_encoder.encode_file
    monkeypatch.setattr(
        file_encoder, "encode_file", lambda *of: levels.append(of[2]) or encode(*of)
    )
    monkeypatch.setattr(file_encoder, "is_settled", lambda _status, _now: False)
    site.ask("/a.json", "br")
    assert work.wait_idle(30)
    assert levels == [FAST_LEVELS["br"]]
    monkeypatch.setattr(file_encoder, "is_settled", lambda _status, _now: True)
    site.ask("/a.json", "br")  # the next client has it made
    assert work.wait_idle(30)
    assert levels == [FAST_LEVELS["br"], FAST_LEVELS["br"], BEST_LEVELS["br"]]


@pytest.mark.parametrize(
    ("changed", "after", "settled"),
    [
        (10**18 + 1, 99_000_000, False),
        (10**18 + 1, 101_000_000, True),
        (10**18, 101_000_000, False),  # a whole second: it may be a clock with steps of two
        (10**18, 1_999_000_000, False),
        (10**18, 2_101_000_000, True),
    ],
)
def test_how_long_a_change_may_leave_no_trace(
    site: EncodedSite, changed: int, after: int, settled: bool
) -> None:
    status = os.stat(site.root)
    status = os.stat_result(status[:10], {"st_ctime_ns": changed})
    assert file_state.is_settled(status, changed + after) is settled


@pytest.mark.parametrize("error", [OSError, MemoryError])
def test_where_compression_fails_the_file_is_sent(
    site: EncodedSite, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*_: Any) -> bytes:
        raise error

    monkeypatch.setattr(file_encoder, "encode_file", fail)
    assert site.ask("/a.json", "gzip").body == TEXT
    assert not site.encoder._in_progress
    assert site.encoder._free_slots.acquire(blocking=False)


def test_two_names_of_a_file_are_compressed_once_and_stay_two(
    site: EncodedSite, work: Background, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In another site as well: what is remembered is of the file that a site has opened itself."""
    other = EncodedSite(tmp_path_factory.mktemp("other"), site.encoder, hide=("/a.json",))
    for name in ("a.json", "b.txt"):
        os.link(site.root / "a.json", other.root / name)
    first = site.ask("/a.json", "gzip")
    assert work.wait_idle(30)
    size = site.encoder.memory.size
    second = other.ask("/b.txt", "gzip")
    assert second.headers["content-type"].startswith("text/plain")
    assert (first.content, second.content) == (TEXT, TEXT)
    assert site.encoder.memory.size == size
    assert other.ask("/a.json", "gzip").response.status == 404


def test_off_and_siblings_alone(site: EncodedSite) -> None:
    site.write("b.json", TEXT)
    site.write("b.json.gz", gzip.compress(TEXT))
    for compress, coding in (("siblings", "gzip"), ("off", "identity")):
        other = EncodedSite(site.root, site.encoder, compress=compress)
        assert other.ask("/b.json", BROWSER).coding == coding
        answer = other.ask("/a.json", BROWSER)
        assert (answer.coding, "vary" in answer.headers) == ("identity", False)
        assert other.ask("/none", accept="text/html").coding == "identity"


def test_the_fast_level_of_gzip_is_made_by_zlib_ng_where_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {library_version("gzip", level) for level in (FAST_LEVELS["gzip"], 9)}
    assert len(versions) == 2
    codecs._zlib.cache_clear()
    monkeypatch.setattr(codecs, "find_spec", lambda _name: None)
    encoder = compressor("gzip", FAST_LEVELS["gzip"])
    assert gzip.decompress(encoder.compress(TEXT) + encoder.flush()) == TEXT
    monkeypatch.undo()
    codecs._zlib.cache_clear()


# What is stored.


def test_memory_is_bounded_and_the_least_recently_used_goes_first() -> None:
    memory = EncodedMemory(10_000)

    def put(number: int, size: int = 2_000) -> None:
        content = file_encoder.MemoryContent(bytes(size))
        memory.put((number,), encoded_memory.EncodedFile("br", 11, content))

    for number in range(3):
        put(number)
    assert memory.get((0,), "br")
    put(3)
    assert memory.get((0,), "br")
    assert memory.get((1,), "br") is None
    assert memory.size <= 10_000
    put(3, 500)  # in place of the other
    assert memory.size == 3 * (2_000 + 1_024) - 1_500
    put(4, 20_000)
    assert memory.size == 0


def test_descriptors_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_memory, "_MAX_DESCRIPTORS", 2)
    memory = EncodedMemory(10 << 20)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(4):
        content = file_encoder.MemoryContent(bytes(70_000))
        memory.put((number,), encoded_memory.EncodedFile("br", 11, content))
        assert memory.get((0,), "br")  # which stays, since it is used
    del content
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert [key for key in range(4) if memory.get((key,), "br")] == [0, 3]


def folder_of(tmp_path: Path, **options: Any) -> EncodedFolder:
    errors = options.pop("errors", [])
    return EncodedFolder(bytes(tmp_path / "stored"), errors.append, **options)


def test_a_restart_finds_the_best_levels_again(
    site: EncodedSite, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path_factory.mktemp("of")
    for run in range(2):
        work = Background()
        encoder = FileEncoder(EncodedMemory(8 << 20), folder_of(place), work)
        site = EncodedSite(site.root, encoder)
        answer = site.ask("/a.json", "zstd")
        assert answer.level == str((FAST_LEVELS, BEST_LEVELS)[run]["zstd"])
        assert answer.content == TEXT
        assert work.wait_idle(30)
        monkeypatch.setattr(file_encoder, "encode_file", None)
    assert (place / "stored").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "swap", "link", "fifo", "huge"])
def test_what_is_damaged_in_a_folder_is_not_there(tmp_path: Path, damage: str) -> None:
    folder = folder_of(tmp_path)
    folder.store((1, 2), "br", 11, b"content")
    folder.store((3, 4), "br", 11, b"another")
    assert folder.load((1, 2), "br", 11) == b"content"
    assert folder.load((1, 2), "br", 4) is None
    names = sorted((tmp_path / "stored").iterdir())
    path = next(one for one in names if b"content" in one.read_bytes())
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "flip":
        path.write_bytes(data[:-1] + b"x")
    elif damage == "huge":
        with path.open("ab") as file:
            file.truncate(1 << 40)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "swap":
        path.write_bytes(next(one for one in names if one != path).read_bytes())
    else:
        path.unlink()
        if damage == "link":
            (tmp_path / "elsewhere").write_bytes(data)
            path.symlink_to(tmp_path / "elsewhere")
        else:
            os.mkfifo(path)
    assert folder.load((1, 2), "br", 11) is None


def test_a_folder_is_bounded_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, max_bytes=2_500)
    for number in range(3):
        folder.store((number,), "br", 11, bytes(1_000))
    for number, path in enumerate(sorted((tmp_path / "stored").iterdir())):
        os.utime(path, (number, number))
    assert folder.load((0,), "br", 11)  # which makes it the latest
    folder.sweep()
    assert len(list((tmp_path / "stored").iterdir())) == 2
    assert folder.load((0,), "br", 11)


def test_a_folder_that_cannot_be_written_to_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "stored").write_bytes(b"")
    errors: list[OSError] = []
    folder = folder_of(tmp_path, errors=errors)
    for _ in range(3):
        folder.store((1,), "br", 11, b"content")
    assert [type(error) for error in errors] == [NotADirectoryError]
    assert folder.load((1,), "br", 11) is None


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "stored").mkdir()
    (tmp_path / "stored").chmod(0o777)
    errors: list[OSError] = []
    folder_of(tmp_path, errors=errors).store((1,), "br", 11, b"content")
    assert [type(error) for error in errors] == [PermissionError]
    assert not list((tmp_path / "stored").iterdir())


def test_what_a_crash_has_left_is_swept_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, max_bytes=500)
    with monkeypatch.context() as patch:
        for name in ("rename", "unlink"):
            patch.setattr(os, name, lambda *_: None)  # as if it ended before
        folder.store((1,), "br", 11, bytes(1_000))
    assert len(list((tmp_path / "stored").iterdir())) == 1
    folder.sweep()
    assert not list((tmp_path / "stored").iterdir())


# The background.


def test_jobs_wait_for_each_other_and_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_MAX_JOBS", 2)
    work, release, began, done = Background(), threading.Event(), threading.Event(), []

    def first(is_stopped: Callable[[], bool]) -> None:
        began.set()
        assert release.wait(30)
        done.append(is_stopped())

    assert work.try_add(first)
    assert began.wait(30)
    assert work.try_add(lambda _: done.append("second"))
    assert work.try_add(lambda _: 1 / 0)  # an error ends one job alone
    assert not work.try_add(lambda _: None)
    release.set()
    assert work.wait_idle(30)
    assert done == [False, "second"]
    assert work.try_add(lambda _: done.append("third"))  # in a new thread
    assert work.wait_idle(30)
    assert done[-1] == "third"
    work.stop()
    assert not work.try_add(lambda _: None)


def test_jobs_are_done_without_the_lowest_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", forbidden)  # as a sandbox may
    work, done = Background(), threading.Event()
    assert work.try_add(lambda _: done.set())
    assert work.wait_idle(30)
    assert done.is_set()


def test_a_thread_that_cannot_start_loses_no_job_but_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, done = Background(), []

    class NoThread:
        """Fails to start, after another job has come."""

        def __init__(self, **_: Any) -> None:
            pass

        def start(self) -> None:
            assert work.try_add(lambda _: done.append("other"))
            raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", NoThread)
        assert not work.try_add(lambda _: done.append("own"))
    assert work.try_add(lambda _: done.append("next"))
    assert work.wait_idle(30)
    assert done == ["other", "next"]


def test_the_shortest_job_is_first() -> None:
    work, release, began, done = Background(), threading.Event(), threading.Event(), []

    def first(_: Callable[[], bool]) -> None:
        began.set()
        assert release.wait(30)

    assert work.try_add(first)
    assert began.wait(30)
    for seconds in (3.0, 0.5, 2.0):
        assert work.try_add(lambda _, seconds=seconds: done.append(seconds), seconds)
    release.set()
    assert work.wait_idle(30)
    assert done == [0.5, 2.0, 3.0]


def test_the_fast_level_stays_where_the_best_is_no_smaller(
    site: EncodedSite, work: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = file_encoder.encode_file

    def encode_badly(descriptor: int, coding: str, level: int, *rest: Any) -> bytes | None:
        content = encode(descriptor, coding, level, *rest)
        return content + b"\0" * 9_000 if content and level == BEST_LEVELS[coding] else content

    monkeypatch.setattr(file_encoder, "encode_file", encode_badly)
    first = site.ask("/a.json", "zstd")
    assert work.wait_idle(30)
    last = site.ask("/a.json", "zstd")
    assert (last.level, last.body) == (first.level, first.body)
    assert last.response.path  # it is final


def test_a_stop_ends_a_job_within_a_chunk(site: EncodedSite, work: Background) -> None:
    work.stop()
    assert site.ask("/a.json", "br").level == str(FAST_LEVELS["br"])
    descriptor = os.open(site.root / "a.json", os.O_RDONLY)
    try:
        with pytest.raises(InterruptedError):
            file_encoder.encode_file(descriptor, "br", 11, lambda: True)
    finally:
        os.close(descriptor)
