"""Traces of real requests, for the models whose events differ."""

import io
import os
import re
import shutil
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from aserve.cli.main import main
from aserve.config.settings import SettingsError
from aserve.explain import capture as capture_module
from aserve.explain.capture import capture
from aserve.explain.events import CLIENT
from aserve.explain.render import print_trace, write_svg
from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS
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


def traced_until(holds, *arguments, **options):
    """Trace a request until `holds` of the texts, at most five times; return the last texts.

    What a busy machine does after the moment in which a trace ends is no part of it.
    """
    for _ in range(5):
        trace = capture(*arguments, **options)
        assert trace.status == "HTTP/1.1 200 OK"
        texts = texts_of(trace)
        if holds(texts):
            break
    return texts


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
    "blocking": ["starts a thread", "reads 40 bytes", "builds", "writes"],
    "nonblocking": ["accepts a connection", "EAGAIN", "writes"],
    "select": ["wakes up", "accepts a connection", "wakes up", "reads 40 bytes", "writes"],
    "epoll": ["adds the connection", "EPOLLIN", "reads 40 bytes", "writes", "reads end of file"],
    "reactor": [
        "EPOLLIN|EPOLLONESHOT", "wakes up", "puts the job into the queue", "takes the job",
        "reads 40 bytes", "builds", "writes",
    ],
    "multi-reactor": [
        "accepts a connection", "adds the connection", "wakes up", "reads 40 bytes", "builds",
        "writes", "reads end of file",
    ],
    "signal-driven": ["chooses the signal", "reads 40 bytes", "writes", "reads a signal"],
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
    texts = traced_until(in_order, site, "/a.txt", model, cold=False, again=False)
    assert in_order(texts), texts


# What the parent does and what the child does, in order; the same of two that were forked before.
PROCESS_STEPS = {
    "fork": [
        "main: accepts a connection", "main: forks a child process", "main: closes the connection",
        "child: closes the listener", "child: reads 40 bytes", "child: builds the response",
        "child: writes", "child: reads end of file", "child: closes the connection", "child: ends",
        "main: reads a signal from the signalfd", "main: collects a child that has ended",
    ],
    "prefork": [
        "child: accepts a connection", "child: reads 40 bytes", "child: builds the response",
        "child: writes", "child: reads end of file", "child: closes the connection",
    ],
}  # fmt: skip


# What must not happen: who never moves a byte, and never accepts.
NEVER = {
    "proactor-aio": r"(main|worker): (reads \d+ bytes|writes)|library: accepts",
    "signal-driven": r"(library|worker):",
    "reactor": r"main: (reads \d+ bytes|writes|accepts)",
    "simulated-proactor": r"worker: (reads \d+ bytes|writes|accepts)",
}


def role_of(thread_name):
    roles = {None: "library", "MainThread": "main"}
    return roles.get(thread_name, "worker")


@needs_strace
@pytest.mark.parametrize("model", slow_except(PROCESS_STEPS, "fork"))
def test_a_child_serves_and_the_parent_moves_no_byte(model, site):
    def lines_of(trace):
        roles = {
            thread: "main" if name == "MainThread" else "child"
            for thread, name in trace.threads.items()
        }
        return [
            f"{roles[event.thread]}: {event.text}"
            for event in trace.events
            if event.thread in roles
        ]

    def in_order(lines):
        found = iter(lines)
        return all(any(step in line for line in found) for step in PROCESS_STEPS[model])

    for _ in range(5):  # as traced_until: a busy machine may do the last steps too late
        trace = capture(site, "/a.txt", model, cold=False, again=False)
        assert trace.status == "HTTP/1.1 200 OK"
        if in_order(lines := lines_of(trace)):
            break
    assert in_order(lines), lines
    assert not [line for line in lines if re.match(r"main: (reads \d+ bytes|writes|builds)", line)]


# The numbered steps of the textbooks: which thread makes which call, in order. The course has its
# tables from the same file.
BOOK = Path(__file__).parents[3] / "docs" / "learn" / "by_the_book.toml"
BY_THE_BOOK_STEPS = {
    model["name"]: [line for step in model["step"] for line in step["trace"]]
    for model in tomllib.loads(BOOK.read_text(encoding="utf-8"))["model"]
    if "step" in model
}


@needs_strace
@pytest.mark.parametrize("model", slow_except(BY_THE_BOOK_STEPS, "reactor"))
def test_a_model_by_the_book_takes_the_steps_of_the_book(model, site):
    if reason := MODELS[model].unavailable_reason():
        pytest.skip(reason)
    by_the_book = model in BY_THE_BOOK
    trace = capture(site, "/a.txt", model, cold=False, again=False, by_the_book=by_the_book)
    assert trace.status == "HTTP/1.1 200 OK"
    lines = [
        f"{role_of(trace.threads.get(event.thread))}: {event.text}"
        for event in trace.events
        if event.thread != CLIENT
    ]
    found = iter(lines)
    for step in BY_THE_BOOK_STEPS[model]:
        role, _, text = step.partition(" ")
        assert any(line.startswith(role) and text in line for line in found), (step, lines)
    moves = re.compile(NEVER[model])
    assert not [line for line in lines if moves.match(line) and "of the file" not in line]


@pytest.mark.slow
@needs_strace
def test_a_cached_response_opens_no_file(site):
    texts = traced_until(
        lambda texts: "opens" not in texts,
        *(site, "/a.txt", "simulated-proactor"),
        cold=False,
        again=True,  # a thread of the pool stores the response, perhaps after the next request
    )
    assert "opens" not in texts
    assert "looks up the response in the cache" in texts


def test_without_strace_only_the_steps_of_the_server_are_shown(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    trace = capture(site, "/a.txt", "epoll", cold=False, again=False)
    assert not trace.has_syscalls
    assert "builds the response to GET /a.txt" in texts_of(trace)
    stream = io.StringIO()
    print_trace(trace, stream, use_color=False)
    assert "apt install strace" in stream.getvalue()


def test_the_picture_is_an_svg_and_its_text_is_text(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    (site / "<b>&.txt").write_text("x")
    trace = capture(site, "/%3Cb%3E&.txt", "select", cold=False, again=False)
    stream = io.StringIO()
    write_svg(trace, stream)
    picture = ET.fromstring(stream.getvalue())
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "builds the response to GET /%3Cb%3E&.txt" in texts
    assert {"client", "kernel", "main thread"} <= set(texts)


@pytest.mark.parametrize("target", ["a.txt", "", "http://x/"])
def test_an_invalid_target(target, site):
    with pytest.raises(SettingsError, match=r"^PATH: "):
        capture(site, target, "epoll", cold=False, again=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nowhere", "/"), "DIR: there is no directory"),
        ((".", "/", "--model", "x"), "--model: must be one of"),
        ((".", "/", "--svg", "/nowhere/x.svg"), "--svg: there is no directory"),
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


def test_a_path_with_a_space_is_percent_encoded(site, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    (site / "a ü.txt").write_text("x")
    trace = capture(site, "/a ü.txt", "epoll", cold=False, again=False)
    assert trace.target == "/a%20%C3%BC.txt"
    assert trace.status == "HTTP/1.1 200 OK"


def test_the_picture_on_standard_output(explain, monkeypatch):
    monkeypatch.setattr(capture_module.shutil, "which", lambda _name: None)
    assert ET.fromstring(explain("--svg", "-")).tag.endswith("svg")
