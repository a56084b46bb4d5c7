"""A signal interrupts a wait for the file system of another program (FUSE): fuse(4), signal(7)."""

import errno
import os

import pytest

from aserve.filesystem import directory, open_beneath
from aserve.filesystem.directory import Directory
from aserve.http.request_target import parse_path


def interrupted_once(monkeypatch, module, name):
    """Let the first call of a function be interrupted; return the list of its calls.

    A descriptor is closed although close was interrupted: close(2).
    """
    calls, call = [], getattr(module, name)

    def interrupt(*args, **kwargs):
        calls.append(args)
        result = call(*args, **kwargs)
        if len(calls) == 1:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
        return result

    monkeypatch.setattr(module, name, interrupt)
    return calls


@pytest.mark.parametrize("name", ["fstat", "close"])
def test_an_interrupted_lookup_is_repeated(tmp_path, monkeypatch, name):
    (tmp_path / "a.txt").write_text("alpha")
    calls = interrupted_once(monkeypatch, directory.os, name)
    document = Directory(tmp_path).find(parse_path("/a.txt"), wait=True)
    assert document.representations[0].length == 5
    assert len(calls) > 1


def test_an_interrupted_open_is_repeated(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("alpha")
    errors, get_errno = [errno.EINTR], open_beneath.get_errno
    openat2 = open_beneath.openat2
    monkeypatch.setattr(open_beneath, "openat2", lambda *args: -1 if errors else openat2(*args))
    monkeypatch.setattr(open_beneath, "get_errno", lambda: errors.pop() if errors else get_errno())
    document = Directory(tmp_path).find(parse_path("/a.txt"), wait=True)
    assert (document.representations[0].length, errors) == (5, [])


def test_an_interrupted_close_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("alpha")
    document = Directory(tmp_path).find(parse_path("/a.txt"), wait=True)
    calls = interrupted_once(monkeypatch, directory.os, "close")
    document.representations[0].source.close()
    assert len(calls) == 1
