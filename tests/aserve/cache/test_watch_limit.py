"""Half of the user's inotify watches is left to other programs, and none is used for nothing."""

import os
import shutil
import subprocess
import sys

import pytest

from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.monitor import ChangeMonitor
from aserve.linux import inotify
from aserve.linux.inotify import watch_share
from tests.aserve.cache.test_response_cache import NOW, Server, write


@pytest.fixture
def server(tmp_path):
    inotify._warn_once.cache_clear()
    (tmp_path / "site").mkdir()
    server = Server(tmp_path / "site")
    server.directories.start(lambda job, on_done: False)  # only responses have watches here
    yield server
    server.cache.close()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "site"


def watch_count(server):
    for _ in range(2):  # seconds, after which that of an unused root is not needed
        server.directories.roots.close_unused()
    with open(f"/proc/self/fdinfo/{server.cache.monitor.inotify._descriptor}") as info:
        return info.read().count("inotify wd:")


def request_all(server, names):
    for _ in range(4):
        for name in names:
            assert server.is_fresh(f"/{name}")


def test_half_is_left_and_several_processes_share_the_rest(tmp_path, monkeypatch):
    (tmp_path / "limit").write_text("1000\n")
    monkeypatch.setattr(inotify, "_LIMITS", (str(tmp_path / "limit"), str(tmp_path / "lower")))
    assert watch_share() == 500
    assert watch_share(4) == 125
    assert watch_share(1_000) == 1
    (tmp_path / "lower").write_text("600\n")  # that of the user namespace
    assert watch_share() == 300
    (tmp_path / "lower").unlink()
    (tmp_path / "limit").write_text("nonsense")
    assert watch_share() == 4_096
    monkeypatch.setattr(inotify, "_LIMITS", (str(tmp_path / "none"),))
    assert watch_share(2) == 2_048


def test_no_more_are_used_and_one_warning_is_logged(server, root, caplog):
    server.cache.close()
    server.cache = ResponseCache(ChangeMonitor(max_watches=40))
    names = [f"{number}.txt" for number in range(100)]
    for name in names:
        write(root / name, name)
    request_all(server, names)
    assert watch_count(server) <= 40
    assert len(server.cache._by_key) == len(names)  # those without a watch are checked by stat
    for name in names:
        write(root / name, f"other {name}")
    request_all(server, names)
    assert watch_count(server) <= 40
    assert [record.getMessage()[:30] for record in caplog.records] == [
        "half of the user's inotify wat"
    ]


def test_watches_of_deleted_files_are_free_again(server, root):
    server.cache.close()
    server.cache = ResponseCache(ChangeMonitor(max_watches=40))
    for _ in range(100):
        write(root / "a.txt", "x")
        request_all(server, ["a.txt"])
        (root / "a.txt").unlink()
        server.tick()
    write(root / "a.txt", "x")
    request_all(server, ["a.txt"])
    (cached,) = server.cache._by_key.values()
    assert not cached.needs_stat


def test_a_name_too_long_for_a_sibling_is_watched_like_others(server, root):
    names = [f"{number:03}{'n' * 249}" for number in range(200)]
    for name in names:
        write(root / name, name)
    request_all(server, names)
    assert len(server.cache._by_key) == 200
    assert not any(cached.needs_stat for cached in server.cache._by_key.values())
    for name in names:
        (root / name).unlink()
    server.tick()
    assert watch_count(server) == 0


@pytest.mark.parametrize("kind", ["young sibling", "dangling sibling", "deleted"])
def test_a_response_that_is_not_cached_leaves_no_watch(server, root, kind):
    for number in range(50):
        name = f"{number}.txt"
        write(root / name, "x")
        if kind == "young sibling":
            (root / f"{name}.gz").write_bytes(b"packed")
            os.utime(root / f"{name}.gz", (NOW, NOW))
        elif kind == "dangling sibling":
            (root / f"{name}.gz").symlink_to("nowhere")
        request_all(server, [name])
        if kind == "deleted":
            (root / name).unlink()
            server.tick()
    if kind != "dangling sibling":
        assert not server.cache._by_key
    if not server.cache._by_key:
        assert watch_count(server) == 0


_IN_A_NAMESPACE = """
import ctypes, os, sys, time
from pathlib import Path
from tests.aserve.cache.test_response_cache import Server, write
Path("/proc/sys/user/max_inotify_watches").write_text("1000")
root = Path(sys.argv[1])
names = [f"{number}.txt" for number in range(1_500)]
for name in names:
    write(root / name, "x")
server = Server(root)
for _ in range(4):
    for name in names:
        server.respond(f"/{name}")
assert len(server.cache._by_key) == 1_500
libc = ctypes.CDLL(None, use_errno=True)
other = libc.inotify_init1(0)  # as another program of this user
print(sum(libc.inotify_add_watch(other, os.fsencode(root / name), 2) > 0 for name in names))
"""


@pytest.mark.slow
def test_other_programs_of_the_user_find_half_of_the_watches_free(tmp_path):
    """A new user namespace has a limit of its own, so that other programs are not affected."""
    command = ["unshare", "--user", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    command += [sys.executable, "-c", _IN_A_NAMESPACE, os.fspath(tmp_path)]
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(completed.stdout) == 500
