"""Network namespaces of our own: machines with addresses and cables, on one kernel.

`make_hub` moves this process, and with it all that it starts, to a namespace with a bridge. A
machine is a process that called `leave_network`, then `configure`; between the two, `connect` has
given it one end of a veth pair, whose other end is at the bridge. No namespace has a name or a
route to anywhere else: they end with their processes.
"""

import ctypes
import ctypes.util
import os
import subprocess

_CLONE_NEWNET = 0x40000000
_NETWORK = "198.18.0"  # RFC 2544: for measurements, never routed
HUB = f"{_NETWORK}.1"
"""The address of the bridge, which is that of this process for the machines."""

MAX_MACHINES = 250


def why_not() -> str:
    """Return why namespaces cannot be made here, or "" if they can."""
    pid = os.fork()
    if pid == 0:
        try:
            leave_network()
            _ip("link add name bridge-to-try type bridge\n")
            _ip("link add name veth-to-try type veth peer name veth-too\n")
        except (OSError, subprocess.CalledProcessError):
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return "needs root, iproute2, and a kernel with bridge and veth" if status else ""


def leave_network() -> None:
    """Move this process to a network namespace of its own: unshare(2), not in Python 3.11."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def address(number: int) -> str:
    """Return the address of a machine, which are counted from 0."""
    return f"{_NETWORK}.{number + 2}"


def make_hub() -> None:
    """Move this process to a new namespace with a bridge."""
    leave_network()
    _ip(
        "link set lo up\n"
        "link add name hub type bridge\n"
        f"address add {HUB}/24 dev hub\n"
        "link set hub up\n"
    )


def connect(pids: list[int]) -> None:
    """Connect the machines that these processes are to the bridge, numbered in this order."""
    _ip(
        "".join(
            f"link add name {cable(number)} type veth peer name eth0 netns {pid}\n"
            f"link set {cable(number)} master hub up\n"
            for number, pid in enumerate(pids)
        )
    )


def configure(number: int) -> None:
    """Configure the end of the cable that this machine has."""
    _ip(f"link set lo up\naddress add {address(number)}/24 dev eth0\nlink set eth0 up\n")


def cable(number: int) -> str:
    """Return the name of the bridge's end of the cable to a machine."""
    return f"node{number}"


def cut(number: int, pid: int) -> None:
    """Delete the cable to a machine; `pid` is a process at the bridge."""
    _run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "delete", cable(number)])


def _ip(commands: str) -> None:
    _run(["ip", "-batch", "-"], commands)


def _run(command: list[str], commands: str = "") -> None:
    subprocess.run(command, input=commands.encode(), check=True, capture_output=True)
