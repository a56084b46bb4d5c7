import ctypes
import errno
import os
import random
from contextlib import contextmanager

import pytest

from aserve.filesystem import open_beneath
from aserve.filesystem.visibility import DEFAULT_VISIBILITY


@contextmanager
def open_root(directory):
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def by_openat2(root, path):
    descriptor = open_beneath.open_beneath(root, path, wait=True)
    if descriptor is None:
        raise FileNotFoundError(errno.ENOENT, "no such file")
    return descriptor


def by_name(root, path):
    descriptor = open_beneath._open_by_name(root, path, DEFAULT_VISIBILITY)
    if descriptor is None:
        raise FileNotFoundError(errno.ENOENT, "no such file")
    return descriptor


def without_openat2(root, path):
    openat2 = open_beneath.openat2
    try:
        open_beneath.openat2 = unknown_call
        return by_openat2(root, path)
    finally:
        open_beneath.openat2 = openat2


def unknown_call(*_):
    """Fail as openat2 does on a kernel that does not have it."""
    ctypes.set_errno(errno.ENOSYS)
    return -1


@pytest.fixture(params=[by_openat2, by_name, without_openat2])
def read(request, tmp_path):
    """Return a function that reads a path below tmp_path/root, for each way of opening it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("secret")

    def read(path):
        with open_root(tmp_path / "root") as root, open(request.param(root, path.encode())) as file:
            return file.read()

    return read


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_text("at the root")
    (root / "a" / "file").write_text("in a")
    return root


def test_plain_paths(read, root):
    assert read("file") == "at the root"
    assert read("a/file") == "in a"


@pytest.mark.parametrize(
    ("link", "target", "path"),
    [
        ("link", "a/file", "link"),
        ("a/link", "../file", "a/link"),
        ("link", "./a/../a//b/../file", "link"),
        ("directory", "a", "directory/file"),
        ("a/b/up", "../..", "a/b/up/a/file"),
        ("link", "{root}/a/file", "link"),
        ("directory", "{root}/a", "directory/file"),
        ("link", "{root}//a/./b/../file", "link"),
        ("link", "../root/a/file", "link"),
        ("a/b/link", "../../../root/a/../file", "a/b/link"),
        ("link", "../current/a/file", "link"),
        ("link", "{root}/../current/a/file", "link"),
        ("directory", "{root}/../current//a/", "directory/file"),
        ("link", "../root/../root/file", "link"),
    ],
)
def test_links_that_stay_inside(read, root, link, target, path):
    root.with_name("current").symlink_to("root")
    (root / link).symlink_to(target.format(root=root))
    assert read(path) in {"at the root", "in a"}


@pytest.mark.parametrize(
    "target",
    [
        "../secret",
        "a/../../secret",
        "{root}/../secret",
        "/etc/passwd",
        "/proc/self/environ",
        "../root/../secret",
        "../out/secret",
        "{root}/../out/root/../secret",
        "../near",
    ],
)
def test_links_that_lead_out(read, root, target):
    root.with_name("out").symlink_to(".")
    root.with_name("near").symlink_to("secret")
    (root / "link").symlink_to(target.format(root=root))
    with pytest.raises(OSError) as error:
        read("link")
    assert error.value.errno == errno.EXDEV


def test_a_directory_whose_name_begins_like_the_root_is_outside(read, root):
    root.with_name("root-secret").mkdir()
    (root.with_name("root-secret") / "file").write_text("secret")
    (root / "link").symlink_to(f"{root}-secret/file")
    with pytest.raises(OSError) as error:
        read("link")
    assert error.value.errno == errno.EXDEV


def test_a_loop_of_links(read, root):
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    with pytest.raises(OSError) as error:
        read("x")
    assert error.value.errno == errno.ELOOP


def test_missing_files(read, root):
    for path in ("none", "none/file", "file/below"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            read(path)


def test_no_descriptor_is_left_open(read, root):
    (root / "out").symlink_to("../secret")
    (root / "in").symlink_to(root / "a" / "file")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("file", "in", "out", "none", "a/b/../file"):
        try:
            read(path)
        except OSError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("path", ["link", "directory/file"])
def test_what_is_opened_is_what_was_judged(read, root, path, monkeypatch):
    """A local user may replace a link, or a directory, after the file was found to be inside."""
    (root.parent / "outside").mkdir()
    (root.parent / "outside" / "file").write_text("secret")
    (root / "link").symlink_to(f"{root}/a/file")
    (root / "directory").symlink_to(f"{root}/a")
    check_target = open_beneath._check_target

    def judge_and_replace(*arguments):
        check_target(*arguments)
        for name, target in (("link", "../secret"), ("directory", "../outside")):
            (root / name).unlink()
            (root / name).symlink_to(target)

    monkeypatch.setattr(open_beneath, "_check_target", judge_and_replace)
    assert read(path) == "in a"


STEPS = ["a", "b", "..", ".", "", "one", "two", "root", "current", "file", "out", "secret"]


def test_every_link_is_judged_as_realpath_judges_it(read, root):
    """Of links of all kinds, exactly those are served whose real path is inside."""
    random.seed(1)
    root.with_name("current").symlink_to("root")
    root.with_name("out").symlink_to(root.parent)
    real = os.path.realpath(root)
    served = 0
    for _ in range(500):
        for link in (root / "one", root / "a" / "two"):
            link.unlink(missing_ok=True)
            relative = "/".join(random.choices(STEPS, k=random.randint(1, 5))) or "."
            start = random.choice(
                ["", "", f"{root}/", f"{root.parent}/current/", f"{root.parent}//"]
            )
            link.symlink_to(start + relative)
        for path in ("one", "a/two"):
            target = os.path.realpath(root / path)
            if os.path.isdir(root / path):
                continue
            if os.path.isfile(root / path) and target.startswith(f"{real}/"):
                with open(target) as file:
                    assert read(path) == file.read()
                served += 1
            else:
                with pytest.raises(OSError):
                    read(path)
    assert served > 15
