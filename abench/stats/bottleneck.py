"""What limited a run, and the evidence for it: the end of every report.

Rules are tried in order; the first that applies decides. Evidence that matters to more than one
rule is listed whichever rule applied.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from abench.stats.figure import Figure
from abench.stats.phrases import describe_late, describe_silence
from abench.stats.results import Results
from abench.stats.tls_results import TlsResult
from abench.stats.units import (
    byte_size,
    count,
    decimal,
    microseconds,
    percents,
    plural,
    significant,
)

BUSY = 0.9  # of a core: an event loop needs the rest to sleep and wake up
IDLE = 0.6  # of a core
HIGH_ERROR_SHARE = 0.05
HIGH_LATE_SHARE = 0.01  # of the requests that were started
HIGH_SILENCE_SHARE = 0.05  # of the run
LATE_SHARE = 0.5  # of the median latency: a larger event-loop lag is suspicious
LOSSY = 0.001  # share of segments retransmitted: beyond it, TCP timeouts distort the latencies
FEW_LOST = 10  # segments: a short run may see that many of other connections
LIMITERS = (
    *("server", "client", "loop-lag", "ports", "open-files", "network", "silence", "errors"),
    *("schedule", "latency", "unclear"),
)
NO_PORTS, NO_FILES = "EADDRNOTAVAIL", ("EMFILE", "ENFILE")


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limited a run, and how certain that is."""

    limiter: Annotated[
        str,
        Figure(
            "Bottleneck",
            "The bottleneck in one word, for programs.",
            schema={"enum": list(LIMITERS)},
        ),
    ]
    sentence: Annotated[str, Figure("Sentence", "The same as a sentence.")]
    confidence: Annotated[
        str,
        Figure(
            "Confidence",
            "How sure that is.",
            key="sure",
            schema={"enum": ["sure", "likely", "unclear"]},
        ),
    ]
    evidence: Annotated[
        tuple[str, ...], Figure("Evidence", "What was measured, a line for each fact.")
    ]

    @property
    def is_bad(self) -> bool:
        """Whether the server did not work during the run."""
        return self.limiter in {"errors", "silence"}


Finding = tuple[str, str, str]  # limiter, confidence, sentence
Rule = Callable[[Results], Finding | None]


def find_bottleneck(report: Results) -> Bottleneck:
    """Return what limited the run of `report`."""
    found = next(filter(None, (rule(report) for rule in RULES)), _unclear(report))
    limiter, sure, sentence = found
    return Bottleneck(limiter, sentence, sure, tuple(_evidence(report)))


def _silence(report: Results) -> Finding | None:
    """Find a server that stopped responding for good, or for too long to trust the rates."""
    outage = report.outage
    if outage is None:
        return None
    if not outage.to_the_end and outage.length_s < HIGH_SILENCE_SHARE * report.duration_s:
        return None
    return (
        "silence",
        "sure",
        f"{describe_silence(outage)} The rates are not those of a working server.",
    )


def _errors(report: Results) -> Finding | None:
    found = report.error_share
    if report.succeeded and (found or 0.0) < HIGH_ERROR_SHARE:
        return None
    share = 100 * (1.0 if found is None else found)
    worst = max(report.failures, key=lambda kind: report.failures[kind])
    what = f"{significant(share)} % of requests failed, most of them with {worst}"
    sentence = f"{what}: the rates are not those of a working server."
    return "errors", "sure", sentence if report.failed else "No request got a response."


def _ports(report: Results) -> Finding | None:
    if not report.reasons.get(NO_PORTS):
        return None
    failed = plural(report.reasons[NO_PORTS], "connection")
    return "ports", "sure", f"{failed} failed: this machine had no free local port."


def _open_files(report: Results) -> Finding | None:
    failed = sum(report.reasons.get(name, 0) for name in NO_FILES)
    if not failed:
        return None
    sentence = f"{plural(failed, 'connection')} failed: this machine ran out of open files."
    return "open-files", "sure", sentence


def _client(report: Results) -> Finding | None:
    busiest = max(report.client.cpu, default=0.0)
    if busiest < BUSY:
        return None
    sentence = "This client is the limit: the server may be able to do more"
    more = "." if len(report.client.cpu) > 1 else "; try more workers (-w) on more cores."
    return "client", "sure" if busiest > 0.97 else "likely", sentence + more


def _loop_lag(report: Results) -> Finding | None:
    lag, median = report.client.lag.percentiles["p99"], report.service.percentiles["p50"]
    if lag is None or median is None or lag < LATE_SHARE * median or lag < 10_000:
        return None
    sentence = (
        "This client was delayed: responses waited unread, which counts as latency of the server. "
        f"{_competitor(report)}"
    )
    return "loop-lag", "likely", sentence


def _competitor(report: Results) -> str:
    """Return what competes with this client for CPU time."""
    if report.is_local and report.shares_cores:
        return "The server runs on the same cores and competes for them."
    if report.is_local and report.shares_cores is None:
        return "The server is on this machine too, and may compete for CPU time."
    return "Something else uses its CPU time."


def _schedule(report: Results) -> Finding | None:
    schedule = report.schedule
    if schedule is None:
        return None
    if schedule.is_met:
        if schedule.late_share < HIGH_LATE_SHARE:
            return "schedule", "sure", "The requested rate was the limit, and it was met."
        started = describe_late(schedule, report.stages)
        return "schedule", "likely", f"The rate was reached, but {started}{_wait(report)}."
    missed = (
        f"Only {decimal(schedule.achieved)} of {decimal(schedule.offered)} requests/sec were sent"
    )
    if _busy_connections(report) > BUSY:
        reason = "every connection was busy, so the server is too slow for it or -c is too small."
        return "server", "likely", f"{missed}: {reason}"
    return "unclear", "unclear", f"{missed}, although connections were free."


def _wait(report: Results) -> str:
    """Return the response time of a late schedule as the end of a sentence."""
    p99 = report.response.percentiles["p99"] if report.response else None
    return "" if p99 is None else f": response times are {microseconds(p99)} at p99"


def _network(report: Results) -> Finding | None:
    kernel = report.kernel
    if kernel is None or kernel.retransmitted <= max(FEW_LOST, LOSSY * kernel.sent):
        return None
    if report.is_local and not kernel.listen_overflows:
        return None  # no network between the two: these segments were of other connections
    share = f"{significant(100 * kernel.retransmitted / max(1, kernel.sent))} % of TCP segments"
    where = "the server's full accept queue" if kernel.listen_overflows else "the network"
    limiter = "server" if kernel.listen_overflows else "network"
    return limiter, "likely", f"{share} were retransmitted: {where} dropped them."


def _server(report: Results) -> Finding | None:
    if report.server:
        cores = report.server.cpu_s / report.duration_s if report.duration_s else 0.0
        if cores > BUSY:
            return "server", "sure", f"The server is the limit: it used {cores:.2f} cores."
        if cores < IDLE and max(report.client.cpu, default=0.0) < IDLE:
            idle = f"Neither side was busy (server {cores:.2f} cores)"
            return "latency", "likely", f"{idle}: round trips limited the rate."
    if max(report.client.cpu, default=1.0) < IDLE:
        return (
            "server",
            "likely",
            "The server or the network to it is the limit: this client was waiting.",
        )
    return None


def _unclear(report: Results) -> Finding:
    busiest = f"{100 * max(report.client.cpu, default=0.0):.0f} %"
    sentence = f"Neither side is clearly the limit: this client used {busiest} of a core."
    return (
        "unclear",
        "unclear",
        sentence if report.server else f"{sentence} --server-pid shows the server's load.",
    )


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


def _busy_connections(report: Results) -> float:
    """Return the average share of busy connections, by Little's law."""
    return _in_flight(report) / report.plan.connections


def _in_flight(report: Results) -> float:
    return report.pages_per_sec * (report.service.mean or 0.0) / 1e6


def _evidence(report: Results) -> Iterable[str]:
    client = report.client
    if client.cpu:
        shares = percents(client.cpu)
        lag = microseconds(client.lag.percentiles["p99"])
        yield f"client: {shares} % of a core per worker, event-loop lag {lag} at p99"
    yield _little(report)
    if report.tls and report.tls.handshakes:
        yield _handshake_figures(report, report.tls)
    if report.server:
        yield _server_figures(report)
    if report.kernel:
        yield _kernel_figures(report)
    if report.reasons:
        named = ", ".join(f"{name} {count(n)}" for name, n in sorted(report.reasons.items()))
        yield f"connections that failed to open: {named}"
    yield from _place(report)


def _place(report: Results) -> Iterator[str]:
    """Yield whether both sides share a machine, as far as that is known."""
    if report.is_local is None:
        yield "behind a proxy: it is not known whether the server shares this machine"
    elif report.is_local and report.shares_cores is False:
        yield "server and client share this machine, each on its own cores"
    elif report.is_local:
        what = "the cores of this machine" if report.shares_cores else "this machine"
        yield f"server and client share {what} and compete for CPU time"


def _little(report: Results) -> str:
    """Compare rate x mean latency, the average of requests in flight, with the connections."""
    in_flight, capacity = _in_flight(report), report.plan.connections * report.plan.pipeline
    text = (
        f"Little's law: {significant(in_flight)} of {count(capacity)} connections busy on average"
    )
    if report.schedule or in_flight > 0.9 * capacity:
        return text
    return f"{text}; the others were connecting, failing or delayed by this client"


def _handshake_figures(report: Results, tls: TlsResult) -> str:
    rate = decimal(tls.handshakes / report.duration_s if report.duration_s else 0.0)
    share = significant(100 * tls.resumed_handshakes / tls.handshakes)
    return f"TLS: {rate} handshakes/sec, {share} % of them resumed a session"


def _server_figures(report: Results) -> str:
    server = report.server
    if server is None:
        return ""
    each = microseconds(report.server_us_per_request)
    ended = "; one of its processes ended during the run" if server.ended else ""
    cpu = f"{server.cpu_s:.2f} s of CPU time, {each} per request"
    return f"server: {cpu}, peak RSS {byte_size(server.peak_rss)}{ended}"


def _kernel_figures(report: Results) -> str:
    kernel = report.kernel
    if kernel is None:
        return ""
    return (
        f"kernel: {count(kernel.retransmitted)} of {count(kernel.sent)} TCP segments "
        "retransmitted, "
        f"{count(kernel.listen_drops)} connections dropped by full accept queues, "
        f"{count(kernel.time_wait)} ports in TIME_WAIT"
    )
