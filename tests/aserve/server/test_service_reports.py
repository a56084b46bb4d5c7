"""What a service manager is told: sd_notify(3), systemd.service(5)."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from aserve.server.control import STOPPING, Control
from aserve.server.managed_worker import Worker
from aserve.server.orders import OrderReceiver, WorkerLink
from aserve.server.process import LoopProcess, _obey_order
from aserve.server.service_manager import ServiceManager, find_service_manager
from aserve.server.service_reports import ServiceReports
from aserve.transport.registry import DEFAULT
from tests.aserve.services import TIMEOUT_S, Message, Reports, service
from tests.aserve.unix_clients import connect

if TYPE_CHECKING:
    from aserve.server.model_worker import ModelWorker
    from aserve.server.reload import ReloadableWorker

# The protocol.


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[Reports]:
    with closing(Reports(tmp_path / "notify")) as made:
        yield made


def test_a_message_is_a_datagram_of_lines(reports: Reports) -> None:
    manager = ServiceManager(str(reports.path))
    manager.notify(READY=1, STATUS="a\nb\udcff")
    assert reports.next() == {"READY": "1", "STATUS": "a b?"}


def test_a_manager_may_have_an_abstract_name(tmp_path: Path) -> None:
    name = f"aserve-test-notify-{os.getpid()}"
    with closing(Reports(cast("Path", f"\0{name}"))) as reports:
        ServiceManager(f"@{name}").notify(STOPPING=1)
        assert reports.next() == {"STOPPING": "1"}


def test_a_manager_that_has_gone_is_no_error(tmp_path: Path) -> None:
    ServiceManager(str(tmp_path / "nobody")).notify(READY=1)


@pytest.mark.parametrize(
    ("variables", "watchdog"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, None),
        ({"NOTIFY_SOCKET": "/run/notify"}, 0),
        ({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": "2500000"}, 2.5),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, 0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "own"}, 1),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "often"}, 0),
    ],
)
def test_variables_say_whether_and_how_often(
    variables: dict[str, str], watchdog: float | None
) -> None:
    given = {name: value.replace("own", str(os.getpid())) for name, value in variables.items()}
    before = dict(given)
    manager = find_service_manager(given)
    assert (manager.watchdog if manager else None) == watchdog
    assert given == before  # an upgrade in place needs them


# When what is reported, without a program: time is what the test says.


class FakeControl:
    """Calls what is due when the test says so."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        self.due.append((seconds, call))

    def run(self) -> None:
        due, self.due = self.due, []
        for _, call in due:
            call()


class FakeManager:
    """Notes what is reported."""

    def __init__(self, watchdog: float = 0.0) -> None:
        self.watchdog = watchdog
        self.messages: list[dict[str, object]] = []

    def notify(self, **values: object) -> None:
        self.messages.append(values)

    def take(self) -> list[dict[str, object]]:
        taken, self.messages = self.messages, []
        return taken


class Server:
    """What manages two workers, of which the test has the other ends."""

    def __init__(self, watchdog: float = 0.0) -> None:
        self.control, self.manager = FakeControl(), FakeManager(watchdog)
        self.workers: dict[int, Worker] = {}
        self.ends: dict[int, OrderReceiver] = {}
        for pid in (1, 2):
            self.add(pid)
        self.reports = ServiceReports(
            cast("ServiceManager", self.manager),
            cast("Control", self.control),
            self.workers,
            lambda: "serving",
        )

    def add(self, pid: int) -> None:
        link, self.ends[pid] = WorkerLink.pair()
        self.workers[pid] = Worker(pid, link, cast("Any", None))

    def remove(self, pid: int) -> None:
        self.workers.pop(pid).link.close()
        self.ends.pop(pid).close()

    def answer(self, *pids: int) -> None:
        for pid in pids:
            order = self.ends[pid].receive()
            assert order
            self.ends[pid].reply(order)

    def close(self) -> None:
        for pid in list(self.workers):
            self.remove(pid)


@contextmanager
def server(watchdog: float = 0.0) -> Iterator[Server]:
    with closing(Server(watchdog)) as made:
        yield made


READY = {"READY": 1, "MAINPID": os.getpid(), "STATUS": "serving"}


def test_it_is_ready_when_all_workers_serve() -> None:
    with server() as one:
        one.reports.start()
        one.ends[2].reply_started()
        one.control.run()
        assert one.manager.take() == []
        one.remove(1)  # before it served; another one takes its place
        one.add(3)
        one.control.run()
        assert one.manager.take() == []
        one.ends[3].reply_started()
        one.control.run()
        assert one.manager.take() == [READY]
        assert one.control.due == []  # nobody watches it


def test_a_worker_that_ends_before_it_serves_is_not_ready() -> None:
    with server() as one:
        one.ends[2].reply_started()
        one.ends[1].end()
        one.reports.start()
        assert one.manager.take() == []


def test_retired_workers_are_not_waited_for() -> None:
    with server(watchdog=8) as one:
        one.workers[1].is_retired = True
        one.ends[2].reply_started()
        one.reports.start()
        assert one.manager.take() == [READY, {"WATCHDOG": 1}]
        one.answer(2)
        one.control.run()
        assert one.manager.take() == [{"WATCHDOG": 1}]


def test_the_watchdog_hears_nothing_while_a_worker_is_silent() -> None:
    with server(watchdog=8) as one:
        for end in one.ends.values():
            end.reply_started()
        one.reports.start()
        assert one.manager.take() == [READY, {"WATCHDOG": 1}]
        one.answer(1, 2)
        assert [seconds for seconds, _ in one.control.due] == [4]
        one.control.run()
        assert one.manager.take() == [{"WATCHDOG": 1}]
        one.answer(1)
        one.control.run()
        assert one.manager.take() == [{"STATUS": "no answer from process 2"}]
        one.control.run()
        assert one.manager.take() == []
        one.answer(2)
        one.control.run()
        assert one.manager.take() == [{"STATUS": "serving"}, {"WATCHDOG": 1}]
        one.control.run()
        assert one.manager.take() == [{"STATUS": "no answer from process 1, 2"}]


def test_a_worker_that_is_silent_is_asked_once() -> None:
    """Or its socket would be full, and what manages it would wait for it."""
    with server(watchdog=8) as one:
        for end in one.ends.values():
            end.reply_started()
        one.reports.start()
        for _ in range(1_000):
            one.control.run()
        one.answer(1, 2)
        one.control.run()
        assert {"WATCHDOG": 1} in one.manager.take()


def test_a_worker_that_obeys_a_reload_lives() -> None:
    """The reply to what it was asked may be read by who waits for another one."""
    with server(watchdog=8) as one:
        for end in one.ends.values():
            end.reply_started()
        one.reports.start()
        one.answer(1, 2)
        for worker in one.workers.values():
            worker.link.read_replies()
        one.control.run()
        assert one.manager.take() == [READY, {"WATCHDOG": 1}, {"WATCHDOG": 1}]


def test_a_reload_begins_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """MONOTONIC_USEC is what systemd compares with the time of its signal."""
    monkeypatch.setattr(time, "clock_gettime_ns", {time.CLOCK_MONOTONIC: 7_654_321}.__getitem__)
    with server() as one:
        one.reports.reloading()
        one.reports.reloaded("")
        one.reports.reloading()
        one.reports.reloaded("aserve.toml:1: rot")
        begun = {"RELOADING": 1, "MONOTONIC_USEC": 7_654}
        assert one.manager.take() == [
            begun,
            {"READY": 1, "STATUS": "serving"},
            begun,
            {"READY": 1, "STATUS": "serving; not reloaded: aserve.toml:1: rot"},
        ]


def test_a_stop_is_the_last_state() -> None:
    with server(watchdog=8) as one:
        for end in one.ends.values():
            end.reply_started()
        one.reports.start()
        one.manager.take()
        one.reports.stopping()
        one.reports.stopping()
        one.reports.reloading()
        one.reports.reloaded(STOPPING)
        one.reports.start()
        assert one.manager.take() == [{"STOPPING": 1, "STATUS": "stopping"}]
        one.control.run()  # the grace period of workers, which answer no more
        assert one.manager.take() == [{"WATCHDOG": 1}]


# Who answers.


async def test_a_loop_answers_while_it_turns_and_during_a_reload() -> None:
    link, receiver = WorkerLink.pair()
    with closing(link), closing(receiver):
        process = LoopProcess(cast("ReloadableWorker", SimpleNamespace()), receiver)
        await process._obeying.acquire()  # another order takes its time
        link.ask()
        link.read_replies()
        assert not link.has_answered
        process._on_order(receiver)
        link.read_replies()
        assert link.has_answered
        assert not process._tasks
        await asyncio.sleep(0)


def test_a_model_answers_with_its_next_tick() -> None:
    """The thread that gets orders would answer also while the one that serves hangs."""
    calls: list[Callable[[], object]] = []
    model = cast("ModelWorker", SimpleNamespace(call_at_tick=calls.append))
    link, receiver = WorkerLink.pair()
    with closing(link), closing(receiver):
        link.ask()
        assert _obey_order(model, receiver)
        link.read_replies()
        assert not link.has_answered
        calls.pop()()
        link.read_replies()
        assert link.has_answered


# The program.


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "a.txt").write_text("alpha")
    return folder


ADDRESS = ("--port=0", "--host=127.0.0.1", "--access-log=off")


@pytest.mark.parametrize(
    "options", [(), pytest.param(("--workers=2",), marks=pytest.mark.slow)], ids=["one", "two"]
)
def test_a_service_starts_reloads_and_stops(
    tmp_path: Path, root: Path, options: tuple[str, ...]
) -> None:
    """As with Type=notify-reload: SIGHUP is the request, and the reports are the answer."""
    file = tmp_path / "aserve.toml"
    file.write_text(f"root = '{root}'\n")
    with service(tmp_path, f"--config={file}", *ADDRESS, *options, watchdog=0.2) as one:
        ready = one.reports.next()
        assert ready["READY"] == "1"
        assert ready["MAINPID"] == str(one.process.pid)
        assert ready["STATUS"].startswith("serving at http://127.0.0.1:")
        one.reports.wait_for("WATCHDOG", "1")
        one.reports.wait_for("WATCHDOG", "1")
        for text, status in (("rot = 1\n", "aserve.toml:1"), ("", "serving at")):
            file.write_text(f"{text}root = '{root}'\n")
            asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
            one.process.send_signal(signal.SIGHUP)
            begun = one.reports.wait_for("RELOADING", "1")
            assert int(begun["MONOTONIC_USEC"]) >= asked
            assert status in one.reports.wait_for("READY", "1")["STATUS"]
        one.stop()
        one.reports.wait_for("STOPPING", "1")


# The first request for /hang is answered when a pipe has ended, and nothing else is meanwhile.
_HANGING = """
import sys
from functools import wraps
from pathlib import Path
from aserve.policies import site

pipes = [Path(sys.argv.pop())]
handle = site.Site.handle

@wraps(handle)
def hang(self, request, context):
    if request.target == "/hang" and pipes:
        pipes.pop().read_bytes()
    return handle(self, request, context)

site.Site.handle = hang
from aserve.__main__ import main
main()
"""

# Those whose serving thread handles requests itself; of the others, it only accepts. Without an
# event loop, a worker answers with its tick, which is once a second.
_SECONDS = {DEFAULT: 0.2, "asyncio": 0.2, "iterative": 4.0, "prefork": 4.0, "epoll": 4.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "workers"),
    [(name, count) for name in _SECONDS for count in (2, 1) if (name, count) != ("prefork", 1)],
)
def test_a_worker_that_hangs_ends_the_reports(
    tmp_path: Path, root: Path, model: str, workers: int
) -> None:
    pipe, path = tmp_path / "pipe", tmp_path / "a.sock"
    os.mkfifo(pipe)
    program = tmp_path / "program.py"
    program.write_text(_HANGING)
    options = ("--access-log=off", f"--model={model}", f"--workers={workers}")
    arguments = (root, f"--host=unix:{path}", *options)
    command = (sys.executable, str(program))
    watchdog = _SECONDS[model]
    with service(tmp_path, *arguments, pipe, watchdog=watchdog, command=command) as one:
        one.reports.wait_for("READY", "1")
        one.reports.wait_for("WATCHDOG", "1")
        with closing(connect(path)) as client:
            client.sendall(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            with pipe.open("wb"):  # waits until the worker reads it
                silent = one.reports.wait_for("STATUS", "no answer")
                assert silent["STATUS"].startswith("no answer from process ")
            # The pipe is at its end, and the worker goes on.
            messages = [one.reports.wait_for("STATUS", "serving"), one.reports.next()]
        assert [set(message) for message in messages] == [{"STATUS"}, {"WATCHDOG"}]
        assert "no answer" in one.stop()


@pytest.mark.slow
def test_a_worker_that_is_stopped_ends_the_reports(tmp_path: Path, root: Path) -> None:
    with service(tmp_path, root, *ADDRESS, "--workers=2", watchdog=0.2) as one:
        one.reports.wait_for("READY", "1")
        children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children")
        worker = int(children.read_text().split()[0])
        os.kill(worker, signal.SIGSTOP)
        assert "no answer from process" in one.reports.wait_for("STATUS", f" {worker}")["STATUS"]
        heard = len(one.reports.all)
        os.kill(worker, signal.SIGCONT)
        one.reports.wait_for("STATUS", "serving")
        between: list[Message] = one.reports.all[heard:-1]
        assert not any("WATCHDOG" in message for message in between)
        one.reports.wait_for("WATCHDOG", "1")
        one.stop()


@pytest.mark.slow
def test_workers_that_keep_failing_are_never_ready(tmp_path: Path, root: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from aserve.cli import running\n"
        "from aserve.server import supervisor\n"
        "running.serve = None\n"
        "supervisor._MIN_LIFETIME_S = 600\n"  # each start counts, however slow the machine is
        "from aserve.__main__ import main\n"
        "main()\n"
    )
    command = (sys.executable, str(program))
    arguments = (root, *ADDRESS, "--workers=2", "--quiet")
    with service(tmp_path, *arguments, command=command) as one:
        _, errors = one.process.communicate(timeout=TIMEOUT_S)
        assert one.process.returncode != 0, errors
        assert set(one.reports.next()) == {"STOPPING", "STATUS"}
