"""With fsync the bytes are on the disk before the name, and the name before the answer."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aserve.filesystem.writing import new_file
from aserve.filesystem.writing.storage import Storage
from aserve.linux.sync_file_range import begin_write_out
from tests.aserve.filesystem.writing.storages import target

PROGRAM = """
import sys
from pathlib import Path
from aserve.filesystem.writing import temporary
from aserve.filesystem.writing.storage import Storage
from tests.aserve.filesystem.writing.storages import put

if sys.argv[2] == "hidden":
    temporary._open_unnamed = lambda _directory: -1
storage = Storage(Path(sys.argv[1]), fsync=sys.argv[3] == "True")
for data in (b"-- new --", b"-- replaced --"):
    put(storage, "a", data)
"""
NAMED = {"linkat", "rename", "renameat", "renameat2"}


def traced(root: Path, *arguments: str) -> list[str]:
    """Return the calls that matter: what is written, what is synchronized, and the renames."""
    calls = "write,fsync,linkat,renameat,renameat2,rename"
    command = ["strace", "-f", "-y", "-e", f"trace={calls}", sys.executable, "-c", PROGRAM]
    ran = subprocess.run(
        [*command, str(root), *arguments], check=True, capture_output=True, text=True
    )
    found = []
    for line in ran.stderr.splitlines():
        name = line.split("(")[0].split()[-1] if "(" in line else ""
        if name == "write" and (text := re.search("-- (\\w+) --", line)):
            found.append(text[0])
        elif name == "fsync":
            found.append("fsync directory" if f"<{root}>" in line else "fsync file")
        elif name in NAMED:
            found.append("name")
    return found


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(("kind", "names"), [("unnamed", ["name", "name"]), ("hidden", ["name"])])
def test_the_order_of_the_calls(tmp_path: Path, kind: str, names: list[str]) -> None:
    new = ["-- new --", "fsync file", "name", "fsync directory"]
    replaced = ["-- replaced --", "fsync file", *names, "fsync directory"]
    assert traced(tmp_path, kind, "True") == new + replaced


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_nothing_is_waited_for_without_fsync(tmp_path: Path) -> None:
    calls = traced(tmp_path, "unnamed", "False")
    assert calls == ["-- new --", "name", "-- replaced --", "name", "name"]


@pytest.mark.parametrize(("fsync", "begun"), [(True, [(0, 3), (3, 3)]), (False, [])])
def test_the_disk_begins_while_the_client_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fsync: bool, begun: list[tuple[int, int]]
) -> None:
    calls = []

    def begin(descriptor: int, start: int, size: int) -> None:
        calls.append((start >> 20, size >> 20))
        begin_write_out(descriptor, start, size)

    monkeypatch.setattr(new_file, "begin_write_out", begin)
    file = Storage(tmp_path, fsync=fsync).begin(target("a"))
    for size in (1, 2, 1, 2, 1):
        file.write(bytes(size << 20))
    file.abort()
    assert calls == begun
