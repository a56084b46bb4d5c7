"""`abench capacity`: its answer in all outputs, exit codes, options, and a real server."""

import json
import re
import signal
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from abench.cli.main import main
from abench.report import capacity_plots, scaling_plots
from tests.abench.queue_models import Queue
from tests.abench.test_scaling import Law
from tests.marks import slow

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/abench-capacity.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)
URL = "http://127.0.0.1:8000/"
command = import_module("abench.cli.capacity")


class Cliff(Queue):
    """A server that is fast below a rate, and slow above it: little is left to chance."""

    limit = 300.0

    def simulate(self, due, warmup_s, length_s):
        number = round(due.due(length_s))
        return [1_000 if number < self.limit * length_s else 90_000] * number


@pytest.fixture
def server(monkeypatch):
    """A server of which the command measures runs in this process, without time."""
    server = Cliff(1, 1 / 500, lambda _: 0.0)
    options = []

    def run(plan, **given):
        options.append(given)
        return server.run(plan)

    server.run, server.options = server, options
    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "server_pids_of", lambda _plan: {4711})
    monkeypatch.setattr(
        command, "client_run", lambda plan, _run: server.results(plan, [100] * 9000)
    )
    return server


@pytest.fixture
def capacity(server, capsys):
    """Run the command in this process; return its exit code and what it printed."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["capacity", *arguments, URL])
        return ended.value.code, *capsys.readouterr()

    return run


def test_the_answer_in_all_outputs(capacity, server, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    drawn = [("A title", "A caption.", "<svg viewBox='0'></svg>", "<svg viewBox='1'></svg>")]
    monkeypatch.setattr(capacity_plots, "plots", lambda _found: drawn)
    files = [str(tmp_path / f"a.{suffix}") for suffix in ("json", "html", "svg")]
    options = [word for file in files for word in (f"--{file[-4:].strip('.')}", file)]
    code, out, err = capacity("--slo", "p99<50ms", "--slo", "errors<0.1%", *options)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    assert re.search(r"\d+ requests/s hold p99<50ms and errors<0.1%: 95 % sure", text)
    assert "offered/s achieved/s p50 p99 errors server" in text
    steps = err.splitlines()
    assert steps[0].startswith("step 1  125/s  held  now between ")
    document = json.loads(Path(files[0]).read_text())
    VALIDATOR.validate(document)
    assert document["capacity_per_sec"] == pytest.approx(300, rel=0.03)
    low, high = document["interval_per_sec"].values()
    assert low < 300 < high
    assert document["outcome"] == "found"
    assert document["environment"]["command"][:4] == ["abench", "capacity", "--slo", "p99<50ms"]
    assert len(document["steps"]) == len(steps)
    page, image = (Path(file).read_text() for file in files[1:])
    for sentence in document["sentences"]:
        assert sentence.replace("<", "&lt;").replace("'", "&#x27;") in page
    assert 'aria-label="A title. A caption."' in page
    assert "<script" not in page
    assert image.startswith("<svg ")
    assert {run["server_pids"].__class__ for run in server.options} == {set}


@pytest.mark.slow
def test_the_curves_are_drawn(capacity, tmp_path):
    page, image = tmp_path / "a.html", tmp_path / "a.svg"
    capacity("--slo", "p99<50ms", "--html", str(page), "--svg", str(image))
    for written in (page.read_text(), image.read_text()):
        for word in ("requests/s offered", "requests/s achieved", "capacity", "client", "p99"):
            assert word in written


@pytest.mark.slow
def test_the_curve_of_the_law_is_drawn(capacity, server, tmp_path):
    server.run = Law(1000, 0.05, 0.001)
    page = tmp_path / "a.html"
    capacity("--by", "connections", "-t", "10", "--html", str(page))
    assert all(word in page.read_text() for word in ("measured", "law", "peak", "pages/s"))


def test_the_answer_by_connections(capacity, server, tmp_path, monkeypatch):
    monkeypatch.setattr(scaling_plots, "plots", lambda _found: [])
    server.run = Law(1000, 0.05, 0.001)
    file = tmp_path / "a.json"
    code, out, err = capacity(
        "--by",
        "connections",
        "-c",
        "64",
        "--slo",
        "p99<9s",
        "--json",
        str(file),
        "--html",
        "/dev/null",
    )
    assert code == 0
    assert "1 connection  1,000/s" in err
    assert "Contention 5 %" in out
    document = json.loads(file.read_text())
    VALIDATOR.validate(document)
    assert document["law"]["contention"] == pytest.approx(0.05, rel=0.05)
    assert document["law"]["coherency"] == pytest.approx(0.001, rel=0.05)
    assert document["objectives_held_up_to"] == 64


@pytest.mark.parametrize(
    ("arguments", "limit", "expected"),
    [
        slow(["--slo", "p99<50ms", "--at-least", "200"], 300, (0, "hold p99<50ms")),
        slow(["--slo", "p99<50ms", "--at-least", "400"], 300, (4, "hold p99<50ms")),
        (["--slo", "p99<50ms"], 0, (4, "No rate was found that holds")),
        (["--slo", "p99<50ms", "--max", "200"], 300, (5, "At least ")),
        (["--slo", "p99<50ms", "--max", "200", "--at-least", "150"], 300, (0, "At least ")),
    ],
)
def test_exit_codes(arguments, limit, expected, capacity, server):
    server.limit = limit
    code, out, _ = capacity("--quiet", *arguments)
    assert (code, expected[1] in out) == (expected[0], True)


@pytest.mark.slow
def test_the_client_as_the_limit_has_an_exit_code(capacity, server):
    server.client_cpu = 0.99
    code, out, _ = capacity("--slo", "p99<50ms")
    assert code == 5
    assert "this client is the limit" in out


def test_every_document_says_what_is_not_known(capacity, server):
    server.limit = 0
    code, out, err = capacity("--slo", "p99<50ms", "--json", "-")
    document = json.loads(out)
    VALIDATOR.validate(document)
    assert (code, document["capacity_per_sec"], document["at_least_per_sec"]) == (4, None, 0)
    assert "No rate was found" in err


def test_an_interrupted_search_prints_what_is_known(capacity, server, monkeypatch):
    monkeypatch.setattr(
        command, "client_run", lambda plan, _run: server.results(plan, [100] * 9000, stopped_by=2)
    )
    code, out, _ = capacity("--slo", "p99<50ms", "--json", "-")
    document = json.loads(out)
    VALIDATOR.validate(document)
    assert (code, document["outcome"], document["end"]) == (130, "nothing", "signal")
    assert document["stopped_by_signal"] == 2


def test_options_reach_each_run(capacity, server):
    arguments = ["--slo", "p99<50ms", "--server-pid", "1", "--step", "7", "-w", "3", "-c", "9"]
    capacity(*arguments, "--arrivals", "constant", "--warmup", "2s", "-H", "A: b")
    assert {tuple(run["server_pids"]) for run in server.options} == {(1,)}
    closed, *steps = server.plans
    assert {plan.arrivals for plan in steps} == {"constant"}
    assert {plan.warmup_s for plan in steps} == {2.0}
    assert all(plan.duration_s >= 7 for plan in steps)
    assert {(plan.workers, plan.connections) for plan in server.plans} == {(3, 9)}
    assert {plan.headers for plan in server.plans} == {(("A", "b"),)}
    assert closed.schedule is None


@pytest.mark.slow
def test_nodes_of_a_cluster_run_it_without_a_client_of_this_machine(capacity, server, monkeypatch):
    cluster = object()
    monkeypatch.setattr(command, "plan_on_cluster", lambda _name, plan: (plan, cluster))
    monkeypatch.setattr(command, "client_run", None)
    code, out, _ = capacity("--slo", "p99<50ms", "--dask", "127.0.0.1:1")
    assert code == 0
    assert {run["runner"] for run in server.options} == {cluster}
    assert "This client reaches" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--slo: is missing"),
        (["--slo", "p99>50ms"], "--slo: 'p99>50ms' says what must not be"),
        (["--slo", "p99<50ms", "-R", "5"], "-R: capacity finds out"),
        (["--slo", "p99<50ms", "-n", "5"], "-n: capacity finds out"),
        (["--slo", "p99<50ms", "--stages", "5s@5"], "--stages: capacity finds out"),
        (["--slo", "p99<50ms", "--by", "hope"], "--by: must be rate or connections"),
        (["--by", "connections", "--max", "5"], "--max: it limits rates"),
        (["--slo", "p99<50ms", "--json", "/nowhere/a"], "--json: there is no directory /nowhere"),
    ],
)
def test_bad_arguments(arguments, message, capacity, server):
    code, _, err = capacity(*arguments)
    assert (code, err.startswith(f"abench: error: {message}")) == (2, True)
    assert server.plans == []


def test_the_schema_describes_every_key():
    for schema in keys_of(SCHEMA):
        assert schema.get("description") or schema.get("title")


def keys_of(schema):
    for one in schema.get("oneOf", ()):
        yield from keys_of(one)
    for one in schema.get("properties", {}).values():
        yield one
        yield from keys_of(one)
    if "items" in schema:
        yield from keys_of(schema["items"])


@pytest.mark.slow
async def test_a_real_server_is_searched_and_its_processes_are_found(abench, serve):
    """It ends at --max, which any machine holds: no claim about a rate."""
    server = await serve()
    ran = await abench(
        *("capacity", "--slo", "errors<50%", "--max", "40", "--step", "0.3"),
        *("-t", "600", "-w", "1", "--json", "-", server.url),
    )
    document = ran.json
    VALIDATOR.validate(document)
    assert document["client_per_sec"] > 0
    assert document["steps"]
    assert all(step["server_cores"] is not None for step in document["steps"])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_a_search_with_what_is_known(number, code, start_abench, serve):
    server = await serve()
    search = await start_abench(
        *("capacity", "--slo", "errors<50%", "--step", "0.2", "-t", "600", "-w", "1", server.url)
    )
    while not (line := await search.stderr.readline()).startswith(b"step 1 "):
        assert line
    search.send_signal(number)
    out, _ = await search.communicate()
    assert search.returncode == code
    assert f"It was interrupted by {number.name} after" in " ".join(out.decode().split())
