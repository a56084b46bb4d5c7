"""tus-js-client under Node, and curl: uploads that are cut off, given up and gone on with."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from tests.clients.conftest import LARGE
from tests.clients.running import program, run, skip_missing
from tests.cutting_proxy import CuttingProxy

pytestmark = pytest.mark.slow  # other programs

HERE = Path(__file__).with_name("tus")
MODULE = Path(sys.prefix) / "node/node_modules/tus-js-client"
CHUNK = 190_000
"""Bytes of each PATCH."""

AT_ONCE = {"chunkSize": CHUNK, "retryDelays": [0, 0, 0]}


class CountingProxy(CuttingProxy):
    """Ends some connections after so many bytes.

    cuts: after how many bytes, of one connection after the other.
    """

    def __init__(self, url: str, cuts: list[int]) -> None:
        self.cuts = cuts
        self._lock = threading.Lock()
        super().__init__(url)

    def _cutter(self) -> Callable[[bytes], bool]:
        passed = 0

        def cuts(data: bytes) -> bool:
            nonlocal passed
            passed += len(data)
            with self._lock:
                if not self.cuts or passed < self.cuts[0]:
                    return False
                self.cuts.pop(0)
                return True

        return cuts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/in").mkdir(parents=True)
    (tmp_path / "body").write_bytes(LARGE)
    return tmp_path / "root"


def serve(root: Path) -> aserve.Server:
    return aserve.Server(root, write=("/in",), min_free=0, fsync=False)


@pytest.fixture
def server(root: Path) -> Iterator[aserve.Server]:
    with serve(root) as running:
        yield running


def upload(url: str, root: Path, **options: object) -> dict:
    """Upload the body into the folder; return what the client reports."""
    node = program("node")
    if not MODULE.is_dir():
        skip_missing("tus-js-client (make test-all installs it, with npm: apt-get install npm)")
    state = root.parent / "state.json"
    paths = (HERE / "upload.cjs", MODULE, f"{url}in/", root.parent / "body", state)
    result = run(node, *paths, json.dumps(options))
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def stored(root: Path) -> bytes:
    assert [path.name for path in (root / "in").iterdir()] == ["stored.bin"]
    return (root / "in/stored.bin").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunkSize": CHUNK},
        {"chunkSize": CHUNK, "uploadDataDuringCreation": True},
        {"chunkSize": CHUNK, "overridePatchMethod": True},
    ],
    ids=str,
)
def test_it_stores(options: dict[str, object], server: aserve.Server, root: Path) -> None:
    result = upload(server.url, root, retryDelays=None, **options)
    assert result.get("done"), result
    assert stored(root) == LARGE


def test_an_empty_file(server: aserve.Server, root: Path) -> None:
    (root.parent / "body").write_bytes(b"")
    assert upload(server.url, root, retryDelays=None).get("done")
    assert stored(root) == b""


def test_it_goes_on_after_cuts(server: aserve.Server, root: Path) -> None:
    proxy = CountingProxy(server.url, [300_000, 70_000, 1_000])
    try:
        result = upload(proxy.url, root, **AT_ONCE)
    finally:
        proxy.close()
    assert result.get("done"), result
    assert not proxy.cuts
    assert ["HEAD", 200] in result["requests"]
    assert sum(method == "POST" for method, _ in result["requests"]) == 1
    assert stored(root) == LARGE


def test_it_goes_on_in_another_process_with_a_server_that_was_restarted(root: Path) -> None:
    with serve(root) as server:
        port = urlsplit(server.url).port or 0
        first = upload(server.url, root, stopAt=2 * CHUNK, **AT_ONCE)
        assert first["offset"] >= 2 * CHUNK, first
    with aserve.Server(root, write=("/in",), min_free=0, fsync=False, port=port) as server:
        second = upload(server.url, root, **AT_ONCE)
    assert second.get("done"), second
    assert second["url"] == first["url"]
    assert second["requests"][0] == ["HEAD", 200]
    assert stored(root) == LARGE


def test_it_removes_what_it_gives_up(server: aserve.Server, root: Path) -> None:
    result = upload(server.url, root, stopAt=2 * CHUNK, terminates=True, **AT_ONCE)
    assert ["DELETE", 204] in result["requests"], result
    assert list((root / "in").iterdir()) == []


def test_a_name_that_is_taken(server: aserve.Server, root: Path) -> None:
    (root / "in/stored.bin").write_bytes(b"theirs")
    result = upload(server.url, root, retryDelays=None)
    assert "409" in result["error"]
    assert stored(root) == b"theirs"


_BY_HAND = """
set -eu
version='Tus-Resumable: 1.0.0'
name=$(printf stored.bin | base64) size=$(stat -c %s body)
path=$("$1" -qsi "${2}in/" -X POST -H "$version" -H "Upload-Length: $size" \\
    -H "Upload-Metadata: filename $name" | sed -n 's/^Location: \\/\\([^[:space:]]*\\).*/\\1/p')
for count in 200000 700000 9999999; do
    offset=$("$1" -qsI -H "$version" "$2$path" | sed -n 's/^Upload-Offset: \\([0-9]*\\).*/\\1/p')
    tail -c +$((offset + 1)) body | head -c $count | "$1" -qsf -X PATCH -T - -H "$version" \\
        -H "Upload-Offset: $offset" -H 'Content-Type: application/offset+octet-stream' "$2$path"
    echo $offset
done
"""


def test_curl_by_hand(server: aserve.Server, root: Path) -> None:
    """As docs/writing.md says it."""
    result = run("sh", "-c", _BY_HAND, "sh", program("curl"), server.url, cwd=root.parent)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == ["0", "200000", "900000"]
    assert stored(root) == LARGE
