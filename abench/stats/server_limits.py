"""Limits of a server that works, from the most to the least specific evidence."""

from statistics import median

from abench.stats.finding import (
    BUSY,
    IDLE,
    Finding,
    both_are_idle,
    busy_connections,
    client_demand,
    connections_opened,
    quoted_url,
    requests_in_flight,
    server_cores,
    server_demand,
    server_processes,
)
from abench.stats.growth import chance_of_growth
from abench.stats.results import Results
from abench.stats.units import microseconds, significant

RARE = 0.01  # the chance of a trend: one steady run in a hundred is called growing at most
MANY_TIMES = 2.0  # what the latency has to grow by: less is the noise of a shared machine
MIN_SECONDS = 5  # the fewest values of which one order in a hundred can be told
FEW_PER_CONNECTION = 2  # requests: below it, opening connections is a part of each
MIN_CONNECTIONS = 4  # of fewer, a queue cannot be told from latencies that differ
FEW_FAST = 0.005  # of the requests: now and then, one overtakes the others that wait for a lock
MANY_IN_STORAGE = 0.5  # threads on average


def find_growing_latency(report: Results) -> Finding | None:
    """Find latencies that grow over a closed loop, in which the load stays the same.

    The medians of its seconds are tested for a trend (Mann-Kendall). Above the rate of a server
    they grow with a schedule as well, because ever more requests wait.
    """
    medians = [
        float(found)
        for second in report.series[: -1 if _is_cut(report) else None]
        if (found := second.service.percentiles["p50"]) is not None
    ]
    if report.schedule or len(medians) < MIN_SECONDS or chance_of_growth(medians) > RARE:
        return None
    third = len(medians) // 3
    before, after = median(medians[:third]), median(medians[-third:])
    if after < MANY_TIMES * before:
        return None
    times = f"from {microseconds(before)} to {microseconds(after)}"
    return Finding(
        "growth",
        "likely",
        f"The server became slower under the same load: the median latency grew {times}.",
        (
            (
                "Look for what is never given back: connections of a pool, descriptors "
                f"(ls /proc/PID/fd | wc -l), memory (ps -o rss= -p {server_processes(report)})."
            ),
            (
                f"Does it go on? -t {max(60, round(4 * report.duration_s))}; and does it begin "
                "anew after a restart of the server?"
            ),
        ),
    )


def _is_cut(report: Results) -> bool:
    """Whether the last step of the series is shorter than half of the others."""
    return len(report.series) > 1 and report.series[-1].length_s < report.series[0].length_s / 2


def find_closed_connections(report: Results) -> Finding | None:
    """Find a server that closes connections although they were to be kept."""
    opened = connections_opened(report)
    if not report.plan.keep_alive or FEW_PER_CONNECTION * opened < report.total or not opened:
        return None
    each = report.total / opened
    return Finding(
        "keep-alive",
        "likely",
        f"The server closes each connection after {significant(each)} requests: every "
        "other begins with a new one."
        if each >= 1.5
        else "The server closes each connection after a response: every request opens a new one.",
        (
            (
                f"What does it say? curl -sv -o /dev/null {quoted_url(report)} 2>&1 | "
                "grep -i '< connection'"
            ),
            (
                "Turn keep-alive on in the server, and in proxies before it; then requests per "
                "connection may have a limit."
            ),
        ),
    )


def find_busy_server(report: Results) -> Finding | None:
    """Find a server that used a whole core, or would have."""
    cores, demand = server_cores(report), server_demand(report)
    if cores is None or demand is None or demand < BUSY:
        return None
    processes = server_processes(report)
    profile = f"What does it compute? perf top -p {processes}, or py-spy top -p for Python"
    if cores > BUSY:
        return Finding(
            "server",
            "sure",
            f"The server is the limit: it used {cores:.2f} cores.",
            (
                f"{profile}.",
                "More of its processes or threads, if there are cores left: nproc, top.",
            ),
        )
    return Finding(
        "server",
        "likely",
        f"The server is the limit: a thread of it needed a whole core, and it got {cores:.2f}.",
        (f"{profile}.", "Stop what else uses the CPU (top), or give the server cores of its own."),
    )


def find_slow_storage(report: Results) -> Finding | None:
    """Find a server whose threads wait for storage while its CPU is idle."""
    waiting = report.server.threads_in_storage if report.server else None
    if waiting is None or waiting < MANY_IN_STORAGE or not both_are_idle(report):
        return None
    return Finding(
        "disk",
        "likely",
        f"The server waits for its storage: on average, {significant(waiting)} of its threads "
        "did, and its CPU was idle.",
        (
            (
                "Which device? iostat -x 1 (r_await, w_await, %util); which files? strace -f -T -e "
                f"trace=%file,read,pread64,fsync -p {server_processes(report)}"
            ),
            (
                "Does it fit in memory? Run again with warm files (vmtouch -t); if that is fast, "
                "cache more or wait less: fewer fsync, read-ahead."
            ),
        ),
    )


def find_queue(report: Results) -> Finding | None:
    """Find requests that wait for one another inside an idle server: a lock, or a small pool.

    In a closed loop the first requests find no queue, and all later ones the same: the fastest
    response took what the work takes, the others that and the wait for all before them. By Little's
    law the rate times the time of the work is the number that is worked on at once.
    """
    fastest, mean = report.service.min, report.service.mean
    if fastest is None or mean is None or report.schedule:
        return None
    connections = report.plan.connections * report.plan.pipeline
    if connections < MIN_CONNECTIONS or fastest > mean / 4 or not both_are_idle(report):
        return None
    if busy_connections(report) < BUSY * report.plan.pipeline:
        return None
    if not _queue_grew(report, mean, connections):
        return None
    at_once = max(1, round(requests_in_flight(report) * fastest / mean))
    return Finding(
        "concurrency",
        "likely",
        f"Requests wait for one another in the server: it works on about {at_once} at a time, each "
        f"takes {microseconds(fastest)}, and its CPU is idle.",
        (
            (
                f"To be sure: -c {max(1, connections // 2)}. If the rate stays the same, it is a "
                "queue: a lock, or a pool of threads or connections."
            ),
            (
                f"Who waits for what? py-spy dump, jstack or gdb -p {server_processes(report)}; "
                "then hold the lock shorter, or make the pool larger."
            ),
        ),
    )


def _queue_grew(report: Results, mean_us: float, connections: int) -> bool:
    """Whether a queue grew at the start, once: half of the connections found at most half of it.

    So about that many responses took less than half of the mean, half of those less than a quarter,
    and nearly all of them came at once. Where latencies differ by chance, other numbers did, or
    hardly any took less than a quarter, or they went on to do so.
    """
    whole, first = report.summary.service, report.summary.series.at(0).service
    fast = whole.count_up_to(round(mean_us / 2))
    if not connections / 4 <= fast <= max(connections, FEW_FAST * whole.count):
        return False
    early = first.count_up_to(round(mean_us / 2))
    return 2 * early >= fast and 16 * whole.count_up_to(round(mean_us / 4)) >= connections


def find_waiting_client(report: Results) -> Finding | None:
    """Find that neither side computes: round trips, or a server that is not watched."""
    cores = server_cores(report)
    connections = 2 * report.plan.connections
    if cores is not None and both_are_idle(report):
        return Finding(
            "latency",
            "likely",
            f"Neither side was busy (server {cores:.2f} cores): round trips limited the rate.",
            _what_waits(report),
        )
    if client_demand(report, unknown=1.0) < IDLE:
        return Finding(
            "server",
            "likely",
            "The server or the network to it is the limit: this client was waiting.",
            (
                "Watch the server: --server-pid PID or --server-cgroup PATH tells CPU, storage and "
                "queues apart."
                if report.server is None
                else f"Neither idle nor busy ({cores or 0.0:.2f} cores): what does it compute? "
                f"perf top -p {server_processes(report)}",
                f"More at once: -c {connections}. If only the latency grows, the server is full.",
            ),
        )
    return None


def _what_waits(report: Results) -> tuple[str, ...]:
    """Return how to find what requests wait for; with a schedule, more connections add no load."""
    question = (
        "What does a request wait for: a lock, a timer, a database, another service? "
        f"strace -f -p {server_processes(report)}, or py-spy dump -p for Python"
    )
    if report.schedule:
        return (question,)
    more = (
        f"More at once: -c {2 * report.plan.connections}. If the rate doubles, go on; if only the "
        "latency does, requests wait for one another."
    )
    return more, question


def nothing_found(report: Results) -> Finding:
    """Say that no rule applied."""
    busiest = f"{100 * max(report.client.cpu, default=0.0):.0f} %"
    sentence = f"Neither side is clearly the limit: this client used {busiest} of a core."
    return Finding(
        "unclear",
        "unclear",
        sentence if report.server else f"{sentence} --server-pid shows the server's load.",
        (
            "Repeat it, longer (-t 60) and with --server-pid PID.",
            (
                f"Was it this client? -w {2 * report.plan.processes} tells. Were it round trips? "
                f"-c {2 * report.plan.connections} tells."
            ),
        ),
    )
