"""The command line itself: help, examples, completion, wrong uses, and --open."""

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress

import pytest

from aserve.cli import browser, commands, serving
from aserve.cli.help import use_color
from aserve.cli.main import main
from aserve.cli.parser import build_parser, with_values
from aserve.cli.usage_errors import UsageError, check_command
from aserve.config.kinds import KINDS
from tests.aserve.access.test_passwords import BCRYPT
from tests.aserve.test_cli import aserve, banner, get, stop, url_in

NOTHING = "DIR: there is no directory or file"
NO_COMMAND = "there is no such command, directory or file"
COMMANDS = {
    "aserve": "serve",
    "aserve check": "check",
    "aserve compress": "compress",
    "aserve explain": "explain",
}


def help_of(name, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*name.split()[1:], "--help"])
    assert exit_info.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_as_wide_as_the_terminal(name, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = help_of(name, capsys).splitlines()
    assert max(map(len, lines)) <= width
    assert [line for line in lines if line != line.rstrip()] == []
    for parameter in build_parser(COMMANDS[name]).params:
        spelling = max(parameter.opts, key=len)
        if spelling.startswith("-"):
            assert sum(bool(re.search(rf"^  .*{spelling}\b", line)) for line in lines) >= 1


def test_options_of_aserve_fit_on_one_line_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    options = help_of("aserve", capsys).partition("Address:")[2].partition("Other:")[0]
    assert [line for line in options.splitlines() if line.startswith("     ")] == []


def test_groups_follow_one_another_and_examples_come_last(capsys):
    headings = re.findall(r"^(\w.*):$", help_of("aserve", capsys), re.MULTILINE)
    assert headings == [
        *("Arguments", "Address", "HTTPS", "Files", "Folder pages", "URLs and error pages"),
        *("Headers", "Methods", "Writing", "Access", "Caching and limits"),
        *("Processes and models", "Stopping", "Logging"),
        *("Configuration", "Other"),
        *("Limits, each with its default", "URLs", "Headers by path", "Where clients may write"),
        "Who may read, and who may change files",
        *("Host names that are answered", "Models", "Examples"),
    ]


COMMANDS_WITH_ARGUMENTS = {"check", "compress", "explain", "passwd"}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_example_can_be_pasted(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "www").mkdir()
    (tmp_path / "users.txt").write_text(f"ann:{BCRYPT}")
    for example, comment in build_parser(COMMANDS[name]).sections["Examples"]:
        assert comment.startswith("# ")
        words = with_values(shlex.split(f"{example}  {comment}", comments=True)[1:])
        command = words.pop(0) if words[:1] and words[0] in COMMANDS_WITH_ARGUMENTS else "serve"
        options = build_parser(command).make_context("aserve", words).params
        if command not in {"compress", "explain", "passwd"}:
            chosen = {key: value for key, value in options.items() if value and key in KINDS}
            assert serving.read_settings(["www"], {**chosen, "config": "off"})


def test_every_option_may_come_first():
    """Also those that are called like a command, as --share and --compress are."""
    for parameter in build_parser("serve").params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("-"):
                check_command(option, commands.COMMANDS)
    with pytest.raises(UsageError):
        check_command("relod", commands.COMMANDS)


def test_help_has_colors_on_a_terminal_alone(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" not in help_of("aserve", capsys)
    terminal, process_side = pty.openpty()
    with aserve("explain", "--help", stdout=process_side) as process:
        os.close(process_side)
        shown = b""
        with suppress(OSError):  # EIO: the end
            while data := os.read(terminal, 10_000):
                shown += data
        os.close(terminal)
        assert process.wait(60) == 0
    assert b"\x1b[1mArguments\x1b[0m:" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert use_color() is False
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert use_color() is False
    monkeypatch.setenv("TERM", "xterm")
    assert use_color() is None


def test_help_whose_reader_stops_is_no_error():
    command = f"{sys.executable} -m aserve --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--prot 80", "--prot: there is no such option; did you mean --port?"),
        ("--p 80", "--p: there is no such option; did you mean --port?"),
        ("--no-quit", "--no-quit: there is no such option; did you mean --no-quiet?"),
        ("--redme", "--redme: there is no such option; did you mean --readme?"),
        ("--no-cors", "--no-cors: there is no such option; did you mean --cors?"),
        ("--check .", "--check: there is no such option; did you mean aserve check?"),
        ("--compress sometimes", "--compress: must be one of auto, siblings, off, not 'sometimes'"),
        ("relod 8080", f"relod: {NO_COMMAND}; did you mean aserve reload?"),
        ("./relod", f"{NOTHING} 'relod'"),
        ("--banana", "--banana: there is no such option; see aserve --help"),
        ("--bind 0.0.0.0", "--bind: there is no such option; use --host"),
        ("-port 80", "-port: it has two dashes: --port"),
        ("--port", "--port: needs a value: --port N"),
        ("--limit", "--limit: needs a value: --limit NAME=N"),
        ("--quiet=yes", "--quiet: takes no value"),
        ("--spa=", "--spa: must not be empty"),
        ("--spa=../a", "--spa: must be the path of a file beneath the root, not '../a'"),
        ("--spa -- --spa", "DIR: there is no directory or file '--spa'"),
        ("--index a,", "--index: must be the name of a file, not ''"),
        ("--urls", "--urls: needs a value: --urls NAME"),
        ("-p x", "--port: must be a whole number, not 'x'"),
        (". other", "DIR: /other: there is no directory or file 'other'"),
        ("docs=other", "DIR: /docs: there is no directory or file 'other'"),
        ("http://x/", f"{NOTHING} 'http://x/'; to load a server, use abench URL"),
        ("help", f"{NOTHING} 'help'; use --help"),
        ("check --explain docs", "--explain: must be a path or an http URL, not 'docs'"),
        (
            "check --explain https://a/",
            "--explain: must be a path or an http URL, not 'https://a/'",
        ),
        ("check --request-header A:b", "--request-header: has no effect without --explain"),
        (
            "check --explain / --request-header A",
            "--request-header: must be 'NAME: VALUE', not 'A'",
        ),
        ("check --explain", "--explain: needs a value: --explain URL"),
        ("check --modle x", "--modle: there is no such option; did you mean --model?"),
        ("check --config x", "--config: cannot read 'x': No such file or directory"),
        ("--write=off --quota 5", "--quota: has no effect where nothing can be written to"),
        ("explain", "DIR: is missing; see aserve explain --help"),
        ("explain .", "PATH: is missing; see aserve explain --help"),
        ("explain . / x", "x: more arguments than aserve explain takes; see aserve explain --help"),
        ("explain . / --modle x", "--modle: there is no such option; did you mean --model?"),
    ],
)
def test_a_wrong_use_is_one_line_with_the_way_out(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        main(line.split())
    assert (exit_info.value.code, *capsys.readouterr()) == (2, "", f"aserve: error: {message}\n")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("aserve --mo", "--model"),
        ("aserve --model epoll", "epoll epoll-et"),
        ("aserve --limit max-b", "max-body=1048576"),
        ("aserve e", "explain"),
        ("aserve c", "check compress"),
        ("aserve check --mo", "--model"),
        ("aserve check --expl", "--explain"),
        ("aserve sub", ""),  # bash itself completes files then
        ("aserve docs=su", "docs=sub/"),
        ("aserve docs=./a", "docs=./a.txt"),
        ("aserve explain --a", "--again"),
        ("aserve explain . /a", "/a.txt"),
    ],
)
def test_what_completes_a_line(line, offered, directory, monkeypatch, capsys):
    """Ask as the script in bash does, without a shell."""
    monkeypatch.chdir(directory)
    monkeypatch.setenv("_ASERVE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(line.split()))
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == offered.split()


def test_zsh_and_fish_send_the_line_in_another_variable(monkeypatch, capsys):
    monkeypatch.setenv("_ASERVE_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "aserve --dispatch r")
    monkeypatch.setenv("COMP_CWORD", "2")  # none of theirs; it is undone after the test
    with pytest.raises(SystemExit):
        main([])
    assert re.findall(r'"([\w-]+)"', capsys.readouterr().out) == ["round-robin", "random"]


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put the program into PATH, as an installation does."""
    script = tmp_path / "bin" / "aserve"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m aserve "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def shell(name, script, directory):
    done = subprocess.run(
        [name, *script], capture_output=True, text=True, check=False, cwd=directory, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


BASH = """
source <(aserve --show-completion)
ask() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _aserve_completion aserve
    echo "${COMPREPLY[*]}"
}
ask aserve --mo
ask aserve --model epoll
ask aserve --limit max-b
ask aserve e
ask aserve sub
ask aserve explain --a
ask aserve explain . /a
"""


@pytest.mark.slow
def test_bash_completes_options_values_and_commands(program, directory):
    assert shell("bash", ["-c", BASH], directory) == [
        "--model",
        "epoll epoll-et",
        "max-body=1048576",
        "explain",
        "",  # bash itself completes files then
        "--again",
        "/a.txt",
    ]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_understands_the_completion(program, directory):
    load = 'autoload -Uz compinit; compinit -uD; eval "$(_ASERVE_COMPLETE=source_zsh aserve)"'
    ask = "_TYPER_COMPLETE_ARGS='aserve --dispatch r' _ASERVE_COMPLETE=complete_zsh aserve"
    script = f"{load}; whence -w _aserve_completion; {ask}"
    lines = shell("zsh", ["-fc", script], directory)
    assert lines[0] == "_aserve_completion: function"
    assert re.findall(r'"([\w-]+)"', "".join(lines[1:])) == ["round-robin", "random"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_completes(program, directory):
    script = "_ASERVE_COMPLETE=source_fish aserve | source; complete -C 'aserve --access-log o'"
    assert shell("fish", ["-Nc", script], directory) == ["off\tno log, not even on a terminal"]


@pytest.mark.parametrize(("served", "workers"), [("", 1), ("", 2), ("a.txt", 1)])
def test_open_starts_the_browser_once(directory, tmp_path, monkeypatch, served, workers):
    opened, done = tmp_path / "opened", tmp_path / "done"
    os.mkfifo(done)
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" >>{opened}\necho >{done}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(script))
    options = ("--open", "--host", "0.0.0.0", "-p", 0, "-w", workers)
    with aserve(directory / served, *options) as process:
        url = url_in(banner(process))
        done.read_text()  # waits for the browser
        assert get(url)[0] == 200
        assert stop(process) == (0, "")
    assert opened.read_text() == f"{url}\n"
    assert url.startswith("http://127.0.0.1:")
    assert url.endswith(f"/{served}")


@pytest.mark.parametrize("found", [None, "w3m"])
def test_without_a_graphical_browser_the_url_is_printed(found, monkeypatch, capsys):
    def find():
        if found is None:
            raise browser.webbrowser.Error("could not locate runnable browser")
        return browser.webbrowser.GenericBrowser(found)

    monkeypatch.setattr(browser.webbrowser, "get", find)
    serving._open_site("http://127.0.0.1:1/")
    assert capsys.readouterr().err == (
        "aserve: --open: no graphical browser is found; open http://127.0.0.1:1/ yourself\n"
    )
