"""Rehearse a release: build the wheel and the source distribution, and check them.

python tools/release.py [DIRECTORY], or make release: both files are in DIRECTORY (dist). All checks
run, whatever the others say; the exit code is 1 if any of them fails. Nothing is uploaded, tagged
or pushed: docs/releasing.md says what a person does next.
"""

import datetime as dt
import filecmp
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGES = ("aserve", "abench")
MAX_SIZE = 500_000  # bytes of any file in a distribution
_DOCUMENTS = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
_SOURCES = {*PACKAGES, "www", *_DOCUMENTS}  # what the source distribution has at its top
_HEADING = re.compile(r"^## \[([^]]+)\](?: - (\S+))?$", re.MULTILINE)


class ReleaseError(Exception):
    """Why this commit cannot be released, in one sentence."""


class Distributions(NamedTuple):
    """The two files of a release."""

    sdist: Path
    wheel: Path


def main() -> int:
    """Print the outcome of each check; return the exit code."""
    directory = Path(sys.argv[1] if sys.argv[1:] else ROOT / "dist").resolve()
    outcomes = [
        _report("the tree is clean", check_tree),
        _report("the changelog has this version, with its date", check_changelog),
        _report("the tag is free", check_tag),
        _report("both distributions are built, twice the same", lambda: rebuild(directory)),
    ]
    if outcomes[-1]:
        built = distributions_in(directory)
        outcomes += [
            _report("they contain what they should", lambda: check_contents(built)),
            _report("their metadata is valid", lambda: check_metadata(built)),
            _report("the wheel installs, and its programs run", lambda: check_programs(built)),
        ]
    print("ready for the tag" if all(outcomes) else "not ready: see docs/releasing.md")
    return 0 if all(outcomes) else 1


def _report(what: str, check: Callable[[], None]) -> bool:
    try:
        check()
    except ReleaseError as error:
        print(f"FAILED  {what}: {error}", flush=True)
        return False
    print(f"ok      {what}", flush=True)
    return True


def version() -> str:
    """Return the version that the build will have."""
    text = (ROOT / "aserve" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[1]


def check_tree() -> None:
    """Require that what is built is what is committed."""
    if changes := _run("git", "status", "--porcelain").splitlines():
        raise ReleaseError(f"{changes[0][3:]} is not committed")


def check_changelog() -> None:
    """Require that the newest heading is this version, with the date of the release."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    name, date = found.groups() if (found := _HEADING.search(text)) else ("none", None)
    if name != version():
        raise ReleaseError(f"its newest heading is [{name}], and the version is {version()}")
    with suppress(ValueError, TypeError):
        dt.date.fromisoformat(date)
        return
    raise ReleaseError(f"write the date behind [{name}], as in: ## [{name}] - 2026-12-31")


def check_tag() -> None:
    """Require that no release has this version yet."""
    if _run("git", "tag", "--list", f"v{version()}"):
        raise ReleaseError(f"v{version()} exists; raise __version__ in aserve/version.py")


def rebuild(directory: Path) -> None:
    """Build into a directory, and once more elsewhere: the files must be equal, byte by byte.

    The first wheel is built from the source distribution and the second from the tree, so they also
    show that the source distribution is complete.
    """
    for earlier in (*directory.glob("*.tar.gz"), *directory.glob("*.whl")):
        earlier.unlink()
    build(directory)
    with tempfile.TemporaryDirectory() as again:
        build(Path(again), "--sdist", "--wheel")
        names = [path.name for path in distributions_in(directory)]
        _, different, missing = filecmp.cmpfiles(directory, again, names, shallow=False)
    if different or missing:
        raise ReleaseError(f"the second build differs: {', '.join(different + missing)}")


def build(directory: Path, *options: str) -> None:
    """Build with the backend that constraints.txt pins: this needs no network."""
    # The time of the commit, for all files: a second build at another time is the same.
    environment = {"SOURCE_DATE_EPOCH": _run("git", "log", "-1", "--format=%ct").strip()}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory)]
    _run(*command, *options, str(ROOT), **environment)


def distributions_in(directory: Path) -> Distributions:
    """Return the two files that a build has left in a directory."""
    (sdist,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return Distributions(sdist, wheel)


def check_contents(built: Distributions) -> None:
    """Require the sources of both packages, and nothing that users do not need."""
    with tarfile.open(built.sdist) as archive:
        files = {member.name.partition("/")[2]: member.size for member in archive}
    with zipfile.ZipFile(built.wheel) as archive:
        installed = {entry.filename: entry.file_size for entry in archive.infolist()}
    sources = set(_sources())
    strange = [name for name in files if name.partition("/")[0] not in _SOURCES]
    strange += [name for name in installed if name not in sources and ".dist-info/" not in name]
    large = [name for name, size in (files | installed).items() if size > MAX_SIZE]
    for names, fault in (
        (sources - set(installed), "is missing in the wheel"),
        (sources - set(files), "is missing in the source distribution"),
        (strange, "does not belong into a distribution"),
        (large, f"is larger than {MAX_SIZE:,} bytes"),
    ):
        if names:
            raise ReleaseError(f"{min(names)} {fault}")


def _sources() -> Iterator[str]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                yield str(path.relative_to(ROOT))


def check_metadata(built: Distributions) -> None:
    """Require that a package index would accept and show both files."""
    _run(sys.executable, "-m", "twine", "check", "--strict", *map(str, built))


def check_programs(built: Distributions) -> None:
    """Install the wheel into an environment of its own, and run both programs."""
    with tempfile.TemporaryDirectory() as directory:
        _run(sys.executable, "-m", "venv", directory)
        programs = Path(directory) / "bin"
        install = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--constraint"]
        _run(*install, str(ROOT / "constraints.txt"), str(built.wheel))
        for package in PACKAGES:
            answer = _run(str(programs / package), "--version", cwd=directory).strip()
            if answer != f"{package} {version()}":
                raise ReleaseError(f"{package} --version says {answer!r}")


def _run(*command: str, cwd: str | Path | None = None, **environment: str) -> str:
    """Return what a command prints; raises ReleaseError with its last line if it fails."""
    completed = subprocess.run(
        command,
        check=False,
        cwd=cwd or ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    if completed.returncode:
        lines = (completed.stderr + completed.stdout).strip().splitlines() or ["no message"]
        raise ReleaseError(f"{' '.join(command)}: {lines[-1]}")
    return completed.stdout


if __name__ == "__main__":
    sys.exit(main())
