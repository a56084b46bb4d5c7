"""`aserve trust`: each store that is there gets the authority, or a line says what to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import aserve
from aserve.cli.main import main
from aserve.tls import trust
from aserve.tls.trust import SystemStore, Trust

NEEDS_CERTUTIL = pytest.mark.skipif(not shutil.which("certutil"), reason="needs certutil")


@pytest.fixture
def home(tmp_path):
    """Make a home whose PATH has an update program, which writes down that it was called."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "store").mkdir()
    program = home / "bin" / "update-the-store"
    program.write_text(f"#!/bin/sh\necho called >>{home}/calls\n")
    program.chmod(0o755)
    return home


@pytest.fixture
def environment(home):
    return {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}


@pytest.fixture
def stores(home, pair, environment):
    """The stores of a machine with a system store alone."""
    system = [
        SystemStore(home / "store", ".crt", ("update-the-store",)),
        SystemStore(home / "none", ".pem", ("no-program",)),
    ]
    return Trust(Path(pair.cert), "0123", system, environment)


def texts(outcomes):
    return [(outcome.text, outcome.is_done) for outcome in outcomes]


def calls(home):
    file = home / "calls"
    return file.read_text().count("called") if file.exists() else 0


def test_the_system_store_gets_it_once_and_loses_it(home, pair, stores):
    file, no_browser = (
        home / "store" / "aserve-0123.crt",
        ("browsers: none of Chromium and Firefox has a database here", True),
    )
    done = f"system: cp {pair.cert} {file}; update-the-store"
    assert texts(stores.add()) == [(done, True), no_browser]
    assert file.read_bytes() == Path(pair.cert).read_bytes()
    assert texts(stores.add()) == [(f"system: {file.parent} has it already", True), no_browser]
    assert calls(home) == 1
    file.write_text("another one")
    assert texts(stores.add())[0] == (done, True)
    assert texts(stores.remove())[0] == (f"system: rm {file}; update-the-store", True)
    assert not file.exists()
    assert texts(stores.remove())[0] == (f"system: {file.parent} does not have it", True)
    assert calls(home) == 3


def test_who_may_not_write_is_told_the_commands(home, pair, stores, monkeypatch):
    file = home / "store" / "aserve-0123.crt"

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(trust.shutil, "copyfile", refuse)
    expected = f"run: sudo cp {pair.cert} {file} && sudo update-the-store"
    assert texts(stores.add())[0] == (f"system: Permission denied; {expected}", False)


def test_a_program_that_fails_is_told(home, stores):
    program = home / "bin" / "update-the-store"
    program.write_text("#!/bin/sh\necho first >&2\necho it is full >&2\nexit 3\n")
    text, is_done = texts(stores.add())[0]
    assert text.endswith("; update-the-store: it is full")
    assert not is_done
    program.unlink()
    assert texts(stores.remove())[0][0].endswith(": there is no program update-the-store")


def test_a_system_without_a_store_is_no_success(pair, environment):
    stores = Trust(Path(pair.cert), "0123", (), environment)
    expected = ("system: no store that is known is on this machine", False)
    assert texts(stores.add())[0] == texts(stores.remove())[0] == expected


@pytest.fixture
def database(home):
    """Make a database as Chromium has it."""
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], check=True)
    return database


def trusted(database):
    listed = subprocess.run(
        ["certutil", "-L", "-d", f"sql:{database}"], check=True, capture_output=True, text=True
    )
    return [line.split() for line in listed.stdout.splitlines() if line.startswith("aserve-")]


@NEEDS_CERTUTIL
def test_the_database_of_browsers_gets_it_once_and_loses_it(database, pair, stores):
    def outcome(change):
        return texts(change())[1]

    text, is_done = outcome(stores.add)
    assert text.startswith("browsers: certutil -A ")
    assert is_done
    assert trusted(database) == [["aserve-0123", "C,,"]]
    assert outcome(stores.add) == (f"browsers: {database} has it already", True)
    text, is_done = outcome(stores.remove)
    assert text.startswith("browsers: certutil -D ")
    assert is_done
    assert trusted(database) == []
    assert outcome(stores.remove) == (f"browsers: {database} does not have it", True)


@NEEDS_CERTUTIL
def test_each_profile_of_firefox_is_a_database(home, database, stores):
    profiles = [home / ".mozilla" / "firefox" / name for name in ("a.default", "b.work")]
    for profile in profiles:
        shutil.copytree(database, profile)
    assert [is_done for _, is_done in texts(stores.add())] == [True] * 4
    assert all(trusted(one) == [["aserve-0123", "C,,"]] for one in (database, *profiles))


def test_a_missing_certutil_is_told_only_if_there_is_a_database(home, pair, monkeypatch):
    stores = Trust(Path(pair.cert), "0123", (), {"HOME": str(home), "PATH": f"{home}/bin"})
    monkeypatch.setattr(Trust, "_find", lambda self, program: None)
    assert texts(stores.add())[1][1]
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    (database / "cert9.db").touch()
    text, is_done = texts(stores.add())[1]
    assert text.startswith("browsers: certutil is missing: install libnss3-tools")
    assert not is_done


@pytest.fixture
def run_trust(home, environment, monkeypatch, capsys):
    """Run `aserve trust` where nothing of this machine is changed."""
    for name, value in {**environment, "XDG_DATA_HOME": str(home / "data")}.items():
        monkeypatch.setenv(name, value)
    store = SystemStore(home / "store", ".crt", ("update-the-store",))
    monkeypatch.setattr(Trust.__init__, "__defaults__", ([store], os.environ))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["trust", *arguments])
        return end.value.code, capsys.readouterr().out.splitlines()

    return run


def test_the_command_says_what_it_does(home, run_trust):
    code, lines = run_trust("--remove")
    assert (code, len(lines)) == (0, 1)
    assert lines[0].startswith("there is no authority: ")
    code, lines = run_trust()
    assert code == 0
    assert lines[0] == f"authority: {home}/data/aserve/authority.pem"
    assert lines[1].startswith("SHA-256:   ")
    assert lines[2].startswith("system: cp ")
    (stored,) = (home / "store").iterdir()
    assert stored.read_bytes() == (home / "data/aserve/authority.pem").read_bytes()
    code, lines = run_trust("--remove")
    assert code == 0
    assert lines[-1] == f"its files are still there: rm -r {home}/data/aserve"
    assert not any((home / "store").iterdir())
    (home / "bin" / "update-the-store").write_text("#!/bin/sh\nexit 1\n")
    assert run_trust()[0] == 1


def test_a_damaged_authority_is_one_line(home, run_trust, capsys):
    run_trust()
    (home / "data/aserve/authority.key").write_text("damaged")
    with pytest.raises(SystemExit) as end:
        main(["trust"])
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("aserve: error: the local authority is damaged: ")
    shutil.rmtree(home / "data/aserve")
    (home / "data/aserve").write_text("no directory")
    with pytest.raises(SystemExit):
        main(["trust"])
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.browser
@NEEDS_CERTUTIL
def test_chromium_opens_the_site_once_it_trusts_the_authority(
    home, database, directory, environment, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    (directory / "index.html").write_text("<p>by https</p>")

    def shown(url, profile):
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        data = f"--user-data-dir={home / profile}"
        ended = subprocess.run(
            [*command, data, url], env=environment, capture_output=True, text=True, check=False
        )
        return "by https" in ended.stdout

    with aserve.Server(directory, host="localhost", https=True) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert not shown(url, "before")
        stores = Trust(home / "data/aserve/authority.pem", "0123", (), environment)
        assert texts(stores.add())[1][1]
        assert shown(url, "after")
