"""What Linux tells about a run: the counters of the kernel, and the usage of the server."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from abench.errors import ParameterError

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class TcpCounters:
    """The TCP counters of the kernel over a run; of the whole machine, not of the run alone.

    `sent` and `retransmitted` are segments; `listen_overflows` are connections that found a full
    listen queue, `listen_drops` those that were dropped for any reason. `time_wait` is how many
    closed connections still held their ports at the end.
    """

    sent: int
    retransmitted: int
    listen_overflows: int
    listen_drops: int
    time_wait: int


def read_tcp_counters() -> TcpCounters | None:
    """Return the current counters, or None without such a /proc."""
    try:
        tcp = _read_table("net/snmp")["Tcp"]
        more = _read_table("net/netstat")["TcpExt"]
        sockets = (_PROC / "net/sockstat").read_text().split()
    except (OSError, KeyError):
        return None
    return TcpCounters(
        sent=tcp["OutSegs"],
        retransmitted=tcp["RetransSegs"],
        listen_overflows=more["ListenOverflows"],
        listen_drops=more["ListenDrops"],
        time_wait=int(sockets[sockets.index("tw") + 1]),
    )


def tcp_counters_since(before: TcpCounters | None) -> TcpCounters | None:
    """Return what was counted since `before`; `time_wait` is the current value."""
    now = read_tcp_counters()
    if before is None or now is None:
        return None
    return TcpCounters(
        sent=now.sent - before.sent,
        retransmitted=now.retransmitted - before.retransmitted,
        listen_overflows=now.listen_overflows - before.listen_overflows,
        listen_drops=now.listen_drops - before.listen_drops,
        time_wait=now.time_wait,
    )


def _read_table(name: str) -> dict[str, dict[str, int]]:
    """Parse a file of /proc/net in which a line of names precedes each line of numbers."""
    lines = [line.split() for line in (_PROC / name).read_text().splitlines()]
    return {
        names[0].rstrip(":"): dict(zip(names[1:], map(int, numbers[1:]), strict=True))
        for names, numbers in zip(lines[::2], lines[1::2], strict=True)
    }


def is_local_address(host: str) -> bool:
    """Whether an address or a name is of this machine: only such can be bound."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    family, kind, protocol, _, address = found[0]
    with closing(socket.socket(family, kind, protocol)) as probe:
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


_TCP_LISTEN = "0A"  # the state in /proc/net/tcp


def listening_pids(port: int) -> set[int]:
    """Return the processes that listen on a local port, as far as this user may see them."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    names = os.listdir(_PROC) if sockets else []
    return {
        int(name)
        for name in names
        if name.isdecimal() and not sockets.isdisjoint(_descriptors(f"{_PROC}/{name}/fd"))
    }


def _listening_inodes(port: int) -> Iterator[str]:
    for name in ("net/tcp", "net/tcp6"):
        with suppress(OSError):  # a kernel without IPv6
            for columns in _listening_rows(_PROC / name):
                if int(columns[1].rpartition(":")[2], 16) == port:
                    yield columns[9]


def _listening_rows(table: Path) -> Iterator[list[str]]:
    """Yield the rows of the sockets that listen: they come before all others (proc_net_tcp.rst).

    After a run the others are connections in TIME_WAIT: 70,000 of them take a tenth of a second.
    """
    with table.open() as lines:
        for line in islice(lines, 1, None):  # after the names of the columns
            columns = line.split()
            if columns[3] != _TCP_LISTEN:
                return
            yield columns


def _descriptors(directory: str) -> set[str]:
    """Return the link targets of a process's descriptors; none if it is gone or not ours."""
    found = set()
    with suppress(OSError):
        for descriptor in os.listdir(directory):
            with suppress(OSError):  # closed since
                found.add(os.readlink(f"{directory}/{descriptor}"))
    return found


def shares_cores(pids: Iterable[int]) -> bool | None:
    """Whether a process may run on the cores of this one; None without any known process."""
    cores: set[int] = set()
    for pid in pids:
        with suppress(OSError):  # it has ended
            cores |= os.sched_getaffinity(pid)
    return not cores.isdisjoint(os.sched_getaffinity(0)) if cores else None


@dataclass(frozen=True, slots=True)
class EphemeralPorts:
    """The local ports for connections. A closed one holds its port for `hold_time_s` seconds."""

    count: int
    hold_time_s: float

    @property
    def per_second(self) -> float:
        """How many connections to one address and port can be opened per second, sustained."""
        return self.count / self.hold_time_s


def read_ephemeral_ports(*, loopback: bool) -> EphemeralPorts:
    """Return the ports for connections to one address, of the loopback network or any other.

    TIME_WAIT is a minute. A port in it is reused after a second if tcp_tw_reuse is 1, or if it is
    2, its default, for loopback (Linux, ip-sysctl).
    """
    try:
        first, last = map(int, (_PROC / "sys/net/ipv4/ip_local_port_range").read_text().split())
        reuse = int((_PROC / "sys/net/ipv4/tcp_tw_reuse").read_text())
    except (OSError, ValueError):
        first, last, reuse = 32_768, 60_999, 2
    is_reused = reuse == 1 or (reuse == 2 and loopback)
    return EphemeralPorts(last - first + 1, 1.0 if is_reused else 60.0)


class ServerUsage(NamedTuple):
    """What the processes of the server used over a run: CPU time in seconds, memory in bytes.

    `ended` tells that a named process, or the control group, was gone at the end: then the figures
    are too small.
    """

    cpu_s: float
    peak_rss: int
    ended: bool


def _is_cgroup(path: str) -> bool:
    try:
        return bool(path) and os.access(Path(path) / "cpu.stat", os.R_OK)
    except ValueError:  # a NUL in the path
        return False


class ServerMonitor:
    """Monitors processes and all their descendants, or a control group (v2).

    Making one raises ParameterError if a process or the group does not exist.
    """

    def __init__(self, pids: Iterable[int] = (), cgroup: str | None = None) -> None:
        self._pids = tuple(pids)
        self._cgroup = Path(cgroup) if cgroup is not None else None
        self._peak_rss = 0
        self._group_cpu_s = 0.0
        for pid in self._pids:
            if not (_PROC / str(pid)).is_dir():
                raise ParameterError("--server-pid", f"there is no process {pid}")
        if cgroup is not None and not _is_cgroup(cgroup):
            raise ParameterError("--server-cgroup", f"{cgroup} is not a control group (v2)")
        self._cpu_before_s = self._cpu_s()

    @property
    def is_active(self) -> bool:
        """Whether there is anything to monitor."""
        return bool(self._pids or self._cgroup)

    def sample(self) -> None:
        """Record the memory that is in use now, and what a group has used that may end."""
        if self.is_active:
            self._peak_rss = max(self._peak_rss, self._rss())
            self._read_group_cpu()

    def result(self) -> ServerUsage | None:
        """Return what was used since this was made; None if there is nothing to monitor."""
        if not self.is_active:
            return None
        self.sample()
        cpu_s = max(0.0, self._cpu_s() - self._cpu_before_s)
        return ServerUsage(cpu_s, self._peak_rss, self._has_ended())

    def _has_ended(self) -> bool:
        if self._cgroup:
            return not _is_cgroup(str(self._cgroup))
        return not all((_PROC / str(pid)).is_dir() for pid in self._pids)

    def _cpu_s(self) -> float:
        if self._cgroup:
            self._read_group_cpu()
            return self._group_cpu_s
        return sum(_cpu_s(pid) for pid in _with_descendants(self._pids))

    def _read_group_cpu(self) -> None:
        """Read what the group has used in all; of one that has ended, the last value stays."""
        if self._cgroup:
            with suppress(OSError):
                words = (self._cgroup / "cpu.stat").read_text().split()
                self._group_cpu_s = int(words[words.index("usage_usec") + 1]) / 1e6

    def _rss(self) -> int:
        if self._cgroup:
            with suppress(OSError):  # it has ended, or memory is not accounted for
                return int((self._cgroup / "memory.current").read_text())
            return 0
        return sum(_rss(pid) for pid in _with_descendants(self._pids))


def _with_descendants(pids: Iterable[int]) -> set[int]:
    """Return processes and all their descendants."""
    found: set[int] = set()
    pending = list(pids)
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending += _children(pid)
    return found


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):  # it has ended, as have those below
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def is_stopped(pid: int) -> bool:
    """Whether a process is suspended by a signal, a terminal or a debugger (proc(5))."""
    with suppress(OSError):  # it has ended
        return _stat_columns(pid)[0] in {"T", "t"}
    return False


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of the children that it has waited for, in s."""
    with suppress(OSError):  # it has ended
        return sum(map(int, _stat_columns(pid)[11:15])) * _TICK_S
    return 0.0


def _stat_columns(pid: int) -> list[str]:
    """Return what follows the name of a process in its stat (proc(5)); raises OSError.

    The name may contain spaces, brackets, and bytes that are no UTF-8: it is cut after 15 bytes.
    """
    text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def _rss(pid: int) -> int:
    with suppress(OSError):
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_SIZE
    return 0
