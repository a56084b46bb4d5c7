"""Destinations of reports: every kind of file and stream, checked before the run."""

import asyncio
import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from abench.cli import outputs as outputs_module
from abench.cli.outputs import Outputs
from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.report import destinations, document
from abench.stats.results import build_results
from abench.stats.summary import Summary
from tests.marks import slow, slow_except

OPTIONS = ("--json", "--csv", "--hgrm", "--html")


def destination(path):
    return destinations.Destination("--json", str(path))


@pytest.fixture
def saved(tmp_path):
    """Return the path of a saved report, which is printed again in an instant."""
    path = tmp_path / "saved.json"
    with path.open("w") as stream:
        document.write_json(build_results(Plan(url="http://h/"), Summary(elapsed_ns=10**9)), stream)
    return path


def shell(line, **where):
    """Run a shell line in which $ABENCH is this abench."""
    env = {**os.environ, "ABENCH": f"{sys.executable} -m abench"}
    words = ["sh", "-c", line]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False, **where)


async def run_in_shell(line, url, tmp_path):
    return await asyncio.to_thread(shell, line.replace("URL", url), cwd=tmp_path)


# Files.


def test_file_is_written_atomically(tmp_path):
    path = tmp_path / "new"
    destination(path).save("first \N{SNOWMAN} \udcff")
    assert path.read_text() == "first \N{SNOWMAN} \\udcff"
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o4755])
def test_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "old"
    path.write_text("old")
    path.chmod(mode)
    destination(path).save("new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_file_keeps_its_owner(tmp_path):
    if os.geteuid():
        pytest.skip("only root can give a file away")
    path = tmp_path / "old"
    path.write_text("a long old text")
    os.chown(path, 1234, 1234)
    destination(path).save("new")
    assert (path.read_text(), path.stat().st_uid, path.stat().st_gid) == ("new", 1234, 1234)
    assert list(tmp_path.iterdir()) == [path]


def test_file_keeps_its_hard_links(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("old")
    other.hardlink_to(one)
    destination(one).save("new")
    assert other.read_text() == "new"


@pytest.mark.parametrize("exists", [True, False])
def test_symbolic_link_is_followed(tmp_path, exists):
    (tmp_path / "directory").mkdir()
    real, link = tmp_path / "directory" / "real", tmp_path / "link"
    link.symlink_to(real)
    if exists:
        real.write_text("old")
    destination(link).save("x")
    assert link.is_symlink()
    assert real.read_text() == "x"


@pytest.mark.parametrize("number", sorted(destinations._IN_PLACE))
def test_file_that_cannot_be_replaced_is_overwritten(tmp_path, monkeypatch, number):
    path = tmp_path / "mounted"
    path.write_text("a longer text than the new one")
    before = path.stat().st_ino

    def busy(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", busy)
    destination(path).save("new")
    assert (path.read_text(), path.stat().st_ino) == ("new", before)
    assert list(tmp_path.iterdir()) == [path]


def test_mounted_file_is_written(tmp_path, saved):
    inside, outside = tmp_path / "inside.json", tmp_path / "outside.json"
    inside.write_text("")
    outside.write_text("")
    mount = f"mount --bind {outside} {inside}"
    if not shutil.which("unshare") or shell(f"unshare -m sh -c '{mount}'").returncode:
        pytest.skip("nothing can be mounted here")
    ran = shell(f"unshare -m sh -c '{mount} && $ABENCH report {saved} --json {inside}'")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(outside.read_text())["schema"] == document.SCHEMA


def test_full_disk_loses_no_data(tmp_path, monkeypatch):
    path = tmp_path / "old"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        destination(path).save("new")
    monkeypatch.undo()
    (tmp_path / "other name").hardlink_to(path)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        destination(path).save("new and longer")
    assert path.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["old", "other name"]


# Refusals before a run.


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Change to a directory with a file of each kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("kept")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("missing/file")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        yield tmp_path


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("directory", "is a directory"),
        ("none/file", "there is no directory"),
        ("nowhere", "there is no directory"),
        ("new/", "name of a file is missing"),
        ("", "name of a file is missing"),
        ("file/x", "not a directory"),
        ("loop", "symbolic links"),
        ("x" * 300, "name too long"),
        ("pipe", "no process reads from pipe"),
        ("socket", "is a socket"),
        ("/proc/x", "no such file"),
        ("/dev/fd/900", "bad file descriptor"),
        ("off", "leave the option out"),
        ("OFF", "leave the option out"),
        ("none", "leave the option out"),
        ("stdout", "use - for standard output"),
        ("stderr", "use /dev/stderr for standard error"),
        ("--quiet", "'--quiet' is an option"),
        ("http://127.0.0.1/", "is a URL"),
    ],
)
def test_unwritable_destination_is_refused(places, refused, option, name, reason):
    before = sorted(places.iterdir())
    ran = refused(f"{option}={name}", "http://127.0.0.1:1/")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"abench: error: {option}: ")
    assert reason in ran.err
    assert ran.err.count("\n") == 1
    assert sorted(places.iterdir()) == before


def test_read_only_descriptor_is_refused(tmp_path):
    (tmp_path / "x").write_text("")
    with (tmp_path / "x").open() as reading, pytest.raises(ParameterError, match="not open for"):
        destinations.Destination("--csv", f"/dev/fd/{reading.fileno()}")


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "file", "--csv", "file"),
        ("--json", "new", "--csv", "./new"),
        ("--json", "new", "--html", "directory/../new"),
        ("--csv", "file", "--html", "link"),
        ("--csv", "file", "--html", "name"),
        ("--hgrm", "a.service.hgrm", "--csv", "a.service.hgrm"),
        ("-R", "1", "--csv", "a.service.hgrm", "--hgrm", "a.hgrm"),
        ("--json", "-", "--csv", "-"),
        ("--hgrm", "/dev/stdout", "--html", "-"),
        ("--hgrm", "/dev/fd/1", "--json", "/proc/self/fd/1"),
    ],
)
def test_two_reports_in_one_file_are_refused(places, refused, words):
    (places / "link").symlink_to("file")
    (places / "name").hardlink_to("file")
    ran = refused(*words, "http://127.0.0.1:1/")
    assert ran.code == 2
    assert "is already the output of" in ran.err
    assert ran.err.count("\n") == 1
    assert (places / "file").read_text() == "kept"


def test_dev_null_may_be_used_more_than_once():
    outputs = Outputs(json="/dev/null", csv="/dev/null", hgrm="/dev/null")
    outputs.check(scheduled=True)
    assert len(outputs.destinations) == 3


def test_input_is_not_overwritten(saved, refused):
    ran = refused("report", str(saved), "--csv", str(saved))
    assert (ran.code, "is the report that is read" in ran.err) == (2, True)
    assert shell(f"$ABENCH report {saved} --json {saved}").returncode == 0
    assert document.read_report(saved)


# Standard output.


@pytest.mark.parametrize("option", slow_except(OPTIONS, "--json"))
@pytest.mark.parametrize(
    "name", slow_except(["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"], "-")
)
def test_any_output_may_be_standard_output(saved, option, name):
    ran = shell(f"$ABENCH report {saved} {option} {name} | cat", cwd=saved.parent)
    assert ran.returncode == 0
    assert "pages/sec" in ran.stderr
    first = {"--json": "{", "--csv": "at_s,", "--hgrm": "       Value", "--html": "<!doctype"}
    assert ran.stdout.startswith(first[option])
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_missing_standard_output_is_refused(saved):
    ran = shell(f"$ABENCH report {saved} --json - >&-")
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert ran.stderr.startswith("abench: error: --json: ")


@pytest.mark.slow
def test_standard_output_may_be_a_file(saved):
    place = saved.parent / "out.json"
    place.write_text("before\n")
    for name in ("-", "/dev/stdout"):
        assert shell(f"$ABENCH report {saved} --json {name} >>{place}").returncode == 0
    before, *documents = place.read_text().split("\n{")
    assert (before, len(documents)) == ("before", 2)
    ran = shell(f"$ABENCH report {saved} --json {place} >>{place}")
    assert (ran.returncode, "is already the file of -" in ran.stderr) == (2, True)


@pytest.mark.slow
def test_page_is_utf_8_in_any_locale(saved):
    plain = json.loads(saved.read_text())
    saved.write_text(json.dumps({**plain, "faults": ["\N{SNOWMAN}"]}))
    line = f"PYTHONUTF8=0 PYTHONIOENCODING=ascii LC_ALL=C $ABENCH report {saved}"
    assert "\N{SNOWMAN}" in shell(f"{line} --html -").stdout
    assert "\\u2603" in shell(line).stdout


def test_descriptors_and_pipes_are_written(saved):
    ran = shell(
        f"$ABENCH report {saved} --json /dev/fd/3 --csv /dev/stderr 3>got.json", cwd=saved.parent
    )
    assert ran.returncode == 0
    assert json.loads((saved.parent / "got.json").read_text())
    assert ran.stderr.startswith("at_s,")
    line = f"mkfifo p; cat p >got & until $ABENCH report {saved} --json p; do :; done; wait"
    shell(line, cwd=saved.parent)
    assert json.loads((saved.parent / "got").read_text())


# Closed or full streams: the files are still written.


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        slow("$ABENCH -n 5 --json r.json URL | true", 0, ""),
        slow("$ABENCH -n 5 --json r.json --csv - URL 2>err | true", 0, ""),
        slow("$ABENCH -n 5 --json r.json URL >&-", 0, ""),
        slow("$ABENCH -n 5 --json r.json URL 2>&-", 0, ""),
        slow("$ABENCH -n 5 --json r.json URL >&- 2>&-", 0, ""),
        slow("$ABENCH -n 5 --json r.json URL <&- >&- 2>&-", 0, ""),
        (
            "$ABENCH -n 5 --json r.json URL >/dev/full",
            3,
            "standard output: no space left on device",
        ),
        slow("$ABENCH -n 5 --json r.json URL >/dev/full 2>/dev/full", 3, ""),
        slow(
            "$ABENCH -n 5 --csv /dev/full --json r.json URL >&2",
            3,
            "--csv: /dev/full: no space left",
        ),
        slow("$ABENCH -n 5 --json r.json --fail-if 'p50>0us' URL >/dev/full", 4, "no space left"),
        slow("$ABENCH -n 5 --json r.json --fail-if 'p50>0us' URL | true", 4, ""),
    ],
)
async def test_files_are_written_whatever_happens_to_the_streams(
    serve, tmp_path, line, code, message
):
    server = await serve()
    if "| true" in line:  # the shell returns the exit code of the last command of a pipe
        line = f"{{ {line.removesuffix('| true')}; echo $? >code; }} | true; exit $(cat code)"
    ran = await run_in_shell(line, server.url, tmp_path)
    assert ran.returncode == code
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert message or not ran.stderr
    assert json.loads((tmp_path / "r.json").read_text())["requests"]["succeeded"] == 5


@pytest.mark.parametrize(
    "words",
    slow_except(
        ["--help", "--version", "report S", "--webbench --help", "calibrate -h"],
        "report S",
    ),
)
@pytest.mark.parametrize(("where", "code"), [("| true", 0), (">/dev/full", 3), slow(">&-", 0)])
def test_every_command_tolerates_a_missing_reader(saved, words, where, code):
    line = f"$ABENCH {words.replace('S', str(saved))} {where}"
    if where == "| true":
        line = f"{{ {line.removesuffix('| true')}; echo $? >code; }} | true; exit $(cat code)"
    ran = shell(line, cwd=saved.parent)
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    assert ran.returncode == code


def test_failing_writer_does_not_stop_the_others(saved, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("of a library")

    monkeypatch.setitem(outputs_module._WRITERS, "--csv", fail)
    outputs = Outputs(csv=str(saved.parent / "x.csv"), json=str(saved.parent / "x.json"))
    outputs.check(scheduled=False)
    assert outputs.write_all(document.read_report(saved), 0) == 3
    assert "--csv: " in capsys.readouterr().err
    assert sorted(path.name for path in saved.parent.iterdir()) == ["saved.json", "x.json"]
