"""Reading the files of rules: what is wrong with them, and which rules there are meanwhile."""

import gc
import logging
import os
from weakref import ref

import pytest

from aserve.config.settings import Settings, SettingsError
from aserve.filesystem import rule_files
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.rule_files import MAX_REPORTED, RuleFiles, format_problems, read_rules
from aserve.http.messages import Response
from aserve.rules.dialects import DIALECTS, NETLIFY
from aserve.rules.problems import Problem

DIALECT = DIALECTS[NETLIFY]
NOW = 2_000_000_000
OLD = 1_000_000_000


def write(path, text, time=OLD):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, (time, time))


def targets(rules, path="/a"):
    return [match.rule.to for match in rules.redirects.find(path)] if rules.redirects else []


def files_of(root, **options):
    return RuleFiles(os.fsencode(root), DIALECT, Mounts(), now=NOW, **options)


def test_a_directory_without_files_has_no_rules(tmp_path):
    files = files_of(tmp_path)
    assert files.current(NOW, wait=True).redirects is None
    assert files.latest.headers is None
    assert files.latest.problems == ()
    files = files_of(tmp_path / "missing")
    assert files.current(NOW, wait=True).problems == ()


def test_rules_are_parsed_once_as_long_as_they_are_the_same(tmp_path):
    write(tmp_path / "_redirects", "/a /b")
    files = files_of(tmp_path)
    write(tmp_path / "_redirects", "/a /b", OLD + 1)
    assert files.current(NOW, wait=True) is read_rules(os.fsencode(tmp_path), DIALECT)


def test_the_rules_that_were_read_last_are_not_parsed_again(tmp_path, monkeypatch):
    """As those of which the problems are printed at the start, and which are then served."""
    write(tmp_path / "_redirects", "/a /b")
    read_rules(os.fsencode(tmp_path), DIALECT)
    monkeypatch.delattr(rule_files, "SiteRules")
    assert targets(read_rules(os.fsencode(tmp_path), DIALECT)) == ["/b"]


@pytest.mark.parametrize("wait", [True, False])
def test_a_change_is_read_only_where_that_may_take_time(tmp_path, wait, monkeypatch):
    monkeypatch.setattr(Mounts, "tracking_of", lambda _self, _device: ChangeTracking.STATE)
    write(tmp_path / "_redirects", "/a /b")
    files = files_of(tmp_path)
    assert targets(files.current(NOW, wait=wait)) == ["/b"]
    write(tmp_path / "_redirects", "/a /other")
    if not wait:
        with pytest.raises(BlockingIOError):
            files.current(NOW, wait=False)
    assert targets(files.current(NOW, wait=True)) == ["/other"]
    assert targets(files.current(NOW, wait=False)) == ["/other"]


def test_no_network_is_asked_where_nothing_may_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(Mounts, "tracking_of", lambda _self, _device: ChangeTracking.NONE)
    with pytest.raises(BlockingIOError):
        files_of(tmp_path).current(NOW, wait=False)


def test_young_files_are_read_again_until_they_have_settled(tmp_path, monkeypatch):
    write(tmp_path / "_redirects", "/a /b", NOW - 1)
    files = files_of(tmp_path)
    reads = []
    read = rule_files.read_rules
    monkeypatch.setattr(rule_files, "read_rules", lambda *given: reads.append(1) or read(*given))
    for now in (NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4):
        assert targets(files.current(now, wait=True)) == ["/b"]
    assert len(reads) == 3  # at NOW, a second later, and once they have settled


def test_what_is_made_by_rules_is_cached_no_longer_than_they_stay(tmp_path):
    class Quiet:
        is_started = False

        def is_quiet(self):
            return self.is_started

        def start(self):
            """Fail to watch."""

    response = Response(200, path=b"/a", absent=(b"/b",))
    watch = Quiet()
    files = files_of(tmp_path, watch=watch)
    paths = tuple(os.fsencode(tmp_path / name) for name in ("_headers", "_redirects"))
    assert files.bind(response) == response._replace(absent=(b"/b", *paths))
    assert files.bind(Response(200)) == Response(200)
    watch.is_started = True
    assert files.bind(response) is response
    write(tmp_path / "_headers", "/a\n X: y", NOW)
    files = files_of(tmp_path, watch=watch)
    assert files.bind(response).path == b""


@pytest.mark.parametrize("name", ["_redirects", "_headers"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"/a /b\n\n/c \xff\n", ":3: it is not in UTF-8"),
        (b"#" * 200, ": it is larger than 0 MiB"),
    ],
)
def test_what_cannot_be_read_is_a_problem(tmp_path, monkeypatch, name, content, problem):
    monkeypatch.setattr(rule_files, "MAX_SIZE", 100)
    write(tmp_path / name, content)
    problems = map(str, read_rules(os.fsencode(tmp_path), DIALECT).problems)
    assert f"{name}{problem}" in list(problems)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_a_problem_and_is_closed(tmp_path, monkeypatch, make):
    make(tmp_path / "_redirects")
    opened, closed, open_file, close = [], [], os.open, os.close

    def record(path, *given, **named):
        descriptor = open_file(path, *given, **named)
        if path == os.fsencode(tmp_path / "_redirects"):
            opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", record)
    monkeypatch.setattr(os, "close", lambda number: closed.append(number) or close(number))
    (problem,) = read_rules(os.fsencode(tmp_path), DIALECT).problems
    assert str(problem) == "_redirects: it cannot be read: it is no file"
    assert len(opened) == 1
    assert opened[0] in closed


def test_rules_that_have_been_replaced_are_not_kept(tmp_path):
    write(tmp_path / "_redirects", "/a /b\n")
    files = files_of(tmp_path)
    first = ref(files.latest)
    assert read_rules(os.fsencode(tmp_path), DIALECT) is files.latest
    write(tmp_path / "_redirects", "/a /other\n")
    assert targets(files.current(NOW, wait=True)) == ["/other"]
    gc.collect()
    assert first() is None


def test_a_byte_order_mark_is_no_part_of_a_rule(tmp_path):
    write(tmp_path / "_redirects", b"\xef\xbb\xbf/a /b\n")
    assert targets(read_rules(os.fsencode(tmp_path), DIALECT)) == ["/b"]


def test_problems_of_a_change_are_logged(tmp_path, caplog):
    files = files_of(tmp_path)
    write(tmp_path / "_redirects", "/a /b\nbad\n")
    with caplog.at_level(logging.WARNING, "aserve"):
        assert targets(files.current(NOW, wait=True)) == ["/b"]
    (line,) = caplog.messages
    assert line.startswith("_redirects:2: ")


def test_of_several_workers_one_reports_a_change(tmp_path, caplog):
    workers = [files_of(tmp_path), files_of(tmp_path)]
    for line in ("bad", "worse"):
        write(tmp_path / "_redirects", line)
        with caplog.at_level(logging.WARNING, "aserve"):
            for files in workers:
                files.current(NOW, wait=True)
    assert len(caplog.messages) == 2


def test_strict_rules_with_a_problem_are_not_used(tmp_path, caplog):
    write(tmp_path / "_redirects", "/a /b\n")
    files = files_of(tmp_path, is_strict=True)
    write(tmp_path / "_redirects", "/a /other\nbad\n")
    with caplog.at_level(logging.WARNING, "aserve"):
        assert targets(files.current(NOW, wait=True)) == ["/b"]
        assert targets(files.current(NOW, wait=True)) == ["/b"]
    assert [line.partition(": ")[0] for line in caplog.messages] == [
        "_redirects:2",
        "strict-rules",
    ]
    write(tmp_path / "_redirects", "/a /third\n")
    assert targets(files.current(NOW, wait=True)) == ["/third"]


def test_strict_rules_are_a_setting(tmp_path):
    write(tmp_path / "_redirects", "/a /b\n/c /d 302 Country=de\nbad\n")
    assert [problem.line for problem in Settings(tmp_path).read_rules().problems] == [2, 3]
    with pytest.raises(SettingsError, match="strict_rules: _redirects:2: the condition Country"):
        Settings(tmp_path, strict_rules=True)
    assert Settings(tmp_path, strict_rules=True, rules="off").read_rules().redirects is None


def test_many_problems_are_counted():
    lines = list(format_problems([Problem("_headers", line, "x") for line in range(1, 101)]))
    assert lines[0] == "_headers:1: x"
    assert lines[MAX_REPORTED:] == ["and 80 more lines have problems"]
