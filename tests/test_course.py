"""The course: its servers over sockets, what they cost, and its pages in two languages."""

import importlib.util
import re
import runpy
import shutil
import socket
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.transport.registry import MODELS

ROOT = Path(__file__).parent.parent
LEARN = ROOT / "docs" / "learn"
ALIASES = {"clone": "clone3", "ppoll": "poll", "epoll_pwait": "epoll_wait"}
"""What other kernels and C libraries call instead."""
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_course", ROOT / "docs" / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
SERVERS = {server["name"]: server for server in SCRIPT.servers()}
TRANSLATED = [
    *((page, page.with_suffix(".zh.md")) for page in SCRIPT.pages() if ".zh." not in page.name),
    *(
        (ROOT / f"{name}.md", ROOT / f"{name}.zh.md")
        for name in ("README", "docs/io-models", "docs/explain")
    ),
]


@contextmanager
def running(name: str, *tracer: str) -> Iterator[tuple[str, int]]:
    """Run a server of the course; yield its address. At the end it and its tracer have ended."""
    command = [*tracer, sys.executable, "-W", "error", str(LEARN / f"{name}.py")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        line = process.stdout.readline()
        try:
            yield "127.0.0.1", int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", line)[1])
        finally:
            process.terminate()
            printed = process.stdout.read()  # to the end: no process has it any more
    assert "Traceback" not in printed


def ask(address: tuple[str, int], *parts: bytes, half_close: bool = False) -> bytes:
    """Send the parts, and return all that comes back."""
    with socket.create_connection(address) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            sock.sendall(part)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_one_short_file(name: str) -> None:
    lines = (LEARN / f"{name}.py").read_text().splitlines()
    assert len(lines) <= (50 if name == "s00_iterative" else 100)
    assert not any(f"import {other}" in line for line in lines for other in SERVERS)


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_answers_whole_and_in_pieces_and_outlives_its_clients(name: str) -> None:
    with running(name) as address:
        head, _, body = ask(address, GET).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(body)}\r\n".encode() in head
        assert b"Hello" in body
        assert ask(address, *(bytes([byte]) for byte in GET)) == head + b"\r\n\r\n" + body
        assert ask(address, GET.replace(b"/ ", b"/x ", 1)).startswith(b"HTTP/1.1 404 ")
        assert ask(address, GET.replace(b"GET", b"PUT")).startswith(b"HTTP/1.1 501 ")
        assert ask(address, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert ask(address, GET, half_close=True).startswith(b"HTTP/1.1 200 ")
        assert ask(address, GET[:-2], half_close=True) == b""
        with socket.create_connection(address) as sock:
            linger = b"\1\0\0\0\0\0\0\0"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # close by a reset
            sock.sendall(GET[:9])
        assert ask(address, GET).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "s00_iterative"])
def test_a_silent_client_does_not_keep_others_waiting(name: str) -> None:
    with running(name) as address:
        silent = [socket.create_connection(address) for _ in range(5)]
        silent[0].sendall(GET[:9])
        assert ask(address, GET).startswith(b"HTTP/1.1 200 ")
        for sock in silent:
            sock.close()


@pytest.mark.parametrize("name", ["s05_epoll", "s07_states", "s09_simulated_proactor"])
def test_a_head_without_end_is_refused(name: str) -> None:
    with running(name) as address:
        assert ask(address, b"G" * 8192).startswith(b"HTTP/1.1 400 ")


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace (apt install strace)")
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_makes_the_system_calls_that_its_page_tells(name: str, tmp_path: Path) -> None:
    """Each call of one request happens ten times in ten; those before and after are fewer."""
    server = SERVERS[name]
    trace = tmp_path / "trace"
    watched = {call.partition(" ")[0] for one in SERVERS.values() for call in one["calls"]}
    names = ",".join(f"?{call}" for call in {"listen", *watched, *ALIASES})
    strace = ["strace", "-D", "-f", "-qq", "-e", f"trace={names}", "-o", trace]
    with running(name, *map(str, strace)) as address:
        for _ in range(10):
            assert ask(address, GET).startswith(b"HTTP/1.1 200 ")
    lines = trace.read_text().partition("listen(")[2].splitlines()
    calls = Counter(
        ALIASES.get(found[1], found[1]) + (" EAGAIN" if "= -1 EAGAIN" in line else "")
        for line in lines
        if (found := re.match(r"\d+ +(?:<\.\.\. )?(\w+)(?:\(.*= | resumed.*= )", line))
        and not re.search(r"= -1 EINTR|= \? ERESTART", line)  # as when a process is suspended
    )
    calls["write"] -= calls["write"] % 10  # the program's own lines
    found = {call: count // 10 for call, count in calls.items() if count >= 10}
    varying = {*server.get("varies", ()), "write"} - server["calls"].keys()
    assert {call: n for call, n in found.items() if call not in varying} == server["calls"]


@pytest.mark.parametrize("page", SCRIPT.pages(), ids=lambda page: page.name)
def test_what_a_page_shows_of_programs_is_up_to_date(page: Path) -> None:
    assert page.read_text() == SCRIPT.updated(page), "run: make docs-settings"


def test_every_server_is_shown_in_both_languages() -> None:
    for suffix in (".md", ".zh.md"):
        pages = [page for page in SCRIPT.pages() if "".join(page.suffixes[-2:]) == suffix]
        shown = set(
            re.findall(r"<!-- (?:source|diff) (s\d\w+):", "".join(map(Path.read_text, pages)))
        )
        assert shown == SERVERS.keys()


def test_pools_prints_a_row_for_each_number_of_workers() -> None:
    command = [sys.executable, LEARN / "pools.py", "10", "0"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    workers = [int(line.split()[0]) for line in printed.splitlines()[2:]]
    assert workers == sorted(set(workers))
    assert {1, 8, 24} <= set(workers)


class BoundedDeque(deque):
    """Notes how many it had at most."""

    most = 0

    def append(self, item: object) -> None:
        super().append(item)
        self.most = max(self.most, len(self))


def test_the_request_queue_loses_nothing_and_stays_within_its_bound() -> None:
    queue = runpy.run_path(str(LEARN / "request_queue.py"))["RequestQueue"](size=2)
    queue.requests = BoundedDeque()
    with ThreadPoolExecutor(8) as threads:
        taken = [threads.submit(lambda: [queue.get() for _ in range(100)]) for _ in range(4)]
        for name in "abcd":
            threads.submit(lambda name=name: [queue.put((name, n)) for n in range(100)])
        got = [request for one in taken for request in one.result()]
    assert sorted(got) == [(name, n) for name in "abcd" for n in range(100)]
    assert 1 <= queue.requests.most <= 2
    assert [queue.try_put(one) for one in "abc"] == [True, True, False]
    assert [queue.get(), queue.get()] == ["a", "b"]


def sections(page: Path) -> list[tuple[str, str]]:
    """Return the level of each heading of a page with the text below it, without blocks of code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    parts = re.split(r"^(#+) ", f"\n{text}", flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def code(page: Path) -> list[str]:
    """Return the blocks of code of a page, without comments and the spaces before them."""
    blocks = re.findall(r"^```.*?^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(r" *(?<!\S)# .*", "", block) for block in blocks]


@pytest.mark.parametrize(("page", "translation"), TRANSLATED, ids=lambda page: page.name)
def test_both_languages_tell_the_same(page: Path, translation: Path) -> None:
    """Headings, numbers in each section, links, blocks of code, and names of programs."""
    assert code(page) == code(translation)
    both = sections(page), sections(translation)
    assert [level for level, _ in both[0]] == [level for level, _ in both[1]]
    for (_, text), (_, translated) in zip(*both, strict=True):
        for pattern in (r"\d[\d,.]*\d|\d", r"`[^`]+`", r"\]\(([^)#]+)"):
            found = [
                {one.replace(".zh.md", ".md") for one in re.findall(pattern, one_text)}
                for one_text in (text, translated)
            ]
            own = {page.name, translation.name.replace(".zh.md", ".md")}
            assert found[0] ^ found[1] <= own, text.partition("\n")[0]


def test_the_glossary_is_the_same_in_both_languages() -> None:
    rows = [
        re.findall(
            r"^\| ([^|]+) \| ([^|]+) \|(?!.*\n\|---)", (LEARN / name).read_text(), re.MULTILINE
        )
        for name in ("glossary.md", "glossary.zh.md")
    ]
    assert rows[0] == [(english, chinese) for chinese, english in rows[1]]
    assert len(rows[0]) >= 20


def test_the_book_has_models_that_there_are() -> None:
    assert {model["name"] for model in SCRIPT.models()} <= MODELS.keys()


def commands_of(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each command of the page's blocks for a console, with what it prints there."""
    for block in re.findall(r"^```console\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_commands_of_the_page_on_requests_print_what_it_shows(tmp_path: Path) -> None:
    commands = dict(commands_of(LEARN / "1-request.md"))
    for start in (
        "aserve www/ --allow-trace",
        "mkdir inbox",
        "aserve inbox/ --write --allow-connect 127.0.0.1:8000 --port 8001",
    ):
        assert commands.pop(start) == ""
    assert len(commands) == 22
    with aserve.Server(ROOT / "www", allow_trace=True) as first:
        address = urlsplit(first.url).netloc
        with aserve.Server(tmp_path, write=("/",), allow_connect=(address,)) as second:
            for command, printed in commands.items():
                asked = command.replace("127.0.0.1:8000", address)
                asked = asked.replace("127.0.0.1:8001", urlsplit(second.url).netloc)
                done = subprocess.run(
                    ["bash", "-c", asked],
                    check=False,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    cwd=ROOT,
                )
                assert done.stdout == printed, command
