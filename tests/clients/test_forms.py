"""The forms and bodies that clients send into a folder, with names as each of them writes them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

import aserve
from tests.clients.conftest import LARGE
from tests.clients.running import TIMEOUT_S, program, run

NAMES = ["plain.txt", 'quo"te.txt', "ä 中.txt", "per%cent.txt", "semi;colon,.txt"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[aserve.Server]:
    (tmp_path / "root/in").mkdir(parents=True)
    with aserve.Server(tmp_path / "root", write=("/in",), fsync=False) as server:
        yield server


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Make a file of each name, one of which is large, for clients to send."""
    paths = [tmp_path / name for name in NAMES]
    for path in paths:
        path.write_text(path.name)
    paths[1].write_bytes(LARGE)
    return paths


def stored(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "root/in").iterdir()}


@pytest.mark.slow  # it needs another program
@pytest.mark.parametrize("options", [(), ("-H", "Transfer-Encoding: chunked")], ids=str)
def test_curl_sends_forms(
    options: tuple[str, ...], server: aserve.Server, files: list[Path], tmp_path: Path
) -> None:
    for number, path in enumerate(files):
        path.rename(tmp_path / str(number))
    # curl has its own escapes in -F; what it sends is what a browser sends.
    escaped = [name.replace("\\", "\\\\").replace('"', '\\"') for name in NAMES]
    forms = [f'f=@{number};filename="{name}"' for number, name in enumerate(escaped)]
    arguments = [word for form in forms for word in ("-F", form)]
    ran = run(program("curl"), "-qsS", *options, *arguments, f"{server.url}in/", cwd=tmp_path)
    assert ran.stdout.count("Stored: /in/") == len(files)
    assert stored(tmp_path) == {
        name: (tmp_path / str(n)).read_bytes() for n, name in enumerate(NAMES)
    }


@pytest.mark.slow
def test_curl_sends_a_body(server: aserve.Server, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(LARGE)
    command = (program("curl"), "-qsSf", "--data-binary", "@body", "-H", "Content-Type: text/plain")
    target = f"{server.url}in/deep/?name=%C3%A4.bin&mkdir=1"
    ran = run(*command, "-H", "Accept: application/json", target, cwd=tmp_path)
    (told,) = json.loads(ran.stdout)["files"]
    assert (told["url"], told["size"]) == ("/in/deep/%C3%A4.bin", len(LARGE))
    assert (tmp_path / "root/in/deep/ä.bin").read_bytes() == LARGE


def test_urllib3_sends_forms(server: aserve.Server, files: list[Path], tmp_path: Path) -> None:
    """What requests sends as well: its forms are those of urllib3."""
    fields = [("f", (path.name, path.read_bytes())) for path in files] + [("x", "a field")]
    with urllib3.PoolManager(timeout=TIMEOUT_S) as pool:
        response = pool.request("POST", f"{server.url}in/", fields=fields)
    assert response.status == 201
    assert stored(tmp_path) == {path.name: path.read_bytes() for path in files}
