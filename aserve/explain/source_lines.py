"""Which function of the standard library makes which system call: so that its line can be shown."""

from collections.abc import Iterable, Mapping

from aserve.explain.events import Mark

CALLS: Mapping[str, frozenset[str]] = {
    "socket._accept": frozenset({"accept", "accept4"}),
    "socket.recv": frozenset({"recvfrom", "recvmsg", "read"}),
    "socket.send": frozenset({"sendto", "sendmsg", "write"}),
    "socket.shutdown": frozenset({"shutdown"}),
    "socket.close": frozenset({"close"}),
    "epoll.poll": frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"}),
    "epoll.register": frozenset({"epoll_ctl"}),
    "epoll.modify": frozenset({"epoll_ctl"}),
    "epoll.unregister": frozenset({"epoll_ctl"}),
    "poll.poll": frozenset({"poll", "ppoll"}),
    "select": frozenset({"select", "pselect6"}),
    "open": frozenset({"open", "openat"}),
    "fstat": frozenset({"fstat", "newfstatat", "statx"}),
    "stat": frozenset({"stat", "newfstatat", "statx"}),
    "pread": frozenset({"pread64"}),
    "preadv": frozenset({"preadv", "preadv2"}),
    "sendfile": frozenset({"sendfile"}),
    "close": frozenset({"close"}),
    "read": frozenset({"read"}),
    "eventfd_read": frozenset({"read"}),
    "eventfd_write": frozenset({"write"}),
    "fcntl": frozenset({"fcntl"}),
    "start_new_thread": frozenset({"clone", "clone3"}),
    "start_joinable_thread": frozenset({"clone", "clone3"}),
}
"""By the qualified name of a function written in C."""


class SourceLines:
    """The lines of Python that were about to make a system call, in order for each thread."""

    def __init__(self, marks: Iterable[Mark]) -> None:
        self._by_thread: dict[int, list[Mark]] = {}
        for mark in marks:
            if mark.kind == "line":
                self._by_thread.setdefault(mark.thread, []).append(mark)
        self._next = dict.fromkeys(self._by_thread, 0)

    def find(self, thread: int, call: str, started_at: float) -> str:
        """Return the line of a call, "" if it is not known. Ask for a thread's calls in order.

        A line makes one call: what follows without a line is made by libuv or the C library.
        """
        lines = self._by_thread.get(thread, [])
        before = index = self._next.get(thread, 0)
        while index < len(lines) and lines[index].at <= started_at:
            index += 1
        self._next[thread] = index
        if index == before:
            return ""
        last = lines[index - 1]
        return last.source if call in CALLS.get(last.text, ()) else ""
