import asyncio
import json
import socket
import sys

import pytest

from abench import fleet
from abench.errors import ParameterError, UnreachableError
from abench.plan import Plan


def test_too_few_open_files_are_said_before_the_run(monkeypatch):
    monkeypatch.setattr(fleet.resource, "getrlimit", lambda _: (100, 100))
    with pytest.raises(ParameterError, match="1000 in 2 workers need 564 open files each"):
        fleet.make_room(Plan(url="http://h/", connections=1000, workers=2))


def test_the_open_files_limit_is_raised_when_it_must_be(monkeypatch):
    raised = []
    monkeypatch.setattr(fleet.resource, "getrlimit", lambda _: (100, 4096))
    monkeypatch.setattr(fleet.resource, "setrlimit", lambda _, limits: raised.append(limits))
    fleet.make_room(Plan(url="http://h/", connections=10, workers=1))
    assert raised == []
    fleet.make_room(Plan(url="http://h/", connections=1000, workers=1))
    assert raised == [(4096, 4096)]


def test_the_address_that_answers_is_the_one_loaded():
    with socket.create_server(("127.0.0.1", 0)) as server:
        plan = Plan(url=f"http://localhost:{server.getsockname()[1]}/")
        reached = fleet.reach(plan)
    assert reached.address == "127.0.0.1"
    assert reached.target == plan.target


def test_nobody_there_is_said_with_host_and_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}: connection refused"):
        fleet.reach(Plan(url=f"http://127.0.0.1:{port}/"))


async def test_the_python_interface(serve):
    server = await serve()
    program = f"""
import abench, json, sys
report = abench.run(abench.Plan(url={server.url!r}, connections=4, requests=20, workers=2))
json.dump([report.succeeded, report.failed, report.service.percentiles["p99"]], sys.stdout)
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", program, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    succeeded, failed, p99 = json.loads(out)
    assert (succeeded, failed) == (20, 0)
    assert p99 > 0


async def test_to_import_abench_costs_nothing():
    program = "import sys, abench; print(sorted({'asyncio', 'rich', 'typer'} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"
