"""Parsing the output of strace: whole calls, calls in two parts, and noise."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.explain.events import (
    LISTENER,
    Activity,
    Mark,
    read_marks,
    read_syscalls,
    write_mark,
)
from aserve.explain.source_lines import SourceLines
from aserve.explain.syscall_arguments import named_descriptors, peer_of
from aserve.explain.syscall_text import describe_epoll_batch, describe_syscall


def said(call):
    """Return what is said of a call, None if it is not shown."""
    described = describe_syscall(call)
    return described and str(described.phrase)


def test_a_whole_call():
    line = '17  1000.500000 read(5<TCP:[1]>, "GET"..., 100) = 78 <0.000250>\n'
    (call,) = read_syscalls([line])
    assert (call.started_at, call.at, call.thread) == (1000.5, 1000.50025, 17)
    assert (call.name, call.arguments, call.return_value) == (
        "read",
        '5<TCP:[1]>, "GET"..., 100',
        78,
    )


def test_a_call_in_two_parts():
    lines = [
        "17 1000.1 epoll_wait(4, <unfinished ...>",
        "18 1000.2 close(3) = 0 <0.1>",
        "17 1000.3 <... epoll_wait resumed>[{events=EPOLLIN}], 64, -1) = 1 <0.2>",
        "17 1000.4 +++ exited with 0 +++",
        "18 1000.4 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER} ---",
        "18 1000.5 --- SIGRT_3 {si_signo=SIGRT_3, si_code=POLL_IN, si_band=65, si_fd=8} ---",
    ]
    first, second, stop, signal = read_syscalls(lines)
    assert said(stop) is None
    assert said(signal) == "is interrupted by SIGRT_3: POLL_IN"
    assert (first.name, first.thread) == ("close", 18)
    assert (second.name, second.started_at, second.at) == ("epoll_wait", 1000.1, 1000.3)
    assert second.return_value == 1
    assert said(second) == "wakes up, one descriptor is ready: EPOLLIN"


SAID = [
    ("accept4(3, NULL, NULL, 0) = 18", "accepts a connection"),
    ("accept4(3, NULL) = -1 EAGAIN (Resource temporarily unavailable)",
     "finds no connection to accept: EAGAIN"),
    ('read(5<TCP:[1->2]>, "", 10) = 0', "reads end of file: the client has closed"),
    ('read(5</etc/hosts>, "", 10) = 0', None),
    ("recvfrom(5<TCP:[1->2]>, 0x1, 9, 0, NULL, NULL) = -1 EAGAIN (Resource)",
     "would block on reading: EAGAIN"),
    ('sendto(5<TCP:[1->2]>, "HTTP"..., 5346, 0, NULL, 0) = 5346', "writes 5,346 bytes"),
    ('openat2(4</www>, "a/b.html.br", {flags=0}, 24) = -1 ENOENT (No such file)',
     "looks for b.html.br: not found"),
    ('openat2(4</www>, "b.html", {flags=0}, 24) = 5</www/b.html>', "opens b.html"),
    ("getdents64(5</www/b>, 0x7f /* 4 entries */, 65536) = 112", "reads names in b"),
    ("getdents64(5</www/b>, 0x7f /* 0 entries */, 65536) = 0", None),
    ("preadv2(5</www/b>, [{}], 1, 0, RWF_NOWAIT) = -1 EAGAIN (Resource)",
     "would block on the disk: EAGAIN"),
    ("sendfile(5<TCP:[1]>, 6</b>, [0], 9) = 9",
     "has the kernel send 9 bytes of the file: sendfile"),
    ("epoll_wait(4, [], 64, 1000) = 0", None),
    ("epoll_ctl(4, EPOLL_CTL_MOD, 5<TCP:[1]>, {events=EPOLLIN|EPOLLONESHOT}) = 0",
     "changes what epoll reports of the connection: EPOLLIN|EPOLLONESHOT"),
    ("epoll_ctl(4, EPOLL_CTL_ADD, 3<TCP:[127.0.0.1:80]>, {events=EPOLLIN}) = 0",
     "adds the listener to epoll: EPOLLIN"),
    ("epoll_ctl(4, EPOLL_CTL_DEL, 5<TCP:[1->2]>, 0x7) = -1 ENOENT (No such file)",
     "removes the connection from epoll (ENOENT)"),
    ("epoll_ctl(4, EPOLL_CTL_ADD, 8<anon_inode:[eventfd]>, {events=EPOLLIN}) = 0", None),
    ("fcntl(8<TCP:[1.1.1.1:1->2.2.2.2:2]>, F_SETFL, O_RDONLY|O_NONBLOCK|FASYNC) = 0",
     "switches the signals of the connection on: O_ASYNC"),
    ("fcntl(8<TCP:[1.1.1.1:1->2.2.2.2:2]>, F_SETSIG, SIGRT_3) = 0",
     "chooses the signal of the connection: F_SETSIG"),
    ("fcntl(8<TCP:[1.1.1.1:1->2.2.2.2:2]>, F_GETFL) = 0x2002 (flags O_RDWR|O_ASYNC)", None),
    ('newfstatat(5<TCP:[1->2]>, "", {st_mode=S_IFSOCK|0777}, AT_EMPTY_PATH) = 0', None),
    ('newfstatat(5</www/a>, "", {st_mode=S_IFREG|0644}, AT_EMPTY_PATH) = 0',
     "asks for size and modification time"),
    ("poll([{fd=3, events=POLLIN}], 1, 1000) = 1 ([{fd=3, revents=POLLIN}])",
     "wakes up, one descriptor is ready: POLLIN"),
    ("poll([{fd=3, events=POLLIN}], 1, 0) = 1 ([{fd=3, revents=POLLIN}])",
     "asks without waiting, one descriptor is ready: POLLIN"),
    ("pselect6(4, [3], [], [], {tv_sec=1}, NULL) = 1 (in [3], left {tv_sec=0})",
     "wakes up, one descriptor is ready: readable"),
    (r'write(6<anon_inode:[eventfd:2]>, "\1\0\0\0\0\0\0\0", 8) = 8',
     "wakes another thread by its eventfd"),
    ('read(7<anon_inode:[signalfd]>, "#"..., 8192) = 128', "reads signals from the signalfd"),
    ("close(5<TCP:[1->2]>) = 0", "closes the connection"),
    ("rt_sigqueueinfo(7, SIGRT_3, {si_code=SI_ASYNCIO}) = 0", "sends a signal to the process"),
    ("pread64(5<TCP:[1->2]>, 0x1, 9, 0) = -1 ESPIPE (Illegal seek)",
     "finds that a socket has no offsets: ESPIPE"),
    ("close(5<socket:[1]>) = 0", "closes the connection"),
    ("close(5</www/b.html>) = 0", "closes b.html"),
    ("io_uring_enter(4, 2, 1, IORING_ENTER_GETEVENTS, NULL, 8) = 2",
     "submits 2 operations to the kernel and receives completions"),
    ('openat(5</www/in>, ".", O_RDWR|O_CLOEXEC|O_TMPFILE, 0666) = 6</www/in/#42>(deleted)',
     "makes a file without a name: O_TMPFILE"),
    ('write(6</www/in/#42>(deleted), "The"..., 10000) = 10000',
     "writes 10,000 bytes to the new file"),
    ('write(6</www/in/.aserve-upload-ab12>, "The"..., 9) = 9',
     "writes 9 bytes to the new file"),
    ("fsync(6</www/in/#42>(deleted)) = 0", "waits until the new file is on the disk: fsync"),
    ("fsync(5</www/in>) = 0", "waits until the directory is on the disk: fsync"),
    ("flock(5</www/in>, LOCK_EX|LOCK_NB) = 0", "locks the directory"),
    ("flock(5</www/in>, LOCK_UN) = 0", "unlocks the directory"),
    ("flock(6</www/in/.aserve-upload-ab12>, LOCK_EX) = 0", "locks the new file"),
    ('linkat(AT_FDCWD</w>, "/proc/self/fd/6", 5</www/in>, "a.txt", AT_SYMLINK_FOLLOW) = 0',
     "gives the new file the name a.txt: linkat"),
    ('renameat(5</www/in>, ".aserve-upload-ab12", 5</www/in>, "a.txt") = 0',
     "gives the new file the name a.txt: renameat"),
    ('linkat(AT_FDCWD</w>, "/proc/self/fd/6", 5</in>, "a", AT_SYMLINK_FOLLOW) = -1 EEXIST (x)',
     "cannot name it a: EEXIST"),
    ("fstatfs(6</www/in/#42>(deleted), {f_bsize=4096}) = 0",
     "asks how much of the disk is free"),
    ("close(6</www/in/#42>(deleted)) = 0", "closes the new file"),
    ("brk(NULL) = 0x5", None),
]  # fmt: skip


def test_calls_in_plain_english():
    calls = [(call, *read_syscalls([f"1 1.0 {call} <0.0>"])) for call, _ in SAID]
    assert [(call, said(found)) for call, found in calls] == SAID


@given(st.lists(st.text(st.characters(exclude_characters="\n"))))
def test_any_line_is_parsed_or_skipped(lines):
    with contextlib.suppress(RecursionError):
        for call in read_syscalls(f"1 1.0 {line}" for line in lines):
            describe_syscall(call)
            describe_epoll_batch(call)
            peer_of(call)
            named_descriptors(call)


def test_a_signal_when_the_queue_of_signals_was_full():
    (call,) = read_syscalls(["18 1000.4 --- SIGIO {si_signo=SIGIO, si_code=SI_KERNEL} ---"])
    assert said(call) == "is interrupted by SIGIO: SI_KERNEL"


def test_a_call_that_has_not_returned():
    (call,) = read_syscalls(["17 1000.1 recvfrom(4<TCP:[1->2]>,  <unfinished ...>"])
    assert (call.name, call.thread, call.started_at) == ("recvfrom", 17, 1000.1)
    assert call.at == float("inf")


@pytest.mark.parametrize(
    ("line", "peer"),
    [
        ("recvfrom(9<TCP:[127.0.0.1:80->127.0.0.1:5000]>, 0x1, 9, 0) = 9", 5000),
        ("recvfrom(9<TCPv6:[[::1]:80->[::1]:5000]>, 0x1, 9, 0) = 9", 5000),
        ("accept4(3<TCP:[127.0.0.1:80]>, 0x1) = 9<TCP:[127.0.0.1:80->127.0.0.1:5000]>", 5000),
        ("accept4(3<TCP:[127.0.0.1:80]>, 0x1) = -1 EAGAIN (Resource)", LISTENER),
        ("epoll_ctl(4, EPOLL_CTL_ADD, 3<TCP:[127.0.0.1:80]>, {events=EPOLLIN}) = 0", LISTENER),
        ("close(5</www/b.html>) = 0", 0),
        ("close(5<socket:[77]>) = 0", 0),
    ],
)
def test_whose_connection_a_call_is_about(line, peer):
    (call,) = read_syscalls([f"1 1.0 {line} <0.0>"])
    assert peer_of(call) == peer


@pytest.mark.parametrize(
    ("line", "descriptors"),
    [
        ("epoll_wait(4, [{events=EPOLLIN, data={u32=9}}, {data={u32=7}}], 64, -1) = 2", [9, 7]),
        ("poll([{fd=3, events=POLLIN}, {fd=5}], 2, 9) = 1 ([{fd=5, revents=POLLIN}])", [5]),
        ("pselect6(8, [3 7], [], [], {tv_sec=1}, NULL) = 1 (in [7], left {tv_sec=0})", [7]),
    ],
)  # fmt: skip
def test_what_a_wait_has_reported(line, descriptors):
    (call,) = read_syscalls([f"1 1.0 {line} <0.0>"])
    assert named_descriptors(call) == descriptors


def test_a_ring_of_libuv_is_no_proactor():
    (call,) = read_syscalls(["1 1.0 io_uring_enter(6, 3, 3, GETEVENTS, NULL, 0) = 3 <0.0>"])
    described = describe_epoll_batch(call)
    assert "3 changes" in str(described.phrase)
    assert described.activity is Activity.REGISTER


@given(
    st.builds(
        Mark,
        st.floats(0, 1e10),
        st.integers(1),
        st.text(),
        st.text(),
        st.dictionaries(st.text(), st.text() | st.integers()),
        st.text(),
        st.text(),
    )
)
def test_a_mark_is_read_as_it_was_written(mark):
    line = write_mark(mark).decode()
    assert line.count("\n") == 1
    assert list(read_marks([line, line[:-1]])) == [mark]  # the last one is not complete


def test_a_line_makes_one_call_and_what_follows_it_is_not_its_own():
    lines = SourceLines([Mark(1.0, 17, "line", "close", {}, "aserve/a.py:1", "")])
    assert lines.find(17, "close", 0.5) == ""
    assert lines.find(17, "close", 1.5) == "aserve/a.py:1"
    assert lines.find(17, "close", 2.0) == ""
