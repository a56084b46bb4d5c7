"""What strace writes, read: whole calls, calls in two parts, and noise."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.explain.events import read_syscalls
from aserve.explain.syscall_text import describe_syscall


def test_a_whole_call_is_told_of_when_it_returned():
    line = '17  1000.500000 read(5<TCP:[1]>, "GET"..., 100) = 78 <0.000250>\n'
    (call,) = read_syscalls([line])
    assert (call.began, call.at, call.thread) == (1000.5, 1000.50025, 17)
    assert (call.name, call.arguments, call.return_value) == (
        "read",
        '5<TCP:[1]>, "GET"..., 100',
        78,
    )


def test_a_call_in_two_parts_is_put_together():
    lines = [
        "17 1000.1 epoll_wait(4, <unfinished ...>",
        "18 1000.2 close(3) = 0 <0.1>",
        "17 1000.3 <... epoll_wait resumed>[{events=EPOLLIN}], 64, -1) = 1 <0.2>",
        "17 1000.4 +++ exited with 0 +++",
        "18 1000.4 --- SIGTERM {si_signo=SIGTERM} ---",
    ]
    first, second = read_syscalls(lines)
    assert (first.name, first.thread) == ("close", 18)
    assert (second.name, second.began, second.at) == ("epoll_wait", 1000.1, 1000.3)
    assert second.return_value == 1
    assert describe_syscall(second) == "is told that one descriptor is ready: EPOLLIN"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("accept4(3, NULL, NULL, 0) = 18", "takes a connection from the listen queue"),
        ("accept4(3, NULL) = -1 EAGAIN (Resource temporarily unavailable)",
         "finds no connection waiting: EAGAIN"),
        ('read(5<TCP:[1->2]>, "", 10) = 0', "reads the end: the client has closed"),
        ('read(5</etc/hosts>, "", 10) = 0', None),
        ("recvfrom(5<TCP:[1->2]>, 0x1, 9, 0, NULL, NULL) = -1 EAGAIN (Resource)",
         "would have to wait for octets: EAGAIN"),
        ('sendto(5<TCP:[1->2]>, "HTTP"..., 5346, 0, NULL, 0) = 5346', "writes 5,346 octets"),
        ('openat2(4</www>, "a/b.html.br", {flags=0}, 24) = -1 ENOENT (No such file)',
         "looks for b.html.br: it is not there"),
        ('openat2(4</www>, "b.html", {flags=0}, 24) = 5</www/b.html>', "opens b.html"),
        ("preadv2(5</www/b>, [{}], 1, 0, RWF_NOWAIT) = -1 EAGAIN (Resource)",
         "would have to wait for the disk: EAGAIN"),
        ("sendfile(5<TCP:[1]>, 6</b>, [0], 9) = 9", "has the kernel send 9 octets of the file"),
        ("epoll_wait(4, [], 64, 1000) = 0", None),
        ("epoll_ctl(4, EPOLL_CTL_MOD, 5<TCP:[1]>, {events=EPOLLIN|EPOLLONESHOT}) = 0",
         "asks epoll anew about the connection: EPOLLIN|EPOLLONESHOT"),
        ("close(5<TCP:[1->2]>) = 0", "closes the connection"),
        ("close(5<socket:[1]>) = 0", "closes the connection"),
        ("close(5</www/b.html>) = 0", "closes b.html"),
        ("io_uring_enter(4, 2, 1, IORING_ENTER_GETEVENTS, NULL, 8) = 2",
         "hands 2 operations to the kernel and is told of completions"),
        ("brk(NULL) = 0x5", None),
    ],
)  # fmt: skip
def test_calls_in_plain_words(call, told):
    (found,) = read_syscalls([f"1 1.0 {call} <0.0>"])
    assert describe_syscall(found) == told


@given(st.lists(st.text(st.characters(exclude_characters="\n"))))
def test_whatever_is_in_the_file_it_is_read_or_passed_over(lines):
    with contextlib.suppress(RecursionError):
        for call in read_syscalls(f"1 1.0 {line}" for line in lines):
            describe_syscall(call)
