"""Has programs of this machine trust the local authority, and undoes that.

There are two kinds of stores: that of the system, which curl, wget and most languages use, and the
databases of NSS, which Chromium and Firefox use. Nothing fails in silence: each store that is there
has an outcome, with the command that was run or is to be run.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_TIMEOUT_S = 60


class SystemStore(NamedTuple):
    """Where a system has the certificates that it is to trust, and what makes it read them."""

    directory: Path
    suffix: str
    update: Sequence[str]


SYSTEM_STORES = (
    SystemStore(Path("/usr/local/share/ca-certificates"), ".crt", ("update-ca-certificates",)),
    SystemStore(Path("/etc/pki/ca-trust/source/anchors"), ".pem", ("update-ca-trust", "extract")),
    SystemStore(
        Path("/etc/ca-certificates/trust-source/anchors"), ".pem", ("trust", "extract-compat")
    ),
)
"""Those of Debian, of Fedora, and of Arch, and of what is made from them."""

_BROWSER_HOMES = (
    *(".pki", "snap/chromium/current/.pki", ".mozilla/firefox"),
    *("snap/firefox/common/.mozilla/firefox", ".var/app/org.mozilla.firefox/.mozilla/firefox"),
)
"""Directories in a home with databases of NSS, one level below."""


class Outcome(NamedTuple):
    """What has become of one store. is_done: whether it is as it should be."""

    text: str
    is_done: bool


class Trust:
    """The stores of this machine, as far as an authority is to be in them.

    certificate: its file. identifier: tells it from those of others, in names of files. system: the
    stores that there may be. environment: HOME and PATH are read.
    """

    def __init__(
        self,
        certificate: Path,
        identifier: str,
        system: Sequence[SystemStore] = SYSTEM_STORES,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._certificate = certificate
        self._name = f"aserve-{identifier}"
        self._system = system
        self._environment = environment

    def add(self) -> Iterator[Outcome]:
        """Put the authority into each store; yield what has become of it."""
        yield from self._change_system(removes=False)
        yield from self._change_browsers(removes=False)

    def remove(self) -> Iterator[Outcome]:
        """Take the authority out of each store; yield what has become of it."""
        yield from self._change_system(removes=True)
        yield from self._change_browsers(removes=True)

    def _change_system(self, *, removes: bool) -> Iterator[Outcome]:
        stores = [one for one in self._system if one.directory.is_dir()]
        if not stores:
            yield Outcome("system: no store that is known is on this machine", False)
        for store in stores:
            file = store.directory / f"{self._name}{store.suffix}"
            if file.exists() is not removes and (removes or self._is_in(file)):
                has = "does not have it" if removes else "has it already"
                yield Outcome(f"system: {store.directory} {has}", True)
            else:
                yield self._change_store(store, file, removes=removes)

    def _is_in(self, file: Path) -> bool:
        try:
            return file.read_bytes() == self._certificate.read_bytes()
        except OSError:
            return False

    def _change_store(self, store: SystemStore, file: Path, *, removes: bool) -> Outcome:
        change = ("rm", str(file)) if removes else ("cp", str(self._certificate), str(file))
        try:
            if removes:
                file.unlink()
            else:
                shutil.copyfile(self._certificate, file)
                file.chmod(0o644)
        except OSError as error:
            # With its owner, whose authority it is: another one's data directory is another.
            commands = f"sudo {' '.join(change)} && sudo {' '.join(store.update)}"
            return Outcome(f"system: {error.strerror}; run: {commands}", False)
        reason = self._run(store.update)
        done = f"system: {' '.join(change)}; {' '.join(store.update)}"
        return Outcome(f"{done}: {reason}" if reason else done, not reason)

    def _change_browsers(self, *, removes: bool) -> Iterator[Outcome]:
        databases = list(self._databases())
        if databases and not self._find("certutil"):
            missing = "certutil is missing: install libnss3-tools (Debian) or nss-tools (Fedora)"
            yield Outcome(f"browsers: {missing}, and run this again", False)
            return
        if not databases:
            yield Outcome("browsers: none of Chromium and Firefox has a database here", True)
        for database in databases:
            yield self._change_database(database, removes=removes)

    def _change_database(self, database: Path, *, removes: bool) -> Outcome:
        where = ("-d", f"sql:{database}", "-n", self._name)
        is_in = not self._run(("certutil", "-L", *where))
        if is_in is not removes:
            has = "does not have it" if removes else "has it already"
            return Outcome(f"browsers: {database} {has}", True)
        command = (
            ("certutil", "-D", *where)
            if removes
            else ("certutil", "-A", *where, "-t", "C,,", "-i", str(self._certificate))
        )
        reason = self._run(command)
        done = f"browsers: {' '.join(command)}"
        return Outcome(f"{done}: {reason}" if reason else done, not reason)

    def _databases(self) -> Iterator[Path]:
        """Yield the databases that this user's browsers have made."""
        home = self._environment.get("HOME", "")
        for place in _BROWSER_HOMES if home else ():
            for file in sorted((Path(home) / place).glob("*/cert9.db")):
                yield file.parent

    def _find(self, program: str) -> str | None:
        # Where ordinary users' PATH has no sbin, update-ca-certificates is there all the same.
        path = self._environment.get("PATH", os.defpath)
        return shutil.which(program, path=f"{path}:/usr/sbin:/sbin")

    def _run(self, command: Sequence[str]) -> str:
        """Run a program; return why it failed, "" if it did not."""
        program = self._find(command[0])
        if not program:
            return f"there is no program {command[0]}"
        try:
            ended = subprocess.run(  # noqa: S603 - programs of the system, without a shell
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        lines = (ended.stderr or ended.stdout).strip().splitlines()
        return (lines[-1] if lines else f"exit code {ended.returncode}") if ended.returncode else ""
