"""Who was the limit in a run, and what that rests on: the end of every report.

Rules in order: the first whose case it is decides. Each names what it goes by; figures that count
for more than one rule are given as evidence whatever the rule.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from abench.stats.phrases import describe_late, describe_silence
from abench.stats.results import Report
from abench.stats.units import byte_size, count, decimal, microseconds, plural, significant

BUSY = 0.9  # of a core: what is left is what a loop needs to sleep and to wake up
IDLE = 0.6
HIGH_ERROR_SHARE = 0.05
HIGH_LATE_SHARE = 0.01  # of the requests that were started
HIGH_SILENCE_SHARE = 0.05  # of the run
LATE_SHARE = 0.5  # of the median latency that the loop's lag may be before it is suspected
LOSSY = 0.001  # of segments sent again: beyond it, TCP's timeouts are in the latencies
FEW_LOST = 10  # segments: what a short run sees of other connections says nothing of its own
PORTS_HELD = 0.8  # of all local ports in TIME_WAIT
NO_PORTS, NO_FILES = "EADDRNOTAVAIL", ("EMFILE", "ENFILE")


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limited a run: `limiter` is one word for programs, `sentence` says it.

    `sure` is "sure", "likely" or "unclear"; `evidence` what was looked at, one line each.
    """

    limiter: str
    sentence: str
    confidence: str
    evidence: tuple[str, ...]

    @property
    def is_bad(self) -> bool:
        """Whether the server did not work, whoever was the limit."""
        return self.limiter in {"errors", "silence"}


Finding = tuple[str, str, str]
Rule = Callable[[Report], Finding | None]


def find_bottleneck(report: Report) -> Bottleneck:
    """Return what limited the run that `report` is about."""
    found = next(filter(None, (rule(report) for rule in RULES)), _unclear(report))
    limiter, sure, sentence = found
    return Bottleneck(limiter, sentence, sure, tuple(_evidence(report)))


def _silence(report: Report) -> Finding | None:
    """Find what stopped answering for good, or for as long as the rates are not worth much."""
    outage = report.outage
    if outage is None:
        return None
    if not outage.to_the_end and outage.length_s < HIGH_SILENCE_SHARE * report.duration_s:
        return None
    return (
        "silence",
        "sure",
        f"{describe_silence(outage)} The rates are not those of a server that works.",
    )


def _errors(report: Report) -> Finding | None:
    found = report.error_share
    if report.succeeded and (found or 0.0) < HIGH_ERROR_SHARE:
        return None
    share = 100 * (1.0 if found is None else found)
    worst = max(report.failures, key=lambda kind: report.failures[kind])
    what = f"{significant(share)} % of requests failed, most of them by {worst}"
    sentence = f"{what}: the rates are not those of a server that works."
    return "errors", "sure", sentence if report.failed else "Nothing was answered."


def _ports(report: Report) -> Finding | None:
    if not report.reasons.get(NO_PORTS):
        return None
    failed = plural(report.reasons[NO_PORTS], "connection")
    return "ports", "sure", f"{failed} found no free local port: fewer would have failed, not more."


def _open_files(report: Report) -> Finding | None:
    failed = sum(report.reasons.get(name, 0) for name in NO_FILES)
    if not failed:
        return None
    sentence = f"{plural(failed, 'connection')} could not be opened for want of open files here."
    return "open-files", "sure", sentence


def _client(report: Report) -> Finding | None:
    busiest = max(report.client.cpu, default=0.0)
    if busiest < BUSY:
        return None
    sentence = "This client is the limit: the server may do more than it was asked for"
    more = "." if len(report.client.cpu) > 1 else "; more workers (-w) on more cores would tell."
    return "client", "sure" if busiest > 0.97 else "likely", sentence + more


def _loop_lag(report: Report) -> Finding | None:
    lag, usual = report.client.lag.percentiles["p99"], report.service.percentiles["p50"]
    if lag is None or usual is None or lag < LATE_SHARE * usual or lag < 10_000:
        return None
    sentence = (
        "This client was kept from its work: replies lay unread, which counts as latency of the "
        f"server. {_rival(report)}"
    )
    return "loop-lag", "likely", sentence


def _rival(report: Report) -> str:
    """Say what takes this client's processor."""
    if report.is_local and report.shares_cores:
        return "The server has the same cores, and takes them from it."
    if report.is_local and report.shares_cores is None:
        return "The server is on this machine too, and may take its processor."
    return "Something else takes its processor."


def _schedule(report: Report) -> Finding | None:
    paced = report.paced
    if paced is None:
        return None
    if paced.is_met:
        if paced.late_share < HIGH_LATE_SHARE:
            return "schedule", "sure", "The rate was the limit, as it was asked for: it was met."
        started = describe_late(paced, report.stages)
        return "schedule", "likely", f"The rate was reached, but {started}{_wait(report)}."
    missed = f"Of {decimal(paced.offered)} requests/sec only {decimal(paced.achieved)} were made"
    if _busy_connections(report) > BUSY:
        why = "every connection was busy: the server is too slow for it, or -c too small."
        return "server", "likely", f"{missed}, since {why}"
    return "unclear", "unclear", f"{missed}, and connections were free."


def _wait(report: Report) -> str:
    """Say how long what was late had to wait for its reply."""
    p99 = report.response.percentiles["p99"] if report.response else None
    return "" if p99 is None else f": response times are {microseconds(p99)} at p99"


def _network(report: Report) -> Finding | None:
    kernel = report.kernel
    if kernel is None or kernel.retransmitted <= max(FEW_LOST, LOSSY * kernel.sent):
        return None
    if report.is_local and not kernel.listen_overflows:
        return None  # there is no network between the two: these were of other connections
    share = f"{significant(100 * kernel.retransmitted / max(1, kernel.sent))} % of segments"
    where = "the server's queue" if kernel.listen_overflows else "the network"
    limiter = "server" if kernel.listen_overflows else "network"
    return limiter, "likely", f"{share} had to be sent again: {where} dropped them."


def _server(report: Report) -> Finding | None:
    if report.server:
        cores = report.server.cpu_s / report.duration_s if report.duration_s else 0.0
        if cores > BUSY:
            return "server", "sure", f"The server is the limit: it took {cores:.2f} cores."
        if cores < IDLE and max(report.client.cpu, default=0.0) < IDLE:
            idle = f"Neither side was busy (server {cores:.2f} cores)"
            return "latency", "likely", f"{idle}: the rate is one round trip after the other."
    if max(report.client.cpu, default=1.0) < IDLE:
        return "server", "likely", "The server is the limit, or the way to it: this client waited."
    return None


def _unclear(report: Report) -> Finding:
    busiest = f"{100 * max(report.client.cpu, default=0.0):.0f} %"
    sentence = f"No side is surely the limit: this client used {busiest} of a core."
    return "unclear", "unclear", sentence if report.server else f"{sentence} See --server-pid."


RULES: tuple[Rule, ...] = (
    _ports,
    _open_files,
    _silence,
    _errors,
    _client,
    _loop_lag,
    _network,
    _schedule,
    _server,
)


def _busy_connections(report: Report) -> float:
    """Return the share of the connections that were busy on average, by Little's law."""
    return _under_way(report) / report.plan.connections


def _under_way(report: Report) -> float:
    return report.pages_per_sec * (report.service.mean or 0.0) / 1e6


def _evidence(report: Report) -> Iterable[str]:
    client = report.client
    if client.cpu:
        shares = ", ".join(f"{100 * share:.0f}" for share in client.cpu)
        lag = microseconds(client.lag.percentiles["p99"])
        yield f"client: {shares} % of a core for each worker, its loop {lag} late at p99"
    yield _little(report)
    if report.server:
        yield _server_figures(report)
    if report.kernel:
        yield _kernel_figures(report)
    if report.reasons:
        named = ", ".join(f"{name} {count(n)}" for name, n in sorted(report.reasons.items()))
        yield f"connections that failed to open: {named}"
    yield from _place(report)


def _place(report: Report) -> Iterator[str]:
    """Yield whether both sides are in one place, as far as that is known."""
    if report.is_local is None:
        yield "behind a proxy: whether the server shares this machine is not known"
    elif report.is_local and report.shares_cores is False:
        yield "server and client share this machine, each with cores of its own"
    elif report.is_local:
        what = "the cores of this machine" if report.shares_cores else "this machine"
        yield f"server and client share {what}: each takes from the other"


def _little(report: Report) -> str:
    """Compare rate x mean latency, the requests under way on average, with the connections."""
    under_way, most = _under_way(report), report.plan.connections * report.plan.pipeline
    text = f"Little's law: {significant(under_way)} of {count(most)} connections busy on average"
    if report.paced or under_way > 0.9 * most:
        return text
    return f"{text}; the others were opening, failing or held up here"


def _server_figures(report: Report) -> str:
    server = report.server
    if server is None:
        return ""
    each = microseconds(report.server_us_per_request)
    ended = "; a process of it ended before the run did" if server.ended else ""
    cpu = f"{server.cpu_s:.2f} s of processor time, {each} a request"
    return f"server: {cpu}, {byte_size(server.peak_rss)} resident at most{ended}"


def _kernel_figures(report: Report) -> str:
    kernel = report.kernel
    if kernel is None:
        return ""
    return (
        f"kernel: {count(kernel.retransmitted)} of {count(kernel.sent)} segments sent again, "
        f"{count(kernel.listen_drops)} connections dropped by full queues, "
        f"{count(kernel.time_wait)} ports in TIME_WAIT"
    )
