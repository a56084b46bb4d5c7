"""Tools that log in by HTTPS: a folder as a repository of pip, npm, apt and git, and for rclone."""

import base64
import hashlib
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.clients.conftest import LARGE
from tests.clients.https_places import KINDS, PASSWORD, USER, WRONG, Place, place
from tests.clients.running import program, run, skip_missing
from tests.clients.test_pip import QUIET, build_wheel

pytestmark = pytest.mark.slow  # they need other programs


@pytest.fixture(params=KINDS)
def secure(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Serve the directory `root`, into which files are put by the test."""
    (tmp_path / "root/new").mkdir(parents=True)
    options = ("--dav", "--write=/new")
    with place(request.param, tmp_path / "root", tmp_path / "place", *options) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_pip_reads_a_folder_as_its_index(secure: Place, root: Path, tmp_path: Path) -> None:
    """By the pages of folders alone (PEP 503), with a login in the URL, and with one in .netrc."""
    (root / "simple/tiny").mkdir(parents=True)
    wheel = build_wheel(root / "simple/tiny")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine localhost login {USER} password {PASSWORD}\n")
    urls = {
        "right": (secure.url_with(PASSWORD, "simple/"), "/nonexistent"),
        "netrc": (f"{secure.url}simple/", str(netrc)),
        "wrong": (secure.url_with(WRONG, "simple/"), "/nonexistent"),
        "none": (f"{secure.url}simple/", "/nonexistent"),
    }
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "0")
    for name, (url, file) in urls.items():
        source = ("--index-url", url, "--keyring-provider", "disabled")
        to = tmp_path / f"by {name}"
        ended = run(
            *(*pip, *QUIET, *source, "--dest", to, "tiny"),
            environment={**secure.trust, "NETRC": file},
        )
        assert (ended.returncode == 0) == (name in {"right", "netrc"}), ended.stderr
        if ended.returncode:  # pip does not tell why
            assert "No matching distribution" in ended.stderr
        else:
            assert (to / wheel.name).read_bytes() == wheel.read_bytes()
        assert PASSWORD not in ended.stdout + ended.stderr


def test_npm_installs_from_a_folder(secure: Place, root: Path, tmp_path: Path) -> None:
    """A folder of documents, one for each package, is a registry to read from."""
    file = root / "tiny-1.0.0.tgz"
    (tmp_path / "package").mkdir()
    document = {"name": "tiny", "version": "1.0.0"}
    (tmp_path / "package/package.json").write_text(json.dumps(document))
    with tarfile.open(file, "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    dist = {"tarball": f"{secure.url}{file.name}", "integrity": f"sha512-{digest}"}
    versions = {"1.0.0": {**document, "dist": dist}}
    packument = {"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": versions}
    (root / "tiny").write_text(json.dumps(packument))
    registry = secure.url.partition(":")[2]
    for password in (PASSWORD, WRONG):
        project = tmp_path / f"project-{len(password)}"
        project.mkdir()
        (project / "package.json").write_text("{}")
        login = base64.b64encode(f"{USER}:{password}".encode()).decode()
        ended = run(
            *(program("npm"), "install", "tiny", "--no-audit", "--no-fund"),
            *("--registry", secure.url, f"--{registry}:_auth={login}"),
            environment={**secure.trust, "HOME": str(tmp_path / "home")},
            cwd=project,
        )
        assert (ended.returncode == 0) == (password == PASSWORD), ended.stderr
        if ended.returncode:
            assert "E401" in ended.stderr
        else:
            assert (project / "node_modules/tiny/package.json").exists()


def _repository(folder: Path) -> None:
    """Write a package, and the two indexes of an archive of Debian that has nothing else."""
    (folder / "tiny/DEBIAN").mkdir(parents=True)
    control = "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b.test>\n"
    (folder / "tiny/DEBIAN/control").write_text(f"{control}Description: nothing\n")
    package = folder / "tiny_1.0_all.deb"
    build = (program("dpkg-deb"), "--build", "--root-owner-group", folder / "tiny", package)
    assert run(*build).returncode == 0
    data = package.read_bytes()
    sums = f"Size: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    index = f"{control}Filename: ./{package.name}\n{sums}Description: nothing\n".encode()
    (folder / "Packages").write_bytes(index)
    line = f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    (folder / "Release").write_text(f"Date: {formatdate(0, usegmt=True)}\nSHA256:\n{line}")


def test_apt_reads_a_folder_as_its_archive(secure: Place, root: Path, tmp_path: Path) -> None:
    _repository(root / "debian")
    for password in (PASSWORD, WRONG):
        own = tmp_path / f"apt-{len(password)}"
        for name in ("lists/partial", "cache/archives/partial"):
            (own / name).mkdir(parents=True)
        (own / "status").touch()
        (own / "sources").write_text(f"deb [trusted=yes] {secure.url}debian/ ./\n")
        (own / "login").write_text(f"machine {secure.url} login {USER} password {password}\n")
        options = {
            "Dir::State": own,
            "Dir::State::Lists": own / "lists",
            "Dir::State::Status": own / "status",
            "Dir::Cache": own / "cache",
            "Dir::Etc::SourceList": own / "sources",
            "Dir::Etc::SourceParts": "/nonexistent",
            "Dir::Etc::Netrc": own / "login",
            "Dir::Etc::NetrcParts": "/nonexistent",
            "Dir::Log": own,
            "Acquire::https::CAInfo": secure.authority,
            "Acquire::Retries": 0,
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
        }
        apt = [program("apt-get"), "-q"]
        apt += [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        updated = run(*apt, "update")
        shown = updated.stdout + updated.stderr
        assert (updated.returncode == 0) == (password == PASSWORD), shown
        if updated.returncode:
            assert "401" in shown
            continue
        assert run(*apt, "update").returncode == 0  # nothing has changed: 304
        downloaded = run(*apt, "download", "tiny", cwd=own)
        assert downloaded.returncode == 0, downloaded.stderr
        assert len(list(own.glob("tiny_1.0_*.deb"))) == 1


def test_git_clones_from_a_folder(secure: Place, root: Path, tmp_path: Path) -> None:
    """A bare repository whose indexes are written is all that git needs of a server of files."""
    git = (program("git"), "-c", "user.name=a", "-c", "user.email=a@b.test")
    home = {"HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    work = tmp_path / "work"
    assert run(*git, "init", "-q", work, environment=home).returncode == 0
    (work / "a.txt").write_text("by git")
    for command in (("add", "a.txt"), ("commit", "-qm", "first")):
        assert run(*git, *command, environment=home, cwd=work).returncode == 0
    bare = root / "work.git"
    assert run(*git, "clone", "-q", "--bare", work, bare, environment=home).returncode == 0
    assert run(*git, "update-server-info", environment=home, cwd=bare).returncode == 0
    for name, url in {
        "right": secure.url_with(PASSWORD, "work.git"),
        "wrong": secure.url_with(WRONG, "work.git"),
        "none": f"{secure.url}work.git",
    }.items():
        to = tmp_path / name
        ended = run(*git, "clone", "-q", url, to, environment={**home, **secure.trust})
        assert (ended.returncode == 0) == (name == "right"), ended.stderr
        if name == "right":
            assert (to / "a.txt").read_text() == "by git"
        else:
            assert "uthentication failed" in ended.stderr or "could not read" in ended.stderr


def test_rclone_copies_there_and_back(secure: Place, root: Path, tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent/ä b.bin").write_bytes(LARGE[:100_000])
    usual = (program("rclone"), "--config", "", "--retries", "1", "--low-level-retries", "1")
    for password in (PASSWORD, WRONG):
        obscured = run(program("rclone"), "obscure", password).stdout.strip()
        remote = {
            "RCLONE_WEBDAV_URL": secure.url,
            "RCLONE_WEBDAV_USER": USER,
            "RCLONE_WEBDAV_PASS": obscured,
        }
        there = (tmp_path / "sent", ":webdav:new")
        back = (":webdav:new", tmp_path / "back")
        for command in (there, back):
            ended = run(*usual, "copy", *command, environment={**secure.trust, **remote})
            assert (ended.returncode == 0) == (password == PASSWORD), ended.stderr
            if ended.returncode:
                assert "401" in ended.stderr
    assert (root / "new/ä b.bin").read_bytes() == LARGE[:100_000]
    assert (tmp_path / "back/ä b.bin").read_bytes() == LARGE[:100_000]


@pytest.mark.browser
def test_chromium_logs_in_for_a_page_and_all_that_it_loads(
    secure: Place, root: Path, tmp_path: Path
) -> None:
    """By a profile of its own, which trusts the authority as `aserve trust` has it do."""
    (root / "index.html").write_text(
        "<!doctype html><link rel=icon href=data:,><p id=text></p><script src=app.js></script>"
    )
    (root / "app.js").write_text("document.getElementById('text').append('shown ', 'by script')")
    (tmp_path / ".pki/nssdb").mkdir(parents=True)
    tool = shutil.which("certutil") or skip_missing("certutil (apt-get install libnss3-tools)")
    certutil = (tool, "-d", f"sql:{tmp_path}/.pki/nssdb")
    assert run(*certutil, "-N", "--empty-password").returncode == 0

    def shown(url: str, profile: str) -> str:
        command = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
        data = f"--user-data-dir={tmp_path / profile}"
        environment = {"HOME": str(tmp_path)}
        ended = run(program("chromium"), *command, data, "--dump-dom", url, environment=environment)
        return ended.stdout

    assert "shown by script" not in shown(secure.url_with(PASSWORD), "no-trust")
    trust = ("-A", "-n", "authority", "-t", "C,,", "-i", secure.authority)
    assert run(*certutil, *trust).returncode == 0
    assert "shown by script" in shown(secure.url_with(PASSWORD), "right")
    # It asks its user then, of whom there is none.
    assert shown(secure.url_with(WRONG), "wrong") == shown(secure.url, "none") == ""
