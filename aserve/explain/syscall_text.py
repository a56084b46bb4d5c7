"""System calls in plain English: a row for each one that shows something about a request."""

import re
from collections.abc import Callable

from aserve.explain.events import Syscall

Describe = Callable[[Syscall], str | None]

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR_PATH = re.compile(r"^\d+<([^>]*)>")
_LISTENER = re.compile(r"\d+<TCP(?:v6)?:\[[^>]*:\d+\]>")  # which has one address, and no peer
_READY = re.compile(r"EPOLL(?:IN|OUT|RDHUP|HUP|ERR|ONESHOT|ET)(?:\|EPOLL\w+)*|POLL(?:IN|OUT)\w*")


def describe_syscall(call: Syscall) -> str | None:
    """Return what a call did in a few words, or None for a call that is not shown."""
    describe = DESCRIPTIONS.get(call.name)
    return describe(call) if describe else None


def _file_name(call: Syscall) -> str:
    """Return the last part of the path in the arguments of a call."""
    found = _QUOTED.search(call.arguments)
    return found[1].rstrip("/").rpartition("/")[2] if found else "the file"


def _is_socket(call: Syscall) -> bool:
    return bool(re.match(r"\d+<(?:TCP|socket|TCPv6)", call.arguments))


def _accept(call: Syscall) -> str:
    if call.error_name:
        return f"finds no connection to accept: {call.error_name}"
    return "accepts a connection"


def _wait(call: Syscall) -> str | None:
    """Describe a wait that ended with a ready descriptor; a timeout belongs to no request."""
    if call.return_value <= 0:
        return None
    events = ", ".join(dict.fromkeys(_READY.findall(call.arguments)))
    count = call.return_value
    ready = "one descriptor is ready" if count == 1 else f"{count} descriptors are ready"
    return f"wakes up, {ready}" + (f": {events}" if events else "")


def _read(call: Syscall) -> str | None:
    if "signalfd" in call.arguments and call.return_value > 0:
        return "reads a signal from the signalfd"
    if not _is_socket(call):
        return None
    if call.error_name:
        return f"would block on reading: {call.error_name}"
    return (
        f"reads {call.return_value:,} bytes"
        if call.return_value
        else "reads end of file: the client has closed"
    )


def _write(call: Syscall) -> str | None:
    if not _is_socket(call):
        return None
    if call.error_name:
        return f"would block on writing: {call.error_name}"
    return f"writes {call.return_value:,} bytes"


def _sendfile(call: Syscall) -> str:
    if call.error_name:
        return f"would block on writing: {call.error_name}"
    return f"has the kernel send {call.return_value:,} bytes of the file"


def _open(call: Syscall) -> str:
    name = _file_name(call)
    if call.error_name == "ENOENT":
        return f"looks for {name}: not found"
    if call.error_name == "EAGAIN":
        return f"would block on opening {name}: EAGAIN"
    return f"opens {name}: {call.error_name}" if call.error_name else f"opens {name}"


def _stat(_call: Syscall) -> str:
    return "asks for size and modification time"


def _read_names(call: Syscall) -> str | None:
    """Describe reading a directory; the last call returns 0, that there are no more names."""
    found = _DESCRIPTOR_PATH.match(call.arguments)
    name = found[1].rpartition("/")[2] if found else "a directory"
    return f"reads names in {name}" if call.return_value > 0 else None


def _read_file(call: Syscall) -> str:
    if call.error_name == "ESPIPE":  # as POSIX AIO finds out
        return f"finds that a socket has no offsets: {call.error_name}"
    if call.error_name:
        return f"would block on the disk: {call.error_name}"
    return f"reads {call.return_value:,} bytes of the file"


def _close(call: Syscall) -> str | None:
    if _is_socket(call):
        return "closes the listener" if _LISTENER.match(call.arguments) else "closes the connection"
    found = _DESCRIPTOR_PATH.match(call.arguments)
    return f"closes {found[1].rpartition('/')[2]}" if found and "/" in found[1] else None


def _epoll_ctl(call: Syscall) -> str:
    texts = {
        "ADD": "adds the connection to epoll",
        "MOD": "changes the connection's events in epoll",
        "DEL": "removes the connection from epoll",
    }
    found = re.search(r"EPOLL_CTL_(ADD|MOD|DEL)", call.arguments)
    text = texts[found[1] if found else "MOD"]
    events = ", ".join(_READY.findall(call.arguments))
    return f"{text}: {events}" if events else text


def _io_uring_enter(call: Syscall) -> str:
    found = re.match(r"\d+(?:<[^>]*>)?, (\d+), (\d+)", call.arguments)
    submitted, awaited = (int(found[1]), int(found[2])) if found else (0, 0)
    operations = "an operation" if submitted == 1 else f"{submitted} operations"
    parts = [f"submits {operations} to the kernel"] if submitted else []
    parts += ["receives completions"] if awaited else []
    return " and ".join(parts) or "checks the rings"


def _signal(call: Syscall) -> str | None:
    if call.return_value <= 0:
        return None
    found = re.search(r"si_code=(POLL_\w+)", call.arguments)
    return f"receives a signal: {found[1]}" if found else "receives a signal"


def _fcntl(call: Syscall) -> str | None:
    texts = {
        "F_SETOWN": "sets who gets the connection's signals",
        "F_SETSIG": "chooses the signal",
        "O_ASYNC": "enables the signals",
        "FASYNC": "enables the signals",
        "O_NONBLOCK": None,
    }
    return next((text for word, text in texts.items() if word in call.arguments), None)


def _clone(call: Syscall) -> str:
    return "starts a thread" if "CLONE_VM" in call.arguments else "forks a child process"


def _wait_for_child(call: Syscall) -> str | None:
    return "collects a child that has ended" if call.return_value > 0 else None


def _exit(_call: Syscall) -> str:
    return "ends"


def _queue_signal(call: Syscall) -> str:
    if call.error_name:
        return f"cannot send a signal to the process: {call.error_name}"
    return "sends a signal to the process"


def _get_signal(call: Syscall) -> str | None:
    is_io = call.arguments in {"SIGIO", "SIGPOLL"} or call.arguments.startswith("SIGRT")
    return f"is interrupted by {call.arguments}" if is_io else None


def _shutdown(_call: Syscall) -> str:
    return "shuts down the sending side"


DESCRIPTIONS: dict[str, Describe] = {
    **dict.fromkeys(("accept", "accept4"), _accept),
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"), _wait),
    **dict.fromkeys(("select", "pselect6"), _wait),
    **dict.fromkeys(("read", "recvfrom", "recvmsg", "readv"), _read),
    **dict.fromkeys(("write", "sendto", "sendmsg", "writev"), _write),
    **dict.fromkeys(("openat", "openat2", "open"), _open),
    **dict.fromkeys(("statx", "newfstatat", "fstat"), _stat),
    **dict.fromkeys(("getdents64", "getdents"), _read_names),
    **dict.fromkeys(("pread64", "preadv", "preadv2"), _read_file),
    **dict.fromkeys(("clone", "clone3"), _clone),
    "wait4": _wait_for_child,
    "exit_group": _exit,
    "sendfile": _sendfile,
    "close": _close,
    "epoll_ctl": _epoll_ctl,
    "io_uring_enter": _io_uring_enter,
    "rt_sigqueueinfo": _queue_signal,
    "rt_sigtimedwait": _signal,
    "signal": _get_signal,
    "fcntl": _fcntl,
    "shutdown": _shutdown,
}

# The result of these calls is there when they return; the others take effect when they are made.
TIMED_AT_RETURN = frozenset(
    name
    for name, describe in DESCRIPTIONS.items()
    if describe in {_accept, _wait, _read, _io_uring_enter, _signal}
)
