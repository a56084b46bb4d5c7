"""Limits between the two sides: the network, and the queue of new connections."""

from abench.stats.finding import Finding
from abench.stats.results import Results
from abench.stats.units import count, significant
from abench.system.procfs import TcpCounters

LOSSY = 0.001  # share of segments retransmitted: beyond it, TCP timeouts distort the latencies
FEW_LOST = 10  # segments: a short run may see that many of other connections
MOSTLY = 0.8  # of the retransmitted segments: loss in a network hits those with data as well


def find_full_backlog(report: Results) -> Finding | None:
    """Find a server that accepts connections too slowly, so that its queue of them was full.

    Linux then drops the SYN, which the client sends again after 1 s, and 2 s later (RFC 6298
    section 2); or if the queue has filled up since, the ACK that ends the handshake: the client is
    connected, and sends its request again after 0.2 s, 0.4 s and so on. A queue of this machine
    shows in its counters, one elsewhere in what is sent again.
    """
    kernel = report.kernel
    if kernel is None or not _is_lossy(kernel):
        return None
    if report.is_local and kernel.listen_overflows:
        what = f"{count(kernel.listen_overflows)} times, a new connection found it full"
    elif not report.is_local and kernel.syn_retransmitted > MOSTLY * kernel.retransmitted:
        what = f"{count(kernel.syn_retransmitted)} times, a new connection was not answered"
    else:
        return None
    port = report.plan.target.port
    return Finding(
        "backlog",
        "likely",
        f"The server's queue of new connections is the limit: {what}, and waited 0.2 s or more.",
        (
            f"Look at it while the test runs: ss -ltn 'sport = :{port}' (Recv-Q of Send-Q).",
            (
                "A longer queue: listen(4096) in the server, and sysctl net.core.somaxconn=4096; "
                "if it stays full, accept in more threads or processes."
            ),
        ),
    )


def find_lossy_network(report: Results) -> Finding | None:
    """Find a network that loses segments."""
    kernel = report.kernel
    if kernel is None or not _is_lossy(kernel):
        return None
    if report.is_local:
        return None  # no network between the two: these segments were of other connections
    share = f"{significant(100 * kernel.retransmitted / max(1, kernel.sent))} % of TCP segments"
    host = report.plan.target.host
    return Finding(
        "network",
        "likely",
        f"{share} were retransmitted: the network dropped them.",
        (
            f"Where are they lost? mtr -rwc 100 {host}; drops of this machine: ip -s link",
            "Run abench next to the server, to measure it without this network."
            if report.plan.keep_alive
            else "Or the server's queue of connections was full: nstat -az TcpExtListenOverflows.",
        ),
    )


def _is_lossy(kernel: TcpCounters) -> bool:
    return kernel.retransmitted > max(FEW_LOST, LOSSY * kernel.sent)
