"""`abench run`: its command line, its errors and its reports."""

import asyncio
import json
import sys
from importlib.resources import files

import pytest

from abench.plan.scenario_file import ScenarioFile
from abench.scenario.loading import load
from tests.abench.conftest import TRANSPORTS
from tests.abench.test_scenario_runs import IMPORTS

PATH = IMPORTS + 'async def visit(user: User) -> None:\n    await user.get("/")\n'


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def write(tmp_path):
    def write(text=PATH, name="shop.py"):
        file = tmp_path / name
        file.write_text(text)
        return str(file)

    return write


# text of the file: the line and the message
BAD_FILES = {
    "x = 1\nasync def a(:\n": (2, "invalid syntax"),
    "\nimport nothing_of_this_name\n": (
        2,
        "ModuleNotFoundError: No module named 'nothing_of_this_name'",
    ),
    "def f():\n    return {}['a']\nf()\n": (2, "KeyError: 'a'"),
    "import sys\nsys.exit(3)\n": (2, "SystemExit: 3"),
    "import abench\nabench.Rows('no.csv')\n": (2, "{directory}/no.csv: no such file or directory"),
    "import abench\nabench.Rows('empty.csv')\n": (
        2,
        "empty.csv: it has no row below the names of its columns",
    ),
    "x = 1\n": (0, "it has no path: an async function of a user, without _ before its name"),
    "async def a(b, c): ...\n": (
        1,
        "a is a path, which takes a user and no more; begin the name of a helper with _",
    ),
    "async def a(): ...\n": (
        1,
        "a is a path, which takes a user and no more; begin the name of a helper with _",
    ),
    "URL = 1\nasync def a(user): ...\n": (0, "URL must be a text, not 1"),
    "async def a(user): ...\n": (None, "URL: give one after shop.py, or write URL = "),
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_is_one_line_with_its_place(text, write, refused, tmp_path):
    (tmp_path / "empty.csv").touch()
    line, message = BAD_FILES[text]
    name = write(text)
    place = {None: "", 0: f"{name}: "}.get(line, f"{name}:{line}: ")
    completed = refused("run", name)
    assert completed.code == 2
    assert completed.err.count("\n") == 1
    message = message.replace("{directory}", str(tmp_path))
    assert completed.err.startswith(f"abench: error: {place}{message}")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "SCENARIO: no file is given; abench run --example prints one"),
        (["no.py"], "SCENARIO: no.py: no such file or directory"),
        (["{shop}", "http://a/", "http://b/"], "URL: a scenario has one server: give one URL"),
        (["{shop}", "http://a/", "-v"], "--verbose: it needs --once"),
        (["{shop}", "http://a/", "-R", "5", "--stages", "1s@5"], "--rate: give only one of"),
        (["{shop}", "http://a/", "--pipeline", "2"], "--pipeline"),
        (
            ["{shop}", "http://a/", "-H", "A: {n}"],
            "--header: a scenario fills in its numbers itself",
        ),
        (["{shop}", "http://a/", "--json", "{shop}"], "--json: {shop} is the input of SCENARIO"),
    ],
)
def test_a_wrong_use_is_one_line(arguments, error, write, refused):
    shop = write()
    completed = refused("run", *(one.replace("{shop}", shop) for one in arguments))
    assert completed.code == 2
    assert error.replace("{shop}", shop) in completed.err


def test_the_example_can_be_loaded(capsys, refused):
    completed = refused("run", "--example")
    assert completed.code == 0
    assert completed.out == (files("abench.scenario") / "example.py").read_text()
    scenario = load(ScenarioFile("example.py", completed.out.encode()))
    assert {path.__name__: weight for path, weight in scenario.paths.items()} == {
        "visit": 3,
        "search": 1,
    }


def test_data_travels_with_the_file(write, tmp_path):
    data = tmp_path / "names.csv"
    data.write_text("name\none\n")
    name = write("import abench\nnames = abench.Rows('names.csv')\n" + PATH)
    file = load(ScenarioFile.read(name)).file
    data.unlink()
    load.cache_clear()
    assert load(file).paths
    assert file.data == (("names.csv", b"name\none\n"),)


SHOP = (
    IMPORTS
    + """
async def visit(user: User) -> None:
    response = await user.get("/")
    check("it is there", response.ok)
    check("it is large", len(response.body) > 100)
    await user.think(0.001)
    if user.iteration == 2:
        raise KeyError(response.status)
"""
)


async def test_a_report_has_steps_checks_and_exceptions(write, serve, abench):
    server = await serve()
    completed = await abench(
        *("run", write(SHOP), server.url, "-c", "4", "-n", "20", "-w", "2", "--json", "-"),
        *("--fail-if", "checks>10%", "--fail-if", "iterations>90%"),
    )
    assert completed.code == 4
    scenario = completed.json["scenario"]
    assert scenario["file"] == "shop.py"
    # Each of the four users raises in its third path, if it has one.
    assert scenario["completed"] + scenario["raised"] == 20
    assert scenario["checks_failed"] == 20
    assert scenario["checked"] == 40
    assert scenario["steps"][0]["name"] == "GET /"
    assert scenario["steps"][0]["succeeded"] == 20
    assert scenario["exceptions"] == [
        {"place": "shop.py:10", "message": "KeyError: 200", "count": scenario["raised"]}
    ]
    assert [one["failed"] for one in completed.json["thresholds"]] == [True, False]
    for shown in (
        "shop.py on http://127.0.0.1",
        "it is large: 20 of 20 failed (100 %)",
        "shop.py:10: KeyError: 200",
        "FAILED  checks>10% is true: 50 %",
    ):
        assert shown in completed.err


async def test_a_saved_report_shows_the_scenario_again(write, serve, abench, tmp_path):
    server, saved = await serve(), str(tmp_path / "a.json")
    first = await abench("run", write(SHOP), server.url, "-n", "5", "-c", "1", "--json", saved)
    again = await abench("report", saved)
    assert again.out == first.out
    assert "GET /" in again.out
    assert json.loads((tmp_path / "a.json").read_text())["scenario"]["raised"] == 1


async def test_once_shows_each_step(write, serve, refused):
    server = await serve()
    arguments = ("run", write(SHOP), server.url, "--once", "-v")
    completed = await asyncio.to_thread(refused, *arguments)
    lines = completed.out.splitlines()
    assert completed.code == 4  # a check has failed
    assert lines[0] == "visit"
    assert lines[1].startswith("  GET /  200  5 B")
    assert lines[2:5] == [
        "  check passed: it is there",
        "  check FAILED: it is large",
        "  thinks for 0.00 s, which is not waited for",
    ]
    assert lines[-2:] == ["1 path taken, 1 request", "check failed: it is large"]
    assert len(server.requests) == 1


@TRANSPORTS
async def test_users_reach_a_server_as_all_connections_do(serve, run_plan):
    server = await serve(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: id=1; Secure\r\nContent-Length: 0\r\n\r\n"
    )
    shop = ScenarioFile("shop.py", PATH.encode())
    summary = (await run_plan(url=server.url, scenario=shop, connections=2, requests=6)).summary
    assert (summary.succeeded, summary.failed) == (6, 0)
    assert summary.scenario.ends == {"completed": 6}
    cookies = sum(b"Cookie: id=1" in request for request in server.requests)
    assert cookies == (4 if server.scheme == "https" else 0)  # all but each user's first
