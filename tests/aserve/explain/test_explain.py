"""A request told from real events: of the models that have events of their own to tell."""

import io
import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from aserve.config.settings import SettingsError
from aserve.explain import capture as looking
from aserve.explain.capture import capture
from aserve.explain.render import print_trace, write_svg
from aserve.transport.registry import MODELS


@pytest.fixture
def site(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    os.utime(tmp_path / "a.txt", (1e9, 1e9))  # what has just been written is not remembered yet
    return tmp_path


needs_strace = pytest.mark.skipif(
    not shutil.which("strace"), reason="needs strace (apt install strace)"
)


def sequence(story):
    """Return what happened without numbers, for a pattern to look for."""
    return "\n".join(event.what for event in story.events)


ORDER = {
    "simulated-proactor": [
        "connects", "sends 40 octets", "is told that", "takes a connection", "reads 40 octets",
        "IDLE to HEAD", "HEAD to ANSWERING", "works out the response to GET /a.txt",
        "opens a.txt", "reads 5 octets of the file", "ANSWERING to REPLYING", "writes",
        "has all", "closes",
    ],
    "blocking": ["starts a thread", "reads 40 octets", "works out", "writes"],
    "nonblocking": ["takes a connection", "EAGAIN", "writes"],
    "select": ["is told that", "takes a connection", "is told that", "reads 40 octets", "writes"],
    "epoll": ["asks epoll to watch", "EPOLLIN", "reads 40 octets", "writes", "reads the end"],
    "reactor": [
        "EPOLLIN|EPOLLONESHOT", "is told that", "puts it into the queue", "takes it from the queue",
        "reads 40 octets", "works out", "writes",
    ],
    "signal-driven": ["which signal", "reads 40 octets", "writes", "told by a signal"],
    "proactor": [
        "accept is complete", "ring to receive", "hands an operation", "receive is complete: 40",
        "works out", "ring to read the file", "read is complete: 5", "ring to send",
        "send is complete", "closes the connection",
    ],
    "proactor-aio": [
        "reads 40 octets", "works out", "aio_read", "reads 5 octets of the file", "EPOLLHUP",
        "aio_return", "writes 5 octets",
    ],
}  # fmt: skip


@needs_strace
@pytest.mark.parametrize("model", ORDER)
def test_what_a_model_does_is_told_in_its_order(model, site):
    if why := MODELS[model].unavailable_reason():
        pytest.skip_head(why)
    story = capture(site, "/a.txt", model, cold=False, again=False)
    assert story.status == "HTTP/1.1 200 OK"
    told = sequence(story)
    assert re.search(".*".join(map(re.escape, ORDER[model])), told, re.DOTALL), told


@needs_strace
def test_a_remembered_reply_opens_no_file(site):
    story = capture(site, "/a.txt", "simulated-proactor", cold=False, again=True)
    told = sequence(story)
    assert "opens" not in told
    assert "looks whether the reply is remembered" in told


def test_without_strace_the_servers_own_steps_are_told(site, monkeypatch):
    monkeypatch.setattr(looking.shutil, "which", lambda _name: None)
    story = capture(site, "/a.txt", "epoll", cold=False, again=False)
    assert not story.kernel
    assert "works out the response to GET /a.txt" in sequence(story)
    stream = io.StringIO()
    print_trace(story, stream, coloured=False)
    assert "apt install strace" in stream.getvalue()


def test_the_picture_is_an_svg_and_its_text_is_text(site, monkeypatch):
    monkeypatch.setattr(looking.shutil, "which", lambda _name: None)
    (site / "<b>&.txt").write_text("x")
    story = capture(site, "/%3Cb%3E&.txt", "select", cold=False, again=False)
    stream = io.StringIO()
    write_svg(story, stream)
    picture = ET.fromstring(stream.getvalue())
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "works out the response to GET /%3Cb%3E&.txt" in texts
    assert {"client", "kernel", "main thread"} <= set(texts)


@pytest.mark.parametrize("target", ["a.txt", "", "http://x/"])
def test_what_is_no_target_is_said(target, site):
    with pytest.raises(SettingsError, match=r"^PATH: "):
        capture(site, target, "epoll", cold=False, again=False)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("nowhere", "/"), "DIR: there is no folder"),
        ((".", "/", "--model", "x"), "--model: must be one of"),
        ((".", "/", "--svg", "/nowhere/x.svg"), "--svg: there is no folder"),
    ],
)
def test_bad_words_are_one_line_and_code_2(words, named, site):
    command = [sys.executable, "-m", "aserve", "explain", *words]
    ran = subprocess.run(command, cwd=None, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert named in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_the_command_tells_and_draws(site):
    picture = site / "told.svg"
    command = [
        sys.executable,
        "-m",
        "aserve",
        "explain",
        str(site),
        "/a.txt",
        "--svg",
        str(picture),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("simulated-proactor: GET /a.txt, HTTP/1.1 200 OK\n")
    assert picture.read_text().startswith("<svg ")


def test_a_path_with_a_blank_is_sent_as_a_target(site, monkeypatch):
    monkeypatch.setattr(looking.shutil, "which", lambda _name: None)
    (site / "a ü.txt").write_text("x")
    story = capture(site, "/a ü.txt", "epoll", cold=False, again=False)
    assert story.target == "/a%20%C3%BC.txt"
    assert story.status == "HTTP/1.1 200 OK"


def test_the_picture_on_standard_output(site):
    command = [sys.executable, "-m", "aserve", "explain", str(site), "/a.txt", "--svg", "-"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ET.fromstring(ran.stdout).tag.endswith("svg")
