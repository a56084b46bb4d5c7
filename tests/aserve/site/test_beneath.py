import errno
import os
from contextlib import contextmanager

import pytest

from aserve.site import beneath


@contextmanager
def opened(folder):
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def at_a_stroke(root, path):
    descriptor = beneath.open_beneath(root, path, wait=True)
    if descriptor is None:
        raise FileNotFoundError(errno.ENOENT, "nothing is there")
    return descriptor


def step_by_step(root, path):
    located = beneath._Walk(root).to(path.split(b"/"))
    try:
        return os.open(f"/proc/self/fd/{located}", os.O_RDONLY)
    finally:
        os.close(located)


@pytest.fixture(params=[at_a_stroke, step_by_step])
def read(request, tmp_path):
    """Read a path below tmp_path/root in both ways of finding it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("secret")

    def read(path):
        with opened(tmp_path / "root") as root, open(request.param(root, path.encode())) as file:
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
        ("folder", "a", "folder/file"),
        ("a/b/up", "../..", "a/b/up/a/file"),
        ("link", "{root}/a/file", "link"),
        ("folder", "{root}/a", "folder/file"),
    ],
)
def test_links_that_stay_inside(read, root, link, target, path):
    (root / link).symlink_to(target.format(root=root))
    assert read(path) in {"at the root", "in a"}


@pytest.mark.parametrize(
    "target",
    ["../secret", "a/../../secret", "{root}/../secret", "/etc/passwd", "/proc/self/environ"],
)
def test_links_that_lead_out(read, root, target):
    (root / "link").symlink_to(target.format(root=root))
    with pytest.raises(OSError) as error:
        read("link")
    assert error.value.errno == errno.EXDEV


def test_a_folder_whose_name_begins_like_the_root_is_outside(read, root):
    root.with_name("root-secret").mkdir()
    (root.with_name("root-secret") / "file").write_text("secret")
    (root / "link").symlink_to(f"{root}-secret/file")
    with pytest.raises(OSError) as error:
        read("link")
    assert error.value.errno == errno.EXDEV


def test_links_in_a_circle(read, root):
    (root / "x").symlink_to("y")
    (root / "y").symlink_to("x")
    with pytest.raises(OSError) as error:
        read("x")
    assert error.value.errno == errno.ELOOP


def test_what_is_missing(read, root):
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
