"""Traces of real requests, for the models whose events differ."""

import io
import os
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from aserve.cli.main import main
from aserve.config.settings import SettingsError
from aserve.explain import capture as capture_module
from aserve.explain.book import book_steps
from aserve.explain.capture import ServerOptions, capture
from aserve.explain.events import is_client
from aserve.explain.phrase import Phrase
from aserve.explain.render import lane_names, print_trace, write_svg
from aserve.explain.scenario import Scenario
from aserve.explain.workflows import described_models
from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS
from tests.aserve.explain.stored import stored
from tests.marks import slow_except


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    os.utime(tmp_path / "a.txt", (1e9, 1e9))  # a file just written is too young to be cached
    return tmp_path


needs_strace = pytest.mark.skipif(
    not shutil.which("strace"), reason="needs strace (apt install strace)"
)


def texts_of(trace):
    """Return the texts of the events, one a line."""
    return "\n".join(event.text for event in trace.events)


def captured_until(holds, site, server, **scenario):
    """Trace a request until `holds` of the trace, at most five times; return the last trace.

    Threads that run at the same time meet in another order now and then: a worker that has not left
    a connection yet is given its next job without a queue.
    """
    for _ in range(5):
        trace = capture(site, "/a.txt", server, Scenario(**scenario))
        assert trace.status == "HTTP/1.1 200 OK"
        if holds(trace):
            break
    return trace


def traced_until(holds, site, server, **scenario):
    """Return the texts of a request that is traced until `holds` of them."""
    return texts_of(captured_until(lambda trace: holds(texts_of(trace)), site, server, **scenario))


ORDER = {
    "simulated-proactor": [
        "connects", "sends 40 bytes", "wakes up", "accepts a connection", "reads 40 bytes",
        "IDLE to HEAD", "HEAD to HANDLING", "builds the response to GET /a.txt",
        "opens a.txt", "reads 5 bytes of the file", "HANDLING to SENDING", "writes",
        "receives", "closes",
    ],
    "iterative": [
        "accepts a connection", "reads 40 bytes", "builds", "writes", "reads end of file",
        "closes the connection",
    ],
    "blocking": [
        "starts a thread", "waits in recvfrom until data arrives", "sends 40 bytes",
        "reads 40 bytes", "builds", "writes", "waits in recvfrom", "reads end of file",
    ],
    "nonblocking": ["accepts a connection", "EAGAIN", "writes"],
    "select": ["wakes up", "accepts a connection", "wakes up", "reads 40 bytes", "writes"],
    "epoll": ["adds the connection", "EPOLLIN", "reads 40 bytes", "writes", "reads end of file"],
    "reactor": [
        "waits in epoll_wait", "adds the connection", "EPOLLIN|EPOLLONESHOT", "wakes up",
        "puts the job into the queue", "takes the job", "reads 40 bytes", "builds", "writes",
        "changes what epoll reports of the connection: EPOLLIN|EPOLLONESHOT", "closes",
        "takes the job", "reads end of file",
    ],
    "multi-reactor": [
        "accepts a connection", "adds the connection", "wakes up", "reads 40 bytes", "builds",
        "writes", "reads end of file",
    ],
    "signal-driven": ["chooses the signal", "O_ASYNC", "reads 40 bytes", "writes", "reads signals"],
    "proactor": [
        "completion of accept", "queues a receive", "submits an operation",
        "completion of receive: 40", "builds", "queues a read of the file", "completion of read: 5",
        "queues a send", "completion of send", "closes the connection",
    ],
}  # fmt: skip


@needs_strace
@pytest.mark.parametrize("model", slow_except(ORDER, DEFAULT))
def test_the_events_of_a_model_are_in_order(model, site):
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)
    in_order = re.compile(".*".join(map(re.escape, ORDER[model])), re.DOTALL).search
    texts = traced_until(in_order, site, ServerOptions(model))
    assert in_order(texts), texts


# What each process does, in order; of two that were forked before, the one that has the connection.
# Parent and child run at the same time: what joins them is that one is forked and then collected.
PROCESS_STEPS = {
    "fork": {
        "main": [
            "accepts a connection", "forks a child process", "closes the connection",
            "reads signals from the signalfd", "collects a child that has ended",
        ],
        "child": [
            "closes the listener", "reads 40 bytes", "builds the response", "writes",
            "reads end of file", "closes the connection", "ends",
        ],
    },
    "prefork": {
        "main": [],
        "child": [
            "accepts a connection", "reads 40 bytes", "builds the response", "writes",
            "reads end of file", "closes the connection",
        ],
    },
}  # fmt: skip


# What must not happen: who never moves a byte, and never accepts.
NEVER = {
    "proactor": r"(a thread of libc|worker):"
    r"|main thread: (reads \d+ bytes|writes|accepts a connection$)",
    "proactor-aio": r"(main thread|worker): (reads \d+ bytes|writes)|a thread of libc: accepts",
    "signal-driven": r"(a thread of libc|worker):",
    "reactor": r"main thread: (reads \d+ bytes|writes|accepts)",
    "simulated-proactor": r"worker: (reads \d+ bytes|writes|accepts)",
}


@needs_strace
@pytest.mark.parametrize("model", slow_except(PROCESS_STEPS, "fork"))
def test_a_child_serves_and_the_parent_moves_no_byte(model, site):
    trace = capture(site, "/a.txt", ServerOptions(model))
    assert trace.status == "HTTP/1.1 200 OK"
    texts = {"main": [], "child": []}
    for event in trace.events:
        if name := trace.threads.get(event.thread):
            texts["main" if name == "MainThread" else "child"].append(event.text)
    for role, steps in PROCESS_STEPS[model].items():
        assert missing_step(steps, texts[role]) is None, texts
    moves = re.compile(r"reads \d+ bytes|writes|builds")
    assert not [text for text in texts["main"] if moves.match(text)]


def missing_step(steps, texts):
    """Return the first step that is missing, or comes too early; None for none."""
    found = iter(texts)
    return next((step for step in steps if not any(step in text for text in found)), None)


# The numbered steps of the textbooks: which thread makes which call, in order. The course has its
# tables from the same file.
BOOK_STEPS = {model["name"]: model["step"] for model in described_models() if "step" in model}


def numbered(model):
    """Return the numbers of the steps that a trace must show."""
    return {number for number, step in enumerate(BOOK_STEPS[model], 1) if step["trace"]}


def printed_lines(trace):
    """Return what is printed of each event, without the numbers of workers; "" for a client's."""
    names = lane_names(trace)
    roles = {
        thread: re.sub(r"-\d+$", "", re.sub(r"^libc thread \d+", "a thread of libc", name))
        for thread, name in names.items()
    }
    return [
        "" if is_client(event.thread) else f"{roles[event.thread]}: {event.text}"
        for event in trace.events
    ]


def missing_line(model, printed):
    """Return the first line of a step that is missing, or comes too early; None for none."""
    found = iter(printed)
    for line in (line for step in BOOK_STEPS[model] for line in step["trace"]):
        pattern = re.compile(re.sub(r"\bN\b", r"[\\d,]+", re.escape(line)))
        if not any(pattern.match(one) for one in found):
            return line
    return None


def unlike_waits(model, trace):
    """Return what is printed of a step in which the main thread waits, if it is something else."""
    waits = {n: step["waits"] for n, step in enumerate(BOOK_STEPS[model], 1) if "waits" in step}
    lines = zip(book_steps(trace), printed_lines(trace), strict=True)
    return [line for number, line in lines if number in waits and line != waits[number]]


@needs_strace
@pytest.mark.parametrize("model", slow_except(BOOK_STEPS, "reactor"))
def test_a_model_by_the_book_takes_the_steps_of_the_book(model, site):
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)

    def takes_all(trace):
        return not missing_line(model, printed_lines(trace))

    server = ServerOptions(model, by_the_book=model in BY_THE_BOOK)
    trace = captured_until(takes_all, site, server)
    lines = printed_lines(trace)
    assert takes_all(trace), (missing_line(model, lines), *lines)
    assert set(book_steps(trace)) >= numbered(model)
    assert not unlike_waits(model, trace)
    moves = re.compile(NEVER[model])
    assert not [line for line in lines if moves.match(line) and "of the file" not in line]


def test_a_step_in_which_the_main_thread_waits_is_printed_as_its_wait():
    assert {2, 5} <= set(book_steps(stored("reactor")))
    assert not unlike_waits("reactor", stored("reactor"))


@pytest.mark.slow
@needs_strace
def test_a_cached_response_opens_no_file(site):
    texts = traced_until(
        lambda texts: "opens" not in texts,
        site,
        ServerOptions("simulated-proactor"),
        again=True,  # a thread of the pool stores the response, perhaps after the next request
    )
    assert "opens" not in texts
    assert "looks up the response in the cache" in texts


def test_without_strace_only_the_steps_of_the_server_are_shown(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    trace = capture(site, "/a.txt", ServerOptions("epoll"))
    assert not trace.has_syscalls
    assert "builds the response to GET /a.txt" in texts_of(trace)
    stream = io.StringIO()
    print_trace(trace, stream, use_color=False)
    assert "apt install strace" in stream.getvalue()


def test_the_picture_is_an_svg_and_its_text_is_text(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    (site / "<b>&.txt").write_text("x")
    trace = capture(site, "/%3Cb%3E&.txt", ServerOptions("select"))
    stream = io.StringIO()
    write_svg(trace, stream)
    picture = ET.fromstring(stream.getvalue())
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "builds the response to GET /%3Cb%3E&.txt" in texts
    assert {"client", "kernel", "main thread"} <= set(texts)


@pytest.mark.parametrize("target", ["a.txt", "", "http://x/"])
def test_an_invalid_target(target, site):
    with pytest.raises(SettingsError, match=r"^PATH: "):
        capture(site, target, ServerOptions("epoll"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nowhere", "/"), "DIR: there is no directory"),
        ((".", "/", "--model", "x"), "--model: must be one of"),
        ((".", "/", "--svg", "/nowhere/x.svg"), "--svg: there is no directory"),
        ((".", "/", "--html", "/nowhere/x.html"), "--html: there is no directory"),
        ((".", "/", "--html", "x.html", "--svg", "x.svg"), "--svg: does not go together with"),
        ((".", "/", "--html", "x.html", "--model", "epoll,x"), "--model: must be one of"),
        ((".", "/", "--model", "epoll,poll"), "--model: must be one of"),
        ((".", "/", "--clients", "5"), "--clients: must be from 1 to 4"),
        ((".", "/", "--clients", "x"), "--clients: must be a whole number"),
        ((".", "/", "--model", "reactor", "--threads", "-1"), "--threads: must be from"),
        ((".", "/", "--model", "epoll", "--by-the-book"), "--by-the-book: epoll has one form"),
        ((".", "/", "--model", "epoll", "--threads", "2"), "--threads: the model epoll has no"),
        ((".", "/", "--model", "epoll", "--again"), "--again: the model epoll has no"),
        ((".", "/", "--dispatch", "random"), "--dispatch: the model simulated-proactor does not"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(arguments, expected, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["explain", *arguments])
    stderr = capsys.readouterr().err
    assert exit_info.value.code == 2
    assert expected in stderr
    assert stderr.count("\n") == 1


@pytest.fixture
def explain(site, capsys):
    """Return a function that runs the command, and returns what it has written."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            main(["explain", str(site), "/a.txt", *arguments])
        out, err = capsys.readouterr()
        assert (exit_info.value.code, err) == (0, "")
        return out

    return run


def test_the_command_prints_and_draws(site, explain):
    picture = site / "trace.svg"
    printed = explain("--svg", str(picture))
    assert printed.startswith("simulated-proactor: GET /a.txt, HTTP/1.1 200 OK\n")
    assert picture.read_text().startswith("<svg ")


@pytest.mark.slow
def test_the_command_writes_a_page_of_several_models(site, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    file = site / "models.html"
    with pytest.raises(SystemExit) as exit_info:
        main([
            "explain", str(site), "/a.txt", "--html", str(file), "--model", "select,reactor",
            "--threads", "2", "--by-the-book",
        ])  # fmt: skip
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == (
        "tracing select\ntracing reactor --by-the-book --threads 2\n"
    )
    page = file.read_text()
    assert 'id="m-select"' in page
    assert 'id="m-reactor"' in page
    assert "Traced without --threads" in page  # which select has no use for
    assert "apt install strace" in page


@needs_strace
@pytest.mark.slow
def test_a_slow_reader_makes_a_blocking_server_wait_in_send(site):
    holds = re.compile("reads no more.*for space in the socket\nreads on", re.DOTALL).search
    server = ServerOptions("blocking")
    texts = traced_until(holds, site, server, big=True, slow_reader=True)
    assert holds(texts), texts


@needs_strace
@pytest.mark.slow
def test_a_slow_reader_makes_others_wait_until_the_socket_is_writable(site):
    holds = re.compile("EPOLLOUT.*waits in epoll.*reads on.*wakes up.*EPOLLOUT", re.DOTALL).search
    texts = traced_until(holds, site, ServerOptions("epoll"), big=True, slow_reader=True)
    assert holds(texts), texts


@pytest.mark.slow
def test_a_slow_reader_of_a_small_response_is_refused(site):
    with pytest.raises(SettingsError, match=r"^--slow-reader: .* add --big"):
        capture(site, "/a.txt", ServerOptions("epoll"), Scenario(slow_reader=True))


@pytest.mark.slow
def test_the_big_file_replaces_the_one_that_was_asked_for(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    trace = capture(site, "/sub/%61.txt", ServerOptions("epoll"), Scenario(big=True))
    assert trace.status == "HTTP/1.1 200 OK"
    assert "receives 8,388," in texts_of(trace)
    with pytest.raises(SettingsError, match=r"^PATH: "):
        capture(site, "/../a.txt", ServerOptions("epoll"), Scenario(big=True))


STORED = [
    "PUT /in/new.txt", "writes 10,000 bytes to the new file",
    "waits until the new file is on the disk", "gives the new file the name new.txt",
    "waits until the directory is on the disk", "receives",
]  # fmt: skip


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize("model", [DEFAULT, "blocking", "fork", "proactor"])
def test_an_upload_is_named_when_it_is_on_the_disk(model, site):
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)
    trace = capture(site, "/in/new.txt", ServerOptions(model), Scenario(upload=True))
    assert (trace.request, trace.status) == ("PUT /in/new.txt", "HTTP/1.1 201 Created")
    texts = texts_of(trace)
    assert re.search(".*".join(map(re.escape, STORED)), texts, re.DOTALL), texts
    assert [path.name for path in site.iterdir()] == ["a.txt"]  # it went elsewhere


def test_what_does_not_go_with_an_upload_is_refused(site):
    for option in ("slow_reader", "cold", "again"):
        with pytest.raises(SettingsError, match=rf"^--{option.replace('_', '-')}: .* --upload"):
            Scenario(upload=True, **{option: True})
    with pytest.raises(SettingsError, match=r"^PATH: .* a file with --upload"):
        capture(site, "/in/", ServerOptions("epoll"), Scenario(upload=True))


def test_clients_and_requests_are_as_many_as_asked_for(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    scenario = Scenario(clients=3, pipeline=True)
    events = capture(site, "/a.txt", ServerOptions("epoll"), scenario).events
    for count, text in (
        (3, "connects"), (3, "closes"), (3, "sends 80 bytes, two requests"), (6, "receives"),
        (6, "builds the response"),
    ):  # fmt: skip
        assert sum(event.times for event in events if event.text.startswith(text)) == count


def test_a_server_that_does_not_answer_is_one_line(site, monkeypatch):
    def refuse(*_arguments):
        raise TimeoutError

    monkeypatch.setattr(capture_module, "_traced_server", lambda *_: nullcontext((0, os.getpid())))
    monkeypatch.setattr(capture_module, "_prepare", refuse)
    with pytest.raises(SettingsError, match=r"^explain: the traced server does not answer"):
        capture(site, "/a.txt", ServerOptions("epoll"))


@pytest.mark.parametrize("text", ["waits in epoll_wait", "x" * 100])
def test_no_label_is_cut_at_the_edge_of_the_picture(text):
    trace = stored("reactor")
    last = replace(trace.events[-1], phrase=Phrase("{text}", {"text": text}))
    stream = io.StringIO()
    write_svg(replace(trace, events=(*trace.events, last)), stream)
    picture = ET.fromstring(stream.getvalue())
    width = float(picture.get("width"))
    for element in picture.iter("{http://www.w3.org/2000/svg}text"):
        anchor, x = element.get("text-anchor"), float(element.get("x"))
        length = 5.5 * len(element.text)  # a common average for 12 px, less than what is reserved
        right = {"middle": x + length / 2, "end": x}.get(anchor, x + length)
        assert right <= width
        assert x - length * {"middle": 0.5, "end": 1}.get(anchor, 0) >= 0


def test_a_path_with_a_space_is_percent_encoded(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    (site / "a ü.txt").write_text("x")
    trace = capture(site, "/a ü.txt", ServerOptions("epoll"))
    assert trace.target == "/a%20%C3%BC.txt"
    assert trace.status == "HTTP/1.1 200 OK"


def test_the_picture_on_standard_output(explain, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    assert ET.fromstring(explain("--svg", "-")).tag.endswith("svg")
