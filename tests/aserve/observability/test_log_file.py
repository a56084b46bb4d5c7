"""Lines are written whole or not at all, on disks that fill and in files that are rotated."""

import errno
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from aserve.observability.log_file import LogFile, open_log


@pytest.fixture
def file(tmp_path):
    path = str(tmp_path / "log")
    descriptor = open_log(path)
    yield LogFile(descriptor, path)
    os.close(descriptor)


def written(file):
    with open(file.path, "rb") as stream:
        return stream.read()


def write(file, lines):
    file.pending = lines
    file.write(0)
    return written(file)


def test_a_renamed_file_is_followed(file):
    assert write(file, b"one\n") == b"one\n"
    os.rename(file.path, file.path + ".1")
    file.follow()
    assert write(file, b"two\n") == b"two\n"
    with open(file.path + ".1", "rb") as stream:
        assert stream.read() == b"one\n"


def test_a_file_is_reopened_on_request_under_the_same_name(file):
    write(file, b"one\n")
    os.remove(file.path)
    file.reopen()
    assert write(file, b"two\n") == b"two\n"


def test_the_old_file_is_kept_where_the_new_one_cannot_be_opened(file, tmp_path):
    os.rename(file.path, file.path + ".1")
    file.path = str(tmp_path / "missing" / "log")
    with pytest.raises(FileNotFoundError):
        file.follow()
    file.path = str(tmp_path / "log.1")
    assert write(file, b"two\n") == b"two\n"


# RLIMIT_FSIZE acts as a full disk does: as many bytes as fit are written, then there is an error.
LIMITED = """
import resource, signal, sys
from aserve.observability.log_file import LogFile, open_log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
file = LogFile(open_log(sys.argv[1]), sys.argv[1], is_shared=sys.argv[2] == "shared")
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
file.pending = b"first\\nsecond\\n"
try:
    file.write(0)
except OSError as error:
    print(error.errno, file.pending)
print(open(sys.argv[1], "rb").read())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.write(0)
print(open(sys.argv[1], "rb").read())
"""


@pytest.mark.parametrize("shared", ["shared", "alone"])
def test_a_line_without_room_is_not_written_in_part(tmp_path, shared):
    command = [sys.executable, "-c", LIMITED, tmp_path / "log", shared]
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert completed.stdout.splitlines() == [
        f"{errno.EFBIG} b'second\\n'",
        "b'first\\n'",
        "b'first\\nsecond\\n'",
    ]


def test_a_full_pipe_keeps_the_rest_pending():
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    file, line = LogFile(write_end), b"x" * 99 + b"\n"
    file.pending = line * 2_000  # more than a pipe holds
    with pytest.raises(BlockingIOError):
        file.write(0)
    sent = os.read(read_end, 1 << 20)
    assert sent == line * (2_000 - file.pending.count(b"\n"))  # whole lines
    while file.pending:
        with suppress(BlockingIOError):
            file.write(0)
        sent += os.read(read_end, 1 << 20)
    assert sent == line * 2_000
    os.close(read_end)
    os.close(write_end)


def test_the_reader_of_a_fifo_may_return(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    descriptor = open_log(str(path))
    file = LogFile(descriptor, str(path))
    os.close(reader)
    file.pending = b"line\n"
    with pytest.raises(BrokenPipeError):
        file.write(0)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file.write(0)
    assert os.read(reader, 100) == b"line\n"
    os.close(reader)
    os.close(descriptor)


def test_opening_a_fifo_without_a_reader_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device or address"):
        open_log(str(tmp_path / "fifo"))
