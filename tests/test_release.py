"""What a release contains, and the checks of its rehearsal."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tools" / "release.py"


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(release, tmp_path_factory):
    directory = tmp_path_factory.mktemp("dist")
    release.build(directory)
    return release.distributions_in(directory)


@pytest.mark.slow
def test_the_distributions_contain_both_packages_and_only_them(release, built):
    release.check_contents(built)
    with zipfile.ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
        (table,) = [name for name in names if name.endswith("/entry_points.txt")]
        text = archive.read(table).decode()
    assert {"aserve/py.typed", "abench/py.typed", "aserve/cli/main.py"} <= names
    scripts = text.partition("[console_scripts]")[2].partition("[")[0]
    assert re.findall(r"^(\w+) = ", scripts, re.MULTILINE) == ["abench", "aserve"]
    assert text.partition("[pytest11]\n")[2] == "aserve = aserve.pytest_plugin\n"
    with tarfile.open(built.sdist) as archive:
        top = {name.partition("/")[2].split("/")[0] for name in archive.getnames()}
    assert {"aserve", "abench", "www", "LICENSE", "PKG-INFO"} <= top
    assert not {"tests", "benchmarks", "docs", "examples"} & top


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("tests/test_a.py", "tests/test_a.py does not belong into a distribution"),
        ("aserve/core", "aserve/core does not belong into a distribution"),
        ("aserve_http-0.dist-info/large", "large is larger than 500,000 bytes"),
    ],
)
def test_a_file_that_users_do_not_need_is_found(name, fault, release, built, tmp_path):
    wheel = Path(shutil.copy(built.wheel, tmp_path))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(name, bytes(600_000 if "large" in name else 1))
    with pytest.raises(release.ReleaseError, match=fault):
        release.check_contents(built._replace(wheel=wheel))


@pytest.mark.slow
def test_a_missing_module_is_found(release, built, tmp_path):
    wheel = tmp_path / built.wheel.name
    with zipfile.ZipFile(built.wheel) as whole, zipfile.ZipFile(wheel, "w") as partial:
        for name in set(whole.namelist()) - {"abench/errors.py"}:
            partial.writestr(name, whole.read(name))
    with pytest.raises(release.ReleaseError, match=r"abench/errors.py is missing in the wheel"):
        release.check_contents(built._replace(wheel=wheel))


def test_a_build_that_cannot_be_repeated_is_found(release, tmp_path, monkeypatch):
    def build_anew(directory, *_options):
        (directory / "a.tar.gz").write_bytes(b"the same")
        (directory / "a.whl").write_bytes(os.urandom(8))

    monkeypatch.setattr(release, "build", build_anew)
    with pytest.raises(release.ReleaseError, match=r"the second build differs: a\.whl"):
        release.rebuild(tmp_path)


def git(directory, *arguments):
    author = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    subprocess.run(["git", *author, *arguments], cwd=directory, check=True, capture_output=True)


def prepare(directory, heading):
    """Commit a changelog with one heading."""
    (directory / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n")
    git(directory, "add", "--all")
    git(directory, "commit", "--message", "Release")


@pytest.fixture
def checkout(release, tmp_path, monkeypatch):
    """Return a small repository with version 1.2.3, which the script checks."""
    (tmp_path / "aserve").mkdir()
    (tmp_path / "aserve" / "version.py").write_text('__version__ = "1.2.3"\n')
    git(tmp_path, "init", "--quiet")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    return tmp_path


def test_a_commit_that_is_ready_passes_the_checks(release, checkout):
    prepare(checkout, "## [1.2.3] - 2026-12-31")
    release.check_tree()
    release.check_changelog()
    release.check_tag()


@pytest.mark.parametrize(
    ("heading", "fault"),
    [
        ("no heading", r"newest heading is \[none\]"),
        ("## [Unreleased]", r"newest heading is \[Unreleased\], and the version is 1.2.3"),
        ("## [1.2.2] - 2026-12-31", r"newest heading is \[1.2.2\]"),
        ("## [1.2.3]", "write the date"),
        ("## [1.2.3] - soon", "write the date"),
        ("## [1.2.3] - 2026-02-30", "write the date"),
    ],
)
def test_the_changelog_must_have_the_version_and_a_date(heading, fault, release, checkout):
    prepare(checkout, heading)
    with pytest.raises(release.ReleaseError, match=fault):
        release.check_changelog()


def test_a_change_that_is_not_committed_is_named(release, checkout):
    prepare(checkout, "## [1.2.3] - 2026-12-31")
    (checkout / "new.txt").write_text("")
    with pytest.raises(release.ReleaseError, match=r"new\.txt is not committed"):
        release.check_tree()


def test_a_version_is_released_once(release, checkout):
    prepare(checkout, "## [1.2.3] - 2026-12-31")
    git(checkout, "tag", "v1.2.3")
    with pytest.raises(release.ReleaseError, match=r"v1\.2\.3 exists"):
        release.check_tag()


@pytest.mark.slow
@pytest.mark.timeout(300)  # it installs every package that the programs need
def test_the_rehearsal(release, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", SCRIPT.parent.parent, clone], check=True)
    prepare(clone, f"## [{release.version()}] - 2026-12-31")
    command = [sys.executable, clone / "tools" / "release.py"]
    completed = subprocess.run(command, check=False, capture_output=True, text=True)
    *checks, last = completed.stdout.splitlines()
    assert [line for line in checks if not line.startswith("ok ")] == []
    assert (len(checks), last, completed.returncode) == (7, "ready for the tag", 0)
    assert len(list((clone / "dist").iterdir())) == 2
