"""The command `aserve share`: what it prints, and what is wrong with what it is given."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.cli import share
from aserve.cli.main import main
from aserve.shares.links import Link
from aserve.shares.store import ShareStore
from tests.aserve.test_cli import get

DAY = 86_400
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a directory with a site; return the exit code, output and messages."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(share, "find_servers", list)
    (tmp_path / "www" / "photos").mkdir(parents=True)
    (tmp_path / "www" / "a b.txt").write_text("alpha")
    (tmp_path / "www" / ".hidden").write_text("hidden")

    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main(["share", *arguments])
        assert isinstance(exit_info.value.code, int)
        return exit_info.value.code, *capsys.readouterr()

    return run_command


def links_in(file: Path) -> list[Link]:
    store = ShareStore(file)
    links = list(store.all_links(0))
    store.close()
    return links


def test_a_link_is_made_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    code, url, message = run("www/a b.txt")
    assert code == 0
    assert re.fullmatch(r"http://localhost:8000/\.aserve/s/[\w-]{24}/a%20b\.txt\n", url)
    (link,) = links_in(tmp_path / "state" / "aserve" / "shares.db")
    assert link.path == bytes(tmp_path / "www" / "a b.txt")
    assert link.limit is None
    assert link.expires == link.created + 7 * DAY
    found = re.fullmatch(
        r"aserve: for any number of downloads, until (\d{4}-\d\d-\d\d \d\d:\d\d) UTC;"
        rf" to end it: aserve share --revoke {link.id}\n",
        message,
    )
    assert found
    code, listed, _ = run("--list")
    assert code == 0
    assert listed.split("  ") == [
        *(link.id, f"until {found[1]} UTC", "0 downloads", f"{tmp_path}/www/a b.txt\n")
    ]
    assert run("--revoke", link.id)[:2] == (0, f"{link.id} of {tmp_path}/www/a b.txt is revoked\n")
    assert run("--list") == (0, "", "")
    code, _, message = run("--revoke", link.id)
    expected = f"--revoke: there is no link '{link.id}'; see aserve share --list"
    assert (code, message) == (2, f"aserve: error: {expected}\n")


@pytest.mark.parametrize(
    ("options", "limits", "said"),
    [
        ("--expires 30m", (1_800, None), "for any number of downloads, until "),
        ("--expires 12h --downloads 1", (DAY // 2, 1), "for 1 download, until "),
        ("--expires never --downloads 2000", (None, 2_000), "for 2,000 downloads, without"),
    ],
)
def test_when_a_link_ends(
    run: Run, tmp_path: Path, options: str, limits: tuple[int | None, int | None], said: str
) -> None:
    lifetime, limit = limits
    _, url, message = run(*options.split(), "--store", "my.db", "www/photos/")
    assert url.endswith("/photos/\n")
    assert message.startswith(f"aserve: {said}")
    (link,) = links_in(tmp_path / "my.db")
    assert link.limit == limit
    assert link.expires == (lifetime and link.created + lifetime)
    assert f"0{f' of {limit:,}' if limit else ''} downloads" in run("--list", "--store", "my.db")[1]


def test_the_list_says_which_links_have_ended(run: Run, tmp_path: Path) -> None:
    store = ShareStore(tmp_path / "my.db")
    store.add(b"/srv/\n", 1, 2, 1)
    store.close()
    _, listed, _ = run("--list", "--store", "my.db")
    assert "until 1970-01-01 00:00 UTC" in listed
    assert listed.endswith("0 of 1 downloads (ended)  '/srv/\\n'\n")


SETTINGS = {
    "port = 9000": "http://localhost:9000",
    "port = 9000\nhost = '127.0.0.1'": "http://127.0.0.1:9000",
    "host = '::1'": "http://[::1]:8000",
    "allowed-hosts = ['files.test', 'local']": "http://files.test:8000",
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_url_is_that_of_the_settings(run: Run, tmp_path: Path, settings: str) -> None:
    (tmp_path / "aserve.toml").write_text(f"root = 'www'\nshare = 'my.db'\n{settings}\n")
    _, url, _ = run("www/photos")
    assert url.startswith(f"{SETTINGS[settings]}/.aserve/s/")
    assert len(links_in(tmp_path / "my.db")) == 1
    _, url, _ = run("--url", "https://a.test/behind/", "www/photos")
    assert url.startswith("https://a.test/behind/.aserve/s/")


def test_the_store_is_the_one_that_the_settings_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    for text, file in (("'my.db'", "etc/my.db"), ("true", "state/aserve/shares.db")):
        (tmp_path / "etc" / "a.toml").write_text(f"root = '../www'\nshare = {text}\n")
        assert run("www/photos", "--config", "etc/a.toml")[0] == 0
        assert len(links_in(tmp_path / file)) == 1
    monkeypatch.setenv("ASERVE_SHARE", str(tmp_path / "other.db"))
    monkeypatch.setenv("ASERVE_ROOT", "www")
    assert run("www/photos", "--store", "last.db")[0] == 0
    assert run("www/photos")[0] == 0
    assert len(links_in(tmp_path / "other.db")) == len(links_in(tmp_path / "last.db")) == 1


def test_a_server_that_runs_answers_the_url(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "www"
    with aserve.Server(root, auth=("ann:a",), share=str(tmp_path / "my.db")) as server:
        port = str(urlsplit(server.url).port)
        (tmp_path / "aserve.toml").write_text(f"root = 'www'\nport = {port}\nshare = 'my.db'")
        _, url, _ = run("www/a b.txt")
        assert get(url.strip()) == (200, b"alpha")
        _, folder, _ = run("www")
        assert get(f"{folder.strip()}a%20b.txt") == (200, b"alpha")
    assert [link.downloads for link in links_in(tmp_path / "my.db")] == [1, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "PATH: is missing; see aserve share --help"),
        ("none", "PATH: there is no file or folder none"),
        ("/dev/null", "PATH: there is no file or folder /dev/null"),
        ("www --list", "--list: does not go with PATH"),
        ("--list --revoke x", "--revoke: does not go with --list"),
        ("--list --expires 1d", "--expires: is for a new link, which needs a PATH"),
        ("--expires 7 www", "--expires: must be a time such as 30m, 12h or 7d, not '7'"),
        ("--expires 0d www", "--expires: must be a time such as 30m, 12h or 7d, not '0d'"),
        (
            "--expires 999999d www",
            "--expires: must be a time such as 30m, 12h or 7d, not '999999d'",
        ),
        ("--downloads 0 www", "--downloads: must be from 1 to 1,000,000, not '0'"),
        ("--downloads x www", "--downloads: must be from 1 to 1,000,000, not 'x'"),
        ("--downloads 1000001 www", "--downloads: must be from 1 to 1,000,000, not '1000001'"),
        ("--url a.test www", "--url: must be a URL such as https://files.test, not 'a.test'"),
        (
            "--url http://a/?b www",
            "--url: must be a URL such as https://files.test, not 'http://a/?b'",
        ),
        ("--store= www", "--store: must not be empty"),
        ("--store none/my.db www", "--store: there is no directory '{tmp}/none'"),
        ("--store www www", "--store: '{tmp}/www' is not a regular file"),
        ("--config none www", "--config: cannot read 'none': No such file or directory"),
        ("--revoke x", "--revoke: there is no link 'x'; see aserve share --list"),
        ("--expire 7d www", "--expire: there is no such option; did you mean --expires?"),
        ("www other", "other: more arguments than aserve share takes; see aserve share --help"),
    ],
)
def test_a_wrong_use_is_one_line(run: Run, tmp_path: Path, line: str, message: str) -> None:
    expected = f"aserve: error: {message.format(tmp=tmp_path)}\n"
    assert run(*line.split()) == (2, "", expected)


@pytest.mark.parametrize("name", [".hidden", "../beside.txt"])
def test_what_is_not_served_is_not_shared(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "beside.txt").write_text("beside")
    (tmp_path / "aserve.toml").write_text("root = 'www'\nshare = 'my.db'\n")
    file = (tmp_path / "www" / name).resolve()
    message = f"aserve: error: PATH: {file} is not served, or is hidden\n"
    assert run(f"www/{name}") == (2, "", message)
    assert not (tmp_path / "my.db").exists()


def test_a_store_that_is_damaged_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "my.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    code, output, message = run("--store", "my.db", "www")
    assert (code, output) == (1, "")
    assert message.startswith(f"aserve: error: {tmp_path}/my.db")
    assert message.count("\n") == 1
