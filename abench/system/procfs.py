"""What Linux tells about a run: the counters of the kernel, addresses, ports and processes."""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class TcpCounters:
    """The TCP counters of the kernel over a run; of the whole machine, not of the run alone.

    `sent` and `retransmitted` are segments; `listen_overflows` are connections that found a full
    listen queue, `listen_drops` those that were dropped for any reason. `time_wait` is how many
    closed connections still held their ports at the end. `syn_retransmitted` are the segments among
    `retransmitted` that open a connection: SYN and SYN-ACK.
    """

    sent: int
    retransmitted: int
    listen_overflows: int
    listen_drops: int
    time_wait: int
    syn_retransmitted: int = 0


def read_tcp_counters() -> TcpCounters | None:
    """Return the current counters, or None without such a /proc."""
    try:
        tcp = _read_table("net/snmp")["Tcp"]
        more = _read_table("net/netstat")["TcpExt"]
        sockets = (PROC / "net/sockstat").read_text().split()
    except (OSError, KeyError):
        return None
    return TcpCounters(
        sent=tcp["OutSegs"],
        retransmitted=tcp["RetransSegs"],
        listen_overflows=more["ListenOverflows"],
        listen_drops=more["ListenDrops"],
        time_wait=int(sockets[sockets.index("tw") + 1]),
        syn_retransmitted=more.get("TCPSynRetrans", 0),
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
        syn_retransmitted=now.syn_retransmitted - before.syn_retransmitted,
    )


def _read_table(name: str) -> dict[str, dict[str, int]]:
    """Parse a file of /proc/net in which a line of names precedes each line of numbers."""
    lines = [line.split() for line in (PROC / name).read_text().splitlines()]
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
    names = os.listdir(PROC) if sockets else []
    return {
        int(name)
        for name in names
        if name.isdecimal() and not sockets.isdisjoint(_descriptors(f"{PROC}/{name}/fd"))
    }


def _listening_inodes(port: int) -> Iterator[str]:
    for name in ("net/tcp", "net/tcp6"):
        with suppress(OSError):  # a kernel without IPv6
            for columns in _listening_rows(PROC / name):
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
        first, last = map(int, (PROC / "sys/net/ipv4/ip_local_port_range").read_text().split())
        reuse = int((PROC / "sys/net/ipv4/tcp_tw_reuse").read_text())
    except (OSError, ValueError):
        first, last, reuse = 32_768, 60_999, 2
    is_reused = reuse == 1 or (reuse == 2 and loopback)
    return EphemeralPorts(last - first + 1, 1.0 if is_reused else 60.0)


def is_stopped(pid: int) -> bool:
    """Whether a process is suspended by a signal, a terminal or a debugger (proc(5))."""
    with suppress(OSError):  # it has ended
        return stat_columns(str(pid))[0] in {"T", "t"}
    return False


def stat_columns(process: str) -> list[str]:
    """Return what follows the name of a process or thread in its stat (proc(5)); raises OSError.

    `process` is its directory below /proc.
    The name may contain spaces, brackets, and bytes that are no UTF-8: it is cut after 15 bytes.
    """
    text = (PROC / process / "stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()
