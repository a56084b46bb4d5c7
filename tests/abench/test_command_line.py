"""The command line itself: help, examples, completion, and wrong uses."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from abench.cli.commands import BENCH, COMMANDS
from abench.cli.help import use_color
from abench.cli.main import build_parser, main

PARSED = {"": BENCH} | {name: one for name, one in COMMANDS.items() if name != "--webbench"}
GROUPS = {
    "": [
        *("Arguments", "Load", "Request", "Success and gates", "TLS, proxy and addresses"),
        *("Workers and server", "Behavior of each connection", "Reports", "Other"),
        *("Commands", "Exit codes", "Examples"),
    ],
    "ab-test": [
        *("Arguments", "Load", "Request", "Success and gates", "TLS, proxy and addresses"),
        *("Workers and server", "Behavior of each connection", "Comparison", "Other", "Examples"),
    ],
    "calibrate": ["Load", "Workers and server", "Reports", "Other", "Examples"],
    "capacity": [
        *("Arguments", "Load", "Request", "Success and gates", "TLS, proxy and addresses"),
        *("Workers and server", "Behavior of each connection", "Search", "Reports", "Other"),
        *("Exit codes", "Examples"),
    ],
    "compare": ["Arguments", "Comparison", "Reports", "Other", "Examples"],
    "report": ["Arguments", "Reports", "Other", "Examples"],
    "run": [
        *("Arguments", "Load", "Request", "Success and gates", "TLS, proxy and addresses"),
        *("Workers and server", "Behavior of each connection", "Reports", "Other", "Examples"),
    ],
    "trend": ["Arguments", "Comparison", "Reports", "Other", "Examples"],
}


def help_of(name, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*name.split(), "--help"])
    assert exit_info.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", PARSED)
def test_help_is_as_wide_as_the_terminal(name, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    shown = help_of(name, capsys)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert [line for line in lines if line != line.rstrip()] == []
    assert "\x1b" not in shown
    assert re.findall(r"^(\w.*):$", shown, re.MULTILINE) == GROUPS[name]
    for parameter in build_parser(PARSED[name]).params:
        spelling = next(one for one in (*parameter.opts, "") if len(one) > 2 or not one)
        if spelling.startswith("-"):
            assert re.search(rf"^  .*{spelling}\b", shown, re.MULTILINE)


def test_each_option_of_a_run_fits_on_one_line_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    options = help_of("", capsys).partition("Load:")[2].partition("Other:")[0]
    assert [line for line in options.splitlines() if line.startswith("     ")] == []


@pytest.mark.parametrize("name", PARSED)
def test_each_example_can_be_pasted(name):
    for example, comment in build_parser(PARSED[name]).sections["Examples"]:
        program, *words = shlex.split(f"{example} {comment}", comments=True)
        words = words[: words.index("|")] if "|" in words else words
        words = words[: words.index(">")] if ">" in words else words
        if name:
            assert words.pop(0) == name
        assert program == "abench"
        assert build_parser(PARSED[name]).make_context("abench", words).params


def test_colors_are_for_terminals_alone(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert use_color() is False
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert use_color() is False
    monkeypatch.setenv("TERM", "xterm")
    assert use_color() is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "URL: no URL is given; see abench --help"),
        ("--tme 3 localhost", "--tme: there is no such option; did you mean --time?"),
        ("--frobnicate localhost", "--frobnicate: there is no such option; see abench --help"),
        ("-z 5s localhost", "-z: there is no such option; hey's and oha's -z is -t"),
        ("-time 3 localhost", "-time: it has two dashes: --time"),
        ("localhost --time", "--time: needs a value: --time SECONDS"),
        ("localhost -t", "-t: needs a value: -t SECONDS"),
        ("--quiet=yes localhost", "--quiet: takes no value"),
        (
            "comparee a b",
            "URL: 'comparee' is neither a URL nor a command; did you mean abench compare?",
        ),
        ("compare a", "AFTER: is missing; see abench compare --help"),
        ("compare a b c", "c: more arguments than abench compare takes; see abench compare --help"),
        (
            "report a --cvs b",
            "--cvs: there is no such option; did you mean --csv?",
        ),
        ("--arrivals x -R 5 localhost", "--arrivals: must be constant or poisson, not 'x'"),
        (
            "--webbench",
            "--webbench: the following arguments are required: URL; see abench --webbench --help",
        ),
    ],
)
def test_a_wrong_use_is_one_line_with_the_way_out(refused, line, message):
    ran = refused(*line.split())
    assert (ran.code, ran.out, ran.err) == (2, "", f"abench: error: {message}\n")


def test_help_whose_reader_stops_is_no_error():
    command = f"{sys.executable} -m abench --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("abench co", "compare"),
        ("abench localhost co", ""),  # bash itself completes files then
        ("abench --server-c", "--server-cgroup"),
        ("abench -X P", "POST PUT PATCH"),
        ("abench compare --to", "--tolerance"),
    ],
)
def test_what_completes_a_line(line, offered, monkeypatch, capsys):
    """Ask as the script in bash does, without a shell."""
    monkeypatch.setenv("_ABENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(line.split()))
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == offered.split()


def test_zsh_and_fish_send_the_line_in_another_variable(monkeypatch, capsys):
    monkeypatch.setenv("_ABENCH_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "abench ab-test --arrivals c")
    monkeypatch.setenv("COMP_CWORD", "2")  # none of theirs; it is undone after the test
    with pytest.raises(SystemExit):
        main([])
    assert re.findall(r'"(\w+)"', capsys.readouterr().out) == ["constant"]


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put the program into PATH, as an installation does."""
    script = tmp_path / "bin" / "abench"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m abench "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def shell(name, *arguments):
    done = subprocess.run(
        [name, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


BASH = """
source <(abench --show-completion)
ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _abench_completion abench
    echo "${COMPREPLY[*]}"
}
ask abench co
ask abench localhost co
ask abench --server-c
ask abench -X P
ask abench compare --to
"""


@pytest.mark.slow
def test_bash_completes_commands_options_and_values(program):
    assert shell("bash", "-c", BASH) == [
        "compare",
        "",  # bash itself completes files then
        "--server-cgroup",
        "POST PUT PATCH",
        "--tolerance",
    ]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_understands_the_completion(program):
    load = 'autoload -Uz compinit; compinit -uD; eval "$(_ABENCH_COMPLETE=source_zsh abench)"'
    ask = "_TYPER_COMPLETE_ARGS='abench ab-test --arrivals c' _ABENCH_COMPLETE=complete_zsh abench"
    lines = shell("zsh", "-fc", f"{load}; whence -w _abench_completion; {ask}")
    assert lines[0] == "_abench_completion: function"
    assert re.findall(r'"(\w+)"', "".join(lines[1:])) == ["constant"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes(program):
    script = "_ABENCH_COMPLETE=source_fish abench | source; complete -C 'abench rep'"
    assert shell("fish", "-Nc", script) == ["report\tprint a saved report again"]


def test_pydantic_is_not_imported():
    """typer would use it to turn a text into a text."""
    command = (sys.executable, "-X", "importtime", "-m", "abench", "-c", "0", "localhost")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    imported = set(re.findall(r"([\w.]+)$", done.stderr, re.MULTILINE))
    assert {"typer", "abench.cli.outputs"} <= imported
    assert imported & {"pydantic", "webbrowser"} == set()
