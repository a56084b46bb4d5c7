"""What the arguments and results of system calls name, as strace writes them: sockets and files."""

import re

from aserve.explain.events import LISTENER, Syscall

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SOCKET = re.compile(r"(\d+)<(?:TCPv6|TCP|socket):\[(.*?)]>")
_REPORTED = re.compile(r"(?:u32=|fd=)(\d+)")

WAITS = frozenset(
    {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"}
)
"""Calls that wait until a descriptor is ready."""


def peer_of(call: Syscall) -> int:
    """Return the port of the client whose connection a call is about, LISTENER or 0."""
    found = _SOCKET.search(call.result if _is_accept(call) else call.arguments)
    if not found:
        return LISTENER if _is_accept(call) else 0
    _, arrow, remote = found[2].partition("->")
    port = remote.rpartition(":")[2]
    if arrow and port.isdigit():
        return int(port)
    return LISTENER if ":" in found[2] else 0


def named_descriptors(call: Syscall) -> list[int]:
    """Return the sockets that a call names: its own, or those that it reports as ready."""
    if call.name in WAITS:
        return [int(number) for number in _REPORTED.findall(reported_part(call))]
    found = _SOCKET.search(call.result if _is_accept(call) else call.arguments)
    return [int(found[1])] if found else []


def accepting_descriptor(call: Syscall) -> int:
    """Return the listener that a call accepts from, 0 for another call."""
    found = _SOCKET.search(call.arguments) if _is_accept(call) else None
    return int(found[1]) if found else 0


def reported_part(call: Syscall) -> str:
    """Return what a wait reported: poll and select write it behind their result."""
    if call.name in {"poll", "ppoll"}:
        return call.result
    if call.name in {"select", "pselect6"}:
        numbers = re.findall(r"\[([\d<>:.\- \w\[\]]*)]", call.result)
        return " ".join(f"fd={number}" for number in re.findall(r"\b\d+\b", " ".join(numbers)))
    return call.arguments


def _is_accept(call: Syscall) -> bool:
    return call.name.startswith("accept")


def is_socket(call: Syscall) -> bool:
    """Tell whether the first argument of a call is a socket."""
    return bool(_SOCKET.match(call.arguments))


def file_name(call: Syscall) -> str:
    """Return the last part of the path in the arguments of a call."""
    found = _QUOTED.search(call.arguments)
    return found[1].rstrip("/").rpartition("/")[2] if found else "the file"


def names_socket(call: Syscall) -> bool:
    """Tell whether any argument of a call is a socket."""
    return bool(_SOCKET.search(call.arguments))


def select_sets(call: Syscall) -> str:
    """Return which sets select found something in; "" for another call."""
    if call.name not in {"select", "pselect6"}:
        return ""
    names = {"in [": "readable", "out [": "writable"}
    return ", ".join(name for word, name in names.items() if word in call.result)
