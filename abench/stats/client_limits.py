"""Limits of the client itself. They come first: a wrong verdict on the server is the worse one."""

from abench.stats.finding import BUSY, Finding, busy_connections, client_demand
from abench.stats.results import Results
from abench.stats.units import percents, plural, significant

LATE_SHARE = 0.5  # of the median latency: a larger event-loop lag is suspicious
MOSTLY = 0.5  # of the time or of the bandwidth: then it is what limits
STARVED = 0.5  # of the run without a core: then most responses waited for this client
LATE_US = 10_000  # an event-loop lag that counts
NO_PORTS, NO_FILES = "EADDRNOTAVAIL", ("EMFILE", "ENFILE")


def find_missing_ports(report: Results) -> Finding | None:
    """Find connections that got no local port."""
    if not report.reasons.get(NO_PORTS):
        return None
    failed = plural(report.reasons[NO_PORTS], "connection")
    return Finding(
        "ports",
        "sure",
        f"{failed} failed: this machine had no free local port.",
        (
            "Keep connections open: without --no-keepalive, and by a server that allows it.",
            (
                "More ports: sysctl -w net.ipv4.ip_local_port_range='1024 65535' "
                "net.ipv4.tcp_tw_reuse=1"
            ),
        ),
    )


def find_missing_files(report: Results) -> Finding | None:
    """Find connections that got no file descriptor."""
    failed = sum(report.reasons.get(name, 0) for name in NO_FILES)
    if not failed:
        return None
    return Finding(
        "open-files",
        "sure",
        f"{plural(failed, 'connection')} failed: this machine ran out of open files.",
        (
            f"Allow more in this shell: ulimit -n {max(4096, 2 * report.plan.connections)}",
            "If the message is ENFILE, the whole machine has too few: sysctl fs.file-max",
        ),
    )


def find_busy_client(report: Results) -> Finding | None:
    """Find a worker of abench that used a whole core, or would have."""
    if client_demand(report) < BUSY:
        return None
    used = max(report.client.cpu)
    if used < BUSY:
        return Finding(
            "client",
            "likely",
            f"This client is the limit: it needed a whole core, and got {100 * used:.0f} % of one.",
            (
                (
                    "Stop what else uses the CPU (top), or give abench a core of its own: "
                    "taskset -c 1 abench ..."
                ),
            ),
        )
    workers = len(report.client.cpu)
    sentence = "This client is the limit: the server may be able to do more"
    more = "." if workers > 1 else "; try more workers (-w) on more cores."
    return Finding(
        "client",
        "sure" if used > 0.97 else "likely",
        sentence + more,
        (
            f"Use more cores: -w {2 * workers}, or several machines: --dask.",
            "abench calibrate shows what this client can measure at most.",
        ),
    )


def find_loop_lag(report: Results) -> Finding | None:
    """Find a client that was late to read responses, for enough of the run to matter.

    It was late if it had no core for half of the run, or if its event loop was in a tenth of it. If
    it was more seldom, the slowest responses may be its fault, but not the rate: the evidence has
    the 99th percentile of the lag.
    """
    if max(report.client.cpu_wait, default=0.0) < STARVED and not _is_loop_late(report):
        return None
    return Finding(
        "loop-lag",
        "likely",
        "This client was delayed: responses waited unread, which counts as latency of the server. "
        f"{_competitor(report)}",
        (
            (
                "Stop what else uses the CPU (top), or separate the cores: taskset -c 0 SERVER, "
                "taskset -c 1 abench ..."
            ),
            "In a container, look for a CPU limit: nr_throttled in its cpu.stat grows with it.",
        ),
    )


def _is_loop_late(report: Results) -> bool:
    lag, median = report.client.lag.percentiles["p90"], report.service.percentiles["p50"]
    return lag is not None and median is not None and lag >= max(LATE_US, LATE_SHARE * median)


def _competitor(report: Results) -> str:
    """Return what competes with this client for CPU time."""
    if report.is_local and report.shares_cores:
        return "The server runs on the same cores and competes for them."
    if report.is_local and report.shares_cores is None:
        return "The server is on this machine too, and may compete for CPU time."
    return "Something else uses its CPU time."


def describe_cpu(report: Results) -> str:
    """Return what each worker used of a core, and what it waited for one."""
    client = report.client
    waits = max(client.cpu_wait, default=0.0)
    waited = f", {significant(round(100 * waits))} % waiting for one" if waits >= 0.01 else ""
    return f"{percents(client.cpu)} % of a core per worker{waited}"


def find_pauses(report: Results) -> Finding | None:
    """Find users who thought for longer than they waited."""
    thinking = 1 - busy_connections(report)
    if not report.plan.behavior.think_s or thinking < MOSTLY:
        return None
    return Finding(
        "schedule",
        "sure",
        f"The think time sets the rate: connections paused for {100 * thinking:.0f} % of the time. "
        "The limit of the server is not known.",
        (f"More users: -c {2 * report.plan.connections}",),
    )


def find_bandwidth(report: Results) -> Finding | None:
    """Find connections that were as slow as they were told to be."""
    bandwidth = report.plan.behavior.bandwidth
    if not bandwidth:
        return None
    received = report.bytes_per_sec / report.plan.connections
    share = max(received, report.sent_bytes_per_sec / report.plan.connections) / bandwidth
    if share < MOSTLY:
        return None
    return Finding(
        "schedule",
        "sure",
        f"The bandwidth sets the rate: connections used {100 * share:.0f} % of what they were "
        "given. The limit of the server is not known.",
        (f"More clients: -c {2 * report.plan.connections}",),
    )
