"""The fixture aserve_server, in projects of its users."""

import subprocess
import sys
import threading
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import aserve
from aserve.pytest_plugin import ServerFactory

pytest_plugins = ["pytester"]

PROJECT = """
from urllib.request import urlopen
import pytest

servers = []

def test_directories_are_served(aserve_server, tmp_path):
    (tmp_path / "b.txt").write_text("beta")
    lines = []
    first, second = aserve_server("site"), aserve_server(tmp_path, access_log=lines.append)
    assert urlopen(first.url + "a.txt").read() == b"alpha"
    assert urlopen(second.url + "b.txt").read() == b"beta"
    servers.extend([first, second])
    second.stop()
    assert "GET /b.txt" in lines[0]

def test_the_servers_of_another_test_have_stopped(aserve_server):
    assert len(servers) == 2
    for server in servers:
        with pytest.raises(OSError, match="refused"):
            urlopen(server.url)

def test_a_failure(aserve_server, tmp_path):
    urlopen(aserve_server(tmp_path).url + "missing?a=b")

def test_no_directory(aserve_server):
    aserve_server("nowhere")
"""


def test_a_project_with_the_fixture(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """Whatever the other plugins: warnings are errors here, and nothing is loaded by hand."""
    (tmp_path / "a.txt").write_text("alpha")
    (pytester.path / "site").symlink_to(tmp_path)
    pytester.makepyfile(PROJECT)
    result = pytester.runpytest_inprocess("-W", "error", "-p", "no:asyncio")
    result.assert_outcomes(passed=2, failed=2)
    output = result.stdout.str()
    assert output.count("Captured aserve") == 1, "only a failed test that has asked a server"
    result.stdout.fnmatch_lines(
        [
            "*Captured aserve teardown*",
            "http://*:*/ served */test_a_failure0",
            '* "GET /missing[?]a=b HTTP/1.1" 404 *',
            "E * aserve.*SettingsError: root: there is no directory*",
        ]
    )
    assert not [one for one in threading.enumerate() if one.name == "aserve"]


async def test_in_an_asynchronous_test(
    aserve_server: ServerFactory, directory: Path, connect
) -> None:
    server = aserve_server(directory)
    assert server.settings.grace == 0
    client = await connect(server.url)
    assert (await client.get("/a.txt"))[2] == b"alpha"


def test_the_factory_without_pytest(directory: Path) -> None:
    factory = ServerFactory()
    server = factory(directory, grace=1)
    assert urlopen(server.url + "a.txt").read() == b"alpha"
    factory.stop()
    with pytest.raises(URLError):
        urlopen(server.url)
    address, line = factory.report().splitlines()
    assert address == f"{server.url} served {directory}"
    assert '"GET /a.txt HTTP/1.1" 200 5 ' in line


def test_pytest_starts_without_the_server() -> None:
    """The plugin is imported in each run of pytest, in every project of the environment."""
    show = "import aserve.pytest_plugin, sys; print(*[m for m in sys.modules if 'aserve' in m])"
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", show], capture_output=True, text=True, check=True
    )
    assert set(completed.stdout.split()) == {"aserve", "aserve.version", "aserve.pytest_plugin"}


def test_aserve_does_not_need_pytest() -> None:
    use = f"{', '.join(aserve.__all__)}"
    block = f"import sys; sys.modules['pytest'] = None; from aserve import {use}; print(Server)"
    completed = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, check=True
    )
    assert completed.stdout == "<class 'aserve.server.embedded.Server'>\n"
