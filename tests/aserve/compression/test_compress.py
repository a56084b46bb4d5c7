"""`aserve compress`: which siblings it writes, what they hold, and what it leaves alone."""

import gzip
import os
import stat
from importlib import import_module

import pytest

from aserve.cli.main import main
from aserve.compression import siblings
from aserve.compression.codecs import _ZSTD, BEST_LEVELS, available_codings, compressor
from aserve.compression.siblings import FileChanged, Stopped, write_sibling

TEXT = b"a line of text that repeats itself\n" * 400
DECODERS = {
    "br": lambda data: import_module("brotli").decompress(data),
    "zstd": lambda data: import_module(_ZSTD).decompress(data),
    "gzip": gzip.decompress,
}
ALL = ["app.js", "app.js.br", "app.js.gz", "app.js.zst"]


@pytest.fixture
def site(tmp_path):
    (tmp_path / "app.js").write_bytes(TEXT)
    os.utime(tmp_path / "app.js", ns=(10**18 + 1, 10**18 + 1))
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            main(["compress", *map(str, arguments)])
        return exit_info.value.code, *capsys.readouterr()

    return run


def names(directory):
    return sorted(one.name for one in directory.iterdir())


def times(directory):
    return {one.name: (one.stat().st_ino, one.stat().st_ctime_ns) for one in directory.iterdir()}


@pytest.mark.parametrize("coding", BEST_LEVELS)
def test_a_compressor_gives_back_what_it_took(coding):
    encoder = compressor(coding, BEST_LEVELS[coding])
    data = b"".join(map(encoder.compress, (TEXT, b"", TEXT))) + encoder.flush()
    assert DECODERS[coding](data) == TEXT * 2


def test_siblings_hold_the_file_with_its_mode_and_time(site, run):
    (site / "app.js").chmod(0o640)
    assert run(site)[::2] == (0, "")
    assert available_codings() == ("br", "zstd", "gzip")
    assert names(site) == ALL
    for coding, suffix in (("br", "br"), ("zstd", "zst"), ("gzip", "gz")):
        sibling = site / f"app.js.{suffix}"
        assert DECODERS[coding](sibling.read_bytes()) == TEXT
        assert sibling.stat().st_mtime_ns == 10**18 + 1
        assert stat.S_IMODE(sibling.stat().st_mode) == 0o640


def test_a_second_run_writes_nothing(site, run):
    run(site)
    before = times(site)
    code, output, _ = run(site)
    assert code == 0
    assert output.count("0 written, 1 up to date") == 3
    assert times(site) == before


@pytest.mark.parametrize("mtime", [10**18, 10**18 + 2], ids=["older", "newer"])
def test_a_stale_sibling_is_replaced(mtime, site, run):
    run(site)
    (site / "app.js").write_bytes(TEXT * 2)
    os.utime(site / "app.js", ns=(mtime, mtime))
    code, output, _ = run("--check", site)
    assert code == 1
    stale = [line for line in output.splitlines() if line.startswith("stale: ")]
    assert stale == ["stale: app.js.br", "stale: app.js.gz", "stale: app.js.zst"]
    assert run(site)[0] == 0
    assert gzip.decompress((site / "app.js.gz").read_bytes()) == TEXT * 2
    assert run("--check", site)[0] == 0


def test_a_check_and_a_dry_run_write_nothing(site, run):
    for option, expected in (("--check", 1), ("--dry-run", 0)):
        code, output, _ = run(option, site)
        assert code == expected
        assert "missing: app.js.br\n" in output
        assert names(site) == ["app.js"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("small.txt", TEXT[:255]),
        ("random.txt", os.urandom(5_000)),
        ("photo.jpg", TEXT),
        ("font.woff2", TEXT),
        ("backup.gz", TEXT),
        (".hidden", TEXT),
        ("server.key", TEXT),
    ],
)
def test_what_is_not_worth_it_or_hidden_is_left_alone(name, content, tmp_path, run):
    (tmp_path / name).write_bytes(content)
    assert run(tmp_path)[0] == 0
    assert run("--check", tmp_path)[0] == 0
    assert names(tmp_path) == [name]


def test_siblings_without_a_file_and_links_are_left_alone(site, run):
    (site / "old.css.gz").write_bytes(b"of a user")
    (site / "link.js").symlink_to("app.js")
    run(site)
    assert names(site) == sorted([*ALL, "link.js", "old.css.gz"])
    assert (site / "old.css.gz").read_bytes() == b"of a user"


def test_globs_choose_files(site, run):
    (site / "sub").mkdir()
    (site / "sub" / "page.html").write_bytes(TEXT)
    run("--exclude", "sub/*", "--include", "*.html", site)
    assert names(site) == ["app.js", "sub"]
    assert names(site / "sub") == ["page.html"]
    run("--include", "*.html", site)
    assert len(names(site / "sub")) == 4
    assert names(site) == ["app.js", "sub"]


def test_a_file_that_changes_meanwhile_gets_no_sibling(site, monkeypatch):
    path = os.fsencode(site / "app.js")

    def change(source, is_stopped):
        yield os.read(source, 1 << 20)
        with open(path, "ab") as file:
            file.write(b"more")

    monkeypatch.setattr(siblings, "_chunks", change)
    with pytest.raises(FileChanged):
        write_sibling(path, "gzip", lambda: False)
    assert names(site) == ["app.js"]


def test_a_stop_leaves_nothing_half(site):
    with pytest.raises(Stopped):
        write_sibling(os.fsencode(site / "app.js"), "br", lambda: True)
    assert names(site) == ["app.js"]


def test_errors_are_one_line(site, run):
    code, _, errors = run(site / "none")
    assert (code, errors.count("\n")) == (2, 1)
    assert "there is no directory" in errors
    code, _, errors = run("--exclude", "..", site)
    assert (code, errors.count("\n")) == (2, 1)
    assert "--exclude" in errors


def test_a_failure_is_named_and_the_rest_is_done(site, run):
    (site / "b.js").write_bytes(TEXT)
    (site / "b.js.gz").mkdir()
    code, _, errors = run(site)
    assert code == 1
    assert errors.startswith("aserve: error: 'b.js': ")
    assert set(names(site)) >= set(ALL)


def test_a_directory_that_cannot_be_read_is_named(site, run, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, _, errors = run(site)
    assert (code, errors.count("\n")) == (1, 1)
    assert f"{os.fspath(site)}/': Permission denied" in errors
