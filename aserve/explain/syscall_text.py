"""System calls in plain words: one row for each that tells something about a request."""

import re
from collections.abc import Callable

from aserve.explain.events import Syscall

Describe = Callable[[Syscall], str | None]

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PLACE = re.compile(r"^\d+<([^>]*)>")
_READY = re.compile(r"EPOLL(?:IN|OUT|RDHUP|HUP|ERR|ONESHOT|ET)(?:\|EPOLL\w+)*|POLL(?:IN|OUT)\w*")


def describe_syscall(call: Syscall) -> str | None:
    """Return what a call did in a few words, or None where that is nothing to tell."""
    found = DESCRIPTIONS.get(call.name)
    return found(call) if found else None


def _name(call: Syscall) -> str:
    """Return the last part of the path that a call is about."""
    found = _QUOTED.search(call.arguments)
    return found[1].rstrip("/").rpartition("/")[2] if found else "the file"


def _is_socket(call: Syscall) -> bool:
    return bool(re.match(r"\d+<(?:TCP|socket|TCPv6)", call.arguments))


def _accept(call: Syscall) -> str:
    if call.error_name:
        return f"finds no connection waiting: {call.error_name}"
    return "takes a connection from the listen queue"


def _wait(call: Syscall) -> str | None:
    """Tell of a wait that ended with something to do; one that timed out was of no request."""
    if call.return_value <= 0:
        return None
    events = ", ".join(dict.fromkeys(_READY.findall(call.arguments)))
    what = "one descriptor is" if call.return_value == 1 else f"{call.return_value} descriptors are"
    return f"is told that {what} ready" + (f": {events}" if events else "")


def _read(call: Syscall) -> str | None:
    if "signalfd" in call.arguments and call.return_value > 0:
        return "is told by a signal that something can be done"
    if not _is_socket(call):
        return None
    if call.error_name:
        return f"would have to wait for octets: {call.error_name}"
    return (
        f"reads {call.return_value:,} octets"
        if call.return_value
        else "reads the end: the client has closed"
    )


def _write(call: Syscall) -> str | None:
    if not _is_socket(call):
        return None
    if call.error_name:
        return f"would have to wait for room: {call.error_name}"
    return f"writes {call.return_value:,} octets"


def _sendfile(call: Syscall) -> str:
    if call.error_name:
        return f"would have to wait for room: {call.error_name}"
    return f"has the kernel send {call.return_value:,} octets of the file"


def _open(call: Syscall) -> str:
    name = _name(call)
    if call.error_name == "ENOENT":
        return f"looks for {name}: it is not there"
    if call.error_name == "EAGAIN":
        return f"would have to wait for the disk to open {name}: EAGAIN"
    return f"opens {name}: {call.error_name}" if call.error_name else f"opens {name}"


def _stat(_call: Syscall) -> str:
    return "asks for size and time"


def _read_file(call: Syscall) -> str:
    if call.error_name:
        return f"would have to wait for the disk: {call.error_name}"
    return f"reads {call.return_value:,} octets of the file"


def _close(call: Syscall) -> str | None:
    if _is_socket(call):
        return "closes the connection"
    found = _PLACE.match(call.arguments)
    return f"closes {found[1].rpartition('/')[2]}" if found and "/" in found[1] else None


def _epoll_ctl(call: Syscall) -> str:
    done = {"ADD": "asks epoll to watch", "MOD": "asks epoll anew about", "DEL": "has epoll forget"}
    found = re.search(r"EPOLL_CTL_(ADD|MOD|DEL)", call.arguments)
    events = ", ".join(_READY.findall(call.arguments))
    about = f"{done[found[1]] if found else 'changes'} the connection"
    return f"{about}: {events}" if events else about


def _io_uring_enter(call: Syscall) -> str:
    found = re.match(r"\d+(?:<[^>]*>)?, (\d+), (\d+)", call.arguments)
    handed, awaited = (int(found[1]), int(found[2])) if found else (0, 0)
    what = "an operation" if handed == 1 else f"{handed} operations"
    parts = [f"hands {what} to the kernel"] if handed else []
    parts += ["is told of completions"] if awaited else []
    return " and ".join(parts) or "looks at the rings"


def _signal(call: Syscall) -> str | None:
    if call.return_value <= 0:
        return None
    found = re.search(r"si_code=(POLL_\w+)", call.arguments)
    return f"is told by a signal: {found[1]}" if found else "is told by a signal"


def _fcntl(call: Syscall) -> str | None:
    wanted = {
        "F_SETOWN": "says to whom signals about the connection go",
        "F_SETSIG": "says which signal that is to be",
        "O_ASYNC": "switches the signals on",
        "O_NONBLOCK": None,
    }
    return next((text for word, text in wanted.items() if word in call.arguments), None)


def _clone(_call: Syscall) -> str:
    return "starts a thread"


def _shutdown(_call: Syscall) -> str:
    return "says that nothing more will come"


DESCRIPTIONS: dict[str, Describe] = {
    **dict.fromkeys(("accept", "accept4"), _accept),
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"), _wait),
    **dict.fromkeys(("select", "pselect6"), _wait),
    **dict.fromkeys(("read", "recvfrom", "recvmsg", "readv"), _read),
    **dict.fromkeys(("write", "sendto", "sendmsg", "writev"), _write),
    **dict.fromkeys(("openat", "openat2", "open"), _open),
    **dict.fromkeys(("statx", "newfstatat", "fstat"), _stat),
    **dict.fromkeys(("pread64", "preadv", "preadv2"), _read_file),
    **dict.fromkeys(("clone", "clone3"), _clone),
    "sendfile": _sendfile,
    "close": _close,
    "epoll_ctl": _epoll_ctl,
    "io_uring_enter": _io_uring_enter,
    "rt_sigtimedwait": _signal,
    "fcntl": _fcntl,
    "shutdown": _shutdown,
}

# What such a call is about has happened when it returns; what others do, when they are made.
TIMED_AT_RETURN = frozenset(
    name
    for name, said in DESCRIPTIONS.items()
    if said in {_accept, _wait, _read, _io_uring_enter, _signal}
)
