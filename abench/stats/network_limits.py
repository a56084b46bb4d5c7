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

    Linux drops the SYN of a connection for which there is no place. The client sends it again after
    1 s, and then 2 s later (RFC 6298 section 2; 3 s, 7 s after the first): a queue of this machine
    shows in its counters, one elsewhere in the SYN segments.
    """
    kernel = report.kernel
    if kernel is None or not _is_lossy(kernel):
        return None
    if report.is_local and kernel.listen_overflows:
        what = f"{count(kernel.listen_overflows)} times, a new connection found it full"
    elif not report.is_local and kernel.syn_retransmitted > MOSTLY * kernel.retransmitted:
        what = f"{count(kernel.syn_retransmitted)} times, a connection was not answered"
    else:
        return None
    port = report.plan.target.port
    return Finding(
        "backlog",
        "likely",
        f"The server's queue of new connections is the limit: {what} and waited 1 s or 3 s.",
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
            "Run abench next to the server, to measure it without this network.",
        ),
    )


def _is_lossy(kernel: TcpCounters) -> bool:
    return kernel.retransmitted > max(FEW_LOST, LOSSY * kernel.sent)
