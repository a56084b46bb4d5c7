"""The examples are run as their readers run them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import aserve

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = Path(sys.executable).parent
WWW = EXAMPLES.parent / "www"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that finds this environment's aserve and abench first."""
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        check=False,
        cwd=EXAMPLES.parent,
        env=os.environ | {"PATH": path} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_serve_in_asyncio() -> None:
    command = [sys.executable, EXAMPLES / "serve_in_asyncio.py", WWW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            url = re.search(r"http://\S+", program.stdout.readline())[0]
            with urllib.request.urlopen(url) as page:
                assert page.read() == (WWW / "index.html").read_bytes()
            program.send_signal(signal.SIGTERM)
            assert program.wait() == 0
        finally:
            program.kill()


def test_serve_in_a_thread() -> None:
    completed = run(sys.executable, EXAMPLES / "serve_in_a_thread.py", WWW)
    assert completed.returncode == 0, completed.stdout
    assert f"is 200, {(WWW / 'index.html').stat().st_size} bytes" in completed.stdout


def test_print_changes(tmp_path: Path) -> None:
    command = [sys.executable, EXAMPLES / "print_changes.py", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout.readline().startswith("open http://")
            (tmp_path / "new.css").write_text("x")
            assert program.stdout.readline() == "/new.css\n"
        finally:
            program.kill()


@pytest.mark.slow
def test_tests_with_a_server() -> None:
    options = ("-q", "-p", "no:cacheprovider")
    completed = run(sys.executable, "-m", "pytest", *options, EXAMPLES / "test_with_a_server.py")
    assert completed.returncode == 0, completed.stdout
    assert "2 passed" in completed.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "exit_code"), [("60s", 0), ("1us", 4)])
def test_the_load_gate(limit: str, exit_code: int, tmp_path: Path) -> None:
    report = tmp_path / "load.json"
    # The last response has a second in which to come.
    variables = {"RATE": "1", "DURATION": "3s", "LIMIT": limit}
    completed = run(EXAMPLES / "load_gate.sh", WWW, report, **variables)
    assert completed.returncode == exit_code, completed.stdout
    assert json.loads(report.read_text())["requests"]["succeeded"] == 3


@pytest.mark.slow
def test_versions_are_compared() -> None:
    aserve = PROGRAMS / "aserve"
    variables = {"ROUNDS": "3", "DURATION": "200ms", "TOLERANCE": "10000%"}
    completed = run(EXAMPLES / "compare_versions.sh", aserve, aserve, WWW, **variables)
    assert completed.returncode == 0, completed.stdout
    assert completed.stdout.count("pages/sec") >= 2 * 3


@pytest.mark.slow
def test_a_version_that_does_not_start_is_reported() -> None:
    completed = run(EXAMPLES / "compare_versions.sh", PROGRAMS / "aserve", "false", WWW)
    assert completed.returncode == 1, completed.stdout


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_the_systemd_unit(tmp_path: Path) -> None:
    text = (EXAMPLES / "aserve.service").read_text()
    unit = tmp_path / "aserve.service"
    # The program that systemd looks for is where this environment has it.
    unit.write_text(text.replace("/opt/aserve/.venv/bin", str(PROGRAMS)))
    completed = run("systemd-analyze", "verify", "--man=no", unit)
    assert (completed.returncode, completed.stdout) == (0, "")


def test_every_example_is_in_the_list() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert set(re.findall(r"\]\(([\w.]+)\)", (EXAMPLES / "README.md").read_text())) == names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "folder"
    directory.mkdir()
    for number, name in enumerate(("old.pdf", "b c.txt", "new.pdf")):
        (directory / name).write_bytes(b"x" * 1_000 * number)
        os.utime(directory / name, (number * 86_400, number * 86_400))
    return directory


def test_a_listing_is_read_page_by_page(folder: Path) -> None:
    with aserve.Server(folder, page_size=2) as server:
        command = (sys.executable, EXAMPLES / "read_a_listing.py", server.url)
        everything, matching = run(*command), run(*command, "*.pdf")
    assert everything.stdout.splitlines() == [
        f"1970-01-03           2,000  {server.url}new.pdf",
        f"1970-01-02           1,000  {server.url}b%20c.txt",
        f"1970-01-01               0  {server.url}old.pdf",
    ]
    assert [line.split()[0] for line in matching.stdout.splitlines()] == [
        "1970-01-03",
        "1970-01-01",
    ]


@pytest.mark.slow
def test_a_download_of_a_folder_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    def download(url: str) -> bytes:
        completed = run(EXAMPLES / "download_a_folder.sh", url, tmp_path / "folder.zip")
        assert completed.returncode == 0, completed.stdout
        return (tmp_path / "folder.zip").read_bytes()

    lines: list[str] = []
    with aserve.Server(folder, access_log=lines.append) as server:
        whole = download(server.url)
        part, etag = tmp_path / "folder.zip.part", tmp_path / "folder.zip.etag"
        assert not part.exists()
        assert not etag.exists()
        with urllib.request.urlopen(server.url + "?archive=zip") as response:
            etag.write_text(response.headers["ETag"])
        part.write_bytes(whole[:100])
        assert download(server.url) == whole
        part.write_bytes(b"of another state of the folder")
        etag.write_text('"another"')
        assert download(server.url) == whole
    assert sum('" 206 ' in line for line in lines) == 1


@pytest.mark.slow
def test_a_single_page_app(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<script src=/assets/app.js></script>")
    completed = run(sys.executable, EXAMPLES / "single_page_app.py", tmp_path)
    assert (completed.returncode, completed.stdout) == (0, "a route: 200, a missing script: 404\n")
    (tmp_path / "index.html").unlink()
    assert run(sys.executable, EXAMPLES / "single_page_app.py", tmp_path).returncode == 1
