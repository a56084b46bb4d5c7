"""Parsing the output of strace: whole calls, calls in two parts, and noise."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.explain.events import read_syscalls
from aserve.explain.syscall_text import describe_syscall


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
        "18 1000.4 --- SIGTERM {si_signo=SIGTERM} ---",
    ]
    first, second, sent = read_syscalls(lines)
    assert (first.name, first.thread) == ("close", 18)
    assert (second.name, second.started_at, second.at) == ("epoll_wait", 1000.1, 1000.3)
    assert second.return_value == 1
    assert describe_syscall(second) == "wakes up, one descriptor is ready: EPOLLIN"
    assert (sent.name, sent.arguments, describe_syscall(sent)) == ("signal", "SIGTERM", None)


def test_a_signal_of_a_socket():
    (call,) = read_syscalls(["18 1000.4 --- SIGIO {si_signo=SIGIO, si_code=SI_KERNEL} ---"])
    assert describe_syscall(call) == "is interrupted by SIGIO"


@pytest.mark.parametrize(
    ("call", "text"),
    [
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
        ("sendfile(5<TCP:[1]>, 6</b>, [0], 9) = 9", "has the kernel send 9 bytes of the file"),
        ("epoll_wait(4, [], 64, 1000) = 0", None),
        ("epoll_ctl(4, EPOLL_CTL_MOD, 5<TCP:[1]>, {events=EPOLLIN|EPOLLONESHOT}) = 0",
         "changes the connection's events in epoll: EPOLLIN|EPOLLONESHOT"),
        ("close(5<TCP:[1->2]>) = 0", "closes the connection"),
        ("close(5<socket:[1]>) = 0", "closes the connection"),
        ("close(5</www/b.html>) = 0", "closes b.html"),
        ("io_uring_enter(4, 2, 1, IORING_ENTER_GETEVENTS, NULL, 8) = 2",
         "submits 2 operations to the kernel and receives completions"),
        ("brk(NULL) = 0x5", None),
    ],
)  # fmt: skip
def test_calls_in_plain_english(call, text):
    (found,) = read_syscalls([f"1 1.0 {call} <0.0>"])
    assert describe_syscall(found) == text


@given(st.lists(st.text(st.characters(exclude_characters="\n"))))
def test_any_line_is_parsed_or_skipped(lines):
    with contextlib.suppress(RecursionError):
        for call in read_syscalls(f"1 1.0 {line}" for line in lines):
            describe_syscall(call)
