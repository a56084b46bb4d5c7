"""System calls in plain English: a row for each one that shows something about a request."""

import re
from collections.abc import Callable
from typing import NamedTuple

from aserve.explain.events import LISTENER, SIGNAL, Activity, Syscall
from aserve.explain.phrase import Phrase
from aserve.explain.syscall_arguments import (
    WAITS,
    file_name,
    is_socket,
    names_socket,
    peer_of,
    reported_part,
    select_sets,
)


class Description(NamedTuple):
    """What a call did. key: the descriptor or signal that an earlier event was about."""

    phrase: Phrase
    activity: Activity = Activity.CALL
    key: str = ""


Describe = Callable[[Syscall], Description | None]

_DESCRIPTOR_PATH = re.compile(r"^\d+<([^>]*)>")
_READY = re.compile(r"(?:EPOLL(?!_CTL)|POLL(?=IN|OUT|HUP|ERR))\w+(?:\|EPOLL\w+)*")
# One that is being stored: it has no name, or a hidden one.
_NEW_FILE = re.compile(r"\d+<[^>]*/(?:#\d+|\.aserve-upload-[^>/]*)>")
_EVENTFD_SIZE = 8  # bytes that a read or write of one moves
_QUOTED_NAME = re.compile(r'"([^"]*)"')
_EVENTFD = re.compile(r"(\d+)<anon_inode:\[eventfd(?::\d+)?]>")


def describe_syscall(call: Syscall) -> Description | None:
    """Return what a call did in a few words, or None for a call that is not shown."""
    describe = DESCRIPTIONS.get(call.name)
    return describe(call) if describe else None


def _counted(one: str, many: str, count: int, activity: Activity) -> Description:
    return Description(Phrase(one if count == 1 else many, {"count": count}), activity)


def _accept(call: Syscall) -> Description:
    if call.error_name:
        phrase = Phrase("finds no connection to accept: {error}", {"error": call.error_name})
        return Description(phrase, Activity.ASK)
    return Description(Phrase("accepts a connection"), Activity.ACCEPT)


def _wait(call: Syscall) -> Description | None:
    """Describe a wait that ended with a ready descriptor; a timeout belongs to no request."""
    count = call.return_value
    if count <= 0:
        return None
    ready = "one descriptor is ready" if count == 1 else "{count} descriptors are ready"
    asks_only = call.name == "poll" and call.arguments.endswith(", 0")
    found = f"{'asks without waiting' if asks_only else 'wakes up'}, {ready}"
    events = ", ".join(dict.fromkeys(_READY.findall(reported_part(call)))) or select_sets(call)
    if not events:
        return _counted(found, found, count, Activity.WAIT)
    phrase = Phrase(f"{found}: {{events}}", {"count": count, "events": events})
    return Description(phrase, Activity.WAIT)


def _read(call: Syscall) -> Description | None:
    if "signalfd" in call.arguments:
        return _read_signals(call)
    if (found := _EVENTFD.match(call.arguments)) and call.return_value == _EVENTFD_SIZE:
        return Description(Phrase("clears the eventfd that woke it"), Activity.CALL, found[1])
    return _receive(call) if is_socket(call) else None


def _read_signals(call: Syscall) -> Description | None:
    if call.error_name == "EAGAIN":
        return Description(Phrase("finds no signal in the queue: EAGAIN"), Activity.ASK)
    phrase = Phrase("reads signals from the signalfd")
    return Description(phrase, Activity.READ_SIGNALS) if call.return_value > 0 else None


def _receive(call: Syscall) -> Description:
    if call.error_name:
        phrase = Phrase("would block on reading: {error}", {"error": call.error_name})
        return Description(phrase, Activity.ASK)
    if not call.return_value:
        phrase = Phrase("reads end of file: the client has closed")
        return Description(phrase, Activity.READ)
    return Description(Phrase("reads {count:,} bytes", _count(call)), Activity.READ)


def _write(call: Syscall) -> Description | None:
    if (found := _EVENTFD.match(call.arguments)) and call.return_value == _EVENTFD_SIZE:
        return Description(Phrase("wakes another thread by its eventfd"), Activity.WAKE, found[1])
    if _NEW_FILE.match(call.arguments):
        return Description(Phrase("writes {count:,} bytes to the new file", _count(call)))
    if not is_socket(call):
        return None
    if call.error_name:
        return _blocked_write(call)
    return Description(Phrase("writes {count:,} bytes", _count(call)), Activity.WRITE)


def _blocked_write(call: Syscall) -> Description:
    phrase = Phrase("would block on writing: {error}", {"error": call.error_name})
    return Description(phrase, Activity.ASK)


def _count(call: Syscall) -> dict[str, str | int]:
    return {"count": call.return_value}


def _sendfile(call: Syscall) -> Description:
    if call.error_name:
        return _blocked_write(call)
    phrase = Phrase("has the kernel send {count:,} bytes of the file: sendfile", _count(call))
    return Description(phrase, Activity.SEND_FILE)


def _open(call: Syscall) -> Description:
    name, error = file_name(call), call.error_name
    templates = {"": "opens {name}", "ENOENT": "looks for {name}: not found",
                 "EAGAIN": "would block on opening {name}: EAGAIN"}  # fmt: skip
    template = templates.get(error, "cannot open {name}: {error}")
    if not error and "O_TMPFILE" in call.arguments:
        return Description(Phrase("makes a file without a name: O_TMPFILE"))
    if not error and "O_PATH" in call.arguments and "O_DIRECTORY" not in call.arguments:
        template = "finds {name}, to see what it is"
    activity = Activity.ASK if error == "EAGAIN" else Activity.CALL
    return Description(Phrase(template, {"name": name, "error": error}), activity)


def _stat(call: Syscall) -> Description | None:
    """Describe a look at a file; the interpreter makes the same call for a socket."""
    if re.match(r"\d+<(?!/)", call.arguments):
        return None
    return Description(Phrase("asks for size and modification time"))


def _sync(call: Syscall) -> Description:
    values: dict[str, str | int] = {"call": call.name}
    if _NEW_FILE.match(call.arguments):
        return Description(Phrase("waits until the new file is on the disk: {call}", values))
    return Description(Phrase("waits until the directory is on the disk: {call}", values))


def _lock(call: Syscall) -> Description:
    """Describe a lock of a directory, or of a new file that has a hidden name."""
    is_file = _NEW_FILE.match(call.arguments)
    if "LOCK_UN" in call.arguments:
        return Description(Phrase("unlocks the new file" if is_file else "unlocks the directory"))
    return Description(Phrase("locks the new file" if is_file else "locks the directory"))


def _ask_free_space(_call: Syscall) -> Description:
    return Description(Phrase("asks how much of the disk is free"))


def _name_file(call: Syscall) -> Description:
    """Describe what gives a file its name: the last one in the arguments."""
    *_, name = _QUOTED_NAME.findall(call.arguments) or ["a file"]
    values: dict[str, str | int] = {"name": name.rpartition("/")[2], "call": call.name}
    if call.error_name:
        return Description(
            Phrase("cannot name it {name}: {error}", {**values, "error": call.error_name})
        )
    return Description(Phrase("gives the new file the name {name}: {call}", values))


def _read_file(call: Syscall) -> Description:
    if call.error_name == "ESPIPE":  # as POSIX AIO finds out
        return Description(Phrase("finds that a socket has no offsets: ESPIPE"))
    if call.error_name:
        phrase = Phrase("would block on the disk: {error}", {"error": call.error_name})
        return Description(phrase, Activity.ASK)
    return Description(
        Phrase("reads {count:,} bytes of the file", _count(call)), Activity.READ_FILE
    )


def _read_names(call: Syscall) -> Description | None:
    """Describe reading a directory; the last call returns 0, that there are no more names."""
    found = _DESCRIPTOR_PATH.match(call.arguments)
    name = found[1].rpartition("/")[2] if found else "a directory"
    if call.return_value <= 0:
        return None
    return Description(Phrase("reads names in {name}", {"name": name}), Activity.READ_FILE)


def _close(call: Syscall) -> Description | None:
    if peer_of(call) == LISTENER:
        return Description(Phrase("closes the listener"))
    if is_socket(call):
        return Description(Phrase("closes the connection"))
    found = _DESCRIPTOR_PATH.match(call.arguments)
    if not found or "/" not in found[1]:
        return None
    if _NEW_FILE.match(call.arguments):
        return Description(Phrase("closes the new file"))
    return Description(Phrase("closes {name}", {"name": found[1].rpartition("/")[2]}))


def _epoll_ctl(call: Syscall) -> Description | None:
    """Describe what is polled from now on. The first socket in the arguments is epoll's object."""
    found = re.search(r"EPOLL_CTL_(ADD|MOD|DEL), (\d+)", call.arguments)
    if not found:
        return None
    what = _polled(call)
    if what is None:
        return None
    template = {
        "ADD": f"adds {what} to epoll",
        "MOD": f"changes what epoll reports of {what}",
        "DEL": f"removes {what} from epoll",
    }[found[1]]
    events = ", ".join(_READY.findall(call.arguments))
    template = f"{template}: {{events}}" if events else template
    if call.error_name:
        template = f"{template} ({{error}})"
    phrase = Phrase(template, {"events": events, "error": call.error_name})
    return Description(phrase, Activity.REGISTER, found[2])


def _polled(call: Syscall) -> str | None:
    if peer_of(call) == LISTENER:
        return "the listener"
    return "the connection" if names_socket(call) else None


def _io_uring_enter(call: Syscall) -> Description:
    found = re.match(r"\d+(?:<[^>]*>)?, (\d+), (\d+)", call.arguments)
    submitted, awaited = (int(found[1]), int(found[2])) if found else (0, 0)
    activity = Activity.WAIT if awaited else Activity.CALL
    if not submitted:
        text = "receives completions" if awaited else "checks the rings"
        return Description(Phrase(text), activity)
    end = " and receives completions" if awaited else ""
    return _counted(
        f"submits an operation to the kernel{end}",
        f"submits {{count}} operations to the kernel{end}",
        submitted,
        activity,
    )


def describe_epoll_batch(call: Syscall) -> Description:
    """Describe io_uring_enter in libuv, which uses a ring for many epoll_ctl calls at once."""
    found = re.match(r"\d+(?:<[^>]*>)?, (\d+)", call.arguments)
    return _counted(
        "tells epoll of a change (libuv does it through a ring)",
        "tells epoll of {count} changes in one call (libuv does it through a ring)",
        int(found[1]) if found else 1,
        Activity.REGISTER,
    )


def _signal(call: Syscall) -> Description | None:
    if call.return_value <= 0:
        return None
    found = re.search(r"si_code=(POLL_\w+)", call.arguments)
    template = "receives a signal: {code}" if found else "receives a signal"
    phrase = Phrase(template, {"code": found[1]} if found else {})
    return Description(phrase, Activity.READ_SIGNALS)


def _signal_arrived(call: Syscall) -> Description | None:
    """Describe a signal that interrupts a thread because a socket or a request has changed."""
    found = re.match(r"(SIGIO|SIGPOLL|SIGRT\w*) .*si_code=(\w+)", call.arguments)
    if not found:
        return None
    phrase = Phrase("is interrupted by {name}: {code}", {"name": found[1], "code": found[2]})
    return Description(phrase, Activity.READ_SIGNALS)


def _queue_signal(call: Syscall) -> Description:
    if call.error_name:
        phrase = Phrase("cannot send a signal to the process: {error}", {"error": call.error_name})
        return Description(phrase)
    return Description(Phrase("sends a signal to the process"), Activity.WAKE)


def _fcntl(call: Syscall) -> Description | None:
    texts = {
        "F_SETOWN": "chooses who gets the signals of {what}: {command}",
        "F_SETSIG": "chooses the signal of {what}: {command}",
        "ASYNC": "switches the signals of {what} on: O_ASYNC",  # strace writes FASYNC
    }
    template = next((text for word, text in texts.items() if word in call.arguments), None)
    what = _polled(call)
    if not template or what is None or "F_GET" in call.arguments:
        return None
    command = re.search(r"F_SET\w+", call.arguments)
    phrase = Phrase(
        template.replace("{what}", what), {"command": command[0] if command else "F_SETFL"}
    )
    return Description(phrase, Activity.REGISTER)


def _clone(call: Syscall) -> Description:
    if "CLONE_VM" in call.arguments:
        return Description(Phrase("starts a thread"), Activity.START_THREAD)
    return Description(Phrase("forks a child process"), Activity.START_THREAD)


def _wait_for_child(call: Syscall) -> Description | None:
    if call.return_value <= 0:
        return None
    return Description(Phrase("collects a child that has ended"))


def _exit(_call: Syscall) -> Description:
    return Description(Phrase("ends"))


def _shutdown(_call: Syscall) -> Description:
    return Description(Phrase("shuts down the sending side"))


DESCRIPTIONS: dict[str, Describe] = {
    **dict.fromkeys(("accept", "accept4"), _accept),
    **dict.fromkeys(WAITS, _wait),
    **dict.fromkeys(("read", "recvfrom", "recvmsg", "readv"), _read),
    **dict.fromkeys(("write", "sendto", "sendmsg", "writev"), _write),
    **dict.fromkeys(("openat", "openat2", "open"), _open),
    **dict.fromkeys(("statx", "newfstatat", "fstat"), _stat),
    **dict.fromkeys(("getdents64", "getdents"), _read_names),
    **dict.fromkeys(("pread64", "preadv", "preadv2"), _read_file),
    **dict.fromkeys(("clone", "clone3"), _clone),
    **dict.fromkeys(("fsync", "fdatasync"), _sync),
    **dict.fromkeys(("linkat", "renameat2", "renameat", "rename"), _name_file),
    "flock": _lock,
    "fstatfs": _ask_free_space,
    "wait4": _wait_for_child,
    "exit_group": _exit,
    "sendfile": _sendfile,
    "close": _close,
    "epoll_ctl": _epoll_ctl,
    "io_uring_enter": _io_uring_enter,
    "rt_sigqueueinfo": _queue_signal,
    "rt_sigtimedwait": _signal,
    "fcntl": _fcntl,
    "shutdown": _shutdown,
    SIGNAL: _signal_arrived,
}

# The result of these calls is there when they return; the others take effect when they are made.
TIMED_AT_RETURN = frozenset(
    name
    for name, describe in DESCRIPTIONS.items()
    if describe in {_accept, _wait, _read, _io_uring_enter, _signal}
)
