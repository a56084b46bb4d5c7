"""The evidence of a verdict: what was measured, whichever rule applied."""

from collections.abc import Iterator

from abench.stats.client_limits import describe_cpu
from abench.stats.finding import requests_in_flight
from abench.stats.parts import ServerResult
from abench.stats.results import Results
from abench.stats.tls_results import TlsResult
from abench.stats.units import byte_size, count, decimal, microseconds, plural, significant
from abench.system.procfs import TcpCounters

WORTH_A_WORD = 0.05  # seconds, or threads


def list_evidence(report: Results) -> Iterator[str]:
    """Yield what was measured of all that may have limited the run, a line for each fact."""
    if report.client.cpu:
        lag = microseconds(report.client.lag.percentiles["p99"])
        yield f"client: {describe_cpu(report)}, event-loop lag {lag} at p99"
    yield _little(report)
    if opened := report.phases.connect:
        times = (opened.latency.percentiles["p50"], opened.latency.max)
        median, longest = map(microseconds, times)
        number = plural(opened.count, "connection")
        yield f"opened during the run: {number}, in {median} at p50, {longest} at most"
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
    in_flight, capacity = requests_in_flight(report), report.plan.connections * report.plan.pipeline
    text = (
        f"Little's law: {significant(in_flight)} of {count(capacity)} connections busy on average"
    )
    if report.schedule or in_flight > 0.9 * capacity:
        return text
    thinking = "thinking, " if report.scenario or report.plan.behavior.think_s else ""
    return f"{text}; the others were {thinking}connecting, failing or delayed by this client"


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
    return f"server: {cpu}, peak RSS {byte_size(server.peak_rss)}{_threads(server)}{ended}"


def _threads(server: ServerResult) -> str:
    """Return what the threads of the server did, as far as it is known and worth a word."""
    parts = ""
    if (wait_s := server.busiest_thread_wait_s or 0.0) >= WORTH_A_WORD:
        parts += f"; its busiest thread was without a core for {wait_s:.2f} s"
    if (waiting := server.threads_in_storage or 0.0) >= WORTH_A_WORD:
        parts += f"; {significant(round(waiting, 2))} threads waited for storage on average"
    return parts


def _kernel_figures(report: Results) -> str:
    kernel = report.kernel
    if kernel is None:
        return ""
    return (
        f"kernel: {count(kernel.retransmitted)} of {count(kernel.sent)} TCP segments "
        f"retransmitted{_syn(kernel)}, "
        f"{count(kernel.listen_drops)} connections dropped by full accept queues, "
        f"{count(kernel.time_wait)} ports in TIME_WAIT"
    )


def _syn(kernel: TcpCounters) -> str:
    """Return how many of the retransmitted segments were to open a connection, if any was."""
    number = kernel.syn_retransmitted
    return f" ({count(number)} to open a connection)" if number else ""
