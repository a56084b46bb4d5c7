"""What Linux tells of a run from outside it: the kernel's counters, and what the server took."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from abench.errors import ParameterError

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class TcpCounters:
    """The kernel's TCP counters over a run; of everything on the machine, not of the run alone.

    `sent` and `retransmitted` are segments; `listen_overflows` connections that found a full
    queue, `listen_drops` those that were dropped for whatever reason. `time_wait` is how many
    ended connections still held their ports when it was over.
    """

    sent: int
    retransmitted: int
    listen_overflows: int
    listen_drops: int
    time_wait: int


def read_tcp_counters() -> TcpCounters | None:
    """Return the counters as they are now, or None where there is no such /proc."""
    try:
        tcp = _table("net/snmp")["Tcp"]
        more = _table("net/netstat")["TcpExt"]
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
    """Return what the counters have counted since; `time_wait` as it is now."""
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


def _table(name: str) -> dict[str, dict[str, int]]:
    """Return a file of /proc/net in which a line of names precedes each line of numbers."""
    lines = [line.split() for line in (_PROC / name).read_text().splitlines()]
    return {
        names[0].rstrip(":"): dict(zip(names[1:], map(int, numbers[1:]), strict=True))
        for names, numbers in zip(lines[::2], lines[1::2], strict=True)
    }


def is_local_address(host: str) -> bool:
    """Whether an address or a name is this machine's own: only such can be bound to."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    family, kind, protocol, _, where = found[0]
    with closing(socket.socket(family, kind, protocol)) as probe:
        try:
            probe.bind(where)
        except OSError:
            return False
    return True


_LISTENING = "0A"  # as /proc/net/tcp has it


def listening_pids(port: int) -> set[int]:
    """Return the processes that listen on a port here, as far as this user may know."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return {
        int(process.name)
        for process in _PROC.glob("[0-9]*")
        if sockets and not sockets.isdisjoint(_descriptors(process))
    }


def _listening_inodes(port: int) -> Iterator[str]:
    for name in ("net/tcp", "net/tcp6"):
        with suppress(OSError):
            for line in (_PROC / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _descriptors(process: Path) -> set[str]:
    """Return what the descriptors of a process are; nothing of another user's, or of one gone."""
    found = set()
    with suppress(OSError):
        for one in (process / "fd").iterdir():
            with suppress(OSError):
                found.add(str(one.readlink()))
    return found


def shares_cores(pids: Iterable[int]) -> bool | None:
    """Whether one of the processes may run on a core that this one has; None if none is known."""
    cores: set[int] = set()
    for pid in pids:
        with suppress(OSError):
            cores |= os.sched_getaffinity(pid)
    return not cores.isdisjoint(os.sched_getaffinity(0)) if cores else None


@dataclass(frozen=True, slots=True)
class EphemeralPorts:
    """The local ports that connections are given. Ends hold them for `held_s` seconds."""

    count: int
    hold_time_s: float

    @property
    def per_second(self) -> float:
        """How many connections to one address and port can be opened each second, for long."""
        return self.count / self.hold_time_s


def read_ephemeral_ports(*, loopback: bool) -> EphemeralPorts:
    """Return the ports for connections to one address of the loopback network, or any other.

    TIME_WAIT is a minute, and a port in it is given again after a second where tcp_tw_reuse is 1,
    or 2 for loopback, its default (Linux, ip-sysctl).
    """
    try:
        first, last = map(int, (_PROC / "sys/net/ipv4/ip_local_port_range").read_text().split())
        reuse = int((_PROC / "sys/net/ipv4/tcp_tw_reuse").read_text())
    except (OSError, ValueError):
        first, last, reuse = 32_768, 60_999, 2
    soon = reuse == 1 or (reuse == 2 and loopback)
    return EphemeralPorts(last - first + 1, 1.0 if soon else 60.0)


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """What the server's processes took over a run: seconds of processor time, octets resident.

    `ended` says that one that was named was gone at the end: then the figures are too small.
    """

    cpu_s: float
    peak_rss: int
    ended: bool


def _is_cgroup(path: str) -> bool:
    try:
        return bool(path) and os.access(Path(path) / "cpu.stat", os.R_OK)
    except ValueError:  # of a NUL
        return False


class ServerMonitor:
    """Watches the processes named, and all that descend from them; or a control group (v2).

    Making one raises ParameterError for what is not there.
    """

    def __init__(self, pids: Iterable[int] = (), cgroup: str | None = None) -> None:
        self._pids = tuple(pids)
        self._cgroup = Path(cgroup) if cgroup is not None else None
        self._peak_rss = 0
        for pid in self._pids:
            if not (_PROC / str(pid)).is_dir():
                raise ParameterError("--server-pid", f"there is no process {pid}")
        if cgroup is not None and not _is_cgroup(cgroup):
            raise ParameterError("--server-cgroup", f"{cgroup} is no control group (v2)")
        self._began_s = self._cpu_s()

    @property
    def is_active(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._pids or self._cgroup)

    def sample(self) -> None:
        """Take note of the memory in use now."""
        if self.is_active:
            self._peak_rss = max(self._peak_rss, self._rss())

    def result(self) -> ServerUsage | None:
        """Return what was taken since this watch was made; None if there is nothing to watch."""
        if not self.is_active:
            return None
        self.sample()
        ended = not all((_PROC / str(pid)).is_dir() for pid in self._pids)
        return ServerUsage(max(0.0, self._cpu_s() - self._began_s), self._peak_rss, ended)

    def _cpu_s(self) -> float:
        if self._cgroup:
            words = (self._cgroup / "cpu.stat").read_text().split()
            return int(words[words.index("usage_usec") + 1]) / 1e6
        return sum(_cpu_s(pid) for pid in _with_descendants(self._pids))

    def _rss(self) -> int:
        if self._cgroup:
            with suppress(OSError):
                return int((self._cgroup / "memory.current").read_text())
            return 0
        return sum(_rss(pid) for pid in _with_descendants(self._pids))


def _with_descendants(pids: Iterable[int]) -> set[int]:
    """Return processes and all that descend from them."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += _children(pid)
    return found


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped: by a signal, a terminal or a debugger (proc(5))."""
    with suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}
    return False


def _cpu_s(pid: int) -> float:
    """Return the processor time of a process and of the children that it has waited for."""
    with suppress(OSError):
        # A name may have blanks and brackets in it: the fields are counted from behind it.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * _TICK_S
    return 0.0


def _rss(pid: int) -> int:
    with suppress(OSError):
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    return 0
